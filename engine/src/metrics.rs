//! What `/metrics` tells, in Prometheus' text format. Counted per batch or per request, never per record.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use record::Level;

use crate::ingest::{AppendFailure, Door};
use crate::queue::local::Depth;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RecordLabels {
    door: &'static str,
    level: LevelLabel,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
struct LevelLabel(Level);

impl EncodeLabelValue for LevelLabel {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
        self.0.as_str().encode(encoder)
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CodeLabels {
    code: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StatusLabels {
    status: u16,
}

/// Everything the engine counts.
pub struct Metrics {
    registry: Registry,
    records: [[Counter; Level::COUNT]; Door::ALL.len()],
    bytes: Counter,
    batched_bytes: Counter,
    rejects: Family<CodeLabels, Counter>,
    failures: Family<CodeLabels, Counter>,
    requests: Family<StatusLabels, Counter>,
    ack_seconds: Histogram,
    fsync_seconds: Histogram,
    connections: Gauge,
    panics: Counter,
    queue_bytes: Gauge,
    queue_batches: Gauge,
    rows_in_memory: Gauge,
    bytes_in_memory: Gauge,
    store_files: Gauge,
    store_bytes: Gauge,
    store_rows: Gauge,
    flush_failures: Gauge,
    findings: Gauge,
    viewers: Gauge,
}

/// What is read from elsewhere when `/metrics` is asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Readings {
    pub queue_bytes: u64,
    pub queue_batches: u64,
    pub rows_in_memory: u64,
    pub bytes_in_memory: u64,
    pub store_files: u64,
    pub store_bytes: u64,
    pub store_rows: u64,
    pub flush_failures: u64,
    pub findings: u64,
    pub viewers: u64,
}

impl Metrics {
    pub fn new() -> Metrics {
        let mut registry = Registry::with_prefix("logboom");
        let records = Family::<RecordLabels, Counter>::default();
        registry.register("records", "Records acknowledged, by door and level", records.clone());
        // The counters are looked up once: the record loop then only adds.
        let by_level = |door: Door| {
            Level::ALL.map(|level| {
                records.get_or_create(&RecordLabels { door: door.name(), level: LevelLabel(level) }).clone()
            })
        };
        let records = Door::ALL.map(by_level);
        let mut counter = |name: &str, help: &str, unit: Option<Unit>| {
            let counter = Counter::default();
            match unit {
                Some(unit) => registry.register_with_unit(name, help, unit, counter.clone()),
                None => registry.register(name, help, counter.clone()),
            }
            counter
        };
        let bytes = counter("ingest", "Bytes of request bodies, decoded", Some(Unit::Bytes));
        let batched_bytes = counter("batched", "Bytes of batches made durable", Some(Unit::Bytes));
        let panics = counter("connection_panics", "Connections that were ended by a fault in the program", None);
        let mut family = |name: &str, help: &str| {
            let family = Family::<CodeLabels, Counter>::default();
            registry.register(name, help, family.clone());
            family
        };
        let rejects = family("rejects", "Records and requests that were refused for what they are, by code");
        let failures = family("failures", "Records that could not be stored, by code");
        let requests = Family::<StatusLabels, Counter>::default();
        registry.register("requests", "Answers of the engine's own routes, by status", requests.clone());
        let mut histogram = |name: &str, help: &str| {
            // 16 µs to 8 s, each bucket twice the one before.
            let histogram = Histogram::new(exponential_buckets(16e-6, 2.0, 20));
            registry.register_with_unit(name, help, Unit::Seconds, histogram.clone());
            histogram
        };
        let ack_seconds = histogram("ack", "From the first record of a group to its acknowledgement");
        let fsync_seconds = histogram("fsync", "One append to the local log, its fdatasync included");
        let mut gauge = |name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        Metrics {
            records,
            bytes,
            batched_bytes,
            rejects,
            failures,
            requests,
            ack_seconds,
            fsync_seconds,
            panics,
            connections: gauge("connections", "Open connections"),
            queue_bytes: gauge("queue_bytes", "Bytes in the local log that the store's files do not hold yet"),
            queue_batches: gauge("queue_batches", "Batches in the local log that the store's files do not hold yet"),
            rows_in_memory: gauge("memory_rows", "Rows in the store's memory"),
            bytes_in_memory: gauge("memory_bytes", "Bytes of rows in the store's memory"),
            store_files: gauge("store_files", "Files of the store"),
            store_bytes: gauge("store_bytes", "Bytes of the store's files"),
            store_rows: gauge("store_rows", "Rows in the store's files"),
            flush_failures: gauge("flush_failures", "Attempts to write a file of the store that failed"),
            findings: gauge("findings", "What the start found damaged or missing, as /health tells it"),
            viewers: gauge("viewers", "Live tails that are open"),
            registry,
        }
    }

    /// Tells of these counters as well.
    #[must_use]
    pub fn with(mut self, more: impl Collector) -> Metrics {
        self.registry.register_collector(Box::new(more));
        self
    }

    /// The whole page.
    pub fn text(&self, readings: Readings) -> String {
        for (gauge, value) in [
            (&self.queue_bytes, readings.queue_bytes),
            (&self.queue_batches, readings.queue_batches),
            (&self.rows_in_memory, readings.rows_in_memory),
            (&self.bytes_in_memory, readings.bytes_in_memory),
            (&self.store_files, readings.store_files),
            (&self.store_bytes, readings.store_bytes),
            (&self.store_rows, readings.store_rows),
            (&self.flush_failures, readings.flush_failures),
            (&self.findings, readings.findings),
            (&self.viewers, readings.viewers),
        ] {
            gauge.set(value as i64);
        }
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    pub fn request(&self, status: u16) {
        self.requests.get_or_create(&StatusLabels { status }).inc();
    }

    pub fn body(&self, bytes: u64) {
        self.bytes.inc_by(bytes);
    }

    pub fn reject(&self, code: &str, count: u64) {
        self.rejects.get_or_create(&CodeLabels { code: code.to_owned() }).inc_by(count);
    }

    pub fn connection(&self, change: i64) {
        self.connections.inc_by(change);
    }

    pub fn panic(&self) {
        self.panics.inc();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

/// One shard's numbers that `/health` and `/queue/status` read from other threads.
pub struct ShardMetrics {
    metrics: Arc<Metrics>,
    queue_bytes: AtomicU64,
    queue_batches: AtomicU64,
    /// µs since 1970 of the oldest batch in the log; negative when there is none.
    oldest_micros: AtomicI64,
    failure: std::sync::Mutex<Option<(AppendFailure, Instant)>>,
}

/// What one shard says of its log.
#[derive(Clone, Debug)]
pub struct QueueReading {
    pub bytes: u64,
    pub batches: u64,
    pub oldest_micros: Option<i64>,
    /// The last append's failure and how long ago it was; `None` once one has succeeded again.
    pub failure: Option<(AppendFailure, Duration)>,
}

impl ShardMetrics {
    pub fn new(metrics: Arc<Metrics>) -> ShardMetrics {
        ShardMetrics {
            metrics,
            queue_bytes: AtomicU64::new(0),
            queue_batches: AtomicU64::new(0),
            oldest_micros: AtomicI64::new(-1),
            failure: std::sync::Mutex::new(None),
        }
    }

    pub fn synced(&self, took: Duration) {
        self.metrics.fsync_seconds.observe(took.as_secs_f64());
    }

    /// A group has been settled.
    pub fn group(
        &self,
        levels: &[[u64; Level::COUNT]; Door::ALL.len()],
        bytes: usize,
        took: Duration,
        result: &Result<(), AppendFailure>,
    ) {
        let mut failure = self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match result {
            Ok(()) => {
                for (counters, counts) in self.metrics.records.iter().zip(levels) {
                    for (counter, &count) in counters.iter().zip(counts) {
                        if count > 0 {
                            counter.inc_by(count);
                        }
                    }
                }
                self.metrics.batched_bytes.inc_by(bytes as u64);
                self.metrics.ack_seconds.observe(took.as_secs_f64());
                *failure = None;
            }
            Err(error) => {
                let records: u64 = levels.iter().flatten().sum();
                let code = CodeLabels { code: error.code().to_owned() };
                self.metrics.failures.get_or_create(&code).inc_by(records);
                if failure.as_ref().is_none_or(|(last, _)| last != error) {
                    tracing::error!(records, "{error}");
                }
                *failure = Some((error.clone(), Instant::now()));
            }
        }
    }

    pub fn depth(&self, depth: Depth) {
        self.queue_bytes.store(depth.bytes, Ordering::Relaxed);
        self.queue_batches.store(depth.batches, Ordering::Relaxed);
        self.oldest_micros.store(depth.oldest.map_or(-1, |oldest| oldest.as_micros()), Ordering::Relaxed);
    }

    pub fn reading(&self) -> QueueReading {
        let oldest = self.oldest_micros.load(Ordering::Relaxed);
        let failure = self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        QueueReading {
            bytes: self.queue_bytes.load(Ordering::Relaxed),
            batches: self.queue_batches.load(Ordering::Relaxed),
            oldest_micros: (oldest >= 0).then_some(oldest),
            failure: failure.clone().map(|(failure, at)| (failure, at.elapsed())),
        }
    }
}
