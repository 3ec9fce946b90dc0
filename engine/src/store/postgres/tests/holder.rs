//! A batch that another session holds.

use std::sync::atomic::Ordering;

use super::*;

fn options(claim_after: Duration) -> WriterOptions {
    WriterOptions {
        lock_timeout: Duration::from_secs(2),
        transaction_max: Duration::from_secs(10),
        claim_after,
        retain: None,
    }
}

/// A session that is in the transaction of a batch, as a worker that was stopped in the middle of its COPY.
fn hold(bed: &Bed, name: &str, batch: &Batch) -> Client {
    let client = bed.connect(name);
    let insert = format!(
        "BEGIN; INSERT INTO ingested_batches (part, batch_id) VALUES ({}, '{}')",
        batch.header().part,
        batch.id()
    );
    bed.run(client.batch_execute(&insert)).unwrap();
    client
}

#[test]
fn a_stopped_worker_does_not_hold_up_the_others() {
    let bed = Bed::new();
    let batches = Source::new(NOON).batches(8, 20);
    let stopped = hold(&bed, "logboom/elsewhere/1/0", &batches[3]);
    let mut writer = bed.writer_with("0", options(Duration::from_secs(3)));

    // Within its time it is left alone; the others can be stored meanwhile.
    let held = bed.store(&mut writer, &batches).unwrap_err();
    assert_eq!(held, StoreError::Locked { held: vec![batches[3].id()] });
    let others: Vec<Batch> = batches.iter().filter(|batch| batch.id() != batches[3].id()).cloned().collect();
    assert_eq!(bed.store(&mut writer, &others).unwrap().rows, 140);
    assert_eq!(bed.counters.terminated_holders.load(Ordering::Relaxed), 0);

    // Later it is ended.
    std::thread::sleep(Duration::from_secs(3));
    let stored = bed.store_at_last(&mut writer, &batches);
    assert_eq!(stored, Stored { rows: 20, batches: 1, known: 7, dead: 0 });
    assert_eq!(bed.counters.terminated_holders.load(Ordering::Relaxed), 1);
    bed.assert_rows(160);
    // When it goes on, its transaction is no more.
    assert!(bed.run(stopped.batch_execute("COMMIT")).is_err());
    bed.assert_rows(160);
}

#[test]
fn a_session_that_is_not_ours_is_never_ended() {
    let bed = Bed::new();
    let batches = Source::new(NOON).batches(3, 20);
    let person = hold(&bed, "psql", &batches[1]);
    std::thread::sleep(Duration::from_millis(300));
    let mut writer = bed.writer_with("0", options(Duration::from_millis(100)));
    let held = StoreError::Locked { held: vec![batches[1].id()] };
    assert_eq!(bed.store(&mut writer, &batches), Err(held));
    assert_eq!(bed.counters.terminated_holders.load(Ordering::Relaxed), 0);
    // They let go, and it is stored; had they committed, it would be known.
    bed.run(person.batch_execute("ROLLBACK")).unwrap();
    assert_eq!(bed.store(&mut writer, &batches).unwrap().rows, 60);
    bed.assert_rows(60);
}

#[test]
fn whoever_is_about_to_commit_is_waited_for() {
    let bed = Bed::new();
    let batches = Source::new(NOON).batches(1, 20);
    let other = hold(&bed, "logboom/elsewhere/1/0", &batches[0]);
    let task = bed.runtime.spawn(async move {
        tokio::time::sleep(Duration::from_millis(150)).await;
        other.batch_execute("COMMIT").await
    });
    let mut writer = bed.writer_with("0", options(Duration::from_secs(30)));
    assert_eq!(bed.store(&mut writer, &batches), Ok(Stored { known: 1, ..Stored::default() }));
    bed.run(task).unwrap().unwrap();
}
