//! The writer: groups of batches in, positions out.
//!
//! What may wait: `append`, for the one before it, for its sync, and for a new segment when the disk is slower than the
//! writer. `release` waits only for renames.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use record::{Batch, Timestamp};
use tokio::sync::Mutex;

use super::depth::{Depth, Marks};
use super::file::{Disk, LogFile, ShardDisk};
use super::frame::{GROUP_ALIGN, SEGMENT_HEADER_BYTES, SegmentHeader, group_bytes, write_group};
use super::recover::Recovery;
use super::{AppendError, LogError, SegmentName};
use crate::queue::LogPosition;

/// A segment's length where no setting says otherwise: small enough to be filled with zeros in a moment, large enough that a
/// flood of 170 MB/s takes ten a second and no more.
pub const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;
/// Spares kept beside the segment that is made ready: what a flush of the store sets free at once is used again by the
/// next second or two of a flood.
const SPARES_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// A zero-filled file is written in pieces of this size, so that the shard's own writes get between them.
const FILL_BYTES: usize = 1024 * 1024;
/// A write that was cut short is tried again in full so many times; a disk that keeps cutting it is taken for full.
const WRITE_TRIES_MAX: usize = 3;

/// When an append counts as done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Once it is on the disk: survives a loss of power.
    #[default]
    Sync,
    /// Once the kernel has it: survives a crash of the program.
    Flush,
}

#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub durability: Durability,
    /// `queue_bytes_max` of this shard.
    pub bytes_max: u64,
    pub segment_bytes: u64,
}

impl Options {
    pub fn new(durability: Durability, bytes_max: u64) -> Options {
        Options { durability, bytes_max, segment_bytes: SEGMENT_BYTES }
    }
}

/// One shard's log. Cloning shares it.
pub struct LocalLog(Log<ShardDisk>);

impl Clone for LocalLog {
    fn clone(&self) -> Self {
        LocalLog(self.0.clone())
    }
}

impl LocalLog {
    /// Opens the log in `dir`, which `recovery` was read from. Runs on the shard.
    pub async fn open(dir: &Path, shard: u16, recovery: Recovery, options: Options) -> Result<LocalLog, LogError> {
        // glommio opens no folder by a relative path.
        let dir = &std::path::absolute(dir).map_err(|error| LogError::io(dir, error))?;
        make_folder(dir).map_err(|error| LogError::io(dir, error))?;
        let direct = options.durability == Durability::Sync;
        let log = Log::new(ShardDisk { dir: dir.to_owned(), direct }, shard, recovery, options);
        log.start().await.map_err(|error| LogError::io(dir, error))?;
        Ok(LocalLog(log))
    }

    /// Appends all batches as one group: they are held a second time while they are written, so the caller limits how
    /// much that may be. Gives the position where the group ends. Dropping the future half way is sound; whether the group
    /// is there then is open.
    pub async fn append(&self, batches: &[Batch]) -> Result<LogPosition, AppendError> {
        self.0.append(batches).await
    }

    /// Gives back what the store covers, lastingly, from now on.
    pub async fn release(&self, upto: LogPosition) -> Result<(), LogError> {
        self.0.release(upto).await.map_err(|error| LogError::io(&self.0.shared.disk.dir, error))
    }

    /// Where the last group ends.
    pub fn position(&self) -> LogPosition {
        self.0.shared.book.borrow().reached
    }

    pub fn depth(&self) -> Depth {
        self.0.depth()
    }

    /// Whether `bytes` more would be over `queue_bytes_max`. An empty log takes whatever comes.
    pub fn would_exceed(&self, bytes: u64) -> bool {
        let waiting = self.0.shared.book.borrow().marks.bytes();
        waiting > 0 && waiting.saturating_add(bytes) > self.0.shared.options.bytes_max
    }

    /// What the sync of the last append took.
    pub fn last_sync(&self) -> Duration {
        self.0.shared.last_sync.get()
    }

    /// Why the log takes nothing more, if so.
    pub fn poison(&self) -> Option<String> {
        self.0.shared.book.borrow().poison.clone()
    }
}

/// Makes the folder, and the names of it and of the folder above last.
fn make_folder(dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    for above in dir.ancestors().skip(1).take(2).filter(|above| !above.as_os_str().is_empty()) {
        File::open(above)?.sync_all()?;
    }
    Ok(())
}

/// The log over any disk.
pub(crate) struct Log<D: Disk> {
    shared: Rc<Shared<D>>,
}

impl<D: Disk> Clone for Log<D> {
    fn clone(&self) -> Self {
        Log { shared: self.shared.clone() }
    }
}

struct Shared<D: Disk> {
    disk: D,
    shard: u16,
    options: Options,
    /// Held during an append, so that groups do not meet.
    writer: Mutex<Option<Segment<D::File>>>,
    /// Held while the next segment is made ready.
    ready: Mutex<Option<Segment<D::File>>>,
    preparing: Cell<bool>,
    last_sync: Cell<Duration>,
    book: RefCell<Book>,
}

struct Segment<F> {
    number: u64,
    /// Where the next group begins.
    offset: u64,
    file: F,
}

/// What is known without touching the disk.
#[derive(Debug, Default)]
struct Book {
    next: u64,
    reached: LogPosition,
    /// Segments that were written, oldest first, each with its end; the last one still is.
    written: VecDeque<(u64, u64)>,
    spares: Vec<SegmentName>,
    marks: Marks,
    poison: Option<String>,
}

impl Book {
    fn begin_segment(&mut self, number: u64) {
        self.written.push_back((number, SEGMENT_HEADER_BYTES as u64));
    }

    fn appended(&mut self, end: LogPosition, batches: u64, bytes: u64, opened: Timestamp) {
        self.reached = end;
        self.marks.push(end, batches, bytes, opened);
        if let Some(last) = self.written.back_mut() {
            last.1 = end.offset;
        }
    }

    /// The segments that `upto` covers, but for the one being written, each with its end.
    fn release(&mut self, upto: LogPosition) -> Vec<(u64, u64)> {
        self.marks.release(upto);
        let before_last = self.written.len().saturating_sub(1);
        let covered = |&&(segment, offset): &&(u64, u64)| LogPosition { segment, offset } <= upto;
        let count = self.written.iter().take(before_last).take_while(covered).count();
        self.written.drain(..count).collect()
    }
}

impl<D: Disk> Log<D> {
    pub fn new(disk: D, shard: u16, recovery: Recovery, mut options: Options) -> Log<D> {
        // Direct writes want whole blocks.
        options.segment_bytes = options.segment_bytes.next_multiple_of(GROUP_ALIGN as u64);
        let folder = recovery.folder;
        let book = Book {
            next: folder.next,
            reached: folder.reached,
            written: folder.live.into(),
            spares: folder.spares,
            marks: folder.marks,
            poison: None,
        };
        let shared = Shared {
            disk,
            shard,
            options,
            writer: Mutex::new(None),
            ready: Mutex::new(None),
            preparing: Cell::new(false),
            last_sync: Cell::default(),
            book: RefCell::new(book),
        };
        Log { shared: Rc::new(shared) }
    }

    /// Makes the first segment ready, so that a folder that cannot be written is found at start.
    pub async fn start(&self) -> io::Result<()> {
        let first = self.make_segment().await?;
        self.shared.book.borrow_mut().begin_segment(first.number);
        *self.shared.writer.lock().await = Some(first);
        self.trim_spares().await
    }

    pub async fn append(&self, batches: &[Batch]) -> Result<LogPosition, AppendError> {
        let shared = &*self.shared;
        let mut writer = shared.writer.lock().await;
        let (previous, poison) = {
            let book = shared.book.borrow();
            (book.reached, book.poison.clone())
        };
        if let Some(why) = poison {
            return Err(AppendError::Poisoned(why));
        }
        let Some(first) = batches.first() else { return Ok(previous) };
        let payloads = || batches.iter().map(|batch| &batch.frame()[..]);
        let bytes = group_bytes(payloads());
        let is_full = |segment: &Segment<D::File>| {
            segment.offset > SEGMENT_HEADER_BYTES as u64 && segment.offset + bytes as u64 > shared.options.segment_bytes
        };
        let mut segment = match writer.take() {
            Some(segment) if !is_full(&segment) => segment,
            full => {
                // Also when an append before this one was dropped while its write was under way: that write may still
                // land, so its place is left to it.
                let next = match self.next_segment().await {
                    Ok(next) => next,
                    Err(error) => {
                        *writer = full;
                        return Err(self.failed(error));
                    }
                };
                shared.book.borrow_mut().begin_segment(next.number);
                if let Some(full) = full {
                    full.file.close().await.map_err(|error| self.failed(error))?;
                }
                next
            }
        };
        let at = LogPosition { segment: segment.number, offset: segment.offset };
        let fill = |out: &mut [u8]| write_group(at, previous, payloads(), out);
        if let Err(error) = write_whole(&segment.file, at.offset, bytes, &fill).await {
            *writer = Some(segment);
            return Err(self.failed(error));
        }
        if shared.options.durability == Durability::Sync {
            let start = Instant::now();
            segment.file.sync().await.map_err(|error| self.poisoned(error))?;
            shared.last_sync.set(start.elapsed());
        }
        segment.offset += bytes as u64;
        let end = LogPosition { offset: segment.offset, ..at };
        *writer = Some(segment);
        shared.book.borrow_mut().appended(end, batches.len() as u64, bytes as u64, first.id().timestamp());
        self.prepare_beside();
        Ok(end)
    }

    pub fn depth(&self) -> Depth {
        self.shared.book.borrow().marks.depth()
    }

    pub async fn release(&self, upto: LogPosition) -> io::Result<()> {
        let shared = &*self.shared;
        let released = shared.book.borrow_mut().release(upto);
        for (number, end) in released {
            let (live, spare) = (SegmentName::Live(number), SegmentName::Spare(number));
            if end > shared.options.segment_bytes {
                self.remove_file(live).await?;
                continue;
            }
            shared.disk.rename(&live.to_string(), &spare.to_string()).await?;
            shared.book.borrow_mut().spares.push(spare);
        }
        self.trim_spares().await
    }

    async fn trim_spares(&self) -> io::Result<()> {
        let spares_max = SPARES_BYTES_MAX / self.shared.options.segment_bytes.max(1);
        loop {
            let surplus = {
                let mut book = self.shared.book.borrow_mut();
                if book.spares.len() as u64 <= spares_max {
                    return Ok(());
                }
                book.spares.pop()
            };
            if let Some(name) = surplus {
                self.remove_file(name).await?;
            }
        }
    }

    async fn remove_file(&self, name: SegmentName) -> io::Result<()> {
        self.shared.disk.remove(&name.to_string()).await
    }

    /// The segment that was made ready, or one that is made now.
    async fn next_segment(&self) -> io::Result<Segment<D::File>> {
        match self.shared.ready.lock().await.take() {
            Some(segment) => Ok(segment),
            None => self.make_segment().await,
        }
    }

    /// Makes the next segment ready ahead of the writer, once for each segment that takes a group: an idle log does
    /// nothing.
    fn prepare_beside(&self) {
        let has_ready = self.shared.ready.try_lock().is_ok_and(|ready| ready.is_some());
        if has_ready || self.shared.preparing.replace(true) {
            return;
        }
        let log = self.clone();
        self.shared.disk.spawn(async move {
            let mut ready = log.shared.ready.lock().await;
            if ready.is_none() {
                // A failure comes back when the writer needs the segment, which tries again.
                *ready = log.make_segment().await.ok();
            }
            drop(ready);
            log.shared.preparing.set(false);
        });
    }

    /// Takes a spare, or a new file filled with zeros, and gives it the next number. The name comes last, so that a file
    /// named as a segment always has its own header.
    async fn make_segment(&self) -> io::Result<Segment<D::File>> {
        let shared = &*self.shared;
        let (number, spare) = {
            let mut book = shared.book.borrow_mut();
            book.next += 1;
            (book.next - 1, book.spares.pop())
        };
        let name = spare.unwrap_or(SegmentName::Spare(number));
        let file = shared.disk.open(&name.to_string()).await?;
        match self.make_ready(&file, number, name).await {
            Ok(()) => Ok(Segment { number, offset: SEGMENT_HEADER_BYTES as u64, file }),
            Err(error) => {
                // What is half made is of no use; if it cannot be removed either, the next start finds a spare.
                let _ = file.close().await;
                let _ = self.remove_file(name).await;
                Err(error)
            }
        }
    }

    async fn make_ready(&self, file: &D::File, number: u64, name: SegmentName) -> io::Result<()> {
        let Shared { disk, shard, options, .. } = &*self.shared;
        let mut filled = file.bytes().await?;
        while filled < options.segment_bytes {
            let piece = FILL_BYTES.min((options.segment_bytes - filled) as usize);
            write_whole(file, filled, piece, &|out| out.fill(0)).await?;
            filled += piece as u64;
        }
        let header = SegmentHeader { segment: number, shard: *shard };
        write_whole(file, 0, SEGMENT_HEADER_BYTES, &|out| header.write(out)).await?;
        file.sync().await?;
        disk.rename(&name.to_string(), &SegmentName::Live(number).to_string()).await?;
        disk.sync_names().await
    }

    fn failed(&self, error: io::Error) -> AppendError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => AppendError::DiskFull,
            _ => self.poisoned(error),
        }
    }

    fn poisoned(&self, error: io::Error) -> AppendError {
        let why = error.to_string();
        tracing::error!(shard = self.shared.shard, "the log failed and takes nothing until a restart: {why}");
        self.shared.book.borrow_mut().poison = Some(why.clone());
        AppendError::Poisoned(why)
    }
}

/// Writes all or fails: a write that is cut short twice has met a full disk.
async fn write_whole(file: &impl LogFile, at: u64, bytes: usize, fill: &dyn Fn(&mut [u8])) -> io::Result<()> {
    for _ in 0..WRITE_TRIES_MAX {
        if file.write_at(at, bytes, fill).await? == bytes {
            return Ok(());
        }
    }
    Err(io::ErrorKind::StorageFull.into())
}
