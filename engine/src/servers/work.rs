//! A worker: takes batches out of Redis and stores them in Postgres, each once.
//!
//! A batch leaves Redis after its COMMIT. If this process dies between the two, another takes it again, and Postgres knows
//! it by its id. While Postgres is away a worker keeps what it holds, so that memory is bounded by `batch_size`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::pause::Pause;
use super::postgres::PostgresSide;
use super::redis::{RedisSide, take_options};
use crate::queue::redis::{Consumer, Taken};
use crate::store::postgres::{StoreError, Writer};

/// A COPY is begun with less than `batch_size` once nothing has come for so long.
const IDLE: Duration = Duration::from_millis(5);
/// Batches that another worker holds are tried again after this long; meanwhile others go on.
const HELD_AGAIN: Duration = Duration::from_secs(1);

pub struct Worker {
    pub redis: Arc<RedisSide>,
    pub postgres: Arc<PostgresSide>,
    /// Told apart in Redis and in Postgres by this.
    pub name: String,
    pub streams: u16,
    pub batch_size: usize,
    pub claim_after: Duration,
    pub stopping: watch::Receiver<bool>,
}

/// Batches that some other backend has in a transaction.
struct Held {
    taken: Vec<Taken>,
    since: Instant,
}

impl Worker {
    /// Runs until the process stops; then what it holds is stored, or handed back.
    pub async fn run(mut self) {
        let options = take_options(self.streams, &self.name, self.claim_after);
        let mut consumer = Consumer::new(self.redis.target.clone(), options, self.redis.counters.clone());
        let mut writer = self.postgres.writer(&self.name);
        let mut held: Option<Held> = None;
        let mut pause = Pause::new(self.stopping.clone());
        while !*self.stopping.borrow() {
            if let Some(again) = held.take_if(|held| held.since.elapsed() > HELD_AGAIN) {
                held = self.store(&mut consumer, &mut writer, again.taken).await;
                continue;
            }
            let taken = tokio::select! {
                taken = consumer.take(self.batch_size, IDLE) => taken,
                _ = self.stopping.changed() => continue,
            };
            match taken {
                Ok(taken) if taken.is_empty() => self.redis.known.works(),
                Ok(taken) => {
                    pause.reset();
                    self.redis.known.works();
                    let more = self.store(&mut consumer, &mut writer, taken).await;
                    held = merge(held, more);
                }
                Err(error) => {
                    self.redis.known.failed(&error.to_string());
                    pause.wait().await;
                }
            }
        }
        consumer.leave(held.map(|held| held.taken).unwrap_or_default()).await;
    }

    /// Stores what was taken, however long Postgres is away. Gives back what others hold, or what a stop came before.
    async fn store(&mut self, consumer: &mut Consumer, writer: &mut Writer, mut taken: Vec<Taken>) -> Option<Held> {
        let mut pause = Pause::new(self.stopping.clone());
        let mut renewed = Instant::now();
        loop {
            let batches: Vec<_> = taken.iter().map(|taken| taken.batch.clone()).collect();
            match writer.store(&batches).await {
                Ok(_) => {
                    self.postgres.known.works();
                    // Entries that stay are given out again, and found to be stored.
                    if let Err(error) = consumer.done(&taken).await {
                        self.redis.known.failed(&error.to_string());
                    }
                    return None;
                }
                Err(StoreError::Locked { held }) => {
                    let (others, free): (Vec<_>, Vec<_>) =
                        taken.into_iter().partition(|taken| held.contains(&taken.batch.id()));
                    if free.is_empty() || others.is_empty() {
                        let taken = if free.is_empty() { others } else { free };
                        return Some(Held { taken, since: Instant::now() });
                    }
                    let more = Box::pin(self.store(consumer, writer, free)).await;
                    return merge(Some(Held { taken: others, since: Instant::now() }), more);
                }
                Err(StoreError::Away(reason) | StoreError::Refused(reason)) => {
                    self.postgres.known.failed(&reason);
                    if *self.stopping.borrow() {
                        return Some(Held { taken, since: Instant::now() });
                    }
                    pause.wait().await;
                    if renewed.elapsed() > self.claim_after / 3 {
                        renewed = Instant::now();
                        // What cannot be renewed may be another's by now: that one stores it, and so may this.
                        taken = consumer.renew(taken).await;
                        if taken.is_empty() {
                            return None;
                        }
                    }
                }
            }
        }
    }
}

fn merge(one: Option<Held>, other: Option<Held>) -> Option<Held> {
    match (one, other) {
        (Some(mut one), Some(other)) => {
            one.taken.extend(other.taken);
            Some(one)
        }
        (one, other) => one.or(other),
    }
}
