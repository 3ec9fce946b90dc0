//! A connection of a writer: checked, set up, with its statements prepared.

use std::time::Duration;

use tokio_postgres::{Client, Statement};

use super::error::PostgresError;
use super::found;
use super::partitions::Partitions;
use super::target::{Target, shorten};

/// A role or a database may have defaults that would break what a transaction here promises:
/// `synchronous_commit = off` above all, under which a COMMIT that was answered can be lost in a crash.
const SETUP: &str = "
    SET TIME ZONE 'UTC';
    SET DateStyle = 'ISO';
    SET client_min_messages = warning;
    SET statement_timeout = 0;
    SET idle_in_transaction_session_timeout = 0;
    SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED;
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/// Sorted, so that two writers with the same batches wait for each other in one order.
const CLAIM: &str = "
    INSERT INTO ingested_batches (part, batch_id)
    SELECT part, batch_id FROM unnest($1::smallint[], $2::uuid[]) AS batches (part, batch_id) ORDER BY part, batch_id
    ON CONFLICT DO NOTHING RETURNING batch_id";

pub(super) const COLUMNS: &str = "part, id, \"timestamp\", level, source, application, message, metadata";

pub(super) struct Session {
    pub client: Client,
    /// Of the server's process.
    pub pid: i32,
    pub claim: Statement,
    pub copy_logs: Statement,
    pub copy_counts: Statement,
    pub partitions: Partitions,
    begin: String,
}

impl Session {
    pub async fn open(target: &Target, name: &str, lock_timeout: Duration) -> Result<Session, PostgresError> {
        let client = target.connect(name).await?;
        found::inspect(&client).await?.for_writing()?;
        // Even a look at the partitions waits for whoever has locked `logs`.
        let lock_timeout = lock_timeout.as_millis().max(1);
        client.batch_execute(&format!("{SETUP}; SET lock_timeout = {lock_timeout}")).await?;
        let pid = client.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);
        let claim = client.prepare(CLAIM).await?;
        let copy_logs = client.prepare(&format!("COPY logs ({COLUMNS}) FROM STDIN (FORMAT binary)")).await?;
        let copy_counts =
            "COPY log_counts (part, minute, level, source, application, count) FROM STDIN (FORMAT binary)";
        let copy_counts = client.prepare(copy_counts).await?;
        let partitions = Partitions::load(&client).await?;
        let begin = format!("BEGIN; SET LOCAL lock_timeout = {lock_timeout}");
        Ok(Session { client, pid, claim, copy_logs, copy_counts, partitions, begin })
    }

    pub async fn begin(&self) -> Result<(), tokio_postgres::Error> {
        self.client.batch_execute(&self.begin).await
    }

    /// `COMMIT` of a failed transaction is answered by a rollback, without an error: nothing here sends one.
    pub async fn commit(&self) -> Result<(), tokio_postgres::Error> {
        self.client.batch_execute("COMMIT").await
    }

    pub async fn rollback(&self) -> Result<(), tokio_postgres::Error> {
        self.client.batch_execute("ROLLBACK").await
    }
}

/// `logboom/<host>/<pid>/<name>`: how a session of ours is told from others, and from one another.
pub(super) fn application_name(name: &str) -> String {
    /// Leaves room for the rest of the 63 bytes that Postgres keeps.
    const HOST_CHARS_MAX: usize = 24;
    let host: String = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .chars()
        .filter(|char| *char != '/' && char.is_ascii_graphic())
        .take(HOST_CHARS_MAX)
        .collect();
    shorten(&format!("{OURS}{host}/{}/{name}", std::process::id())).to_owned()
}

/// What the names of all sessions of all processes begin with.
pub(super) const OURS: &str = "logboom/";
