//! The viewers' side: tells engines what is watched for, and shows what they send.
//!
//! Comes in: a [`Tail`] with viewers. Goes out: rows of other processes, into that tail. While nobody watches it holds no
//! subscription and writes nothing.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::StreamExt;
use record::{Filter, Id};
use redis::aio::MultiplexedConnection;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::frame::{field, read_message, write_value};
use super::{ANSWER_MAX, FILTERS_MAX, KEPT_SECONDS, RENEW_EVERY, RETRY_AFTER};
use crate::queue::redis::counters::{Counters, Side, add};
use crate::queue::redis::{Keys, PREFIX, RedisError, Target};
use crate::tail::Tail;

/// Runs until it is dropped. `process` names this process, to engines and to itself.
pub async fn announce(target: Arc<Target>, tail: Tail, process: Id, counters: Arc<Counters>) {
    let keys = Keys::new(PREFIX);
    let mut announcer = Announcer { target, tail, process, counters, keys, beat: AtomicU64::default() };
    let mut changes = announcer.tail.filter_changes();
    loop {
        if announcer.tail.filters().is_empty() {
            // The sender lives in the tail.
            let _ = changes.changed().await;
            continue;
        }
        match announcer.serve().await {
            Ok(()) => {}
            Err(error) => {
                announcer.counters.tail_failed(&error, "the live tail shows nothing of other processes");
                sleep(RETRY_AFTER).await;
            }
        }
    }
}

struct Announcer {
    target: Arc<Target>,
    tail: Tail,
    process: Id,
    counters: Arc<Counters>,
    keys: Keys,
    beat: AtomicU64,
}

impl Announcer {
    /// Until nobody watches any more.
    async fn serve(&mut self) -> Result<(), RedisError> {
        // Subscribed before it is announced, so that the first rows are not missed.
        let mut connection = self.target.connect(ANSWER_MAX).await?;
        let (mut subscriber, mut messages) = self.target.listen(ANSWER_MAX).await?.split();
        let subscribed = timeout(ANSWER_MAX, subscriber.subscribe(self.keys.rows_channel())).await;
        self.heard(subscribed)?;
        let mut changes = self.tail.filter_changes();
        let mut announced = HashSet::new();
        let mut due = Instant::now();
        loop {
            tokio::select! {
                message = messages.next() => match message {
                    Some(message) => self.show(message.get_payload_bytes().to_vec()),
                    None => return Err(RedisError::Away(format!("{} closed the connection", self.target.shown()))),
                },
                _ = changes.changed() => due = Instant::now(),
                () = sleep_until(due) => {
                    due = Instant::now() + RENEW_EVERY;
                    let filters = self.filters();
                    self.renew(&mut connection, &filters, &mut announced).await?;
                    // A connection that only listens does not notice that the server is gone.
                    let answered = timeout(ANSWER_MAX, subscriber.ping::<redis::Value>()).await;
                    self.heard(answered)?;
                    self.counters.succeeded(Side::Tail);
                    if filters.is_empty() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// What is watched for; all, where it would be too much to tell.
    fn filters(&self) -> Vec<Filter> {
        let filters = self.tail.filters();
        match filters.len() > FILTERS_MAX || filters.iter().any(Filter::is_everything) {
            true => vec![Filter::default()],
            false => filters,
        }
    }

    async fn renew(
        &self,
        connection: &mut MultiplexedConnection,
        filters: &[Filter],
        announced: &mut HashSet<String>,
    ) -> Result<(), RedisError> {
        let beat = self.beat.fetch_add(1, Ordering::Relaxed);
        let key = self.keys.watchers();
        let mut pipeline = redis::pipe();
        let mut fields = HashSet::new();
        if !filters.is_empty() {
            let set = pipeline.cmd("HSET").arg(&key);
            for (n, filter) in filters.iter().enumerate() {
                let field = field(self.process, n);
                set.arg(&field).arg(write_value(beat, filter));
                fields.insert(field);
            }
            pipeline.cmd("EXPIRE").arg(&key).arg(KEPT_SECONDS);
        }
        let gone: Vec<&String> = announced.difference(&fields).collect();
        if !gone.is_empty() {
            pipeline.cmd("HDEL").arg(&key).arg(gone);
        }
        pipeline.exec_async(connection).await.map_err(|error| self.target.understand(&error))?;
        *announced = fields;
        Ok(())
    }

    fn show(&self, message: Vec<u8>) {
        match read_message(message) {
            // What this process takes in is in its tail already.
            Some(message) if message.process == self.process => {}
            Some(message) => {
                if message.skipped > 0 {
                    self.tail.skip(message.skipped);
                }
                if let Some(batch) = &message.batch {
                    add(&self.counters.tail_received_rows, batch.len());
                    self.tail.publish(batch);
                }
            }
            None => add(&self.counters.tail_unreadable, 1),
        }
    }

    fn heard<T>(&self, answer: Result<redis::RedisResult<T>, tokio::time::error::Elapsed>) -> Result<(), RedisError> {
        match answer {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(self.target.understand(&error)),
            Err(_) => Err(RedisError::Away(format!("{} does not answer in time", self.target.shown()))),
        }
    }
}
