//! What can go wrong with a query, told with its mend.

use tokio_postgres::error::SqlState;

use crate::store::QueryError;

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
                "no connection to {server} within the time for one: all are in use, or it does not answer; try again, \
                 or look after the server"
            )),
            Failure::Pool(error) => QueryError::Store(format!("no connection to {server}: {error}")),
        }
    }
}

fn has_io_cause(error: &tokio_postgres::Error) -> bool {
    causes(error).any(|cause| cause.is::<std::io::Error>())
}

fn causes(error: &tokio_postgres::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(std::error::Error::source(error), |cause| cause.source())
}

fn tell(error: &tokio_postgres::Error, server: &str) -> String {
    let Some(db) = error.as_db_error() else {
        let why: Vec<String> = causes(error).map(|cause| format!(": {cause}")).collect();
        return format!("{server} cannot be reached ({error}{}): start it, or correct DB_URL", why.concat());
    };
    let detail = db.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
    let mend = match db.code().code() {
        "28P01" | "28000" => ": correct user and password in DB_URL, or pg_hba.conf",
        "3D000" => ": create the database, or correct DB_URL",
        "42P01" | "42703" | "42704" | "42883" | "3F000" => ": run `logboom migrate`",
        "42501" => ": GRANT SELECT on logs and log_counts to this role",
        "53300" => ": raise max_connections there, or lower queries_max",
        "53200" => ": raise max_locks_per_transaction there, or narrow the time range",
        "53100" | "53400" => ": narrow the time range, or make room for temporary files there",
        "57014" => ": somebody ended it there; ask again",
        "57P01" | "57P02" | "57P03" => ": it stops or starts; try again shortly",
        _ => "",
    };
    format!("{server} says {} (SQLSTATE {}){detail}{mend}", db.message(), db.code().code())
}
