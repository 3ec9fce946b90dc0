//! From a line to a row: finds its format, or holds it to one, opens a log wrapped in it, and encodes it.
//!
//! Comes in: one line, or one JSON value of a body. Goes out: a row in the open batch, or why there is none. A
//! [`LineParser`] belongs to one connection or request and keeps its scratch memory from line to line, so that once warm
//! nothing is allocated per record.

use super::detect::Detector;
use super::wrapped::Wrapped;
use super::{Malformed, Parser, json};
use crate::batch::{BatchBuilder, PushError, Pushed};
use crate::fields::{Context, Fields};
use crate::id::IdSource;
use crate::meta::Meta;
use crate::row::Rows;
use crate::text::push_lossy;

/// A longer line is refused: it would be a megabyte of text that nobody reads, and its record must fit into
/// [`crate::row::RECORD_BYTES_MAX`] once encoded.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;

/// How a line's format is found.
#[derive(Clone, Copy)]
pub enum Mode<'p> {
    /// It is JSON, and what is broken is refused.
    Json,
    /// It is detected; what fits nothing is plain text.
    Auto,
    /// It is this, and what does not fit is refused.
    Named(&'p dyn Parser),
}

/// A line that became a row.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    pub pushed: Pushed,
    pub format: &'static str,
}

/// A line that did not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// The batch is full: seal it and push the line again.
    Full,
    Reject(Reject),
}

/// Why a line is refused, in the words of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    pub code: &'static str,
    pub message: String,
    /// Where in the line or value, from 1; the column in bytes.
    pub line: Option<usize>,
    pub column: Option<usize>,
}

impl Reject {
    fn malformed(error: &Malformed, line: &[u8]) -> Reject {
        let before = &line[..(error.column - 1).min(line.len())];
        let message = match error.code {
            "format_mismatch" => error.to_string(),
            "malformed_json" => format!("malformed JSON: {}", error.reason),
            code => format!("{}: {}", code.replace('_', " "), error.reason),
        };
        let column = match memchr::memrchr(b'\n', before) {
            Some(feed) => before.len() - feed,
            None => error.column,
        };
        Reject {
            code: error.code,
            message,
            line: Some(1 + memchr::memchr_iter(b'\n', before).count()),
            column: Some(column),
        }
    }

    fn too_long(line: &[u8]) -> Reject {
        Reject {
            code: "line_too_long",
            message: format!("the line is {} bytes long, and line_bytes_max is {LINE_BYTES_MAX}", line.len()),
            line: None,
            column: None,
        }
    }

    fn too_large(error: PushError) -> Reject {
        Reject { code: "record_too_large", message: error.to_string(), line: None, column: None }
    }
}

/// A record that was parsed and not stored.
#[derive(Clone, Debug)]
pub struct Parsed {
    pub format: &'static str,
    /// The record's members as JSON text, without braces and id.
    pub members: Vec<u8>,
}

/// The scratch memory of one connection or request, and what it has learnt of its lines.
#[derive(Default)]
pub struct LineParser {
    meta: Meta,
    /// A line that was not UTF-8, repaired.
    repaired: String,
    wrapped: Wrapped,
    detector: Detector,
}

impl LineParser {
    pub fn new() -> LineParser {
        LineParser::default()
    }

    /// A parser that also tries these on lines that fit no format of the registry.
    pub fn with_patterns(patterns: &'static [&'static dyn Parser]) -> LineParser {
        LineParser { detector: Detector::with_patterns(patterns), ..LineParser::default() }
    }

    /// Parses one line (without its line feed) or one JSON value, and appends its record to the batch.
    pub fn push_line(
        &mut self,
        line: &[u8],
        mode: Mode,
        context: &Context,
        ids: &mut IdSource,
        builder: &mut BatchBuilder,
    ) -> Result<Taken, NotTaken> {
        if line.len() > LINE_BYTES_MAX {
            return Err(NotTaken::Reject(Reject::too_long(line)));
        }
        let line = trimmed(line, mode);
        let LineParser { meta, repaired, wrapped, detector } = self;
        let mut fields = Fields::with(std::mem::take(meta));
        if !matches!(mode, Mode::Json) && line.first() != Some(&b'{') {
            fields.look_at(line);
        }
        let found = match find(line, mode, detector, context, &mut fields) {
            Err(error) if error.reason == json::NOT_UTF8 => {
                repaired.clear();
                push_lossy(line, repaired);
                fields = Fields::with(fields.meta);
                let found = find(repaired.as_bytes(), mode, detector, context, &mut fields);
                fields.meta.mark_repaired();
                found.map_err(|error| Reject::malformed(&error, repaired.as_bytes()))
            }
            found => found.map_err(|error| Reject::malformed(&error, line)),
        };
        let taken = found.map_err(NotTaken::Reject).and_then(|format| {
            if context.unwrap {
                wrapped.open(format, context, &mut fields, |fields| push(fields, format, context, ids, builder))
            } else {
                push(&fields, format, context, ids, builder)
            }
        });
        *meta = fields.meta;
        taken
    }
}

fn push(
    fields: &Fields,
    format: &'static str,
    context: &Context,
    ids: &mut IdSource,
    builder: &mut BatchBuilder,
) -> Result<Taken, NotTaken> {
    match builder.push(fields, context, ids) {
        Ok(pushed) => Ok(Taken { pushed, format }),
        Err(PushError::Full) => Err(NotTaken::Full),
        Err(error) => Err(NotTaken::Reject(Reject::too_large(error))),
    }
}

/// The line without a byte order mark, and, where it is no JSON value, without the end of line that a sender left on it.
fn trimmed<'a>(line: &'a [u8], mode: Mode) -> &'a [u8] {
    let mut line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
    if !matches!(mode, Mode::Json) {
        while let [rest @ .., b'\n' | b'\r'] = line {
            line = rest;
        }
    }
    line
}

/// Reads the line in the given mode; the name of its format.
fn find<'a>(
    line: &'a [u8],
    mode: Mode,
    detector: &mut Detector,
    context: &Context,
    out: &mut Fields<'a>,
) -> Result<&'static str, Malformed> {
    match mode {
        Mode::Json => json::Json.parse(line, context, out).map(|()| json::INFO.name),
        Mode::Named(parser) => parser.parse(line, context, out).map(|()| parser.info().name),
        Mode::Auto => detector.detect(line, context, out),
    }
}

/// Parses one record and stores it nowhere. Whatever line feeds are in it belong to it.
pub fn parse_one(line: &[u8], mode: Mode, context: &Context) -> Result<Parsed, Reject> {
    let mut builder = BatchBuilder::new(1);
    let mut ids = IdSource::new(|| 0);
    match LineParser::new().push_line(line, mode, context, &mut ids, &mut builder) {
        Ok(taken) => {
            let mut members = Vec::new();
            if let Some(row) = Rows::new(builder.body()).next() {
                row.write_json_members(&mut members);
            }
            Ok(Parsed { format: taken.format, members })
        }
        Err(NotTaken::Reject(reject)) => Err(reject),
        // An empty builder takes any row that is not too large.
        Err(NotTaken::Full) => Err(Reject::too_long(line)),
    }
}
