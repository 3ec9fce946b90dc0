//! The data folder: one process at a time, found writable before anything is promised.
//!
//! | file | what |
//! |---|---|
//! | `lock` | held by `flock` while a process uses the folder; holds its pid, for people |
//! | `listen` | the address that the engine answers on, for scripts that start it on port 0 |
//! | `control` | a socket for the commands of whoever owns the folder: see [`crate::control`] |
//!
//! The rest of the folder belongs to the queue and the store. The lock goes with the process, however it ends.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

/// Why the data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("{path} is in use by another logboom{holder}: stop that one, or choose another folder with --data-dir")]
    Locked { path: PathBuf, holder: String },
    #[error("{path} is on a read-only file system: mount it writable, or choose another folder with --data-dir")]
    ReadOnly { path: PathBuf },
    #[error("{path} may not be written by this user: give it to them, or choose another folder with --data-dir")]
    Denied { path: PathBuf },
    #[error("{path} is on a full disk: make room, or choose another folder with --data-dir")]
    Full { path: PathBuf },
    #[error("{path} is not a folder: move it away, or choose another folder with --data-dir")]
    NotAFolder { path: PathBuf },
    #[error("{path} cannot be used: {source}; choose another folder with --data-dir")]
    Other { path: PathBuf, source: io::Error },
}

impl FolderError {
    fn new(path: &Path, error: io::Error) -> FolderError {
        let path = path.to_owned();
        match error.kind() {
            ErrorKind::ReadOnlyFilesystem => FolderError::ReadOnly { path },
            ErrorKind::PermissionDenied => FolderError::Denied { path },
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => FolderError::Full { path },
            ErrorKind::NotADirectory | ErrorKind::AlreadyExists => FolderError::NotAFolder { path },
            _ => FolderError::Other { path, source: error },
        }
    }
}

/// A data folder that is ours until this is dropped.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder where it is missing, locks it, and tries a write. A disk without room is an error only where
    /// nothing is stored yet: else what is there can still be read.
    pub fn open(path: &Path) -> Result<Folder, FolderError> {
        let wrong = |error| FolderError::new(path, error);
        std::fs::create_dir_all(path).map_err(wrong)?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join("lock"))
            .map_err(wrong)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                let _ = lock.read_to_string(&mut pid);
                let holder = match pid.trim() {
                    pid if !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()) => {
                        format!(" (process {pid})")
                    }
                    _ => String::new(),
                };
                return Err(FolderError::Locked { path: path.to_owned(), holder });
            }
            Err(error) => return Err(wrong(error.into())),
        }
        match probe(path) {
            Ok(()) => {}
            Err(error) if is_full(&error) && has_data(path) => {
                tracing::warn!(folder = %path.display(), "the disk is full: what is stored can be read, nothing can be added");
            }
            Err(error) => return Err(wrong(error)),
        }
        // For people who ask who holds it: losing it costs nothing.
        let _ = lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| writeln!(lock, "{}", std::process::id()));
        // A stale address would send a script to whoever has that port now.
        let _ = std::fs::remove_file(path.join("listen"));
        Ok(Folder { path: path.to_owned(), _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the address in `listen`. It appears whole, so that a script may wait for it.
    pub fn write_listen(&self, address: SocketAddr) -> io::Result<()> {
        let whole = self.path.join("listen.tmp");
        std::fs::write(&whole, format!("{address}\n"))?;
        std::fs::rename(whole, self.path.join("listen"))
    }
}

/// Whether a file can be made, written and synced here.
fn probe(folder: &Path) -> io::Result<()> {
    /// Enough that the file needs a block of its own.
    const PROBE_BYTES: usize = 4096;
    let path = folder.join("probe.tmp");
    let tried = File::create(&path).and_then(|mut file| {
        file.write_all(&[0; PROBE_BYTES])?;
        file.sync_data()
    });
    let removed = std::fs::remove_file(&path);
    tried.and(removed)
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

fn has_data(folder: &Path) -> bool {
    const OURS: [&str; 4] = ["lock", "listen", "control", "probe.tmp"];
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| !OURS.iter().any(|name| entry.file_name() == *name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_made_and_held_by_one() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("a/b");
        let first = Folder::open(&path).unwrap();
        let second = Folder::open(&path).unwrap_err().to_string();
        let pid = std::process::id();
        assert!(second.contains(&format!("in use by another logboom (process {pid})")), "{second}");
        assert!(second.contains("--data-dir"), "{second}");
        drop(first);
        Folder::open(&path).unwrap();
    }

    #[test]
    fn the_address_is_written_and_a_stale_one_is_not_kept() {
        let outer = tempfile::tempdir().unwrap();
        let folder = Folder::open(outer.path()).unwrap();
        folder.write_listen("127.0.0.1:4711".parse().unwrap()).unwrap();
        assert_eq!(std::fs::read_to_string(outer.path().join("listen")).unwrap(), "127.0.0.1:4711\n");
        drop(folder);
        let _folder = Folder::open(outer.path()).unwrap();
        assert!(!outer.path().join("listen").exists());
        assert!(!outer.path().join("probe.tmp").exists());
    }

    #[test]
    fn each_cause_has_its_sentence() {
        let outer = tempfile::tempdir().unwrap();
        let file = outer.path().join("file");
        std::fs::write(&file, "").unwrap();
        let said = |path: &Path| Folder::open(path).unwrap_err().to_string();
        assert!(said(&file).contains("is not a folder"), "{}", said(&file));
        assert!(said(&file.join("below")).contains("is not a folder"), "{}", said(&file.join("below")));
        // /proc takes no folders, from root neither.
        assert!(said(Path::new("/proc/logboom")).contains("--data-dir"));
        let path = Path::new("/x");
        for (errno, sentence) in [
            (rustix::io::Errno::ROFS, "read-only file system"),
            (rustix::io::Errno::ACCESS, "may not be written"),
            (rustix::io::Errno::NOSPC, "full disk"),
            (rustix::io::Errno::DQUOT, "full disk"),
            (rustix::io::Errno::IO, "cannot be used"),
        ] {
            let said = FolderError::new(path, errno.into()).to_string();
            assert!(said.contains(sentence) && said.contains("--data-dir"), "{said}");
        }
    }
}
