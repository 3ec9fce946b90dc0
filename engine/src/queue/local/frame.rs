//! Frames and segment headers, as bytes. The layout is the table in [`super`].

use crate::queue::LogPosition;

/// A segment's header has a block of its own, so that it can be rewritten without touching a frame.
pub const SEGMENT_HEADER_BYTES: usize = 4096;
pub const FRAME_HEADER_BYTES: usize = 56;
/// A group begins at a multiple of this: the block size that direct writes need, and that no two groups share.
pub const GROUP_ALIGN: usize = 4096;

const FRAME_ALIGN: usize = 8;
const SEGMENT_MAGIC: [u8; 7] = *b"LBOOMLG";
const SEGMENT_VERSION: u8 = 1;
const SEGMENT_CONTENT: usize = 24;
pub(super) const FRAME_MAGIC: [u8; 4] = *b"LBF\x01";
const FRAME_CONTENT: usize = FRAME_HEADER_BYTES - 4;
const LAST_OF_GROUP: u8 = 1;
/// The trailer of a batch, which is its checksum.
const PAYLOAD_CRC_BYTES: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    pub segment: u64,
    pub shard: u16,
}

/// What the first block of a file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderRead {
    Valid(SegmentHeader),
    /// Written by a program that knows more than this one.
    UnknownVersion(u8),
    Broken,
}

impl SegmentHeader {
    pub fn write(&self, block: &mut [u8]) {
        block.fill(0);
        block[..7].copy_from_slice(&SEGMENT_MAGIC);
        block[7] = SEGMENT_VERSION;
        block[8..16].copy_from_slice(&self.segment.to_le_bytes());
        block[16..18].copy_from_slice(&self.shard.to_le_bytes());
        let crc = crc32c::crc32c(&block[..SEGMENT_CONTENT]);
        block[SEGMENT_CONTENT..SEGMENT_CONTENT + 4].copy_from_slice(&crc.to_le_bytes());
    }

    pub fn read(bytes: &[u8]) -> HeaderRead {
        let Some(head) = bytes.first_chunk::<{ SEGMENT_CONTENT + 4 }>() else { return HeaderRead::Broken };
        if head[..7] != SEGMENT_MAGIC {
            return HeaderRead::Broken;
        }
        if head[7] != SEGMENT_VERSION {
            return HeaderRead::UnknownVersion(head[7]);
        }
        if crc32c::crc32c(&head[..SEGMENT_CONTENT]).to_le_bytes() != head[SEGMENT_CONTENT..] {
            return HeaderRead::Broken;
        }
        HeaderRead::Valid(SegmentHeader { segment: u64_at(head, 8), shard: u16::from_le_bytes([head[16], head[17]]) })
    }
}

/// One frame's header. Its checksum covers the segment and the offset, and the payload's own checksum: bytes of a
/// segment's former life never pass, and the payload is not summed twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    pub at: LogPosition,
    /// Where the group before this frame's group ended: all before it was acknowledged when this was written.
    pub previous: LogPosition,
    pub payload_bytes: usize,
    /// From this frame to the next one.
    pub stride: usize,
    pub last_of_group: bool,
    payload_crc: u32,
}

impl FrameHeader {
    fn write(&self, out: &mut [u8]) {
        out[..4].copy_from_slice(&FRAME_MAGIC);
        out[4..8].copy_from_slice(&(self.payload_bytes as u32).to_le_bytes());
        out[8..12].copy_from_slice(&(self.stride as u32).to_le_bytes());
        out[12..16].copy_from_slice(&[if self.last_of_group { LAST_OF_GROUP } else { 0 }, 0, 0, 0]);
        out[16..24].copy_from_slice(&self.at.segment.to_le_bytes());
        out[24..32].copy_from_slice(&self.at.offset.to_le_bytes());
        out[32..40].copy_from_slice(&self.previous.segment.to_le_bytes());
        out[40..48].copy_from_slice(&self.previous.offset.to_le_bytes());
        out[48..52].copy_from_slice(&self.payload_crc.to_le_bytes());
        let crc = crc32c::crc32c(&out[..FRAME_CONTENT]);
        out[FRAME_CONTENT..FRAME_HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
    }

    /// The header at the start of `bytes`, if it was written for this very place.
    pub fn read(bytes: &[u8], at: LogPosition) -> Option<FrameHeader> {
        let head: &[u8; FRAME_HEADER_BYTES] = bytes.first_chunk()?;
        if head[..4] != FRAME_MAGIC
            || u64_at(head, 16) != at.segment
            || u64_at(head, 24) != at.offset
            || crc32c::crc32c(&head[..FRAME_CONTENT]).to_le_bytes() != head[FRAME_CONTENT..]
        {
            return None;
        }
        let header = FrameHeader {
            at,
            previous: LogPosition { segment: u64_at(head, 32), offset: u64_at(head, 40) },
            payload_bytes: u32_at(head, 4) as usize,
            stride: u32_at(head, 8) as usize,
            last_of_group: head[12] & LAST_OF_GROUP != 0,
            payload_crc: u32_at(head, 48),
        };
        let fits = header.payload_bytes >= PAYLOAD_CRC_BYTES
            && header.stride >= FRAME_HEADER_BYTES + header.payload_bytes
            && header.previous <= at;
        fits.then_some(header)
    }

    /// The payload, if it is what was written; `bytes` begin with this header.
    pub fn payload<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let payload = bytes.get(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + self.payload_bytes)?;
        let (content, crc) = payload.split_at(self.payload_bytes - PAYLOAD_CRC_BYTES);
        let whole = crc == self.payload_crc.to_le_bytes() && crc32c::crc32c(content) == self.payload_crc;
        whole.then_some(payload)
    }
}

/// What a group of payloads takes in a segment.
pub fn group_bytes<'a>(payloads: impl Iterator<Item = &'a [u8]>) -> usize {
    payloads.map(|payload| frame_bytes(payload.len())).sum::<usize>().next_multiple_of(GROUP_ALIGN)
}

fn frame_bytes(payload: usize) -> usize {
    (FRAME_HEADER_BYTES + payload).next_multiple_of(FRAME_ALIGN)
}

/// Writes a group's frames into `out`, which is [`group_bytes`] long. Every payload is a batch's frame, so that its last
/// four bytes are its checksum.
pub fn write_group<'a>(
    at: LogPosition,
    previous: LogPosition,
    payloads: impl ExactSizeIterator<Item = &'a [u8]>,
    out: &mut [u8],
) {
    let count = payloads.len();
    let mut start = 0;
    for (i, payload) in payloads.enumerate() {
        let last_of_group = i + 1 == count;
        let stride = if last_of_group { out.len() - start } else { frame_bytes(payload.len()) };
        let (frame, crc) = (&mut out[start..start + stride], payload.last_chunk().copied().unwrap_or_default());
        FrameHeader {
            at: LogPosition { offset: at.offset + start as u64, ..at },
            previous,
            payload_bytes: payload.len(),
            stride,
            last_of_group,
            payload_crc: u32::from_le_bytes(crc),
        }
        .write(frame);
        let end = FRAME_HEADER_BYTES + payload.len();
        frame[FRAME_HEADER_BYTES..end].copy_from_slice(payload);
        frame[end..].fill(0);
        start += stride;
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut array = [0; 4];
    array.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(array)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut array = [0; 8];
    array.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(array)
}
