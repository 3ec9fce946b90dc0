//! `/health`, `/queue/status` and `/metrics`: what the engine says of itself, from any shard.

use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;

use record::Timestamp;
use record::text::push_json_string;

use crate::http::Reply;
use crate::ingest::AppendFailure;
use crate::metrics::{Metrics, QueueReading, Readings, ShardMetrics};
use crate::servers::{Known, Servers};
use crate::store::parquet::ParquetStore;
use crate::tail::Tail;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    Health,
    Queue,
    Metrics,
}

impl Page {
    pub fn at(path: &str) -> Option<Page> {
        Some(match path.strip_suffix('/').unwrap_or(path) {
            "/health" => Page::Health,
            "/queue/status" => Page::Queue,
            "/metrics" => Page::Metrics,
            _ => return None,
        })
    }
}

/// How long a failure that may pass by itself is told after the last append that met it.
const FAILURE_TOLD_FOR: Duration = Duration::from_secs(10);

/// What the pages are made from.
pub struct Health {
    pub metrics: Arc<Metrics>,
    pub shards: Vec<Arc<ShardMetrics>>,
    /// One of the two.
    pub store: Option<Arc<ParquetStore>>,
    pub servers: Option<Arc<Servers>>,
    pub tail: Tail,
    pub queue_bytes_max: u64,
    pub retain: Option<Duration>,
    /// What recovery found wrong at start.
    pub findings: OnceLock<Vec<String>>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Status {
    Ok,
    Degraded,
    Down,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Degraded => "degraded",
            Status::Down => "down",
        }
    }
}

impl Health {
    pub fn page(&self, page: Page) -> Reply {
        match page {
            Page::Health => self.health(),
            Page::Queue => Reply::json(200, self.queue().into_bytes()),
            Page::Metrics => Reply {
                content_type: "application/openmetrics-text; version=1.0.0; charset=utf-8",
                ..Reply::json(200, self.metrics.text(self.readings()).into_bytes())
            },
        }
    }

    /// The oldest time that is taken in, where retention sets one.
    pub fn oldest_kept(&self, now: Timestamp) -> Option<Timestamp> {
        let retain = i64::try_from(self.retain?.as_micros()).unwrap_or(i64::MAX);
        Some(Timestamp::clamped(now.as_micros().saturating_sub(retain)))
    }

    fn readings(&self) -> Readings {
        let store = self.store.as_ref().map(|store| store.status()).unwrap_or_default();
        let queues: Vec<QueueReading> = self.shards.iter().map(|shard| shard.reading()).collect();
        Readings {
            queue_bytes: queues.iter().map(|queue| queue.bytes).sum(),
            queue_batches: queues.iter().map(|queue| queue.batches).sum(),
            rows_in_memory: store.memory_rows,
            bytes_in_memory: store.memory_bytes as u64,
            store_files: store.files as u64,
            store_bytes: store.file_bytes,
            store_rows: store.file_rows,
            flush_failures: store.failed_flushes,
            findings: self.findings.get().map_or(0, Vec::len) as u64,
            viewers: self.tail.viewers() as u64,
        }
    }

    fn health(&self) -> Reply {
        let mut parts = vec![self.shards_part(), self.queue_part()];
        parts.extend(self.store_part());
        parts.extend(self.servers.iter().flat_map(|servers| self.server_parts(servers)));
        let worst = parts.iter().map(|(_, status, _)| *status).max().unwrap_or(Status::Ok);
        let version = env!("CARGO_PKG_VERSION");
        let mut body =
            format!("{{\"status\":\"{}\",\"version\":\"{version}\",\"parts\":{{", worst.as_str()).into_bytes();
        for (i, (name, status, detail)) in parts.iter().enumerate() {
            if i > 0 {
                body.push(b',');
            }
            body.extend_from_slice(format!("\"{name}\":{{\"status\":\"{}\",\"detail\":", status.as_str()).as_bytes());
            push_json_string(detail.as_bytes(), &mut body);
            body.push(b'}');
        }
        body.extend_from_slice(b"}}");
        Reply::json(if worst == Status::Down { 503 } else { 200 }, body)
    }

    fn shards_part(&self) -> (&'static str, Status, String) {
        let failed: Vec<AppendFailure> = self.shards.iter().filter_map(|shard| self.still_failing(shard)).collect();
        let is_broken = |failure: &AppendFailure| failure.status() == 503;
        let status = match failed.first() {
            None => Status::Ok,
            // While one shard takes logs, logs can be taken; a full queue takes them again by itself.
            Some(_) if failed.len() < self.shards.len() || !failed.iter().all(is_broken) => Status::Degraded,
            Some(_) => Status::Down,
        };
        let detail = match failed.first() {
            None => format!("{} taking logs", self.shards.len()),
            Some(failure) => format!("{} of {} take no logs: {failure}", failed.len(), self.shards.len()),
        };
        ("shards", status, detail)
    }

    /// The failure of a shard's last append, unless what it failed of is over. A failure that may pass is not held
    /// against a shard for ever: if nobody sends because of it, nothing would show that it has passed.
    fn still_failing(&self, shard: &ShardMetrics) -> Option<AppendFailure> {
        let (failure, ago) = shard.reading().failure?;
        let is_over = match failure {
            AppendFailure::Failed(_) => false,
            AppendFailure::NoRoom | AppendFailure::Store(_) => self.store.as_ref().is_none_or(|store| store.has_room()),
            AppendFailure::QueueFull { .. } | AppendFailure::DiskFull => ago > FAILURE_TOLD_FOR,
            // Told of Postgres itself: the queue takes logs.
            AppendFailure::NoPostgres(_) => true,
        };
        (!is_over).then_some(failure)
    }

    fn queue_part(&self) -> (&'static str, Status, String) {
        let bytes: u64 = self.shards.iter().map(|shard| shard.reading().bytes).sum();
        let findings = self.findings.get().map_or(&[][..], |findings| findings);
        let for_whom = match &self.servers {
            Some(servers) if servers.redis.is_some() => "Redis",
            Some(_) => "Postgres",
            None => "the store",
        };
        let mut detail = format!("local log: {bytes} of {} bytes wait for {for_whom}", self.queue_bytes_max);
        for finding in findings {
            detail.push_str("; ");
            detail.push_str(finding);
        }
        let full = bytes >= self.queue_bytes_max;
        ("queue", if full || !findings.is_empty() { Status::Degraded } else { Status::Ok }, detail)
    }

    fn store_part(&self) -> Option<(&'static str, Status, String)> {
        let parquet = self.store.as_ref()?;
        let (store, done) = (parquet.status(), parquet.totals());
        let mut detail = format!(
            "parquet: {} rows in {} files, {} rows in memory; since the start {} compactions of {} rows, and {} rows past retention",
            store.file_rows, store.files, store.memory_rows, done.compactions, done.compacted_rows, done.expired_rows
        );
        for (what, failure) in
            [("rows in memory cannot be written", &store.failure), ("files cannot be compacted", &store.tidy_failure)]
        {
            if let Some(failure) = failure {
                detail.push_str(&format!("; {what}: {failure}"));
            }
        }
        let is_well = store.failure.is_none() && store.tidy_failure.is_none();
        Some(("store", if is_well { Status::Ok } else { Status::Degraded }, detail))
    }

    /// A server that is away degrades: logs are taken all the same, until the local log is full.
    fn server_parts(&self, servers: &Servers) -> Vec<(&'static str, Status, String)> {
        let part = |name: &'static str, known: &Known, numbers: String| {
            let state = known.state();
            let mut detail = state.found;
            detail.push_str(&numbers);
            for remark in &state.remarks {
                detail.push_str("; ");
                detail.push_str(remark);
            }
            if let Some((failure, since)) = &state.failure {
                detail.push_str(&format!("; {failure} (for {:.0} s)", since.elapsed().as_secs_f64()));
            }
            let is_well = state.failure.is_none() && state.remarks.is_empty();
            (name, if is_well { Status::Ok } else { Status::Degraded }, detail.trim_start_matches("; ").to_owned())
        };
        let redis = servers.redis.as_ref().map(|side| part("redis", &side.known, side.numbers()));
        let postgres = servers.postgres.as_ref().map(|side| part("postgres", &side.known, side.numbers()));
        redis.into_iter().chain(postgres).collect()
    }

    fn queue(&self) -> String {
        let local = self.local_queue();
        // What overflowed to the local log stands beside what is in Redis.
        match self.servers.as_ref().and_then(|servers| servers.redis.as_ref()) {
            Some(redis) => redis.queue_json(&local),
            None => local,
        }
    }

    fn local_queue(&self) -> String {
        let now = crate::clock::now().as_micros();
        let seconds = |oldest: Option<i64>| oldest.map_or(0.0, |oldest| (now - oldest).max(0) as f64 / 1e6);
        let queues: Vec<QueueReading> = self.shards.iter().map(|shard| shard.reading()).collect();
        let depth: u64 = queues.iter().map(|queue| queue.batches).sum();
        let oldest = queues.iter().filter_map(|queue| queue.oldest_micros).min();
        let streams: Vec<String> = queues
            .iter()
            .enumerate()
            .map(|(i, queue)| {
                format!(
                    "{{\"name\":\"shard-{i}\",\"batches\":{},\"bytes\":{},\"oldest_seconds\":{:.3}}}",
                    queue.batches,
                    queue.bytes,
                    seconds(queue.oldest_micros)
                )
            })
            .collect();
        format!(
            "{{\"kind\":\"local\",\"depth\":{depth},\"oldest_seconds\":{:.3},\"streams\":[{}]}}",
            seconds(oldest),
            streams.join(",")
        )
    }
}
