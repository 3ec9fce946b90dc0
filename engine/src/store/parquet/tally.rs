//! Counts that are kept, so that statistics without a filter read no rows, nor those of a source: per minute and level, per
//! source, per application, and per source, minute and level. One is kept in the footer of each file, as JSON, and one with
//! each chunk in memory.
//!
//! ```text
//! {"version":1,"minutes":[[MINUTE,T,D,I,W,E,F],…],"sources":{VALUE:COUNT,…},"applications":{…},
//!  "cells":{SOURCE:[MINUTE,LEVEL,COUNT,MINUTE,LEVEL,COUNT,…],…}}
//! ```
//!
//! A minute is counted since 1970. A column of very many values has `null` in place of its counts. `cells` are there where
//! they are few beside the rows (with `null`, or without it as in files of older versions, a question reads the rows); a
//! minute may occur more than once, and LEVEL counts from 0 for TRACE.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::ops::Range;

use record::text::push_json_string;
use record::{Level, Row};
use sonic_rs::{JsonContainerTrait, JsonValueTrait};

pub const MINUTE_MICROS: i64 = 60_000_000;

/// Values of a column that are counted one by one; with more the column is not kept, and a question reads the rows.
const VALUES_MAX: usize = 10_000;
/// Values that are counted without a look into the map: a power of two, more than most systems have hosts.
const SLOTS: usize = 512;

/// Cells that are kept in any case…
const CELLS_MIN: usize = 1_000;
/// …and beyond that one for so many rows, which then take a tenth of a byte a row at most.
const ROWS_OF_CELL_MIN: u64 = 64;

/// Slots of the sources of a minute, a power of two, and how many may be taken: with more, looking for one takes long.
const CELL_SLOTS: usize = 2048;
const CELL_SLOTS_MAX: usize = 1536;
/// And no more than this, however many rows a file has.
const CELLS_MAX: usize = 100_000;

/// How often each value of a column occurs.
pub type ValueCounts = HashMap<Vec<u8>, u64>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records per level of each minute since 1970 that has any.
    pub minutes: BTreeMap<i64, [u64; Level::COUNT]>,
    /// `None` when there are too many.
    pub sources: Option<ValueCounts>,
    pub applications: Option<ValueCounts>,
    /// Of each source. `None` when there are too many.
    cells: Option<HashMap<Vec<u8>, Vec<Cell>>>,
}

/// Records of one source, minute and level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    minute: u32,
    level: Level,
    count: u32,
}

/// A tally under way: a row costs a few nanoseconds.
#[derive(Default)]
pub struct Counter {
    minutes: BTreeMap<i64, [u64; Level::COUNT]>,
    minute: i64,
    in_minute: [u64; Level::COUNT],
    sources: ValueCounter,
    applications: ValueCounter,
    cells: CellCounter,
    rows: u64,
}

impl Counter {
    pub fn add(&mut self, row: &Row<'_>) {
        let minute = row.timestamp().as_micros().div_euclid(MINUTE_MICROS);
        if minute != self.minute {
            self.end_minute();
            self.minute = minute;
        }
        self.rows += 1;
        self.in_minute[row.level().index()] += 1;
        self.cells.add(row.source(), row.level());
        self.sources.add(row.source());
        self.applications.add(row.application());
    }

    pub fn finish(mut self) -> Tally {
        self.end_minute();
        Tally {
            minutes: self.minutes,
            sources: self.sources.finish(),
            applications: self.applications.finish(),
            cells: self.cells.done,
        }
    }

    fn end_minute(&mut self) {
        let counts = std::mem::take(&mut self.in_minute);
        if counts.iter().any(|&count| count > 0) {
            let sums = self.minutes.entry(self.minute).or_default();
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        self.cells.end_minute(self.minute, CELLS_MIN + (self.rows / ROWS_OF_CELL_MIN) as usize);
    }
}

/// Counts cells: those of the minute at hand in a table of sources, with open addressing.
struct CellCounter {
    slots: Vec<Option<(Vec<u8>, [u32; Level::COUNT])>>,
    /// Slots that have a source, also of an earlier minute: sources come again.
    taken: usize,
    /// Slots that hold something of this minute.
    used: Vec<usize>,
    done: Option<HashMap<Vec<u8>, Vec<Cell>>>,
    cells: usize,
}

impl Default for CellCounter {
    fn default() -> Self {
        CellCounter { slots: vec![None; CELL_SLOTS], taken: 0, used: Vec::new(), done: Some(HashMap::new()), cells: 0 }
    }
}

impl CellCounter {
    fn add(&mut self, source: &[u8], level: Level) {
        if self.done.is_none() {
            return;
        }
        let mut at = hash_of(source) % CELL_SLOTS;
        while self.slots[at].as_ref().is_some_and(|(other, _)| other != source) {
            at = (at + 1) % CELL_SLOTS;
        }
        if self.slots[at].is_none() {
            if self.taken >= CELL_SLOTS_MAX {
                // Too many sources in one minute.
                self.done = None;
                return;
            }
            self.taken += 1;
        }
        let (_, counts) = self.slots[at].get_or_insert_with(|| (source.to_vec(), [0; Level::COUNT]));
        if counts.iter().all(|&count| count == 0) {
            self.used.push(at);
        }
        counts[level.index()] += 1;
    }

    fn end_minute(&mut self, minute: i64, cells_max: usize) {
        for at in std::mem::take(&mut self.used) {
            self.keep(at, minute);
        }
        if self.cells > cells_max {
            self.done = None;
        }
        if self.taken > CELL_SLOTS_MAX / 2 {
            self.slots.fill(None);
            self.taken = 0;
        }
    }

    /// Moves what a slot holds to the cells.
    fn keep(&mut self, at: usize, minute: i64) {
        let (Some(done), Some((source, counts))) = (&mut self.done, &mut self.slots[at]) else { return };
        // Beyond the year 9999 there are no times.
        let Some(minute) = u32::try_from(minute).ok().filter(|_| self.cells < CELLS_MAX) else {
            return self.done = None;
        };
        let cells = match done.get_mut(source) {
            Some(cells) => cells,
            None => done.entry(source.clone()).or_default(),
        };
        for level in Level::ALL {
            let count = std::mem::take(&mut counts[level.index()]);
            if count > 0 {
                cells.push(Cell { minute, level, count });
                self.cells += 1;
            }
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
    hash_of(value) % SLOTS
}

fn hash_of(value: &[u8]) -> usize {
    let mut ends = [0u8; 8];
    let tail = &value[value.len().saturating_sub(8)..];
    ends[..tail.len()].copy_from_slice(tail);
    let hash = (u64::from_le_bytes(ends) ^ value.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (hash >> 32) as usize
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
        self.write_cells(&mut text);
        text.push('}');
        text
    }

    fn write_cells(&self, text: &mut String) {
        let Some(cells) = &self.cells else { return text.push_str(",\"cells\":null") };
        text.push_str(",\"cells\":{");
        for (at, (source, cells)) in cells.iter().enumerate() {
            let mut key = Vec::new();
            push_json_string(source, &mut key);
            text.push_str(if at > 0 { "," } else { "" });
            text.push_str(&String::from_utf8_lossy(&key));
            for (at, Cell { minute, level, count }) in cells.iter().enumerate() {
                let before = if at > 0 { "," } else { ":[" };
                let _ = write!(text, "{before}{minute},{},{count}", level.index());
            }
            text.push_str(if cells.is_empty() { ":[]" } else { "]" });
        }
        text.push('}');
    }

    /// Hands on how many records there are per minute within `minutes` and level, of some sources or of all. False, and
    /// nothing is handed on, where that is not kept.
    pub fn visit(
        &self,
        minutes: Range<i64>,
        sources: Option<&[String]>,
        visit: &mut dyn FnMut(i64, Level, u64),
    ) -> bool {
        let Some(sources) = sources else {
            for (minute, counts) in self.minutes.range(minutes) {
                Level::ALL.into_iter().for_each(|level| visit(*minute, level, counts[level.index()]));
            }
            return true;
        };
        let Some(cells) = &self.cells else { return false };
        for (at, source) in sources.iter().enumerate() {
            // Whoever names a source twice means it once.
            let cells = cells.get(source.as_bytes()).filter(|_| !sources[..at].contains(source));
            for Cell { minute, level, count } in cells.into_iter().flatten() {
                if minutes.contains(&i64::from(*minute)) {
                    visit(i64::from(*minute), *level, u64::from(*count));
                }
            }
        }
        true
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
        tally.cells = match json.get("cells") {
            Some(cells) if cells.is_object() => Some(parse_cells(cells)?),
            _ => None,
        };
        Some(tally)
    }
}

fn parse_cells(json: &sonic_rs::Value) -> Option<HashMap<Vec<u8>, Vec<Cell>>> {
    let cells_of = |numbers: &sonic_rs::Value| {
        let numbers: Vec<u64> = numbers.as_array()?.iter().map(|number| number.as_u64()).collect::<Option<_>>()?;
        let cell = |numbers: &[u64]| {
            Some(Cell {
                minute: u32::try_from(numbers[0]).ok()?,
                level: *Level::ALL.get(usize::try_from(numbers[1]).ok()?)?,
                count: u32::try_from(numbers[2]).ok()?,
            })
        };
        let cells = numbers.chunks_exact(3);
        if cells.remainder().is_empty() { cells.map(cell).collect::<Option<Vec<Cell>>>() } else { None }
    };
    json.as_object()?.iter().map(|(source, numbers)| Some((source.as_bytes().to_vec(), cells_of(numbers)?))).collect()
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
                cells: Some(
                    [
                        (b"a\"b\\\n".to_vec(), vec![Cell { minute: 29_000_000, level: Level::Info, count: 1 }]),
                        (b"".to_vec(), vec![Cell { minute: 0, level: Level::Fatal, count: u32::MAX }; 2]),
                        (b"none".to_vec(), Vec::new()),
                    ]
                    .into(),
                ),
            },
        ] {
            assert_eq!(Tally::parse(&tally.to_text()), Some(tally));
        }
        // As older versions wrote it.
        let old = r#"{"version":1,"minutes":[],"sources":{},"applications":null}"#;
        assert_eq!(Tally::parse(old).map(|tally| tally.cells), Some(None));
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

    #[test]
    fn cells_agree_with_the_rows_and_are_given_up_where_they_are_many() {
        let count = |sources: u64, minutes: u64| {
            let mut cells = CellCounter::default();
            let mut want = HashMap::<(String, i64), u64>::new();
            for minute in 0..minutes {
                for n in 0..2_000 {
                    let source = format!("host-{}", n * 7919 % sources);
                    cells.add(source.as_bytes(), Level::ALL[(n % 6) as usize]);
                    *want.entry((source, minute as i64)).or_default() += 1;
                }
                cells.end_minute(minute as i64, CELLS_MIN + 1_000);
            }
            let tally = Tally { cells: cells.done, ..Tally::default() };
            (tally, want)
        };
        let (tally, want) = count(40, 5);
        for n in 0..40 {
            let source = format!("host-{n}");
            let mut got = HashMap::<(String, i64), u64>::new();
            let sources = [source.clone(), source.clone()];
            assert!(tally.visit(1..4, Some(&sources), &mut |minute, _, count| {
                *got.entry((source.clone(), minute)).or_default() += count;
            }));
            let want = want.iter().filter(|((of, minute), _)| *of == source && (1..4).contains(minute));
            assert_eq!(got, want.map(|(key, count)| (key.clone(), *count)).collect());
        }
        let (tally, _) = count(1_500, 5);
        assert!(!tally.visit(0..5, Some(&["host-1".to_owned()]), &mut |_, _, _| panic!("nothing is kept")));
    }
}
