//! What became of the lines, in numbers.

use std::fmt::Write;
use std::time::Duration;

#[derive(Debug, Default)]
pub struct Tally {
    pub lines: u64,
    pub bytes: u64,
    pub rejected: u64,
    /// Records of each format: so few that a list is faster than a map.
    pub formats: Vec<(&'static str, u64)>,
}

impl Tally {
    pub fn count(&mut self, format: &'static str, records: u64) {
        match self.formats.iter_mut().find(|(known, _)| *known == format) {
            Some((_, count)) => *count += records,
            None => self.formats.push((format, records)),
        }
    }

    pub fn add(&mut self, other: &Tally) {
        self.lines += other.lines;
        self.bytes += other.bytes;
        self.rejected += other.rejected;
        for &(format, records) in &other.formats {
            self.count(format, records);
        }
    }

    /// For people: a line for each format, those with most records first, and one for all.
    pub fn report(&self, took: Duration) -> String {
        let mut formats = self.formats.clone();
        formats.sort_by_key(|&(name, records)| (std::cmp::Reverse(records), name));
        formats.push(("rejected", self.rejected));
        let mut out = String::new();
        for (name, records) in formats {
            let _ = writeln!(out, "{name:16} {records:12}");
        }
        // A clock that stood still would make it a division by nothing.
        let seconds = took.as_secs_f64().max(1e-6);
        let _ = writeln!(
            out,
            "{} lines, {} bytes in {seconds:.3} s: {:.0} lines/s, {:.1} MB/s",
            self.lines,
            self.bytes,
            self.lines as f64 / seconds,
            self.bytes as f64 / seconds / 1e6,
        );
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_summed_and_shown() {
        let mut tally = Tally { lines: 3, bytes: 30, ..Tally::default() };
        tally.count("plain", 1);
        let mut other = Tally { lines: 4, bytes: 70, rejected: 1, ..Tally::default() };
        other.count("json", 2);
        other.count("plain", 1);
        other.count("json", 1);
        tally.add(&other);
        let words: Vec<String> =
            tally.report(Duration::from_millis(500)).split_whitespace().map(str::to_owned).collect();
        assert_eq!(words.join(" "), "json 3 plain 2 rejected 1 7 lines, 100 bytes in 0.500 s: 14 lines/s, 0.0 MB/s");
    }
}
