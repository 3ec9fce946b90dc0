//! Writes one file: rows in, in ascending order of their ids, and a durable Parquet file out.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use arrow_schema::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;
use record::{Row, Timestamp};

use super::Covered;
use super::disk::{Steps, sync_dir};
use super::grams::{FilterIndex, FilterPlace, GramFilter, UNIT_ROWS};
use super::manifest::{FileEntry, covered_to_text};
use super::schema::{ColumnBuilder, schema, typed_name};
use super::tally::Counter;
use super::typed::TypedKey;
use crate::store::Counts;

/// Rows of one row group: large enough to pack well, small enough that a few are open at a time.
const GROUP_ROWS_MAX: usize = 128 * 1024;
/// Bytes of text in one row group, before they are packed: rows may be 2 MiB long, and a reader holds a group's worth.
const GROUP_BYTES_MAX: usize = 128 << 20;
/// Rows of one page: the unit that a query reads or leaves out, by its time or by its filter.
const PAGE_ROWS_MAX: usize = UNIT_ROWS;
/// Pages of texts are cut at this size, also within [`PAGE_ROWS_MAX`] rows.
const PAGE_BYTES_MAX: usize = 1 << 20;
/// Rows are handed to the columns in steps of this many…
const STEP_ROWS_MAX: usize = UNIT_ROWS;
/// …or of this many bytes of text, since offsets are 32 bits wide.
const STEP_BYTES_MAX: usize = 8 << 20;

/// The key of the file's metadata that holds its [`Tally`](super::tally::Tally).
pub const TALLY_KEY: &str = "logboom.tally";
/// The key that says where the page filters are: see [`super::grams`].
pub const FILTERS_KEY: &str = "logboom.filters";
/// The key that lists, as a JSON array, the typed keys of which some values are in the JSON, since they did not fit.
pub const PARTIAL_KEY: &str = "logboom.partial";

/// The key that tells up to where the files known when this one was written hold the log: a manifest can be made anew.
pub const COVERED_KEY: &str = "logboom.covered";

/// How much is done to make a file small and quick to search.
pub struct Packing {
    pub generation: u64,
    pub zstd_level: i32,
    /// Metadata keys that get columns of their own.
    pub typed: Vec<TypedKey>,
    /// Whether pages get filters.
    pub filters: bool,
    /// Up to where the log's rows are in this file and those before it.
    pub covered: Covered,
}

pub struct FileWriter {
    arrow: ArrowWriter<BufWriter<Checked>>,
    schema: SchemaRef,
    columns: ColumnBuilder,
    entry: FileEntry,
    counter: Counter,
    /// What is in the row group so far.
    group_rows: usize,
    group_bytes: usize,
    filters: Option<Filters>,
    covered: Covered,
}

/// The page filters so far.
#[derive(Default)]
struct Filters {
    open: GramFilter,
    sizes: Vec<u16>,
    bitmaps: Vec<u8>,
}

impl Filters {
    fn end_unit(&mut self) {
        if self.open.rows() > 0 {
            self.open.finish(&mut self.sizes, &mut self.bitmaps);
        }
    }
}

/// Why a file was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Parquet(#[from] parquet::errors::ParquetError),
    #[error(transparent)]
    Arrow(#[from] arrow_schema::ArrowError),
}

impl FileWriter {
    pub fn create(dir: &Path, name: String, packing: Packing) -> Result<FileWriter, WriteError> {
        let file =
            BufWriter::with_capacity(1 << 20, Checked { file: File::create(dir.join(&name))?, crc: 0, unsynced: 0 });
        let schema = schema(&packing.typed);
        let options = ArrowWriterOptions::new().with_properties(properties(&packing)?).with_skip_arrow_metadata(true);
        Ok(FileWriter {
            arrow: ArrowWriter::try_new_with_options(file, schema.clone(), options)?,
            schema,
            columns: ColumnBuilder::new(packing.typed),
            covered: packing.covered,
            entry: FileEntry {
                name,
                generation: packing.generation,
                rows: 0,
                bytes: 0,
                crc: 0,
                first: Timestamp::MAX,
                last: Timestamp::MIN,
                counts: Counts::default(),
            },
            counter: Counter::default(),
            group_rows: 0,
            group_bytes: 0,
            filters: packing.filters.then(Filters::default),
        })
    }

    pub fn rows(&self) -> u64 {
        self.entry.rows
    }

    /// What the file takes so far, about.
    pub fn bytes(&self) -> usize {
        self.arrow.bytes_written() + self.arrow.in_progress_size()
    }

    pub fn push(&mut self, row: &Row<'_>) -> Result<(), WriteError> {
        self.entry.rows += 1;
        self.entry.first = self.entry.first.min(row.timestamp());
        self.entry.last = self.entry.last.max(row.timestamp());
        self.entry.counts.levels[row.level().index()] += 1;
        self.counter.add(row);
        if let Some(filters) = &mut self.filters {
            filters.open.add(row.message());
            if filters.open.rows() == UNIT_ROWS {
                filters.end_unit();
            }
        }
        self.columns.push(row);
        self.group_rows += 1;
        self.group_bytes += row.as_bytes().len();
        if self.columns.len() >= STEP_ROWS_MAX || self.columns.text_bytes() >= STEP_BYTES_MAX {
            self.write_step()?;
        }
        if self.group_rows >= GROUP_ROWS_MAX || self.group_bytes >= GROUP_BYTES_MAX {
            self.end_group()?;
        }
        Ok(())
    }

    /// Ends the file and makes it durable.
    pub fn finish(mut self, dir: &Path, steps: &Steps) -> Result<FileEntry, WriteError> {
        self.end_group()?;
        let mut pairs = vec![
            KeyValue::new(TALLY_KEY.to_owned(), self.counter.finish().to_text()),
            KeyValue::new(COVERED_KEY.to_owned(), covered_to_text(&self.covered)),
        ];
        if let Some(Filters { sizes, bitmaps, .. }) = self.filters {
            let mut filters = FilterIndex::write_head(&sizes);
            filters.extend_from_slice(&bitmaps);
            let offset = self.arrow.bytes_written() as u64;
            let place = FilterPlace { offset, bytes: filters.len(), crc: crc32c::crc32c(&filters) };
            self.arrow.write_all(&filters)?;
            pairs.push(KeyValue::new(FILTERS_KEY.to_owned(), place.to_text()));
        }
        let mut partial = Vec::new();
        for key in self.columns.partial() {
            partial.push(if partial.is_empty() { b'[' } else { b',' });
            record::text::push_json_string(key.as_bytes(), &mut partial);
        }
        if !partial.is_empty() {
            partial.push(b']');
            let partial = String::from_utf8_lossy(&partial).into_owned();
            pairs.push(KeyValue::new(PARTIAL_KEY.to_owned(), partial));
        }
        pairs.into_iter().for_each(|pair| self.arrow.append_key_value_metadata(pair));
        let Checked { file, crc, .. } = self.arrow.into_inner()?.into_inner().map_err(|error| error.into_error())?;
        steps.reach("sync the file")?;
        file.sync_all()?;
        self.entry.bytes = file.metadata()?.len();
        self.entry.crc = crc;
        steps.reach("sync the folder of the file")?;
        sync_dir(dir)?;
        Ok(self.entry)
    }

    fn write_step(&mut self) -> Result<(), WriteError> {
        if self.columns.len() > 0 {
            self.arrow.write(&self.columns.finish(&self.schema)?)?;
        }
        Ok(())
    }

    fn end_group(&mut self) -> Result<(), WriteError> {
        self.write_step()?;
        self.arrow.flush()?;
        if let Some(filters) = &mut self.filters {
            filters.end_unit();
        }
        self.group_rows = 0;
        self.group_bytes = 0;
        Ok(())
    }
}

/// Bytes after which a file is synced while it is written: one large sync at its end would hold up those of the local
/// log, for which requests wait. (After every megabyte was tried: each sync of a file that has grown commits the file
/// system's journal, and the log's syncs then wait more often than they gain.)
const SYNC_EVERY_BYTES: usize = 8 << 20;

/// A file that is written from its start to its end, and the CRC32C of that.
struct Checked {
    file: File,
    crc: u32,
    unsynced: usize,
}

impl std::io::Write for Checked {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.crc = crc32c::crc32c_append(self.crc, &bytes[..written]);
        self.unsynced += written;
        if self.unsynced >= SYNC_EVERY_BYTES {
            self.file.sync_data()?;
            self.unsynced = 0;
        }
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

fn properties(packing: &Packing) -> Result<WriterProperties, WriteError> {
    let column = |name: &str| ColumnPath::from(name);
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by(concat!("logboom ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(packing.zstd_level)?))
        .set_max_row_group_row_count(None)
        .set_data_page_row_count_limit(PAGE_ROWS_MAX)
        .set_data_page_size_limit(PAGE_BYTES_MAX)
        .set_write_batch_size(STEP_ROWS_MAX)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_column_statistics_enabled(column("timestamp"), EnabledStatistics::Page);
    // Numbers that run on pack best as differences.
    for name in ["timestamp", "origin", "counter"] {
        properties = properties
            .set_column_dictionary_enabled(column(name), name == "origin")
            .set_column_encoding(column(name), Encoding::DELTA_BINARY_PACKED);
    }
    // Texts that hardly repeat would only fill a dictionary before they fall back to this.
    for name in ["message", "metadata"] {
        properties = properties
            .set_column_dictionary_enabled(column(name), false)
            .set_column_encoding(column(name), Encoding::DELTA_LENGTH_BYTE_ARRAY)
            .set_column_statistics_enabled(column(name), EnabledStatistics::None);
    }
    for key in &packing.typed {
        let column = ColumnPath::from(typed_name(&key.key));
        let encoding = if key.is_text { Encoding::DELTA_LENGTH_BYTE_ARRAY } else { Encoding::DELTA_BINARY_PACKED };
        properties =
            properties.set_column_dictionary_enabled(column.clone(), key.repeats).set_column_encoding(column, encoding);
    }
    Ok(properties.build())
}
