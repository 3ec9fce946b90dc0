//! Finding the format of a line: first bytes decide what is tried, a whole parse proves it.

use super::{Malformed, Parser, REGISTRY, json, plain};
use crate::fields::{Context, Fields};

/// What one connection or request has learnt of its lines.
#[derive(Default)]
pub struct Detector {
    /// The format that fitted last, tried first: its place in the registry.
    last: usize,
    /// Tried on what fits no format of the registry.
    patterns: &'static [&'static dyn Parser],
}

impl Detector {
    pub fn with_patterns(patterns: &'static [&'static dyn Parser]) -> Detector {
        Detector { patterns, ..Detector::default() }
    }

    /// Reads a line; tells which format it is. It fails only where a line has to be repaired to UTF-8 first.
    pub fn detect<'a>(
        &mut self,
        line: &'a [u8],
        context: &Context,
        out: &mut Fields<'a>,
    ) -> Result<&'static str, Malformed> {
        let last = self.last;
        if let Some(name) = attempt(REGISTRY[last], line, context, out)? {
            return Ok(name);
        }
        for (i, parser) in REGISTRY.iter().enumerate().filter(|(i, _)| *i != last) {
            if let Some(name) = attempt(*parser, line, context, out)? {
                self.last = i;
                return Ok(name);
            }
        }
        for pattern in self.patterns {
            if let Ok(name) = pattern.detect(line, context, out) {
                return Ok(name);
            }
            out.reset();
        }
        plain::Plain.parse(line, context, out)?;
        Ok(plain::INFO.name)
    }
}

#[inline]
fn attempt<'a>(
    parser: &dyn Parser,
    line: &'a [u8],
    context: &Context,
    out: &mut Fields<'a>,
) -> Result<Option<&'static str>, Malformed> {
    if !parser.may_be(line) {
        return Ok(None);
    }
    match parser.detect(line, context, out) {
        Ok(name) => Ok(Some(name)),
        // Only JSON must be UTF-8 before it is read. What is not JSON even then comes here a second time, as UTF-8.
        Err(error) if error.reason == json::NOT_UTF8 && line.trim_ascii_start().starts_with(b"{") => Err(error),
        Err(_) => {
            out.reset();
            Ok(None)
        }
    }
}
