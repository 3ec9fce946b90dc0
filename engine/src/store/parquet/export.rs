//! Export: everything that a filter wants of one snapshot, newest first, with bounded memory.
//!
//! A merge: each chunk and each file is a run in the order of ids, opened only when the merge reaches its newest row.

use std::collections::BinaryHeap;
use std::sync::Arc;

use record::filter::Columns;
use record::{Filter, Id, Timestamp};

use super::file::DataFile;
use super::memory::Chunk;
use super::query::Snapshot;
use super::scan::{self, select};
use super::schema::ColumnSet;
use super::wanted::Wanted;
use crate::store::{QueryError, RowBuf, Stop};

/// Rows are handed on in pieces of about this size.
const PIECE_BYTES: usize = 256 << 10;

/// Rows of a file that are decoded at a time: with many files open at once, this much of each is in memory.
const RUN_ROWS_MAX: usize = 8 * 1024;

/// Hands all that `filter` wants to `sink`, until it returns false.
pub fn export(
    snapshot: &Snapshot,
    filter: &Filter,
    stop: &Stop,
    sink: &mut dyn FnMut(&RowBuf) -> bool,
) -> Result<(), QueryError> {
    let wanted = Wanted::new(filter, None);
    let mut merge = Merge { runs: Vec::new(), heads: BinaryHeap::new() };
    for chunk in &snapshot.chunks {
        merge.add(&wanted, chunk.first, chunk.last, Source::Chunk(chunk.clone()));
    }
    for file in snapshot.files.iter() {
        merge.add(&wanted, file.entry.first, file.entry.last, Source::File { file: file.clone(), runs: None });
    }
    let mut piece = RowBuf::default();
    while merge.next(&wanted, &mut piece, stop)? {
        if piece.bytes.len() >= PIECE_BYTES {
            stop.check()?;
            if !sink(&piece) {
                return Ok(());
            }
            piece.bytes.clear();
            piece.count = 0;
        }
    }
    if piece.count > 0 {
        sink(&piece);
    }
    Ok(())
}

struct Merge {
    runs: Vec<Run>,
    /// The newest id that each run may still have, exact once it is read.
    heads: BinaryHeap<(Id, usize)>,
}

/// Rows of one chunk or file, newest first.
struct Run {
    source: Source,
    rows: RowBuf,
    /// Id and place of the rows that are read and not yet taken, the newest at the end.
    order: Vec<(Id, usize, usize)>,
    done: bool,
}

enum Source {
    Chunk(Arc<Chunk>),
    File {
        file: Arc<DataFile>,
        /// What is not yet read, the newest at the end; `None` before the first.
        runs: Option<Vec<scan::Run>>,
    },
}

impl Merge {
    fn add(&mut self, wanted: &Wanted, first: Timestamp, last: Timestamp, source: Source) {
        if wanted.overlaps(first, last) {
            self.heads.push((Id::new(last, u64::MAX, u32::MAX), self.runs.len()));
            self.runs.push(Run { source, rows: RowBuf::default(), order: Vec::new(), done: false });
        }
    }

    /// Appends the next row to `out`; false when there is none.
    fn next(&mut self, wanted: &Wanted, out: &mut RowBuf, stop: &Stop) -> Result<bool, QueryError> {
        while let Some((_, at)) = self.heads.pop() {
            let run = &mut self.runs[at];
            let taken = match run.order.pop() {
                Some((_, start, end)) => {
                    out.bytes.extend_from_slice(&run.rows.bytes[start..end]);
                    out.count += 1;
                    true
                }
                None => false,
            };
            while run.order.is_empty() && !run.done {
                run.fill(wanted, stop)?;
            }
            match run.order.last() {
                Some((id, ..)) => self.heads.push((*id, at)),
                None => run.rows = RowBuf::default(),
            }
            if taken {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Run {
    /// Reads the next rows.
    fn fill(&mut self, wanted: &Wanted, stop: &Stop) -> Result<(), QueryError> {
        self.rows.bytes.clear();
        self.rows.count = 0;
        let Run { source, rows, order, done } = self;
        match source {
            Source::Chunk(chunk) => {
                for row in chunk.rows().filter(|row| wanted.matches(row)) {
                    let start = rows.bytes.len();
                    rows.push(&row);
                    order.push((row.id(), start, rows.bytes.len()));
                }
                *done = true;
            }
            Source::File { file, runs } => {
                if runs.is_none() {
                    *runs = Some(runs_of(file, wanted)?);
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
                            order.push((row.id(), start, rows.bytes.len()));
                        }
                        Ok(())
                    })?;
                }
            }
        }
        // Rows of a file are in order already: that costs one look at each.
        order.sort_by_key(|(id, ..)| *id);
        Ok(())
    }
}

/// The runs of a file that may hold wanted rows, in ascending order.
fn runs_of(file: &DataFile, wanted: &Wanted) -> Result<Vec<scan::Run>, QueryError> {
    let mut runs: Vec<scan::Run> = Vec::new();
    for group in 0..file.groups()? {
        for page in file.pages(group)?.iter().filter(|page| wanted.overlaps(page.first, page.last)) {
            let run = scan::Run::new(page, wanted);
            match runs.last_mut() {
                Some(last) if last.group == group && last.rows() + run.rows() <= RUN_ROWS_MAX => last.join(run),
                _ => runs.push(run),
            }
        }
    }
    Ok(runs)
}
