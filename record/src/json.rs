//! A strict scanner for JSON text (RFC 8259) that finds where members and elements begin and end, and nothing more.
//!
//! Comes in: text that is UTF-8. Goes out: slices of it, each a valid key or value. It never recurses: nesting is kept
//! in the bits of one integer, and bounded by [`JSON_DEPTH_MAX`] while it is read. What it takes is what the grammar
//! allows: no trailing comma, no bare control character, no `01`, no text after the value.
//!
//! Past 500 lines, as it is one state machine and the tables and properties that test it.
//!
//! What it does not try to do: build a document, unescape, or read numbers. See [`crate::text`] for the latter two.

use crate::text::find_special;

/// Objects and arrays may be nested this deep. Real logs stay below 20, Postgres' jsonb refuses about 6,000, and the
/// nesting must fit into the bits of an integer.
pub const JSON_DEPTH_MAX: usize = 128;

/// Text that is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct JsonError {
    pub reason: &'static str,
    /// Where in the text, from 0, in bytes.
    pub at: usize,
}

/// What [`JsonError::reason`] says of text that nests deeper than [`JSON_DEPTH_MAX`].
pub const TOO_DEEP: &str = "nested deeper than json_depth_max, 128";

/// A value as it stands in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    pub raw: &'a str,
    /// Whether it can be stored as it stands: no white space between tokens, no escape that stands for NUL or a
    /// surrogate, no number that is long or has an exponent.
    pub tidy: bool,
    /// Whether it is a string that has escapes.
    pub escaped: bool,
}

impl<'a> Value<'a> {
    /// What stands where no value is.
    pub const NONE: Value<'static> = Value { raw: "", tidy: true, escaped: false };

    pub fn is_null(&self) -> bool {
        self.raw == "null"
    }

    pub fn is_container(&self) -> bool {
        matches!(self.raw.as_bytes().first(), Some(b'{' | b'['))
    }

    pub fn is_object(&self) -> bool {
        self.raw.starts_with('{')
    }

    /// The inside of a string's quotes, escapes and all.
    pub fn string(&self) -> Option<&'a str> {
        self.raw.strip_prefix('"')?.strip_suffix('"')
    }
}

/// A key as it stands in the text: the inside of its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    pub raw: &'a str,
    pub escaped: bool,
    /// Where it stands in the cursor's text: just after its opening quote.
    pub at: usize,
}

/// Reads text that must be one value as a whole.
pub fn whole(text: &str) -> Result<Value<'_>, JsonError> {
    let mut cursor = Cursor::new(text);
    cursor.blanks();
    let value = cursor.value()?;
    cursor.end()?;
    Ok(value)
}

/// A place in a JSON text.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    text: &'a str,
    at: usize,
    /// Open containers around the value that is read next.
    depth: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str) -> Self {
        Cursor { text, at: 0, depth: 0 }
    }

    /// How far it has come, in bytes.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The text that it moves over.
    pub fn text(&self) -> &'a str {
        self.text
    }

    #[inline]
    pub fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Steps over white space.
    #[inline]
    pub fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Makes sure that only white space follows.
    pub fn end(&mut self) -> Result<(), JsonError> {
        self.blanks();
        if self.at < self.text.len() { self.fail("text after the value") } else { Ok(()) }
    }

    /// Reads the object that begins here, member by member.
    #[inline]
    pub fn object(&mut self, mut member: impl FnMut(&mut Self, Key<'a>, Value<'a>)) -> Result<(), JsonError> {
        let mut more = self.enter_object()?;
        while more {
            let key = self.key()?;
            let value = self.value()?;
            member(self, key, value);
            more = self.next_member()?;
        }
        Ok(())
    }

    /// Enters the object that begins here. False when it is empty, and then it has been left again.
    #[inline]
    pub fn enter_object(&mut self) -> Result<bool, JsonError> {
        self.open(b'{', "an object was expected")?;
        if self.peek() == Some(b'}') {
            self.close();
            return Ok(false);
        }
        Ok(true)
    }

    /// After a member: true when another follows, false when the object has ended here.
    #[inline]
    pub fn next_member(&mut self) -> Result<bool, JsonError> {
        self.next(b'}', "a comma or } was expected")
    }

    /// Enters the array that begins here. False when it is empty, and then it has been left again.
    pub fn enter_array(&mut self) -> Result<bool, JsonError> {
        self.open(b'[', "an array was expected")?;
        if self.peek() == Some(b']') {
            self.close();
            return Ok(false);
        }
        Ok(true)
    }

    /// After an element: true when another follows, false when the array has ended here.
    pub fn next_element(&mut self) -> Result<bool, JsonError> {
        self.next(b']', "a comma or ] was expected")
    }

    #[inline]
    fn next(&mut self, bracket: u8, expected: &'static str) -> Result<bool, JsonError> {
        self.blanks();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                self.blanks();
                Ok(true)
            }
            Some(b) if b == bracket => {
                self.close();
                Ok(false)
            }
            _ => self.fail_at_end(expected),
        }
    }

    /// Reads a key and its colon, up to where its value begins. (This, `value` and `string` must be inlined: through
    /// calls, results go over memory, and the whole way of a record takes a fifth longer.)
    #[inline(always)]
    pub fn key(&mut self) -> Result<Key<'a>, JsonError> {
        if self.peek() != Some(b'"') {
            return self.fail_at_end("a key in double quotes was expected");
        }
        let start = self.at + 1;
        let mut escapes = Escapes::default();
        self.string(&mut escapes)?;
        let raw = &self.text[start..self.at - 1];
        self.colon()?;
        Ok(Key { raw, escaped: escapes.any, at: start })
    }

    /// Reads the value that begins here, whatever it is.
    #[inline(always)]
    pub fn value(&mut self) -> Result<Value<'a>, JsonError> {
        let start = self.at;
        let mut escapes = Escapes::default();
        let tidy = match self.peek() {
            Some(b'"') => {
                self.string(&mut escapes)?;
                !escapes.unstorable
            }
            Some(b'{' | b'[') => self.container()?,
            _ => self.scalar()?,
        };
        Ok(Value { raw: &self.text[start..self.at], tidy, escaped: escapes.any })
    }

    fn open(&mut self, bracket: u8, expected: &'static str) -> Result<(), JsonError> {
        if self.peek() != Some(bracket) {
            return self.fail_at_end(expected);
        }
        if self.depth >= JSON_DEPTH_MAX {
            return self.fail(TOO_DEEP);
        }
        self.depth += 1;
        self.at += 1;
        self.blanks();
        Ok(())
    }

    fn close(&mut self) {
        self.depth -= 1;
        self.at += 1;
    }

    #[inline]
    fn colon(&mut self) -> Result<(), JsonError> {
        self.blanks();
        if self.peek() != Some(b':') {
            return self.fail_at_end("a colon was expected");
        }
        self.at += 1;
        self.blanks();
        Ok(())
    }

    /// Reads the object or array that begins here; says whether it is tidy.
    fn container(&mut self) -> Result<bool, JsonError> {
        // A set bit is an object, a clear one an array; the innermost is the lowest.
        let mut kinds = 0u128;
        let mut depth = 0;
        let mut tidy = true;
        loop {
            // Here a value begins.
            match self.peek() {
                Some(bracket @ (b'{' | b'[')) => {
                    if self.depth + depth >= JSON_DEPTH_MAX {
                        return self.fail(TOO_DEEP);
                    }
                    depth += 1;
                    kinds = kinds << 1 | u128::from(bracket == b'{');
                    self.at += 1;
                    tidy &= !self.skipped_blanks();
                    let close = if bracket == b'{' { b'}' } else { b']' };
                    if self.peek() != Some(close) {
                        if bracket == b'{' {
                            tidy &= self.inner_key()?;
                        }
                        continue;
                    }
                    self.at += 1;
                    depth -= 1;
                    kinds >>= 1;
                }
                Some(b'"') => {
                    let mut escapes = Escapes::default();
                    self.string(&mut escapes)?;
                    tidy &= !escapes.unstorable;
                }
                _ => tidy &= self.scalar()?,
            }
            // Here a value has ended.
            loop {
                if depth == 0 {
                    return Ok(tidy);
                }
                tidy &= !self.skipped_blanks();
                match (self.peek(), kinds & 1 == 1) {
                    (Some(b','), is_object) => {
                        self.at += 1;
                        tidy &= !self.skipped_blanks();
                        if is_object {
                            tidy &= self.inner_key()?;
                        }
                        break;
                    }
                    (Some(b'}'), true) | (Some(b']'), false) => {
                        self.at += 1;
                        depth -= 1;
                        kinds >>= 1;
                    }
                    (_, true) => return self.fail_at_end("a comma or } was expected"),
                    (_, false) => return self.fail_at_end("a comma or ] was expected"),
                }
            }
        }
    }

    /// A key and its colon inside a container; says whether they are tidy.
    fn inner_key(&mut self) -> Result<bool, JsonError> {
        if self.peek() != Some(b'"') {
            return self.fail_at_end("a key in double quotes was expected");
        }
        let mut escapes = Escapes::default();
        self.string(&mut escapes)?;
        let end = self.at;
        self.colon()?;
        Ok(!escapes.unstorable && self.at == end + 1)
    }

    #[inline]
    fn skipped_blanks(&mut self) -> bool {
        let start = self.at;
        self.blanks();
        self.at != start
    }

    /// Reads the string that begins here (at its quote).
    #[inline(always)]
    fn string(&mut self, escapes: &mut Escapes) -> Result<(), JsonError> {
        let bytes = self.text.as_bytes();
        let mut at = self.at + 1;
        loop {
            at = find_special(bytes, at);
            match bytes.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(());
                }
                Some(b'\\') => match escape_length(&bytes[at..], escapes) {
                    Some(length) => at += length,
                    None => return Err(JsonError { reason: "an unknown escape", at }),
                },
                Some(_) => return Err(JsonError { reason: "a control character in a string: escape it", at }),
                None => return Err(JsonError { reason: "the text ends inside a string", at }),
            }
        }
    }

    /// Reads a number or a literal; says whether it is tidy.
    fn scalar(&mut self) -> Result<bool, JsonError> {
        let rest = &self.text.as_bytes()[self.at..];
        let literal = match rest.first() {
            Some(b'-' | b'0'..=b'9') => {
                let (length, tidy) = number_length(rest);
                if length == 0 {
                    return self.fail("a broken number");
                }
                self.at += length;
                return Ok(tidy);
            }
            Some(b't') => "true",
            Some(b'f') => "false",
            Some(b'n') => "null",
            _ => return self.fail_at_end("a value was expected"),
        };
        if !rest.starts_with(literal.as_bytes()) {
            return self.fail_at_end("a value was expected");
        }
        self.at += literal.len();
        Ok(true)
    }

    #[cold]
    fn fail<T>(&self, reason: &'static str) -> Result<T, JsonError> {
        Err(JsonError { reason, at: self.at })
    }

    #[cold]
    fn fail_at_end<T>(&self, reason: &'static str) -> Result<T, JsonError> {
        self.fail(if self.at >= self.text.len() { "the text ends too early" } else { reason })
    }
}

/// What was met of escapes in a string.
#[derive(Default)]
struct Escapes {
    any: bool,
    /// One that stands for NUL or half of a surrogate pair. (A whole pair counts too: it is looked at when copied.)
    unstorable: bool,
}

/// The length of the escape at the start of `bytes`.
fn escape_length(bytes: &[u8], escapes: &mut Escapes) -> Option<usize> {
    escapes.any = true;
    match bytes.get(1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(2),
        b'u' => {
            let digits = bytes.get(2..6).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
            escapes.unstorable |= digits == b"0000" || matches!(digits, [b'd' | b'D', b'8'..=b'f', ..]);
            Some(6)
        }
        _ => None,
    }
}

/// The length of the number at the start of `bytes`, 0 when it is broken, and whether it is tidy.
fn number_length(bytes: &[u8]) -> (usize, bool) {
    let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut at = usize::from(bytes[0] == b'-');
    let whole = digits(at);
    if whole == 0 || whole > 1 && bytes[at] == b'0' {
        return (0, false);
    }
    at += whole;
    if bytes.get(at) == Some(&b'.') {
        let fraction = digits(at + 1);
        if fraction == 0 {
            return (0, false);
        }
        at += 1 + fraction;
    }
    if !matches!(bytes.get(at), Some(b'e' | b'E')) {
        return (at, at <= 17);
    }
    at += 1 + usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
    match digits(at) {
        0 => (0, false),
        exponent => (at + exponent, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_the_grammar_allows() {
        for text in [
            "[[]   ]",
            "[]",
            " [1] ",
            "[-0]",
            "[0e+1]",
            "[123e45]",
            "[1.5E-2]",
            r#"{"a":"b","a":"c"}"#,
            "{}",
            r#"{"":{"x":[{"y":"\u12aB\ud83d\ude00\"\\\/"}]}}"#,
            "42",
            "null",
            "true",
            "\" \"",
            "[\"a\u{7f}b\"]",
            "\r\n\t {\n}",
        ] {
            assert!(whole(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_it_does_not() {
        for text in [
            "",
            " ",
            "[1 true]",
            r#"["": 1]"#,
            "[,1]",
            r#"["",]"#,
            "[1,]",
            "[1",
            "[x",
            "[tru]",
            "[True]",
            "[++1]",
            "[+1]",
            "[-1.0.]",
            "[-NaN]",
            "[.2]",
            "[0.3e+]",
            "[0.e1]",
            "[0E]",
            "[1 000.0]",
            "[2.e3]",
            "[0x1]",
            "[- 1]",
            "[-]",
            "[-.1]",
            "[012]",
            "[1.]",
            r#"{"a":"a" 1}"#,
            r#"{:"b"}"#,
            r#"{"a":"#,
            "{1:1}",
            "{'a':0}",
            r#"{"a":"b"}//"#,
            r#"{"a":"b",,"c":"d"}"#,
            r#"{"a":"b"}{}"#,
            r#"["\x00"]"#,
            r#"["\u1"]"#,
            "[\"\\\t\"]",
            "[\"a\u{0}\"]",
            "[\"\t\"]",
            "\"",
            "abc",
            "]",
            "{]",
            "{[",
            r#"{"x":1,}"#,
            r#"{"a" "b"}"#,
            "\u{feff}{}",
        ] {
            assert!(whole(text).is_err(), "{text}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(whole(&nested(JSON_DEPTH_MAX)).is_ok());
        for text in [nested(JSON_DEPTH_MAX + 1), "[".repeat(1_000_000), "{\"a\":".repeat(1_000_000)] {
            assert_eq!(whole(&text).unwrap_err().reason, TOO_DEEP);
        }
        let inside_an_object = format!("{{\"a\":{}}}", nested(JSON_DEPTH_MAX));
        let mut cursor = Cursor::new(&inside_an_object);
        assert_eq!(cursor.object(|_, _, _| {}).unwrap_err().reason, TOO_DEEP);
    }

    #[test]
    fn tidy_values_are_stored_as_they_stand() {
        for text in [r#"{"a":[1,-2.5,"x y",null],"b":"\n\u00e9"}"#, "12345678901234567", "[[],{}]"] {
            assert!(whole(text).unwrap().tidy, "{text}");
        }
        for text in [r#"{"a": 1}"#, "[1 ]", "[ ]", r#"{"a" :1}"#, r#""\u0000""#, r#"["\ud800"]"#, "1e5", "[1\n,2]"] {
            assert!(!whole(text).unwrap().tidy, "{text}");
        }
    }

    proptest! {
        #[test]
        fn tidy_means_that_copying_changes_nothing(text in r#"[\[\]{}:," 0-9eE.a\\u+-]{0,40}"#) {
            if let Ok(value) = whole(&text) {
                let mut stored = Vec::new();
                crate::text::push_json_value(value.raw, &mut stored);
                prop_assert!(!value.tidy || stored == value.raw.as_bytes());
            }
        }

        #[test]
        fn agrees_with_sonic_on_what_it_takes(text in r#"[\[\]{}:," 0-9eE.a\\u+-]{0,40}"#) {
            // sonic-rs is the more lenient of the two.
            if whole(&text).is_ok() {
                prop_assert!(sonic_rs::from_str::<sonic_rs::LazyValue>(&text).is_ok());
            }
        }

        #[test]
        fn any_text_is_safe(text: String) {
            let _ = whole(&text);
        }
    }
}
