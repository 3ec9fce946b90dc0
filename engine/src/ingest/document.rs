//! A first look at JSON documents: is it an array, an envelope around `logs`, one value, or the first of many lines?
//!
//! Brackets and quotes are followed, nothing else is checked: whoever parses the records does that.

/// The length of `{"logs":[` at the start of `bytes`, whatever blanks are in it.
pub fn envelope_start(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    for want in [&b"{"[..], b"\"logs\"", b":", b"["] {
        at += bytes[at..].iter().take_while(|b| b.is_ascii_whitespace()).count();
        if !bytes[at..].starts_with(want) {
            return None;
        }
        at += want.len();
    }
    Some(at)
}

/// Where the array of a top-level `logs` begins, just after its bracket.
pub fn find_envelope(object: &[u8]) -> Option<usize> {
    let mut depth = 0usize;
    let mut at = 0;
    while at < object.len() {
        match object[at] {
            b'"' => {
                let start = at;
                at = string_end(object, at + 1)?;
                if depth == 1 && &object[start..=at] == b"\"logs\"" {
                    let blank = |from: usize| object[from..].iter().take_while(|b| b.is_ascii_whitespace()).count();
                    let colon = at + 1 + blank(at + 1);
                    let bracket = colon + 1 + object.get(colon + 1..).map_or(0, |_| blank(colon + 1));
                    if object.get(colon) == Some(&b':') && object.get(bracket) == Some(&b'[') {
                        return Some(bracket + 1);
                    }
                }
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    None
}

fn string_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

/// Whether every bracket that `bytes` open is closed at their end and not before.
pub fn is_closed(bytes: &[u8]) -> bool {
    let bytes = bytes.trim_ascii();
    let (mut depth, mut at) = (0usize, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => match string_end(bytes, at + 1) {
                Some(end) => at = end,
                None => return false,
            },
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return false,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1 == bytes.len();
                }
            }
            _ => {}
        }
        at += 1;
    }
    false
}

/// Whether what follows the bracket can be an element, rather than an Apache error log's time.
pub fn looks_like_json_array(text: &[u8]) -> bool {
    matches!(
        text[1..].trim_ascii_start().first(),
        Some(b'{' | b'[' | b'"' | b']' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n')
    )
}
