//! The load: one thread, sockets that are never waited for, requests that were made beforehand.
//!
//! Comes in: loads (how many connections, at what pace, until when) and viewers. Goes out: latencies, a timeline, and
//! the ledger's marks. The loop of a request is one write, one read, the digits of its number and two looks at the
//! clock; whatever else a measurement needs is done before or after.
//!
//! At a set rate a request's latency counts from the moment it was due, whether or not a connection was free for it, so
//! that a server that stalls is charged for every request it kept waiting. In a closed loop it counts from the moment it
//! was sent.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::ops::Range;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};

use crate::answer::{self, Answer};
use crate::ledger::Ledger;
use crate::live::Viewer;
use crate::prepared::Prepared;

/// What one read may bring.
const READ_BYTES: usize = 256 * 1024;
/// Latencies are counted in µs, to three digits, up to an hour.
const LATENCY_MAX_US: u64 = 3_600_000_000;
const LATENCY_DIGITS: u8 = 3;
/// Events taken from the kernel at a time.
const EVENTS_MAX: usize = 256;
/// A point of the timeline.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long answers are waited for once everything has been sent.
const ANSWERS_WAIT_MAX: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Marks the timer among the events.
const TIMER: u64 = u64::MAX;
/// Viewers are numbered from here on.
const VIEWERS: u64 = 1 << 32;

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("no connection to {authority}: {source}")]
    Connect { authority: String, source: io::Error },
    #[error("the server broke off: {0}")]
    Broken(io::Error),
    #[error("an answer cannot be read: {0}")]
    Answer(String),
    #[error("the server refuses a live tail: {0}")]
    Tail(String),
    #[error("no answer for {} s, with {waiting} requests waiting", ANSWERS_WAIT_MAX.as_secs())]
    Silent { waiting: usize },
    #[error("{0}")]
    System(#[from] io::Error),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// The next request of a connection goes once its last is answered.
    Closed,
    /// Requests a second, whatever the answers do.
    Open(f64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    Records(u64),
    Time(Duration),
    /// The first load of this run has ended.
    OthersEnd,
}

/// One kind of request, on connections of its own.
#[derive(Debug)]
pub struct Load<'p> {
    pub prepared: &'p mut Prepared,
    pub connections: usize,
    pub pace: Pace,
    pub until: Until,
    /// Requests that begin before this are sent and counted, and do not enter the figures.
    pub warm_up: Duration,
    /// The body of an answer tells how many records were taken; without it, all of them.
    pub counts_accepted: bool,
}

#[derive(Debug, Clone)]
pub struct Point {
    pub records: u64,
    pub p50_us: u64,
    pub p99_us: u64,
    pub max_us: u64,
}

/// What came of a load.
#[derive(Debug)]
pub struct Outcome {
    pub latencies: Histogram<u64>,
    pub timeline: Vec<Point>,
    /// Records acknowledged after the warm-up, and in what time.
    pub records: u64,
    pub requests: u64,
    pub time: Duration,
    /// Answers by status, where they were not 2xx.
    pub refusals: Vec<(u16, u64)>,
    /// Requests that were due and had not been sent when the load ended: the rate was more than could be sent.
    pub unsent: u64,
}

pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX_US, LATENCY_DIGITS).expect("these bounds are sound")
}

/// Runs all loads at once until each has ended and everything is answered. On an error, what had come by then is in the
/// outcomes as well.
pub fn drive(
    authority: &str,
    loads: &mut [Load],
    viewers: &mut [Viewer],
    ledger: &mut Ledger,
) -> (Vec<Outcome>, Result<(), LoadError>) {
    let mut states: Vec<State> = loads.iter().map(State::new).collect();
    let result =
        Driver::new(authority, loads, viewers).and_then(|mut driver| driver.run(loads, &mut states, viewers, ledger));
    (states.into_iter().map(State::finish).collect(), result)
}

/// A request under way.
#[derive(Debug)]
struct Flight {
    began: Instant,
    first: u64,
    lines: usize,
}

struct Conn {
    stream: TcpStream,
    load: usize,
    share: usize,
    at: usize,
    /// Of the load's bytes, what is still to be written.
    unsent: Range<usize>,
    flights: VecDeque<Flight>,
    incoming: Vec<u8>,
}

struct State {
    began: Instant,
    warm: Instant,
    last: Instant,
    due: u64,
    idle: Vec<usize>,
    sent: u64,
    in_flight: usize,
    ended: bool,
    latencies: Histogram<u64>,
    interval: Histogram<u64>,
    interval_end: Instant,
    interval_records: u64,
    timeline: Vec<Point>,
    records: u64,
    requests: u64,
    refusals: Vec<(u16, u64)>,
    unsent: u64,
}

impl State {
    fn new(load: &Load) -> State {
        let now = Instant::now();
        State {
            began: now,
            warm: now + load.warm_up,
            last: now,
            due: 0,
            idle: Vec::new(),
            sent: 0,
            in_flight: 0,
            ended: false,
            latencies: histogram(),
            interval: histogram(),
            interval_end: now + INTERVAL,
            interval_records: 0,
            timeline: Vec::new(),
            records: 0,
            requests: 0,
            refusals: Vec::new(),
            unsent: 0,
        }
    }

    fn start(&mut self, now: Instant, load: &Load) {
        self.began = now;
        self.warm = now + load.warm_up;
        self.last = self.warm;
        self.interval_end = now + INTERVAL;
    }

    /// When request number `due` is to be sent.
    fn due_at(&self, rate: f64) -> Instant {
        self.began + Duration::from_secs_f64(self.due as f64 / rate)
    }

    fn answered(&mut self, flight: &Flight, now: Instant, accepted: u64) {
        while now >= self.interval_end {
            self.close_interval();
        }
        let latency = (now.saturating_duration_since(flight.began).as_nanos() as u64).div_ceil(1000).max(1);
        self.interval.saturating_record(latency);
        self.interval_records += accepted;
        if flight.began >= self.warm {
            self.latencies.saturating_record(latency);
            self.requests += 1;
        }
        if now >= self.warm {
            self.records += accepted;
            self.last = now;
        }
    }

    fn close_interval(&mut self) {
        self.timeline.push(Point {
            records: self.interval_records,
            p50_us: self.interval.value_at_quantile(0.5),
            p99_us: self.interval.value_at_quantile(0.99),
            max_us: self.interval.max(),
        });
        self.interval.reset();
        self.interval_records = 0;
        self.interval_end += INTERVAL;
    }

    fn refuse(&mut self, status: u16) {
        match self.refusals.iter_mut().find(|(seen, _)| *seen == status) {
            Some((_, count)) => *count += 1,
            None => self.refusals.push((status, 1)),
        }
    }

    fn finish(mut self) -> Outcome {
        // The last second is seldom a whole one, and would look like a fall.
        if self.interval_records > 0 && self.timeline.is_empty() {
            self.close_interval();
        }
        Outcome {
            latencies: self.latencies,
            timeline: self.timeline,
            records: self.records,
            requests: self.requests,
            time: self.last.saturating_duration_since(self.warm),
            refusals: self.refusals,
            unsent: self.unsent,
        }
    }
}

struct Driver {
    epoll: OwnedFd,
    timer: OwnedFd,
    conns: Vec<Conn>,
    scratch: Vec<u8>,
}

pub fn connect(authority: &str) -> Result<TcpStream, LoadError> {
    let failed = |source| LoadError::Connect { authority: authority.to_owned(), source };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in authority.to_socket_addrs().map_err(failed)? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

impl Driver {
    fn new(authority: &str, loads: &[Load], viewers: &[Viewer]) -> Result<Driver, LoadError> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io::Error::from)?;
        let timer =
            rustix::time::timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)
                .map_err(io::Error::from)?;
        epoll::add(&epoll, &timer, EventData::new_u64(TIMER), EventFlags::IN | EventFlags::ET)
            .map_err(io::Error::from)?;
        let mut conns = Vec::new();
        for (load, spec) in loads.iter().enumerate() {
            for share in 0..spec.connections {
                let stream = connect(authority)?;
                stream.set_nonblocking(true)?;
                let data = EventData::new_u64(conns.len() as u64);
                // Edges, so that nothing has to be said to the kernel while requests come and go.
                epoll::add(&epoll, &stream, data, EventFlags::IN | EventFlags::OUT | EventFlags::ET)
                    .map_err(io::Error::from)?;
                conns.push(Conn {
                    stream,
                    load,
                    share,
                    at: 0,
                    unsent: 0..0,
                    flights: VecDeque::new(),
                    incoming: Vec::new(),
                });
            }
        }
        for (index, viewer) in viewers.iter().enumerate() {
            let data = EventData::new_u64(VIEWERS + index as u64);
            epoll::add(&epoll, viewer.stream(), data, EventFlags::IN).map_err(io::Error::from)?;
        }
        Ok(Driver { epoll, timer, conns, scratch: vec![0; READ_BYTES] })
    }

    fn run(
        &mut self,
        loads: &mut [Load],
        states: &mut [State],
        viewers: &mut [Viewer],
        ledger: &mut Ledger,
    ) -> Result<(), LoadError> {
        let now = Instant::now();
        for (state, load) in states.iter_mut().zip(loads.iter()) {
            state.start(now, load);
        }
        for viewer in viewers.iter_mut() {
            viewer.start(now);
        }
        for conn in (0..self.conns.len()).rev() {
            states[self.conns[conn].load].idle.push(conn);
        }
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS_MAX);
        let mut progress = now;
        loop {
            let now = Instant::now();
            let mut next_due = None;
            for load in 0..loads.len() {
                if let Some(due) = self.send_due(load, loads, states, ledger, now)? {
                    next_due = Some(next_due.map_or(due, |earlier: Instant| earlier.min(due)));
                }
            }
            let in_flight: usize = states.iter().map(|state| state.in_flight).sum();
            if in_flight == 0 && states.iter().all(|state| state.ended) {
                return Ok(());
            }
            if in_flight > 0 && now.saturating_duration_since(progress) > ANSWERS_WAIT_MAX {
                return Err(LoadError::Silent { waiting: in_flight });
            }
            self.wait(next_due, now, &mut events)?;
            for event in events.drain(..) {
                match event.data.u64() {
                    TIMER => {}
                    viewer if viewer >= VIEWERS => {
                        viewers[(viewer - VIEWERS) as usize].read(&mut self.scratch)?;
                    }
                    conn => {
                        let conn = conn as usize;
                        self.write(conn, loads)?;
                        if self.read(conn, loads, states, ledger)? {
                            progress = now;
                        }
                    }
                }
            }
        }
    }

    /// Sends what this load is to send by now. Gives when the next request is due, where the clock says so.
    fn send_due(
        &mut self,
        load: usize,
        loads: &mut [Load],
        states: &mut [State],
        ledger: &mut Ledger,
        now: Instant,
    ) -> Result<Option<Instant>, LoadError> {
        loop {
            let state = &states[load];
            if state.ended {
                return Ok(None);
            }
            let began = match loads[load].pace {
                Pace::Closed => now,
                Pace::Open(rate) => state.due_at(rate),
            };
            let over = match loads[load].until {
                Until::Records(max) => state.sent >= max,
                Until::Time(time) => began.saturating_duration_since(state.began) >= time,
                Until::OthersEnd => states[0].ended,
            };
            let state = &mut states[load];
            // A server that has fallen behind for good must not keep the run from its end.
            let hopeless =
                matches!(loads[load].until, Until::Time(time) if now.duration_since(state.began) >= time * 2);
            if over || hopeless {
                state.ended = true;
                if let (true, Pace::Open(rate), Until::Time(time)) = (hopeless, loads[load].pace, loads[load].until) {
                    state.unsent = ((time.as_secs_f64() * rate) as u64).saturating_sub(state.due);
                }
                return Ok(None);
            }
            if began > now {
                return Ok(Some(began));
            }
            let Some(conn) = state.idle.pop() else { return Ok(None) };
            state.due += 1;
            state.in_flight += 1;
            let conn = &mut self.conns[conn];
            let prepared = &mut *loads[load].prepared;
            let lines = prepared.lines(conn.share, conn.at);
            let first = ledger.take(lines);
            state.sent += lines as u64;
            conn.unsent = prepared.stamp(conn.share, conn.at, first);
            conn.at = (conn.at + 1) % prepared.per_share();
            conn.flights.push_back(Flight { began, first, lines });
            write_some(conn, prepared.bytes())?;
        }
    }

    fn write(&mut self, conn: usize, loads: &[Load]) -> Result<(), LoadError> {
        let conn = &mut self.conns[conn];
        if conn.unsent.is_empty() { Ok(()) } else { write_some(conn, loads[conn.load].prepared.bytes()) }
    }

    /// Takes the answers that have come. Gives whether any has.
    fn read(
        &mut self,
        index: usize,
        loads: &[Load],
        states: &mut [State],
        ledger: &mut Ledger,
    ) -> Result<bool, LoadError> {
        let conn = &mut self.conns[index];
        let mut any = false;
        loop {
            let count = match conn.stream.read(&mut self.scratch) {
                Ok(0) => {
                    let waiting = format!("the connection was closed with {} requests waiting", conn.flights.len());
                    return Err(LoadError::Broken(io::Error::new(io::ErrorKind::UnexpectedEof, waiting)));
                }
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(any),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(LoadError::Broken(error)),
            };
            let now = Instant::now();
            let read = &self.scratch[..count];
            // An answer nearly always comes in one piece, and is then read where it lies.
            let gathered = !conn.incoming.is_empty();
            if gathered {
                conn.incoming.extend_from_slice(read);
            }
            let bytes: &[u8] = if gathered { &conn.incoming } else { read };
            let mut done = 0;
            while done < bytes.len()
                && let Some(answer) = answer::parse(&bytes[done..])?
            {
                let whole = &bytes[done..done + answer.length];
                done += answer.length;
                if answer.status / 100 == 1 {
                    continue;
                }
                let Some(flight) = conn.flights.pop_front() else {
                    return Err(LoadError::Answer("it answers nothing that was asked".to_owned()));
                };
                any = true;
                let state = &mut states[conn.load];
                settle(&answer, whole, &flight, loads[conn.load].counts_accepted, state, ledger, now);
                state.in_flight -= 1;
                state.idle.push(index);
            }
            match (gathered, done == bytes.len()) {
                (_, true) => conn.incoming.clear(),
                (true, false) => drop(conn.incoming.drain(..done)),
                (false, false) => conn.incoming.extend_from_slice(&read[done..]),
            }
            // What came did not fill the room for it, so there is no more; the next edge tells of it.
            if count < self.scratch.len() {
                return Ok(any);
            }
        }
    }

    fn wait(&self, due: Option<Instant>, now: Instant, events: &mut Vec<epoll::Event>) -> Result<(), LoadError> {
        if let Some(due) = due {
            let wait = due.saturating_duration_since(now);
            let time = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()).max(1) };
            let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: time };
            rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once).map_err(io::Error::from)?;
        }
        // So that a server without an answer is noticed.
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        match epoll::wait(&self.epoll, spare_capacity(events), Some(&second)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(io::Error::from(error).into()),
        }
    }
}

fn settle(
    answer: &Answer,
    whole: &[u8],
    flight: &Flight,
    counts_accepted: bool,
    state: &mut State,
    ledger: &mut Ledger,
    now: Instant,
) {
    let taken = match answer.status / 100 {
        2 if counts_accepted => answer::accepted(&whole[answer.body.clone()]).unwrap_or(0),
        2 => flight.lines as u64,
        _ => {
            state.refuse(answer.status);
            0
        }
    };
    if taken == flight.lines as u64 {
        ledger.acknowledge(flight.first, flight.lines);
    } else {
        ledger.refuse(flight.lines, taken);
    }
    state.answered(flight, now, taken);
}

fn write_some(conn: &mut Conn, bytes: &[u8]) -> Result<(), LoadError> {
    while !conn.unsent.is_empty() {
        match conn.stream.write(&bytes[conn.unsent.clone()]) {
            Ok(count) => conn.unsent.start += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // What the server said before it hung up is still to be read.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(LoadError::Broken(error)),
        }
    }
    Ok(())
}
