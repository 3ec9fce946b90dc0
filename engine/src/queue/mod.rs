//! Queues: where an acknowledged batch waits until the store has it.

pub mod local;

/// A place in one shard's local log; it stands for everything before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct LogPosition {
    /// The number of the segment.
    pub segment: u64,
    /// Bytes from the segment's start.
    pub offset: u64,
}
