//! Counts that are kept, so that statistics without a filter read no rows: per minute and level, per source and per
//! application. One is kept with each file and one with each chunk in memory.

use std::collections::{BTreeMap, HashMap};

use record::{Level, Row};

pub const MINUTE_MICROS: i64 = 60_000_000;

/// How often each value of a column occurs.
pub type ValueCounts = HashMap<Vec<u8>, u64>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records per level of each minute since 1970 that has any.
    pub minutes: BTreeMap<i64, [u64; Level::COUNT]>,
    pub sources: ValueCounts,
    pub applications: ValueCounts,
}

impl Tally {
    pub fn add_row(&mut self, row: &Row<'_>) {
        let minute = row.timestamp().as_micros().div_euclid(MINUTE_MICROS);
        self.minutes.entry(minute).or_default()[row.level().index()] += 1;
        count_value(&mut self.sources, row.source());
        count_value(&mut self.applications, row.application());
    }
}

pub fn count_value(counts: &mut ValueCounts, value: &[u8]) {
    match counts.get_mut(value) {
        Some(count) => *count += 1,
        None => {
            counts.insert(value.to_vec(), 1);
        }
    }
}
