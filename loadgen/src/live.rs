//! A live tail's viewer on a socket that is not waited for (RFC 6455, as much of it as a server sends).

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use hdrhistogram::Histogram;

use crate::drive::{LoadError, connect, histogram};
use crate::number::{DIGITS, Number};

/// Any sixteen bytes do; what the server makes of them is not checked, as no cache stands between.
const KEY: &str = "bG9hZGdlbi12aWV3ZXIxIQ==";
const ANSWER_BYTES_MAX: usize = 16 * 1024;
const BEFORE_DIGITS: &[u8] = b"\"request_id\":\"";
const OPCODE_CLOSE: u8 = 8;
const OPCODE_PING: u8 = 9;

/// What a viewer does with what it is shown.
#[derive(Debug)]
pub enum Watch {
    /// Counts records.
    Count,
    /// Measures how long after it was due each record is seen: record `index` is due `index / rate` seconds after `began`.
    Latency { tag: u16, rate: f64, began: Option<Instant>, latencies: Box<Histogram<u64>> },
}

#[derive(Debug)]
pub struct Viewer {
    stream: TcpStream,
    /// The head of a frame that has not all come.
    pending: Vec<u8>,
    pub watch: Watch,
    pub seen: u64,
    pub skipped: u64,
    pub frames: u64,
    pub bytes: u64,
    pub closed: bool,
}

impl Viewer {
    pub fn open(authority: &str, target: &str, watch: Watch) -> Result<Viewer, LoadError> {
        let mut stream = connect(authority)?;
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).map_err(LoadError::Broken)?;
        let mut pending = Vec::new();
        let head = loop {
            let mut piece = [0; 1024];
            let count = stream.read(&mut piece).map_err(LoadError::Broken)?;
            pending.extend_from_slice(&piece[..count]);
            if let Some(end) = memchr::memmem::find(&pending, b"\r\n\r\n") {
                break end + 4;
            }
            if count == 0 || pending.len() > ANSWER_BYTES_MAX {
                return Err(LoadError::Tail("its answer has no end".to_owned()));
            }
        };
        if !pending.starts_with(b"HTTP/1.1 101") {
            let line = String::from_utf8_lossy(pending.split(|&byte| byte == b'\r').next().unwrap_or_default());
            return Err(LoadError::Tail(line.into_owned()));
        }
        pending.drain(..head);
        stream.set_nonblocking(true)?;
        Ok(Viewer { stream, pending, watch, seen: 0, skipped: 0, frames: 0, bytes: 0, closed: false })
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The load begins.
    pub fn start(&mut self, now: Instant) {
        if let Watch::Latency { began, .. } = &mut self.watch {
            *began = Some(now);
        }
    }

    /// Takes what has come; the next call takes the rest.
    pub fn read(&mut self, scratch: &mut [u8]) -> Result<(), LoadError> {
        match self.stream.read(scratch) {
            Ok(0) => self.closed = true,
            Ok(count) => {
                self.bytes += count as u64;
                self.pending.extend_from_slice(&scratch[..count]);
                self.take_frames()?;
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(LoadError::Broken(error)),
        }
        if self.closed {
            return Err(LoadError::Tail("a viewer was closed".to_owned()));
        }
        Ok(())
    }

    fn take_frames(&mut self) -> Result<(), LoadError> {
        let pending = std::mem::take(&mut self.pending);
        let mut at = 0;
        while let Some((opcode, payload)) = frame(&pending[at..]) {
            self.frame(opcode, &pending[at..][payload.clone()])?;
            at += payload.end;
        }
        self.pending = pending;
        self.pending.drain(..at);
        Ok(())
    }

    fn frame(&mut self, opcode: u8, payload: &[u8]) -> Result<(), LoadError> {
        match opcode {
            OPCODE_CLOSE => self.closed = true,
            // Masked with zeros, which RFC 6455 §5.3 lets nobody but a browser mind.
            OPCODE_PING if payload.len() < 126 => {
                let mut pong = vec![0x8a, 0x80 | payload.len() as u8, 0, 0, 0, 0];
                pong.extend_from_slice(payload);
                self.stream.write_all(&pong).map_err(LoadError::Broken)?;
            }
            _ if payload.starts_with(b"{\"type\":\"skipped\"") => {
                let digits: String = payload.iter().filter(|b| b.is_ascii_digit()).map(|&b| char::from(b)).collect();
                self.skipped += digits.parse::<u64>().unwrap_or(0);
            }
            _ => self.records(payload),
        }
        Ok(())
    }

    fn records(&mut self, payload: &[u8]) {
        self.frames += 1;
        let now = Instant::now();
        for at in memchr::memmem::find_iter(payload, BEFORE_DIGITS) {
            let Watch::Latency { tag, latencies, rate, began } = &mut self.watch else {
                self.seen += 1;
                continue;
            };
            let digits = at + BEFORE_DIGITS.len();
            let number = payload.get(digits..digits + DIGITS).and_then(Number::parse);
            if let (Some(number), Some(began)) = (number, *began)
                && number.tag == *tag
            {
                self.seen += 1;
                let due = began + std::time::Duration::from_secs_f64(number.index as f64 / *rate);
                let latency = now.saturating_duration_since(due).as_nanos() as u64;
                latencies.saturating_record(latency.div_ceil(1000).max(1));
            }
        }
    }

    pub fn latencies(&self) -> Histogram<u64> {
        match &self.watch {
            Watch::Latency { latencies, .. } => (**latencies).clone(),
            Watch::Count => histogram(),
        }
    }
}

/// The first whole frame: its opcode, and where its payload is.
fn frame(bytes: &[u8]) -> Option<(u8, std::ops::Range<usize>)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (start, length) = match second & 0x7f {
        126 => (4, u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)),
        short => (2, u64::from(short)),
    };
    let end = start + usize::try_from(length).ok()?;
    (bytes.len() >= end).then_some((first & 0x0f, start..end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_end_where_they_say() {
        for length in [0usize, 5, 125, 126, 65_535, 65_536] {
            let mut bytes = vec![0x81];
            match length {
                0..=125 => bytes.push(length as u8),
                126..=65_535 => {
                    bytes.push(126);
                    bytes.extend_from_slice(&(length as u16).to_be_bytes());
                }
                _ => {
                    bytes.push(127);
                    bytes.extend_from_slice(&(length as u64).to_be_bytes());
                }
            }
            let head = bytes.len();
            bytes.resize(head + length, b'x');
            assert_eq!(frame(&bytes), Some((1, head..head + length)));
            assert_eq!(frame(&bytes[..bytes.len() - 1]), None);
        }
    }
}
