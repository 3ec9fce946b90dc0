//! Reading a shard's folder back at start: plain blocking I/O, before any shard runs.
//!
//! Comes in: a folder, and how far the store covers it. Goes out: every acknowledged batch beyond that, and what the
//! writer needs to go on. Segments that lost acknowledged bytes are set aside under another name; their readable frames
//! are served all the same, now and at every later start until the store covers them.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use record::{Batch, BatchError};

use super::depth::Marks;
use super::frame::{FRAME_HEADER_BYTES, HeaderRead, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::scan::{Found, previous_of_first, scan_segment};
use super::{LogError, SegmentName};
use crate::queue::LogPosition;

/// What a folder held, and where its writer goes on.
#[derive(Debug, Default)]
pub struct Recovery {
    pub batches: u64,
    pub rows: u64,
    /// Bytes of groups that were never acknowledged, left behind.
    pub torn_bytes: u64,
    /// A sentence for each segment that lost acknowledged records.
    pub damaged: Vec<String>,
    /// Sentences on files that are not what their name says, and segments that are not there.
    pub remarks: Vec<String>,
    pub(super) folder: Folder,
}

impl Recovery {
    /// Where the last group ends that was found.
    pub fn reached(&self) -> LogPosition {
        self.folder.reached
    }
}

/// What the writer takes over.
#[derive(Debug)]
pub(super) struct Folder {
    /// The number of the next segment, from 1: no older file has it, and the store does not cover it.
    pub next: u64,
    /// Where the last group that was served ended.
    pub reached: LogPosition,
    /// Segments that hold records which the store does not cover, oldest first, each with its end.
    pub live: Vec<(u64, u64)>,
    /// Files whose content nobody needs.
    pub spares: Vec<SegmentName>,
    pub marks: Marks,
}

impl Default for Folder {
    fn default() -> Self {
        Folder {
            next: 1,
            reached: LogPosition::default(),
            live: Vec::new(),
            spares: Vec::new(),
            marks: Marks::default(),
        }
    }
}

/// Hands every acknowledged batch beyond `from` to `each`, in the order in which they were written, with the position
/// where it ends. A missing folder is an empty one.
pub fn recover(dir: &Path, from: LogPosition, each: &mut dyn FnMut(LogPosition, Batch)) -> Result<Recovery, LogError> {
    let files = list(dir)?;
    let mut recovery = Recovery::default();
    let mut kept = Vec::new();
    recovery.folder.next = from.segment.max(files.iter().map(|file| file.number()).max().unwrap_or(0)) + 1;
    recovery.folder.reached = from;
    for file in files {
        let number = file.number();
        match (&file, read_head(&dir.join(file.to_string()))?) {
            (SegmentName::Spare(_), _) => recovery.folder.spares.push(file),
            (_, (HeaderRead::UnknownVersion(version), _)) => {
                return Err(LogError::UnknownVersion { path: dir.join(file.to_string()), version });
            }
            (SegmentName::Damaged(_), _) if number < from.segment => {}
            (SegmentName::Live(_), _) if number < from.segment => recovery.folder.spares.push(file),
            // A crash came between renaming a segment for its next life and making the new name last.
            (SegmentName::Live(_), (HeaderRead::Valid(header), _)) if header.segment != number => {
                recovery.folder.spares.push(file);
            }
            (_, (header, previous)) => kept.push((file, header, previous)),
        }
    }
    for (i, (file, header, previous)) in kept.iter().enumerate() {
        let number = file.number();
        let ended_at = kept[i + 1..].iter().find_map(|(_, _, previous)| *previous);
        let ended_at = ended_at.filter(|end| end.segment == number).map(|end| end.offset);
        if let Some(previous) = previous
            && *previous > recovery.folder.reached
            && !kept[..i].iter().any(|(before, ..)| before.number() == previous.segment)
        {
            recovery.remarks.push(format!(
                "segment {} of {} is not there: what it held up to offset {} is lost unless the store has it",
                previous.segment,
                dir.display(),
                previous.offset
            ));
        }
        recover_segment(dir, file, *header, ended_at, from, each, &mut recovery)?;
    }
    Ok(recovery)
}

fn recover_segment(
    dir: &Path,
    file: &SegmentName,
    header: HeaderRead,
    ended_at: Option<u64>,
    from: LogPosition,
    each: &mut dyn FnMut(LogPosition, Batch),
    recovery: &mut Recovery,
) -> Result<(), LogError> {
    let path = dir.join(file.to_string());
    let segment = file.number();
    let bytes = read_durably(&path)?;
    let scan = scan_segment(&bytes, segment, ended_at);
    let mut unreadable = 0u64;
    for frame in &scan.frames {
        let end = LogPosition { segment, offset: frame.end };
        if end <= from {
            continue;
        }
        match open_batch(&bytes, frame) {
            Ok(batch) => {
                recovery.batches += 1;
                recovery.rows += batch.len() as u64;
                let bytes = (FRAME_HEADER_BYTES + frame.payload.len()) as u64;
                recovery.folder.marks.push(end, 1, bytes, batch.id().timestamp());
                each(end, batch);
            }
            Err(BatchError::UnknownVersion(version)) => return Err(LogError::UnknownVersion { path, version }),
            Err(_) => unreadable += 1,
        }
    }
    recovery.torn_bytes += scan.torn_bytes;
    let end = LogPosition { segment, offset: scan.end };
    let empty = scan.frames.is_empty();
    if !empty {
        recovery.folder.reached = recovery.folder.reached.max(end);
    }
    let damaged = scan.damaged_at.is_some() || unreadable > 0 || !empty && header == HeaderRead::Broken;
    match file {
        SegmentName::Live(_) if damaged => {
            let aside = SegmentName::Damaged(segment);
            rename_durably(dir, file, &aside)?;
            recovery.damaged.push(format!(
                "segment {} is damaged at offset {}: {} of its batches were read, some acknowledged records may be lost; \
                 it is kept as {aside}",
                path.display(),
                scan.damaged_at.unwrap_or(0),
                scan.frames.len() as u64 - unreadable,
            ));
        }
        SegmentName::Live(_) if empty || end <= from => recovery.folder.spares.push(*file),
        SegmentName::Live(_) => recovery.folder.live.push((segment, scan.end)),
        SegmentName::Damaged(_) | SegmentName::Spare(_) => {}
    }
    Ok(())
}

pub(super) fn open_batch(bytes: &[u8], frame: &Found) -> Result<Batch, BatchError> {
    // A copy, so that a batch which stays in memory does not hold its whole segment there.
    Batch::open(Bytes::copy_from_slice(&bytes[frame.payload.clone()]))
}

/// Removes the segments of a folder that no shard writes any more, as far as the store covers them, and the folder when
/// nothing is left. Says whether the folder is gone.
pub fn remove_covered(dir: &Path, upto: LogPosition) -> Result<bool, LogError> {
    for file in list(dir)? {
        let covered = match file {
            SegmentName::Spare(_) => true,
            SegmentName::Damaged(_) => false,
            SegmentName::Live(number) if number < upto.segment => true,
            SegmentName::Live(number) => {
                let scan = scan_segment(&read(&dir.join(file.to_string()))?, number, None);
                scan.frames.is_empty() || LogPosition { segment: number, offset: scan.end } <= upto
            }
        };
        if covered {
            let path = dir.join(file.to_string());
            fs::remove_file(&path).map_err(|error| LogError::io(&path, error))?;
        }
    }
    if list(dir)?.is_empty() {
        super::drained::forget(dir);
    }
    match fs::remove_dir(dir) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
        Err(error) => Err(LogError::io(dir, error)),
    }
}

/// The log's files in a folder, by number. Other files are let be.
pub(super) fn list(dir: &Path) -> Result<Vec<SegmentName>, LogError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(LogError::io(dir, error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| LogError::io(dir, error))?;
        files.extend(entry.file_name().to_str().and_then(SegmentName::parse));
    }
    files.sort_by_key(|file| file.number());
    Ok(files)
}

/// The header of a file, and what its first frame says of the segment before.
fn read_head(path: &Path) -> Result<(HeaderRead, Option<LogPosition>), LogError> {
    let mut head = Vec::with_capacity(SEGMENT_HEADER_BYTES + FRAME_HEADER_BYTES);
    File::open(path)
        .and_then(|file| file.take((SEGMENT_HEADER_BYTES + FRAME_HEADER_BYTES) as u64).read_to_end(&mut head))
        .map_err(|error| LogError::io(path, error))?;
    let number = path.file_name().and_then(|name| name.to_str()).and_then(SegmentName::parse).map(|name| name.number());
    let previous = number.and_then(|number| previous_of_first(&head, number));
    Ok((SegmentHeader::read(&head), previous))
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, LogError> {
    fs::read(path).map_err(|error| LogError::io(path, error))
}

/// Reads a segment, and makes sure that what was read will still be there after a loss of power: the store is about to be
/// told of it.
fn read_durably(path: &Path) -> Result<Vec<u8>, LogError> {
    let mut bytes = Vec::new();
    let mut file = File::options().read(true).write(true).open(path).map_err(|error| LogError::io(path, error))?;
    file.sync_data().and_then(|()| file.read_to_end(&mut bytes)).map_err(|error| LogError::io(path, error))?;
    Ok(bytes)
}

fn rename_durably(dir: &Path, from: &SegmentName, to: &SegmentName) -> Result<(), LogError> {
    let target: PathBuf = dir.join(to.to_string());
    fs::rename(dir.join(from.to_string()), &target)
        .and_then(|()| File::open(dir)?.sync_all())
        .map_err(|error| LogError::io(&target, error))
}
