//! Queries: one snapshot, newest first.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use record::{Filter, Id, Level, Row, Timestamp};

use super::memory::Chunk;
use super::newest::{Keep, Nearest};
use super::tally::{MINUTE_MICROS, Tally, ValueCounts, count_value};
use super::wanted::Wanted;
use crate::store::{
    ContextRows, Counts, FacetField, Facets, Histogram, Page, Position, QueryError, ReadStats, RowBuf, Stop,
};

/// A histogram whose interval is left open has at most this many buckets: what a chart of a screen's width can show.
const BUCKETS_MAX: i64 = 200;
/// Rows of an export are handed on in pieces of about this size.
const EXPORT_PIECE_BYTES: usize = 256 << 10;

/// What there is at one moment: no later row or file enters it.
pub struct Snapshot {
    pub chunks: Vec<Arc<Chunk>>,
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
            Some(row) => row.source().to_vec(),
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

    pub fn export(
        &self,
        filter: &Filter,
        stop: &Stop,
        sink: &mut dyn FnMut(&RowBuf) -> bool,
    ) -> Result<(), QueryError> {
        let wanted = Wanted::new(filter, None);
        let mut rows: Vec<(Id, Row<'_>)> = Vec::new();
        for chunk in self.chunks.iter().filter(|chunk| wanted.overlaps(chunk.first, chunk.last)) {
            stop.check()?;
            rows.extend(chunk.rows().filter(|row| wanted.matches(row)).map(|row| (row.id(), row)));
        }
        rows.sort_by_key(|(id, _)| Reverse(*id));
        let mut piece = RowBuf::default();
        for (_, row) in rows {
            piece.push(&row);
            if piece.bytes.len() >= EXPORT_PIECE_BYTES {
                stop.check()?;
                if !sink(&piece) {
                    return Ok(());
                }
                piece = RowBuf::default();
            }
        }
        if piece.count > 0 {
            sink(&piece);
        }
        Ok(())
    }

    pub fn counts(&self, filter: &Filter, stop: &Stop) -> Result<Counts, QueryError> {
        let wanted = Wanted::new(filter, None);
        let mut counts = Counts::default();
        if wanted.is_all() {
            self.chunks.iter().for_each(|chunk| counts.add(&chunk.counts));
            return Ok(counts);
        }
        self.each(&wanted, stop, &mut |row| counts.levels[row.level().index()] += 1)?;
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
        if wanted.is_all() && interval % MINUTE_MICROS == 0 {
            self.each_tally(stop, &mut |tally| {
                for (minute, levels) in &tally.minutes {
                    for level in Level::ALL {
                        add(minute * MINUTE_MICROS, level.index(), levels[level.index()]);
                    }
                }
            })?;
        } else {
            self.each(&wanted, stop, &mut |row| add(row.timestamp().as_micros(), row.level().index(), 1))?;
        }
        let buckets =
            buckets.into_iter().map(|(n, counts)| (Timestamp::clamped(n.saturating_mul(interval)), counts)).collect();
        Ok(Histogram { interval_seconds, buckets })
    }

    pub fn facets(&self, filter: &Filter, field: &FacetField, limit: usize, stop: &Stop) -> Result<Facets, QueryError> {
        let wanted = Wanted::new(filter, None);
        let mut values = ValueCounts::new();
        match field {
            FacetField::Level => {
                let counts = self.counts(filter, stop)?;
                for level in Level::ALL.into_iter().filter(|level| counts.levels[level.index()] > 0) {
                    values.insert(level.as_str().as_bytes().to_vec(), counts.levels[level.index()]);
                }
            }
            FacetField::Source if wanted.is_all() => {
                self.each_tally(stop, &mut |tally| add_values(&mut values, &tally.sources))?;
            }
            FacetField::Application if wanted.is_all() => {
                self.each_tally(stop, &mut |tally| add_values(&mut values, &tally.applications))?;
            }
            FacetField::Source => self.each(&wanted, stop, &mut |row| count_value(&mut values, row.source()))?,
            FacetField::Application => {
                self.each(&wanted, stop, &mut |row| count_value(&mut values, row.application()))?;
            }
            FacetField::Metadata(key) => self.each(&wanted, stop, &mut |row| {
                if let Some(value) = super::wanted::metadata_text(row, key) {
                    count_value(&mut values, &value);
                }
            })?,
        }
        Ok(most_frequent(values, limit))
    }

    /// Offers every wanted row that might stay, the likeliest sources first.
    fn nearest(&self, wanted: &Wanted, nearest: &mut Nearest, stop: &Stop) -> Result<ReadStats, QueryError> {
        let mut read = ReadStats::default();
        let mut chunks: Vec<&Chunk> =
            self.chunks.iter().map(|chunk| &**chunk).filter(|chunk| wanted.overlaps(chunk.first, chunk.last)).collect();
        match nearest.keep() {
            Keep::Newest => chunks.sort_by_key(|chunk| Reverse(chunk.last)),
            Keep::Oldest => chunks.sort_by_key(|chunk| chunk.first),
        }
        for chunk in chunks {
            if !nearest.takes_within(chunk.first, chunk.last) {
                break;
            }
            stop.check()?;
            for row in chunk.rows() {
                read.rows_read += 1;
                if nearest.takes(row.id()) && wanted.matches(&row) {
                    nearest.offer(&row)?;
                }
            }
        }
        Ok(read)
    }

    /// Visits every wanted row, in no order.
    fn each(&self, wanted: &Wanted, stop: &Stop, visit: &mut dyn FnMut(&Row<'_>)) -> Result<(), QueryError> {
        for chunk in self.chunks.iter().filter(|chunk| wanted.overlaps(chunk.first, chunk.last)) {
            stop.check()?;
            chunk.rows().filter(|row| wanted.matches(row)).for_each(|row| visit(&row));
        }
        Ok(())
    }

    fn each_tally(&self, stop: &Stop, visit: &mut dyn FnMut(&Tally)) -> Result<(), QueryError> {
        for chunk in &self.chunks {
            stop.check()?;
            visit(chunk.tally());
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
        let spans = self.chunks.iter().map(|chunk| (chunk.first, chunk.last));
        let (first, last) = spans
            .filter(|&(first, last)| wanted.overlaps(first, last))
            .fold((Timestamp::MAX, Timestamp::MIN), |(a, b), (first, last)| (a.min(first), b.max(last)));
        (first.max(wanted.low.timestamp()).as_micros(), last.min(wanted.high_time()).as_micros())
    }
}

fn add_values(sum: &mut ValueCounts, more: &ValueCounts) {
    for (value, count) in more {
        match sum.get_mut(value) {
            Some(sum) => *sum += count,
            None => {
                sum.insert(value.clone(), *count);
            }
        }
    }
}

fn most_frequent(values: ValueCounts, limit: usize) -> Facets {
    let mut values: Vec<(Vec<u8>, u64)> = values.into_iter().collect();
    values.sort_unstable_by(|(a, n), (b, m)| m.cmp(n).then_with(|| a.cmp(b)));
    let other = values.iter().skip(limit).map(|(_, count)| count).sum();
    values.truncate(limit);
    let text = |(value, count): (Vec<u8>, u64)| (String::from_utf8_lossy(&value).into_owned(), count);
    Facets { values: values.into_iter().map(text).collect(), other }
}
