//! logfmt: `level=info msg="it runs" port=5000`.
//!
//! Held to the format, a line may be any words, of which those without `=` are keys whose value is `true`. Detected, it
//! must begin with a pair, and all but a few words must be pairs: prose with some `key=value` in it is prose.

use super::keys::*;
use super::scan::{EQUALS, NO_KEY, QUOTE, SPACE, closing_quote, word_end};
use super::{FormatInfo, Malformed, NOT_AT_ITS_HEAD, Parser, mismatch, plain};
use crate::fields::{Context, Fields};
use crate::text::{
    Text, find_special, push_json_string, push_json_value, push_lossy, push_number_or_text, push_unescaped,
};
use crate::time;

pub static INFO: FormatInfo = FormatInfo {
    name: "logfmt",
    title: "logfmt: words of the form key=value",
    example: r#"time=2025-11-11T16:00:00Z level=info msg="listening on \"all\"" app=api port=5000"#,
    fields: &["timestamp", "level", "source", "application", "message", "metadata.*"],
    specification: "https://brandur.org/logfmt, https://pkg.go.dev/github.com/go-logfmt/logfmt",
};

pub struct Logfmt;

impl Parser for Logfmt {
    fn info(&self) -> &FormatInfo {
        &INFO
    }

    fn parse<'a>(&self, line: &'a [u8], context: &Context, out: &mut Fields<'a>) -> Result<(), Malformed> {
        parse(line, context, false, out).map_err(|(reason, at)| mismatch(INFO.name, reason, at))
    }

    fn may_be(&self, line: &[u8]) -> bool {
        let end = word_end(line, 0, NO_KEY);
        line.first().is_some_and(|&b| starts_key(b)) && line.get(end) == Some(&b'=')
    }

    fn detect<'a>(&self, line: &'a [u8], context: &Context, out: &mut Fields<'a>) -> Result<&'static str, Malformed> {
        // The rest of what `may_be` asks for is that the line begins with a pair, which is found out anyway.
        if !line.first().is_some_and(|&b| starts_key(b)) {
            return Err(mismatch(INFO.name, NOT_AT_ITS_HEAD, 0));
        }
        // Linux' audit log puts pairs into single quotes: as logfmt they would get lost.
        if plain::audit_head(line).is_some() {
            return Err(mismatch(INFO.name, "a line of the audit log", 0));
        }
        match parse(line, context, true, out) {
            Ok(()) => Ok(INFO.name),
            Err((reason, at)) => Err(mismatch(INFO.name, reason, at)),
        }
    }
}

/// Detected, at least so many words must be pairs, or the only one a quoted pair; and of the others at most one for each
/// [`PAIRS_PER_WORD`].
const PAIRS_MIN: usize = 2;
const PAIRS_PER_WORD: usize = 4;

/// The scopes of the metadata: the line's own keys, and what is told of its fields.
const OWN: u8 = 0;
const TOLD: u8 = 1;

fn parse<'a>(
    line: &'a [u8],
    context: &Context,
    detecting: bool,
    out: &mut Fields<'a>,
) -> Result<(), (&'static str, usize)> {
    let mut slots = Slots { values: [b""; KEYS.len()], set: 0, zone: b"" };
    let (mut pairs, mut words, mut commas) = (0, 0, 0);
    let mut at = 0;
    loop {
        // Like its first reader, take all control characters for blanks.
        while line.get(at).is_some_and(|&b| b <= b' ') {
            at += 1;
        }
        if at >= line.len() {
            break;
        }
        let pair = Pair::read(line, at)?;
        if pair.has_value {
            if detecting && !(pair.is_plain && starts_key(pair.key[0])) {
                return Err(("a key that is no word", at));
            }
            pairs += 1;
            commas += usize::from(pair.value.ends_with(b","));
        } else {
            words += 1;
            if detecting && pairs == 0 {
                return Err(("it does not begin with key=value", at));
            }
        }
        if detecting && pair.value.starts_with(b"\"") && line.get(pair.end).is_some_and(|&b| b > b' ') {
            return Err(("text right after a quoted value", pair.end));
        }
        store(&pair, &mut slots, out);
        at = pair.end;
    }
    if pairs + words == 0 {
        return Err(("an empty line", 0));
    }
    let only_quoted = pairs == 1 && words == 0 && line.ends_with(b"\"");
    if detecting && (pairs < PAIRS_MIN && !only_quoted || words * PAIRS_PER_WORD > pairs) {
        return Err(("too few words are key=value", 0));
    }
    if detecting && pairs > 1 && commas + 1 >= pairs {
        return Err(("commas between the pairs", 0));
    }
    fill(slots, context, out);
    Ok(())
}

/// `key=value`, `key="value"`, or a key alone.
struct Pair<'a> {
    key: &'a [u8],
    /// As it stands there, with its quotes.
    value: &'a [u8],
    has_value: bool,
    /// Whether the key is made of what programs make keys of.
    is_plain: bool,
    end: usize,
}

impl<'a> Pair<'a> {
    fn read(line: &'a [u8], at: usize) -> Result<Pair<'a>, (&'static str, usize)> {
        // Mostly a key is made of letters; then the first byte that is none ends it.
        let plain_end = word_end(line, at, NO_KEY);
        let is_plain = line.get(plain_end) == Some(&b'=');
        let key_end = if is_plain { plain_end } else { word_end(line, plain_end, SPACE | EQUALS | QUOTE) };
        let key = &line[at..key_end];
        if key.is_empty() {
            return Err(("a value without a key", at));
        }
        match line.get(key_end) {
            Some(b'=') => {}
            Some(b'"') => return Err(("a quote inside a key", key_end)),
            _ => return Ok(Pair { key, value: b"", has_value: false, is_plain, end: key_end }),
        }
        let start = key_end + 1;
        let end = match line.get(start) {
            Some(b'"') => {
                1 + closing_quote(line, start + 1, |_| true).ok_or(("a quoted value without an end", start))?
            }
            _ => word_end(line, start, SPACE),
        };
        Ok(Pair { key, value: &line[start..end], has_value: true, is_plain, end })
    }
}

fn starts_key(b: u8) -> bool {
    b.is_ascii_alphabetic() || matches!(b, b'_' | b'@') || b >= 0x80
}

struct Slots<'a> {
    /// As they stand in the line, with their quotes.
    values: [&'a [u8]; KEYS.len()],
    set: u64,
    /// The offset beside `date` and `time`, which stays in the metadata as well.
    zone: &'a [u8],
}

/// Date and time as two fields, as firewalls write them, are shorter than this.
const JOINED_BYTES_MAX: usize = 48;

impl<'a> Slots<'a> {
    /// `date=2025-11-11 time=16:00:00 tz="-0500"` as one text.
    fn date_and_time<'b>(&self, joined: &'b mut [u8; JOINED_BYTES_MAX]) -> Option<&'b [u8]> {
        if self.set & bits(TIMES) != 1 << DATE | 1 << TIME {
            return None;
        }
        let unquoted = |text: &'a [u8]| text.strip_prefix(b"\"").and_then(|t| t.strip_suffix(b"\"")).unwrap_or(text);
        let mut length = 0;
        for part in [self.values[DATE], self.values[TIME], self.zone].map(unquoted) {
            let into = joined.get_mut(length..length + part.len() + 1)?;
            into[..part.len()].copy_from_slice(part);
            into[part.len()] = b' ';
            length += into.len();
        }
        Some(&joined[..length])
    }

    fn take_first(&mut self, slots: std::ops::Range<usize>) -> Option<(usize, &'a [u8])> {
        let candidates = self.set & bits(slots);
        if candidates == 0 {
            return None;
        }
        let slot = candidates.trailing_zeros() as usize;
        self.set &= !(1 << slot);
        Some((slot, self.values[slot]))
    }
}

fn store<'a>(pair: &Pair<'a>, slots: &mut Slots<'a>, out: &mut Fields<'a>) {
    let slot = slot(pair.key).filter(|&slot| slot != METADATA && pair.has_value);
    match slot {
        Some(slot) => {
            slots.set |= 1 << slot;
            slots.values[slot] = pair.value;
        }
        None if pair.has_value => {
            if pair.key == b"tz" {
                slots.zone = pair.value;
            }
            push_value(pair.key, pair.value, out);
        }
        None => out.meta.flag(pair.key),
    }
}

fn push_value(key: &[u8], value: &[u8], out: &mut Fields) {
    let ascii = out.meta.is_ascii();
    out.meta.value_bytes(key, |json| match value {
        // Without backslashes and control characters it is a JSON string as it stands.
        [b'"', inside @ .., b'"'] if ascii && find_special(inside, 0) == inside.len() => {
            json.extend_from_slice(value);
            false
        }
        [b'"', inside @ .., b'"'] => push_quoted(value, inside, json),
        _ => push_number_or_text(value, ascii, json),
    });
}

/// A quoted value is a JSON string in most cases, and then copied as it is.
fn push_quoted(quoted: &[u8], inside: &[u8], json: &mut Vec<u8>) -> bool {
    if !inside.contains(&b'\\') {
        return push_json_string(inside, json);
    }
    if let Ok(text) = std::str::from_utf8(quoted)
        && let Ok(value) = crate::json::whole(text)
    {
        push_json_value(value.raw, json);
        return false;
    }
    let mut text = String::new();
    push_lossy(inside, &mut text);
    let mut plain = Vec::new();
    push_unescaped(&text, &mut plain);
    push_json_string(&plain, json);
    text.len() != inside.len()
}

fn fill<'a>(mut slots: Slots<'a>, context: &Context, out: &mut Fields<'a>) {
    let mut joined = [0; JOINED_BYTES_MAX];
    if let Some(instant) =
        slots.date_and_time(&mut joined).and_then(|text| time::parse(text, context.zone, context.received))
    {
        slots.set &= !(1 << DATE | 1 << TIME);
        out.timestamp = Some(instant.timestamp);
    } else if let Some((slot, value)) = slots.take_first(TIMES) {
        let text = text(value);
        let instant = match &text {
            Text::Bytes(bytes) => time::parse(bytes, context.zone, context.received),
            text => time::parse(text.to_string_lossy().as_bytes(), context.zone, context.received),
        };
        out.timestamp = instant.map(|instant| instant.timestamp);
        match instant {
            Some(instant) if instant.nanos == 0 => {}
            // What a timestamp cannot hold stays as it was written, too.
            Some(instant) => {
                out.meta.in_scope(TOLD, |meta| meta.int("nanos", i64::from(instant.nanos)));
                push_value(KEYS[slot].as_bytes(), value, out);
            }
            None if value.is_empty() => {}
            None => {
                out.meta.set_scope(TOLD);
                push_value(b"timestamp", value, out);
                out.meta.set_scope(OWN);
            }
        }
    }
    if let Some((_, value)) = slots.take_first(LEVELS) {
        out.level = level(value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value));
        if out.level.is_none() && !value.is_empty() {
            out.meta.set_scope(TOLD);
            push_value(b"level", value, out);
            out.meta.set_scope(OWN);
        }
    }
    if let Some((_, value)) = slots.take_first(SOURCES) {
        out.source = text(value);
    }
    if let Some((_, value)) = slots.take_first(APPLICATIONS) {
        out.application = text(value);
    }
    if let Some((_, value)) = slots.take_first(MESSAGES) {
        out.message = text(value);
    }
    while let Some((slot, value)) = slots.take_first(0..KEYS.len()) {
        push_value(KEYS[slot].as_bytes(), value, out);
    }
}

fn text(value: &[u8]) -> Text<'_> {
    let [b'"', inside @ .., b'"'] = value else { return Text::Bytes(value) };
    if !inside.contains(&b'\\') {
        return Text::Bytes(inside);
    }
    match std::str::from_utf8(inside) {
        Ok(text) => Text::Json(text),
        Err(_) => {
            let mut text = String::new();
            push_lossy(inside, &mut text);
            Text::Owned(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Mode;
    use crate::format::testing::{check, read, refuse};

    #[test]
    fn pairs_and_prose() {
        check(&[
            (
                r#"time=2025-11-11T16:00:00Z level=info msg="listening on \"all\"" app=api port=5000"#,
                r#"logfmt 2025-11-11T16:00:00 INFO -|api|listening on "all" {"port":5000}"#,
            ),
            (
                r#"logger=cleanup t=2025-11-11T16:00:00.520963849Z level=warn msg="tab\there" version=11.5.2 empty= neg=-5"#,
                r#"logfmt 2025-11-11T16:00:00.520963Z WARN -|cleanup|tab	here {"version":"11.5.2","empty":"","neg":-5,"nanos":849,"t":"2025-11-11T16:00:00.520963849Z"}"#,
            ),
            (
                r#"a=1 b="two" ü=3m r="e\t" d x=5y"#,
                r#"logfmt now INFO -|-|- {"a":1,"b":"two","ü":"3m","r":"e\t","d":true,"x":"5y"}"#,
            ),
            (r#"q="a=b c=d""#, r#"logfmt now INFO -|-|- {"q":"a=b c=d"}"#),
            (
                r#"at=info method=GET path="/" host=shop.example.com service=21ms status=200"#,
                r#"logfmt now INFO shop.example.com|21ms|- {"at":"info","method":"GET","path":"/","status":200}"#,
            ),
            ("ts=yesterday lvl=loud msg=x", r#"logfmt now INFO -|-|x {"timestamp":"yesterday","level":"loud"}"#),
            (r#"k="bad \x escape" j=2"#, r#"logfmt now INFO -|-|- {"k":"bad \\x escape","j":2}"#),
            (
                "user=bob logged in from ip=1.2.3.4 on host=x",
                "plain now INFO -|-|user=bob logged in from ip=1.2.3.4 on host=x {}",
            ),
            (
                "Connection from ip=1.2.3.4 port=22 failed",
                "plain now INFO -|-|Connection from ip=1.2.3.4 port=22 failed {}",
            ),
            ("x=1", "plain now INFO -|-|x=1 {}"),
            ("k=1, l=2, m=3", "plain now INFO -|-|k=1, l=2, m=3 {}"),
            (
                r#"date=2025-11-11 time=16:00:00 devname="FGT60F" tz="-0500" level="notice" srcip=10.0.0.1"#,
                r#"logfmt 2025-11-11T21:00:00 INFO -|-|- {"devname":"FGT60F","tz":"-0500","srcip":"10.0.0.1"}"#,
            ),
            ("t=2025-11-11T16:00:00+0000 lvl=eror msg=grafana", "logfmt 2025-11-11T16:00:00 ERROR -|-|grafana {}"),
            (r#"a=1 b="cut"#, r#"plain now INFO -|-|a=1 b="cut {}"#),
            ("SELECT * FROM t WHERE a=1 AND b=2", "plain now INFO -|-|SELECT * FROM t WHERE a=1 AND b=2 {}"),
        ]);
    }

    #[test]
    fn held_to_it() {
        refuse(
            &Logfmt,
            &[
                ("", "an empty line"),
                ("a=1 b=\"cut", "without an end"),
                ("=1", "a value without a key"),
                ("a\"b=1", "a quote inside a key"),
            ],
        );
        for (line, want) in [
            ("one two=3", r#"logfmt now INFO -|-|- {"one":true,"two":3}"#),
            ("k=\"v\\n\"k=w", r#"logfmt now INFO -|-|- {"k":"w"}"#),
            ("\u{1e} k=w", r#"logfmt now INFO -|-|- {"k":"w"}"#),
        ] {
            assert_eq!(read(line.as_bytes(), Mode::Named(&Logfmt), true).as_deref(), Ok(want));
        }
    }
}
