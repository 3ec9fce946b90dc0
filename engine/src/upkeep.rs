//! Looking after a data folder that no engine uses: is it whole, mend it, copy it. Each call holds the folder's lock, so
//! that nobody starts meanwhile.

use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::engine::{StartError, logs_in, recover_into, shard_dir, store_options};
use crate::finding::Finding;
use crate::folder::Folder;
use crate::queue::local;
use crate::store::parquet::{Copied, ParquetStore, StoreError, fsck};

/// Why a folder cannot be looked after.
#[derive(Debug, thiserror::Error)]
pub enum UpkeepError {
    #[error("{path} is not there: choose the data folder with --data-dir")]
    NoFolder { path: PathBuf },
    #[error("{path} is there and not empty: choose another folder for the copy")]
    NotEmpty { path: PathBuf },
    #[error("{path} cannot be used: {source}; choose another folder for the copy")]
    Copy { path: PathBuf, source: std::io::Error },
    #[error("{0}; `logboom fsck` tells more")]
    Damaged(String),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads the whole local log and the whole store; changes nothing.
pub fn check(data_dir: &Path) -> Result<Vec<Finding>, UpkeepError> {
    let _folder = hold(data_dir)?;
    let mut findings = Vec::new();
    let queue_dir = data_dir.join("queue");
    for shard in logs_in(&queue_dir, 0) {
        findings.extend(local::check(&shard_dir(&queue_dir, shard)).map_err(StartError::from)?);
    }
    let store_dir = data_dir.join("store");
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

/// Makes `to` a data folder of its own with all that is stored, what only the log holds included.
pub fn snapshot(config: &Config, to: &Path) -> Result<Copied, UpkeepError> {
    let folder = hold(&config.data_dir)?;
    let wrong = |source| UpkeepError::Copy { path: to.to_owned(), source };
    std::fs::create_dir_all(to).map_err(wrong)?;
    if std::fs::read_dir(to).map_err(wrong)?.next().is_some() {
        return Err(UpkeepError::NotEmpty { path: to.to_owned() });
    }
    let store_dir = folder.path().join("store");
    // A copy is no occasion to let go of anything.
    let options = store_options(&Config { retain: None, retain_bytes: None, ..config.clone() });
    let (store, covered) =
        ParquetStore::open(&store_dir, options).map_err(|source| StartError::Store { path: store_dir, source })?;
    let mut findings = recover_into(&store, &folder.path().join("queue"), &covered)?;
    findings.extend(store.report().sentences());
    let copied = store.copy_to(&to.join("store"));
    store.close();
    // The copy is as whole as what it was made of: whoever relies on it must know.
    match findings.is_empty() {
        true => Ok(copied?),
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
