//! Counts of a minute become one row for each level, source and application.
//!
//! Writers insert rows and never update them, so that they do not wait for one another; here they are added up. It is
//! one statement for some minutes: whoever reads meanwhile sees the rows or their sum, never both.

use tokio_postgres::Client;

use super::PostgresError;

/// A minute that still gets rows is left alone until it has this many.
const LIVE_ROWS_MAX: i64 = 5_000;
/// Rows added up in one statement, roughly: each statement reads all that is new.
const ROWS_AT_ONCE: i64 = 1_000_000;

const WAITING: &str = "
    SELECT part, (extract(epoch FROM minute))::bigint, count(*) FROM log_counts WHERE NOT folded
    GROUP BY part, minute HAVING minute < now() - interval '2 minutes' OR count(*) > $1
    ORDER BY part, minute";

const FOLD: &str = "
    WITH gone AS (DELETE FROM log_counts
        WHERE part = ANY ($1) AND minute = ANY (ARRAY(SELECT to_timestamp(unnest($2::bigint[]))))
        RETURNING part, minute, level, source, application, count, counted_at)
    INSERT INTO log_counts (part, minute, level, source, application, count, counted_at, folded)
    SELECT part, minute, level, source, application, sum(count)::bigint, max(counted_at), true
    FROM gone GROUP BY part, minute, level, source, application";

/// On Citus a statement that deletes and inserts must stay on one shard; elsewhere one pass over what is new does for all.
const IS_SHARDED: &str = "SELECT to_regclass('pg_dist_partition') IS NOT NULL";

pub(super) async fn run(client: &Client) -> Result<(), PostgresError> {
    let waiting = client.query(WAITING, &[&LIVE_ROWS_MAX]).await?;
    if waiting.is_empty() {
        return Ok(());
    }
    let is_sharded: bool = client.query_one(IS_SHARDED, &[]).await?.get(0);
    let fold = client.prepare(FOLD).await?;
    let (mut parts, mut minutes, mut rows) = (Vec::<i16>::new(), Vec::<i64>::new(), 0);
    for row in &waiting {
        let (part, minute, count): (i16, i64, i64) = (row.get(0), row.get(1), row.get(2));
        let is_other = is_sharded && parts.last().is_some_and(|last| *last != part);
        if is_other || rows > ROWS_AT_ONCE {
            client.execute(&fold, &[&parts, &minutes]).await?;
            (parts, minutes, rows) = (Vec::new(), Vec::new(), 0);
        }
        if parts.last() != Some(&part) {
            parts.push(part);
        }
        minutes.push(minute);
        rows += count;
    }
    client.execute(&fold, &[&parts, &minutes]).await?;
    Ok(())
}
