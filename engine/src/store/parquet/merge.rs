//! The merge: rows of many chunks and files in one order, with bounded memory.
//!
//! Each chunk and each file is a run that is in order itself, opened only when the merge reaches its first row, and read
//! a few thousand rows at a time.

use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::sync::Arc;

use record::filter::Columns;
use record::{Id, Timestamp};

use super::file::{DataFile, Page};
use super::grams::Needles;
use super::memory::Chunk;
use super::nearest::{Keep, rank};
use super::scan::{self, select};
use super::schema::ColumnSet;
use super::wanted::Wanted;
use crate::store::{QueryError, ReadStats, RowBuf, Stop};

/// What is decoded of one file at a time takes about this much, however long its rows are: dozens of files may be open.
const RUN_BYTES_MAX: usize = 4 << 20;

pub struct Merge<'w> {
    wanted: &'w Wanted,
    /// Which end of the order comes first.
    from: Keep,
    /// Rows of a file that are decoded at a time: with many files open at once, this much of each is in memory.
    rows_max: usize,
    sources: Vec<Source>,
    /// The rank of each source's next row, or while it is not open the highest that it may have.
    heads: BinaryHeap<(u128, usize)>,
}

/// Rows of one chunk or file.
struct Source {
    rows_of: RowsOf,
    rows: RowBuf,
    /// Rank and place of the rows that are read and not yet taken, the next one at the end.
    order: Vec<(u128, usize, usize)>,
    done: bool,
}

enum RowsOf {
    Chunk(Arc<Chunk>),
    File {
        file: Arc<DataFile>,
        /// What is not yet read, the next at the end; `None` before the first.
        runs: Option<Vec<scan::Run>>,
    },
}

impl<'w> Merge<'w> {
    pub fn new(wanted: &'w Wanted, from: Keep, rows_max: usize) -> Merge<'w> {
        Merge { wanted, from, rows_max, sources: Vec::new(), heads: BinaryHeap::new() }
    }

    pub fn add_chunk(&mut self, chunk: &Arc<Chunk>) {
        self.add(chunk.first, chunk.last, RowsOf::Chunk(chunk.clone()));
    }

    pub fn add_file(&mut self, file: &Arc<DataFile>) {
        self.add(file.entry.first, file.entry.last, RowsOf::File { file: file.clone(), runs: None });
    }

    /// Hands every wanted row, encoded, to `take`, until it returns false.
    pub fn run(
        mut self,
        stop: &Stop,
        take: &mut dyn FnMut(&[u8]) -> Result<bool, QueryError>,
    ) -> Result<(), QueryError> {
        while let Some(mut head) = self.heads.peek_mut() {
            let source = &mut self.sources[head.1];
            if let Some((_, start, end)) = source.order.pop()
                && !take(&source.rows.bytes[start..end])?
            {
                return Ok(());
            }
            while source.order.is_empty() && !source.done {
                stop.check()?;
                source.fill(self.wanted, self.from, self.rows_max, stop)?;
            }
            match source.order.last() {
                Some((rank, ..)) => head.0 = *rank,
                None => {
                    source.rows = RowBuf::default();
                    PeekMut::pop(head);
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, first: Timestamp, last: Timestamp, rows_of: RowsOf) {
        if self.wanted.overlaps(first, last) {
            let next = match self.from {
                Keep::Newest => Id::new(last, u64::MAX, u32::MAX),
                Keep::Oldest => Id::new(first, 0, 0),
            };
            self.heads.push((rank(self.from, next), self.sources.len()));
            self.sources.push(Source { rows_of, rows: RowBuf::default(), order: Vec::new(), done: false });
        }
    }
}

impl Source {
    /// Reads the next rows.
    fn fill(&mut self, wanted: &Wanted, from: Keep, rows_max: usize, stop: &Stop) -> Result<(), QueryError> {
        self.rows.bytes.clear();
        self.rows.count = 0;
        let Source { rows_of, rows, order, done } = self;
        match rows_of {
            RowsOf::Chunk(chunk) => {
                for row in chunk.rows().filter(|row| wanted.matches(row)) {
                    let start = rows.bytes.len();
                    rows.push(&row);
                    order.push((rank(from, row.id()), start, rows.bytes.len()));
                }
                *done = true;
            }
            RowsOf::File { file, runs } => {
                if runs.is_none() {
                    *runs = Some(runs_of(file, wanted, from, rows_max, stop)?);
                }
                let Some(run) = runs.as_mut().and_then(Vec::pop) else {
                    *done = true;
                    return Ok(());
                };
                let ranges = select(file, &run, wanted, stop)?;
                let mut scratch = Vec::new();
                if !ranges.is_empty() {
                    file.read(run.group, &ranges, ColumnSet::all(file.typed()?.len()), &mut |view| {
                        for row in 0..view.len() {
                            let (row, start) = (view.row(row), rows.bytes.len());
                            row.write(&mut scratch, rows);
                            order.push((rank(from, row.id()), start, rows.bytes.len()));
                        }
                        Ok(())
                    })?;
                }
            }
        }
        // Rows of a file are in order already, one way or the other: the sort sees that at one look.
        order.sort_by_key(|(rank, ..)| *rank);
        Ok(())
    }
}

/// The runs of a file that may hold wanted rows, the next one at the end.
fn runs_of(
    file: &DataFile,
    wanted: &Wanted,
    from: Keep,
    rows_max: usize,
    stop: &Stop,
) -> Result<Vec<scan::Run>, QueryError> {
    let needles = Needles::new(&wanted.expr);
    let mut runs: Vec<scan::Run> = Vec::new();
    let mut read = ReadStats { files_read: 1, ..ReadStats::default() };
    let minutes = file.wanted_minutes(wanted)?;
    for group in 0..file.groups()? {
        if !file.group_may_hold(group, wanted, minutes.as_deref())? {
            read.groups_skipped += 1;
            continue;
        }
        read.groups_read += 1;
        let rows_max = rows_max.min(RUN_BYTES_MAX / file.row_bytes(group)?).max(1);
        for page in file.pages_that_may_match(group, wanted, minutes.as_deref(), needles.as_ref())? {
            for start in page.rows.clone().step_by(rows_max) {
                let rows = start..page.rows.end.min(start + rows_max);
                let run = scan::Run::new(&Page { rows, ..page.clone() }, wanted);
                read.rows_read += run.rows() as u64;
                match runs.last_mut() {
                    Some(last) if last.group == group && last.rows() + run.rows() <= rows_max => last.join(run),
                    _ => runs.push(run),
                }
            }
        }
    }
    stop.add_read(&read);
    if from == Keep::Oldest {
        runs.reverse();
    }
    Ok(runs)
}
