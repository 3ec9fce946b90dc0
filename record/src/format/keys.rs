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
    let (&first, &last) = (key.first()?, key.last()?);
    // By length and both ends first: they tell all of these apart, and most keys that are none of them at once.
    let found = match (key.len(), first, last) {
        (1, b't', b't') if key == b"t" => T,
        (2, b't', b's') if key == b"ts" => 2,
        (2, b'@', b't') if key == b"@t" => 9,
        (2, b'@', b'l') if key == b"@l" => 20,
        (2, b'@', b'm') if key == b"@m" => 44,
        (3, b'l', b'l') if key == b"lvl" => 14,
        (3, b'a', b'p') if key == b"app" => 30,
        (3, b'm', b'g') if key == b"msg" => 37,
        (3, b'l', b'g') if key == b"log" => LOG,
        (3, b'@', b't') if key == b"@mt" => 46,
        (4, b't', b'e') if key == b"time" => TIME,
        (4, b'd', b'e') if key == b"date" => DATE,
        (4, b'h', b't') if key == b"host" => HOST,
        (4, b'b', b'y') if key == b"body" => 39,
        (4, b't', b't') if key == b"text" => 40,
        (4, b'B', b'y') if key == b"Body" => 47,
        (5, b'l', b'l') if key == b"level" => 12,
        (5, b'L', b'l') if key == b"Level" => 19,
        (5, b'e', b't') if key == b"event" => 41,
        (6, b's', b'e') if key == b"source" => 24,
        (6, b'l', b'r') if key == b"logger" => 34,
        (6, b'f', b's') if key == b"fields" => FIELDS,
        (7, b'a', b'e') if key == b"asctime" => 10,
        (7, b's', b'e') if key == b"service" => SERVICE,
        (7, b'p', b'm') if key == b"program" => 33,
        (7, b'm', b'e') if key == b"message" => 36,
        (7, b'M', b'e') if key == b"Message" => 42,
        (7, b'M', b'E') if key == b"MESSAGE" => 43,
        (8, b'd', b'e') if key == b"datetime" => 4,
        (8, b's', b'y') if key == b"severity" => 13,
        (8, b'l', b'l') if key == b"loglevel" => 15,
        (8, b'L', b'l') if key == b"LogLevel" => 21,
        (8, b'P', b'Y') if key == b"PRIORITY" => 23,
        (8, b'h', b'e') if key == b"hostname" => 26,
        (8, b'm', b'a') if key == b"metadata" => METADATA,
        (9, b't', b'p') if key == b"timestamp" => 0,
        (9, b'e', b'e') if key == b"eventTime" => 7,
        (9, b'T', b'p') if key == b"Timestamp" => 8,
        (9, b'l', b'l') if key == b"log.level" => LOG_LEVEL,
        (9, b'l', b'e') if key == b"levelname" => 17,
        (9, b'h', b'e') if key == b"host.name" => HOST_NAME,
        (9, b'_', b'E') if key == b"_HOSTNAME" => 28,
        (10, b'@', b'p') if key == b"@timestamp" => 1,
        (11, b'a', b'n') if key == b"application" => 29,
        (12, b'S', b't') if key == b"SeverityText" => 22,
        (12, b's', b'e') if key == b"service.name" => SERVICE_NAME,
        (13, b's', b't') if key == b"severity_text" => 18,
        (15, b'R', b'e') if key == b"RenderedMessage" => 45,
        (17, b'S', b'R') if key == b"SYSLOG_IDENTIFIER" => 35,
        (20, b'_', b'P') if key == b"__REALTIME_TIMESTAMP" => 11,
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
