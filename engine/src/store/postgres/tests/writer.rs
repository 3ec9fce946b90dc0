//! Each batch once, whatever happens to connections and to other writers.

use super::super::{Stored, UpkeepOptions, dead_letters, upkeep};
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
    let stored = bed.run(writer.store(&batches)).unwrap();
    assert_eq!(stored, Stored { rows: 1_000, batches: 10, known: 0, dead: 0 });
    bed.assert_rows(1_000);
    let row = batches[3].rows().nth(7).unwrap();
    let found = bed
        .sql(&format!("SELECT part, timestamp, level, source, message, metadata FROM logs WHERE id = '{}'", row.id()));
    assert!(found.contains(&format!("|{}|", row.level())) && found.ends_with("a message|{}"), "{found}");

    // Delivered again, with new ones between.
    let more = Source::new(NOON).batches(2, 50);
    let again = [&batches[..3], &more[..]].concat();
    let stored = bed.run(writer.store(&again)).unwrap();
    assert_eq!(stored, Stored { rows: 100, batches: 2, known: 3, dead: 0 });
    bed.assert_rows(1_100);
    assert_eq!(bed.run(writer.store(&[])).unwrap(), Stored::default());
}
