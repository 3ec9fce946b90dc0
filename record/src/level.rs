//! Severity: six levels, ordered, and the many names that systems give them.

/// How severe a record is. The order is that of severity, so `level >= Level::Warn` means what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Level {
    Trace = 0,
    Debug = 1,
    Info = 2,
    Warn = 3,
    Error = 4,
    Fatal = 5,
}

impl Level {
    pub const COUNT: usize = 6;
    pub const ALL: [Level; Level::COUNT] =
        [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error, Level::Fatal];

    /// The canonical name, which is also the label of the Postgres enum.
    pub const fn as_str(self) -> &'static str {
        match self {
            Level::Trace => "TRACE",
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Warn => "WARN",
            Level::Error => "ERROR",
            Level::Fatal => "FATAL",
        }
    }

    /// The level with this number, as [`Level::index`] gives it.
    pub const fn from_index(index: usize) -> Option<Level> {
        if index < Level::COUNT { Some(Level::ALL[index]) } else { None }
    }

    pub const fn index(self) -> usize {
        self as usize
    }

    /// Reads a name, case folded, or one of its synonyms: those of syslog (RFC 5424 §6.2.1), log4j, Python,
    /// .NET, Go and Apache, with their usual abbreviations. `None` when it is no level's name.
    pub fn from_name(name: &[u8]) -> Option<Level> {
        let name = name.trim_ascii();
        let mut folded = [0u8; 13];
        let folded = folded.get_mut(..name.len())?;
        for (to, from) in folded.iter_mut().zip(name) {
            *to = from.to_ascii_uppercase();
        }
        Some(match &*folded {
            b"INFO" | b"INFORMATION" | b"INFORMATIONAL" | b"INF" | b"NOTICE" | b"LOG" => Level::Info,
            b"WARN" | b"WARNING" | b"WRN" => Level::Warn,
            b"ERROR" | b"ERR" | b"EROR" | b"SEVERE" | b"FAILURE" => Level::Error,
            b"DEBUG" | b"DBG" | b"DBUG" | b"FINE" => Level::Debug,
            b"TRACE" | b"TRC" | b"VERBOSE" | b"FINER" | b"FINEST" | b"SILLY" => Level::Trace,
            b"FATAL" | b"CRITICAL" | b"CRIT" | b"ALERT" | b"EMERG" | b"EMERGENCY" | b"PANIC" | b"DPANIC" | b"FTL" => {
                Level::Fatal
            }
            _ => return None,
        })
    }

    /// A syslog severity (RFC 5424 §6.2.1, table 2): 0–2 FATAL, 3 ERROR, 4 WARN, 5–6 INFO, 7 DEBUG.
    pub const fn from_syslog(severity: u8) -> Option<Level> {
        Some(match severity {
            0..=2 => Level::Fatal,
            3 => Level::Error,
            4 => Level::Warn,
            5 | 6 => Level::Info,
            7 => Level::Debug,
            _ => return None,
        })
    }

    /// A number as structured loggers write it: 10 to 60 in tens for bunyan and pino, 0 to 7 for syslog.
    pub const fn from_number(number: i64) -> Option<Level> {
        Some(match number {
            0..=7 => return Level::from_syslog(number as u8),
            10 => Level::Trace,
            20 => Level::Debug,
            30 => Level::Info,
            40 => Level::Warn,
            50 => Level::Error,
            60 => Level::Fatal,
            _ => return None,
        })
    }

    /// What an HTTP status says of the request: 5xx ERROR, 4xx WARN, all else INFO.
    pub const fn from_http_status(status: u16) -> Level {
        match status {
            500..=599 => Level::Error,
            400..=499 => Level::Warn,
            _ => Level::Info,
        }
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_synonyms() {
        for level in Level::ALL {
            assert_eq!(Level::from_name(level.as_str().as_bytes()), Some(level));
            assert_eq!(Level::from_index(level.index()), Some(level));
        }
        for (name, level) in [
            ("warning", Level::Warn),
            ("Notice", Level::Info),
            ("VERBOSE", Level::Trace),
            ("critical", Level::Fatal),
            ("Alert", Level::Fatal),
            ("emerg", Level::Fatal),
            ("panic", Level::Fatal),
            (" error ", Level::Error),
        ] {
            assert_eq!(Level::from_name(name.as_bytes()), Some(level), "{name}");
        }
        for name in ["", "LOUD", "INFORMATIONALLY", "\u{17f}ERR"] {
            assert_eq!(Level::from_name(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn order_is_severity() {
        assert!(Level::ALL.is_sorted());
    }
}
