//! All that is counted here, for `/metrics` and `/health`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::RedisError;

/// Counts since the start, and what is wrong now. Shared by all parts that talk to one Redis.
#[derive(Debug, Default)]
pub struct Counters {
    pub pushed_batches: AtomicU64,
    pub pushed_rows: AtomicU64,
    /// As Redis gets them: packed.
    pub pushed_bytes: AtomicU64,
    /// Batches whose push failed; they may be in all the same.
    pub push_failures: AtomicU64,
    /// Batches that are in, but not on as many replicas as were asked for.
    pub unreplicated_batches: AtomicU64,
    pub connects: AtomicU64,
    pub taken_batches: AtomicU64,
    pub taken_rows: AtomicU64,
    pub take_failures: AtomicU64,
    /// Of those taken, the ones that another worker had before, or this one before it lost its connection.
    pub redelivered_batches: AtomicU64,
    pub done_batches: AtomicU64,
    /// Handed back by a graceful stop.
    pub returned_batches: AtomicU64,
    pub set_aside: AtomicU64,
    /// Consumers that were dead for long, and are deleted.
    pub consumers_deleted: AtomicU64,
    /// Rows sent to viewers in other processes, and rows that they were only told the number of.
    pub tail_sent_rows: AtomicU64,
    pub tail_skipped_rows: AtomicU64,
    pub tail_received_rows: AtomicU64,
    /// Messages on the tail's channel, and filters in its hash, that cannot be read.
    pub tail_unreadable: AtomicU64,
    failures: [Mutex<Option<Failure>>; Side::COUNT],
}

/// Which part failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Push,
    Take,
    Tail,
}

impl Side {
    const COUNT: usize = 3;
}

/// A failure that nothing has succeeded after.
#[derive(Clone, Debug)]
pub struct Failure {
    pub error: RedisError,
    /// The first and the last of the row.
    pub since: Instant,
    pub last: Instant,
}

impl Counters {
    /// What is wrong with a side, if anything is.
    pub fn failure(&self, side: Side) -> Option<Failure> {
        self.slot(side).clone()
    }

    pub(super) fn failed(&self, side: Side, error: &RedisError) {
        let now = Instant::now();
        let mut slot = self.slot(side);
        let since = slot.as_ref().map_or(now, |failure| failure.since);
        *slot = Some(Failure { error: error.clone(), since, last: now });
    }

    /// The tail's failures: the others' are told by whoever pushes and takes, and of a server that is away nobody need
    /// hear twice.
    pub(super) fn tail_failed(&self, error: &RedisError, what: &str) {
        let is_first = self.failure(Side::Tail).is_none();
        self.failed(Side::Tail, error);
        match error.is_passing() {
            false if is_first => tracing::warn!("{what}: {error}"),
            _ => tracing::debug!("{what}: {error}"),
        }
    }

    pub(super) fn succeeded(&self, side: Side) {
        *self.slot(side) = None;
    }

    fn slot(&self, side: Side) -> std::sync::MutexGuard<'_, Option<Failure>> {
        self.failures[side as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}
