//! The log over real files.

use std::path::Path;

use glommio::LocalExecutorBuilder;
use record::{Batch, BatchBuilder, Context, Fields, IdSource, Text, Timestamp, Zone};
use tempfile::TempDir;

use super::*;
use crate::queue::LogPosition;

mod damage;
mod disk;
mod model;
mod read;

const NOW: i64 = 1_760_000_000_000_000;

/// Makes batches of one record, whose message is its number and as many bytes as are asked for.
pub(crate) struct Batches {
    ids: IdSource,
    next: u64,
}

impl Batches {
    pub fn new() -> Batches {
        let mut seed = 0x9e37_79b9_7f4a_7c15u64;
        let random = move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            seed
        };
        Batches { ids: IdSource::new(random), next: 0 }
    }

    pub fn make(&mut self, message_bytes: usize) -> Batch {
        let now = Timestamp::clamped(NOW + self.next as i64);
        let message = format!("{} {}", self.next, "x".repeat(message_bytes));
        self.next += 1;
        let mut builder = BatchBuilder::new(16);
        let fields = Fields { message: Text::Bytes(message.as_bytes()), ..Fields::default() };
        builder.push(&fields, &Context::new(now, &Zone::UTC), &mut self.ids).expect("it fits");
        builder.seal().expect("a record is in it")
    }
}

/// The number in a batch's message.
pub(super) fn number_of(batch: &Batch) -> u64 {
    let row = batch.rows().next().expect("a row");
    let text = std::str::from_utf8(row.message()).expect("text");
    text.split(' ').next().and_then(|number| number.parse().ok()).expect("a number")
}

pub(crate) fn on_shard<T: Send + 'static>(work: impl AsyncFnOnce() -> T + Send + 'static) -> T {
    LocalExecutorBuilder::default()
        .io_memory(1 << 20)
        .spawn(move || async move { work().await })
        .expect("an executor")
        .join()
        .expect("no panic")
}

fn read_back(dir: &Path, from: LogPosition) -> (Recovery, Vec<(LogPosition, u64)>) {
    let mut found = Vec::new();
    let recovery = recover(dir, from, &mut |end, batch| found.push((end, number_of(&batch)))).expect("readable");
    (recovery, found)
}

fn numbers(found: &[(LogPosition, u64)]) -> Vec<u64> {
    found.iter().map(|(_, number)| *number).collect()
}

fn options() -> Options {
    Options { segment_bytes: 256 * 1024, ..Options::new(Durability::Sync, 1 << 30) }
}

#[test]
fn what_was_acknowledged_is_found_again() {
    let dir = TempDir::new().expect("a folder");
    let path = dir.path().join("shard-00");
    let ends = on_shard({
        let path = path.clone();
        async move || {
            let (recovery, found) = read_back(&path, LogPosition::default());
            assert!(found.is_empty());
            let log = LocalLog::open(&path, 0, recovery, options()).await.expect("opens");
            let mut batches = Batches::new();
            let mut ends = Vec::new();
            for i in 0..200 {
                let group: Vec<Batch> = (0..1 + i % 4).map(|_| batches.make(i * 50)).collect();
                ends.push((log.append(&group).await.expect("taken"), batches.next));
            }
            // Larger than a segment.
            let large: Vec<Batch> = (0..5).map(|_| batches.make(100_000)).collect();
            ends.push((log.append(&large).await.expect("taken"), batches.next));
            ends.push((log.append(&[batches.make(1)]).await.expect("taken"), batches.next));
            assert_eq!(log.depth().batches, batches.next);
            ends
        }
    });
    let (recovery, found) = read_back(&path, LogPosition::default());
    let count = ends.last().expect("appended").1;
    assert!(recovery.damaged.is_empty() && recovery.remarks.is_empty(), "{recovery:?}");
    assert_eq!(numbers(&found), (0..count).collect::<Vec<_>>());
    assert_eq!((recovery.batches, recovery.torn_bytes), (count, 0));
    assert!(recovery.damaged.is_empty() && recovery.remarks.is_empty(), "{recovery:?}");
    for (end, before) in ends.into_iter().step_by(20) {
        assert_eq!(numbers(&read_back(&path, end).1), (before..count).collect::<Vec<_>>());
    }
}

#[test]
fn released_segments_are_used_again_and_the_log_stays_small() {
    let dir = TempDir::new().expect("a folder");
    let path = dir.path().to_owned();
    let (end, last) = on_shard(async move || {
        let log = LocalLog::open(&path, 0, Recovery::default(), options()).await.expect("opens");
        let mut batches = Batches::new();
        let mut last = LogPosition::default();
        for _ in 0..60 {
            for _ in 0..10 {
                last = log.append(&[batches.make(20_000)]).await.expect("taken");
            }
            log.release(last).await.expect("released");
            assert_eq!(log.depth(), Depth::default());
        }
        let end = log.append(&[batches.make(5)]).await.expect("taken");
        (end, last)
    });
    let files = std::fs::read_dir(dir.path()).expect("a folder").count();
    assert!(files <= 4, "{files} files");
    let (recovery, found) = read_back(dir.path(), last);
    assert_eq!(found, [(end, 600)]);
    assert!(recovery.folder.next > end.segment);
    assert!(remove_covered(dir.path(), end).expect("removed"));
}

#[test]
fn without_syncs_a_log_is_kept_as_well() {
    let dir = TempDir::new().expect("a folder");
    let path = dir.path().join("data/queue/shard-00");
    on_shard({
        let path = path.clone();
        async move || {
            let options = Options { durability: Durability::Flush, ..options() };
            let log = LocalLog::open(&path, 0, Recovery::default(), options).await.expect("opens");
            let mut batches = Batches::new();
            for _ in 0..50 {
                log.append(&[batches.make(10_000)]).await.expect("taken");
            }
            assert_eq!(log.last_sync(), std::time::Duration::ZERO);
        }
    });
    assert_eq!(numbers(&read_back(&path, LogPosition::default()).1), (0..50).collect::<Vec<_>>());
    assert!(
        check(&path, LogPosition::default())
            .expect("readable")
            .iter()
            .all(|finding| finding.severity == crate::finding::Severity::Fine)
    );
}

#[test]
fn a_full_queue_is_told_and_an_empty_one_takes_anything() {
    let dir = TempDir::new().expect("a folder");
    let path = dir.path().to_owned();
    on_shard(async move || {
        let options = Options { bytes_max: 10_000, ..options() };
        let log = LocalLog::open(&path, 0, Recovery::default(), options).await.expect("opens");
        assert!(!log.would_exceed(1 << 30));
        let end = log.append(&[Batches::new().make(100)]).await.expect("taken");
        assert!(!log.would_exceed(5_000) && log.would_exceed(6_000));
        assert_eq!((log.depth().bytes, log.position()), (4096, end));
        log.release(end).await.expect("released");
        assert!(!log.would_exceed(1 << 30));
    });
}
