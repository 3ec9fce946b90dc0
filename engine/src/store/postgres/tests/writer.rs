//! Each batch once, whatever is delivered when and to whom.

use std::sync::atomic::Ordering;

use super::super::{UpkeepOptions, dead_letters, upkeep};
use super::*;

/// Whoever spawns them needs it; that this compiles is the test.
#[test]
fn what_takes_time_can_move_between_threads() {
    fn check(_: impl Future + Send) {}
    let target = Arc::new(Target::parse("postgresql://u@h/d").unwrap());
    let mut writer = Writer::new(target.clone(), "0", WriterOptions::default(), Arc::default());
    check(async move { writer.store(&[]).await });
    check(upkeep::run(target.clone(), UpkeepOptions::default(), Arc::default(), std::future::pending()));
    check(async move { migrate(&target).await });
    let target = Target::parse("postgresql://u@h/d").unwrap();
    check(async move { dead_letters::replay(&target, &dead_letters::Which::All).await });
}

#[test]
fn batches_are_stored_as_they_are_and_once() {
    let bed = Bed::new();
    let mut writer = bed.writer("0");
    let batches = Source::new(NOON).batches(10, 100);
    let stored = bed.store(&mut writer, &batches).unwrap();
    assert_eq!(stored, Stored { rows: 1_000, batches: 10, known: 0, dead: 0 });
    bed.assert_rows(1_000);
    let row = batches[3].rows().nth(7).unwrap();
    let found = bed
        .sql(&format!("SELECT part, timestamp, level, source, message, metadata FROM logs WHERE id = '{}'", row.id()));
    assert!(found.contains(&format!("|{}|", row.level())) && found.ends_with("a message|{}"), "{found}");

    // Delivered again, with new ones between, and one of them twice in the same call.
    let more = Source::new(NOON).batches(2, 50);
    let again = [&batches[..3], &more[..], &more[..1]].concat();
    let stored = bed.store(&mut writer, &again).unwrap();
    assert_eq!(stored, Stored { rows: 100, batches: 2, known: 4, dead: 0 });
    bed.assert_rows(1_100);
    assert_eq!(bed.store(&mut writer, &[]).unwrap(), Stored::default());
    assert_eq!(bed.counters.rows.load(Ordering::Relaxed), 1_100);
    assert_eq!(bed.counters.transactions.load(Ordering::Relaxed), 2);
    assert_eq!(bed.counters.last_failure(), None);
}

#[test]
fn many_writers_with_the_same_batches_store_each_once() {
    let bed = Bed::new();
    let batches = Arc::new(Source::new(NOON).batches(48, 40));
    let writers: Vec<_> = (0..4)
        .map(|number| {
            let mut writer = bed.writer(&number.to_string());
            let batches = batches.clone();
            bed.runtime.spawn(async move {
                let mut stored = Stored::default();
                // Each begins elsewhere, so that they meet in every order.
                for start in 0..12 {
                    let group: Vec<Batch> =
                        (0..8).map(|i| batches[(start * 4 + number * 12 + i * 5) % 48].clone()).collect();
                    let more = writer.store(&group).await.unwrap();
                    stored.rows += more.rows;
                    stored.batches += more.batches;
                }
                stored
            })
        })
        .collect();
    let mut all = Stored::default();
    for writer in writers {
        let stored = bed.run(writer).unwrap();
        all.rows += stored.rows;
        all.batches += stored.batches;
    }
    let there = bed.count("ingested_batches");
    assert_eq!((all.rows, all.batches as u64), (there * 40, there));
    bed.assert_rows(there * 40);
}

#[test]
fn a_batch_whose_id_was_forgotten_is_known_by_its_rows() {
    let bed = Bed::new();
    let mut writer = bed.writer("0");
    let mut source = Source::new(NOON);
    let batches = source.batches(6, 50);
    bed.store(&mut writer, &batches).unwrap();
    bed.sql("DELETE FROM ingested_batches");
    // Rows of one of them are lost: they come back, and no others.
    let row = batches[2].rows().next().unwrap();
    bed.sql(&format!("DELETE FROM logs WHERE id = '{}'", row.id()));
    let minute = "date_trunc('minute', to_timestamp($1 / 1000000.0))";
    let minute = minute.replace("$1", &row.timestamp().as_micros().to_string());
    bed.sql(&format!(
        "INSERT INTO log_counts VALUES (0, {minute}, '{}', '{}', '', -1)",
        row.level(),
        String::from_utf8_lossy(row.source())
    ));
    bed.assert_rows(299);

    let all = [&batches[..], &source.batches(2, 50)[..]].concat();
    let stored = bed.store(&mut writer, &all).unwrap();
    assert_eq!(stored, Stored { rows: 101, batches: 8, known: 0, dead: 0 });
    bed.assert_rows(400);
    assert_eq!(bed.counters.stored_before_rows.load(Ordering::Relaxed), 299);
    assert_eq!(bed.store(&mut writer, &all).unwrap().known, 8);
}

#[test]
fn every_time_has_a_partition() {
    let bed = Bed::new();
    let mut writer = bed.writer("0");
    let mut rows = 0;
    for at in [0, 946_684_799 * SECOND, 946_684_800 * SECOND, NOON, 4_102_444_799 * SECOND, 4_102_444_800 * SECOND] {
        rows += bed.store(&mut writer, &[Source::new(at).batch(1)]).unwrap().rows;
    }
    rows += bed.store(&mut writer, &[Source::stepping(Timestamp::MAX.as_micros() - 5, 1).batch(6)]).unwrap().rows;
    assert_eq!(bed.partitions(), "logs_2000_01_01 logs_2026_11_20 logs_2099_12_31 logs_future logs_past");
    // One batch of 80 days, while another writer makes some of them.
    let other = Source::stepping(NOON - 50 * DAY, DAY).batch(30);
    let mine = Source::stepping(NOON - 80 * DAY, DAY).batch(80);
    let task = bed.runtime.spawn({
        let mut writer = bed.writer("1");
        async move { writer.store(&[other]).await }
    });
    rows += bed.store(&mut writer, &[mine]).unwrap().rows;
    rows += bed.run(task).unwrap().unwrap().rows;
    bed.assert_rows(rows);
    assert_eq!(rows, 122);

    // A partition that somebody has dropped meanwhile is made again.
    bed.sql("DROP TABLE logs_2026_11_20");
    bed.sql("DELETE FROM log_counts WHERE minute::date = '2026-11-20'");
    assert_eq!(bed.store(&mut writer, &[Source::new(NOON).batch(10)]).unwrap().rows, 10);
    // One that somebody has taken away and kept leaves its name to itself.
    bed.sql("ALTER TABLE logs DETACH PARTITION logs_2026_11_20");
    assert_eq!(bed.store(&mut writer, &[Source::new(NOON).batch(10)]).unwrap().rows, 10);
    assert_eq!(bed.count("logs_2026_11_20_2"), 10);
}
