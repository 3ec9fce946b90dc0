//! A record as a line, in each format that Logboom reads.

use super::message::{self, LEVELS};
use super::{Clock, NEEDLE, Record, Stamp, decimal};

/// By the names that `GET /parse/formats` has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Json,
    DockerJson,
    SyslogRfc5424,
    SyslogRfc3164,
    ApacheCombined,
    ApacheCommon,
    NginxError,
    ApacheError,
    Cri,
    Logfmt,
    Plain,
}

/// How Apache and Nginx name levels, in the order of [`LEVELS`].
const WEB_LEVELS: [&str; 6] = ["debug", "debug", "info", "warn", "error", "crit"];
const LOGFMT_LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "fatal"];
/// RFC 5424 §6.2.1.
const SEVERITIES: [u64; 6] = [7, 7, 6, 4, 3, 2];
const FACILITY_LOCAL0: u64 = 16;
const AGENTS: [&str; 4] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    "curl/8.14.1",
    "kube-probe/1.34",
];
/// Frames of a stack trace.
const FRAMES: [&str; 4] = [
    "com.example.shop.OrderService.place(OrderService.java:",
    "com.example.shop.PaymentClient.charge(PaymentClient.java:",
    "com.example.http.Router.dispatch(Router.java:",
    "java.base/java.lang.Thread.run(Thread.java:",
];

impl Format {
    pub const ALL: &[Format] = &[
        Format::Json,
        Format::DockerJson,
        Format::SyslogRfc5424,
        Format::SyslogRfc3164,
        Format::ApacheCombined,
        Format::ApacheCommon,
        Format::NginxError,
        Format::ApacheError,
        Format::Cri,
        Format::Logfmt,
        Format::Plain,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::DockerJson => "docker_json",
            Format::SyslogRfc5424 => "syslog_rfc5424",
            Format::SyslogRfc3164 => "syslog_rfc3164",
            Format::ApacheCombined => "apache_combined",
            Format::ApacheCommon => "apache_common",
            Format::NginxError => "nginx_error",
            Format::ApacheError => "apache_error",
            Format::Cri => "cri",
            Format::Logfmt => "logfmt",
            Format::Plain => "plain",
        }
    }

    pub fn by_name(name: &str) -> Option<Format> {
        Format::ALL.iter().copied().find(|format| format.name() == name)
    }

    pub(super) fn write(self, record: &Record, clock: &mut Clock, scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
        match self {
            Format::Json => drop(json(record, clock, out)),
            Format::DockerJson => docker(record, clock, out),
            Format::SyslogRfc5424 => drop(rfc5424(record, clock, out)),
            Format::SyslogRfc3164 => rfc3164(record, clock, out),
            Format::ApacheCombined => access(record, clock, true, out),
            Format::ApacheCommon => access(record, clock, false, out),
            Format::NginxError => nginx_error(record, clock, out),
            Format::ApacheError => apache_error(record, clock, out),
            Format::Cri => cri(record, clock, scratch, out),
            Format::Logfmt => logfmt(record, clock, out),
            Format::Plain => plain(record, out),
        }
    }
}

fn put(out: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
}

/// The message, on one line; a trace follows with whatever stands for a line feed.
fn message(record: &Record, line_feed: Option<&str>, out: &mut Vec<u8>) {
    message::write(record.template, record.x, out);
    if record.needle {
        put(out, &[" ", NEEDLE]);
    }
    if let (true, Some(line_feed)) = (record.trace, line_feed) {
        put(out, &[line_feed, "java.lang.IllegalStateException: no answer"]);
        for (index, frame) in FRAMES.iter().enumerate() {
            put(out, &[line_feed, "\\tat ", frame]);
            decimal(u64::from(record.x >> (4 * index) & 0x3ff) + 1, out);
            out.push(b')');
        }
    }
}

pub(super) fn json(record: &Record, clock: &mut Clock, out: &mut Vec<u8>) -> Stamp {
    out.extend_from_slice(b"{\"timestamp\":\"");
    let time = out.len() as u32;
    out.extend_from_slice(clock.at(record.index));
    let level = LEVELS[record.level].name;
    put(out, &["\",\"level\":\"", level, "\",\"source\":\"", record.source]);
    put(out, &["\",\"application\":\"", record.application, "\",\"message\":\""]);
    message(record, Some("\\n"), out);
    out.extend_from_slice(b"\",\"metadata\":{\"request_id\":\"");
    let digits = out.len() as u32;
    out.extend_from_slice(&record.digits);
    put(out, &["\",\"region\":\"", record.region, "\""]);
    if let Some(duration) = record.duration_ms {
        out.extend_from_slice(b",\"duration_ms\":");
        decimal(duration, out);
    }
    if let Some(user) = record.user_id {
        out.extend_from_slice(b",\"user_id\":");
        decimal(user, out);
    }
    out.extend_from_slice(b"}}\n");
    Stamp { time, digits }
}

/// What Docker's json-file driver writes around a line of text.
fn docker(record: &Record, clock: &mut Clock, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"log\":\"");
    put(out, &[LEVELS[record.level].name, " "]);
    message(record, Some("\\n"), out);
    out.extend_from_slice(b" request_id=");
    out.extend_from_slice(&record.digits);
    put(out, &["\\n\",\"stream\":\"", stream(record), "\",\"time\":\""]);
    nanos(record, clock, out);
    out.extend_from_slice(b"\"}\n");
}

fn cri(record: &Record, clock: &mut Clock, scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
    nanos(record, clock, out);
    put(out, &[" ", stream(record), " F ", LEVELS[record.level].name, " "]);
    scratch.clear();
    message(record, None, scratch);
    out.extend_from_slice(scratch);
    out.extend_from_slice(b" request_id=");
    out.extend_from_slice(&record.digits);
    out.push(b'\n');
}

fn stream(record: &Record) -> &'static str {
    if record.level >= super::ERROR { "stderr" } else { "stdout" }
}

/// With the nine digits that container runtimes write.
fn nanos(record: &Record, clock: &mut Clock, out: &mut Vec<u8>) {
    out.extend_from_slice(&clock.at(record.index)[..super::TIME_BYTES - 1]);
    let more = 100_000 + record.x % 900_000;
    decimal(u64::from(more), out);
    out.push(b'Z');
}

fn priority(record: &Record, out: &mut Vec<u8>) {
    out.push(b'<');
    decimal(FACILITY_LOCAL0 * 8 + SEVERITIES[record.level], out);
    out.push(b'>');
}

pub(super) fn rfc5424(record: &Record, clock: &mut Clock, out: &mut Vec<u8>) -> Stamp {
    priority(record, out);
    out.extend_from_slice(b"1 ");
    let time = out.len() as u32;
    out.extend_from_slice(clock.at(record.index));
    put(out, &[" ", record.source, " ", record.application, " "]);
    decimal(record.pid, out);
    put(out, &[" ", LEVELS[record.level].name, " [meta@32473 request_id=\""]);
    let digits = out.len() as u32;
    out.extend_from_slice(&record.digits);
    put(out, &["\" region=\"", record.region, "\""]);
    if let Some(duration) = record.duration_ms {
        out.extend_from_slice(b" duration_ms=\"");
        decimal(duration, out);
        out.push(b'"');
    }
    out.extend_from_slice(b"] ");
    message(record, None, out);
    out.push(b'\n');
    Stamp { time, digits }
}

/// The message is the line, source and application are the stream's labels, all else is structured metadata, whose values
/// are text.
pub(super) fn loki(record: &Record, clock: &mut Clock, labels: &mut Vec<u8>, out: &mut Vec<u8>) -> Stamp {
    put(labels, &["{\"source\":\"", record.source, "\",\"application\":\"", record.application, "\"}"]);
    out.extend_from_slice(b"[\"");
    let time = out.len() as u32;
    out.extend_from_slice(&clock.nanos(record.index));
    out.extend_from_slice(b"\",\"");
    message(record, Some("\\n"), out);
    put(out, &["\",{\"level\":\"", LEVELS[record.level].name, "\",\"request_id\":\""]);
    let digits = out.len() as u32;
    out.extend_from_slice(&record.digits);
    put(out, &["\",\"region\":\"", record.region, "\""]);
    for (key, value) in [("duration_ms", record.duration_ms), ("user_id", record.user_id)] {
        if let Some(value) = value {
            put(out, &[",\"", key, "\":\""]);
            decimal(value, out);
            out.push(b'"');
        }
    }
    out.extend_from_slice(b"}]");
    Stamp { time, digits }
}

fn rfc3164(record: &Record, clock: &mut Clock, out: &mut Vec<u8>) {
    priority(record, out);
    clock.bsd(record.index, out);
    put(out, &[" ", record.source, " ", record.application, "["]);
    decimal(record.pid, out);
    out.extend_from_slice(b"]: ");
    message(record, None, out);
    out.extend_from_slice(b" request_id=");
    out.extend_from_slice(&record.digits);
    out.push(b'\n');
}

fn access(record: &Record, clock: &mut Clock, combined: bool, out: &mut Vec<u8>) {
    message::ip(record.x, out);
    out.extend_from_slice(b" - ");
    match record.user_id {
        Some(user) => {
            out.extend_from_slice(b"user");
            decimal(user, out);
        }
        None => out.push(b'-'),
    }
    out.extend_from_slice(b" [");
    clock.clf(record.index, out);
    put(out, &["] \"", message::method(record.x), " ", message::path(record.x), "?request_id="]);
    out.extend_from_slice(&record.digits);
    if record.needle {
        put(out, &["&q=", NEEDLE]);
    }
    out.extend_from_slice(b" HTTP/1.1\" ");
    decimal(u64::from(message::status(record.x)), out);
    out.push(b' ');
    decimal(u64::from(record.x >> 12), out);
    if combined {
        put(out, &[" \"https://shop.example.com", message::path(record.x >> 8), "\" \""]);
        put(out, &[AGENTS[(record.x >> 4) as usize % AGENTS.len()], "\""]);
    }
    out.push(b'\n');
}

fn nginx_error(record: &Record, clock: &mut Clock, out: &mut Vec<u8>) {
    clock.nginx(record.index, out);
    put(out, &[" [", WEB_LEVELS[record.level], "] "]);
    decimal(record.pid, out);
    out.push(b'#');
    decimal(record.pid, out);
    out.extend_from_slice(b": *");
    decimal(u64::from(record.x % 1_000_003), out);
    out.push(b' ');
    message(record, None, out);
    out.extend_from_slice(b", client: ");
    message::ip(record.x, out);
    put(out, &[", server: ", record.source, ", request: \"", message::method(record.x), " "]);
    put(out, &[message::path(record.x), "?request_id="]);
    out.extend_from_slice(&record.digits);
    out.extend_from_slice(b" HTTP/1.1\", host: \"shop.example.com\"\n");
}

fn apache_error(record: &Record, clock: &mut Clock, out: &mut Vec<u8>) {
    out.push(b'[');
    clock.apache(record.index, out);
    put(out, &["] [proxy:", WEB_LEVELS[record.level], "] [pid "]);
    decimal(record.pid, out);
    out.extend_from_slice(b":tid ");
    decimal(140_000_000_000_000 + record.pid, out);
    out.extend_from_slice(b"] [client ");
    message::ip(record.x, out);
    out.push(b':');
    decimal(u64::from(record.x % 50_000) + 10_000, out);
    out.extend_from_slice(b"] ");
    message(record, None, out);
    out.extend_from_slice(b", request_id ");
    out.extend_from_slice(&record.digits);
    out.push(b'\n');
}

fn logfmt(record: &Record, clock: &mut Clock, out: &mut Vec<u8>) {
    out.extend_from_slice(b"time=");
    out.extend_from_slice(clock.at(record.index));
    put(out, &[" level=", LOGFMT_LEVELS[record.level], " source=", record.source]);
    put(out, &[" app=", record.application, " msg=\""]);
    message(record, Some("\\n"), out);
    out.extend_from_slice(b"\" request_id=");
    out.extend_from_slice(&record.digits);
    put(out, &[" region=", record.region]);
    if let Some(duration) = record.duration_ms {
        out.extend_from_slice(b" duration_ms=");
        decimal(duration, out);
    }
    out.push(b'\n');
}

fn plain(record: &Record, out: &mut Vec<u8>) {
    put(out, &[LEVELS[record.level].name, " ", record.application, " on ", record.source, ": "]);
    message(record, None, out);
    out.extend_from_slice(b" (request ");
    out.extend_from_slice(&record.digits);
    out.extend_from_slice(b")\n");
}
