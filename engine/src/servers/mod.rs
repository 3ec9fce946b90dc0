//! The servers beside this process: Redis as the queue, Postgres as the store, and everything that runs on their
//! drivers' runtime. Shards reach it by [`Handover`], once a group.
//!
//! | | with Redis | without |
//! |---|---|---|
//! | **with Postgres** | groups go to Redis ([`redis`]), workers store them ([`work`]); what Redis does not take is drained into it from the local log ([`drain`]) | groups go to the local log, which is drained into Postgres ([`drain`]) |
//! | **without** | groups go to Redis; `serve` takes them out into the embedded store ([`import`]), `engine` leaves that to workers and refuses `POST /data/` | the embedded store: nothing of this runs |
//!
//! `POST /data/` goes straight to Postgres ([`postgres`]). A server that cannot be reached is waited for; one that answers
//! and refuses ends the start, and is told in `/health` later.

mod drain;
mod import;
mod known;
mod metrics;
mod pause;
mod postgres;
mod redis;
mod work;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use record::{Batch, Id};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

pub use known::{Known, State};
pub use metrics::ServersMetrics;
pub use postgres::PostgresSide;
pub use redis::RedisSide;

use crate::config::Config;
use crate::handover::{Handed, Handover};
use crate::queue::LogPosition;
use crate::queue::imports::Imports;
use crate::queue::redis as queue;
use crate::store::Reader;
use crate::store::postgres::upkeep::{self, UpkeepOptions};
use crate::store::postgres::{PostgresReader, ReaderOptions};
use crate::tail::Tail;
use drain::{Covered, Drain, Outlet};
use import::{Import, ImportResult};
use work::Worker;

/// Threads for the drivers: what they do is wait, and copy bytes.
const THREADS: usize = 2;
/// A server that is away is tried again after this long at first, and after twice as long each time.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// A start waits so long for a server that does not answer, before it goes on without.
const MEET_MAX: Duration = Duration::from_secs(5);
/// A stop waits so long for what is under way with the servers.
const STOP_MAX: Duration = Duration::from_secs(10);
/// Records that a shard shows to other processes: more than anyone can read, and little for Redis.
const TAIL_ROWS_PER_SECOND_MAX: u64 = 2_000;
/// Connections that commit for `POST /data/`: while one waits for its COMMIT, the next group is copied.
const DIRECT_WRITERS: usize = 2;

/// Why a process cannot work with its servers as they are.
#[derive(Debug, thiserror::Error)]
pub enum ServersError {
    #[error("db_url: {0}")]
    DbUrl(String),
    #[error("redis_url: {0}")]
    RedisUrl(String),
    #[error("Postgres at {at}: {reason}")]
    Postgres { at: String, reason: String },
    #[error("Redis at {at}: {reason}")]
    Redis { at: String, reason: String },
    #[error("the runtime of the servers' drivers cannot be started: {0}")]
    Runtime(std::io::Error),
}

/// What a shard needs of the servers.
pub struct Doorways {
    /// Answers with the batches that Redis did not take.
    pub redis: Option<Handover<Vec<Batch>>>,
    /// Commits in Postgres, or says why not.
    pub direct: Handover<Result<(), String>>,
    /// How far the shard's log is durable.
    pub durable: watch::Sender<LogPosition>,
}

/// A shard's log, as recovery has left it.
pub struct LogToDrain {
    pub dir: PathBuf,
    /// Everything before this is drained.
    pub from: LogPosition,
    /// Where the last group ends.
    pub reached: LogPosition,
}

type Direct = mpsc::UnboundedReceiver<Handed<Result<(), String>>>;

/// The servers of one process.
pub struct Servers {
    runtime: Runtime,
    config: Arc<Config>,
    pub redis: Option<Arc<RedisSide>>,
    pub postgres: Option<Arc<PostgresSide>>,
    direct: Handover<Result<(), String>>,
    /// Tells its own records from those of others.
    process: Id,
    stopping: watch::Sender<bool>,
    /// What a stop waits for.
    working: Mutex<Vec<JoinHandle<()>>>,
}

impl Servers {
    /// Meets what the settings name. Blocks for a few seconds where a server cannot be reached.
    pub fn start(config: Arc<Config>) -> Result<Servers, ServersError> {
        use crate::queue::redis::Target as RedisTarget;
        use crate::store::postgres::Target as PostgresTarget;
        let postgres = config.db_url.as_deref().map(PostgresTarget::parse).transpose().map_err(ServersError::DbUrl)?;
        let redis = config.redis_url.as_deref().map(RedisTarget::parse).transpose().map_err(ServersError::RedisUrl)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("servers")
            .enable_all()
            .build()
            .map_err(ServersError::Runtime)?;
        let (direct, groups) = Handover::new();
        let inside = runtime.enter();
        let servers = Servers {
            redis: redis.map(|target| Arc::new(RedisSide::new(target, &config))),
            postgres: postgres.map(|target| Arc::new(PostgresSide::new(target, &config))),
            direct,
            process: crate::clock::id_source().next(crate::clock::now()),
            stopping: watch::Sender::new(false),
            working: Mutex::default(),
            config,
            runtime: {
                drop(inside);
                runtime
            },
        };
        servers.runtime.block_on(async { tokio::try_join!(servers.meet_redis(), servers.meet_postgres()) })?;
        servers.look_after();
        servers.serve_direct(groups);
        Ok(servers)
    }

    pub fn handle(&self) -> &Handle {
        self.runtime.handle()
    }

    /// The first look at Redis: what refuses ends the start.
    async fn meet_redis(&self) -> Result<(), ServersError> {
        let Some(redis) = &self.redis else { return Ok(()) };
        match tokio::time::timeout(MEET_MAX, redis.inspect()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) if !error.is_passing() => {
                return Err(ServersError::Redis { at: redis.target.shown(), reason: error.to_string() });
            }
            Ok(Err(error)) => redis.known.failed(&error.to_string()),
            Err(_) => redis.known.failed(&format!("{} does not answer", redis.target.shown())),
        }
        Ok(())
    }

    /// The first look at Postgres, which gets its schema now.
    async fn meet_postgres(&self) -> Result<(), ServersError> {
        let Some(postgres) = &self.postgres else { return Ok(()) };
        match tokio::time::timeout(MEET_MAX, postgres.migrate()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) if !error.is_away() => {
                return Err(ServersError::Postgres { at: postgres.target.shown(), reason: error.to_string() });
            }
            Ok(Err(error)) => postgres.known.failed(&error.to_string()),
            Err(_) => postgres.known.failed(&format!("{} does not answer", postgres.target.shown())),
        }
        Ok(())
    }

    fn look_after(&self) {
        if let Some(redis) = &self.redis {
            self.runtime.spawn(redis.clone().keep_looking());
        }
        if let Some(postgres) = &self.postgres {
            self.runtime.spawn(postgres.clone().keep_looking());
        }
    }

    fn serve_direct(&self, groups: Direct) {
        let Some(postgres) = &self.postgres else { return self.refuse_direct(groups) };
        let groups = Arc::new(tokio::sync::Mutex::new(groups));
        for index in 0..DIRECT_WRITERS {
            let serving = postgres.clone().serve(groups.clone(), format!("direct-{index}"));
            self.runtime.spawn(serving);
        }
    }

    fn refuse_direct(&self, mut groups: Direct) {
        self.runtime.spawn(async move {
            while let Some(handed) = groups.recv().await {
                let reason = "this engine knows no Postgres: set db_url, or send to /data/fast";
                let _ = handed.answer.send(Err(reason.to_owned()));
            }
        });
    }

    /// The ways of one shard, and the drain of its log. `covered` is told what need not stay in it.
    pub fn doorways(&self, log: LogToDrain, covered: Covered) -> Doorways {
        let durable = watch::Sender::new(log.reached);
        self.drain(log, durable.subscribe(), covered);
        Doorways { redis: self.redis_doorway(), direct: self.direct.clone(), durable }
    }

    /// One shard's way into Redis.
    pub fn redis_doorway(&self) -> Option<Handover<Vec<Batch>>> {
        let side = self.redis.as_ref()?;
        let (handover, groups) = Handover::new();
        self.runtime.spawn(side.clone().serve(groups));
        Some(handover)
    }

    /// Takes batches out of Redis for the store of this process.
    pub fn start_import(&self, known: Arc<Imports>, into: impl Fn(Handed<ImportResult>) + Send + Sync + 'static) {
        let Some(redis) = &self.redis else { return };
        let import = Import {
            redis: redis.clone(),
            known,
            into: Box::new(into),
            name: format!("{}-{}-import", host_name(), std::process::id()),
            streams: self.config.streams,
            claim_after: self.config.claim_after,
            stopping: self.stopping.subscribe(),
        };
        self.work(import.run());
    }

    /// Drains the log of a shard that does not run any more.
    pub fn drain_left(&self, log: LogToDrain, covered: Covered) {
        let (told, durable) = watch::channel(log.reached);
        // The drain waits for the stop once it is done.
        drop(told);
        self.drain(log, durable, covered);
    }

    fn drain(&self, log: LogToDrain, durable: watch::Receiver<LogPosition>, covered: Covered) {
        let outlet = match (&self.redis, &self.postgres) {
            (Some(redis), _) => Outlet::Redis(redis.clone()),
            (None, Some(postgres)) => Outlet::Postgres {
                side: postgres.clone(),
                writers: (0..self.config.workers.max(1))
                    .map(|index| postgres.writer(&format!("drain-{index}")))
                    .collect(),
                batch_size: self.config.batch_size,
            },
            (None, None) => return,
        };
        let stopping = self.stopping.subscribe();
        self.work(Drain { log, durable, outlet, covered, stopping }.run());
    }

    /// Starts the workers that take from Redis into Postgres.
    pub fn start_workers(&self) {
        let (Some(redis), Some(postgres)) = (&self.redis, &self.postgres) else { return };
        for index in 0..self.config.workers {
            let worker = Worker {
                redis: redis.clone(),
                postgres: postgres.clone(),
                name: format!("{}-{}-{index}", host_name(), std::process::id()),
                streams: self.config.streams,
                batch_size: self.config.batch_size,
                claim_after: self.config.claim_after,
                stopping: self.stopping.subscribe(),
            };
            self.work(worker.run());
        }
    }

    /// Starts what Postgres needs now and then: sealing, retention, folding, forgetting. `oldest_in_log` is when the
    /// oldest batch of the local logs came.
    pub fn start_upkeep(&self, oldest_in_log: impl Fn() -> Option<SystemTime> + Send + Sync + 'static) {
        let Some(postgres) = &self.postgres else { return };
        let redis = self.redis.clone();
        let oldest_pending = move || {
            let in_redis = redis.as_ref().and_then(|redis| redis.oldest());
            in_redis.into_iter().chain(oldest_in_log()).min()
        };
        let options = UpkeepOptions::new(self.config.retain, self.config.seal_after, Arc::new(oldest_pending));
        let mut stopping = self.stopping.subscribe();
        let stop = async move { drop(stopping.wait_for(|stopping| *stopping).await) };
        self.work(upkeep::run(postgres.target.clone(), options, postgres.counters.clone(), stop));
    }

    /// Shows the records of other processes in `tail`, as far as somebody watches for them.
    pub fn watch(&self, tail: &Tail) {
        if let Some(redis) = &self.redis {
            let (target, counters) = (redis.target.clone(), redis.counters.clone());
            self.runtime.spawn(queue::watch::announce(target, tail.clone(), self.process, counters));
        }
    }

    /// The same, and shows the records of `tail` in other processes.
    pub fn share(&self, tail: &Tail) {
        self.watch(tail);
        if let Some(redis) = &self.redis {
            let (target, counters) = (redis.target.clone(), redis.counters.clone());
            let rows_max = TAIL_ROWS_PER_SECOND_MAX * self.config.shards as u64;
            self.runtime.spawn(queue::watch::publish(target, tail.clone(), self.process, rows_max, counters));
        }
    }

    fn work(&self, work: impl Future<Output = ()> + Send + 'static) {
        let handle = self.runtime.spawn(work);
        self.working.lock().unwrap_or_else(PoisonError::into_inner).push(handle);
    }

    /// What queries ask.
    pub fn reader(&self) -> Option<Arc<dyn Reader>> {
        let postgres = self.postgres.as_ref()?;
        let options = ReaderOptions {
            connections_max: self.config.db_connections_max,
            query_timeout: self.config.query_timeout,
            query_bytes_max: self.config.query_bytes_max,
        };
        let target = &postgres.target;
        Some(Arc::new(PostgresReader::new(target.config().clone(), target.tls(), self.handle().clone(), options)))
    }

    /// Finishes what is under way.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
        let working = std::mem::take(&mut *self.working.lock().unwrap_or_else(PoisonError::into_inner));
        let all = async { futures_util::future::join_all(working).await };
        if self.runtime.block_on(async { tokio::time::timeout(STOP_MAX, all).await }).is_err() {
            tracing::warn!("stopped before the servers had answered; what they have not taken is taken later");
        }
    }
}

/// The name of this machine, as far as it can stand in a name.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '.' { c } else { '-' }).collect()
}
