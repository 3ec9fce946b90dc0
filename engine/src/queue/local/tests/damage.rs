//! Torn, cut, flipped and foreign bytes.

use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;

use super::{Batches, number_of, numbers, read_back};
use crate::finding::Severity;
use crate::queue::LogPosition;
use crate::queue::local::frame::{
    FRAME_HEADER_BYTES, FrameHeader, SEGMENT_HEADER_BYTES, SegmentHeader, group_bytes, write_group,
};
use crate::queue::local::scan::scan_segment;
use crate::queue::local::{LogError, Recovery, check, recover};

const START: usize = SEGMENT_HEADER_BYTES;

/// Writes segments as the log would: each a list of groups, each a list of message lengths.
pub(super) struct Writer {
    batches: Batches,
    previous: LogPosition,
    /// Where the groups begin, and at last where they end.
    pub starts: Vec<LogPosition>,
}

impl Writer {
    pub fn new() -> Writer {
        Writer { batches: Batches::new(), previous: LogPosition::default(), starts: Vec::new() }
    }

    /// Where the last group ended.
    pub fn previous(&self) -> LogPosition {
        self.previous
    }

    pub fn segment(&mut self, number: u64, groups: &[&[usize]]) -> Vec<u8> {
        let mut bytes = vec![0; START];
        SegmentHeader { segment: number, shard: 3 }.write(&mut bytes);
        for lengths in groups {
            let group: Vec<_> = lengths.iter().map(|&length| self.batches.make(length)).collect();
            let at = LogPosition { segment: number, offset: bytes.len() as u64 };
            let payloads = || group.iter().map(|batch| &batch.frame()[..]);
            let start = bytes.len();
            bytes.resize(start + group_bytes(payloads()), 0xa5);
            write_group(at, self.previous, payloads(), &mut bytes[start..]);
            self.starts.push(at);
            self.previous = LogPosition { segment: number, offset: bytes.len() as u64 };
        }
        bytes
    }
}

fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let dir = TempDir::new().expect("a folder");
    for (name, bytes) in files {
        std::fs::write(dir.path().join(name), bytes).expect("written");
    }
    dir
}

fn worst(dir: &Path) -> Severity {
    worst_behind(dir, LogPosition::default())
}

/// With files that hold the log up to there.
fn worst_behind(dir: &Path, covered: LogPosition) -> Severity {
    let findings = check(dir, covered).expect("readable");
    findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Fine)
}

const ONE: &str = "0000000000000001.segment";
const TWO: &str = "0000000000000002.segment";

/// Groups of batches 0 to 2, 3 and 4, 5, 6.
const GROUPS: &[&[usize]] = &[&[10, 2000, 10], &[3000, 3000], &[1], &[9000]];

#[test]
fn a_group_cut_anywhere_is_left_out_whole_and_the_rest_served() {
    let mut writer = Writer::new();
    let bytes = writer.segment(1, GROUPS);
    for cut in (START..bytes.len()).step_by(97).chain([START, bytes.len()]) {
        let scan = scan_segment(&bytes[..cut], 1, None);
        let complete = [0, 3, 5, 6, 7].into_iter().rfind(|&count| {
            // The padding behind a group's last payload is not needed.
            count == 0 || scan_segment(&bytes, 1, None).frames[count - 1].payload.end <= cut
        });
        assert_eq!((Some(scan.frames.len()), scan.damaged_at), (complete, None), "cut at {cut}");
    }
}

#[test]
fn damage_to_acknowledged_bytes_is_told_and_everything_else_served() {
    let mut writer = Writer::new();
    let good = writer.segment(1, GROUPS);
    let starts: Vec<usize> = writer.starts.iter().map(|start| start.offset as usize).collect();
    let second_frame = starts[0] + (FRAME_HEADER_BYTES + 160).next_multiple_of(8);
    let cases: &[(&str, usize, &[u64])] = &[
        ("first frame's header", starts[0] + 5, &[1, 2, 3, 4, 5, 6]),
        ("first frame's payload", starts[0] + FRAME_HEADER_BYTES + 20, &[1, 2, 3, 4, 5, 6]),
        ("a frame inside a group", second_frame + 900, &[0, 2, 3, 4, 5, 6]),
        ("a group in the middle", starts[2] + 60, &[0, 1, 2, 3, 4, 6]),
    ];
    for (what, at, expected) in cases {
        let mut bytes = good.clone();
        bytes[*at] ^= 0x10;
        let dir = folder(&[(ONE, &bytes)]);
        assert_eq!(worst(dir.path()), Severity::Lost, "{what}");
        let (recovery, found) = read_back(dir.path(), LogPosition::default());
        assert_eq!(numbers(&found), *expected, "{what}");
        assert_eq!(recovery.damaged.len(), 1, "{what}");
        assert!(dir.path().join("0000000000000001.damaged").exists() && !dir.path().join(ONE).exists());
        // It is served again until the store covers it, and told of once.
        let (again, found) = read_back(dir.path(), LogPosition::default());
        assert_eq!((numbers(&found).as_slice(), again.damaged.len()), (*expected, 0), "{what}");
        let (covered, found) = read_back(dir.path(), LogPosition { segment: 2, offset: 0 });
        assert_eq!((found.len(), covered.damaged.len()), (0, 0), "{what}");
    }
}

#[test]
fn the_last_group_of_a_segment_is_missed_by_the_next_one() {
    let mut writer = Writer::new();
    let mut one = writer.segment(1, GROUPS);
    let two = writer.segment(2, &[&[1], &[2]]);
    let last = writer.starts[3].offset as usize;
    one[last + 100] ^= 1;
    // Alone, it is a torn tail; with a successor that was written after its acknowledgement, it is damage.
    let (alone, found) = read_back(folder(&[(ONE, &one)]).path(), LogPosition::default());
    assert_eq!((alone.damaged.len(), numbers(&found).len()), (0, 6));
    assert!(alone.torn_bytes > 9000);
    let dir = folder(&[(ONE, &one), (TWO, &two)]);
    let (recovery, found) = read_back(dir.path(), LogPosition::default());
    assert_eq!((recovery.damaged.len(), numbers(&found)), (1, vec![0, 1, 2, 3, 4, 5, 7, 8]));
}

#[test]
fn a_missing_segment_is_told_unless_the_store_has_it() {
    let mut writer = Writer::new();
    let one = writer.segment(1, &[&[1]]);
    let lost = writer.segment(2, &[&[1]]);
    let three = writer.segment(3, &[&[1]]);
    let dir = folder(&[(ONE, &one), ("0000000000000003.segment", &three)]);
    let (recovery, found) = read_back(dir.path(), LogPosition::default());
    assert_eq!((recovery.remarks.len(), numbers(&found)), (1, vec![0, 2]));
    assert_eq!(worst(dir.path()), Severity::Lost);
    let covered = LogPosition { segment: 2, offset: lost.len() as u64 };
    let (recovery, found) = read_back(dir.path(), covered);
    assert_eq!((recovery.remarks.len(), numbers(&found)), (0, vec![2]));
    assert_eq!(worst_behind(dir.path(), covered), Severity::Fine);
    // The log begins behind what the store has: the same gap, with no segment before it.
    std::fs::remove_file(dir.path().join(ONE)).expect("removed");
    assert_eq!(worst_behind(dir.path(), LogPosition { segment: 1, offset: one.len() as u64 }), Severity::Lost);
    assert_eq!(worst_behind(dir.path(), covered), Severity::Fine);
    // And one that ends before: nothing is missed.
    let end = LogPosition { segment: 3, offset: three.len() as u64 };
    assert_eq!(worst_behind(dir.path(), end), Severity::Fine);
    assert_eq!(worst_behind(dir.path(), LogPosition { offset: end.offset + 4096, ..end }), Severity::Remark);
    assert_eq!(worst_behind(dir.path(), LogPosition { segment: 4, offset: 4096 }), Severity::Remark);
}

#[test]
fn a_segments_former_life_is_not_read() {
    let mut writer = Writer::new();
    let old = writer.segment(1, GROUPS);
    let new = Writer::new().segment(2, &[&[5]]);
    let mut bytes = old;
    bytes[..new.len()].copy_from_slice(&new);
    let (recovery, found) = read_back(folder(&[(TWO, &bytes)]).path(), LogPosition::default());
    assert_eq!((numbers(&found), recovery.damaged.len(), recovery.torn_bytes), (vec![0], 0, 0));
    // A crash before the new name lasted.
    let (recovery, found) = read_back(folder(&[(ONE, &bytes)]).path(), LogPosition::default());
    assert_eq!((found.len(), recovery.damaged.len(), recovery.folder.spares.len()), (0, 0, 1));
}

#[test]
fn unknown_versions_are_refused_and_numbers_go_on_from_what_the_store_covers() {
    let mut bytes = Writer::new().segment(1, GROUPS);
    bytes[7] = 2;
    let dir = folder(&[(ONE, &bytes)]);
    let error = recover(dir.path(), LogPosition::default(), &mut |_, _| {}).expect_err("refused");
    assert!(matches!(error, LogError::UnknownVersion { version: 2, .. }), "{error}");
    assert!(error.to_string().contains("newer logboom"), "{error}");
    assert_eq!(worst(dir.path()), Severity::Lost);
    let empty = folder(&[]);
    let (recovery, _) = read_back(empty.path(), LogPosition { segment: 41, offset: 7 });
    assert_eq!(recovery.folder.next, 42);
    assert_eq!(Recovery::default().folder.next, 1);
}

/// A segment of the first version, written in November 2026.
#[test]
fn the_first_version_stays_readable() {
    let bytes = include_bytes!("../../../../tests/fixtures/local-log-v1/0000000000000001.segment");
    let dir = folder(&[(ONE, bytes)]);
    let mut rows = Vec::new();
    let recovery = recover(dir.path(), LogPosition::default(), &mut |end, batch| {
        rows.push((end.offset, number_of(&batch), batch.len()));
    });
    let recovery = recovery.expect("readable");
    assert_eq!(rows, [(4352, 0, 1), (8192, 1, 1), (12_288, 2, 1)]);
    assert!(recovery.damaged.is_empty() && recovery.torn_bytes == 0);
}

proptest! {
    #[test]
    fn any_bytes_are_scanned(
        junk in prop::collection::vec(any::<u8>(), 0..3000),
        at in 0usize..40_000,
        ended_at in prop::option::of(0u64..50_000),
    ) {
        let mut bytes = Writer::new().segment(1, GROUPS);
        let at = at.min(bytes.len());
        let until = (at + junk.len()).min(bytes.len());
        bytes[at..until].copy_from_slice(&junk[..until - at]);
        let scan = scan_segment(&bytes, 1, ended_at);
        prop_assert!(scan.frames.iter().all(|frame| frame.payload.end <= bytes.len()));
        scan_segment(&junk, 1, ended_at);
        SegmentHeader::read(&junk);
    }

    /// Headers whose checksum is right and whose content is nonsense.
    #[test]
    fn any_header_is_scanned(words in prop::collection::vec((0usize..6, any::<u32>()), 1..12), group in 0usize..4) {
        let mut writer = Writer::new();
        let mut bytes = writer.segment(1, GROUPS);
        let start = writer.starts[group].offset as usize;
        for (word, value) in words {
            // Lengths, flags and the previous position.
            let at = start + [4, 8, 12, 32, 40, 48][word];
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        let crc = crc32c::crc32c(&bytes[start..start + FRAME_HEADER_BYTES - 4]);
        bytes[start + FRAME_HEADER_BYTES - 4..start + FRAME_HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
        let scan = scan_segment(&bytes, 1, None);
        prop_assert!(scan.frames.iter().all(|frame| frame.payload.end <= bytes.len()));
        FrameHeader::read(&bytes[start..], writer.starts[group]);
    }
}
