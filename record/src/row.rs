//! One record, encoded: the tuple form of Postgres' COPY BINARY, which is also what the local log holds, what a Redis
//! entry carries, and what the filter, the live tail and the Parquet writer read fields from.
//!
//! All integers are big-endian, as Postgres wants them.
//!
//! | at | bytes | content |
//! |---|---|---|
//! | 0 | 2 | number of columns, 8 |
//! | 2 | 4 + 2 | `part`: length 2, i16 |
//! | 8 | 4 + 16 | `id`: length 16, UUIDv7 |
//! | 28 | 4 + 8 | `timestamp`: length 8, i64 µs since 2000-01-01 UTC |
//! | 40 | 4 + n | `level`: length 4 or 5, the enum's label |
//! | | 4 + n | `source`: UTF-8 without NUL |
//! | | 4 + n | `application`: the same |
//! | | 4 + n | `message`: the same |
//! | | 4 + n | `metadata`: version byte 1, then a JSON object as text |

use crate::fields::{Context, Fields};
use crate::id::Id;
use crate::level::Level;
use crate::text::{Text, push_escaped};
use crate::time::Timestamp;

/// A record must fit, encoded, into this many bytes: twice the longest line, since repair can lengthen text.
pub const RECORD_BYTES_MAX: usize = 2 * 1024 * 1024;

const COLUMNS: u16 = 8;
const PART_AT: usize = 6;
const ID_AT: usize = 12;
const TIME_AT: usize = 32;
const LEVEL_AT: usize = 40;
const JSONB_VERSION: u8 = 1;
/// From 1970 to 2000, where Postgres' timestamps begin.
const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

/// A view of one encoded row. Its shape has been checked: the accessors cannot fail, whatever the bytes.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    bytes: &'a [u8],
    level: Level,
    /// Where each text begins; it ends where the next one's length begins.
    source_at: u32,
    application_at: u32,
    message_at: u32,
    metadata_at: u32,
}

/// Bytes that are not a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a row: its {0} is broken")]
pub struct NotARow(pub &'static str);

impl<'a> Row<'a> {
    /// Takes the row at the start of `bytes`: the row, and what follows it.
    pub fn split(bytes: &'a [u8]) -> Result<(Row<'a>, &'a [u8]), NotARow> {
        const HEAD: [u8; 6] = [0, COLUMNS as u8, 0, 0, 0, 2];
        let head: &[u8; LEVEL_AT] = bytes.first_chunk().ok_or(NotARow("head"))?;
        if head[..6] != HEAD || head[8..12] != [0, 0, 0, 16] || head[28..32] != [0, 0, 0, 8] {
            return Err(NotARow("head"));
        }
        let (level_at, level_end) = text_bounds(bytes, LEVEL_AT).ok_or(NotARow("level"))?;
        let level = level_of(&bytes[level_at..level_end]).ok_or(NotARow("level"))?;
        let (source_at, source_end) = text_bounds(bytes, level_end).ok_or(NotARow("source"))?;
        let (application_at, application_end) = text_bounds(bytes, source_end).ok_or(NotARow("application"))?;
        let (message_at, message_end) = text_bounds(bytes, application_end).ok_or(NotARow("message"))?;
        let (metadata_at, end) = text_bounds(bytes, message_end).ok_or(NotARow("metadata"))?;
        if bytes.get(metadata_at) != Some(&JSONB_VERSION) || end < metadata_at + 3 || end > u32::MAX as usize {
            return Err(NotARow("metadata"));
        }
        let row = Row {
            bytes: &bytes[..end],
            level,
            source_at: source_at as u32,
            application_at: application_at as u32,
            message_at: message_at as u32,
            metadata_at: metadata_at as u32,
        };
        Ok((row, &bytes[end..]))
    }

    /// The whole row, encoded.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub fn part(&self) -> i16 {
        i16::from_be_bytes([self.bytes[PART_AT], self.bytes[PART_AT + 1]])
    }

    pub fn id(&self) -> Id {
        Id::from_bytes(self.chunk(ID_AT))
    }

    pub fn timestamp(&self) -> Timestamp {
        Timestamp::clamped(i64::from_be_bytes(self.chunk(TIME_AT)).saturating_add(POSTGRES_EPOCH_MICROS))
    }

    pub fn level(&self) -> Level {
        self.level
    }

    /// UTF-8 in every row that was encoded here; whoever needs a `str` checks it once, when it is shown.
    pub fn source(&self) -> &'a [u8] {
        &self.bytes[self.source_at as usize..self.application_at as usize - 4]
    }

    pub fn application(&self) -> &'a [u8] {
        &self.bytes[self.application_at as usize..self.message_at as usize - 4]
    }

    pub fn message(&self) -> &'a [u8] {
        &self.bytes[self.message_at as usize..self.metadata_at as usize - 4]
    }

    /// A JSON object as text.
    pub fn metadata(&self) -> &'a [u8] {
        &self.bytes[self.metadata_at as usize + 1..]
    }

    /// Appends the record as a JSON object, as the API shows it.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"id\":\"");
        self.id().write(out);
        out.extend_from_slice(b"\",");
        self.write_json_members(out);
        out.push(b'}');
    }

    /// Appends the record's members but the id, without braces: for a record that was parsed and not stored.
    pub fn write_json_members(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\"timestamp\":\"");
        self.timestamp().write_rfc3339(out);
        out.extend_from_slice(b"\",\"level\":\"");
        out.extend_from_slice(self.level.as_str().as_bytes());
        for (name, text) in [
            (&b"\",\"source\":\""[..], self.source()),
            (b"\",\"application\":\"", self.application()),
            (b"\",\"message\":\"", self.message()),
        ] {
            out.extend_from_slice(name);
            push_escaped(text, out);
        }
        out.extend_from_slice(b"\",\"metadata\":");
        out.extend_from_slice(self.metadata());
    }

    fn chunk<const N: usize>(&self, at: usize) -> [u8; N] {
        // `split` saw at least LEVEL_AT bytes, behind which no fixed column reaches.
        let mut chunk = [0; N];
        chunk.copy_from_slice(&self.bytes[at..at + N]);
        chunk
    }
}

impl std::fmt::Debug for Row<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut json = Vec::new();
        self.write_json(&mut json);
        f.write_str(&String::from_utf8_lossy(&json))
    }
}

/// The rows of a run of bytes, one after another. Ends early at bytes that are no row, which a checked batch has not.
#[derive(Clone)]
pub struct Rows<'a>(&'a [u8]);

impl<'a> Rows<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Rows(bytes)
    }
}

impl<'a> Iterator for Rows<'a> {
    type Item = Row<'a>;

    fn next(&mut self) -> Option<Row<'a>> {
        let (row, rest) = Row::split(self.0).ok()?;
        self.0 = rest;
        Some(row)
    }
}

/// Where the length-prefixed text at `at` begins and ends.
fn text_bounds(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let start = at + 4;
    let length = u32::from_be_bytes(bytes.get(at..start)?.try_into().ok()?) as usize;
    let end = start.checked_add(length)?;
    (end <= bytes.len()).then_some((start, end))
}

fn level_of(label: &[u8]) -> Option<Level> {
    Some(match label {
        b"TRACE" => Level::Trace,
        b"DEBUG" => Level::Debug,
        b"INFO" => Level::Info,
        b"WARN" => Level::Warn,
        b"ERROR" => Level::Error,
        b"FATAL" => Level::Fatal,
        _ => return None,
    })
}

/// The fixed part of a row, as it is written.
pub(crate) struct RowHead {
    pub part: i16,
    pub id: Id,
    pub timestamp: Timestamp,
    pub level: Level,
}

/// Appends one row. The caller checks its length: nothing is cut here.
pub(crate) fn write(head: &RowHead, fields: &Fields, context: &Context, out: &mut Vec<u8>) {
    push_fixed(head, out);
    push_sized(out, |out| {
        out.extend_from_slice(head.level.as_str().as_bytes());
        false
    });
    let mut repaired = fields.meta.repaired();
    for (text, default) in
        [(&fields.source, context.source), (&fields.application, context.application), (&fields.message, "")]
    {
        repaired |= push_sized(out, |out| match text {
            Text::Bytes(bytes) if fields.meta.is_ascii() && !bytes.is_empty() => {
                out.extend_from_slice(bytes);
                false
            }
            text if text.is_empty() => crate::text::push_clean(default.as_bytes(), out),
            text => text.write(out),
        });
    }
    push_sized(out, |out| {
        out.push(JSONB_VERSION);
        fields.meta.write(out);
        if repaired && !fields.meta.contains("utf8_repaired") {
            mark_repaired(out);
        }
        false
    });
}

/// The columns of a row that was read back from a store; its texts were checked when it was first written.
#[derive(Clone, Copy, Debug)]
pub struct StoredRow<'a> {
    pub id: Id,
    pub timestamp: Timestamp,
    pub level: Level,
    pub source: &'a [u8],
    pub application: &'a [u8],
    pub message: &'a [u8],
    /// A JSON object as text.
    pub metadata: &'a [u8],
}

impl StoredRow<'_> {
    /// Appends the row, encoded, as one of part 0.
    pub fn write(&self, out: &mut Vec<u8>) {
        push_fixed(&RowHead { part: 0, id: self.id, timestamp: self.timestamp, level: self.level }, out);
        for text in [self.level.as_str().as_bytes(), self.source, self.application, self.message] {
            out.extend_from_slice(&(text.len() as u32).to_be_bytes());
            out.extend_from_slice(text);
        }
        out.extend_from_slice(&(self.metadata.len() as u32 + 1).to_be_bytes());
        out.push(JSONB_VERSION);
        out.extend_from_slice(self.metadata);
    }
}

/// Puts the row that starts at `at` into another part.
pub(crate) fn set_part(rows: &mut [u8], at: usize, part: i16) {
    rows[at + PART_AT..at + PART_AT + 2].copy_from_slice(&part.to_be_bytes());
}

/// Appends the columns whose place is the same in every row.
fn push_fixed(head: &RowHead, out: &mut Vec<u8>) {
    let mut fixed = [0u8; LEVEL_AT];
    fixed[..2].copy_from_slice(&COLUMNS.to_be_bytes());
    fixed[5] = 2;
    fixed[PART_AT..8].copy_from_slice(&head.part.to_be_bytes());
    fixed[11] = 16;
    fixed[ID_AT..28].copy_from_slice(head.id.as_bytes());
    fixed[31] = 8;
    fixed[TIME_AT..LEVEL_AT].copy_from_slice(&(head.timestamp.as_micros() - POSTGRES_EPOCH_MICROS).to_be_bytes());
    out.extend_from_slice(&fixed);
}

/// Adds `"utf8_repaired":true` to the object that `out` ends with.
fn mark_repaired(out: &mut Vec<u8>) {
    out.pop();
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    out.extend_from_slice(b"\"utf8_repaired\":true}");
}

fn push_sized(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> bool) -> bool {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    let repaired = write(out);
    let length = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
    repaired
}
