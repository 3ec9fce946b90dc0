//! What this machine can do at most, measured in the same run: a figure means little without it.

pub mod servers;

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};

use crate::drive::{Load, LoadError, Pace, Until, drive, histogram};
use crate::ledger::Ledger;
use crate::prepared::{Form, Prepared};
use crate::process::own_cpu;

/// Each ceiling is measured for about so long.
const TIME: Duration = Duration::from_millis(700);
/// Appends between two looks at the clock; few, as one can take milliseconds.
const APPENDS_MIN: usize = 16;
/// What the loopback is given at a time, at the least.
const PIECE_BYTES_MIN: usize = 256 * 1024;
const NULL_ANSWER: &[u8] = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
const SINK_READ_BYTES: usize = 256 * 1024;

#[derive(Debug, Clone)]
pub struct Ceilings {
    /// The same bodies into a socket that is read and forgotten.
    pub loopback_bytes_per_second: f64,
    /// The same lines, parsed and walked over by sonic-rs with its checks on, by one thread.
    pub walk_records_per_second: f64,
    pub walk_cpu_seconds_per_million: f64,
    pub body_line_bytes: f64,
    pub sync_4k: Histogram<u64>,
    pub sync_1m: Histogram<u64>,
}

/// Measures all of them; files are written to `folder`, and are gone afterwards.
pub fn measure(prepared: &Prepared, folder: &Path) -> io::Result<Ceilings> {
    let bodies: Vec<&[u8]> = prepared.bodies().collect();
    let loopback_bytes_per_second = loopback(&bodies)?;
    let (walk_records_per_second, walk_cpu_seconds_per_million, body_line_bytes) = walk(&bodies);
    Ok(Ceilings {
        loopback_bytes_per_second,
        walk_records_per_second,
        walk_cpu_seconds_per_million,
        body_line_bytes,
        sync_4k: syncs(folder, 4 * 1024)?,
        sync_1m: syncs(folder, 1024 * 1024)?,
    })
}

fn loopback(bodies: &[&[u8]]) -> io::Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut stream = TcpStream::connect(listener.local_addr()?)?;
    let (mut sink, _) = listener.accept()?;
    let reader = std::thread::spawn(move || {
        let mut buffer = vec![0; SINK_READ_BYTES];
        let mut bytes = 0u64;
        while let Ok(count) = sink.read(&mut buffer)
            && count > 0
        {
            bytes += count as u64;
        }
        bytes
    });
    // Small bodies are put together: what is wanted is what the socket can carry, not what a system call costs.
    let pieces: Vec<Vec<u8>> = if bodies.iter().all(|body| body.len() >= PIECE_BYTES_MIN) {
        bodies.iter().map(|body| body.to_vec()).collect()
    } else {
        bodies.concat().chunks(PIECE_BYTES_MIN).map(<[u8]>::to_vec).collect()
    };
    let began = Instant::now();
    'time: loop {
        for piece in &pieces {
            stream.write_all(piece)?;
            if began.elapsed() >= TIME {
                break 'time;
            }
        }
    }
    drop(stream);
    let bytes = reader.join().unwrap_or(0);
    Ok(bytes as f64 / began.elapsed().as_secs_f64())
}

/// Records a second, CPU seconds a million, and bytes a line.
fn walk(bodies: &[&[u8]]) -> (f64, f64, f64) {
    let (began, cpu) = (Instant::now(), own_cpu());
    let (mut lines, mut fields, mut bytes) = (0u64, 0u64, 0usize);
    'time: loop {
        for body in bodies {
            for line in body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
                lines += 1;
                bytes += line.len() + 1;
                fields += sonic_rs::to_object_iter(line).filter(Result::is_ok).count() as u64;
            }
            if began.elapsed() >= TIME {
                break 'time;
            }
        }
    }
    std::hint::black_box(fields);
    let lines = lines.max(1) as f64;
    let cpu = own_cpu().saturating_sub(cpu).as_secs_f64();
    (lines / began.elapsed().as_secs_f64(), cpu * 1e6 / lines, bytes as f64 / lines)
}

/// Requests a second, their p50 in µs: this client, in a closed loop, against a server that answers whatever it reads and
/// keeps nothing.
pub fn requests(form: &Form, seed: u64, connections: usize) -> Result<(f64, u64), LoadError> {
    let null = Null::start(connections)?;
    let mut prepared = Prepared::new(&Form { authority: &null.authority, ..form.clone() }, seed, 0, connections, 64);
    let load = Load::new(&mut prepared, connections, Pace::Closed, Until::Time(TIME));
    let (outcomes, result) = drive(&null.authority, &mut [load], &mut [], &mut Ledger::new(0));
    result?;
    let outcome = &outcomes[0];
    Ok((outcome.requests as f64 / outcome.time.as_secs_f64(), outcome.latencies.value_at_quantile(0.5)))
}

/// A server that answers whatever it reads and keeps nothing, on a thread of its own until its clients have gone.
#[derive(Debug)]
pub struct Null {
    pub authority: String,
    answerer: Option<JoinHandle<io::Result<()>>>,
}

impl Null {
    pub fn start(connections: usize) -> io::Result<Null> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let authority = listener.local_addr()?.to_string();
        let answerer = Some(std::thread::spawn(move || answer_all(&listener, connections)));
        Ok(Null { authority, answerer })
    }
}

impl Drop for Null {
    fn drop(&mut self) {
        // A client that never came is still waited for: it is let go.
        if let Some(answerer) = self.answerer.take() {
            while !answerer.is_finished() && TcpStream::connect(&self.authority).is_ok() {}
            let _ = answerer.join();
        }
    }
}

/// Where one connection is in what it sends.
#[derive(Debug, Default)]
struct Place {
    /// Of a body, bytes that are still to come.
    body: usize,
    /// The beginning of a head.
    head: Vec<u8>,
}

impl Place {
    /// How many requests end within these bytes.
    fn ended(&mut self, mut bytes: &[u8]) -> usize {
        const LENGTH: &[u8] = b"Content-Length: ";
        let mut ended = 0;
        loop {
            if self.body > 0 {
                let taken = self.body.min(bytes.len());
                bytes = &bytes[taken..];
                self.body -= taken;
                ended += usize::from(self.body == 0);
            }
            if bytes.is_empty() {
                return ended;
            }
            let whole: &[u8] = if self.head.is_empty() {
                bytes
            } else {
                self.head.extend_from_slice(bytes);
                &self.head
            };
            let Some(end) = memchr::memmem::find(whole, b"\r\n\r\n") else {
                if self.head.is_empty() {
                    self.head.extend_from_slice(bytes);
                }
                return ended;
            };
            let length = memchr::memmem::find(&whole[..end], LENGTH).map_or(0, |at| {
                let digits = whole[at + LENGTH.len()..].iter().take_while(|byte| byte.is_ascii_digit());
                digits.fold(0, |length, byte| length * 10 + usize::from(byte - b'0'))
            });
            bytes = &bytes[bytes.len() - (whole.len() - end - 4)..];
            self.head.clear();
            self.body = length;
            ended += usize::from(length == 0);
        }
    }
}

/// Answers each request once it has come whole. Ends with the last connection.
fn answer_all(listener: &TcpListener, connections: usize) -> io::Result<()> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut streams = Vec::new();
    for index in 0..connections {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        epoll::add(&epoll, &stream, EventData::new_u64(index as u64), EventFlags::IN)?;
        streams.push(Some((stream, Place::default())));
    }
    let mut open = connections;
    let mut events: Vec<epoll::Event> = Vec::with_capacity(connections);
    let (mut buffer, mut answers) = (vec![0; SINK_READ_BYTES], Vec::new());
    while open > 0 {
        epoll::wait(&epoll, spare_capacity(&mut events), None)?;
        for event in events.drain(..) {
            let slot = &mut streams[event.data.u64() as usize];
            let Some((stream, place)) = slot else { continue };
            match stream.read(&mut buffer) {
                Ok(count) if count > 0 => {
                    answers.clear();
                    for _ in 0..place.ended(&buffer[..count]) {
                        answers.extend_from_slice(NULL_ANSWER);
                    }
                    stream.write_all(&answers)?;
                }
                _ => {
                    *slot = None;
                    open -= 1;
                }
            }
        }
    }
    Ok(())
}

/// How long an append of so many bytes takes to be on the disk.
fn syncs(folder: &Path, bytes: usize) -> io::Result<Histogram<u64>> {
    let path = folder.join("ceiling");
    let file = File::create(&path)?;
    let piece = vec![b'x'; bytes];
    let mut latencies = histogram();
    let began = Instant::now();
    let mut at = 0;
    while began.elapsed() < TIME || latencies.len() < APPENDS_MIN as u64 {
        let before = Instant::now();
        file.write_all_at(&piece, at)?;
        file.sync_data()?;
        latencies.saturating_record((before.elapsed().as_nanos() as u64).div_ceil(1000));
        at += bytes as u64;
    }
    drop(file);
    std::fs::remove_file(path)?;
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_however_they_come() {
        let request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
        let bytes = request.repeat(7);
        for step in [1, 3, request.len(), 100, bytes.len()] {
            let mut place = Place::default();
            assert_eq!(bytes.chunks(step).map(|piece| place.ended(piece)).sum::<usize>(), 7, "{step}");
        }
    }
}
