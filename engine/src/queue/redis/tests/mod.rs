//! The queue against a real Redis.

use std::sync::Arc;
use std::time::Duration;

use record::{Batch, BatchBuilder, Context, Fields, IdSource, Text, Timestamp, Zone};
use servers::Redis;

use super::*;

mod queue;

const PREFIX: &str = "logboom";

fn target(redis: &Redis) -> Arc<Target> {
    Arc::new(Target::parse(&redis.url()).expect("a URL"))
}

/// What a test looks into Redis with.
async fn raw(redis: &Redis) -> redis::aio::MultiplexedConnection {
    target(redis).connect(Duration::from_secs(5)).await.expect("it answers")
}

fn push_options() -> PushOptions {
    PushOptions { streams: 4, wait_replicas: 0, timeout: Duration::from_secs(2), prefix: PREFIX.to_owned() }
}

fn pusher(redis: &Redis) -> Pusher {
    Pusher::new(target(redis), push_options(), Arc::default())
}

fn take_options(name: &str) -> TakeOptions {
    TakeOptions { streams: 4, name: name.to_owned(), claim_after: Duration::from_secs(30), prefix: PREFIX.to_owned() }
}

fn consumer(redis: &Redis, name: &str) -> Consumer {
    Consumer::new(target(redis), take_options(name), Arc::default())
}

/// Makes batches whose ids differ.
struct Batches(IdSource);

impl Batches {
    fn new() -> Batches {
        Batches(crate::clock::id_source())
    }

    fn make(&mut self, rows: usize, message_bytes: usize) -> Batch {
        let now = Timestamp::clamped(1_760_000_000_000_000);
        let mut builder = BatchBuilder::new(4);
        for i in 0..rows {
            let message = format!("{i} {}", "x".repeat(message_bytes));
            let fields = Fields { message: Text::Bytes(message.as_bytes()), ..Fields::default() };
            builder.push(&fields, &Context::new(now, &Zone::UTC), &mut self.0).expect("it fits");
        }
        builder.seal().expect("a row is in it")
    }

    fn some(&mut self, count: usize) -> Vec<Batch> {
        (0..count).map(|i| self.make(1 + i % 5, 10 * i)).collect()
    }
}

fn ids<'a>(batches: impl IntoIterator<Item = &'a Batch>) -> Vec<record::Id> {
    let mut ids: Vec<_> = batches.into_iter().map(Batch::id).collect();
    ids.sort_unstable();
    ids
}

fn all_in(outcomes: Vec<Result<(), RedisError>>) {
    outcomes.into_iter().for_each(|outcome| outcome.expect("it is in"));
}

/// Takes until nothing comes.
async fn take_all(consumer: &mut Consumer) -> Vec<Taken> {
    let mut all = Vec::new();
    loop {
        let taken = consumer.take(1_000, Duration::from_millis(20)).await.expect("it answers");
        if taken.is_empty() {
            return all;
        }
        all.extend(taken);
    }
}
