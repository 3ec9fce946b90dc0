//! A batch that a plain COPY does not store: rows of it are there already, or Postgres refuses some.
//!
//! Within the transaction that holds the batch's id, its rows go through a temporary table and on into `logs` ON
//! CONFLICT DO NOTHING, so that what was stored before stays as it is. Where rows are refused, halves are tried, each
//! under a savepoint, until single rows are left: those are the dead letters.

use std::collections::HashSet;

use bytes::Bytes;
use record::{Batch, Id, Row};

use super::counters::{Counters, add};
use super::counts::Counting;
use super::error::Fault;
use super::session::{COLUMNS, Session};
use super::types::{Uuid, copy};
use super::writer::Trouble;

const AGAIN: &str = "logboom_again";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    pub rows: u64,
    /// Rows that were there.
    pub before: u64,
    pub dead: u64,
}

/// A row, and the batch that it came in.
#[derive(Clone, Copy)]
pub(super) struct Origin<'a> {
    pub row: Row<'a>,
    pub batch: Id,
}

/// Stores the rows of a batch whose id the session's transaction holds.
pub(super) async fn store(session: &Session, batch: &Batch, counters: &Counters) -> Result<Done, Trouble> {
    let rows: Vec<Origin> = batch.rows().map(|row| Origin { row, batch: batch.id() }).collect();
    let done = store_rows(session, &rows).await?;
    add(&counters.stored_before_rows, done.before);
    Ok(done)
}

pub(super) async fn store_rows(session: &Session, rows: &[Origin<'_>]) -> Result<Done, Trouble> {
    let client = &session.client;
    client.batch_execute(&format!("CREATE TEMPORARY TABLE {AGAIN} (LIKE logs) ON COMMIT DROP")).await?;
    let mut done = Done::default();
    let mut counting = Counting::default();
    let mut parts = vec![rows];
    while let Some(part) = parts.pop() {
        client.batch_execute("SAVEPOINT rows").await?;
        match insert(session, part).await {
            Ok(fresh) => {
                client.batch_execute(&format!("TRUNCATE {AGAIN}; RELEASE rows")).await?;
                done.rows += fresh.len() as u64;
                done.before += (part.len() - fresh.len()) as u64;
                let mut fresh = fresh;
                // A batch may hold a row twice; it was stored once.
                part.iter()
                    .filter(|origin| fresh.remove(&origin.row.id()))
                    .for_each(|origin| counting.add(&origin.row));
            }
            Err(error) if Fault::of(&error) == Fault::Data => {
                client.batch_execute("ROLLBACK TO rows; RELEASE rows").await?;
                match part {
                    [origin] => {
                        set_aside(session, origin, &super::error::tell(&error)).await?;
                        done.dead += 1;
                    }
                    _ => {
                        let (head, tail) = part.split_at(part.len() / 2);
                        parts.extend([tail, head]);
                    }
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    if !counting.is_empty() {
        copy(client, &session.copy_counts, vec![counting.tuples()]).await?;
    }
    Ok(done)
}

/// The ids of the rows that were new.
async fn insert(session: &Session, rows: &[Origin<'_>]) -> Result<HashSet<Id>, tokio_postgres::Error> {
    let client = &session.client;
    let mut tuples = Vec::with_capacity(rows.iter().map(|origin| origin.row.as_bytes().len()).sum());
    rows.iter().for_each(|origin| tuples.extend_from_slice(origin.row.as_bytes()));
    let statement = client.prepare(&format!("COPY {AGAIN} ({COLUMNS}) FROM STDIN (FORMAT binary)")).await?;
    copy(client, &statement, vec![Bytes::from(tuples)]).await?;
    let inserted =
        format!("INSERT INTO logs ({COLUMNS}) SELECT {COLUMNS} FROM {AGAIN} ON CONFLICT DO NOTHING RETURNING id");
    Ok(client.query(&inserted, &[]).await?.iter().map(|row| row.get::<_, Uuid>(0).0).collect())
}

/// A row that was set aside before stays so: its batch's id may have been forgotten.
async fn set_aside(session: &Session, origin: &Origin<'_>, reason: &str) -> Result<(), Trouble> {
    let row = &origin.row;
    let insert = "INSERT INTO dead_letters (part, id, batch_id, reason, tuple) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT DO NOTHING";
    let reason = reason.replace('\0', "\u{fffd}");
    let (id, batch) = (Uuid(row.id()), Uuid(origin.batch));
    session.client.execute(insert, &[&row.part(), &id, &batch, &reason, &row.as_bytes()]).await?;
    Ok(())
}
