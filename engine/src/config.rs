//! What the engine can be told. Every field is a setting of the program: `logboom config` lists them, and
//! `docs/CONFIGURATION.md` is written from the same list (`src/config/settings.rs`), so a field added here is added
//! there.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use record::Zone;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// What an acknowledgement promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The records are on the disk: fdatasync came before the answer.
    Sync,
    /// The records are with the kernel: they outlive the process, and not the machine.
    Flush,
}

/// Where requests go that the engine does not answer itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// A unix socket in the abstract namespace, without its leading NUL.
    Abstract(String),
    Tcp(SocketAddr),
}

/// How durable Redis must be to acknowledge from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisRequire {
    /// As it is set up.
    Any,
    /// On its disk before it answers (`appendfsync always`); where it is weaker, the local log acknowledges.
    Fsync,
}

#[derive(Clone, Debug)]
pub struct Config {
    /// Where the public port is. Port 0 takes any free one.
    pub listen: SocketAddr,
    /// Everything that must outlive a restart is in here.
    pub data_dir: PathBuf,
    /// Threads that accept, parse and log, each with a ring of its own. Half the cores by default: the other half reads,
    /// flushes, and on a small machine sends.
    pub shards: usize,
    pub durability: Durability,

    /// Longest line or single record of a request, bytes. 1 MiB is four times what any known logger writes in one piece.
    pub line_bytes_max: usize,
    /// A body up to here, decoded, is stored whole or not at all; so it is also what one request can hold in memory.
    /// 8 MiB is what the batching clients in use send at most.
    pub atomic_body_bytes_max: usize,
    /// Largest body, decoded, bytes. It is stored in parts, so this bounds time, not memory; a file of a gigabyte is one
    /// curl command.
    pub body_bytes_max: u64,
    /// How much of a refused body is read and dropped, so that its sender sees the answer instead of a reset. Not less
    /// than 8 MiB, or clients that only read once they have sent all never learn why.
    pub discard_bytes_max: u64,
    /// Longest request head, bytes. Browsers stop at 8 KiB of cookies and proxies at 16 KiB.
    pub head_bytes_max: usize,
    /// Most header fields of a request. Proxies that stack up come to about 40.
    pub headers_max: usize,
    /// Most connections at once, over all shards. An idle one costs about 4 KiB here and one open file.
    pub connections_max: usize,

    /// A head must be complete this long after its first byte.
    pub head_timeout: Duration,
    /// A body may pause for this long between two reads. Longer than any TCP retransmission that still succeeds is
    /// likely to take.
    pub body_timeout: Duration,
    /// A connection without a request is closed after this. Longer than the 60 s of usual proxies, so that they close
    /// first and never race.
    pub idle_timeout: Duration,
    /// How long a stop waits for requests that are under way.
    pub stop_timeout: Duration,

    /// Most bytes of the local log that are not in the store yet. Beyond: 429.
    pub queue_bytes_max: u64,
    /// Size of one file of the local log, bytes. Small enough that a recycled one is soon free, large enough that making
    /// one is rare.
    pub segment_bytes: u64,

    /// Rows are written to a Parquet file once this many bytes of them are in memory. Files of a few hundred thousand
    /// rows compress well.
    pub flush_bytes: u64,
    /// Rows are written to a Parquet file at the latest after this, whatever their number.
    pub flush_age: Duration,
    /// Most bytes of rows in memory, those being written included. Beyond, ingestion waits, then 429.
    pub memory_bytes_max: u64,
    /// Records older than this are not taken in, and go from the store; `None` keeps them for ever.
    pub retain: Option<Duration>,
    /// Most bytes of Parquet files: beyond, the oldest days go, then the oldest files.
    pub retain_bytes: Option<u64>,

    /// The Postgres that is the store; `None`: Parquet files in the data folder.
    pub db_url: Option<String>,
    /// How long a day that is over must have been quiet before it gets the indexes of a sealed one.
    pub seal_after: Duration,
    /// The Redis whose streams are the queue; `None`: the local log.
    pub redis_url: Option<String>,
    /// Streams that batches are spread over, by a hash of their ids. All processes on one Redis need the same.
    pub streams: u16,
    /// A batch that a worker has held for so long without a sign is given to another. Over the longest transaction.
    pub claim_after: Duration,
    /// Replicas that must have a batch before it is acknowledged.
    pub redis_wait: u32,
    pub redis_require: RedisRequire,
    /// Connections of queries to Postgres; `queries_max` and `exports_max` together use no more.
    pub db_connections_max: usize,
    /// Connections that copy into Postgres at once.
    pub workers: usize,
    /// Records a COPY holds, in whole batches. Ten thousand are where a larger one gains little.
    pub batch_size: usize,

    /// Where times without a zone are taken to be.
    pub timezone: Zone,
    /// Whether a log wrapped in a log is opened one level.
    pub unwrap: bool,

    /// Origins, as `https://logs.example.com`, whose pages may post and watch besides Logboom's own; `*` is all.
    pub origins: Vec<String>,
    /// Where requests go that the engine does not answer itself; `None`: to the sidecar of this process.
    pub api_upstream: Option<Upstream>,
    /// Where a sidecar of its own listens.
    pub api_listen: SocketAddr,
    /// Longest time of a page, a count, a histogram or facets. An export has none.
    pub query_timeout: Duration,
    /// Most bytes that one query may gather.
    pub query_bytes_max: usize,

    /// How long a shard without work spins before it sleeps. A wake costs some 45 µs, a spinning core all of it; zero
    /// keeps an idle process silent.
    pub spin: Duration,
    /// Memory of each shard's ring for direct I/O, bytes: it is locked, so it counts against `memlock`.
    pub ring_bytes: usize,
    /// Open files the process may have: the soft limit is raised to this, as far as the hard limit allows.
    pub open_files: u64,
}

impl Default for Config {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        Config {
            listen: (Ipv4Addr::LOCALHOST, 5000).into(),
            data_dir: PathBuf::from("./data"),
            shards: (cores / 2).max(1),
            durability: Durability::Sync,
            line_bytes_max: MIB as usize,
            atomic_body_bytes_max: (8 * MIB) as usize,
            body_bytes_max: 16 * GIB,
            discard_bytes_max: 16 * MIB,
            head_bytes_max: (32 * KIB) as usize,
            headers_max: 100,
            connections_max: 10_000,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(90),
            stop_timeout: Duration::from_secs(10),
            queue_bytes_max: 4 * GIB,
            segment_bytes: 32 * MIB,
            flush_bytes: 48 * MIB,
            flush_age: Duration::from_secs(60),
            memory_bytes_max: 144 * MIB,
            retain: None,
            retain_bytes: None,
            db_url: None,
            seal_after: Duration::from_secs(3600),
            redis_url: None,
            streams: record::batch::STREAMS_DEFAULT,
            claim_after: Duration::from_secs(30),
            redis_wait: 0,
            redis_require: RedisRequire::Any,
            db_connections_max: 12,
            workers: 2,
            batch_size: 10_000,
            timezone: Zone::UTC,
            unwrap: true,
            origins: Vec::new(),
            api_upstream: None,
            api_listen: (Ipv4Addr::LOCALHOST, 5001).into(),
            query_timeout: Duration::from_secs(30),
            query_bytes_max: (64 * MIB) as usize,
            spin: Duration::ZERO,
            ring_bytes: MIB as usize,
            open_files: 65_536,
        }
    }
}
