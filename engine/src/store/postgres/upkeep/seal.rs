//! Days that are over get the indexes that would slow down storing.
//!
//! | index | for |
//! |---|---|
//! | `<partition>_message` on `lower(message)`, trigrams, where `pg_trgm` is there | words and phrases of three characters and more |
//! | `<partition>_source` (source, timestamp, id) | one source, newest first |
//! | `<partition>_application` (application, timestamp, id) | one application, newest first |
//!
//! CONCURRENTLY, so that late rows still go in. A build that was interrupted leaves an invalid index: it is dropped and
//! built anew.

use std::time::Duration;

use tokio_postgres::Client;

use super::super::counters::{Counters, add};
use super::super::error::{Fault, tell};
use super::super::partitions::{Partition, Partitions};
use super::PostgresError;
use super::retain::literal;

/// How long a build waits for transactions that began before it, an export's for one.
const LOCK_TIMEOUT: Duration = Duration::from_secs(600);

const INDEXES: &str = "
    SELECT t.relname::text, c.relname::text, x.indisvalid
    FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
        JOIN pg_inherits i ON i.inhrelid = t.oid
    WHERE i.inhparent = to_regclass('logs')";

const TRIGRAMS: &str = "
    SELECT quote_ident(n.nspname) || '.gin_trgm_ops' FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
    WHERE e.extname = 'pg_trgm'";

struct Index {
    name: String,
    on: String,
}

pub(super) async fn run(client: &Client, seal_after: Duration, counters: &Counters) -> Result<(), PostgresError> {
    let trigrams: Option<String> = client.query_opt(TRIGRAMS, &[]).await?.map(|row| row.get(0));
    let there = client.query(INDEXES, &[]).await?;
    let there: Vec<(String, String, bool)> = there.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    let now = crate::clock::now().as_micros();
    for partition in Partitions::load(client).await?.attached {
        if partition.to > now {
            continue;
        }
        let find = |name: &str| there.iter().find(|(table, index, _)| *table == partition.name && index == name);
        let wanted = wanted(&partition.name, trigrams.as_deref());
        let missing: Vec<&Index> =
            wanted.iter().filter(|index| find(&index.name).is_none_or(|(_, _, is_valid)| !is_valid)).collect();
        if missing.is_empty() || !is_quiet(client, &partition, seal_after).await? {
            continue;
        }
        for index in missing {
            let is_broken = find(&index.name).is_some();
            build(client, &partition.name, index, is_broken).await?;
        }
        // Nothing will change any more, or little, so nothing else will do this: the map of what is visible, BRIN's
        // summaries, and statistics, those of the expression `lower(message)` among them.
        client.batch_execute(&format!("VACUUM (FREEZE, ANALYZE) {}", partition.name)).await?;
        tracing::info!("sealed {}", partition.name);
        add(&counters.partitions_sealed, 1);
    }
    Ok(())
}

fn wanted(table: &str, trigrams: Option<&str>) -> Vec<Index> {
    let mut wanted = vec![
        Index { name: format!("{table}_source"), on: "(source, \"timestamp\", id)".to_owned() },
        Index { name: format!("{table}_application"), on: "(application, \"timestamp\", id)".to_owned() },
    ];
    if let Some(operators) = trigrams {
        wanted.push(Index { name: format!("{table}_message"), on: format!("USING gin (lower(message) {operators})") });
    }
    wanted
}

/// Whether no row came for so long.
async fn is_quiet(client: &Client, partition: &Partition, seal_after: Duration) -> Result<bool, PostgresError> {
    let (from, to) = (literal(partition.from), literal(partition.to));
    let asked = format!(
        "SELECT coalesce(max(counted_at) <= now() - $1::float8 * interval '1 second', true) FROM log_counts
         WHERE minute >= {from} AND minute < {to}"
    );
    Ok(client.query_one(&asked, &[&seal_after.as_secs_f64()]).await?.get(0))
}

async fn build(client: &Client, table: &str, index: &Index, is_broken: bool) -> Result<(), PostgresError> {
    let Index { name, on } = index;
    client.batch_execute(&format!("SET lock_timeout = {}", LOCK_TIMEOUT.as_millis())).await?;
    if is_broken {
        client.batch_execute(&format!("DROP INDEX CONCURRENTLY IF EXISTS {name}")).await?;
    }
    match client.batch_execute(&format!("CREATE INDEX CONCURRENTLY {name} ON {table} {on}")).await {
        Ok(()) => Ok(()),
        // A source of 3 KB does not fit into a btree: the day does without, and is asked more slowly. An empty index of
        // the same name says so.
        Err(error) if Fault::of(&error) == Fault::Data => {
            tracing::warn!("{table} does without the index {name}: {}", tell(&error));
            client.batch_execute(&format!("DROP INDEX CONCURRENTLY IF EXISTS {name}")).await?;
            let empty = format!("CREATE INDEX CONCURRENTLY {name} ON {table} (id) WHERE false");
            Ok(client.batch_execute(&empty).await?)
        }
        Err(error) => Err(error.into()),
    }
}
