//! Servers of other kinds under the same load: where requests go, in which shape, what an answer says, and how the store
//! is asked. `loadgen/tests/targets.rs` has what is sent, byte for byte.

use std::time::SystemTime;

use crate::generate::{START, Times};
use crate::prepared::{Form, Framing, Lines, Size};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Logboom,
    /// VictoriaLogs' `/insert/jsonline`, and what speaks it. It takes records within its retention alone: ours are of
    /// 2026-11-20, so start it with a `-retentionPeriod` that reaches there.
    Jsonline,
    /// `_bulk`, as Elasticsearch, OpenSearch and others take it.
    Elasticsearch,
    /// `/loki/api/v1/push` of Loki 3, with structured metadata.
    Loki,
    /// Whatever takes NDJSON at a path: a sink.
    Http,
    /// RFC 5424 over TCP: no HTTP, and no answers.
    Syslog(Framing),
    /// The Python reference in `benches/peers/fastapi-baseline`.
    Baseline,
    /// The same, its batches straight into Postgres.
    BaselineStore,
}

/// What an answer of 2xx says of the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// All were taken.
    Status,
    /// `"accepted":` is how many.
    Accepted,
    /// `"errors":true`: some were not, and it is not said how many.
    Errors,
    /// There are none: a request is done once the kernel has it.
    Never,
}

/// One way to bring records.
#[derive(Debug, Clone, Copy)]
pub struct Dialect {
    path: &'static str,
    content_type: &'static str,
    lines: Lines,
    times: Times,
    /// Of a request that is to be large.
    pub size: Size,
    pub answers: Answers,
}

impl Dialect {
    pub fn is_json(&self) -> bool {
        self.lines == Lines::Json
    }

    pub fn form<'a>(&self, authority: &'a str, size: Size) -> Form<'a> {
        Form {
            authority,
            path: self.path,
            content_type: self.content_type,
            size,
            source: None,
            lines: self.lines,
            times: self.times,
        }
    }
}

const NDJSON: &str = "application/x-ndjson";
const JSON: &str = "application/json";
const BATCH_BYTES: usize = 1024 * 1024;
/// What a client of the reference sends at a time; it takes no more than 10,000.
const BASELINE_LINES: usize = 1_000;
/// Loki refuses what is more than a week old or ten minutes ahead: records begin so long ago, close enough together that
/// 25 million of them end before now.
const LOKI_BEFORE_US: u64 = 45 * 60 * 1_000_000;
const LOKI_STEP_US: u64 = 100;

impl Target {
    pub const ALL: &[(&str, Target)] = &[
        ("logboom", Target::Logboom),
        ("jsonline", Target::Jsonline),
        ("elasticsearch", Target::Elasticsearch),
        ("loki", Target::Loki),
        ("http", Target::Http),
        ("syslog", Target::Syslog(Framing::Octets)),
        ("syslog-lf", Target::Syslog(Framing::LineFeed)),
        ("baseline", Target::Baseline),
    ];

    pub fn by_name(name: &str) -> Option<Target> {
        Target::ALL.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
    }

    pub fn batch(self) -> Dialect {
        let plain = Dialect {
            path: "/",
            content_type: NDJSON,
            lines: Lines::Json,
            times: START,
            size: Size::Bytes(BATCH_BYTES),
            answers: Answers::Status,
        };
        let baseline = Dialect { content_type: JSON, lines: Lines::Array, size: Size::Lines(BASELINE_LINES), ..plain };
        match self {
            Target::Logboom => Dialect { path: "/data/batch", answers: Answers::Accepted, ..plain },
            Target::Jsonline => Dialect {
                path: "/insert/jsonline?_time_field=timestamp&_msg_field=message&_stream_fields=source,application",
                ..plain
            },
            Target::Elasticsearch => Dialect {
                // Without the filter an answer names every record.
                path: "/logs/_bulk?filter_path=errors",
                lines: Lines::Bulk,
                answers: Answers::Errors,
                ..plain
            },
            Target::Loki => Dialect {
                path: "/loki/api/v1/push",
                content_type: JSON,
                lines: Lines::Loki,
                times: Times { start_us: now_us().saturating_sub(LOKI_BEFORE_US), step_us: LOKI_STEP_US },
                ..plain
            },
            Target::Http => plain,
            Target::Syslog(framing) => Dialect { lines: Lines::Syslog(framing), answers: Answers::Never, ..plain },
            Target::Baseline => Dialect { path: "/data/batch", ..baseline },
            Target::BaselineStore => Dialect { path: "/data/batch?store=db", ..baseline },
        }
    }

    /// One record a request: into the queue, where there is one.
    pub fn fast(self) -> Dialect {
        match self {
            Target::Logboom | Target::Baseline | Target::BaselineStore => Dialect {
                path: "/data/fast",
                content_type: JSON,
                lines: Lines::Json,
                answers: Answers::Status,
                ..self.batch()
            },
            other => other.batch(),
        }
    }

    /// One record a request, found at once.
    pub fn direct(self) -> Dialect {
        match self {
            Target::Logboom | Target::Baseline | Target::BaselineStore => Dialect { path: "/data/", ..self.fast() },
            other => other.batch(),
        }
    }

    /// Where it tells how many records it has, and under which keys.
    pub fn total(self) -> Option<(&'static str, &'static [&'static str])> {
        match self {
            Target::Logboom => Some(("/stats", &["total"])),
            Target::Jsonline => Some(("/select/logsql/query?query=*%20%7C%20count()%20total", &["total"])),
            Target::Elasticsearch => Some(("/logs/_count", &["count"])),
            Target::Loki => Some((
                "/loki/api/v1/query?query=sum(count_over_time(%7Bsource%3D~%22.%2B%22%7D%5B24h%5D))",
                &["data", "result", "0", "value", "1"],
            )),
            Target::Http | Target::Syslog(_) | Target::Baseline | Target::BaselineStore => None,
        }
    }

    /// Where it gives out all its records, as lines that hold their numbers.
    pub fn export(self) -> Option<&'static str> {
        match self {
            Target::Logboom => Some("/logs/export?format=ndjson"),
            Target::Jsonline => Some("/select/logsql/query?query=*"),
            _ => None,
        }
    }
}

fn now_us() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(START.start_us, |now| now.as_micros() as u64)
}
