//! What the server answers, as entries: plain functions over replies.

use bytes::Bytes;
use record::Batch;
use redis::Value;

use super::FIELD;

/// An entry as it stands in a stream; `fields` is `None` where it is deleted and only pending still.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub id: String,
    pub fields: Option<Vec<Vec<u8>>>,
}

/// The answer to XREADGROUP of one stream.
pub(super) fn read_entries(reply: Value) -> Option<Vec<Entry>> {
    match reply {
        Value::Nil => Some(Vec::new()),
        reply => {
            let stream = array(reply)?.into_iter().next()?;
            entries(array(stream)?.into_iter().nth(1)?)
        }
    }
}

/// The answer to XAUTOCLAIM: where to go on, and what was claimed.
pub(super) fn claimed_entries(reply: Value) -> Option<(String, Vec<Entry>)> {
    let mut parts = array(reply)?.into_iter();
    Some((text(parts.next()?)?, entries(parts.next()?)?))
}

/// The answer to XPENDING of a range: how often each was delivered.
pub(super) fn deliveries(reply: Value) -> Option<Vec<(String, u64)>> {
    let of_one = |line: Value| {
        let mut line = array(line)?.into_iter();
        Some((text(line.next()?)?, number(line.nth(2)?)?))
    };
    array(reply)?.into_iter().map(of_one).collect()
}

/// The batch of an entry, or why it is none, and its fields as they were.
pub(super) fn open(fields: Vec<Vec<u8>>) -> Result<Batch, (String, Vec<Vec<u8>>)> {
    match <[Vec<u8>; 2]>::try_from(fields) {
        Ok([name, frame]) if name == FIELD.as_bytes() => {
            let frame = Bytes::from(frame);
            Batch::open(frame.clone()).map_err(|error| (error.to_string(), vec![name, frame.into()]))
        }
        Ok(fields) => Err((foreign(&fields), fields.into())),
        Err(fields) => Err((foreign(&fields), fields)),
    }
}

fn foreign(fields: &[Vec<u8>]) -> String {
    let names: Vec<_> = fields.iter().step_by(2).take(5).map(|name| String::from_utf8_lossy(name)).collect();
    format!("not written by Logboom: its fields are {}, and a batch's only one is {FIELD}", names.join(", "))
}

fn entries(reply: Value) -> Option<Vec<Entry>> {
    let of_one = |entry: Value| match entry {
        // XAUTOCLAIM of servers before 7.0.
        Value::Nil => Some(None),
        entry => {
            let mut parts = array(entry)?.into_iter();
            let id = text(parts.next()?)?;
            let fields = match parts.next()? {
                Value::Nil => None,
                fields => Some(array(fields)?.into_iter().map(bytes).collect::<Option<_>>()?),
            };
            Some(Some(Entry { id, fields }))
        }
    };
    let all: Option<Vec<Option<Entry>>> = array(reply)?.into_iter().map(of_one).collect();
    Some(all?.into_iter().flatten().collect())
}

pub(super) fn array(value: Value) -> Option<Vec<Value>> {
    if let Value::Array(items) = value { Some(items) } else { None }
}

pub(super) fn number(value: Value) -> Option<u64> {
    match value {
        Value::Int(number) => number.try_into().ok(),
        other => text(other)?.parse().ok(),
    }
}

pub(super) fn text(value: Value) -> Option<String> {
    String::from_utf8(bytes(value)?).ok()
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.into_bytes()),
        Value::Okay => Some(b"OK".to_vec()),
        _ => None,
    }
}

/// A member of the group, as XINFO CONSUMERS tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Consumer {
    pub name: String,
    pub pending: u64,
    pub idle: std::time::Duration,
}

/// The answer to XINFO CONSUMERS.
pub(super) fn consumers(reply: Value) -> Option<Vec<Consumer>> {
    let of_one = |consumer: Value| {
        let mut found = Consumer { name: String::new(), pending: 0, idle: std::time::Duration::ZERO };
        let mut parts = array(consumer)?.into_iter();
        while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
            match &text(name)?[..] {
                "name" => found.name = text(value)?,
                "pending" => found.pending = number(value)?,
                "idle" => found.idle = std::time::Duration::from_millis(number(value)?),
                _ => {}
            }
        }
        Some(found)
    };
    array(reply)?.into_iter().map(of_one).collect()
}
