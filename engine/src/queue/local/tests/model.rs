//! The log against a model of it, over a disk that forgets and fails.
//!
//! What the model says: an acknowledged batch that the store does not cover is found at every start, once and in order. A
//! batch that was never acknowledged is found whole or not at all, and if it once was not there it never comes back.

use std::collections::{BTreeMap, BTreeSet};

use futures_lite::future::{block_on, poll_once};
use proptest::prelude::*;
use tempfile::TempDir;

use super::disk::{Fault, MemoryDisk};
use super::{Batches, number_of};
use crate::queue::LogPosition;
use crate::queue::local::log::Log;
use crate::queue::local::{AppendError, Durability, Options, recover};

const SEGMENT_BYTES: u64 = 32 * 1024;

#[derive(Clone, Debug)]
enum Step {
    /// Appends a group of batches with messages of these lengths.
    Append(Vec<usize>),
    /// The store covers this share, of 255, of what waits.
    Release(u8),
    Fail(Fault),
    /// The disk has no more than this many blocks of 4,096 bytes left, until the next step of this kind.
    Fill(Option<usize>),
    Kill,
    LosePower(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let fault = prop_oneof![
        (0usize..20).prop_map(Fault::ShortWrite),
        Just(Fault::WriteFails),
        Just(Fault::SyncFails),
        Just(Fault::WriteStalls),
    ];
    prop_oneof![
        12 => prop::collection::vec(prop_oneof![8 => 0usize..3000, 1 => 3000usize..40_000], 1..5).prop_map(Step::Append),
        3 => any::<u8>().prop_map(Step::Release),
        2 => fault.prop_map(Step::Fail),
        1 => prop::option::of(0usize..12).prop_map(Step::Fill),
        1 => Just(Step::Kill),
        2 => any::<u64>().prop_map(Step::LosePower),
    ]
}

struct Model {
    disk: MemoryDisk,
    log: Log<MemoryDisk>,
    batches: Batches,
    /// What the store covers.
    covered: LogPosition,
    /// Acknowledged and not covered, each with the end of its group.
    waiting: BTreeMap<u64, LogPosition>,
    /// Appended since the last start and not acknowledged.
    unsure: BTreeSet<u64>,
    poisoned: bool,
}

impl Model {
    fn new() -> Model {
        let disk = MemoryDisk::new();
        let log = open(&disk, Default::default());
        Model {
            disk,
            log,
            batches: Batches::new(),
            covered: LogPosition::default(),
            waiting: BTreeMap::new(),
            unsure: BTreeSet::new(),
            poisoned: false,
        }
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Append(lengths) => self.append(lengths),
            Step::Release(share) => self.release(*share),
            Step::Fail(fault) => self.disk.set_fault(Some(*fault)),
            Step::Fill(left) => {
                let bytes_max = left.map_or(usize::MAX, |blocks| self.disk.bytes() + blocks * 4096);
                self.disk.set_bytes_max(bytes_max);
            }
            Step::Kill => {
                self.disk.kill();
                self.restart();
            }
            Step::LosePower(seed) => {
                let mut state = *seed;
                self.disk.lose_power(&mut || {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    state >> 62 != 0
                });
                self.restart();
            }
        }
    }

    fn append(&mut self, lengths: &[usize]) {
        let group: Vec<_> = lengths.iter().map(|&bytes| self.batches.make(bytes)).collect();
        let numbers: Vec<u64> = group.iter().map(number_of).collect();
        let result = block_on(poll_once(self.log.append(&group)));
        match result {
            Some(Ok(end)) => {
                assert!(!self.poisoned, "a poisoned log took a group");
                self.waiting.extend(numbers.iter().map(|&number| (number, end)));
            }
            Some(Err(error)) => {
                self.poisoned |= !error.may_retry();
                assert!(!self.poisoned || matches!(error, AppendError::Poisoned(_)));
                self.unsure.extend(numbers);
            }
            None => self.unsure.extend(numbers),
        }
    }

    fn release(&mut self, share: u8) {
        let count = self.waiting.len() * usize::from(share) / 255;
        let Some(upto) = self.waiting.values().take(count).next_back().copied() else { return };
        self.covered = upto;
        self.waiting.retain(|_, end| *end > upto);
        block_on(self.log.release(upto)).expect("released");
        assert_eq!(self.log.depth().bytes == 0, self.waiting.is_empty());
    }

    fn restart(&mut self) {
        self.disk.set_fault(None);
        self.disk.set_bytes_max(usize::MAX);
        let dir = memory_folder();
        self.disk.dump(dir.path());
        let mut found = Vec::new();
        let recovery = recover(dir.path(), self.covered, &mut |end, batch| found.push((number_of(&batch), end)))
            .expect("readable");
        assert_eq!((&recovery.damaged, &recovery.remarks), (&vec![], &vec![]));
        assert!(found.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1), "once and in order: {found:?}");
        let numbers: BTreeSet<u64> = found.iter().map(|(number, _)| *number).collect();
        for number in self.waiting.keys() {
            assert!(numbers.contains(number), "acknowledged batch {number} is lost: found {found:?}");
        }
        for number in &numbers {
            let known = self.waiting.contains_key(number) || self.unsure.contains(number);
            assert!(known, "batch {number} comes from nowhere, or from the dead");
        }
        self.waiting = found.into_iter().collect();
        self.unsure.clear();
        self.poisoned = false;
        self.log = open(&self.disk, recovery);
        // A log that has just been opened takes a group.
        self.append(&[1]);
        assert!(self.unsure.is_empty());
    }
}

/// In memory where the system has such a place: nothing here is about the real disk.
fn memory_folder() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).expect("a folder")
}

fn open(disk: &MemoryDisk, recovery: crate::queue::local::Recovery) -> Log<MemoryDisk> {
    let options = Options { segment_bytes: SEGMENT_BYTES, ..Options::new(Durability::Sync, u64::MAX) };
    let log = Log::new(disk.clone(), 0, recovery, options);
    block_on(log.start()).expect("opens");
    log
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn an_acknowledged_batch_is_found_once_and_in_order(steps in prop::collection::vec(step(), 1..60)) {
        let mut model = Model::new();
        for step in &steps {
            model.run(step);
        }
        model.run(&Step::LosePower(7));
        // The store takes all: the folder does not grow without end.
        model.release(255);
        prop_assert!(model.disk.file_count() < 40);
    }
}
