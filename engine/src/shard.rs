//! One shard: a thread, its ring, its connections, its log. The table of contents of the write path:
//!
//! accept ([`crate::listen`]) → frame and parse ([`crate::doors`], [`crate::ingest`]) → append and acknowledge
//! ([`crate::ingest::appender`]) → store and tail ([`crate::store`], [`crate::tail`]); what is no ingest goes to the
//! sidecar ([`crate::relay`]).
//!
//! It wires, it never decides.

use std::cell::RefCell;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_lite::{FutureExt, future};
use record::{Batch, BatchBuilder, IdSource, Timestamp};
use tokio::sync::mpsc;

use crate::body_memory::BodyMemory;
use crate::config::{Config, Upstream};
use crate::conn::{Conn, Connections, ReadBuffer, read_buffer};
use crate::handover::{Handed, Handover};
use crate::health::Health;
use crate::ingest::ask::Door;
use crate::ingest::lane::{EmbeddedWay, LogWay, Way};
use crate::ingest::{AppendFailure, Appender, Defaults, Lane};
use crate::metrics::{Metrics, ShardMetrics};
use crate::queue::LogPosition;
use crate::queue::imports::Imports;
use crate::queue::local::{LocalLog, Options, Recovery};
use crate::servers::Doorways;
use crate::store::parquet::ParquetStore;
use crate::tail::Tail;

/// Empty batch builders kept for the next bodies.
const BUILDERS_KEPT_MAX: usize = 16;
/// Between two looks at whether the last connections have ended, once a stop has begun.
const STOP_LOOK: Duration = Duration::from_millis(5);

/// What other threads tell a shard.
#[derive(Debug)]
pub enum Message {
    Accepted(TcpStream),
    Covered(LogPosition),
    /// Batches out of Redis, for the store of this process.
    Import(Handed<Result<(), AppendFailure>>),
    Stop,
}

/// What a shard is made from.
pub struct Seed {
    pub index: u16,
    pub config: Arc<Config>,
    pub upstream: Upstream,
    pub log_dir: PathBuf,
    pub recovery: Recovery,
    pub log_options: Options,
    pub backing: Backing,
    pub tail: Tail,
    pub metrics: Arc<Metrics>,
    pub shard_metrics: Arc<ShardMetrics>,
    pub health: Arc<Health>,
    /// Open connections, which the accepting thread balances by.
    pub load: Arc<AtomicUsize>,
    pub inbox: mpsc::UnboundedReceiver<Message>,
}

/// Where a shard's records go to.
pub enum Backing {
    /// The store of this process; by way of Redis, where there is one.
    Embedded(Arc<ParquetStore>, Option<ByWayOfRedis>),
    Servers(Doorways),
}

/// The queue of an embedded store that is fed by Redis.
pub struct ByWayOfRedis {
    /// Answers with the batches that Redis did not take.
    pub queue: Handover<Vec<Batch>>,
    pub imports: Arc<Imports>,
}

/// What the connections of a shard share.
pub struct Shard {
    pub config: Arc<Config>,
    pub defaults: Defaults,
    pub upstream: Upstream,
    pub scratch: ReadBuffer,
    pub ids: RefCell<IdSource>,
    pub builders: Builders,
    /// The way into the queue.
    appender: Appender,
    /// The way of `POST /data/`, where it is another.
    direct: Option<Appender>,
    /// The way of what comes out of Redis.
    imports: Option<Appender>,
    pub body_memory: Rc<BodyMemory>,
    pub connections: Rc<Connections>,
    pub metrics: Arc<Metrics>,
    pub shard_metrics: Arc<ShardMetrics>,
    pub health: Arc<Health>,
    queue_bytes_max: u64,
}

impl Shard {
    /// Where rows that come by this door are submitted.
    pub fn appender(&self, door: Door) -> &Appender {
        match &self.direct {
            Some(direct) if door == Door::Direct => direct,
            _ => &self.appender,
        }
    }

    /// Why nothing more can be stored now, if so: asked on the head of a request.
    pub fn refuses(&self, door: Door) -> Option<AppendFailure> {
        if self.direct.is_some() && door == Door::Direct {
            return None;
        }
        let reading = self.shard_metrics.reading();
        if let Some((failure @ AppendFailure::Failed(_), _)) = reading.failure {
            return Some(failure);
        }
        let full = reading.bytes >= self.queue_bytes_max;
        full.then_some(AppendFailure::QueueFull { bytes: reading.bytes, max: self.queue_bytes_max })
    }

    /// Records from before this are not taken in.
    pub fn oldest_kept(&self, now: Timestamp) -> Timestamp {
        self.health.oldest_kept(now).unwrap_or(Timestamp::MIN)
    }
}

/// Empty batch builders, used again and again.
pub struct Builders {
    streams: u16,
    kept: RefCell<Vec<BatchBuilder>>,
}

impl Builders {
    fn new(streams: u16) -> Builders {
        Builders { streams, kept: RefCell::default() }
    }

    pub fn take(&self) -> BatchBuilder {
        self.kept.borrow_mut().pop().unwrap_or_else(|| BatchBuilder::new(self.streams))
    }

    pub fn give(&self, mut builder: BatchBuilder) {
        builder.clear();
        let mut kept = self.kept.borrow_mut();
        if kept.len() < BUILDERS_KEPT_MAX {
            kept.push(builder);
        }
    }
}

/// Runs a shard until it is told to stop. `ready` is called once the log is open, with the error if it is not.
pub async fn run(seed: Seed, ready: impl FnOnce(Result<(), String>)) {
    let Seed { index, config, backing, tail, mut inbox, load, .. } = seed;
    let queue_bytes_max = seed.log_options.bytes_max;
    let log = match LocalLog::open(&seed.log_dir, index, seed.recovery, seed.log_options).await {
        Ok(log) => log,
        Err(error) => return ready(Err(error.to_string())),
    };
    seed.shard_metrics.depth(log.depth());
    let log = |durable| LogWay { log, queue_bytes_max, durable };
    let own = seed.shard_metrics.clone();
    let lane = |way, tail, metrics| Lane { way, tail, metrics };
    // A failure of Postgres is no failure of the queue, and an import nobody's record: they are told apart.
    let apart = || Arc::new(ShardMetrics::new(seed.metrics.clone()));
    let (queued, direct, imports) = match backing {
        Backing::Embedded(store, redis) => {
            let known = redis.as_ref().map(|redis| redis.imports.clone());
            let order = Default::default();
            let way = Rc::new(EmbeddedWay { log: log(None), shard: index, store, order, imports: known });
            match redis {
                None => (lane(Way::Embedded(way), Some(tail), own), None, None),
                Some(ByWayOfRedis { queue, .. }) => {
                    let otherwise = Box::new(Way::Embedded(way.clone()));
                    let direct = lane(Way::Embedded(way.clone()), Some(tail.clone()), own.clone());
                    let imports = lane(Way::Embedded(way), None, apart());
                    (lane(Way::Redis { queue, otherwise }, Some(tail), own), Some(direct), Some(imports))
                }
            }
        }
        Backing::Servers(Doorways { redis, direct, durable }) => {
            let direct = lane(Way::Postgres(direct), Some(tail.clone()), apart());
            let logged = Way::Logged(log(Some(durable)));
            let way = match redis {
                Some(queue) => Way::Redis { queue, otherwise: Box::new(logged) },
                None => logged,
            };
            (lane(way, Some(tail), own), Some(direct), None)
        }
    };
    let shard = Rc::new(Shard {
        defaults: Defaults { zone: config.timezone.clone(), unwrap: config.unwrap },
        upstream: seed.upstream,
        scratch: read_buffer(),
        ids: RefCell::new(crate::clock::id_source()),
        builders: Builders::new(config.streams),
        appender: Appender::new(config.streams),
        direct: direct.is_some().then(|| Appender::new(config.streams)),
        imports: imports.is_some().then(|| Appender::new(config.streams)),
        config: config.clone(),
        body_memory: Rc::default(),
        connections: Rc::default(),
        metrics: seed.metrics,
        shard_metrics: seed.shard_metrics,
        health: seed.health,
        queue_bytes_max,
    });
    let appending = glommio::spawn_local({
        let shard = shard.clone();
        async move {
            let other = async |appender: &Option<Appender>, lane: Option<Lane>| {
                if let (Some(appender), Some(lane)) = (appender, lane) {
                    appender.run(&lane).await;
                }
            };
            let others = future::zip(other(&shard.direct, direct), other(&shard.imports, imports));
            future::zip(shard.appender.run(&queued), others).await;
        }
    });
    ready(Ok(()));
    while let Some(message) = inbox.recv().await {
        match message {
            Message::Accepted(socket) => accept(&shard, socket, &load),
            Message::Covered(position) => shard.appender.covered(position),
            Message::Import(handed) => import(&shard, handed),
            Message::Stop => break,
        }
    }
    shard.connections.stop();
    let deadline = Instant::now() + config.stop_timeout;
    while !shard.connections.is_empty() && Instant::now() < deadline {
        glommio::timer::sleep(STOP_LOOK).await;
    }
    if !shard.connections.is_empty() {
        tracing::warn!(connections = shard.connections.len(), "stopped before these connections had ended");
    }
    for appender in [&shard.direct, &shard.imports].into_iter().flatten().chain([&shard.appender]) {
        appender.stop();
    }
    appending.await;
}

/// Puts batches out of Redis into the log and the store, and says so.
fn import(shard: &Rc<Shard>, handed: Handed<Result<(), AppendFailure>>) {
    let Some(appender) = &shard.imports else { return };
    let ticket = appender.submit_sealed(handed.batches);
    glommio::spawn_local(async move {
        let _ = handed.answer.send(ticket.settled().await);
    })
    .detach();
}

/// Starts a task for a connection. Whatever happens in it, a fault of this program included, ends that connection and
/// nothing else.
fn accept(shard: &Rc<Shard>, socket: TcpStream, load: &Arc<AtomicUsize>) {
    let stream = crate::sys::adopt(OwnedFd::from(socket));
    let shard = shard.clone();
    let load = load.clone();
    shard.metrics.connection(1);
    glommio::spawn_local(async move {
        let conn = Conn::new(stream, shard.scratch.clone());
        let listed = shard.connections.list(conn.fd());
        let metrics = shard.metrics.clone();
        if AssertUnwindSafe(crate::doors::serve(shard, conn, listed)).catch_unwind().await.is_err() {
            metrics.panic();
            tracing::error!("a fault in the program ended a connection; please report it with the message above");
        }
        metrics.connection(-1);
        load.fetch_sub(1, Ordering::Relaxed);
    })
    .detach();
}
