//! The rows nearest to one end of the order: pages, look-ups and contexts.
//!
//! All that may hold one (chunks, files, then pages of files) waits in a heap by how near it may be; a file is opened
//! only when its turn comes, and nothing is read that cannot come nearer than what is found. The first step is small,
//! since most questions are answered by the newest page; each one after it is twice as long, and read in parallel.

use std::collections::BinaryHeap;

use rayon::prelude::*;
use record::Timestamp;

use super::file::DataFile;
use super::grams::Needles;
use super::memory::Chunk;
use super::nearest::{Keep, Nearest};
use super::query::Snapshot;
use super::scan::{Run, first_rows, last_rows, select};
use super::schema::ColumnSet;
use super::wanted::Wanted;
use crate::store::{QueryError, ReadStats, RowBuf, Stop};

/// Rows of the first step: a page.
const STEP_ROWS_FIRST: usize = 2048;
/// Rows of the longest step, per thread: a few milliseconds of work, so that an early stop stays near.
const STEP_ROWS_MAX: usize = 64 * 1024;

/// Something that may hold wanted rows.
enum Part<'a> {
    Chunk(&'a Chunk),
    File(&'a DataFile),
    Run(&'a DataFile, Run),
}

/// A part, in the order of how near its nearest row may be.
struct Waiting<'a> {
    near: i64,
    first: Timestamp,
    last: Timestamp,
    part: Part<'a>,
}

/// Finds the wanted rows that `nearest` keeps.
pub fn find(snapshot: &Snapshot, wanted: &Wanted, nearest: &mut Nearest, stop: &Stop) -> Result<ReadStats, QueryError> {
    let mut search = Search {
        wanted,
        needles: Needles::new(&wanted.expr),
        keep: nearest.keep(),
        waiting: BinaryHeap::new(),
        read: ReadStats::default(),
    };
    for chunk in &snapshot.chunks {
        search.add(chunk.first, chunk.last, Part::Chunk(chunk));
    }
    for file in snapshot.files.iter() {
        if !search.add(file.entry.first, file.entry.last, Part::File(file)) {
            search.read.files_skipped += 1;
        }
    }
    let mut step_rows = STEP_ROWS_FIRST;
    loop {
        stop.check()?;
        let step = search.next_step(nearest, step_rows)?;
        if step.is_empty() {
            break;
        }
        search.read.rows_read += step.iter().map(|part| part.rows() as u64).sum::<u64>();
        let found: Vec<Nearest> = match &step[..] {
            [part] => vec![part.read(wanted, nearest, stop)?],
            parts => parts.par_iter().map(|part| part.read(wanted, nearest, stop)).collect::<Result<_, _>>()?,
        };
        for found in found {
            nearest.join(found)?;
        }
        step_rows = (step_rows * 2).min(STEP_ROWS_MAX * rayon::current_num_threads());
    }
    stop.add_read(&search.read);
    Ok(search.read)
}

struct Search<'a> {
    wanted: &'a Wanted,
    needles: Option<Needles<'a>>,
    keep: Keep,
    waiting: BinaryHeap<Waiting<'a>>,
    read: ReadStats,
}

impl<'a> Search<'a> {
    /// Lets a part wait for its turn, unless it holds nothing that is wanted.
    fn add(&mut self, first: Timestamp, last: Timestamp, part: Part<'a>) -> bool {
        let overlaps = self.wanted.overlaps(first, last);
        if overlaps {
            let near = match self.keep {
                Keep::Newest => last.as_micros(),
                Keep::Oldest => -first.as_micros(),
            };
            self.waiting.push(Waiting { near, first, last, part });
        }
        overlaps
    }

    /// The next parts to read, of about `rows` rows together; none when the search is over.
    fn next_step(&mut self, nearest: &Nearest, rows: usize) -> Result<Vec<Part<'a>>, QueryError> {
        let mut step: Vec<Part<'a>> = Vec::new();
        let mut taken = 0;
        // As few runs as there are threads: what is set up for each is then small beside reading it.
        let run_rows = (rows / rayon::current_num_threads()).max(STEP_ROWS_FIRST);
        while taken < rows {
            let Some(Waiting { first, last, part, .. }) = self.waiting.pop() else { break };
            if !nearest.takes_within(first, last) {
                self.skip(part);
                continue;
            }
            match part {
                Part::File(file) if file.may_hold(self.wanted)? => {
                    self.read.files_read += 1;
                    self.open(file)?;
                }
                Part::File(_) => self.read.files_skipped += 1,
                Part::Chunk(chunk) => {
                    taken += chunk.rows as usize;
                    step.push(Part::Chunk(chunk));
                }
                Part::Run(file, run) => {
                    taken += run.rows();
                    match step.last_mut() {
                        Some(Part::Run(other, longer))
                            if std::ptr::eq(*other, file)
                                && longer.group == run.group
                                && longer.rows() + run.rows() <= run_rows =>
                        {
                            longer.join(run);
                        }
                        _ => step.push(Part::Run(file, run)),
                    }
                }
            }
        }
        for part in &mut step {
            if let Part::Run(_, run) = part {
                run.sort();
            }
        }
        Ok(step)
    }

    /// Lets the pages of a file wait.
    fn open(&mut self, file: &'a DataFile) -> Result<(), QueryError> {
        let minutes = file.wanted_minutes(self.wanted)?;
        for group in 0..file.groups()? {
            if !file.group_may_hold(group, self.wanted, minutes.as_deref())? {
                self.read.groups_skipped += 1;
                continue;
            }
            self.read.groups_read += 1;
            for page in file.pages_that_may_match(group, self.wanted, minutes.as_deref(), self.needles.as_ref())? {
                let run = Run::new(&page, self.wanted);
                self.add(page.first, page.last, Part::Run(file, run));
            }
        }
        Ok(())
    }

    fn skip(&mut self, part: Part<'a>) {
        if matches!(part, Part::File(_)) {
            self.read.files_skipped += 1;
        }
    }
}

impl Part<'_> {
    fn rows(&self) -> usize {
        match self {
            Part::Chunk(chunk) => chunk.rows as usize,
            Part::File(file) => file.entry.rows as usize,
            Part::Run(_, run) => run.rows(),
        }
    }

    /// The wanted rows of this part that may stay beside what `so_far` holds.
    fn read(&self, wanted: &Wanted, so_far: &Nearest, stop: &Stop) -> Result<Nearest, QueryError> {
        let mut found = so_far.empty();
        match self {
            Part::Chunk(chunk) => {
                for row in chunk.rows() {
                    if so_far.takes(row.id()) && found.takes(row.id()) && wanted.matches(&row) {
                        found.offer(&row)?;
                    }
                }
            }
            Part::Run(file, run) => {
                let mut ranges = select(file, run, wanted, stop)?;
                match found.keep() {
                    Keep::Newest => last_rows(&mut ranges, found.limit()),
                    Keep::Oldest => first_rows(&mut ranges, found.limit()),
                }
                if ranges.is_empty() {
                    return Ok(found);
                }
                let mut rows = RowBuf::default();
                let mut scratch = Vec::new();
                file.read(run.group, &ranges, ColumnSet::all(file.typed()?.len()), &mut |view| {
                    rows.bytes.clear();
                    for row in 0..view.len() {
                        view.row(row).write(&mut scratch, &mut rows);
                    }
                    rows.rows().try_for_each(|row| found.offer(&row))
                })?;
            }
            // A file is opened before it is read.
            Part::File(_) => {}
        }
        Ok(found)
    }
}

impl PartialEq for Waiting<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.near == other.near
    }
}

impl Eq for Waiting<'_> {}

impl PartialOrd for Waiting<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.near.cmp(&other.near)
    }
}
