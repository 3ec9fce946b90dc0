//! From staged rows to an acknowledgement: group commit that sets its own pace.
//!
//! Comes in: one body's rows at a time, from any connection of this shard. Goes out: a [`Ticket`] that is settled once
//! they are where the lane takes them ([`super::lane`]): in the local log and found by queries, in Redis, in Postgres.
//! While one group is being written, whatever arrives makes up the next: a lone request does not wait for company, and a
//! flood batches itself. No timers.
//!
//! What may wait: the ticket's holder. What does not: parsing.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use record::{Batch, BatchBuilder, IdSource, Level, Timestamp};

use super::ask::Door;
use super::lane::Lane;
use super::stage::Staged;
use crate::queue::LogPosition;

/// A group is closed once it holds this much: what one write and one fdatasync still do in a few milliseconds. A single
/// body may pass it, since a body's batches go in one append.
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long a group waits for room in the store's memory before its senders are told to come back.
pub(super) const ROOM_WAIT_MAX: Duration = Duration::from_secs(10);

/// Why rows were not stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendFailure {
    #[error("the queue is full: {bytes} bytes of logs wait for the store, and queue_bytes_max is {max}")]
    QueueFull { bytes: u64, max: u64 },
    #[error("the store cannot keep up: it has had no room in memory for {} s; see /health", ROOM_WAIT_MAX.as_secs())]
    NoRoom,
    #[error("the disk is full: free some space in the data folder, ingestion goes on by itself")]
    DiskFull,
    #[error("the store cannot write its files, and its memory is full: {0}")]
    Store(String),
    #[error("the local log of this shard has failed and takes nothing until a restart: {0}")]
    Failed(String),
    #[error("Postgres does not take records now: {0}; /data/fast and /data/batch take them meanwhile")]
    NoPostgres(String),
}

/// A promise of an answer: settled when the rows it stands for are durable and found, or are not and never will be.
pub struct Ticket(Rc<Outcome>);

#[derive(Default)]
struct Outcome {
    result: RefCell<Option<Result<(), AppendFailure>>>,
    waiting: RefCell<Vec<Waker>>,
}

impl Outcome {
    fn settle(&self, result: Result<(), AppendFailure>) {
        *self.result.borrow_mut() = Some(result);
        for waker in self.waiting.take() {
            waker.wake();
        }
    }
}

impl Ticket {
    pub async fn settled(&self) -> Result<(), AppendFailure> {
        poll_fn(|cx| match &*self.0.result.borrow() {
            Some(result) => Poll::Ready(result.clone()),
            None => {
                self.0.waiting.borrow_mut().push(cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }
}

/// Rows that are written and acknowledged together.
struct Group {
    batches: Vec<Batch>,
    bytes: usize,
    levels: [[u64; Level::COUNT]; Door::ALL.len()],
    opened: Instant,
    outcome: Rc<Outcome>,
}

impl Group {
    fn new() -> Group {
        Group {
            batches: Vec::new(),
            bytes: 0,
            levels: Default::default(),
            opened: Instant::now(),
            outcome: Rc::default(),
        }
    }

    fn is_empty(&self) -> bool {
        self.batches.is_empty() && self.levels.iter().flatten().all(|&count| count == 0)
    }

    fn push(&mut self, batch: Batch) {
        self.bytes += batch.frame().len();
        self.batches.push(batch);
    }
}

/// The meeting point of a shard's connections and its log.
pub struct Appender {
    group: RefCell<Group>,
    /// Rows of the current group that share a batch.
    open: RefCell<BatchBuilder>,
    /// Groups that were closed for their size, oldest first.
    closed: RefCell<VecDeque<Group>>,
    covered: Cell<Option<LogPosition>>,
    stopping: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Appender {
    pub fn new(streams: u16) -> Appender {
        Appender {
            group: RefCell::new(Group::new()),
            open: RefCell::new(BatchBuilder::new(streams)),
            closed: RefCell::default(),
            covered: Cell::new(None),
            stopping: Cell::new(false),
            waker: RefCell::new(None),
        }
    }

    /// Takes one body's rows; all of them are in one append. Gives the emptied builder back.
    pub fn submit(&self, staged: Staged, door: Door, ids: &mut IdSource, now: Timestamp) -> (Ticket, BatchBuilder) {
        if self.group.borrow().bytes + self.open.borrow().frame_bytes() > GROUP_BYTES_MAX {
            let group = self.close_group();
            self.closed.borrow_mut().push_back(group);
        }
        let mut group = self.group.borrow_mut();
        if group.is_empty() {
            group.opened = Instant::now();
        }
        for (sum, more) in group.levels[door as usize].iter_mut().zip(staged.levels) {
            *sum += more;
        }
        for batch in staged.sealed {
            group.push(batch);
        }
        let mut own = staged.open;
        let mut open = self.open.borrow_mut();
        if !own.is_empty() {
            if !open.has_room(own.body().len())
                && let Some(full) = open.seal()
            {
                group.push(full);
            }
            if open.append(own.body(), ids, now).is_err()
                && let Some(batch) = own.seal()
            {
                group.push(batch);
            }
            own.clear();
        }
        let ticket = Ticket(group.outcome.clone());
        drop((group, open));
        self.wake();
        (ticket, own)
    }

    /// Takes batches that were sealed elsewhere.
    pub fn submit_sealed(&self, batches: Vec<Batch>) -> Ticket {
        let mut group = self.group.borrow_mut();
        if group.is_empty() {
            group.opened = Instant::now();
        }
        for batch in batches {
            group.push(batch);
        }
        let ticket = Ticket(group.outcome.clone());
        drop(group);
        self.wake();
        ticket
    }

    /// The store holds everything of this shard's log before `position`.
    pub fn covered(&self, position: LogPosition) {
        self.covered.set(Some(position));
        self.wake();
    }

    /// Ends [`run`](Appender::run) once everything submitted is settled.
    pub fn stop(&self) {
        self.stopping.set(true);
        self.wake();
    }

    /// Writes group after group until it is told to stop.
    pub async fn run(&self, lane: &Lane) {
        loop {
            if let Some(position) = self.covered.take() {
                lane.release(position).await;
            }
            match self.next_group() {
                Some(group) => Self::commit(group, lane).await,
                None if self.stopping.get() => return,
                None => self.wait().await,
            }
        }
    }

    async fn commit(group: Group, lane: &Lane) {
        let result = lane.write(&group.batches).await;
        lane.metrics().group(&group.levels, group.bytes, group.opened.elapsed(), &result);
        group.outcome.settle(result);
    }

    fn next_group(&self) -> Option<Group> {
        if let Some(group) = self.closed.borrow_mut().pop_front() {
            return Some(group);
        }
        if self.group.borrow().is_empty() { None } else { Some(self.close_group()) }
    }

    fn close_group(&self) -> Group {
        let mut group = self.group.replace(Group::new());
        if let Some(batch) = self.open.borrow_mut().seal() {
            group.push(batch);
        }
        group
    }

    async fn wait(&self) {
        poll_fn(|cx| {
            let idle = self.group.borrow().is_empty() && !self.stopping.get();
            // A position that comes while nobody waits is seen at the loop's next turn.
            let covered = self.covered.take();
            self.covered.set(covered);
            if !idle || covered.is_some() {
                return Poll::Ready(());
            }
            *self.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl AppendFailure {
    pub fn code(&self) -> &'static str {
        match self {
            AppendFailure::QueueFull { .. } | AppendFailure::NoRoom => "queue_full",
            AppendFailure::DiskFull => "disk_full",
            AppendFailure::Store(_) => "store_failed",
            AppendFailure::Failed(_) => "log_failed",
            AppendFailure::NoPostgres(_) => "store_unavailable",
        }
    }

    /// 429 asks the sender to come back, 503 tells that something is broken.
    pub fn status(&self) -> u16 {
        match self {
            AppendFailure::QueueFull { .. } | AppendFailure::NoRoom => 429,
            AppendFailure::DiskFull
            | AppendFailure::Store(_)
            | AppendFailure::Failed(_)
            | AppendFailure::NoPostgres(_) => 503,
        }
    }
}
