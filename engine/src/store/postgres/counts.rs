//! How many of the copied rows are of which minute, level, source and application: what `log_counts` gets in the same
//! transaction.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use bytes::Bytes;
use record::Row;

use super::types::POSTGRES_EPOCH_MICROS;

pub(super) const MINUTE_MICROS: i64 = 60_000_000;
/// All rows of one minute have the same `part`, so that they can be folded on one shard; minutes in turn have others.
const PARTS: i64 = 16;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key<'a> {
    minute: i64,
    level: u8,
    source: &'a [u8],
    application: &'a [u8],
}

/// Sums over rows that it borrows from.
#[derive(Default)]
pub(super) struct Counting<'a> {
    sums: HashMap<Key<'a>, u64, BuildHasherDefault<Fold>>,
}

impl<'a> Counting<'a> {
    pub fn add(&mut self, row: &Row<'a>) {
        let key = Key {
            minute: row.timestamp().as_micros().div_euclid(MINUTE_MICROS),
            level: row.level().index() as u8,
            source: row.source(),
            application: row.application(),
        };
        *self.sums.entry(key).or_default() += 1;
    }

    pub fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }

    /// Tuples of (part, minute, level, source, application, count).
    pub fn tuples(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.sums.len() * 96);
        for (key, count) in &self.sums {
            let level = record::Level::from_index(key.level.into()).unwrap_or(record::Level::Info);
            out.extend_from_slice(&6u16.to_be_bytes());
            push(&mut out, &(key.minute.rem_euclid(PARTS) as i16).to_be_bytes());
            push(&mut out, &(key.minute * MINUTE_MICROS - POSTGRES_EPOCH_MICROS).to_be_bytes());
            push(&mut out, level.as_str().as_bytes());
            push(&mut out, key.source);
            push(&mut out, key.application);
            push(&mut out, &(*count as i64).to_be_bytes());
        }
        out.into()
    }
}

fn push(out: &mut Vec<u8>, field: &[u8]) {
    out.extend_from_slice(&(field.len() as u32).to_be_bytes());
    out.extend_from_slice(field);
}

/// A multiply and a rotation a word. Whoever finds sources that collide slows down no more than the one transaction that
/// holds them, and that has its limit in bytes.
#[derive(Default)]
struct Fold(u64);

impl Fold {
    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.mix(u64::from_le_bytes(last));
    }

    fn write_u8(&mut self, byte: u8) {
        self.mix(byte.into());
    }

    fn write_i64(&mut self, word: i64) {
        self.mix(word as u64);
    }

    fn write_usize(&mut self, word: usize) {
        self.mix(word as u64);
    }

    fn finish(&self) -> u64 {
        // The map takes the high bits for its tags and the low ones for the place.
        self.0 ^ self.0 >> 32
    }
}
