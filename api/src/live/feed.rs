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
    /// Records that this feed told of before, sent or skipped, and with this frame.
    before: u64,
    after: u64,
}

/// A viewer's place in the feed, which lives as long as one has a place in it.
pub struct Frames {
    receiver: broadcast::Receiver<Frame>,
    seen: Option<u64>,
    _feed: Arc<Feed>,
}

/// What a viewer gets next.
#[derive(Debug)]
pub enum Event {
    Message {
        message: Arc<str>,
        /// Records that this viewer was too slow for just before.
        skipped: u64,
    },
    Closed,
}

impl Feed {
    /// Subscribes before it returns, so that nothing that becomes durable later is missed.
    pub fn start(filter: &Filter, tail: &Tail) -> Feed {
        let frames = broadcast::Sender::new(FRAMES_MAX);
        let task = tokio::spawn(run(tail.subscribe_for(filter), filter.matcher(), frames.clone())).abort_handle();
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
                    let skipped = self.seen.map_or(0, |seen| frame.before.saturating_sub(seen));
                    self.seen = Some(frame.after);
                    return Event::Message { message: frame.message, skipped };
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return Event::Closed,
            }
        }
    }
}

async fn run(mut batches: Viewer, matcher: Matcher, frames: broadcast::Sender<Frame>) {
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
        open.skip(skipped);
        match open.is_full() {
            true => open.skip(batch.len() as u64),
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
    told: u64,
}

impl OpenFrame {
    fn is_empty(&self) -> bool {
        self.rows == 0 && self.skipped == 0
    }

    fn is_full(&self) -> bool {
        self.json.len() >= FRAME_BYTES_MAX
    }

    fn skip(&mut self, rows: u64) {
        self.skipped += rows;
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
        let mut tell = |message: &str, rows: u64| {
            let frame = Frame { message: message.into(), before: self.told, after: self.told + rows };
            self.told = frame.after;
            // An error means that the last viewer has just left, and this task with it.
            let _ = frames.send(frame);
        };
        if self.skipped > 0 {
            tell(&skipped_message(self.skipped), self.skipped);
        }
        if self.rows > 0 {
            self.json.push_str("]}");
            tell(&self.json, self.rows);
        }
        self.json.clear();
        self.rows = 0;
        self.skipped = 0;
    }
}

pub fn skipped_message(count: u64) -> String {
    format!("{{\"type\":\"skipped\",\"count\":{count}}}")
}
