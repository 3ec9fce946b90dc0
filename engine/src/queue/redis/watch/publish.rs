//! The engines' side: sends what viewers in other processes want to see.
//!
//! Comes in: the batches of this process' [`Tail`]. Goes out: messages of the rows that some filter wants, joined for
//! 10 ms. Beyond the rate rows are not even looked at, so that a flood costs no more than what is sent; viewers are told
//! how many there were, of whatever filter, as they are when they are too slow for this process' own tail.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use record::filter::Matcher;
use record::{Batch, BatchBuilder, Filter, Id, IdSource};
use redis::aio::MultiplexedConnection;
use tokio::time::{Instant, sleep, sleep_until};

use super::frame::{is_field_of, read_value, write_message};
use super::{ANSWER_MAX, DEAD_AFTER, FILTERS_MAX, RETRY_AFTER, copied_ids, is_copied};
use crate::queue::redis::counters::{Counters, Side, add};
use crate::queue::redis::{Keys, PREFIX, RedisError, Target};
use crate::tail::{Next, Tail, Viewer};

/// How often the filters are read.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Rows are joined for so long: what a person sees as at once.
const JOIN: Duration = Duration::from_millis(10);
/// The number of rows left out goes out with rows, and alone so often.
const SKIPPED_EVERY: Duration = Duration::from_millis(200);

/// Runs until the tail is closed or it is dropped. `process` marks what it sends.
pub async fn publish(target: Arc<Target>, tail: Tail, process: Id, rows_per_second_max: u64, counters: Arc<Counters>) {
    let mut publisher = Publisher {
        target,
        process,
        counters,
        keys: Keys::new(PREFIX),
        watchers: Watchers::default(),
        allowance: Allowance::new(rows_per_second_max),
        open: OpenMessage::new(),
    };
    loop {
        match publisher.serve(&tail).await {
            Ok(()) => return,
            Err(error) => {
                publisher.counters.tail_failed(&error, "viewers in other processes see nothing of this one");
                sleep(RETRY_AFTER).await;
            }
        }
    }
}

struct Publisher {
    target: Arc<Target>,
    process: Id,
    counters: Arc<Counters>,
    keys: Keys,
    watchers: Watchers,
    allowance: Allowance,
    open: OpenMessage,
}

impl Publisher {
    /// Until the tail is closed.
    async fn serve(&mut self, tail: &Tail) -> Result<(), RedisError> {
        let mut connection = self.target.connect(ANSWER_MAX).await?;
        let mut viewer: Option<Viewer> = None;
        let mut look_at = Instant::now();
        loop {
            let next = async {
                match &mut viewer {
                    Some(viewer) => viewer.next().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                next = next => match next {
                    Next::Batch { batch, skipped } => {
                        self.skip(skipped);
                        self.take(&batch, &mut connection).await?;
                    }
                    Next::Closed => return self.send(&mut connection).await,
                },
                () = sleep_until(self.open.due) => self.send(&mut connection).await?,
                () = sleep_until(look_at) => {
                    look_at = Instant::now() + LOOK_EVERY;
                    self.look(&mut connection).await?;
                    self.counters.succeeded(Side::Tail);
                    match self.watchers.matchers.is_empty() {
                        true => viewer = None,
                        false if viewer.is_none() => viewer = Some(tail.subscribe()),
                        false => {}
                    }
                }
            }
        }
    }

    /// Reads who watches for what, and forgets the dead.
    async fn look(&mut self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        let key = self.keys.watchers();
        let understood = |error: redis::RedisError| self.target.understand(&error);
        let fields: HashMap<String, Vec<u8>> =
            redis::cmd("HGETALL").arg(&key).query_async(connection).await.map_err(understood)?;
        let unreadable = self.watchers.update(fields, self.process, Instant::now());
        add(&self.counters.tail_unreadable, unreadable);
        let dead = self.watchers.take_dead();
        if !dead.is_empty() {
            redis::cmd("HDEL").arg(&key).arg(dead).exec_async(connection).await.map_err(understood)?;
        }
        Ok(())
    }

    async fn take(&mut self, batch: &Batch, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        if is_copied(batch) {
            return Ok(());
        }
        self.allowance.refill();
        let mut left = batch.len() as u64;
        for row in batch.rows() {
            if !self.allowance.has_any() {
                self.skip(left);
                break;
            }
            left -= 1;
            if !self.watchers.matchers.iter().any(|matcher| matcher.matches(&row)) {
                continue;
            }
            self.allowance.use_one();
            if !self.open.has_room(row.as_bytes()) {
                self.send(connection).await?;
            }
            self.open.push(row.as_bytes());
        }
        Ok(())
    }

    fn skip(&mut self, rows: u64) {
        if rows > 0 {
            self.open.skip(rows);
            add(&self.counters.tail_skipped_rows, rows as usize);
        }
    }

    async fn send(&mut self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        let (skipped, batch) = self.open.close();
        if skipped == 0 && batch.is_none() {
            return Ok(());
        }
        let message = write_message(self.process, skipped, batch.as_ref());
        let sent = redis::cmd("PUBLISH").arg(self.keys.rows_channel()).arg(message).exec_async(connection).await;
        let rows = batch.as_ref().map_or(0, Batch::len);
        match sent {
            Ok(()) => {
                add(&self.counters.tail_sent_rows, rows);
                Ok(())
            }
            Err(error) => {
                // Told of with the next message that gets through.
                self.open.skip(skipped + rows as u64);
                add(&self.counters.tail_skipped_rows, rows);
                Err(self.target.understand(&error))
            }
        }
    }
}

/// What is in the hash, and since when: this process' own clock says what is dead.
#[derive(Default)]
struct Watchers {
    seen: HashMap<String, Seen>,
    matchers: Vec<Matcher>,
    dead: Vec<String>,
}

struct Seen {
    value: Vec<u8>,
    filter: Option<Filter>,
    changed: Instant,
}

impl Watchers {
    /// Returns how many fields have turned up that cannot be read.
    fn update(&mut self, fields: HashMap<String, Vec<u8>>, own: Id, now: Instant) -> usize {
        let mut unreadable = 0;
        let mut before = std::mem::take(&mut self.seen);
        for (field, value) in fields {
            if is_field_of(&field, own) {
                continue;
            }
            let seen = match before.remove(&field) {
                Some(seen) if seen.value == value => seen,
                known => {
                    let filter = read_value(&value);
                    // Told once, and not at every renewal.
                    unreadable += usize::from(filter.is_none() && known.is_none());
                    Seen { value, filter, changed: now }
                }
            };
            match now - seen.changed > DEAD_AFTER {
                true => self.dead.push(field),
                false => drop(self.seen.insert(field, seen)),
            }
        }
        let mut filters: Vec<&Filter> = Vec::new();
        for filter in self.seen.values().filter_map(|seen| seen.filter.as_ref()) {
            if !filters.contains(&filter) && !filter.is_nothing() {
                filters.push(filter);
            }
        }
        self.matchers = match filters.len() > FILTERS_MAX || filters.iter().any(|filter| filter.is_everything()) {
            true => vec![Filter::default().matcher()],
            false => filters.into_iter().map(Filter::matcher).collect(),
        };
        unreadable
    }

    fn take_dead(&mut self) -> Vec<String> {
        std::mem::take(&mut self.dead)
    }
}

/// Rows that may be sent: so many a second, and as many at once after a quiet second.
struct Allowance {
    per_second: f64,
    left: f64,
    at: Instant,
}

impl Allowance {
    fn new(per_second: u64) -> Allowance {
        Allowance { per_second: per_second as f64, left: per_second as f64, at: Instant::now() }
    }

    /// Once a batch: a look at the clock for each row would cost more than many a match.
    fn refill(&mut self) {
        let now = Instant::now();
        self.left = (self.left + (now - self.at).as_secs_f64() * self.per_second).min(self.per_second);
        self.at = now;
    }

    fn has_any(&self) -> bool {
        self.left >= 1.0
    }

    fn use_one(&mut self) {
        self.left -= 1.0;
    }
}

/// The message that is being put together.
struct OpenMessage {
    builder: BatchBuilder,
    ids: IdSource,
    skipped: u64,
    /// When it goes out; far off while there is nothing to send.
    due: Instant,
}

impl OpenMessage {
    fn new() -> OpenMessage {
        OpenMessage { builder: BatchBuilder::new(1), ids: copied_ids(), skipped: 0, due: far_off() }
    }

    fn has_room(&self, row: &[u8]) -> bool {
        self.builder.has_room(row.len())
    }

    fn push(&mut self, row: &[u8]) {
        self.due = self.due.min(Instant::now() + JOIN);
        // A row of a batch is one.
        let _ = self.builder.append(row, &mut self.ids, crate::clock::now());
    }

    fn skip(&mut self, rows: u64) {
        self.due = self.due.min(Instant::now() + SKIPPED_EVERY);
        self.skipped += rows;
    }

    fn close(&mut self) -> (u64, Option<Batch>) {
        self.due = far_off();
        (std::mem::take(&mut self.skipped), self.builder.seal())
    }
}

fn far_off() -> Instant {
    Instant::now() + Duration::from_secs(24 * 3600)
}
