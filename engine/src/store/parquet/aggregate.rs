//! Counts, histograms and facets: from kept counts wherever they say enough, else from the rows, in parallel.
//!
//! Past 500 lines: three aggregates, and the one way of folding files and memory that they share.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;
use record::filter::{Columns, LevelSet, MetaPath, MetaValue};
use record::{Filter, Level, Timestamp};

use super::file::DataFile;
use super::grams::Needles;
use super::memory::Chunk;
use super::query::Snapshot;
use super::scan::{Run, read_listed, read_rows, select};
use super::schema::{APPLICATION, ColumnSet, LEVEL, SOURCE, TIMESTAMP, TypedColumn};
use super::tally::{MINUTE_MICROS, Tally, ValueCounts, add_to};
use super::view::ViewRow;
use super::wanted::{Wanted, metadata_columns};
use crate::store::{Counts, FacetField, Facets, Histogram, QueryError, ReadStats, Stop};

/// A histogram whose interval is left open has at most this many buckets: what a chart of a screen's width can show.
const BUCKETS_MAX: i64 = 200;
/// What a bucket of a histogram whose interval is given takes, about: `query_bytes_max` says how many there may be.
const BUCKET_BYTES: usize = 80;
/// What a value of a facet takes, about.
const VALUE_BYTES: usize = 256;
/// Rows that one thread takes at a time: half a row group.
const RUN_ROWS_MAX: usize = 64 * 1024;
/// Pages that an interval of a histogram must be as long as for their times to be left unread: runs of fewer rows cost
/// more to begin than is saved.
const PAGES_OF_BUCKET_MIN: i64 = 16;

pub fn counts(snapshot: &Snapshot, filter: &Filter, stop: &Stop) -> Result<Counts, QueryError> {
    let skipped = Skipped::new(snapshot, stop);
    let wanted = Wanted::new(filter, None).since(snapshot.oldest);
    let mut counts = Counts::default();
    let (mut rest, mut cut) = (Vec::new(), Vec::new());
    let kept = wanted.levels_and_sources_only();
    let minutes = kept.and_then(|_| Minutes::new(filter, &wanted, snapshot.oldest));
    let parts = parts(snapshot, &wanted);
    if kept.is_some_and(|(_, sources)| sources.is_some()) {
        tally_chunks(&parts);
    }
    for part in parts {
        let is_whole = wanted.encloses(part.first(), part.last());
        if let (Some(levels), true) = (wanted.levels_only(), is_whole) {
            levels.iter().for_each(|level| counts.levels[level.index()] += part.counts().levels[level.index()]);
            continue;
        }
        let mut add = |_, level: Level, count| counts.levels[level.index()] += count;
        match whole_minutes(part, is_whole, &minutes, kept, &mut add)? {
            true if is_whole => {}
            true => cut.push(part),
            false => rest.push(part),
        }
    }
    counts.add(&fold(&rest, &wanted, &ByLevel, stop)?);
    for end in minutes.iter().flat_map(|minutes| &minutes.ends) {
        counts.add(&fold(&overlapping(&cut, end), end, &ByLevel, stop)?);
    }
    skipped.tell();
    Ok(counts)
}

/// `interval_seconds` of `None` chooses one.
pub fn histogram(
    snapshot: &Snapshot,
    filter: &Filter,
    interval_seconds: Option<u64>,
    stop: &Stop,
) -> Result<Histogram, QueryError> {
    let skipped = Skipped::new(snapshot, stop);
    let wanted = Wanted::new(filter, None).since(snapshot.oldest);
    let parts = parts(snapshot, &wanted);
    let interval_seconds = interval_seconds.unwrap_or_else(|| usual_interval(&parts, &wanted)).max(1);
    let interval = i64::try_from(interval_seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    let buckets_max = snapshot.bytes_max / BUCKET_BYTES;
    let by_time = ByTime { interval, buckets_max, overflown: AtomicBool::new(false) };
    let mut buckets = Buckets::default();
    let (mut rest, mut cut) = (Vec::new(), Vec::new());
    let kept = wanted.levels_and_sources_only().filter(|_| interval % MINUTE_MICROS == 0);
    let minutes = kept.and_then(|_| Minutes::new(filter, &wanted, snapshot.oldest));
    if kept.is_some_and(|(_, sources)| sources.is_some()) {
        tally_chunks(&parts);
    }
    for part in parts {
        stop.check()?;
        let is_whole = wanted.encloses(part.first(), part.last());
        let mut add = |minute, level, count| by_time.count(&mut buckets, minute * MINUTE_MICROS, level, count);
        match whole_minutes(part, is_whole, &minutes, kept, &mut add)? {
            true if is_whole => {}
            true => cut.push(part),
            false => rest.push(part),
        }
    }
    by_time.merge(&mut buckets, fold(&rest, &wanted, &by_time, stop)?);
    for end in minutes.iter().flat_map(|minutes| &minutes.ends) {
        by_time.merge(&mut buckets, fold(&overlapping(&cut, end), end, &by_time, stop)?);
    }
    by_time.end(&mut buckets);
    if by_time.overflown.load(Ordering::Relaxed) {
        return Err(QueryError::Memory { bytes: snapshot.bytes_max });
    }
    skipped.tell();
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
    let skipped = Skipped::new(snapshot, stop);
    let wanted = Wanted::new(filter, None).since(snapshot.oldest);
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
    let by_value = ByValue::new(field, snapshot.bytes_max / VALUE_BYTES);
    by_value.merge(&mut values, fold(&rest, &wanted, &by_value, stop)?);
    if by_value.overflown.load(Ordering::Relaxed) {
        return Err(QueryError::Memory { bytes: snapshot.bytes_max });
    }
    skipped.tell();
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

/// What of the wanted time is whole minutes, of which counts are kept, and what is left at either end.
struct Minutes {
    /// Since 1970.
    whole: Range<i64>,
    ends: Vec<Wanted>,
}

impl Minutes {
    /// `None` where there is no whole minute.
    fn new(filter: &Filter, wanted: &Wanted, oldest: Option<Timestamp>) -> Option<Minutes> {
        let (low, high) = wanted.span();
        let start = (low.as_micros() + MINUTE_MICROS - 1).div_euclid(MINUTE_MICROS);
        let end = if wanted.has_end() { high.as_micros().div_euclid(MINUTE_MICROS) } else { i64::MAX };
        if start >= end {
            return None;
        }
        let mut ends = Vec::new();
        if start * MINUTE_MICROS != low.as_micros() {
            let to = Some(Timestamp::clamped(start * MINUTE_MICROS));
            ends.push(Wanted::new(&Filter { to, ..filter.clone() }, None).since(oldest));
        }
        if wanted.has_end() && end * MINUTE_MICROS != high.as_micros() {
            let from = Some(Timestamp::clamped(end * MINUTE_MICROS));
            ends.push(Wanted::new(&Filter { from, ..filter.clone() }, None).since(oldest));
        }
        Some(Minutes { whole: start..end, ends })
    }
}

fn minute_of(time: Timestamp) -> i64 {
    time.as_micros().div_euclid(MINUTE_MICROS)
}

/// Counts the rows of all chunks, those that are not counted yet, so that they need not be one after another.
fn tally_chunks(parts: &[Part<'_>]) {
    parts.par_iter().for_each(|part| {
        if let Part::Chunk(chunk) = part {
            chunk.tally();
        }
    });
}

/// Hands on what is kept of a part's wanted minutes, by minute and level; false where that is nothing. Of a part that is
/// not wanted as a whole, the rows at the ends are still to be read.
fn whole_minutes(
    part: Part<'_>,
    is_whole: bool,
    minutes: &Option<Minutes>,
    kept: Option<(LevelSet, Option<&[String]>)>,
    add: &mut dyn FnMut(i64, Level, u64),
) -> Result<bool, QueryError> {
    let whole = match (minutes, part) {
        _ if is_whole => i64::MIN..i64::MAX,
        (Some(minutes), Part::File(_)) => minutes.whole.clone(),
        // Rows of a chunk are soon looked at.
        _ => return Ok(false),
    };
    let Some((levels, sources)) = kept else { return Ok(false) };
    // A chunk of one minute need not be counted: under a flood nearly all are.
    if let (Part::Chunk(chunk), None) = (part, sources)
        && minute_of(chunk.first) == minute_of(chunk.last)
    {
        for level in levels.iter().filter(|level| chunk.counts.levels[level.index()] > 0) {
            add(minute_of(chunk.first), level, chunk.counts.levels[level.index()]);
        }
        return Ok(true);
    }
    let Some(tally) = part.tally()? else { return Ok(false) };
    Ok(tally.visit(whole, sources, &mut |minute, level, count| {
        if count > 0 && levels.contains(level) {
            add(minute, level, count);
        }
    }))
}

/// Tells how many files an answer did without, once it is there.
struct Skipped<'a> {
    files: u64,
    read_before: u64,
    stop: &'a Stop,
}

impl<'a> Skipped<'a> {
    fn new(snapshot: &Snapshot, stop: &'a Stop) -> Skipped<'a> {
        Skipped { files: snapshot.files.len() as u64, read_before: stop.read().files_read, stop }
    }

    fn tell(&self) {
        let read = self.stop.read().files_read - self.read_before;
        self.stop.add_read(&ReadStats { files_skipped: self.files.saturating_sub(read), ..ReadStats::default() });
    }
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

/// Those of some parts that may hold a wanted row.
fn overlapping<'a>(parts: &[Part<'a>], wanted: &Wanted) -> Vec<Part<'a>> {
    parts.iter().filter(|part| wanted.overlaps(part.first(), part.last())).copied().collect()
}

/// A sum over rows, in any order.
trait Aggregate: Sync {
    type Sum: Default + Send;

    /// Whether rows with times in one bucket are alike, and how long buckets are, in µs: rows of pages that lie in one
    /// are then not asked for theirs.
    fn bucket_micros(&self) -> Option<i64> {
        None
    }

    /// The columns that [`add`](Aggregate::add) asks for, where the bucket is known or not.
    fn columns(&self, typed: &[TypedColumn], bucket: Option<i64>) -> ColumnSet;
    fn add(&self, sum: &mut Self::Sum, row: &impl Columns, bucket: Option<i64>);
    fn merge(&self, sum: &mut Self::Sum, more: Self::Sum);
}

/// The sum over the wanted rows of `parts`.
fn fold<A: Aggregate>(parts: &[Part<'_>], wanted: &Wanted, sum: &A, stop: &Stop) -> Result<A::Sum, QueryError> {
    let needles = Needles::new(&wanted.expr);
    let mut pieces = Vec::new();
    let mut read = ReadStats::default();
    for part in parts {
        match part {
            Part::Chunk(chunk) => {
                read.rows_read += chunk.rows;
                pieces.push(Piece::Chunk(chunk));
            }
            Part::File(file) => {
                let before = pieces.len();
                push_runs(file, wanted, needles.as_ref(), sum.bucket_micros(), &mut pieces, &mut read)?;
                read.files_read += u64::from(pieces.len() > before);
            }
        }
    }
    stop.add_read(&read);
    let add_piece = |mut total: A::Sum, piece: &Piece<'_>| {
        stop.check()?;
        match piece {
            Piece::Chunk(chunk) => {
                chunk.rows().filter(|row| wanted.matches(row)).for_each(|row| sum.add(&mut total, &row, None));
            }
            Piece::Run { file, run, bucket } => {
                let columns = sum.columns(file.typed()?, *bucket);
                let mut add = |row: &ViewRow<'_>| sum.add(&mut total, row, *bucket);
                if run.enclosed && wanted.expr.is_everything() && columns.is_cheap() {
                    read_listed(file, run, wanted, columns, stop, &mut add)?;
                } else {
                    let ranges = select(file, run, wanted, stop)?;
                    if !ranges.is_empty() {
                        read_rows(file, run.group, &ranges, columns, &mut add)?;
                    }
                }
            }
        }
        Ok(total)
    };
    let merge = |mut total: A::Sum, more: A::Sum| {
        sum.merge(&mut total, more);
        Ok(total)
    };
    pieces.par_iter().try_fold(A::Sum::default, add_piece).try_reduce(A::Sum::default, merge)
}

enum Piece<'a> {
    Chunk(&'a Chunk),
    /// With the bucket that all its rows are in, where that is known.
    Run {
        file: &'a DataFile,
        run: Run,
        bucket: Option<i64>,
    },
}

fn push_runs<'a>(
    file: &'a DataFile,
    wanted: &Wanted,
    needles: Option<&Needles<'_>>,
    bucket_micros: Option<i64>,
    pieces: &mut Vec<Piece<'a>>,
    read: &mut ReadStats,
) -> Result<(), QueryError> {
    if !file.may_hold(wanted)? {
        return Ok(());
    }
    let minutes = file.wanted_minutes(wanted)?;
    for group in 0..file.groups()? {
        if !file.group_may_hold(group, wanted, minutes.as_deref())? {
            read.groups_skipped += 1;
            continue;
        }
        read.groups_read += 1;
        let mut open: Option<(Run, Option<i64>)> = None;
        let mut close = |open: Option<(Run, Option<i64>)>| {
            pieces.extend(open.map(|(run, bucket)| {
                read.rows_read += run.rows() as u64;
                Piece::Run { file, run, bucket }
            }));
        };
        let pages = file.pages_that_may_match(group, wanted, minutes.as_deref(), needles)?;
        let (first, last) = file.group_span(group)?;
        let page_micros = (last.as_micros() - first.as_micros()) / pages.len().max(1) as i64;
        let bucket_micros = bucket_micros.filter(|micros| page_micros * PAGES_OF_BUCKET_MIN <= *micros);
        for page in &pages {
            let run = Run::new(page, wanted);
            let bucket_of = |time: Timestamp, micros: i64| time.as_micros().div_euclid(micros);
            let bucket = bucket_micros
                .filter(|&micros| bucket_of(page.first, micros) == bucket_of(page.last, micros))
                .map(|micros| bucket_of(page.first, micros));
            match &mut open {
                Some((open, of)) if *of == bucket && open.rows() + run.rows() <= RUN_ROWS_MAX => open.join(run),
                _ => close(open.replace((run, bucket))),
            }
        }
        close(open);
    }
    Ok(())
}

struct ByLevel;

impl Aggregate for ByLevel {
    type Sum = Counts;

    fn columns(&self, _: &[TypedColumn], _: Option<i64>) -> ColumnSet {
        ColumnSet::of(&[LEVEL])
    }

    fn add(&self, sum: &mut Counts, row: &impl Columns, _: Option<i64>) {
        sum.levels[row.level().index()] += 1;
    }

    fn merge(&self, sum: &mut Counts, more: Counts) {
        sum.add(&more);
    }
}

struct ByTime {
    /// In µs.
    interval: i64,
    buckets_max: usize,
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
        self.count_in(sum, micros.div_euclid(self.interval), level, count);
    }

    fn count_in(&self, sum: &mut Buckets, bucket: i64, level: Level, count: u64) {
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
        if sum.all.len() > self.buckets_max {
            self.overflown.store(true, Ordering::Relaxed);
            return;
        }
        sum.all.entry(bucket).or_default().add(counts);
    }
}

impl Aggregate for ByTime {
    type Sum = Buckets;

    fn bucket_micros(&self) -> Option<i64> {
        Some(self.interval)
    }

    fn columns(&self, _: &[TypedColumn], bucket: Option<i64>) -> ColumnSet {
        ColumnSet::of(if bucket.is_some() { &[LEVEL] } else { &[TIMESTAMP, LEVEL] })
    }

    fn add(&self, sum: &mut Buckets, row: &impl Columns, bucket: Option<i64>) {
        match bucket {
            Some(bucket) => self.count_in(sum, bucket, row.level(), 1),
            None => self.count(sum, row.timestamp().as_micros(), row.level(), 1),
        }
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
    values_max: usize,
    /// Whether there were too many values: they are then no longer counted.
    overflown: AtomicBool,
}

impl<'a> ByValue<'a> {
    fn new(field: &'a FacetField, values_max: usize) -> ByValue<'a> {
        let path = match field {
            FacetField::Metadata(key) => MetaPath::new(key),
            FacetField::Level | FacetField::Source | FacetField::Application => MetaPath::new(""),
        };
        ByValue { field, path, values_max, overflown: AtomicBool::new(false) }
    }
}

impl Aggregate for ByValue<'_> {
    type Sum = ValueCounts;

    fn columns(&self, typed: &[TypedColumn], _: Option<i64>) -> ColumnSet {
        match self.field {
            FacetField::Level => ColumnSet::of(&[LEVEL]),
            FacetField::Source => ColumnSet::of(&[SOURCE]),
            FacetField::Application => ColumnSet::of(&[APPLICATION]),
            FacetField::Metadata(key) => metadata_columns(key, typed),
        }
    }

    fn add(&self, sum: &mut ValueCounts, row: &impl Columns, _: Option<i64>) {
        if sum.len() > self.values_max {
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
        if sum.len() > self.values_max {
            self.overflown.store(true, Ordering::Relaxed);
            return;
        }
        more.iter().for_each(|(value, count)| add_to(sum, value, *count));
    }
}
