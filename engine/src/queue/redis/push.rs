//! Batches in: one entry a batch, all of a call in one pipeline.
//!
//! Comes in: sealed batches, from any thread of the runtime. Goes out: for each, whether XADD answered. A call waits for
//! `timeout` at most. Calls share one connection, which answers them in order.
//!
//! The connection is made when the first call needs it. When it fails, or an answer does not come in time, a task makes
//! a new one: a server that hangs is only left so. Calls wait for the first attempt, so that a restart of Redis goes by
//! unseen; once that has failed they fail at once, and whoever sheds load to a disk instead does it without a wait.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use record::Batch;
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Value};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::counters::{Counters, Side, add};
use super::{FIELD, GROUP, Keys, PREFIX, RedisError, Target};

/// A batch that is not in by then goes elsewhere. A Redis that is well answers within milliseconds, and one that
/// rewrites its file, or whose disk is busy, within a second.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Between two attempts to connect: soon enough that nobody notices, seldom enough for a log of refusals.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(1);
/// WAIT holds up everything behind it on the connection. Replicas that are well answer within a round trip.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// A replica may be its own successor: after this a read-only server is looked up anew, by its name.
const READ_ONLY_KEPT: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub struct PushOptions {
    /// How many streams batches are spread over; the same in every process.
    pub streams: u16,
    /// Replicas that must have a batch before it counts as in; 0 asks for none.
    pub wait_replicas: u32,
    /// A call's longest time, connecting included.
    pub timeout: Duration,
    /// What every key begins with.
    pub prefix: String,
}

impl PushOptions {
    pub fn new(streams: u16, wait_replicas: u32) -> PushOptions {
        PushOptions { streams, wait_replicas, timeout: TIMEOUT, prefix: PREFIX.to_owned() }
    }
}

/// A handle to push with. Clones share the connection.
#[derive(Clone)]
pub struct Pusher {
    inner: Arc<Inner>,
}

struct Inner {
    target: Arc<Target>,
    options: PushOptions,
    keys: Keys,
    counters: Arc<Counters>,
    link: Mutex<Link>,
    /// Bumped whenever the link changes.
    changed: watch::Sender<u64>,
}

/// The state of the connection.
enum Link {
    /// Nobody has asked for one yet.
    Idle,
    /// The first attempt is under way: it is waited for.
    Connecting,
    Up(Up),
    /// Attempts go on.
    Away(RedisError),
}

#[derive(Clone)]
struct Up {
    connection: MultiplexedConnection,
    since: Instant,
    /// Tells this connection from later ones.
    number: u64,
}

impl Pusher {
    pub fn new(target: Arc<Target>, options: PushOptions, counters: Arc<Counters>) -> Pusher {
        let keys = Keys::new(&options.prefix);
        let inner =
            Inner { target, options, keys, counters, link: Mutex::new(Link::Idle), changed: watch::Sender::new(0) };
        Pusher { inner: Arc::new(inner) }
    }

    /// Sends the batches. Each has an outcome of its own, in their order, since part of them may be in: Ok means that its
    /// XADD answered, and that as many replicas as are asked for have it.
    pub async fn push(&self, batches: &[Batch]) -> Vec<Result<(), RedisError>> {
        if batches.is_empty() {
            return Vec::new();
        }
        let outcomes = match self.send(batches).await {
            Ok(outcomes) => outcomes,
            Err(error) => vec![Err(error); batches.len()],
        };
        self.count(batches, &outcomes);
        outcomes
    }

    #[cfg(test)]
    pub(super) fn inner_failure(&self) -> Option<RedisError> {
        self.inner.counters.failure(Side::Push).map(|failure| failure.error)
    }

    async fn send(&self, batches: &[Batch]) -> Result<Vec<Result<(), RedisError>>, RedisError> {
        let inner = &*self.inner;
        let deadline = Instant::now() + inner.options.timeout;
        let mut up = match timeout_at(deadline, self.connection()).await {
            Ok(up) => up?,
            Err(_) => return Err(inner.late()),
        };
        let (pipeline, bytes) = inner.pipeline(batches);
        let answered = timeout_at(deadline, pipeline.query_async(&mut up.connection)).await;
        let answers: Vec<RedisResult<Value>> = match answered {
            Ok(Ok(answers)) => answers,
            Ok(Err(error)) => {
                self.leave(&up);
                return Err(inner.target.understand(&error));
            }
            Err(_) => {
                self.leave(&up);
                return Err(inner.late());
            }
        };
        let mut answers = answers.into_iter();
        let mut outcomes: Vec<Result<(), RedisError>> = answers
            .by_ref()
            .take(batches.len())
            .map(|answer| answer.map(drop).map_err(|error| inner.target.understand(&error)))
            .collect();
        if let Some(replicas) = answers.next() {
            inner.judge_replicas(replicas, &mut outcomes);
        }
        let taken = outcomes.iter().zip(bytes).filter(|(outcome, _)| outcome.is_ok());
        add(&inner.counters.pushed_bytes, taken.map(|(_, bytes)| bytes).sum());
        if outcomes.contains(&Err(RedisError::ReadOnly)) && up.since.elapsed() > READ_ONLY_KEPT {
            self.leave(&up);
        }
        Ok(outcomes)
    }

    /// The connection, once there is one; an error at once while the server is away.
    async fn connection(&self) -> Result<Up, RedisError> {
        let mut changed = self.inner.changed.subscribe();
        loop {
            {
                let mut link = self.inner.lock();
                match &*link {
                    Link::Up(up) => return Ok(up.clone()),
                    Link::Away(error) => return Err(error.clone()),
                    Link::Connecting => {}
                    Link::Idle => self.reconnect(&mut link),
                }
                changed.mark_unchanged();
            }
            // The sender lives as long as this handle.
            let _ = changed.changed().await;
        }
    }

    /// Gives a connection up, unless somebody has already, and makes another.
    fn leave(&self, up: &Up) {
        let mut link = self.inner.lock();
        if matches!(&*link, Link::Up(now) if now.number == up.number) {
            self.reconnect(&mut link);
        }
    }

    fn reconnect(&self, link: &mut Link) {
        *link = Link::Connecting;
        tokio::spawn(connect(Arc::downgrade(&self.inner)));
    }

    fn count(&self, batches: &[Batch], outcomes: &[Result<(), RedisError>]) {
        let counters = &self.inner.counters;
        let (mut count, mut rows) = (0, 0);
        let mut failure = None;
        for (batch, outcome) in batches.iter().zip(outcomes) {
            match outcome {
                Ok(()) => (count, rows) = (count + 1, rows + batch.len()),
                Err(error) => failure = Some(error),
            }
        }
        add(&counters.pushed_batches, count);
        add(&counters.pushed_rows, rows);
        add(&counters.push_failures, batches.len() - count);
        // Whoever pushes tells of it.
        match failure {
            Some(error) => counters.failed(Side::Push, error),
            None => counters.succeeded(Side::Push),
        }
    }
}

/// Attempts until there is a connection, or nobody is left who would use it.
async fn connect(inner: Weak<Inner>) {
    let mut pause = RETRY_MIN;
    loop {
        let Some(inner) = inner.upgrade() else { return };
        match inner.connect().await {
            Ok(connection) => {
                add(&inner.counters.connects, 1);
                let number = inner.changed.borrow().wrapping_add(1);
                inner.set(Link::Up(Up { connection, since: Instant::now(), number }));
                return;
            }
            Err(error) => inner.set(Link::Away(error)),
        }
        drop(inner);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_MAX);
    }
}

impl Inner {
    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        let mut connection = self.target.connect(self.options.timeout).await?;
        // Workers with a smaller `streams` find those beyond it here. Groups are made while there is room for them: a
        // full server makes none, and what has none cannot be drained.
        let mut register = redis::pipe();
        let streams = 0..self.options.streams.max(1);
        register.cmd("SADD").arg(self.keys.streams()).arg(streams.clone().collect::<Vec<u16>>());
        for stream in streams {
            register.cmd("XGROUP").arg("CREATE").arg(self.keys.stream(stream)).arg(GROUP).arg("0").arg("MKSTREAM");
        }
        let answers: RedisResult<Vec<RedisResult<Value>>> = register.ignore_errors().query_async(&mut connection).await;
        for answer in answers.map_err(|error| self.target.understand(&error))? {
            match answer {
                // What a stranger holds, or a user may not, is told batch by batch.
                Err(error) if !matches!(error.code(), Some("BUSYGROUP" | "WRONGTYPE" | "NOPERM")) => {
                    return Err(self.target.understand(&error));
                }
                _ => {}
            }
        }
        Ok(connection)
    }

    fn set(&self, link: Link) {
        *self.lock() = link;
        self.changed.send_modify(|number| *number = number.wrapping_add(1));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn late(&self) -> RedisError {
        RedisError::Away(format!("{} did not answer within {:?}", self.target.shown(), self.options.timeout))
    }

    /// The commands, and the bytes of each batch.
    fn pipeline(&self, batches: &[Batch]) -> (redis::Pipeline, Vec<usize>) {
        let mut bytes = Vec::with_capacity(batches.len());
        let mut pipeline = redis::Pipeline::with_capacity(batches.len() + 1);
        for batch in batches {
            let frame = batch.pack();
            bytes.push(frame.len());
            // A batch names its part itself, so that it comes to the same stream however often it is sent.
            let stream = batch.header().part.rem_euclid(self.options.streams.max(1) as i16) as u16;
            pipeline.cmd("XADD").arg(self.keys.stream(stream)).arg("*").arg(FIELD).arg(&frame[..]);
        }
        if self.options.wait_replicas > 0 {
            let wait = (self.options.timeout / 2).min(WAIT_MAX).as_millis() as u64;
            pipeline.cmd("WAIT").arg(self.options.wait_replicas).arg(wait.max(1));
        }
        pipeline.ignore_errors();
        (pipeline, bytes)
    }

    /// What WAIT answered is about all XADDs before it.
    fn judge_replicas(&self, replicas: RedisResult<Value>, outcomes: &mut [Result<(), RedisError>]) {
        let wanted = self.options.wait_replicas;
        let error = match replicas {
            Ok(Value::Int(have)) if have >= i64::from(wanted) => return,
            Ok(Value::Int(have)) => RedisError::Away(format!(
                "{have} of {wanted} replicas have the batch: start replicas, or lower redis_wait"
            )),
            Ok(other) => RedisError::Refused(format!("{} answers WAIT with {other:?}", self.target.shown())),
            Err(error) => self.target.understand(&error),
        };
        for outcome in outcomes.iter_mut().filter(|outcome| outcome.is_ok()) {
            add(&self.counters.unreplicated_batches, 1);
            *outcome = Err(error.clone());
        }
    }
}
