//! Small steps over bytes that several scanners take.

use memchr::memchr;

/// Where `byte` is from `at` on; the end where it is not. The next few bytes are looked at here, as most fields are
/// short; only then is it worth a call.
#[inline]
pub fn find(bytes: &[u8], at: usize, byte: u8) -> Option<usize> {
    const NEAR: usize = 12;
    let rest = bytes.get(at..)?;
    let near = &rest[..rest.len().min(NEAR)];
    for (i, &b) in near.iter().enumerate() {
        if b == byte {
            return Some(at + i);
        }
    }
    memchr(byte, &rest[near.len()..]).map(|i| at + near.len() + i)
}

/// What ends a word, as bits of [`CLASSES`].
pub const BLANK: u8 = 1;
pub const BRACKET: u8 = 2;
pub const EQUALS: u8 = 4;
pub const QUOTE: u8 = 8;
/// All that is not printable ASCII, the blank excepted.
pub const OTHER: u8 = 16;
/// Control characters, and the blank too.
pub const SPACE: u8 = 32;
/// All that does not stand in a key of logfmt as programs write them: letters, digits and `_ . - / : @`, and what is not
/// ASCII.
pub const NO_KEY: u8 = 64;
/// All that does not stand in an address or the name of a host: letters, digits and `. - : _ %`.
pub const NO_HOST: u8 = 128;

static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut b = 0;
    while b < 256 {
        let byte = b as u8;
        let class = match byte {
            b' ' => BLANK,
            b']' => BRACKET,
            b'=' => EQUALS,
            b'"' => QUOTE,
            0x21..=0x7e => 0,
            _ => OTHER,
        };
        let space = if byte <= b' ' { SPACE } else { 0 };
        let in_key = byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'/' | b':' | b'@' | 0x80..);
        let in_host = byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'_' | b'%');
        classes[b] = class | space | if in_key { 0 } else { NO_KEY } | if in_host { 0 } else { NO_HOST };
        b += 1;
    }
    classes
};

/// Where the word that begins at `at` ends: at the first byte of one of the classes, or at the end.
#[inline]
pub fn word_end(bytes: &[u8], mut at: usize, classes: u8) -> usize {
    while let Some(&b) = bytes.get(at)
        && CLASSES[usize::from(b)] & classes == 0
    {
        at += 1;
    }
    at
}

/// The bytes from `at` to the next blank or the end, and where they end.
#[inline]
pub fn token(bytes: &[u8], at: usize) -> (&[u8], usize) {
    let end = find(bytes, at, b' ').unwrap_or(bytes.len());
    (bytes.get(at..end).unwrap_or_default(), end)
}

/// Steps over blanks.
#[inline]
pub fn skip_blanks(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at) == Some(&b' ') {
        at += 1;
    }
    at
}

/// Where the quoted text that begins at `at`, after its quote, ends: the index of the first quote that no backslash
/// escapes and that `closes` says may be the last (given the index after it).
#[inline]
pub fn closing_quote(bytes: &[u8], mut at: usize, closes: impl Fn(usize) -> bool) -> Option<usize> {
    loop {
        let next = at + memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[next] == b'\\' {
            at = next + 2;
        } else if closes(next + 1) {
            return Some(next);
        } else {
            at = next + 1;
        }
    }
}

/// The number that `text` is as a whole, when it is one to `digits_max` digits.
#[inline]
pub fn whole_number(text: &[u8], digits_max: usize) -> Option<u64> {
    if text.is_empty() || text.len() > digits_max {
        return None;
    }
    text.iter().try_fold(0u64, |sum, b| {
        let digit = b.wrapping_sub(b'0');
        (digit < 10).then(|| sum * 10 + u64::from(digit))
    })
}

/// Whether the text is an IP address, of version 4 or 6, the latter also with a zone (`fe80::1%eth0`).
pub fn is_address(text: &[u8]) -> bool {
    let address = memchr(b'%', text).map_or(text, |zone| &text[..zone]);
    std::str::from_utf8(address).is_ok_and(|address| address.parse::<std::net::IpAddr>().is_ok())
}
