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
        // On a stream of one format this is all that detection costs: one whole parse, and no look before it.
        match REGISTRY[self.last].detect(line, context, out) {
            Ok(name) => Ok(name),
            Err(error) => self.detect_other(error, line, context, out),
        }
    }

    /// The line is not of the last format.
    fn detect_other<'a>(
        &mut self,
        error: Malformed,
        line: &'a [u8],
        context: &Context,
        out: &mut Fields<'a>,
    ) -> Result<&'static str, Malformed> {
        give_up(error, line, out)?;
        let last = self.last;
        for (i, parser) in REGISTRY.iter().enumerate().filter(|(i, _)| *i != last) {
            if !parser.may_be(line) {
                continue;
            }
            match parser.detect(line, context, out) {
                Ok(name) => {
                    self.last = i;
                    return Ok(name);
                }
                Err(error) => give_up(error, line, out)?,
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

/// One format has refused the line; the next may read it, unless it must be repaired first.
fn give_up(error: Malformed, line: &[u8], out: &mut Fields) -> Result<(), Malformed> {
    // Only JSON must be UTF-8 before it is read. What is not JSON even then comes here a second time, as UTF-8.
    if error.reason == json::NOT_UTF8 && line.trim_ascii_start().starts_with(b"{") {
        return Err(error);
    }
    out.reset();
    Ok(())
}
