//! What is on the channel and in the hash, as bytes: plain functions.
//!
//! A message, integers little-endian:
//!
//! | at | bytes | content |
//! |---|---|---|
//! | 0 | 3 | `LBT` |
//! | 3 | 1 | version, 1 |
//! | 4 | 16 | the engine's process, a UUIDv7 |
//! | 20 | 8 | rows left out before these |
//! | 28 | 4 | CRC32C of all before |
//! | 32 | n | a batch's frame ([`record::batch`]), or nothing |
//!
//! A field of the hash is `PROCESS:n`, its value:
//!
//! | at | bytes | content |
//! |---|---|---|
//! | 0 | 8 | a number that is another at every renewal |
//! | 8 | n | the filter ([`record::Filter::to_bytes`]) |

use bytes::Bytes;
use record::{Batch, Filter, Id};

const MAGIC: [u8; 3] = *b"LBT";
const VERSION: u8 = 1;
const HEADER: usize = 32;
const BEAT: usize = 8;

/// One message.
#[derive(Debug)]
pub(super) struct Message {
    pub process: Id,
    pub skipped: u64,
    pub batch: Option<Batch>,
}

pub(super) fn write_message(process: Id, skipped: u64, batch: Option<&Batch>) -> Vec<u8> {
    let packed = batch.map(Batch::pack).unwrap_or_default();
    let mut out = Vec::with_capacity(HEADER + packed.len());
    out.extend_from_slice(&MAGIC);
    out.push(VERSION);
    out.extend_from_slice(process.as_bytes());
    out.extend_from_slice(&skipped.to_le_bytes());
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&packed);
    out
}

/// `None` for what is none, is damaged, or of an unknown version.
pub(super) fn read_message(message: Vec<u8>) -> Option<Message> {
    let head: &[u8; HEADER] = message.first_chunk()?;
    let (content, crc) = head.split_last_chunk()?;
    if head[..3] != MAGIC || head[3] != VERSION || crc32c::crc32c(content).to_le_bytes() != *crc {
        return None;
    }
    let process = Id::from_bytes(*head[4..].first_chunk()?);
    let skipped = u64::from_le_bytes(*head[20..].first_chunk()?);
    let frame = Bytes::from(message).split_off(HEADER);
    let batch = if frame.is_empty() { None } else { Some(Batch::open(frame).ok()?) };
    Some(Message { process, skipped, batch })
}

/// The field of a process' n-th filter.
pub(super) fn field(process: Id, n: usize) -> String {
    format!("{process}:{n}")
}

pub(super) fn is_field_of(field: &str, process: Id) -> bool {
    field.split(':').next().and_then(Id::parse) == Some(process)
}

pub(super) fn write_value(beat: u64, filter: &Filter) -> Vec<u8> {
    [&beat.to_le_bytes()[..], &filter.to_bytes()].concat()
}

/// `None` for what is no filter of this version.
pub(super) fn read_value(value: &[u8]) -> Option<Filter> {
    Filter::from_bytes(value.get(BEAT..)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use record::BatchBuilder;
    use record::filter::contract;

    use super::*;

    proptest! {
        #[test]
        fn messages_are_read_back(records in contract::records(20), skipped in any::<u64>()) {
            let process = crate::clock::id_source().next(crate::clock::now());
            let mut builder = BatchBuilder::new(1);
            let rows = contract::encode_rows(&records);
            builder.append(&rows, &mut super::super::copied_ids(), crate::clock::now()).unwrap();
            let batch = builder.seal();
            let bytes = write_message(process, skipped, batch.as_ref());
            let read = read_message(bytes.clone()).unwrap();
            prop_assert_eq!((read.process, read.skipped), (process, skipped));
            prop_assert_eq!(read.batch.as_ref().map(Batch::frame), batch.as_ref().map(Batch::frame));
            prop_assert!(read.batch.as_ref().is_none_or(super::super::is_copied));
            for bent in 0..bytes.len() {
                let mut bytes = bytes.clone();
                bytes[bent] ^= 0x10;
                prop_assert!(read_message(bytes).is_none(), "bent at {}", bent);
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (read_message(bytes.clone()), read_value(&bytes));
            let _ = is_field_of(&String::from_utf8_lossy(&bytes), Id::MIN);
        }

        #[test]
        fn announcements_are_read_back(filter in contract::filter(), beat in any::<u64>()) {
            prop_assert_eq!(read_value(&write_value(beat, &filter)), Some(filter));
        }
    }

    #[test]
    fn fields_name_their_process() {
        let mut ids = crate::clock::id_source();
        let (one, other) = (ids.next(crate::clock::now()), ids.next(crate::clock::now()));
        assert!(is_field_of(&field(one, 3), one) && !is_field_of(&field(one, 3), other));
        assert!(!is_field_of("", one) && !is_field_of(":", one));
    }
}
