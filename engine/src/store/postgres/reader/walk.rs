//! In what steps a query goes through time: partition by partition from one end, so that it can stop at the first steps
//! that hold enough, and never has a thousand partitions open at once.
//!
//! The steps cover all of time without a gap, whatever partitions there are: which ones a step meets is found out by
//! Postgres. What is known of partitions here only says where to cut, so it may be some seconds old.

use futures_util::TryStreamExt;

use super::failure::Failure;
use super::session::Session;
use super::values::Instant;
use crate::store::postgres::sql::Sql;

/// Small partitions are read together until they have so many bytes: reading fewer takes less than asking again.
pub const STEP_BYTES_MAX: i64 = 32 << 20;
/// And at most so many, since planning takes each of them, and each of its indexes, in hand: a page over 500 partitions
/// at once takes 320 ms to plan and 3,500 locks, one over 16 takes 0.8 ms, 19 ms when the connection meets them first.
const STEP_PARTITIONS_MAX: usize = 16;

/// From, included, to, not included, in µs since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub from: Option<i64>,
    pub to: Option<i64>,
}

impl Span {
    pub fn intersection(self, other: Span) -> Span {
        let to = match (self.to, other.to) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Span { from: self.from.max(other.from), to }
    }

    pub fn is_empty(self) -> bool {
        matches!((self.from, self.to), (Some(from), Some(to)) if from >= to)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    NewestFirst,
    OldestFirst,
}

impl Order {
    pub fn sql(self) -> &'static str {
        match self {
            Order::NewestFirst => " ORDER BY \"timestamp\" DESC, id DESC",
            Order::OldestFirst => " ORDER BY \"timestamp\", id",
        }
    }
}

/// A stretch of time that one statement reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub span: Span,
    /// How many partitions were known in it.
    pub partitions: usize,
}

/// The partitions as they were known a moment ago.
#[derive(Clone, Debug)]
pub struct Timeline {
    step_bytes_max: i64,
    /// Newest first.
    partitions: Vec<Partition>,
}

#[derive(Clone, Copy, Debug)]
struct Partition {
    /// Where it begins; `None` for one without a lower bound.
    from: Option<i64>,
    bytes: i64,
}

impl Timeline {
    /// Asks the catalogue. `logs` need not be partitioned: then there is one step.
    pub async fn read(session: &Session, step_bytes_max: i64) -> Result<Timeline, Failure> {
        let sql = Sql::new(
            "SELECT substring(pg_get_expr(c.relpartbound, c.oid) FROM 'FROM [(]''([0-9][^'']*)''')::timestamptz, \
             COALESCE(pg_relation_size(c.oid), 0) \
             FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = to_regclass('logs') \
             ORDER BY 1 DESC NULLS LAST",
        );
        let mut rows = session.stream(sql).await?;
        let mut partitions = Vec::new();
        while let Some(row) = rows.try_next().await? {
            let from: Option<Instant> = row.try_get(0)?;
            partitions.push(Partition { from: from.map(Instant::micros), bytes: row.try_get(1)? });
        }
        Ok(Timeline { step_bytes_max, partitions })
    }

    pub fn len(&self) -> usize {
        self.partitions.len()
    }

    /// What `span` is read in, in this order.
    pub fn steps(&self, span: Span, order: Order) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut open = Step { span, partitions: 0 };
        let (mut bytes, mut low) = (0, None);
        for partition in &self.partitions {
            let is_newer = matches!((partition.from, open.span.to), (Some(from), Some(to)) if from >= to);
            if is_newer {
                continue;
            }
            let is_full = bytes + partition.bytes > self.step_bytes_max || open.partitions == STEP_PARTITIONS_MAX;
            if open.partitions > 0 && is_full {
                steps.push(Step { span: Span { from: low, to: open.span.to }, ..open });
                open = Step { span: Span { from: span.from, to: low }, partitions: 0 };
                bytes = 0;
            }
            open.partitions += 1;
            bytes += partition.bytes;
            low = partition.from;
            if low <= span.from {
                break;
            }
        }
        steps.push(open);
        if order == Order::OldestFirst {
            steps.reverse();
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where partitions begin and how large they are, newest first, and the steps that come of them.
    fn check(
        partitions: &[(Option<i64>, i64)],
        span: (Option<i64>, Option<i64>),
        want: &[(Option<i64>, Option<i64>, usize)],
    ) {
        let partitions = partitions.iter().map(|&(from, bytes)| Partition { from, bytes }).collect();
        let span = Span { from: span.0, to: span.1 };
        let timeline = Timeline { step_bytes_max: STEP_BYTES_MAX, partitions };
        let tuple = |step: &Step| (step.span.from, step.span.to, step.partitions);
        let steps: Vec<_> = timeline.steps(span, Order::NewestFirst).iter().map(tuple).collect();
        assert_eq!(steps, want, "{span:?}");
        let mut reversed: Vec<_> = timeline.steps(span, Order::OldestFirst).iter().map(tuple).collect();
        reversed.reverse();
        assert_eq!(reversed, want, "{span:?}");
    }

    #[test]
    fn steps_cover_the_span_without_a_gap() {
        const LARGE: i64 = STEP_BYTES_MAX;
        check(&[], (None, None), &[(None, None, 0)]);
        let days = [(Some(40), 0), (Some(30), LARGE), (Some(20), LARGE), (None, 5)];
        check(&days, (None, None), &[(Some(30), None, 2), (Some(20), Some(30), 1), (None, Some(20), 1)]);
        check(&days, (Some(25), Some(35)), &[(Some(30), Some(35), 1), (Some(25), Some(30), 1)]);
        check(&days, (Some(20), Some(30)), &[(Some(20), Some(30), 1)]);
        check(&days, (Some(50), Some(60)), &[(Some(50), Some(60), 1)]);
        check(&days, (None, Some(10)), &[(None, Some(10), 1)]);
        check(&[(Some(30), LARGE)], (None, Some(10)), &[(None, Some(10), 0)]);
    }

    #[test]
    fn small_partitions_are_read_together() {
        let days: Vec<(Option<i64>, i64)> = (0..40).rev().map(|day| (Some(day), 1)).collect();
        check(&days, (None, None), &[(Some(24), None, 16), (Some(8), Some(24), 16), (None, Some(8), 8)]);
    }
}
