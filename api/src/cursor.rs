//! The cursor of a page: where the next one starts, and for which filter, as text that a client keeps whole.
//!
//! | at | bytes | content |
//! |---|---|---|
//! | 0 | 1 | version, 1 |
//! | 1 | 16 | id of the last record shown: it carries the timestamp |
//! | 17 | 8 | fingerprint of the filter, big-endian |
//!
//! written as base64url without padding (RFC 4648 §5).

use engine::store::Position;
use record::Id;

use crate::error::ApiError;

const BYTES: usize = 25;
const VERSION: u8 = 1;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

pub fn write(position: Position, fingerprint: u64) -> String {
    let mut bytes = [0; BYTES];
    bytes[0] = VERSION;
    bytes[1..17].copy_from_slice(position.0.as_bytes());
    bytes[17..].copy_from_slice(&fingerprint.to_be_bytes());
    encode(&bytes)
}

/// Reads a cursor that belongs to the filter with this fingerprint.
pub fn read(text: &str, fingerprint: u64) -> Result<Position, ApiError> {
    let broken = || {
        ApiError::bad_request(
            "bad_cursor",
            format!("`{}` is no cursor: give next_cursor of the page before, or leave it out", crate::params::shown(text)),
        )
    };
    let bytes: [u8; BYTES] = decode(text).and_then(|bytes| bytes.try_into().ok()).ok_or_else(broken)?;
    let (mut id, mut hash) = ([0; 16], [0; 8]);
    id.copy_from_slice(&bytes[1..17]);
    hash.copy_from_slice(&bytes[17..]);
    if bytes[0] != VERSION {
        return Err(broken());
    }
    if u64::from_be_bytes(hash) != fingerprint {
        return Err(ApiError::bad_request(
            "cursor_mismatch",
            "the cursor is of a query with another filter: send the same parameters with it, or leave it out",
        ));
    }
    Ok(Position(Id::from_bytes(id)))
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

    #[test]
    fn comes_back() {
        let id = Id::new(record::Timestamp::from_micros(1_762_876_800_123_456).unwrap(), 77, 5);
        let text = write(Position(id), 0x0123_4567_89ab_cdef);
        assert_eq!(text.len(), 34);
        assert_eq!(read(&text, 0x0123_4567_89ab_cdef).unwrap(), Position(id));
        assert_eq!(read(&text, 1).unwrap_err().code, "cursor_mismatch");
    }

    #[test]
    fn broken_text_is_refused() {
        let text = write(Position(Id::MAX), 1);
        for cut in 0..text.len() {
            assert_eq!(read(&text[..cut], 1).unwrap_err().code, "bad_cursor", "{cut}");
        }
        for bad in ["x", "====", "ä", &"A".repeat(34), &format!("{text}A"), &format!("{}_", &text[..33])] {
            assert_eq!(read(bad, 1).unwrap_err().code, "bad_cursor", "{bad}");
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
