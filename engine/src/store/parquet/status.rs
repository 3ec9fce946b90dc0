//! What the store tells of itself, for `/health`, `/metrics` and the start-up messages.

use std::time::Duration;

use super::{ParquetStore, Totals, lock};

/// How the store is doing.
#[derive(Clone, Debug, Default)]
pub struct Status {
    pub memory_rows: u64,
    pub memory_bytes: usize,
    pub files: usize,
    pub file_rows: u64,
    pub file_bytes: u64,
    pub flushes: u64,
    pub failed_flushes: u64,
    /// Whether files are being compacted now.
    pub is_compacting: bool,
    /// How long the oldest row in memory has waited for a file.
    pub oldest: Duration,
    /// What the last flush failed of. Queries go on, and it is tried again.
    pub failure: Option<String>,
    /// What the last compaction or retention failed of: files stay as they are, and it is tried again.
    pub tidy_failure: Option<String>,
}

/// What a start found that should not be there, or was missing.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Files that no manifest names, as a crash leaves them: removed.
    pub orphans: usize,
    /// Files that the manifest names and that cannot be read, with the reason: set aside as `NAME.damaged`.
    pub damaged: Vec<(String, String)>,
}

impl Report {
    /// What is wrong, a sentence each. Orphans are what any crash leaves, and nothing is wrong with that.
    pub fn sentences(&self) -> impl Iterator<Item = String> + '_ {
        self.damaged.iter().map(|(name, reason)| {
            format!("the store's file {name} cannot be read ({reason}): it is set aside as {name}.damaged, its rows are missing")
        })
    }
}

impl ParquetStore {
    /// What the store has done since it was opened.
    pub fn totals(&self) -> Totals {
        self.shared.counts.totals()
    }

    pub fn status(&self) -> Status {
        let is_compacting = lock(&self.shared.compaction).is_some();
        let state = lock(&self.shared.state);
        Status {
            is_compacting,
            memory_rows: state.memory.rows(),
            memory_bytes: state.memory.bytes(),
            files: state.files.len(),
            file_rows: state.files.iter().map(|file| file.entry.rows).sum(),
            file_bytes: state.files.iter().map(|file| file.entry.bytes).sum(),
            flushes: state.flushes,
            failed_flushes: state.failed_flushes,
            oldest: state.oldest.map_or(Duration::ZERO, |oldest| oldest.elapsed()),
            failure: state.failure.clone(),
            tidy_failure: state.tidy_failure.clone(),
        }
    }
}
