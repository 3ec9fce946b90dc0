//! Compaction: some files become fewer, sorted as one, split by day, packed harder and made quick to search.
//!
//! Comes in: files that the plan has chosen. Goes out: files that hold the same rows, durable, and not yet named by the
//! manifest: the caller swaps them in. Queries go on reading the old ones meanwhile.

use std::path::Path;
use std::sync::Arc;

use record::{Filter, Row, Timestamp};

use super::Covered;
use super::disk::Steps;
use super::file::DataFile;
use super::manifest::{FileEntry, add_covered};
use super::merge::Merge;
use super::nearest::Keep;
use super::plan::{LARGE_BYTES, LARGE_ROWS, SMALL_DAY_BYTES, day_of, month_of};
use super::scan::Run;
use super::schema::ColumnSet;
use super::typed::{Sample, TypedKey};
use super::wanted::Wanted;
use super::writer::{FileWriter, Packing, WriteError};
use crate::store::{QueryError, RowBuf, Stop};

/// zstd's level for files that stay: beyond it hardly a byte is saved for much more time.
const ZSTD_LEVEL: i32 = 3;
/// Rows that are decoded at a time, of all files together that are open at once.
const OPEN_ROWS_MAX: usize = 48 * 1024;
/// Rows of one file that are decoded at a time.
const RUN_ROWS_MIN: usize = 2 * 1024;
const RUN_ROWS_MAX: usize = 16 * 1024;
/// Pages that are looked at to choose the typed columns, over all files.
const SAMPLE_PAGES: usize = 16;

/// Why files could not be compacted.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    #[error(transparent)]
    Read(#[from] QueryError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("{read} rows were read where the manifest tells of {expected}: run `logboom fsck`")]
    Lost { read: u64, expected: u64 },
}

/// How files are to be written anew.
pub struct Plan<'a> {
    /// Rows from before this are past retention: they are left out.
    pub oldest: Option<Timestamp>,
    /// See [`Sample::choose`].
    pub fitting_percent: usize,
    pub steps: &'a Steps,
}

/// What a compaction has written.
pub struct Written {
    pub entries: Vec<FileEntry>,
    /// Rows that were left out.
    pub expired_rows: u64,
}

/// Writes the rows of `files` anew. `next_name` names each new file. If it fails, none is left.
pub fn compact(
    dir: &Path,
    files: &[Arc<DataFile>],
    next_name: &mut dyn FnMut() -> String,
    plan: &Plan<'_>,
    stop: &Stop,
) -> Result<Written, CompactError> {
    let mut covered = Covered::new();
    for file in files {
        add_covered(&mut covered, &file.covered()?);
    }
    let mut output = Output {
        covered,
        dir,
        next_name,
        steps: plan.steps,
        oldest: plan.oldest.unwrap_or(Timestamp::MIN),
        expired_rows: 0,
        typed: sample(files, stop)?.choose(plan.fitting_percent),
        generation: files.iter().map(|file| file.entry.generation).max().unwrap_or(0) + 1,
        open: None,
        names: Vec::new(),
        done: Vec::new(),
    };
    let written = output.write(files, stop);
    if written.is_err() {
        // What cannot be removed now is an orphan that the next start removes.
        output.names.iter().for_each(|name| drop(std::fs::remove_file(dir.join(name))));
    }
    written.map(|()| Written { entries: output.done, expired_rows: output.expired_rows })
}

struct Output<'a> {
    dir: &'a Path,
    next_name: &'a mut dyn FnMut() -> String,
    steps: &'a Steps,
    oldest: Timestamp,
    expired_rows: u64,
    typed: Vec<TypedKey>,
    generation: u64,
    covered: Covered,
    open: Option<(FileWriter, Timestamp)>,
    /// Of all files that were begun.
    names: Vec<String>,
    done: Vec<FileEntry>,
}

impl Output<'_> {
    fn write(&mut self, files: &[Arc<DataFile>], stop: &Stop) -> Result<(), CompactError> {
        let everything = Wanted::new(&Filter::default(), None);
        let run_rows = (OPEN_ROWS_MAX / open_at_once(files)).clamp(RUN_ROWS_MIN, RUN_ROWS_MAX);
        let mut merge = Merge::new(&everything, Keep::Oldest, run_rows);
        files.iter().for_each(|file| merge.add_file(file));
        let mut failed = None;
        merge.run(stop, &mut |row| {
            failed = self.push(row).err();
            Ok(failed.is_none())
        })?;
        match failed {
            Some(error) => return Err(error.into()),
            None => self.finish()?,
        }
        let expected = files.iter().map(|file| file.entry.rows).sum();
        let read = self.done.iter().map(|file| file.rows).sum::<u64>() + self.expired_rows;
        if read != expected {
            return Err(CompactError::Lost { read, expected });
        }
        Ok(())
    }

    fn push(&mut self, row: &[u8]) -> Result<(), WriteError> {
        let (row, _) = Row::split(row).map_err(std::io::Error::other)?;
        let time = row.timestamp();
        if time < self.oldest {
            self.expired_rows += 1;
            return Ok(());
        }
        if self.open.as_ref().is_some_and(|(open, last)| ends_before(open, *last, time)) {
            self.finish()?;
        }
        let (open, last) = match &mut self.open {
            Some(open) => open,
            None => {
                let name = (self.next_name)();
                self.steps.reach("create a compacted file")?;
                self.names.push(name.clone());
                let packing = Packing {
                    generation: self.generation,
                    zstd_level: ZSTD_LEVEL,
                    typed: self.typed.clone(),
                    filters: true,
                    covered: self.covered.clone(),
                };
                self.open.insert((FileWriter::create(self.dir, name, packing)?, time))
            }
        };
        *last = time;
        open.push(&row)
    }

    fn finish(&mut self) -> Result<(), WriteError> {
        if let Some((open, _)) = self.open.take() {
            self.steps.reach("finish a compacted file")?;
            self.done.push(open.finish(self.dir, self.steps)?);
        }
        Ok(())
    }
}

/// How many files a merge has open at the same time, at most.
fn open_at_once(files: &[Arc<DataFile>]) -> usize {
    let at = |time: Timestamp| files.iter().filter(|file| file.entry.first <= time && time <= file.entry.last).count();
    files.iter().map(|file| at(file.entry.first)).max().unwrap_or(1).max(1)
}

/// Whether the open file, whose last row is of `last`, does not go on with a row of `time`.
fn ends_before(open: &FileWriter, last: Timestamp, time: Timestamp) -> bool {
    // Its size is asked for when that may matter: not for every row.
    let is_new_day = day_of(last) != day_of(time);
    let is_large =
        open.rows() >= LARGE_ROWS || (open.rows().is_multiple_of(1024) && open.bytes() as u64 >= LARGE_BYTES);
    is_large || (is_new_day && (month_of(last) != month_of(time) || open.bytes() as u64 >= SMALL_DAY_BYTES))
}

/// The metadata of some pages of each file.
fn sample(files: &[Arc<DataFile>], stop: &Stop) -> Result<Sample, QueryError> {
    let mut sample = Sample::default();
    let everything = Wanted::new(&Filter::default(), None);
    let pages_of_each = SAMPLE_PAGES.div_ceil(files.len().max(1));
    let mut rows = RowBuf::default();
    let mut scratch = Vec::new();
    for file in files {
        let groups = file.groups()?;
        for at in 0..pages_of_each.min(groups) {
            let pages = file.pages(at * groups / pages_of_each.min(groups))?;
            let Some(page) = pages.get(pages.len() / 2) else { continue };
            stop.check()?;
            let run = Run::new(page, &everything);
            file.read(run.group, &run.ranges, ColumnSet::all(file.typed()?.len()), &mut |view| {
                rows.bytes.clear();
                (0..view.len()).for_each(|row| view.row(row).write(&mut scratch, &mut rows));
                rows.rows().for_each(|row| sample.add(row.metadata()));
                Ok(())
            })?;
        }
    }
    Ok(sample)
}
