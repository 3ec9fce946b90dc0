//! Looking after a data folder: is it whole, mend it, copy it. Each call holds the folder's lock, so that nobody starts
//! meanwhile; a copy of a folder in use is made by the engine that uses it.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use crate::config::Config;
use crate::control;
use crate::engine::{StartError, logs_in, recover_into, shard_dir, store_options};
use crate::finding::Finding;
use crate::folder::{Folder, FolderError};
use crate::queue::local;
use crate::store::parquet::{Copied, CopyError, ParquetStore, StoreError, fsck};

/// Why a folder cannot be looked after.
#[derive(Debug, thiserror::Error)]
pub enum UpkeepError {
    #[error("{path} is not there: choose the data folder with --data-dir")]
    NoFolder { path: PathBuf },
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error("the server that uses the folder has made no copy: {0}")]
    Server(String),
    #[error("{0}; it takes no requests yet, or is no server")]
    NoServer(FolderError),
    #[error("{0}; `logboom fsck` tells more")]
    Damaged(String),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads the whole local log and the whole store, and compares the one with the other; changes nothing.
pub fn check(data_dir: &Path) -> Result<Vec<Finding>, UpkeepError> {
    let _folder = hold(data_dir)?;
    let mut findings = Vec::new();
    let queue_dir = data_dir.join("queue");
    let store_dir = data_dir.join("store");
    let covered = fsck::covered(&store_dir);
    for shard in logs_in(&queue_dir, 0) {
        let covered = covered.get(&(shard as u16)).copied().unwrap_or_default();
        findings.extend(local::check(&shard_dir(&queue_dir, shard), covered).map_err(StartError::from)?);
    }
    if store_dir.exists() {
        findings.extend(fsck::check(&store_dir)?);
    }
    Ok(findings)
}

/// Mends the store as far as it can be mended; a sentence for each thing done. The log needs none: a start reads what is
/// readable of it, and sets the rest aside.
pub fn repair(data_dir: &Path) -> Result<Vec<String>, UpkeepError> {
    let _folder = hold(data_dir)?;
    let store_dir = data_dir.join("store");
    if store_dir.exists() { Ok(fsck::repair(&store_dir)?) } else { Ok(Vec::new()) }
}

/// A copy, and who made it.
pub struct Snapshot {
    pub copied: Copied,
    /// Whether a server at work made it.
    pub by_server: bool,
}

/// Makes `to` a data folder of its own with all that is stored, what only the log holds included. Where a server uses the
/// folder, that server makes it, and goes on; every record that was acknowledged before is in it.
pub fn snapshot(config: &Config, to: &Path) -> Result<Snapshot, UpkeepError> {
    let folder = match hold(&config.data_dir) {
        Err(UpkeepError::Start(StartError::Folder(locked @ FolderError::Locked { .. }))) => {
            let asked = control::ask_snapshot(&config.data_dir, to).ok_or(UpkeepError::NoServer(locked))?;
            return asked.map(|copied| Snapshot { copied, by_server: true });
        }
        held => held?,
    };
    let store_dir = folder.path().join("store");
    // A copy is no occasion to let go of anything.
    let options = store_options(&Config { retain: None, retain_bytes: None, ..config.clone() });
    let (store, covered) =
        ParquetStore::open(&store_dir, options).map_err(|source| StartError::Store { path: store_dir, source })?;
    let mut findings = recover_into(&store, &folder.path().join("queue"), &covered)?;
    findings.extend(store.report().sentences());
    let copied = copy_store(&store, to, &findings, &AtomicBool::new(false));
    store.close();
    copied.map(|copied| Snapshot { copied, by_server: false })
}

/// Copies a store of which a start has found this to be damaged or missing.
pub(crate) fn copy_store(
    store: &ParquetStore,
    to: &Path,
    findings: &[String],
    stop: &AtomicBool,
) -> Result<Copied, UpkeepError> {
    let copied = store.copy_to(to, stop)?;
    // The copy is as whole as what it was made of: whoever relies on it must know.
    match findings.is_empty() {
        true => Ok(copied),
        false => {
            Err(UpkeepError::Damaged(format!("the copy is made, but it may lack records: {}", findings.join("; "))))
        }
    }
}

fn hold(data_dir: &Path) -> Result<Folder, UpkeepError> {
    // A folder that is held is made where it is missing: not what one who looks after it wants.
    if !data_dir.is_dir() {
        return Err(UpkeepError::NoFolder { path: data_dir.to_owned() });
    }
    Ok(Folder::open(data_dir).map_err(StartError::from)?)
}
