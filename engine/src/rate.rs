//! How many records arrive a second: counted where they are published, without a timer and without a lock.
//!
//! A ring of slots, one a second, each a word of (second, count): whoever counts into a slot of an older second begins
//! it anew. So a count costs one clock read and one atomic a batch, and a quiet engine does nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Seconds that the rate is taken over: long enough to stand still, short enough to be now.
const SECONDS: u64 = 10;
/// One more for the second under way, the rest so that a slow reader finds no slot begun anew.
const SLOTS: usize = 16;

#[derive(Debug)]
pub(crate) struct Rate {
    start: Instant,
    /// Second since `start` in the high half, records in the low.
    slots: [AtomicU64; SLOTS],
}

impl Default for Rate {
    fn default() -> Self {
        Rate { start: Instant::now(), slots: Default::default() }
    }
}

impl Rate {
    pub fn add(&self, records: u32) {
        self.add_at(self.start.elapsed().as_secs(), records);
    }

    pub fn per_second(&self) -> f64 {
        self.per_second_at(self.start.elapsed().as_secs_f64())
    }

    fn add_at(&self, second: u64, records: u32) {
        let slot = &self.slots[second as usize % SLOTS];
        let _ = slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            let count = if word >> 32 == second { word as u32 } else { 0 };
            Some(second << 32 | u64::from(count.saturating_add(records)))
        });
    }

    /// The last ten whole seconds and the part of the one under way, or what has passed since the start.
    fn per_second_at(&self, now: f64) -> f64 {
        let second = now as u64;
        let first = second.saturating_sub(SECONDS);
        let count: u64 = (first..=second)
            .map(|second| (second, self.slots[second as usize % SLOTS].load(Ordering::Relaxed)))
            .filter(|(second, word)| word >> 32 == *second)
            .map(|(_, word)| u64::from(word as u32))
            .sum();
        // At least a second: the first record of all is no rate of a million.
        count as f64 / (now - first as f64).max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_last_ten_seconds() {
        let rate = Rate::default();
        assert_eq!(rate.per_second_at(0.0), 0.0);
        rate.add_at(0, 5);
        assert_eq!(rate.per_second_at(0.1), 5.0);
        for second in 0..100 {
            rate.add_at(second, 1_000);
        }
        assert_eq!(rate.per_second_at(100.0), 1_000.0);
        assert_eq!(rate.per_second_at(105.0), 500.0);
        assert_eq!(rate.per_second_at(120.0), 0.0);
        assert_eq!(rate.per_second_at(116.0), 0.0);
    }
}
