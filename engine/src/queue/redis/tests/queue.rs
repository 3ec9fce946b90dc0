//! In and out, while all is well.

use std::cell::RefCell;

use super::*;
use crate::queue::contract;

#[tokio::test]
async fn it_keeps_the_contract_of_queues() {
    let redis = Redis::durable();
    // Over what a call waits for when nothing comes.
    let claim_after = Duration::from_secs(3);
    let pusher = pusher(&redis);
    let worker = RefCell::new(claiming(&redis, "0", claim_after));
    let held: RefCell<Vec<Taken>> = RefCell::default();
    let workers = RefCell::new(0);
    // Each borrow is of what only this task touches.
    #[allow(clippy::await_holding_refcell_ref)]
    let take = async || {
        let taken = take_all(&mut worker.borrow_mut()).await;
        held.borrow_mut().extend(taken.iter().cloned());
        // It is at it still.
        let all = held.take();
        let renewed = worker.borrow_mut().renew(all).await;
        held.replace(renewed);
        taken.into_iter().map(|one| one.batch).collect()
    };
    #[allow(clippy::await_holding_refcell_ref)]
    let done = async |batches: &[Batch]| {
        let (taken, rest): (Vec<Taken>, Vec<Taken>) =
            held.take().into_iter().partition(|one| batches.iter().any(|batch| batch.id() == one.batch.id()));
        held.replace(rest);
        worker.borrow_mut().done(&taken).await.expect("it is deleted");
    };
    let crash = async || {
        *workers.borrow_mut() += 1;
        held.take();
        worker.replace(claiming(&redis, &workers.borrow().to_string(), claim_after));
        tokio::time::sleep(claim_after).await;
    };
    contract::check(async |batches| all_in(pusher.push(&batches).await), take, done, crash).await;
}

#[tokio::test]
async fn what_goes_in_comes_out_once_and_leaves_nothing() {
    let redis = Redis::in_memory();
    let mut raw = raw(&redis).await;
    let pusher = pusher(&redis);
    let mut worker = consumer(&redis, "one");
    let mut batches = Batches::new();
    // Once round, so that what is there for good is there.
    all_in(pusher.push(&batches.some(4)).await);
    let taken = take_all(&mut worker).await;
    worker.done(&taken).await.expect("deleted");
    raw.ask::<()>("MEMORY PURGE").await;
    let floor = used_memory(&mut raw).await;

    let mut pushed = Vec::new();
    for _ in 0..20 {
        let mut some = batches.some(5);
        some.extend((0..20).map(|i| batches.make(1, 1_000 * (1 + i))));
        all_in(pusher.push(&some).await);
        pushed.extend(some);
    }
    let full = used_memory(&mut raw).await;
    let taken = take_all(&mut worker).await;
    assert_eq!(ids_of(&taken), ids(&pushed));
    assert!(taken.iter().all(|one| one.deliveries == 1));
    worker.done(&taken).await.expect("deleted");
    assert_eq!((raw.lengths().await, raw.pending().await), (0, 0));
    let drained = used_memory(&mut raw).await;
    assert!(full > floor + 1_000_000 && drained < floor + 200_000, "{floor} -> {full} -> {drained}");
    worker.leave(Vec::new()).await;
    for stream in 0..4 {
        assert_eq!(raw.ask::<Value>(&format!("XINFO CONSUMERS logboom:{stream} store")).await, Value::Array(vec![]));
    }
}

async fn used_memory(raw: &mut Raw) -> i64 {
    // What clients' buffers hold goes within a moment.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let info: String = raw.ask("INFO memory").await;
    let line = info.lines().find_map(|line| line.strip_prefix("used_memory_dataset:")).expect("a figure");
    line.trim().parse().expect("a number")
}

#[tokio::test]
async fn the_largest_batches_pass() {
    let redis = Redis::in_memory();
    let mut batches = Batches::new();
    let mut builder = BatchBuilder::new(4);
    let noise = noise(900_000);
    let fields =
        Fields { message: Text::Bytes(noise.as_bytes()), source: Text::Bytes(noise.as_bytes()), ..Fields::default() };
    builder.push(&fields, &Context::new(Timestamp::MIN, &Zone::UTC), &mut batches.0).expect("it fits");
    let large = builder.seal().expect("a row");
    let full = batches.make(450, 500);
    assert!(full.frame().len() > 150_000 && large.frame().len() > 1_800_000);
    let pushed = [large, full, batches.make(1, 0)];
    all_in(pusher(&redis).push(&pushed).await);
    let taken = take_all(&mut consumer(&redis, "one")).await;
    assert_eq!(ids_of(&taken), ids(&pushed));
    for one in &taken {
        let sent = pushed.iter().find(|batch| batch.id() == one.batch.id()).expect("it was sent");
        assert_eq!(one.batch.frame(), sent.frame());
    }
}

#[tokio::test]
async fn a_take_holds_whole_batches_up_to_its_limit_and_does_not_wait_for_more() {
    let redis = Redis::in_memory();
    let mut batches = Batches::new();
    let pushed: Vec<Batch> = (0..50).map(|_| batches.make(40, 10)).collect();
    all_in(pusher(&redis).push(&pushed).await);
    let mut worker = consumer(&redis, "one");
    let mut all = Vec::new();
    for _ in 0..20 {
        let taken = worker.take(100, IDLE).await.expect("it answers");
        assert!(taken.len() <= 2, "{}", taken.len());
        all.extend(taken);
        if all.len() == 50 {
            break;
        }
    }
    // 100 rows are two whole batches of 40.
    all.extend(take_all(&mut worker).await);
    assert_eq!(ids_of(&all), ids(&pushed));
    // A batch that is larger than the limit comes alone.
    let large = batches.make(300, 10);
    all_in(pusher(&redis).push(&[large.clone(), batches.make(1, 1)]).await);
    let mut taken = worker.take(100, IDLE).await.expect("it answers");
    taken.extend(worker.take(100, IDLE).await.expect("it answers"));
    assert_eq!(taken.len(), 2);
    // Little comes at once: nothing waits for 10,000 rows.
    all_in(pusher(&redis).push(&[batches.make(1, 1)]).await);
    let begun = Instant::now();
    assert_eq!(worker.take(10_000, Duration::from_millis(5)).await.expect("it answers").len(), 1);
    assert!(begun.elapsed() < Duration::from_millis(900), "{:?}", begun.elapsed());
    let begun = Instant::now();
    assert_eq!(worker.take(10_000, Duration::from_millis(5)).await.expect("it answers").len(), 0);
    assert!(begun.elapsed() >= Duration::from_millis(900), "an idle worker does not spin");
}

#[tokio::test]
async fn a_flooded_stream_does_not_hold_up_the_others() {
    let redis = Redis::in_memory();
    let mut batches = Batches::new();
    let flood = batches.for_stream(0, 200);
    let lone: Vec<Batch> = (1..4).flat_map(|stream| batches.for_stream(stream, 1)).collect();
    all_in(pusher(&redis).push(&flood).await);
    all_in(pusher(&redis).push(&lone).await);
    let mut worker = consumer(&redis, "one");
    let mut seen = Vec::new();
    for _ in 0..30 {
        seen.extend(worker.take(2, Duration::ZERO).await.expect("it answers"));
    }
    let found = seen.iter().filter(|one| one.stream != 0).count();
    assert_eq!(found, 3, "of {} taken", seen.len());
}

#[tokio::test]
async fn streams_that_an_engine_has_written_to_are_read_by_all() {
    let redis = Redis::in_memory();
    let pushed: Vec<Batch> = {
        let mut ids = crate::clock::id_source();
        contract::batches(&mut ids, 60)
    };
    let options = PushOptions { timeout: Duration::from_secs(5), ..PushOptions::new(16, 0) };
    all_in(pusher_with(&redis, options).push(&pushed).await);
    let options = TakeOptions::new(2, "one".into(), Duration::from_secs(30));
    let mut worker = Consumer::new(target(&redis), options, Arc::default());
    let taken = take_all(&mut worker).await;
    assert_eq!(ids_of(&taken), ids(&pushed));
    let status = status(&target(&redis), 2).await.expect("it answers");
    assert_eq!((status.streams.len(), status.depth(), status.pending()), (16, 60, 60));
}

#[tokio::test]
async fn a_batch_that_is_sent_twice_comes_twice_under_one_id() {
    let redis = Redis::in_memory();
    let batch = Batches::new().make(3, 100);
    let pusher = pusher(&redis);
    for _ in 0..2 {
        all_in(pusher.push(std::slice::from_ref(&batch)).await);
    }
    let mut worker = consumer(&redis, "one");
    let taken = take_all(&mut worker).await;
    assert_eq!(ids_of(&taken), [batch.id(), batch.id()]);
    assert_eq!(taken[0].stream, taken[1].stream);
    assert_ne!(taken[0].entry, taken[1].entry);
}

#[tokio::test]
async fn what_is_no_batch_is_set_aside_whole_and_holds_nothing_up() {
    let redis = Redis::in_memory();
    let mut raw = raw(&redis).await;
    let mut batches = Batches::new();
    let good = batches.some(10);
    all_in(pusher(&redis).push(&good).await);
    let mut newer = good[0].frame().to_vec();
    newer[3] = 9;
    let mut bent = good[1].frame().to_vec();
    bent[100] ^= 1;
    let cut = good[2].frame()[..90].to_vec();
    for frame in [&newer, &bent, &cut] {
        cmd("XADD").arg("logboom:1").arg("*").arg("b").arg(frame).exec_async(&mut raw.0).await.expect("added");
    }
    raw.ask::<String>("XADD logboom:2 * user ann action login").await;
    raw.ask::<String>("XADD logboom:2 * b x b y").await;
    let mut worker = consumer(&redis, "one");
    let taken = take_all(&mut worker).await;
    assert_eq!(ids_of(&taken), ids(&good));
    worker.done(&taken).await.expect("deleted");
    assert_eq!((raw.lengths().await, raw.pending().await), (0, 0));
    let entries = reply::entries(raw.ask("XRANGE logboom:set-aside - +").await).expect("entries");
    let all: Vec<Vec<Vec<u8>>> = entries.into_iter().filter_map(|entry| entry.fields).collect();
    assert_eq!(all.len(), 5);
    let found = |why: &str| {
        let of_it = |fields: &&Vec<Vec<u8>>| String::from_utf8_lossy(&fields[5]).contains(why);
        all.iter().find(of_it).unwrap_or_else(|| panic!("nothing is {why}")).clone()
    };
    assert_eq!(found("version 9 is newer")[6..], [b"b".to_vec(), newer]);
    assert_eq!(found("checksum")[6..], [b"b".to_vec(), bent]);
    assert_eq!(found("cut")[6..], [b"b".to_vec(), cut]);
    let foreign = found("user, action");
    assert_eq!(foreign[6..], ["user", "ann", "action", "login"].map(|text| text.as_bytes().to_vec()));
    assert_eq!(foreign[..2], [b"from".to_vec(), b"logboom:2".to_vec()]);
    assert_eq!(status(&target(&redis), 4).await.expect("it answers").set_aside, 5);
}

#[tokio::test]
async fn the_status_tells_what_waits_and_with_whom() {
    let redis = Redis::in_memory();
    let target = target(&redis);
    let empty = status(&target, 4).await.expect("it answers");
    assert_eq!((empty.depth(), empty.oldest_seconds(), empty.streams.len()), (0, None, 4));
    let mut batches = Batches::new();
    all_in(pusher(&redis).push(&batches.for_stream(1, 6)).await);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let waiting = status(&target, 4).await.expect("it answers");
    assert_eq!((waiting.depth(), waiting.pending()), (6, 0));
    assert!(waiting.oldest_seconds().is_some_and(|age| (0.3..30.0).contains(&age)), "{waiting:?}");
    let mut worker = consumer(&redis, "ann \"one\"");
    let taken = worker.take(2, Duration::ZERO).await.expect("it answers");
    assert!(!taken.is_empty());
    let status = status(&target, 4).await.expect("it answers");
    let stream = &status.streams[1];
    assert_eq!(stream.undelivered() + stream.pending, 6);
    assert!(stream.pending >= taken.len() as u64 && stream.oldest_seconds.is_some_and(|age| age >= 0.3));
    assert_eq!((&stream.consumers[0].name[..], stream.consumers[0].pending), ("ann \"one\"", stream.pending));
    let json: sonic_rs::Value = sonic_rs::from_str(&status.json("{\"depth\":0}")).expect("JSON");
    use sonic_rs::{JsonContainerTrait, JsonValueTrait};
    assert_eq!((json["kind"].as_str(), json["depth"].as_u64()), (Some("redis"), Some(6)));
    assert_eq!(json["streams"].as_array().expect("a list").len(), 4);
    assert_eq!(json["streams"][1]["consumers"][0]["name"].as_str(), Some("ann \"one\""));
    assert!(json["used_memory_bytes"].as_u64().is_some_and(|bytes| bytes > 0) && json["overflow"].is_object());
}
