//! What the store counts of its own work: queries, compaction, retention, copies. Counted per call, never per record.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::store::{QueryError, ReadStats, Stop};

/// A way in which the store is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    Page,
    Record,
    Context,
    Export,
    Counts,
    Histogram,
    Facets,
}

impl Question {
    pub const ALL: [Question; 7] = [
        Question::Page,
        Question::Record,
        Question::Context,
        Question::Export,
        Question::Counts,
        Question::Histogram,
        Question::Facets,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Question::Page => "page",
            Question::Record => "record",
            Question::Context => "context",
            Question::Export => "export",
            Question::Counts => "counts",
            Question::Histogram => "histogram",
            Question::Facets => "facets",
        }
    }
}

/// Why questions had no answer.
pub const FAILURES: [&str; 4] = ["deadline", "memory", "cancelled", "store"];

fn failure(error: &QueryError) -> usize {
    match error {
        QueryError::Deadline { .. } => 0,
        QueryError::Memory { .. } => 1,
        QueryError::Cancelled => 2,
        QueryError::Store(_) => 3,
    }
}

/// A sum that any thread may add to.
#[derive(Debug, Default)]
struct Sum(AtomicU64);

impl Sum {
    fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Sums over the life of a store that is open.
#[derive(Debug, Default)]
pub struct Counts {
    asked: [Sum; Question::ALL.len()],
    micros: [Sum; Question::ALL.len()],
    failed: [Sum; FAILURES.len()],
    files_read: Sum,
    files_skipped: Sum,
    groups_read: Sum,
    groups_skipped: Sum,
    rows_read: Sum,
    compactions: Sum,
    compaction_failures: Sum,
    compaction_micros: Sum,
    compacted_rows: Sum,
    compacted_bytes_read: Sum,
    compacted_bytes_written: Sum,
    superseded_files: Sum,
    expired_files: Sum,
    expired_bytes: Sum,
    expired_rows: Sum,
    copies: Sum,
    copy_failures: Sum,
}

/// The sums at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Totals {
    pub asked: [u64; Question::ALL.len()],
    pub seconds: [f64; Question::ALL.len()],
    /// In the order of [`FAILURES`].
    pub failed: [u64; FAILURES.len()],
    pub read: ReadStats,
    pub compactions: u64,
    pub compaction_failures: u64,
    pub compaction_seconds: f64,
    /// Rows that compaction has written anew, each time counted.
    pub compacted_rows: u64,
    pub compacted_bytes_read: u64,
    pub compacted_bytes_written: u64,
    /// Files that compaction has replaced.
    pub superseded_files: u64,
    /// What retention has taken away, be it with its file or row by row in a compaction.
    pub expired_rows: u64,
    pub expired_files: u64,
    pub expired_bytes: u64,
    pub copies: u64,
    pub copy_failures: u64,
}

/// What one compaction did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Compacted {
    pub rows: u64,
    pub expired_rows: u64,
    pub files: u64,
    pub bytes_read: u64,
    pub bytes_written: u64,
    pub took: Duration,
}

impl Counts {
    pub fn asked<T>(&self, question: Question, took: Duration, stop: &Stop, answer: &Result<T, QueryError>) {
        self.asked[question as usize].add(1);
        self.micros[question as usize].add(micros(took));
        if let Err(error) = answer {
            self.failed[failure(error)].add(1);
        }
        let read = stop.read();
        for (sum, more) in [
            (&self.files_read, read.files_read),
            (&self.files_skipped, read.files_skipped),
            (&self.groups_read, read.groups_read),
            (&self.groups_skipped, read.groups_skipped),
            (&self.rows_read, read.rows_read),
        ] {
            sum.add(more);
        }
    }

    pub fn compacted(&self, done: Compacted) {
        self.compactions.add(1);
        self.compacted_rows.add(done.rows);
        self.expired_rows.add(done.expired_rows);
        self.superseded_files.add(done.files);
        self.compacted_bytes_read.add(done.bytes_read);
        self.compacted_bytes_written.add(done.bytes_written);
        self.compaction_micros.add(micros(done.took));
    }

    pub fn compaction_failed(&self, took: Duration) {
        self.compaction_failures.add(1);
        self.compaction_micros.add(micros(took));
    }

    pub fn expired(&self, files: u64, rows: u64, bytes: u64) {
        self.expired_files.add(files);
        self.expired_rows.add(rows);
        self.expired_bytes.add(bytes);
    }

    pub fn copied(&self, well: bool) {
        if well { self.copies.add(1) } else { self.copy_failures.add(1) }
    }

    pub fn totals(&self) -> Totals {
        Totals {
            asked: std::array::from_fn(|at| self.asked[at].get()),
            seconds: std::array::from_fn(|at| seconds(&self.micros[at])),
            failed: std::array::from_fn(|at| self.failed[at].get()),
            read: ReadStats {
                files_read: self.files_read.get(),
                files_skipped: self.files_skipped.get(),
                groups_read: self.groups_read.get(),
                groups_skipped: self.groups_skipped.get(),
                rows_read: self.rows_read.get(),
            },
            compactions: self.compactions.get(),
            compaction_failures: self.compaction_failures.get(),
            compaction_seconds: seconds(&self.compaction_micros),
            compacted_rows: self.compacted_rows.get(),
            compacted_bytes_read: self.compacted_bytes_read.get(),
            compacted_bytes_written: self.compacted_bytes_written.get(),
            superseded_files: self.superseded_files.get(),
            expired_rows: self.expired_rows.get(),
            expired_files: self.expired_files.get(),
            expired_bytes: self.expired_bytes.get(),
            copies: self.copies.get(),
            copy_failures: self.copy_failures.get(),
        }
    }
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

fn seconds(micros: &Sum) -> f64 {
    micros.get() as f64 / 1e6
}
