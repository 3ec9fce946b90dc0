//! The load itself: many connections on one thread, prepared requests, nothing per request but a write, a read and a
//! look at the clock.
//!
//! Comes in: requests, from a [`Feed`]. Goes out: what became of them, and how long each took. Closed loop: a connection
//! sends its next request once the last is answered. Open loop: requests are due at a set rate whether or not the server
//! keeps up, and a latency counts from when its request was due, so that a stall shows in full.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::event::{Timespec, epoll};

/// Answers are read into one buffer of this; longer ones are put together.
const READ_BYTES: usize = 64 * 1024;
/// An answer that grows beyond this is not one of a server that takes logs.
const ANSWER_BYTES_MAX: usize = 4 << 20;
const ANSWER_HEADERS_MAX: usize = 32;
const EVENTS_MAX: usize = 256;
/// The longest latency that is told apart: ten minutes.
const LATENCY_MICROS_MAX: u64 = 600_000_000;
/// A server that answers 429 or 503 without `Retry-After` is left alone for this long.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// Whatever it asks for, no longer.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(2);

/// One request, whole; its memory is used again.
#[derive(Debug, Default)]
pub struct Request {
    pub bytes: Vec<u8>,
    /// How many records it carries.
    pub records: u64,
}

/// Where requests come from.
pub trait Feed {
    /// Makes the next one in place of the last. False: there are no more.
    fn next(&mut self, request: &mut Request) -> bool;
}

impl<F: FnMut(&mut Request) -> bool> Feed for F {
    fn next(&mut self, request: &mut Request) -> bool {
        self(request)
    }
}

/// How requests are sent.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub connections: usize,
    /// Requests a second, open loop; `None`: closed loop.
    pub rate: Option<f64>,
    /// Ends with the feed, or after this.
    pub time_max: Duration,
    /// What is answered before this has passed is sent and counted, and left out of the latencies.
    pub warm_up: Duration,
}

/// What became of the requests.
#[derive(Debug)]
pub struct Outcome {
    /// From due or sent to answered, microseconds; warm-up left out.
    pub latency: Histogram<u64>,
    pub requests: u64,
    pub sent: u64,
    pub acknowledged: u64,
    /// Answered and not taken, by status; those sent again count each time.
    pub refused: BTreeMap<u16, u64>,
    /// Records whose connection broke before an answer.
    pub unanswered: u64,
    /// Requests sent again after a 429 or 503.
    pub resent: u64,
    pub elapsed: Duration,
    /// Without warm-up.
    pub measured: Duration,
    pub measured_records: u64,
}

struct Connection {
    stream: TcpStream,
    request: Request,
    written: usize,
    answer: Vec<u8>,
    /// When the request was due, or sent.
    since: Instant,
    state: State,
    wants_write: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Waiting,
    Resend(Instant),
    Broken,
}

/// Sends what the feed gives, until it gives no more or the time is over, and the answers are in.
pub fn drive(address: SocketAddr, load: Load, feed: &mut dyn Feed) -> io::Result<Outcome> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut connections = Vec::with_capacity(load.connections);
    for index in 0..load.connections {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        epoll::add(&epoll, &stream, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
        connections.push(Connection {
            stream,
            request: Request::default(),
            written: 0,
            answer: Vec::new(),
            since: Instant::now(),
            state: State::Idle,
            wants_write: false,
        });
    }
    let started = Instant::now();
    let mut driver = Driver {
        epoll,
        load,
        feed,
        started,
        now: started,
        due: started,
        idle: (0..load.connections).rev().collect(),
        waiting: 0,
        resending: 0,
        feed_ended: false,
        buffer: vec![0; READ_BYTES],
        outcome: Outcome {
            latency: Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, 3).map_err(io::Error::other)?,
            requests: 0,
            sent: 0,
            acknowledged: 0,
            refused: BTreeMap::new(),
            unanswered: 0,
            resent: 0,
            elapsed: Duration::ZERO,
            measured: Duration::ZERO,
            measured_records: 0,
        },
        connections,
    };
    driver.run()?;
    let mut outcome = driver.outcome;
    outcome.elapsed = driver.now - started;
    outcome.measured = outcome.elapsed.saturating_sub(load.warm_up);
    Ok(outcome)
}

struct Driver<'f> {
    epoll: OwnedFd,
    load: Load,
    feed: &'f mut dyn Feed,
    started: Instant,
    /// Read once a turn: every latency of a turn ends here.
    now: Instant,
    /// Of the next request, in an open loop.
    due: Instant,
    idle: Vec<usize>,
    waiting: usize,
    resending: usize,
    feed_ended: bool,
    buffer: Vec<u8>,
    outcome: Outcome,
    connections: Vec<Connection>,
}

impl Driver<'_> {
    fn run(&mut self) -> io::Result<()> {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS_MAX);
        loop {
            self.resend_due();
            self.start_due();
            if self.waiting + self.resending == 0 && (self.feed_ended || self.idle.is_empty()) {
                return Ok(());
            }
            let timeout = self
                .until_due()
                .map(|wait| Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) });
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            self.now = Instant::now();
            for event in &events {
                let (index, flags) = (event.data.u64() as usize, event.flags);
                if flags.contains(epoll::EventFlags::OUT) {
                    self.write(index);
                }
                if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
                    self.read(index);
                }
            }
        }
    }

    /// How long may be slept.
    fn until_due(&self) -> Option<Duration> {
        let mut next = None;
        let mut earliest = |at: Instant| next = Some(next.map_or(at, |next: Instant| next.min(at)));
        if self.load.rate.is_some() && !self.feed_ended && !self.idle.is_empty() {
            earliest(self.due);
        }
        if self.resending > 0 {
            for connection in &self.connections {
                if let State::Resend(at) = connection.state {
                    earliest(at);
                }
            }
        }
        next.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Starts every request that is due and that a connection is free for.
    fn start_due(&mut self) {
        if self.now.duration_since(self.started) >= self.load.time_max {
            self.feed_ended = true;
        }
        while !self.feed_ended {
            let since = match self.load.rate {
                Some(_) if self.due > self.now => return,
                Some(_) => self.due,
                None => self.now,
            };
            let Some(index) = self.idle.pop() else { return };
            let connection = &mut self.connections[index];
            if !self.feed.next(&mut connection.request) {
                self.feed_ended = true;
                self.idle.push(index);
                return;
            }
            if let Some(rate) = self.load.rate {
                self.due += Duration::from_secs_f64(1.0 / rate);
            }
            connection.since = since;
            self.outcome.requests += 1;
            self.outcome.sent += connection.request.records;
            self.send(index);
        }
    }

    fn resend_due(&mut self) {
        if self.resending == 0 {
            return;
        }
        for index in 0..self.connections.len() {
            if matches!(self.connections[index].state, State::Resend(at) if at <= self.now) {
                self.resending -= 1;
                self.outcome.resent += 1;
                self.send(index);
            }
        }
    }

    fn send(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        connection.written = 0;
        connection.state = State::Waiting;
        self.waiting += 1;
        self.write(index);
    }

    fn write(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        while connection.written < connection.request.bytes.len() && connection.state == State::Waiting {
            match connection.stream.write(&connection.request.bytes[connection.written..]) {
                Ok(count) => connection.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.broken(index),
            }
        }
        let wants_write = connection.written < connection.request.bytes.len();
        if wants_write != connection.wants_write {
            connection.wants_write = wants_write;
            let flags =
                if wants_write { epoll::EventFlags::IN | epoll::EventFlags::OUT } else { epoll::EventFlags::IN };
            let data = epoll::EventData::new_u64(index as u64);
            if epoll::modify(&self.epoll, &connection.stream, data, flags).is_err() {
                self.broken(index);
            }
        }
    }

    fn read(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        if connection.state == State::Broken {
            return;
        }
        match connection.stream.read(&mut self.buffer) {
            Ok(0) => self.broken(index),
            Ok(count) if connection.answer.is_empty() => {
                // Nearly always an answer comes in one piece, and is read where it is.
                let buffer = std::mem::take(&mut self.buffer);
                match parse(&buffer[..count]) {
                    Ok(Some(answer)) => self.answered(index, answer),
                    Ok(None) => self.connections[index].answer.extend_from_slice(&buffer[..count]),
                    Err(Garbage) => self.broken(index),
                }
                self.buffer = buffer;
            }
            Ok(count) => {
                connection.answer.extend_from_slice(&self.buffer[..count]);
                match parse(&connection.answer) {
                    Ok(Some(answer)) => {
                        connection.answer.clear();
                        self.answered(index, answer);
                    }
                    Ok(None) if connection.answer.len() < ANSWER_BYTES_MAX => {}
                    _ => self.broken(index),
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => self.broken(index),
        }
    }

    fn answered(&mut self, index: usize, answer: Answer) {
        let connection = &mut self.connections[index];
        if connection.state != State::Waiting {
            return self.broken(index);
        }
        self.waiting -= 1;
        let records = connection.request.records;
        if matches!(answer.status, 429 | 503) {
            *self.outcome.refused.entry(answer.status).or_default() += records;
            let pause = answer.retry_after.unwrap_or(RETRY_AFTER).min(RETRY_AFTER_MAX);
            connection.state = State::Resend(self.now + pause);
            self.resending += 1;
            return;
        }
        connection.state = State::Idle;
        self.idle.push(index);
        if answer.status / 100 == 2 {
            let accepted = answer.accepted.unwrap_or(records);
            self.outcome.acknowledged += accepted;
            if accepted < records {
                *self.outcome.refused.entry(answer.status).or_default() += records - accepted;
            }
            if self.now.duration_since(self.started) >= self.load.warm_up {
                self.outcome.measured_records += accepted;
                let micros = self.now.duration_since(connection.since).as_micros() as u64;
                self.outcome.latency.saturating_record(micros.max(1));
            }
        } else {
            *self.outcome.refused.entry(answer.status).or_default() += records;
        }
    }

    /// Gives a connection up; the others go on.
    fn broken(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        match connection.state {
            State::Waiting => {
                self.waiting -= 1;
                self.outcome.unanswered += connection.request.records;
            }
            State::Resend(_) => {
                self.resending -= 1;
                self.outcome.unanswered += connection.request.records;
            }
            State::Idle => self.idle.retain(|idle| *idle != index),
            State::Broken => return,
        }
        connection.state = State::Broken;
        let _ = epoll::delete(&self.epoll, &connection.stream);
    }
}

/// What an answer says.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    /// Records taken, where it says so.
    accepted: Option<u64>,
    retry_after: Option<Duration>,
}

#[derive(Debug, PartialEq, Eq)]
struct Garbage;

/// Reads a whole answer; `None` where more must come.
fn parse(bytes: &[u8]) -> Result<Option<Answer>, Garbage> {
    let mut headers = [httparse::EMPTY_HEADER; ANSWER_HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head_bytes) = head.parse(bytes).map_err(|_| Garbage)? else { return Ok(None) };
    let (mut length, mut retry_after) = (0, None);
    for header in head.headers.iter() {
        let number = || std::str::from_utf8(header.value).ok()?.trim().parse::<u64>().ok();
        if header.name.eq_ignore_ascii_case("content-length") {
            length = number().ok_or(Garbage)?;
        } else if header.name.eq_ignore_ascii_case("retry-after") {
            retry_after = number().map(Duration::from_secs);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            // No ingest route of a log store answers in chunks.
            return Err(Garbage);
        }
    }
    let body = &bytes[head_bytes..];
    match (body.len() as u64).cmp(&length) {
        std::cmp::Ordering::Less => return Ok(None),
        std::cmp::Ordering::Greater => return Err(Garbage),
        std::cmp::Ordering::Equal => {}
    }
    const ACCEPTED: &[u8] = b"\"accepted\":";
    let accepted = memchr::memmem::find(body, ACCEPTED).map(|at| {
        let digits = body[at + ACCEPTED.len()..].iter().skip_while(|byte| **byte == b' ');
        digits.take_while(|byte| byte.is_ascii_digit()).fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'))
    });
    Ok(Some(Answer { status: head.code.unwrap_or(0), accepted, retry_after }))
}

#[cfg(test)]
mod tests;
