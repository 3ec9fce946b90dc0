//! The names under which loggers write a record's fields: one table for JSON, logfmt and patterns.

use crate::level::Level;

/// The keys that fill a field, in the order in which they are preferred: the usual ones, then those that only one logger
/// writes so (Serilog and .NET in capitals and with `@`, Python's `asctime`, journald's). Last those that fill none by
/// themselves: `fields`, in which Rust's tracing has the message, and `metadata`. A key's place here is its slot.
pub const KEYS: [&str; 50] = [
    "timestamp",
    "@timestamp",
    "ts",
    "time",
    "datetime",
    "t",
    "date",
    "eventTime",
    "Timestamp",
    "@t",
    "asctime",
    "__REALTIME_TIMESTAMP",
    "level",
    "severity",
    "lvl",
    "loglevel",
    "log.level",
    "levelname",
    "severity_text",
    "Level",
    "@l",
    "LogLevel",
    "SeverityText",
    "PRIORITY",
    "source",
    "host",
    "hostname",
    "host.name",
    "_HOSTNAME",
    "application",
    "app",
    "service",
    "service.name",
    "program",
    "logger",
    "SYSLOG_IDENTIFIER",
    "message",
    "msg",
    "log",
    "body",
    "text",
    "event",
    "Message",
    "MESSAGE",
    "@m",
    "RenderedMessage",
    "@mt",
    "Body",
    "fields",
    "metadata",
];

pub const TIMES: std::ops::Range<usize> = 0..12;
pub const LEVELS: std::ops::Range<usize> = 12..24;
pub const SOURCES: std::ops::Range<usize> = 24..29;
pub const APPLICATIONS: std::ops::Range<usize> = 29..36;
pub const MESSAGES: std::ops::Range<usize> = 36..48;
pub const TIME: usize = 3;
pub const T: usize = 5;
pub const DATE: usize = 6;
pub const LOG_LEVEL: usize = 16;
pub const HOST: usize = 25;
pub const HOST_NAME: usize = 27;
pub const SERVICE: usize = 31;
pub const SERVICE_NAME: usize = 32;
pub const LOG: usize = 38;
pub const FIELDS: usize = 48;
pub const METADATA: usize = 49;

/// The slot of a key.
#[inline]
pub fn slot(key: &[u8]) -> Option<usize> {
    // By length first: most keys that are none of these are told apart by it alone.
    let found = match (key.len(), key) {
        (1, b"t") => T,
        (2, b"ts") => 2,
        (2, b"@t") => 9,
        (2, b"@l") => 20,
        (2, b"@m") => 44,
        (3, b"lvl") => 14,
        (3, b"app") => 30,
        (3, b"msg") => 37,
        (3, b"log") => LOG,
        (3, b"@mt") => 46,
        (4, b"time") => TIME,
        (4, b"date") => DATE,
        (4, b"host") => HOST,
        (4, b"body") => 39,
        (4, b"text") => 40,
        (4, b"Body") => 47,
        (5, b"level") => 12,
        (5, b"Level") => 19,
        (5, b"event") => 41,
        (6, b"source") => 24,
        (6, b"logger") => 34,
        (6, b"fields") => FIELDS,
        (7, b"asctime") => 10,
        (7, b"service") => SERVICE,
        (7, b"program") => 33,
        (7, b"message") => 36,
        (7, b"Message") => 42,
        (7, b"MESSAGE") => 43,
        (8, b"datetime") => 4,
        (8, b"severity") => 13,
        (8, b"loglevel") => 15,
        (8, b"LogLevel") => 21,
        (8, b"PRIORITY") => 23,
        (8, b"hostname") => 26,
        (8, b"metadata") => METADATA,
        (9, b"timestamp") => 0,
        (9, b"eventTime") => 7,
        (9, b"Timestamp") => 8,
        (9, b"log.level") => LOG_LEVEL,
        (9, b"levelname") => 17,
        (9, b"host.name") => HOST_NAME,
        (9, b"_HOSTNAME") => 28,
        (10, b"@timestamp") => 1,
        (11, b"application") => 29,
        (12, b"SeverityText") => 22,
        (12, b"service.name") => SERVICE_NAME,
        (13, b"severity_text") => 18,
        (15, b"RenderedMessage") => 45,
        (17, b"SYSLOG_IDENTIFIER") => 35,
        (20, b"__REALTIME_TIMESTAMP") => 11,
        _ => return None,
    };
    Some(found)
}

/// The slots of one field as bits.
pub const fn bits(slots: std::ops::Range<usize>) -> u64 {
    u64::MAX >> (64 - slots.end) & u64::MAX << slots.start
}

/// A level's name, the numbers of bunyan and pino, or a syslog severity, each also as text.
pub fn level(text: &[u8]) -> Option<Level> {
    if text.first().is_some_and(u8::is_ascii_digit) {
        return Level::from_number(i64::try_from(super::scan::whole_number(text, 3)?).ok()?);
    }
    Level::from_name(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_and_keys_agree() {
        for (i, key) in KEYS.iter().enumerate() {
            assert_eq!(slot(key.as_bytes()), Some(i), "{key}");
        }
        assert_eq!(slot(b"MsG"), None);
    }
}
