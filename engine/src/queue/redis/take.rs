//! Batches out: a worker's place in the consumer group.
//!
//! Comes in: how many rows the worker would store at once. Goes out: whole batches, each the worker's until it says
//! `done`, hands it back with `leave`, or is silent about it for longer than `claim_after`. Past 500 lines, as every call
//! must agree with the others on what is pending in this consumer's name.
//!
//! # How it reads
//!
//! A sweep asks some streams, each with a command of its own, in one pipeline, and never blocks: an answer that comes
//! late is a failure, not a wait, so a server that hangs is found out within seconds. (A BLOCK that times out here still
//! takes the next entry there and gives it to nobody.) When all streams are empty the next sweep waits, from 2 ms up
//! to 20 ms. Sweeps begin where the last one ended, so that every stream gets its turn.
//!
//! An answer can be lost all the same, with its connection. What it held is then pending in this consumer's name; so after
//! every new connection, and after a call that was dropped half way, the consumer first reads what is pending for it and
//! not in hand. Whatever else goes astray is found by XAUTOCLAIM, which every consumer asks every second.
//!
//! What it does not try to do: order batches, or find out whether another worker has stored one; the store knows.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use record::Batch;
use redis::{Pipeline, Value};
use tokio::time::{Instant, sleep};

use super::aside::{Foreign, set_aside};
use super::counters::{Counters, add};
use super::line::Line;
use super::reply::{self, Entry};
use super::{GROUP, Keys, PREFIX, RedisError, Target};

/// A call that finds nothing returns after this, so that its worker can look whether it should stop.
const EMPTY_MAX: Duration = Duration::from_secs(1);
/// Between two sweeps of empty streams: the first is what a lone record may wait, the second what an idle worker costs
/// (50 sweeps a second, a few thousandths of a core).
const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(20);
/// A worker holds at most this many bytes of batches: some 200 of the usual size, far more rows than a COPY needs.
const HELD_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Entries of one sweep: 25 MB of full batches, where the last sweep let expect small ones.
const SWEEP_ENTRIES_MAX: usize = 128;
/// How often dead workers' entries are looked for; a graceful stop counts on it.
const CLAIM_EVERY_MAX: Duration = Duration::from_secs(1);
/// Entries of one answer, when a stop asks what it has to hand back.
const HANDED_BACK_AT_ONCE: usize = 1_000;
/// How often consumers that are gone are looked for, and what makes one: nobody hangs that long and comes back.
const TIDY_EVERY: Duration = Duration::from_secs(600);
const DEAD_AFTER: Duration = Duration::from_secs(3600);

/// Deletes a consumer that has nothing pending, in one step: what is pending for a consumer goes with it, for ever.
const DELETE_IF_IDLE: &str = "if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) == 0 then \
     redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2]) return 1 end return 0";

#[derive(Clone, Debug)]
pub struct TakeOptions {
    /// How many streams there are at least; those that engines registered besides are read too.
    pub streams: u16,
    /// The consumer's own name within the group: no two live ones may share one.
    pub name: String,
    /// What another worker has held for so long is taken from it. Over the longest transaction.
    pub claim_after: Duration,
    /// What every key begins with.
    pub prefix: String,
}

impl TakeOptions {
    pub fn new(streams: u16, name: String, claim_after: Duration) -> TakeOptions {
        TakeOptions { streams, name, claim_after, prefix: PREFIX.to_owned() }
    }
}

/// A batch that this worker has to store.
#[derive(Clone, Debug)]
pub struct Taken {
    pub stream: u16,
    /// The entry's id within the stream.
    pub entry: String,
    pub batch: Batch,
    /// How often it was handed out, this time included.
    pub deliveries: u64,
}

pub struct Consumer {
    options: TakeOptions,
    keys: Keys,
    counters: Arc<Counters>,
    line: Line,
    streams: Vec<u16>,
    /// Taken from Redis and not yet handed out.
    ready: VecDeque<Taken>,
    ready_rows: usize,
    ready_bytes: usize,
    /// Handed out and not done: by stream and entry.
    held: HashSet<(u16, String)>,
    /// Where to go on reading what is pending in our name, while an answer may have been lost: the streams, by their
    /// place, and an entry.
    in_doubt: Option<(usize, String)>,
    /// Where the next sweep and the next claim begin.
    turn: usize,
    claim_turn: usize,
    claim_from: HashMap<u16, String>,
    claim_at: Instant,
    tidy_at: Instant,
    dead_after: Duration,
    /// Of an entry, as the last sweep found them.
    rows_usual: usize,
    bytes_usual: usize,
    pause: Duration,
}

impl Consumer {
    pub fn new(target: Arc<Target>, options: TakeOptions, counters: Arc<Counters>) -> Consumer {
        let now = Instant::now();
        Consumer {
            keys: Keys::new(&options.prefix),
            streams: (0..options.streams.max(1)).collect(),
            line: Line::new(target, counters.clone()),
            options,
            counters,
            ready: VecDeque::new(),
            ready_rows: 0,
            ready_bytes: 0,
            held: HashSet::new(),
            in_doubt: None,
            turn: 0,
            claim_turn: 0,
            claim_from: HashMap::new(),
            claim_at: now,
            tidy_at: now + TIDY_EVERY,
            dead_after: DEAD_AFTER,
            rows_usual: 1,
            bytes_usual: record::batch::BATCH_BYTES_MAX,
            pause: PAUSE_MIN,
        }
    }

    /// Whole batches of up to `rows_max` rows together, at least one; fewer when nothing more comes for `idle`, none
    /// when nothing comes for a second. Safe to drop while waiting.
    pub async fn take(&mut self, rows_max: usize, idle: Duration) -> Result<Vec<Taken>, RedisError> {
        let begun = Instant::now();
        let mut last_came = begun;
        while self.ready_rows < rows_max && self.ready_bytes < HELD_BYTES_MAX {
            let came = match self.fetch(rows_max).await {
                Ok(came) => came,
                // What is here can be stored meanwhile.
                Err(_) if !self.ready.is_empty() => break,
                Err(error) => return Err(error),
            };
            let now = Instant::now();
            if came > 0 {
                last_came = now;
                self.pause = PAUSE_MIN;
            }
            if came > 0 || self.in_doubt.is_some() {
                continue;
            }
            let (since, enough) = if self.ready.is_empty() { (begun, EMPTY_MAX) } else { (last_came, idle) };
            let Some(left) = enough.checked_sub(now - since).filter(|left| !left.is_zero()) else { break };
            sleep(self.pause.min(left)).await;
            self.pause = (self.pause * 2).min(PAUSE_MAX);
        }
        Ok(self.hand_out(rows_max))
    }

    /// Deletes what is stored.
    pub async fn done(&mut self, taken: &[Taken]) -> Result<(), RedisError> {
        let mut pipeline = redis::pipe();
        for (stream, entries) in by_stream(taken) {
            let key = self.keys.stream(stream);
            pipeline.cmd("XDEL").arg(&key).arg(&entries);
            pipeline.cmd("XACK").arg(&key).arg(GROUP).arg(&entries);
        }
        self.line.ask(&mut pipeline).await?;
        for one in taken {
            self.held.remove(&(one.stream, one.entry.clone()));
        }
        add(&self.counters.done_batches, taken.len());
        Ok(())
    }

    /// Says that this worker is at it still, so that no other claims what it holds: every third of `claim_after`, for as
    /// long as it waits. Gives back those that are pending still: the others were stored by another worker. When Redis
    /// does not answer, all of them: nobody knows.
    pub async fn renew(&mut self, taken: Vec<Taken>) -> Vec<Taken> {
        let mut pipeline = redis::pipe();
        let held = by_stream(taken.iter().chain(&self.ready));
        for (&stream, entries) in &held {
            let claim = pipeline.cmd("XCLAIM").arg(self.keys.stream(stream)).arg(GROUP).arg(&self.options.name);
            claim.arg(0).arg(entries).arg("JUSTID");
        }
        let streams: Vec<u16> = held.into_keys().collect();
        let Ok(answers) = self.line.ask(&mut pipeline).await else { return taken };
        let mut pending = HashSet::new();
        for (stream, ids) in streams.into_iter().zip(answers) {
            let ids = reply::array(ids).unwrap_or_default().into_iter().filter_map(reply::text);
            pending.extend(ids.map(|entry| (stream, entry)));
        }
        let (ours, gone): (Vec<Taken>, Vec<Taken>) =
            taken.into_iter().partition(|one| pending.contains(&(one.stream, one.entry.clone())));
        for one in gone {
            self.held.remove(&(one.stream, one.entry));
        }
        ours
    }

    /// A graceful stop: `not_done`, and whatever else is pending for this consumer, goes to another worker within a
    /// second, and the consumer is deleted. Where Redis does not answer they wait for `claim_after`.
    pub async fn leave(&mut self, not_done: Vec<Taken>) {
        let returned = match self.hand_back().await {
            Ok(returned) => returned,
            // It has been counted and told.
            Err(_) => return,
        };
        add(&self.counters.returned_batches, returned);
        drop(not_done);
        self.ready.clear();
        (self.ready_rows, self.ready_bytes) = (0, 0);
        self.held.clear();
        let own: Vec<(u16, String)> = self.streams.iter().map(|&stream| (stream, self.options.name.clone())).collect();
        let _ = self.delete_consumers(&own).await;
    }

    /// Makes all that is pending for this consumer look as if nobody had touched it for long, so that the next claim of
    /// any consumer takes it. Asks Redis what that is: a call that was dropped half way has taken what nobody knows of.
    async fn hand_back(&mut self) -> Result<usize, RedisError> {
        let idle = self.options.claim_after.as_millis() as u64 + 1;
        let mut returned = 0;
        for &stream in &self.streams {
            let key = self.keys.stream(stream);
            let mut from = "-".to_owned();
            loop {
                let mut pipeline = redis::pipe();
                let pending = pipeline.cmd("XPENDING").arg(&key).arg(GROUP).arg(&from).arg("+");
                pending.arg(HANDED_BACK_AT_ONCE).arg(&self.options.name);
                let answer = self.line.ask_streams(&self.keys, &[stream], &mut pipeline).await?.pop();
                let Some((_, answer)) = answer else { break };
                let pending = reply::deliveries(answer).ok_or_else(|| self.line.strange("XPENDING"))?;
                let Some((last, _)) = pending.last() else { break };
                from = format!("({last}");
                let entries: Vec<&str> = pending.iter().map(|(entry, _)| &entry[..]).collect();
                let mut pipeline = redis::pipe();
                let claim = pipeline.cmd("XCLAIM").arg(&key).arg(GROUP).arg(&self.options.name);
                claim.arg(0).arg(&entries).arg("IDLE").arg(idle).arg("JUSTID");
                self.line.ask(&mut pipeline).await?;
                returned += entries.len();
            }
        }
        Ok(returned)
    }

    #[cfg(test)]
    pub(super) fn tidy_soon(&mut self, dead_after: Duration) {
        (self.tidy_at, self.dead_after) = (Instant::now(), dead_after);
    }

    fn hand_out(&mut self, rows_max: usize) -> Vec<Taken> {
        let mut taken = Vec::new();
        let mut rows = 0;
        while let Some(next) = self.ready.front() {
            if !taken.is_empty() && rows + next.batch.len() > rows_max {
                break;
            }
            let Some(next) = self.ready.pop_front() else { break };
            rows += next.batch.len();
            self.ready_bytes -= next.batch.frame().len();
            self.held.insert((next.stream, next.entry.clone()));
            taken.push(next);
        }
        self.ready_rows -= rows;
        add(&self.counters.taken_batches, taken.len());
        add(&self.counters.taken_rows, rows);
        taken
    }

    /// Asks Redis once for what may be there, and returns how many batches came.
    async fn fetch(&mut self, rows_max: usize) -> Result<usize, RedisError> {
        if std::mem::take(&mut self.line.answer_lost) {
            self.in_doubt = Some((0, "0".to_owned()));
            self.find_streams().await?;
        }
        let before = self.ready.len();
        let entries_max = self.entries_wanted(rows_max);
        if let Some(from) = self.in_doubt.clone() {
            self.read_own_pending(from, entries_max).await?;
        } else if Instant::now() >= self.claim_at {
            self.claim(entries_max).await?;
        } else {
            self.sweep(entries_max).await?;
        }
        if Instant::now() >= self.tidy_at {
            self.tidy_at = Instant::now() + TIDY_EVERY;
            self.tidy().await?;
        }
        Ok(self.ready.len() - before)
    }

    /// How many entries would fill up what is asked for, going by the last ones.
    fn entries_wanted(&self, rows_max: usize) -> usize {
        let rows = rows_max.saturating_sub(self.ready_rows).div_ceil(self.rows_usual);
        let bytes = HELD_BYTES_MAX.saturating_sub(self.ready_bytes) / self.bytes_usual;
        rows.min(bytes).clamp(1, SWEEP_ENTRIES_MAX)
    }

    /// Those of the settings, and all that engines have ever written to.
    async fn find_streams(&mut self) -> Result<(), RedisError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("SMEMBERS").arg(self.keys.streams());
        let registered = self.line.ask(&mut pipeline).await?.into_iter().next();
        self.streams = reply::stream_numbers(registered, self.options.streams);
        Ok(())
    }

    /// New entries, from as many streams as are needed, beginning where the last sweep ended.
    async fn sweep(&mut self, entries_max: usize) -> Result<(), RedisError> {
        let asked = entries_max.min(self.streams.len());
        let count = (entries_max / asked).max(1);
        let streams: Vec<u16> = (0..asked).map(|i| self.streams[(self.turn + i) % self.streams.len()]).collect();
        self.turn = (self.turn + asked) % self.streams.len();
        let mut pipeline = redis::pipe();
        streams.iter().for_each(|&stream| self.read_command(&mut pipeline, stream, count, ">"));
        let answers = self.line.ask_streams(&self.keys, &streams, &mut pipeline).await?;
        let mut found = Vec::new();
        for (stream, answer) in answers {
            let entries = reply::read_entries(answer).ok_or_else(|| self.line.strange("XREADGROUP"))?;
            found.extend(entries.into_iter().map(|entry| (stream, entry)));
        }
        self.admit(found, false).await
    }

    /// What was delivered to this consumer and is not in its hands: the answer was lost, or it is what a worker of the
    /// same name left.
    async fn read_own_pending(&mut self, from: (usize, String), count: usize) -> Result<(), RedisError> {
        let (place, after) = from;
        let Some(&stream) = self.streams.get(place) else {
            self.in_doubt = None;
            return Ok(());
        };
        let mut pipeline = redis::pipe();
        self.read_command(&mut pipeline, stream, count, &after);
        let entries = match self.line.ask_streams(&self.keys, &[stream], &mut pipeline).await {
            Ok(mut answers) => match answers.pop() {
                Some((_, answer)) => reply::read_entries(answer).ok_or_else(|| self.line.strange("XREADGROUP"))?,
                None => Vec::new(),
            },
            // A stranger's key, counted already, does not keep the others from being read.
            Err(error) if !error.is_passing() => Vec::new(),
            Err(error) => return Err(error),
        };
        let next = entries.last().map(|last| last.id.clone());
        let found = entries.into_iter().filter(|entry| !self.has(stream, &entry.id)).map(|entry| (stream, entry));
        let found = found.collect();
        self.admit(found, true).await?;
        self.in_doubt = match next {
            Some(last) => Some((place, last)),
            None => (place + 1 < self.streams.len()).then(|| (place + 1, "0".to_owned())),
        };
        Ok(())
    }

    /// What others have held for too long. One stream after another, for as long as there is room.
    async fn claim(&mut self, entries_max: usize) -> Result<(), RedisError> {
        let every = (self.options.claim_after / 4).min(CLAIM_EVERY_MAX);
        let count = (entries_max / self.streams.len()).max(1);
        let streams: Vec<u16> =
            (0..self.streams.len()).map(|i| self.streams[(self.claim_turn + i) % self.streams.len()]).collect();
        let streams = &streams[..streams.len().min(entries_max)];
        let mut pipeline = redis::pipe();
        for stream in streams {
            let from = self.claim_from.get(stream).map_or("0-0", String::as_str);
            let idle = self.options.claim_after.as_millis() as u64;
            let claim = pipeline.cmd("XAUTOCLAIM").arg(self.keys.stream(*stream)).arg(GROUP).arg(&self.options.name);
            claim.arg(idle).arg(from).arg("COUNT").arg(count);
        }
        let answers = self.line.ask_streams(&self.keys, streams, &mut pipeline).await?;
        let mut found = Vec::new();
        for (stream, answer) in answers {
            let (next, entries) = reply::claimed_entries(answer).ok_or_else(|| self.line.strange("XAUTOCLAIM"))?;
            self.claim_from.insert(stream, next);
            found.extend(
                entries.into_iter().filter(|entry| !self.in_ready(stream, &entry.id)).map(|entry| (stream, entry)),
            );
        }
        self.claim_turn = (self.claim_turn + streams.len()) % self.streams.len();
        // Where there was something there may be more.
        if found.is_empty() && self.claim_turn < streams.len() {
            self.claim_at = Instant::now() + every;
        }
        self.admit(found, true).await
    }

    fn read_command(&self, pipeline: &mut Pipeline, stream: u16, count: usize, after: &str) {
        let read = pipeline.cmd("XREADGROUP").arg("GROUP").arg(GROUP).arg(&self.options.name);
        read.arg("COUNT").arg(count).arg("STREAMS").arg(self.keys.stream(stream)).arg(after);
    }

    fn has(&self, stream: u16, entry: &str) -> bool {
        self.held.contains(&(stream, entry.to_owned())) || self.in_ready(stream, entry)
    }

    fn in_ready(&self, stream: u16, entry: &str) -> bool {
        self.ready.iter().any(|one| one.stream == stream && one.entry == entry)
    }

    /// Makes entries ready to be handed out; those that are no batch are set aside, deleted ones forgotten.
    async fn admit(&mut self, found: Vec<(u16, Entry)>, again: bool) -> Result<(), RedisError> {
        if found.is_empty() {
            return Ok(());
        }
        let mut deliveries = HashMap::new();
        if again {
            let counted = self.deliveries(&found).await;
            // What was found is dropped here, and is pending in our name.
            deliveries = counted.inspect_err(|_| self.line.answer_lost = true)?;
        }
        let mut foreign = Vec::new();
        let mut gone = redis::pipe();
        let (mut count, mut rows, mut bytes) = (0, 0, 0);
        for (stream, Entry { id: entry, fields }) in found {
            let Some(fields) = fields else {
                gone.cmd("XACK").arg(self.keys.stream(stream)).arg(GROUP).arg(&entry);
                continue;
            };
            match reply::open(fields) {
                Ok(batch) => {
                    (count, rows, bytes) = (count + 1, rows + batch.len(), bytes + batch.frame().len());
                    let deliveries = deliveries.remove(&(stream, entry.clone())).unwrap_or(1);
                    self.ready.push_back(Taken { stream, entry, batch, deliveries });
                }
                Err((why, fields)) => foreign.push(Foreign { stream, entry, why, fields }),
            }
        }
        if count > 0 {
            self.ready_rows += rows;
            self.ready_bytes += bytes;
            (self.rows_usual, self.bytes_usual) = (rows.div_ceil(count), bytes.div_ceil(count));
            add(&self.counters.redelivered_batches, if again { count } else { 0 });
        }
        self.line.ask(&mut gone).await?;
        for foreign in foreign {
            self.set_aside(&foreign).await?;
        }
        Ok(())
    }

    /// How often each was delivered: the answers that bring entries do not say.
    async fn deliveries(&mut self, found: &[(u16, Entry)]) -> Result<HashMap<(u16, String), u64>, RedisError> {
        let mut ranges: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
        found.iter().for_each(|(stream, entry)| ranges.entry(*stream).or_default().push(&entry.id));
        let mut pipeline = redis::pipe();
        for (stream, entries) in &ranges {
            // They come in the stream's order; others of ours may lie between.
            let count = entries.len() + self.held.len() + self.ready.len();
            let pending = pipeline.cmd("XPENDING").arg(self.keys.stream(*stream)).arg(GROUP);
            pending.arg(entries.first()).arg(entries.last()).arg(count).arg(&self.options.name);
        }
        let answers = self.line.ask(&mut pipeline).await?;
        let mut all = HashMap::new();
        for (&stream, answer) in ranges.keys().zip(answers) {
            let counts = reply::deliveries(answer).ok_or_else(|| self.line.strange("XPENDING"))?;
            all.extend(counts.into_iter().map(|(entry, count)| ((stream, entry), count)));
        }
        Ok(all)
    }

    async fn set_aside(&mut self, foreign: &Foreign) -> Result<(), RedisError> {
        match set_aside(&mut self.line, &self.keys, foreign).await {
            Ok(()) => {
                add(&self.counters.set_aside, 1);
                let (stream, to) = (self.keys.stream(foreign.stream), self.keys.set_aside());
                tracing::warn!("entry {} of {stream} is set aside in {to}: {}", foreign.entry, foreign.why);
                Ok(())
            }
            // It stays pending, and its turn comes again once it can be claimed.
            Err(RedisError::OutOfMemory) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Deletes consumers that nobody has heard of for long.
    async fn tidy(&mut self) -> Result<(), RedisError> {
        self.find_streams().await?;
        let mut pipeline = redis::pipe();
        for &stream in &self.streams {
            pipeline.cmd("XINFO").arg("CONSUMERS").arg(self.keys.stream(stream)).arg(GROUP);
        }
        let streams = self.streams.clone();
        let answers = self.line.ask_streams(&self.keys, &streams, &mut pipeline).await?;
        let mut dead = Vec::new();
        for (stream, answer) in answers {
            let consumers = reply::consumers(answer).ok_or_else(|| self.line.strange("XINFO"))?;
            let long_gone = |consumer: &reply::Consumer| {
                consumer.pending == 0 && consumer.idle > self.dead_after && consumer.name != self.options.name
            };
            dead.extend(consumers.into_iter().filter(long_gone).map(|consumer| (stream, consumer.name)));
        }
        let deleted = self.delete_consumers(&dead).await?;
        add(&self.counters.consumers_deleted, deleted);
        Ok(())
    }

    async fn delete_consumers(&mut self, consumers: &[(u16, String)]) -> Result<usize, RedisError> {
        let mut pipeline = redis::pipe();
        for (stream, name) in consumers {
            pipeline.cmd("EVAL").arg(DELETE_IF_IDLE).arg(1).arg(self.keys.stream(*stream)).arg(GROUP).arg(name);
        }
        // A server may refuse scripts, and a full one does: then they stay, a few hundred bytes each.
        let answers = self.line.ask_each(&mut pipeline).await?;
        Ok(answers.into_iter().filter(|answer| matches!(answer, Ok(Value::Int(1)))).count())
    }
}

fn by_stream<'a>(taken: impl IntoIterator<Item = &'a Taken>) -> BTreeMap<u16, Vec<&'a str>> {
    let mut streams: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    taken.into_iter().for_each(|one| streams.entry(one.stream).or_default().push(&one.entry));
    streams
}
