//! Bad lines of any length, made to find work that grows faster than the line: for each format the places where a scanner
//! looks for something, each flooded with what it may stumble over.

use record::format::{LINE_BYTES_MAX, LineParser, Mode, NotTaken, by_name, registry};
use record::{BatchBuilder, Context, IdSource, Timestamp, Zone};

/// Where floods begin, by format.
const HEADS: &[(&str, &str)] = &[
    ("json", ""),
    ("json", "{"),
    ("json", "{\"a\":"),
    ("json", "{\"a\":\""),
    ("json", "{\"message\":\""),
    ("json", "{\"log\":{\"level\":\"info\","),
    ("json", "{\"metadata\":{"),
    ("docker_json", "{\"stream\":\"stdout\",\"time\":\"2025-11-11T16:00:00Z\",\"log\":\""),
    ("syslog_rfc5424", "<14>1 "),
    ("syslog_rfc5424", "<14>1 2025-11-11T16:00:00Z host "),
    ("syslog_rfc5424", "<14>1 2025-11-11T16:00:00Z host app 1 m ["),
    ("syslog_rfc5424", "<14>1 2025-11-11T16:00:00Z host app 1 m [a "),
    ("syslog_rfc5424", "<14>1 2025-11-11T16:00:00Z host app 1 m [a b=\""),
    ("syslog_rfc5424", "<14>1 2025-11-11T16:00:00Z host app 1 m - "),
    ("syslog_rfc3164", "<14>"),
    ("syslog_rfc3164", "<14>Oct 11 22:14:15 "),
    ("syslog_rfc3164", "<14>Oct 11 22:14:15 host "),
    ("syslog_rfc3164", "<14>Oct 11 22:14:15 host app["),
    ("syslog_rfc3164", "<14>Oct 11 22:14:15 host app: "),
    ("syslog_rfc3164", "<14>Oct 11 22:14:15 host app: [a "),
    ("syslog_rfc3164", "<14>Oct 11 22:14:15 host app: {\"a\":\""),
    ("syslog_rfc3164", "2025-11-11T16:00:00Z "),
    ("apache_combined", "10.0.0.1 "),
    ("apache_combined", "10.0.0.1 - - "),
    ("apache_combined", "10.0.0.1 - - [10/Oct/2000:13:55:36 +0000] \""),
    ("apache_combined", "10.0.0.1 - - [10/Oct/2000:13:55:36 +0000] \"GET / HTTP/1.1\" 200 5 \""),
    ("apache_combined", "10.0.0.1 - - [10/Oct/2000:13:55:36 +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"-\" "),
    ("apache_common", "10.0.0.1 - - [10/Oct/2000:13:55:36 +0000] \"GET / HTTP/1.1\" 200 5 "),
    ("nginx_error", "2025/11/11 16:00:00 ["),
    ("nginx_error", "2025/11/11 16:00:00 [error] "),
    ("nginx_error", "2025/11/11 16:00:00 [error] 1#1: *1 x"),
    ("nginx_error", "2025/11/11 16:00:00 [error] 1#1: *1 x, client: "),
    ("nginx_error", "2025/11/11 16:00:00 [error] 1#1: *1 x, client: a, request: \""),
    ("apache_error", "["),
    ("apache_error", "[Wed Oct 11 14:32:52 2000] ["),
    ("apache_error", "[Wed Oct 11 14:32:52 2000] [core:error] [pid 1] "),
    ("apache_error", "[Wed Oct 11 14:32:52 2000] [core:error] [pid 1] [client "),
    ("apache_error", "[Wed Oct 11 14:32:52 2000] [core:error] [pid 1] (1)x"),
    ("cri", "2025-11-11T16:00:00Z stdout "),
    ("cri", "2025-11-11T16:00:00Z stdout F "),
    ("cri", "2025-11-11T16:00:00Z stdout F 10.0.0.1 - - [10/Oct/2000:13:55:36 +0000] \""),
    ("logfmt", ""),
    ("logfmt", "a=1 b="),
    ("logfmt", "a=1 b=\""),
    ("plain", ""),
    ("plain", "2025-11-11 16:00:00 "),
];

/// What is repeated; `#` is a number that differs each time.
const FLOODS: &[&str] = &[
    "\"",
    "\\",
    "\\\"",
    "\\\\\"",
    "\\n",
    "\\u0000",
    "\\ud800",
    "\\x41",
    "[",
    "]",
    "[]",
    "][",
    "{",
    "{\"a\":",
    "[{\"a\":",
    "}",
    "[],",
    "a",
    "A",
    "1",
    "1.",
    "9e9,",
    " ",
    "  \t",
    "-",
    ":",
    ": ",
    "::",
    "=",
    "= ",
    ",",
    ", ",
    ", a: b",
    ", a: \"b\"",
    ", client: ",
    ", referer: ",
    "\" ",
    "\" 200",
    "\" 200 ",
    "\", ",
    " \"",
    " [1/",
    " [10/Oct/2000:13:55:36 +0000] \"",
    "a[1]: ",
    "a]:",
    ": AH",
    ": AH00001: ",
    ": [client ",
    " msg=audit(",
    "k=v ",
    "k#=v ",
    "k#= ",
    "k#=\"v\\\"\" ",
    "k=\"",
    "a#=\"b\" ",
    "a#=\"b\"][c ",
    "[a#][b#]",
    "\"k\":1,",
    "\"k#\":1,",
    "\"k#\":\"v\", ",
    "\"k\\u0061#\":[1, 2],",
    "\"metadata\":{\"a\":1},",
    "\"metadata\":{},\"k#\":1,",
    "\"message\":\"a\",",
    "\"log\":{\"level\":1},",
    "\"level\":\"x\",\"metadata\":{\"level\":1},",
    "\u{e9}",
    "\u{1f600}",
    "\0",
    "\x1b[31m",
    "\x1b[",
    "\t",
    "\r",
    "last message repeated ",
    "ERROR ",
    "/",
    "%{a}",
    "<14>",
];

/// Bytes that are no text, besides.
const BINARY_FLOODS: &[&[u8]] = &[b"\xff", b"a\xff", b"\xc3(", b"\xf0\x9f\x98"];

/// What follows the flood: nothing, and what may end well what the head began.
const TAILS: &[&str] = &["", "\"}"];

/// One bad line, of any length.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub format: &'static str,
    pub head: &'static str,
    pub flood: &'static [u8],
    pub tail: &'static str,
}

pub fn shapes() -> Vec<Shape> {
    let floods: Vec<&'static [u8]> =
        FLOODS.iter().map(|flood| flood.as_bytes()).chain(BINARY_FLOODS.iter().copied()).collect();
    let mut all = Vec::new();
    for &(format, head) in HEADS {
        for &flood in &floods {
            let is_json = matches!(format, "json" | "docker_json") && head.ends_with('"');
            for &tail in if is_json { TAILS } else { &TAILS[..1] } {
                all.push(Shape { format, head, flood, tail });
            }
        }
    }
    all
}

impl Shape {
    /// The line, of just this many bytes but for a flood that would be cut.
    pub fn line(&self, bytes: usize) -> Vec<u8> {
        let bytes = bytes.min(LINE_BYTES_MAX);
        let mut line = self.head.as_bytes().to_vec();
        if !self.flood.contains(&b'#') {
            let room = bytes.saturating_sub(line.len() + self.tail.len());
            line.extend_from_slice(&self.flood.repeat(room / self.flood.len()));
            line.extend_from_slice(self.tail.as_bytes());
            return line;
        }
        for number in 0.. {
            let start = line.len();
            for &b in self.flood {
                match b {
                    b'#' => line.extend_from_slice(number.to_string().as_bytes()),
                    b => line.push(b),
                }
            }
            if line.len() + self.tail.len() > bytes {
                line.truncate(start);
                break;
            }
        }
        line.extend_from_slice(self.tail.as_bytes());
        line
    }
}

/// Parses and encodes lines, held to a format or detected, as a connection does.
pub struct Work {
    parser: LineParser,
    builder: BatchBuilder,
    ids: IdSource,
}

impl Work {
    pub fn new() -> Work {
        Work { parser: LineParser::new(), builder: BatchBuilder::new(1), ids: IdSource::new(|| 0) }
    }

    pub fn parse(&mut self, line: &[u8], format: &str) {
        let mode = by_name(format).map_or(Mode::Auto, Mode::Named);
        let context = Context::new(Timestamp::clamped(1_762_905_600_000_000), &Zone::UTC);
        self.builder.clear();
        let taken = self.parser.push_line(line, mode, &context, &mut self.ids, &mut self.builder);
        assert!(!matches!(taken, Err(NotTaken::Full)), "an empty batch is full");
    }
}

/// Every format has a place to flood.
pub fn all_formats_have_heads() -> bool {
    registry().iter().all(|parser| HEADS.iter().any(|(format, _)| *format == parser.info().name))
}
