//! Which load is run against what: the named scenarios of `logboom bench`.
//!
//! Each has phases on one server, and ends by asking the store which records it has.
//!
//! | file | scenarios |
//! |---|---|
//! | `load.rs` | `batch`, `fast`, `direct`, `seed-concurrent`, `saturate`: how much, how fast |
//! | `live.rs` | `tail-latency`, `viewers`: the live tail |
//! | `read.rs` | `query`, `parse`: what is asked, not stored |
//! | `long.rs` | `drain`, `soak`: what comes later |
//! | `apart.rs` | `apart`: engine, worker and API as processes of their own, on Redis and Postgres |
//! | `generator.rs` | `generator`: this tool itself, against a server that keeps nothing |

mod apart;
mod generator;
mod live;
mod load;
mod long;
mod read;

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::ceiling;
use crate::drive::{Load, LoadError, Outcome, drive};
use crate::ledger::Ledger;
use crate::live::Viewer;
use crate::number::TAG_BITS;
use crate::prepared::{Form, Lines, Prepared, Size};
use crate::process::{self, Sampler};
use crate::report::{Around, CeilingFigures, Records, Report};
use crate::server::{Backends, CpuOf, Server, ServerError};
use crate::target::{Answers, Dialect, Target};

/// Bodies of a connection before it comes back to its first: 64 MiB in all, more than any cache.
const BATCHES_PER_SHARE: usize = 8;
/// Small requests of a connection before it comes back to its first.
const SINGLES_PER_SHARE: usize = 1_024;
/// How long queries may find no more of what was acknowledged.
const FOUND_MAX: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// A store that counts slowly is not to be measured counting.
const LOOK_AGAIN_TIMES: u32 = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    SeedConcurrent,
    Fast,
    Direct,
    Batch,
    Parse,
    TailLatency,
    Viewers,
    Query,
    Drain,
    Soak,
    Saturate,
    Apart,
    Generator,
}

#[derive(Debug, Clone)]
pub struct Options {
    /// A server that runs; none: one is started.
    pub url: Option<(String, Option<u32>)>,
    pub target: Target,
    /// Where a sink takes records, instead of `/`.
    pub path: Option<String>,
    pub program: PathBuf,
    pub server_arguments: Vec<String>,
    /// What a server of our own uses beside it.
    pub backends: Backends,
    /// Where a server of our own keeps its data meanwhile.
    pub out: PathBuf,
    pub records: Option<u64>,
    pub time: Duration,
    pub warm_up: Duration,
    pub connections: Option<usize>,
    /// Single requests that a connection sends at once.
    pub pipeline: usize,
    /// Requests a second of the open loop.
    pub rate: Option<f64>,
    /// What `saturate` keeps p99 under.
    pub p99_max: Duration,
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
    #[error("{0}")]
    Unfit(String),
}

impl Scenario {
    pub const ALL: &[Scenario] = &[
        Scenario::SeedConcurrent,
        Scenario::Fast,
        Scenario::Direct,
        Scenario::Batch,
        Scenario::Parse,
        Scenario::TailLatency,
        Scenario::Viewers,
        Scenario::Query,
        Scenario::Drain,
        Scenario::Soak,
        Scenario::Saturate,
        Scenario::Apart,
        Scenario::Generator,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Scenario::SeedConcurrent => "seed-concurrent",
            Scenario::Fast => "fast",
            Scenario::Direct => "direct",
            Scenario::Batch => "batch",
            Scenario::Parse => "parse",
            Scenario::TailLatency => "tail-latency",
            Scenario::Viewers => "viewers",
            Scenario::Query => "query",
            Scenario::Drain => "drain",
            Scenario::Soak => "soak",
            Scenario::Saturate => "saturate",
            Scenario::Apart => "apart",
            Scenario::Generator => "generator",
        }
    }

    /// Whether a target has what it asks for.
    pub fn fits(self, target: Target) -> bool {
        let asks = [
            Scenario::Parse,
            Scenario::TailLatency,
            Scenario::Viewers,
            Scenario::Query,
            Scenario::Drain,
            Scenario::Apart,
        ];
        target == Target::Logboom || !asks.contains(&self)
    }

    /// Whether it is about a Redis and a Postgres.
    pub fn needs_servers(self) -> bool {
        self == Scenario::Apart
    }

    /// What it measures, in a line.
    pub fn title(self) -> &'static str {
        match self {
            Scenario::SeedConcurrent => "1,000 logs from 10 clients, one a request, into the queue",
            Scenario::Fast => "One record a request into the queue",
            Scenario::Direct => "One record a request into the store",
            Scenario::Batch => "1 MiB of NDJSON a request, until queries find all of it",
            Scenario::Parse => "Lines of all formats, parsed and not stored",
            Scenario::TailLatency => "How long after it was posted a live tail shows a record",
            Scenario::Viewers => "What 20 live tails cost ingestion",
            Scenario::Query => "What a dashboard asks, alone and while records come in",
            Scenario::Drain => "How long after a burst the queue is empty",
            Scenario::Soak => "A steady load: what memory and latency do over time",
            Scenario::Saturate => "The highest rate at which p99 stays under a bound",
            Scenario::Apart => "Engine, worker and API as processes of their own, over Redis into Postgres",
            Scenario::Generator => "What this tool can send at most, to a server that keeps nothing",
        }
    }
}

/// Runs one scenario. Once a server is there, whatever happens is in the report.
pub fn run(scenario: Scenario, options: &Options) -> Result<Report, ScenarioError> {
    let folder = |source| ScenarioError::Folder { path: options.out.clone(), source };
    std::fs::create_dir_all(&options.out).map_err(folder)?;
    if scenario == Scenario::Apart {
        return apart::run(options);
    }
    let server = match &options.url {
        // It measures this tool alone.
        _ if scenario == Scenario::Generator => Server::at(String::new(), None, options.target),
        Some((authority, pid)) => Server::at(authority.clone(), *pid, options.target),
        None if scenario == Scenario::Drain => {
            let mut options = options.clone();
            options.server_arguments.extend(long::FLUSH_SOON.map(str::to_owned));
            options.start_server()?
        }
        None => options.start_server()?,
    };
    let mut report = run_on(scenario, &server, options);
    report.stored_bytes = server.into_stored_bytes();
    Ok(report)
}

/// The same against a server that somebody else has started, and will stop.
pub fn run_on(scenario: Scenario, server: &Server, options: &Options) -> Report {
    let report = Report::new(scenario.name(), scenario.title());
    let mut run = Run { server, options, ledger: Ledger::new(tag()), report, waits: true };
    let result = match scenario {
        Scenario::SeedConcurrent => run.seed_concurrent(),
        Scenario::Fast => run.single(server.target.fast()),
        Scenario::Direct => run.single(server.target.direct()),
        Scenario::Batch => run.batch(),
        Scenario::Parse => run.parse(),
        Scenario::TailLatency => run.tail_latency(),
        Scenario::Viewers => run.viewers(),
        Scenario::Query => run.query(),
        Scenario::Drain => run.drain(),
        Scenario::Soak => run.soak(),
        Scenario::Saturate => run.saturate(),
        Scenario::Apart => Err(ScenarioError::Unfit("`apart` starts its processes itself".to_owned())),
        Scenario::Generator => run.generator(),
    };
    if let Err(error) = result {
        run.report.broke.get_or_insert(error.to_string());
    }
    if options.check && run.ledger.next > 0 {
        run.check();
    }
    run.report
}

impl Options {
    fn start_server(&self) -> Result<Server, ServerError> {
        Server::start(&self.program, &self.out, &self.server_arguments, &self.backends)
    }
}

/// What each process used between two looks; one that was not there at the first had used nothing.
fn spent(before: &[CpuOf], after: &[CpuOf]) -> Vec<CpuOf> {
    let had = |name| before.iter().find(|(seen, _)| *seen == name).map_or(Duration::ZERO, |&(_, cpu)| cpu);
    after.iter().map(|&(name, cpu)| (name, cpu.saturating_sub(had(name)))).collect()
}

/// One of its own for every run, against a server that is kept: the first by the clock, so that it is none of an earlier
/// process, and from there on one after another, so that no two of this process are the same.
fn tag() -> u16 {
    static FIRST: OnceLock<u16> = OnceLock::new();
    static RUNS: AtomicU16 = AtomicU16::new(0);
    let first = *FIRST.get_or_init(|| {
        let stamp = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        (stamp.as_secs() ^ u64::from(std::process::id())) as u16
    });
    first.wrapping_add(RUNS.fetch_add(1, Ordering::Relaxed)) & ((1 << TAG_BITS) - 1)
}

struct Run<'a> {
    server: &'a Server,
    options: &'a Options,
    ledger: Ledger,
    report: Report,
    /// Whether queries are waited for to find what was acknowledged.
    waits: bool,
}

impl Run<'_> {
    fn batches(&self, connections: usize) -> Prepared {
        let dialect = self.server.target.batch();
        self.prepared(&self.form(&dialect, dialect.size), connections, BATCHES_PER_SHARE)
    }

    fn form<'a>(&'a self, dialect: &Dialect, size: Size) -> Form<'a> {
        let form = dialect.form(&self.server.authority, size);
        match (&self.options.path, self.server.target) {
            (Some(path), Target::Http) => Form { path, ..form },
            _ => form,
        }
    }

    fn prepared(&self, form: &Form, connections: usize, per_share: usize) -> Prepared {
        Prepared::new(form, self.options.seed, self.ledger.tag, connections, per_share)
    }

    fn ceilings(&mut self, prepared: &Prepared, null: Option<usize>) -> Result<(), ScenarioError> {
        if !self.options.ceilings {
            return Ok(());
        }
        let folder = |source| ScenarioError::Folder { path: self.options.out.clone(), source };
        let dialect = self.server.target.batch();
        // What is walked is JSON, whatever the target is sent.
        let json = (!dialect.is_json()).then(|| {
            let form = Form { lines: Lines::Json, ..self.form(&dialect, dialect.size) };
            self.prepared(&form, 1, BATCHES_PER_SHARE)
        });
        let prepared = json.as_ref().unwrap_or(prepared);
        let ceilings = ceiling::measure(prepared, &self.options.out).map_err(folder)?;
        let null = match null {
            Some(connections) if dialect.answers != Answers::Never => {
                let form = self.form(&self.server.target.fast(), Size::Lines(1));
                Some(ceiling::requests(&form, self.options.seed, connections)?)
            }
            _ => None,
        };
        let mut figures = CeilingFigures::new(&ceilings, null);
        let Backends { redis_url, db_url, .. } = &self.options.backends;
        if redis_url.is_some() || db_url.is_some() {
            let batches = ceiling::servers::batches(&prepared.bodies().collect::<Vec<_>>());
            if let Some(url) = redis_url {
                match ceiling::servers::xadd(url, &batches) {
                    Ok(rate) => figures.xadd_records_per_second = Some(rate),
                    Err(error) => self.report.note(format!("what Redis takes at most is not known: {error}")),
                }
            }
            if let Some(url) = db_url {
                match ceiling::servers::copy(url, &batches, &self.options.out) {
                    Ok(rate) => figures.copy_records_per_second = Some(rate),
                    Err(error) => self.report.note(format!("what Postgres takes at most is not known: {error}")),
                }
            }
        }
        self.report.ceilings = Some(figures);
        Ok(())
    }

    /// Runs loads, waits until queries find what they brought, and tells what it took.
    fn measured(
        &mut self,
        loads: &mut [Load],
        viewers: &mut [Viewer],
    ) -> Result<(Vec<Outcome>, Around), ScenarioError> {
        let server = self.server;
        let before_total = if self.waits { server.total()? } else { None };
        let before_acknowledged = self.ledger.acknowledged;
        let pids = server.pids();
        if let [pid] = pids[..]
            && !process::reset_peak(pid)
        {
            self.report.note("the server's peak memory is since its start: it could not be reset".to_owned());
        }
        let sampler = (!pids.is_empty()).then(|| Sampler::start(&pids));
        let each = server.cpu_of_each();
        let (cpu, own, began) = (server.cpu(), process::own_cpu(), Instant::now());
        let (outcomes, result) = drive(&server.authority, loads, viewers, &mut self.ledger);
        let client_cpu = process::own_cpu().saturating_sub(own);
        let wall = began.elapsed();
        let acknowledged = self.ledger.acknowledged - before_acknowledged;
        if let Err(error) = result {
            self.report.broke = Some(error.to_string());
        }
        let mut found = None;
        let (mut last, mut progress) = (before_total, Instant::now());
        while let Some(before) = before_total {
            let asked = Instant::now();
            match server.total() {
                Ok(Some(total)) if total >= before + acknowledged => {
                    found = Some(began.elapsed());
                    break;
                }
                Ok(total) if total != last => (last, progress) = (total, Instant::now()),
                Ok(_) if progress.elapsed() > FOUND_MAX => break,
                Ok(_) => {}
                Err(error) => {
                    self.report.note(format!("it could not be seen whether all was found: {error}"));
                    break;
                }
            }
            std::thread::sleep((asked.elapsed() * LOOK_AGAIN_TIMES).max(LOOK_AGAIN));
        }
        if let (None, Some(before), None) = (found, before_total, &self.report.broke) {
            let missing = (before + acknowledged).saturating_sub(last.unwrap_or(0));
            let late = FOUND_MAX.as_secs();
            self.report.broke = Some(format!(
                "queries do not find {missing} records that were acknowledged, nor any more for {late} s"
            ));
        }
        let samples = sampler.map(Sampler::stop).unwrap_or_default();
        let around = Around {
            server_cpu: server.cpu().zip(cpu).map(|(after, before)| after.saturating_sub(before)),
            cpu_of_each: spent(&each, &server.cpu_of_each()),
            client_cpu,
            wall,
            server_peak: process::peak_memory(&pids, &samples),
            found,
            acknowledged,
            samples,
        };
        Ok((outcomes, around))
    }

    /// Asks the store for all its records.
    fn check(&mut self) {
        match self.server.compare(&self.ledger) {
            Ok(Some(stored)) => self.report.records = Some(Records::new(&self.ledger, &stored)),
            Ok(None) => self
                .report
                .note("this target cannot be asked for its records: sent and acknowledged alone are known".to_owned()),
            Err(error) => {
                let what = format!("the store could not be asked for its records: {error}");
                self.report.broke.get_or_insert(what);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two runs with one tag on one server look as if it had stored everything twice.
    #[test]
    fn no_two_runs_have_a_tag() {
        let tags: std::collections::BTreeSet<u16> = (0..1_000).map(|_| tag()).collect();
        assert_eq!(tags.len(), 1_000);
    }
}
