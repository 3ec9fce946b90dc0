//! Days past their time go, with their counts.
//!
//! DETACH CONCURRENTLY waits for queries that are under way and keeps nobody waiting; then the table and its counts go
//! in one transaction. A partition is marked first, in its comment, with its bounds: whatever was interrupted is found
//! by the mark and finished, and a table that somebody else detached, to keep it, is left alone.

use std::time::Duration;

use record::Timestamp;
use tokio_postgres::Client;

use super::super::counters::{Counters, add};
use super::super::partitions::{Partition, Partitions};
use super::PostgresError;

const MARK: &str = "logboom drops this:";

/// Tables that carry the mark: whether they still hang on `logs`, and are half detached.
const MARKED: &str = "
    SELECT c.relname::text, d.description, i.inhrelid IS NOT NULL, coalesce(i.inhdetachpending, false)
    FROM pg_class c
        JOIN pg_description d ON d.objoid = c.oid AND d.classoid = 'pg_class'::regclass AND d.objsubid = 0
        LEFT JOIN pg_inherits i ON i.inhrelid = c.oid AND i.inhparent = to_regclass('logs')
    WHERE starts_with(d.description, $1) AND c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace";

pub(super) async fn run(client: &Client, retain: Option<Duration>, counters: &Counters) -> Result<(), PostgresError> {
    finish(client, counters).await?;
    let Some(retain) = retain else { return Ok(()) };
    let oldest = crate::clock::now().as_micros() - retain.as_micros() as i64;
    for partition in Partitions::load(client).await?.attached {
        if partition.to <= oldest {
            mark(client, &partition).await?;
            let detach = format!("ALTER TABLE logs DETACH PARTITION {} CONCURRENTLY", partition.name);
            client.batch_execute(&detach).await?;
            drop_table(client, &partition, counters).await?;
        }
    }
    Ok(())
}

/// What an earlier round, here or elsewhere, did not end.
async fn finish(client: &Client, counters: &Counters) -> Result<(), PostgresError> {
    for row in client.query(MARKED, &[&MARK]).await? {
        let (name, comment): (String, String) = (row.get(0), row.get(1));
        let (is_attached, is_leaving): (bool, bool) = (row.get(2), row.get(3));
        let Some(partition) = from_mark(&name, &comment) else { continue };
        if is_leaving {
            client.batch_execute(&format!("ALTER TABLE logs DETACH PARTITION {name} FINALIZE")).await?;
        } else if is_attached {
            // It was marked and no more. If its time is past, this round drops it.
            client.batch_execute(&format!("COMMENT ON TABLE {name} IS NULL")).await?;
            continue;
        }
        drop_table(client, &partition, counters).await?;
    }
    Ok(())
}

async fn mark(client: &Client, partition: &Partition) -> Result<(), PostgresError> {
    let Partition { name, from, to } = partition;
    Ok(client.batch_execute(&format!("COMMENT ON TABLE {name} IS '{MARK} {from} {to}'")).await?)
}

fn from_mark(name: &str, comment: &str) -> Option<Partition> {
    let (from, to) = comment.strip_prefix(MARK)?.trim().split_once(' ')?;
    Some(Partition { name: name.to_owned(), from: from.parse().ok()?, to: to.parse().ok()? })
}

async fn drop_table(client: &Client, partition: &Partition, counters: &Counters) -> Result<(), PostgresError> {
    let Partition { name, from, to } = partition;
    let (from, to) = (literal(*from), literal(*to));
    let drop =
        format!("BEGIN; DROP TABLE {name}; DELETE FROM log_counts WHERE minute >= {from} AND minute < {to}; COMMIT");
    if let Err(error) = client.batch_execute(&drop).await {
        if !client.is_closed() {
            client.batch_execute("ROLLBACK").await?;
        }
        return Err(error.into());
    }
    tracing::info!("dropped {name}: all in it is older than retain");
    add(&counters.partitions_dropped, 1);
    Ok(())
}

/// A bound as SQL.
pub(super) fn literal(at: i64) -> String {
    match at {
        i64::MIN => "'-infinity'".to_owned(),
        i64::MAX => "'infinity'".to_owned(),
        at => {
            let mut text = Vec::new();
            Timestamp::clamped(at).write_rfc3339(&mut text);
            format!("'{}'", String::from_utf8_lossy(&text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_back() {
        let partition = Partition { name: "logs_past".to_owned(), from: i64::MIN, to: 5 };
        let comment = format!("{MARK} {} {}", partition.from, partition.to);
        assert_eq!(from_mark("logs_past", &comment), Some(partition));
        assert_eq!(from_mark("x", "kept by the auditors"), None);
    }
}
