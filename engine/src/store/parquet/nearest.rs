//! The rows nearest to a place in the order, up to a limit: what a page is put together with.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use record::{Id, Row, Timestamp};

use crate::store::{QueryError, RowBuf};

/// Which rows stay when there are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    Newest,
    Oldest,
}

/// Keeps `limit` of the rows that are offered.
pub struct Nearest {
    keep: Keep,
    limit: usize,
    bytes: usize,
    /// What the rows may take together.
    bytes_max: usize,
    /// On top the one that goes first.
    rows: BinaryHeap<Reverse<(u128, Vec<u8>)>>,
}

impl Nearest {
    pub fn new(keep: Keep, limit: usize, bytes_max: usize) -> Nearest {
        Nearest { keep, limit, bytes: 0, bytes_max, rows: BinaryHeap::new() }
    }

    pub fn keep(&self) -> Keep {
        self.keep
    }

    pub fn limit(&self) -> usize {
        self.limit
    }

    /// One that keeps the same, with nothing in it.
    pub fn empty(&self) -> Nearest {
        Nearest::new(self.keep, self.limit, self.bytes_max)
    }

    /// Whether a row with this id would stay.
    pub fn takes(&self, id: Id) -> bool {
        self.rows.len() < self.limit || self.rows.peek().is_some_and(|Reverse((worst, _))| self.rank(id) > *worst)
    }

    /// Whether a row from `first` to `last` might stay.
    pub fn takes_within(&self, first: Timestamp, last: Timestamp) -> bool {
        match self.keep {
            Keep::Newest => self.takes(Id::new(last, u64::MAX, u32::MAX)),
            Keep::Oldest => self.takes(Id::new(first, 0, 0)),
        }
    }

    pub fn offer(&mut self, row: &Row<'_>) -> Result<(), QueryError> {
        if !self.takes(row.id()) {
            return Ok(());
        }
        self.push(self.rank(row.id()), row.as_bytes().to_vec())
    }

    /// Offers all that another one keeps.
    pub fn join(&mut self, other: Nearest) -> Result<(), QueryError> {
        for Reverse((rank, bytes)) in other.rows {
            if self.rows.len() < self.limit || self.rows.peek().is_some_and(|Reverse((worst, _))| rank > *worst) {
                self.push(rank, bytes)?;
            }
        }
        Ok(())
    }

    fn push(&mut self, rank: u128, row: Vec<u8>) -> Result<(), QueryError> {
        if self.rows.len() == self.limit
            && let Some(Reverse((_, dropped))) = self.rows.pop()
        {
            self.bytes -= dropped.len();
        }
        self.bytes += row.len();
        if self.bytes > self.bytes_max {
            return Err(QueryError::Memory { bytes: self.bytes_max });
        }
        self.rows.push(Reverse((rank, row)));
        Ok(())
    }

    /// The nearest `page` rows, nearest first, and the id of the last of them when there were more.
    pub fn into_page(self, page: usize) -> (RowBuf, Option<Id>) {
        let keep = self.keep;
        // Reversed twice: ascending by `Reverse` is descending by rank.
        let sorted = self.rows.into_sorted_vec();
        let more = sorted.len() > page;
        let mut rows = RowBuf::default();
        let mut last = None;
        for Reverse((rank, bytes)) in sorted.into_iter().take(page) {
            rows.bytes.extend_from_slice(&bytes);
            rows.count += 1;
            last = Some(Id::from_bytes(flip(keep, rank).to_be_bytes()));
        }
        (rows, last.filter(|_| more))
    }

    /// The greater, the longer it stays.
    fn rank(&self, id: Id) -> u128 {
        rank(self.keep, id)
    }
}

/// Where an id stands when that end of the order is wanted: the higher, the sooner.
pub fn rank(keep: Keep, id: Id) -> u128 {
    flip(keep, u128::from_be_bytes(*id.as_bytes()))
}

fn flip(keep: Keep, key: u128) -> u128 {
    match keep {
        Keep::Newest => key,
        Keep::Oldest => !key,
    }
}
