//! `logboom generate`: logs made up from a seed, into a stream or a growing file.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;
use loadgen::emit::{Amount, Rotating, emit};
use loadgen::generate::{Format, Generator, Oddities, START, Times};

use crate::Failure;

/// Without a rate, `--now` gives records this distance.
const STEP_US: u64 = 1_000;

#[derive(Debug, Args)]
pub struct Generate {
    /// Any that `GET /parse/formats` lists
    #[arg(long, default_value = "json", value_parser = Format::ALL.iter().map(|f| f.name()).collect::<Vec<_>>())]
    pub format: String,
    /// So many lines; without this or --bytes, lines without end
    #[arg(long)]
    pub count: Option<u64>,
    /// So many bytes at the most, whole lines
    #[arg(long)]
    pub bytes: Option<u64>,
    /// Lines a second, instead of as many as can be made
    #[arg(long)]
    pub rate: Option<f64>,
    /// The same seed makes the same lines
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// Records of this moment on, instead of 2026-11-20 on
    #[arg(long)]
    pub now: bool,
    /// Append to this file instead of printing, and rotate it
    #[arg(long, value_name = "FILE")]
    pub follow: Option<PathBuf>,
    /// Rotate that file once it has so many bytes
    #[arg(long, default_value_t = 64 * 1024 * 1024, requires = "follow")]
    pub rotate_bytes: u64,
    /// Keep so many rotated files
    #[arg(long, default_value_t = 4, requires = "follow")]
    pub keep: usize,
    /// Share of records with a stack trace, from 0 to 1 (json, docker_json and logfmt)
    #[arg(long, default_value_t = 0.0)]
    pub traces: f64,
    /// Share of lines that are cut off, from 0 to 1
    #[arg(long, default_value_t = 0.0)]
    pub broken: f64,
}

pub fn run(options: &Generate) -> Result<ExitCode, Failure> {
    let format = Format::by_name(&options.format).ok_or("no such format")?;
    if options.rate.is_some_and(|rate| !(rate > 0.0 && rate.is_finite())) {
        return Err("--rate: lines a second, more than 0".into());
    }
    let step_us = options.rate.map_or(STEP_US, |rate| ((1e6 / rate) as u64).max(1));
    let times = match options.now {
        true => Times { start_us: u64::try_from(SystemTime::UNIX_EPOCH.elapsed()?.as_micros())?, step_us },
        false => START,
    };
    let oddities = Oddities { traces: options.traces, broken: options.broken };
    let mut generator = Generator::new(options.seed, 0).with_times(times).with_oddities(oddities);
    let amount = Amount { lines: options.count, bytes: options.bytes, rate: options.rate };
    match &options.follow {
        Some(path) => {
            let wrong = |error| format!("{}: {error}", path.display());
            let mut file = Rotating::open(path, options.rotate_bytes, options.keep.max(1)).map_err(wrong)?;
            emit(&mut generator, format, amount, &mut file).map_err(wrong)?;
        }
        None => {
            let mut out = std::io::stdout().lock();
            emit(&mut generator, format, amount, &mut out)?;
            out.flush()?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
