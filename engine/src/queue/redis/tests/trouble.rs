//! A Redis that is full, away, hung, loading or a replica: told at once, and over without a hand.

use super::*;

const SHORT: Duration = Duration::from_millis(700);

fn impatient(redis: &Redis) -> Pusher {
    pusher_with(redis, PushOptions { timeout: SHORT, ..PushOptions::new(4, 0) })
}

#[tokio::test]
async fn a_full_redis_takes_nothing_and_drains() {
    let redis = Redis::with(&["--maxmemory", "6mb", "--maxmemory-policy", "noeviction"]);
    let pusher = pusher(&redis);
    let mut batches = Batches::new();
    let mut one = || batches.make(1, 100_000);
    let mut pushed = Vec::new();
    let refused = loop {
        let batch = one();
        match pusher.push(std::slice::from_ref(&batch)).await.remove(0) {
            Ok(()) => pushed.push(batch),
            Err(error) => break error,
        }
        assert!(pushed.len() < 200, "it is never full");
    };
    assert_eq!(refused, RedisError::OutOfMemory);
    assert!(refused.is_passing() && refused.to_string().contains("CONFIG SET maxmemory"));
    assert_eq!(pusher.inner_failure(), Some(RedisError::OutOfMemory));

    // A worker that comes now, one that dies, and one that takes over: all work.
    let soon = Duration::from_secs(2);
    let mut dead = claiming(&redis, "dead", soon);
    let mut first = dead.take(5, Duration::ZERO).await.expect("a full Redis gives");
    if first.is_empty() {
        first = dead.take(5, Duration::ZERO).await.expect("a full Redis gives");
    }
    assert!(!first.is_empty());
    drop(dead);
    tokio::time::sleep(soon).await;
    let mut worker = claiming(&redis, "worker", soon);
    let taken = take_count(&mut worker, pushed.len()).await;
    assert_eq!(ids_of(&taken), ids(&pushed));
    worker.done(&taken).await.expect("a full Redis deletes");
    let mut raw = raw(&redis).await;
    assert_eq!((raw.lengths().await, raw.pending().await), (0, 0));
    assert!(push_until_in(&pusher, &one()).await < Duration::from_secs(5));
    assert_eq!(pusher.inner_failure(), None);
}

/// A stranger's entry stays where it is while a full server has no room for its copy.
#[tokio::test]
async fn a_full_redis_loses_no_stranger() {
    let redis = Redis::in_memory();
    let mut raw = raw(&redis).await;
    all_in(pusher(&redis).push(&Batches::new().some(4)).await);
    raw.ask::<String>("XADD logboom:0 * user ann").await;
    raw.ask::<()>("CONFIG SET maxmemory 1mb").await;
    let mut worker = claiming(&redis, "one", Duration::from_millis(200));
    let taken = take_count(&mut worker, 4).await;
    worker.done(&taken).await.expect("deleted");
    assert_eq!(take_all(&mut worker).await.len(), 0);
    assert_eq!((raw.lengths().await, raw.ask::<u64>("XLEN logboom:set-aside").await), (1, 0));
    raw.ask::<()>("CONFIG SET maxmemory 0").await;
    assert_eq!(take_all(&mut worker).await.len(), 0);
    assert_eq!((raw.lengths().await, raw.ask::<u64>("XLEN logboom:set-aside").await), (0, 1));
}

#[tokio::test]
async fn a_redis_that_is_not_there_is_told_at_once_and_used_once_it_is() {
    let mut redis = Redis::in_memory();
    redis.stop();
    let pusher = impatient(&redis);
    let batch = Batches::new().make(1, 1);
    for _ in 0..3 {
        let begun = Instant::now();
        let error = pusher.push(std::slice::from_ref(&batch)).await.remove(0).expect_err("nobody is there");
        assert!(matches!(&error, RedisError::Away(text) if text.contains("refused")), "{error}");
        assert!(begun.elapsed() < Duration::from_millis(600), "{:?}", begun.elapsed());
    }
    let mut worker = consumer(&redis, "one");
    assert!(matches!(worker.take(1, Duration::ZERO).await, Err(RedisError::Away(_))));
    redis.start();
    assert!(push_until_in(&pusher, &batch).await < Duration::from_secs(5));
    assert_eq!(ids_of(&take_count(&mut worker, 1).await), [batch.id()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_in_the_middle_loses_nothing_that_was_acknowledged() {
    let mut redis = Redis::durable();
    let pusher = pusher(&redis);
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let pushing = tokio::spawn({
        let (pusher, stop) = (pusher.clone(), stop.clone());
        async move {
            let mut batches = Batches::new();
            let (mut acknowledged, mut failures) = (Vec::new(), 0);
            while !stop.load(Ordering::Relaxed) {
                let some = batches.some(3);
                for (batch, outcome) in some.iter().zip(pusher.push(&some).await) {
                    match outcome {
                        Ok(()) => acknowledged.push(batch.id()),
                        Err(_) => failures += 1,
                    }
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            (acknowledged, failures)
        }
    });
    let mut worker = claiming(&redis, "one", Duration::from_secs(1));
    let mut stored = std::collections::HashSet::new();
    for round in 0..3 {
        let until = Instant::now() + Duration::from_millis(500);
        while Instant::now() < until {
            work(&mut worker, &mut stored).await;
        }
        redis.kill();
        work(&mut worker, &mut stored).await;
        tokio::time::sleep(Duration::from_millis(100 * round)).await;
        tokio::task::block_in_place(|| redis.start());
    }
    stop.store(true, Ordering::Relaxed);
    let (acknowledged, failures) = pushing.await.expect("no panic");
    assert!(failures > 0 && acknowledged.len() > 50, "{failures} {}", acknowledged.len());
    until("loaded", async || target(&redis).inspect().await.is_ok()).await;
    let begun = Instant::now();
    let mut raw = raw(&redis).await;
    while raw.lengths().await > 0 {
        work(&mut worker, &mut stored).await;
        assert!(begun.elapsed() < Duration::from_secs(20), "it does not drain");
    }
    let lost = acknowledged.iter().filter(|id| !stored.contains(*id)).count();
    assert_eq!(lost, 0, "of {}", acknowledged.len());
}

async fn work(worker: &mut Consumer, stored: &mut std::collections::HashSet<record::Id>) {
    match worker.take(100, Duration::from_millis(2)).await {
        Ok(taken) => {
            stored.extend(taken.iter().map(|one| one.batch.id()));
            let _ = worker.done(&taken).await;
        }
        Err(error) => {
            assert!(error.is_passing(), "{error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn a_redis_that_forgot_everything_is_used_anew() {
    let mut redis = Redis::in_memory();
    let (pusher, mut worker) = (pusher(&redis), consumer(&redis, "one"));
    let mut batches = Batches::new();
    all_in(pusher.push(&batches.some(8)).await);
    assert_eq!(take_all(&mut worker).await.len(), 8);
    redis.kill();
    redis.start();
    let more = batches.some(8);
    for batch in &more {
        push_until_in(&pusher, batch).await;
    }
    assert_eq!(ids_of(&take_count(&mut worker, 8).await), ids(&more));
}

#[tokio::test]
async fn a_redis_that_hangs_is_left_within_the_timeout_and_found_again() {
    let redis = Redis::in_memory();
    let pusher = impatient(&redis);
    let mut batches = Batches::new();
    all_in(pusher.push(&batches.some(4)).await);
    redis.signal("STOP");
    let begun = Instant::now();
    let some = batches.some(4);
    let outcomes = pusher.push(&some).await;
    assert!(begun.elapsed() < SHORT + Duration::from_millis(500), "{:?}", begun.elapsed());
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(RedisError::Away(_)))), "{outcomes:?}");
    // One more waits for the first attempt at a new connection, the others for nothing.
    let _ = pusher.push(&some).await;
    let begun = Instant::now();
    for _ in 0..20 {
        assert!(pusher.push(&some).await.iter().all(Result::is_err));
    }
    assert!(begun.elapsed() < Duration::from_millis(600), "{:?}", begun.elapsed());
    redis.signal("CONT");
    let late = batches.make(1, 1);
    assert!(push_until_in(&pusher, &late).await < Duration::from_secs(6));
    let taken = take_all(&mut consumer(&redis, "one")).await;
    // Those of the call that timed out may be in; never something else.
    assert!(ids_of(&taken).contains(&late.id()) && taken.len() >= 5, "{}", taken.len());
}

#[tokio::test]
async fn a_worker_leaves_a_redis_that_hangs_and_misses_nothing() {
    let redis = Redis::in_memory();
    let pushed = Batches::new().some(20);
    let mut worker = claiming(&redis, "one", Duration::from_secs(3));
    assert_eq!(worker.take(1, Duration::ZERO).await.expect("it answers").len(), 0);
    all_in(pusher(&redis).push(&pushed).await);
    redis.signal("STOP");
    let begun = Instant::now();
    let error = worker.take(100, IDLE).await.expect_err("it hangs");
    assert!(begun.elapsed() < Duration::from_secs(12) && error.is_passing(), "{error} {:?}", begun.elapsed());
    redis.signal("CONT");
    // What the question took that nobody waited for is found; a part may come twice, since it was claimed.
    let mut seen = std::collections::BTreeSet::new();
    until("all of them", async || {
        if let Ok(taken) = worker.take(100, IDLE).await {
            seen.extend(ids_of(&taken));
        }
        seen.len() == 20
    })
    .await;
    assert!(seen.into_iter().eq(ids(&pushed)));
}

#[tokio::test]
async fn a_redis_that_loads_is_waited_for() {
    let mut redis = Redis::with(&["--loading-process-events-interval-bytes", "1024"]);
    let pusher = pusher(&redis);
    let mut batches = Batches::new();
    let some = batches.some(100);
    all_in(pusher.push(&some).await);
    let mut raw = raw(&redis).await;
    let keys: Vec<String> = (0..300).map(|i| format!("other:{i} {}", "x".repeat(100))).collect();
    raw.ask::<()>(&format!("MSET {}", keys.join(" "))).await;
    raw.ask::<()>("SAVE").await;
    redis.kill();
    redis.add_options(&["--key-load-delay", "10000"]);
    redis.start();
    let batch = batches.make(1, 1);
    let mut worker = consumer(&redis, "one");
    let (mut refused, mut not_given) = (false, false);
    let begun = Instant::now();
    while let Err(error) = pusher.push(std::slice::from_ref(&batch)).await.remove(0) {
        refused |= error == RedisError::Loading;
        assert!(error.is_passing() && begun.elapsed() < Duration::from_secs(30), "{error}");
        if let Err(error) = worker.take(1, Duration::ZERO).await {
            not_given |= error == RedisError::Loading;
            assert!(error.is_passing(), "{error}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(refused && not_given, "it has not loaded for long enough to be seen: {refused} {not_given}");
    until("all of them", async || worker.take(1_000, IDLE).await.is_ok() && raw_pending(&redis).await == 101).await;
}

async fn raw_pending(redis: &Redis) -> u64 {
    raw(redis).await.pending().await
}

#[tokio::test]
async fn a_replica_is_read_only_and_says_so() {
    let redis = Redis::in_memory();
    let replica = redis.replica();
    let pushed = Batches::new().some(4);
    all_in(pusher(&redis).push(&pushed).await);
    let pusher = impatient(&replica);
    let begun = Instant::now();
    // Until it has copied its master it says that it loads, or that its master is down.
    let error = loop {
        match pusher.push(&pushed).await.remove(0) {
            Err(error @ (RedisError::Loading | RedisError::Away(_))) => {
                assert!(begun.elapsed() < Duration::from_secs(20), "{error}")
            }
            outcome => break outcome.expect_err("a replica takes nothing"),
        }
    };
    assert_eq!(error, RedisError::ReadOnly);
    assert!(error.is_passing() && error.to_string().contains("master"));
    assert_eq!(
        consumer(&replica, "one").take(1, Duration::ZERO).await.expect_err("it gives nothing"),
        RedisError::ReadOnly
    );
    let found = target(&replica).inspect().await.expect("it answers");
    assert!(found.replica && found.remarks.iter().any(|remark| remark.contains("replica")), "{found:?}");
}

#[tokio::test]
async fn replicas_that_are_asked_for_have_the_batch_or_it_is_not_in() {
    let redis = Redis::in_memory();
    let options = PushOptions { timeout: Duration::from_secs(2), ..PushOptions::new(4, 1) };
    let pusher = pusher_with(&redis, options);
    let mut batches = Batches::new();
    let some = batches.some(4);
    let outcomes = pusher.push(&some).await;
    assert!(
        outcomes
            .iter()
            .all(|outcome| matches!(outcome, Err(RedisError::Away(text)) if text.contains("0 of 1 replicas"))),
        "{outcomes:?}"
    );
    let replica = redis.replica();
    let batch = batches.make(1, 1);
    push_until_in(&pusher, &batch).await;
    let mut copy = raw(&replica).await;
    let before: u64 = copy.lengths().await;
    assert!(before >= 1);
    replica.signal("STOP");
    let frozen = pusher.push(&batches.some(2)).await;
    assert!(frozen.iter().all(Result::is_err), "{frozen:?}");
    replica.signal("CONT");
    push_until_in(&pusher, &batches.make(1, 1)).await;
}
