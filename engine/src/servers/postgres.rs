//! Postgres as this process sees it: whether it can be used, and the way of `POST /data/` into it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use record::Batch;

use super::known::Known;
use super::{Direct, RETRY_MAX, RETRY_MIN};
use crate::config::Config;
use crate::store::postgres::{Counters, PostgresError, StoreError, Target, Writer, WriterOptions, migrate};

/// Between two looks at a Postgres that works.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Another process holds a batch for so long at most before its sender is told to come back: only a batch that was
/// handed over twice is ever held.
const LOCKED_TRIES: u32 = 20;

pub struct PostgresSide {
    pub target: Arc<Target>,
    pub counters: Arc<Counters>,
    pub known: Known,
    options: WriterOptions,
}

impl PostgresSide {
    pub fn new(target: Target, config: &Config) -> PostgresSide {
        PostgresSide {
            target: Arc::new(target),
            counters: Arc::default(),
            known: Known::new("Postgres"),
            options: WriterOptions {
                claim_after: config.claim_after,
                retain: config.retain,
                ..WriterOptions::default()
            },
        }
    }

    pub fn writer(&self, name: &str) -> Writer {
        Writer::new(self.target.clone(), name, self.options.clone(), self.counters.clone())
    }

    /// Brings the schema to this version.
    pub async fn migrate(&self) -> Result<(), PostgresError> {
        migrate(&self.target).await?;
        let found = self.target.inspect().await?;
        self.known.found(found.to_string(), found.remarks());
        self.known.works();
        Ok(())
    }

    /// For `/health`.
    pub fn numbers(&self) -> String {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (rows, dead) = (count(&self.counters.rows), count(&self.counters.dead_letters));
        match dead {
            0 => format!("; {rows} records stored by this process"),
            _ => format!("; {rows} records stored by this process, {dead} refused: see /dead-letters"),
        }
    }

    /// Tries it again for as long as it fails.
    pub async fn keep_looking(self: Arc<Self>) {
        let mut pause = RETRY_MIN;
        loop {
            if !self.known.is_failing() {
                pause = RETRY_MIN;
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            }
            if let Err(error) = self.migrate().await {
                self.known.failed(&error.to_string());
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RETRY_MAX);
            }
        }
    }

    /// Stores batches, or says why not. Batches that another process holds are tried again for a while. (Boxed, since the
    /// compiler cannot see that the plain future may move between threads.)
    pub fn store<'a>(&'a self, writer: &'a mut Writer, batches: &'a [Batch]) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            for _ in 0..LOCKED_TRIES {
                match writer.store(batches).await {
                    Ok(_) => {
                        self.known.works();
                        return Ok(());
                    }
                    Err(StoreError::Locked { .. }) => tokio::time::sleep(RETRY_MIN).await,
                    Err(StoreError::Away(reason) | StoreError::Refused(reason)) => {
                        self.known.failed(&reason);
                        return Err(reason);
                    }
                }
            }
            Err("another process holds these batches: see pg_stat_activity".to_owned())
        })
    }

    /// Commits groups of all shards; whatever waits goes in one transaction.
    pub async fn serve(self: Arc<Self>, groups: Arc<tokio::sync::Mutex<Direct>>, name: String) {
        let mut writer = self.writer(&name);
        loop {
            let mut waiting = Vec::new();
            {
                let mut groups = groups.lock().await;
                let Some(first) = groups.recv().await else { return };
                waiting.push(first);
                while let Ok(more) = groups.try_recv() {
                    waiting.push(more);
                }
            }
            let batches: Vec<Batch> = waiting.iter().flat_map(|handed| handed.batches.iter().cloned()).collect();
            let result = match self.known.failure() {
                // Nobody is kept waiting for a server that is known to be away; whoever looks after it says when it is back.
                Some(reason) => Err(reason),
                None => self.store(&mut writer, &batches).await,
            };
            for handed in waiting {
                let _ = handed.answer.send(result.clone());
            }
        }
    }
}
