//! The embedded store: rows in memory, searchable at once, then in Parquet files that any reader can open.
//!
//! Comes in: batches that are durable in the local log, in its order per shard. Goes out: answers to queries, and word
//! to the log of what it may forget. Ingestion waits here for one thing only: room in memory
//! ([`ParquetStore::wait_for_room`]).
//!
//! What it does not try to do: make anything durable before it is in a file. Until then it is the log that keeps it.

mod memory;
mod newest;
mod query;
mod tally;
mod wanted;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use record::{Batch, Filter, Id};

use self::memory::Memory;
use self::query::Snapshot;
use super::{ContextRows, Counts, FacetField, Facets, Histogram, Page, Position, QueryError, Reader, RowBuf, Stop};
use crate::queue::LogPosition;

/// What may be set.
#[derive(Clone, Debug)]
pub struct Options {
    /// Rows in memory, those of a running flush included, may take this much.
    pub memory_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { memory_bytes_max: 128 << 20 }
    }
}

/// For each shard of the local log, up to where files hold everything.
pub type Covered = HashMap<u16, LogPosition>;

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the store in {} cannot be used: {error}: check its permissions, or set another data_dir", path.display())]
    Io { path: PathBuf, error: std::io::Error },
}

pub struct ParquetStore {
    options: Options,
    state: Mutex<State>,
    room: tokio::sync::Notify,
}

#[derive(Default)]
struct State {
    memory: Memory,
    /// Up to where the log's rows have been inserted.
    ends: Covered,
}

impl ParquetStore {
    /// Opens the store in `dir`, which is made if it is missing. What the log holds behind the covered positions is to
    /// be inserted again.
    pub fn open(dir: &Path, options: Options) -> Result<(Arc<ParquetStore>, Covered), StoreError> {
        std::fs::create_dir_all(dir).map_err(|error| StoreError::Io { path: dir.to_owned(), error })?;
        let store = ParquetStore { options, state: Mutex::default(), room: tokio::sync::Notify::new() };
        Ok((Arc::new(store), Covered::new()))
    }

    /// Takes batches that the log of `shard` holds up to `end`. Their rows are found by every query from now on.
    pub fn insert(&self, shard: u16, batches: &[Batch], end: LogPosition) {
        let mut state = self.state();
        state.memory.insert(batches);
        state.ends.insert(shard, end);
    }

    /// Whether ingestion may go on.
    pub fn has_room(&self) -> bool {
        self.memory_bytes() < self.options.memory_bytes_max
    }

    /// Waits until ingestion may go on. Any runtime's task may wait here, and be dropped while it waits.
    pub async fn wait_for_room(&self) {
        loop {
            let mut room = std::pin::pin!(self.room.notified());
            room.as_mut().enable();
            if self.has_room() {
                return;
            }
            room.await;
        }
    }

    /// What the rows in memory take, those of a running flush included.
    pub fn memory_bytes(&self) -> usize {
        self.state().memory.bytes()
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot { chunks: self.state().memory.share() }
    }

    /// No code panics while it holds the lock half way through a change, so what a panic left is whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader for ParquetStore {
    fn page(&self, filter: &Filter, limit: usize, start: Option<Position>, stop: &Stop) -> Result<Page, QueryError> {
        self.snapshot().page(filter, limit, start, stop)
    }

    fn get(&self, id: Id, stop: &Stop) -> Result<Option<RowBuf>, QueryError> {
        self.snapshot().get(id, stop)
    }

    fn context(&self, id: Id, before: usize, after: usize, stop: &Stop) -> Result<Option<ContextRows>, QueryError> {
        self.snapshot().context(id, before, after, stop)
    }

    fn export(&self, filter: &Filter, stop: &Stop, sink: &mut dyn FnMut(&RowBuf) -> bool) -> Result<(), QueryError> {
        self.snapshot().export(filter, stop, sink)
    }

    fn counts(&self, filter: &Filter, stop: &Stop) -> Result<Counts, QueryError> {
        self.snapshot().counts(filter, stop)
    }

    fn histogram(&self, filter: &Filter, interval_seconds: Option<u64>, stop: &Stop) -> Result<Histogram, QueryError> {
        self.snapshot().histogram(filter, interval_seconds, stop)
    }

    fn facets(&self, filter: &Filter, field: &FacetField, limit: usize, stop: &Stop) -> Result<Facets, QueryError> {
        self.snapshot().facets(filter, field, limit, stop)
    }
}
