//! Every setting, once. Flags, variables, keys of `logboom.toml`, `logboom config` and `docs/CONFIGURATION.md` are all
//! made from this list.

use super::kind::{Bytes, Count, Flag, Kind, List, Plain, Secret, Time};

/// All that the program can be told.
#[derive(Clone, Debug)]
pub struct Settings {
    pub engine: engine::Config,
    pub api: Sidecar,
    /// What is told on stderr.
    pub log_level: String,
    /// Formats of the user's own: `[patterns]` of the file.
    pub patterns: Patterns,
}

/// Compiled patterns, which live as long as the process.
#[derive(Clone, Default)]
pub struct Patterns(pub Vec<&'static dyn record::format::Parser>);

impl std::fmt::Debug for Patterns {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_list().entries(self.0.iter().map(|parser| parser.info().name)).finish()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            engine: engine::Config::default(),
            api: Sidecar::default(),
            log_level: "info".to_owned(),
            patterns: Patterns::default(),
        }
    }
}

/// The sidecar's limits. What it shares with the engine, as the time zone, it takes from there.
#[derive(Clone, Copy, Debug)]
pub struct Sidecar {
    /// Each may use all cores, so that more only wait for one another.
    pub queries_max: usize,
    /// Each holds a thread and a snapshot for as long as its client reads.
    pub exports_max: usize,
    pub viewers_max: usize,
}

impl Default for Sidecar {
    fn default() -> Self {
        Sidecar { queries_max: 8, exports_max: 4, viewers_max: 1_000 }
    }
}

/// One setting and its names.
pub struct Setting {
    /// Its key in `logboom.toml`; with dashes, its flag.
    pub key: &'static str,
    pub env: &'static str,
    pub section: &'static str,
    pub value: &'static str,
    pub help: &'static str,
    pub show: fn(&Settings) -> String,
    pub set: fn(&mut Settings, &str) -> Result<(), String>,
}

impl Setting {
    pub fn flag(&self) -> String {
        self.key.replace('_', "-")
    }
}

macro_rules! setting {
    ($section:literal, $($field:ident).+, $key:literal, $env:literal, $kind:ty, $help:literal) => {
        Setting {
            key: $key,
            env: $env,
            section: $section,
            value: name_of::<$kind, _>(|settings: &Settings| &settings.$($field).+),
            help: $help,
            show: |settings| <$kind>::show(&settings.$($field).+),
            set: |settings, text| {
                settings.$($field).+ = <$kind>::read(text)?;
                Ok(())
            },
        }
    };
}

/// The name of a kind for the type of the field that `_field` reads.
const fn name_of<K: Kind<T>, T>(_field: fn(&Settings) -> &T) -> &'static str {
    K::NAME
}

pub const SETTINGS: &[Setting] = &[
    setting!(
        "General",
        engine.listen,
        "listen",
        "LOGBOOM_LISTEN",
        Plain,
        "where the public port is; port 0 takes any free one, and `<data_dir>/listen` tells which"
    ),
    setting!(
        "General",
        engine.data_dir,
        "data_dir",
        "LOGBOOM_DATA_DIR",
        Plain,
        "the folder that holds all that must outlive a restart"
    ),
    setting!(
        "General",
        engine.shards,
        "shards",
        "LOGBOOM_SHARDS",
        Count,
        "threads that accept, parse and log; by default half the cores, at least one"
    ),
    setting!(
        "General",
        engine.durability,
        "durability",
        "LOGBOOM_DURABILITY",
        Plain,
        "what an acknowledgement promises: `sync`, the records are on the disk; `flush`, they are with the kernel and outlive the process, not the machine"
    ),
    setting!(
        "General",
        log_level,
        "log_level",
        "LOG_LEVEL",
        Plain,
        "what is told on stderr: error, warn, info, debug, trace, or a filter such as `info,engine=debug`"
    ),
    setting!(
        "Reading logs",
        engine.timezone,
        "timezone",
        "LOGBOOM_TIMEZONE",
        Plain,
        "where times without a zone are taken to be: UTC, local, an IANA name or an offset such as +02:00"
    ),
    setting!(
        "Reading logs",
        engine.unwrap,
        "unwrap",
        "LOGBOOM_UNWRAP",
        Flag,
        "whether a log wrapped in a log is opened one level"
    ),
    setting!(
        "Limits of a request",
        engine.line_bytes_max,
        "line_bytes_max",
        "LOGBOOM_LINE_BYTES_MAX",
        Bytes,
        "longest line or single record; at most 1MiB"
    ),
    setting!(
        "Limits of a request",
        engine.atomic_body_bytes_max,
        "atomic_body_bytes_max",
        "LOGBOOM_ATOMIC_BODY_BYTES_MAX",
        Bytes,
        "a body up to here, decoded, is stored whole or not at all; a longer one in parts"
    ),
    setting!(
        "Limits of a request",
        engine.body_bytes_max,
        "body_bytes_max",
        "LOGBOOM_BODY_BYTES_MAX",
        Bytes,
        "largest body, decoded"
    ),
    setting!(
        "Limits of a request",
        engine.discard_bytes_max,
        "discard_bytes_max",
        "LOGBOOM_DISCARD_BYTES_MAX",
        Bytes,
        "how much of a refused body is read and dropped, so that its sender sees the answer; at least 8MiB"
    ),
    setting!(
        "Limits of a request",
        engine.head_bytes_max,
        "head_bytes_max",
        "LOGBOOM_HEAD_BYTES_MAX",
        Bytes,
        "longest request head"
    ),
    setting!(
        "Limits of a request",
        engine.headers_max,
        "headers_max",
        "LOGBOOM_HEADERS_MAX",
        Count,
        "most header fields of a request"
    ),
    setting!(
        "Connections",
        engine.connections_max,
        "connections_max",
        "LOGBOOM_CONNECTIONS_MAX",
        Count,
        "most connections at once"
    ),
    setting!(
        "Connections",
        engine.head_timeout,
        "head_timeout",
        "LOGBOOM_HEAD_TIMEOUT",
        Time,
        "a request's head must be complete this long after its first byte"
    ),
    setting!(
        "Connections",
        engine.body_timeout,
        "body_timeout",
        "LOGBOOM_BODY_TIMEOUT",
        Time,
        "longest pause between two reads of a body"
    ),
    setting!(
        "Connections",
        engine.idle_timeout,
        "idle_timeout",
        "LOGBOOM_IDLE_TIMEOUT",
        Time,
        "a connection without a request is closed after this"
    ),
    setting!(
        "Connections",
        engine.stop_timeout,
        "stop_timeout",
        "LOGBOOM_STOP_TIMEOUT",
        Time,
        "how long a stop waits for requests that are under way"
    ),
    setting!(
        "Connections",
        engine.origins,
        "origins",
        "LOGBOOM_ORIGINS",
        List,
        "origins, as https://logs.example.com, whose pages may post and watch besides Logboom's own; `*` is all"
    ),
    setting!(
        "Queue",
        engine.queue_bytes_max,
        "queue_bytes_max",
        "LOGBOOM_QUEUE_BYTES_MAX",
        Bytes,
        "most bytes of the local log that are not in the store yet; beyond: 429"
    ),
    setting!(
        "Queue",
        engine.segment_bytes,
        "segment_bytes",
        "LOGBOOM_SEGMENT_BYTES",
        Bytes,
        "size of one file of the local log"
    ),
    setting!(
        "Redis",
        engine.redis_url,
        "redis_url",
        "REDIS_URL",
        Secret,
        "the Redis (7.0 or later) whose streams are the queue: redis://host:6379, redis://USER:PASSWORD@host:6379/0, rediss://… for TLS, unix:///path; empty: the local log is the queue"
    ),
    setting!(
        "Redis",
        engine.streams,
        "streams",
        "LOGBOOM_STREAMS",
        Count,
        "streams that batches are spread over; the same in every process"
    ),
    setting!(
        "Redis",
        engine.redis_wait,
        "redis_wait",
        "LOGBOOM_REDIS_WAIT",
        Count,
        "replicas that must have a batch before it is acknowledged"
    ),
    setting!(
        "Redis",
        engine.redis_require,
        "redis_require",
        "LOGBOOM_REDIS_REQUIRE",
        Plain,
        "how durable Redis must be to acknowledge from it: `any`, as it is set up; `fsync`, on its disk before it answers (appendfsync always), and where it is weaker the local log acknowledges"
    ),
    setting!(
        "Redis",
        engine.claim_after,
        "claim_after",
        "LOGBOOM_CLAIM_AFTER",
        Time,
        "a batch that a worker has held for so long without a sign is given to another; over the longest transaction"
    ),
    setting!(
        "Workers",
        engine.workers,
        "workers",
        "LOGBOOM_WORKERS",
        Count,
        "connections that copy into Postgres at once"
    ),
    setting!(
        "Workers",
        engine.batch_size,
        "batch_size",
        "LOGBOOM_BATCH_SIZE",
        Count,
        "records a COPY holds, in whole batches; fewer when nothing more comes"
    ),
    setting!(
        "Store",
        engine.flush_bytes,
        "flush_bytes",
        "LOGBOOM_FLUSH_BYTES",
        Bytes,
        "rows are written to a Parquet file once this many bytes of them are in memory"
    ),
    setting!(
        "Store",
        engine.flush_age,
        "flush_age",
        "LOGBOOM_FLUSH_AGE",
        Time,
        "rows are written to a Parquet file at the latest after this"
    ),
    setting!(
        "Store",
        engine.memory_bytes_max,
        "memory_bytes_max",
        "LOGBOOM_MEMORY_BYTES_MAX",
        Bytes,
        "most bytes of rows in memory, those being written included; beyond, ingestion waits, then 429"
    ),
    setting!(
        "Store",
        engine.retain,
        "retain",
        "LOGBOOM_RETAIN",
        Time,
        "how long records are kept, as 30d, by their own time; older ones are refused as `too_old`; empty: for ever"
    ),
    setting!(
        "Store",
        engine.retain_bytes,
        "retain_bytes",
        "LOGBOOM_RETAIN_BYTES",
        Bytes,
        "most bytes of Parquet files; beyond, the oldest days go, then the oldest files; empty: no limit"
    ),
    setting!(
        "Queries",
        engine.query_timeout,
        "query_timeout",
        "LOGBOOM_QUERY_TIMEOUT",
        Time,
        "longest time of a page, a count, a histogram or facets; an export has none"
    ),
    setting!(
        "Queries",
        engine.query_bytes_max,
        "query_bytes_max",
        "LOGBOOM_QUERY_BYTES_MAX",
        Bytes,
        "most bytes that one query may gather"
    ),
    setting!(
        "Queries",
        api.queries_max,
        "queries_max",
        "LOGBOOM_QUERIES_MAX",
        Count,
        "queries that run at once; more wait"
    ),
    setting!("Queries", api.exports_max, "exports_max", "LOGBOOM_EXPORTS_MAX", Count, "exports that run at once"),
    setting!("Queries", api.viewers_max, "viewers_max", "LOGBOOM_VIEWERS_MAX", Count, "most live tails at once"),
    setting!(
        "Queries",
        engine.api_upstream,
        "api_upstream",
        "LOGBOOM_API_UPSTREAM",
        Plain,
        "where requests go that the engine does not answer: a sidecar's host:port, or @name of an abstract unix socket; empty: the one in this process"
    ),
    setting!(
        "Queries",
        engine.api_listen,
        "api_listen",
        "LOGBOOM_API_LISTEN",
        Plain,
        "where `logboom api` listens; engines relay to it with api_upstream"
    ),
    setting!(
        "Postgres",
        engine.db_url,
        "db_url",
        "DB_URL",
        Secret,
        "the Postgres that is the store, as postgresql://user:password@host:5432/database; empty: Parquet files in data_dir"
    ),
    setting!(
        "Postgres",
        engine.db_connections_max,
        "db_connections_max",
        "LOGBOOM_DB_CONNECTIONS_MAX",
        Count,
        "most connections of queries; writers have their own"
    ),
    setting!(
        "Postgres",
        engine.seal_after,
        "seal_after",
        "LOGBOOM_SEAL_AFTER",
        Time,
        "a day that is over gets its search indexes once no record has come for it for so long"
    ),
    setting!(
        "Machine",
        engine.spin,
        "spin",
        "LOGBOOM_SPIN",
        Time,
        "how long a shard without work spins before it sleeps; longer answers a little sooner and uses a core"
    ),
    setting!(
        "Machine",
        engine.ring_bytes,
        "ring_bytes",
        "LOGBOOM_RING_BYTES",
        Bytes,
        "memory that each shard's ring locks for direct I/O; counts against memlock"
    ),
    setting!(
        "Machine",
        engine.open_files,
        "open_files",
        "LOGBOOM_OPEN_FILES",
        Count,
        "the soft limit of open files is raised to this, as far as the hard one allows"
    ),
];
