//! The values of a line's keys that fill fields, and what is nested in them.

use crate::format::keys::*;
use crate::json::{Cursor, Value};
use crate::meta::Meta;
use crate::text::push_json_value;

/// The values of the keys that fill fields.
pub(super) struct Slots<'a> {
    text: &'a str,
    /// Where each value stands in the text: its end and its length, and as top bits whether it is tidy, and escaped. So
    /// packed, clearing them costs little.
    packed: [(u32, u32); KEYS.len()],
    /// Which of them are there, a bit each.
    pub(super) set: u64,
}

/// A line, and so a value, is shorter than this by far.
const TIDY: u32 = 1 << 31;
const ESCAPED: u32 = 1 << 30;

impl<'a> Slots<'a> {
    pub(super) fn new(text: &'a str) -> Slots<'a> {
        Slots { text, packed: [(0, 0); KEYS.len()], set: 0 }
    }

    /// Puts in the value that the cursor has just read.
    #[inline]
    pub(super) fn put(&mut self, slot: usize, value: Value<'a>, end: usize) {
        // Of a repeated key the last counts, also when it is null.
        match value.is_null() {
            true => self.set &= !(1 << slot),
            false => self.set |= 1 << slot,
        }
        let flags = if value.tidy { TIDY } else { 0 } | if value.escaped { ESCAPED } else { 0 };
        self.packed[slot] = (end as u32, value.raw.len() as u32 | flags);
    }

    #[inline]
    pub(super) fn get(&self, slot: usize) -> Value<'a> {
        let (end, packed) = self.packed[slot];
        let length = packed & !(TIDY | ESCAPED);
        let raw = &self.text[(end - length) as usize..end as usize];
        Value { raw, tidy: packed & TIDY != 0, escaped: packed & ESCAPED != 0 }
    }

    /// The first value of a field that is no object or array: taken out, and its slot told.
    #[inline]
    pub(super) fn take_first(&mut self, slots: std::ops::Range<usize>) -> Option<(usize, Value<'a>)> {
        let mut candidates = self.set & bits(slots);
        while candidates != 0 {
            let slot = candidates.trailing_zeros() as usize;
            let value = self.get(slot);
            if !value.is_container() {
                self.set &= !(1 << slot);
                return Some((slot, value));
            }
            candidates &= candidates - 1;
        }
        None
    }

    /// Whether nothing but [`Value::NONE`] was put in.
    pub(super) fn is_noted(&self, slot: usize) -> bool {
        self.packed[slot] == (0, TIDY)
    }

    #[inline]
    pub(super) fn object(&self, slot: usize) -> Option<Value<'a>> {
        (self.set & 1 << slot != 0).then(|| self.get(slot)).filter(Value::is_object)
    }
}

/// Takes a member that is no object or array out of the object in a slot. What else is in there goes into the metadata.
pub(super) fn take_inner<'a>(slots: &mut Slots<'a>, slot: usize, name: &str, meta: &mut Meta) -> Option<Value<'a>> {
    let object = slots.object(slot)?;
    let mut found = None;
    let mut others = false;
    let walked = Cursor::new(object.raw).object(|_, key, value| match key.raw == name {
        true => found = Some(value),
        false => others = true,
    });
    let found = found.filter(|value| walked.is_ok() && !value.is_null() && !value.is_container())?;
    slots.set &= !(1 << slot);
    if others {
        meta.value(KEYS[slot], |out| {
            write_without(object.raw, name, out);
            false
        });
    }
    Some(found)
}

/// Writes an object without one of its members.
fn write_without(object: &str, name: &str, out: &mut Vec<u8>) {
    let mut separator = b'{';
    // It has been read before: there is no error in it.
    let _ = Cursor::new(object).object(|_, key, value| {
        if key.raw != name {
            out.push(std::mem::replace(&mut separator, b','));
            match key.escaped {
                true => push_json_value(&format!("\"{}\"", key.raw), out),
                false => {
                    out.push(b'"');
                    out.extend_from_slice(key.raw.as_bytes());
                    out.push(b'"');
                }
            }
            out.push(b':');
            push_json_value(value.raw, out);
        }
    });
    out.push(b'}');
}
