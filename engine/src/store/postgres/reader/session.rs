//! A query's hold on a connection: one read-only transaction, so one snapshot, with a limit on its time.
//!
//! A session that ends well gives its connection back; one that is dropped on the way closes it, so that nobody gets
//! one in the middle of something.

use std::pin::Pin;
use std::time::Duration;

use deadpool_postgres::{Object, Pool, PoolError, Timeouts};
use tokio_postgres::{CancelToken, Client, RowStream};

use super::failure::Failure;
use crate::store::postgres::sql::Sql;

/// The server's own limit comes after the reader's, which knows what to tell: it is for readers that are gone.
const SERVER_GRACE: Duration = Duration::from_secs(1);
/// Locks are let go of once so many partitions have been read. Each counts with its six indexes, and the server's table
/// has room for 64 a connection (`max_locks_per_transaction`), shared by all: a few queries may take double.
const PARTITIONS_LOCKED_MAX: usize = 16;

pub struct Session {
    /// `None` once it has been given back.
    connection: Option<Object>,
    locked: usize,
}

impl Session {
    /// Takes a connection, waiting for one and for its making within `limit`, and begins; statements are ended by the
    /// server after `statement_limit`.
    pub async fn begin(pool: &Pool, limit: Duration, statement_limit: Option<Duration>) -> Result<Session, Failure> {
        // What the server has closed meanwhile is thrown away here, without a word: a new one is made.
        pool.retain(|client, _| !client.is_closed());
        let limits = Timeouts { wait: Some(limit), create: Some(limit), recycle: Some(limit) };
        let connection = pool.timeout_get(&limits).await.map_err(Failure::Pool)?;
        let session = Session { connection: Some(connection), locked: 0 };
        let statement_ms = match statement_limit {
            // As milliseconds in an int; beyond 24 days there is none.
            Some(limit) => i32::try_from((limit + SERVER_GRACE).as_millis()).unwrap_or(0),
            None => 0,
        };
        // Compiling a plan takes longer than running most of them. A slow taker of an export is no idle session.
        session
            .execute(&format!(
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = {statement_ms}; \
                 SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL jit = off; SAVEPOINT step"
            ))
            .await?;
        Ok(session)
    }

    pub fn cancel_token(&self) -> Option<CancelToken> {
        self.connection.as_ref().map(|connection| connection.cancel_token())
    }

    /// Starts a query. Rows come as they are taken: what is not taken waits in the server.
    pub async fn stream(&self, sql: Sql) -> Result<Pin<Box<RowStream>>, Failure> {
        let (text, values) = sql.into_parts();
        Ok(Box::pin(self.connection()?.query_typed_raw(&text, values).await?))
    }

    /// For a query of few rows, asked in this transaction.
    pub fn client(&self) -> Result<&Client, Failure> {
        Ok(self.connection()?)
    }

    /// Notes that so many partitions have been read, and lets go of their locks when they are many: else a walk over
    /// years would fill the server's table of locks, and hold up whoever wants to drop an old day.
    pub async fn let_go(&mut self, partitions: usize) -> Result<(), Failure> {
        self.locked += partitions;
        if self.locked >= PARTITIONS_LOCKED_MAX {
            self.locked = 0;
            self.execute("ROLLBACK TO SAVEPOINT step").await?;
        }
        Ok(())
    }

    /// Ends the transaction and gives the connection back.
    pub async fn end(mut self) {
        // What was asked for has been answered: a connection that fails here is only not used again.
        if self.execute("COMMIT").await.is_ok() {
            drop(self.connection.take());
        }
    }

    async fn execute(&self, statements: &str) -> Result<(), Failure> {
        Ok(self.connection()?.batch_execute(statements).await?)
    }

    fn connection(&self) -> Result<&Object, Failure> {
        self.connection.as_ref().ok_or(Failure::Pool(PoolError::Closed))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            // Out of the pool, and closed.
            drop(Object::take(connection));
        }
    }
}
