//! Compaction and retention, on a thread of the lowest priority, since nothing waits for it. On a machine that is busy
//! without a pause that thread gets next to nothing, while files come in: once too many wait, a second thread, which may
//! claim as much as the flush does, goes on in its place. (A thread may always lower its priority, but not raise it.)
//!
//! Retention lets whole files go, once all of their rows are too old; days have files of their own, so that this is whole
//! days at a time. Rows that are too old in a file with younger ones are not shown any more (a snapshot knows the oldest
//! time that is kept), and go when the file is written anew.

use std::io;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use record::Timestamp;

use super::compact::{CompactError, Plan, Written, compact};
use super::file::DataFile;
use super::manifest;
use super::plan::{self, Candidate};
use super::stats::Compacted;
use super::worker::Change;
use super::{Options, Shared, lock};
use crate::store::{QueryError, Stop};

/// How much everything else is preferred, as with nice(1)…
const NICENESS: i32 = 15;
/// …and where too much waits: as the flush.
const NICENESS_BEHIND: i32 = 5;
/// Files of the flush that wait: every query looks into each, and they have no page filters.
const FILES_WAITING_MAX: usize = 48;
/// How often it looks whether something has become due with time alone.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// After a failure it waits this long: for a disk to get room, and since a damaged file does not mend itself.
const RETRY_AFTER: Duration = Duration::from_secs(60);
/// A compaction that takes longer is given up, and what it chose left as it is until the next.
const COMPACTION_MAX: Duration = Duration::from_secs(3600);

/// Which of the two threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    Calm,
    Behind,
}

/// Starts the threads; they end when the store closes.
pub fn start(store: &Arc<Shared>) -> io::Result<Vec<JoinHandle<()>>> {
    let start = |pace, name: &str, niceness| {
        let store = store.clone();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            // On Linux this is the calling thread's own niceness. Without it the work is done all the same.
            let _ = rustix::process::setpriority_process(None, niceness);
            run(&store, pace);
        })
    };
    Ok(vec![start(Pace::Calm, "store-tidy", NICENESS)?, start(Pace::Behind, "store-behind", NICENESS_BEHIND)?])
}

fn run(store: &Shared, pace: Pace) {
    let mut has_worked = false;
    loop {
        {
            let state = lock(&store.state);
            if state.closing {
                return;
            }
            let waiting = state.files.iter().filter(|file| file.entry.generation == 0).count();
            if (waiting > FILES_WAITING_MAX) != (pace == Pace::Behind) {
                // It is the other's turn: a flush wakes both, and so does whoever lays down the work.
                if std::mem::take(&mut has_worked) {
                    store.tidy.notify_all();
                }
                drop(store.tidy.wait_timeout(state, LOOK_EVERY).unwrap_or_else(PoisonError::into_inner));
                continue;
            }
        }
        let done = store.tidy_once(now());
        has_worked = true;
        let mut state = lock(&store.state);
        if state.closing {
            return;
        }
        let pause = match &done {
            Ok(true) => Duration::ZERO,
            Ok(false) => LOOK_EVERY,
            Err(error) => {
                if state.tidy_failure.is_none() {
                    tracing::error!("files of the store cannot be compacted: {error}; what is stored stays as it is");
                }
                RETRY_AFTER
            }
        };
        state.tidy_failure = done.err().map(|error| error.to_string());
        if pause > Duration::ZERO {
            drop(store.tidy.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner));
        }
    }
}

pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::clamped(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

impl Shared {
    /// Does the next thing that is due; false when there is none.
    fn tidy_once(&self, now: Timestamp) -> Result<bool, CompactError> {
        let _alone = lock(&self.tidying);
        self.expire(now)?;
        let mut files = lock(&self.state).files.to_vec();
        files.retain(|file| !file.is_troubled());
        let candidates: Vec<Candidate<'_>> =
            files.iter().map(|file| Candidate { entry: &file.entry, age: file.opened.elapsed() }).collect();
        let chosen: Vec<Arc<DataFile>> =
            plan::next_merge(&candidates, now).into_iter().map(|at| files[at].clone()).collect();
        if chosen.is_empty() {
            return Ok(false);
        }
        let compacted = self.compact_files(&chosen);
        if let Err(CompactError::Read(QueryError::Store(_)) | CompactError::Lost { .. }) = &compacted {
            chosen.iter().for_each(|file| file.set_troubled());
        }
        compacted.map(|()| true)
    }

    /// Compacts all files together, whatever the plan says.
    pub fn compact_all(&self) -> Result<(), CompactError> {
        let _alone = lock(&self.tidying);
        let files = lock(&self.state).files.clone();
        if files.is_empty() { Ok(()) } else { self.compact_files(&files) }
    }

    /// Writes `files` anew as one, and swaps the new ones in. One at a time: the caller holds `tidying`.
    fn compact_files(&self, files: &[Arc<DataFile>]) -> Result<(), CompactError> {
        let stop = Stop::after(COMPACTION_MAX);
        *lock(&self.compaction) = Some(stop.clone());
        if lock(&self.state).closing {
            stop.cancel();
        }
        let began = Instant::now();
        let compacted = self.compact_until(files, &stop);
        *lock(&self.compaction) = None;
        match &compacted {
            Ok(done) => self.counts.compacted(Compacted { took: began.elapsed(), ..*done }),
            // A store that closes has not failed.
            Err(CompactError::Read(QueryError::Cancelled)) => {}
            Err(_) => self.counts.compaction_failed(began.elapsed()),
        }
        compacted.map(|_| ())
    }

    fn compact_until(&self, files: &[Arc<DataFile>], stop: &Stop) -> Result<Compacted, CompactError> {
        let mut next_name = || manifest::file_name(self.next_file());
        let Options { fitting_percent, steps, .. } = &self.options;
        let plan = Plan { oldest: self.options.oldest_kept(now()), fitting_percent: *fitting_percent, steps };
        let Written { entries, expired_rows } = compact(&self.dir, files, &mut next_name, &plan, stop)?;
        let mut added = Vec::new();
        for entry in entries {
            added.push(Arc::new(DataFile::open(&self.dir, entry).map_err(super::writer::WriteError::from)?));
        }
        let done = Compacted {
            rows: files.iter().map(|file| file.entry.rows).sum(),
            expired_rows,
            files: files.len() as u64,
            bytes_read: files.iter().map(|file| file.entry.bytes).sum(),
            bytes_written: added.iter().map(|file| file.entry.bytes).sum(),
            took: Duration::ZERO,
        };
        self.commit(Change { added, removed: files, covered: None, chunks: 0 })?;
        Ok(done)
    }

    /// Lets go of what is older, or more, than is to be kept.
    fn expire(&self, now: Timestamp) -> Result<(), CompactError> {
        let files = lock(&self.state).files.clone();
        let entries: Vec<_> = files.iter().map(|file| &file.entry).collect();
        let gone: Vec<Arc<DataFile>> =
            plan::expired(&entries, self.options.oldest_kept(now), self.options.retain_bytes)
                .into_iter()
                .map(|at| files[at].clone())
                .collect();
        if gone.is_empty() {
            return Ok(());
        }
        let rows = gone.iter().map(|file| file.entry.rows).sum::<u64>();
        let bytes = gone.iter().map(|file| file.entry.bytes).sum();
        self.commit(Change { added: Vec::new(), removed: &gone, covered: None, chunks: 0 })?;
        tracing::info!("retention: {rows} records in {} files are no longer kept", gone.len());
        self.counts.expired(gone.len() as u64, rows, bytes);
        Ok(())
    }
}
