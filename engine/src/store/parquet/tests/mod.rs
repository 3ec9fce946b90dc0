//! The store against a plain model: rows in memory only, in files only, in both, and across restarts.

mod compaction;
mod contract;
mod fixture;
mod fsck;
mod limits;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use record::{Batch, BatchBuilder, Context, Fields, Filter, Id, IdSource, Level, Meta, Timestamp, Zone};

use super::*;

pub const START: i64 = 1_762_876_800_000_000;

/// Makes batches of rows that count up.
pub struct Maker {
    ids: IdSource,
    pub made: Vec<(Id, Level, String)>,
    position: u64,
}

impl Maker {
    pub fn new() -> Maker {
        let mut seed = 1u64;
        let random = move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            seed
        };
        Maker { ids: IdSource::new(random), made: Vec::new(), position: 0 }
    }

    pub fn batch(&mut self, rows: usize, at: impl Fn(usize) -> i64) -> Batch {
        let mut builder = BatchBuilder::new(16);
        for row in 0..rows {
            let number = self.made.len();
            let timestamp = Timestamp::from_micros(START + at(row)).unwrap();
            let level = Level::ALL[number % Level::COUNT];
            let source = format!("host-{}", number % 3);
            let message = format!("message {number} from the mill");
            let mut meta = Meta::default();
            meta.int("number", number as i64);
            meta.text("parity", if number.is_multiple_of(2) { b"even" } else { b"odd" });
            let fields = Fields {
                timestamp: Some(timestamp),
                level: Some(level),
                source: source.as_str().into(),
                application: "mill".into(),
                message: message.as_str().into(),
                meta,
            };
            let pushed = builder.push(&fields, &Context::new(timestamp, &Zone::UTC), &mut self.ids).unwrap();
            self.made.push((pushed.id, level, message));
        }
        builder.seal().unwrap()
    }

    pub fn insert(&mut self, store: &ParquetStore, batch: &Batch) {
        self.position += batch.frame().len() as u64;
        store.insert(0, std::slice::from_ref(batch), LogPosition { segment: 1, offset: self.position });
    }
}

pub fn stop() -> Stop {
    Stop::after(Duration::from_secs(60))
}

pub fn open(dir: &Path) -> (Arc<ParquetStore>, Covered) {
    ParquetStore::open(dir, Options::default()).unwrap()
}

/// Pages through everything and compares it with what was made.
pub fn check(store: &ParquetStore, made: &[(Id, Level, String)], page: usize) {
    let mut want: Vec<_> = made.to_vec();
    want.sort_by_key(|(id, ..)| std::cmp::Reverse(*id));
    let mut got = Vec::new();
    let mut start = None;
    loop {
        let answer = store.page(&Filter::default(), page, start, &stop()).unwrap();
        for row in answer.rows.rows() {
            got.push((row.id(), row.level(), String::from_utf8_lossy(row.message()).into_owned()));
        }
        start = answer.next;
        if start.is_none() {
            break;
        }
    }
    assert_eq!(got.len(), want.len());
    assert!(got == want);
    let mut exported = 0;
    let mut rows = want.iter();
    let mut sink = |rows_read: &RowBuf| {
        exported += rows_read.count;
        rows_read.rows().all(|row| rows.next().is_some_and(|(id, ..)| *id == row.id()))
    };
    export::export(&store.snapshot(), &Filter::default(), &stop(), &mut sink).unwrap();
    assert_eq!(exported, want.len());
    let mut counts = Counts::default();
    want.iter().for_each(|(_, level, _)| counts.levels[level.index()] += 1);
    assert_eq!(store.counts(&Filter::default(), &stop()).unwrap(), counts);
    let histogram = store.histogram(&Filter::default(), Some(60), &stop()).unwrap();
    assert_eq!(histogram.buckets.iter().map(|(_, counts)| counts.total()).sum::<u64>(), counts.total());
    let facets = store.facets(&Filter::default(), &FacetField::Source, 10, &stop()).unwrap();
    assert_eq!(facets.values.iter().map(|(_, count)| count).sum::<u64>(), counts.total());
    if let Some((id, _, message)) = want.get(want.len() / 2) {
        let found = store.get(*id, &stop()).unwrap().unwrap();
        assert_eq!(found.rows().next().unwrap().message(), message.as_bytes());
    }
}

#[test]
fn rows_are_found_wherever_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let mut maker = Maker::new();
    let (store, covered) = open(dir.path());
    assert!(covered.is_empty());
    for round in 0..4 {
        for n in 0..5 {
            let batch = maker.batch(300, |row| (row as i64 * 7 % 300 + n * 100) * 1000 + round);
            maker.insert(&store, &batch);
        }
        check(&store, &maker.made, 97);
        if round % 2 == 0 {
            store.flush_now().unwrap();
            check(&store, &maker.made, 97);
        }
    }
    let position = LogPosition { segment: 1, offset: maker.position };
    store.close();
    drop(store);
    let (store, covered) = open(dir.path());
    assert_eq!(covered.get(&0), Some(&position));
    check(&store, &maker.made, 1000);
    assert_eq!(store.status().memory_rows, 0);
}

#[test]
fn context_is_of_the_same_source() {
    let dir = tempfile::tempdir().unwrap();
    let mut maker = Maker::new();
    let (store, _) = open(dir.path());
    for _ in 0..2 {
        let batch = maker.batch(300, |row| row as i64);
        maker.insert(&store, &batch);
        store.flush_now().unwrap();
    }
    let batch = maker.batch(300, |row| row as i64);
    maker.insert(&store, &batch);
    let mut sorted = maker.made.clone();
    sorted.sort();
    let same: Vec<_> = sorted
        .iter()
        .filter(|(_, _, message)| {
            let number: usize = message.split(' ').nth(1).unwrap().parse().unwrap();
            number % 3 == 1
        })
        .collect();
    let ids = |rows: &RowBuf| rows.rows().map(|row| row.id()).collect::<Vec<_>>();
    for at in [0, 5, 150, same.len() - 1] {
        let context = store.context(same[at].0, 7, 4, &stop()).unwrap().unwrap();
        let want = |range: std::ops::Range<usize>| same[range].iter().map(|(id, ..)| *id).collect::<Vec<_>>();
        assert_eq!(ids(&context.before), want(at.saturating_sub(7)..at));
        assert_eq!(ids(&context.log), want(at..at + 1));
        assert_eq!(ids(&context.after), want(at + 1..(at + 5).min(same.len())));
    }
    assert!(store.context(Id::MAX, 1, 1, &stop()).unwrap().is_none());
}

/// Breaks a flush at each of its steps: once as an error that the store lives through, once as a crash.
#[test]
fn a_flush_that_breaks_loses_and_doubles_nothing() {
    let steps = [
        "create the file",
        "finish the file",
        "sync the file",
        "sync the folder of the file",
        "write the manifest",
        "sync the manifest",
        "rename the manifest",
        "sync the folder of the manifest",
    ];
    for broken in steps {
        for crash in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let mut maker = Maker::new();
            let (store, _) = open(dir.path());
            let first = maker.batch(100, |row| row as i64);
            maker.insert(&store, &first);
            store.close();
            drop(store);
            let failing = Arc::new(std::sync::atomic::AtomicBool::new(true));
            let seen = failing.clone();
            let steps =
                Steps::new(move |step| match step == broken && seen.load(std::sync::atomic::Ordering::SeqCst) {
                    true => Err(std::io::Error::from(std::io::ErrorKind::StorageFull)),
                    false => Ok(()),
                });
            let (store, before) = ParquetStore::open(dir.path(), Options { steps, ..Options::default() }).unwrap();
            let second = maker.batch(100, |row| row as i64);
            maker.insert(&store, &second);
            assert!(store.flush_now().is_err(), "{broken}");
            assert!(store.status().failure.is_some());
            check(&store, &maker.made, 30);
            if !crash {
                failing.store(false, std::sync::atomic::Ordering::SeqCst);
                store.flush_now().unwrap();
                assert_eq!(store.status().failure, None);
                check(&store, &maker.made, 30);
                store.close();
                drop(store);
                let (store, _) = open(dir.path());
                check(&store, &maker.made, 30);
                continue;
            }
            drop(store);
            let (store, covered) = open(dir.path());
            // As a start does: what the log holds behind the covered position is inserted again.
            if covered == before {
                maker.insert(&store, &second);
            }
            check(&store, &maker.made, 30);
            assert!(store.report().damaged.is_empty());
        }
    }
}

#[test]
fn damaged_files_are_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let mut maker = Maker::new();
    let (store, _) = open(dir.path());
    let mut kept = Vec::new();
    for n in 0..3 {
        let batch = maker.batch(10, |row| row as i64);
        maker.insert(&store, &batch);
        store.flush_now().unwrap();
        if n == 2 {
            kept = maker.made[20..].to_vec();
        }
    }
    store.close();
    drop(store);
    std::fs::write(dir.path().join(manifest::file_name(0)), b"no parquet").unwrap();
    std::fs::remove_file(dir.path().join(manifest::file_name(1))).unwrap();
    std::fs::write(dir.path().join(manifest::file_name(77)), b"orphan").unwrap();
    let (store, _) = open(dir.path());
    assert_eq!((store.report().damaged.len(), store.report().orphans), (2, 1));
    check(&store, &kept, 100);
}

/// A manifest that may not outlive a crash lets the log forget nothing, not even at a later flush of nothing.
#[test]
fn the_log_forgets_only_what_is_certain() {
    let dir = tempfile::tempdir().unwrap();
    let failing = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let seen = failing.clone();
    let steps = Steps::new(move |step| {
        match step == "sync the folder of the manifest" && seen.load(std::sync::atomic::Ordering::SeqCst) {
            true => Err(std::io::Error::other("no")),
            false => Ok(()),
        }
    });
    let (store, _) = ParquetStore::open(dir.path(), Options { steps, ..Options::default() }).unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let seen = told.clone();
    store.on_covered(move |shard, position| lock(&seen).push((shard, position)));
    let mut maker = Maker::new();
    let batch = maker.batch(10, |row| row as i64);
    maker.insert(&store, &batch);
    assert!(store.flush_now().is_err());
    assert!(store.flush_now().is_err());
    assert!(lock(&told).is_empty());
    failing.store(false, std::sync::atomic::Ordering::SeqCst);
    store.flush_now().unwrap();
    assert_eq!(*lock(&told), [(0, LogPosition { segment: 1, offset: maker.position })]);
    check(&store, &maker.made, 10);
}
