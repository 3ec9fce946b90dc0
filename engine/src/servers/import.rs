//! Redis as the queue of the embedded store: batches come out of it into the local log, and from there into files as any
//! others do. Only one process can do that for one data folder.
//!
//! A batch leaves Redis once the log has it durably. What is delivered a second time is known by its id.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::pause::Pause;
use super::redis::{RedisSide, take_options};
use crate::handover::Handed;
use crate::ingest::AppendFailure;
use crate::queue::imports::Imports;
use crate::queue::redis::Consumer;

/// What a shard answers.
pub type ImportResult = Result<(), AppendFailure>;

/// Records taken at once; a group of the log holds about as many.
const ROWS_MAX: usize = 20_000;
/// Nothing waits for more to come: the log's own groups do that.
const IDLE: Duration = Duration::ZERO;

pub struct Import {
    pub redis: Arc<RedisSide>,
    pub known: Arc<Imports>,
    pub into: Box<dyn Fn(Handed<ImportResult>) + Send + Sync>,
    pub name: String,
    pub streams: u16,
    pub claim_after: Duration,
    pub stopping: watch::Receiver<bool>,
}

impl Import {
    /// Runs until the process stops.
    pub async fn run(mut self) {
        let options = take_options(self.streams, &self.name, self.claim_after);
        let mut consumer = Consumer::new(self.redis.target.clone(), options, self.redis.counters.clone());
        let mut pause = Pause::new(self.stopping.clone());
        while !*self.stopping.borrow() {
            let taken = tokio::select! {
                taken = consumer.take(ROWS_MAX, IDLE) => taken,
                _ = self.stopping.changed() => continue,
            };
            let taken = match taken {
                Ok(taken) => taken,
                Err(error) => {
                    self.redis.known.failed(&error.to_string());
                    pause.wait().await;
                    continue;
                }
            };
            self.redis.known.works();
            let mut new: Vec<_> = taken.iter().map(|taken| taken.batch.clone()).collect();
            new.sort_by_key(|batch| batch.id());
            new.dedup_by_key(|batch| batch.id());
            new.retain(|batch| !self.known.has(batch));
            while !new.is_empty() && !*self.stopping.borrow() {
                let (answer, answered) = oneshot::channel();
                (self.into)(Handed { batches: new.clone(), answer });
                match answered.await {
                    Ok(Ok(())) => break,
                    // The queue is full, or the disk is: Redis keeps them meanwhile.
                    Ok(Err(_)) => pause.wait().await,
                    // The shard has stopped.
                    Err(_) => return consumer.leave(taken).await,
                }
                new.retain(|batch| !self.known.has(batch));
            }
            if *self.stopping.borrow() && !new.iter().all(|batch| self.known.has(batch)) {
                return consumer.leave(taken).await;
            }
            pause.reset();
            if let Err(error) = consumer.done(&taken).await {
                self.redis.known.failed(&error.to_string());
            }
        }
        consumer.leave(Vec::new()).await;
    }
}
