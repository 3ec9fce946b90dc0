//! Which metadata keys get columns of their own, and taking them out of a record's JSON.
//!
//! A sample of the rows decides. A value that does not fit its key's column stays in the JSON, so that nothing is ever
//! refused or changed; the file then tells that the key is in both places.

use std::collections::HashMap;

use record::text::canonical_i64;
use record::text::push_unescaped;

/// Typed columns of one file: with more, each would hold little.
const TYPED_COLUMNS_MAX: usize = 24;
/// A key must be in at least one of this many rows.
const ONE_OF_ROWS: usize = 16;
/// Longer keys are nobody's habit.
const KEY_BYTES_MAX: usize = 64;
/// Keys that a sample counts: records may have a great many of their own.
const SAMPLE_KEYS_MAX: usize = 10_000;
/// A column of texts gets a dictionary when a sample has at most one distinct value in this many.
const REPEATS_MIN: usize = 4;

/// A metadata key with a column of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedKey {
    pub key: String,
    pub is_text: bool,
    /// Whether values repeat, so that a dictionary pays.
    pub repeats: bool,
}

/// What a sample of metadata says.
#[derive(Default)]
pub struct Sample {
    rows: usize,
    keys: HashMap<String, Kinds>,
}

#[derive(Default)]
struct Kinds {
    texts: usize,
    ints: usize,
    others: usize,
    distinct: std::collections::HashSet<Vec<u8>>,
}

impl Sample {
    pub fn add(&mut self, metadata: &[u8]) {
        self.rows += 1;
        for (key, value) in Members::new(metadata) {
            let Ok(key) = std::str::from_utf8(key) else { continue };
            if !self.keys.contains_key(key) {
                if self.keys.len() >= SAMPLE_KEYS_MAX || key.len() > KEY_BYTES_MAX {
                    continue;
                }
                self.keys.insert(key.to_owned(), Kinds::default());
            }
            if let Some(kinds) = self.keys.get_mut(key) {
                match value {
                    [b'"', ..] => kinds.texts += 1,
                    _ if canonical_i64(value).is_some() => kinds.ints += 1,
                    _ => kinds.others += 1,
                }
                kinds.distinct.insert(value.to_vec());
            }
        }
    }

    /// The keys that deserve a column, commonest first: those of which so many percent of the values are of one kind.
    pub fn choose(self, fitting_percent: usize) -> Vec<TypedKey> {
        let mut common: Vec<(String, Kinds)> = self.keys.into_iter().collect();
        common.retain(|(key, kinds)| {
            let count = kinds.texts + kinds.ints + kinds.others;
            // An escape in a key would have to be compared unescaped; and a few odd values may stay in the JSON.
            count * ONE_OF_ROWS >= self.rows
                && kinds.texts.max(kinds.ints) * 100 >= count * fitting_percent
                && is_plain(key)
        });
        common.sort_by(|(a, x), (b, y)| (y.texts + y.ints).cmp(&(x.texts + x.ints)).then_with(|| a.cmp(b)));
        let mut chosen: Vec<TypedKey> = Vec::new();
        for (key, kinds) in common {
            // Many readers fold the names of columns.
            if chosen.len() < TYPED_COLUMNS_MAX && !chosen.iter().any(|other| other.key.eq_ignore_ascii_case(&key)) {
                let count = kinds.texts + kinds.ints;
                chosen.push(TypedKey {
                    key,
                    is_text: kinds.texts >= kinds.ints,
                    repeats: kinds.distinct.len() * REPEATS_MIN <= count,
                });
            }
        }
        chosen
    }
}

fn is_plain(key: &str) -> bool {
    !key.is_empty() && !key.contains(|c: char| c.is_control() || c == '\\' || c == '"')
}

/// What a metadata object holds for each typed key, and the rest of it.
pub struct Split {
    keys: Vec<TypedKey>,
    /// The value of each key in the row at hand.
    values: Vec<Value>,
    texts: Vec<Vec<u8>>,
    rest: Vec<u8>,
    /// Which keys have had values that did not fit.
    partial: Vec<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Value {
    Absent,
    Text,
    Int(i64),
}

impl Split {
    pub fn new(keys: Vec<TypedKey>) -> Split {
        Split {
            values: vec![Value::Absent; keys.len()],
            texts: vec![Vec::new(); keys.len()],
            rest: Vec::new(),
            partial: vec![false; keys.len()],
            keys,
        }
    }

    /// Takes an object apart.
    pub fn split(&mut self, metadata: &[u8]) {
        self.values.fill(Value::Absent);
        self.rest.clear();
        self.rest.push(b'{');
        // Records of one kind have their keys in one order: the next key is nearly always the one after the last.
        let mut expected = 0;
        for (key, value) in Members::new(metadata) {
            let found = (0..self.keys.len())
                .map(|step| (expected + step) % self.keys.len())
                .find(|&at| self.keys[at].key.as_bytes() == key);
            if let Some(at) = found {
                expected = at + 1;
                if self.take(at, value) {
                    continue;
                }
                self.partial[at] = true;
            }
            if self.rest.len() > 1 {
                self.rest.push(b',');
            }
            self.rest.push(b'"');
            self.rest.extend_from_slice(key);
            self.rest.extend_from_slice(b"\":");
            self.rest.extend_from_slice(value);
        }
        self.rest.push(b'}');
    }

    /// The object without what has a column.
    pub fn rest(&self) -> &[u8] {
        &self.rest
    }

    pub fn text(&self, at: usize) -> Option<&[u8]> {
        (self.values[at] == Value::Text).then(|| &self.texts[at][..])
    }

    pub fn int(&self, at: usize) -> Option<i64> {
        match self.values[at] {
            Value::Int(int) => Some(int),
            Value::Absent | Value::Text => None,
        }
    }

    /// The keys that have had values that did not fit.
    pub fn partial(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().zip(&self.partial).filter(|(_, partial)| **partial).map(|(key, _)| key.key.as_str())
    }

    fn take(&mut self, at: usize, value: &[u8]) -> bool {
        self.values[at] = match value {
            [b'"', inside @ .., b'"'] if self.keys[at].is_text => {
                let text = &mut self.texts[at];
                text.clear();
                match memchr::memchr(b'\\', inside) {
                    None => text.extend_from_slice(inside),
                    Some(_) => match std::str::from_utf8(inside) {
                        Ok(inside) => push_unescaped(inside, text),
                        Err(_) => return false,
                    },
                }
                Value::Text
            }
            _ if self.keys[at].is_text => return false,
            _ => match canonical_i64(value) {
                Some(int) => Value::Int(int),
                None => return false,
            },
        };
        true
    }
}

/// The members of a JSON object as rows hold it (no white space outside strings): the insides of the keys' quotes, and
/// the values' text. Of anything else it may give less, and never fails.
struct Members<'a> {
    rest: &'a [u8],
}

impl<'a> Members<'a> {
    fn new(object: &'a [u8]) -> Members<'a> {
        Members { rest: object.get(1..).unwrap_or_default() }
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let inside = self.rest.strip_prefix(b"\"")?;
        let key_end = string_end(inside)?;
        let value = inside.get(key_end + 1..)?.strip_prefix(b":")?;
        let value_end = value_end(value);
        let item = (&inside[..key_end], &value[..value_end]);
        self.rest = value.get(value_end + 1..).unwrap_or_default();
        Some(item)
    }
}

/// Where the string's closing quote is.
fn string_end(inside: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', inside.get(at..)?)?;
        if inside[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

/// Where the value at the start of `text` ends: before the comma or bracket that follows it.
fn value_end(text: &[u8]) -> usize {
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => at += 1 + string_end(&text[at + 1..]).unwrap_or(text.len()),
            b'{' | b'[' => depth += 1,
            b',' | b'}' | b']' if depth == 0 => return at,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(key: &str, is_text: bool) -> TypedKey {
        TypedKey { key: key.to_owned(), is_text, repeats: false }
    }

    #[test]
    fn the_commonest_keys_of_one_kind_are_chosen() {
        let mut sample = Sample::default();
        for n in 0..100 {
            let mixed = if n % 2 == 0 { "1" } else { "\"x\"" };
            let rare = if n == 7 { ",\"rare\":1" } else { "" };
            let object = format!(
                r#"{{"id":"{n}","region":"eu","REGION":1,"ms":{n},"deep":{{"a":[1,"}}"]}},"mixed":{mixed},"f":1.5{rare}}}"#
            );
            sample.add(object.as_bytes());
        }
        let chosen: Vec<_> = sample.choose(90).into_iter().map(|key| (key.key, key.is_text, key.repeats)).collect();
        let named = |key: &str, is_text, repeats| (key.to_owned(), is_text, repeats);
        assert_eq!(chosen, [named("REGION", false, true), named("id", true, false), named("ms", false, false)]);
    }

    #[test]
    fn what_does_not_fit_stays() {
        let keys = [key("a", true), key("b", false)];
        let mut split = Split::new(keys.to_vec());
        for (object, a, b, rest, partial) in [
            (r#"{"a":"x","b":5}"#, Some("x"), Some(5), "{}", 0),
            (r#"{"b":-0,"c":[1,{"a":"y"}],"a":"q\"\n"}"#, Some("q\"\n"), None, r#"{"b":-0,"c":[1,{"a":"y"}]}"#, 1),
            (r#"{"a":null,"b":"5"}"#, None, None, r#"{"a":null,"b":"5"}"#, 2),
            ("{}", None, None, "{}", 2),
        ] {
            split.split(object.as_bytes());
            let got = (split.text(0).map(String::from_utf8_lossy), split.int(1), String::from_utf8_lossy(split.rest()));
            assert_eq!(got, (a.map(Into::into), b, rest.into()));
            assert_eq!(split.partial().count(), partial);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe(bytes: Vec<u8>, text in "[{}\\[\\]\",:\\\\a1 ]{0,40}") {
            let keys = [key("a", true), key("", false)];
            Split::new(keys.to_vec()).split(&bytes);
            Split::new(keys.to_vec()).split(text.as_bytes());
            Sample::default().add(text.as_bytes());
        }
    }
}
