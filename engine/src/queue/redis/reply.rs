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

/// The answer to XPENDING of a whole group: how many, and the first.
pub(super) fn pending(reply: Value) -> Option<(u64, Option<String>)> {
    let mut parts = array(reply)?.into_iter();
    Some((number(parts.next()?)?, parts.next().and_then(text)))
}

/// The streams of the settings, and all that an engine has ever written to.
pub(super) fn stream_numbers(registered: Option<Value>, streams: u16) -> Vec<u16> {
    let registered = registered.and_then(array).unwrap_or_default();
    let registered = registered.into_iter().filter_map(text).filter_map(|number| number.parse().ok());
    let mut all: Vec<u16> = (0..streams.max(1)).chain(registered).collect();
    all.sort_unstable();
    all.dedup();
    all
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

/// The answer to XRANGE, and a part of others.
pub(super) fn entries(reply: Value) -> Option<Vec<Entry>> {
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
pub struct Consumer {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use record::BatchBuilder;
    use record::filter::contract;

    use super::*;

    fn bulk(text: &[u8]) -> Value {
        Value::BulkString(text.to_vec())
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Nil),
            Just(Value::Okay),
            any::<i64>().prop_map(Value::Int),
            proptest::collection::vec(any::<u8>(), 0..8).prop_map(Value::BulkString),
            "[a-z0-9-]{0,8}".prop_map(Value::SimpleString),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| proptest::collection::vec(inner, 0..4).prop_map(Value::Array))
    }

    #[test]
    fn answers_as_redis_gives_them() {
        let entry = |fields| Value::Array(vec![bulk(b"7-1"), fields]);
        let fields = Value::Array(vec![bulk(b"b"), bulk(b"\xff")]);
        let of_stream = |entries| Value::Array(vec![Value::Array(vec![bulk(b"logboom:0"), Value::Array(entries)])]);
        let (whole, gone) = (entry(fields.clone()), entry(Value::Nil));
        let read = read_entries(of_stream(vec![whole.clone(), gone.clone()])).expect("entries");
        assert_eq!(read[0], Entry { id: "7-1".into(), fields: Some(vec![b"b".to_vec(), vec![0xff]]) });
        assert_eq!(read[1], Entry { id: "7-1".into(), fields: None });
        assert_eq!(read_entries(Value::Nil), Some(Vec::new()));
        assert_eq!(read_entries(Value::Okay), None);
        let claimed = Value::Array(vec![bulk(b"0-0"), Value::Array(vec![whole]), Value::Array(vec![bulk(b"6-1")])]);
        assert_eq!(claimed_entries(claimed), Some(("0-0".into(), vec![read[0].clone()])));
        let pending = Value::Array(vec![bulk(b"7-1"), bulk(b"ann"), Value::Int(12), Value::Int(3)]);
        assert_eq!(deliveries(Value::Array(vec![pending])), Some(vec![("7-1".into(), 3)]));
        assert_eq!(super::pending(Value::Array(vec![Value::Int(0), Value::Nil, Value::Nil])), Some((0, None)));
        let registered = Value::Array(vec![bulk(b"17"), bulk(b"1"), bulk(b"x"), bulk(b"70000")]);
        assert_eq!(stream_numbers(Some(registered), 3), [0, 1, 2, 17]);
    }

    proptest! {
        #[test]
        fn any_answer_is_read_or_refused(value in any_value()) {
            let _ = (read_entries(value.clone()), claimed_entries(value.clone()), deliveries(value.clone()));
            let _ = (consumers(value.clone()), pending(value.clone()), stream_numbers(Some(value), 4));
        }

        #[test]
        fn a_batch_comes_out_of_its_entry_and_anything_else_is_kept_whole(
            records in contract::records(20),
            other in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..6),
        ) {
            let rows = contract::encode_rows(&records);
            let mut builder = BatchBuilder::new(16);
            builder.append(&rows, &mut crate::clock::id_source(), crate::clock::now()).unwrap();
            if let Some(batch) = builder.seal() {
                for frame in [batch.frame().to_vec(), batch.pack().to_vec()] {
                    let opened = open(vec![FIELD.as_bytes().to_vec(), frame]).unwrap();
                    prop_assert_eq!(opened.frame(), batch.frame());
                }
            }
            let (_, kept) = open(other.clone()).unwrap_err();
            prop_assert_eq!(kept, other.clone());
            let frame = other.concat();
            let (_, kept) = open(vec![FIELD.as_bytes().to_vec(), frame.clone()]).unwrap_err();
            prop_assert_eq!(kept, vec![FIELD.as_bytes().to_vec(), frame]);
        }
    }
}
