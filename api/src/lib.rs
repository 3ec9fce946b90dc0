//! The read path: a sidecar of its own behind the engine's port, or on a port of its own.
//!
//! It asks an [`engine::store::Reader`] for records and counts, and an [`engine::tail::Tail`] for what arrives; it never
//! writes, and the engine never waits for it. `route.rs` lists what it answers.
#![forbid(unsafe_code)]

mod answer;
mod assets;
mod coding;
mod cursor;
mod dead_letters;
mod dev;
mod error;
mod export;
mod formats;
mod live;
mod logs;
mod openapi;
mod origin;
mod params;
mod query;
mod route;
mod serve;
mod stats;

use std::net::SocketAddr;
use std::sync::Arc;

use engine::store::Reader;
use engine::tail::Tail;
use record::{Timestamp, Zone};

pub use serve::{Server, serve};

/// Where the sidecar listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// An abstract unix socket of this name: what the engine's shards relay to.
    Abstract(String),
    /// A TCP address: `logboom api`.
    Tcp(SocketAddr),
}

/// The sidecar's settings.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    pub listen: Listen,
    /// Origins whose pages may read and watch, as `https://ops.example`; `*` allows all.
    pub origins: Vec<String>,
    /// Where times without a zone are taken to be, in `from` and `to`.
    pub timezone: Zone,
    /// A query that takes longer is ended.
    pub query_seconds_max: u64,
    /// Queries that run at once. Each may use all cores, so that more only wait for one another.
    pub queries_max: usize,
    /// Exports that run at once, each on a thread for as long as its client reads.
    pub exports_max: usize,
    /// Open WebSockets.
    pub viewers_max: usize,
    /// Open connections, WebSockets included.
    pub connections_max: usize,
    /// The dashboard's files are read from here instead of from the program, and the page reloads when they change.
    pub dashboard_folder: Option<std::path::PathBuf>,
    /// At a stop, answers under way are given so long to end.
    pub stop_seconds_max: u64,
}

impl ApiConfig {
    pub fn new(listen: Listen) -> ApiConfig {
        ApiConfig {
            listen,
            origins: Vec::new(),
            timezone: Zone::UTC,
            query_seconds_max: 30,
            queries_max: 8,
            exports_max: 4,
            viewers_max: 1_000,
            connections_max: 4_096,
            dashboard_folder: None,
            stop_seconds_max: 5,
        }
    }
}

/// What every request's handler sees.
struct Sidecar {
    config: ApiConfig,
    queries: query::Queries,
    live: live::Live,
    tail: Tail,
}

impl Sidecar {
    fn new(config: ApiConfig, reader: Arc<dyn Reader>, tail: Tail) -> Sidecar {
        Sidecar {
            queries: query::Queries::new(reader, &config),
            live: live::Live::new(tail.clone(), config.viewers_max),
            config,
            tail,
        }
    }

    /// The time that relative times in a filter count from.
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::clamped(since.as_micros() as i64)
    }
}
