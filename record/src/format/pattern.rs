//! Formats that a regular expression with named groups describes, or a grok expression made into one.
//!
//! Groups named like a key of the table of [`keys`](super::keys) (in any case) fill that field; `content` is a message
//! too; `date` and `time` together are a timestamp. All others go into `metadata`, as text, or as what their suffix
//! says: `(?P<status__int>\d+)`, `__float`, `__bool`. What the expression leaves over of the line is kept as
//! `metadata.unmatched`; without a message group the whole line is the message. The engine is of linear time.

use regex::bytes::{Captures, Regex, RegexBuilder};

use super::grok;
use super::keys::{APPLICATIONS, KEYS, LEVELS, MESSAGES, METADATA, SOURCES, TIMES, slot};
use super::{FormatInfo, Malformed, Parser, mismatch};
use crate::fields::{Context, Fields};
use crate::level::Level;
use crate::text::{Text, push_json_string, push_json_value, push_number_or_text};
use crate::time::{self, Instant};
use crate::time_format::{TimeFormat, UnknownDirective};

/// An expression may be this long: the longest of the usual ones have a tenth of it.
pub const EXPRESSION_BYTES_MAX: usize = 8 * 1024;
/// A compiled expression may take this much memory: a few of them are compiled per request.
pub(super) const COMPILED_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Why an expression is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("no grok pattern is called `{name}`")]
    UnknownGrok { name: String, at: usize },
    #[error("the expression is too large once its patterns are put in")]
    TooLarge,
    #[error("the expression is {0} bytes long, and the most is {EXPRESSION_BYTES_MAX}")]
    TooLong(usize),
    #[error("not a regular expression: {reason}")]
    Regex { reason: String, at: Option<usize> },
    #[error("no named group: write (?P<message>.*) or %{{GREEDYDATA:message}}")]
    NoGroups,
    #[error(transparent)]
    TimeFormat(#[from] UnknownDirective),
}

impl PatternError {
    /// Where in the expression it is wrong, in characters from 1, as far as that can be said.
    pub fn column(&self, expression: &str) -> Option<usize> {
        let at = match self {
            PatternError::UnknownGrok { at, .. } => *at,
            PatternError::Regex { at, .. } => (*at)?,
            _ => return None,
        };
        Some(expression.get(..at)?.chars().count() + 1)
    }
}

/// Why `regex` does not compile, and where. Asked of the parser itself: what [`regex::Error`] tells is a drawing.
pub(super) fn why_broken(regex: &str, error: regex::Error) -> PatternError {
    let mut parser = regex_syntax::ParserBuilder::new().utf8(false).dot_matches_new_line(true).build();
    let (reason, at) = match parser.parse(regex) {
        Err(regex_syntax::Error::Parse(error)) => (error.kind().to_string(), Some(error.span().start.offset)),
        Err(regex_syntax::Error::Translate(error)) => (error.kind().to_string(), Some(error.span().start.offset)),
        _ => match error {
            regex::Error::CompiledTooBig(bytes) => (format!("it takes more than {bytes} bytes once compiled"), None),
            other => (other.to_string(), None),
        },
    };
    PatternError::Regex { reason, at }
}

/// What patterns that come with a request are listed as.
const AD_HOC: FormatInfo = FormatInfo {
    name: "pattern",
    title: "A regular or grok expression that came with the request",
    example: "",
    fields: &["whatever its groups are named"],
    specification: "docs/PARSER_GUIDE.md",
};

/// A compiled pattern.
#[derive(Debug)]
pub struct Pattern {
    info: FormatInfo,
    regex: Regex,
    groups: Vec<Group>,
    time_format: Option<TimeFormat>,
}

#[derive(Debug)]
struct Group {
    index: usize,
    target: Target,
}

#[derive(Debug, PartialEq)]
enum Target {
    Timestamp,
    Date,
    Clock,
    Level,
    Source,
    Application,
    Message,
    Meta(String, Kind),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Text,
    Int,
    Float,
    Bool,
}

impl Pattern {
    /// A pattern of one request.
    pub fn new(expression: &str, time_format: Option<&str>) -> Result<Pattern, PatternError> {
        Pattern::named(AD_HOC, expression, time_format)
    }

    /// A pattern of the settings, which lives as long as the process.
    pub fn from_settings(
        name: &str,
        expression: &str,
        time_format: Option<&str>,
    ) -> Result<&'static dyn Parser, PatternError> {
        let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
        let info = FormatInfo {
            name: leak(name.to_owned()),
            title: "A pattern of the settings",
            example: "",
            fields: &["whatever its groups are named"],
            specification: leak(expression.to_owned()),
        };
        Ok(Box::leak(Box::new(Pattern::named(info, expression, time_format)?)))
    }

    /// A pattern under a name.
    pub(super) fn named(
        info: FormatInfo,
        expression: &str,
        time_format: Option<&str>,
    ) -> Result<Pattern, PatternError> {
        if expression.len() > EXPRESSION_BYTES_MAX {
            return Err(PatternError::TooLong(expression.len()));
        }
        let expanded = grok::expand(expression)?;
        let regex = RegexBuilder::new(&expanded.regex)
            .size_limit(COMPILED_BYTES_MAX)
            .dfa_size_limit(COMPILED_BYTES_MAX)
            .dot_matches_new_line(true)
            .build()
            .map_err(|error| match why_broken(&expanded.regex, error) {
                PatternError::Regex { reason, at } => {
                    PatternError::Regex { reason, at: at.map(|at| expanded.origin(at)) }
                }
                other => other,
            })?;
        let groups: Vec<Group> = regex
            .capture_names()
            .enumerate()
            .filter_map(|(index, name)| {
                let name = name?;
                let field = name.strip_prefix('g').and_then(|n| expanded.fields.get(n.parse::<usize>().ok()?));
                let target = match field {
                    Some(field) => target_of(&field.name, field.kind.as_deref().map(kind_of)),
                    None => target_of(name, None),
                };
                Some(Group { index, target })
            })
            .collect();
        if groups.is_empty() {
            return Err(PatternError::NoGroups);
        }
        Ok(Pattern { info, regex, groups, time_format: time_format.map(TimeFormat::new).transpose()? })
    }

    fn fill<'a>(&self, line: &'a [u8], captures: &Captures<'a>, context: &Context, out: &mut Fields<'a>) {
        let mut time = None;
        let (mut date, mut clock) = (None, None);
        let mut has_message = false;
        let mut status = None;
        for group in &self.groups {
            let Some(found) = captures.get(group.index) else { continue };
            let text = found.as_bytes();
            match &group.target {
                Target::Timestamp => time = Some(text),
                Target::Date => date = Some(text),
                Target::Clock => clock = Some(text),
                Target::Level => match read_level(text) {
                    Some(level) => out.level = Some(level),
                    None => out.meta.text_unless_nil("level", text),
                },
                Target::Source => out.source = Text::Bytes(text),
                Target::Application => out.application = Text::Bytes(text),
                Target::Message => {
                    out.message = Text::Bytes(text);
                    has_message = true;
                }
                Target::Meta(name, kind) => {
                    if name == "status" {
                        status = super::scan::whole_number(text, 3);
                    }
                    push_typed(name, *kind, text, out);
                }
            }
        }
        let joined = match (date, clock) {
            (Some(date), Some(clock)) => Some([date, clock].join(&b' ')),
            _ => None,
        };
        if let Some(text) = time.or(joined.as_deref()).or(clock).or(date) {
            self.fill_time(text, context, out);
        }
        if out.level.is_none()
            && let Some(status) = status
        {
            out.level = Some(Level::from_http_status(status as u16));
        }
        if !has_message {
            out.message = Text::Bytes(line);
            return;
        }
        if let Some(whole) = captures.get(0) {
            let (before, after) = (&line[..whole.start()], &line[whole.end()..]);
            let unmatched = [before.trim_ascii(), after.trim_ascii()].join(&b' ');
            out.meta.text_unless_nil("unmatched", unmatched.trim_ascii());
        }
    }

    fn fill_time(&self, text: &[u8], context: &Context, out: &mut Fields) {
        let read: Option<Instant> = match &self.time_format {
            Some(format) => format.parse(text, context.zone, context.received),
            None => time::parse(text, context.zone, context.received),
        };
        match read {
            Some(instant) => {
                out.timestamp = Some(instant.timestamp);
                if instant.nanos > 0 {
                    out.meta.int("nanos", i64::from(instant.nanos));
                }
            }
            None => out.meta.text("timestamp", text),
        }
    }
}

impl Parser for Pattern {
    fn info(&self) -> &FormatInfo {
        &self.info
    }

    fn may_be(&self, line: &[u8]) -> bool {
        self.regex.is_match(line)
    }

    fn parse<'a>(&self, line: &'a [u8], context: &Context, out: &mut Fields<'a>) -> Result<(), Malformed> {
        let captures = self.regex.captures(line).ok_or_else(|| mismatch(self.info.name, "no match", 0))?;
        self.fill(line, &captures, context, out);
        Ok(())
    }

    /// As [`parse`](Parser::parse): to ask first whether it may be would match twice.
    fn detect<'a>(&self, line: &'a [u8], context: &Context, out: &mut Fields<'a>) -> Result<&'static str, Malformed> {
        self.parse(line, context, out)?;
        Ok(self.info.name)
    }
}

fn target_of(name: &str, kind: Option<Kind>) -> Target {
    let (name, suffix) = match name.rsplit_once("__") {
        Some((name, suffix @ ("int" | "float" | "bool" | "text"))) => (name, Some(kind_of(suffix))),
        _ => (name, None),
    };
    let kind = kind.or(suffix).unwrap_or(Kind::Text);
    let lower = name.to_ascii_lowercase();
    match lower.as_str() {
        "date" => return Target::Date,
        "time" => return Target::Clock,
        "content" => return Target::Message,
        _ => {}
    }
    match slot(lower.as_bytes()).or_else(|| KEYS.iter().position(|key| key.eq_ignore_ascii_case(&lower))) {
        Some(slot) if TIMES.contains(&slot) => Target::Timestamp,
        Some(slot) if LEVELS.contains(&slot) => Target::Level,
        Some(slot) if SOURCES.contains(&slot) => Target::Source,
        Some(slot) if APPLICATIONS.contains(&slot) => Target::Application,
        Some(slot) if MESSAGES.contains(&slot) => Target::Message,
        Some(METADATA) | None | Some(_) => Target::Meta(name.to_owned(), kind),
    }
}

fn kind_of(name: &str) -> Kind {
    match name {
        "int" => Kind::Int,
        "float" => Kind::Float,
        "bool" => Kind::Bool,
        _ => Kind::Text,
    }
}

fn push_typed(name: &str, kind: Kind, text: &[u8], out: &mut Fields) {
    let as_text = std::str::from_utf8(text).unwrap_or_default();
    if text.is_empty() || text == b"-" {
        return;
    }
    out.meta.value_bytes(name.as_bytes(), |json| match kind {
        Kind::Int => push_number_or_text(text, false, json),
        // What is a number in JSON stands as it was written.
        Kind::Float
            if text.iter().any(u8::is_ascii_digit) && crate::json::whole(as_text).is_ok() && text[0] != b'"' =>
        {
            push_json_value(as_text, json);
            false
        }
        Kind::Bool if as_text.eq_ignore_ascii_case("true") || as_text.eq_ignore_ascii_case("false") => {
            json.extend(text.iter().map(u8::to_ascii_lowercase));
            false
        }
        _ => push_json_string(text, json),
    });
}

/// A level's name, also with a number after it (`DEBUG2` of Postgres), its first letter (klog, Rails), or the sign that
/// Redis writes.
fn read_level(text: &[u8]) -> Option<Level> {
    let text = text.trim_ascii();
    if let Some(level) = super::keys::level(text) {
        return Some(level);
    }
    Some(match text {
        b"I" | b"i" | b"*" | b"Note" | b"NOTE" | b"System" => Level::Info,
        b"W" | b"w" | b"#" => Level::Warn,
        b"E" | b"e" => Level::Error,
        b"F" | b"f" | b"C" | b"c" => Level::Fatal,
        b"D" | b"d" | b"-" | b"." => Level::Debug,
        b"T" | b"t" | b"V" | b"v" => Level::Trace,
        [name @ .., b'0'..=b'9'] if !name.is_empty() => return Level::from_name(name),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Mode;
    use crate::format::testing::read;

    fn check(expression: &str, line: &str, want: &str) {
        let pattern = Pattern::new(expression, None).unwrap();
        assert_eq!(read(line.as_bytes(), Mode::Named(&pattern), true).as_deref(), Ok(want), "{expression}");
    }

    #[test]
    fn named_groups_fill_fields() {
        check(
            r"^(?P<timestamp>\S+ \S+) (?P<Level>\w+) (?P<service>\S+) (?P<status__int>\d+) (?P<took__float>[\d.]+) (?P<ok__bool>\w+) (?P<id>\d+) (?P<message>.*)$",
            "2025-11-11 16:00:00 WARNING api 200 0.25 true 007 all well",
            r#"pattern 2025-11-11T16:00:00 WARN -|api|all well {"status":200,"took":0.25,"ok":true,"id":"007"}"#,
        );
    }

    #[test]
    fn grok_fields_too() {
        check(
            "%{IPORHOST:client} %{WORD:method} %{URIPATHPARAM:path} %{NUMBER:[http][bytes]:int} %{NUMBER:took:float}",
            "10.0.4.17 GET /cart.html?a=b 15824 0.043",
            r#"pattern now INFO -|-|10.0.4.17 GET /cart.html?a=b 15824 0.043 {"client":"10.0.4.17","method":"GET","path":"/cart.html?a=b","http.bytes":15824,"took":0.043}"#,
        );
        check(
            "%{COMBINEDAPACHELOG}",
            r#"127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /x HTTP/1.0" 500 2326 "-" "agent""#,
            r#"pattern 2000-10-10T20:55:36 ERROR -|-|127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /x HTTP/1.0" 500 2326 "-" "agent" {"client":"127.0.0.1","user":"frank","method":"GET","path":"/x","protocol":"HTTP/1.0","status":500,"bytes":2326,"referer":"\"-\"","user_agent":"\"agent\""}"#,
        );
    }

    #[test]
    fn date_and_time_are_one() {
        check(
            r"^(?P<Date>\S+) (?P<Time>\S+) (?P<Content>.*)$",
            "2025-11-11 16:00:00,747 x",
            "pattern 2025-11-11T16:00:00.747 INFO -|-|x {}",
        );
    }

    #[test]
    fn nothing_is_lost() {
        check(
            r"level=(?P<level>\S+) (?P<message>\w+)",
            "before level=LOUD text after",
            r#"pattern now INFO -|-|text {"level":"LOUD","unmatched":"before after"}"#,
        );
        check(r"at (?P<timestamp>\S+) (?P<message>.*)", "at noon x", r#"pattern now INFO -|-|x {"timestamp":"noon"}"#);
    }

    #[test]
    fn broken_expressions_are_told() {
        for (expression, want, column) in [
            ("ä(", "not a regular expression: unclosed group", Some(2)),
            (r"\d+", "no named group", None),
            ("x %{NOPE:x}", "no grok pattern is called `NOPE`", Some(3)),
            (r"(?P<a>\w{1000}{1000})", "not a regular expression: it takes more than", None),
            (r"%{INT:n} (?P<a>x)(?=y)", "not a regular expression: look-around", Some(18)),
            ("%{INT:n} %{DATA:d} [z-a]", "invalid character class range", Some(21)),
        ] {
            let error = Pattern::new(expression, None).unwrap_err();
            assert!(error.to_string().contains(want), "{expression}: {error}");
            assert_eq!(error.column(expression), column, "{expression}");
        }
        assert!(matches!(Pattern::new(&"a".repeat(9000), None), Err(PatternError::TooLong(9000))));
        assert!(Pattern::new("(?P<a>x)", Some("%Q")).is_err());
        let pattern = Pattern::new("^(?P<a>x)$", None).unwrap();
        assert_eq!(read(b"y", Mode::Named(&pattern), true).unwrap_err().code, "format_mismatch");
    }
}
