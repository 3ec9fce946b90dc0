//! `logboom parse`: lines in, a JSON record out for each. The parser is the server's own; nothing is stored.
//!
//! | file | bytes become |
//! |---|---|
//! | [`input`] | what a file holds, once it is decompressed |
//! | [`cut`] | chunks: whole lines, or records of several lines |
//! | [`parallel`] | records as JSON, chunk by chunk on all cores, written in the order of the lines |
//! | [`tally`] | the counts of `--stats` |
//!
//! A chunk is what one read gives, so that a pipe that trickles is answered line by line and a large file is cut into
//! large pieces. What waits: the reader, for a worker, once [`parallel::CHUNKS_PER_THREAD_MAX`] chunks are under way.

mod cut;
mod input;
mod parallel;
mod tally;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use record::Zone;
use record::format::{self, Mode, Multiline, Parser, Pattern};

use self::cut::Cutter;
use self::input::Input;
use self::parallel::Send;
use crate::Failure;
use crate::cli;
use crate::config::Settings;

/// What every line is parsed by.
pub struct Rules {
    format: LineFormat,
    zone: Zone,
    unwrap: bool,
    source: String,
    application: String,
}

enum LineFormat {
    Detected,
    Known(&'static dyn Parser),
    Pattern(Pattern),
}

impl Rules {
    fn read(options: &cli::Parse, settings: &Settings) -> Result<Rules, Failure> {
        let format = match (&options.format, &options.pattern) {
            (Some(name), _) if name != "auto" => LineFormat::Known(known(name)?),
            (None, Some(expression)) => LineFormat::Pattern(
                Pattern::new(expression, options.time_format.as_deref())
                    .map_err(|error| format!("--pattern: {error}"))?,
            ),
            _ => LineFormat::Detected,
        };
        let zone = options.timezone.as_deref().map(Zone::parse).transpose()?;
        Ok(Rules {
            format,
            zone: zone.unwrap_or_else(|| settings.engine.timezone.clone()),
            unwrap: settings.engine.unwrap && !options.no_unwrap,
            source: options.source.clone(),
            application: options.application.clone(),
        })
    }

    fn mode(&self) -> Mode<'_> {
        match &self.format {
            LineFormat::Detected => Mode::Auto,
            LineFormat::Known(parser) => Mode::Named(*parser),
            LineFormat::Pattern(pattern) => Mode::Named(pattern),
        }
    }
}

fn known(name: &str) -> Result<&'static dyn Parser, String> {
    format::by_name(name).ok_or_else(|| {
        let names = |parsers: &[&'static dyn Parser]| {
            parsers.iter().map(|parser| parser.info().name).collect::<Vec<_>>().join(", ")
        };
        let patterns: Vec<_> = format::patterns().iter().map(|pattern| pattern.info.name).collect();
        let mut message = format!(
            "there is no format `{name}`; there are auto, {}; the patterns {}",
            names(format::registry()),
            patterns.join(", "),
        );
        if !format::installed().is_empty() {
            message.push_str(&format!("; and of the settings {}", names(format::installed())));
        }
        message
    })
}

pub fn run(options: &cli::Parse, settings: &Settings) -> Result<ExitCode, Failure> {
    let began = Instant::now();
    let rules = Rules::read(options, settings)?;
    let multiline = options.multiline.as_deref().map(Multiline::parse).transpose();
    let multiline = multiline.map_err(|error| format!("--multiline: {error}"))?;
    let (read, tally) = parallel::run(&rules, |send| {
        if options.files.is_empty() {
            return read_all(Input::stdin()?, multiline.clone(), send);
        }
        options.files.iter().try_for_each(|path| read_all(Input::open(path)?, multiline.clone(), send))
    })?;
    if options.stats {
        eprint!("{}", tally.report(began.elapsed()));
    }
    read?;
    Ok(if tally.rejected == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Reads a file to its end.
fn read_all(mut input: Input, multiline: Option<Multiline>, send: &mut Send) -> Result<(), Failure> {
    let name: Arc<str> = input.name().into();
    let mut cutter = Cutter::new(multiline);
    loop {
        if cutter.has_open_record() && input.is_idle() {
            send(&name, cutter.close_record())?;
        }
        let count = input.read(cutter.room()).map_err(|error| format!("{name} cannot be read: {error}"))?;
        let chunk = if count == 0 { cutter.end() } else { cutter.took(count) };
        send(&name, chunk)?;
        if count == 0 {
            return Ok(());
        }
    }
}
