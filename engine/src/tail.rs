//! The live tail's source: every batch that has become durable, to whoever watches.
//!
//! Comes in: a sealed batch, once it is acknowledged. Goes out: the same bytes, to each viewer. Nothing waits: with no
//! viewer a publication is one atomic load, and a viewer that falls behind skips, and is told how many records.

use record::Batch;
use tokio::sync::broadcast;

/// Batches held for slow viewers; of at most 196,000 bytes each, so 12 MB at the very most.
const BATCHES_MAX: usize = 64;

/// Hands batches to viewers. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Tail {
    sender: broadcast::Sender<Published>,
    rows: std::sync::Arc<std::sync::atomic::AtomicU64>,
    rate: std::sync::Arc<crate::rate::Rate>,
}

#[derive(Clone, Debug)]
struct Published {
    batch: Batch,
    /// Rows published before this batch: what a viewer that skipped counts with.
    rows_before: u64,
}

impl Default for Tail {
    fn default() -> Self {
        Tail { sender: broadcast::Sender::new(BATCHES_MAX), rows: Default::default(), rate: Default::default() }
    }
}

impl Tail {
    pub fn publish(&self, batch: &Batch) {
        self.rate.add(batch.len() as u32);
        if self.sender.receiver_count() == 0 {
            return;
        }
        let rows = batch.len() as u64;
        let rows_before = self.rows.fetch_add(rows, std::sync::atomic::Ordering::Relaxed);
        // An error means that the last viewer has just left.
        let _ = self.sender.send(Published { batch: batch.clone(), rows_before });
    }

    /// Records that were published a second, over the last 10 s.
    pub fn per_second(&self) -> f64 {
        self.rate.per_second()
    }

    pub fn viewers(&self) -> usize {
        self.sender.receiver_count()
    }

    pub fn subscribe(&self) -> Viewer {
        Viewer { receiver: self.sender.subscribe(), rows_seen: None }
    }
}

/// One viewer's place in the stream of batches.
#[derive(Debug)]
pub struct Viewer {
    receiver: broadcast::Receiver<Published>,
    /// `rows_before` of the batch that should come next.
    rows_seen: Option<u64>,
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
