//! The local log, handed on: into Redis what it did not take, into Postgres where there is no Redis.
//!
//! Comes in: how far a shard's log is durable. Goes out: its batches, in order, and how far they are handed on: the shard
//! gives those segments back. A crash drains some a second time; the store knows them by their ids.

use std::sync::Arc;
use std::time::{Duration, Instant};

use record::Batch;
use tokio::sync::watch;

use super::LogToDrain;
use super::pause::Pause;
use super::postgres::PostgresSide;
use super::redis::RedisSide;
use crate::queue::LogPosition;
use crate::queue::local::{LogReader, drained};
use crate::store::postgres::Writer;

/// Batches handed on at once.
const PIECE_BYTES: usize = 4 * 1024 * 1024;
/// How far a log is drained is written down so often.
const NOTE_EVERY: Duration = Duration::from_secs(1);
/// A log that cannot be read is tried again after this long.
const UNREADABLE_AGAIN: Duration = Duration::from_secs(5);
/// A Redis that fails while nothing waits for it is asked so often whether it is back.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Where a log is drained to.
pub enum Outlet {
    Redis(Arc<RedisSide>),
    Postgres {
        side: Arc<PostgresSide>,
        /// Connections that copy at once.
        writers: Vec<Writer>,
        batch_size: usize,
    },
}

/// Told of each position that need not stay in the log.
pub type Covered = Box<dyn Fn(LogPosition) + Send + Sync>;

pub struct Drain {
    pub log: LogToDrain,
    pub durable: watch::Receiver<LogPosition>,
    pub outlet: Outlet,
    pub covered: Covered,
    pub stopping: watch::Receiver<bool>,
}

impl Drain {
    /// Runs until the process stops.
    pub async fn run(mut self) {
        let mut reader = Some(LogReader::new(&self.log.dir, self.log.from));
        let mut noted = (Instant::now(), self.log.from);
        let mut at = self.log.from;
        let mut pause = Pause::new(self.stopping.clone());
        while !*self.stopping.borrow() {
            let end = *self.durable.borrow_and_update();
            if at >= end {
                self.note(&mut noted, at, true).await;
                self.wait_for_more(&mut pause).await;
                continue;
            }
            let Some(mut taken) = reader.take() else { return };
            let read = tokio::task::spawn_blocking(move || {
                let batches = taken.next(end, PIECE_BYTES);
                (taken, batches)
            });
            let Ok((mut taken, batches)) = read.await else { return };
            for finding in taken.take_findings() {
                tracing::error!("{finding}");
            }
            let batches = match batches {
                Ok(batches) => batches,
                Err(error) => {
                    tracing::error!("the local log cannot be drained: {error}");
                    reader = Some(LogReader::new(&self.log.dir, at));
                    pause.sleep(UNREADABLE_AGAIN).await;
                    continue;
                }
            };
            let reached = taken.position();
            reader = Some(taken);
            let mut left: Vec<Batch> = batches.into_iter().map(|(_, batch)| batch).collect();
            while !left.is_empty() && !*self.stopping.borrow() {
                left = self.outlet.take(left).await;
                match left.is_empty() {
                    true => pause.reset(),
                    false => pause.wait().await,
                }
            }
            if left.is_empty() {
                at = reached;
                (self.covered)(at);
                self.note(&mut noted, at, false).await;
            }
        }
        self.note(&mut noted, at, true).await;
    }

    async fn wait_for_more(&mut self, pause: &mut Pause) {
        if let Outlet::Redis(redis) = &self.outlet
            && redis.known.is_failing()
        {
            // Nothing waits that could be tried, so Redis is asked: new groups go to it as soon as it answers.
            if redis.inspect().await.is_ok() {
                redis.known.works();
            } else {
                pause.sleep(ASK_EVERY).await;
            }
            return;
        }
        let failing = tokio::time::sleep(ASK_EVERY);
        tokio::select! {
            changed = self.durable.changed() => if changed.is_err() {
                // The shard has gone; a stop follows.
                let _ = self.stopping.wait_for(|stopping| *stopping).await;
            },
            _ = self.stopping.changed() => {}
            () = failing => {}
        }
    }

    async fn note(&self, noted: &mut (Instant, LogPosition), at: LogPosition, now: bool) {
        if at == noted.1 || !now && noted.0.elapsed() < NOTE_EVERY {
            return;
        }
        let dir = self.log.dir.clone();
        let written = tokio::task::spawn_blocking(move || drained::write(&dir, at)).await;
        // A log of a former run goes, folder and all, once it is drained.
        if let Ok(Err(error)) = written
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!("how far the log is drained cannot be noted, so that a restart drains more again: {error}");
        }
        *noted = (Instant::now(), at);
    }
}

impl Outlet {
    /// Hands batches on; gives back what was not taken.
    async fn take(&mut self, batches: Vec<Batch>) -> Vec<Batch> {
        match self {
            Outlet::Redis(redis) => redis.push(batches).await,
            Outlet::Postgres { side, writers, batch_size } => {
                let pieces = pieces(batches, *batch_size);
                let mut left = Vec::new();
                let mut pieces = pieces.into_iter();
                loop {
                    let turn: Vec<Vec<Batch>> = pieces.by_ref().take(writers.len()).collect();
                    if turn.is_empty() {
                        return left;
                    }
                    let storing = writers.iter_mut().zip(turn).map(|(writer, piece)| async {
                        let stored = side.store(writer, &piece).await;
                        if stored.is_ok() { Vec::new() } else { piece }
                    });
                    left.extend(futures_util::future::join_all(storing).await.into_iter().flatten());
                    if !left.is_empty() {
                        left.extend(pieces.by_ref().flatten());
                        return left;
                    }
                }
            }
        }
    }
}

/// Whole batches, put together to about so many records.
fn pieces(batches: Vec<Batch>, rows: usize) -> Vec<Vec<Batch>> {
    let mut out: Vec<Vec<Batch>> = Vec::new();
    let mut count = usize::MAX;
    for batch in batches {
        if count.saturating_add(batch.len()) > rows {
            out.push(Vec::new());
            count = 0;
        }
        count += batch.len();
        if let Some(last) = out.last_mut() {
            last.push(batch);
        }
    }
    out
}
