//! Files as the log's writer sees them, and how a shard does them.
//!
//! The trait is all that the writer knows of a disk, so that tests can give it one that forgets, tears and fails.

use std::future::Future;
use std::io;
use std::path::PathBuf;

use glommio::io::{BufferedFile, Directory, DmaFile, OpenOptions};

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
    /// Whether writes go past the page cache, where the file system can: right for a log that is synced, while without
    /// syncs the page cache is what makes writes fast.
    pub direct: bool,
}

impl Disk for ShardDisk {
    type File = ShardFile;

    async fn open(&self, name: &str) -> io::Result<ShardFile> {
        let path = self.dir.join(name);
        let mut options = OpenOptions::new();
        // Write-only, and not only because nothing is read here: glommio tries a polled read on the first file of a device,
        // and where that works it polls writes as well, spinning until each is done. With one record a request that took
        // up to three times the CPU time. A file that cannot be read keeps it from polling.
        options.write(true).create(true);
        if !self.direct {
            return Ok(ShardFile::Buffered(options.buffered_open(&path).await?));
        }
        match options.dma_open(&path).await.map_err(io::Error::from) {
            Ok(file) => Ok(ShardFile::Direct(file)),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                Ok(ShardFile::Buffered(options.buffered_open(&path).await?))
            }
            Err(error) => Err(error),
        }
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

/// Direct writes cost half the CPU time of buffered ones and do not leave the log's bytes, which nobody reads while it
/// runs, in the page cache (`docs/decisions/0003-local-log-io.md`). File systems that refuse them get buffered ones.
pub(crate) enum ShardFile {
    Direct(DmaFile),
    Buffered(BufferedFile),
}

impl LogFile for ShardFile {
    async fn bytes(&self) -> io::Result<u64> {
        Ok(match self {
            ShardFile::Direct(file) => file.file_size().await?,
            ShardFile::Buffered(file) => file.file_size().await?,
        })
    }

    async fn write_at(&self, at: u64, bytes: usize, fill: &dyn Fn(&mut [u8])) -> io::Result<usize> {
        Ok(match self {
            ShardFile::Direct(file) => {
                let mut buffer = file.alloc_dma_buffer(bytes);
                fill(buffer.as_bytes_mut());
                file.write_at(buffer, at).await?
            }
            ShardFile::Buffered(file) => {
                let mut buffer = vec![0; bytes];
                fill(&mut buffer);
                file.write_at(buffer, at).await?
            }
        })
    }

    async fn sync(&self) -> io::Result<()> {
        match self {
            ShardFile::Direct(file) => file.fdatasync().await?,
            ShardFile::Buffered(file) => file.fdatasync().await?,
        }
        Ok(())
    }

    async fn close(self) -> io::Result<()> {
        match self {
            ShardFile::Direct(file) => file.close().await?,
            ShardFile::Buffered(file) => file.close().await?,
        }
        Ok(())
    }
}
