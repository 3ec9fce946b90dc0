//! Where Redis is: its URL, connections to it, and what it promises of what it is given.
//!
//! Comes in: `redis_url`. Goes out: connections that answer within a set time or fail, and [`Found`], which says how
//! durable an acknowledged batch is there and what had better be changed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion};
use tokio::sync::Mutex;

pub use super::error::RedisError;
use super::error::understand;

/// The oldest server that is used: XAUTOCLAIM of a deleted entry clears it since 7.0.
const VERSION_MIN: (u32, u32) = (7, 0);
/// Someone waits for what [`Target::inspect`] finds; a server that is well answers in a millisecond.
const INSPECT_MAX: Duration = Duration::from_secs(3);

const FORM: &str =
    "write redis://host:6379, redis://USER:PASSWORD@host:6379/0, rediss://… for TLS, or unix:///path/to/socket";

/// A server, and how to get in.
#[derive(Clone)]
pub struct Target {
    /// Without user, password and database: the library tells nothing of why it was refused.
    client: Client,
    /// With them, for Pub/Sub, where only the library can give them.
    pubsub: Client,
    login: Option<(Option<String>, String)>,
    database: i64,
    shown: String,
    /// Kept for those who ask every second.
    asking: Arc<Mutex<Option<MultiplexedConnection>>>,
}

impl fmt::Debug for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Target({})", self.shown)
    }
}

/// What an answered XADD promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It is on the disk.
    Fsync,
    /// It is on the disk within a second or two.
    EverySecond,
    /// It is in memory, and on the disk whenever that happens to be written.
    Memory,
    /// The server does not say.
    Unknown,
}

impl fmt::Display for Durability {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Durability::Fsync => "fsync",
            Durability::EverySecond => "everysecond",
            Durability::Memory => "memory",
            Durability::Unknown => "unknown",
        })
    }
}

/// What a server says of itself.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its URL without the password.
    pub at: String,
    pub version: String,
    pub durability: Durability,
    /// `None` where the server does not say, here and below.
    pub appendonly: Option<bool>,
    pub appendfsync: Option<String>,
    /// 0: no limit.
    pub maxmemory: Option<u64>,
    pub maxmemory_policy: Option<String>,
    /// Whether it throws away logs that wait, rather than refuse new ones.
    pub evicts: bool,
    pub replica: bool,
    /// What had better be changed, each with how.
    pub remarks: Vec<String>,
}

impl Target {
    /// Reads a URL; the error says how one is written, and never shows it.
    pub fn parse(url: &str) -> Result<Target, String> {
        // Decides for the process; another part may have done so already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = redis::parse_redis_url(url.trim()).ok_or_else(|| format!("not the URL of a Redis: {FORM}"))?;
        let info = url
            .into_connection_info()
            .map_err(|error| format!("not the URL of a Redis, {}: {FORM}", error.to_string().to_lowercase()))?;
        if matches!(info.addr(), ConnectionAddr::TcpTls { insecure: true, .. }) {
            return Err(
                "#insecure is not supported: name the file of the certificate authority in SSL_CERT_FILE".into()
            );
        }
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        let login = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP2);
        let login = login.set_lib_name("logboom", env!("CARGO_PKG_VERSION"));
        let database = login.db();
        let credentials = login.password().map(|password| (login.username().map(str::to_owned), password.to_owned()));
        let open = |info: ConnectionInfo| Client::open(info).map_err(|error| format!("{error}: {FORM}"));
        let plain = redis::RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP2)
            .set_lib_name("logboom", env!("CARGO_PKG_VERSION"));
        let info = info.set_tcp_settings(tcp);
        Ok(Target {
            shown: shown(&info, login.username()),
            client: open(info.clone().set_redis_settings(plain))?,
            pubsub: open(info.set_redis_settings(login))?,
            login: credentials,
            database,
            asking: Arc::default(),
        })
    }

    /// The URL without its password.
    pub fn shown(&self) -> String {
        self.shown.clone()
    }

    /// What the server is and promises. Refused where it is too old to be used.
    pub async fn inspect(&self) -> Result<Found, RedisError> {
        let mut connection = self.connect(INSPECT_MAX).await?;
        let info: Result<String, _> = redis::cmd("INFO").query_async(&mut connection).await;
        let info = match info {
            Ok(info) => info,
            Err(error) if error.code() == Some("NOPERM") => String::new(),
            Err(error) => return Err(self.understand(&error)),
        };
        let info = |key: &str| info.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim);
        let version = info("redis_version").unwrap_or("unknown").to_owned();
        if info("redis_version").is_some_and(|version| version_of(version) < VERSION_MIN) {
            let (major, minor) = VERSION_MIN;
            return Err(RedisError::Refused(format!(
                "{} is Redis {version}: {major}.{minor} or later is needed",
                self.shown
            )));
        }
        if info("redis_mode") == Some("cluster") {
            return Err(RedisError::Refused(format!(
                "{} is part of a Redis Cluster, which this version does not use: name a single server",
                self.shown
            )));
        }
        if info("loading") == Some("1") {
            return Err(RedisError::Loading);
        }
        let mut config = async |key: &str| {
            let found: Option<(String, String)> =
                redis::cmd("CONFIG").arg("GET").arg(key).query_async(&mut connection).await.ok();
            found.map(|(_, value)| value)
        };
        let appendfsync = config("appendfsync").await;
        let pauses_in_rewrites = config("no-appendfsync-on-rewrite").await.as_deref() == Some("yes");
        let mut found = Found {
            at: self.shown.clone(),
            version,
            durability: Durability::Unknown,
            appendonly: info("aof_enabled").map(|value| value == "1"),
            appendfsync,
            maxmemory: info("maxmemory").and_then(|value| value.parse().ok()),
            maxmemory_policy: info("maxmemory_policy").map(str::to_owned),
            evicts: false,
            replica: info("role") == Some("slave"),
            remarks: Vec::new(),
        };
        found.judge(pauses_in_rewrites);
        Ok(found)
    }

    /// A connection whose every answer comes within `timeout`, or is an error.
    pub(super) async fn connect(&self, timeout: Duration) -> Result<MultiplexedConnection, RedisError> {
        // Both are set: the library's own are 1 s and 500 ms.
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(timeout)).set_response_timeout(Some(timeout));
        let connected = self.client.get_multiplexed_async_connection_with_config(&config).await;
        let mut connection = connected.map_err(|error| self.understand(&error))?;
        let mut greeting = redis::pipe();
        if let Some((user, password)) = &self.login {
            greeting.cmd("AUTH").arg(user.as_deref()).arg(password);
        }
        if self.database != 0 {
            greeting.cmd("SELECT").arg(self.database);
        }
        // Errors one by one: a wrong password makes the SELECT fail as well.
        let answers: Vec<redis::RedisResult<redis::Value>> = match greeting.is_empty() {
            true => Vec::new(),
            false => {
                greeting.ignore_errors().query_async(&mut connection).await.map_err(|error| self.understand(&error))?
            }
        };
        match answers.into_iter().find_map(Result::err) {
            Some(error) => Err(self.understand(&error)),
            None => Ok(connection),
        }
    }

    /// A connection that is kept from one question to the next, and whether it was used before: then it may have died.
    pub(super) async fn kept(&self, timeout: Duration) -> Result<(MultiplexedConnection, bool), RedisError> {
        let mut asking = self.asking.lock().await;
        if let Some(connection) = &*asking {
            return Ok((connection.clone(), true));
        }
        let connection = self.connect(timeout).await?;
        *asking = Some(connection.clone());
        Ok((connection, false))
    }

    pub(super) async fn drop_kept(&self) {
        *self.asking.lock().await = None;
    }

    /// A connection that only listens.
    pub(super) async fn listen(&self, timeout: Duration) -> Result<PubSub, RedisError> {
        match tokio::time::timeout(timeout, self.pubsub.get_async_pubsub()).await {
            Ok(connected) => connected.map_err(|error| self.understand(&error)),
            Err(_) => Err(RedisError::Away(format!("{} does not answer in time", self.shown))),
        }
    }

    pub(super) fn understand(&self, error: &redis::RedisError) -> RedisError {
        understand(error, &self.shown)
    }
}

impl fmt::Display for Found {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let promise = match self.durability {
            Durability::Fsync => "on its disk before it answers (fsync)",
            Durability::EverySecond => "on its disk within a second or two (everysecond)",
            Durability::Memory => "in its memory alone (memory)",
            Durability::Unknown => "it does not say how durable (unknown)",
        };
        write!(out, "Redis {} at {}, {promise}", self.version, self.at)
    }
}

impl Found {
    /// Durability, whether it evicts, and what to say of both.
    fn judge(&mut self, pauses_in_rewrites: bool) {
        let fsync = self.appendfsync.as_deref();
        self.durability = match (self.appendonly, fsync) {
            (Some(false), _) => Durability::Memory,
            (Some(true), Some("always")) if !pauses_in_rewrites => Durability::Fsync,
            (Some(true), Some("always" | "everysec")) => Durability::EverySecond,
            (Some(true), Some("no")) => Durability::Memory,
            _ => Durability::Unknown,
        };
        let mut remark = |text: String| self.remarks.push(text);
        if self.appendonly == Some(false) {
            remark("appendonly is no, so a restart of Redis loses logs that were acknowledged: CONFIG SET appendonly yes (and in redis.conf)".into());
        }
        if self.appendonly == Some(true) && fsync == Some("no") {
            remark("appendfsync is no, so a crash of its machine loses logs that were acknowledged: CONFIG SET appendfsync always (and in redis.conf)".into());
        }
        if pauses_in_rewrites && fsync == Some("always") {
            remark("no-appendfsync-on-rewrite is yes, so that during a rewrite logs are acknowledged before they are on its disk: CONFIG SET no-appendfsync-on-rewrite no".into());
        }
        // Those that evict `volatile-` keys spare ours, which never expire.
        if let Some(policy) = self.maxmemory_policy.as_deref().filter(|policy| policy.starts_with("allkeys-")) {
            self.evicts = true;
            remark(format!(
                "maxmemory-policy is {policy}, so a full Redis throws away logs that wait: CONFIG SET maxmemory-policy noeviction (and in redis.conf)"
            ));
        }
        if self.replica {
            remark("it is a replica and takes no writes: name its master in redis_url".into());
        }
    }
}

fn version_of(text: &str) -> (u32, u32) {
    let mut numbers = text.split('.').map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn shown(info: &ConnectionInfo, user: Option<&str>) -> String {
    let user = user.map_or_else(String::new, |user| format!("{user}@"));
    let database = match info.redis_settings().db() {
        0 => String::new(),
        database => format!("/{database}"),
    };
    let host = |host: &str| if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    match info.addr() {
        ConnectionAddr::Tcp(name, port) => format!("redis://{user}{}:{port}{database}", host(name)),
        ConnectionAddr::TcpTls { host: name, port, .. } => format!("rediss://{user}{}:{port}{database}", host(name)),
        ConnectionAddr::Unix(path) => format!("unix://{}", path.display()),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_how_they_are_shown() {
        for (url, as_shown) in [
            ("redis://localhost:6379", "redis://localhost:6379"),
            (" redis://localhost ", "redis://localhost:6379"),
            ("redis://:se%40cret@h:1/3", "redis://h:1/3"),
            ("redis://ann:secret@h:1/0", "redis://ann@h:1"),
            ("rediss://ann:secret@h", "rediss://ann@h:6379"),
            ("redis://[::1]:7", "redis://[::1]:7"),
            ("valkey://h", "redis://h:6379"),
            ("unix:///run/redis.sock", "unix:///run/redis.sock"),
        ] {
            let target = Target::parse(url).expect(url);
            assert_eq!(target.shown(), as_shown);
            assert!(!format!("{target:?}").contains("secret"));
        }
        for url in [
            "",
            "localhost:6379",
            "http://h",
            "redis://",
            "redis://h/x",
            "rediss://h/#insecure",
            "redis://u:secret@h:x",
        ] {
            let error = Target::parse(url).expect_err(url);
            assert!(
                !error.contains("secret")
                    && error.contains(if url.contains('#') { "SSL_CERT" } else { "write redis://" }),
                "{error}"
            );
        }
    }

    #[test]
    fn versions_are_compared_by_number() {
        assert!(version_of("6.2.14") < VERSION_MIN && version_of("7.0.0") >= VERSION_MIN);
        assert!(version_of("10.1") > VERSION_MIN && version_of("x") < VERSION_MIN);
    }
}
