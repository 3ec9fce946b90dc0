//! Connections that are cut, servers that crash, transactions that hang.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// Ends every session of a writer.
const CUT: &str =
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'logboom/%'";

#[test]
fn an_answer_lost_in_commit_is_found_out() {
    // A COMMIT that is on the disk and waits for a replica that is not there: ending the session leaves it in place.
    let bed = Bed::on(Postgres::with(&["synchronous_standby_names=nobody", "synchronous_commit=local"]));
    let mut source = Source::new(NOON);
    bed.store(&mut bed.writer("first"), &source.batches(1, 10)).unwrap();
    bed.as_superuser("ALTER ROLE log_user SET synchronous_commit = on");
    let mut writer = bed.writer("0");
    let batches = source.batches(3, 100);
    let task = bed.runtime.spawn(async move { (writer.store(&batches).await, writer, batches) });
    bed.wait_for(
        "EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name LIKE 'logboom/%')",
    );
    bed.as_superuser(CUT);
    let (stored, mut writer, batches) = bed.run(task).unwrap();
    // They count as stored by this call, because they were.
    assert_eq!(stored, Ok(Stored { rows: 300, batches: 3, known: 0, dead: 0 }));
    bed.assert_rows(310);
    assert_eq!(bed.store(&mut writer, &batches).unwrap().known, 3);
    assert_eq!(bed.counters.retries.load(Ordering::Relaxed), 1);
}

#[test]
fn a_transaction_that_is_cut_in_commit_is_run_again() {
    let bed = Bed::new();
    let mut writer = bed.writer("0");
    let mut source = Source::new(NOON);
    bed.store(&mut writer, &source.batches(1, 10)).unwrap();
    // What is deferred runs in COMMIT, and before the transaction is on the disk.
    bed.sql(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NULL; END';
        CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON ingested_batches DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION slow()",
    );
    let batches = source.batches(1, 100);
    let task = bed.runtime.spawn(async move { writer.store(&batches).await });
    bed.wait_for("EXISTS (SELECT FROM pg_stat_activity WHERE query = 'COMMIT' AND wait_event = 'PgSleep')");
    bed.as_superuser(&format!("DROP TRIGGER IF EXISTS none ON logs; {CUT}"));
    // The trigger is there for the second try as well; it is taken away from under it.
    bed.wait_for("EXISTS (SELECT FROM pg_stat_activity WHERE query = 'COMMIT' AND wait_event = 'PgSleep')");
    bed.as_superuser(CUT);
    bed.sql("DROP TRIGGER slow ON ingested_batches");
    assert_eq!(bed.run(task).unwrap(), Ok(Stored { rows: 100, batches: 1, known: 0, dead: 0 }));
    bed.assert_rows(110);
}

#[test]
fn cut_connections_and_crashes_lose_nothing_and_double_nothing() {
    let mut bed = Bed::new();
    let mut source = Source::new(NOON);
    let batches = source.batches(320, 25);
    let is_done = Arc::new(AtomicBool::new(false));
    let task = {
        let mut writer = bed.writer("0");
        let (batches, is_done) = (batches.clone(), is_done.clone());
        bed.runtime.spawn(async move {
            let mut stored = Stored::default();
            for group in batches.chunks(2) {
                // As a queue does: the same again until it is taken.
                loop {
                    match writer.store(group).await {
                        Ok(more) => break stored.rows += more.rows,
                        Err(StoreError::Away(_) | StoreError::Locked { .. }) => {
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            is_done.store(true, Ordering::Relaxed);
            stored
        })
    };
    let mut turn = 0;
    while !is_done.load(Ordering::Relaxed) {
        turn += 1;
        match turn % 6 {
            1 => {
                bed.server.stop("immediate");
                bed.server.start();
            }
            _ => {
                bed.as_superuser(CUT);
                std::thread::sleep(Duration::from_millis(60));
            }
        }
    }
    bed.run(task).unwrap();
    bed.assert_rows(8_000);
    assert_eq!(bed.count("ingested_batches"), 320);
}

#[test]
fn a_server_that_is_away_is_said_to_be() {
    let mut bed = Bed::new();
    let mut writer = bed.writer("0");
    let mut source = Source::new(NOON);
    bed.store(&mut writer, &source.batches(1, 10)).unwrap();
    assert!(writer.is_connected());
    bed.server.stop("fast");
    let batches = source.batches(1, 10);
    assert_away(bed.store(&mut writer, &batches), "is the server of db_url running");
    assert!(!writer.is_connected());
    assert!(bed.counters.last_failure().unwrap().text.contains("postgresql://log_user@127.0.0.1"));
    bed.server.start();
    assert_eq!(bed.store(&mut writer, &batches).unwrap().rows, 10);
    bed.assert_rows(20);
}

#[test]
fn a_writer_may_be_dropped_in_the_middle() {
    let bed = Bed::new();
    let mut writer = bed.writer("0");
    let batches = Source::new(NOON).batches(20, 200);
    for micros in (0..200).map(|n| n * 100) {
        bed.run(async { tokio::time::timeout(Duration::from_micros(micros), writer.store(&batches)).await }).ok();
    }
    bed.store_at_last(&mut writer, &batches);
    bed.assert_rows(4_000);
}

#[test]
fn a_table_that_is_locked_is_waited_for_only_so_long() {
    let bed = Bed::new();
    let options = WriterOptions {
        lock_timeout: Duration::from_millis(200),
        transaction_max: Duration::from_secs(5),
        ..WriterOptions::default()
    };
    let mut writer = bed.writer_with("0", options);
    let mut source = Source::new(NOON);
    bed.store(&mut writer, &source.batches(1, 10)).unwrap();
    let admin = bed.connect("psql");
    bed.run(admin.batch_execute("BEGIN; LOCK TABLE logs IN ACCESS EXCLUSIVE MODE")).unwrap();
    let batches = source.batches(2, 10);
    assert_away(bed.store(&mut writer, &batches), "lock timeout");
    bed.run(admin.batch_execute("COMMIT")).unwrap();
    assert_eq!(bed.store(&mut writer, &batches).unwrap().rows, 20);

    // The transaction's own limit, where nothing else ends it.
    bed.sql(
        "CREATE TABLE slowness AS SELECT 60 AS seconds;
        CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN PERFORM pg_sleep(seconds) FROM slowness; RETURN NEW; END';
        CREATE TRIGGER slow BEFORE INSERT ON log_counts FOR EACH STATEMENT EXECUTE FUNCTION slow()",
    );
    let options = WriterOptions {
        lock_timeout: Duration::from_secs(1),
        transaction_max: Duration::from_secs(2),
        ..WriterOptions::default()
    };
    let mut slow = bed.writer_with("1", options);
    let batches = source.batches(1, 10);
    let started = Instant::now();
    let result = bed.store(&mut slow, &batches);
    assert!(matches!(result, Err(StoreError::Away(_) | StoreError::Locked { .. })), "{result:?}");
    assert!(started.elapsed() < Duration::from_secs(30));
    bed.sql("UPDATE slowness SET seconds = 0");
    // The session that it gave up last holds the batch still, and is ended by the one that made it.
    bed.store_at_last(&mut slow, &batches);
    bed.assert_rows(40);
}
