//! Numbered records: the request id of every generated record is its number, stirred.
//!
//! Twelve hex digits that look drawn at random, and pack as badly as such digits do, so that a store is not flattered by
//! a counter; but they can be turned back, so that the store can be asked which records it has. The upper
//! [`TAG_BITS`] bits tell one run's records from another's on the same server.

pub const BITS: u32 = 48;
pub const TAG_BITS: u32 = 12;
pub const NUMBER_BITS: u32 = BITS - TAG_BITS;
/// Hex digits of a request id.
pub const DIGITS: usize = 12;

const MASK: u64 = (1 << BITS) - 1;
/// Odd, so that multiplying by it modulo 2^48 can be undone.
const STIR: u64 = 0x9e37_79b9_7f4b;
const UNSTIR: u64 = inverse(STIR);

/// Newton's method: each step doubles the bits that are right, and an odd number is its own inverse modulo 8.
const fn inverse(odd: u64) -> u64 {
    let mut inverse = odd;
    let mut step = 0;
    while step < 5 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(inverse)));
        step += 1;
    }
    inverse & MASK
}

/// Which run, and which of its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number {
    pub tag: u16,
    pub index: u64,
}

impl Number {
    pub fn digits(self) -> [u8; DIGITS] {
        let plain = (u64::from(self.tag) << NUMBER_BITS | self.index & ((1 << NUMBER_BITS) - 1)) & MASK;
        let mut value = plain.wrapping_mul(STIR) & MASK;
        // Undone by itself: twice 24 bits are all there are.
        value ^= value >> (BITS / 2);
        value = value.wrapping_mul(STIR) & MASK;
        let mut digits = [0; DIGITS];
        for (index, pair) in digits.chunks_exact_mut(2).enumerate() {
            let byte = value >> (BITS - 8 - 8 * index as u32) & 0xff;
            pair.copy_from_slice(&HEX[byte as usize]);
        }
        digits
    }

    /// What these digits stand for; `None` where they are no twelve hex digits.
    pub fn parse(digits: &[u8]) -> Option<Number> {
        let digits: &[u8; DIGITS] = digits.get(..DIGITS)?.try_into().ok()?;
        let mut value = 0u64;
        for &digit in digits {
            value = value << 4 | u64::from(char::from(digit).to_digit(16)?);
        }
        value = value.wrapping_mul(UNSTIR) & MASK;
        value ^= value >> (BITS / 2);
        value = value.wrapping_mul(UNSTIR) & MASK;
        Some(Number { tag: (value >> NUMBER_BITS) as u16, index: value & ((1 << NUMBER_BITS) - 1) })
    }
}

/// The two hex digits of every byte.
pub const HEX: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_turned_back_into_the_number() {
        for tag in [0, 1, 77, (1 << TAG_BITS) - 1] {
            for index in [0, 1, 2, 999_999, (1 << 32) + 7, (1 << NUMBER_BITS) - 1] {
                let number = Number { tag, index };
                assert_eq!(Number::parse(&number.digits()), Some(number));
            }
        }
        assert_eq!(Number::parse(b"12345678901"), None);
        assert_eq!(Number::parse(b"12345678901x"), None);
    }
}
