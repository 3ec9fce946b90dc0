//! Folding, retention, sealing, forgetting.

use std::sync::atomic::Ordering;
use std::time::SystemTime;

use super::super::locks;
use super::super::upkeep::{UpkeepOptions, run, run_once};
use super::*;

fn options() -> UpkeepOptions {
    UpkeepOptions { seal_after: Duration::ZERO, ..UpkeepOptions::default() }
}

impl Bed {
    fn keep_up(&self, options: &UpkeepOptions) {
        self.run(run_once(&self.target, options, &self.counters)).unwrap();
    }

    fn store_all(&self, batches: &[Batch]) {
        self.store(&mut self.writer("0"), batches).unwrap();
    }

    fn indexes(&self, table: &str) -> String {
        self.sql(&format!(
            "SELECT string_agg(indexrelid::regclass::text, ' ' ORDER BY indexrelid::regclass::text) FROM pg_index
             WHERE indrelid = '{table}'::regclass AND indisvalid
                AND indexrelid::regclass::text ~ '_(message|source|application)$'"
        ))
    }
}

/// Midnight, so many days ago.
fn days_ago(days: i64) -> i64 {
    crate::clock::now().as_micros() / DAY * DAY - days * DAY
}

fn name(at: i64) -> String {
    let (year, month, day) = record::time::civil_from_days(at / DAY);
    format!("logs_{year:04}_{month:02}_{day:02}")
}

#[test]
fn counts_are_folded_and_stay_the_same() {
    let bed = Bed::new();
    let mut writer = bed.writer("0");
    for _ in 0..5 {
        bed.store(&mut writer, &Source::new(days_ago(3)).batches(2, 300)).unwrap();
    }
    let before = bed.count("log_counts");
    bed.keep_up(&options());
    let after = bed.count("log_counts");
    // The same minutes five times over.
    assert_eq!(after * 5, before);
    assert_eq!(bed.count("log_counts WHERE NOT folded"), 0);
    bed.assert_rows(3_000);
    // What comes later is folded into what is there.
    bed.store(&mut writer, &Source::new(days_ago(3)).batches(2, 300)).unwrap();
    bed.keep_up(&options());
    assert_eq!(bed.count("log_counts"), after);
    bed.assert_rows(3_600);

    // A minute that is now is left alone; and whoever finds the lock taken passes on.
    bed.store(&mut writer, &Source::stepping(crate::clock::now().as_micros(), 10).batches(2, 10)).unwrap();
    bed.store(&mut writer, &Source::new(days_ago(2)).batches(1, 10)).unwrap();
    let other = bed.connect("other");
    bed.run(other.batch_execute(&format!("SELECT pg_advisory_lock({})", locks::FOLDING))).unwrap();
    let unfolded = bed.count("log_counts WHERE NOT folded");
    bed.keep_up(&options());
    assert_eq!(bed.count("log_counts WHERE NOT folded"), unfolded);
    drop(other);
    bed.wait_for("count(*) = 0 FROM pg_stat_activity WHERE application_name = 'other'");
    bed.keep_up(&options());
    assert!(bed.count("log_counts WHERE NOT folded") > 0);
    assert_eq!(bed.count("log_counts WHERE NOT folded AND minute < now() - interval '3 minutes'"), 0);
    bed.assert_rows(3_630);
}

#[test]
fn days_past_their_time_go_with_their_counts() {
    let bed = Bed::new();
    for (days, rows) in [(0, 10), (1, 20), (9, 30), (10, 40), (11, 50), (40, 60)] {
        bed.store_all(&[Source::stepping(days_ago(days), 1_000).batch(rows)]);
    }
    bed.store_all(&[Source::new(SECOND).batch(5)]);
    let old = options();
    bed.keep_up(&old);
    bed.assert_rows(215);
    // Somebody keeps a day for themselves.
    bed.sql(&format!("ALTER TABLE logs DETACH PARTITION {}", name(days_ago(40))));
    bed.sql(&format!("DELETE FROM log_counts WHERE minute < to_timestamp({})", days_ago(39) / SECOND));
    bed.sql(
        "INSERT INTO log_counts SELECT 0, date_trunc('minute', timestamp), level, source, application, count(*)
        FROM logs_past GROUP BY 2, 3, 4, 5",
    );
    // One was being detached when a process died, another was detached and not yet dropped.
    let (leaving, left) = (name(days_ago(11)), name(days_ago(10)));
    let mark = |day: i64| format!("'logboom drops this: {} {}'", days_ago(day), days_ago(day - 1));
    bed.sql(&format!("COMMENT ON TABLE {leaving} IS {}; COMMENT ON TABLE {left} IS {}", mark(11), mark(10)));
    bed.sql(&format!("ALTER TABLE logs DETACH PARTITION {left}"));
    bed.as_superuser(&format!("UPDATE pg_inherits SET inhdetachpending = true WHERE inhrelid = '{leaving}'::regclass"));
    let mut retained = options();
    retained.retain = Some(Duration::from_secs(8 * 86_400));
    bed.keep_up(&retained);
    let kept = [days_ago(-1), days_ago(0), days_ago(1)].map(name);
    let there = bed.partitions();
    assert!(there.split(' ').all(|table| kept.iter().any(|name| name == table)), "{there}");
    bed.assert_rows(30);
    assert_eq!(
        bed.sql("SELECT count(*) FROM pg_tables WHERE tablename ~ '^logs_'"),
        (there.split(' ').count() + 1).to_string()
    );
    assert_eq!(bed.count(&name(days_ago(40))), 60);
    assert_eq!(bed.counters.partitions_dropped.load(Ordering::Relaxed), 4);

    // A late record of such a day makes it anew, and it goes again. A mark that nothing came of is taken off.
    bed.store_all(&[Source::new(days_ago(20)).batch(3)]);
    bed.sql(&format!("COMMENT ON TABLE {} IS {}", name(days_ago(1)), mark(1)));
    bed.keep_up(&retained);
    bed.assert_rows(30);
    bed.keep_up(&options());
    bed.assert_rows(30);
}

#[test]
fn a_day_that_is_over_and_quiet_is_sealed() {
    let bed = Bed::new();
    let (today, yesterday) = (name(days_ago(0)), name(days_ago(1)));
    for days in [0, 1] {
        bed.store_all(&[Source::stepping(days_ago(days), 1_000).batch(100)]);
    }
    // Rows came a moment ago.
    bed.keep_up(&UpkeepOptions::default());
    assert_eq!(bed.indexes(&yesterday), "");
    bed.keep_up(&options());
    let all = format!("{yesterday}_application {yesterday}_message {yesterday}_source");
    assert_eq!(bed.indexes(&yesterday), all);
    assert_eq!(bed.indexes(&today), "");
    assert_eq!(bed.counters.partitions_sealed.load(Ordering::Relaxed), 1);
    let plan = bed.sql(&format!(
        "SET enable_seqscan = off; EXPLAIN SELECT FROM {yesterday} WHERE lower(message) LIKE '%messag%'"
    ));
    assert!(plan.contains(&format!("{yesterday}_message")), "{plan}");
    // Tomorrow's is there before tomorrow.
    assert!(bed.partitions().contains(&name(days_ago(-1))));

    // Late rows go in all the same. What is sealed is left alone.
    bed.store_all(&[Source::stepping(days_ago(1), 1_000).batch(10)]);
    bed.keep_up(&options());
    assert_eq!(bed.counters.partitions_sealed.load(Ordering::Relaxed), 1);
    // A build that was interrupted is made anew.
    bed.as_superuser(&format!(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{yesterday}_source'::regclass"
    ));
    bed.keep_up(&options());
    assert_eq!(bed.indexes(&yesterday), all);
    bed.assert_rows(210);
}

#[test]
fn a_day_whose_sources_are_too_long_for_an_index_does_without() {
    let bed = Bed::new();
    let day = name(days_ago(2));
    // Nothing in it repeats, so that it does not shrink when it is packed.
    let mut seed = 1u64;
    let mut noise = String::new();
    while noise.len() < 9_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        noise.push_str(&format!("{seed:016x}"));
    }
    bed.store_all(&[Source::new(days_ago(2)).batch_of(3, |_| (noise.clone(), "x".to_owned()))]);
    bed.keep_up(&options());
    assert_eq!(bed.indexes(&day), format!("{day}_application {day}_message {day}_source"));
    assert!(bed.sql(&format!("SELECT pg_get_indexdef('{day}_source'::regclass)")).contains("WHERE false"));
    assert_eq!(bed.counters.partitions_sealed.load(Ordering::Relaxed), 1);
    bed.assert_rows(3);
}

#[test]
fn ids_are_kept_as_long_as_they_may_be_needed() {
    let bed = Bed::new();
    bed.store_all(&Source::new(NOON).batches(5, 1));
    let ages = "UPDATE ingested_batches b SET ingested_at = now() - n.age
        FROM (SELECT batch_id, (row_number() OVER () * 4 - 3) * interval '1 day' AS age FROM ingested_batches) n
        WHERE n.batch_id = b.batch_id";
    bed.sql(ages);
    // 1, 5, 9, 13 and 17 days. Something has been waiting for 10: only what is older may go.
    let mut waiting = options();
    waiting.oldest_pending = Arc::new(|| Some(SystemTime::now() - Duration::from_secs(10 * 86_400)));
    bed.keep_up(&waiting);
    assert_eq!(bed.count("ingested_batches"), 3);
    bed.keep_up(&options());
    assert_eq!(bed.count("ingested_batches"), 2);
}

#[test]
fn upkeep_goes_on_when_the_server_is_back() {
    let mut bed = Bed::new();
    bed.store_all(&[Source::stepping(days_ago(1), 1_000).batch(10)]);
    bed.server.stop("fast");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let mut often = options();
    often.interval = Duration::from_millis(50);
    let task = bed.runtime.spawn(run(bed.target.clone(), often, bed.counters.clone(), async { drop(stopped.await) }));
    let deadline = Instant::now() + Duration::from_secs(20);
    while bed.counters.last_failure().is_none() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(10));
    }
    bed.server.start();
    while bed.indexes(&name(days_ago(1))).is_empty() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(stop);
    bed.run(task).unwrap();
}
