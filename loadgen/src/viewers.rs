//! Live tails: one that looks at every record, to tell how long it took, and a crowd that only reads.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tungstenite::Message;

use crate::lines::read_time;

/// Records whose way is timed at once: a minute at a thousand a second.
const UNDER_WAY_MAX: usize = 1 << 16;
const READ_BYTES: usize = 256 * 1024;

/// When each record was sent, by its number; the sender writes, the viewer reads.
#[derive(Clone)]
pub struct Sent {
    started: Instant,
    /// Microseconds since `started`, plus one; zero: not sent.
    micros: Arc<Vec<AtomicU64>>,
    first: i64,
}

impl Sent {
    pub fn new(first: i64) -> Sent {
        let micros = (0..UNDER_WAY_MAX).map(|_| AtomicU64::new(0)).collect();
        Sent { started: Instant::now(), micros: Arc::new(micros), first }
    }

    fn slot(&self, number: i64) -> &AtomicU64 {
        &self.micros[(number - self.first) as usize % UNDER_WAY_MAX]
    }

    pub fn mark(&self, number: i64) {
        self.slot(number).store(self.started.elapsed().as_micros() as u64 + 1, Ordering::Release);
    }

    fn since(&self, number: i64) -> Option<u64> {
        let sent = self.slot(number).swap(0, Ordering::Acquire).checked_sub(1)?;
        (self.started.elapsed().as_micros() as u64).checked_sub(sent)
    }
}

/// One viewer that times every record it sees.
pub struct Watcher {
    thread: JoinHandle<(Histogram<u64>, u64)>,
    socket: TcpStream,
}

impl Watcher {
    /// Subscribed by the time this returns.
    pub fn start(address: SocketAddr, sent: Sent) -> io::Result<Watcher> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let socket = stream.try_clone()?;
        let (mut viewer, _) = tungstenite::client(format!("ws://{address}/ws/logs"), stream)
            .map_err(|error| io::Error::other(format!("no WebSocket: {error}")))?;
        let mut latency = Histogram::new_with_bounds(1, 600_000_000, 3).map_err(io::Error::other)?;
        let thread = std::thread::spawn(move || {
            let mut skipped = 0;
            while let Ok(message) = viewer.read() {
                let Message::Text(text) = message else { continue };
                if text.starts_with(r#"{"type":"skipped""#) {
                    skipped += 1;
                }
                const KEY: &[u8] = b"\"timestamp\":\"";
                for at in memchr::memmem::find_iter(text.as_bytes(), KEY) {
                    let number = read_time(&text.as_bytes()[at + KEY.len()..]);
                    if let Some(micros) = number.and_then(|number| sent.since(number)) {
                        latency.saturating_record(micros.max(1));
                    }
                }
            }
            (latency, skipped)
        });
        Ok(Watcher { thread, socket })
    }

    /// From sent to seen, microseconds; and how many frames told of skipped records.
    pub fn stop(self) -> (Histogram<u64>, u64) {
        // What is still on its way arrives meanwhile.
        std::thread::sleep(Duration::from_millis(300));
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        self.thread.join().unwrap_or_else(|_| (Histogram::new(3).expect("three digits are allowed"), 0))
    }
}

/// Viewers that read all they get and look at none of it, on one thread.
pub struct Crowd {
    stop: Arc<AtomicBool>,
    bytes: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
    broken: Arc<AtomicUsize>,
}

impl Crowd {
    pub fn start(address: SocketAddr, count: usize) -> io::Result<Crowd> {
        let mut sockets = Vec::new();
        for _ in 0..count {
            let mut stream = TcpStream::connect(address)?;
            let head = format!(
                "GET /ws/logs HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            );
            stream.write_all(head.as_bytes())?;
            let mut answer = [0; 12];
            stream.read_exact(&mut answer)?;
            if &answer[9..] != b"101" {
                return Err(io::Error::other("a WebSocket was refused"));
            }
            stream.set_nonblocking(true)?;
            sockets.push(stream);
        }
        let crowd = Crowd { stop: Arc::default(), bytes: Arc::default(), thread: None, broken: Arc::default() };
        let (stop, bytes, broken) = (crowd.stop.clone(), crowd.bytes.clone(), crowd.broken.clone());
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; READ_BYTES];
            while !stop.load(Ordering::Relaxed) {
                // Frames come every 20 ms at most: looking as often costs next to nothing.
                std::thread::sleep(Duration::from_millis(10));
                sockets.retain_mut(|socket| {
                    loop {
                        match socket.read(&mut buffer) {
                            Ok(0) => break,
                            Ok(count) => drop(bytes.fetch_add(count as u64, Ordering::Relaxed)),
                            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                            Err(_) => break,
                        }
                    }
                    broken.fetch_add(1, Ordering::Relaxed);
                    false
                });
            }
        });
        Ok(Crowd { thread: Some(thread), ..crowd })
    }

    /// Bytes that all of them got, and how many were cut off.
    pub fn stop(mut self) -> (u64, usize) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        (self.bytes.load(Ordering::Relaxed), self.broken.load(Ordering::Relaxed))
    }
}
