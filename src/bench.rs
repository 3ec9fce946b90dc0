//! `logboom bench`: a named load against a server, and what came of it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use loadgen::scenario::{self, Options, Scenario};

use crate::Failure;
use crate::client::Address;

#[derive(Debug, Args)]
pub struct Bench {
    /// What is measured
    pub scenario: Named,
    /// A server that runs already; without it one is started, with its data below --out
    #[arg(long)]
    pub url: Option<String>,
    /// The process of the server behind --url, on this machine: its CPU and memory are told
    #[arg(long, requires = "url")]
    pub pid: Option<u32>,
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
    /// Requests a second, whatever the answers do; default: three quarters of what the closed loop reached
    #[arg(long)]
    pub rate: Option<f64>,
    /// What the generated logs are drawn from
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// Where the server's data is meanwhile
    #[arg(long, default_value = "target/bench")]
    pub out: PathBuf,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Named {
    /// 1 MiB of NDJSON a request, until queries find all of it
    Batch,
    /// One record a request into the queue
    Fast,
    /// One record a request into the store
    Direct,
    /// How long after it was posted a live tail shows a record
    TailLatency,
    /// What 20 live tails cost ingestion
    Viewers,
    /// All of these, one after another
    All,
}

impl Named {
    fn scenarios(self) -> &'static [Scenario] {
        match self {
            Named::Batch => &[Scenario::Batch],
            Named::Fast => &[Scenario::Fast],
            Named::Direct => &[Scenario::Direct],
            Named::TailLatency => &[Scenario::TailLatency],
            Named::Viewers => &[Scenario::Viewers],
            Named::All => {
                &[Scenario::Batch, Scenario::Fast, Scenario::Direct, Scenario::TailLatency, Scenario::Viewers]
            }
        }
    }
}

pub fn run(bench: &Bench) -> Result<ExitCode, Failure> {
    let url = match &bench.url {
        Some(url) => Some((Address::parse(url)?.authority, bench.pid)),
        None => None,
    };
    let options = Options {
        url,
        program: std::env::current_exe()?,
        server_arguments: bench.server_arguments.clone(),
        out: bench.out.clone(),
        records: bench.records,
        time: Duration::from_secs(bench.seconds),
        warm_up: Duration::from_secs(bench.warm_up),
        connections: bench.connections,
        rate: bench.rate,
        seed: bench.seed,
        check: !bench.no_check,
        ceilings: !bench.no_ceilings,
    };
    let mut sound = true;
    for &scenario in bench.scenario.scenarios() {
        let report = scenario::run(scenario, &options)?;
        sound &= report.is_sound();
        if bench.json {
            println!("{}", report.json());
        } else {
            print!("{}", report.text());
        }
    }
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
