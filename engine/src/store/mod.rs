//! Stores, and the one way in which the sidecar reads any of them.
//!
//! Rows travel in the tuple form of [`record::row`], whichever store they come from: one writer of JSON serves pages,
//! export and tail.

use record::{Filter, Id, Level, Rows, Timestamp};

pub mod parquet;

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
#[derive(Clone, Copy, Debug, Default)]
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

/// A batch, or a record of one, that the store refuses for good.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// What letters are in order of: the record's own, where it has one.
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
    /// Newest first.
    pub letters: Vec<DeadLetter>,
    /// How many there are in all.
    pub total: u64,
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

/// Stops a query from outside: when its client goes away, or its time is up. Long scans ask it between pages.
#[derive(Clone, Debug)]
pub struct Stop {
    cancelled: std::sync::Arc<std::sync::atomic::AtomicBool>,
    deadline: std::time::Instant,
    seconds: u64,
}

impl Stop {
    pub fn after(limit: std::time::Duration) -> Stop {
        Stop { cancelled: Default::default(), deadline: std::time::Instant::now() + limit, seconds: limit.as_secs() }
    }

    pub fn cancel(&self) {
        self.cancelled.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    pub fn check(&self) -> Result<(), QueryError> {
        if self.cancelled.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(QueryError::Cancelled);
        }
        if std::time::Instant::now() >= self.deadline {
            return Err(QueryError::Deadline { seconds: self.seconds });
        }
        Ok(())
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

    /// What the store has refused for good, `before` this letter. A store that takes whatever was encoded has none.
    fn dead_letters(&self, limit: usize, before: Option<Id>, stop: &Stop) -> Result<DeadLetters, QueryError> {
        let _ = (limit, before, stop);
        Ok(DeadLetters::default())
    }
}
