//! Ids of batches are forgotten once nobody will deliver them again.

use std::time::{Duration, SystemTime};

use tokio_postgres::Client;

use super::PostgresError;

/// Longer than an outage that people are asleep for. Should a batch come after all, its rows' keys tell.
const KEEP: Duration = Duration::from_secs(7 * 86_400);
/// Between this machine's clock and the queue's.
const SLACK: Duration = Duration::from_secs(3_600);

/// A batch that waits since a time cannot have been stored before that time.
pub(super) async fn run(client: &Client, oldest_pending: Option<SystemTime>) -> Result<(), PostgresError> {
    let waiting = oldest_pending.and_then(|oldest| SystemTime::now().duration_since(oldest).ok());
    let keep = KEEP.max(waiting.map_or(Duration::ZERO, |age| age + SLACK));
    // An age, not a time: the server's clock is its own.
    let delete = "DELETE FROM ingested_batches WHERE ingested_at < now() - $1::float8 * interval '1 second'";
    client.execute(delete, &[&keep.as_secs_f64()]).await?;
    Ok(())
}
