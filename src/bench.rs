//! `logboom bench`: named loads against a server, what came of them, and how that compares.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use loadgen::compare::compare;
use loadgen::results::{Machine, Run, SCHEMA, commit};
use loadgen::scenario::{self, Options, Scenario};
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
    Report { a: PathBuf, b: PathBuf },
}

#[derive(Debug, Args)]
pub struct LoadOptions {
    /// A server that runs already; without it one is started, with its data below --out
    #[arg(long)]
    pub url: Option<String>,
    /// The process of the server behind --url, on this machine: its CPU and memory are told
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
    /// Put the run's folder into results/ as well
    #[arg(long)]
    pub publish: bool,
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

fn names() -> Vec<&'static str> {
    Scenario::ALL.iter().map(|scenario| scenario.name()).chain([ALL]).collect()
}

pub fn run(bench: &Bench) -> Result<ExitCode, Failure> {
    match &bench.command {
        Some(BenchCommand::List) => {
            for scenario in Scenario::ALL {
                println!("{:<16} {}", scenario.name(), scenario.title());
            }
            Ok(ExitCode::SUCCESS)
        }
        Some(BenchCommand::Report { a, b }) => {
            print!("{}", compare(&Run::read(a)?, &Run::read(b)?));
            Ok(ExitCode::SUCCESS)
        }
        None => measure(bench.scenario.as_deref().unwrap_or(ALL), &bench.load),
    }
}

fn measure(name: &str, load: &LoadOptions) -> Result<ExitCode, Failure> {
    let url = match &load.url {
        Some(url) => Some((Address::parse(url)?.authority, load.pid)),
        None => None,
    };
    if load.rate.is_some_and(|rate| !(rate > 0.0 && rate.is_finite())) {
        return Err("--rate: requests a second, more than 0".into());
    }
    std::fs::create_dir_all(&load.out).map_err(|error| format!("{}: {error}", load.out.display()))?;
    let options = Options {
        url,
        target: Target::by_name(&load.target).ok_or("no such target")?,
        program: std::env::current_exe()?,
        server_arguments: load.server_arguments.clone(),
        out: load.out.clone(),
        records: load.records,
        time: Duration::from_secs(load.seconds),
        warm_up: Duration::from_secs(load.warm_up),
        connections: load.connections.map(|count| count.max(1)),
        rate: load.rate,
        p99_max: Duration::from_millis(load.p99_max),
        seed: load.seed,
        check: !load.no_check,
        ceilings: !load.no_ceilings,
    };
    let mut run = Run {
        schema: SCHEMA,
        date: now()?,
        commit: commit(env!("CARGO_PKG_VERSION")),
        command: command(std::env::args().skip(1)),
        machine: Machine::here(&load.out),
        server: match &load.url {
            Some(url) => format!("{} at {url}", load.target),
            None => format!("`logboom serve {}`, started for each scenario", load.server_arguments.join(" ")),
        },
        reports: Vec::new(),
    };
    let scenarios: Vec<Scenario> =
        Scenario::ALL.iter().copied().filter(|scenario| name == ALL || scenario.name() == name).collect();
    for scenario in scenarios {
        for _ in 0..load.repeat.max(1) {
            let mut report = scenario::run(scenario, &options)?;
            let arguments =
                std::env::args().skip(1).map(|word| if word == ALL { scenario.name().to_owned() } else { word });
            report.command = command(arguments);
            if load.json {
                println!("{}", report.json());
            } else {
                print!("{}", report.text());
            }
            run.reports.push(report);
        }
    }
    let mut folders = vec![load.out.as_path()];
    if load.publish {
        folders.push(Path::new(RESULTS));
    }
    for out in folders {
        let folder = run.write(out)?;
        eprintln!("written to {}", folder.display());
    }
    Ok(if run.reports.iter().all(|report| report.is_sound()) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
