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

use super::disk::{Steps, sync_dir};
use super::manifest::FileEntry;
use super::schema::{ColumnBuilder, schema};
use super::tally::Counter;
use crate::store::Counts;

/// Rows of one row group: large enough to pack well, small enough that a few are open at a time.
pub const GROUP_ROWS_MAX: usize = 128 * 1024;
/// Rows of one page: the unit that a query reads or leaves out.
pub const PAGE_ROWS_MAX: usize = 2048;
/// Rows are handed to the columns in steps of this many…
const STEP_ROWS_MAX: usize = 2048;
/// …or of this many bytes of text, since offsets are 32 bits wide and rows may be 2 MiB long.
const STEP_BYTES_MAX: usize = 8 << 20;
/// Bytes of a row group before it is packed: rows may be long.
const GROUP_BYTES_MAX: usize = 32 << 20;
/// Pages of texts are cut at this size, also within [`PAGE_ROWS_MAX`] rows.
const PAGE_BYTES_MAX: usize = 1 << 20;

/// The key of the file's metadata that holds its [`Tally`](super::tally::Tally).
pub const TALLY_KEY: &str = "logboom.tally";

pub struct FileWriter {
    arrow: ArrowWriter<BufWriter<File>>,
    schema: SchemaRef,
    columns: ColumnBuilder,
    entry: FileEntry,
    counter: Counter,
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
    pub fn create(dir: &Path, name: String, zstd_level: i32) -> Result<FileWriter, WriteError> {
        let file = BufWriter::with_capacity(1 << 20, File::create(dir.join(&name))?);
        let schema = schema();
        let options = ArrowWriterOptions::new().with_properties(properties(zstd_level)?).with_skip_arrow_metadata(true);
        Ok(FileWriter {
            arrow: ArrowWriter::try_new_with_options(file, schema.clone(), options)?,
            schema,
            columns: ColumnBuilder::default(),
            entry: FileEntry {
                name,
                rows: 0,
                bytes: 0,
                first: Timestamp::MAX,
                last: Timestamp::MIN,
                counts: Counts::default(),
            },
            counter: Counter::default(),
        })
    }

    pub fn push(&mut self, row: &Row<'_>) -> Result<(), WriteError> {
        self.entry.rows += 1;
        self.entry.first = self.entry.first.min(row.timestamp());
        self.entry.last = self.entry.last.max(row.timestamp());
        self.entry.counts.levels[row.level().index()] += 1;
        self.counter.add(row);
        self.columns.push(row);
        if self.columns.len() >= STEP_ROWS_MAX || self.columns.text_bytes() >= STEP_BYTES_MAX {
            self.write_step()?;
        }
        Ok(())
    }

    /// Ends the file and makes it durable.
    pub fn finish(mut self, dir: &Path, steps: &Steps) -> Result<FileEntry, WriteError> {
        self.write_step()?;
        let tally = KeyValue::new(TALLY_KEY.to_owned(), self.counter.finish().to_text());
        self.arrow.append_key_value_metadata(tally);
        let file = self.arrow.into_inner()?.into_inner().map_err(|error| error.into_error())?;
        steps.reach("sync the file")?;
        file.sync_all()?;
        self.entry.bytes = file.metadata()?.len();
        steps.reach("sync the folder of the file")?;
        sync_dir(dir)?;
        Ok(self.entry)
    }

    fn write_step(&mut self) -> Result<(), WriteError> {
        if self.columns.len() > 0 {
            self.arrow.write(&self.columns.finish(&self.schema)?)?;
            if self.arrow.in_progress_size() >= GROUP_BYTES_MAX {
                self.arrow.flush()?;
            }
        }
        Ok(())
    }
}

fn properties(zstd_level: i32) -> Result<WriterProperties, WriteError> {
    let column = |name: &str| ColumnPath::from(name);
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by(concat!("logboom ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(zstd_level)?))
        .set_max_row_group_row_count(Some(GROUP_ROWS_MAX))
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
    Ok(properties.build())
}
