//! One client connection: bytes in, bytes out, and how long each may take.
//!
//! Reading lends the shard's one read buffer for the moment of the system call, so that a connection that waits holds
//! no buffer of its own: 10,000 idle ones cost their sockets and little else.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_lite::{AsyncRead, AsyncWriteExt};
use glommio::net::TcpStream;

/// What one read may bring: a few hundred lines, and what fits the L2 cache.
pub const READ_BYTES_MAX: usize = 128 * 1024;
/// A buffer that has grown beyond this is given back once it is empty.
const KEPT_BYTES_MAX: usize = 4 * 1024;

/// The shard's read buffer, lent to one connection at a time for one system call.
pub type ReadBuffer = Rc<RefCell<Box<[u8]>>>;

pub fn read_buffer() -> ReadBuffer {
    Rc::new(RefCell::new(vec![0; READ_BYTES_MAX].into_boxed_slice()))
}

pub struct Conn {
    stream: TcpStream,
    scratch: ReadBuffer,
    buffer: Vec<u8>,
    /// Of the buffer so much has been consumed.
    start: usize,
}

impl Conn {
    pub fn new(stream: TcpStream, scratch: ReadBuffer) -> Conn {
        Conn { stream, scratch, buffer: Vec::new(), start: 0 }
    }

    pub fn fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }

    /// What has been read and not consumed.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    pub fn consume(&mut self, count: usize) {
        self.start += count;
        if self.start >= self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
    }

    /// Gives a large empty buffer back.
    pub fn relax(&mut self) {
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT_BYTES_MAX {
            self.buffer = Vec::new();
        }
    }

    /// Reads what the client has sent, waiting for at most `limit`: how many bytes came, 0 at the end of the stream.
    pub async fn fill(&mut self, limit: Duration) -> io::Result<usize> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.stream.set_read_timeout(Some(limit.max(Duration::from_millis(1)))).map_err(io::Error::from)?;
        let Conn { stream, scratch, buffer, .. } = self;
        poll_fn(|cx| {
            let mut scratch = scratch.borrow_mut();
            Pin::new(&mut *stream).poll_read(cx, &mut scratch[..]).map_ok(|count| {
                buffer.extend_from_slice(&scratch[..count]);
                count
            })
        })
        .await
    }

    /// Sends all of `bytes`; each write may wait for `limit`.
    pub async fn send(&mut self, bytes: &[u8], limit: Duration) -> io::Result<()> {
        self.stream.set_write_timeout(Some(limit)).map_err(io::Error::from)?;
        self.stream.write_all(bytes).await
    }

    /// Reads and drops up to `bytes_max`, until the client ends or `time_max` is over: what a client must be allowed to
    /// send before it looks at an answer that came early.
    pub async fn drain(&mut self, bytes_max: u64, time_max: Duration) {
        let deadline = Instant::now() + time_max;
        let mut dropped = self.bytes().len() as u64;
        self.consume(self.bytes().len());
        while dropped < bytes_max {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            match self.fill(left).await {
                Ok(0) | Err(_) => return,
                Ok(count) => dropped += count as u64,
            }
            self.consume(self.bytes().len());
        }
    }

    /// Ends writing, so that the client sees the end of the answer while it may still send.
    pub async fn end_writing(&mut self) {
        // It fails only when the client has gone, which ends the connection as well.
        let _ = self.stream.shutdown(std::net::Shutdown::Write).await;
    }

    /// The stream itself, for a byte copy.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Splits off the stream and what was read of it, for a byte copy.
    pub fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.buffer[self.start..].to_vec())
    }
}

/// The connections of a shard, so that a stop can end those that wait for a request.
#[derive(Default)]
pub struct Connections {
    open: RefCell<HashMap<u64, Entry>>,
    next: Cell<u64>,
    stopping: Cell<bool>,
    stopped: tokio::sync::Notify,
}

struct Entry {
    fd: RawFd,
    busy: Rc<Cell<bool>>,
}

impl Connections {
    /// Lists a connection for as long as what this returns lives; that must be dropped before the stream is.
    pub fn list(self: &Rc<Self>, fd: RawFd) -> Listed {
        let id = self.next.get();
        self.next.set(id + 1);
        let busy = Rc::new(Cell::new(false));
        self.open.borrow_mut().insert(id, Entry { fd, busy: busy.clone() });
        Listed { connections: self.clone(), id, busy }
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// Waits for the stop.
    pub async fn stopping(&self) {
        let stopped = self.stopped.notified();
        if !self.is_stopping() {
            stopped.await;
        }
    }

    pub fn len(&self) -> usize {
        self.open.borrow().len()
    }

    pub fn is_empty(&self) -> bool {
        self.open.borrow().is_empty()
    }

    /// Lets no connection begin another request, and ends those that wait for one.
    pub fn stop(&self) {
        self.stopping.set(true);
        self.stopped.notify_waiters();
        for entry in self.open.borrow().values().filter(|entry| !entry.busy.get()) {
            crate::sys::end_reading(entry.fd);
        }
    }
}

/// A connection's place on its shard's list.
pub struct Listed {
    connections: Rc<Connections>,
    id: u64,
    busy: Rc<Cell<bool>>,
}

impl Listed {
    /// Says whether a request is under way.
    pub fn set_busy(&self, busy: bool) {
        self.busy.set(busy);
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.connections.open.borrow_mut().remove(&self.id);
    }
}
