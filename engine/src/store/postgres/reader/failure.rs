//! What can go wrong with a query, told with its mend.

use tokio_postgres::error::SqlState;

use crate::store::QueryError;
use crate::store::postgres::error;

/// Why a query got no answer from Postgres.
#[derive(Debug)]
pub enum Failure {
    /// Said already, in words for whoever asks.
    Query(QueryError),
    Postgres(tokio_postgres::Error),
    /// No connection could be had.
    Pool(deadpool_postgres::PoolError),
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Failure {
        Failure::Query(error)
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Failure {
        Failure::Postgres(error)
    }
}

impl Failure {
    /// What was read is not what this program writes.
    pub fn schema(text: String) -> Failure {
        Failure::Query(QueryError::Store(text))
    }

    /// Whether the connection ended under the query: a fresh one may well do.
    pub fn is_lost(&self) -> bool {
        let Failure::Postgres(error) = self else { return false };
        match error.as_db_error() {
            Some(db) => [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN].contains(db.code()),
            None => error.is_closed() || has_io_cause(error),
        }
    }

    /// Whether the server ended the statement on request, or because its time was up.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Failure::Postgres(error) if error.code() == Some(&SqlState::QUERY_CANCELED))
    }

    /// In words; `server` names it.
    pub fn into_query_error(self, server: &str) -> QueryError {
        match self {
            Failure::Query(error) => error,
            Failure::Postgres(error) => QueryError::Store(tell(&error, server)),
            Failure::Pool(deadpool_postgres::PoolError::Backend(error)) => QueryError::Store(tell(&error, server)),
            Failure::Pool(deadpool_postgres::PoolError::Timeout(_)) => QueryError::Store(format!(
                "{server}: no connection within the time for one: all are in use, or it does not answer; raise \
                 db_connections_max, or look after the server"
            )),
            Failure::Pool(error) => QueryError::Store(format!("{server}: {error}")),
        }
    }
}

fn has_io_cause(error: &tokio_postgres::Error) -> bool {
    let first = std::error::Error::source(error);
    std::iter::successors(first, |cause| cause.source()).any(|cause| cause.is::<std::io::Error>())
}

/// As the rest of the store tells it, but for what a reader needs otherwise than a writer.
fn tell(error: &tokio_postgres::Error, server: &str) -> String {
    let mend = match error.code().map(SqlState::code) {
        Some("42501") => "GRANT SELECT ON logs, log_counts to the role of db_url",
        Some("53300") => "raise max_connections there, or lower db_connections_max",
        Some("53200") => "raise max_locks_per_transaction there, or narrow the time range",
        Some("53100" | "53400") => "narrow the time range, or make room for temporary files there",
        Some("57014") => "somebody ended the query there; ask again",
        Some("57P01" | "57P02" | "57P03") => "it is stopping or starting; ask again shortly",
        _ => return format!("{server}: {}", error::tell(error)),
    };
    let text = error.as_db_error().map_or("", |db| db.message());
    format!("{server}: Postgres answers {text}: {mend}")
}
