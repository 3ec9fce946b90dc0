//! Which load is run against what: the named scenarios of `logboom bench`.
//!
//! Each has phases on one server, and ends by asking the store which records it has.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use crate::ceiling;
use crate::drive::{Load, LoadError, Outcome, Pace, Until, drive};
use crate::http::Client;
use crate::ledger::Ledger;
use crate::live::{Viewer, Watch};
use crate::number::TAG_BITS;
use crate::prepared::{Form, Prepared, Size};
use crate::process;
use crate::report::{Around, CeilingFigures, Phase, Records, Report, thousands};
use crate::server::{Server, ServerError};

const BATCH: &str = "/data/batch";
const FAST: &str = "/data/fast";
const DIRECT: &str = "/data/";
const BATCH_TYPE: &str = "application/x-ndjson";
const SINGLE_TYPE: &str = "application/json";
const BATCH_BYTES: usize = 1024 * 1024;
/// Bodies of a connection before it comes back to its first: 64 MiB in all, more than any cache.
const BATCHES_PER_SHARE: usize = 8;
/// Small requests of a connection before it comes back to its first.
const SINGLES_PER_SHARE: usize = 1_024;
/// How long queries are given to find what was acknowledged.
const FOUND_MAX: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// The open loop runs at this share of what the closed one reached, unless a rate is given.
const OPEN_SHARE: f64 = 0.75;
/// What each viewer is shown a second, as batches of [`FED_LINES`].
const FED_PER_SECOND: f64 = 10_000.0;
const FED_LINES: usize = 100;
/// A hundred such requests a second, each of which may wait behind a megabyte of others.
const FED_CONNECTIONS: usize = 16;
const FED_PER_SHARE: usize = 64;
/// With and without viewers by turns, so that a machine that warms up or slows down favours neither.
const VIEWER_TURNS: [usize; 4] = [0, VIEWERS, VIEWERS, 0];
/// The source of these.
const FED: &str = "fed";
const VIEWERS: usize = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    Batch,
    Fast,
    Direct,
    TailLatency,
    Viewers,
}

#[derive(Debug, Clone)]
pub struct Options {
    /// A server that runs; none: one is started.
    pub url: Option<(String, Option<u32>)>,
    pub program: PathBuf,
    pub server_arguments: Vec<String>,
    /// Where a server of our own keeps its data meanwhile.
    pub out: PathBuf,
    pub records: Option<u64>,
    pub time: Duration,
    pub warm_up: Duration,
    pub connections: Option<usize>,
    /// Records a second of the open loop.
    pub rate: Option<f64>,
    pub seed: u64,
    /// Whether the store is asked for its records at the end.
    pub check: bool,
    pub ceilings: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("{}: {source}", path.display())]
    Folder { path: PathBuf, source: std::io::Error },
}

pub fn run(scenario: Scenario, options: &Options) -> Result<Report, ScenarioError> {
    let folder = |source| ScenarioError::Folder { path: options.out.clone(), source };
    std::fs::create_dir_all(&options.out).map_err(folder)?;
    let server = match &options.url {
        Some((authority, pid)) => Server::at(authority.clone(), *pid),
        None => Server::start(&options.program, &options.out, &options.server_arguments)?,
    };
    // A tag of its own for every run against a server that is kept.
    let stamp = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let tag = (stamp.as_secs() ^ u64::from(std::process::id())) as u16 & ((1 << TAG_BITS) - 1);
    let mut run = Run { server: &server, options, ledger: Ledger::new(tag), report: Report::new(scenario.name()) };
    let result = match scenario {
        Scenario::Batch => run.batch(),
        Scenario::Fast => run.single(FAST),
        Scenario::Direct => run.single(DIRECT),
        Scenario::TailLatency => run.tail_latency(),
        Scenario::Viewers => run.viewers(),
    };
    if let Err(error) = result {
        run.report.broke = Some(error.to_string());
    }
    if options.check {
        run.check();
    }
    Ok(run.report)
}

impl Scenario {
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

impl Report {
    fn new(scenario: &str) -> Report {
        Report {
            scenario: scenario.to_owned(),
            phases: Vec::new(),
            ceilings: None,
            records: None,
            notes: Vec::new(),
            broke: None,
        }
    }
}

struct Run<'a> {
    server: &'a Server,
    options: &'a Options,
    ledger: Ledger,
    report: Report,
}

impl Run<'_> {
    fn form(&self, path: &'static str, content_type: &'static str, size: Size) -> Form<'_> {
        Form { authority: &self.server.authority, path, content_type, size, source: None }
    }

    fn batches(&self, connections: usize) -> Prepared {
        let form = self.form(BATCH, BATCH_TYPE, Size::Bytes(BATCH_BYTES));
        Prepared::new(&form, self.options.seed, self.ledger.tag, connections, BATCHES_PER_SHARE)
    }

    fn singles(&self, path: &'static str, connections: usize) -> Prepared {
        let form = self.form(path, SINGLE_TYPE, Size::Lines(1));
        Prepared::new(&form, self.options.seed, self.ledger.tag, connections, SINGLES_PER_SHARE)
    }

    fn batch(&mut self) -> Result<(), ScenarioError> {
        let connections = self.options.connections.unwrap_or(8);
        let mut prepared = self.batches(connections);
        self.ceilings(&prepared, None)?;
        let load = Load {
            prepared: &mut prepared,
            connections,
            pace: self.pace(),
            until: Until::Records(self.options.records.unwrap_or(2_000_000)),
            warm_up: Duration::ZERO,
            counts_accepted: true,
        };
        let (outcomes, around) = self.measured(&mut [load], &mut [])?;
        let mut phase = Phase::new("1 MiB of NDJSON a request", connections, self.options.rate, &outcomes[0], &around);
        if let (Some(ceilings), Some(found)) = (&self.report.ceilings, phase.found_per_second) {
            phase.shares = vec![
                ("loopback".to_owned(), found / ceilings.loopback_records_per_second),
                ("a sonic-rs walk on one core".to_owned(), found / ceilings.walk_records_per_second),
            ];
        }
        if let Some(bytes) = self.server.stored_bytes() {
            self.report.notes.push(format!("data folder at the end of the load: {} MB", bytes / 1_000_000));
        }
        self.report.phases.push(phase);
        Ok(())
    }

    fn pace(&self) -> Pace {
        self.options.rate.map_or(Pace::Closed, Pace::Open)
    }

    fn single(&mut self, path: &'static str) -> Result<(), ScenarioError> {
        let connections = self.options.connections.unwrap_or(64);
        let mut prepared = self.singles(path, connections);
        self.ceilings(&prepared, Some(connections))?;
        self.single_phase("closed loop", &mut prepared, connections, Pace::Closed)?;
        let reached = self.report.phases[0].per_second;
        let rate = self.options.rate.unwrap_or((reached * OPEN_SHARE).round());
        self.single_phase("open loop", &mut prepared, connections, Pace::Open(rate))?;
        Ok(())
    }

    fn single_phase(
        &mut self,
        name: &str,
        prepared: &mut Prepared,
        connections: usize,
        pace: Pace,
    ) -> Result<(), ScenarioError> {
        let load = Load {
            prepared,
            connections,
            pace,
            until: Until::Time(self.options.time + self.options.warm_up),
            warm_up: self.options.warm_up,
            counts_accepted: false,
        };
        let (outcomes, around) = self.measured(&mut [load], &mut [])?;
        let asked = if let Pace::Open(rate) = pace { Some(rate) } else { None };
        let mut phase = Phase::new(name, connections, asked, &outcomes[0], &around);
        // What was found also tells of the time before and after the load, which says nothing about the rate here.
        phase.found_per_second = None;
        phase.found_seconds = None;
        if let Some(found) = around.found {
            let late = found.saturating_sub(around.wall).as_secs_f64() * 1e3;
            self.report
                .notes
                .push(format!("{name}: all of it was found by a query {late:.0} ms after the last answer"));
        }
        if let Some(ceilings) = &self.report.ceilings
            && let Some(null) = ceilings.null_requests_per_second
        {
            phase.shares = vec![
                ("a server that keeps nothing".to_owned(), phase.per_second / null),
                (
                    "p50 of a 4 KiB fdatasync (latency, times)".to_owned(),
                    phase.latency_us.p50 as f64 / ceilings.sync_4k_us.p50.max(1) as f64,
                ),
            ];
        }
        self.report.phases.push(phase);
        Ok(())
    }

    fn tail_latency(&mut self) -> Result<(), ScenarioError> {
        let connections = self.options.connections.unwrap_or(16);
        let rate = self.options.rate.unwrap_or(1_000.0);
        let mut prepared = self.singles(FAST, connections);
        self.ceilings(&prepared, Some(connections))?;
        let watch =
            Watch::Latency { tag: self.ledger.tag, rate, began: None, latencies: Box::new(crate::drive::histogram()) };
        let mut viewers = [Viewer::open(&self.server.authority, "/ws/logs", watch)?];
        let load = Load {
            prepared: &mut prepared,
            connections,
            pace: Pace::Open(rate),
            until: Until::Time(self.options.time),
            warm_up: Duration::ZERO,
            counts_accepted: false,
        };
        let (outcomes, around) = self.measured(&mut [load], &mut viewers)?;
        let [viewer] = &mut viewers;
        self.wait_for_viewer(viewer)?;
        let mut posted = Phase::new("post, until it is acknowledged", connections, Some(rate), &outcomes[0], &around);
        posted.found_per_second = None;
        posted.found_seconds = None;
        let mut seen = posted.clone();
        seen.name = "post, until a viewer has it".to_owned();
        seen.latency_us = (&viewer.latencies()).into();
        let Viewer { frames, bytes, seen: count, skipped, .. } = viewer;
        self.report
            .notes
            .push(format!("the viewer saw {count} records in {frames} frames, {bytes} bytes; {skipped} were skipped"));
        self.report.phases.extend([posted, seen]);
        Ok(())
    }

    /// The last frames come up to 20 ms after the last answer.
    fn wait_for_viewer(&self, viewer: &mut Viewer) -> Result<(), LoadError> {
        let began = Instant::now();
        let mut scratch = vec![0; 64 * 1024];
        while viewer.seen + viewer.skipped < self.ledger.acknowledged && began.elapsed() < Duration::from_secs(2) {
            viewer.read(&mut scratch)?;
            std::thread::sleep(Duration::from_micros(100));
        }
        Ok(())
    }

    /// The same load twice: batches as fast as they are taken, beside them the records that viewers are fed with; once
    /// without viewers, once with them.
    fn viewers(&mut self) -> Result<(), ScenarioError> {
        let connections = self.options.connections.unwrap_or(8);
        let records = self.options.records.unwrap_or(2_000_000);
        let mut batches = self.batches(connections);
        let form = Form { source: Some(FED), ..self.form(BATCH, BATCH_TYPE, Size::Lines(FED_LINES)) };
        let mut fed = Prepared::new(&form, self.options.seed, self.ledger.tag, FED_CONNECTIONS, FED_PER_SHARE);
        self.ceilings(&batches, None)?;
        for count in VIEWER_TURNS {
            let mut viewers = Vec::new();
            for _ in 0..count {
                let target = format!("/ws/logs?source={FED}");
                viewers.push(Viewer::open(&self.server.authority, &target, Watch::Count)?);
            }
            let mut loads = [
                Load {
                    prepared: &mut batches,
                    connections,
                    pace: Pace::Closed,
                    until: Until::Records(records),
                    warm_up: Duration::ZERO,
                    counts_accepted: true,
                },
                Load {
                    prepared: &mut fed,
                    connections: FED_CONNECTIONS,
                    pace: Pace::Open(FED_PER_SECOND / FED_LINES as f64),
                    until: Until::OthersEnd,
                    warm_up: Duration::ZERO,
                    counts_accepted: true,
                },
            ];
            let (outcomes, around) = self.measured(&mut loads, &mut viewers)?;
            let name = format!("1 MiB of NDJSON a request, {count} viewers");
            let mut phase = Phase::new(&name, connections, None, &outcomes[0], &around);
            phase.found_per_second = None;
            if count > 0 {
                let mean = |of: fn(&Viewer) -> u64| viewers.iter().map(of).sum::<u64>() as f64 / count as f64;
                self.report.notes.push(format!(
                    "{} records a second were for the viewers; of {} they saw {} each on average and were told of {} skipped",
                    thousands(outcomes[1].records as f64 / phase.seconds),
                    thousands(outcomes[1].records as f64),
                    thousands(mean(|viewer| viewer.seen)),
                    thousands(mean(|viewer| viewer.skipped)),
                ));
            }
            self.report.phases.push(phase);
        }
        let mean = |watched: bool, of: fn(&Phase) -> f64| {
            let turns = self.report.phases.iter().zip(VIEWER_TURNS);
            let values: Vec<f64> =
                turns.filter(|(_, count)| (*count > 0) == watched).map(|(phase, _)| of(phase)).collect();
            values.iter().sum::<f64>() / values.len().max(1) as f64
        };
        let rate = |phase: &Phase| phase.per_second;
        let cpu = |phase: &Phase| phase.server_cpu_seconds_per_million.unwrap_or(f64::NAN);
        self.report.notes.push(format!(
            "{VIEWERS} viewers: {:+.1} % rate, {:+.1} % server CPU a million (reading what they are shown is in the \
             client's CPU, which the server would otherwise have)",
            (mean(true, rate) / mean(false, rate) - 1.0) * 100.0,
            (mean(true, cpu) / mean(false, cpu) - 1.0) * 100.0,
        ));
        Ok(())
    }

    fn ceilings(&mut self, prepared: &Prepared, null: Option<usize>) -> Result<(), ScenarioError> {
        if !self.options.ceilings {
            return Ok(());
        }
        let folder = |source| ScenarioError::Folder { path: self.options.out.clone(), source };
        let ceilings = ceiling::measure(prepared, &self.options.out).map_err(folder)?;
        let null = match null {
            Some(connections) => {
                let form = self.form(FAST, SINGLE_TYPE, Size::Lines(1));
                Some(ceiling::requests(&form, self.options.seed, connections)?)
            }
            None => None,
        };
        self.report.ceilings = Some(CeilingFigures::new(&ceilings, null));
        Ok(())
    }

    /// Runs loads, waits until queries find what they brought, and tells what it took.
    fn measured(
        &mut self,
        loads: &mut [Load],
        viewers: &mut [Viewer],
    ) -> Result<(Vec<Outcome>, Around), ScenarioError> {
        let server = self.server;
        let before_total = server.total()?;
        let before_acknowledged = self.ledger.acknowledged;
        if let Some(pid) = server.pid
            && !process::reset_peak(pid)
        {
            self.report.notes.push("the server's peak memory is since its start: it could not be reset".to_owned());
        }
        let (cpu, own, began) = (server.cpu(), process::own_cpu(), Instant::now());
        let (outcomes, result) = drive(&server.authority, loads, viewers, &mut self.ledger);
        let client_cpu = process::own_cpu().saturating_sub(own);
        let wall = began.elapsed();
        let acknowledged = self.ledger.acknowledged - before_acknowledged;
        if let Err(error) = result {
            self.report.broke = Some(error.to_string());
        }
        let mut found = None;
        while found.is_none() && began.elapsed() < wall + FOUND_MAX {
            match server.total() {
                Ok(total) if total >= before_total + acknowledged => found = Some(began.elapsed()),
                Ok(_) => std::thread::sleep(LOOK_AGAIN),
                Err(error) => {
                    self.report.notes.push(format!("it could not be seen whether all was found: {error}"));
                    break;
                }
            }
        }
        if found.is_none() && self.report.broke.is_none() {
            let late = FOUND_MAX.as_secs();
            self.report.broke = Some(format!("{late} s after the last answer, queries do not find all of it"));
        }
        let around = Around {
            server_cpu: server.cpu().zip(cpu).map(|(after, before)| after.saturating_sub(before)),
            client_cpu,
            wall,
            server_peak: server.pid.and_then(process::peak_memory),
            found,
            acknowledged,
        };
        Ok((outcomes, around))
    }

    /// Asks the store for all its records.
    fn check(&mut self) {
        let asked = (|| {
            let mut client = Client::connect(&self.server.authority)?;
            let answer = client.get("/logs/export?format=ndjson")?;
            match answer.status {
                200 => self.ledger.compare(answer),
                status => Err(std::io::Error::other(format!("the export was answered {status}"))),
            }
        })();
        match asked {
            Ok(stored) => self.report.records = Some(Records::new(&self.ledger, &stored)),
            Err(error) => {
                let what = format!("the store could not be asked for its records: {error}");
                self.report.broke.get_or_insert(what);
            }
        }
    }
}
