//! Who holds a batch's id, and ending them where they are ours and stopped.
//!
//! A worker that is stopped in the middle of its COPY keeps its transaction, and with it the ids of its batches: no
//! timeout of the server ends a session that waits for its client. Another worker that was given the same batch waits
//! for that transaction; meanwhile a second connection asks whom it waits for.

use std::time::Duration;

use record::{Batch, Id};
use tokio_postgres::Client;

use super::error::{Fault, PostgresError};
use super::session::{OURS, Session};
use super::target::Target;
use super::types::Uuid;
use super::writer::Trouble;

/// Long enough for whoever is about to commit, and short enough to ask for every batch of a group.
const PROBE_TIMEOUT_MS: u64 = 50;

const BLOCKERS: &str = "
    SELECT pid, coalesce(application_name, ''), coalesce(extract(epoch FROM now() - xact_start), 0)::float8
    FROM pg_stat_activity WHERE pid = ANY (pg_blocking_pids($1))";

/// Ends the sessions that the server process `waiting` waits for, where they are ours and have been in their
/// transaction for longer than `claim_after`, or were given up by this very writer. How many it ended. The connection
/// `watch` is made as needed.
pub(super) async fn terminate(
    target: &Target,
    watch: &mut Option<Client>,
    name: &str,
    waiting: i32,
    claim_after: Duration,
    abandoned: &[i32],
) -> Result<u64, PostgresError> {
    let client = match watch.take().filter(|client| !client.is_closed()) {
        Some(client) => client,
        None => target.connect(&format!("{name}/watch")).await?,
    };
    let mut ended = 0;
    for row in client.query(BLOCKERS, &[&waiting]).await? {
        let (pid, application, seconds): (i32, String, f64) = (row.get(0), row.get(1), row.get(2));
        let is_ours = application.starts_with(OURS);
        let is_given_up = application == name && abandoned.contains(&pid);
        if is_ours && (is_given_up || seconds > claim_after.as_secs_f64()) {
            // It may have moved on since: only the transaction that was seen is ended.
            let asked = "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity
                WHERE pid = $1 AND application_name = $2 AND extract(epoch FROM now() - xact_start)::float8 >= $3::float8";
            let row = client.query_one(asked, &[&pid, &application, &seconds]).await?;
            if row.get::<_, i64>(0) > 0 {
                tracing::warn!("ended the session {pid} of {application}: it had held a batch for {seconds:.0} s");
                ended += 1;
            }
        }
    }
    *watch = Some(client);
    Ok(ended)
}

/// The batches of a group whose ids another session holds right now. Needs a session outside of a transaction, and
/// leaves it so.
pub(super) async fn find_held(session: &Session, group: &[&Batch]) -> Result<Vec<Id>, Trouble> {
    session.begin().await?;
    let client = &session.client;
    client.batch_execute(&format!("SET LOCAL lock_timeout = {PROBE_TIMEOUT_MS}")).await?;
    let mut held = Vec::new();
    let mut parts = vec![group];
    while let Some(part) = parts.pop() {
        client.batch_execute("SAVEPOINT probe").await?;
        let streams: Vec<i16> = part.iter().map(|batch| batch.header().part).collect();
        let ids: Vec<Uuid> = part.iter().map(|batch| Uuid(batch.id())).collect();
        match client.query(&session.claim, &[&streams, &ids]).await {
            Ok(_) => client.batch_execute("RELEASE probe").await?,
            Err(error) if Fault::of(&error) == Fault::Locked => {
                client.batch_execute("ROLLBACK TO probe; RELEASE probe").await?;
                match part {
                    [batch] => held.push(batch.id()),
                    _ => {
                        let (head, tail) = part.split_at(part.len() / 2);
                        parts.extend([tail, head]);
                    }
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    session.rollback().await?;
    Ok(held)
}
