//! Reads the wanted rows of a run of pages: first the cheap filter columns, then those of the expression, then, only
//! for the rows that are left, what the query asked for.

use std::ops::Range;

use record::filter::Columns;

use super::file::{DataFile, Page};
use super::schema::{APPLICATION, ColumnSet, LEVEL, MESSAGE, SOURCE};
use super::view::{View, ViewRow, level_of};
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
    let mut cheap = list_columns(wanted);
    if !run.enclosed {
        cheap = cheap.and(ColumnSet::ID);
    }
    let mut ranges = run.ranges.clone();
    if !cheap.is_empty() {
        ranges = narrow(file, run.group, &ranges, cheap, stop, &mut |view, keep| {
            if !run.enclosed {
                keep.retain(&|row| wanted.holds(view.row(row).id()));
            }
            keep.retain_listed(view, wanted);
        })?;
    }
    if !wanted.expr.is_everything() && !ranges.is_empty() {
        let columns = wanted.expr_columns(file.typed()?);
        // An expression that asks for no column (as one of nothing does) still needs rows to be asked of.
        let columns = if columns.is_empty() { ColumnSet::of(&[LEVEL]) } else { columns };
        let ints = wanted.equal_ints();
        ranges = narrow(file, run.group, &ranges, columns, stop, &mut |view, keep| match ints
            .as_ref()
            .and_then(|(path, ints)| view.equal_ints(path, ints))
        {
            Some(passes) => keep.retain_passing(&passes),
            None => keep.retain(&|row| wanted.matches_expr(&view.row(row))),
        })?;
    }
    Ok(ranges)
}

/// The columns of which a filter lists what it wants.
fn list_columns(wanted: &Wanted) -> ColumnSet {
    let mut columns = ColumnSet::default();
    for (column, asked) in [
        (LEVEL, wanted.levels.is_some()),
        (SOURCE, wanted.source.is_some()),
        (APPLICATION, wanted.application.is_some()),
    ] {
        if asked {
            columns = columns.with(column);
        }
    }
    columns
}

/// Hands on the wanted rows of `run`, one by one, in a single pass: for a run within all bounds and a filter that only
/// lists levels, sources and applications, where `columns` are no dearer to read than these.
pub fn read_listed(
    file: &DataFile,
    run: &Run,
    wanted: &Wanted,
    columns: ColumnSet,
    stop: &Stop,
    visit: &mut dyn FnMut(&ViewRow<'_>),
) -> Result<(), QueryError> {
    let columns = columns.and(list_columns(wanted));
    read_joined(file, run.group, &run.ranges, &join(&run.ranges, columns), columns, &mut |_, view, mut keep| {
        stop.check()?;
        keep.retain_listed(view, wanted);
        keep.runs().flatten().for_each(|row| visit(&view.row(row)));
        Ok(())
    })
}

/// Which rows of a view stay: 1 for those that do.
pub struct Keep(Vec<u8>);

impl Keep {
    fn retain(&mut self, passes: &dyn Fn(usize) -> bool) {
        self.0.iter_mut().enumerate().for_each(|(row, keep)| *keep = u8::from(*keep == 1 && passes(row)));
    }

    fn retain_passing(&mut self, passes: &[u8]) {
        self.0.iter_mut().zip(passes).for_each(|(keep, pass)| *keep &= pass);
    }

    /// Keeps the rows of the levels, sources and applications that are listed.
    fn retain_listed(&mut self, view: &View<'_>, wanted: &Wanted) {
        if let (Some(levels), Some(column)) = (wanted.levels, view.levels()) {
            self.retain_keys(column.keys(), &column.passing(|level| levels.contains(level_of(level.as_bytes()))));
        }
        for (list, column) in [(&wanted.source, view.sources()), (&wanted.application, view.applications())] {
            if let (Some(list), Some(column)) = (list, column) {
                self.retain_keys(column.keys(), &column.passing(|value| list.iter().any(|wanted| wanted == value)));
            }
        }
    }

    /// Keeps the rows whose key is that of a value that passes.
    fn retain_keys(&mut self, keys: &[i32], passes: &[u8]) {
        for (keep, key) in self.0.iter_mut().zip(keys) {
            *keep &= passes.get(*key as usize).copied().unwrap_or(0);
        }
    }

    /// The runs of rows that stay, in ascending order.
    fn runs(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let mut at = 0;
        std::iter::from_fn(move || {
            let start = at + memchr::memchr(1, self.0.get(at..)?)?;
            let end = memchr::memchr(0, &self.0[start..]).map_or(self.0.len(), |length| start + length);
            at = end;
            Some(start..end)
        })
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
    let joined = join(ranges, columns);
    let mut places = Places { ranges: &joined, done: 0 };
    let mut narrowed: Vec<Range<usize>> = Vec::new();
    read_joined(file, group, ranges, &joined, columns, &mut |before, view, mut keep| {
        stop.check()?;
        test(view, &mut keep);
        for run in keep.runs() {
            places.push(before + run.start..before + run.end, &mut narrowed);
        }
        Ok(())
    })?;
    Ok(narrowed)
}

/// Hands on the rows in `ranges`, one by one.
pub fn read_rows(
    file: &DataFile,
    group: usize,
    ranges: &[Range<usize>],
    columns: ColumnSet,
    visit: &mut dyn FnMut(&ViewRow<'_>),
) -> Result<(), QueryError> {
    read_joined(file, group, ranges, &join(ranges, columns), columns, &mut |_, view, keep| {
        keep.runs().flatten().for_each(|row| visit(&view.row(row)));
        Ok(())
    })
}

/// `ranges`, those joined whose gap is quicker read than stepped over.
fn join(ranges: &[Range<usize>], columns: ColumnSet) -> Vec<Range<usize>> {
    /// Numbers and keys of dictionaries take a nanosecond or two each, a step some dozens.
    const GAP_ROWS_MAX: usize = 48;
    /// Texts are copied.
    const GAP_ROWS_OF_TEXT_MAX: usize = 3;
    let has_text = columns.iter().any(|column| column >= MESSAGE);
    let gap_max = if has_text { GAP_ROWS_OF_TEXT_MAX } else { GAP_ROWS_MAX };
    let mut joined: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start - last.end <= gap_max => last.end = range.end,
            _ => joined.push(range.clone()),
        }
    }
    joined
}

/// Reads the rows of `joined`; with each view where among them it begins, and which of its rows are in `ranges`.
fn read_joined(
    file: &DataFile,
    group: usize,
    ranges: &[Range<usize>],
    joined: &[Range<usize>],
    columns: ColumnSet,
    visit: &mut dyn FnMut(usize, &View<'_>, Keep) -> Result<(), QueryError>,
) -> Result<(), QueryError> {
    // The ranges, counted in rows that are read.
    let mut wanted: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
    let mut rest = ranges.iter().peekable();
    let mut read = 0;
    for whole in joined {
        while let Some(range) = rest.next_if(|range| range.end <= whole.end) {
            wanted.push(read + range.start - whole.start..read + range.end - whole.start);
        }
        read += whole.len();
    }
    let mut first = 0;
    let mut before = 0;
    file.read(group, joined, columns, &mut |view| {
        let end = before + view.len();
        let mut keep = vec![0; view.len()];
        while let Some(range) = wanted.get(first).filter(|range| range.start < end) {
            keep[range.start.max(before) - before..range.end.min(end) - before].fill(1);
            if range.end > end {
                break;
            }
            first += 1;
        }
        visit(before, view, Keep(keep))?;
        before = end;
        Ok(())
    })
}

/// Where the rows that are read one after another stand in their row group.
struct Places<'a> {
    /// Those that are not passed.
    ranges: &'a [Range<usize>],
    /// Rows of those that are.
    done: usize,
}

impl Places<'_> {
    /// Appends where a run of rows that were read stands. Runs come in ascending order.
    fn push(&mut self, mut run: Range<usize>, places: &mut Vec<Range<usize>>) {
        while let Some(range) = self.ranges.first() {
            if run.start >= self.done + range.len() {
                self.done += range.len();
                self.ranges = &self.ranges[1..];
                continue;
            }
            if run.is_empty() {
                return;
            }
            let end = run.end.min(self.done + range.len());
            let place = range.start + run.start - self.done..range.start + end - self.done;
            match places.last_mut() {
                Some(last) if last.end == place.start => last.end = place.end,
                _ => places.push(place),
            }
            run.start = end;
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_rows_that_were_read() {
        let ranges = [10..13, 20..24, 24..25, 40..50];
        let mut places = Places { ranges: &ranges, done: 0 };
        let mut found = Vec::new();
        for run in [0..1, 2..4, 5..9, 17..18] {
            places.push(run, &mut found);
        }
        assert_eq!(found, [10..11, 12..13, 20..21, 22..25, 40..41, 49..50]);
    }

    #[test]
    fn runs_of_rows_that_stay() {
        let runs = |keep: &[u8]| Keep(keep.to_vec()).runs().collect::<Vec<_>>();
        assert_eq!(runs(&[1, 1, 0, 1, 0, 0, 1]), [0..2, 3..4, 6..7]);
        assert!(runs(&[0, 0]).is_empty() && runs(&[]).is_empty());
    }

    #[test]
    fn ranges_are_cut_at_either_end() {
        let cut = |with: fn(&mut Vec<Range<usize>>, usize), rows| {
            let mut ranges = vec![0..3, 5..7, 9..10];
            with(&mut ranges, rows);
            ranges
        };
        assert_eq!(cut(last_rows, 2), [6..7, 9..10]);
        assert_eq!(cut(last_rows, 99), [0..3, 5..7, 9..10]);
        assert_eq!(cut(first_rows, 4), [0..3, 5..6]);
        assert!(cut(first_rows, 0).is_empty() && cut(last_rows, 0).is_empty());
    }
}
