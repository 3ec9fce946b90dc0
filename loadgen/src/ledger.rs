//! What was sent, what was acknowledged, and what the store has of it at the end.

use std::io::{self, Read};

use crate::number::{DIGITS, Number};

/// Before the digits of a number, in every form a record is given back in: `"metadata.request_id"` is one of them.
const BEFORE_DIGITS: &[u8] = b"request_id\":\"";
/// What is read of an export at a time.
const READ_BYTES: usize = 256 * 1024;

/// A bit for each number.
#[derive(Debug, Default, Clone)]
struct Bits(Vec<u64>);

impl Bits {
    /// Sets a bit; gives whether it was set before.
    fn set(&mut self, index: u64) -> bool {
        let word = (index / 64) as usize;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        let mask = 1 << (index % 64);
        let before = self.0[word] & mask != 0;
        self.0[word] |= mask;
        before
    }

    fn and_not(&self, other: &Bits) -> u64 {
        let others = other.0.iter().copied().chain(std::iter::repeat(0));
        self.0.iter().zip(others).map(|(mine, others)| u64::from((mine & !others).count_ones())).sum()
    }
}

#[derive(Debug, Clone)]
pub struct Ledger {
    pub tag: u16,
    /// The next record's number.
    pub next: u64,
    pub acknowledged: u64,
    /// Answered with a refusal, or only in part.
    pub refused: u64,
    acked: Bits,
}

/// What the store told at the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stored {
    pub stored: u64,
    /// Acknowledged, and not there.
    pub lost: u64,
    /// There more than once; each further time counts.
    pub doubled: u64,
    /// There without an acknowledgement: right where the answer got lost, worth a look elsewhere.
    pub unacknowledged: u64,
    /// Numbers of this run that were never sent.
    pub strange: u64,
}

impl Ledger {
    pub fn new(tag: u16) -> Ledger {
        Ledger { tag, next: 0, acknowledged: 0, refused: 0, acked: Bits::default() }
    }

    /// Gives `count` numbers out.
    pub fn take(&mut self, count: usize) -> u64 {
        let first = self.next;
        self.next += count as u64;
        first
    }

    /// An answer that took all of them.
    pub fn acknowledge(&mut self, first: u64, count: usize) {
        self.acknowledged += count as u64;
        for index in first..first + count as u64 {
            self.acked.set(index);
        }
    }

    /// An answer that took `accepted` of `count`. Which ones it does not say, so that none of them can be missed later.
    pub fn refuse(&mut self, count: usize, accepted: u64) {
        self.acknowledged += accepted;
        self.refused += (count as u64).saturating_sub(accepted);
    }

    /// Compares with all that the store gives out.
    pub fn compare(&self, export: impl Read) -> io::Result<Stored> {
        self.compare_after(export, BEFORE_DIGITS)
    }

    /// The same, where a record's number comes after something else.
    pub fn compare_after(&self, mut export: impl Read, before: &[u8]) -> io::Result<Stored> {
        let mut found = Bits::default();
        let mut stored = Stored::default();
        let mut buffer = vec![0; READ_BYTES];
        let mut kept = 0;
        loop {
            let count = export.read(&mut buffer[kept..])?;
            if count == 0 {
                break;
            }
            let end = kept + count;
            let mut done = 0;
            for at in memchr::memmem::find_iter(&buffer[..end], before) {
                let digits = at + before.len();
                if digits + DIGITS > end {
                    break;
                }
                done = digits + DIGITS;
                match Number::parse(&buffer[digits..done]) {
                    Some(number) if number.tag == self.tag => match number.index < self.next {
                        true if found.set(number.index) => stored.doubled += 1,
                        true => stored.stored += 1,
                        false => stored.strange += 1,
                    },
                    _ => {}
                }
            }
            // A number may be cut at the end of what has come.
            let from = done.max(end.saturating_sub(before.len() + DIGITS - 1));
            buffer.copy_within(from..end, 0);
            kept = end - from;
        }
        stored.lost = self.acked.and_not(&found);
        stored.unacknowledged = found.and_not(&self.acked);
        Ok(stored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Dribble<'a>(&'a [u8], usize);

    impl Read for Dribble<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(out.len());
            out[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    #[test]
    fn losses_and_doubles_are_counted_however_the_export_comes() {
        let mut ledger = Ledger::new(5);
        let first = ledger.take(10);
        ledger.acknowledge(first, 8);
        let mut text = String::new();
        // 3 is lost, 4 is there three times, 9 without an acknowledgement; another run's records do not count.
        for (tag, index) in [0, 1, 2, 4, 4, 4, 5, 6, 7, 9].map(|n| (5, n)).into_iter().chain([(6, 3), (5, 77)]) {
            let digits = Number { tag, index }.digits();
            let digits = std::str::from_utf8(&digits).unwrap();
            text.push_str(&format!("{{\"message\":\"x\",\"metadata\":{{\"request_id\":\"{digits}\"}}}}\n"));
        }
        let expected = Stored { stored: 8, lost: 1, doubled: 2, unacknowledged: 1, strange: 1 };
        for step in [1, 2, 7, 13, 64, 100_000] {
            assert_eq!(ledger.compare(Dribble(text.as_bytes(), step)).unwrap(), expected, "{step}");
        }
    }
}
