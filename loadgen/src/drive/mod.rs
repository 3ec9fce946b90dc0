//! The load: one thread, sockets that are never waited for, requests that were made beforehand.
//!
//! Comes in: loads (how many connections, at what pace, until when) and viewers. Goes out: latencies, a timeline, and
//! the ledger's marks. The loop of a request is one write, one read, the digits of its number and two looks at the
//! clock; whatever else a measurement needs is done before or after.
//!
//! At a set rate a request's latency counts from the moment it was due, whether or not a connection was free for it, so
//! that a server that stalls is charged for every request it kept waiting. In a closed loop it counts from the moment it
//! was sent.

mod socket;
mod state;

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::ledger::Ledger;
use crate::live::Viewer;
use crate::prepared::Prepared;
use crate::target::Answers;
use socket::{ANSWERS_WAIT_MAX, Driver};
use state::State;

/// Latencies are counted in µs, to three digits, up to an hour.
const LATENCY_MAX_US: u64 = 3_600_000_000;
const LATENCY_DIGITS: u8 = 3;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

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
    /// What an answer says of the records of its request.
    pub answers: Answers,
    /// Requests that a connection sends at once, before it waits for their answers.
    pub pipeline: usize,
}

impl<'p> Load<'p> {
    /// Without a warm-up or a pipeline, an answer of 2xx standing for all records.
    pub fn new(prepared: &'p mut Prepared, connections: usize, pace: Pace, until: Until) -> Load<'p> {
        Load { prepared, connections, pace, until, warm_up: Duration::ZERO, answers: Answers::Status, pipeline: 1 }
    }

    pub fn answered(self, answers: Answers) -> Load<'p> {
        Load { answers, ..self }
    }
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

impl Outcome {
    /// Of a time in which nothing was sent.
    pub fn of_nothing(time: Duration) -> Outcome {
        let (timeline, refusals) = (Vec::new(), Vec::new());
        Outcome { latencies: histogram(), timeline, records: 0, requests: 0, time, refusals, unsent: 0 }
    }
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
