//! The sealed batch: the unit that goes to disk, over the fence between the runtimes, into Redis and into COPY.
//!
//! Comes in: parsed fields, or rows of a request that were staged apart. Goes out: an immutable [`Batch`]. Nothing here
//! waits, reads a clock or does I/O.
//!
//! A frame is what is stored and sent; integers little-endian but for the rows (see [`crate::row`]):
//!
//! | at | bytes | content |
//! |---|---|---|
//! | 0 | 3 | `LBB` |
//! | 3 | 1 | version, 1 |
//! | 4 | 1 | encoding of the body: 0 rows as they are, 1 lz4 block |
//! | 5 | 1 | 0 |
//! | 6 | 2 | `part`, i16: hash of the batch id modulo the number of streams |
//! | 8 | 16 | batch id, UUIDv7 |
//! | 24 | 4 | rows |
//! | 28 | 4 | bytes of the rows |
//! | 32 | 8 | first timestamp, µs since 1970 |
//! | 40 | 8 | last timestamp |
//! | 48 | 24 | rows per level, from TRACE to FATAL |
//! | 72 | 4 | bytes of the body as stored |
//! | 76 | n | body |
//! | 76 + n | 4 | CRC32C of all before |
//!
//! What it does not try to do: order rows, split a batch, or hold more than [`BATCH_BYTES_MAX`] but for a single row.

use bytes::Bytes;

use crate::fields::{Context, Fields};
use crate::id::{Id, IdSource};
use crate::level::Level;
use crate::row::{self, NotARow, RECORD_BYTES_MAX, Row, RowHead, Rows};
use crate::time::Timestamp;

/// A frame is sealed before it would pass this: a Redis entry of 200,000 bytes takes 230,000 there.
pub const BATCH_BYTES_MAX: usize = 196_000;
/// Streams a batch may be spread over, when no setting says otherwise.
pub const STREAMS_DEFAULT: u16 = 16;

const MAGIC: [u8; 3] = *b"LBB";
const VERSION: u8 = 1;
const RAW: u8 = 0;
const LZ4: u8 = 1;
const HEADER: usize = 76;
const TRAILER: usize = 4;
/// lz4 must save at least this share of the body, or the rows are kept as they are.
const LZ4_SAVES_AT_LEAST: usize = 8;

/// What is known of a batch without reading its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub id: Id,
    pub part: i16,
    pub rows: u32,
    pub first: Timestamp,
    pub last: Timestamp,
    pub levels: [u32; Level::COUNT],
}

/// An immutable, checked batch. Cloning shares the bytes.
#[derive(Clone, Debug)]
pub struct Batch {
    header: Header,
    /// The frame, its body raw.
    frame: Bytes,
}

/// Bytes that are not a batch, or not one that this version reads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error("not a batch: {0} bytes do not begin with LBB")]
    NotABatch(usize),
    #[error("batch version {0} is newer than this program, which reads 1: run a newer logboom")]
    UnknownVersion(u8),
    #[error("batch is cut: {have} bytes of {want}")]
    Cut { have: usize, want: usize },
    #[error("batch is damaged: its checksum does not match")]
    Checksum,
    #[error("batch is damaged: {0}")]
    Damaged(&'static str),
}

impl From<NotARow> for BatchError {
    fn from(_: NotARow) -> Self {
        BatchError::Damaged("a row is broken")
    }
}

impl Batch {
    /// Opens a frame: checks version, checksum and every row's shape, and unpacks it.
    pub fn open(frame: Bytes) -> Result<Batch, BatchError> {
        let head: &[u8; HEADER] = match frame.first_chunk() {
            Some(head) if head[..3] == MAGIC => head,
            _ => return Err(BatchError::NotABatch(frame.len())),
        };
        if head[3] != VERSION {
            return Err(BatchError::UnknownVersion(head[3]));
        }
        let stored = u32_at(head, 72) as usize;
        let want = HEADER + stored + TRAILER;
        if frame.len() != want {
            return Err(BatchError::Cut { have: frame.len(), want });
        }
        let (content, crc) = frame.split_at(HEADER + stored);
        if crc32c::crc32c(content).to_le_bytes() != crc {
            return Err(BatchError::Checksum);
        }
        let header = Header {
            id: Id::from_bytes(array_at(head, 8)),
            part: i16::from_le_bytes(array_at(head, 6)),
            rows: u32_at(head, 24),
            first: Timestamp::clamped(i64::from_le_bytes(array_at(head, 32))),
            last: Timestamp::clamped(i64::from_le_bytes(array_at(head, 40))),
            levels: std::array::from_fn(|i| u32_at(head, 48 + 4 * i)),
        };
        let body_bytes = u32_at(head, 28) as usize;
        let frame = match head[4] {
            RAW if body_bytes == stored => frame,
            LZ4 if body_bytes <= BATCH_BYTES_MAX.max(RECORD_BYTES_MAX) => unpack(&header, body_bytes, &frame)?,
            _ => return Err(BatchError::Damaged("its encoding is unknown")),
        };
        let batch = Batch { header, frame };
        batch.check_rows()?;
        Ok(batch)
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    pub fn id(&self) -> Id {
        self.header.id
    }

    /// How many rows: never none.
    pub fn len(&self) -> usize {
        self.header.rows as usize
    }

    pub fn is_empty(&self) -> bool {
        self.header.rows == 0
    }

    pub fn rows(&self) -> Rows<'_> {
        Rows::new(self.body())
    }

    /// The rows' bytes: what goes between the header and the trailer of a COPY BINARY.
    pub fn body(&self) -> &[u8] {
        &self.frame[HEADER..self.frame.len() - TRAILER]
    }

    /// The same, sharing the batch's memory.
    pub fn body_bytes(&self) -> Bytes {
        self.frame.slice(HEADER..self.frame.len() - TRAILER)
    }

    /// The frame with its rows as they are.
    pub fn frame(&self) -> &Bytes {
        &self.frame
    }

    /// The frame with its rows as an lz4 block, where that pays; else as they are.
    pub fn pack(&self) -> Bytes {
        let body = self.body();
        let mut packed = vec![0; HEADER + lz4_flex::block::get_maximum_output_size(body.len()) + TRAILER];
        let Ok(length) = lz4_flex::block::compress_into(body, &mut packed[HEADER..]) else {
            return self.frame.clone();
        };
        if length + body.len() / LZ4_SAVES_AT_LEAST > body.len() {
            return self.frame.clone();
        }
        packed.truncate(HEADER + length);
        finish_frame(&self.header, LZ4, body.len(), &mut packed);
        packed.into()
    }

    fn check_rows(&self) -> Result<(), BatchError> {
        let mut rest = self.body();
        let mut levels = [0u32; Level::COUNT];
        let mut rows = 0u32;
        while !rest.is_empty() {
            let (row, after) = Row::split(rest)?;
            rest = after;
            rows += 1;
            levels[row.level().index()] += 1;
        }
        if rows == 0 || rows != self.header.rows || levels != self.header.levels {
            return Err(BatchError::Damaged("it does not hold the rows that its header tells of"));
        }
        Ok(())
    }
}

fn unpack(header: &Header, body_bytes: usize, frame: &[u8]) -> Result<Bytes, BatchError> {
    let mut raw = vec![0; HEADER + body_bytes];
    let packed = &frame[HEADER..frame.len() - TRAILER];
    match lz4_flex::block::decompress_into(packed, &mut raw[HEADER..]) {
        Ok(length) if length == body_bytes => {}
        _ => return Err(BatchError::Damaged("its lz4 block is broken")),
    }
    finish_frame(header, RAW, body_bytes, &mut raw);
    Ok(raw.into())
}

/// Fills in the header of `frame`, whose body stands already, and appends the checksum.
fn finish_frame(header: &Header, encoding: u8, body_bytes: usize, frame: &mut Vec<u8>) {
    let stored = (frame.len() - HEADER) as u32;
    let head = &mut frame[..HEADER];
    head[..3].copy_from_slice(&MAGIC);
    head[3] = VERSION;
    head[4] = encoding;
    head[5] = 0;
    head[6..8].copy_from_slice(&header.part.to_le_bytes());
    head[8..24].copy_from_slice(header.id.as_bytes());
    head[24..28].copy_from_slice(&header.rows.to_le_bytes());
    head[28..32].copy_from_slice(&(body_bytes as u32).to_le_bytes());
    head[32..40].copy_from_slice(&header.first.as_micros().to_le_bytes());
    head[40..48].copy_from_slice(&header.last.as_micros().to_le_bytes());
    for (i, count) in header.levels.iter().enumerate() {
        head[48 + 4 * i..52 + 4 * i].copy_from_slice(&count.to_le_bytes());
    }
    head[72..76].copy_from_slice(&stored.to_le_bytes());
    let crc = crc32c::crc32c(frame);
    frame.extend_from_slice(&crc.to_le_bytes());
}

/// The stream that a batch belongs to: FNV-1a of its id, modulo the number of streams.
pub fn part_of(batch: &Id, streams: u16) -> i16 {
    let hash = batch
        .as_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, &b| (hash ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3));
    ((hash ^ hash >> 32) % u64::from(streams.clamp(1, i16::MAX as u16))) as i16
}

/// An open batch. Rows go in until it is full; [`seal`](BatchBuilder::seal) empties it.
#[derive(Debug)]
pub struct BatchBuilder {
    /// Room for the header, then the rows.
    frame: Vec<u8>,
    /// The id of the open batch, and the part that it gives.
    id: Option<(Id, i16)>,
    streams: u16,
    summary: Summary,
}

/// What the header will say of the rows so far.
#[derive(Clone, Copy, Debug)]
struct Summary {
    rows: u32,
    first: Timestamp,
    last: Timestamp,
    levels: [u32; Level::COUNT],
}

impl Summary {
    const EMPTY: Summary = Summary { rows: 0, first: Timestamp::MAX, last: Timestamp::MIN, levels: [0; Level::COUNT] };

    fn add(&mut self, timestamp: Timestamp, level: Level) {
        self.rows += 1;
        self.first = self.first.min(timestamp);
        self.last = self.last.max(timestamp);
        self.levels[level.index()] += 1;
    }
}

/// What a row became.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pushed {
    pub id: Id,
    pub timestamp: Timestamp,
    pub level: Level,
}

/// Why a row was not taken; the builder is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// Seal the batch and push again.
    #[error("the batch is full")]
    Full,
    #[error("the record is of {timestamp}, and retain keeps records from {oldest} on")]
    TooOld { timestamp: Timestamp, oldest: Timestamp },
    #[error("the record is {bytes} bytes long once encoded, and record_bytes_max is {max}")]
    TooLarge { bytes: usize, max: usize },
}

impl BatchBuilder {
    /// An empty builder whose batches are spread over `streams` parts.
    pub fn new(streams: u16) -> BatchBuilder {
        BatchBuilder { frame: vec![0; HEADER], id: None, streams, summary: Summary::EMPTY }
    }

    pub fn is_empty(&self) -> bool {
        self.summary.rows == 0
    }

    pub fn rows(&self) -> usize {
        self.summary.rows as usize
    }

    /// What the frame would take if it were sealed now.
    pub fn frame_bytes(&self) -> usize {
        self.frame.len() + TRAILER
    }

    /// The rows so far.
    pub fn body(&self) -> &[u8] {
        &self.frame[HEADER..]
    }

    /// Appends one record: what its fields leave open comes from the context.
    pub fn push(&mut self, fields: &Fields, context: &Context, ids: &mut IdSource) -> Result<Pushed, PushError> {
        let start = self.frame.len();
        let timestamp = fields.timestamp.unwrap_or(context.received);
        if timestamp < context.oldest {
            return Err(PushError::TooOld { timestamp, oldest: context.oldest });
        }
        let level = fields.level.unwrap_or(Level::Info);
        let part = self.part(ids, context.received);
        let id = ids.next(timestamp);
        row::write(&RowHead { part, id, timestamp, level }, fields, context, &mut self.frame);
        let bytes = self.frame.len() - start;
        if bytes > RECORD_BYTES_MAX {
            self.frame.truncate(start);
            return Err(PushError::TooLarge { bytes, max: RECORD_BYTES_MAX });
        }
        if self.frame_bytes() > BATCH_BYTES_MAX && !self.is_empty() {
            self.frame.truncate(start);
            return Err(PushError::Full);
        }
        self.summary.add(timestamp, level);
        Ok(Pushed { id, timestamp, level })
    }

    /// Whether `rows` bytes more would still fit.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.is_empty() || self.frame_bytes() + bytes <= BATCH_BYTES_MAX
    }

    /// Appends rows that were encoded by another builder; they become part of this batch. The caller has asked
    /// [`has_room`](BatchBuilder::has_room).
    pub fn append(&mut self, rows: &[u8], ids: &mut IdSource, now: Timestamp) -> Result<(), NotARow> {
        let part = self.part(ids, now);
        let start = self.frame.len();
        let before = self.summary;
        self.frame.extend_from_slice(rows);
        let mut rest = rows;
        while !rest.is_empty() {
            match Row::split(rest) {
                Ok((row, after)) => {
                    row::set_part(&mut self.frame, start + rows.len() - rest.len(), part);
                    self.summary.add(row.timestamp(), row.level());
                    rest = after;
                }
                Err(error) => {
                    self.frame.truncate(start);
                    self.summary = before;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Forgets the rows so far.
    pub fn clear(&mut self) {
        self.frame.truncate(HEADER);
        self.id = None;
        self.summary = Summary::EMPTY;
    }

    /// Closes the batch and leaves the builder empty; `None` when it holds no row.
    pub fn seal(&mut self) -> Option<Batch> {
        let Summary { rows, first, last, levels } = self.summary;
        let (id, part) = self.id.filter(|_| rows > 0)?;
        let header = Header { id, part, rows, first, last, levels };
        let body_bytes = self.frame.len() - HEADER;
        finish_frame(&header, RAW, body_bytes, &mut self.frame);
        // A copy of the exact size: the builder keeps its buffer, and no batch keeps more memory than it needs.
        let frame = Bytes::copy_from_slice(&self.frame);
        self.clear();
        if self.frame.capacity() > 2 * BATCH_BYTES_MAX {
            self.frame.shrink_to(BATCH_BYTES_MAX);
        }
        Some(Batch { header, frame })
    }

    /// The part of the open batch, whose id is drawn with its first row.
    fn part(&mut self, ids: &mut IdSource, now: Timestamp) -> i16 {
        let streams = self.streams;
        let draw = || {
            let id = ids.next(now);
            (id, part_of(&id, streams))
        };
        self.id.get_or_insert_with(draw).1
    }
}

fn array_at<const N: usize>(bytes: &[u8; HEADER], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

fn u32_at(bytes: &[u8; HEADER], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}
