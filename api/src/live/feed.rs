//! One filter's feed: batches in, frames out.
//!
//! Comes in: every durable batch. Goes out: messages as WebSocket viewers get them, shared by all of them. A frame goes
//! out at once when none went out within [`JOIN`] before; under load that makes one frame each 10 ms.

use std::sync::Arc;
use std::time::Duration;

use engine::tail::{Next, Tail, Viewer};
use record::Filter;
use record::filter::Matcher;
use tokio::sync::broadcast;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Frames are joined for so long: what a person sees as at once, and 100 frames a second at the most.
const JOIN: Duration = Duration::from_millis(10);
/// A frame takes no further record beyond this: 25 MB a second is more than any page can show. The rest of its 10 ms is
/// skipped and counted, so that a flood costs a feed no more than that.
const FRAME_BYTES_MAX: usize = 256 * 1024;
/// Frames kept for slow viewers: 640 ms under load, at most 16 MB a feed.
const FRAMES_MAX: usize = 64;

pub struct Feed {
    frames: broadcast::Sender<Frame>,
    task: AbortHandle,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone, Debug)]
struct Frame {
    message: Arc<str>,
    /// What this feed told of before, and with this frame.
    before: Told,
    after: Told,
}

/// Records that a feed told of, sent or skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Told {
    records: u64,
    /// Of these, skipped ones that were never looked at: the filter may not have wanted them.
    unseen: u64,
}

/// How many records were skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    pub count: u64,
    /// Whether the filter wants them all; else so many at the most.
    pub exact: bool,
}

impl Skipped {
    pub fn message(self) -> String {
        format!("{{\"type\":\"skipped\",\"count\":{},\"exact\":{}}}", self.count, self.exact)
    }
}

/// A viewer's place in the feed, which lives as long as one has a place in it.
pub struct Frames {
    receiver: broadcast::Receiver<Frame>,
    seen: Option<Told>,
    _feed: Arc<Feed>,
}

/// What a viewer gets next.
#[derive(Debug)]
pub enum Event {
    Message {
        message: Arc<str>,
        /// Records that this viewer was too slow for just before.
        skipped: Option<Skipped>,
    },
    Closed,
}

impl Feed {
    /// Subscribes before it returns, so that nothing that becomes durable later is missed.
    pub fn start(filter: &Filter, tail: &Tail) -> Feed {
        let frames = broadcast::Sender::new(FRAMES_MAX);
        let takes_all = *filter == Filter::default();
        let task =
            tokio::spawn(run(tail.subscribe_for(filter), filter.matcher(), takes_all, frames.clone())).abort_handle();
        Feed { frames, task }
    }

    pub fn subscribe(self: Arc<Self>) -> Frames {
        Frames { receiver: self.frames.subscribe(), seen: None, _feed: self }
    }
}

impl Frames {
    /// Waits for the next message. Safe to drop while waiting.
    pub async fn next(&mut self) -> Event {
        loop {
            match self.receiver.recv().await {
                Ok(frame) => {
                    let skipped = self.seen.filter(|seen| *seen != frame.before).map(|seen| Skipped {
                        count: frame.before.records.saturating_sub(seen.records),
                        exact: frame.before.unseen == seen.unseen,
                    });
                    self.seen = Some(frame.after);
                    return Event::Message { message: frame.message, skipped };
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return Event::Closed,
            }
        }
    }
}

/// `takes_all`: the filter wants every record, so that what was never looked at is counted exactly.
async fn run(mut batches: Viewer, matcher: Matcher, takes_all: bool, frames: broadcast::Sender<Frame>) {
    let mut open = OpenFrame::default();
    let mut due = Instant::now();
    loop {
        let next = match open.is_empty() {
            true => batches.next().await,
            false => match tokio::time::timeout_at(due, batches.next()).await {
                Ok(next) => next,
                Err(_) => {
                    open.send(&frames);
                    due = Instant::now() + JOIN;
                    continue;
                }
            },
        };
        let Next::Batch { batch, skipped } = next else {
            open.send(&frames);
            return;
        };
        open.skip(skipped, if takes_all { 0 } else { skipped });
        match open.is_full() {
            true if takes_all => open.skip(batch.len() as u64, 0),
            // Counting costs a fraction of writing, and tells what was missed of this filter.
            true => open.skip(batch.rows().filter(|row| matcher.matches(row)).count() as u64, 0),
            false => batch.rows().filter(|row| matcher.matches(row)).for_each(|row| open.push(&row)),
        }
        if !open.is_empty() && due <= Instant::now() {
            open.send(&frames);
            due = Instant::now() + JOIN;
        }
    }
}

/// The frame that is being joined. What was skipped is told before its records: never fewer than were missed by then.
#[derive(Default)]
struct OpenFrame {
    json: String,
    /// For one record; kept for its memory.
    record: Vec<u8>,
    rows: u64,
    skipped: u64,
    /// Of `skipped`, those that nobody looked at.
    unseen: u64,
    told: Told,
}

impl OpenFrame {
    fn is_empty(&self) -> bool {
        self.rows == 0 && self.skipped == 0
    }

    fn is_full(&self) -> bool {
        self.json.len() >= FRAME_BYTES_MAX
    }

    fn skip(&mut self, rows: u64, unseen: u64) {
        self.skipped += rows;
        self.unseen += unseen;
    }

    fn push(&mut self, row: &record::Row) {
        if self.is_full() {
            self.skipped += 1;
            return;
        }
        self.record.clear();
        row.write_json(&mut self.record);
        self.json.push_str(if self.rows == 0 { "{\"type\":\"logs\",\"logs\":[" } else { "," });
        // Every record was cleaned when it was encoded, so this borrows.
        self.json.push_str(&String::from_utf8_lossy(&self.record));
        self.rows += 1;
    }

    fn send(&mut self, frames: &broadcast::Sender<Frame>) {
        let mut tell = |message: &str, records: u64, unseen: u64| {
            let before = self.told;
            let after = Told { records: before.records + records, unseen: before.unseen + unseen };
            let frame = Frame { message: message.into(), before, after };
            self.told = after;
            // An error means that the last viewer has just left, and this task with it.
            let _ = frames.send(frame);
        };
        if self.skipped > 0 {
            let skipped = Skipped { count: self.skipped, exact: self.unseen == 0 };
            tell(&skipped.message(), self.skipped, self.unseen);
        }
        if self.rows > 0 {
            self.json.push_str("]}");
            tell(&self.json, self.rows, 0);
        }
        self.json.clear();
        self.rows = 0;
        self.skipped = 0;
        self.unseen = 0;
    }
}
