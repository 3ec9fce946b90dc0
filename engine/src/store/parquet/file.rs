//! One file of the store, as queries read it. Its footer is read at the first question and kept.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arrow_array::RecordBatch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::PageIndexPolicy;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::statistics::Statistics;
use record::Timestamp;

use super::manifest::FileEntry;
use super::schema::{Columns, TIMESTAMP};
use super::tally::Tally;
use super::writer::TALLY_KEY;
use crate::store::{QueryError, RowBuf};

/// Rows that are decoded at a time.
const STEP_ROWS_MAX: usize = 4096;

#[derive(Debug)]
pub struct DataFile {
    pub entry: FileEntry,
    path: PathBuf,
    /// Held open, so that whoever reads it is not hurt when it is removed.
    file: Arc<File>,
    footer: OnceLock<ArrowReaderMetadata>,
    tally: OnceLock<Option<Tally>>,
    /// Whether the file goes once nobody reads it any more.
    superseded: AtomicBool,
}

impl DataFile {
    pub fn open(dir: &Path, entry: FileEntry) -> io::Result<DataFile> {
        let path = dir.join(&entry.name);
        let file = File::open(&path)?;
        let bytes = file.metadata()?.len();
        if bytes != entry.bytes {
            return Err(io::Error::other(format!("it is {bytes} bytes long and should be {}", entry.bytes)));
        }
        Ok(DataFile {
            entry,
            path,
            file: Arc::new(file),
            footer: OnceLock::new(),
            tally: OnceLock::new(),
            superseded: AtomicBool::new(false),
        })
    }

    /// Removes the file from disk once the last snapshot that holds it is gone.
    pub fn supersede(&self) {
        self.superseded.store(true, Ordering::Relaxed);
    }

    pub fn groups(&self) -> Result<usize, QueryError> {
        Ok(self.footer()?.metadata().num_row_groups())
    }

    /// The first and the last time of a row group.
    pub fn group_span(&self, group: usize) -> Result<(Timestamp, Timestamp), QueryError> {
        let statistics = self.footer()?.metadata().row_group(group).column(TIMESTAMP).statistics();
        match statistics {
            Some(Statistics::Int64(times)) => match (times.min_opt(), times.max_opt()) {
                (Some(first), Some(last)) => Ok((Timestamp::clamped(*first), Timestamp::clamped(*last))),
                _ => Ok((self.entry.first, self.entry.last)),
            },
            _ => Ok((self.entry.first, self.entry.last)),
        }
    }

    /// Hands on the rows of a row group, a step at a time, in ascending order.
    pub fn read_group(
        &self,
        group: usize,
        visit: &mut dyn FnMut(&RowBuf) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        let mut rows = RowBuf::default();
        for batch in self.reader(group)? {
            let batch: RecordBatch = batch.map_err(|error| self.broken(&error))?;
            let columns = Columns::new(&batch).ok_or_else(|| self.broken(&"a column has another type"))?;
            rows.bytes.clear();
            rows.count = 0;
            for row in 0..columns.len() {
                columns.write(row, &mut rows);
            }
            visit(&rows)?;
        }
        Ok(())
    }

    /// The counts kept with the file, where it has them.
    pub fn tally(&self) -> Result<Option<&Tally>, QueryError> {
        let footer = self.footer()?;
        let tally = self.tally.get_or_init(|| {
            let pairs = footer.metadata().file_metadata().key_value_metadata()?;
            let text = pairs.iter().find(|pair| pair.key == TALLY_KEY)?.value.as_deref()?;
            Tally::parse(text)
        });
        Ok(tally.as_ref())
    }

    fn reader(&self, group: usize) -> Result<ParquetRecordBatchReader, QueryError> {
        let footer = self.footer()?.clone();
        ParquetRecordBatchReaderBuilder::new_with_metadata(Pread(self.file.clone()), footer)
            .with_row_groups(vec![group])
            .with_batch_size(STEP_ROWS_MAX)
            .build()
            .map_err(|error| self.broken(&error))
    }

    fn footer(&self) -> Result<&ArrowReaderMetadata, QueryError> {
        if let Some(footer) = self.footer.get() {
            return Ok(footer);
        }
        let options =
            ArrowReaderOptions::new().with_skip_arrow_metadata(true).with_page_index_policy(PageIndexPolicy::Optional);
        let footer =
            ArrowReaderMetadata::load(&Pread(self.file.clone()), options).map_err(|error| self.broken(&error))?;
        Ok(self.footer.get_or_init(|| footer))
    }

    fn broken(&self, error: &dyn std::fmt::Display) -> QueryError {
        QueryError::Store(format!("{} is damaged: {error}: run `logboom fsck`", self.path.display()))
    }
}

impl Drop for DataFile {
    fn drop(&mut self) {
        // If it fails, the next start finds a file that no manifest names, and removes it.
        if *self.superseded.get_mut()
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!("{} is no longer needed and cannot be removed: {error}", self.path.display());
        }
    }
}

/// A file that is read at a place without moving any other reader's.
struct Pread(Arc<File>);

impl Length for Pread {
    fn len(&self) -> u64 {
        self.0.metadata().map_or(0, |metadata| metadata.len())
    }
}

impl ChunkReader for Pread {
    type T = io::BufReader<PreadFrom>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(io::BufReader::new(PreadFrom { file: self.0.clone(), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let mut bytes = vec![0; length];
        self.0.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

struct PreadFrom {
    file: Arc<File>,
    at: u64,
}

impl Read for PreadFrom {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(out, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}
