//! The embedded store: rows in memory, searchable at once, then in Parquet files that any reader can open.
//!
//! Comes in: batches that are durable in the local log, in its order per shard. Goes out: answers to queries, and word
//! to the log of what it may forget. Ingestion waits here for one thing only: room in memory
//! ([`ParquetStore::wait_for_room`]).
//!
//! What it does not try to do: make anything durable before it is in a file. Until then it is the log that keeps it.

mod aggregate;
mod compact;
mod copy;
mod disk;
mod export;
mod file;
mod find;
mod flush;
pub mod fsck;
mod grams;
mod manifest;
mod memory;
mod merge;
mod nearest;
mod plan;
mod query;
mod scan;
mod schema;
mod stats;
mod status;
mod tally;
#[cfg(test)]
mod tests;
mod tidy;
mod typed;
mod view;
mod wanted;
mod worker;
mod writer;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use record::{Batch, Filter, Id, Timestamp};

pub use self::compact::CompactError;
pub use self::copy::{Copied, CopyError};
use self::disk::Steps;
use self::file::DataFile;
use self::manifest::{Manifest, ManifestError};
use self::memory::Memory;
use self::query::Snapshot;
pub use self::stats::{FAILURES, Question, Totals};
pub use self::status::{Report, Status};
use super::{ContextRows, Counts, FacetField, Facets, Histogram, Page, Position, QueryError, Reader, RowBuf, Stop};
use crate::queue::LogPosition;

/// What may be set.
#[derive(Clone, Debug)]
pub struct Options {
    /// Rows in memory, those of a running flush included, may take this much.
    pub memory_bytes_max: usize,
    /// A flush begins when rows in memory take this much.
    pub flush_bytes: usize,
    /// Or when the oldest of them is in memory for this long, so that the log may forget.
    pub flush_after: Duration,
    /// Records older than this go, and are not taken in; `None` keeps them for ever.
    pub retain: Option<Duration>,
    /// Files may take this much; the oldest go first.
    pub retain_bytes: Option<u64>,
    /// What one query may gather before it is refused.
    pub query_bytes_max: usize,
    /// A metadata key gets a column where so many of its values are of one kind. Odd ones stay in the JSON: with too many
    /// of them, a filter reads both.
    fitting_percent: usize,
    steps: Steps,
}

impl Default for Options {
    fn default() -> Self {
        // Three times what one flush takes: one is written, one fills, and there is slack for a slow disk.
        Options {
            memory_bytes_max: 144 << 20,
            flush_bytes: 48 << 20,
            flush_after: Duration::from_secs(300),
            retain: None,
            retain_bytes: None,
            query_bytes_max: 64 << 20,
            fitting_percent: 90,
            steps: Steps::default(),
        }
    }
}

impl Options {
    pub fn new(memory_bytes_max: usize, flush_bytes: usize, flush_after: Duration) -> Options {
        Options { memory_bytes_max, flush_bytes, flush_after, ..Options::default() }
    }

    /// The oldest time that is kept and taken in.
    fn oldest_kept(&self, now: Timestamp) -> Option<Timestamp> {
        let micros = i64::try_from(self.retain?.as_micros()).unwrap_or(i64::MAX);
        Some(Timestamp::clamped(now.as_micros().saturating_sub(micros)))
    }
}

/// For each shard of the local log, up to where files hold everything.
pub type Covered = HashMap<u16, LogPosition>;

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the store in {} cannot be used: {error}: check its permissions, or set another data_dir", path.display())]
    Io { path: PathBuf, error: std::io::Error },
    #[error("the store in {} cannot be opened: {error}; `logboom fsck --repair` builds it anew from the files", path.display())]
    Manifest { path: PathBuf, error: ManifestError },
    #[error("{} cannot be read: {error}", path.display())]
    Unreadable { path: PathBuf, error: QueryError },
}

/// Why memory will have no room soon: what leaves it cannot be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoRoom {
    DiskFull,
    Failed(String),
}

/// Called with a shard of the log and the position up to which files now hold everything.
type OnCovered = Box<dyn Fn(u16, LogPosition) + Send + Sync>;

pub struct ParquetStore {
    shared: Arc<Shared>,
    /// The flush, and two for compaction with retention.
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
}

/// What queries, shards and the worker share.
struct Shared {
    dir: PathBuf,
    options: Options,
    state: Mutex<State>,
    /// Tells the worker that there may be something to do.
    wake: Condvar,
    /// Tells the second thread that there may be something to do.
    tidy: Condvar,
    /// Held by whoever compacts or removes files, so that no two choose the same.
    tidying: Mutex<()>,
    /// Stops the compaction that is under way.
    compaction: Mutex<Option<Stop>>,
    /// Tells whoever waits for a flush that one has ended.
    flushed: Condvar,
    room: tokio::sync::Notify,
    on_covered: Mutex<Option<OnCovered>>,
    /// Held by whoever changes the files, from reading the manifest to swapping the file list.
    commit: Mutex<()>,
    report: Report,
    counts: stats::Counts,
}

struct State {
    memory: Memory,
    /// When the oldest row in memory came.
    oldest: Option<Instant>,
    /// Up to where the log's rows have been inserted.
    ends: Covered,
    /// The number of the next file: none is used twice.
    next_file: u64,
    covered: Covered,
    /// Whether the manifest is certain to outlive a crash.
    is_durable: bool,
    files: Arc<Vec<Arc<DataFile>>>,
    /// Flushes that were asked for, and the last of these that was begun and has ended.
    asked: u64,
    answered: u64,
    closing: bool,
    flushes: u64,
    failed_flushes: u64,
    /// What the last compaction or retention failed of.
    tidy_failure: Option<String>,
    /// What the last flush failed of; `None` once one has gone well.
    failure: Option<String>,
}

/// Up to where the files in `dir` hold each shard's log, as its manifest says; nothing, where there is none.
pub fn covered(dir: &Path) -> Result<Covered, StoreError> {
    let read = Manifest::read(dir).map_err(|error| StoreError::Manifest { path: dir.to_owned(), error })?;
    Ok(read.map(|manifest| manifest.covered).unwrap_or_default())
}

impl ParquetStore {
    /// Opens the store in `dir`, which is made if it is missing. What the log holds behind the covered positions is to
    /// be inserted again.
    pub fn open(dir: &Path, options: Options) -> Result<(Arc<ParquetStore>, Covered), StoreError> {
        let io_error = |error| StoreError::Io { path: dir.to_owned(), error };
        std::fs::create_dir_all(dir).map_err(io_error)?;
        let read = Manifest::read(dir).map_err(|error| StoreError::Manifest { path: dir.to_owned(), error })?;
        let manifest = read.unwrap_or_default();
        let (manifest, files, report) = worker::open_files(dir, manifest).map_err(io_error)?;
        let covered = manifest.covered.clone();
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            options,
            state: Mutex::new(State {
                memory: Memory::default(),
                oldest: None,
                ends: covered.clone(),
                next_file: manifest.next,
                covered: manifest.covered,
                is_durable: true,
                files: Arc::new(files),
                asked: 0,
                answered: 0,
                closing: false,
                flushes: 0,
                failed_flushes: 0,
                tidy_failure: None,
                failure: None,
            }),
            wake: Condvar::new(),
            tidy: Condvar::new(),
            tidying: Mutex::new(()),
            compaction: Mutex::new(None),
            flushed: Condvar::new(),
            room: tokio::sync::Notify::new(),
            on_covered: Mutex::new(None),
            commit: Mutex::new(()),
            report,
            counts: stats::Counts::default(),
        });
        let store = Arc::new(ParquetStore { shared: shared.clone(), threads: Mutex::default() });
        lock(&store.threads).push(worker::start(shared.clone()).map_err(io_error)?);
        lock(&store.threads).extend(tidy::start(&shared).map_err(io_error)?);
        Ok((store, covered))
    }

    /// The oldest time that is taken in, where retention sets one: an older record is `too_old`.
    pub fn oldest_kept(&self, now: Timestamp) -> Option<Timestamp> {
        self.shared.options.oldest_kept(now)
    }

    /// What was found at start that should not be there, or was missing.
    pub fn report(&self) -> &Report {
        &self.shared.report
    }

    /// Takes batches that the log of `shard` holds up to `end`. Their rows are found by every query from now on.
    pub fn insert(&self, shard: u16, batches: &[Batch], end: LogPosition) {
        let mut state = lock(&self.shared.state);
        let before = state.memory.bytes();
        state.memory.insert(batches);
        state.ends.insert(shard, end);
        if before == 0 {
            state.oldest = Some(Instant::now());
        }
        // The worker sleeps until the oldest row is due: it must hear of the first one, and of a full memory.
        let after = state.memory.bytes();
        if before == 0 || (before < self.shared.options.flush_bytes && after >= self.shared.options.flush_bytes) {
            self.shared.wake.notify_one();
        }
    }

    /// Whether ingestion may go on.
    pub fn has_room(&self) -> bool {
        self.memory_bytes() < self.shared.options.memory_bytes_max
    }

    /// Waits until ingestion may go on, or files cannot be written, so that waiting is of no use. Any runtime's task may
    /// wait here, and be dropped while it waits.
    pub async fn wait_for_room(&self) -> Result<(), NoRoom> {
        loop {
            let mut room = std::pin::pin!(self.shared.room.notified());
            room.as_mut().enable();
            if self.has_room() {
                return Ok(());
            }
            if let Some(failure) = lock(&self.shared.state).failure.clone() {
                let is_full = failure.contains("No space left") || failure.contains("quota exceeded");
                return Err(if is_full { NoRoom::DiskFull } else { NoRoom::Failed(failure) });
            }
            room.await;
        }
    }

    /// The same for a thread that may block.
    pub fn wait_for_room_blocking(&self) {
        let mut state = lock(&self.shared.state);
        while state.memory.bytes() >= self.shared.options.memory_bytes_max && !state.closing {
            state = self.shared.flushed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// What the rows in memory take, those of a running flush included.
    pub fn memory_bytes(&self) -> usize {
        lock(&self.shared.state).memory.bytes()
    }

    /// Calls `covered` now, and whenever files have come to hold more of a shard's log. From the worker's thread: it
    /// must not take long.
    pub fn on_covered(&self, covered: impl Fn(u16, LogPosition) + Send + Sync + 'static) {
        let mut held = lock(&self.shared.on_covered);
        // Recovery may have flushed before anybody listened.
        let state = lock(&self.shared.state);
        if state.is_durable {
            state.covered.iter().for_each(|(&shard, &position)| covered(shard, position));
        }
        drop(state);
        *held = Some(Box::new(covered));
    }

    /// Puts all that is in memory now into files. Blocks until that is done, or has failed.
    pub fn flush_now(&self) -> Result<(), String> {
        let mut state = lock(&self.shared.state);
        let failed_before = state.failed_flushes;
        state.asked += 1;
        let mine = state.asked;
        self.shared.wake.notify_one();
        while state.answered < mine {
            if state.closing {
                return Err("the store is closing".to_owned());
            }
            state = self.shared.flushed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        match &state.failure {
            Some(failure) if state.failed_flushes > failed_before => Err(failure.clone()),
            _ => Ok(()),
        }
    }

    /// Compacts all files now, as the background work does bit by bit. Blocks until that is done.
    pub fn compact_now(&self) -> Result<(), CompactError> {
        self.shared.compact_all()
    }

    /// Stops the background work, after a last flush. What cannot be flushed is still in the log.
    pub fn close(&self) {
        if let Err(error) = self.flush_now() {
            tracing::warn!("rows in memory stay in the log until the next start: {error}");
        }
        self.stop();
    }

    /// Stops the background work as it is.
    fn stop(&self) {
        lock(&self.shared.state).closing = true;
        self.shared.wake.notify_all();
        self.shared.flushed.notify_all();
        self.shared.tidy.notify_all();
        if let Some(compaction) = &*lock(&self.shared.compaction) {
            compaction.cancel();
        }
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the store has panicked");
            }
        }
    }

    fn snapshot(&self) -> Snapshot {
        let Options { query_bytes_max, .. } = self.shared.options;
        // What is older is no longer shown, wherever it still is: see `tidy`.
        let oldest = self.oldest_kept(tidy::now());
        let state = lock(&self.shared.state);
        Snapshot { chunks: state.memory.share(), files: state.files.clone(), oldest, bytes_max: query_bytes_max }
    }

    /// Answers a question, and counts it.
    fn answer<T>(
        &self,
        question: Question,
        stop: &Stop,
        answer: impl FnOnce(&Snapshot) -> Result<T, QueryError>,
    ) -> Result<T, QueryError> {
        let began = Instant::now();
        let answer = answer(&self.snapshot());
        self.shared.counts.asked(question, began.elapsed(), stop, &answer);
        answer
    }
}

impl Drop for ParquetStore {
    fn drop(&mut self) {
        self.stop();
    }
}

/// No code panics while it holds a lock half way through a change, so what a panic left is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Reader for ParquetStore {
    fn page(&self, filter: &Filter, limit: usize, start: Option<Position>, stop: &Stop) -> Result<Page, QueryError> {
        self.answer(Question::Page, stop, |snapshot| snapshot.page(filter, limit, start, stop))
    }

    fn get(&self, id: Id, stop: &Stop) -> Result<Option<RowBuf>, QueryError> {
        self.answer(Question::Record, stop, |snapshot| snapshot.get(id, stop))
    }

    fn context(&self, id: Id, before: usize, after: usize, stop: &Stop) -> Result<Option<ContextRows>, QueryError> {
        self.answer(Question::Context, stop, |snapshot| snapshot.context(id, before, after, stop))
    }

    fn export(&self, filter: &Filter, stop: &Stop, sink: &mut dyn FnMut(&RowBuf) -> bool) -> Result<(), QueryError> {
        self.answer(Question::Export, stop, |snapshot| export::export(snapshot, filter, stop, sink))
    }

    fn counts(&self, filter: &Filter, stop: &Stop) -> Result<Counts, QueryError> {
        self.answer(Question::Counts, stop, |snapshot| aggregate::counts(snapshot, filter, stop))
    }

    fn histogram(&self, filter: &Filter, interval_seconds: Option<u64>, stop: &Stop) -> Result<Histogram, QueryError> {
        self.answer(Question::Histogram, stop, |snapshot| {
            aggregate::histogram(snapshot, filter, interval_seconds, stop)
        })
    }

    fn facets(&self, filter: &Filter, field: &FacetField, limit: usize, stop: &Stop) -> Result<Facets, QueryError> {
        self.answer(Question::Facets, stop, |snapshot| aggregate::facets(snapshot, filter, field, limit, stop))
    }
}
