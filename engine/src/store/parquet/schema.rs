//! The columns of a file, and the way from rows to columns and back.
//!
//! | column | type | content |
//! |---|---|---|
//! | `timestamp` | timestamp, µs, UTC | |
//! | `origin` | int64 | bits 66 to 103 of the id |
//! | `counter` | int32 | bits 104 to 127 of the id |
//! | `level` | string | TRACE to FATAL |
//! | `source`, `application`, `message` | string | |
//! | `metadata` | string | a JSON object: the keys that have no column of their own |
//! | `metadata.KEY` | string or int64, nullable | the commonest keys of a compacted file |
//!
//! The rest of the id is its version, its variant and the timestamp (see `record::id`): what repeats is not stored.

use std::sync::Arc;

use arrow_array::builder::{Int64Builder, StringBuilder};
use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use record::Row;

use super::typed::{Split, TypedKey};

pub const TIMESTAMP: usize = 0;
pub const ORIGIN: usize = 1;
pub const COUNTER: usize = 2;
pub const LEVEL: usize = 3;
pub const SOURCE: usize = 4;
pub const APPLICATION: usize = 5;
pub const MESSAGE: usize = 6;
pub const METADATA: usize = 7;
/// Columns that every file has.
pub const BASE: usize = 8;

/// What the names of typed columns begin with.
const TYPED_PREFIX: &str = "metadata.";
/// More columns than this no file has: what a [`ColumnSet`] can hold.
const COLUMNS_MAX: usize = 64;

/// Some of a file's columns, by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ColumnSet(u64);

impl ColumnSet {
    /// What an id is put together from.
    pub const ID: ColumnSet = ColumnSet(1 << TIMESTAMP | 1 << ORIGIN | 1 << COUNTER);

    pub fn of(columns: &[usize]) -> ColumnSet {
        columns.iter().fold(ColumnSet::default(), |set, &column| set.with(column))
    }

    /// All columns of a file that has so many typed ones.
    pub fn all(typed: usize) -> ColumnSet {
        (0..BASE + typed).fold(ColumnSet::default(), ColumnSet::with)
    }

    #[must_use]
    pub fn with(self, column: usize) -> ColumnSet {
        ColumnSet(self.0 | 1 << column)
    }

    #[must_use]
    pub fn and(self, more: ColumnSet) -> ColumnSet {
        ColumnSet(self.0 | more.0)
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all of it is numbers and dictionaries, which take a nanosecond or two a row to read.
    pub fn is_cheap(self) -> bool {
        self.iter().all(|column| column < MESSAGE)
    }

    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..COLUMNS_MAX).filter(move |column| self.0 >> column & 1 == 1)
    }
}

/// A metadata key that has a column of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedColumn {
    pub key: String,
    pub column: usize,
    pub is_text: bool,
    /// Whether some values are in the JSON all the same, since they did not fit.
    pub is_partial: bool,
}

/// The schema with which a file of schema `found` is read, and its typed columns. `None` when it is no file of this
/// store.
pub fn reading_schema(found: &Schema, partial: &[String]) -> Option<(SchemaRef, Vec<TypedColumn>)> {
    let base = schema(&[]);
    if found.fields().len() > COLUMNS_MAX {
        return None;
    }
    let mut typed = Vec::new();
    let mut fields = Vec::new();
    for (column, field) in found.fields().iter().enumerate() {
        match base.fields().get(column) {
            Some(expected) if field.name() != expected.name() || field.data_type() != expected.data_type() => {
                return None;
            }
            Some(_) => {}
            None => {
                let key = field.name().strip_prefix(TYPED_PREFIX)?.to_owned();
                let is_text = match field.data_type() {
                    DataType::Utf8 => true,
                    DataType::Int64 => false,
                    _ => return None,
                };
                let is_partial = partial.contains(&key);
                typed.push(TypedColumn { key, column, is_text, is_partial });
            }
        }
        let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        fields.push(match column {
            LEVEL | SOURCE | APPLICATION => Arc::new(field.as_ref().clone().with_data_type(dictionary)),
            _ => field.clone(),
        });
    }
    (fields.len() >= BASE).then(|| (Arc::new(Schema::new(fields)), typed))
}

pub fn schema(typed: &[TypedKey]) -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let mut fields = vec![
        Field::new("timestamp", time, false),
        Field::new("origin", DataType::Int64, false),
        Field::new("counter", DataType::Int32, false),
    ];
    for name in ["level", "source", "application", "message", "metadata"] {
        fields.push(Field::new(name, DataType::Utf8, false));
    }
    for key in typed {
        let data_type = if key.is_text { DataType::Utf8 } else { DataType::Int64 };
        fields.push(Field::new(typed_name(&key.key), data_type, true));
    }
    Arc::new(Schema::new(fields))
}

/// The name of a typed column.
pub fn typed_name(key: &str) -> String {
    format!("{TYPED_PREFIX}{key}")
}

/// Columns under construction.
pub struct ColumnBuilder {
    timestamps: Vec<i64>,
    origins: Vec<i64>,
    counters: Vec<i32>,
    levels: Texts,
    sources: Texts,
    applications: Texts,
    messages: Texts,
    metadata: Texts,
    split: Split,
    typed: Vec<TypedBuilder>,
}

enum TypedBuilder {
    Text(StringBuilder),
    Int(Int64Builder),
}

impl ColumnBuilder {
    pub fn new(typed: Vec<TypedKey>) -> ColumnBuilder {
        let builder = |key: &TypedKey| match key.is_text {
            true => TypedBuilder::Text(StringBuilder::new()),
            false => TypedBuilder::Int(Int64Builder::new()),
        };
        ColumnBuilder {
            timestamps: Vec::new(),
            origins: Vec::new(),
            counters: Vec::new(),
            levels: Texts::default(),
            sources: Texts::default(),
            applications: Texts::default(),
            messages: Texts::default(),
            metadata: Texts::default(),
            typed: typed.iter().map(builder).collect(),
            split: Split::new(typed),
        }
    }

    pub fn push(&mut self, row: &Row<'_>) {
        let id = row.id();
        self.timestamps.push(row.timestamp().as_micros());
        self.origins.push(id.origin() as i64);
        self.counters.push(id.counter() as i32);
        self.levels.push(row.level().as_str().as_bytes());
        self.sources.push(row.source());
        self.applications.push(row.application());
        self.messages.push(row.message());
        if self.typed.is_empty() {
            self.metadata.push(row.metadata());
            return;
        }
        self.split.split(row.metadata());
        self.metadata.push(self.split.rest());
        for (at, builder) in self.typed.iter_mut().enumerate() {
            match builder {
                TypedBuilder::Text(texts) => {
                    texts.append_option(self.split.text(at).map(String::from_utf8_lossy));
                }
                TypedBuilder::Int(ints) => ints.append_option(self.split.int(at)),
            }
        }
    }

    /// The keys of which some value did not fit their column.
    pub fn partial(&self) -> impl Iterator<Item = &str> {
        self.split.partial()
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
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(timestamps),
            Arc::new(Int64Array::from(std::mem::take(&mut self.origins))),
            Arc::new(Int32Array::from(std::mem::take(&mut self.counters))),
            self.levels.finish()?,
            self.sources.finish()?,
            self.applications.finish()?,
            self.messages.finish()?,
            self.metadata.finish()?,
        ];
        for builder in &mut self.typed {
            columns.push(match builder {
                TypedBuilder::Text(texts) => Arc::new(texts.finish()),
                TypedBuilder::Int(ints) => Arc::new(ints.finish()),
            });
        }
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
