//! Queues: where an acknowledged batch waits until the store has it.

#[cfg(test)]
mod contract;
pub mod imports;
pub mod local;
pub mod redis;

/// A place in one shard's log: everything before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct LogPosition {
    pub segment: u64,
    pub offset: u64,
}
