//! Where a shard's groups go: each lane is one way of making them durable.
//!
//! | lane | acknowledged once | then |
//! |---|---|---|
//! | [`Way::Embedded`] | in the local log, and in the store's memory | the store's files cover the log |
//! | [`Way::Logged`] | in the local log | a drain hands the log on to Postgres |
//! | [`Way::Redis`] | in Redis; what Redis does not take goes another way | a worker stores it |
//! | [`Way::Postgres`] | committed in Postgres | nothing |
//!
//! What may wait: the group, and the ones behind it.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use record::Batch;
use tokio::sync::watch;

use super::appender::{AppendFailure, ROOM_WAIT_MAX};
use crate::handover::Handover;
use crate::metrics::ShardMetrics;
use crate::queue::LogPosition;
use crate::queue::imports::Imports;
use crate::queue::local::{AppendError, LocalLog};
use crate::store::parquet::{NoRoom, ParquetStore};
use crate::tail::Tail;

pub struct Lane {
    pub way: Way,
    /// Whom its records are shown to; nobody, where they have been shown before.
    pub tail: Option<Tail>,
    pub metrics: Arc<ShardMetrics>,
}

pub enum Way {
    Embedded(Rc<EmbeddedWay>),
    Logged(LogWay),
    Redis {
        /// Answers with the batches that Redis did not take.
        queue: Handover<Vec<Batch>>,
        otherwise: Box<Way>,
    },
    /// Answers with the reason, where nothing was committed.
    Postgres(Handover<Result<(), String>>),
}

/// The local log and the store of this process; lanes share it.
pub struct EmbeddedWay {
    pub log: LogWay,
    pub shard: u16,
    pub store: Arc<ParquetStore>,
    /// Held from a group's append to its insertion: the store must hear of positions in their order, or it would take a
    /// group for stored that it has not been given.
    pub order: tokio::sync::Mutex<()>,
    /// What the log has, so that what Redis delivers again is known.
    pub imports: Option<Arc<Imports>>,
}

/// The local log, and who wants to know how far it goes.
pub struct LogWay {
    pub log: LocalLog,
    pub queue_bytes_max: u64,
    pub durable: Option<watch::Sender<LogPosition>>,
}

/// Whether `queue_bytes_max` refuses a group. It does not where a part of the group is in Redis already: a sender who is
/// told 429 sends everything again, so that the part would be stored twice.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Limit {
    Holds,
    Passed,
}

impl Lane {
    pub fn metrics(&self) -> &ShardMetrics {
        &self.metrics
    }

    /// Makes a group durable and shows it to whoever watches.
    pub async fn write(&self, batches: &[Batch]) -> Result<(), AppendFailure> {
        self.take(&self.way, batches, Limit::Holds).await?;
        if let Some(tail) = &self.tail {
            batches.iter().for_each(|batch| tail.publish(batch));
        }
        Ok(())
    }

    async fn take(&self, way: &Way, batches: &[Batch], limit: Limit) -> Result<(), AppendFailure> {
        match way {
            Way::Embedded(embedded) => {
                wait_for_room(&embedded.store).await?;
                let _in_order = embedded.order.lock().await;
                let end = self.append(&embedded.log, batches, limit).await?;
                // Before the store has them: what it covers the log may forget.
                embedded.imports.iter().for_each(|imports| imports.add(batches));
                embedded.store.insert(embedded.shard, batches, end);
            }
            Way::Logged(log) => drop(self.append(log, batches, limit).await?),
            Way::Redis { queue, otherwise } => {
                let left = queue.hand(batches.to_vec()).await.unwrap_or_else(|| batches.to_vec());
                let limit = if left.len() < batches.len() { Limit::Passed } else { limit };
                if !left.is_empty() {
                    Box::pin(self.take(otherwise, &left, limit)).await?;
                }
            }
            Way::Postgres(store) => {
                let stopping = || Err("the server is stopping".to_owned());
                store.hand(batches.to_vec()).await.unwrap_or_else(stopping).map_err(AppendFailure::NoPostgres)?;
            }
        }
        Ok(())
    }

    /// What was handed on, or is in files, need not stay in the log.
    pub async fn release(&self, position: LogPosition) {
        let Some(log) = self.way.log() else { return };
        if let Err(error) = log.release(position).await {
            tracing::warn!("cannot give back what the store holds: {error}");
        }
        self.metrics.depth(log.depth());
    }

    async fn append(&self, to: &LogWay, batches: &[Batch], limit: Limit) -> Result<LogPosition, AppendFailure> {
        let bytes: usize = batches.iter().map(|batch| batch.frame().len()).sum();
        if limit == Limit::Holds && to.log.would_exceed(bytes as u64) {
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

impl Way {
    fn log(&self) -> Option<&LocalLog> {
        match self {
            Way::Embedded(embedded) => Some(&embedded.log.log),
            Way::Logged(log) => Some(&log.log),
            Way::Redis { otherwise, .. } => otherwise.log(),
            Way::Postgres(_) => None,
        }
    }
}

async fn wait_for_room(store: &ParquetStore) -> Result<(), AppendFailure> {
    if store.has_room() {
        return Ok(());
    }
    let room = async { Ok(store.wait_for_room().await) };
    match glommio::timer::timeout(ROOM_WAIT_MAX, room).await {
        Ok(Ok(())) => Ok(()),
        // Rows cannot leave memory while files cannot be written: waiting would not help.
        Ok(Err(NoRoom::DiskFull)) => Err(AppendFailure::DiskFull),
        Ok(Err(NoRoom::Failed(failure))) => Err(AppendFailure::Store(failure)),
        Err(_) => Err(AppendFailure::NoRoom),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::local::tests::{Batches, on_shard};
    use crate::queue::local::{Durability, Options, Recovery};

    /// What a group of three meets in a full log behind a Redis that takes so many of them, and how many the log gets.
    fn written(taken: usize) -> (Result<(), AppendFailure>, u64) {
        on_shard(async move || {
            let folder = tempfile::tempdir().expect("a folder");
            let options = Options::new(Durability::Sync, 1);
            let log = LocalLog::open(folder.path(), 0, Recovery::default(), options).await.expect("opens");
            let mut batches = Batches::new();
            log.append(&[batches.make(10)]).await.expect("an empty log takes whatever comes");
            let (queue, mut handed) = Handover::<Vec<Batch>>::new();
            let redis = std::thread::spawn(move || {
                let mut group = handed.blocking_recv().expect("a group");
                group.answer.send(group.batches.split_off(taken)).expect("somebody waits");
            });
            let otherwise = Box::new(Way::Logged(LogWay { log: log.clone(), queue_bytes_max: 1, durable: None }));
            let metrics = Arc::new(ShardMetrics::new(Arc::new(crate::metrics::Metrics::new())));
            let lane = Lane { way: Way::Redis { queue, otherwise }, tail: None, metrics };
            let result = lane.write(&[batches.make(10), batches.make(10), batches.make(10)]).await;
            redis.join().expect("no panic");
            (result, log.depth().batches - 1)
        })
    }

    #[test]
    fn a_group_that_is_partly_in_redis_is_not_refused() {
        assert!(matches!(written(3), (Ok(()), 0)));
        assert!(matches!(written(1), (Ok(()), 2)));
        assert!(matches!(written(0), (Err(AppendFailure::QueueFull { .. }), 0)));
    }
}
