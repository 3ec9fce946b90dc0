//! The servers' counters, as `/metrics` tells them: read when the page is asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::Servers;

pub struct ServersMetrics(pub Arc<Servers>);

impl std::fmt::Debug for ServersMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServersMetrics")
    }
}

impl Collector for ServersMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut counters = |all: &[(&str, &str, &AtomicU64)]| {
            for (name, help, count) in all {
                let counter = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
                ConstCounter::new(count.load(Ordering::Relaxed)).encode(counter)?;
            }
            Ok(())
        };
        if let Some(redis) = &self.0.redis {
            let c = &redis.counters;
            counters(&[
                ("redis_pushed_batches", "Batches that Redis has taken", &c.pushed_batches),
                ("redis_pushed_rows", "Records in them", &c.pushed_rows),
                ("redis_pushed_bytes", "Bytes of them, packed", &c.pushed_bytes),
                (
                    "redis_push_failures",
                    "Batches that Redis did not take: they went to the local log",
                    &c.push_failures,
                ),
                ("redis_unreplicated_batches", "Batches on fewer replicas than redis_wait", &c.unreplicated_batches),
                ("redis_connects", "Connections made to Redis", &c.connects),
                ("redis_taken_batches", "Batches taken out of Redis", &c.taken_batches),
                ("redis_taken_rows", "Records in them", &c.taken_rows),
                ("redis_take_failures", "Tries to take batches that failed", &c.take_failures),
                ("redis_redelivered_batches", "Batches taken a second time", &c.redelivered_batches),
                ("redis_done_batches", "Batches deleted from Redis once they were stored", &c.done_batches),
                ("redis_returned_batches", "Batches that a stop has handed back", &c.returned_batches),
                ("redis_set_aside", "Entries that are no batch of this version: logboom:set-aside", &c.set_aside),
                ("redis_consumers_deleted", "Consumers that were gone for long", &c.consumers_deleted),
                ("redis_tail_sent_rows", "Records shown to viewers of other processes", &c.tail_sent_rows),
                ("redis_tail_skipped_rows", "Records that they were only told the number of", &c.tail_skipped_rows),
                ("redis_tail_received_rows", "Records of other processes shown here", &c.tail_received_rows),
                ("redis_tail_unreadable", "Messages of the live tail that cannot be read", &c.tail_unreadable),
            ])?;
        }
        if let Some(postgres) = &self.0.postgres {
            let c = &postgres.counters;
            counters(&[
                ("postgres_transactions", "Transactions that were committed", &c.transactions),
                ("postgres_rows", "Records stored in Postgres", &c.rows),
                ("postgres_known_batches", "Batches that had been stored before", &c.known_batches),
                ("postgres_stored_before_rows", "Records whose key was there before", &c.stored_before_rows),
                ("postgres_dead_letters", "Records that Postgres refused: see /dead-letters", &c.dead_letters),
                ("postgres_terminated_holders", "Backends that held a batch too long", &c.terminated_holders),
                ("postgres_retries", "Transactions that were tried again", &c.retries),
                ("postgres_failures", "Transactions that failed", &c.failures),
            ])?;
        }
        let sides = [
            ("redis", self.0.redis.as_ref().map(|side| side.known.is_failing())),
            ("postgres", self.0.postgres.as_ref().map(|side| side.known.is_failing())),
        ];
        let mut gauge = encoder.encode_descriptor(
            "server_works",
            "1 while the server can be used, else 0",
            None,
            MetricType::Gauge,
        )?;
        for (name, is_failing) in sides {
            if let Some(is_failing) = is_failing {
                ConstGauge::new(i64::from(!is_failing)).encode(gauge.encode_family(&[("server", name)])?)?;
            }
        }
        if let Some(status) = self.0.redis.as_ref().and_then(|side| side.status()) {
            for (name, help, value) in [
                ("redis_entries", "Batches in Redis that are not stored yet", status.depth()),
                ("redis_pending", "Batches that a worker has and has not stored yet", status.pending()),
                ("redis_set_aside_entries", "Entries in logboom:set-aside", status.set_aside),
                ("redis_used_memory_bytes", "Memory of the Redis server", status.used_memory.unwrap_or(0)),
            ] {
                let gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
                ConstGauge::new(value as i64).encode(gauge)?;
            }
        }
        Ok(())
    }
}
