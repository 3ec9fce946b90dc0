//! Stores, and the one way in which the sidecar reads any of them.
//!
//! Rows travel in the tuple form of [`record::row`], whichever store they come from: one writer of JSON serves pages,
//! export and tail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use record::{Filter, Id, Level, Rows, Timestamp};

pub mod parquet;
pub mod postgres;

/// Rows that a query found, encoded one after another.
#[derive(Clone, Debug, Default)]
pub struct RowBuf {
    pub bytes: Vec<u8>,
    pub count: usize,
}

impl RowBuf {
    pub fn rows(&self) -> Rows<'_> {
        Rows::new(&self.bytes)
    }

    pub fn push(&mut self, row: &record::Row<'_>) {
        self.bytes.extend_from_slice(row.as_bytes());
        self.count += 1;
    }
}

/// A place in the order of all records, newest first: the id carries the timestamp, so it is the whole key. A page
/// that starts here begins with the first record older than it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position(pub Id);

/// What a query read and what it could leave out: shown in `Server-Timing`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadStats {
    pub files_read: u64,
    pub files_skipped: u64,
    pub groups_read: u64,
    pub groups_skipped: u64,
    pub rows_read: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Page {
    pub rows: RowBuf,
    /// Where the next page starts; `None` at the end.
    pub next: Option<Position>,
    pub read: ReadStats,
}

#[derive(Clone, Debug, Default)]
pub struct ContextRows {
    /// Older than the record, oldest first.
    pub before: RowBuf,
    pub log: RowBuf,
    /// Newer than the record, oldest first.
    pub after: RowBuf,
}

/// How many records there are, by level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub levels: [u64; Level::COUNT],
}

impl Counts {
    pub fn total(&self) -> u64 {
        self.levels.iter().sum()
    }

    pub fn add(&mut self, other: &Counts) {
        for (sum, more) in self.levels.iter_mut().zip(other.levels) {
            *sum += more;
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    pub interval_seconds: u64,
    /// Oldest first, empty ones left out; each begins at a multiple of the interval since 1970.
    pub buckets: Vec<(Timestamp, Counts)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facets {
    /// Most frequent first; ties by value.
    pub values: Vec<(String, u64)>,
    /// Records with another value. Those without the field count nowhere.
    pub other: u64,
}

/// What a facet counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FacetField {
    Level,
    Source,
    Application,
    /// A metadata key, as in `metadata.KEY`.
    Metadata(String),
}

/// A record that the store refuses for good.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Of the record.
    pub id: Id,
    pub failed_at: Timestamp,
    /// In the store's words.
    pub reason: String,
    pub batch_id: Id,
    /// The record, as far as it can be read.
    pub row: Option<RowBuf>,
}

#[derive(Clone, Debug, Default)]
pub struct DeadLetters {
    /// The last refused first.
    pub letters: Vec<DeadLetter>,
    /// How many there are in all.
    pub total: u64,
    /// Where the next page starts; `None` at the end.
    pub next: Option<LetterPosition>,
}

/// A place among dead letters: of the last one seen. As text `<µs since 1970>-<id>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LetterPosition {
    pub failed_at: i64,
    pub id: Id,
}

impl std::fmt::Display for LetterPosition {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}-{}", self.failed_at, self.id)
    }
}

impl std::str::FromStr for LetterPosition {
    type Err = String;

    fn from_str(text: &str) -> Result<LetterPosition, String> {
        let read = || {
            let (time, id) = text.split_once('-')?;
            Some(LetterPosition { failed_at: time.parse().ok()?, id: Id::parse(id)? })
        };
        read().ok_or_else(|| format!("`{text}` is no cursor: take next_cursor of the page before, as it is"))
    }
}

/// Why a query has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum QueryError {
    #[error("the query took longer than {seconds} s: narrow its time range, or raise query_seconds_max")]
    Deadline { seconds: u64 },
    #[error("the query needs more than {bytes} bytes of memory: narrow it, or raise query_bytes_max")]
    Memory { bytes: usize },
    #[error("the client went away")]
    Cancelled,
    #[error("the store cannot be read: {0}")]
    Store(String),
}

/// Stops a query from outside: when its client goes away, or its time is up. Long scans ask it between pages, and tell it
/// what they read.
#[derive(Clone, Debug)]
pub struct Stop {
    shared: Arc<Watched>,
    deadline: Instant,
    seconds: u64,
}

/// What all clones of a [`Stop`] share.
#[derive(Debug, Default)]
struct Watched {
    cancelled: AtomicBool,
    files_read: AtomicU64,
    files_skipped: AtomicU64,
    groups_read: AtomicU64,
    groups_skipped: AtomicU64,
    rows_read: AtomicU64,
}

impl Stop {
    pub fn after(limit: Duration) -> Stop {
        Stop { shared: Arc::default(), deadline: Instant::now() + limit, seconds: limit.as_secs() }
    }

    pub fn cancel(&self) {
        self.shared.cancelled.store(true, Ordering::Relaxed);
    }

    /// How long it may still take: for whoever passes a limit on.
    pub fn remaining(&self) -> std::time::Duration {
        self.deadline.saturating_duration_since(std::time::Instant::now())
    }

    pub fn check(&self) -> Result<(), QueryError> {
        if self.shared.cancelled.load(Ordering::Relaxed) {
            return Err(QueryError::Cancelled);
        }
        if Instant::now() >= self.deadline {
            return Err(QueryError::Deadline { seconds: self.seconds });
        }
        Ok(())
    }

    /// Adds to what was read so far.
    pub fn add_read(&self, more: &ReadStats) {
        let Watched { files_read, files_skipped, groups_read, groups_skipped, rows_read, .. } = &*self.shared;
        for (sum, more) in [
            (files_read, more.files_read),
            (files_skipped, more.files_skipped),
            (groups_read, more.groups_read),
            (groups_skipped, more.groups_skipped),
            (rows_read, more.rows_read),
        ] {
            sum.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// What was read so far, by all that this was handed to.
    pub fn read(&self) -> ReadStats {
        let get = |sum: &AtomicU64| sum.load(Ordering::Relaxed);
        let Watched { files_read, files_skipped, groups_read, groups_skipped, rows_read, .. } = &*self.shared;
        ReadStats {
            files_read: get(files_read),
            files_skipped: get(files_skipped),
            groups_read: get(groups_read),
            groups_skipped: get(groups_skipped),
            rows_read: get(rows_read),
        }
    }
}

/// What the sidecar may ask of a store. Every call blocks: it runs on a thread that may.
pub trait Reader: Send + Sync {
    /// The newest `limit` records that match, from `start` on.
    fn page(&self, filter: &Filter, limit: usize, start: Option<Position>, stop: &Stop) -> Result<Page, QueryError>;

    /// One record.
    fn get(&self, id: Id, stop: &Stop) -> Result<Option<RowBuf>, QueryError>;

    /// The records before and after one, of its source. `None` when there is no such record.
    fn context(&self, id: Id, before: usize, after: usize, stop: &Stop) -> Result<Option<ContextRows>, QueryError>;

    /// All that matches, newest first, of one snapshot, handed to `sink` in pieces; `sink` may block, and ends the
    /// export by returning false. Only cancelling stops it: an export has no deadline of its own.
    fn export(&self, filter: &Filter, stop: &Stop, sink: &mut dyn FnMut(&RowBuf) -> bool) -> Result<(), QueryError>;

    fn counts(&self, filter: &Filter, stop: &Stop) -> Result<Counts, QueryError>;

    /// `interval_seconds` of `None` chooses one that makes at most 200 buckets.
    fn histogram(&self, filter: &Filter, interval_seconds: Option<u64>, stop: &Stop) -> Result<Histogram, QueryError>;

    fn facets(&self, filter: &Filter, field: &FacetField, limit: usize, stop: &Stop) -> Result<Facets, QueryError>;

    /// What the store has refused for good, at most `limit` of it. A store that takes whatever was encoded has none.
    fn dead_letters(
        &self,
        limit: usize,
        start: Option<LetterPosition>,
        stop: &Stop,
    ) -> Result<DeadLetters, QueryError> {
        let _ = (limit, start, stop);
        Ok(DeadLetters::default())
    }
}
