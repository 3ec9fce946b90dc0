//! Several workers, of which some die.

use super::*;

const SOON: Duration = Duration::from_millis(1_500);

#[tokio::test]
async fn a_dead_workers_batches_go_to_another_and_no_others() {
    let redis = Redis::in_memory();
    let pushed = Batches::new().some(30);
    all_in(pusher(&redis).push(&pushed).await);
    let mut dead = claiming(&redis, "dead", SOON);
    let taken = take_count(&mut dead, 30).await;
    let (stored, lost) = taken.split_at(10);
    dead.done(stored).await.expect("deleted");
    drop(dead);
    let mut other = claiming(&redis, "other", SOON);
    let begun = Instant::now();
    let again = take_count(&mut other, 20).await;
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert_eq!(ids_of(&again), ids_of(lost));
    assert!(
        again.iter().all(|one| one.deliveries == 2),
        "{:?}",
        again.iter().map(|one| one.deliveries).collect::<Vec<_>>()
    );
    other.done(&again).await.expect("deleted");
    assert_eq!(take_all(&mut other).await.len(), 0);
    let mut raw = raw(&redis).await;
    assert_eq!((raw.lengths().await, raw.pending().await), (0, 0));
}

#[tokio::test]
async fn what_is_renewed_is_not_claimed() {
    let redis = Redis::in_memory();
    let pushed = Batches::new().some(8);
    all_in(pusher(&redis).push(&pushed).await);
    let mut slow = claiming(&redis, "slow", SOON);
    let mut taken = take_count(&mut slow, 8).await;
    let mut other = claiming(&redis, "other", SOON);
    for _ in 0..4 {
        tokio::time::sleep(SOON / 4).await;
        taken = slow.renew(taken).await;
        assert_eq!(taken.len(), 8);
        assert_eq!(other.take(100, Duration::ZERO).await.expect("it answers").len(), 0, "after a second at most");
        taken = slow.renew(taken).await;
    }
    // One was stored by another, who had claimed it meanwhile.
    other.done(&taken[..1]).await.expect("deleted");
    assert_eq!(ids_of(&slow.renew(taken.clone()).await), ids_of(&taken[1..]));
}

#[tokio::test]
async fn a_worker_that_leaves_hands_back_what_it_has_at_once() {
    let redis = Redis::in_memory();
    let pushed = Batches::new().some(60);
    all_in(pusher(&redis).push(&pushed).await);
    let mut leaving = consumer(&redis, "leaving");
    let mut stored = Vec::new();
    stored.extend(leaving.take(5, Duration::ZERO).await.expect("it answers"));
    leaving.done(&stored).await.expect("deleted");
    let held = leaving.take(20, Duration::ZERO).await.expect("it answers");
    // And a call that is dropped half way: what it took nobody has seen.
    for _ in 0..20 {
        let take = leaving.take(20, Duration::from_secs(5));
        let _ = tokio::time::timeout(Duration::from_micros(300), take).await;
    }
    leaving.leave(held).await;
    let mut other = consumer(&redis, "other");
    let begun = Instant::now();
    let rest = take_count(&mut other, 60 - stored.len()).await;
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}, and claim_after is 30 s", begun.elapsed());
    let mut all = ids_of(&rest);
    all.extend(ids_of(&stored));
    all.sort_unstable();
    assert_eq!(all, ids(&pushed));
    other.done(&rest).await.expect("deleted");
    other.leave(Vec::new()).await;
}

#[tokio::test]
async fn what_a_lost_answer_held_is_read_again_at_once() {
    let redis = Redis::in_memory();
    let pushed = Batches::new().some(20);
    all_in(pusher(&redis).push(&pushed).await);
    let mut raw = raw(&redis).await;
    for stream in 0..4 {
        // As if the connection had broken here.
        raw.ask::<Value>(&format!("XREADGROUP GROUP store one COUNT 3 STREAMS logboom:{stream} >")).await;
    }
    let mut worker = consumer(&redis, "one");
    let taken = take_all(&mut worker).await;
    assert_eq!(ids_of(&taken), ids(&pushed));
    assert!(taken.iter().any(|one| one.deliveries == 2));
    // Calls that were dropped lose nothing, and double nothing either.
    let more = Batches::new().some(40);
    all_in(pusher(&redis).push(&more).await);
    let mut all = Vec::new();
    for i in 0..200 {
        let take = worker.take(7, IDLE);
        if let Ok(taken) = tokio::time::timeout(Duration::from_micros(100 + 20 * i), take).await {
            all.extend(taken.expect("it answers"));
        }
    }
    all.extend(take_all(&mut worker).await);
    assert_eq!(ids_of(&all), ids(&more));
}

#[tokio::test]
async fn a_crash_between_deletion_and_acknowledgement_leaves_nothing() {
    let redis = Redis::in_memory();
    all_in(pusher(&redis).push(&Batches::new().some(12)).await);
    let mut dead = claiming(&redis, "dead", SOON);
    let taken = take_count(&mut dead, 12).await;
    drop(dead);
    let mut raw = raw(&redis).await;
    for one in &taken {
        raw.ask::<u64>(&format!("XDEL logboom:{} {}", one.stream, one.entry)).await;
    }
    assert_eq!((raw.lengths().await, raw.pending().await), (0, 12));
    tokio::time::sleep(SOON).await;
    // Another worker finds no batch in them; the dead one's own name neither.
    let mut other = claiming(&redis, "other", SOON);
    assert_eq!(take_all(&mut other).await.len(), 0);
    assert_eq!(raw.pending().await, 0);
}

#[tokio::test]
async fn consumers_that_are_gone_for_long_are_deleted_unless_something_is_pending() {
    let redis = Redis::in_memory();
    let mut batches = Batches::new();
    let pusher = pusher(&redis);
    all_in(pusher.push(&batches.some(12)).await);
    let mut gone = consumer(&redis, "gone");
    let stored = take_count(&mut gone, 12).await;
    gone.done(&stored).await.expect("deleted");
    all_in(pusher.push(&batches.some(12)).await);
    let mut holding = consumer(&redis, "holding");
    let held = take_count(&mut holding, 12).await;
    let consumers = async || {
        let status = status(&target(&redis), 4).await.expect("it answers");
        let all = status.streams.into_iter().flat_map(|stream| stream.consumers).map(|consumer| consumer.name);
        let mut names: Vec<String> = all.collect();
        names.sort_unstable();
        names.dedup();
        names
    };
    assert_eq!(consumers().await, ["gone", "holding"]);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut worker = consumer(&redis, "worker");
    worker.tidy_soon(Duration::from_millis(100));
    assert_eq!(take_all(&mut worker).await.len(), 0);
    assert_eq!(consumers().await, ["holding", "worker"]);
    holding.done(&held).await.expect("deleted");
}

#[tokio::test]
async fn many_workers_share_a_stream_and_none_gets_anothers() {
    let redis = Redis::in_memory();
    let pushed: Vec<Batch> = (0..8).flat_map(|_| Batches::new().some(50)).collect();
    for some in pushed.chunks(50) {
        all_in(pusher(&redis).push(some).await);
    }
    let work = |name: &str| {
        let mut worker = consumer(&redis, name);
        async move {
            let mut all = Vec::new();
            loop {
                let taken = worker.take(60, IDLE).await.expect("it answers");
                if taken.is_empty() {
                    return all;
                }
                worker.done(&taken).await.expect("deleted");
                all.extend(taken);
            }
        }
    };
    let (mut a, b, c) = tokio::join!(work("a"), work("b"), work("c"));
    assert!(!a.is_empty() && !b.is_empty() && !c.is_empty(), "{} {} {}", a.len(), b.len(), c.len());
    a.extend(b.into_iter().chain(c));
    assert_eq!(ids_of(&a), ids(&pushed));
    assert_eq!(raw(&redis).await.lengths().await, 0);
}
