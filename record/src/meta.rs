//! The metadata of one record while it is being put together: the members of a JSON object, as JSON text.
//!
//! Members come from several places of a line: beside the record's own fields, out of its `metadata` object, out of a
//! log that was wrapped in it. Each place is a *scope*. Within one, the last of a repeated key stays, as in any JSON
//! reader; across two nothing is lost: the later one is kept as `key_2`, or `key_3`, ….

use std::collections::HashMap;

use crate::json::{Cursor, Key, Value};
use crate::text::{find_special, push_json_string, push_json_value, push_number_or_text, push_string, push_unescaped};

/// From this many keys on, repeated keys are found by hash: a line of 100,000 keys must not take quadratic time.
const LINEAR_KEYS_MAX: usize = 24;

/// A key that two scopes have is numbered up to this: no honest line has as many, and the search must end.
const RENAMES_MAX: usize = 16;

/// A JSON object under construction. Cleared and used again for each record, so that it allocates nothing once warm.
#[derive(Debug, Default)]
pub struct Meta {
    /// The members one after another, `,"key":value`.
    text: Vec<u8>,
    members: Vec<Member>,
    /// How many members are no longer live.
    dead: usize,
    by_hash: HashMap<u64, usize>,
    scope: u8,
    /// The members before this have been through `clear_scope`.
    cleared: usize,
    repaired: bool,
    /// Whether the line is ASCII without NUL, so that its pieces need no look.
    ascii: bool,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    /// Tells most keys apart without a look at their bytes.
    tag: u32,
    /// At the key's opening quote.
    start: usize,
    /// Just after the key's closing quote.
    key_end: usize,
    end: usize,
    scope: u8,
    /// Whether its key had to be numbered.
    renamed: bool,
    /// False once a later member of its scope had the same key.
    live: bool,
}

impl Meta {
    pub fn clear(&mut self) {
        self.text.clear();
        self.members.clear();
        self.dead = 0;
        if !self.by_hash.is_empty() {
            self.by_hash.clear();
        }
        self.scope = 0;
        self.cleared = 0;
        self.repaired = false;
        self.ascii = false;
    }

    /// Whether the line is ASCII without NUL, so that every piece of it can be stored without another look.
    pub(crate) fn is_ascii(&self) -> bool {
        self.ascii
    }

    pub(crate) fn set_ascii(&mut self, ascii: bool) {
        self.ascii = ascii;
    }

    /// Where the members that follow come from.
    pub fn set_scope(&mut self, scope: u8) {
        self.scope = scope;
    }

    /// Lets `add` add members of another scope.
    pub fn in_scope(&mut self, scope: u8, add: impl FnOnce(&mut Meta)) {
        let before = std::mem::replace(&mut self.scope, scope);
        add(self);
        self.scope = before;
    }

    /// Forgets the members of a scope, the same one each time. A line may ask for it as often as it has keys: those
    /// that it found before are not looked at again, or 50,000 of them would take quadratic time.
    pub fn clear_scope(&mut self, scope: u8) {
        for i in std::mem::replace(&mut self.cleared, self.members.len())..self.members.len() {
            if self.members[i].scope == scope {
                self.drop_member(i);
            }
        }
    }

    /// Notes that the line was not UTF-8 and has been repaired.
    pub fn mark_repaired(&mut self) {
        self.repaired = true;
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether text that was not UTF-8 has been repaired on its way in.
    pub fn repaired(&self) -> bool {
        self.repaired
    }

    /// Adds text, which need not be UTF-8. A key that stands in the program needs no escapes, here and below.
    pub fn text(&mut self, key: &'static str, value: &[u8]) {
        let ascii = self.ascii;
        self.value(key, |out| push_string(value, ascii, out));
    }

    /// Adds text, unless it is empty or the `-` that stands for nothing in access logs and syslog.
    pub fn text_unless_nil(&mut self, key: &'static str, value: &[u8]) {
        if !value.is_empty() && value != b"-" {
            self.text(key, value);
        }
    }

    pub fn int(&mut self, key: &'static str, value: i64) {
        self.value(key, |out| {
            out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
            false
        });
    }

    pub fn bool(&mut self, key: &'static str, value: bool) {
        self.json(key, if value { "true" } else { "false" });
    }

    /// Adds `true` under a key that may hold anything.
    pub fn flag(&mut self, key: &[u8]) {
        self.value_bytes(key, |out| {
            out.extend_from_slice(b"true");
            false
        });
    }

    /// Adds digits as [`number_or_text`](Meta::number_or_text) does, unless they are missing or `-`.
    pub fn number_unless_nil(&mut self, key: &'static str, value: &[u8]) {
        if !value.is_empty() && value != b"-" {
            self.number_or_text(key, value);
        }
    }

    /// Adds digits as a number when they are a canonical i64 (so that the text comes back as it was), else as text.
    pub fn number_or_text(&mut self, key: &'static str, value: &[u8]) {
        let ascii = self.ascii;
        self.value(key, |out| push_number_or_text(value, ascii, out));
    }

    /// Adds a valid JSON value, made storable.
    pub fn json(&mut self, key: &'static str, value: &str) {
        self.value(key, |out| {
            push_json_value(value, out);
            false
        });
    }

    /// Adds what `write` appends, which must be one JSON value; it returns whether text had to be repaired.
    pub fn value(&mut self, key: &'static str, write: impl FnOnce(&mut Vec<u8>) -> bool) {
        let start = self.begin_named(key);
        self.finish(start, write);
    }

    /// The same under a key that may hold anything.
    pub fn value_bytes(&mut self, key: &[u8], write: impl FnOnce(&mut Vec<u8>) -> bool) {
        let start = self.begin();
        self.repaired |= push_string(key, self.ascii, &mut self.text);
        self.finish(start, write);
    }

    /// Adds what `write` appends, which must be one JSON value, or nothing where it fails. `write` is told whether all
    /// text is ASCII without NUL; it returns whether text had to be repaired, and what the caller wants to know.
    pub(crate) fn try_value<T, E>(
        &mut self,
        key: &'static str,
        write: impl FnOnce(&mut Vec<u8>, bool) -> Result<(bool, T), E>,
    ) -> Result<T, E> {
        let start = self.begin_named(key);
        let renamed = self.claim(start);
        let key_end = self.text.len();
        self.text.push(b':');
        match write(&mut self.text, self.ascii) {
            Ok((repaired, told)) => {
                self.repaired |= repaired;
                self.push_member(start, key_end, renamed);
                Ok(told)
            }
            Err(error) => {
                self.text.truncate(start - 1);
                Err(error)
            }
        }
    }

    /// Adds all members of another.
    pub fn append(&mut self, other: &Meta) {
        self.repaired |= other.repaired;
        for member in other.members.iter().filter(|m| m.live) {
            let start = self.begin();
            self.text.extend_from_slice(&other.text[member.start..member.key_end]);
            self.finish(start, |out| {
                out.extend_from_slice(&other.text[member.key_end + 1..member.end]);
                false
            });
        }
    }

    /// Adds a member of a JSON object as it stands there.
    #[inline]
    pub fn member(&mut self, key: Key, value: Value) {
        let start = self.begin();
        if key.escaped {
            let mut plain = Vec::with_capacity(key.raw.len());
            push_unescaped(key.raw, &mut plain);
            push_json_string(&plain, &mut self.text);
        } else {
            self.text.push(b'"');
            self.text.extend_from_slice(key.raw.as_bytes());
            self.text.push(b'"');
        }
        self.finish(start, |out| {
            if value.tidy {
                out.extend_from_slice(value.raw.as_bytes());
            } else {
                push_json_value(value.raw, out);
            }
            false
        });
    }

    /// Adds the member of a JSON object that a cursor has just read. Mostly it can be copied as a whole.
    #[inline]
    pub fn member_at(&mut self, cursor: &Cursor, key: Key, value: Value) {
        let (start, end) = (key.at - 1, cursor.position());
        let without_blanks = end - start == key.raw.len() + 3 + value.raw.len();
        if without_blanks && value.tidy && !key.escaped {
            let at = self.begin();
            self.text.extend_from_slice(&cursor.text().as_bytes()[start..end]);
            let key_end = at + key.raw.len() + 2;
            if self.find(&self.text[at..key_end]).is_none() {
                self.push_member(at, key_end, false);
                return;
            }
            self.text.truncate(at - 1);
        }
        self.member(key, value);
    }

    /// Adds a JSON value under a key that needs no escapes.
    pub fn json_value(&mut self, key: &str, value: Value) {
        self.member(Key { raw: key, escaped: false, at: 0 }, value);
    }

    /// Adds every member of a valid JSON object.
    pub fn merge_object(&mut self, object: &str) {
        // What is not valid ends it early, and there is none of that in an object that a cursor has read before.
        let _ = Cursor::new(object).object(|cursor, key, value| self.member_at(cursor, key, value));
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.len() - self.dead
    }

    /// The raw JSON value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        let member = self.members[self.find_plain(key)?];
        std::str::from_utf8(&self.text[member.key_end + 1..member.end]).ok()
    }

    pub fn contains(&self, key: &str) -> bool {
        self.find_plain(key).is_some()
    }

    /// Drops a key and its value.
    pub fn remove(&mut self, key: &str) {
        if let Some(at) = self.find_plain(key) {
            self.drop_member(at);
        }
    }

    fn drop_member(&mut self, at: usize) {
        self.dead += usize::from(std::mem::replace(&mut self.members[at].live, false));
    }

    fn find_plain(&self, key: &str) -> Option<usize> {
        let plain = key.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\');
        let mut quoted = Vec::new();
        if !plain {
            push_json_string(key.as_bytes(), &mut quoted);
        }
        let same = |m: &Member| match plain {
            true => self.text[m.start + 1..m.key_end - 1] == *key.as_bytes(),
            false => self.text[m.start..m.key_end] == *quoted,
        };
        self.members.iter().position(|m| m.live && same(m))
    }

    /// Appends the whole object.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        if self.dead == 0 {
            out.extend_from_slice(self.text.get(1..).unwrap_or_default());
        } else {
            let mut comma = 1;
            for member in self.members.iter().filter(|m| m.live) {
                out.extend_from_slice(&self.text[member.start - 1 + comma..member.end]);
                comma = 0;
            }
        }
        out.push(b'}');
    }

    /// Begins a member; where its key's opening quote will stand.
    #[inline]
    fn begin(&mut self) -> usize {
        self.text.push(b',');
        self.text.len()
    }

    /// Begins a member under a key that needs no escapes.
    #[inline]
    fn begin_named(&mut self, key: &'static str) -> usize {
        debug_assert_eq!(find_special(key.as_bytes(), 0), key.len(), "{key} needs escapes");
        let text = &mut self.text;
        text.extend_from_slice(b",\"");
        text.extend_from_slice(key.as_bytes());
        text.push(b'"');
        text.len() - key.len() - 2
    }

    /// Ends a member whose quoted key has just been written from `start`.
    #[inline]
    fn finish(&mut self, start: usize, write: impl FnOnce(&mut Vec<u8>) -> bool) {
        let renamed = self.claim(start);
        let key_end = self.text.len();
        self.text.push(b':');
        self.repaired |= write(&mut self.text);
        self.push_member(start, key_end, renamed);
    }

    /// Makes the key that has just been written from `start` the only one of its name: an older one of the same scope
    /// goes, beside one of another scope this one is numbered. True when it was.
    #[inline]
    fn claim(&mut self, start: usize) -> bool {
        let Some(older) = self.find(&self.text[start..]) else { return false };
        if self.members[older].scope == self.scope && !self.members[older].renamed {
            self.drop_member(older);
            return false;
        }
        self.rename(start);
        true
    }

    #[inline]
    fn push_member(&mut self, start: usize, key_end: usize, renamed: bool) {
        let tag = tag(&self.text[start..key_end]);
        let end = self.text.len();
        self.members.push(Member { tag, start, key_end, end, scope: self.scope, renamed, live: true });
        if self.members.len() > LINEAR_KEYS_MAX {
            self.index();
        }
    }

    /// Puts the last member into the index by hash, and all of them when it is the first to need one.
    fn index(&mut self) {
        let from = if self.by_hash.is_empty() { 0 } else { self.members.len() - 1 };
        for i in from..self.members.len() {
            let member = self.members[i];
            self.by_hash.insert(hash(&self.text[member.start..member.key_end]), i);
        }
    }

    /// Numbers the quoted key that stands at the end of the text, from `start` on, so that no other scope has it.
    #[cold]
    fn rename(&mut self, start: usize) {
        let end = self.text.len() - 1;
        for number in 2..2 + RENAMES_MAX {
            self.text.truncate(end);
            self.text.push(b'_');
            self.text.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
            self.text.push(b'"');
            let Some(older) = self.find(&self.text[start..]) else { return };
            // The same key, repeated in its scope, takes the number that it had.
            if number + 1 == 2 + RENAMES_MAX || self.members[older].scope == self.scope && self.members[older].renamed {
                self.drop_member(older);
                return;
            }
        }
    }

    #[inline]
    fn find(&self, quoted_key: &[u8]) -> Option<usize> {
        let tag = tag(quoted_key);
        let same = |&i: &usize| {
            let member = self.members[i];
            member.tag == tag && member.live && self.text[member.start..member.key_end] == *quoted_key
        };
        if self.members.len() > LINEAR_KEYS_MAX {
            return self.by_hash.get(&hash(quoted_key)).copied().filter(same);
        }
        (0..self.members.len()).find(same)
    }
}

/// Length, first and last byte of a quoted key.
#[inline]
fn tag(quoted_key: &[u8]) -> u32 {
    let inside = |at: usize| u32::from(quoted_key.get(at).copied().unwrap_or_default());
    (quoted_key.len() as u32) << 16 | inside(1) << 8 | inside(quoted_key.len().wrapping_sub(2))
}

fn hash(bytes: &[u8]) -> u64 {
    use std::hash::{BuildHasher, Hasher};
    // Keyed at random once per process, so that nobody can choose keys that collide.
    static KEYS: std::sync::OnceLock<std::collections::hash_map::RandomState> = std::sync::OnceLock::new();
    let mut hasher = KEYS.get_or_init(Default::default).build_hasher();
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(meta: &Meta) -> String {
        let mut out = Vec::new();
        meta.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn members_of_every_kind() {
        let mut meta = Meta::default();
        meta.text("t", b"a\"b\xff");
        meta.int("i", -7);
        meta.bool("b", true);
        meta.number_or_text("n", b"42");
        meta.number_or_text("z", b"042");
        meta.json("j", "{ \"x\" : 1 }");
        meta.text_unless_nil("nil", b"-");
        assert_eq!(
            object(&meta),
            "{\"t\":\"a\\\"b\u{fffd}\",\"i\":-7,\"b\":true,\"n\":42,\"z\":\"042\",\"j\":{\"x\":1}}"
        );
        assert!(meta.repaired());
        meta.clear();
        assert_eq!(object(&meta), "{}");
    }

    #[test]
    fn of_a_repeated_key_the_last_stays() {
        let mut meta = Meta::default();
        meta.merge_object(r#" { "a" : 1, "b":[{"a":"},"}], "\u0061" : "}" } "#.trim());
        assert_eq!(object(&meta), r#"{"b":[{"a":"},"}],"a":"}"}"#);
        assert_eq!(meta.get("a"), Some("\"}\""));
        meta.remove("b");
        assert_eq!(object(&meta), r#"{"a":"}"}"#);
    }

    #[test]
    fn of_a_key_in_two_scopes_both_stay() {
        let mut meta = Meta::default();
        meta.int("a", 1);
        meta.int("a_2", 2);
        meta.set_scope(1);
        meta.int("a", 3);
        meta.int("b", 4);
        meta.int("b", 5);
        meta.int("a", 6);
        meta.int("a_3", 7);
        assert_eq!(object(&meta), r#"{"a":1,"a_2":2,"b":5,"a_3":6,"a_3_2":7}"#);
        meta.clear_scope(1);
        assert_eq!(object(&meta), r#"{"a":1,"a_2":2}"#);
    }

    #[test]
    fn many_keys_repeat_too() {
        let mut meta = Meta::default();
        for round in 0..3 {
            for key in 0..100 {
                let number = (round * 100 + key).to_string();
                meta.value_bytes(format!("k{key}").as_bytes(), |out| push_number_or_text(number.as_bytes(), true, out));
            }
        }
        let text = object(&meta);
        assert_eq!(text.matches(':').count(), 100);
        assert_eq!((meta.get("k0"), meta.get("k99")), (Some("200"), Some("299")));
    }
}
