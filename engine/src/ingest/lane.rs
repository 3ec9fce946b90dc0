//! Where a shard's groups go: each lane is one way of making them durable.
//!
//! | lane | acknowledged once | then |
//! |---|---|---|
//! | [`Lane::Embedded`] | in the local log, and in the store's memory | the store's files cover the log |
//! | [`Lane::Logged`] | in the local log | a drain hands the log on to Redis or Postgres |
//! | [`Lane::Redis`] | in Redis; what Redis does not take, in the local log | a worker stores it; a drain hands on the log |
//! | [`Lane::Postgres`] | committed in Postgres | nothing |
//!
//! What may wait: the group, and the ones behind it.

use std::sync::Arc;
use std::time::Instant;

use record::Batch;
use tokio::sync::watch;

use super::appender::{AppendFailure, ROOM_WAIT_MAX};
use crate::handover::Handover;
use crate::metrics::ShardMetrics;
use crate::queue::LogPosition;
use crate::queue::local::{AppendError, LocalLog};
use crate::store::parquet::ParquetStore;
use crate::tail::Tail;

pub struct Lane {
    pub way: Way,
    pub tail: Tail,
    pub metrics: Arc<ShardMetrics>,
}

pub enum Way {
    Embedded {
        log: LogWay,
        shard: u16,
        store: Arc<ParquetStore>,
    },
    Logged(LogWay),
    Redis {
        /// Answers with the batches that Redis did not take.
        queue: Handover<Vec<Batch>>,
        overflow: LogWay,
    },
    /// Answers with the reason, where nothing was committed.
    Postgres(Handover<Result<(), String>>),
}

/// The local log, and who wants to know how far it goes.
pub struct LogWay {
    pub log: LocalLog,
    pub queue_bytes_max: u64,
    pub durable: Option<watch::Sender<LogPosition>>,
}

impl Lane {
    pub fn metrics(&self) -> &ShardMetrics {
        &self.metrics
    }

    /// Makes a group durable and shows it to whoever watches.
    pub async fn write(&self, batches: &[Batch], bytes: usize) -> Result<(), AppendFailure> {
        match &self.way {
            Way::Embedded { log, shard, store } => {
                wait_for_room(store).await?;
                let end = self.append(log, batches, bytes).await?;
                store.insert(*shard, batches, end);
            }
            Way::Logged(log) => drop(self.append(log, batches, bytes).await?),
            Way::Redis { queue, overflow } => {
                let left = queue.hand(batches.to_vec()).await.unwrap_or_else(|| batches.to_vec());
                if !left.is_empty() {
                    let bytes = left.iter().map(|batch| batch.frame().len()).sum();
                    self.append(overflow, &left, bytes).await?;
                }
            }
            Way::Postgres(store) => {
                let stopping = || Err("the server is stopping".to_owned());
                store.hand(batches.to_vec()).await.unwrap_or_else(stopping).map_err(AppendFailure::NoPostgres)?;
            }
        }
        for batch in batches {
            self.tail.publish(batch);
        }
        Ok(())
    }

    /// What was handed on, or is in files, need not stay in the log.
    pub async fn release(&self, position: LogPosition) {
        if let Some(LogWay { log, .. }) = self.log() {
            if let Err(error) = log.release(position).await {
                tracing::warn!("cannot give back what the store holds: {error}");
            }
            self.metrics.depth(log.depth());
        }
    }

    fn log(&self) -> Option<&LogWay> {
        match &self.way {
            Way::Embedded { log, .. } | Way::Logged(log) | Way::Redis { overflow: log, .. } => Some(log),
            Way::Postgres(_) => None,
        }
    }

    async fn append(&self, to: &LogWay, batches: &[Batch], bytes: usize) -> Result<LogPosition, AppendFailure> {
        if to.log.would_exceed(bytes as u64) {
            return Err(AppendFailure::QueueFull { bytes: to.log.depth().bytes, max: to.queue_bytes_max });
        }
        let before = Instant::now();
        let end = to.log.append(batches).await.map_err(|error| match error {
            AppendError::DiskFull => AppendFailure::DiskFull,
            other => AppendFailure::Failed(other.to_string()),
        })?;
        self.metrics.synced(before.elapsed());
        self.metrics.depth(to.log.depth());
        if let Some(durable) = &to.durable {
            durable.send_replace(end);
        }
        Ok(end)
    }
}

async fn wait_for_room(store: &ParquetStore) -> Result<(), AppendFailure> {
    if store.has_room() {
        return Ok(());
    }
    // Rows cannot leave memory while files cannot be written: waiting would not help.
    if let Some(failure) = store.status().failure {
        let is_full = failure.contains("No space left");
        return Err(if is_full { AppendFailure::DiskFull } else { AppendFailure::Store(failure) });
    }
    let room = async {
        store.wait_for_room().await;
        Ok(())
    };
    glommio::timer::timeout(ROOM_WAIT_MAX, room).await.map_err(|_| AppendFailure::NoRoom)
}
