//! The one binary. A line per command; each is a file beside this one.

mod bench;
mod cli;
mod client;
mod config;
mod dead_letters;
mod doctor;
mod generate;
mod migrate;
mod parse;
mod query;
mod serve;
mod tail;
mod upkeep;

use std::process::ExitCode;

use clap::ArgMatches;

use crate::cli::{Cli, Command};
use crate::config::Config;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What ends a command early: one clear sentence, with the mend.
type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let (cli, matches) = cli::parse();
    match run(&cli, &matches) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("logboom: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let settings = || {
        let levels: Vec<&ArgMatches> =
            std::iter::successors(Some(matches), |outer| outer.subcommand().map(|(_, inner)| inner)).collect();
        let config = Config::load(cli.config.file.as_deref(), &levels)?;
        record::format::install(config.settings.patterns.0.clone());
        Ok::<_, config::ConfigError>(config)
    };
    match cli.command.as_ref().unwrap_or(&Command::Serve(cli::Serve::default())) {
        Command::Serve(options) => serve::serve(settings()?, options),
        Command::Engine => serve::engine(settings()?),
        Command::Worker => serve::worker(settings()?),
        Command::Api => serve::sidecar(settings()?),
        Command::Parse(options) => parse::run(options, &settings()?.settings),
        Command::Tail(options) => tail::run(options),
        Command::Query(options) => query::run(options),
        Command::Bench(options) => bench::run(options),
        Command::Generate(options) => generate::run(options),
        Command::Doctor => doctor::run(&settings()?),
        Command::Fsck(options) => upkeep::fsck(&settings()?.settings, options),
        Command::Snapshot(options) => upkeep::snapshot(&settings()?.settings, options),
        Command::Migrate(options) => migrate::run(&settings()?.settings, options),
        Command::DeadLetters(options) => dead_letters::run(&settings()?.settings, options),
        Command::Config(options) => config::print(&settings()?, options),
    }
}

/// Whoever read our output has seen enough: `logboom tail | head`.
fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe) {
            return true;
        }
        cause = error.source();
    }
    false
}
