//! One file of the store, as queries read it. Its footer is read at the first question and kept.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::statistics::Statistics;
use record::Timestamp;
use record::filter::{Expr, Field, LevelSet, Test};
use record::text::canonical_i64;

use super::Covered;
use super::grams::{FilterIndex, FilterPlace, Needles, UNIT_ROWS};
use super::manifest::{FileEntry, covered_from_text};
use super::schema::{APPLICATION, ColumnSet, SOURCE, TIMESTAMP, TypedColumn, reading_schema};
use super::tally::{MINUTE_MICROS, Tally};
use super::view::View;
use super::wanted::Wanted;
use super::writer::{COVERED_KEY, FILTERS_KEY, PARTIAL_KEY, TALLY_KEY};
use crate::store::QueryError;

/// Rows that are decoded at a time…
const STEP_ROWS_MAX: usize = 8192;
/// …or about so many bytes of them, where rows are long.
const STEP_BYTES_MAX: usize = 8 << 20;

#[derive(Debug)]
pub struct DataFile {
    pub entry: FileEntry,
    path: PathBuf,
    /// Held open, so that whoever reads it is not hurt when it is removed.
    file: Arc<File>,
    footer: OnceLock<Footer>,
    tally: OnceLock<Option<Tally>>,
    /// Whether the file goes once nobody reads it any more.
    superseded: AtomicBool,
    /// Whether a compaction has failed that this file was part of: it is left as it is, so that others are not held up.
    troubled: AtomicBool,
    pub opened: Instant,
}

#[derive(Debug)]
struct Footer {
    arrow: ArrowReaderMetadata,
    typed: Vec<TypedColumn>,
    filters: Option<FilterIndex>,
    /// For each row group the number of its first filter.
    first_filters: Vec<usize>,
}

/// A run of rows of one row group: a page of timestamps, within which all others are read.
#[derive(Clone, Debug)]
pub struct Page {
    pub group: usize,
    pub rows: Range<usize>,
    pub first: Timestamp,
    pub last: Timestamp,
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
            troubled: AtomicBool::new(false),
            opened: Instant::now(),
        })
    }

    /// The file, if its footer can be read; it is read again when it is first asked for.
    pub fn checked(self) -> io::Result<DataFile> {
        self.load_footer().map_err(io::Error::other)?;
        Ok(self)
    }

    /// Removes the file from disk once the last snapshot that holds it is gone.
    pub fn supersede(&self) {
        self.superseded.store(true, Ordering::Relaxed);
    }

    pub fn set_troubled(&self) {
        self.troubled.store(true, Ordering::Relaxed);
    }

    pub fn is_troubled(&self) -> bool {
        self.troubled.load(Ordering::Relaxed)
    }

    /// The metadata keys that have a column of their own.
    pub fn typed(&self) -> Result<&[TypedColumn], QueryError> {
        Ok(&self.footer()?.typed)
    }

    pub fn groups(&self) -> Result<usize, QueryError> {
        Ok(self.metadata()?.num_row_groups())
    }

    /// Whether the file may hold a wanted row.
    pub fn may_hold(&self, wanted: &Wanted) -> Result<bool, QueryError> {
        let may_hold = wanted.may_be_in(&self.entry, None);
        if may_hold && wanted.asks_for_values() {
            return Ok(wanted.may_be_in(&self.entry, self.tally()?));
        }
        Ok(may_hold)
    }

    /// The first and the last time of a row group.
    pub fn group_span(&self, group: usize) -> Result<(Timestamp, Timestamp), QueryError> {
        let statistics = self.metadata()?.row_group(group).column(TIMESTAMP).statistics();
        if let Some(Statistics::Int64(times)) = statistics
            && let (Some(first), Some(last)) = (times.min_opt(), times.max_opt())
        {
            return Ok((Timestamp::clamped(*first), Timestamp::clamped(*last)));
        }
        Ok((self.entry.first, self.entry.last))
    }

    /// What a row of a row group takes on average before it is packed; at least 1.
    pub fn row_bytes(&self, group: usize) -> Result<usize, QueryError> {
        let group = self.metadata()?.row_group(group);
        Ok((group.total_byte_size().max(0) / group.num_rows().max(1)).max(1) as usize)
    }

    /// The pages of a row group, in ascending order.
    pub fn pages(&self, group: usize) -> Result<Vec<Page>, QueryError> {
        let metadata = self.metadata()?;
        let rows = metadata.row_group(group).num_rows() as usize;
        let index = metadata.page_index_for_row_group(group);
        let (first, last) = self.group_span(group)?;
        let (Some(places), Some(ColumnIndexMetaData::INT64(times))) =
            (index.page_locations(TIMESTAMP), index.column_index(TIMESTAMP))
        else {
            return Ok(vec![Page { group, rows: 0..rows, first, last }]);
        };
        let starts = places.iter().map(|place| place.first_row_index as usize);
        let ends = starts.clone().skip(1).chain([rows]);
        let pages = starts.zip(ends).enumerate().map(|(at, (start, end))| Page {
            group,
            rows: start..end,
            first: times.min_value(at).map_or(first, |first| Timestamp::clamped(*first)),
            last: times.max_value(at).map_or(last, |last| Timestamp::clamped(*last)),
        });
        Ok(pages.collect())
    }

    /// What kept counts tell of where wanted rows may be: the minutes, in ascending order, that hold any of the wanted
    /// levels and sources. `None` where that rules nothing out.
    pub fn wanted_minutes(&self, wanted: &Wanted) -> Result<Option<Vec<i64>>, QueryError> {
        if wanted.levels.is_none() && wanted.source.is_none() {
            return Ok(None);
        }
        let Some(tally) = self.tally()? else { return Ok(None) };
        let mut minutes = Vec::new();
        let (levels, sources) = (wanted.levels.unwrap_or(LevelSet::ALL), wanted.source.as_deref());
        let mut add = |minute, level, count| {
            if count > 0 && levels.contains(level) && minutes.last() != Some(&minute) {
                minutes.push(minute);
            }
        };
        // Where there are too many sources for counts by minute, those of levels may still say something.
        if !tally.visit(i64::MIN..i64::MAX, sources, &mut add) {
            tally.visit(i64::MIN..i64::MAX, None, &mut add);
        }
        minutes.sort_unstable();
        minutes.dedup();
        Ok((minutes.len() < tally.minutes.len()).then_some(minutes))
    }

    /// Whether a row group may hold a wanted row, going by its time, by `minutes` (see
    /// [`wanted_minutes`](DataFile::wanted_minutes)) and by the least and the greatest of its sources, applications and
    /// numbers.
    pub fn group_may_hold(&self, group: usize, wanted: &Wanted, minutes: Option<&[i64]>) -> Result<bool, QueryError> {
        let (first, last) = self.group_span(group)?;
        if !wanted.overlaps(first, last) || !has_minute(minutes, first, last) {
            return Ok(false);
        }
        let metadata = self.metadata()?.row_group(group);
        let within = |list: &Option<Vec<String>>, column: usize| {
            let Some(Statistics::ByteArray(values)) = metadata.column(column).statistics() else { return true };
            let (Some(list), Some(least), Some(greatest)) = (list, values.min_opt(), values.max_opt()) else {
                return true;
            };
            list.iter().any(|value| least.data() <= value.as_bytes() && value.as_bytes() <= greatest.data())
        };
        if !within(&wanted.source, SOURCE) || !within(&wanted.application, APPLICATION) {
            return Ok(false);
        }
        let typed = self.typed()?;
        // The least and the greatest value of a key, where it has a column of numbers, and nothing elsewhere.
        let bounds = |key: &str| {
            let column = typed.iter().find(|column| column.key == key && !column.is_text && !column.is_partial)?;
            match metadata.column(column.column).statistics()? {
                Statistics::Int64(values) => Some((*values.min_opt()?, *values.max_opt()?)),
                _ => None,
            }
        };
        Ok(numbers_may_match(&wanted.expr, &bounds))
    }

    /// The pages of a row group, and parts of pages, of which some row may be wanted.
    pub fn pages_that_may_match(
        &self,
        group: usize,
        wanted: &Wanted,
        minutes: Option<&[i64]>,
        needles: Option<&Needles<'_>>,
    ) -> Result<Vec<Page>, QueryError> {
        let mut pages = self.pages(group)?;
        pages.retain(|page| wanted.overlaps(page.first, page.last) && has_minute(minutes, page.first, page.last));
        if pages.is_empty() {
            return Ok(pages);
        }
        let footer = self.footer()?;
        let (Some(needles), Some(filters)) = (needles, &footer.filters) else { return Ok(pages) };
        let first = footer.first_filters[group];
        let rows = footer.arrow.metadata().row_group(group).num_rows() as usize;
        let of_group = first..first + units(rows);
        let Some(place) = filters.bytes_of(of_group.clone()) else { return Ok(pages) };
        let mut bitmaps = vec![0; (place.end - place.start) as usize];
        self.file.read_exact_at(&mut bitmaps, place.start).map_err(|error| self.broken(&error))?;
        let may_match = filters.probe(of_group, &bitmaps, needles);
        let mut found: Vec<Page> = Vec::new();
        for page in pages {
            let of_page = page.rows.start / UNIT_ROWS..units(page.rows.end);
            for unit in of_page.filter(|unit| may_match.get(*unit).is_none_or(|may_match| *may_match)) {
                let rows = page.rows.start.max(unit * UNIT_ROWS)..page.rows.end.min((unit + 1) * UNIT_ROWS);
                match found.last_mut() {
                    Some(last) if last.rows.end == rows.start && last.first == page.first => last.rows.end = rows.end,
                    _ => found.push(Page { rows, ..page.clone() }),
                }
            }
        }
        Ok(found)
    }

    /// Hands on `columns` of the rows in `ranges` of a row group, a step at a time, in ascending order.
    pub fn read(
        &self,
        group: usize,
        ranges: &[Range<usize>],
        columns: ColumnSet,
        visit: &mut dyn FnMut(&View<'_>) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        let footer = self.footer()?;
        let metadata = footer.arrow.metadata();
        let rows = metadata.row_group(group).num_rows() as usize;
        let mask = ProjectionMask::roots(footer.arrow.parquet_schema(), columns.iter());
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(Pread(self.file.clone()), footer.arrow.clone())
            .with_row_groups(vec![group])
            .with_projection(mask)
            .with_row_selection(RowSelection::from_consecutive_ranges(ranges.iter().cloned(), rows))
            .with_batch_size((STEP_BYTES_MAX / self.row_bytes(group)?).clamp(1, STEP_ROWS_MAX))
            .build()
            .map_err(|error| self.broken(&error))?;
        for batch in reader {
            let batch = batch.map_err(|error| self.broken(&error))?;
            let view = View::new(&batch, columns, &footer.typed);
            visit(&view.ok_or_else(|| self.broken(&"a column has another type"))?)?;
        }
        Ok(())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Up to where the log was in files when this one was written.
    pub fn covered(&self) -> Result<Covered, QueryError> {
        Ok(pair(self.metadata()?, COVERED_KEY).map(covered_from_text).unwrap_or_default())
    }

    /// CRC32C of the file as it is.
    pub fn checksum(&self) -> Result<u32, QueryError> {
        let mut from = PreadFrom { file: self.file.clone(), at: 0 };
        let mut bytes = vec![0; 1 << 20];
        let mut crc = 0;
        loop {
            match from.read(&mut bytes).map_err(|error| self.broken(&error))? {
                0 => return Ok(crc),
                count => crc = crc32c::crc32c_append(crc, &bytes[..count]),
            }
        }
    }

    /// Whether the page filters are as they were written; queries trust them.
    pub fn check_filters(&self) -> Result<(), QueryError> {
        let Some(place) = pair(self.metadata()?, FILTERS_KEY) else { return Ok(()) };
        let place = FilterPlace::parse(place).filter(|_| self.footer().is_ok_and(|footer| footer.filters.is_some()));
        let place = place.ok_or_else(|| self.broken(&"its page filters cannot be read"))?;
        let mut filters = vec![0; place.bytes];
        self.file.read_exact_at(&mut filters, place.offset).map_err(|error| self.broken(&error))?;
        match crc32c::crc32c(&filters) == place.crc {
            true => Ok(()),
            false => Err(self.broken(&"the checksum of its page filters does not match")),
        }
    }

    /// The counts kept with the file, where it has them.
    pub fn tally(&self) -> Result<Option<&Tally>, QueryError> {
        let metadata = self.metadata()?;
        let tally = self.tally.get_or_init(|| Tally::parse(pair(metadata, TALLY_KEY)?));
        Ok(tally.as_ref())
    }

    fn metadata(&self) -> Result<&Arc<ParquetMetaData>, QueryError> {
        Ok(self.footer()?.arrow.metadata())
    }

    fn footer(&self) -> Result<&Footer, QueryError> {
        if let Some(footer) = self.footer.get() {
            return Ok(footer);
        }
        let footer = self.load_footer().map_err(|error| self.broken(&error))?;
        Ok(self.footer.get_or_init(|| footer))
    }

    fn load_footer(&self) -> Result<Footer, ParquetError> {
        let options =
            ArrowReaderOptions::new().with_skip_arrow_metadata(true).with_page_index_policy(PageIndexPolicy::Optional);
        let plain = ArrowReaderMetadata::load(&Pread(self.file.clone()), options)?;
        let metadata = plain.metadata().clone();
        let partial: Vec<String> =
            pair(&metadata, PARTIAL_KEY).and_then(|text| sonic_rs::from_str(text).ok()).unwrap_or_default();
        let (schema, typed) = reading_schema(plain.schema(), &partial)
            .ok_or_else(|| ParquetError::General("its columns are not those of this store".to_owned()))?;
        let filters = pair(&metadata, FILTERS_KEY).and_then(FilterPlace::parse).and_then(|place| {
            let units = metadata.row_groups().iter().map(|group| units(group.num_rows() as usize)).sum::<usize>();
            let mut head = vec![0; FilterIndex::head_bytes(units).min(place.bytes)];
            self.file.read_exact_at(&mut head, place.offset).ok()?;
            FilterIndex::parse(place, &head).filter(|index| index.len() == units)
        });
        let mut first_filters = Vec::with_capacity(metadata.num_row_groups());
        let mut first = 0;
        for group in metadata.row_groups() {
            first_filters.push(first);
            first += units(group.num_rows() as usize);
        }
        // The same footer, read with columns that repeat as dictionaries.
        let arrow = ArrowReaderMetadata::try_new(metadata, ArrowReaderOptions::new().with_schema(schema))?;
        Ok(Footer { arrow, typed, filters, first_filters })
    }

    fn broken(&self, error: &dyn std::fmt::Display) -> QueryError {
        QueryError::Store(format!("{} is damaged: {error}: run `logboom fsck`", self.path.display()))
    }
}

/// Whether an expression may hold for a row whose numbers lie within `bounds`, which tells the least and the greatest value
/// of a metadata key, where they are known.
fn numbers_may_match(expr: &Expr, bounds: &dyn Fn(&str) -> Option<(i64, i64)>) -> bool {
    match expr {
        Expr::All(parts) => parts.iter().all(|part| numbers_may_match(part, bounds)),
        Expr::Any(parts) => parts.iter().any(|part| numbers_may_match(part, bounds)),
        // A path with a dot may also lead into an object, which is no number's column.
        Expr::Field { field: Field::Metadata(path), test } if !path.contains('.') => {
            let Some((least, greatest)) = bounds(path) else { return true };
            match test {
                Test::Greater(number) => number.order_of_int(greatest).is_gt(),
                Test::GreaterOrEqual(number) => number.order_of_int(greatest).is_ge(),
                Test::Less(number) => number.order_of_int(least).is_lt(),
                Test::LessOrEqual(number) => number.order_of_int(least).is_le(),
                Test::AnyOf(texts) => texts.iter().any(|text| {
                    // What is no plain whole number may be another way to write one.
                    canonical_i64(text.as_bytes()).is_none_or(|value| (least..=greatest).contains(&value))
                }),
                Test::Exists => true,
            }
        }
        _ => true,
    }
}

/// Whether one of `minutes` lies within these times.
fn has_minute(minutes: Option<&[i64]>, first: Timestamp, last: Timestamp) -> bool {
    let Some(minutes) = minutes else { return true };
    let minute = |time: Timestamp| time.as_micros().div_euclid(MINUTE_MICROS);
    let next = minutes.partition_point(|&candidate| candidate < minute(first));
    minutes.get(next).is_some_and(|&candidate| candidate <= minute(last))
}

/// How many filters so many rows of a row group have.
fn units(rows: usize) -> usize {
    rows.div_ceil(UNIT_ROWS)
}

/// A value of the footer's own metadata.
fn pair<'a>(metadata: &'a ParquetMetaData, key: &str) -> Option<&'a str> {
    let pairs = metadata.file_metadata().key_value_metadata()?;
    pairs.iter().find(|pair| pair.key == key)?.value.as_deref()
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
