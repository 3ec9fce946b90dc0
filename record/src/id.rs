//! Record and batch ids: UUIDv7 (RFC 9562 §5.7) whose time is the event's own, to the microsecond.
//!
//! | bits | field | content |
//! |---|---|---|
//! | 0–47 | `unix_ts_ms` | milliseconds since 1970 of the event |
//! | 48–51 | version | 7 |
//! | 52–63 | `rand_a` | ⌈µs within the ms · 4096 / 1000⌉ (RFC 9562 §6.2, method 3); exactly invertible |
//! | 64–65 | variant | binary 10 |
//! | 66–103 | origin | 38 bits drawn at random by each source of ids when it starts |
//! | 104–127 | counter | 24 bits that run on; when they wrap the origin is drawn anew |
//!
//! So the order of ids is the order of events, one key serves paging, look-up and pruning, and nothing in an id is
//! random per record: stored as columns, ids pack to almost nothing.

use crate::time::Timestamp;

const ORIGIN_BITS: u32 = 38;
const COUNTER_BITS: u32 = 24;

/// The id of a record or of a batch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id([u8; 16]);

impl Id {
    pub const MIN: Id = Id([0; 16]);
    pub const MAX: Id = Id([0xff; 16]);

    /// Puts an id together; of `origin` the low 38 bits count, of `counter` the low 24.
    pub fn new(time: Timestamp, origin: u64, counter: u32) -> Id {
        let micros = time.as_micros().max(0) as u64;
        let (ms, us) = (micros / 1000, micros % 1000);
        let rand_a = (us * 4096).div_ceil(1000);
        let high = ms << 16 | 7 << 12 | rand_a;
        let tail = (origin & ((1 << ORIGIN_BITS) - 1)) << COUNTER_BITS | u64::from(counter) & ((1 << COUNTER_BITS) - 1);
        let low = 0b10 << 62 | tail;
        Id((u128::from(high) << 64 | u128::from(low)).to_be_bytes())
    }

    pub const fn from_bytes(bytes: [u8; 16]) -> Id {
        Id(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The event's time, exactly as it went in (for an id made by [`Id::new`]).
    pub fn timestamp(&self) -> Timestamp {
        let high = (u128::from_be_bytes(self.0) >> 64) as u64;
        let us = ((high & 0xfff) * 1000) / 4096;
        Timestamp::clamped(((high >> 16) * 1000 + us) as i64)
    }

    /// The 38 random bits of the source that drew this id.
    pub fn origin(&self) -> u64 {
        (u128::from_be_bytes(self.0) as u64) >> COUNTER_BITS & ((1 << ORIGIN_BITS) - 1)
    }

    /// The running number within its origin.
    pub fn counter(&self) -> u32 {
        (u128::from_be_bytes(self.0) as u32) & ((1 << COUNTER_BITS) - 1)
    }

    /// Whether version and variant are those of an id that [`Id::new`] makes.
    pub fn is_v7(&self) -> bool {
        self.0[6] >> 4 == 7 && self.0[8] >> 6 == 0b10
    }

    /// Reads the usual form of 36 characters, or 32 hex digits without the dashes.
    pub fn parse(text: &str) -> Option<Id> {
        let bytes = text.as_bytes();
        if bytes.len() == 36 && [8, 13, 18, 23].iter().any(|&i| bytes[i] != b'-') {
            return None;
        }
        if bytes.len() != 36 && bytes.len() != 32 {
            return None;
        }
        let mut out = [0u8; 16];
        let mut digits = 0;
        for &b in bytes {
            let digit = match b {
                b'0'..=b'9' => b - b'0',
                b'a'..=b'f' => b - b'a' + 10,
                b'A'..=b'F' => b - b'A' + 10,
                b'-' if bytes.len() == 36 => continue,
                _ => return None,
            };
            *out.get_mut(digits / 2)? |= if digits % 2 == 0 { digit << 4 } else { digit };
            digits += 1;
        }
        (digits == 32).then_some(Id(out))
    }

    /// Appends the usual form of 36 characters.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_text());
    }

    fn to_text(self) -> [u8; 36] {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'-'; 36];
        let mut at = 0;
        for (i, byte) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                at += 1;
            }
            text[at] = HEX[usize::from(byte >> 4)];
            text[at + 1] = HEX[usize::from(byte & 15)];
            at += 2;
        }
        text
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = self.to_text();
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl std::fmt::Debug for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// Draws ids: one per shard, so that no two threads share a counter.
pub struct IdSource {
    random: Box<dyn FnMut() -> u64 + Send>,
    origin: u64,
    counter: u32,
}

impl IdSource {
    /// `random` gives 64 random bits at every call; it is asked at the start and each 16,777,216 ids.
    pub fn new(mut random: impl FnMut() -> u64 + Send + 'static) -> IdSource {
        let (origin, counter) = IdSource::draw(&mut random);
        IdSource { random: Box::new(random), origin, counter }
    }

    pub fn next(&mut self, time: Timestamp) -> Id {
        let id = Id::new(time, self.origin, self.counter);
        self.counter += 1;
        if self.counter == 1 << COUNTER_BITS {
            (self.origin, self.counter) = IdSource::draw(&mut self.random);
        }
        id
    }

    /// A fresh origin always begins its counter at 0, so that (origin, counter) never comes twice.
    fn draw(random: &mut dyn FnMut() -> u64) -> (u64, u32) {
        (random() >> (64 - ORIGIN_BITS), 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_exactly_invertible() {
        for us in 0..1000 {
            let t = Timestamp::from_micros(1_762_876_800_000_000 + us).unwrap();
            assert_eq!(Id::new(t, 1, 2).timestamp(), t);
        }
        for t in [Timestamp::MIN, Timestamp::MAX] {
            assert_eq!(Id::new(t, u64::MAX, u32::MAX).timestamp(), t);
        }
    }

    #[test]
    fn parts_come_back() {
        let id = Id::new(Timestamp::MIN, 0x2a_bcde_f012, 0x00ab_cdef);
        assert_eq!((id.origin(), id.counter()), (0x2a_bcde_f012, 0x00ab_cdef));
        assert!(id.is_v7());
        assert_eq!(Id::parse(&id.to_string()), Some(id));
        assert_eq!(Id::parse(&id.to_string().replace('-', "")), Some(id));
    }

    #[test]
    fn order_is_that_of_events() {
        let mut source = IdSource::new(|| u64::MAX);
        let early = source.next(Timestamp::from_micros(1_000_001).unwrap());
        let late = source.next(Timestamp::from_micros(1_000_002).unwrap());
        assert!(early < late);
    }

    #[test]
    fn wrap_draws_a_new_origin() {
        let mut n = 0;
        let mut source = IdSource::new(move || {
            n += 1;
            n << 60
        });
        source.counter = (1 << COUNTER_BITS) - 1;
        let (last, first) = (source.next(Timestamp::MIN), source.next(Timestamp::MIN));
        assert_eq!((last.counter(), first.counter()), ((1 << COUNTER_BITS) - 1, 0));
        assert_ne!(last.origin(), first.origin());
    }

    #[test]
    fn broken_ids_are_refused() {
        for text in ["", "x", "0192d6b0-0000-7000-8000-00000000000", "0192d6b0-0000-7000-8000-00000000000g"] {
            assert_eq!(Id::parse(text), None, "{text}");
        }
    }
}
