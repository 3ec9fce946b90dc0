//! Columns that were read from a file, and one row of them as the filter sees it.

use std::borrow::Cow;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, DictionaryArray, Int64Array, RecordBatch, StringArray};
use record::filter::{Columns, MetaPath, MetaValue};
use record::text::push_json_string;
use record::{Id, Level, StoredRow, Timestamp};

use super::schema::{
    APPLICATION, BASE, COUNTER, ColumnSet, LEVEL, MESSAGE, METADATA, ORIGIN, SOURCE, TIMESTAMP, TypedColumn,
};
use crate::store::RowBuf;

/// Some columns of some rows. A column that was not read is empty: whoever asks for it has forgotten to name it.
pub struct View<'a> {
    rows: usize,
    timestamps: &'a [i64],
    origins: &'a [i64],
    counters: &'a [i32],
    levels: Option<Repeating<'a>>,
    sources: Option<Repeating<'a>>,
    applications: Option<Repeating<'a>>,
    messages: Option<&'a StringArray>,
    metadata: Option<&'a StringArray>,
    typed: Vec<(&'a TypedColumn, Typed<'a>)>,
}

/// A column of few values.
pub struct Repeating<'a> {
    keys: &'a [i32],
    values: &'a StringArray,
}

enum Typed<'a> {
    Text(&'a StringArray),
    Int(&'a Int64Array),
}

impl<'a> View<'a> {
    /// The `columns` of a batch, which holds these and no others. `None` when one has another type than it should.
    pub fn new(batch: &'a RecordBatch, columns: ColumnSet, typed: &'a [TypedColumn]) -> Option<View<'a>> {
        let mut view = View {
            rows: batch.num_rows(),
            timestamps: &[],
            origins: &[],
            counters: &[],
            levels: None,
            sources: None,
            applications: None,
            messages: None,
            metadata: None,
            typed: Vec::new(),
        };
        for (array, column) in batch.columns().iter().zip(columns.iter()) {
            match column {
                TIMESTAMP => view.timestamps = array.as_primitive_opt::<TimestampMicrosecondType>()?.values(),
                ORIGIN => view.origins = array.as_primitive_opt::<Int64Type>()?.values(),
                COUNTER => view.counters = array.as_primitive_opt::<Int32Type>()?.values(),
                LEVEL => view.levels = Some(Repeating::new(array)?),
                SOURCE => view.sources = Some(Repeating::new(array)?),
                APPLICATION => view.applications = Some(Repeating::new(array)?),
                MESSAGE => view.messages = Some(array.as_string_opt()?),
                METADATA => view.metadata = Some(array.as_string_opt()?),
                _ => {
                    let column = typed.get(column - BASE)?;
                    let values = match column.is_text {
                        true => Typed::Text(array.as_string_opt()?),
                        false => Typed::Int(array.as_primitive_opt()?),
                    };
                    view.typed.push((column, values));
                }
            }
        }
        Some(view)
    }

    pub fn len(&self) -> usize {
        self.rows
    }

    pub fn row(&self, row: usize) -> ViewRow<'_> {
        ViewRow { view: self, row }
    }

    pub fn levels(&self) -> Option<&Repeating<'a>> {
        self.levels.as_ref()
    }

    pub fn sources(&self) -> Option<&Repeating<'a>> {
        self.sources.as_ref()
    }

    pub fn applications(&self) -> Option<&Repeating<'a>> {
        self.applications.as_ref()
    }

    /// For each row whether a metadata value is one of these numbers, as [`Columns`] would find row by row. `None` where
    /// that takes more than looking at one column of numbers.
    pub fn equal_ints(&self, path: &str, wanted: &[i64]) -> Option<Vec<u8>> {
        if self.metadata.is_some() {
            return None;
        }
        let (_, Typed::Int(ints)) = self.typed.iter().find(|(column, _)| column.key == path)? else {
            return None;
        };
        let mut passes: Vec<u8> = match wanted {
            [one] => ints.values().iter().map(|value| u8::from(value == one)).collect(),
            many => ints.values().iter().map(|value| u8::from(many.contains(value))).collect(),
        };
        if let Some(valid) = ints.nulls() {
            passes.iter_mut().zip(valid).for_each(|(pass, is_valid)| *pass &= u8::from(is_valid));
        }
        Some(passes)
    }
}

impl<'a> Repeating<'a> {
    fn new(array: &'a dyn Array) -> Option<Repeating<'a>> {
        let array: &DictionaryArray<Int32Type> = array.as_dictionary_opt()?;
        Some(Repeating { keys: array.keys().values(), values: array.values().as_string_opt()? })
    }

    fn get(&self, row: usize) -> &'a [u8] {
        let key = self.keys.get(row).map_or(usize::MAX, |&key| key as usize);
        if key < self.values.len() { self.values.value(key).as_bytes() } else { b"" }
    }

    /// For each row the number of its value.
    pub fn keys(&self) -> &'a [i32] {
        self.keys
    }

    /// For each value whether it passes: 1 if it does.
    pub fn passing(&self, passes: impl Fn(&str) -> bool) -> Vec<u8> {
        self.values.iter().map(|value| u8::from(value.is_some_and(&passes))).collect()
    }
}

/// One row of a view.
pub struct ViewRow<'a> {
    view: &'a View<'a>,
    row: usize,
}

impl ViewRow<'_> {
    /// Appends the whole row, encoded; every column must have been read. `scratch` is memory to be used again.
    pub fn write(&self, scratch: &mut Vec<u8>, out: &mut RowBuf) {
        let stored = StoredRow {
            id: self.id(),
            timestamp: self.timestamp(),
            level: self.level(),
            source: self.source(),
            application: self.application(),
            message: self.message(),
            metadata: self.whole_metadata(scratch),
        };
        stored.write(&mut out.bytes);
        out.count += 1;
    }

    /// The JSON object with the keys that have columns of their own.
    fn whole_metadata<'s>(&'s self, scratch: &'s mut Vec<u8>) -> &'s [u8] {
        if self.view.typed.iter().all(|(_, values)| values.is_null(self.row)) {
            return self.metadata();
        }
        scratch.clear();
        scratch.extend_from_slice(self.metadata());
        if scratch.pop().is_none() {
            scratch.push(b'{');
        }
        for (column, values) in &self.view.typed {
            if values.is_null(self.row) {
                continue;
            }
            if scratch.last() != Some(&b'{') {
                scratch.push(b',');
            }
            push_json_string(column.key.as_bytes(), scratch);
            scratch.push(b':');
            match values {
                Typed::Text(texts) => {
                    push_json_string(texts.value(self.row).as_bytes(), scratch);
                }
                Typed::Int(ints) => {
                    scratch.extend_from_slice(itoa::Buffer::new().format(ints.value(self.row)).as_bytes());
                }
            }
        }
        scratch.push(b'}');
        scratch
    }
}

impl Typed<'_> {
    fn is_null(&self, row: usize) -> bool {
        match self {
            Typed::Text(texts) => texts.is_null(row),
            Typed::Int(ints) => ints.is_null(row),
        }
    }
}

impl Columns for ViewRow<'_> {
    fn id(&self) -> Id {
        let number = |numbers: &[i64]| numbers.get(self.row).copied().unwrap_or(0);
        let counter = self.view.counters.get(self.row).copied().unwrap_or(0);
        Id::new(self.timestamp(), number(self.view.origins) as u64, counter as u32)
    }

    fn timestamp(&self) -> Timestamp {
        Timestamp::clamped(self.view.timestamps.get(self.row).copied().unwrap_or(0))
    }

    fn level(&self) -> Level {
        let name = self.view.levels.as_ref().map_or(&b""[..], |levels| levels.get(self.row));
        level_of(name)
    }

    fn source(&self) -> &[u8] {
        self.view.sources.as_ref().map_or(b"", |sources| sources.get(self.row))
    }

    fn application(&self) -> &[u8] {
        self.view.applications.as_ref().map_or(b"", |applications| applications.get(self.row))
    }

    fn message(&self) -> &[u8] {
        self.view.messages.map_or(b"", |messages| messages.value(self.row).as_bytes())
    }

    /// What has no column of its own.
    fn metadata(&self) -> &[u8] {
        self.view.metadata.map_or(b"{}", |metadata| metadata.value(self.row).as_bytes())
    }

    fn metadata_value(&self, path: &MetaPath) -> Option<MetaValue<'_>> {
        if let Some((_, values)) = self.view.typed.iter().find(|(column, _)| column.key == path.as_str())
            && !values.is_null(self.row)
        {
            return Some(match values {
                Typed::Text(texts) => MetaValue::String(Cow::Borrowed(texts.value(self.row).as_bytes())),
                Typed::Int(ints) => MetaValue::Int(ints.value(self.row)),
            });
        }
        path.find(self.metadata())
    }
}

/// The level of a name as files hold it.
pub fn level_of(name: &[u8]) -> Level {
    match name {
        b"TRACE" => Level::Trace,
        b"DEBUG" => Level::Debug,
        b"WARN" => Level::Warn,
        b"ERROR" => Level::Error,
        b"FATAL" => Level::Fatal,
        _ => Level::Info,
    }
}
