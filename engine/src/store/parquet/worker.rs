//! The store's background thread: it decides when to flush, and makes each change of the files durable.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::disk::{Reserve, sync_dir};
use super::file::DataFile;
use super::flush::write_file;
use super::manifest::{self, Manifest};
use super::memory::Chunk;
use super::status::Report;
use super::writer::WriteError;
use super::{Covered, Shared, lock};

/// How much ingestion and queries are preferred, as with nice(1).
const NICENESS: i32 = 5;
/// A flush that failed is tried again after this long: a disk does not empty itself much faster.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Starts the thread; it ends when the store closes.
pub fn start(store: Arc<Shared>) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("store".to_owned()).spawn(move || {
        // On Linux this is the calling thread's own niceness. Without it the work is done all the same.
        let _ = rustix::process::setpriority_process(None, NICENESS);
        run(&store);
    })
}

/// Opens the files that `manifest` names, sets aside what cannot be read, and removes what a crash left.
pub fn open_files(dir: &Path, mut manifest: Manifest) -> io::Result<(Manifest, Vec<Arc<DataFile>>, Report)> {
    let mut report = Report::default();
    let mut files = Vec::new();
    for entry in std::mem::take(&mut manifest.files) {
        match DataFile::open(dir, entry.clone()).and_then(DataFile::checked) {
            Ok(file) => {
                manifest.files.push(entry);
                files.push(Arc::new(file));
            }
            Err(error) => {
                let damaged = dir.join(format!("{}.damaged", entry.name));
                if error.kind() != io::ErrorKind::NotFound {
                    std::fs::rename(dir.join(&entry.name), damaged)?;
                }
                report.damaged.push((entry.name, error.to_string()));
            }
        }
    }
    let named: HashSet<&str> = manifest.files.iter().map(|entry| entry.name.as_str()).collect();
    for found in std::fs::read_dir(dir)? {
        let name = found?.file_name();
        let Some(name) = name.to_str() else { continue };
        if let Some(number) = manifest::file_number(name)
            && !named.contains(name)
        {
            std::fs::remove_file(dir.join(name))?;
            report.orphans += 1;
            manifest.next = manifest.next.max(number + 1);
        }
    }
    Reserve::take(dir);
    sync_dir(dir)?;
    Ok((manifest, files, report))
}

fn run(store: &Shared) {
    let mut not_before = Instant::now();
    loop {
        let now = Instant::now();
        let state = lock(&store.state);
        if state.closing {
            return;
        }
        let due = match state.oldest {
            _ if state.asked > state.answered => Some(now),
            _ if state.memory.bytes() >= store.options.flush_bytes => Some(not_before),
            Some(oldest) => Some(not_before.max(oldest + store.options.flush_after)),
            None => None,
        };
        match due {
            Some(due) if due <= now => {
                drop(state);
                not_before = match store.flush() {
                    Ok(()) => now,
                    Err(()) => Instant::now() + RETRY_AFTER,
                };
            }
            Some(due) => drop(store.wake.wait_timeout(state, due - now).unwrap_or_else(PoisonError::into_inner)),
            None => drop(store.wake.wait(state).unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

/// How a change of the files has ended.
pub enum Committed {
    Durably,
    /// It holds, but a crash may still undo it: the log must not forget.
    ForNow(io::Error),
}

impl Shared {
    /// Writes what is in memory to a file, and lets it go.
    fn flush(&self) -> Result<(), ()> {
        let (chunks, ends, asked, is_durable) = {
            let mut state = lock(&self.state);
            (state.memory.freeze_all(), state.ends.clone(), state.asked, state.is_durable)
        };
        let flushed = match chunks.is_empty() {
            true if is_durable => Ok(Committed::Durably),
            // The last manifest may not outlive a crash: it is written once more.
            true => self.commit(Change { added: Vec::new(), removed: &[], covered: Some(&ends), chunks: 0 }),
            false => self.flush_chunks(&chunks, &ends),
        };
        let failure = match &flushed {
            Ok(Committed::Durably) => None,
            Ok(Committed::ForNow(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        if failure.is_none()
            && let Some(covered) = &*lock(&self.on_covered)
        {
            ends.iter().for_each(|(shard, end)| covered(*shard, *end));
        }
        let mut state = lock(&self.state);
        if let Some(failure) = &failure {
            if state.failure.is_none() {
                tracing::error!("rows in memory cannot be written to a file: {failure}; they stay in the log");
            }
            state.failed_flushes += 1;
        } else {
            state.flushes += u64::from(!chunks.is_empty());
        }
        state.answered = state.answered.max(asked);
        if flushed.is_ok() {
            // What came while the file was written is younger than the flush.
            state.oldest = (state.memory.rows() > 0).then(Instant::now);
        }
        state.failure = failure;
        let succeeded = state.failure.is_none();
        drop(state);
        self.flushed.notify_all();
        self.tidy.notify_all();
        self.room.notify_waiters();
        if succeeded { Ok(()) } else { Err(()) }
    }

    fn flush_chunks(&self, chunks: &[Arc<Chunk>], ends: &Covered) -> Result<Committed, WriteError> {
        let name = manifest::file_name(self.next_file());
        let entry = write_file(&self.dir, &name, chunks, ends, &self.options.steps)?;
        let file = Arc::new(DataFile::open(&self.dir, entry)?);
        self.commit(Change { added: vec![file], removed: &[], covered: Some(ends), chunks: chunks.len() })
    }

    pub fn next_file(&self) -> u64 {
        let mut state = lock(&self.state);
        state.next_file += 1;
        state.next_file - 1
    }

    /// Makes a change of the files durable, then visible, at once for every query. If it fails, the added files go.
    pub fn commit(&self, change: Change<'_>) -> Result<Committed, WriteError> {
        let _alone = lock(&self.commit);
        let Change { added, removed, covered, chunks } = change;
        let (mut files, mut manifest) = {
            let state = lock(&self.state);
            let manifest = Manifest { next: state.next_file, covered: state.covered.clone(), files: Vec::new() };
            (state.files.to_vec(), manifest)
        };
        files.retain(|file| !removed.iter().any(|gone| Arc::ptr_eq(gone, file)));
        files.extend(added.iter().cloned());
        manifest.files = files.iter().map(|file| file.entry.clone()).collect();
        if let Some(covered) = covered {
            manifest.covered = covered.clone();
        }
        let mut written = manifest.write(&self.dir, &self.options.steps);
        if let Err(failed) = &written
            && failed.error.kind() == io::ErrorKind::StorageFull
            && !failed.replaced
            && Reserve::take(&self.dir).give_up()
        {
            written = manifest.write(&self.dir, &self.options.steps);
        }
        let committed = match written {
            Ok(()) => Committed::Durably,
            Err(failed) if failed.replaced => Committed::ForNow(failed.error),
            Err(failed) => {
                added.iter().for_each(|file| file.supersede());
                return Err(failed.error.into());
            }
        };
        let mut state = lock(&self.state);
        state.files = Arc::new(files);
        state.covered = manifest.covered;
        state.is_durable = matches!(committed, Committed::Durably);
        state.memory.forget(chunks);
        drop(state);
        Reserve::take(&self.dir);
        // While a crash may still bring the old manifest back, the files that it names stay: the next start sees to them.
        if matches!(committed, Committed::Durably) {
            removed.iter().for_each(|file| file.supersede());
        }
        Ok(committed)
    }
}

/// What a commit changes.
pub struct Change<'a> {
    pub added: Vec<Arc<DataFile>>,
    pub removed: &'a [Arc<DataFile>],
    /// Up to where the files hold the log now, where that changes.
    pub covered: Option<&'a Covered>,
    /// How many of the oldest chunks in memory are in the added files.
    pub chunks: usize,
}
