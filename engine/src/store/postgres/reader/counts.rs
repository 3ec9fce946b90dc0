//! Counts, histograms and facets: from `log_counts`, a row per minute, level, source and application, wherever that
//! knows enough; else, and for the parts of a minute at either end, from the rows themselves.

use std::collections::{BTreeMap, HashMap};

use record::{Level, Timestamp};
use tokio_postgres::types::Type;

use super::PostgresReader;
use super::failure::Failure;
use super::session::Session;
use super::values::{Instant, Raw};
use super::walk::{Order, Span, Step};
use super::wanted::Wanted;
use crate::store::postgres::counts::MINUTE_MICROS;
use crate::store::postgres::sql::{Sql, Table, level_of};
use crate::store::{Counts, FacetField, Facets, Histogram, QueryError};

/// A histogram whose interval is left open has at most this many buckets: what a chart of a screen's width can show.
const BUCKETS_MAX: i64 = 200;
/// A histogram whose interval is given may have more: a second of each hour of ten years.
const BUCKETS_GIVEN_MAX: usize = 100_000;
/// What they take, about, when there are too many.
const BUCKETS_BYTES: usize = BUCKETS_GIVEN_MAX * 80;
/// What a distinct value takes besides its text, about.
const VALUE_BYTES: usize = 64;
/// A longer interval holds all of time.
const INTERVAL_SECONDS_MAX: u64 = 10_000 * 366 * 86_400;

/// What one statement counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    table: Table,
    step: Step,
}

impl PostgresReader {
    pub(super) async fn count(&self, session: &mut Session, wanted: &Wanted) -> Result<Counts, Failure> {
        let mut counts = Counts::default();
        let key = |sql: &mut Sql, _| {
            sql.push("level::text");
            "level"
        };
        self.sum(session, wanted, true, key, |row| {
            counts.levels[level_in(row, 0)?.index()] += count_in(row, 1)?;
            Ok(())
        })
        .await?;
        Ok(counts)
    }

    pub(super) async fn count_by_time(
        &self,
        session: &mut Session,
        wanted: &Wanted,
        interval_seconds: Option<u64>,
    ) -> Result<Histogram, Failure> {
        let interval_seconds = match interval_seconds {
            Some(seconds) => seconds.max(1),
            None => usual_interval(self.extent(session, wanted.span).await?),
        };
        let seconds = interval_seconds.min(INTERVAL_SECONDS_MAX);
        let mut buckets = BTreeMap::<Timestamp, Counts>::new();
        let key = |sql: &mut Sql, table: Table| {
            sql.push("date_bin(make_interval(secs => ").bind(seconds as f64, Type::FLOAT8);
            sql.push("), ").push(table.time()).push(", to_timestamp(0)), level::text");
            "1, level"
        };
        self.sum(session, wanted, seconds.is_multiple_of(60), key, |row| {
            let start: Instant = row.try_get(0)?;
            buckets.entry(start.timestamp()).or_default().levels[level_in(row, 1)?.index()] += count_in(row, 2)?;
            match buckets.len() > BUCKETS_GIVEN_MAX {
                true => Err(QueryError::Memory { bytes: BUCKETS_BYTES }.into()),
                false => Ok(()),
            }
        })
        .await?;
        Ok(Histogram { interval_seconds, buckets: buckets.into_iter().collect() })
    }

    pub(super) async fn count_by_value(
        &self,
        session: &mut Session,
        wanted: &Wanted,
        field: &FacetField,
        limit: usize,
    ) -> Result<Facets, Failure> {
        let mut values = HashMap::<Vec<u8>, u64>::new();
        let mut bytes = 0;
        let key = |sql: &mut Sql, _| {
            match field {
                FacetField::Level => sql.push("level::text"),
                FacetField::Source => sql.push("source"),
                FacetField::Application => sql.push("application"),
                FacetField::Metadata(path) => {
                    let value = sql.metadata_value(path);
                    sql.push(&format!(
                        "CASE WHEN jsonb_typeof({value}) IN ('string', 'number', 'boolean') THEN {value} #>> '{{}}' END"
                    ))
                }
            };
            "1"
        };
        let is_kept = !matches!(field, FacetField::Metadata(_));
        self.sum(session, wanted, is_kept, key, |row| {
            // Those without the field count nowhere.
            let Some(Raw(value)) = row.try_get(0)? else { return Ok(()) };
            match values.get_mut(value) {
                Some(count) => *count += count_in(row, 1)?,
                None => {
                    bytes += value.len() + VALUE_BYTES;
                    if bytes > self.options.query_bytes_max {
                        return Err(QueryError::Memory { bytes: self.options.query_bytes_max }.into());
                    }
                    values.insert(value.to_vec(), count_in(row, 1)?);
                }
            }
            Ok(())
        })
        .await?;
        Ok(most_frequent(values, limit))
    }

    /// Asks how many there are of each key, and hands on key and number, a key perhaps more than once. `key` appends the
    /// key's columns and tells what to group by; `is_kept` says that the counts a minute have it too.
    async fn sum(
        &self,
        session: &mut Session,
        wanted: &Wanted,
        is_kept: bool,
        mut key: impl FnMut(&mut Sql, Table) -> &'static str,
        mut add: impl FnMut(&tokio_postgres::Row) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if wanted.is_nothing() {
            return Ok(());
        }
        for Piece { table, step } in self.pieces(session, wanted, is_kept).await? {
            let mut sql = Sql::new("SELECT ");
            let groups = key(&mut sql, table);
            sql.push(match table {
                Table::Logs => ", count(*) FROM logs",
                Table::LogCounts => ", sum(count)::int8 FROM log_counts",
            });
            wanted.push_where(&mut sql, step.span, table);
            sql.push(" GROUP BY ").push(groups);
            if table == Table::LogCounts {
                // Rows that somebody took out by hand are counted as less, and may leave none.
                sql.push(" HAVING sum(count) > 0");
            }
            self.each(session, sql, &mut add).await?;
            session.let_go(step.partitions).await?;
        }
        Ok(())
    }

    /// Whole minutes are counted already; what is left is counted step by step.
    async fn pieces(&self, session: &Session, wanted: &Wanted, is_kept: bool) -> Result<Vec<Piece>, Failure> {
        let timeline = self.timeline(session).await?;
        let rows = |span: Span| {
            let steps = if span.is_empty() { Vec::new() } else { timeline.steps(span, Order::NewestFirst) };
            steps.into_iter().map(|step| Piece { table: Table::Logs, step })
        };
        let whole = whole_minutes(wanted.span);
        if !is_kept || !wanted.is_of_minutes() || whole.is_empty() {
            return Ok(rows(wanted.span).collect());
        }
        let mut pieces = vec![Piece { table: Table::LogCounts, step: Step { span: whole, partitions: 1 } }];
        if let Some(start) = whole.from {
            pieces.extend(rows(Span { from: wanted.span.from, to: Some(start) }));
        }
        if let Some(end) = whole.to {
            pieces.extend(rows(Span { from: Some(end), to: wanted.span.to }));
        }
        Ok(pieces)
    }

    /// The first and the last time that a record within `span` has.
    async fn extent(&self, session: &Session, span: Span) -> Result<Option<(i64, i64)>, Failure> {
        // The minutes are few, and indexed; they tell in which partition to look.
        let mut minutes = Sql::new("SELECT min(minute), max(minute) FROM log_counts WHERE true");
        let start = |micros: i64| micros.div_euclid(MINUTE_MICROS) * MINUTE_MICROS;
        let span_of_minutes = Span { from: span.from.map(start), to: span.to };
        push_span(&mut minutes, span_of_minutes, Table::LogCounts);
        let Some((first, last)) = self.pair(session, minutes).await? else { return Ok(None) };
        let within = |from: i64| span.intersection(Span { from: Some(from), to: Some(from + MINUTE_MICROS) });
        let mut exact = Sql::new("SELECT (SELECT min(\"timestamp\") FROM logs WHERE true");
        push_span(&mut exact, within(first), Table::Logs);
        exact.push("), (SELECT max(\"timestamp\") FROM logs WHERE true");
        push_span(&mut exact, within(last), Table::Logs);
        exact.push(")");
        // A minute at the edge may be counted and have nothing within the span.
        Ok(Some(self.pair(session, exact).await?.unwrap_or((first, last))))
    }

    async fn pair(&self, session: &Session, sql: Sql) -> Result<Option<(i64, i64)>, Failure> {
        let mut pair = None;
        self.each(session, sql, |row| {
            let (first, last): (Option<Instant>, Option<Instant>) = (row.try_get(0)?, row.try_get(1)?);
            pair = first.zip(last).map(|(first, last)| (first.micros(), last.micros()));
            Ok(())
        })
        .await?;
        Ok(pair)
    }
}

fn push_span(sql: &mut Sql, span: Span, table: Table) {
    for (operator, end) in [(" >= ", span.from), (" < ", span.to)] {
        if let Some(end) = end {
            sql.push(" AND ").push_time(table.time(), operator, end);
        }
    }
}

fn level_in(row: &tokio_postgres::Row, column: usize) -> Result<Level, Failure> {
    let Raw(label) = row.try_get(column)?;
    level_of(label).ok_or_else(|| {
        let label = String::from_utf8_lossy(label).into_owned();
        Failure::schema(format!("the level `{label}` is none that this program knows: was the type log_level altered?"))
    })
}

fn count_in(row: &tokio_postgres::Row, column: usize) -> Result<u64, Failure> {
    let count: i64 = row.try_get(column)?;
    Ok(u64::try_from(count).unwrap_or(0))
}

fn most_frequent(values: HashMap<Vec<u8>, u64>, limit: usize) -> Facets {
    let mut values: Vec<(Vec<u8>, u64)> = values.into_iter().collect();
    values.sort_unstable_by(|(a, n), (b, m)| m.cmp(n).then_with(|| a.cmp(b)));
    let other = values.iter().skip(limit).map(|(_, count)| count).sum();
    values.truncate(limit);
    let text = |(value, count): (Vec<u8>, u64)| (String::from_utf8_lossy(&value).into_owned(), count);
    Facets { values: values.into_iter().map(text).collect(), other }
}

/// The minutes that lie in the span as a whole. Empty when there are none.
fn whole_minutes(span: Span) -> Span {
    let up = |micros: i64| micros.div_euclid(MINUTE_MICROS) + i64::from(micros.rem_euclid(MINUTE_MICROS) > 0);
    Span {
        from: span.from.map(|from| up(from) * MINUTE_MICROS),
        to: span.to.map(|to| to.div_euclid(MINUTE_MICROS) * MINUTE_MICROS),
    }
}

/// The shortest of the usual intervals that makes at most [`BUCKETS_MAX`] buckets of all that may be wanted.
fn usual_interval(extent: Option<(i64, i64)>) -> u64 {
    const USUAL_SECONDS: [u64; 14] = [1, 5, 10, 30, 60, 300, 600, 900, 1800, 3600, 10_800, 21_600, 43_200, 86_400];
    let (first, last) = extent.unwrap_or_default();
    let seconds = (last - first).max(0) / 1_000_000 + 1;
    // The first bucket begins before the span, and the last one ends after it.
    USUAL_SECONDS.into_iter().find(|&usual| seconds / usual as i64 + 2 <= BUCKETS_MAX).unwrap_or(86_400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_within() {
        const M: i64 = MINUTE_MICROS;
        let whole = |from, to| whole_minutes(Span { from, to });
        assert_eq!(whole(None, None), Span::default());
        assert_eq!(whole(Some(M), Some(3 * M)), Span { from: Some(M), to: Some(3 * M) });
        assert_eq!(whole(Some(M + 1), Some(3 * M - 1)), Span { from: Some(2 * M), to: Some(2 * M) });
        assert!(whole(Some(M + 1), Some(2 * M - 1)).is_empty());
    }
}
