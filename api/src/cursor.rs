//! The cursor of a page: where the next one starts, and for which filter, as text that a client keeps whole.
//!
//! | at | bytes | content |
//! |---|---|---|
//! | 0 | 1 | version, 1 |
//! | 1 | 16 | id of the last record shown: it carries the timestamp |
//! | 17 | 8 | when the first page was asked for, µs since 1970: what `-1h` in its filter counts from, on every page |
//! | 25 | 8 | fingerprint of the filter |
//!
//! Integers are big-endian; it is written as base64url without padding (RFC 4648 §5).

use engine::store::Position;
use record::{Filter, Id, Timestamp};

use crate::error::ApiError;
use crate::params::shown;

const BYTES: usize = 33;
const VERSION: u8 = 1;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Where a page starts, and what it is a page of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub position: Position,
    pub received: Timestamp,
    pub fingerprint: u64,
}

impl Cursor {
    pub fn write(&self) -> String {
        let mut bytes = [0; BYTES];
        bytes[0] = VERSION;
        bytes[1..17].copy_from_slice(self.position.0.as_bytes());
        bytes[17..25].copy_from_slice(&self.received.as_micros().to_be_bytes());
        bytes[25..].copy_from_slice(&self.fingerprint.to_be_bytes());
        encode(&bytes)
    }

    pub fn read(text: &str) -> Result<Cursor, ApiError> {
        let broken = || {
            ApiError::bad_request(
                "bad_cursor",
                format!("`{}` is no cursor: give next_cursor of the page before, or leave it out", shown(text)),
            )
        };
        let bytes: [u8; BYTES] = decode(text).and_then(|bytes| bytes.try_into().ok()).ok_or_else(broken)?;
        let (mut id, mut received, mut fingerprint) = ([0; 16], [0; 8], [0; 8]);
        id.copy_from_slice(&bytes[1..17]);
        received.copy_from_slice(&bytes[17..25]);
        fingerprint.copy_from_slice(&bytes[25..]);
        if bytes[0] != VERSION {
            return Err(broken());
        }
        Ok(Cursor {
            position: Position(Id::from_bytes(id)),
            received: Timestamp::clamped(i64::from_be_bytes(received)),
            fingerprint: u64::from_be_bytes(fingerprint),
        })
    }

    /// The position, if it is one in what this filter finds.
    pub fn position_in(&self, filter: &Filter) -> Result<Position, ApiError> {
        if self.fingerprint == filter.fingerprint() {
            return Ok(self.position);
        }
        Err(ApiError::bad_request(
            "cursor_mismatch",
            "the cursor is of a query with another filter: send the same parameters with it, or leave it out",
        ))
    }
}

fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut word = [0; 4];
        word[1..=chunk.len()].copy_from_slice(chunk);
        let word = u32::from_be_bytes(word);
        for i in 0..=chunk.len() {
            out.push(char::from(ALPHABET[(word >> (18 - 6 * i) & 63) as usize]));
        }
    }
    out
}

/// `None` for what `encode` would not have written: one cursor has one text.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for chunk in text.as_bytes().chunks(4) {
        let mut word = 0u32;
        for (i, byte) in chunk.iter().enumerate() {
            let value = ALPHABET.iter().position(|letter| letter == byte)?;
            word |= (value as u32) << (18 - 6 * i);
        }
        let length = chunk.len() - 1;
        let bytes = word.to_be_bytes();
        if length == 0 || (u64::from(word) << (8 + 8 * length)) as u32 != 0 {
            return None;
        }
        out.extend_from_slice(&bytes[1..=length]);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(filter: &Filter) -> Cursor {
        let received = Timestamp::from_micros(1_762_876_800_123_456).unwrap();
        Cursor { position: Position(Id::new(received, 77, 5)), received, fingerprint: filter.fingerprint() }
    }

    #[test]
    fn comes_back() {
        let filter = Filter::default();
        let cursor = cursor(&filter);
        let text = cursor.write();
        assert_eq!(text.len(), 44);
        assert_eq!(Cursor::read(&text).unwrap(), cursor);
        assert_eq!(cursor.position_in(&filter).unwrap(), cursor.position);
        let other = Filter { source: Some(vec!["a".into()]), ..Filter::default() };
        assert_eq!(cursor.position_in(&other).unwrap_err().code, "cursor_mismatch");
    }

    #[test]
    fn broken_text_is_refused() {
        let text = cursor(&Filter::default()).write();
        for cut in 0..text.len() {
            assert_eq!(Cursor::read(&text[..cut]).unwrap_err().code, "bad_cursor", "{cut}");
        }
        for bad in ["x", "====", "ä", &"A".repeat(44), &format!("{text}A"), &format!("{text}AAAA")] {
            assert_eq!(Cursor::read(bad).unwrap_err().code, "bad_cursor", "{bad}");
        }
    }

    #[test]
    fn base64url_of_every_length() {
        for n in 0..40u8 {
            let bytes: Vec<u8> = (0..n).map(|i| i.wrapping_mul(37)).collect();
            assert_eq!(decode(&encode(&bytes)).unwrap(), bytes);
        }
        assert_eq!(encode(b"\xff\xfe\xfd"), "__79");
    }
}
