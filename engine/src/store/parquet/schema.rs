//! The columns of a file, and the way from rows to columns and back.
//!
//! | column | type | content |
//! |---|---|---|
//! | `timestamp` | timestamp, µs, UTC | |
//! | `origin` | int64 | bits 66 to 103 of the id |
//! | `counter` | int32 | bits 104 to 127 of the id |
//! | `level` | string | TRACE to FATAL |
//! | `source`, `application`, `message` | string | |
//! | `metadata` | string | a JSON object |
//!
//! The rest of the id is its version, its variant and the timestamp (see `record::id`): what repeats is not stored.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use record::{Id, Level, Row, StoredRow, Timestamp};

use crate::store::RowBuf;

pub const TIMESTAMP: usize = 0;
pub const ORIGIN: usize = 1;
pub const COUNTER: usize = 2;
pub const LEVEL: usize = 3;
pub const SOURCE: usize = 4;
pub const APPLICATION: usize = 5;
pub const MESSAGE: usize = 6;
pub const METADATA: usize = 7;

pub fn schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let mut fields = vec![
        Field::new("timestamp", time, false),
        Field::new("origin", DataType::Int64, false),
        Field::new("counter", DataType::Int32, false),
    ];
    for name in ["level", "source", "application", "message", "metadata"] {
        fields.push(Field::new(name, DataType::Utf8, false));
    }
    Arc::new(Schema::new(fields))
}

/// Columns under construction.
#[derive(Default)]
pub struct ColumnBuilder {
    timestamps: Vec<i64>,
    origins: Vec<i64>,
    counters: Vec<i32>,
    levels: Texts,
    sources: Texts,
    applications: Texts,
    messages: Texts,
    metadata: Texts,
}

impl ColumnBuilder {
    pub fn push(&mut self, row: &Row<'_>) {
        let id = row.id();
        self.timestamps.push(row.timestamp().as_micros());
        self.origins.push(id.origin() as i64);
        self.counters.push(id.counter() as i32);
        self.levels.push(row.level().as_str().as_bytes());
        self.sources.push(row.source());
        self.applications.push(row.application());
        self.messages.push(row.message());
        self.metadata.push(row.metadata());
    }

    pub fn len(&self) -> usize {
        self.timestamps.len()
    }

    /// What the texts take so far.
    pub fn text_bytes(&self) -> usize {
        self.messages.bytes.len() + self.metadata.bytes.len()
    }

    /// The columns so far; the builder is empty again.
    pub fn finish(&mut self, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
        let timestamps = TimestampMicrosecondArray::from(std::mem::take(&mut self.timestamps)).with_timezone("UTC");
        let columns: Vec<ArrayRef> = vec![
            Arc::new(timestamps),
            Arc::new(Int64Array::from(std::mem::take(&mut self.origins))),
            Arc::new(Int32Array::from(std::mem::take(&mut self.counters))),
            self.levels.finish()?,
            self.sources.finish()?,
            self.applications.finish()?,
            self.messages.finish()?,
            self.metadata.finish()?,
        ];
        RecordBatch::try_new(schema.clone(), columns)
    }
}

/// A column of texts under construction.
#[derive(Default)]
struct Texts {
    bytes: Vec<u8>,
    ends: Vec<i32>,
}

impl Texts {
    fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.ends.push(self.bytes.len() as i32);
    }

    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let mut offsets = Vec::with_capacity(self.ends.len() + 1);
        offsets.push(0);
        offsets.append(&mut self.ends);
        let bytes = Buffer::from(std::mem::take(&mut self.bytes));
        let texts = StringArray::try_new(OffsetBuffer::new(ScalarBuffer::from(offsets)), bytes, None)?;
        Ok(Arc::new(texts))
    }
}

/// Columns as they were read, whole.
pub struct Columns<'a> {
    timestamps: &'a [i64],
    origins: &'a [i64],
    counters: &'a [i32],
    levels: &'a StringArray,
    sources: &'a StringArray,
    applications: &'a StringArray,
    messages: &'a StringArray,
    metadata: &'a StringArray,
}

impl<'a> Columns<'a> {
    /// `None` when a column has another type than it should.
    pub fn new(batch: &'a RecordBatch) -> Option<Columns<'a>> {
        let text = |at: usize| batch.columns().get(at)?.as_string_opt::<i32>();
        Some(Columns {
            timestamps: batch.columns().get(TIMESTAMP)?.as_primitive_opt::<TimestampMicrosecondType>()?.values(),
            origins: batch.columns().get(ORIGIN)?.as_primitive_opt::<Int64Type>()?.values(),
            counters: batch.columns().get(COUNTER)?.as_primitive_opt::<Int32Type>()?.values(),
            levels: text(LEVEL)?,
            sources: text(SOURCE)?,
            applications: text(APPLICATION)?,
            messages: text(MESSAGE)?,
            metadata: text(METADATA)?,
        })
    }

    pub fn len(&self) -> usize {
        self.timestamps.len()
    }

    /// Appends one row, encoded.
    pub fn write(&self, row: usize, out: &mut RowBuf) {
        let timestamp = Timestamp::clamped(self.timestamps[row]);
        let stored = StoredRow {
            id: Id::new(timestamp, self.origins[row] as u64, self.counters[row] as u32),
            timestamp,
            level: Level::from_name(self.levels.value(row).as_bytes()).unwrap_or(Level::Info),
            source: self.sources.value(row).as_bytes(),
            application: self.applications.value(row).as_bytes(),
            message: self.messages.value(row).as_bytes(),
            metadata: self.metadata.value(row).as_bytes(),
        };
        stored.write(&mut out.bytes);
        out.count += 1;
    }
}
