//! Counts that are kept, so that statistics without a filter read no rows: per minute and level, per source and per
//! application. One is kept in the footer of each file, as JSON, and one with each chunk in memory.
//!
//! ```text
//! {"version":1,"minutes":[[MINUTE,T,D,I,W,E,F],…],"sources":{VALUE:COUNT,…},"applications":{…}}
//! ```
//!
//! A minute is counted since 1970. A column of very many values has `null` in place of its counts.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use record::text::push_json_string;
use record::{Level, Row};
use sonic_rs::{JsonContainerTrait, JsonValueTrait};

pub const MINUTE_MICROS: i64 = 60_000_000;

/// Values of a column that are counted one by one; with more the column is not kept, and a question reads the rows.
const VALUES_MAX: usize = 10_000;
/// Values that are counted without a look into the map: a power of two, more than most systems have hosts.
const SLOTS: usize = 512;

/// How often each value of a column occurs.
pub type ValueCounts = HashMap<Vec<u8>, u64>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records per level of each minute since 1970 that has any.
    pub minutes: BTreeMap<i64, [u64; Level::COUNT]>,
    /// `None` when there are too many.
    pub sources: Option<ValueCounts>,
    pub applications: Option<ValueCounts>,
}

/// A tally under way: a row costs a few nanoseconds.
#[derive(Default)]
pub struct Counter {
    minutes: BTreeMap<i64, [u64; Level::COUNT]>,
    minute: i64,
    in_minute: [u64; Level::COUNT],
    sources: ValueCounter,
    applications: ValueCounter,
}

impl Counter {
    pub fn add(&mut self, row: &Row<'_>) {
        let minute = row.timestamp().as_micros().div_euclid(MINUTE_MICROS);
        if minute != self.minute {
            self.end_minute();
            self.minute = minute;
        }
        self.in_minute[row.level().index()] += 1;
        self.sources.add(row.source());
        self.applications.add(row.application());
    }

    pub fn finish(mut self) -> Tally {
        self.end_minute();
        Tally { minutes: self.minutes, sources: self.sources.finish(), applications: self.applications.finish() }
    }

    fn end_minute(&mut self) {
        let counts = std::mem::take(&mut self.in_minute);
        if counts.iter().any(|&count| count > 0) {
            let sums = self.minutes.entry(self.minute).or_default();
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
    }
}

/// Counts values, the common ones in slots of their own.
struct ValueCounter {
    slots: Vec<(Vec<u8>, u64)>,
    counts: Option<ValueCounts>,
}

impl Default for ValueCounter {
    fn default() -> Self {
        ValueCounter { slots: vec![(Vec::new(), 0); SLOTS], counts: Some(ValueCounts::new()) }
    }
}

impl ValueCounter {
    fn add(&mut self, value: &[u8]) {
        let slot = &mut self.slots[slot_of(value)];
        if slot.0 == value {
            slot.1 += 1;
            return;
        }
        let count = std::mem::replace(&mut slot.1, 1);
        if count > 0 {
            spill(&mut self.counts, &slot.0, count);
        }
        slot.0.clear();
        slot.0.extend_from_slice(value);
    }

    fn finish(mut self) -> Option<ValueCounts> {
        for (value, count) in self.slots.iter().filter(|(_, count)| *count > 0) {
            spill(&mut self.counts, value, *count);
        }
        self.counts
    }
}

fn spill(counts: &mut Option<ValueCounts>, value: &[u8], count: u64) {
    if let Some(map) = counts {
        add_to(map, value, count);
        if map.len() > VALUES_MAX {
            *counts = None;
        }
    }
}

/// Names differ at their ends.
fn slot_of(value: &[u8]) -> usize {
    let mut ends = [0u8; 8];
    let tail = &value[value.len().saturating_sub(8)..];
    ends[..tail.len()].copy_from_slice(tail);
    let hash = (u64::from_le_bytes(ends) ^ value.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (hash >> 32) as usize % SLOTS
}

pub fn add_to(counts: &mut ValueCounts, value: &[u8], count: u64) {
    match counts.get_mut(value) {
        Some(sum) => *sum += count,
        None => {
            counts.insert(value.to_vec(), count);
        }
    }
}

impl Tally {
    pub fn to_text(&self) -> String {
        let mut text = String::from("{\"version\":1,\"minutes\":[");
        for (at, (minute, levels)) in self.minutes.iter().enumerate() {
            let [t, d, i, w, e, f] = levels;
            let comma = if at > 0 { "," } else { "" };
            // Writing to a string cannot fail.
            let _ = write!(text, "{comma}[{minute},{t},{d},{i},{w},{e},{f}]");
        }
        text.push(']');
        for (name, counts) in [("sources", &self.sources), ("applications", &self.applications)] {
            let _ = write!(text, ",\"{name}\":");
            let Some(counts) = counts else {
                text.push_str("null");
                continue;
            };
            let mut json = Vec::new();
            for (value, count) in counts {
                json.push(if json.is_empty() { b'{' } else { b',' });
                push_json_string(value, &mut json);
                json.extend_from_slice(format!(":{count}").as_bytes());
            }
            text.push_str(if counts.is_empty() { "{" } else { "" });
            text.push_str(&String::from_utf8_lossy(&json));
            text.push('}');
        }
        text.push('}');
        text
    }

    /// `None` when it is no tally of a version that this program reads.
    pub fn parse(text: &str) -> Option<Tally> {
        let json: sonic_rs::Value = sonic_rs::from_str(text).ok()?;
        if json.get("version")?.as_u64()? != 1 {
            return None;
        }
        let mut tally = Tally::default();
        for minute in json.get("minutes")?.as_array()?.iter() {
            let numbers = minute.as_array()?;
            let mut levels = [0; Level::COUNT];
            for (level, number) in levels.iter_mut().zip(numbers.iter().skip(1)) {
                *level = number.as_u64()?;
            }
            tally.minutes.insert(numbers.first()?.as_i64()?, levels);
        }
        let counts = |name: &str| -> Option<Option<ValueCounts>> {
            let value = json.get(name)?;
            if value.is_null() {
                return Some(None);
            }
            let pairs = value.as_object()?.iter();
            let counts = pairs.map(|(value, count)| Some((value.as_bytes().to_vec(), count.as_u64()?)));
            Some(Some(counts.collect::<Option<_>>()?))
        };
        tally.sources = counts("sources")?;
        tally.applications = counts("applications")?;
        Some(tally)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_as_it_was() {
        let counts = |pairs: &[(&str, u64)]| {
            Some(pairs.iter().map(|(value, count)| (value.as_bytes().to_vec(), *count)).collect())
        };
        for tally in [
            Tally { sources: counts(&[]), applications: None, ..Tally::default() },
            Tally {
                minutes: [(0, [1, 2, 3, 4, 5, 6]), (29_000_000, [0, 0, 1, 0, 0, 0])].into(),
                sources: counts(&[("", 3), ("a\"b\\\n", 4), ("wärme", 5)]),
                applications: counts(&[("x", 1)]),
            },
        ] {
            assert_eq!(Tally::parse(&tally.to_text()), Some(tally));
        }
        for text in ["", "{}", "[]", r#"{"version":2,"minutes":[],"sources":{},"applications":{}}"#] {
            assert_eq!(Tally::parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_value_is_counted() {
        let mut counter = ValueCounter::default();
        let mut want = ValueCounts::new();
        for n in 0..20_000u64 {
            let value = format!("host-{}", n * n % 3000);
            counter.add(value.as_bytes());
            add_to(&mut want, value.as_bytes(), 1);
        }
        assert_eq!(counter.finish(), Some(want));
        let mut counter = ValueCounter::default();
        (0..=2 * VALUES_MAX).for_each(|n| counter.add(n.to_string().as_bytes()));
        assert_eq!(counter.finish(), None);
    }
}
