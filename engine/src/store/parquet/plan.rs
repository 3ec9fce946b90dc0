//! Which files are written anew, and which go: thinking only, over what the manifest says.
//!
//! - What the flush wrote is merged by the dozen, and split by day.
//! - Within a day files of like size are merged until they are large, so that a row is written anew a few times at most.
//! - Once a day is over and quiet, what is left of it becomes one file. Days of hardly any rows share a file a month.

use std::collections::BTreeMap;
use std::time::Duration;

use record::Timestamp;

use super::manifest::FileEntry;

pub const DAY_MICROS: i64 = 86_400_000_000;
/// A file of so many rows, or of so many bytes, is not written anew: larger ones would be slow to make and no quicker
/// to search.
pub const LARGE_ROWS: u64 = 4_000_000;
pub const LARGE_BYTES: u64 = 128 << 20;
/// A day whose file is smaller shares it with other days of its month.
pub const SMALL_DAY_BYTES: u64 = 1 << 20;
/// Files of one kind that are merged as soon as there are so many…
const FILES_MIN: usize = 8;
/// …and at most this many at once, since each takes memory.
const FILES_MAX: usize = 16;
/// A merge takes in about so many rows at most, so that it ends within seconds.
const MERGE_ROWS_MAX: u64 = 8_000_000;
/// What the flush wrote is merged after this long even if it is little: until then it has no filters.
const FLUSHED_WAITS: Duration = Duration::from_secs(600);
/// A day that is over is merged when no file has been added to it for this long.
const QUIET_FOR: Duration = Duration::from_secs(1800);

/// A file as the plan sees it.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    pub entry: &'a FileEntry,
    /// How long it has been there, as far as this process knows.
    pub age: Duration,
}

/// The files to merge next, by their place among `files`; none when all is tidy.
pub fn next_merge(files: &[Candidate<'_>], now: Timestamp) -> Vec<usize> {
    next_flushed(files).or_else(|| next_in_day(files, now)).unwrap_or_default()
}

fn next_flushed(files: &[Candidate<'_>]) -> Option<Vec<usize>> {
    let flushed: Vec<usize> = (0..files.len()).filter(|&at| files[at].entry.generation == 0).collect();
    let waits = flushed.iter().any(|&at| files[at].age >= FLUSHED_WAITS);
    let rows: u64 = flushed.iter().map(|&at| files[at].entry.rows).sum();
    (flushed.len() >= FILES_MIN || rows >= LARGE_ROWS || waits).then(|| limited(files, flushed))
}

fn next_in_day(files: &[Candidate<'_>], now: Timestamp) -> Option<Vec<usize>> {
    let mut groups: BTreeMap<(i64, bool), Vec<usize>> = BTreeMap::new();
    for (at, file) in files.iter().enumerate() {
        let is_large = file.entry.rows >= LARGE_ROWS || file.entry.bytes >= LARGE_BYTES;
        if file.entry.generation > 0 && !is_large {
            groups.entry(group_of(file.entry, now)).or_default().push(at);
        }
    }
    for ((start, is_month), group) in groups {
        let is_over = is_month || start + DAY_MICROS <= now.as_micros();
        let is_quiet = group.iter().all(|&at| files[at].age >= QUIET_FOR);
        if is_over && is_quiet && group.len() > 1 {
            return Some(limited(files, group));
        }
        let mut tiers: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for at in group {
            // Four times as many rows, one tier up.
            tiers.entry(files[at].entry.rows.max(1).ilog(4)).or_default().push(at);
        }
        if let Some(tier) = tiers.into_values().find(|tier| tier.len() >= FILES_MIN) {
            return Some(limited(files, tier));
        }
    }
    None
}

/// The start of the day, or of the month, that a file belongs to, and whether it is a month.
fn group_of(entry: &FileEntry, now: Timestamp) -> (i64, bool) {
    let day = day_of(entry.first);
    let is_past = (day_of(entry.last) + 1) * DAY_MICROS <= now.as_micros();
    if is_past && (entry.bytes < SMALL_DAY_BYTES || day != day_of(entry.last)) {
        return (i64::from(month_of(entry.first)), true);
    }
    (day * DAY_MICROS, false)
}

/// The first files that one merge may take in. Two are always few enough.
fn limited(files: &[Candidate<'_>], mut chosen: Vec<usize>) -> Vec<usize> {
    chosen.truncate(FILES_MAX);
    let mut rows = 0;
    let within = chosen.iter().take_while(|&&at| {
        rows += files[at].entry.rows;
        rows <= MERGE_ROWS_MAX
    });
    let count = within.count().max(2);
    chosen.truncate(count);
    chosen
}

/// Days since 1970.
pub fn day_of(time: Timestamp) -> i64 {
    time.as_micros().div_euclid(DAY_MICROS)
}

/// Months since the year 0.
pub fn month_of(time: Timestamp) -> i32 {
    // The civil calendar in 400-year eras of days, counted from March: Howard Hinnant's `civil_from_days`.
    let days = day_of(time) + 719_468;
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    ((days.div_euclid(146_097) * 400 + year_of_era) * 12 + month_from_march + 2) as i32
}

/// What retention takes away: by place among `files`.
pub fn expired(files: &[&FileEntry], oldest: Option<Timestamp>, bytes_max: Option<u64>) -> Vec<usize> {
    let mut gone: Vec<usize> =
        (0..files.len()).filter(|&at| oldest.is_some_and(|oldest| files[at].last < oldest)).collect();
    let Some(bytes_max) = bytes_max else { return gone };
    let mut left: Vec<usize> = (0..files.len()).filter(|at| !gone.contains(at)).collect();
    let mut bytes: u64 = left.iter().map(|&at| files[at].bytes).sum();
    // Whole days first: the oldest day goes before the first file of the next.
    left.sort_by_key(|&at| (day_of(files[at].last), files[at].last));
    for at in left {
        if bytes <= bytes_max {
            break;
        }
        bytes -= files[at].bytes;
        gone.push(at);
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Counts;

    const NOW: i64 = 1_762_876_800_000_000;

    /// Generation, rows, day before today, age in minutes.
    fn plan(files: &[(u64, u64, i64, u64)]) -> Vec<usize> {
        let entries: Vec<FileEntry> =
            files.iter().map(|&(generation, rows, day, _)| entry(generation, rows, day)).collect();
        let candidates: Vec<Candidate<'_>> = entries
            .iter()
            .zip(files)
            .map(|(entry, (.., minutes))| Candidate { entry, age: Duration::from_secs(60 * minutes) })
            .collect();
        next_merge(&candidates, Timestamp::clamped(NOW))
    }

    fn entry(generation: u64, rows: u64, day: i64) -> FileEntry {
        let time = Timestamp::clamped(NOW - day * DAY_MICROS);
        FileEntry {
            name: String::new(),
            generation,
            rows,
            bytes: rows * 25,
            crc: 0,
            first: time,
            last: time,
            counts: Counts::default(),
        }
    }

    #[test]
    fn what_is_merged() {
        let none: Vec<usize> = Vec::new();
        assert_eq!(plan(&[]), none);
        assert_eq!(plan(&[(0, 100, 0, 1); 7]), none);
        assert_eq!(plan(&[(0, 100, 0, 1); 8]), (0..8).collect::<Vec<_>>());
        assert_eq!(plan(&[(0, 100, 0, 1); 40]), (0..16).collect::<Vec<_>>());
        assert_eq!(plan(&[(0, 100, 0, 11)]), [0]);
        assert_eq!(plan(&[(0, 3_000_000, 0, 1); 4]), [0, 1]);
        // Today's files of like size, and not the large ones.
        assert_eq!(plan(&[(1, 1000, 0, 1); 7]), none);
        assert_eq!(plan(&[(1, 1000, 0, 100); 8]), (0..8).collect::<Vec<_>>());
        assert_eq!(plan(&[(1, LARGE_ROWS, 0, 100); 20]), none);
        // A day that is over and quiet, a day that is not quiet, one file that stands alone.
        assert_eq!(plan(&[(1, 1000, 0, 99), (1, 50_000, 2, 31), (1, 900_000, 2, 99)]), [1, 2]);
        assert_eq!(plan(&[(1, 50_000, 2, 29), (1, 900_000, 2, 99)]), none);
        // Days of few rows share a file.
        assert_eq!(plan(&[(1, 10, 3, 99), (1, 10, 4, 99), (1, 10, 60, 99)]), [0, 1]);
    }

    #[test]
    fn months() {
        for (text, month) in [("1970-01-01", 0), ("1999-12-31", 359), ("2000-02-29", 361), ("2025-03-01", 662)] {
            let time = record::time::parse(text.as_bytes(), &record::Zone::UTC, Timestamp::MIN).unwrap().timestamp;
            assert_eq!(month_of(time) - 1970 * 12, month, "{text}");
        }
    }

    #[test]
    fn what_expires() {
        let entries = [entry(1, 100, 0), entry(1, 100, 9), entry(1, 100, 5), entry(0, 100, 1)];
        let entries: Vec<&FileEntry> = entries.iter().collect();
        let before = |day: i64| Some(Timestamp::clamped(NOW - day * DAY_MICROS));
        assert_eq!(expired(&entries, None, None), [] as [usize; 0]);
        assert_eq!(expired(&entries, before(5), None), [1]);
        assert_eq!(expired(&entries, before(9), Some(5000)), [1, 2]);
        assert_eq!(expired(&entries, before(8), Some(2500)), [1, 2, 3]);
        assert_eq!(expired(&entries, None, Some(0)), [1, 2, 3, 0]);
    }
}
