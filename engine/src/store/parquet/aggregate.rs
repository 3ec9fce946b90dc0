//! Counts, histograms and facets: from kept counts wherever they say enough, else from the rows, in parallel.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;
use record::filter::{Columns, MetaPath, MetaValue};
use record::{Filter, Level, Timestamp};

use super::file::DataFile;
use super::grams::Needles;
use super::memory::Chunk;
use super::query::Snapshot;
use super::scan::{Run, read_rows, select};
use super::schema::{APPLICATION, ColumnSet, LEVEL, SOURCE, TIMESTAMP, TypedColumn};
use super::tally::{MINUTE_MICROS, Tally, ValueCounts, add_to};
use super::wanted::{Wanted, metadata_columns};
use crate::store::{Counts, FacetField, Facets, Histogram, QueryError, Stop};

/// A histogram whose interval is left open has at most this many buckets: what a chart of a screen's width can show.
const BUCKETS_MAX: i64 = 200;
/// A histogram whose interval is given may have more, per thread: a second of each hour of ten years.
const BUCKETS_GIVEN_MAX: usize = 100_000;
/// What they take, about, when there are too many.
const BUCKETS_BYTES: usize = BUCKETS_GIVEN_MAX * 80;
/// Distinct values of one facet, per thread: of a field with more, nobody wants to see the commonest.
const VALUES_MAX: usize = 250_000;
/// What a facet's values take, about, when there are too many.
const VALUES_BYTES: usize = VALUES_MAX * 128;
/// Rows that one thread takes at a time: half a row group.
const RUN_ROWS_MAX: usize = 64 * 1024;

pub fn counts(snapshot: &Snapshot, filter: &Filter, stop: &Stop) -> Result<Counts, QueryError> {
    let wanted = Wanted::new(filter, None);
    let mut counts = Counts::default();
    let mut rest = Vec::new();
    let kept = wanted.levels_only();
    for part in parts(snapshot, &wanted) {
        match kept {
            Some(levels) if wanted.encloses(part.first(), part.last()) => {
                levels.iter().for_each(|level| counts.levels[level.index()] += part.counts().levels[level.index()]);
            }
            _ => rest.push(part),
        }
    }
    counts.add(&fold(&rest, &wanted, &ByLevel, stop)?);
    Ok(counts)
}

/// `interval_seconds` of `None` chooses one.
pub fn histogram(
    snapshot: &Snapshot,
    filter: &Filter,
    interval_seconds: Option<u64>,
    stop: &Stop,
) -> Result<Histogram, QueryError> {
    let wanted = Wanted::new(filter, None);
    let parts = parts(snapshot, &wanted);
    let interval_seconds = interval_seconds.unwrap_or_else(|| usual_interval(&parts, &wanted)).max(1);
    let interval = i64::try_from(interval_seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    let by_time = ByTime { interval, overflown: AtomicBool::new(false) };
    let mut buckets = Buckets::default();
    let mut rest = Vec::new();
    let kept = wanted.levels_only().filter(|_| interval % MINUTE_MICROS == 0);
    for part in parts {
        stop.check()?;
        let tally = match kept {
            Some(_) if wanted.encloses(part.first(), part.last()) => part.tally()?,
            _ => None,
        };
        match (kept, tally) {
            (Some(levels), Some(tally)) => {
                for (minute, counts) in &tally.minutes {
                    let levels = levels.iter().filter(|level| counts[level.index()] > 0);
                    levels.for_each(|level| {
                        by_time.count(&mut buckets, minute * MINUTE_MICROS, level, counts[level.index()]);
                    });
                }
            }
            _ => rest.push(part),
        }
    }
    by_time.merge(&mut buckets, fold(&rest, &wanted, &by_time, stop)?);
    by_time.end(&mut buckets);
    if by_time.overflown.load(Ordering::Relaxed) {
        return Err(QueryError::Memory { bytes: BUCKETS_BYTES });
    }
    let time = |n: i64| Timestamp::clamped(n.saturating_mul(interval));
    Ok(Histogram { interval_seconds, buckets: buckets.all.into_iter().map(|(n, counts)| (time(n), counts)).collect() })
}

pub fn facets(
    snapshot: &Snapshot,
    filter: &Filter,
    field: &FacetField,
    limit: usize,
    stop: &Stop,
) -> Result<Facets, QueryError> {
    let wanted = Wanted::new(filter, None);
    let mut values = ValueCounts::new();
    if *field == FacetField::Level {
        let counts = counts(snapshot, filter, stop)?;
        for level in Level::ALL.into_iter().filter(|level| counts.levels[level.index()] > 0) {
            values.insert(level.as_str().as_bytes().to_vec(), counts.levels[level.index()]);
        }
        return Ok(most_frequent(values, limit));
    }
    let mut rest = Vec::new();
    for part in parts(snapshot, &wanted) {
        stop.check()?;
        let whole = wanted.is_time_only() && wanted.encloses(part.first(), part.last());
        let kept = match field {
            FacetField::Source if whole => part.tally()?.and_then(|tally| tally.sources.as_ref()),
            FacetField::Application if whole => part.tally()?.and_then(|tally| tally.applications.as_ref()),
            _ => None,
        };
        match kept {
            Some(kept) => kept.iter().for_each(|(value, count)| add_to(&mut values, value, *count)),
            None => rest.push(part),
        }
    }
    let by_value = ByValue::new(field);
    by_value.merge(&mut values, fold(&rest, &wanted, &by_value, stop)?);
    if by_value.overflown.load(Ordering::Relaxed) {
        return Err(QueryError::Memory { bytes: VALUES_BYTES });
    }
    Ok(most_frequent(values, limit))
}

fn most_frequent(values: ValueCounts, limit: usize) -> Facets {
    let mut values: Vec<(Vec<u8>, u64)> = values.into_iter().collect();
    values.sort_unstable_by(|(a, n), (b, m)| m.cmp(n).then_with(|| a.cmp(b)));
    let other = values.iter().skip(limit).map(|(_, count)| count).sum();
    values.truncate(limit);
    let text = |(value, count): (Vec<u8>, u64)| (String::from_utf8_lossy(&value).into_owned(), count);
    Facets { values: values.into_iter().map(text).collect(), other }
}

/// The shortest of the usual intervals that makes at most [`BUCKETS_MAX`] buckets of all that may be wanted.
fn usual_interval(parts: &[Part<'_>], wanted: &Wanted) -> u64 {
    const USUAL_SECONDS: [u64; 14] = [1, 5, 10, 30, 60, 300, 600, 900, 1800, 3600, 10_800, 21_600, 43_200, 86_400];
    let (low, high) = wanted.span();
    let first = parts.iter().map(Part::first).min().unwrap_or(Timestamp::MIN).max(low);
    let last = parts.iter().map(Part::last).max().unwrap_or(Timestamp::MIN).min(high);
    let seconds = (last.as_micros() - first.as_micros()).max(0) / 1_000_000 + 1;
    // The first bucket begins before the span, and the last one ends after it.
    USUAL_SECONDS.into_iter().find(|&usual| seconds / usual as i64 + 2 <= BUCKETS_MAX).unwrap_or(86_400)
}

/// A piece of the store that knows its bounds and its counts.
#[derive(Clone, Copy)]
enum Part<'a> {
    Chunk(&'a Chunk),
    File(&'a DataFile),
}

impl<'a> Part<'a> {
    fn first(&self) -> Timestamp {
        match self {
            Part::Chunk(chunk) => chunk.first,
            Part::File(file) => file.entry.first,
        }
    }

    fn last(&self) -> Timestamp {
        match self {
            Part::Chunk(chunk) => chunk.last,
            Part::File(file) => file.entry.last,
        }
    }

    fn counts(&self) -> &'a Counts {
        match self {
            Part::Chunk(chunk) => &chunk.counts,
            Part::File(file) => &file.entry.counts,
        }
    }

    /// The counts that are kept, if any are.
    fn tally(&self) -> Result<Option<&'a Tally>, QueryError> {
        match self {
            Part::Chunk(chunk) => Ok(Some(chunk.tally())),
            Part::File(file) => file.tally(),
        }
    }
}

/// What may hold a wanted row.
fn parts<'a>(snapshot: &'a Snapshot, wanted: &Wanted) -> Vec<Part<'a>> {
    let chunks = snapshot.chunks.iter().map(|chunk| Part::Chunk(chunk));
    let parts = chunks.chain(snapshot.files.iter().map(|file| Part::File(file)));
    parts.filter(|part| wanted.overlaps(part.first(), part.last())).collect()
}

/// A sum over rows, in any order.
trait Aggregate: Sync {
    type Sum: Default + Send;

    /// The columns that [`add`](Aggregate::add) asks for.
    fn columns(&self, typed: &[TypedColumn]) -> ColumnSet;
    fn add(&self, sum: &mut Self::Sum, row: &impl Columns);
    fn merge(&self, sum: &mut Self::Sum, more: Self::Sum);
}

/// The sum over the wanted rows of `parts`.
fn fold<A: Aggregate>(parts: &[Part<'_>], wanted: &Wanted, sum: &A, stop: &Stop) -> Result<A::Sum, QueryError> {
    let needles = Needles::new(&wanted.expr);
    let mut runs = Vec::new();
    for part in parts {
        match part {
            Part::Chunk(chunk) => runs.push(Piece::Chunk(chunk)),
            Part::File(file) => push_runs(file, wanted, needles.as_ref(), &mut runs)?,
        }
    }
    let add_piece = |mut total: A::Sum, piece: &Piece<'_>| {
        stop.check()?;
        match piece {
            Piece::Chunk(chunk) => {
                chunk.rows().filter(|row| wanted.matches(row)).for_each(|row| sum.add(&mut total, &row));
            }
            Piece::Run(file, run) => {
                let ranges = select(file, run, wanted, stop)?;
                if !ranges.is_empty() {
                    let columns = sum.columns(file.typed()?);
                    read_rows(file, run.group, &ranges, columns, &mut |row| sum.add(&mut total, row))?;
                }
            }
        }
        Ok(total)
    };
    let merge = |mut total: A::Sum, more: A::Sum| {
        sum.merge(&mut total, more);
        Ok(total)
    };
    runs.par_iter().try_fold(A::Sum::default, add_piece).try_reduce(A::Sum::default, merge)
}

enum Piece<'a> {
    Chunk(&'a Chunk),
    Run(&'a DataFile, Run),
}

fn push_runs<'a>(
    file: &'a DataFile,
    wanted: &Wanted,
    needles: Option<&Needles<'_>>,
    runs: &mut Vec<Piece<'a>>,
) -> Result<(), QueryError> {
    if !file.may_hold(wanted)? {
        return Ok(());
    }
    for group in 0..file.groups()? {
        let (first, last) = file.group_span(group)?;
        if !wanted.overlaps(first, last) {
            continue;
        }
        let mut open: Option<Run> = None;
        let pages = file.pages_that_may_match(group, needles)?;
        for page in pages.iter().filter(|page| wanted.overlaps(page.first, page.last)) {
            let run = Run::new(page, wanted);
            match &mut open {
                Some(open) if open.rows() + run.rows() <= RUN_ROWS_MAX => open.join(run),
                _ => runs.extend(open.replace(run).map(|run| Piece::Run(file, run))),
            }
        }
        runs.extend(open.map(|run| Piece::Run(file, run)));
    }
    Ok(())
}

struct ByLevel;

impl Aggregate for ByLevel {
    type Sum = Counts;

    fn columns(&self, _: &[TypedColumn]) -> ColumnSet {
        ColumnSet::of(&[LEVEL])
    }

    fn add(&self, sum: &mut Counts, row: &impl Columns) {
        sum.levels[row.level().index()] += 1;
    }

    fn merge(&self, sum: &mut Counts, more: Counts) {
        sum.add(&more);
    }
}

struct ByTime {
    /// In µs.
    interval: i64,
    /// Whether there were too many buckets: they are then no longer counted.
    overflown: AtomicBool,
}

/// Counts per interval; rows come nearly in order, so that the open bucket is nearly always the right one.
#[derive(Default)]
struct Buckets {
    all: BTreeMap<i64, Counts>,
    open: i64,
    counts: Counts,
}

impl ByTime {
    fn count(&self, sum: &mut Buckets, micros: i64, level: Level, count: u64) {
        let bucket = micros.div_euclid(self.interval);
        if bucket != sum.open {
            self.end(sum);
            sum.open = bucket;
        }
        sum.counts.levels[level.index()] += count;
    }

    /// Closes the open bucket.
    fn end(&self, sum: &mut Buckets) {
        let counts = std::mem::take(&mut sum.counts);
        if counts.total() > 0 {
            self.put(sum, sum.open, &counts);
        }
    }

    fn put(&self, sum: &mut Buckets, bucket: i64, counts: &Counts) {
        if sum.all.len() > BUCKETS_GIVEN_MAX {
            self.overflown.store(true, Ordering::Relaxed);
            return;
        }
        sum.all.entry(bucket).or_default().add(counts);
    }
}

impl Aggregate for ByTime {
    type Sum = Buckets;

    fn columns(&self, _: &[TypedColumn]) -> ColumnSet {
        ColumnSet::of(&[TIMESTAMP, LEVEL])
    }

    fn add(&self, sum: &mut Buckets, row: &impl Columns) {
        self.count(sum, row.timestamp().as_micros(), row.level(), 1);
    }

    fn merge(&self, sum: &mut Buckets, mut more: Buckets) {
        self.end(&mut more);
        for (bucket, counts) in more.all {
            self.put(sum, bucket, &counts);
        }
    }
}

struct ByValue<'a> {
    field: &'a FacetField,
    path: MetaPath,
    /// Whether there were too many values: they are then no longer counted.
    overflown: AtomicBool,
}

impl<'a> ByValue<'a> {
    fn new(field: &'a FacetField) -> ByValue<'a> {
        let path = match field {
            FacetField::Metadata(key) => MetaPath::new(key),
            FacetField::Level | FacetField::Source | FacetField::Application => MetaPath::new(""),
        };
        ByValue { field, path, overflown: AtomicBool::new(false) }
    }
}

impl Aggregate for ByValue<'_> {
    type Sum = ValueCounts;

    fn columns(&self, typed: &[TypedColumn]) -> ColumnSet {
        match self.field {
            FacetField::Level => ColumnSet::of(&[LEVEL]),
            FacetField::Source => ColumnSet::of(&[SOURCE]),
            FacetField::Application => ColumnSet::of(&[APPLICATION]),
            FacetField::Metadata(key) => metadata_columns(key, typed),
        }
    }

    fn add(&self, sum: &mut ValueCounts, row: &impl Columns) {
        if sum.len() > VALUES_MAX {
            self.overflown.store(true, Ordering::Relaxed);
            return;
        }
        match self.field {
            FacetField::Level => add_to(sum, row.level().as_str().as_bytes(), 1),
            FacetField::Source => add_to(sum, row.source(), 1),
            FacetField::Application => add_to(sum, row.application(), 1),
            FacetField::Metadata(_) => {
                let value = row.metadata_value(&self.path).filter(|value| !matches!(value, MetaValue::Null));
                if let Some(text) = value.as_ref().and_then(MetaValue::text) {
                    add_to(sum, &text, 1);
                }
            }
        }
    }

    fn merge(&self, sum: &mut ValueCounts, more: ValueCounts) {
        if sum.len() > VALUES_MAX {
            self.overflown.store(true, Ordering::Relaxed);
            return;
        }
        more.iter().for_each(|(value, count)| add_to(sum, value, *count));
    }
}
