//! A log wrapped in a log, opened one level: JSON in a string of JSON, and in the lines of containers and syslog also
//! access logs, the error logs of web servers, and logfmt.
//!
//! The inner gives message and level; timestamp, source and application stay the outer's where it has them. What is
//! displaced is kept: the outer level as `metadata.outer.level`, of the inner the others as `metadata.inner.…`. Both
//! metadata are one in the end. Of an inner log without a message the text is the message, in the lines of containers and
//! syslog; in JSON it is data, and stays closed.

use super::{Parser, access, apache_error, cri, docker_json, json, logfmt, nginx_error, plain};
use super::{syslog_rfc3164, syslog_rfc5424};
use crate::fields::{Context, Fields};
use crate::meta::Meta;
use crate::text::{Text, push_json_string};

/// The scopes of an inner log's metadata, and of what is displaced.
const INNER: u8 = 3;
const DISPLACED: u8 = 4;

/// Scratch memory for inner logs.
#[derive(Default)]
pub struct Wrapped {
    meta: Meta,
    /// The inner text, where it had to be unescaped.
    text: Vec<u8>,
}

/// What may be wrapped in the lines of containers and syslog: objects, and what else is tried.
static WRAPPED: &[&dyn Parser] = &[
    &json::Json,
    &access::Access { combined: true },
    &nginx_error::NginxError,
    &apache_error::ApacheError,
    &logfmt::Logfmt,
];

impl Wrapped {
    /// Opens the fields' message if there is a log in it, and hands on what has come of it.
    pub fn open<T>(
        &mut self,
        format: &'static str,
        context: &Context,
        outer: &mut Fields,
        push: impl FnOnce(&Fields) -> T,
    ) -> T {
        let carries_lines =
            [cri::INFO.name, docker_json::INFO.name, syslog_rfc3164::INFO.name, syslog_rfc5424::INFO.name]
                .contains(&format);
        let is_json = format == json::INFO.name;
        if !carries_lines && !is_json {
            return push(outer);
        }
        let Wrapped { meta, text } = self;
        let inner_text = match &outer.message {
            Text::Empty => return push(outer),
            Text::Bytes(bytes) if carries_lines || may_be_object(bytes) => *bytes,
            Text::Clean(clean) if carries_lines || may_be_object(clean.as_bytes()) => clean.as_bytes(),
            Text::Json(json) if carries_lines || may_be_object(json.as_bytes()) => {
                text.clear();
                outer.message.write(text);
                text.as_slice()
            }
            _ => return push(outer),
        };
        let is_object = may_be_object(inner_text);
        let parsers = if is_object { &WRAPPED[..1] } else { &WRAPPED[1..] };
        let tries = parsers.iter().copied().filter(|parser| parser.may_be(inner_text));
        let Some(parser) = tries.clone().next().filter(|_| is_object || carries_lines) else {
            if carries_lines && outer.level.is_none() {
                outer.level = plain::level_of_message(inner_text, context);
            }
            return push(outer);
        };
        let mut inner = Fields::with(std::mem::take(meta));
        match outer.message {
            Text::Bytes(_) => inner.take_ascii(outer),
            _ => inner.look_at(inner_text),
        }
        // Defaults are for the outer: whoever asks for them gets something that is not empty, and leaves them alone.
        let inner_context = Context { source: "-", application: "-", ..context.clone() };
        let opened = std::iter::once(parser)
            .chain(tries.skip(1))
            .any(|parser| read(parser, inner_text, carries_lines, &inner_context, &mut inner));
        let done = if opened {
            let message = std::mem::take(&mut inner.message);
            outer.meta.set_ascii(outer.meta.is_ascii() && inner.meta.is_ascii());
            merge(&mut inner, outer);
            let whole = Fields {
                timestamp: outer.timestamp.or(inner.timestamp),
                level: inner.level.or(outer.level),
                source: if outer.source.is_empty() { std::mem::take(&mut inner.source) } else { outer.source.clone() },
                application: match outer.application.is_empty() {
                    true => std::mem::take(&mut inner.application),
                    false => outer.application.clone(),
                },
                message,
                meta: std::mem::take(&mut outer.meta),
            };
            let done = push(&whole);
            outer.meta = whole.meta;
            done
        } else {
            if carries_lines && outer.level.is_none() {
                outer.level = plain::level_of_message(inner_text, context);
            }
            push(outer)
        };
        *meta = inner.meta;
        done
    }
}

fn may_be_object(text: &[u8]) -> bool {
    text.trim_ascii_start().starts_with(b"{")
}

/// Reads an inner log; true when it is one.
fn read<'a>(parser: &dyn Parser, text: &'a [u8], keeps_text: bool, context: &Context, inner: &mut Fields<'a>) -> bool {
    if parser.detect(text, context, inner).is_ok() {
        if inner.message.is_empty() && keeps_text {
            inner.message = Text::Bytes(text);
        }
        if !inner.message.is_empty() {
            return true;
        }
    }
    inner.reset();
    false
}

/// Puts the inner log's metadata, and what is displaced, into the outer's.
fn merge(inner: &mut Fields, outer: &mut Fields) {
    let timestamp = inner.timestamp.filter(|_| outer.timestamp.is_some());
    if timestamp.is_some() {
        inner.meta.remove("nanos");
    }
    outer.meta.set_scope(INNER);
    outer.meta.append(&inner.meta);
    outer.meta.set_scope(DISPLACED);
    if let (Some(old), Some(new)) = (outer.level, inner.level)
        && old != new
    {
        outer.meta.json("outer", &format!("{{\"level\":\"{old}\"}}"));
    }
    let source = Some(&inner.source).filter(|text| !text.is_empty() && !outer.source.is_empty());
    let application = Some(&inner.application).filter(|text| !text.is_empty() && !outer.application.is_empty());
    if timestamp.is_none() && source.is_none() && application.is_none() {
        return;
    }
    outer.meta.value("inner", |json| {
        let mut repaired = false;
        let mut separator = b'{';
        let mut member = |json: &mut Vec<u8>, name: &str, write: &mut dyn FnMut(&mut Vec<u8>)| {
            json.push(std::mem::replace(&mut separator, b','));
            push_json_string(name.as_bytes(), json);
            json.push(b':');
            write(json);
        };
        if let Some(timestamp) = timestamp {
            member(json, "timestamp", &mut |json| {
                json.push(b'"');
                timestamp.write_rfc3339(json);
                json.push(b'"');
            });
        }
        for (name, text) in [("source", source), ("application", application)] {
            if let Some(text) = text {
                member(json, name, &mut |json| repaired |= push_json_string(text.to_string_lossy().as_bytes(), json));
            }
        }
        json.push(b'}');
        repaired
    });
}
