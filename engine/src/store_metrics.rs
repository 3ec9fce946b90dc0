//! The store's own counters, as `/metrics` tells them: read when the page is asked for.

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::store::parquet::{FAILURES, ParquetStore, Question};

pub struct StoreMetrics(pub Arc<ParquetStore>);

impl std::fmt::Debug for StoreMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoreMetrics")
    }
}

impl Collector for StoreMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (totals, status) = (self.0.totals(), self.0.status());
        let read = totals.read;
        let compacting =
            encoder.encode_descriptor("compacting", "1 while files are being compacted", None, MetricType::Gauge)?;
        ConstGauge::new(i64::from(status.is_compacting)).encode(compacting)?;
        for (name, help, count) in [
            ("flushes", "Files that were written of what was in memory", status.flushes),
            ("compactions", "Compactions that have ended well", totals.compactions),
            ("compaction_failures", "Compactions that failed: the files stay as they were", totals.compaction_failures),
            ("compacted_rows", "Rows that compaction has written anew, each time counted", totals.compacted_rows),
            ("compacted_bytes_read", "Bytes of the files that compaction has read", totals.compacted_bytes_read),
            (
                "compacted_bytes_written",
                "Bytes of the files that compaction has written",
                totals.compacted_bytes_written,
            ),
            ("superseded_files", "Files that compaction has replaced", totals.superseded_files),
            ("expired_rows", "Rows that retention has taken away", totals.expired_rows),
            ("expired_files", "Files that retention has taken away", totals.expired_files),
            ("expired_bytes", "Bytes of the files that retention has taken away", totals.expired_bytes),
            ("snapshots", "Copies of the store that were made", totals.copies),
            ("snapshot_failures", "Copies of the store that failed", totals.copy_failures),
            ("query_files_read", "Files that queries have opened", read.files_read),
            ("query_files_skipped", "Files that queries could leave out", read.files_skipped),
            ("query_groups_read", "Row groups that queries have opened", read.groups_read),
            ("query_groups_skipped", "Row groups that queries could leave out", read.groups_skipped),
            ("query_rows_read", "Rows that queries have looked at", read.rows_read),
        ] {
            let counter = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(count).encode(counter)?;
        }
        let counter = encoder.encode_descriptor(
            "compaction_seconds",
            "Time that compaction has taken",
            None,
            MetricType::Counter,
        )?;
        ConstCounter::new(totals.compaction_seconds).encode(counter)?;
        let mut asked =
            encoder.encode_descriptor("queries", "Questions to the store, by kind", None, MetricType::Counter)?;
        for (question, count) in Question::ALL.into_iter().zip(totals.asked) {
            ConstCounter::new(count).encode(asked.encode_family(&[("kind", question.name())])?)?;
        }
        let mut took = encoder.encode_descriptor(
            "query_seconds",
            "Time that questions to the store have taken, by kind",
            None,
            MetricType::Counter,
        )?;
        for (question, seconds) in Question::ALL.into_iter().zip(totals.seconds) {
            ConstCounter::new(seconds).encode(took.encode_family(&[("kind", question.name())])?)?;
        }
        let mut failed = encoder.encode_descriptor(
            "query_failures",
            "Questions to the store without an answer, by what ended them",
            None,
            MetricType::Counter,
        )?;
        for (name, count) in FAILURES.into_iter().zip(totals.failed) {
            ConstCounter::new(count).encode(failed.encode_family(&[("reason", name)])?)?;
        }
        Ok(())
    }
}
