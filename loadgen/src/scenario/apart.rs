//! `apart`: engine, worker and API as processes of their own, on a Redis and a Postgres.
//!
//! First a stream is filled while no worker is there, and a worker started: how fast it stores all of it, beside two
//! `\copy` of as many such rows. Then everything at once, until the last row is found. Then single records into Redis, with
//! nobody who stores them on the same cores. A worker takes what is left, and the store is asked for all records.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{LOOK_AGAIN, Options, Run, Scenario, ScenarioError, spent, tag};
use crate::ceiling::servers::{self, Redis};
use crate::counter::Counter;
use crate::drive::{Load, Outcome, Pace, Until};
use crate::ledger::Ledger;
use crate::peers::process::{Folder, Running, free_port, listens};
use crate::report::{Around, Phase, Report};
use crate::server::{Process, Server, ServerError};
use crate::target::Target;

const CONNECTIONS: usize = 8;
const RECORDS: u64 = 2_000_000;
const WORKERS: &str = "2";
const EMPTY_MAX: Duration = Duration::from_secs(300);
/// What is meant by "engine and worker": Logboom's own share.
const OWN: [&str; 2] = ["engine", "worker"];

pub fn run(options: &Options) -> Result<Report, ScenarioError> {
    let (Some(redis_url), Some(db_url)) = (&options.backends.redis_url, &options.backends.db_url) else {
        return Err(ScenarioError::Unfit(
            "`apart` is about a Redis and a Postgres: --servers starts them, --redis-url and --db-url name them"
                .to_owned(),
        ));
    };
    let report = Report::new(Scenario::Apart.name(), Scenario::Apart.title());
    let parts = Parts::start(options)?;
    let mut apart = Apart { options, redis_url, db_url, parts, ledger: Ledger::new(tag()), report };
    if let Err(error) = apart.measure() {
        apart.report.broke.get_or_insert(error.to_string());
    }
    Ok(apart.report)
}

struct Apart<'a> {
    options: &'a Options,
    redis_url: &'a str,
    db_url: &'a str,
    parts: Parts<'a>,
    ledger: Ledger,
    report: Report,
}

impl Apart<'_> {
    fn measure(&mut self) -> Result<(), ScenarioError> {
        // Into an empty table: so is what it is compared with.
        let copy = self.fill()?;
        self.drain(copy)?;

        self.stage(true, |run| run.batch())?;
        let phase = self.report.phases.last();
        let of_each = phase.into_iter().flat_map(|phase| &phase.cpu_of_each);
        let own: f64 = of_each.filter(|(name, _)| OWN.contains(&name.as_str())).map(|(_, cpu)| cpu).sum();
        self.report.note(format!("engine and worker together, from request to row: {own:.2} CPU s a million"));
        self.parts.worker = None;

        // What Postgres tidies up by itself after so many rows is none of Redis' business.
        servers::settle(self.db_url);
        let fast = Target::Logboom.fast();
        self.stage(false, |run| run.single(fast))?;
        self.parts.start_worker()?;
        self.until_empty()?;
        if self.options.check {
            self.stage(false, |run| {
                run.check();
                Ok(())
            })?;
        }
        Ok(())
    }

    /// With the processes that there are now.
    fn stage<T>(
        &mut self,
        waits: bool,
        work: impl FnOnce(&mut Run) -> Result<T, ScenarioError>,
    ) -> Result<T, ScenarioError> {
        let server = self.parts.server();
        let ledger = std::mem::replace(&mut self.ledger, Ledger::new(0));
        let report = std::mem::replace(&mut self.report, Report::new("", ""));
        let mut run = Run { server: &server, options: self.options, ledger, report, waits };
        let result = work(&mut run);
        let Run { ledger, report, .. } = run;
        (self.ledger, self.report) = (ledger, report);
        result
    }

    /// Gives the rate of two `\copy` of as many such rows.
    fn fill(&mut self) -> Result<Option<f64>, ScenarioError> {
        let (db_url, options) = (self.db_url, self.options);
        self.stage(false, |run| {
            let connections = options.connections.unwrap_or(CONNECTIONS);
            let records = options.records.unwrap_or(RECORDS);
            let mut prepared = run.batches(connections);
            let answers = run.server.target.batch().answers;
            let load = Load::new(&mut prepared, connections, Pace::Closed, Until::Records(records)).answered(answers);
            let (outcomes, around) = run.measured(&mut [load], &mut [])?;
            run.report.phases.push(Phase::new(
                "a stream is filled, no worker",
                connections,
                None,
                &outcomes[0],
                &around,
            ));
            if !options.ceilings {
                return Ok(None);
            }
            let bodies: Vec<&[u8]> = prepared.bodies().collect();
            match servers::copy_alike(db_url, &bodies, records as usize, &options.out) {
                Ok(rate) => Ok(Some(rate)),
                Err(error) => {
                    run.report
                        .note(format!("what Postgres takes at most into tables of this kind is not known: {error}"));
                    Ok(None)
                }
            }
        })
    }

    fn drain(&mut self, copy: Option<f64>) -> Result<(), ScenarioError> {
        let acknowledged = self.report.phases.last().map_or(0, |phase| phase.records);
        servers::settle(self.db_url);
        let before = self.parts.server().cpu_of_each();
        let began = Instant::now();
        self.parts.start_worker()?;
        self.until_empty()?;
        let time = began.elapsed();
        let cpu_of_each = spent(&before, &self.parts.server().cpu_of_each());
        let outcome = Outcome { records: acknowledged, ..Outcome::of_nothing(time) };
        let around = Around {
            server_cpu: Some(cpu_of_each.iter().map(|(_, cpu)| *cpu).sum()),
            cpu_of_each,
            wall: time,
            acknowledged,
            ..Around::default()
        };
        let name = format!("the full stream is drained: `worker --workers {WORKERS}`, its start included");
        let mut phase = Phase::new(&name, 0, None, &outcome, &around);
        let share = |rate| {
            (
                "two \\copy of as many such rows into an empty table with the same indexes".to_owned(),
                phase.per_second / rate,
            )
        };
        phase.shares = copy.map(share).into_iter().collect();
        self.report.phases.push(phase);
        Ok(())
    }

    fn until_empty(&self) -> Result<(), ScenarioError> {
        let wrong = |source| ScenarioError::Server(ServerError::Ask { authority: self.redis_url.to_owned(), source });
        let mut redis = Redis::connect(self.redis_url).map_err(wrong)?;
        let began = Instant::now();
        loop {
            let waiting = redis.entries().map_err(wrong)?;
            if waiting == 0 {
                return Ok(());
            }
            if began.elapsed() > EMPTY_MAX {
                return Err(ScenarioError::Unfit(format!(
                    "after {} s Redis still held {waiting} batches",
                    EMPTY_MAX.as_secs()
                )));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

/// The processes. They end in this order: a worker that stops stores what it holds.
struct Parts<'a> {
    engine: Running,
    worker: Option<Running>,
    api: Running,
    folder: Folder,
    options: &'a Options,
    authority: String,
}

impl<'a> Parts<'a> {
    fn start(options: &'a Options) -> Result<Parts<'a>, ScenarioError> {
        let folder = Folder(options.out.join(format!("apart-{}", std::process::id())));
        std::fs::create_dir_all(&folder.0)
            .map_err(|source| ScenarioError::Folder { path: folder.0.clone(), source })?;
        let (for_api, for_engine) =
            (free_port().map_err(ScenarioError::Unfit)?, free_port().map_err(ScenarioError::Unfit)?);
        let (beside, authority) = (format!("127.0.0.1:{for_api}"), format!("127.0.0.1:{for_engine}"));
        let api = start("api", &["--api-listen", &beside], options, &folder.0, || listens(for_api))?;
        let flags = ["--listen", &authority, "--api-upstream", &beside];
        let engine = start("engine", &flags, options, &folder.0, || listens(for_engine))?;
        let parts = Parts { engine, worker: None, api, folder, options, authority };
        parts.server().uses(&options.backends)?;
        Ok(parts)
    }

    fn start_worker(&mut self) -> Result<(), ScenarioError> {
        let worker = start("worker", &["--workers", WORKERS], self.options, &self.folder.0, || true)?;
        self.worker = Some(worker);
        Ok(())
    }

    fn server(&self) -> Server {
        let own = [("engine", Some(&self.engine)), ("worker", self.worker.as_ref()), ("api", Some(&self.api))];
        let own = own.into_iter().filter_map(|(name, running)| Some(Process { name, pid: running?.pid() }));
        let processes = own.chain(self.options.backends.processes.iter().copied()).collect();
        Server::with(self.authority.clone(), processes, Target::Logboom, Counter::Target(Target::Logboom))
    }
}

/// One of the program's commands, its data in a folder of its own.
fn start(
    name: &str,
    flags: &[&str],
    options: &Options,
    folder: &Path,
    is_there: impl FnMut() -> bool,
) -> Result<Running, ScenarioError> {
    let mut command: Command = options.backends.command(&options.program);
    command.arg(name).arg("--data-dir").arg(std::path::absolute(folder.join(name)).unwrap_or_default());
    command.args(flags).args(&options.server_arguments);
    let wrong = |error| ScenarioError::Unfit(format!("logboom {name}: {error}"));
    let mut running = Running::start(&mut command, &folder.join(format!("{name}.log"))).map_err(wrong)?;
    running.wait_until(is_there).map_err(wrong)?;
    Ok(running)
}
