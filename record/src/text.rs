//! Bytes to text and back: repair, escape, unescape, and the copying of JSON values that every store can keep.
//!
//! Text that leaves this module is UTF-8 without NUL, which Postgres refuses in `text` and in `jsonb` alike.

use memchr::{memchr, memchr2};

const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// A number of more characters than this becomes a string: Postgres' numeric would hold it, few readers would.
const NUMBER_DIGITS_MAX: usize = 1000;

/// A piece of text as a parser found it: borrowed from the line wherever it can be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Text<'a> {
    #[default]
    Empty,
    /// Bytes as they came; repaired to UTF-8 when they are written.
    Bytes(&'a [u8]),
    /// What stands between the quotes of a valid JSON string, escapes and all.
    Json(&'a str),
    /// Text without NUL and with nothing to unescape.
    Clean(&'a str),
    /// Text that had to be put together: rare.
    Owned(String),
}

impl Text<'_> {
    pub fn is_empty(&self) -> bool {
        match self {
            Text::Empty => true,
            Text::Bytes(bytes) => bytes.is_empty(),
            Text::Json(text) | Text::Clean(text) => text.is_empty(),
            Text::Owned(text) => text.is_empty(),
        }
    }

    /// Appends the text itself. True when it was not UTF-8 and has been repaired.
    pub fn write(&self, out: &mut Vec<u8>) -> bool {
        match self {
            Text::Empty => false,
            Text::Bytes(bytes) => push_clean(bytes, out),
            Text::Json(json) => {
                push_unescaped(json, out);
                false
            }
            Text::Clean(text) => {
                out.extend_from_slice(text.as_bytes());
                false
            }
            Text::Owned(text) => push_clean(text.as_bytes(), out),
        }
    }

    /// The text as a string of its own, repaired.
    pub fn to_string_lossy(&self) -> String {
        let mut out = Vec::new();
        self.write(&mut out);
        String::from_utf8(out).unwrap_or_default()
    }
}

impl<'a> From<&'a [u8]> for Text<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Text::Bytes(bytes)
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Text::Bytes(text.as_bytes())
    }
}

/// Appends `bytes` as UTF-8, each broken sequence and each NUL as U+FFFD. True when a sequence was broken.
pub fn push_clean(bytes: &[u8], out: &mut Vec<u8>) -> bool {
    match std::str::from_utf8(bytes) {
        Ok(_) => {
            push_without_nul(bytes, out);
            false
        }
        Err(_) => {
            for chunk in bytes.utf8_chunks() {
                push_without_nul(chunk.valid().as_bytes(), out);
                if !chunk.invalid().is_empty() {
                    out.extend_from_slice(REPLACEMENT);
                }
            }
            true
        }
    }
}

/// Appends `bytes` as UTF-8, each broken sequence as U+FFFD.
pub fn push_lossy(bytes: &[u8], out: &mut String) {
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            out.push(char::REPLACEMENT_CHARACTER);
        }
    }
}

fn push_without_nul(mut bytes: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = memchr(0, bytes) {
        out.extend_from_slice(&bytes[..at]);
        out.extend_from_slice(REPLACEMENT);
        bytes = &bytes[at + 1..];
    }
    out.extend_from_slice(bytes);
}

/// Appends `bytes` as a JSON string with its quotes, repaired like [`push_clean`]. True when a sequence was broken.
pub fn push_json_string(bytes: &[u8], out: &mut Vec<u8>) -> bool {
    out.push(b'"');
    let broken = push_json_inside(bytes, out);
    out.push(b'"');
    broken
}

/// The same without the quotes.
pub fn push_json_inside(bytes: &[u8], out: &mut Vec<u8>) -> bool {
    if std::str::from_utf8(bytes).is_ok() {
        push_escaped(bytes, out);
        return false;
    }
    for chunk in bytes.utf8_chunks() {
        push_escaped(chunk.valid().as_bytes(), out);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice(REPLACEMENT);
        }
    }
    true
}

/// Appends digits as a JSON number when they are a canonical i64, so that the text comes back as it was; else a string.
/// True when it was not UTF-8; `ascii` says that there is no need to look.
pub(crate) fn push_number_or_text(text: &[u8], ascii: bool, out: &mut Vec<u8>) -> bool {
    if is_canonical_i64(text) {
        out.extend_from_slice(text);
        return false;
    }
    push_string(text, ascii, out)
}

/// Appends a JSON string; true when it was not UTF-8. `ascii` says that there is no need to look.
#[inline]
pub(crate) fn push_string(bytes: &[u8], ascii: bool, out: &mut Vec<u8>) -> bool {
    if !ascii {
        return push_json_string(bytes, out);
    }
    out.push(b'"');
    push_escaped(bytes, out);
    out.push(b'"');
    false
}

/// Whether the text is exactly how an i64 is written.
#[inline]
pub fn is_canonical_i64(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    match digits {
        [b'0'] => text.len() == 1,
        [b'1'..=b'9', ..] if digits.len() <= 18 => digits.iter().all(u8::is_ascii_digit),
        _ => digits.len() == 19 && canonical_i64(text).is_some(),
    }
}

/// The number, when `text` is exactly how an i64 is written.
pub fn canonical_i64(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    match digits {
        [b'0'] if text.len() == 1 => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Appends UTF-8 bytes escaped for the inside of a JSON string (RFC 8259 §7).
#[inline]
pub fn push_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    let at = find_special(bytes, 0);
    out.extend_from_slice(&bytes[..at]);
    if at < bytes.len() {
        push_special(&bytes[at..], out);
    }
}

fn push_special(mut bytes: &[u8], out: &mut Vec<u8>) {
    while let Some(&special) = bytes.first() {
        match special {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            0 => out.extend_from_slice(REPLACEMENT),
            control => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(control >> 4)]);
                out.push(HEX[usize::from(control & 15)]);
            }
        }
        let next = find_special(bytes, 1);
        out.extend_from_slice(&bytes[1..next]);
        bytes = &bytes[next..];
    }
}

/// The index of the first quote, backslash or control character from `at` on, which a JSON string cannot hold as it is;
/// the end where there is none. Eight bytes are tested at a time: in each of them the top bit is set where the byte is
/// one of these, and below the lowest set bit none is set wrongly.
#[inline]
pub(crate) fn find_special(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x8080_8080_8080_8080;
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        let quote = word ^ (ONES * b'"' as u64);
        let backslash = word ^ (ONES * b'\\' as u64);
        let found = (quote.wrapping_sub(ONES) & !quote
            | backslash.wrapping_sub(ONES) & !backslash
            | word.wrapping_sub(ONES * 0x20) & !word)
            & TOPS;
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while let Some(&b) = bytes.get(at) {
        if b < 0x20 || b == b'"' || b == b'\\' {
            return at;
        }
        at += 1;
    }
    at
}

/// Whether all bytes are ASCII and none is NUL: then every piece of them is text that can be stored.
#[inline]
pub fn is_clean_ascii(bytes: &[u8]) -> bool {
    // Without a branch per byte, which the compiler turns into vector code.
    let mut chunks = bytes.chunks_exact(64);
    chunks.all(|chunk| chunk.iter().fold(true, |clean, b| clean & (b.wrapping_sub(1) < 0x7f)))
        && bytes[bytes.len() / 64 * 64..].iter().all(|b| b.wrapping_sub(1) < 0x7f)
}

/// Appends the text of a JSON string's inside. Lone surrogates and NUL become U+FFFD. `json` must be the inside of a
/// valid JSON string; a cut escape is copied as it is.
pub fn push_unescaped(json: &str, out: &mut Vec<u8>) {
    let mut rest = json.as_bytes();
    while let Some(at) = memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let (escape, after) = Escape::read(&rest[at..]);
        match escape {
            Escape::Char(c) => {
                let mut utf8 = [0; 4];
                out.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes());
            }
            Escape::Unstorable => out.extend_from_slice(REPLACEMENT),
            Escape::Broken => out.push(b'\\'),
        }
        rest = &rest[at + after..];
    }
    out.extend_from_slice(rest);
}

enum Escape {
    Char(char),
    /// `\u0000` or half of a surrogate pair.
    Unstorable,
    Broken,
}

impl Escape {
    /// Reads the escape at the start of `bytes` (which begin with a backslash): what it stands for, and its length.
    fn read(bytes: &[u8]) -> (Escape, usize) {
        let plain = match bytes.get(1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return Escape::read_unicode(bytes),
            _ => return (Escape::Broken, 1),
        };
        (Escape::Char(plain), 2)
    }

    fn read_unicode(bytes: &[u8]) -> (Escape, usize) {
        let Some(unit) = hex4(bytes.get(2..6)) else {
            return (Escape::Broken, 1);
        };
        if (0xd800..0xdc00).contains(&unit)
            && bytes.get(6..8) == Some(b"\\u")
            && let Some(low) = hex4(bytes.get(8..12)).filter(|low| (0xdc00..0xe000).contains(low))
        {
            let code = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
            return (char::from_u32(code).map_or(Escape::Unstorable, Escape::Char), 12);
        }
        match char::from_u32(unit) {
            Some('\0') | None => (Escape::Unstorable, 6),
            Some(c) => (Escape::Char(c), 6),
        }
    }
}

fn hex4(digits: Option<&[u8]>) -> Option<u32> {
    digits?.iter().try_fold(0, |sum, &b| Some(sum << 4 | (b as char).to_digit(16)?))
}

/// Appends a valid JSON value without its white space, made storable: `\u0000` and lone surrogates become U+FFFD,
/// numbers that few readers can hold become strings. `raw` must be valid JSON.
pub fn push_json_value(raw: &str, out: &mut Vec<u8>) {
    let bytes = raw.as_bytes();
    let mut at = 0;
    while let Some(&b) = bytes.get(at) {
        at += match b {
            b' ' | b'\t' | b'\n' | b'\r' => 1,
            b'"' => push_json_string_token(&bytes[at..], out),
            b'-' | b'0'..=b'9' => push_json_number_token(&bytes[at..], out),
            _ => {
                out.push(b);
                1
            }
        };
    }
}

/// Copies the string token at the start of `bytes`, quotes included; returns its length there.
pub(crate) fn push_json_string_token(bytes: &[u8], out: &mut Vec<u8>) -> usize {
    let mut at = 1;
    let mut copied = 0;
    loop {
        let Some(next) = bytes.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) else {
            out.extend_from_slice(&bytes[copied..]);
            return bytes.len();
        };
        at += next;
        if bytes[at] == b'"' {
            out.extend_from_slice(&bytes[copied..=at]);
            return at + 1;
        }
        let (escape, length) = Escape::read(&bytes[at..]);
        if matches!(escape, Escape::Unstorable) {
            out.extend_from_slice(&bytes[copied..at]);
            out.extend_from_slice(REPLACEMENT);
            copied = at + length;
        }
        // A broken escape cannot stand in valid JSON; stepping over two bytes keeps `\"` from ending the string.
        at += length.max(2);
    }
}

/// Copies the number token at the start of `bytes`; returns its length there.
fn push_json_number_token(bytes: &[u8], out: &mut Vec<u8>) -> usize {
    let length =
        bytes.iter().position(|b| !matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')).unwrap_or(bytes.len());
    let number = &bytes[..length];
    if is_storable_number(number) {
        out.extend_from_slice(number);
    } else {
        out.push(b'"');
        out.extend_from_slice(number);
        out.push(b'"');
    }
    length
}

/// Whether a JSON number is within ±1e308, not so small that it reads as nothing, and at most 1,000 digits long.
fn is_storable_number(number: &[u8]) -> bool {
    if number.len() <= 17 && !number.iter().any(|b| matches!(b, b'e' | b'E')) {
        return true;
    }
    if number.len() > NUMBER_DIGITS_MAX {
        return false;
    }
    let Some(value) = std::str::from_utf8(number).ok().and_then(|n| n.parse::<f64>().ok()) else {
        return false;
    };
    let mantissa = number.split(|b| matches!(b, b'e' | b'E')).next().unwrap_or_default();
    value.abs() <= 1e308 && (value != 0.0 || !mantissa.iter().any(|b| matches!(b, b'1'..=b'9')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unescaped(json: &str) -> String {
        let mut out = Vec::new();
        push_unescaped(json, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn value(json: &str) -> String {
        let mut out = Vec::new();
        push_json_value(json, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn escapes_are_read() {
        for (json, text) in [
            (r"a\n\t\u0041", "a\n\tA"),
            (r"\ud83d\ude00", "\u{1f600}"),
            (r"\ud83d", "\u{fffd}"),
            (r"\ude00x", "\u{fffd}x"),
            (r"\ud83d\u0041", "\u{fffd}A"),
            (r"a\u0000b", "a\u{fffd}b"),
            (r"\/\\\u12", "/\\\\u12"),
        ] {
            assert_eq!(unescaped(json), text, "{json}");
        }
    }

    #[test]
    fn values_are_made_storable() {
        for (json, stored) in [
            (r#" { "a" : [ 1 , 2.50 , "x y" ] } "#, r#"{"a":[1,2.50,"x y"]}"#),
            (r#""\u0000 \ud800 \ud83d\ude00 \" ""#, "\"\u{fffd} \u{fffd} \\ud83d\\ude00 \\\" \""),
            ("1e309", r#""1e309""#),
            ("-1e999999", r#""-1e999999""#),
            ("1e-999999", r#""1e-999999""#),
            ("0e999999", "0e999999"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
        ] {
            assert_eq!(value(json), stored, "{json}");
        }
        assert!(value(&"9".repeat(1001)).starts_with('"'));
    }

    #[test]
    fn broken_utf8_is_repaired_and_said() {
        let mut out = Vec::new();
        assert!(push_clean(b"a\xff\0b", &mut out));
        assert_eq!(out, "a\u{fffd}\u{fffd}b".as_bytes());
        assert!(!push_clean("ok".as_bytes(), &mut out));
    }

    #[test]
    fn canonical_numbers_only() {
        for (text, number) in [
            ("0", Some(0)),
            ("-5", Some(-5)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
        ] {
            assert_eq!(canonical_i64(text.as_bytes()), number);
        }
        for text in ["", "-", "-0", "00", "+1", "1.0", "9223372036854775808", " 1"] {
            assert_eq!(canonical_i64(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn escaping_any_text_comes_back(text in "[^\0]*") {
            let mut json = Vec::new();
            push_json_string(text.as_bytes(), &mut json);
            let json = String::from_utf8(json).unwrap();
            prop_assert_eq!(sonic_rs::from_str::<String>(&json).unwrap(), text.clone());
            prop_assert_eq!(unescaped(&json[1..json.len() - 1]), text);
        }

        #[test]
        fn any_bytes_become_utf8(bytes: Vec<u8>) {
            let mut out = Vec::new();
            push_clean(&bytes, &mut out);
            prop_assert!(String::from_utf8(out).is_ok_and(|text| !text.contains('\0')));
        }
    }
}
