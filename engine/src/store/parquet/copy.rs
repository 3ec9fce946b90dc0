//! A consistent copy of a running store: hard links to its files, and a manifest of its own.

use std::io;
use std::path::Path;

use super::disk::{Steps, sync_dir};
use super::manifest::Manifest;
use super::{ParquetStore, StoreError, lock};

/// What a copy holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    pub rows: u64,
    pub files: usize,
    pub bytes: u64,
}

impl ParquetStore {
    /// Makes `dir`, which must not exist or be empty, a store of its own with everything that is stored now. On the
    /// same file system this takes no room but what is later compacted away here.
    pub fn copy_to(&self, dir: &Path) -> Result<Copied, StoreError> {
        let io_error = |error| StoreError::Io { path: dir.to_owned(), error };
        std::fs::create_dir_all(dir).map_err(io_error)?;
        if std::fs::read_dir(dir).map_err(io_error)?.next().is_some() {
            return Err(io_error(io::Error::other("it is not empty")));
        }
        self.flush_now().map_err(|reason| io_error(io::Error::other(reason)))?;
        let snapshot = self.snapshot();
        for file in snapshot.files.iter() {
            let to = dir.join(&file.entry.name);
            // Another file system, or one without hard links: the bytes are copied.
            if std::fs::hard_link(file.path(), &to).is_err() {
                std::fs::copy(file.path(), &to).map_err(io_error)?;
                std::fs::File::open(&to).and_then(|copy| copy.sync_all()).map_err(io_error)?;
            }
        }
        sync_dir(dir).map_err(io_error)?;
        // Nothing is covered: the positions are those of another log.
        let entries = snapshot.files.iter().map(|file| file.entry.clone()).collect();
        let manifest =
            Manifest { next: lock(&self.shared.state).next_file, covered: Default::default(), files: entries };
        manifest.write(dir, &Steps::default()).map_err(|failed| io_error(failed.error))?;
        let files = &manifest.files;
        Ok(Copied {
            rows: files.iter().map(|file| file.rows).sum(),
            files: files.len(),
            bytes: files.iter().map(|file| file.bytes).sum(),
        })
    }
}
