//! The log read while it is written, and read where it is broken.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::mpsc;

use tempfile::TempDir;

use super::damage::Writer;
use super::{Batches, number_of, on_shard, options};
use crate::queue::LogPosition;
use crate::queue::contract;
use crate::queue::local::{LocalLog, LogReader, Recovery, drained};

/// A reader beside the writer sees every batch once and in order, however the pieces fall.
#[test]
fn a_reader_follows_the_writer() {
    let dir = TempDir::new().expect("a folder");
    let path = dir.path().to_owned();
    let (told, ends) = mpsc::channel();
    let reading = std::thread::spawn({
        let path = path.clone();
        move || {
            let mut reader = LogReader::new(&path, LogPosition::default());
            let mut found = Vec::new();
            for end in ends {
                while reader.position() < end {
                    let batches = reader.next(end, 50_000).expect("readable");
                    found.extend(batches.iter().map(|(_, batch)| number_of(batch)));
                    if let Some((last, _)) = batches.last() {
                        assert!(*last <= end);
                    }
                }
            }
            assert_eq!(reader.take_findings(), Vec::<String>::new());
            found
        }
    });
    on_shard(async move || {
        let log = LocalLog::open(&path, 0, Recovery::default(), options()).await.expect("opens");
        let mut batches = Batches::new();
        for round in 0..120usize {
            let group: Vec<_> = (0..1 + round % 5).map(|i| batches.make(i * 3_000 + round * 100)).collect();
            let end = log.append(&group).await.expect("taken");
            if round % 7 == 0 {
                told.send(end).expect("it reads");
            }
        }
        // A batch longer than what is read at once, and one behind it.
        log.append(&[batches.make(1 << 20)]).await.expect("taken");
        told.send(log.append(&[batches.make(1)]).await.expect("taken")).expect("it reads");
    });
    let found = reading.join().expect("no panic");
    assert_eq!(found, (0..found.len() as u64).collect::<Vec<_>>());
    assert_eq!(found.len(), 120 / 5 * 15 + 2);
}

#[test]
fn a_reader_begins_where_it_is_told() {
    let mut writer = Writer::new();
    let dir = TempDir::new().expect("a folder");
    for number in [2, 5] {
        let segment = writer.segment(number, &[&[10, 20], &[30], &[40]]);
        std::fs::write(dir.path().join(format!("{number:016}.segment")), segment).expect("written");
    }
    let end = writer.previous();
    for (index, &start) in writer.starts.iter().enumerate() {
        let mut reader = LogReader::new(dir.path(), start);
        let found: Vec<u64> = reader.next(end, usize::MAX).expect("read").iter().map(|(_, b)| number_of(b)).collect();
        // Each segment holds four batches in three groups.
        let before = index / 3 * 4 + [0, 2, 3][index % 3];
        assert_eq!(found, (before as u64..8).collect::<Vec<_>>());
        assert_eq!(reader.position(), end);
    }
}

/// What can be read of a damaged segment is served, the rest is told, and the next segment follows.
#[test]
fn damage_is_told_and_passed() {
    let mut writer = Writer::new();
    let dir = TempDir::new().expect("a folder");
    for number in [1, 2] {
        let mut segment = writer.segment(number, &[&[10], &[20], &[30]]);
        if number == 1 {
            segment[4096 + 4096 + 80] ^= 1;
        }
        std::fs::write(dir.path().join(format!("{number:016}.segment")), segment).expect("written");
    }
    let mut reader = LogReader::new(dir.path(), LogPosition::default());
    let mut found = Vec::new();
    while reader.position() < writer.previous() {
        found.extend(reader.next(writer.previous(), 1).expect("read").iter().map(|(_, batch)| number_of(batch)));
    }
    assert_eq!(found, [0, 2, 3, 4, 5]);
    let findings = reader.take_findings();
    assert!(findings.len() == 1 && findings[0].contains("damaged at offset 8192"), "{findings:?}");
}

/// The log and its drain, as the queue that they are: what the note of the drain does not cover is drained again.
#[test]
fn a_drained_log_keeps_the_contract_of_queues() {
    let dir = TempDir::new().expect("a folder");
    let path = dir.path().to_owned();
    on_shard(async move || {
        let log = LocalLog::open(&path, 0, Recovery::default(), options()).await.expect("opens");
        let reader = RefCell::new(LogReader::new(&path, drained::read(&path)));
        // Where the batches end that are with the taker.
        let ends = RefCell::new(VecDeque::new());
        contract::check(
            async |batches| {
                log.append(&batches).await.expect("taken");
            },
            async || {
                let (taken, batches): (Vec<_>, Vec<_>) =
                    reader.borrow_mut().next(log.position(), usize::MAX).expect("readable").into_iter().unzip();
                ends.borrow_mut().extend(taken);
                batches
            },
            async |batches| {
                let end = ends.borrow_mut().drain(..batches.len()).next_back().expect("what was taken");
                drained::write(&path, end).expect("noted");
                log.release(end).await.expect("released");
            },
            async || {
                ends.borrow_mut().clear();
                *reader.borrow_mut() = LogReader::new(&path, drained::read(&path));
            },
        )
        .await;
    });
}
