//! What waits in Redis: per stream its length, what is pending, how old the oldest is, and who takes.

use std::fmt::Write;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisResult, Value};

use super::reply::{self, Consumer};
use super::{GROUP, Keys, PREFIX, RedisError, Target};

/// Someone waits for the page.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// What Redis held a moment ago.
#[derive(Clone, Debug, Default)]
pub struct Status {
    pub streams: Vec<StreamStatus>,
    /// Entries that are no batch, moved out of the way.
    pub set_aside: u64,
    /// Of the whole server, bytes.
    pub used_memory: Option<u64>,
    pub maxmemory: Option<u64>,
}

#[derive(Clone, Debug, Default)]
pub struct StreamStatus {
    pub name: String,
    /// Entries, pending ones included.
    pub length: u64,
    /// Delivered to a worker that has not stored them yet.
    pub pending: u64,
    pub oldest_seconds: Option<f64>,
    pub consumers: Vec<Consumer>,
}

impl StreamStatus {
    /// Not yet delivered to any worker. (`lag`, as Redis tells it, is null once an undelivered entry was deleted.)
    pub fn undelivered(&self) -> u64 {
        self.length.saturating_sub(self.pending)
    }
}

impl Status {
    /// Batches that are not stored yet.
    pub fn depth(&self) -> u64 {
        self.streams.iter().map(|stream| stream.length).sum()
    }

    pub fn pending(&self) -> u64 {
        self.streams.iter().map(|stream| stream.pending).sum()
    }

    /// Age of the oldest batch that is not stored yet, by the clock of Redis.
    pub fn oldest_seconds(&self) -> Option<f64> {
        self.streams.iter().filter_map(|stream| stream.oldest_seconds).reduce(f64::max)
    }

    /// `/queue/status`; `overflow` is the local log's, as JSON.
    pub fn json(&self, overflow: &str) -> String {
        let mut out = format!(
            "{{\"kind\":\"redis\",\"depth\":{},\"pending\":{},\"oldest_seconds\":{:.3},\"set_aside\":{}",
            self.depth(),
            self.pending(),
            self.oldest_seconds().unwrap_or(0.0),
            self.set_aside
        );
        for (name, bytes) in [("used_memory_bytes", self.used_memory), ("maxmemory_bytes", self.maxmemory)] {
            if let Some(bytes) = bytes {
                let _ = write!(out, ",\"{name}\":{bytes}");
            }
        }
        out.push_str(",\"streams\":[");
        for (i, stream) in self.streams.iter().enumerate() {
            out.push_str(if i > 0 { "," } else { "" });
            stream.write_json(&mut out);
        }
        let _ = write!(out, "],\"overflow\":{overflow}}}");
        out
    }
}

impl StreamStatus {
    fn write_json(&self, out: &mut String) {
        let (name, length, pending) = (quoted(&self.name), self.length, self.pending);
        let undelivered = self.undelivered();
        let oldest = self.oldest_seconds.unwrap_or(0.0);
        let _ = write!(
            out,
            "{{\"name\":{name},\"length\":{length},\"pending\":{pending},\"undelivered\":{undelivered},\"oldest_seconds\":{oldest:.3},\"consumers\":["
        );
        for (i, consumer) in self.consumers.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let (name, pending) = (quoted(&consumer.name), consumer.pending);
            let idle = consumer.idle.as_secs_f64();
            let _ = write!(out, "{comma}{{\"name\":{name},\"pending\":{pending},\"idle_seconds\":{idle:.3}}}");
        }
        out.push_str("]}");
    }
}

/// Asks Redis. Streams that engines registered beyond `streams` are told of as well.
pub async fn status(target: &Target, streams: u16) -> Result<Status, RedisError> {
    let keys = Keys::new(PREFIX);
    loop {
        let (mut connection, was_used) = target.kept(ANSWER_MAX).await?;
        let error = match of_prefix(&mut connection, &keys, streams).await {
            Ok(status) => return Ok(status),
            Err(error) => error,
        };
        // It is no answer: the connection has died, or the server hangs.
        if error.code().is_none() {
            target.drop_kept().await;
            if was_used && !error.is_timeout() {
                continue;
            }
        }
        return Err(target.understand(&error));
    }
}

async fn of_prefix(connection: &mut MultiplexedConnection, keys: &Keys, streams: u16) -> RedisResult<Status> {
    let mut pipeline = redis::pipe();
    pipeline.cmd("TIME");
    pipeline.cmd("XLEN").arg(keys.set_aside());
    pipeline.cmd("INFO").arg("memory");
    pipeline.cmd("SMEMBERS").arg(keys.streams());
    let mut head = each(pipeline, connection).await?;
    let now = now_ms(head.next()?);
    let set_aside = head.next()?.and_then(reply::number).unwrap_or(0);
    let info = head.next()?.and_then(reply::text).unwrap_or_default();
    let info = |key: &str| info.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')?.trim().parse().ok());
    let streams = reply::stream_numbers(head.next()?, streams);

    let mut pipeline = redis::pipe();
    for &stream in &streams {
        let key = keys.stream(stream);
        pipeline.cmd("XLEN").arg(&key);
        pipeline.cmd("XPENDING").arg(&key).arg(GROUP);
        pipeline.cmd("XINFO").arg("CONSUMERS").arg(&key).arg(GROUP);
    }
    let mut answers = each(pipeline, connection).await?;
    let mut found = Vec::new();
    let mut unseen = Vec::new();
    for &stream in &streams {
        let length = answers.next()?.and_then(reply::number).unwrap_or(0);
        let (pending, oldest) = answers.next()?.and_then(reply::pending).unwrap_or_default();
        let consumers = answers.next()?.and_then(reply::consumers).unwrap_or_default();
        let oldest_seconds = oldest.and_then(|entry| age(&entry, now));
        if length > pending && oldest_seconds.is_none() {
            unseen.push(found.len());
        }
        found.push(StreamStatus { name: keys.stream(stream), length, pending, oldest_seconds, consumers });
    }
    // The oldest that is pending is older than all that is not delivered yet. Where none is pending, the first entry
    // tells; it comes with its batch, so it is asked for only there.
    let mut pipeline = redis::pipe();
    for &place in &unseen {
        pipeline.cmd("XRANGE").arg(&found[place].name).arg("-").arg("+").arg("COUNT").arg(1);
    }
    let mut answers = each(pipeline, connection).await?;
    for place in unseen {
        let first = answers.next()?.and_then(reply::entries).and_then(|entries| entries.into_iter().next());
        found[place].oldest_seconds = first.and_then(|entry| age(&entry.id, now));
    }
    Ok(Status { streams: found, set_aside, used_memory: info("used_memory"), maxmemory: info("maxmemory") })
}

/// Answers in order. One that has no group, or may not be asked, is none; one that says that the server cannot answer
/// now is an error.
struct Answers(std::vec::IntoIter<RedisResult<Value>>);

impl Answers {
    fn next(&mut self) -> RedisResult<Option<Value>> {
        match self.0.next() {
            Some(Err(error)) if !matches!(error.code(), Some("NOGROUP" | "NOPERM" | "ERR")) => Err(error),
            answer => Ok(answer.and_then(Result::ok)),
        }
    }
}

async fn each(mut pipeline: Pipeline, connection: &mut MultiplexedConnection) -> RedisResult<Answers> {
    let answers: Vec<RedisResult<Value>> = match pipeline.is_empty() {
        true => Vec::new(),
        false => pipeline.ignore_errors().query_async(connection).await?,
    };
    Ok(Answers(answers.into_iter()))
}

fn now_ms(time: Option<Value>) -> Option<u64> {
    let mut parts = reply::array(time?)?.into_iter();
    let (seconds, micros) = (reply::number(parts.next()?)?, reply::number(parts.next()?)?);
    Some(seconds * 1000 + micros / 1000)
}

/// An entry's id begins with the time of its XADD, in milliseconds.
fn age(entry: &str, now: Option<u64>) -> Option<f64> {
    let at: u64 = entry.split('-').next()?.parse().ok()?;
    Some(now?.saturating_sub(at) as f64 / 1e3)
}

fn quoted(text: &str) -> String {
    let mut out = Vec::new();
    record::text::push_json_string(text.as_bytes(), &mut out);
    String::from_utf8_lossy(&out).into_owned()
}
