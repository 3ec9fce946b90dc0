//! Servers of other kinds under the same load: where requests go, in which shape, and how the store is asked.

use crate::prepared::{Form, Lines, Size};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Logboom,
    /// VictoriaLogs' `/insert/jsonline`, and what speaks it.
    Jsonline,
    /// `_bulk`, as Elasticsearch, OpenSearch and others take it.
    Elasticsearch,
    /// Whatever takes NDJSON at `/`: a sink.
    Http,
}

/// One way to bring records.
#[derive(Debug, Clone, Copy)]
pub struct Dialect {
    path: &'static str,
    content_type: &'static str,
    /// Before each record.
    prefix: &'static str,
    /// The answer tells how many records were taken.
    pub counts_accepted: bool,
}

impl Dialect {
    pub fn form<'a>(&self, authority: &'a str, size: Size) -> Form<'a> {
        Form {
            authority,
            path: self.path,
            content_type: self.content_type,
            size,
            source: None,
            prefix: self.prefix,
            lines: Lines::Numbered,
        }
    }
}

const NDJSON: &str = "application/x-ndjson";

impl Target {
    pub const ALL: &[(&str, Target)] = &[
        ("logboom", Target::Logboom),
        ("jsonline", Target::Jsonline),
        ("elasticsearch", Target::Elasticsearch),
        ("http", Target::Http),
    ];

    pub fn by_name(name: &str) -> Option<Target> {
        Target::ALL.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
    }

    pub fn batch(self) -> Dialect {
        let plain = Dialect { path: "/", content_type: NDJSON, prefix: "", counts_accepted: false };
        match self {
            Target::Logboom => Dialect { path: "/data/batch", counts_accepted: true, ..plain },
            Target::Jsonline => Dialect {
                path: "/insert/jsonline?_time_field=timestamp&_msg_field=message&_stream_fields=source,application",
                ..plain
            },
            Target::Elasticsearch => Dialect { path: "/logs/_bulk", prefix: "{\"create\":{}}\n", ..plain },
            Target::Http => plain,
        }
    }

    /// One record a request: into the queue, where there is one.
    pub fn fast(self) -> Dialect {
        match self {
            Target::Logboom => {
                Dialect { path: "/data/fast", content_type: "application/json", prefix: "", counts_accepted: false }
            }
            other => other.batch(),
        }
    }

    /// One record a request, found at once.
    pub fn direct(self) -> Dialect {
        match self {
            Target::Logboom => Dialect { path: "/data/", ..self.fast() },
            other => other.batch(),
        }
    }

    /// Where it tells how many records it has, and under which key.
    pub fn total(self) -> Option<(&'static str, &'static str)> {
        match self {
            Target::Logboom => Some(("/stats", "total")),
            Target::Jsonline => Some(("/select/logsql/query?query=*%20%7C%20count()%20total", "total")),
            Target::Elasticsearch => Some(("/logs/_count", "count")),
            Target::Http => None,
        }
    }

    /// Where it gives out all its records, as lines that hold their numbers.
    pub fn export(self) -> Option<&'static str> {
        match self {
            Target::Logboom => Some("/logs/export?format=ndjson"),
            Target::Jsonline => Some("/select/logsql/query?query=*"),
            Target::Elasticsearch | Target::Http => None,
        }
    }
}
