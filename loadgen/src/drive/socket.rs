//! The sockets of all loads, and the loop around them.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};

use super::state::{Flight, State};
use super::{Load, LoadError, Pace, Until, connect};
use crate::answer::{self, Answer};
use crate::ledger::Ledger;
use crate::live::Viewer;
use crate::target::Answers;

/// What one read may bring.
const READ_BYTES: usize = 256 * 1024;
/// Events taken from the kernel at a time.
const EVENTS_MAX: usize = 256;
/// How long answers are waited for once everything has been sent.
pub(super) const ANSWERS_WAIT_MAX: Duration = Duration::from_secs(60);
/// Marks the timer among the events.
const TIMER: u64 = u64::MAX;
/// Viewers are numbered from here on.
const VIEWERS: u64 = 1 << 32;

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

pub(super) struct Driver {
    authority: String,
    epoll: OwnedFd,
    timer: OwnedFd,
    conns: Vec<Conn>,
    scratch: Vec<u8>,
}

impl Driver {
    pub fn new(authority: &str, loads: &[Load], viewers: &[Viewer]) -> Result<Driver, LoadError> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io::Error::from)?;
        let timer =
            rustix::time::timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)
                .map_err(io::Error::from)?;
        epoll::add(&epoll, &timer, EventData::new_u64(TIMER), EventFlags::IN | EventFlags::ET)
            .map_err(io::Error::from)?;
        let mut conns = Vec::new();
        for (load, spec) in loads.iter().enumerate() {
            for share in 0..spec.connections {
                let stream = open(&epoll, authority, conns.len())?;
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
        Ok(Driver { authority: authority.to_owned(), epoll, timer, conns, scratch: vec![0; READ_BYTES] })
    }

    /// A new connection in the place of one that the server has closed.
    fn reconnect(&mut self, index: usize) -> Result<(), LoadError> {
        self.conns[index].stream = open(&self.epoll, &self.authority, index)?;
        self.conns[index].incoming.clear();
        Ok(())
    }

    pub fn run(
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
                        let written = self.done_when_written(conn, loads, states, ledger);
                        if self.read(conn, loads, states, ledger)? || written {
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
            let Some(index) = state.idle.pop() else { return Ok(None) };
            let conn = &mut self.conns[index];
            let prepared = &mut *loads[load].prepared;
            // Requests of a share lie one behind the other: what is sent at once is one piece, and one write.
            for nth in 0..loads[load].pipeline.max(1) {
                let began = match loads[load].pace {
                    Pace::Closed => now,
                    Pace::Open(rate) => state.due_at(rate),
                };
                let over = matches!(loads[load].until, Until::Records(max) if state.sent >= max);
                if nth > 0 && (began > now || over || conn.at == 0) {
                    break;
                }
                state.due += 1;
                state.in_flight += 1;
                let lines = prepared.lines(conn.share, conn.at);
                let first = ledger.take(lines);
                state.sent += lines as u64;
                let bytes = prepared.stamp(conn.share, conn.at, first);
                conn.unsent = if nth == 0 { bytes } else { conn.unsent.start..bytes.end };
                conn.at = (conn.at + 1) % prepared.per_share();
                conn.flights.push_back(Flight { began, first, lines });
            }
            write_some(conn, prepared.bytes())?;
            if loads[load].answers == Answers::Never {
                self.done_when_written(index, loads, states, ledger);
                // Whatever the clock says: others are to have their turn.
                return Ok(Some(now));
            }
        }
    }

    /// Where no answer comes, a request is done once the kernel has all of it.
    fn done_when_written(&mut self, index: usize, loads: &[Load], states: &mut [State], ledger: &mut Ledger) -> bool {
        let conn = &mut self.conns[index];
        if loads[conn.load].answers != Answers::Never || !conn.unsent.is_empty() || conn.flights.is_empty() {
            return false;
        }
        let now = Instant::now();
        let state = &mut states[conn.load];
        while let Some(flight) = conn.flights.pop_front() {
            ledger.acknowledge(flight.first, flight.lines);
            state.answered(&flight, now, flight.lines as u64);
            state.in_flight -= 1;
        }
        // In turn: the one that was last would else be the only one that is used.
        state.idle.insert(0, index);
        true
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
        let (mut any, mut closes) = (false, false);
        loop {
            let conn = &mut self.conns[index];
            let count = match conn.stream.read(&mut self.scratch) {
                // As servers do that keep a connection for so long or so many requests.
                Ok(0) if conn.flights.is_empty() && loads[conn.load].answers != Answers::Never => {
                    self.reconnect(index)?;
                    return Ok(any);
                }
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
                settle(&answer, whole, &flight, loads[conn.load].answers, state, ledger, now);
                state.in_flight -= 1;
                if conn.flights.is_empty() {
                    state.idle.push(index);
                    closes = answer.closes;
                }
            }
            if closes {
                self.reconnect(index)?;
                return Ok(any);
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

/// Connects, and asks to be told of what comes on it, as `index`.
fn open(epoll: &OwnedFd, authority: &str, index: usize) -> Result<TcpStream, LoadError> {
    let stream = connect(authority)?;
    stream.set_nonblocking(true)?;
    // Edges, so that nothing has to be said to the kernel while requests come and go.
    let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
    epoll::add(epoll, &stream, EventData::new_u64(index as u64), flags).map_err(io::Error::from)?;
    Ok(stream)
}

fn settle(
    answer: &Answer,
    whole: &[u8],
    flight: &Flight,
    answers: Answers,
    state: &mut State,
    ledger: &mut Ledger,
    now: Instant,
) {
    let taken = match answer.status / 100 {
        2 if answers == Answers::Accepted => answer::accepted(&whole[answer.body.clone()]).unwrap_or(0),
        2 if answers == Answers::Errors && answer::has_errors(&whole[answer.body.clone()]) => 0,
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
