//! Starting and stopping: the folder, the store or the servers, what the log held, the shards, the port. In this order,
//! so that whatever is wrong is said before anything is promised.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};
use tokio::sync::mpsc;

use crate::config::{Config, Durability, Upstream};
use crate::control::Control;
use crate::folder::{Folder, FolderError};
use crate::health::Health;
use crate::listen::{self, Outlet};
use crate::metrics::{Metrics, ShardMetrics};
use crate::queue::LogPosition;
use crate::queue::imports::Imports;
use crate::queue::local::{self, Options, Recovery, drained};
use crate::servers::{LogToDrain, Servers, ServersError, ServersMetrics};
use crate::shard::{self, Backing, ByWayOfRedis, Message, Seed};
use crate::store::Reader;
use crate::store::parquet::{self, ParquetStore, StoreError};
use crate::store_metrics::StoreMetrics;
use crate::tail::Tail;

/// Why the engine did not start: one sentence, with the mend.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("{address} is in use: stop the program that listens there, or choose another address with --listen")]
    AddressInUse { address: SocketAddr },
    #[error("cannot listen on {address}: {source}; choose another address with --listen")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("the store in {path} cannot be opened: {source}")]
    Store { path: PathBuf, source: StoreError },
    #[error("the local log cannot be read: {0}")]
    Log(#[from] local::LogError),
    #[error("shard {shard} did not start: {reason}")]
    Shard { shard: usize, reason: String },
    #[error("io_uring cannot be used: {reason}")]
    Ring { reason: String },
    #[error(transparent)]
    Servers(#[from] ServersError),
}

/// What a process does besides taking logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// All of it: it stores what it takes, and reads it.
    Serve,
    /// Nothing: workers store, a sidecar reads.
    Engine,
}

/// An engine at work.
pub struct Running {
    address: SocketAddr,
    upstream: Upstream,
    store: Option<Arc<ParquetStore>>,
    servers: Option<Arc<Servers>>,
    tail: Tail,
    listener: Arc<TcpListener>,
    accepting: JoinHandle<()>,
    shards: Vec<(mpsc::UnboundedSender<Message>, ExecutorJoinHandle<()>)>,
    findings: Vec<String>,
    control: Option<Control>,
    _folder: Folder,
}

/// Starts the engine. Blocks until every shard takes requests.
pub fn start(config: Config, role: Role) -> Result<Running, StartError> {
    let listener = listen::bind(config.listen).map_err(|source| match source.kind() {
        std::io::ErrorKind::AddrInUse => StartError::AddressInUse { address: config.listen },
        _ => StartError::Listen { address: config.listen, source },
    })?;
    let address = listener.local_addr().map_err(|source| StartError::Listen { address: config.listen, source })?;
    let folder = Folder::open(&config.data_dir)?;
    crate::probe::ring(config.ring_bytes)
        .map_err(|error| StartError::Ring { reason: ring_reason(&error.to_string()) })?;

    let config = Arc::new(config);
    let Opened { store, servers, mut logs, imports, findings } = open(&config, role)?;
    for finding in &findings {
        tracing::warn!("{finding}");
    }
    let left = logs.split_off(config.shards);
    let mut metrics = Metrics::new();
    if let Some(store) = &store {
        metrics = metrics.with(StoreMetrics(store.clone()));
    }
    if let Some(servers) = &servers {
        metrics = metrics.with(ServersMetrics(servers.clone()));
    }
    let metrics = Arc::new(metrics);
    let tail = Tail::default();
    let shard_metrics: Vec<_> = (0..config.shards).map(|_| Arc::new(ShardMetrics::new(metrics.clone()))).collect();
    let health = Arc::new(Health {
        metrics: metrics.clone(),
        shards: shard_metrics.clone(),
        store: store.clone(),
        servers: servers.clone(),
        tail: tail.clone(),
        queue_bytes_max: config.queue_bytes_max,
        retain: config.retain,
        findings: OnceLock::from(findings.clone()),
    });
    let upstream = config.api_upstream.clone().unwrap_or_else(|| own_upstream(address));

    let inboxes: Vec<_> = (0..config.shards).map(|_| mpsc::unbounded_channel()).collect();
    let senders: Vec<_> = inboxes.iter().map(|(sender, _)| sender.clone()).collect();
    let mut shards = Vec::new();
    let mut outlets = Vec::new();
    for (index, (log, (sender, inbox))) in logs.into_iter().zip(inboxes).enumerate() {
        let load = Arc::new(AtomicUsize::new(0));
        outlets.push(Outlet { sender: sender.clone(), load: load.clone() });
        let backing = match (&servers, &store) {
            (Some(servers), None) => {
                let to = sender.clone();
                let covered = Box::new(move |position| drop(to.send(Message::Covered(position))));
                Backing::Servers(servers.doorways(log.to_drain(), covered))
            }
            (servers, Some(store)) => Backing::Embedded(store.clone(), by_way_of_redis(servers, &imports)),
            (None, None) => unreachable!("one of them was opened"),
        };
        let seed = Seed {
            index: index as u16,
            config: config.clone(),
            upstream: upstream.clone(),
            log_dir: log.dir,
            recovery: log.recovery,
            log_options: log_options(&config),
            backing,
            tail: tail.clone(),
            metrics: metrics.clone(),
            shard_metrics: shard_metrics[index].clone(),
            health: health.clone(),
            load,
            inbox,
        };
        shards.push((sender, spawn(index, seed)?));
    }
    if let Some(store) = &store {
        give_back_covered(store, &config.data_dir.join("queue"), senders.clone(), imports.clone());
    }
    if let (Some(servers), Some(imports)) = (&servers, imports) {
        servers.start_import(imports, move |handed| drop(senders[0].send(Message::Import(handed))));
    }
    if let Some(servers) = &servers {
        servers.share(&tail);
    }
    if let (Some(servers), None) = (&servers, &store) {
        for log in left {
            let dir = log.dir.clone();
            servers.drain_left(log.to_drain(), Box::new(move |position| remove_covered(&dir, position)));
        }
        if role == Role::Serve {
            servers.start_workers();
        }
        let shards = shard_metrics;
        servers.start_upkeep(move || oldest_in_logs(&shards));
    }

    let listener = Arc::new(listener);
    let accepting = std::thread::Builder::new()
        .name("accept".into())
        .spawn({
            let listener = listener.clone();
            let connections_max = config.connections_max;
            move || listen::accept(&listener, &outlets, connections_max, &metrics)
        })
        .map_err(|error| StartError::Shard { shard: 0, reason: error.to_string() })?;
    let control = match &store {
        Some(store) => Control::start(&config.data_dir, store.clone(), findings.clone())
            .inspect_err(|error| {
                let folder = config.data_dir.display();
                tracing::warn!("no control socket in {folder}: {error}; `logboom snapshot` needs a stop");
            })
            .ok(),
        None => None,
    };
    if let Err(error) = folder.write_listen(address) {
        tracing::warn!("cannot write {}: {error}", config.data_dir.join("listen").display());
    }
    Ok(Running {
        address,
        upstream,
        store,
        servers,
        tail,
        listener,
        accepting,
        shards,
        findings,
        control,
        _folder: folder,
    })
}

/// What a start finds.
struct Opened {
    store: Option<Arc<ParquetStore>>,
    servers: Option<Arc<Servers>>,
    /// Of the shards that will run, and of those that a folder was left of.
    logs: Vec<Log>,
    /// What the logs have, where Redis feeds the store of this process.
    imports: Option<Arc<Imports>>,
    findings: Vec<String>,
}

/// A shard's log, read back.
struct Log {
    dir: PathBuf,
    /// Everything before this is stored elsewhere.
    from: LogPosition,
    recovery: Recovery,
}

impl Log {
    fn to_drain(&self) -> LogToDrain {
        LogToDrain { dir: self.dir.clone(), from: self.from, reached: self.recovery.reached() }
    }
}

/// Opens the store and gives it what the logs hold; or meets the servers, which will be given it.
fn open(config: &Arc<Config>, role: Role) -> Result<Opened, StartError> {
    let store_dir = config.data_dir.join("store");
    let queue_dir = config.data_dir.join("queue");
    let wrong = |source| StartError::Store { path: store_dir.clone(), source };
    let has_servers = config.db_url.is_some() || config.redis_url.is_some();
    let servers = has_servers.then(|| Servers::start(config.clone())).transpose()?.map(Arc::new);
    let stores_here = config.db_url.is_none() && (config.redis_url.is_none() || role == Role::Serve);
    if !stores_here {
        // What a run without servers has put into files need not go to them.
        let covered = parquet::covered(&store_dir).map_err(wrong)?;
        let (logs, findings) = recover(&queue_dir, None, &covered, config.shards)?;
        return Ok(Opened { store: None, servers, logs, imports: None, findings });
    }
    let (store, covered) = ParquetStore::open(&store_dir, store_options(config)).map_err(wrong)?;
    let imports = servers.is_some().then(|| known_imports(&queue_dir, config.shards)).transpose()?;
    let (logs, mut findings) = recover(&queue_dir, Some(&store), &covered, config.shards)?;
    findings.extend(store.report().sentences());
    Ok(Opened { store: Some(store), servers, logs, imports, findings })
}

/// The ids of all batches that the logs hold, also of those that are in files already, and of those of before.
fn known_imports(queue_dir: &Path, shards: usize) -> Result<Arc<Imports>, StartError> {
    let wrong = |source| local::LogError::Io { path: queue_dir.to_owned(), source };
    std::fs::create_dir_all(queue_dir).map_err(wrong)?;
    let imports = Imports::open(queue_dir).map_err(wrong)?;
    for index in logs_in(queue_dir, shards) {
        let dir = shard_dir(queue_dir, index);
        local::recover(&dir, LogPosition::default(), &mut |_, batch| imports.add(&[batch]))?;
    }
    Ok(Arc::new(imports))
}

fn by_way_of_redis(servers: &Option<Arc<Servers>>, imports: &Option<Arc<Imports>>) -> Option<ByWayOfRedis> {
    let queue = servers.as_ref()?.redis_doorway()?;
    Some(ByWayOfRedis { queue, imports: imports.clone()? })
}

fn give_back_covered(
    store: &ParquetStore,
    queue_dir: &Path,
    senders: Vec<mpsc::UnboundedSender<Message>>,
    imports: Option<Arc<Imports>>,
) {
    let queue = queue_dir.to_owned();
    store.on_covered(move |shard, position| {
        if let Some(imports) = &imports
            && let Err(error) = imports.write()
        {
            tracing::warn!("the log keeps what the store has, since the ids in it cannot be written: {error}");
            return;
        }
        match senders.get(usize::from(shard)) {
            // A shard that has stopped needs no segments back.
            Some(sender) => drop(sender.send(Message::Covered(position))),
            // The log of a run with more shards: nobody writes it any more.
            None => remove_covered(&shard_dir(&queue, usize::from(shard)), position),
        }
    });
}

fn remove_covered(dir: &Path, position: LogPosition) {
    if let Err(error) = local::remove_covered(dir, position) {
        tracing::warn!("cannot remove {}: {error}", dir.display());
    }
}

/// When the oldest batch came that is in the local logs alone.
fn oldest_in_logs(shards: &[Arc<ShardMetrics>]) -> Option<SystemTime> {
    let micros = shards.iter().filter_map(|shard| shard.reading().oldest_micros).min()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_micros(micros.max(0) as u64))
}

impl Running {
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Where the sidecar is expected to listen.
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// What queries ask; `None` where logs are stored elsewhere, without a Postgres to ask.
    pub fn reader(&self) -> Option<Arc<dyn Reader>> {
        match (&self.store, &self.servers) {
            (Some(store), _) => Some(store.clone()),
            (None, Some(servers)) => servers.reader(),
            (None, None) => None,
        }
    }

    pub fn tail(&self) -> Tail {
        self.tail.clone()
    }

    /// What recovery found wrong, a sentence each.
    pub fn findings(&self) -> &[String] {
        &self.findings
    }

    /// Takes no more requests, answers those under way, and leaves everything acknowledged in the store or the log.
    pub fn stop(self) {
        if let Some(control) = self.control {
            control.stop();
        }
        // The accepting thread wakes with an error, and ends.
        let _ = rustix::net::shutdown(&*self.listener, rustix::net::Shutdown::Both);
        if self.accepting.join().is_err() {
            tracing::error!("the accepting thread had ended with a fault");
        }
        for (sender, _) in &self.shards {
            let _ = sender.send(Message::Stop);
        }
        for (index, (_, handle)) in self.shards.into_iter().enumerate() {
            if handle.join().is_err() {
                tracing::error!(shard = index, "a shard had ended with a fault");
            }
        }
        if let Some(store) = self.store {
            store.close();
        }
        if let Some(servers) = self.servers {
            servers.stop();
        }
    }
}

/// The abstract socket of the sidecar in this process.
fn own_upstream(address: SocketAddr) -> Upstream {
    Upstream::Abstract(format!("logboom-api-{}-{}", std::process::id(), address.port()))
}

pub(crate) fn shard_dir(queue_dir: &Path, shard: usize) -> PathBuf {
    queue_dir.join(format!("shard-{shard:02}"))
}

pub(crate) fn store_options(config: &Config) -> parquet::Options {
    let mut options =
        parquet::Options::new(config.memory_bytes_max as usize, config.flush_bytes as usize, config.flush_age);
    options.retain = config.retain;
    options.retain_bytes = config.retain_bytes;
    options.query_bytes_max = config.query_bytes_max;
    options
}

fn log_options(config: &Config) -> Options {
    Options {
        durability: match config.durability {
            Durability::Sync => local::Durability::Sync,
            Durability::Flush => local::Durability::Flush,
        },
        bytes_max: config.queue_bytes_max / config.shards as u64,
        segment_bytes: config.segment_bytes,
    }
}

/// Reads the logs back, also those of a run with more shards. The store, where there is one, gets everything that its files
/// do not hold.
fn recover(
    queue_dir: &Path,
    store: Option<&ParquetStore>,
    covered: &parquet::Covered,
    shards: usize,
) -> Result<(Vec<Log>, Vec<String>), StartError> {
    let mut logs = Vec::new();
    let mut findings = Vec::new();
    for index in logs_in(queue_dir, shards) {
        let dir = shard_dir(queue_dir, index);
        let from = covered.get(&(index as u16)).copied().unwrap_or_default().max(drained::read(&dir));
        let recovery = local::recover(&dir, from, &mut |end: LogPosition, batch| {
            if let Some(store) = store {
                store.wait_for_room_blocking();
                store.insert(index as u16, &[batch], end);
            }
        })?;
        if recovery.batches > 0 {
            let Recovery { batches, rows, .. } = recovery;
            tracing::info!(shard = index, batches, rows, "read back from the local log");
        }
        findings.extend(recovery.damaged.iter().chain(&recovery.remarks).cloned());
        logs.push(Log { dir, from, recovery });
    }
    Ok((logs, findings))
}

/// Gives the store of a folder that is not in use what its logs hold; says what was wrong with them.
pub(crate) fn recover_into(
    store: &ParquetStore,
    queue_dir: &Path,
    covered: &parquet::Covered,
) -> Result<Vec<String>, StartError> {
    Ok(recover(queue_dir, Some(store), covered, 0)?.1)
}

/// The shards whose logs are to be read: those that will run, and those that a folder was left of.
pub(crate) fn logs_in(queue_dir: &Path, shards: usize) -> Vec<usize> {
    let names = std::fs::read_dir(queue_dir).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let left = names.filter_map(|name| name.to_str()?.strip_prefix("shard-")?.parse().ok());
    let mut all: Vec<usize> =
        (0..shards).chain(left.filter(|&index| index >= shards && index <= u16::MAX.into())).collect();
    all.sort_unstable();
    all
}

fn spawn(index: usize, seed: Seed) -> Result<ExecutorJoinHandle<()>, StartError> {
    let (told, ready) = std_mpsc::channel();
    let builder = LocalExecutorBuilder::new(Placement::Unbound)
        .name(&format!("shard-{index}"))
        .io_memory(seed.config.ring_bytes)
        .spin_before_park(seed.config.spin);
    let handle = builder
        .spawn(move || async move {
            shard::run(seed, |result| {
                let _ = told.send(result);
            })
            .await;
        })
        .map_err(|error| StartError::Ring { reason: ring_reason(&error.to_string()) })?;
    match ready.recv() {
        Ok(Ok(())) => Ok(handle),
        Ok(Err(reason)) => Err(StartError::Shard { shard: index, reason }),
        Err(_) => match handle.join() {
            Err(error) => Err(StartError::Ring { reason: ring_reason(&error.to_string()) }),
            Ok(()) => Err(StartError::Shard { shard: index, reason: "it ended at once".into() }),
        },
    }
}

fn ring_reason(error: &str) -> String {
    let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    let mend = match disabled.trim() {
        "1" | "2" => "set it free with `sysctl kernel.io_uring_disabled=0`",
        _ if error.to_ascii_lowercase().contains("memory") || error.contains("memlock") => {
            "it may lock too little memory: raise the limit with `ulimit -l unlimited` or LimitMEMLOCK= of the service"
        }
        _ => {
            "run on Linux 5.8 or later, and let the container's seccomp profile allow io_uring_setup, io_uring_enter and io_uring_register"
        }
    };
    format!("{error}; {mend}; `logboom doctor` tells more")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run with fewer shards reads what one with more has left, whichever of its folders are gone already.
    #[test]
    fn logs_of_shards_that_no_longer_run_are_read() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["shard-00", "shard-03", "shard-x", "other"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        assert_eq!(logs_in(dir.path(), 2), [0, 1, 3]);
        assert_eq!(logs_in(&dir.path().join("missing"), 1), [0]);
    }
}
