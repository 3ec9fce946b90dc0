//! Reads the wanted rows of a run of pages: first the cheap filter columns, then those of the expression, then, only
//! for the rows that are left, what the query asked for.

use std::ops::Range;

use record::filter::Columns;

use super::file::{DataFile, Page};
use super::schema::{APPLICATION, ColumnSet, LEVEL, SOURCE};
use super::view::{View, level_of};
use super::wanted::Wanted;
use crate::store::{QueryError, Stop};

/// Rows of a row group that one thread reads at a time.
#[derive(Clone, Debug)]
pub struct Run {
    pub group: usize,
    /// Ascending, and apart from one another.
    pub ranges: Vec<Range<usize>>,
    /// Whether the bounds hold every row, so that no id needs to be looked at.
    pub enclosed: bool,
}

impl Run {
    pub fn new(page: &Page, wanted: &Wanted) -> Run {
        let enclosed = wanted.encloses(page.first, page.last);
        Run { group: page.group, ranges: vec![page.rows.clone()], enclosed }
    }

    pub fn rows(&self) -> usize {
        self.ranges.iter().map(ExactSizeIterator::len).sum()
    }

    /// Takes in a run of the same row group. The ranges may then be in either order: see [`Run::sort`].
    pub fn join(&mut self, more: Run) {
        self.enclosed &= more.enclosed;
        self.ranges.extend(more.ranges);
    }

    /// Puts the ranges in ascending order and joins those that touch.
    pub fn sort(&mut self) {
        self.ranges.sort_by_key(|range| range.start);
        let mut sorted: Vec<Range<usize>> = Vec::with_capacity(self.ranges.len());
        for range in self.ranges.drain(..) {
            match sorted.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => sorted.push(range),
            }
        }
        self.ranges = sorted;
    }
}

/// The wanted rows of `run`: its ranges, narrowed.
pub fn select(file: &DataFile, run: &Run, wanted: &Wanted, stop: &Stop) -> Result<Vec<Range<usize>>, QueryError> {
    let mut cheap = if run.enclosed { ColumnSet::default() } else { ColumnSet::ID };
    for (column, asked) in [
        (LEVEL, wanted.levels.is_some()),
        (SOURCE, wanted.source.is_some()),
        (APPLICATION, wanted.application.is_some()),
    ] {
        if asked {
            cheap = cheap.with(column);
        }
    }
    let mut ranges = run.ranges.clone();
    if !cheap.is_empty() {
        ranges = narrow(file, run.group, &ranges, cheap, stop, &mut |view, keep| {
            if !run.enclosed {
                keep.retain(&|row| wanted.holds(view.row(row).id()));
            }
            if let (Some(levels), Some(column)) = (wanted.levels, view.levels()) {
                keep.retain(&column.passing(|level| levels.contains(level_of(level.as_bytes()))));
            }
            for (list, column) in [(&wanted.source, view.sources()), (&wanted.application, view.applications())] {
                if let (Some(list), Some(column)) = (list, column) {
                    keep.retain(&column.passing(|value| list.iter().any(|wanted| wanted == value)));
                }
            }
        })?;
    }
    if !wanted.expr.is_everything() && !ranges.is_empty() {
        let columns = wanted.expr_columns(file.typed()?);
        // An expression that asks for no column (as one of nothing does) still needs rows to be asked of.
        let columns = if columns.is_empty() { ColumnSet::of(&[LEVEL]) } else { columns };
        ranges = narrow(file, run.group, &ranges, columns, stop, &mut |view, keep| {
            keep.retain(&|row| wanted.matches_expr(&view.row(row)));
        })?;
    }
    Ok(ranges)
}

/// Which rows of a view stay.
struct Keep(Vec<bool>);

impl Keep {
    fn retain(&mut self, passes: &dyn Fn(usize) -> bool) {
        self.0.iter_mut().enumerate().for_each(|(row, keep)| *keep = *keep && passes(row));
    }
}

fn narrow(
    file: &DataFile,
    group: usize,
    ranges: &[Range<usize>],
    columns: ColumnSet,
    stop: &Stop,
    test: &mut dyn FnMut(&View<'_>, &mut Keep),
) -> Result<Vec<Range<usize>>, QueryError> {
    let mut rows = ranges.iter().cloned().flatten();
    let mut narrowed: Vec<Range<usize>> = Vec::new();
    file.read(group, ranges, columns, &mut |view| {
        stop.check()?;
        let mut keep = Keep(vec![true; view.len()]);
        test(view, &mut keep);
        // The rows second: a zip asks its first side once more than its second.
        for (keep, row) in keep.0.into_iter().zip(rows.by_ref()) {
            match narrowed.last_mut() {
                _ if !keep => {}
                Some(last) if last.end == row => last.end += 1,
                _ => narrowed.push(row..row + 1),
            }
        }
        Ok(())
    })?;
    Ok(narrowed)
}

/// Cuts ascending ranges to their last `rows` rows.
pub fn last_rows(ranges: &mut Vec<Range<usize>>, mut rows: usize) {
    let mut at = ranges.len();
    while at > 0 && rows > 0 {
        at -= 1;
        let take = ranges[at].len().min(rows);
        ranges[at].start = ranges[at].end - take;
        rows -= take;
    }
    ranges.drain(..at);
}

/// Cuts ascending ranges to their first `rows` rows.
pub fn first_rows(ranges: &mut Vec<Range<usize>>, mut rows: usize) {
    let mut at = 0;
    while at < ranges.len() && rows > 0 {
        let take = ranges[at].len().min(rows);
        ranges[at].end = ranges[at].start + take;
        rows -= take;
        at += 1;
    }
    ranges.truncate(at);
}
