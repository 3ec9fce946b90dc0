//! Export: everything that a filter wants of one snapshot, newest first, with bounded memory.
//!
//! A merge: each chunk and each file is a run in the order of ids, opened only when the merge reaches its newest row.

use std::collections::BinaryHeap;
use std::sync::Arc;

use record::{Filter, Id, Row, Timestamp};

use super::file::DataFile;
use super::memory::Chunk;
use super::query::Snapshot;
use super::wanted::Wanted;
use crate::store::{QueryError, RowBuf, Stop};

/// Rows are handed on in pieces of about this size.
const PIECE_BYTES: usize = 256 << 10;

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
        merge.add(&wanted, file.entry.first, file.entry.last, Source::File { file: file.clone(), groups: None });
    }
    let mut piece = RowBuf::default();
    while merge.next(&wanted, &mut piece)? {
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
        /// Row groups not yet read; `None` before the first.
        groups: Option<usize>,
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
    fn next(&mut self, wanted: &Wanted, out: &mut RowBuf) -> Result<bool, QueryError> {
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
                run.fill(wanted)?;
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
    fn fill(&mut self, wanted: &Wanted) -> Result<(), QueryError> {
        self.rows.bytes.clear();
        self.rows.count = 0;
        let Run { source, rows, order, done } = self;
        let mut keep = |row: Row<'_>| {
            if wanted.matches(&row) {
                let start = rows.bytes.len();
                rows.push(&row);
                order.push((row.id(), start, rows.bytes.len()));
            }
        };
        match source {
            Source::Chunk(chunk) => {
                chunk.rows().for_each(&mut keep);
                *done = true;
            }
            Source::File { file, groups } => {
                let left = match *groups {
                    Some(left) => left,
                    None => file.groups()?,
                };
                if left > 0 {
                    let (first, last) = file.group_span(left - 1)?;
                    if wanted.overlaps(first, last) {
                        file.read_group(left - 1, &mut |read| {
                            read.rows().for_each(&mut keep);
                            Ok(())
                        })?;
                    }
                }
                *groups = Some(left.saturating_sub(1));
                *done = left <= 1;
            }
        }
        // Rows of a file are in order already: that costs one look at each.
        order.sort_by_key(|(id, ..)| *id);
        Ok(())
    }
}
