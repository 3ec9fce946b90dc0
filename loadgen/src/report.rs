//! What a run found, for people and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::server::Stored;

/// Above this share of one core the load generator may be what is measured.
const OWN_SHARE_MAX: f64 = 0.9;

/// Percentiles, microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latency {
    pub p50: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

impl Latency {
    pub fn of(histogram: &Histogram<u64>) -> Latency {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Latency { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: histogram.max() }
    }
}

/// One run of one scenario.
#[derive(Clone, Debug)]
pub struct Report {
    pub name: String,
    pub elapsed: Duration,
    /// From the first request until a query counted all that was acknowledged.
    pub found_after: Duration,
    pub requests: u64,
    pub sent: u64,
    pub acknowledged: u64,
    pub refused: BTreeMap<u16, u64>,
    pub unanswered: u64,
    pub resent: u64,
    /// Records acknowledged a second, warm-up left out.
    pub rate: f64,
    pub latency: Latency,
    /// From sent to seen by a viewer.
    pub tail: Option<Latency>,
    pub stored: Stored,
    /// Whether the records were read back one by one, or only counted.
    pub is_numbered: bool,
    /// Seconds, from the first request until all was found.
    pub server_cpu: Option<f64>,
    pub peak_kib: Option<u64>,
    pub own_cpu: Duration,
    pub notes: Vec<String>,
}

impl Report {
    /// Acknowledged and not found.
    pub fn lost(&self) -> u64 {
        self.acknowledged.saturating_sub(self.stored.stored)
    }

    pub fn is_sound(&self) -> bool {
        self.lost() == 0 && self.stored.doubled == 0
    }

    /// Acknowledged records a second until the last of them was found.
    pub fn found_rate(&self) -> f64 {
        self.stored.stored as f64 / self.found_after.as_secs_f64().max(1e-9)
    }

    /// CPU seconds of the server for a million records.
    pub fn server_cpu_per_million(&self) -> Option<f64> {
        self.server_cpu.map(|seconds| seconds * 1e6 / (self.acknowledged.max(1)) as f64)
    }

    fn own_cpu_per_million(&self) -> f64 {
        self.own_cpu.as_secs_f64() * 1e6 / self.sent.max(1) as f64
    }

    /// Of one core.
    fn own_share(&self) -> f64 {
        self.own_cpu.as_secs_f64() / self.elapsed.as_secs_f64().max(1e-9)
    }

    pub fn text(&self) -> String {
        let mut out = format!("{}\n", self.name);
        let mut line = |name: &str, value: String| {
            let _ = writeln!(out, "  {name:22} {value}");
        };
        line("acknowledged", format!("{:.0} records/s", self.rate));
        line(
            "found by a query",
            format!("{:.0} records/s, after {:.2} s", self.found_rate(), self.found_after.as_secs_f64()),
        );
        line("request", shown(&self.latency));
        if let Some(tail) = &self.tail {
            line("post to viewer", shown(tail));
        }
        match self.server_cpu_per_million() {
            Some(seconds) => line("server CPU", format!("{seconds:.2} s a million records")),
            None => line("server CPU", "unknown: give --pid".to_owned()),
        }
        if let Some(kib) = self.peak_kib {
            line("server peak memory", format!("{} MiB", kib / 1024));
        }
        let own = self.own_cpu.as_secs_f64() * 1e6 / self.requests.max(1) as f64;
        line(
            "load generator CPU",
            format!(
                "{:.2} s a million records, {own:.1} µs a request, {:.0} % of a core",
                self.own_cpu_per_million(),
                self.own_share() * 100.0
            ),
        );
        let how = if self.is_numbered { "read back one by one" } else { "counted" };
        line("sent, acknowledged", format!("{}, {}", self.sent, self.acknowledged));
        line(
            "stored, lost, doubled",
            format!("{}, {}, {} ({how})", self.stored.stored, self.lost(), self.stored.doubled),
        );
        if !self.refused.is_empty() || self.unanswered > 0 {
            let refused: Vec<String> =
                self.refused.iter().map(|(status, count)| format!("{count} by {status}")).collect();
            line(
                "refused",
                format!(
                    "{}; {} without an answer, {} requests sent again",
                    refused.join(", "),
                    self.unanswered,
                    self.resent
                ),
            );
        }
        if self.own_share() > OWN_SHARE_MAX {
            line("note", "the load generator may have been the bottleneck: no verdict on the server".to_owned());
        }
        for note in &self.notes {
            line("note", note.clone());
        }
        if !self.is_sound() {
            line("FAILED", "records were lost or doubled".to_owned());
        }
        out
    }

    /// One line.
    pub fn json(&self) -> String {
        let latency = |latency: &Latency| {
            format!(r#"{{"p50":{},"p99":{},"p999":{},"max":{}}}"#, latency.p50, latency.p99, latency.p999, latency.max)
        };
        let number = |value: Option<f64>| value.map_or("null".to_owned(), |value| format!("{value:.3}"));
        let refused: Vec<String> = self.refused.iter().map(|(status, count)| format!("\"{status}\":{count}")).collect();
        format!(
            concat!(
                r#"{{"name":"{}","records_per_second":{:.0},"found_per_second":{:.0},"request_micros":{},"tail_micros":{},"#,
                r#""server_cpu_seconds_per_million":{},"server_peak_kib":{},"own_cpu_seconds_per_million":{:.3},"own_share":{:.3},"#,
                r#""sent":{},"acknowledged":{},"stored":{},"lost":{},"doubled":{},"refused":{{{}}},"unanswered":{},"resent":{}}}"#
            ),
            self.name,
            self.rate,
            self.found_rate(),
            latency(&self.latency),
            self.tail.as_ref().map_or("null".to_owned(), latency),
            number(self.server_cpu_per_million()),
            self.peak_kib.map_or("null".to_owned(), |kib| kib.to_string()),
            self.own_cpu_per_million(),
            self.own_share(),
            self.sent,
            self.acknowledged,
            self.stored.stored,
            self.lost(),
            self.stored.doubled,
            refused.join(","),
            self.unanswered,
            self.resent,
        )
    }
}

fn shown(latency: &Latency) -> String {
    let ms = |micros: u64| micros as f64 / 1e3;
    format!(
        "p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, at most {:.1} ms",
        ms(latency.p50),
        ms(latency.p99),
        ms(latency.p999),
        ms(latency.max)
    )
}
