//! Queries: one snapshot, newest first.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use record::filter::{MetaPath, MetaValue};
use record::{Filter, Id, Level, Row, Timestamp};

use super::file::DataFile;
use super::memory::Chunk;
use super::newest::{Keep, Nearest};
use super::tally::{MINUTE_MICROS, Tally, ValueCounts, add_to};
use super::wanted::{Wanted, levels_only};
use crate::store::{
    ContextRows, Counts, FacetField, Facets, Histogram, Page, Position, QueryError, ReadStats, RowBuf, Stop,
};

/// A histogram whose interval is left open has at most this many buckets: what a chart of a screen's width can show.
const BUCKETS_MAX: i64 = 200;

/// What there is at one moment: no later row or file enters it.
pub struct Snapshot {
    pub chunks: Vec<Arc<Chunk>>,
    pub files: Arc<Vec<Arc<DataFile>>>,
}

/// A piece of the store that knows its bounds.
#[derive(Clone, Copy)]
enum Part<'a> {
    Chunk(&'a Chunk),
    File(&'a DataFile),
}

impl Snapshot {
    pub fn page(
        &self,
        filter: &Filter,
        limit: usize,
        start: Option<Position>,
        stop: &Stop,
    ) -> Result<Page, QueryError> {
        let wanted = Wanted::new(filter, start);
        // One more than asked for tells whether there is another page.
        let mut newest = Nearest::new(Keep::Newest, limit.saturating_add(1));
        let read = self.nearest(&wanted, &mut newest, stop)?;
        let (rows, last) = newest.into_page(limit);
        Ok(Page { rows, next: last.map(Position), read })
    }

    pub fn get(&self, id: Id, stop: &Stop) -> Result<Option<RowBuf>, QueryError> {
        let mut found = Nearest::new(Keep::Newest, 1);
        self.nearest(&Wanted::one(id), &mut found, stop)?;
        let (rows, _) = found.into_page(1);
        Ok((rows.count > 0).then_some(rows))
    }

    pub fn context(&self, id: Id, before: usize, after: usize, stop: &Stop) -> Result<Option<ContextRows>, QueryError> {
        let Some(log) = self.get(id, stop)? else { return Ok(None) };
        let source = match log.rows().next() {
            Some(row) => String::from_utf8_lossy(row.source()).into_owned(),
            None => return Ok(None),
        };
        let mut older = Nearest::new(Keep::Newest, before);
        self.nearest(&Wanted::older_from(id, &source), &mut older, stop)?;
        let mut newer = Nearest::new(Keep::Oldest, after);
        self.nearest(&Wanted::newer_from(id, &source), &mut newer, stop)?;
        let (newest_first, _) = older.into_page(before);
        let mut rows: Vec<Row<'_>> = newest_first.rows().collect();
        rows.reverse();
        let mut before = RowBuf::default();
        for row in rows {
            before.push(&row);
        }
        Ok(Some(ContextRows { before, log, after: newer.into_page(after).0 }))
    }

    pub fn counts(&self, filter: &Filter, stop: &Stop) -> Result<Counts, QueryError> {
        let wanted = Wanted::new(filter, None);
        let mut counts = Counts::default();
        let mut rest = Vec::new();
        let kept = levels_only(filter);
        for part in self.parts(&wanted) {
            match kept {
                Some(levels) if wanted.encloses(part.first(), part.last()) => {
                    levels.iter().for_each(|level| counts.levels[level.index()] += part.counts().levels[level.index()]);
                }
                _ => rest.push(part),
            }
        }
        self.each(rest, &wanted, stop, &mut |row| counts.levels[row.level().index()] += 1)?;
        Ok(counts)
    }

    pub fn histogram(
        &self,
        filter: &Filter,
        interval_seconds: Option<u64>,
        stop: &Stop,
    ) -> Result<Histogram, QueryError> {
        let wanted = Wanted::new(filter, None);
        let interval_seconds = interval_seconds.unwrap_or_else(|| self.interval(&wanted)).max(1);
        let interval = i64::try_from(interval_seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        let mut buckets: BTreeMap<i64, Counts> = BTreeMap::new();
        let mut add = |micros: i64, level: usize, count: u64| {
            buckets.entry(micros.div_euclid(interval)).or_default().levels[level] += count;
        };
        let kept = levels_only(filter).filter(|_| interval % MINUTE_MICROS == 0);
        let mut rest = Vec::new();
        for part in self.parts(&wanted) {
            stop.check()?;
            match (kept, part.tally()?) {
                (Some(wanted_levels), Some(tally)) if wanted.encloses(part.first(), part.last()) => {
                    for (minute, levels) in &tally.minutes {
                        wanted_levels
                            .iter()
                            .filter(|level| levels[level.index()] > 0)
                            .for_each(|level| add(minute * MINUTE_MICROS, level.index(), levels[level.index()]));
                    }
                }
                _ => rest.push(part),
            }
        }
        self.each(rest, &wanted, stop, &mut |row| add(row.timestamp().as_micros(), row.level().index(), 1))?;
        let buckets =
            buckets.into_iter().map(|(n, counts)| (Timestamp::clamped(n.saturating_mul(interval)), counts)).collect();
        Ok(Histogram { interval_seconds, buckets })
    }

    pub fn facets(&self, filter: &Filter, field: &FacetField, limit: usize, stop: &Stop) -> Result<Facets, QueryError> {
        let wanted = Wanted::new(filter, None);
        let mut values = ValueCounts::new();
        if *field == FacetField::Level {
            let counts = self.counts(filter, stop)?;
            for level in Level::ALL.into_iter().filter(|level| counts.levels[level.index()] > 0) {
                values.insert(level.as_str().as_bytes().to_vec(), counts.levels[level.index()]);
            }
            return Ok(most_frequent(values, limit));
        }
        let mut rest = Vec::new();
        for part in self.parts(&wanted) {
            stop.check()?;
            let whole = wanted.is_time_only() && wanted.encloses(part.first(), part.last());
            let kept = match field {
                _ if !whole => None,
                FacetField::Source => part.tally()?.and_then(|tally| tally.sources.as_ref()),
                FacetField::Application => part.tally()?.and_then(|tally| tally.applications.as_ref()),
                FacetField::Level | FacetField::Metadata(_) => None,
            };
            match kept {
                Some(kept) => kept.iter().for_each(|(value, count)| add_to(&mut values, value, *count)),
                None => rest.push(part),
            }
        }
        let path = match field {
            FacetField::Metadata(key) => MetaPath::new(key),
            _ => MetaPath::new(""),
        };
        self.each(rest, &wanted, stop, &mut |row| match field {
            FacetField::Level => {}
            FacetField::Source => add_to(&mut values, row.source(), 1),
            FacetField::Application => add_to(&mut values, row.application(), 1),
            FacetField::Metadata(_) => {
                let value = path.find(row.metadata()).filter(|value| !matches!(value, MetaValue::Null));
                if let Some(text) = value.as_ref().and_then(MetaValue::text) {
                    add_to(&mut values, &text, 1);
                }
            }
        })?;
        Ok(most_frequent(values, limit))
    }

    /// What may hold a wanted row.
    fn parts<'a>(&'a self, wanted: &Wanted) -> Vec<Part<'a>> {
        let chunks = self.chunks.iter().map(|chunk| Part::Chunk(chunk));
        let parts = chunks.chain(self.files.iter().map(|file| Part::File(file)));
        parts.filter(|part| wanted.overlaps(part.first(), part.last())).collect()
    }

    /// Offers every wanted row that might stay, the likeliest parts first.
    fn nearest(&self, wanted: &Wanted, nearest: &mut Nearest, stop: &Stop) -> Result<ReadStats, QueryError> {
        let mut read = ReadStats::default();
        let mut parts = self.parts(wanted);
        let files = |parts: &[Part<'_>]| parts.iter().filter(|part| matches!(part, Part::File(_))).count() as u64;
        read.files_skipped = self.files.len() as u64 - files(&parts);
        match nearest.keep() {
            Keep::Newest => parts.sort_by_key(|part| Reverse(part.last())),
            Keep::Oldest => parts.sort_by_key(|part| part.first()),
        }
        for (at, part) in parts.iter().enumerate() {
            if !nearest.takes_within(part.first(), part.last()) {
                read.files_skipped += files(&parts[at..]);
                break;
            }
            stop.check()?;
            match part {
                Part::Chunk(chunk) => {
                    read.rows_read += chunk.rows;
                    offer(chunk.rows(), wanted, nearest)?;
                }
                Part::File(file) => nearest_in_file(file, wanted, nearest, &mut read, stop)?,
            }
        }
        Ok(read)
    }

    /// Visits every wanted row of `parts`, in no order.
    fn each(
        &self,
        parts: Vec<Part<'_>>,
        wanted: &Wanted,
        stop: &Stop,
        visit: &mut dyn FnMut(&Row<'_>),
    ) -> Result<(), QueryError> {
        for part in parts {
            stop.check()?;
            match part {
                Part::Chunk(chunk) => chunk.rows().filter(|row| wanted.matches(row)).for_each(|row| visit(&row)),
                Part::File(file) => {
                    for group in 0..file.groups()? {
                        let (first, last) = file.group_span(group)?;
                        if !wanted.overlaps(first, last) {
                            continue;
                        }
                        file.read_group(group, &mut |rows| {
                            rows.rows().filter(|row| wanted.matches(row)).for_each(|row| visit(&row));
                            stop.check()
                        })?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The shortest of the usual intervals that makes at most [`BUCKETS_MAX`] buckets of all that may be wanted.
    fn interval(&self, wanted: &Wanted) -> u64 {
        const USUAL_SECONDS: [u64; 14] = [1, 5, 10, 30, 60, 300, 600, 900, 1800, 3600, 10_800, 21_600, 43_200, 86_400];
        let (first, last) = self.span(wanted);
        let seconds = (last - first).max(0) / 1_000_000 + 1;
        // One bucket more than the span needs, since its first one begins before it.
        USUAL_SECONDS.into_iter().find(|&usual| seconds / usual as i64 + 2 <= BUCKETS_MAX).unwrap_or(86_400)
    }

    /// The time, in µs, within which everything lies that may be wanted.
    fn span(&self, wanted: &Wanted) -> (i64, i64) {
        let parts = self.parts(wanted);
        let first = parts.iter().map(Part::first).min().unwrap_or(Timestamp::MIN);
        let last = parts.iter().map(Part::last).max().unwrap_or(Timestamp::MIN);
        (first.max(wanted.low.timestamp()).as_micros(), last.min(wanted.high_time()).as_micros())
    }
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

fn nearest_in_file(
    file: &DataFile,
    wanted: &Wanted,
    nearest: &mut Nearest,
    read: &mut ReadStats,
    stop: &Stop,
) -> Result<(), QueryError> {
    read.files_read += 1;
    let mut groups: Vec<usize> = (0..file.groups()?).collect();
    if nearest.keep() == Keep::Newest {
        groups.reverse();
    }
    for group in groups {
        let (first, last) = file.group_span(group)?;
        if !wanted.overlaps(first, last) || !nearest.takes_within(first, last) {
            read.groups_skipped += 1;
            continue;
        }
        read.groups_read += 1;
        file.read_group(group, &mut |rows| {
            read.rows_read += rows.count as u64;
            offer(rows.rows(), wanted, nearest)?;
            stop.check()
        })?;
    }
    Ok(())
}

fn offer<'a>(rows: impl Iterator<Item = Row<'a>>, wanted: &Wanted, nearest: &mut Nearest) -> Result<(), QueryError> {
    for row in rows {
        if nearest.takes(row.id()) && wanted.matches(&row) {
            nearest.offer(&row)?;
        }
    }
    Ok(())
}

fn most_frequent(values: ValueCounts, limit: usize) -> Facets {
    let mut values: Vec<(Vec<u8>, u64)> = values.into_iter().collect();
    values.sort_unstable_by(|(a, n), (b, m)| m.cmp(n).then_with(|| a.cmp(b)));
    let other = values.iter().skip(limit).map(|(_, count)| count).sum();
    values.truncate(limit);
    let text = |(value, count): (Vec<u8>, u64)| (String::from_utf8_lossy(&value).into_owned(), count);
    Facets { values: values.into_iter().map(text).collect(), other }
}
