//! Queries that are stopped, that ask for too much, or whose server is away.

use std::time::Instant;

use record::filter::Expr;

use super::*;

/// What runs on the server for the reader now.
fn running(store: &Fixture) -> String {
    store.server.sql_as(
        "postgres",
        "postgres",
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'logboom/query' AND state <> 'idle'",
    )
}

fn wait_until_idle(store: &Fixture) {
    let limit = Instant::now() + Duration::from_secs(10);
    while running(store) != "0" {
        assert!(Instant::now() < limit, "a query still runs");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn with_records(options: ReaderOptions, count: usize) -> Fixture {
    let store = Fixture::new(options);
    store.partition(Some(START), Some(START + 86_400 * SECOND));
    store.insert(&records(count, 1_000));
    store
}

#[test]
fn a_stopped_query_ends_on_the_server() {
    let store = with_records(options(), 10);
    let filter = Filter { expr: Expr::Text("mill".to_owned()), ..Filter::default() };
    // Who waits for a lock waits for as long as it takes.
    store.execute("BEGIN; LOCK TABLE logs IN ACCESS EXCLUSIVE MODE");
    let stop = Stop::after(Duration::from_secs(60));
    std::thread::scope(|scope| {
        let query = scope.spawn(|| store.counts(&filter, &stop));
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(running(&store), "1");
        let cancelled = Instant::now();
        stop.cancel();
        assert!(matches!(query.join().unwrap(), Err(QueryError::Cancelled)));
        assert!(cancelled.elapsed() < Duration::from_secs(2), "{:?}", cancelled.elapsed());
    });
    wait_until_idle(&store);
    let begun = Instant::now();
    let error = store.page(&filter, 10, None, &Stop::after(Duration::from_millis(400))).unwrap_err();
    assert!(matches!(error, QueryError::Deadline { .. }), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    wait_until_idle(&store);
    store.execute("COMMIT");
    assert_eq!(store.page(&filter, 100, None, &super::stop()).unwrap().rows.count, 10);
}

/// A reader that is gone cannot cancel anything: the server has a limit of its own.
#[test]
fn the_server_has_a_limit_of_its_own() {
    let store = with_records(options(), 10);
    let limit = Duration::from_millis(200);
    store.execute("BEGIN; LOCK TABLE logs IN ACCESS EXCLUSIVE MODE");
    let failure = store.runtime.block_on(async {
        let session = Session::begin(&store.pool, limit, Some(limit)).await?;
        let mut rows = session.stream(Sql::new("SELECT count(*) FROM logs")).await?;
        rows.try_next().await.map_err(Failure::from)
    });
    assert!(failure.unwrap_err().is_cancelled());
    store.execute("COMMIT");
}

/// A server that has stopped to answer holds nobody up for longer than he wants to wait.
#[test]
fn a_server_that_hangs_is_not_waited_for() {
    use rustix::process::{Pid, Signal, kill_process};
    let store = with_records(options(), 10);
    let all = Filter::default();
    store.page(&all, 1, None, &stop()).unwrap();
    let backend = "SELECT pid FROM pg_stat_activity WHERE application_name = 'logboom/query'";
    let backend: i32 = store.server.sql_as("postgres", "postgres", backend).parse().unwrap();
    let backend = Pid::from_raw(backend).unwrap();
    kill_process(backend, Signal::STOP).unwrap();
    let begun = Instant::now();
    let error = store.page(&all, 1, None, &Stop::after(Duration::from_millis(500))).unwrap_err();
    assert!(matches!(error, QueryError::Deadline { .. }), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    // The next one gets a connection of its own.
    assert_eq!(store.page(&all, 100, None, &stop()).unwrap().rows.count, 10);
    kill_process(backend, Signal::CONT).unwrap();
}

#[test]
fn what_is_too_much_is_said() {
    let store = with_records(ReaderOptions { query_bytes_max: 2_000, ..options() }, 1_000);
    assert_eq!(store.page(&Filter::default(), 5, None, &stop()).unwrap().rows.count, 5);
    let too_much = |error: QueryError| assert!(matches!(error, QueryError::Memory { bytes: 2_000 }), "{error}");
    too_much(store.page(&Filter::default(), 500, None, &stop()).unwrap_err());
    too_much(store.facets(&Filter::default(), &FacetField::Metadata("number".into()), 5, &stop()).unwrap_err());
    // An export goes through in pieces.
    let mut exported = 0;
    let mut sink = |rows: &RowBuf| {
        exported += rows.count;
        true
    };
    store.export(&Filter::default(), &stop(), &mut sink).unwrap();
    assert_eq!(exported, 1_000);
}

#[test]
fn an_export_is_one_snapshot_and_ends_when_told() {
    let store = with_records(options(), 20_000);
    let (mut seen, mut pieces) = (Vec::new(), 0);
    let mut sink = |rows: &RowBuf| {
        pieces += 1;
        assert!(rows.bytes.len() < 2 * PIECE_BYTES);
        seen.extend(ids(rows));
        // Waits for the runtime, as the sidecar's does.
        store.execute("DELETE FROM logs WHERE id = (SELECT id FROM logs ORDER BY \"timestamp\", id LIMIT 1)");
        true
    };
    store.export(&Filter::default(), &stop(), &mut sink).unwrap();
    assert!(pieces > 3, "{pieces}");
    assert_eq!(seen.len(), 20_000);
    assert!(seen.is_sorted_by_key(std::cmp::Reverse));
    // More than there are connections.
    for _ in 0..10 {
        let mut calls = 0;
        let mut sink = |_: &RowBuf| {
            calls += 1;
            false
        };
        store.export(&Filter::default(), &stop(), &mut sink).unwrap();
        assert_eq!(calls, 1);
    }
    let gone = stop();
    let mut sink = |_: &RowBuf| {
        gone.cancel();
        true
    };
    assert!(matches!(store.export(&Filter::default(), &gone, &mut sink), Err(QueryError::Cancelled)));
    wait_until_idle(&store);
    assert_eq!(store.page(&Filter::default(), 10, None, &stop()).unwrap().rows.count, 10);
}

#[test]
fn a_server_that_is_away_is_named_and_comes_back() {
    let mut store = with_records(options(), 10);
    let page = |store: &Fixture| store.page(&Filter::default(), 100, None, &stop());
    assert_eq!(page(&store).unwrap().rows.count, 10);
    // Whatever connections there were are gone, and nobody notices.
    store.server.stop("immediate");
    store.server.start();
    assert_eq!(page(&store).unwrap().rows.count, 10);
    store.server.stop("fast");
    let error = page(&store).unwrap_err().to_string();
    let port = store.server.port();
    assert!(error.contains(&format!("127.0.0.1:{port}")), "{error}");
    assert!(error.contains("Connection refused") && error.contains("db_url"), "{error}");
    store.server.start();
    assert_eq!(page(&store).unwrap().rows.count, 10);
    let mut sink = |rows: &RowBuf| rows.count > 0;
    store.server.stop("fast");
    store.server.start();
    store.export(&Filter::default(), &stop(), &mut sink).unwrap();
}

#[test]
fn what_is_wrong_with_the_database_is_said() {
    let store = Fixture::new(options());
    let reader = |url: &str| reader_of(&Target::parse(url).unwrap(), &store.runtime, options());
    let says = |url: &str| reader(url).page(&Filter::default(), 1, None, &stop()).unwrap_err().to_string();
    let url = store.server.url();
    let error = says(&store.server.superuser_url("postgres"));
    assert!(error.contains("logboom migrate"), "{error}");
    let error = says(&url.replace("log_aggregation", "nothing_there"));
    assert!(error.contains("nothing_there") && error.contains("db_url"), "{error}");
    store.server.sql_as("postgres", "log_aggregation", "CREATE ROLE nobody LOGIN");
    let error = says(&url.replace("log_user", "nobody"));
    assert!(error.contains("GRANT SELECT"), "{error}");
    store.server.sql_as("postgres", "log_aggregation", "GRANT SELECT ON logs, log_counts TO nobody");
    reader(&url.replace("log_user", "nobody")).page(&Filter::default(), 1, None, &stop()).unwrap();
}

/// Whole minutes come from what was counted when it was written, and the rest from the rows.
#[test]
fn counts_of_whole_minutes_are_kept() {
    let store = with_records(options(), 10);
    store.insert(&records_at(START + 90 * SECOND, 5));
    store.count_minutes();
    // What is counted only, so that it can be told from rows.
    store.execute(
        "UPDATE log_counts SET count = count + 1000 WHERE level = 'INFO' AND application = 'mill' \
         AND minute = '2025-11-11T16:00:00Z'",
    );
    let kept = |filter: &Filter| store.counts(filter, &stop()).unwrap().total() >= 1000;
    let time = |second: i64| Some(Timestamp::clamped(START + second * SECOND));
    let within = |from, to| Filter { from, to, ..Filter::default() };
    assert!(kept(&Filter::default()));
    assert!(kept(&within(time(0), time(60))));
    assert!(kept(&within(time(-1), time(61))));
    assert!(!kept(&within(time(1), time(60))));
    assert!(!kept(&within(time(0), time(59))));
    assert_eq!(store.counts(&within(time(1), time(600)), &stop()).unwrap().total(), 5);
    assert_eq!(
        store.counts(&within(time(0), time(90)), &stop()).unwrap().levels.iter().filter(|n| **n > 900).count(),
        1
    );
    let mill = Filter { application: Some(vec!["mill".into()]), ..Filter::default() };
    assert!(kept(&mill));
    let level = Filter { expr: Expr::Level([Level::Info].into_iter().collect()), ..Filter::default() };
    assert!(kept(&level));
    let text = Filter { expr: Expr::Text("mill".into()), ..Filter::default() };
    assert!(!kept(&text));
    let sum = |histogram: Histogram| histogram.buckets.iter().map(|(_, counts)| counts.total()).sum::<u64>();
    assert!(sum(store.histogram(&Filter::default(), Some(60), &stop()).unwrap()) > 1000);
    assert_eq!(sum(store.histogram(&Filter::default(), Some(30), &stop()).unwrap()), 15);
    let facets = store.facets(&Filter::default(), &FacetField::Application, 5, &stop()).unwrap();
    assert!(facets.values[0].1 > 1000, "{facets:?}");
    // From the first record to the last are 90.004 s.
    assert_eq!(store.histogram(&Filter::default(), None, &stop()).unwrap().interval_seconds, 1);
    store.insert(&records_at(START + 300 * SECOND, 1));
    store.count_minutes();
    assert_eq!(store.histogram(&Filter::default(), None, &stop()).unwrap().interval_seconds, 5);
}

fn records_at(start: i64, count: usize) -> Vec<LogRecord> {
    let mut made = records(count, 1_000);
    for record in &mut made {
        record.timestamp = Timestamp::clamped(record.timestamp.as_micros() - START + start);
        record.id = Id::new(record.timestamp, 8, record.id.counter());
    }
    made
}

#[test]
fn context_is_of_the_same_source() {
    let store = with_records(options(), 300);
    store.partition(None, Some(START));
    store.insert(&records_at(START - 300 * 1_000, 300));
    let mut same: Vec<Id> = records(300, 1_000)
        .iter()
        .chain(&records_at(START - 300 * 1_000, 300))
        .filter(|record| record.source == "host-1")
        .map(|record| record.id)
        .collect();
    same.sort();
    for at in [0, 5, 99, 100, 150, same.len() - 1] {
        let context = store.context(same[at], 7, 4, &stop()).unwrap().unwrap();
        assert_eq!(ids(&context.before), same[at.saturating_sub(7)..at]);
        assert_eq!(ids(&context.log), [same[at]]);
        assert_eq!(ids(&context.after), same[at + 1..(at + 5).min(same.len())]);
    }
    assert!(store.context(Id::MAX, 1, 1, &stop()).unwrap().is_none());
}
