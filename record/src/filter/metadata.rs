//! One value out of a record's metadata, read lazily: no tree is built, and nothing is allocated unless a string has
//! escapes.

use std::borrow::Cow;
use std::cmp::Ordering;

use memchr::memmem;

use super::number::{Number, is_numeric_string, same_number};
use crate::text::canonical_i64;
use crate::text::{push_escaped, push_unescaped};

/// A JSON value as tests see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetaValue<'a> {
    Null,
    Bool(bool),
    /// A number that is written as an i64 is.
    Int(i64),
    /// The text of any other number.
    Number(&'a [u8]),
    /// The string's text, escapes read.
    String(Cow<'a, [u8]>),
    /// An array or object, as JSON text.
    Nested(&'a [u8]),
}

impl<'a> MetaValue<'a> {
    /// Reads the text of one JSON value, without white space around it. `None` when it is none.
    pub fn from_json(json: &'a [u8]) -> Option<MetaValue<'a>> {
        Some(match *json.first()? {
            b'"' => MetaValue::String(unescaped(json.get(1..json.len().checked_sub(1)?)?)),
            b'{' | b'[' => MetaValue::Nested(json),
            b't' => MetaValue::Bool(true),
            b'f' => MetaValue::Bool(false),
            b'n' => MetaValue::Null,
            b'-' | b'0'..=b'9' => canonical_i64(json).map_or(MetaValue::Number(json), MetaValue::Int),
            _ => return None,
        })
    }

    /// The text that equality compares with; `None` for an array or object.
    pub fn text(&self) -> Option<Cow<'_, [u8]>> {
        Some(match self {
            MetaValue::Null => Cow::Borrowed(b"null"),
            MetaValue::Bool(true) => Cow::Borrowed(b"true"),
            MetaValue::Bool(false) => Cow::Borrowed(b"false"),
            MetaValue::Int(int) => Cow::Owned(itoa::Buffer::new().format(*int).as_bytes().to_vec()),
            MetaValue::Number(text) => Cow::Borrowed(text),
            MetaValue::String(text) => Cow::Borrowed(text),
            MetaValue::Nested(_) => return None,
        })
    }

    pub(super) fn equals(&self, wanted: &str) -> bool {
        let wanted = wanted.as_bytes();
        match self {
            MetaValue::Null => wanted == b"null",
            MetaValue::Bool(value) => wanted == if *value { &b"true"[..] } else { b"false" },
            MetaValue::Int(int) => match canonical_i64(wanted) {
                Some(wanted) => wanted == *int,
                None => same_number(wanted, itoa::Buffer::new().format(*int).as_bytes()),
            },
            MetaValue::Number(number) => same_number(wanted, number),
            MetaValue::String(text) => **text == *wanted,
            MetaValue::Nested(_) => false,
        }
    }

    /// How the value stands to `number`; `None` when it is no number.
    pub(super) fn compare(&self, number: &Number) -> Option<Ordering> {
        match self {
            MetaValue::Int(int) => Some(number.order_of_int(*int)),
            MetaValue::Number(text) => number.order_of(text),
            MetaValue::String(text) if is_numeric_string(text) => number.order_of(text),
            _ => None,
        }
    }
}

/// A metadata path, taken apart once: `a.b` is the literal key or the path.
#[derive(Clone, Debug)]
pub struct MetaPath {
    text: String,
    /// Where the first dot stands.
    dot: Option<usize>,
    /// What an object that has either key contains: a quote and the path's first key. Of records of many kinds most have
    /// not, and are done with here. [`Meta`](crate::meta::Meta) writes outermost keys in one way only.
    head: memmem::Finder<'static>,
}

impl MetaPath {
    pub fn new(path: &str) -> MetaPath {
        let dot = path.find('.');
        let mut head = vec![b'"'];
        push_escaped(&path.as_bytes()[..dot.unwrap_or(path.len())], &mut head);
        MetaPath { dot, head: memmem::Finder::new(&head).into_owned(), text: path.to_owned() }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The value in a JSON object as rows hold it: compact, no key of the outermost object twice.
    pub fn find<'a>(&self, json: &'a [u8]) -> Option<MetaValue<'a>> {
        self.head.find(json)?;
        MetaValue::from_json(find_raw(json, &self.text, self.dot)?)
    }
}

/// The value at `path` in a JSON object as rows hold it.
pub fn metadata_value<'a>(json: &'a [u8], path: &str) -> Option<MetaValue<'a>> {
    MetaValue::from_json(find_raw(json, path, path.find('.'))?)
}

fn find_raw<'a>(json: &'a [u8], path: &str, dot: Option<usize>) -> Option<&'a [u8]> {
    let head = dot.map(|dot| &path.as_bytes()[..dot]);
    let mut inner = None;
    for (key, value) in Members::of(json) {
        if key_is(key, path.as_bytes()) {
            return Some(value);
        }
        if let Some(head) = head
            && key_is(key, head)
        {
            inner = Some(value);
        }
    }
    let mut value = inner?;
    for segment in path[dot? + 1..].split('.') {
        // `push_json_value` copies inner objects as they came: of a repeated key the last counts.
        value = Members::of(value).filter(|(key, _)| key_is(key, segment.as_bytes())).last()?.1;
    }
    Some(value)
}

/// The members of a compact JSON object: the inside of the key's quotes, and the value's text. Ends early at what is
/// no object.
struct Members<'a> {
    bytes: &'a [u8],
    /// At the brace or comma before the next member.
    at: usize,
}

impl<'a> Members<'a> {
    fn of(bytes: &'a [u8]) -> Members<'a> {
        Members { bytes, at: if bytes.first() == Some(&b'{') { 0 } else { bytes.len() } }
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.get(self.at + 1) != Some(&b'"') {
            return None;
        }
        let key_at = self.at + 2;
        let key_end = string_end(self.bytes, key_at);
        if self.bytes.get(key_end + 1) != Some(&b':') {
            return None;
        }
        let value_at = key_end + 2;
        let end = value_end(self.bytes, value_at);
        self.at = end;
        Some((self.bytes.get(key_at..key_end)?, self.bytes.get(value_at..end)?))
    }
}

fn key_is(key: &[u8], wanted: &[u8]) -> bool {
    match memchr::memchr(b'\\', key) {
        None => key == wanted,
        Some(_) => *unescaped(key) == *wanted,
    }
}

fn unescaped(json: &[u8]) -> Cow<'_, [u8]> {
    match memchr::memchr(b'\\', json) {
        None => Cow::Borrowed(json),
        Some(_) => {
            let mut out = Vec::with_capacity(json.len());
            push_unescaped(&String::from_utf8_lossy(json), &mut out);
            Cow::Owned(out)
        }
    }
}

/// Where the string that begins at `at` (after its quote) ends: the index of its closing quote.
fn string_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(next) = bytes.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        if bytes[at + next] == b'"' {
            return at + next;
        }
        at += next + 2;
    }
    bytes.len()
}

/// Where the value that begins at `at` ends: at the comma or bracket that follows it.
fn value_end(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0usize;
    while let Some(&b) = bytes.get(at) {
        match b {
            b'"' => at = string_end(bytes, at + 1),
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return at,
            b'}' | b']' => depth -= 1,
            b',' if depth == 0 => return at,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, path: &str, want: Option<&str>) {
        let got = metadata_value(json.as_bytes(), path);
        let text = |value: MetaValue| match value {
            MetaValue::Nested(json) => String::from_utf8_lossy(json).into_owned(),
            value => String::from_utf8_lossy(&value.text().unwrap()).into_owned(),
        };
        assert_eq!(got.clone().map(text).as_deref(), want, "{path} of {json}");
        assert_eq!(MetaPath::new(path).find(json.as_bytes()), got, "{path} of {json}");
    }

    #[test]
    fn values_are_found() {
        let json =
            r#"{"a":1,"s":"x \"}\" y","n":null,"o":{"b":{"c":[1,{"d":2}]},"b2":true,"k.l":3},"a.b":-1.50,"\t":"tab"}"#;
        for (path, want) in [
            ("a", Some("1")),
            ("s", Some("x \"}\" y")),
            ("n", Some("null")),
            ("a.b", Some("-1.50")),
            ("o.b.c", Some(r#"[1,{"d":2}]"#)),
            ("o.b2", Some("true")),
            ("o.k.l", None),
            ("o.b.c.0", None),
            ("o.x", None),
            ("x", None),
            ("d", None),
            ("\t", Some("tab")),
            ("", None),
            (".", None),
            ("a.", None),
        ] {
            check(json, path, want);
        }
    }

    #[test]
    fn literal_key_before_path_and_last_of_repeated() {
        check(r#"{"a":{"b":1},"a.b":null}"#, "a.b", Some("null"));
        check(r#"{"a":{"b":1,"b":2,"\u0062":3}}"#, "a.b", Some("3"));
        check(r#"{"":{"":7}}"#, ".", Some("7"));
    }

    #[test]
    fn any_bytes_are_safe() {
        let json = br#"{"a":{"b":[1,"\""]},"c\\":"d"}"#;
        for cut in 0..json.len() {
            for path in ["a.b", "c\\", "x"] {
                metadata_value(&json[..cut], path);
                metadata_value(&json[cut..], path);
            }
        }
    }
}
