//! What a segment's bytes hold: the groups that were acknowledged, and whether anything of them is lost.
//!
//! Comes in: the bytes of one segment, and where the segment after it says that it ended. Goes out: the frames to serve.
//! Any bytes may come in.

use std::collections::HashSet;
use std::ops::Range;

use memchr::memmem;

use super::frame::{FRAME_HEADER_BYTES, FRAME_MAGIC, FrameHeader, SEGMENT_HEADER_BYTES};
use crate::queue::LogPosition;

/// A frame to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub payload: Range<usize>,
    /// Where the frame ends.
    pub end: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// In the order in which they were written.
    pub frames: Vec<Found>,
    /// The end of the last frame to serve; behind the header, when there is none.
    pub end: u64,
    /// Bytes that belong to a group which was never acknowledged.
    pub torn_bytes: u64,
    /// Where acknowledged bytes cannot be read any more.
    pub damaged_at: Option<u64>,
}

/// Reads a segment. `ended_at` is where the following segment says that this one ended, if there is one.
pub fn scan_segment(bytes: &[u8], segment: u64, ended_at: Option<u64>) -> Scan {
    let mut chain = read_chain(bytes, segment);
    let broken_at = chain.group_at;
    let later = headers_after(bytes, segment, chain.broken_at);
    // A frame names the end of the group before its own. If that lies behind the break, then what broke was acknowledged.
    let break_was_acknowledged = ended_at.is_some_and(|end| end > broken_at)
        || later.iter().any(|header| header.previous > LogPosition { segment, offset: broken_at });
    if !break_was_acknowledged {
        let torn_bytes = later.last().map_or(chain.broken_at, |header| header.at.offset + header.stride as u64);
        chain.frames.truncate(chain.complete);
        return Scan {
            frames: chain.frames,
            end: broken_at,
            torn_bytes: torn_bytes.min(bytes.len() as u64).saturating_sub(broken_at),
            damaged_at: None,
        };
    }
    let mut frames = chain.frames;
    for header in later {
        let start = header.at.offset as usize;
        if header.payload(&bytes[start..]).is_some() {
            frames.push(found(&header));
        }
    }
    // What a full disk made fail may stand there a second time, in a place that a later group did not reach.
    let mut seen = HashSet::new();
    frames.retain(|frame| seen.insert(&bytes[frame.payload.clone()]));
    let end = frames.last().map_or(SEGMENT_HEADER_BYTES as u64, |frame| frame.end);
    Scan { frames, end: end.max(broken_at), torn_bytes: 0, damaged_at: Some(chain.broken_at) }
}

/// The first frame of a segment tells where the segment before it ended.
pub fn previous_of_first(head: &[u8], segment: u64) -> Option<LogPosition> {
    let at = LogPosition { segment, offset: SEGMENT_HEADER_BYTES as u64 };
    FrameHeader::read(head.get(SEGMENT_HEADER_BYTES..)?, at).map(|header| header.previous)
}

struct Chain {
    frames: Vec<Found>,
    /// How many of the frames belong to complete groups.
    complete: usize,
    /// Where the first group that is not complete begins.
    group_at: u64,
    /// Where the first frame of it that cannot be read begins.
    broken_at: u64,
}

/// Follows the frames from the segment's start to the first that is none, or that does not continue the one before.
fn read_chain(bytes: &[u8], segment: u64) -> Chain {
    let start = SEGMENT_HEADER_BYTES as u64;
    let mut chain = Chain { frames: Vec::new(), complete: 0, group_at: start, broken_at: start };
    let mut group_previous = None;
    loop {
        let at = LogPosition { segment, offset: chain.broken_at };
        let Some(rest) = bytes.get(at.offset as usize..) else { return chain };
        let Some(header) = FrameHeader::read(rest, at) else { return chain };
        let continues = match group_previous {
            Some(previous) => header.previous == previous,
            None if at.offset == start => header.previous.segment < segment,
            None => header.previous == at,
        };
        if !continues || header.payload(rest).is_none() {
            return chain;
        }
        chain.frames.push(found(&header));
        chain.broken_at += header.stride as u64;
        if header.last_of_group {
            chain.complete = chain.frames.len();
            chain.group_at = chain.broken_at;
            group_previous = None;
        } else {
            group_previous = Some(header.previous);
        }
    }
}

/// The headers behind `from` that were written for this segment and the place they stand at.
fn headers_after(bytes: &[u8], segment: u64, from: u64) -> Vec<FrameHeader> {
    let finder = memmem::Finder::new(&FRAME_MAGIC);
    let mut headers = Vec::new();
    let mut at = from as usize;
    while let Some(found) = bytes.get(at..).and_then(|rest| finder.find(rest)) {
        at += found;
        match FrameHeader::read(&bytes[at..], LogPosition { segment, offset: at as u64 }) {
            Some(header) => {
                at += if header.payload(&bytes[at..]).is_some() { header.stride } else { FRAME_HEADER_BYTES };
                headers.push(header);
            }
            None => at += 1,
        }
    }
    headers
}

fn found(header: &FrameHeader) -> Found {
    let start = header.at.offset as usize + FRAME_HEADER_BYTES;
    Found { payload: start..start + header.payload_bytes, end: header.at.offset + header.stride as u64 }
}
