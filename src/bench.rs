//! `logboom bench`: named loads against a server, what came of them, and how that compares.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use loadgen::compare::compare;
use loadgen::figures;
use loadgen::peers;
use loadgen::peers::install::Tools;
use loadgen::peers::process::{Postgres, Redis};
use loadgen::report::Report;
use loadgen::results::{Machine, Run, SCHEMA, commit};
use loadgen::scenario::{self, Options, Scenario};
use loadgen::server::{Backends, Process};
use loadgen::target::Target;

use crate::Failure;
use crate::client::Address;

/// Where runs are kept that the project stands by.
const RESULTS: &str = "results";

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Bench {
    #[command(subcommand)]
    pub command: Option<BenchCommand>,
    /// What is measured: one of the scenarios that `bench list` tells of, or all
    #[arg(required = true, value_parser = names())]
    pub scenario: Option<String>,
    #[command(flatten)]
    pub load: LoadOptions,
}

#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// The scenarios, and what each measures
    List,
    /// Two runs side by side: their folders, or their run.json
    Report {
        #[arg(required_unless_present = "readme")]
        a: Option<PathBuf>,
        #[arg(required_unless_present = "readme")]
        b: Option<PathBuf>,
        /// Write the figures of the newest runs in results/ into the documents that show them
        #[arg(long, conflicts_with_all = ["a", "b"])]
        readme: bool,
    },
}

#[derive(Debug, Args)]
pub struct LoadOptions {
    /// A server that runs already; without it one is started, with its data below --out
    #[arg(long)]
    pub url: Option<String>,
    /// The process of the server behind --url, on this machine: its CPU and memory are told, with those of its children
    #[arg(long, requires = "url")]
    pub pid: Option<u32>,
    /// What kind of server is behind --url
    #[arg(long, default_value = "logboom", requires = "url", value_parser = Target::ALL.iter().map(|(name, _)| *name).collect::<Vec<_>>())]
    pub target: String,
    /// Records to send, where the scenario sends a number of them
    #[arg(long)]
    pub records: Option<u64>,
    /// How long each phase lasts, where the scenario goes by time
    #[arg(long, default_value_t = 10)]
    pub seconds: u64,
    /// Seconds before that which do not count
    #[arg(long, default_value_t = 1)]
    pub warm_up: u64,
    /// Connections, instead of the scenario's own number
    #[arg(long)]
    pub connections: Option<usize>,
    /// Single requests that a connection sends at once, before it waits for their answers
    #[arg(long, default_value_t = 1)]
    pub pipeline: usize,
    /// Requests a second, whatever the answers do, instead of the scenario's own pace
    #[arg(long)]
    pub rate: Option<f64>,
    /// What `saturate` keeps p99 under, in ms
    #[arg(long, default_value_t = 20)]
    pub p99_max: u64,
    /// What the generated logs are drawn from
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// Run each scenario so often, so that a report can tell a change from noise
    #[arg(long, default_value_t = 1)]
    pub repeat: usize,
    /// Where the run's folder goes, and the server's data meanwhile
    #[arg(long, default_value = "target/bench")]
    pub out: PathBuf,
    /// Put the run's folder into results/ as well; with `all` alone, as the documents follow the newest of these
    #[arg(long)]
    pub publish: bool,
    /// The Redis that the server that is started uses as its queue
    #[arg(long, value_name = "URL", conflicts_with = "url")]
    pub redis_url: Option<String>,
    /// The Postgres that it uses as its store; give it a database of its own, as scenarios leave their records there
    #[arg(long, value_name = "URL", conflicts_with = "url")]
    pub db_url: Option<String>,
    /// Start a Redis and a Postgres for each scenario, and count what they use as the server's
    #[arg(long, conflicts_with_all = ["url", "redis_url", "db_url"])]
    pub servers: bool,
    /// With `all`: run the peers as well
    #[arg(long)]
    pub peers: bool,
    /// For the peers: fetch what this machine lacks into target/peers
    #[arg(long)]
    pub install: bool,
    /// For the peers: only these
    #[arg(long, value_delimiter = ',', value_parser = peers::NAMES)]
    pub only: Vec<String>,
    /// The figures as JSON
    #[arg(long)]
    pub json: bool,
    /// Do not ask the store at the end which records it has
    #[arg(long)]
    pub no_check: bool,
    /// Do not measure what the machine can do at most
    #[arg(long)]
    pub no_ceilings: bool,
    /// A further argument of the server that is started, as --server-arg=--shards=2
    #[arg(long = "server-arg", conflicts_with = "url", allow_hyphen_values = true)]
    pub server_arguments: Vec<String>,
}

/// All of them, by one word.
const ALL: &str = "all";
/// Others than Logboom.
const PEERS: &str = "peers";
/// What a run on these is called.
const SERVERS: &str = "redis and postgres";
/// Where what they need is put.
const TOOLS: &str = "target/peers";

fn names() -> Vec<&'static str> {
    Scenario::ALL.iter().map(|scenario| scenario.name()).chain([ALL, PEERS]).collect()
}

pub fn run(bench: &Bench) -> Result<ExitCode, Failure> {
    match &bench.command {
        Some(BenchCommand::List) => {
            for scenario in Scenario::ALL {
                println!("{:<16} {}", scenario.name(), scenario.title());
            }
            println!("{PEERS:<16} The same load against other log systems, as far as this machine has them");
            Ok(ExitCode::SUCCESS)
        }
        Some(BenchCommand::Report { a: Some(a), b: Some(b), .. }) => {
            print!("{}", compare(&Run::read(a)?, &Run::read(b)?));
            Ok(ExitCode::SUCCESS)
        }
        Some(BenchCommand::Report { .. }) => {
            for path in figures::rewrite(Path::new("."))? {
                eprintln!("figures written to {}", path.display());
            }
            Ok(ExitCode::SUCCESS)
        }
        None => measure(bench.scenario.as_deref().unwrap_or(ALL), &bench.load),
    }
}

fn measure(name: &str, load: &LoadOptions) -> Result<ExitCode, Failure> {
    let target = Target::by_name(&load.target).ok_or("no such target")?;
    let (url, path) = match &load.url {
        Some(url) => {
            let (authority, path) = place(url, target)?;
            (Some((authority, load.pid)), path)
        }
        None => (None, None),
    };
    if load.rate.is_some_and(|rate| !(rate > 0.0 && rate.is_finite())) {
        return Err("--rate: requests a second, more than 0".into());
    }
    if load.publish && name != ALL {
        return Err("--publish goes with `bench all`: what results/ shows is a whole run; --out takes this one".into());
    }
    std::fs::create_dir_all(&load.out).map_err(|error| format!("{}: {error}", load.out.display()))?;
    let mut options = Options {
        url,
        target,
        path,
        program: std::env::current_exe()?,
        server_arguments: load.server_arguments.clone(),
        backends: Backends { redis_url: load.redis_url.clone(), db_url: load.db_url.clone(), ..Backends::default() },
        out: load.out.clone(),
        records: load.records,
        time: Duration::from_secs(load.seconds),
        warm_up: Duration::from_secs(load.warm_up),
        connections: load.connections.map(|count| count.max(1)),
        pipeline: load.pipeline.max(1),
        rate: load.rate,
        p99_max: Duration::from_millis(load.p99_max),
        seed: load.seed,
        check: !load.no_check,
        ceilings: !load.no_ceilings,
    };
    let tools = Tools { folder: TOOLS.into(), install: load.install };
    let mut run = Run {
        schema: SCHEMA,
        date: now()?,
        commit: commit(env!("CARGO_PKG_VERSION")),
        command: command(std::env::args().skip(1)),
        machine: Machine::here(&load.out),
        server: match &load.url {
            Some(url) => format!("{} at {url}", load.target),
            None => format!(
                "`{}`, started for each scenario",
                ["logboom serve", &load.server_arguments.join(" ")].join(" ").trim()
            ),
        },
        store: if load.servers { SERVERS.to_owned() } else { options.backends.name().to_owned() },
        complete: false,
        reports: Vec::new(),
        peers: None,
    };
    let has_servers = load.servers || (load.redis_url.is_some() && load.db_url.is_some());
    let scenarios: Vec<Scenario> = Scenario::ALL
        .iter()
        .copied()
        .filter(|scenario| name == ALL || scenario.name() == name)
        .filter(|scenario| name != ALL || (scenario.fits(target) && (has_servers || !scenario.needs_servers())))
        .collect();
    if let Some(unfit) = scenarios.iter().find(|scenario| !scenario.fits(target)) {
        return Err(format!("`{}` asks for what {} does not have", unfit.name(), load.target).into());
    }
    let mut writes = true;
    for scenario in scenarios {
        for _ in 0..load.repeat.max(1) {
            // Fresh ones: what a scenario finds in its store is its own.
            let beside = match load.servers {
                true => Some((Redis::start(&tools)?, Postgres::start(&tools)?)),
                false => None,
            };
            if let Some((redis, postgres)) = &beside {
                options.backends = Backends {
                    redis_url: Some(redis.url.clone()),
                    db_url: Some(postgres.url.clone()),
                    processes: vec![
                        Process { name: "redis", pid: redis.pid() },
                        Process { name: "postgres", pid: postgres.pid() },
                    ],
                    psql: Some(postgres.psql.clone()),
                };
            }
            let mut report = scenario::run(scenario, &options).unwrap_or_else(|error| {
                let mut report = Report::new(scenario.name(), scenario.title());
                report.broke = Some(error.to_string());
                report
            });
            let arguments = std::env::args().skip(1).filter(|word| !["--publish", "--peers"].contains(&word.as_str()));
            report.command = command(arguments.map(|word| if word == ALL { scenario.name().to_owned() } else { word }));
            if load.json {
                println!("{}", report.json());
            } else {
                print!("{}", report.text());
            }
            run.reports.push(report);
            // What there is by then is kept, whatever becomes of the rest.
            writes &= keep(&run, &load.out);
        }
    }
    if name == PEERS || load.peers {
        // Those of the scenarios are gone by now.
        options.backends =
            Backends { redis_url: load.redis_url.clone(), db_url: load.db_url.clone(), ..Backends::default() };
        let mut peers = peers::run(&tools, &options, &load.only, |line| eprintln!("{line}"));
        let arguments = std::env::args().skip(1).filter(|word| !["--publish", "--peers"].contains(&word.as_str()));
        peers.command = command(arguments.map(|word| if word == ALL { PEERS.to_owned() } else { word }));
        if load.json {
            println!("{}", sonic_rs::to_string_pretty(&peers)?);
        } else {
            print!("{}", peers.markdown());
        }
        run.peers = Some(peers);
    }
    run.complete = true;
    let mut folders = vec![load.out.as_path()];
    if load.publish {
        folders.push(Path::new(RESULTS));
    }
    for out in folders {
        match run.write(out) {
            Ok(folder) => eprintln!("written to {}", folder.display()),
            Err(error) => {
                writes = false;
                eprintln!("the results cannot be kept: {error}; all of them as JSON:");
                println!("{}", sonic_rs::to_string_pretty(&run)?);
            }
        }
    }
    let sound = run.reports.iter().all(Report::is_sound);
    Ok(if sound && writes { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Writes what there is; a disk without room must not cost the rest of the run.
fn keep(run: &Run, out: &Path) -> bool {
    match run.write(out) {
        Ok(_) => true,
        Err(error) => {
            eprintln!("what was measured so far cannot be kept: {error}; the run goes on");
            false
        }
    }
}

/// Host and port of a server, and the path of a sink.
fn place(url: &str, target: Target) -> Result<(String, Option<String>), Failure> {
    let rest = match (url.split_once("://"), target) {
        (Some(("tcp" | "syslog", rest)), Target::Syslog(_)) => rest,
        _ => url,
    };
    let path = rest.split_once("://").map_or(rest, |(_, rest)| rest).find('/').map(|_| {
        let after = rest.split_once("://").map_or(rest, |(_, rest)| rest);
        format!("/{}", after.split_once('/').map_or("", |(_, path)| path))
    });
    Ok((Address::parse(rest)?.authority, path.filter(|path| path != "/")))
}

/// What repeats the run.
fn command(arguments: impl Iterator<Item = String>) -> String {
    let words = arguments.map(|word| match word.contains(|c: char| c.is_whitespace() || "'\"$&|;<>*?".contains(c)) {
        true => format!("'{}'", word.replace('\'', "'\\''")),
        false => word,
    });
    std::iter::once("logboom".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

/// RFC 3339, whole seconds.
fn now() -> Result<String, Failure> {
    let seconds = i64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_secs())?;
    let mut text = Vec::new();
    let time = record::Timestamp::from_micros(seconds * 1_000_000).ok_or("the clock is beyond the year 9999")?;
    time.write_rfc3339(&mut text);
    let text = String::from_utf8_lossy(&text).into_owned();
    Ok(format!("{}Z", text.get(..19).unwrap_or(&text)))
}
