//! `logboom parse`: lines in, a JSON record out for each. The parser is the server's own; nothing is stored.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use record::format::{LINE_BYTES_MAX, LineParser, Mode, NotTaken, by_name, registry};
use record::{BatchBuilder, Context, IdSource, Timestamp, Zone};

use crate::Failure;
use crate::cli;

/// Read and written at a time: one system call for a few hundred lines.
const BUFFER_BYTES: usize = 256 * 1024;

pub fn run(options: &cli::Parse) -> Result<ExitCode, Failure> {
    let zone = Zone::parse(&options.timezone)?;
    let mode = match &options.format {
        None => Mode::Auto,
        Some(name) => Mode::Named(by_name(name).ok_or_else(|| unknown_format(name))?),
    };
    let mut parsing = Parsing {
        options,
        zone: &zone,
        mode,
        parser: LineParser::new(),
        batch: BatchBuilder::new(1),
        ids: IdSource::new(|| 0),
        json: Vec::new(),
        out: BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock()),
        rejected: 0,
    };
    if options.files.is_empty() {
        parsing.file("standard input", &mut io::stdin().lock())?;
    }
    for path in &options.files {
        if path.as_os_str() == "-" {
            parsing.file("standard input", &mut io::stdin().lock())?;
            continue;
        }
        let unreadable = |error: io::Error| format!("{} cannot be read: {error}", path.display());
        let file = File::open(path).map_err(unreadable)?;
        parsing.file(&name_of(path), &mut BufReader::with_capacity(BUFFER_BYTES, file))?;
    }
    parsing.finish()
}

fn name_of(path: &Path) -> String {
    path.display().to_string()
}

fn unknown_format(name: &str) -> String {
    let known: Vec<&str> = registry().iter().map(|parser| parser.info().name).collect();
    format!("there is no format `{name}`; there are {}", known.join(", "))
}

struct Parsing<'o> {
    options: &'o cli::Parse,
    zone: &'o Zone,
    mode: Mode<'o>,
    parser: LineParser,
    batch: BatchBuilder,
    ids: IdSource,
    json: Vec<u8>,
    out: BufWriter<io::StdoutLock<'static>>,
    rejected: u64,
}

impl Parsing<'_> {
    fn file(&mut self, name: &str, lines: &mut impl BufRead) -> Result<(), Failure> {
        let mut line = Vec::new();
        let mut number = 0_u64;
        loop {
            line.clear();
            // A line feed and one byte more than is allowed tell that a line is too long, without holding all of it.
            let room = LINE_BYTES_MAX as u64 + 2;
            let count = lines.by_ref().take(room).read_until(b'\n', &mut line);
            if count.map_err(|error| format!("{name} cannot be read: {error}"))? == 0 {
                break;
            }
            number += 1;
            let ended = line.last() == Some(&b'\n');
            if ended {
                line.pop();
            } else if line.len() as u64 == room {
                skip_line(lines).map_err(|error| format!("{name} cannot be read: {error}"))?;
            }
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            if !line.iter().all(u8::is_ascii_whitespace) {
                self.line(name, number, &line)?;
            }
        }
        Ok(self.out.flush()?)
    }

    fn line(&mut self, name: &str, number: u64, line: &[u8]) -> Result<(), Failure> {
        let context = Context {
            source: &self.options.source,
            application: &self.options.application,
            unwrap: !self.options.no_unwrap,
            ..Context::new(now(), self.zone)
        };
        self.batch.clear();
        let pushed = self.parser.push_line(line, self.mode, &context, &mut self.ids, &mut self.batch);
        match pushed {
            Ok(_) => {
                self.json.clear();
                for row in record::Rows::new(self.batch.body()) {
                    // Without its id: nothing is stored, so there is none to ask for.
                    self.json.push(b'{');
                    row.write_json_members(&mut self.json);
                    self.json.extend_from_slice(b"}\n");
                }
                self.out.write_all(&self.json)?;
            }
            Err(NotTaken::Reject(reject)) => {
                self.rejected += 1;
                eprintln!("logboom: {name}, line {number}: {}", reject.message);
            }
            // An empty batch takes any record that is not refused.
            Err(NotTaken::Full) => {}
        }
        Ok(())
    }

    fn finish(mut self) -> Result<ExitCode, Failure> {
        self.out.flush()?;
        Ok(if self.rejected == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Reads on to the next line feed, holding nothing.
fn skip_line(lines: &mut impl BufRead) -> io::Result<()> {
    loop {
        let piece = lines.fill_buf()?;
        let feed = piece.iter().position(|byte| *byte == b'\n');
        let length = feed.map_or(piece.len(), |feed| feed + 1);
        let ended = feed.is_some() || piece.is_empty();
        lines.consume(length);
        if ended {
            return Ok(());
        }
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::clamped(since.as_micros() as i64)
}
