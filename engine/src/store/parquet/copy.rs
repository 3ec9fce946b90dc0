//! A consistent copy of a store, also of one at work: hard links to its files, and a manifest of its own.
//!
//! Files never change once they are there, so a link is as good as a copy; while it is made, the snapshot keeps retention
//! and compaction from removing them. The copy appears at once, by a rename: whatever interrupts it leaves a folder that
//! nothing takes for a store.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::disk::{Steps, sync_dir};
use super::manifest::Manifest;
use super::{ParquetStore, lock};

/// What a copy holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    pub rows: u64,
    pub files: usize,
    pub bytes: u64,
    /// Files that are hard links: they take no room of their own until they are compacted away here.
    pub linked: usize,
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error("{} is there and not empty: choose another folder for the copy", path.display())]
    NotEmpty { path: PathBuf },
    #[error("{} cannot be used: {error}; choose another folder for the copy", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("what only the log holds cannot be put into files: {0}; nothing is copied")]
    Flush(String),
    #[error("the copy was given up, since the server stops")]
    Stopped,
}

impl CopyError {
    fn io(path: &Path, error: io::Error) -> CopyError {
        CopyError::Io { path: path.to_owned(), error }
    }
}

/// Where the copy of `dir` is made ready.
fn making(dir: &Path) -> PathBuf {
    let mut name = OsString::from(dir);
    name.push(".new");
    PathBuf::from(name)
}

impl ParquetStore {
    /// Makes `folder`, which must not exist or be empty, a data folder whose `store` holds everything that is stored
    /// now. Gives up where `stop` becomes true.
    pub fn copy_to(&self, folder: &Path, stop: &AtomicBool) -> Result<Copied, CopyError> {
        let copied = self.try_copy_to(folder, stop);
        self.shared.counts.copied(copied.is_ok());
        copied
    }

    fn try_copy_to(&self, folder: &Path, stop: &AtomicBool) -> Result<Copied, CopyError> {
        let dir = folder.join("store");
        let making = making(&dir);
        std::fs::create_dir_all(folder).map_err(|error| CopyError::io(folder, error))?;
        for found in std::fs::read_dir(folder).map_err(|error| CopyError::io(folder, error))? {
            // What an interrupted copy has left is not in the way.
            if found.map_err(|error| CopyError::io(folder, error))?.path() != making {
                return Err(CopyError::NotEmpty { path: folder.to_owned() });
            }
        }
        let clear = || match std::fs::remove_dir_all(&making) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(CopyError::io(&making, error)),
            _ => Ok(()),
        };
        clear()?;
        let copied = self.copy_files(&making, stop).and_then(|copied| {
            // The names of the store and of its folder must last as well.
            let above = folder.parent().filter(|above| !above.as_os_str().is_empty());
            std::fs::rename(&making, &dir)
                .and_then(|()| sync_dir(folder))
                .and_then(|()| above.map_or(Ok(()), sync_dir))
                .map_err(|error| CopyError::io(folder, error))?;
            Ok(copied)
        });
        if copied.is_err() {
            // The first failure is the one to tell.
            let _ = clear();
        }
        copied
    }

    fn copy_files(&self, making: &Path, stop: &AtomicBool) -> Result<Copied, CopyError> {
        let io_error = |error| CopyError::io(making, error);
        std::fs::create_dir(making).map_err(io_error)?;
        self.flush_now().map_err(CopyError::Flush)?;
        let (files, manifest) = {
            let state = lock(&self.shared.state);
            // The positions come along: no number of a segment is used again there, so that files which tell of them
            // (see `fsck`) are never taken to hold what the copy's own log does.
            let files = state.files.clone();
            let entries = files.iter().map(|file| file.entry.clone()).collect();
            (files, Manifest { next: state.next_file, covered: state.covered.clone(), files: entries })
        };
        let mut linked = 0;
        for file in files.iter() {
            if stop.load(Ordering::Relaxed) {
                return Err(CopyError::Stopped);
            }
            let to = making.join(&file.entry.name);
            match std::fs::hard_link(file.path(), &to) {
                Ok(()) => linked += 1,
                // Another file system, or one without hard links: the bytes are copied.
                Err(_) => {
                    std::fs::copy(file.path(), &to).map_err(io_error)?;
                    std::fs::File::open(&to).and_then(|copy| copy.sync_all()).map_err(io_error)?;
                }
            }
        }
        sync_dir(making).map_err(io_error)?;
        manifest.write(making, &Steps::default()).map_err(|failed| io_error(failed.error))?;
        let files = &manifest.files;
        Ok(Copied {
            rows: files.iter().map(|file| file.rows).sum(),
            files: files.len(),
            bytes: files.iter().map(|file| file.bytes).sum(),
            linked,
        })
    }
}
