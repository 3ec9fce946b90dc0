//! `/health`, `/queue/status` and `/metrics`: what the engine says of itself, from any shard.

use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;

use record::text::push_json_string;

use crate::http::Reply;
use crate::ingest::AppendFailure;
use crate::metrics::{Metrics, QueueReading, Readings, ShardMetrics};
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
    pub store: Arc<ParquetStore>,
    pub tail: Tail,
    pub queue_bytes_max: u64,
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

    fn readings(&self) -> Readings {
        let store = self.store.status();
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
        let parts = [self.shards_part(), self.queue_part(), self.store_part()];
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
            AppendFailure::NoRoom | AppendFailure::Store(_) => self.store.has_room(),
            AppendFailure::QueueFull { .. } | AppendFailure::DiskFull => ago > FAILURE_TOLD_FOR,
        };
        (!is_over).then_some(failure)
    }

    fn queue_part(&self) -> (&'static str, Status, String) {
        let bytes: u64 = self.shards.iter().map(|shard| shard.reading().bytes).sum();
        let findings = self.findings.get().map_or(&[][..], |findings| findings);
        let mut detail = format!("local log: {bytes} of {} bytes wait for the store", self.queue_bytes_max);
        for finding in findings {
            detail.push_str("; ");
            detail.push_str(finding);
        }
        let full = bytes >= self.queue_bytes_max;
        ("queue", if full || !findings.is_empty() { Status::Degraded } else { Status::Ok }, detail)
    }

    fn store_part(&self) -> (&'static str, Status, String) {
        let store = self.store.status();
        let mut detail =
            format!("parquet: {} rows in {} files, {} rows in memory", store.file_rows, store.files, store.memory_rows);
        if let Some(error) = &store.failure {
            detail.push_str("; ");
            detail.push_str(error);
        }
        ("store", if store.failure.is_some() { Status::Degraded } else { Status::Ok }, detail)
    }

    fn queue(&self) -> String {
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
