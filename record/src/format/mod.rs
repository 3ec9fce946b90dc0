//! Formats: how a line becomes fields.
//!
//! A format is one file here and one line in [`REGISTRY`]. A scanner is a plain function over the bytes of one line
//! (no line feed at its end); what it cannot place goes into `metadata`, so that nothing of a line is lost.
//! [`LineParser`] is the way in: it finds a line's format, or holds the line to one, and encodes the record.

use std::sync::OnceLock;

use crate::fields::{Context, Fields};

mod access;
mod apache_error;
mod cri;
mod detect;
mod docker_json;
mod grok;
mod json;
mod keys;
mod line;
mod logfmt;
mod multiline;
mod nginx_error;
mod pattern;
mod plain;
mod predefined;
mod scan;
mod syslog;
mod syslog_rfc3164;
mod syslog_rfc5424;
#[cfg(test)]
mod testing;
mod wrapped;

pub use grok::BASE as GROK_PATTERNS;
pub use line::{LINE_BYTES_MAX, LineParser, Mode, NotTaken, Parsed, Reject, Taken, parse_one};
pub use multiline::{Joined, Joiner, Multiline};
pub use pattern::{EXPRESSION_BYTES_MAX, Pattern, PatternError};
pub use predefined::Predefined;

/// All formats, in the order in which they are listed and, where [`Parser::may_be`] says so, tried.
pub static REGISTRY: &[&dyn Parser] = &[
    &json::Json,
    &docker_json::DockerJson,
    &syslog_rfc5424::Rfc5424,
    &syslog_rfc3164::Rfc3164,
    &access::Access { combined: true },
    &access::Access { combined: false },
    &nginx_error::NginxError,
    &apache_error::ApacheError,
    &cri::Cri,
    &logfmt::Logfmt,
    &plain::Plain,
];

/// All formats.
pub fn registry() -> &'static [&'static dyn Parser] {
    REGISTRY
}

/// The predefined patterns, which only lines are held to that are said to be of them.
pub fn patterns() -> &'static [Predefined] {
    &predefined::PREDEFINED
}

static INSTALLED: OnceLock<Vec<&'static dyn Parser>> = OnceLock::new();

/// Adds the patterns of the settings, once, before the first line.
pub fn install(patterns: Vec<&'static dyn Parser>) {
    // A second time would mean two sets of settings in one process; the first stands.
    let _ = INSTALLED.set(patterns);
}

/// The patterns of the settings.
pub fn installed() -> &'static [&'static dyn Parser] {
    INSTALLED.get().map_or(&[], Vec::as_slice)
}

/// The format or pattern of a name, as `?format=` and settings give it.
pub fn by_name(name: &str) -> Option<&'static dyn Parser> {
    let format = REGISTRY.iter().copied().find(|parser| parser.info().name == name);
    let pattern = || patterns().iter().find(|pattern| pattern.info.name == name);
    let installed = || installed().iter().copied().find(|parser| parser.info().name == name);
    format.or_else(|| Some(pattern()? as &dyn Parser)).or_else(installed)
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

/// Said of a line that does not even begin like the format.
const NOT_AT_ITS_HEAD: &str = "it does not begin like it";

/// A line that a scanner refuses, `at` from 0.
pub fn mismatch(format: &'static str, reason: &'static str, at: usize) -> Malformed {
    Malformed { code: "format_mismatch", format, reason, column: at + 1 }
}

/// One format.
pub trait Parser: Send + Sync {
    fn info(&self) -> &FormatInfo;

    /// Reads a line that is held to this format. `out` is empty on entry; after an error its content means nothing.
    fn parse<'a>(&self, line: &'a [u8], context: &Context, out: &mut Fields<'a>) -> Result<(), Malformed>;

    /// Whether a line of unknown format is worth a try: a look at its first bytes. A format that never says so is only
    /// for lines that are held to it. What [`detect`](Parser::detect) takes, this must not have refused.
    fn may_be(&self, _line: &[u8]) -> bool {
        false
    }

    /// Reads a line of unknown format; tells which format it is. What it takes must be beyond doubt: no line that is
    /// another format's. Where formats share a grammar, one of them detects them all.
    fn detect<'a>(&self, line: &'a [u8], context: &Context, out: &mut Fields<'a>) -> Result<&'static str, Malformed> {
        if !self.may_be(line) {
            return Err(mismatch(self.info().name, NOT_AT_ITS_HEAD, 0));
        }
        self.parse(line, context, out)?;
        Ok(self.info().name)
    }
}

#[cfg(test)]
mod tests {
    use super::testing::read;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_example_is_of_its_format() {
        for parser in registry() {
            let info = parser.info();
            let detected = read(info.example.as_bytes(), Mode::Auto, false).unwrap();
            let held = read(info.example.as_bytes(), Mode::Named(*parser), false).unwrap();
            assert!(detected.starts_with(&format!("{} ", info.name)), "{detected}");
            assert_eq!(detected, held);
            assert!(by_name(info.name).is_some_and(|found| std::ptr::eq(found.info(), info)));
        }
        assert!(by_name("nonsense").is_none());
    }

    #[test]
    fn every_field_is_listed() {
        let more = [
            "[Wed Oct 11 14:32:52.123456789 2000] [ssl:trace3] [pid 7:tid 8] [client 10.0.4.17:443] AH00128: x, referer: http://x/",
            r#"www.example.com 10.0.0.1 id ann [10/Oct/2000:13:55:36.123456789 +0000] "GET / HTTP/1.1" 200 5 "-" "-" 0.1"#,
            r#"10.0.0.1 id ann [10/Oct/2000:13:55:36.123456789 +0000] "GET / HTTP/1.1" 200 5 0.1"#,
            r#"2025/11/11 16:00:00 [error] 1#1: *1 x, client: c, server: s, request: "r", upstream: "u", host: "h", referrer: "r""#,
            "<189>45: Mar  1 18:46:11.123456789: %SYS-5-CONFIG_I: Configured",
            r#"<46>Jan  6 15:33:03 host rsyslogd[7]: [origin software="rsyslogd"] start"#,
            "2025-11-11T16:00:00.184675702Z stdout P goes on",
            "2025-11-11T16:00:00.184675702Z some text",
            r#"{"log":"goes on","stream":"stderr","attrs":{"tag":"x"},"time":"2025-11-11T16:00:00.123456789Z"}"#,
        ];
        for line in registry().iter().map(|parser| parser.info().example).chain(more) {
            let record = read(line.as_bytes(), Mode::Auto, false).unwrap();
            let (format, rest) = record.split_once(' ').unwrap();
            let fields = by_name(format).unwrap().info().fields;
            let metadata = &rest[rest.rfind(" {\"").map_or(rest.len() - 2, |at| at + 1)..];
            for member in sonic_rs::to_object_iter(metadata) {
                let key = format!("metadata.{}", member.unwrap().0);
                assert!(fields.iter().any(|field| *field == key || *field == "metadata.*"), "{format}: {key}");
            }
        }
    }

    #[test]
    fn formats_that_take_turns_are_each_found() {
        let context = Context::new(testing::RECEIVED, &crate::Zone::UTC);
        let mut parser = LineParser::new();
        let mut ids = crate::IdSource::new(|| 0);
        let mut builder = crate::BatchBuilder::new(1);
        for round in 0..REGISTRY.len() {
            for i in 0..REGISTRY.len() {
                let info = REGISTRY[(i * (round + 1)) % REGISTRY.len()].info();
                let taken = parser.push_line(info.example.as_bytes(), Mode::Auto, &context, &mut ids, &mut builder);
                assert_eq!(taken.unwrap().format, info.name);
            }
        }
    }

    /// What a line is does not depend on what came before it.
    fn detected_after(before: &[u8], line: &[u8]) -> String {
        let context = Context::new(testing::RECEIVED, &crate::Zone::UTC);
        let mut parser = LineParser::new();
        let mut ids = crate::IdSource::new(|| 0);
        let mut record = String::new();
        for line in [before, line] {
            let mut builder = crate::BatchBuilder::new(1);
            let taken =
                parser.push_line(line, Mode::Auto, &context, &mut ids, &mut builder).expect("any line is taken");
            let mut json = Vec::new();
            let row = crate::Rows::new(builder.body()).next().expect("the row that was pushed");
            row.write_json_members(&mut json);
            record = format!("{} {}", taken.format, String::from_utf8_lossy(&json));
        }
        record
    }

    /// Lines that are nearly of a format: an example, cut or with some bytes changed.
    fn near_lines() -> impl Strategy<Value = Vec<u8>> {
        let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
        (0..REGISTRY.len(), any::<prop::sample::Index>(), changes).prop_map(|(format, cut, changes)| {
            let mut line = REGISTRY[format].info().example.as_bytes().to_vec();
            for (at, byte) in changes {
                let at = at.index(line.len());
                line[at] = byte;
            }
            line.truncate(cut.index(2 * line.len()));
            line
        })
    }

    /// Lines made of the beginning of one example and the end of another: what one format wraps into another.
    fn near_pairs() -> impl Strategy<Value = Vec<u8>> {
        let piece = || (0..REGISTRY.len(), any::<prop::sample::Index>());
        (piece(), piece()).prop_map(|((first, cut), (second, from))| {
            let (first, second) = (REGISTRY[first].info().example, REGISTRY[second].info().example);
            let words = |text: &'static str| text.split_inclusive(' ').collect::<Vec<_>>();
            let (first, second) = (words(first), words(second));
            let head = first[..=cut.index(first.len())].concat();
            (head + &second[from.index(second.len())..].concat()).into_bytes()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_line_is_taken(line: Vec<u8>) {
            prop_assert!(read(&line, Mode::Auto, true).is_ok());
        }

        #[test]
        fn what_came_before_does_not_matter(line in prop_oneof![near_lines(), near_pairs()]) {
            let first = detected_after(b"", &line);
            for parser in registry() {
                let before = parser.info().example.as_bytes();
                prop_assert_eq!(&detected_after(before, &line), &first, "{}", String::from_utf8_lossy(&line));
            }
        }

        #[test]
        fn any_nearly_right_line_is_taken(line in near_lines()) {
            prop_assert!(read(&line, Mode::Auto, true).is_ok());
            for parser in registry() {
                let _ = read(&line, Mode::Named(*parser), true);
            }
        }
    }
}
