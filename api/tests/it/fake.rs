//! A store that is a sorted vector, and reads the filter in the plainest way.

use std::sync::{Arc, Condvar, Mutex};

use engine::store::{
    ContextRows, Counts, DeadLetter, DeadLetters, FacetField, Facets, Histogram, LetterPosition, Page, Position,
    QueryError, ReadStats, Reader, RowBuf, Stop,
};
use record::{BatchBuilder, Context, Fields, Filter, Id, IdSource, Level, LogRecord, Row, Rows, Text, Timestamp, Zone};

/// 2025-11-11T16:00:00Z
pub const START: i64 = 1_762_876_800_000_000;

#[derive(Default)]
pub struct Fake {
    /// Encoded rows, newest first.
    pub rows: Vec<Vec<u8>>,
    /// Queries wait here while it is true.
    pub hold: Arc<(Mutex<bool>, Condvar)>,
    /// Pieces that exports have handed out, and how many exports have ended.
    pub exported: Arc<Mutex<(usize, usize)>>,
    /// What every query fails with.
    pub failure: Option<QueryError>,
    /// Newest first.
    pub dead_letters: Vec<DeadLetter>,
}

pub fn batch(records: &[(i64, Level, &str, &str, &str)]) -> record::Batch {
    static ORIGIN: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1 << 40);
    let mut ids = IdSource::new(|| ORIGIN.fetch_add(1 << 30, std::sync::atomic::Ordering::Relaxed));
    let mut builder = BatchBuilder::new(1);
    for (seconds, level, source, message, metadata) in records {
        let mut fields = Fields {
            timestamp: Timestamp::from_micros(START + seconds * 1_000_000),
            level: Some(*level),
            source: Text::from(*source),
            application: Text::from("shop"),
            message: Text::from(*message),
            ..Fields::default()
        };
        fields.meta.merge_object(metadata);
        builder.push(&fields, &Context::new(Timestamp::MIN, &Zone::UTC), &mut ids).unwrap();
    }
    builder.seal().unwrap()
}

impl Fake {
    pub fn new(records: &[(i64, Level, &str, &str, &str)]) -> Fake {
        let mut rows: Vec<Vec<u8>> = Vec::new();
        for chunk in records.chunks(50) {
            rows.extend(batch(chunk).rows().map(|row| row.as_bytes().to_vec()));
        }
        rows.sort_by_key(|row| std::cmp::Reverse(first(row).id()));
        Fake { rows, ..Fake::default() }
    }

    /// `count` records, one a second, every tenth an ERROR.
    pub fn numbered(count: usize) -> Fake {
        let messages: Vec<String> = (0..count).map(|n| format!("record {n}")).collect();
        let records: Vec<_> = messages
            .iter()
            .enumerate()
            .map(|(n, message)| {
                let level = if n % 10 == 0 { Level::Error } else { Level::Info };
                let source = if n % 2 == 0 { "even" } else { "odd" };
                (n as i64, level, source, message.as_str(), "{\"k\":1}")
            })
            .collect();
        Fake::new(&records)
    }

    fn matching(&self, filter: &Filter) -> impl Iterator<Item = Row<'_>> {
        let matcher = filter.matcher();
        self.rows.iter().map(|row| first(row)).filter(move |row| matcher.matches(row))
    }

    fn enter(&self, stop: &Stop) -> Result<(), QueryError> {
        let (held, changed) = &*self.hold;
        let mut held = held.lock().unwrap();
        while *held {
            held = changed.wait_timeout(held, std::time::Duration::from_millis(5)).unwrap().0;
            stop.check()?;
        }
        self.failure.clone().map_or(Ok(()), Err)
    }
}

fn first(row: &[u8]) -> Row<'_> {
    Rows::new(row).next().unwrap()
}

impl Reader for Fake {
    fn page(&self, filter: &Filter, limit: usize, start: Option<Position>, stop: &Stop) -> Result<Page, QueryError> {
        self.enter(stop)?;
        stop.add_read(&ReadStats { files_read: 3, ..ReadStats::default() });
        let mut page = Page::default();
        let mut last = None;
        for row in self.matching(filter).filter(|row| start.is_none_or(|start| row.id() < start.0)) {
            if page.rows.count == limit {
                page.next = last.map(Position);
                break;
            }
            last = Some(row.id());
            page.rows.push(&row);
        }
        Ok(page)
    }

    fn get(&self, id: Id, stop: &Stop) -> Result<Option<RowBuf>, QueryError> {
        self.enter(stop)?;
        Ok(self.matching(&Filter::default()).find(|row| row.id() == id).map(|row| {
            let mut rows = RowBuf::default();
            rows.push(&row);
            rows
        }))
    }

    fn context(&self, id: Id, before: usize, after: usize, stop: &Stop) -> Result<Option<ContextRows>, QueryError> {
        self.enter(stop)?;
        let all: Vec<_> = self.matching(&Filter::default()).collect();
        let Some(found) = all.iter().find(|row| row.id() == id) else { return Ok(None) };
        let mut same: Vec<_> = all.iter().filter(|row| row.source() == found.source()).collect();
        same.reverse();
        let at = same.iter().position(|row| row.id() == id).unwrap();
        let buf = |rows: &[&Row]| {
            let mut out = RowBuf::default();
            rows.iter().for_each(|row| out.push(row));
            out
        };
        let end = (at + 1 + after).min(same.len());
        Ok(Some(ContextRows {
            before: buf(&same[at.saturating_sub(before)..at]),
            log: buf(&same[at..=at]),
            after: buf(&same[at + 1..end]),
        }))
    }

    fn export(&self, filter: &Filter, stop: &Stop, sink: &mut dyn FnMut(&RowBuf) -> bool) -> Result<(), QueryError> {
        let mut rows = RowBuf::default();
        let ended = (|| {
            self.enter(stop)?;
            for row in self.matching(filter) {
                rows.push(&row);
                if rows.count == 100 {
                    self.exported.lock().unwrap().0 += 1;
                    if !sink(&rows) {
                        return Ok(());
                    }
                    rows = RowBuf::default();
                }
            }
            sink(&rows);
            Ok(())
        })();
        self.exported.lock().unwrap().1 += 1;
        ended
    }

    fn counts(&self, filter: &Filter, stop: &Stop) -> Result<Counts, QueryError> {
        self.enter(stop)?;
        let mut counts = Counts::default();
        self.matching(filter).for_each(|row| counts.levels[row.level().index()] += 1);
        Ok(counts)
    }

    fn histogram(&self, filter: &Filter, interval_seconds: Option<u64>, stop: &Stop) -> Result<Histogram, QueryError> {
        self.enter(stop)?;
        let interval_seconds = interval_seconds.unwrap_or(60);
        let width = interval_seconds as i64 * 1_000_000;
        let mut buckets = std::collections::BTreeMap::<i64, Counts>::new();
        for row in self.matching(filter) {
            let bucket = buckets.entry(row.timestamp().as_micros().div_euclid(width) * width).or_default();
            bucket.levels[row.level().index()] += 1;
        }
        let buckets = buckets.into_iter().map(|(at, counts)| (Timestamp::clamped(at), counts)).collect();
        Ok(Histogram { interval_seconds, buckets })
    }

    fn facets(&self, filter: &Filter, field: &FacetField, limit: usize, stop: &Stop) -> Result<Facets, QueryError> {
        self.enter(stop)?;
        let mut counts = std::collections::BTreeMap::<String, u64>::new();
        for row in self.matching(filter) {
            let record = LogRecord::from(row);
            let value = match field {
                FacetField::Level => record.level.to_string(),
                FacetField::Source => record.source,
                FacetField::Application => record.application,
                FacetField::Metadata(key) if key == "k" => "1".into(),
                FacetField::Metadata(_) => continue,
            };
            *counts.entry(value).or_default() += 1;
        }
        let mut values: Vec<_> = counts.into_iter().collect();
        values.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let other = values.iter().skip(limit).map(|(_, count)| count).sum();
        values.truncate(limit);
        Ok(Facets { values, other })
    }

    fn dead_letters(
        &self,
        limit: usize,
        start: Option<LetterPosition>,
        stop: &Stop,
    ) -> Result<DeadLetters, QueryError> {
        self.enter(stop)?;
        let key = |letter: &DeadLetter| (letter.failed_at.as_micros(), letter.id);
        let older =
            self.dead_letters.iter().filter(|&letter| start.is_none_or(|at| key(letter) < (at.failed_at, at.id)));
        let older: Vec<_> = older.cloned().collect();
        let next = older.get(limit - 1).filter(|_| older.len() > limit);
        let next = next.map(key).map(|(failed_at, id)| LetterPosition { failed_at, id });
        let letters = older.into_iter().take(limit).collect();
        Ok(DeadLetters { letters, total: self.dead_letters.len() as u64, next })
    }
}
