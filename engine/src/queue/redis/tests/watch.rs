//! The live tail across processes.

use record::filter::parse_q;
use record::{Filter, Id};
use tokio::task::JoinHandle;

use super::super::watch::{Next, Tail, Viewer, announce, publish};
use super::*;

/// What `serve` is: one tail, both sides.
struct Process {
    tail: Tail,
    counters: Arc<Counters>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn process(redis: &Redis, rows_per_second_max: u64) -> Process {
    let (tail, counters) = (Tail::default(), Arc::new(Counters::default()));
    let name: Id = crate::clock::id_source().next(crate::clock::now());
    let tasks = vec![
        tokio::spawn(announce(target(redis), tail.clone(), name, counters.clone())),
        tokio::spawn(publish(target(redis), tail.clone(), name, rows_per_second_max, counters.clone())),
    ];
    Process { tail, counters, tasks }
}

fn filter(q: &str) -> Filter {
    let mut filter = Filter::default();
    filter.require(parse_q(q, Timestamp::MIN, &Zone::UTC).expect("a filter"));
    filter
}

fn batch_of(messages: &[&str]) -> Batch {
    let mut builder = BatchBuilder::new(4);
    let mut ids = crate::clock::id_source();
    for message in messages {
        let fields = Fields { message: Text::Bytes(message.as_bytes()), ..Fields::default() };
        builder.push(&fields, &Context::new(Timestamp::MIN, &Zone::UTC), &mut ids).expect("it fits");
    }
    builder.seal().expect("a row")
}

/// Messages that came, and how many rows were left out, until nothing comes for so long.
async fn seen(viewer: &mut Viewer, quiet: Duration) -> (Vec<String>, u64) {
    let (mut messages, mut left_out) = (Vec::new(), 0);
    while let Ok(Next::Batch { batch, skipped }) = tokio::time::timeout(quiet, viewer.next()).await {
        left_out += skipped;
        messages.extend(batch.rows().map(|row| String::from_utf8_lossy(row.message()).into_owned()));
    }
    (messages, left_out)
}

/// Publishes one thing until a viewer of another process sees it.
async fn until_seen(engine: &Process, message: &str, viewer: &mut Viewer) {
    let begun = Instant::now();
    loop {
        engine.tail.publish(&batch_of(&[message]));
        let (messages, _) = seen(viewer, Duration::from_millis(100)).await;
        if messages.iter().any(|seen| seen == message) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(15), "{message} is not seen");
    }
}

#[tokio::test]
async fn viewers_see_what_they_want_of_other_processes_and_each_row_once() {
    let redis = Redis::in_memory();
    let (one, other) = (process(&redis, 2_000), process(&redis, 2_000));
    let mut errors = one.tail.subscribe_for(&filter("error"));
    let mut own = other.tail.subscribe_for(&filter("nothing of the sort"));
    until_seen(&other, "error: here we go", &mut errors).await;
    seen(&mut errors, Duration::from_millis(400)).await;
    seen(&mut own, Duration::from_millis(100)).await;
    let sent = count(&other.counters.tail_sent_rows);

    other.tail.publish(&batch_of(&["all is well", "Error 1", "fine"]));
    other.tail.publish(&batch_of(&["an ERROR again"]));
    one.tail.publish(&batch_of(&["error of this process", "and more of it"]));
    let (mut messages, _) = seen(&mut errors, Duration::from_millis(500)).await;
    messages.sort_unstable();
    // This process' own come whole from its own tail: its feeds sort them out.
    assert_eq!(messages, ["Error 1", "an ERROR again", "and more of it", "error of this process"]);
    assert_eq!(count(&other.counters.tail_sent_rows), sent + 2);
    // What came from there is not sent back, though both watch.
    assert_eq!(count(&one.counters.tail_sent_rows), 0);
    let (mut own_seen, _) = seen(&mut own, Duration::from_millis(200)).await;
    own_seen.sort_unstable();
    assert_eq!(own_seen, ["Error 1", "all is well", "an ERROR again", "fine"]);

    // Nobody watches: nothing is sent, and the hash empties.
    drop((errors, own));
    let mut raw = raw(&redis).await;
    until("no field", async || raw.ask::<u64>("HLEN logboom:tail").await == 0).await;
    until("an engine that nobody watches takes no batch", async || other.tail.viewers() == 0).await;
}

#[tokio::test]
async fn beyond_the_rate_rows_are_counted_and_not_sent() {
    let redis = Redis::in_memory();
    let (viewers, engine) = (process(&redis, 100), process(&redis, 100));
    let mut viewer = viewers.tail.subscribe_for(&Filter::default());
    until_seen(&engine, "first", &mut viewer).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let before = count(&engine.counters.tail_sent_rows);
    let rows: Vec<String> = (0..50).map(|i| format!("row {i}")).collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    for _ in 0..20 {
        engine.tail.publish(&batch_of(&rows));
        tokio::task::yield_now().await;
    }
    let (_, _) = seen(&mut viewer, Duration::from_millis(600)).await;
    // What tells of those left out comes with the next.
    until_seen(&engine, "last", &mut viewer).await;
    let sent = count(&engine.counters.tail_sent_rows) - before;
    let skipped = count(&engine.counters.tail_skipped_rows);
    assert!((100..400).contains(&sent), "{sent}");
    assert!(sent + skipped >= 1_000 && skipped < 1_100, "{sent} {skipped}");
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_see_again_after_a_restart_of_redis_and_forget_dead_ones() {
    let mut redis = Redis::in_memory();
    let (viewers, engine) = (process(&redis, 2_000), process(&redis, 2_000));
    let mut viewer = viewers.tail.subscribe_for(&filter("x"));
    until_seen(&engine, "x before", &mut viewer).await;
    redis.kill();
    tokio::time::sleep(Duration::from_millis(300)).await;
    until("a failure", async || engine.counters.failure(Side::Tail).is_some()).await;
    tokio::task::block_in_place(|| redis.start());
    until_seen(&engine, "x after", &mut viewer).await;
    // Whatever stands on the channel or in the hash, they go on.
    let mut raw = raw(&redis).await;
    raw.ask::<()>("HSET logboom:tail nobody nonsense").await;
    raw.ask::<()>("PUBLISH logboom:tail:rows nonsense").await;
    until_seen(&engine, "x and on", &mut viewer).await;
    // A message, and a field, since it is an engine too; the other watches for nothing.
    until("all told", async || count(&viewers.counters.tail_unreadable) == 2).await;
    until("all told", async || count(&engine.counters.tail_unreadable) == 1).await;
}
