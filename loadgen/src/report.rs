//! What a run found, as text for people and as JSON.

use std::fmt::Write;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::ceiling::Ceilings;
use crate::drive::Outcome;
use crate::ledger::{Ledger, Stored};
use crate::process::Sample;
use crate::server::CpuOf;

/// Beyond this share of one core the client, being one thread, may have been what was measured.
const CLIENT_SHARE_MAX: f64 = 0.9;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    pub scenario: String,
    /// What it measures.
    pub title: String,
    /// What repeats it.
    pub command: String,
    pub phases: Vec<Phase>,
    pub queries: Vec<QueryFigures>,
    pub ceilings: Option<CeilingFigures>,
    pub records: Option<Records>,
    /// What a reader must know to judge the figures.
    pub notes: Vec<String>,
    /// Formats, and the share of their lines that were taken for what they are.
    #[serde(default)]
    pub detected: Vec<(String, f64)>,
    /// What all records took on the disk in the end, where that is known.
    #[serde(default)]
    pub stored_bytes: Option<u64>,
    /// Why the run ended early, where it did; the figures are then of what came before.
    pub broke: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Phase {
    pub name: String,
    /// None where nothing was sent, as while a queue is emptied.
    pub connections: usize,
    /// Requests a second that were asked for; none: as fast as answers came.
    pub asked_per_second: Option<f64>,
    pub records: u64,
    pub requests: u64,
    pub seconds: f64,
    pub per_second: f64,
    /// Until queries found all of them.
    pub found_seconds: Option<f64>,
    pub found_per_second: Option<f64>,
    pub latency_us: Latency,
    pub server_cpu_seconds_per_million: Option<f64>,
    /// The same of each process, where there are several.
    #[serde(default)]
    pub cpu_of_each: Vec<(String, f64)>,
    pub client_cpu_seconds_per_million: f64,
    /// Of one core.
    pub client_cpu_share: f64,
    pub server_peak_bytes: Option<u64>,
    pub refusals: Vec<(u16, u64)>,
    pub unsent: u64,
    /// What this is a share of, and the share.
    pub shares: Vec<(String, f64)>,
    /// The p50 is so many times that of a 4 KiB fdatasync.
    pub sync_times: Option<f64>,
    pub timeline: Vec<Second>,
    /// Of the server, once a second.
    pub samples: Vec<Sample>,
    /// The client is what is measured.
    #[serde(default)]
    pub is_of_the_client: bool,
    /// Quantiles, of 1, and their latencies in µs.
    pub spectrum: Vec<(f64, u64)>,
}

/// One kind of query.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct QueryFigures {
    pub name: String,
    pub target: String,
    pub answer_bytes: u64,
    pub asked: u64,
    pub alone_us: Latency,
    /// While records come in.
    pub loaded_us: Latency,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Second {
    pub records: u64,
    pub p50_us: u64,
    pub p99_us: u64,
    pub max_us: u64,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Latency {
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CeilingFigures {
    pub loopback_megabytes_per_second: f64,
    pub loopback_records_per_second: f64,
    pub walk_records_per_second: f64,
    pub walk_cpu_seconds_per_million: f64,
    pub line_bytes: f64,
    pub sync_4k_us: Latency,
    pub sync_1m_us: Latency,
    /// Requests a second of this client against a server that keeps nothing, and their p50.
    pub null_requests_per_second: Option<f64>,
    pub null_p50_us: Option<u64>,
    /// `XADD` of the same blocks, where a Redis is used.
    #[serde(default)]
    pub xadd_records_per_second: Option<f64>,
    /// Two `\copy` of the same rows at once, where a Postgres is used.
    #[serde(default)]
    pub copy_records_per_second: Option<f64>,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Records {
    pub sent: u64,
    pub acknowledged: u64,
    pub refused: u64,
    pub stored: u64,
    pub lost: u64,
    pub doubled: u64,
    pub unacknowledged: u64,
}

/// What was measured around a load.
#[derive(Debug, Default)]
pub struct Around {
    pub server_cpu: Option<Duration>,
    pub cpu_of_each: Vec<CpuOf>,
    pub client_cpu: Duration,
    pub wall: Duration,
    pub server_peak: Option<u64>,
    pub found: Option<Duration>,
    /// Records acknowledged meanwhile, of whatever load, warm-up included.
    pub acknowledged: u64,
    pub samples: Vec<Sample>,
}

impl From<&Histogram<u64>> for Latency {
    fn from(histogram: &Histogram<u64>) -> Latency {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Latency { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: histogram.max() }
    }
}

impl Phase {
    pub fn new(name: &str, connections: usize, asked: Option<f64>, outcome: &Outcome, around: &Around) -> Phase {
        let millions = around.acknowledged.max(1) as f64 / 1e6;
        let seconds = outcome.time.as_secs_f64().max(1e-9);
        Phase {
            name: name.to_owned(),
            connections,
            asked_per_second: asked,
            records: outcome.records,
            requests: outcome.requests,
            seconds,
            per_second: outcome.records as f64 / seconds,
            found_seconds: around.found.map(|found| found.as_secs_f64()),
            found_per_second: around.found.map(|found| around.acknowledged as f64 / found.as_secs_f64()),
            latency_us: (&outcome.latencies).into(),
            server_cpu_seconds_per_million: around.server_cpu.map(|cpu| cpu.as_secs_f64() / millions),
            cpu_of_each: match &around.cpu_of_each[..] {
                [] | [_] => Vec::new(),
                many => many.iter().map(|(name, cpu)| ((*name).to_owned(), cpu.as_secs_f64() / millions)).collect(),
            },
            client_cpu_seconds_per_million: around.client_cpu.as_secs_f64() / millions,
            client_cpu_share: around.client_cpu.as_secs_f64() / around.wall.as_secs_f64().max(1e-9),
            server_peak_bytes: around.server_peak,
            refusals: outcome.refusals.clone(),
            unsent: outcome.unsent,
            shares: Vec::new(),
            sync_times: None,
            samples: around.samples.clone(),
            is_of_the_client: false,
            spectrum: spectrum(&outcome.latencies),
            timeline: outcome
                .timeline
                .iter()
                .map(|p| Second { records: p.records, p50_us: p.p50_us, p99_us: p.p99_us, max_us: p.max_us })
                .collect(),
        }
    }

    /// For a load whose rate is not that of being found.
    pub fn without_found(self) -> Phase {
        Phase { found_seconds: None, found_per_second: None, ..self }
    }

    /// Latencies of something else than answers.
    pub fn set_latencies(&mut self, latencies: &Histogram<u64>) {
        self.latency_us = latencies.into();
        self.spectrum = spectrum(latencies);
        self.timeline.clear();
    }

    /// `engine 0.61, worker 0.52`: seconds a million.
    pub fn each_cpu(&self) -> String {
        let each: Vec<String> = self.cpu_of_each.iter().map(|(name, cpu)| format!("{name} {cpu:.2}")).collect();
        each.join(", ")
    }

    pub fn client_was_the_bottleneck(&self) -> bool {
        self.client_cpu_share > CLIENT_SHARE_MAX && !self.is_of_the_client
    }
}

/// Each halving of what is left to 1 in five steps: the whole spectrum in some hundred points.
fn spectrum(latencies: &Histogram<u64>) -> Vec<(f64, u64)> {
    latencies.iter_quantiles(5).map(|step| (step.quantile_iterated_to(), step.value_iterated_to())).collect()
}

impl CeilingFigures {
    pub fn new(ceilings: &Ceilings, null: Option<(f64, u64)>) -> CeilingFigures {
        CeilingFigures {
            loopback_megabytes_per_second: ceilings.loopback_bytes_per_second / 1e6,
            loopback_records_per_second: ceilings.loopback_bytes_per_second / ceilings.body_line_bytes,
            walk_records_per_second: ceilings.walk_records_per_second,
            walk_cpu_seconds_per_million: ceilings.walk_cpu_seconds_per_million,
            line_bytes: ceilings.body_line_bytes,
            sync_4k_us: (&ceilings.sync_4k).into(),
            sync_1m_us: (&ceilings.sync_1m).into(),
            null_requests_per_second: null.map(|(rate, _)| rate),
            null_p50_us: null.map(|(_, p50)| p50),
            xadd_records_per_second: None,
            copy_records_per_second: None,
        }
    }
}

impl Records {
    pub fn new(ledger: &Ledger, stored: &Stored) -> Records {
        Records {
            sent: ledger.next,
            acknowledged: ledger.acknowledged,
            refused: ledger.refused,
            stored: stored.stored,
            lost: stored.lost,
            doubled: stored.doubled,
            unacknowledged: stored.unacknowledged,
        }
    }

    pub fn add(&mut self, other: &Records) {
        let Records { sent, acknowledged, refused, stored, lost, doubled, unacknowledged } = other;
        self.sent += sent;
        self.acknowledged += acknowledged;
        self.refused += refused;
        self.stored += stored;
        self.lost += lost;
        self.doubled += doubled;
        self.unacknowledged += unacknowledged;
    }

    pub fn are_sound(&self) -> bool {
        self.lost == 0 && self.doubled == 0
    }
}

impl Report {
    pub fn new(scenario: &str, title: &str) -> Report {
        Report {
            scenario: scenario.to_owned(),
            title: title.to_owned(),
            command: String::new(),
            phases: Vec::new(),
            queries: Vec::new(),
            ceilings: None,
            records: None,
            notes: Vec::new(),
            detected: Vec::new(),
            stored_bytes: None,
            broke: None,
        }
    }

    /// Bytes on the disk for each record that the store has, where both are known.
    pub fn bytes_a_record(&self) -> Option<f64> {
        let stored = self.records.map(|records| records.stored).filter(|&stored| stored > 0)?;
        self.stored_bytes.map(|bytes| bytes as f64 / stored as f64)
    }

    pub fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Nothing broke, nothing was lost, nothing is there twice.
    pub fn is_sound(&self) -> bool {
        self.broke.is_none() && self.records.is_none_or(|records| records.are_sound())
    }

    pub fn json(&self) -> String {
        sonic_rs::to_string_pretty(self).unwrap_or_else(|error| format!("{{\"error\": \"{error}\"}}"))
    }

    pub fn text(&self) -> String {
        let mut out = String::new();
        self.write_text(&mut out).expect("a string takes whatever is written");
        out
    }

    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "{}", self.scenario)?;
        for phase in &self.phases {
            phase.write_text(out)?;
        }
        for query in &self.queries {
            let QueryFigures { name, answer_bytes, asked, alone_us, loaded_us, .. } = query;
            writeln!(
                out,
                "  {name:<36} alone p50 {} p99 {} ms, with records coming in p50 {} p99 {} ms  ({answer_bytes} bytes, \
                 asked {asked} times)",
                ms(alone_us.p50),
                ms(alone_us.p99),
                ms(loaded_us.p50),
                ms(loaded_us.p99)
            )?;
        }
        if let Some(ceilings) = &self.ceilings {
            ceilings.write_text(out)?;
        }
        if let Some(r) = &self.records {
            let Records { sent, acknowledged, refused, stored, lost, doubled, unacknowledged } = r;
            writeln!(
                out,
                "  records    sent {sent}, acknowledged {acknowledged}, refused {refused}, stored {stored}, lost {lost}, \
                 doubled {doubled}, stored without an acknowledgement {unacknowledged}"
            )?;
        }
        if let Some(bytes) = self.bytes_a_record() {
            writeln!(out, "  disk       {bytes:.1} bytes a record once all is written")?;
        }
        for note in &self.notes {
            writeln!(out, "  note       {note}")?;
        }
        if let Some(broke) = &self.broke {
            writeln!(out, "  BROKE      {broke}; the figures are of what came before")?;
        }
        Ok(())
    }
}

impl Phase {
    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        let pace = match self.asked_per_second {
            Some(rate) => format!("at {} requests/s", thousands(rate)),
            None => "as fast as answers come".to_owned(),
        };
        match self.connections {
            0 => writeln!(out, "  {}", self.name)?,
            connections => writeln!(out, "  {} ({connections} connections, {pace})", self.name)?,
        }
        let what = if self.connections == 0 { "stored" } else { "acknowledged" };
        write!(out, "    rate     {}/s {what}", thousands(self.per_second))?;
        if let Some(found) = self.found_per_second {
            write!(out, ", {}/s until found", thousands(found))?;
        }
        let seconds = self.found_seconds.unwrap_or(self.seconds);
        writeln!(out, "  ({} records in {seconds:.2} s)", thousands(self.records as f64))?;
        if self.requests > 0 {
            let Latency { p50, p90, p99, p999, max } = self.latency_us;
            let (p50, p90, p99, p999, max) = (ms(p50), ms(p90), ms(p99), ms(p999), ms(max));
            writeln!(out, "    latency  p50 {p50}  p90 {p90}  p99 {p99}  p99.9 {p999}  max {max} ms")?;
        }
        let server = self.server_cpu_seconds_per_million.map_or("unknown".to_owned(), |cpu| format!("{cpu:.2}"));
        writeln!(
            out,
            "    CPU      server {server} s a million, client {:.2} s a million ({:.0} % of a core)",
            self.client_cpu_seconds_per_million,
            self.client_cpu_share * 100.0
        )?;
        if !self.cpu_of_each.is_empty() {
            writeln!(out, "             {}", self.each_cpu())?;
        }
        if let Some(peak) = self.server_peak_bytes {
            writeln!(out, "    memory   server peak {:.0} MiB", peak as f64 / (1024.0 * 1024.0))?;
        }
        for (what, share) in &self.shares {
            writeln!(out, "    share    {:.1} % of {what}", share * 100.0)?;
        }
        if let Some(times) = self.sync_times {
            writeln!(out, "    sync     the p50 is {times:.1} times that of a 4 KiB fdatasync")?;
        }
        if !self.refusals.is_empty() {
            writeln!(out, "    refused  {:?} (status, requests)", self.refusals)?;
        }
        if self.unsent > 0 {
            writeln!(out, "    behind   {} requests were due and never sent", self.unsent)?;
        }
        if self.client_was_the_bottleneck() {
            writeln!(out, "    verdict  none: the client used its core up, so it may be what was measured")?;
        }
        Ok(())
    }
}

impl CeilingFigures {
    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "  ceilings of this machine, in the same run")?;
        writeln!(
            out,
            "    loopback {:.0} MB/s = {} records/s of {:.0} bytes",
            self.loopback_megabytes_per_second,
            thousands(self.loopback_records_per_second),
            self.line_bytes
        )?;
        writeln!(
            out,
            "    walk     {} records/s, {:.2} CPU s a million (sonic-rs, checked, one core)",
            thousands(self.walk_records_per_second),
            self.walk_cpu_seconds_per_million
        )?;
        for (name, latency) in [("4 KiB", self.sync_4k_us), ("1 MiB", self.sync_1m_us)] {
            let Latency { p50, p99, max, .. } = latency;
            writeln!(
                out,
                "    sync     {name} append + fdatasync: p50 {} p99 {} max {} ms",
                ms(p50),
                ms(p99),
                ms(max)
            )?;
        }
        if let (Some(rate), Some(p50)) = (self.null_requests_per_second, self.null_p50_us) {
            writeln!(
                out,
                "    null     {} requests/s, p50 {} ms (a server that keeps nothing)",
                thousands(rate),
                ms(p50)
            )?;
        }
        for (name, rate) in [("XADD", self.xadd_records_per_second), ("COPY", self.copy_records_per_second)] {
            if let Some(rate) = rate {
                writeln!(out, "    {name:<8} {} records/s of the same blocks", thousands(rate))?;
            }
        }
        Ok(())
    }
}

pub fn ms(us: u64) -> String {
    format!("{:.2}", us as f64 / 1000.0)
}

/// `1234567.8` as `1,234,568`.
pub fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
