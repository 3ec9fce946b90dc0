//! Starting and stopping: the folder, the store, what the log held, the shards, the port. In this order, so that
//! whatever is wrong is said before anything is promised.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;

use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};
use tokio::sync::mpsc;

use crate::config::{Config, Durability, Upstream};
use crate::control::Control;
use crate::folder::{Folder, FolderError};
use crate::health::Health;
use crate::listen::{self, Outlet};
use crate::metrics::{Metrics, ShardMetrics};
use crate::queue::LogPosition;
use crate::queue::local::{self, Options, Recovery};
use crate::shard::{self, Message, Seed};
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
}

/// An engine at work.
pub struct Running {
    address: SocketAddr,
    upstream: Upstream,
    store: Arc<ParquetStore>,
    tail: Tail,
    listener: Arc<TcpListener>,
    accepting: JoinHandle<()>,
    shards: Vec<(mpsc::UnboundedSender<Message>, ExecutorJoinHandle<()>)>,
    findings: Vec<String>,
    control: Option<Control>,
    _folder: Folder,
}

/// Starts the engine. Blocks until every shard takes requests.
pub fn start(config: Config) -> Result<Running, StartError> {
    let listener = listen::bind(config.listen).map_err(|source| match source.kind() {
        std::io::ErrorKind::AddrInUse => StartError::AddressInUse { address: config.listen },
        _ => StartError::Listen { address: config.listen, source },
    })?;
    let address = listener.local_addr().map_err(|source| StartError::Listen { address: config.listen, source })?;
    let folder = Folder::open(&config.data_dir)?;
    crate::probe::ring(config.ring_bytes)
        .map_err(|error| StartError::Ring { reason: ring_reason(&error.to_string()) })?;

    let store_dir = config.data_dir.join("store");
    let (store, covered) = ParquetStore::open(&store_dir, store_options(&config))
        .map_err(|source| StartError::Store { path: store_dir, source })?;
    let queue_dir = config.data_dir.join("queue");
    let (recoveries, mut findings) = recover(&queue_dir, &store, &covered, config.shards)?;
    findings.extend(store.report().sentences());
    for finding in &findings {
        tracing::warn!("{finding}");
    }

    let config = Arc::new(config);
    let metrics = Arc::new(Metrics::new().with(StoreMetrics(store.clone())));
    let tail = Tail::default();
    let shard_metrics: Vec<_> = (0..config.shards).map(|_| Arc::new(ShardMetrics::new(metrics.clone()))).collect();
    let health = Arc::new(Health {
        metrics: metrics.clone(),
        shards: shard_metrics.clone(),
        store: store.clone(),
        tail: tail.clone(),
        queue_bytes_max: config.queue_bytes_max,
        findings: OnceLock::from(findings.clone()),
    });
    let upstream = config.api_upstream.clone().unwrap_or_else(|| own_upstream(address));

    let mut shards = Vec::new();
    let mut outlets = Vec::new();
    for (index, recovery) in recoveries.into_iter().enumerate() {
        let (sender, inbox) = mpsc::unbounded_channel();
        let load = Arc::new(AtomicUsize::new(0));
        outlets.push(Outlet { sender: sender.clone(), load: load.clone() });
        let seed = Seed {
            index: index as u16,
            config: config.clone(),
            upstream: upstream.clone(),
            log_dir: shard_dir(&queue_dir, index),
            recovery,
            log_options: log_options(&config),
            store: store.clone(),
            tail: tail.clone(),
            metrics: metrics.clone(),
            shard_metrics: shard_metrics[index].clone(),
            health: health.clone(),
            load,
            inbox,
        };
        shards.push((sender, spawn(index, seed)?));
    }
    let senders: Vec<_> = shards.iter().map(|(sender, _)| sender.clone()).collect();
    let queue = queue_dir.clone();
    store.on_covered(move |shard, position| match senders.get(usize::from(shard)) {
        // A shard that has stopped needs no segments back.
        Some(sender) => drop(sender.send(Message::Covered(position))),
        // The log of a run with more shards: nobody writes it any more.
        None => {
            let dir = shard_dir(&queue, usize::from(shard));
            if let Err(error) = local::remove_covered(&dir, position) {
                tracing::warn!("cannot remove {}: {error}", dir.display());
            }
        }
    });

    let listener = Arc::new(listener);
    let accepting = std::thread::Builder::new()
        .name("accept".into())
        .spawn({
            let listener = listener.clone();
            let connections_max = config.connections_max;
            move || listen::accept(&listener, &outlets, connections_max, &metrics)
        })
        .map_err(|error| StartError::Shard { shard: 0, reason: error.to_string() })?;
    let control = Control::start(&config.data_dir, store.clone(), findings.clone());
    if let Err(error) = &control {
        tracing::warn!("no control socket in {}: {error}; `logboom snapshot` needs a stop", config.data_dir.display());
    }
    if let Err(error) = folder.write_listen(address) {
        tracing::warn!("cannot write {}: {error}", config.data_dir.join("listen").display());
    }
    let control = control.ok();
    Ok(Running { address, upstream, store, tail, listener, accepting, shards, findings, control, _folder: folder })
}

impl Running {
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Where the sidecar is expected to listen.
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    pub fn reader(&self) -> Arc<dyn Reader> {
        self.store.clone()
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
        self.store.close();
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

/// Gives the store everything that the logs hold and its files do not; also the logs of a run with more shards.
pub(crate) fn recover(
    queue_dir: &Path,
    store: &ParquetStore,
    covered: &parquet::Covered,
    shards: usize,
) -> Result<(Vec<Recovery>, Vec<String>), StartError> {
    let mut recoveries = Vec::new();
    let mut findings = Vec::new();
    for index in logs_in(queue_dir, shards) {
        let dir = shard_dir(queue_dir, index);
        let from = covered.get(&(index as u16)).copied().unwrap_or_default();
        let recovery = local::recover(&dir, from, &mut |end: LogPosition, batch| {
            store.wait_for_room_blocking();
            store.insert(index as u16, &[batch], end);
        })?;
        if recovery.batches > 0 {
            tracing::info!(
                shard = index,
                batches = recovery.batches,
                rows = recovery.rows,
                "read back from the local log"
            );
        }
        findings.extend(recovery.damaged.iter().chain(&recovery.remarks).cloned());
        if index < shards {
            recoveries.push(recovery);
        }
    }
    Ok((recoveries, findings))
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
