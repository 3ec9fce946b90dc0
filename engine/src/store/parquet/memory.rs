//! The memory table: rows that are acknowledged and searchable, but in no file yet.
//!
//! Comes in: batches, right after they are durable in the log. Goes out: frozen chunks, to queries and to the flush.
//! Rows stay as they were encoded, in the batches' own bytes: an insert copies nothing and converts nothing.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use record::{Batch, Level, Row, Rows, Timestamp};

use super::tally::{Counter, Tally};
use crate::store::Counts;

/// A chunk is frozen at this size: small enough to prune well by time, large enough that few are in memory.
const CHUNK_BYTES_MAX: usize = 1 << 20;
/// And at this many batches, so that copying the open chunk for a query stays cheap when batches hold a row each.
const CHUNK_BATCHES_MAX: usize = 128;
/// What a batch costs in memory besides its rows: frame header, reference count, allocator.
const BATCH_OVERHEAD_BYTES: usize = 176;

/// A run of batches.
#[derive(Debug)]
pub struct Chunk {
    pieces: Vec<Bytes>,
    pub rows: u64,
    /// Memory that it holds.
    pub bytes: usize,
    pub first: Timestamp,
    pub last: Timestamp,
    pub counts: Counts,
    tally: OnceLock<Tally>,
}

impl Default for Chunk {
    fn default() -> Self {
        Chunk {
            pieces: Vec::new(),
            rows: 0,
            bytes: 0,
            first: Timestamp::MAX,
            last: Timestamp::MIN,
            counts: Counts::default(),
            tally: OnceLock::new(),
        }
    }
}

impl Chunk {
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.pieces.iter().flat_map(|piece| Rows::new(piece))
    }

    /// The rows' bytes, a batch at a time.
    pub fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// Counted at the first question, kept for the next.
    pub fn tally(&self) -> &Tally {
        self.tally.get_or_init(|| {
            let mut counter = Counter::default();
            self.rows().for_each(|row| counter.add(&row));
            counter.finish()
        })
    }

    fn push(&mut self, batch: &Batch) {
        let header = batch.header();
        let piece = batch.body_bytes();
        self.rows += u64::from(header.rows);
        self.bytes += piece.len() + BATCH_OVERHEAD_BYTES;
        self.first = self.first.min(header.first);
        self.last = self.last.max(header.last);
        for level in Level::ALL {
            self.counts.levels[level.index()] += u64::from(header.levels[level.index()]);
        }
        self.pieces.push(piece);
    }

    fn is_full(&self) -> bool {
        self.bytes >= CHUNK_BYTES_MAX || self.pieces.len() >= CHUNK_BATCHES_MAX
    }

    /// The same rows, for a query that must not see later ones.
    fn share(&self) -> Chunk {
        Chunk {
            pieces: self.pieces.clone(),
            rows: self.rows,
            bytes: self.bytes,
            first: self.first,
            last: self.last,
            counts: self.counts,
            tally: OnceLock::new(),
        }
    }
}

/// The rows in memory, in order of arrival. Its owner holds it under a lock.
#[derive(Debug, Default)]
pub struct Memory {
    frozen: Vec<Arc<Chunk>>,
    open: Chunk,
    bytes: usize,
    rows: u64,
}

impl Memory {
    pub fn insert(&mut self, batches: &[Batch]) {
        for batch in batches {
            let before = self.open.bytes;
            self.open.push(batch);
            self.bytes += self.open.bytes - before;
            self.rows += batch.len() as u64;
            if self.open.is_full() {
                self.freeze();
            }
        }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Every chunk as it is now.
    pub fn share(&self) -> Vec<Arc<Chunk>> {
        let mut chunks = Vec::with_capacity(self.frozen.len() + 1);
        chunks.extend_from_slice(&self.frozen);
        if self.open.rows > 0 {
            chunks.push(Arc::new(self.open.share()));
        }
        chunks
    }

    /// Freezes all that is here and hands it out, for a flush; it stays until [`forget`](Memory::forget).
    pub fn freeze_all(&mut self) -> Vec<Arc<Chunk>> {
        if self.open.rows > 0 {
            self.freeze();
        }
        self.frozen.clone()
    }

    /// Drops the oldest `chunks` chunks, which are in a file now.
    pub fn forget(&mut self, chunks: usize) {
        for chunk in self.frozen.drain(..chunks) {
            self.bytes -= chunk.bytes;
            self.rows -= chunk.rows;
        }
    }

    fn freeze(&mut self) {
        self.frozen.push(Arc::new(std::mem::take(&mut self.open)));
    }
}
