//! The names under which loggers write a record's fields: one table for JSON, logfmt and patterns.

use crate::level::Level;

/// The keys that fill a field, in the order in which they are preferred. A key's place here is its slot.
pub const KEYS: [&str; 32] = [
    "timestamp",
    "@timestamp",
    "ts",
    "time",
    "datetime",
    "t",
    "date",
    "eventTime",
    "level",
    "severity",
    "lvl",
    "loglevel",
    "log.level",
    "levelname",
    "severity_text",
    "source",
    "host",
    "hostname",
    "host.name",
    "application",
    "app",
    "service",
    "service.name",
    "program",
    "logger",
    "message",
    "msg",
    "log",
    "body",
    "text",
    "event",
    "metadata",
];

pub const TIMES: std::ops::Range<usize> = 0..8;
pub const LEVELS: std::ops::Range<usize> = 8..15;
pub const SOURCES: std::ops::Range<usize> = 15..19;
pub const APPLICATIONS: std::ops::Range<usize> = 19..25;
pub const MESSAGES: std::ops::Range<usize> = 25..31;
pub const TIME: usize = 3;
pub const T: usize = 5;
pub const DATE: usize = 6;
pub const LOG_LEVEL: usize = 12;
pub const HOST: usize = 16;
pub const HOST_NAME: usize = 18;
pub const SERVICE: usize = 21;
pub const SERVICE_NAME: usize = 22;
pub const LOG: usize = 27;
pub const METADATA: usize = 31;

/// The slot of a key.
#[inline]
pub fn slot(key: &[u8]) -> Option<usize> {
    // By length first: most keys that are none of these are told apart by it alone.
    let found = match (key.len(), key) {
        (1, b"t") => T,
        (2, b"ts") => 2,
        (3, b"lvl") => 10,
        (3, b"app") => 20,
        (3, b"msg") => 26,
        (3, b"log") => LOG,
        (4, b"time") => TIME,
        (4, b"date") => DATE,
        (4, b"host") => HOST,
        (4, b"body") => 28,
        (4, b"text") => 29,
        (5, b"level") => 8,
        (5, b"event") => 30,
        (6, b"source") => 15,
        (6, b"logger") => 24,
        (7, b"message") => 25,
        (7, b"service") => SERVICE,
        (7, b"program") => 23,
        (8, b"metadata") => METADATA,
        (8, b"severity") => 9,
        (8, b"hostname") => 17,
        (8, b"loglevel") => 11,
        (8, b"datetime") => 4,
        (9, b"timestamp") => 0,
        (9, b"host.name") => HOST_NAME,
        (9, b"log.level") => LOG_LEVEL,
        (9, b"levelname") => 13,
        (9, b"eventTime") => 7,
        (10, b"@timestamp") => 1,
        (11, b"application") => 19,
        (12, b"service.name") => SERVICE_NAME,
        (13, b"severity_text") => 14,
        _ => return None,
    };
    Some(found)
}

/// The slots of one field as bits.
pub const fn bits(slots: std::ops::Range<usize>) -> u32 {
    u32::MAX >> (32 - slots.end) & u32::MAX << slots.start
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
        assert_eq!(slot(b"Message"), None);
    }
}
