//! Formats: how a line becomes fields.
//!
//! A format is one file here and one line in [`REGISTRY`]. A scanner is a plain function over the bytes of one line
//! (no line feed at its end); what it cannot place goes into `metadata`, so that nothing of a line is lost.
//! [`LineParser`] is the way in: it finds a line's format, or holds the line to one, and encodes the record.

use crate::fields::{Context, Fields};

mod json;
mod line;
mod plain;
#[cfg(test)]
mod testing;

pub use line::{LINE_BYTES_MAX, LineParser, Mode, NotTaken, Parsed, Reject, Taken, parse_one};

/// All formats, in the order in which they are listed. (What is tried in which order is the detection's business.)
pub static REGISTRY: &[&dyn Parser] = &[&json::Json, &plain::Plain];

/// All formats.
pub fn registry() -> &'static [&'static dyn Parser] {
    REGISTRY
}

/// The format of a name, as `?format=` and settings give it.
pub fn by_name(name: &str) -> Option<&'static dyn Parser> {
    REGISTRY.iter().copied().find(|parser| parser.info().name == name)
}

/// What `GET /parse/formats` tells of a format.
#[derive(Clone, Copy, Debug)]
pub struct FormatInfo {
    /// How settings, queries and answers call it, as `syslog_rfc5424`.
    pub name: &'static str,
    /// What it is, in one sentence.
    pub title: &'static str,
    /// A line of it; a test parses each.
    pub example: &'static str,
    /// The fields it fills, metadata keys as `metadata.status`.
    pub fields: &'static [&'static str],
    /// Where it is defined: an RFC section or a vendor's page.
    pub specification: &'static str,
}

/// A line that is not of the format it was held to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not {format}: {reason} (column {column})")]
pub struct Malformed {
    /// What an answer calls it: `format_mismatch`, for JSON `malformed_json` or `too_deep`.
    pub code: &'static str,
    pub format: &'static str,
    pub reason: &'static str,
    /// From 1, in bytes.
    pub column: usize,
}

/// One format.
pub trait Parser: Send + Sync {
    fn info(&self) -> &'static FormatInfo;

    /// Reads one line. `out` is empty on entry; after an error its content means nothing.
    fn parse<'a>(&self, line: &'a [u8], context: &Context, out: &mut Fields<'a>) -> Result<(), Malformed>;
}
