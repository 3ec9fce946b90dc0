//! Counts of a minute become one row for each level, source and application.
//!
//! Writers insert rows and never update them, so that they do not wait for one another; here they are added up. It is
//! one statement for some minutes: whoever reads meanwhile sees the rows or their sum, never both.

use tokio_postgres::Client;

use super::PostgresError;

/// A minute that still gets rows is left alone until it has this many.
const LIVE_ROWS_MAX: i64 = 20_000;
/// Rows added up in one statement, roughly.
const ROWS_AT_ONCE: i64 = 100_000;

const WAITING: &str = "
    SELECT part, (extract(epoch FROM minute))::bigint, count(*) FROM log_counts WHERE NOT folded
    GROUP BY part, minute HAVING minute < now() - interval '2 minutes' OR count(*) > $1
    ORDER BY part, minute";

const FOLD: &str = "
    WITH gone AS (DELETE FROM log_counts
        WHERE part = $1 AND minute = ANY (ARRAY(SELECT to_timestamp(unnest($2::bigint[]))))
        RETURNING minute, level, source, application, count, counted_at)
    INSERT INTO log_counts (part, minute, level, source, application, count, counted_at, folded)
    SELECT $1, minute, level, source, application, sum(count)::bigint, max(counted_at), true
    FROM gone GROUP BY minute, level, source, application";

pub(super) async fn run(client: &Client) -> Result<(), PostgresError> {
    let waiting = client.query(WAITING, &[&LIVE_ROWS_MAX]).await?;
    let waiting: Vec<(i16, i64, i64)> = waiting.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    let fold = client.prepare(FOLD).await?;
    let mut rest = &waiting[..];
    while let [(part, _, _), ..] = rest {
        let mut rows = 0;
        let end = rest.iter().position(|(other, _, count)| {
            let is_full = rows >= ROWS_AT_ONCE;
            rows += count;
            other != part || is_full
        });
        let (now, later) = rest.split_at(end.unwrap_or(rest.len()));
        let minutes: Vec<i64> = now.iter().map(|(_, minute, _)| *minute).collect();
        client.execute(&fold, &[part, &minutes]).await?;
        rest = later;
    }
    Ok(())
}
