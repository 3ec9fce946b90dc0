//! What keeps the store in shape: jobs that run over and over beside the writers.
//!
//! | job | does |
//! |---|---|
//! | `fold.rs` | counts of a minute become one row each |
//! | `prune.rs` | ids of batches that nobody will deliver again go |
//! | `retain.rs` | days past their time go, with their counts; days half gone are finished |
//! | `seal.rs` | days that are over get the indexes that would slow down storing |
//! | here | tomorrow's partition is there before tomorrow |
//!
//! Every process may run them: each job holds an advisory lock while it works, and whoever finds it taken passes on.
//! Nothing here is waited for by a writer. A job that fails is counted, told, and tried again in the next round.

mod fold;
mod prune;
mod retain;
mod seal;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_postgres::Client;

use super::counters::{Counters, add};
use super::error::PostgresError;
use super::locks;
use super::partitions::{DAY_MICROS, Partitions, Window};
use super::session::application_name;
use super::target::Target;

/// How long a job waits for a lock on a table before it leaves it to the next round.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// When the oldest batch that waits in any queue was made; `None` where nothing waits.
pub type OldestPending = Arc<dyn Fn() -> Option<SystemTime> + Send + Sync>;

#[derive(Clone)]
pub struct UpkeepOptions {
    /// How long records are kept; `None`: for ever.
    pub retain: Option<Duration>,
    /// A day that is over is sealed once no row came for so long.
    pub seal_after: Duration,
    pub oldest_pending: OldestPending,
    /// Between two rounds.
    pub interval: Duration,
}

impl UpkeepOptions {
    pub fn new(retain: Option<Duration>, seal_after: Duration, oldest_pending: OldestPending) -> UpkeepOptions {
        UpkeepOptions { retain, seal_after, oldest_pending, interval: Duration::from_secs(20) }
    }
}

impl Default for UpkeepOptions {
    fn default() -> Self {
        UpkeepOptions::new(None, Duration::from_secs(3_600), Arc::new(|| None))
    }
}

/// Runs until `stop` is there.
pub async fn run(
    target: Arc<Target>,
    options: UpkeepOptions,
    counters: Arc<Counters>,
    stop: impl Future<Output = ()> + Send,
) {
    // Sealing a large day takes hours; the others must not wait for it.
    let jobs = async {
        tokio::join!(
            repeat(&options, &counters, Kind::Quick, &target),
            repeat(&options, &counters, Kind::Long, &target)
        )
    };
    tokio::select! {
        () = stop => {}
        _ = jobs => {}
    }
}

/// One round of everything: for tests, and for whoever wants it now.
pub async fn run_once(target: &Target, options: &UpkeepOptions, counters: &Counters) -> Result<(), PostgresError> {
    round(target, options, counters, Kind::Quick).await?;
    round(target, options, counters, Kind::Long).await
}

#[derive(Clone, Copy)]
enum Kind {
    Quick,
    Long,
}

async fn repeat(options: &UpkeepOptions, counters: &Counters, kind: Kind, target: &Target) {
    let mut told = String::new();
    loop {
        match round(target, options, counters, kind).await {
            Ok(()) => told.clear(),
            Err(error) => {
                counters.failed(error.text());
                // Once, not in every round of an outage.
                if told != error.text() {
                    error.text().clone_into(&mut told);
                    tracing::warn!("upkeep of the store failed, and is tried again: {error}");
                }
            }
        }
        tokio::time::sleep(options.interval).await;
    }
}

async fn round(target: &Target, options: &UpkeepOptions, counters: &Counters, kind: Kind) -> Result<(), PostgresError> {
    let name = match kind {
        Kind::Quick => "upkeep",
        Kind::Long => "sealing",
    };
    let client = target.connect(&application_name(name)).await?;
    let setup =
        "SET TIME ZONE 'UTC'; SET DateStyle = 'ISO'; SET client_min_messages = warning; SET statement_timeout = 0";
    client.batch_execute(&format!("{setup}; SET lock_timeout = {}", LOCK_TIMEOUT.as_millis())).await?;
    if let Kind::Long = kind {
        return locked(&client, locks::SEALING, seal::run(&client, options.seal_after, counters)).await;
    }
    let window = Window::around(crate::clock::now(), options.retain);
    let ahead = tomorrow(&client, window, counters).await;
    let folded = locked(&client, locks::FOLDING, fold::run(&client)).await;
    let pruned = locked(&client, locks::PRUNING, prune::run(&client, (options.oldest_pending)())).await;
    let retained = locked(&client, locks::RETENTION, retain::run(&client, options.retain, counters)).await;
    // One job's failure does not keep the others from their work.
    ahead.and(folded).and(pruned).and(retained)
}

/// Runs a job unless another process does.
async fn locked(
    client: &Client,
    lock: i64,
    job: impl Future<Output = Result<(), PostgresError>>,
) -> Result<(), PostgresError> {
    if !client.query_one("SELECT pg_try_advisory_lock($1)", &[&lock]).await?.get::<_, bool>(0) {
        return Ok(());
    }
    let done = job.await;
    client.query_one("SELECT pg_advisory_unlock($1)", &[&lock]).await?;
    done
}

/// Makes tomorrow's partition where today's is in use, so that midnight is like any other moment.
async fn tomorrow(client: &Client, window: Window, counters: &Counters) -> Result<(), PostgresError> {
    let now = crate::clock::now().as_micros();
    let mut partitions = Partitions::load(client).await?;
    if partitions.of(now).is_some() && partitions.of(now + DAY_MICROS).is_none() {
        add(&counters.partitions_made, partitions.make(client, &[now + DAY_MICROS], window, LOCK_TIMEOUT).await?);
    }
    Ok(())
}
