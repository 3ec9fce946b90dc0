//! The local log: one per shard, a folder of segments. A batch is acknowledged once it is here.
//!
//! Contract
//! - [`LocalLog::append`] writes a group of batches, all at one place, with one write and one sync. Once it has returned,
//!   [`recover`] finds every batch of the group, once and in order, whatever happens. A group whose append did not
//!   return is found whole or not at all.
//! - A full disk fails that append alone. A failed sync, or any other failed write, poisons the log: nobody knows what is
//!   on the disk, so nothing more is taken until a restart has read it back.
//! - [`LocalLog::release`] gives back what the store covers. Segments are used again: their blocks have been written
//!   once, and a sync over such blocks need not touch the file system's own records.
//!
//! A folder holds `0000000000000007.segment`, `….spare` (content of no interest, kept for its blocks) and `….damaged`
//! (set aside by [`recover`], which serves its readable frames until the store covers them; yours to delete). A number
//! is never used twice. Integers are little-endian. A segment begins with a block of 4,096 bytes:
//!
//! | at | bytes | content |
//! |---|---|---|
//! | 0 | 7 | `LBOOMLG` |
//! | 7 | 1 | version, 1 |
//! | 8 | 8 | number of the segment |
//! | 16 | 2 | shard that wrote it |
//! | 18 | 6 | 0 |
//! | 24 | 4 | CRC32C of all before |
//!
//! Groups follow, each at a multiple of 4,096; within a group frame follows frame:
//!
//! | at | bytes | content |
//! |---|---|---|
//! | 0 | 3 | `LBF` |
//! | 3 | 1 | version, 1 |
//! | 4 | 4 | bytes of the payload |
//! | 8 | 4 | bytes from this frame to the next, a multiple of 8 |
//! | 12 | 1 | 1 in the last frame of a group, else 0 |
//! | 13 | 3 | 0 |
//! | 16 | 8 | number of the segment |
//! | 24 | 8 | offset of this frame |
//! | 32 | 16 | segment and offset where the group before this group ended |
//! | 48 | 4 | CRC32C of the payload but its last four bytes, which repeat it |
//! | 52 | 4 | CRC32C of all before |
//! | 56 | n | payload: a batch's frame ([`record::batch`]), which ends with that checksum |
//! | 56 + n | | 0 |
//!
//! A group goes whole into one segment: the one being written if it fits there, else the next, which grows where it must.
//!
//! Torn or damaged: the frames of a segment are followed from its start. Where they break off, the rest was never
//! acknowledged, unless a later frame, here or in the next segment, names a place behind the break as the end of the group
//! before it. Such a frame was written after that group was acknowledged, so acknowledged bytes are damaged. (Damage to
//! the very last group cannot be told from a torn one.)
//!
//! What it does not try to do: order shards among one another, or repair.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

mod check;
mod depth;
pub mod drained;
mod file;
mod frame;
mod log;
mod read;
mod recover;
mod scan;

pub use check::check;
pub use depth::Depth;
pub use log::{Durability, LocalLog, Options};
pub use read::LogReader;
pub use recover::{Recovery, recover, remove_covered};

/// A file of the log, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SegmentName {
    Live(u64),
    Spare(u64),
    Damaged(u64),
}

impl SegmentName {
    fn number(self) -> u64 {
        match self {
            SegmentName::Live(number) | SegmentName::Spare(number) | SegmentName::Damaged(number) => number,
        }
    }

    fn parse(name: &str) -> Option<SegmentName> {
        let (number, kind) = name.split_once('.')?;
        let number = number.parse().ok()?;
        let name_of = match kind {
            "segment" => SegmentName::Live,
            "spare" => SegmentName::Spare,
            "damaged" => SegmentName::Damaged,
            _ => return None,
        };
        // Only the name that this program itself would write.
        Some(name_of(number)).filter(|parsed| parsed.to_string() == name)
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            SegmentName::Live(_) => "segment",
            SegmentName::Spare(_) => "spare",
            SegmentName::Damaged(_) => "damaged",
        };
        write!(f, "{:016}.{kind}", self.number())
    }
}

/// Why a log cannot be read or opened.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} has version {version}, and this program reads 1: run a newer logboom, or move the file away")]
    UnknownVersion { path: PathBuf, version: u8 },
}

impl LogError {
    fn io(path: &Path, source: io::Error) -> LogError {
        LogError::Io { path: path.to_owned(), source }
    }
}

/// Why a group was not taken. None of it is acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The next append tries again at the same place.
    #[error("the disk is full: free some space in the data folder; the log goes on by itself")]
    DiskFull,
    /// Nothing is taken until a restart.
    #[error("the log failed ({0}) and takes nothing until a restart has read it back")]
    Poisoned(String),
}

impl AppendError {
    /// Whether the same append may succeed later without a restart.
    pub fn may_retry(&self) -> bool {
        matches!(self, AppendError::DiskFull)
    }
}

#[cfg(test)]
pub(crate) mod tests;
