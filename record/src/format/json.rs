//! JSON, one value a line (RFC 8259), under the key names that loggers use.
//!
//! The keys of [`KEYS`] fill the record's fields: of those that name the same field, the first of the table; the others,
//! and all further keys, stay as they were in `metadata`. `null` means that a key is not there. A field's key whose value
//! is an object or an array stays in `metadata`, but for the nested forms of `log.level`, `host.name`, `service.name`
//! (Elastic Common Schema), `t.$date` (MongoDB) and `fields.message` (Rust's tracing), which are taken out of their object.
//!
//! What cannot be read is kept under the field's own name: a time as `metadata.timestamp`, a level as `metadata.level`.
//! Where a key is there already, beside the fields or in the line's own `metadata`, both stay: `timestamp_2`.
//! A line that is valid JSON and no object is a record too: its text is the message.

mod slots;

use slots::{Slots, take_inner};

use super::keys::*;
use super::{FormatInfo, Malformed, NOT_AT_ITS_HEAD, Parser, docker_json, mismatch};
use crate::fields::{Context, Fields};
use crate::json::{Cursor, JsonError, Key, TOO_DEEP, Value};
use crate::level::Level;
use crate::meta::Meta;
use crate::text::{Text, push_unescaped};
use crate::time;

pub static INFO: FormatInfo = FormatInfo {
    name: "json",
    title: "JSON, one object a line, under the usual key names",
    example: r#"{"timestamp":"2025-11-11T16:00:00Z","level":"ERROR","source":"web-1","application":"api","message":"no database","user_id":12345}"#,
    fields: &["timestamp", "level", "source", "application", "message", "metadata.*"],
    specification: "RFC 8259",
};

pub struct Json;

impl Parser for Json {
    fn info(&self) -> &FormatInfo {
        &INFO
    }

    fn may_be(&self, line: &[u8]) -> bool {
        match line.trim_ascii_start() {
            [b'{' | b'[' | b'"', ..] => true,
            number @ [b'-' | b'0'..=b'9', ..] => {
                number.iter().all(|b| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E' | b' ' | b'\t'))
            }
            literal => matches!(literal.trim_ascii_end(), b"true" | b"false" | b"null"),
        }
    }

    fn parse<'a>(&self, line: &'a [u8], context: &Context, out: &mut Fields<'a>) -> Result<(), Malformed> {
        parse_bytes(line, context, out, false).map(|_| ())
    }

    fn detect<'a>(&self, line: &'a [u8], context: &Context, out: &mut Fields<'a>) -> Result<&'static str, Malformed> {
        // A text's first byte tells most that is none: cheaper than to look whether all of it is UTF-8.
        if line.first() != Some(&b'{') && !self.may_be(line) {
            return Err(mismatch(INFO.name, NOT_AT_ITS_HEAD, 0));
        }
        Ok(if parse_bytes(line, context, out, true)? { docker_json::INFO.name } else { INFO.name })
    }
}

/// Reads a line that may be Docker's; says whether it is.
pub(super) fn read<'a>(line: &'a [u8], context: &Context, out: &mut Fields<'a>) -> Result<bool, Malformed> {
    parse_bytes(line, context, out, true)
}

/// Not inlined: one copy is faster than one in each of its callers, of which a line may meet two.
#[inline(never)]
fn parse_bytes<'a>(line: &'a [u8], context: &Context, out: &mut Fields<'a>, docker: bool) -> Result<bool, Malformed> {
    match std::str::from_utf8(line) {
        Ok(text) => parse_text(text, context, out, docker),
        Err(error) => Err(malformed(JsonError { reason: NOT_UTF8, at: error.valid_up_to() })),
    }
}

/// Said of bytes that have to be repaired before they can be read as JSON.
pub(super) const NOT_UTF8: &str = "not UTF-8";

fn malformed(error: JsonError) -> Malformed {
    let code = if error.reason == TOO_DEEP { "too_deep" } else { "malformed_json" };
    Malformed { code, format: INFO.name, reason: error.reason, column: error.at + 1 }
}

/// The scopes of the metadata: what stands beside the record's fields, what comes out of its `metadata`, and what is
/// told of its fields.
const BESIDE: u8 = 0;
const INSIDE: u8 = 1;
const TOLD: u8 = 2;

/// Reads one JSON value: a line of a log, a request's body, an element of an array. Says whether it is a line of
/// Docker's, where that may be.
fn parse_text<'a>(text: &'a str, context: &Context, out: &mut Fields<'a>, docker: bool) -> Result<bool, Malformed> {
    let mut cursor = Cursor::new(text);
    cursor.blanks();
    if cursor.peek() != Some(b'{') {
        let value = cursor.value().map_err(malformed)?;
        cursor.end().map_err(malformed)?;
        out.message = Text::Bytes(value.raw.as_bytes());
        return Ok(false);
    }
    let mut slots = Slots::new(text);
    read_members(&mut cursor, &mut slots, &mut out.meta).map_err(malformed)?;
    cursor.end().map_err(malformed)?;
    let like_docker = docker && slots.set == 1 << LOG | 1 << TIME && slots.get(LOG).string().is_some() && {
        let stream = out.meta.get("stream");
        let others = out.meta.len() - usize::from(out.meta.contains("attrs"));
        matches!(stream, Some("\"stdout\"" | "\"stderr\"")) && others == 1
    };
    fill(slots, context, out);
    let is_docker = like_docker && out.timestamp.is_some();
    if is_docker {
        docker_json::finish(out);
    }
    Ok(is_docker)
}

/// Walks the object: fields into their slots, all else into the metadata.
fn read_members<'a>(cursor: &mut Cursor<'a>, slots: &mut Slots<'a>, meta: &mut Meta) -> Result<(), JsonError> {
    if !cursor.enter_object()? {
        return Ok(());
    }
    loop {
        let key = cursor.key()?;
        let slot = if key.escaped { slot(unescaped(key).as_bytes()) } else { slot(key.raw.as_bytes()) };
        match slot {
            Some(METADATA) => {
                if slots.set & 1 << METADATA != 0 {
                    meta.clear_scope(INSIDE);
                }
                if cursor.peek() == Some(b'{') {
                    // Its members are stored while they are read; that they are there is all there is to note.
                    meta.set_scope(INSIDE);
                    cursor.object(|cursor, key, value| meta.member_at(cursor, key, value))?;
                    meta.set_scope(BESIDE);
                    slots.put(METADATA, Value::NONE, 0);
                } else {
                    let value = cursor.value()?;
                    slots.put(METADATA, value, cursor.position());
                }
            }
            Some(slot) => {
                let value = cursor.value()?;
                slots.put(slot, value, cursor.position());
            }
            None => {
                let value = cursor.value()?;
                meta.member_at(cursor, key, value);
            }
        }
        if !cursor.next_member()? {
            return Ok(());
        }
    }
}

#[cold]
fn unescaped(key: Key) -> String {
    let mut plain = Vec::new();
    push_unescaped(key.raw, &mut plain);
    String::from_utf8(plain).unwrap_or_default()
}

fn fill<'a>(mut slots: Slots<'a>, context: &Context, out: &mut Fields<'a>) {
    fill_timestamp(&mut slots, context, out);
    fill_level(&mut slots, out);
    if let Some((_, value)) = slots.take_first(SOURCES) {
        out.source = scalar_text(value);
    } else if let Some(name) = take_inner(&mut slots, HOST, "name", &mut out.meta) {
        out.source = scalar_text(name);
    }
    if let Some((_, value)) = slots.take_first(APPLICATIONS) {
        out.application = scalar_text(value);
    } else if let Some(name) = take_inner(&mut slots, SERVICE, "name", &mut out.meta) {
        out.application = scalar_text(name);
    }
    if let Some((_, value)) = slots.take_first(MESSAGES) {
        out.message = scalar_text(value);
    } else if let Some(message) = take_inner(&mut slots, FIELDS, "message", &mut out.meta) {
        out.message = scalar_text(message);
    }
    // `metadata` as an object has been stored already.
    if slots.is_noted(METADATA) {
        slots.set &= !(1 << METADATA);
    }
    while slots.set != 0 {
        let slot = slots.set.trailing_zeros() as usize;
        out.meta.json_value(KEYS[slot], slots.get(slot));
        slots.set &= slots.set - 1;
    }
}

fn fill_timestamp<'a>(slots: &mut Slots<'a>, context: &Context, out: &mut Fields<'a>) {
    // `{"t": {"$date": …}}` comes where a plain `t` would.
    let nested = slots.object(T).filter(|_| slots.set & 0b1_1111 == 0);
    let value = match nested {
        Some(_) => take_inner(slots, T, "$date", &mut out.meta),
        None => slots.take_first(TIMES).map(|(_, value)| value),
    };
    let Some(value) = value else { return };
    match read_time(value, context) {
        Some(instant) => {
            out.timestamp = Some(instant.timestamp);
            if instant.nanos > 0 {
                out.meta.in_scope(TOLD, |meta| meta.int("nanos", i64::from(instant.nanos)));
            }
        }
        None => out.meta.in_scope(TOLD, |meta| meta.json_value("timestamp", value)),
    }
}

#[inline]
fn read_time(value: Value, context: &Context) -> Option<time::Instant> {
    match value.string() {
        Some(text) if value.escaped => {
            let text = unescaped(Key { raw: text, escaped: true, at: 0 });
            time::parse(text.as_bytes(), context.zone, context.received)
        }
        Some(text) => time::parse(text.as_bytes(), context.zone, context.received),
        None => time::parse_epoch(value.raw.as_bytes()),
    }
}

fn fill_level<'a>(slots: &mut Slots<'a>, out: &mut Fields<'a>) {
    let before_nested = slots.set & bits(LEVELS.start..LOG_LEVEL);
    let nested = if before_nested == 0 && slots.set & 1 << LOG_LEVEL == 0 { slots.object(LOG) } else { None };
    let inner = nested.and_then(|_| take_inner(slots, LOG, "level", &mut out.meta));
    let Some(value) = inner.or_else(|| slots.take_first(LEVELS).map(|(_, value)| value)) else { return };
    out.level = read_level(value);
    if out.level.is_none() {
        out.meta.in_scope(TOLD, |meta| meta.json_value("level", value));
    }
}

fn read_level(value: Value) -> Option<Level> {
    level(value.string().unwrap_or(value.raw).as_bytes())
}

#[inline]
fn scalar_text(value: Value<'_>) -> Text<'_> {
    match value.string() {
        Some(text) if !value.escaped => Text::Clean(text),
        Some(text) => Text::Json(text),
        None => Text::Bytes(value.raw.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Mode;
    use crate::format::testing::{check, read, refuse};
    use proptest::prelude::*;

    #[test]
    fn fields_from_the_usual_keys() {
        check(&[
            (
                r#"{"timestamp":"2025-11-11T16:00:00Z","level":"error","source":"web-1","application":"api","message":"no db","metadata":{"user_id":12345}}"#,
                r#"json 2025-11-11T16:00:00 ERROR web-1|api|no db {"user_id":12345}"#,
            ),
            (
                r#" { "ts" : 1762876800.25 , "lvl" : "warning", "host":"h", "app":"a", "msg" : "m\n\u00e9", "x" : [ 1, {"y" : "z"} ] } "#,
                "json 2025-11-11T16:00:00.250 WARN h|a|m\né {\"x\":[1,{\"y\":\"z\"}]}",
            ),
            (r#"{"message":42,"level":30,"time":1762876800123}"#, "json 2025-11-11T16:00:00.123 INFO -|-|42 {}"),
            (r#"{"level":"3","msg":true}"#, "json now ERROR -|-|true {}"),
            (r#"{}"#, "json now INFO -|-|- {}"),
            (
                r#"{"@timestamp":"2025-11-11T16:00:00.123456789Z"}"#,
                r#"json 2025-11-11T16:00:00.123456Z INFO -|-|- {"nanos":789}"#,
            ),
            (
                r#"{"eventTime":"1762876800123456","severity_text":"Emerg"}"#,
                "json 2025-11-11T16:00:00.123456Z FATAL -|-|- {}",
            ),
        ]);
    }

    #[test]
    fn the_first_key_of_the_table_wins_and_the_others_stay() {
        check(&[
            (
                r#"{"msg":"b","message":"a","level":"info","severity":"x"}"#,
                r#"json now INFO -|-|a {"severity":"x","msg":"b"}"#,
            ),
            (r#"{"msg":"b","message":null,"metadata":null}"#, "json now INFO -|-|b {}"),
            (r#"{"message":"a","message":"b","message":null,"text":"t"}"#, "json now INFO -|-|t {}"),
            (r#"{"k":1,"k":2,"\u006b":3,"\u006dessage":"m"}"#, r#"json now INFO -|-|m {"k":3}"#),
            (r#"{"message":{"a":1},"msg":"m"}"#, r#"json now INFO -|-|m {"message":{"a":1}}"#),
            (
                r#"{"message":["a"],"source":{"ip":"1"}}"#,
                r#"json now INFO -|-|- {"source":{"ip":"1"},"message":["a"]}"#,
            ),
        ]);
    }

    #[test]
    fn nested_forms() {
        check(&[
            (
                r#"{"log":{"level":"warn","logger":"x"},"host":{"name":"h"},"service":{"name":"s","id":1},"message":"m"}"#,
                r#"json now WARN h|s|m {"log":{"logger":"x"},"service":{"id":1}}"#,
            ),
            (
                r#"{"log": {"level": "warn", "a b": "c d", "\u0061\u0000": [1, 2]}}"#,
                "json now WARN -|-|- {\"log\":{\"a b\":\"c d\",\"\\u0061\u{fffd}\":[1,2]}}",
            ),
            (r#"{"log.level":"error","host.name":"h","service.name":"s"}"#, "json now ERROR h|s|- {}"),
            (r#"{"t":{"$date":"2025-11-11T16:00:00.000+00:00"},"log":"l"}"#, "json 2025-11-11T16:00:00 INFO -|-|l {}"),
            (r#"{"log":{"level":"warn"},"level":"info"}"#, r#"json now INFO -|-|- {"log":{"level":"warn"}}"#),
            (
                r#"{"log":{"level":{"a":1}},"host":{"ip":"1"}}"#,
                r#"json now INFO -|-|- {"host":{"ip":"1"},"log":{"level":{"a":1}}}"#,
            ),
        ]);
    }

    #[test]
    fn keys_of_single_loggers() {
        check(&[
            (
                r#"{"__REALTIME_TIMESTAMP":"1762876800123456","PRIORITY":"3","SYSLOG_IDENTIFIER":"sshd","_PID":"99","_HOSTNAME":"web1","MESSAGE":"from journalctl -o json"}"#,
                r#"json 2025-11-11T16:00:00.123456Z ERROR web1|sshd|from journalctl -o json {"_PID":"99"}"#,
            ),
            (
                r#"{"@t":"2025-11-11T16:00:00.1234567Z","@mt":"Hello {Name}","@l":"Warning","Name":"x"}"#,
                r#"json 2025-11-11T16:00:00.123456Z WARN -|-|Hello {Name} {"Name":"x","nanos":700}"#,
            ),
            (
                r#"{"Timestamp":"2025-11-11T16:00:00+01:00","Level":"Error","MessageTemplate":"m {X}","RenderedMessage":"m 1","Properties":{"X":1}}"#,
                r#"json 2025-11-11T15:00:00 ERROR -|-|m 1 {"MessageTemplate":"m {X}","Properties":{"X":1}}"#,
            ),
            (
                r#"{"EventId":1,"LogLevel":"Critical","Category":"Shop","Message":"aspnet","State":{"a":1},"Timestamp":"2025-11-11T16:00:00.000Z "}"#,
                r#"json 2025-11-11T16:00:00 FATAL -|-|aspnet {"EventId":1,"Category":"Shop","State":{"a":1}}"#,
            ),
            (
                r#"{"Timestamp":"1762876800000000000","SeverityText":"WARN","SeverityNumber":13,"Body":"otel","TraceId":"ab"}"#,
                r#"json 2025-11-11T16:00:00 WARN -|-|otel {"SeverityNumber":13,"TraceId":"ab"}"#,
            ),
            (
                r#"{"timestamp":"2025-11-11T16:00:00Z","level":"WARN","fields":{"message":"rust","a":1},"target":"app::mod"}"#,
                r#"json 2025-11-11T16:00:00 WARN -|-|rust {"target":"app::mod","fields":{"a":1}}"#,
            ),
            (
                r#"{"asctime":"2025-11-11 16:00:00,123","levelname":"ERROR","name":"app","message":"python","fields":"x"}"#,
                r#"json 2025-11-11T16:00:00.123 ERROR -|-|python {"name":"app","fields":"x"}"#,
            ),
        ]);
    }

    #[test]
    fn what_cannot_be_read_is_kept() {
        check(&[
            (
                r#"{"timestamp":"yesterday","level":"LOUD","metadata":{"level":1}}"#,
                r#"json now INFO -|-|- {"level":1,"timestamp":"yesterday","level_2":"LOUD"}"#,
            ),
            (r#"{"timestamp":-1,"level":35.5}"#, r#"json now INFO -|-|- {"timestamp":-1,"level":35.5}"#),
            (r#"{"metadata":[1, 2]}"#, r#"json now INFO -|-|- {"metadata":[1,2]}"#),
            (r#"{"metadata":{"a":1},"metadata":{"b":1e400},"b":2}"#, r#"json now INFO -|-|- {"b":"1e400","b_2":2}"#),
            (r#"{"metadata":{"a":1},"metadata":7}"#, r#"json now INFO -|-|- {"metadata":7}"#),
            (r#"{"a":"\u0000\ud800","message":"\u0000"}"#, "json now INFO -|-|\u{fffd} {\"a\":\"\u{fffd}\u{fffd}\"}"),
        ]);
    }

    #[test]
    fn a_line_that_is_no_object() {
        check(&[
            ("42", "json now INFO -|-|42 {}"),
            (r#" [1, "a"] "#, r#"json now INFO -|-|[1, "a"] {}"#),
            ("null", "json now INFO -|-|null {}"),
            (r#""text""#, r#"json now INFO -|-|"text" {}"#),
        ]);
    }

    #[test]
    fn broken_json_is_refused_and_detected_as_text() {
        let deep = "[".repeat(1_000_000);
        let deep_member = format!("{{\"a\":{}", "[{\"b\":".repeat(100_000));
        refuse(
            &Json,
            &[
                (r#"{"a":1"#, "malformed_json malformed JSON: the text ends too early"),
                (r#"{"a":1}}"#, "text after the value"),
                (r#"{"metadata":{"a":1,}}"#, "a key in double quotes"),
                ("", "the text ends too early"),
                (&deep, "too_deep"),
                (&deep_member, "too_deep"),
            ],
        );
        check(&[(r#"{"a":1"#, r#"plain now INFO -|-|{"a":1 {}"#)]);
        let reject = read(b"{\n \"a\": x}", Mode::Json, true).unwrap_err();
        assert_eq!((reject.line, reject.column), (Some(2), Some(7)));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_repaired_and_marked() {
        let got = read(b"{\"message\":\"a\xffb\",\"k\xfe\":1}", Mode::Json, true).unwrap();
        assert_eq!(got, "json now INFO -|-|a\u{fffd}b {\"k\u{fffd}\":1,\"utf8_repaired\":true}");
        let reject = read(b"{\"a\xff\":}", Mode::Json, true).unwrap_err();
        assert_eq!((reject.code, reject.column), ("malformed_json", Some(9)));
    }

    proptest! {
        #[test]
        fn any_record_comes_back(
            source in "[^\0]*",
            application in "[^\0]*",
            message in "[^\0]*",
            keys in prop::collection::vec(("[^\0]{0,8}", "[^\0]{0,20}"), 0..40),
        ) {
            let context = Context { unwrap: false, ..Context::new(crate::format::testing::RECEIVED, &crate::Zone::UTC) };
            let mut fields = Fields {
                timestamp: crate::Timestamp::from_micros(1_762_876_800_123_456),
                level: Some(Level::Error),
                source: source.as_str().into(),
                application: application.as_str().into(),
                message: message.as_str().into(),
                ..Fields::default()
            };
            for (key, value) in &keys {
                fields.meta.value_bytes(key.as_bytes(), |out| crate::text::push_json_string(value.as_bytes(), out));
            }
            let members = |push: &mut dyn FnMut(&mut crate::BatchBuilder, &mut crate::IdSource)| {
                let mut builder = crate::BatchBuilder::new(1);
                push(&mut builder, &mut crate::IdSource::new(|| 0));
                let mut json = vec![b'{'];
                crate::Rows::new(builder.body()).next().unwrap().write_json_members(&mut json);
                json.push(b'}');
                json
            };
            let first = members(&mut |builder, ids| assert!(builder.push(&fields, &context, ids).is_ok()));
            let again = members(&mut |builder, ids| {
                crate::format::LineParser::new().push_line(&first, Mode::Json, &context, ids, builder).unwrap();
            });
            prop_assert_eq!(String::from_utf8(first).unwrap(), String::from_utf8(again).unwrap());
        }

        #[test]
        fn any_bytes_are_safe(bytes: Vec<u8>) {
            let _ = read(&bytes, Mode::Json, true);
        }

        #[test]
        fn any_near_json_is_safe(text in r#"\{("(level|log|host|t|ts|metadata|a)":(\{("(level|name|\$date)":[0-9"a]{0,4},?){0,2}\}|[0-9"\[\]]{0,5}),?){0,5}\}"#) {
            prop_assert!(read(text.as_bytes(), Mode::Auto, true).is_ok());
        }
    }
}
