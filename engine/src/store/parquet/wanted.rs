//! A filter as the store reads it: bounds of the id, which prune, and a test of single rows.

use record::filter::{LevelSet, Matcher};
use record::{Filter, Id, Row, Timestamp};

use crate::store::Position;

/// Which rows a query wants.
pub struct Wanted {
    /// The least id that is wanted.
    pub low: Id,
    /// The least id above `low` that is not, if there is any.
    pub high: Option<Id>,
    /// What else a row must be; `None` for nothing else.
    matcher: Option<Matcher>,
}

impl Wanted {
    /// What `filter` wants, from `start` on.
    pub fn new(filter: &Filter, start: Option<Position>) -> Wanted {
        let low = filter.from.map_or(Id::MIN, |from| Id::new(from, 0, 0));
        let bounds = [filter.to.map(|to| Id::new(to, 0, 0)), start.map(|Position(id)| id)];
        let untimed = Filter { from: None, to: None, ..filter.clone() };
        let matcher = (!untimed.is_everything()).then(|| untimed.matcher());
        Wanted { low, high: bounds.into_iter().flatten().min(), matcher }
    }

    pub fn one(id: Id) -> Wanted {
        Wanted { low: id, high: successor(id), matcher: None }
    }

    /// What is older than `id`, of the same source.
    pub fn older_from(id: Id, source: &str) -> Wanted {
        Wanted { low: Id::MIN, high: Some(id), matcher: Some(of_source(source)) }
    }

    /// What is newer than `id`, of the same source.
    pub fn newer_from(id: Id, source: &str) -> Wanted {
        Wanted { low: successor(id).unwrap_or(id), high: None, matcher: Some(of_source(source)) }
    }

    /// Whether rows from `first` to `last` may be wanted, going by their time.
    pub fn overlaps(&self, first: Timestamp, last: Timestamp) -> bool {
        Id::new(last, u64::MAX, u32::MAX) >= self.low && self.high.is_none_or(|high| Id::new(first, 0, 0) < high)
    }

    /// Whether every row from `first` to `last` lies within the bounds.
    pub fn encloses(&self, first: Timestamp, last: Timestamp) -> bool {
        self.low <= Id::new(first, 0, 0) && self.high.is_none_or(|high| Id::new(last, u64::MAX, u32::MAX) < high)
    }

    pub fn holds(&self, id: Id) -> bool {
        id >= self.low && self.high.is_none_or(|high| id < high)
    }

    /// No later row is wanted.
    pub fn high_time(&self) -> Timestamp {
        self.high.map_or(Timestamp::MAX, |high| high.timestamp())
    }

    pub fn matches(&self, row: &Row<'_>) -> bool {
        self.holds(row.id()) && self.matcher.as_ref().is_none_or(|matcher| matcher.matches(row))
    }

    /// Whether nothing but its place in the order may keep a row out.
    pub fn is_time_only(&self) -> bool {
        self.matcher.is_none()
    }
}

/// The levels that a filter asks for, when it asks for nothing but levels and time: kept counts then answer it.
pub fn levels_only(filter: &Filter) -> Option<LevelSet> {
    let rest = Filter { levels: None, from: None, to: None, ..filter.clone() };
    rest.is_everything().then(|| filter.levels.unwrap_or(LevelSet::ALL))
}

fn of_source(source: &str) -> Matcher {
    Filter { source: Some(vec![source.to_owned()]), ..Filter::default() }.matcher()
}

/// The next id in the order.
fn successor(id: Id) -> Option<Id> {
    u128::from_be_bytes(*id.as_bytes()).checked_add(1).map(|next| Id::from_bytes(next.to_be_bytes()))
}
