//! The scenarios of `logboom bench`: what is sent, how, and what is looked at.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::drive::{Feed, Load, Outcome, Request, drive};
use crate::feeds::{FromFile, Generated};
use crate::report::{Latency, Report};
use crate::server::{Server, ServerError, Stored};
use crate::usage::own_cpu;
use crate::viewers::{Crowd, Sent, Watcher};

/// 2026-11-20, as good a day as any: records are numbered by milliseconds from here.
const START: i64 = 1_795_132_800_000;
/// What a run without a number of records can reach at most, for finding it a free span of numbers.
const RECORDS_MAX: i64 = 100_000_000;
const WARM_UP: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// NDJSON bodies as fast as they are taken, until all records are found by queries.
    Batch,
    /// One record a request into the queue.
    Fast,
    /// One record a request into the store.
    Direct,
    /// From a post to a viewer's WebSocket.
    TailLatency,
    /// What live viewers cost ingestion.
    Viewers,
}

impl Scenario {
    pub const ALL: [Scenario; 5] =
        [Scenario::Batch, Scenario::Fast, Scenario::Direct, Scenario::TailLatency, Scenario::Viewers];

    pub fn name(self) -> &'static str {
        match self {
            Scenario::Batch => "batch",
            Scenario::Fast => "fast",
            Scenario::Direct => "direct",
            Scenario::TailLatency => "tail-latency",
            Scenario::Viewers => "viewers",
        }
    }
}

/// What may be chosen; `None` is the scenario's own choice.
#[derive(Clone, Debug)]
pub struct Plan {
    pub records: u64,
    pub connections: Option<usize>,
    pub body_bytes: usize,
    pub rate: Option<f64>,
    pub time: Duration,
    pub viewers: usize,
    pub seed: u64,
    /// Lines for `batch` instead of generated ones.
    pub file: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error("the load cannot be sent: {0}")]
    Load(#[from] io::Error),
    #[error("{path} cannot be read: {source}")]
    File { path: PathBuf, source: io::Error },
}

/// Runs one scenario; `viewers` makes two reports, without and with them.
pub fn run(scenario: Scenario, plan: &Plan, server: &Server) -> Result<Vec<Report>, BenchError> {
    match scenario {
        Scenario::Batch => Ok(vec![batch(plan, server)?]),
        Scenario::Fast => Ok(vec![singles(scenario, "/data/fast", plan, server)?]),
        Scenario::Direct => Ok(vec![singles(scenario, "/data/", plan, server)?]),
        Scenario::TailLatency => Ok(vec![tail_latency(plan, server)?]),
        Scenario::Viewers => viewers(plan, server),
    }
}

/// What is read before and after a load, to tell what the load has cost.
struct Meter {
    own: Duration,
    server: Option<f64>,
    started: Instant,
    count: u64,
}

impl Meter {
    fn start(server: &Server) -> Result<Meter, ServerError> {
        let count = server.count(None)?;
        Ok(Meter { own: own_cpu(), server: cpu(server), started: Instant::now(), count })
    }

    /// Reads everything once all that was acknowledged is found.
    fn report(self, name: String, server: &Server, outcome: &Outcome) -> Result<Report, ServerError> {
        // Before asking: what follows is not the load's.
        let own = own_cpu() - self.own;
        let (found, found_at) = server.wait_for(self.count + outcome.acknowledged)?;
        let server_cpu = self.server.and_then(|before| Some(cpu(server)? - before));
        let stored = found.saturating_sub(self.count);
        Ok(Report {
            name,
            elapsed: outcome.elapsed,
            found_after: found_at - self.started,
            requests: outcome.requests,
            sent: outcome.sent,
            acknowledged: outcome.acknowledged,
            refused: outcome.refused.clone(),
            unanswered: outcome.unanswered,
            resent: outcome.resent,
            rate: outcome.measured_records as f64 / outcome.measured.as_secs_f64().max(1e-9),
            latency: Latency::of(&outcome.latency),
            tail: None,
            stored: Stored { stored, doubled: 0 },
            is_numbered: false,
            server_cpu,
            peak_kib: server.process.and_then(|process| process.peak_kib()),
            own_cpu: own,
            notes: Vec::new(),
        })
    }
}

fn cpu(server: &Server) -> Option<f64> {
    server.process?.cpu_seconds()
}

/// Reads the numbered records back.
fn check(report: &mut Report, server: &Server, start: i64) -> Result<(), ServerError> {
    report.stored = server.stored((start, start + report.sent as i64))?;
    report.is_numbered = true;
    Ok(())
}

fn batch(plan: &Plan, server: &Server) -> Result<Report, BenchError> {
    let target = "/data/batch";
    let start = server.free_span(START, plan.records as i64 * 2)?;
    let mut feed: Box<dyn Feed> = match &plan.file {
        Some(path) => {
            let wrong = |source| BenchError::File { path: path.clone(), source };
            Box::new(FromFile::open(path, target, plan.body_bytes).map_err(wrong)?)
        }
        None => Box::new(Generated::batches(target, plan.seed, start, plan.records, plan.body_bytes)),
    };
    let connections = plan.connections.unwrap_or(8);
    let load = Load { connections, rate: plan.rate, time_max: Duration::from_secs(3600), warm_up: Duration::ZERO };
    let meter = Meter::start(server)?;
    let outcome = drive(server.address, load, &mut *feed)?;
    let name = format!("batch, {} KiB bodies, {connections} connections", plan.body_bytes / 1024);
    let mut report = meter.report(name, server, &outcome)?;
    if plan.file.is_none() {
        check(&mut report, server, start)?;
    }
    Ok(report)
}

fn singles(scenario: Scenario, target: &str, plan: &Plan, server: &Server) -> Result<Report, BenchError> {
    let start = server.free_span(START, RECORDS_MAX)?;
    let mut feed = Generated::singles(target, plan.seed, start, u64::MAX);
    let connections = plan.connections.unwrap_or(64);
    let load = Load { connections, rate: plan.rate, time_max: WARM_UP + plan.time, warm_up: WARM_UP };
    let meter = Meter::start(server)?;
    let outcome = drive(server.address, load, &mut feed)?;
    let pace = plan.rate.map_or_else(|| "closed loop".to_owned(), |rate| format!("{rate} a second"));
    let name = format!("{}, one record a request, {connections} connections, {pace}", scenario.name());
    let mut report = meter.report(name, server, &outcome)?;
    check(&mut report, server, start)?;
    Ok(report)
}

fn tail_latency(plan: &Plan, server: &Server) -> Result<Report, BenchError> {
    let start = server.free_span(START, RECORDS_MAX)?;
    let rate = plan.rate.unwrap_or(1_000.0);
    let connections = plan.connections.unwrap_or(16);
    let sent = Sent::new(start);
    let watcher = Watcher::start(server.address, sent.clone())?;
    let mut inner = Generated::singles("/data/fast", plan.seed, start, u64::MAX);
    let mut number = start;
    let mut feed = |request: &mut Request| {
        sent.mark(number);
        number += 1;
        inner.next(request)
    };
    let load = Load { connections, rate: Some(rate), time_max: plan.time, warm_up: Duration::ZERO };
    let meter = Meter::start(server)?;
    let outcome = drive(server.address, load, &mut feed)?;
    let (seen, skipped) = watcher.stop();
    let mut report = meter.report(format!("tail-latency, {rate} records a second to one viewer"), server, &outcome)?;
    check(&mut report, server, start)?;
    if seen.len() != outcome.sent {
        report.notes.push(format!("the viewer saw {} of {} records, and {skipped} skips", seen.len(), outcome.sent));
    }
    report.tail = Some(Latency::of(&seen));
    Ok(report)
}

fn viewers(plan: &Plan, server: &Server) -> Result<Vec<Report>, BenchError> {
    let rate = plan.rate.unwrap_or(10_000.0);
    let plan = Plan { rate: Some(rate), ..plan.clone() };
    let mut reports = Vec::new();
    for count in [0, plan.viewers] {
        let crowd = Crowd::start(server.address, count)?;
        let mut report = singles(Scenario::Fast, "/data/fast", &plan, server)?;
        let (bytes, broken) = crowd.stop();
        report.name = format!("viewers: {rate} records a second, {count} live viewers");
        if count > 0 {
            report.notes.push(format!("viewers read {} MiB, {broken} were cut off", bytes >> 20));
        }
        reports.push(report);
    }
    Ok(reports)
}
