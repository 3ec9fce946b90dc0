//! Files as the log's writer sees them, and how a shard does them.
//!
//! The trait is all that the writer knows of a disk, so that tests can give it one that forgets, tears and fails.

use std::future::Future;
use std::io;
use std::path::PathBuf;

use glommio::io::{BufferedFile, Directory, OpenOptions};

/// A folder of files.
pub(crate) trait Disk: 'static {
    type File: LogFile;

    /// Opens a file for writing; makes it when there is none.
    async fn open(&self, name: &str) -> io::Result<Self::File>;
    async fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    async fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes names last.
    async fn sync_names(&self) -> io::Result<()>;
    /// Lets work go on beside its caller.
    fn spawn(&self, work: impl Future<Output = ()> + 'static);
}

pub(crate) trait LogFile {
    async fn bytes(&self) -> io::Result<u64>;
    /// Writes `bytes` bytes, which `fill` makes, at `at`. Says how many were written.
    async fn write_at(&self, at: u64, bytes: usize, fill: &dyn Fn(&mut [u8])) -> io::Result<usize>;
    /// Makes all writes so far last.
    async fn sync(&self) -> io::Result<()>;
    async fn close(self) -> io::Result<()>;
}

/// A folder, reached through the shard's ring.
pub(crate) struct ShardDisk {
    pub dir: PathBuf,
}

impl Disk for ShardDisk {
    type File = BufferedFile;

    async fn open(&self, name: &str) -> io::Result<BufferedFile> {
        Ok(OpenOptions::new().read(true).write(true).create(true).buffered_open(self.dir.join(name)).await?)
    }

    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(glommio::io::rename(self.dir.join(from), self.dir.join(to)).await?)
    }

    async fn remove(&self, name: &str) -> io::Result<()> {
        Ok(glommio::io::remove(self.dir.join(name)).await?)
    }

    async fn sync_names(&self) -> io::Result<()> {
        let dir = Directory::open(&self.dir).await?;
        dir.sync().await?;
        Ok(dir.close().await?)
    }

    fn spawn(&self, work: impl Future<Output = ()> + 'static) {
        glommio::spawn_local(work).detach();
    }
}

impl LogFile for BufferedFile {
    async fn bytes(&self) -> io::Result<u64> {
        Ok(self.file_size().await?)
    }

    async fn write_at(&self, at: u64, bytes: usize, fill: &dyn Fn(&mut [u8])) -> io::Result<usize> {
        let mut buffer = vec![0; bytes];
        fill(&mut buffer);
        Ok(BufferedFile::write_at(self, buffer, at).await?)
    }

    async fn sync(&self) -> io::Result<()> {
        Ok(self.fdatasync().await?)
    }

    async fn close(self) -> io::Result<()> {
        Ok(BufferedFile::close(self).await?)
    }
}
