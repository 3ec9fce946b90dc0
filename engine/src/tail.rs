//! The live tail's source: every batch that has become durable, to whoever watches.
//!
//! Comes in: a sealed batch, once it is acknowledged. Goes out: the same bytes, to each viewer. Nothing waits: with no
//! viewer a publication is one atomic load, and a viewer that falls behind skips, and is told how many records.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use record::{Batch, Filter};
use tokio::sync::{broadcast, watch};

/// Batches held for slow viewers; of at most 196,000 bytes each, so 12 MB at the very most.
const BATCHES_MAX: usize = 64;

/// Hands batches to viewers. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Tail {
    sender: broadcast::Sender<Published>,
    rows: Arc<AtomicU64>,
    rate: Arc<crate::rate::Rate>,
    filters: Arc<Filters>,
}

/// What is watched for, so that other processes can be told.
#[derive(Debug, Default)]
struct Filters {
    list: Mutex<Vec<Weak<Filter>>>,
    changes: watch::Sender<()>,
}

#[derive(Clone, Debug)]
struct Published {
    batch: Batch,
    /// Rows published before this batch: what a viewer that skipped counts with.
    rows_before: u64,
}

impl Default for Tail {
    fn default() -> Self {
        Tail {
            sender: broadcast::Sender::new(BATCHES_MAX),
            rows: Arc::default(),
            rate: Arc::default(),
            filters: Arc::default(),
        }
    }
}

impl Tail {
    pub fn publish(&self, batch: &Batch) {
        self.rate.add(batch.len() as u32);
        if self.sender.receiver_count() == 0 {
            return;
        }
        let rows = batch.len() as u64;
        let rows_before = self.rows.fetch_add(rows, Ordering::Relaxed);
        // An error means that the last viewer has just left.
        let _ = self.sender.send(Published { batch: batch.clone(), rows_before });
    }

    /// So many records were left out, and every viewer is to know.
    pub fn skip(&self, rows: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }

    /// Records that were published a second, over the last 10 s.
    pub fn per_second(&self) -> f64 {
        self.rate.per_second()
    }

    pub fn viewers(&self) -> usize {
        self.sender.receiver_count()
    }

    /// Watches for all records.
    pub fn subscribe(&self) -> Viewer {
        Viewer { receiver: self.sender.subscribe(), rows_seen: None, _filter: None }
    }

    /// Watches for what a filter wants. Records that it does not want may come as well: the viewer sorts them out.
    pub fn subscribe_for(&self, filter: &Filter) -> Viewer {
        let filter = Arc::new(filter.clone());
        self.filters.lock().push(Arc::downgrade(&filter));
        let viewer = Viewer { receiver: self.sender.subscribe(), rows_seen: None, _filter: Some(filter) };
        self.filters.changes.send_replace(());
        viewer
    }

    /// What is watched for now, each filter once.
    pub fn filters(&self) -> Vec<Filter> {
        let mut list = self.filters.lock();
        list.retain(|filter| filter.strong_count() > 0);
        let mut filters: Vec<Filter> = Vec::new();
        for filter in list.iter().filter_map(Weak::upgrade) {
            if !filters.contains(&filter) {
                filters.push(Filter::clone(&filter));
            }
        }
        filters
    }

    /// Told of whenever something new is watched for.
    pub fn filter_changes(&self) -> watch::Receiver<()> {
        self.filters.changes.subscribe()
    }
}

impl Filters {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Filter>>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One viewer's place in the stream of batches.
#[derive(Debug)]
pub struct Viewer {
    receiver: broadcast::Receiver<Published>,
    /// `rows_before` of the batch that should come next.
    rows_seen: Option<u64>,
    /// Watched for as long as the viewer lives.
    _filter: Option<Arc<Filter>>,
}

/// What a viewer gets next.
#[derive(Debug)]
pub enum Next {
    Batch {
        batch: Batch,
        /// Records, of whatever filter, that this viewer was too slow for just before.
        skipped: u64,
    },
    /// The engine stops.
    Closed,
}

impl Viewer {
    /// Waits for the next batch. Safe to drop while waiting.
    pub async fn next(&mut self) -> Next {
        loop {
            match self.receiver.recv().await {
                Ok(published) => {
                    let skipped = self.rows_seen.map_or(0, |seen| published.rows_before.saturating_sub(seen));
                    self.rows_seen = Some(published.rows_before + published.batch.len() as u64);
                    return Next::Batch { batch: published.batch, skipped };
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return Next::Closed,
            }
        }
    }
}
