//! Reading a log that its shard is writing: what a drain hands on to a server.
//!
//! Comes in: where to begin, and up to where the log is durable. Goes out: batch after batch, with the position where each
//! ends. Plain blocking I/O on whole pieces, from any thread; a segment that was not released yet does not change but at
//! its end.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use record::{Batch, BatchError};

use super::frame::{FRAME_HEADER_BYTES, FrameHeader, SEGMENT_HEADER_BYTES};
use super::recover::{list, open_batch, read};
use super::scan::{Found, previous_of_first, scan_segment};
use super::{LogError, SegmentName};
use crate::queue::LogPosition;

/// Read at once: some twenty batches.
const PIECE_BYTES: usize = 4 * 1024 * 1024;

/// A place in a log, moving on.
pub struct LogReader {
    dir: PathBuf,
    at: LogPosition,
    /// Acknowledged bytes that could not be read.
    findings: Vec<String>,
}

impl LogReader {
    /// Reads the log in `dir` from `at` on.
    pub fn new(dir: &Path, at: LogPosition) -> LogReader {
        LogReader { dir: dir.to_owned(), at, findings: Vec::new() }
    }

    /// Everything before this has been read.
    pub fn position(&self) -> LogPosition {
        self.at
    }

    /// What was acknowledged and cannot be read any more, a sentence each, since last asked.
    pub fn take_findings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.findings)
    }

    /// The next batches before `end`, each with the position where it ends: at least `bytes_min` of them, or all there
    /// are. Empty once `end` is reached.
    pub fn next(&mut self, end: LogPosition, bytes_min: usize) -> Result<Vec<(LogPosition, Batch)>, LogError> {
        let mut out = Vec::new();
        let mut bytes = 0;
        while self.at < end && bytes < bytes_min {
            let Some((name, ended_at)) = self.segment(end)? else {
                self.at = end;
                break;
            };
            let count = out.len();
            match name {
                SegmentName::Damaged(_) => self.read_damaged(name, ended_at, end, &mut out)?,
                _ => self.read_piece(name, ended_at, end, &mut out)?,
            }
            bytes += out[count..].iter().map(|(_, batch)| batch.frame().len()).sum::<usize>();
        }
        Ok(out)
    }

    /// The segment to read from, the position moved to its start if that is further on; with where it ended, as the
    /// segment after it tells.
    fn segment(&mut self, end: LogPosition) -> Result<Option<(SegmentName, Option<u64>)>, LogError> {
        let files = list(&self.dir)?;
        let mut named = files.iter().filter(|name| !matches!(name, SegmentName::Spare(_)));
        let Some(&name) = named.find(|name| (self.at.segment..=end.segment).contains(&name.number())) else {
            return Ok(None);
        };
        if name.number() > self.at.segment {
            self.at = LogPosition { segment: name.number(), offset: 0 };
        }
        self.at.offset = self.at.offset.max(SEGMENT_HEADER_BYTES as u64);
        if name.number() == end.segment {
            return Ok(Some((name, Some(end.offset))));
        }
        // A segment that has no frame yet says nothing of the one before it.
        for later in named.filter(|name| name.number() <= end.segment) {
            let head = read_at(&self.dir.join(later.to_string()), 0, SEGMENT_HEADER_BYTES + FRAME_HEADER_BYTES)?;
            if let Some(previous) = previous_of_first(&head, later.number()) {
                return Ok(Some((name, (previous.segment == name.number()).then_some(previous.offset))));
            }
        }
        Ok(Some((name, None)))
    }

    /// Follows the frames of a segment as far as one piece of it goes.
    fn read_piece(
        &mut self,
        name: SegmentName,
        ended_at: Option<u64>,
        end: LogPosition,
        out: &mut Vec<(LogPosition, Batch)>,
    ) -> Result<(), LogError> {
        let path = self.dir.join(name.to_string());
        let mut want = PIECE_BYTES;
        loop {
            let bytes = read_at(&path, self.at.offset, want)?;
            let count = out.len();
            let mut from = 0;
            while self.at < end
                && let Some(header) = FrameHeader::read(&bytes[from..], self.at)
                && header.payload(&bytes[from..]).is_some()
            {
                let start = from + FRAME_HEADER_BYTES;
                from += header.stride;
                self.at.offset += header.stride as u64;
                let found = Found { payload: start..start + header.payload_bytes, end: self.at.offset };
                self.open(&path, &bytes, &found, out)?;
            }
            let is_over = match ended_at {
                Some(ended) => self.at.offset >= ended,
                None => out.len() == count && bytes.len() < want,
            };
            if is_over && self.at.segment < end.segment {
                self.at = LogPosition { segment: self.at.segment + 1, offset: 0 };
            }
            if is_over || out.len() > count {
                return Ok(());
            }
            if bytes.len() < want {
                // Something acknowledged stands behind what cannot be read.
                return self.read_damaged(name, ended_at, end, out);
            }
            // One frame that is longer than a piece.
            want *= 4;
        }
    }

    /// Serves what can be read of a damaged segment, and goes on behind it.
    fn read_damaged(
        &mut self,
        name: SegmentName,
        ended_at: Option<u64>,
        end: LogPosition,
        out: &mut Vec<(LogPosition, Batch)>,
    ) -> Result<(), LogError> {
        let (path, number) = (self.dir.join(name.to_string()), name.number());
        let bytes = read(&path)?;
        let scan = scan_segment(&bytes, number, ended_at);
        let from = self.at.offset;
        for found in scan.frames.iter().filter(|found| found.end > from) {
            self.open(&path, &bytes, found, out)?;
        }
        if let Some(at) = scan.damaged_at
            && matches!(name, SegmentName::Live(_))
        {
            self.findings.push(format!(
                "segment {} is damaged at offset {at}: some acknowledged records may be lost; run `logboom fsck`",
                path.display()
            ));
        }
        // The writer goes on behind `end`.
        self.at = if number < end.segment { LogPosition { segment: number + 1, offset: 0 } } else { end };
        if let Some((last, _)) = out.last_mut()
            && last.segment == number
        {
            *last = self.at;
        }
        Ok(())
    }

    fn open(
        &mut self,
        path: &Path,
        bytes: &[u8],
        found: &Found,
        out: &mut Vec<(LogPosition, Batch)>,
    ) -> Result<(), LogError> {
        let end = LogPosition { segment: self.at.segment, offset: found.end };
        match open_batch(bytes, found) {
            Ok(batch) => out.push((end, batch)),
            Err(BatchError::UnknownVersion(version)) => {
                return Err(LogError::UnknownVersion { path: path.to_owned(), version });
            }
            Err(error) => self.findings.push(format!(
                "a batch in {} that ends at offset {} cannot be read: {error}",
                path.display(),
                found.end
            )),
        }
        Ok(())
    }
}

/// At most so many bytes of a file from a place on.
fn read_at(path: &Path, offset: u64, bytes: usize) -> Result<Vec<u8>, LogError> {
    let wrong = |source| LogError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(wrong)?;
    let mut out = vec![0; bytes];
    let mut have = 0;
    while have < bytes {
        match file.read_at(&mut out[have..], offset + have as u64) {
            Ok(0) => break,
            Ok(count) => have += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(wrong(error)),
        }
    }
    out.truncate(have);
    Ok(out)
}
