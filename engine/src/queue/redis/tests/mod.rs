//! The queue against a real Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ::redis::aio::MultiplexedConnection;
use ::redis::{FromRedisValue, Value, cmd};
use record::{Batch, BatchBuilder, Context, Fields, IdSource, Text, Timestamp, Zone};
use servers::Redis;

use super::*;

mod queue;
mod server;
mod tls;
mod trouble;
mod watch;
mod workers;

/// Nothing more comes.
const IDLE: Duration = Duration::from_millis(20);

fn target(redis: &Redis) -> Arc<Target> {
    Arc::new(Target::parse(&redis.url()).expect("a URL"))
}

/// What a test looks into Redis with.
struct Raw(MultiplexedConnection);

async fn raw(redis: &Redis) -> Raw {
    Raw(target(redis).connect(Duration::from_secs(5)).await.expect("it answers"))
}

impl Raw {
    async fn ask<T: FromRedisValue>(&mut self, command: &str) -> T {
        let mut words = command.split(' ');
        let mut asked = cmd(words.next().expect("a command"));
        for word in words {
            asked.arg(word);
        }
        asked.query_async(&mut self.0).await.unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    async fn lengths(&mut self) -> u64 {
        let mut sum = 0;
        for stream in 0..4 {
            sum += self.ask::<u64>(&format!("XLEN logboom:{stream}")).await;
        }
        sum
    }

    async fn pending(&mut self) -> u64 {
        let mut sum = 0;
        for stream in 0..4 {
            let answer = self.ask::<Value>(&format!("XPENDING logboom:{stream} store")).await;
            sum += reply::pending(answer).expect("a summary").0;
        }
        sum
    }
}

fn pusher(redis: &Redis) -> Pusher {
    pusher_with(redis, PushOptions { timeout: Duration::from_secs(5), ..PushOptions::new(4, 0) })
}

fn pusher_with(redis: &Redis, options: PushOptions) -> Pusher {
    Pusher::new(target(redis), options, Arc::default())
}

fn consumer(redis: &Redis, name: &str) -> Consumer {
    claiming(redis, name, Duration::from_secs(30))
}

fn claiming(redis: &Redis, name: &str, claim_after: Duration) -> Consumer {
    Consumer::new(target(redis), TakeOptions::new(4, name.to_owned(), claim_after), Arc::default())
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
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
        let noise = noise(message_bytes);
        for i in 0..rows {
            let message = format!("{i} {}", &noise[i % (message_bytes + 1)..]);
            let fields = Fields { message: Text::Bytes(message.as_bytes()), ..Fields::default() };
            builder.push(&fields, &Context::new(now, &Zone::UTC), &mut self.0).expect("it fits");
        }
        builder.seal().expect("a row is in it")
    }

    fn some(&mut self, count: usize) -> Vec<Batch> {
        (0..count).map(|i| self.make(1 + i % 5, 10 * i)).collect()
    }

    /// Those of some that go to one stream.
    fn for_stream(&mut self, stream: i16, count: usize) -> Vec<Batch> {
        std::iter::repeat_with(|| self.make(1, 10)).filter(|batch| batch.header().part == stream).take(count).collect()
    }
}

/// Text that lz4 makes nothing of.
fn noise(length: usize) -> String {
    let mut seed = length as u64;
    let letter = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + (seed >> 33) as u8 % 90)
    };
    std::iter::repeat_with(letter).take(length).collect()
}

/// Waits for what must come about.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_secs(20), "not within 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn ids<'a>(batches: impl IntoIterator<Item = &'a Batch>) -> Vec<record::Id> {
    let mut ids: Vec<_> = batches.into_iter().map(Batch::id).collect();
    ids.sort_unstable();
    ids
}

fn ids_of(taken: &[Taken]) -> Vec<record::Id> {
    ids(taken.iter().map(|one| &one.batch))
}

fn all_in(outcomes: Vec<Result<(), RedisError>>) {
    outcomes.into_iter().for_each(|outcome| outcome.expect("it is in"));
}

/// Pushes one batch until it is in: how long that took.
async fn push_until_in(pusher: &Pusher, batch: &Batch) -> Duration {
    let begun = Instant::now();
    while pusher.push(std::slice::from_ref(batch)).await[0].is_err() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it does not recover");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    begun.elapsed()
}

/// Takes until nothing comes for a second.
async fn take_all(consumer: &mut Consumer) -> Vec<Taken> {
    let mut all = Vec::new();
    loop {
        let taken = consumer.take(1_000, IDLE).await.expect("it answers");
        if taken.is_empty() {
            return all;
        }
        all.extend(taken);
    }
}

/// Takes until so many are there.
async fn take_count(consumer: &mut Consumer, count: usize) -> Vec<Taken> {
    let begun = Instant::now();
    let mut all = Vec::new();
    while all.len() < count {
        assert!(begun.elapsed() < Duration::from_secs(20), "{} of {count} came", all.len());
        match consumer.take(1_000, IDLE).await {
            Ok(taken) => all.extend(taken),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    all
}
