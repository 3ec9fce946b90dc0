//! What a failure of Postgres means: wait for it, give up on it, or look at the rows.
//!
//! SQLSTATEs are those of the manual's appendix A. What none of the lists names counts as passing: a distributed
//! Postgres answers XX000 for a lost worker and for a duplicate key alike, so for that one the text decides.

use tokio_postgres::error::{DbError, SqlState};

/// Why the store cannot be used now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostgresError {
    /// It cannot be reached, starts up, shuts down, is full: wait, and try again.
    #[error("{0}")]
    Away(String),
    /// It answers, and waiting will not help.
    #[error("{0}")]
    Refused(String),
}

impl PostgresError {
    pub fn is_away(&self) -> bool {
        matches!(self, PostgresError::Away(_))
    }

    pub fn text(&self) -> &str {
        match self {
            PostgresError::Away(text) | PostgresError::Refused(text) => text,
        }
    }
}

impl From<tokio_postgres::Error> for PostgresError {
    fn from(error: tokio_postgres::Error) -> PostgresError {
        match Fault::of(&error) {
            Fault::Refused => PostgresError::Refused(tell(&error)),
            _ => PostgresError::Away(tell(&error)),
        }
    }
}

/// What a failed statement says of the transaction that it was in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The connection is gone; whether a COMMIT under way took place is not known.
    Lost,
    /// Somebody held a lock for longer than `lock_timeout`.
    Locked,
    /// A row's primary key is there already.
    Duplicate,
    /// A row's day has no partition.
    NoPartition,
    /// Too much for one transaction: fewer batches may do.
    TooMuch,
    /// A row is not to Postgres' liking.
    Data,
    /// Neither this program nor time will mend it.
    Refused,
    /// All else: it may pass.
    Passing,
}

impl Fault {
    pub fn of(error: &tokio_postgres::Error) -> Fault {
        match error.as_db_error() {
            Some(db) => Fault::of_state(db),
            None => Fault::of_connection(error),
        }
    }

    fn of_state(db: &DbError) -> Fault {
        let state = db.code();
        if state == &SqlState::LOCK_NOT_AVAILABLE {
            return Fault::Locked;
        }
        if state == &SqlState::UNIQUE_VIOLATION {
            return Fault::Duplicate;
        }
        // A real check constraint has a name; a row without a partition has none.
        if state == &SqlState::CHECK_VIOLATION && db.constraint().is_none() {
            return Fault::NoPartition;
        }
        // No room in the table of locks, or no memory.
        if state == &SqlState::OUT_OF_MEMORY {
            return Fault::TooMuch;
        }
        if state == &SqlState::INTERNAL_ERROR {
            let duplicate = db.message().contains("duplicate key value violates unique constraint");
            return if duplicate { Fault::Duplicate } else { Fault::Passing };
        }
        // A standby that waits to become the primary, and a server on its way.
        if state == &SqlState::READ_ONLY_SQL_TRANSACTION {
            return Fault::Passing;
        }
        match state.code().get(..2).unwrap_or_default() {
            // 54: program limits, as an index row that is too long. P0: a trigger of the user's own.
            "22" | "23" | "44" | "54" | "P0" => Fault::Data,
            "28" | "3D" | "3F" | "42" => Fault::Refused,
            // Whoever ends a session leaves its transaction without an answer.
            "08" => Fault::Lost,
            "57" if state != &SqlState::QUERY_CANCELED => Fault::Lost,
            _ => Fault::Passing,
        }
    }

    /// Errors that are not the server's have no kind to ask for, only a text (tokio-postgres' `error/mod.rs`).
    fn of_connection(error: &tokio_postgres::Error) -> Fault {
        let text = error.to_string();
        // The server takes no TLS, or shows a certificate that is not trusted.
        if text.starts_with("error performing TLS handshake") {
            return if is_cut(error) { Fault::Lost } else { Fault::Refused };
        }
        let ours = ["authentication error", "invalid configuration", "invalid connection string"];
        if ours.iter().any(|start| text.starts_with(start)) { Fault::Refused } else { Fault::Lost }
    }
}

/// Whether the other side went away in the middle of it.
fn is_cut(error: &tokio_postgres::Error) -> bool {
    use std::io::ErrorKind::*;
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            return matches!(io.kind(), UnexpectedEof | ConnectionReset | BrokenPipe | TimedOut | ConnectionAborted);
        }
        cause = inner.source();
    }
    false
}

/// The error as one line, with the mend.
pub(super) fn tell(error: &tokio_postgres::Error) -> String {
    let Some(db) = error.as_db_error() else {
        return format!("{}: {}", chain(error), mend_of_connection(error));
    };
    let detail = db.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
    let text = format!("Postgres answers {} (SQLSTATE {}){detail}", db.message(), db.code().code());
    match mend_of_state(db) {
        Some(mend) => format!("{text}: {mend}"),
        None => text,
    }
}

/// An error and its causes, each once.
fn chain(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = inner.source();
    }
    text
}

fn mend_of_connection(error: &tokio_postgres::Error) -> &'static str {
    let text = chain(error);
    if text.contains("server does not support TLS") {
        "the server takes no TLS: turn `ssl` on there, or take sslmode out of db_url"
    } else if text.contains("TLS handshake") {
        "name the server's authority with sslrootcert=FILE in db_url, or choose another sslmode"
    } else if text.contains("password missing") {
        "the server asks for a password: write it into db_url, as postgresql://user:password@host/database"
    } else if text.contains("lookup address") {
        "is the host in db_url right?"
    } else {
        "is the server of db_url running, and can it be reached from here?"
    }
}

fn mend_of_state(db: &DbError) -> Option<&'static str> {
    let state = db.code();
    Some(match state.code() {
        "28P01" | "28000" => "user, password or pg_hba.conf do not fit: correct db_url, or the server",
        "3D000" => "create it (`CREATE DATABASE … ENCODING 'UTF8'`), or correct db_url",
        "42501" => "the role of db_url lacks rights: it must own the tables of Logboom (docs/POSTGRES.md)",
        "42P01" | "42703" | "42704" | "42883" | "3F000" => "the schema is not this version's: run `logboom migrate`",
        "53300" => "raise max_connections, or use fewer workers",
        "53100" => "make room on the server's disk",
        "53200" => "raise max_locks_per_transaction, or give the server more memory",
        "25006" => "the server is a standby: point db_url to the primary",
        "55P03" => "another session has locked the table: pg_locks and pg_stat_activity tell which",
        "57P03" => "it is starting up or shutting down",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_whether_to_wait() {
        assert!(PostgresError::Away(String::new()).is_away());
        assert!(!PostgresError::Refused(String::new()).is_away());
    }
}
