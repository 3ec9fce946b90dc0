//! What is in the log and not yet in the store.

use std::collections::VecDeque;

use record::Timestamp;

use crate::queue::LogPosition;

/// Groups are counted together up to this many bytes: at 5,000 small groups a second, a mark for each would cost more
/// memory than the figure is worth. Depth is exact to this much, and exact when the log is empty.
const MARK_BYTES_MAX: u64 = 256 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    end: LogPosition,
    batches: u64,
    bytes: u64,
    oldest: Timestamp,
}

/// What waits in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    pub bytes: u64,
    pub batches: u64,
    /// When the oldest batch was opened.
    pub oldest: Option<Timestamp>,
}

/// Sums over runs of groups, oldest first.
#[derive(Debug, Default)]
pub(super) struct Marks {
    marks: VecDeque<Mark>,
    bytes: u64,
    batches: u64,
}

impl Marks {
    pub fn push(&mut self, end: LogPosition, batches: u64, bytes: u64, opened: Timestamp) {
        self.bytes += bytes;
        self.batches += batches;
        match self.marks.back_mut() {
            Some(mark) if mark.bytes + bytes <= MARK_BYTES_MAX && mark.end.segment == end.segment => {
                mark.end = end;
                mark.bytes += bytes;
                mark.batches += batches;
                mark.oldest = mark.oldest.min(opened);
            }
            _ => self.marks.push_back(Mark { end, batches, bytes, oldest: opened }),
        }
    }

    pub fn release(&mut self, upto: LogPosition) {
        while let Some(mark) = self.marks.front()
            && mark.end <= upto
        {
            self.bytes -= mark.bytes;
            self.batches -= mark.batches;
            self.marks.pop_front();
        }
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn depth(&self) -> Depth {
        Depth { bytes: self.bytes, batches: self.batches, oldest: self.marks.front().map(|mark| mark.oldest) }
    }
}
