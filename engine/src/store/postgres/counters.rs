//! What the store did, counted over all writers and jobs of a process: shown in `/health` and `/metrics`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

#[derive(Debug, Default)]
pub struct Counters {
    /// Transactions that stored something.
    pub transactions: AtomicU64,
    /// Rows stored.
    pub rows: AtomicU64,
    /// Batches stored.
    pub batches: AtomicU64,
    /// Batches that came again, and whose id told.
    pub known_batches: AtomicU64,
    /// Rows that were there already, of batches whose id was forgotten.
    pub stored_before_rows: AtomicU64,
    /// Rows that Postgres refused, set aside.
    pub dead_letters: AtomicU64,
    /// Sessions of stopped workers, ended because they held a batch.
    pub terminated_holders: AtomicU64,
    /// Transactions that were run again.
    pub retries: AtomicU64,
    /// Batches that were given back, because Postgres was away, refused, or another session held them.
    pub failures: AtomicU64,
    /// Partitions made, sealed and dropped.
    pub partitions_made: AtomicU64,
    pub partitions_sealed: AtomicU64,
    pub partitions_dropped: AtomicU64,
    last_failure: Mutex<Option<Failure>>,
}

/// The last thing that went wrong, with its mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub text: String,
    pub at: SystemTime,
}

impl Counters {
    pub fn last_failure(&self) -> Option<Failure> {
        self.last_failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    pub(super) fn failed(&self, text: &str) {
        let failure = Failure { text: text.to_owned(), at: SystemTime::now() };
        *self.last_failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(failure);
    }
}

pub(super) fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}
