//! Redis as this process sees it: whether it takes batches, how durable it is, what it holds.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use record::Batch;
use tokio::sync::mpsc;

use super::known::Known;
use crate::config::{Config, RedisRequire};
use crate::handover::Handed;
use crate::queue::redis::{Counters, Durability, PushOptions, Pusher, RedisError, Status, TakeOptions, Target, status};

/// Between two looks at what Redis holds.
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// A push that takes longer goes to the local log: its sender waits.
const PUSH_MAX: Duration = Duration::from_secs(3);
/// What every key begins with.
pub const PREFIX: &str = "logboom";
/// Of so many of which one also asks how durable Redis is.
const INSPECT_EVERY: u32 = 10;

pub struct RedisSide {
    pub target: Arc<Target>,
    pub counters: Arc<Counters>,
    pub known: Known,
    streams: u16,
    require: RedisRequire,
    pusher: Pusher,
    /// Redis is set up weaker than `redis_require` wants: the local log acknowledges, and Redis gets what it holds.
    is_too_weak: AtomicBool,
    status: Mutex<Option<Status>>,
}

impl RedisSide {
    pub fn new(target: Target, config: &Config) -> RedisSide {
        let (target, counters) = (Arc::new(target), Arc::new(Counters::default()));
        let options = PushOptions {
            streams: config.streams,
            wait_replicas: config.redis_wait,
            timeout: PUSH_MAX,
            prefix: PREFIX.to_owned(),
        };
        RedisSide {
            pusher: Pusher::new(target.clone(), options, counters.clone()),
            target,
            counters,
            known: Known::new("Redis"),
            streams: config.streams,
            require: config.redis_require,
            is_too_weak: AtomicBool::new(config.redis_require == RedisRequire::Fsync),
            status: Mutex::new(None),
        }
    }

    /// Asks Redis what it is.
    pub async fn inspect(&self) -> Result<(), RedisError> {
        let found = self.target.inspect().await?;
        let weak = self.require == RedisRequire::Fsync && found.durability != Durability::Fsync;
        self.is_too_weak.store(weak, Ordering::Relaxed);
        let acknowledges = if weak { "; redis_require = fsync: the local log acknowledges" } else { "" };
        self.known.found(format!("{found}{acknowledges}"), found.remarks.clone());
        Ok(())
    }

    /// What Redis held when it was last asked; `None` while it does not say.
    pub fn status(&self) -> Option<Status> {
        self.lock().clone()
    }

    /// For `/health`.
    pub fn numbers(&self) -> String {
        match &*self.lock() {
            Some(status) => format!("; {} batches wait in it", status.depth()),
            None => String::new(),
        }
    }

    /// For `/queue/status`; `local` is what the local log holds besides.
    pub fn queue_json(&self, local: &str) -> String {
        match &*self.lock() {
            Some(status) => status.json(local),
            None => format!(
                "{{\"kind\":\"redis\",\"depth\":null,\"oldest_seconds\":null,\"streams\":[],\"overflow\":{local}}}"
            ),
        }
    }

    /// When the oldest batch came that waits in Redis; the beginning of time while it does not say.
    pub fn oldest(&self) -> Option<SystemTime> {
        match &*self.lock() {
            None => Some(SystemTime::UNIX_EPOCH),
            Some(status) => {
                let oldest = status.oldest_seconds()?;
                Some(SystemTime::now() - Duration::from_secs_f64(oldest.max(0.0)))
            }
        }
    }

    /// Looks after it for as long as the process runs.
    pub async fn keep_looking(self: Arc<Self>) {
        for turn in 0_u32.. {
            let found = status(&self.target, self.streams).await;
            // Whether it takes batches is for those to say who bring them.
            if let Err(error) = &found
                && !self.known.is_failing()
            {
                self.known.failed(&error.to_string());
            }
            *self.lock() = found.ok();
            if turn % INSPECT_EVERY == 0
                && let Err(error) = self.inspect().await
            {
                tracing::debug!("Redis cannot be inspected: {error}");
            }
            tokio::time::sleep(STATUS_EVERY).await;
        }
    }

    /// Brings batches to Redis; gives back those that it did not take.
    pub async fn push(&self, batches: Vec<Batch>) -> Vec<Batch> {
        let outcomes = self.pusher.push(&batches).await;
        let mut left = Vec::new();
        let mut failure = None;
        for (batch, outcome) in batches.into_iter().zip(outcomes) {
            if let Err(error) = outcome {
                failure = Some(error);
                left.push(batch);
            }
        }
        match failure {
            Some(error) => self.known.failed(&error.to_string()),
            None => self.known.works(),
        }
        left
    }

    /// Serves one shard's groups. While Redis fails they go back at once: the drain tries it, and says when it is back.
    pub async fn serve(self: Arc<Self>, mut groups: mpsc::UnboundedReceiver<Handed<Vec<Batch>>>) {
        while let Some(Handed { batches, answer }) = groups.recv().await {
            let takes = !self.known.is_failing() && !self.is_too_weak.load(Ordering::Relaxed);
            let left = if takes { self.push(batches).await } else { batches };
            // A shard that has stopped asks no more.
            let _ = answer.send(left);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Status>> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub fn take_options(streams: u16, name: &str, claim_after: Duration) -> TakeOptions {
    TakeOptions { streams, name: name.to_owned(), claim_after, prefix: PREFIX.to_owned() }
}
