//! Requests that are made before anything is measured: head and body as bytes, end to end, one share a connection.
//!
//! Sending one costs a write and the digits of its records: each gets its time and number just before it goes, so that a
//! small bank of requests makes a stream of any length without a record twice.

use std::ops::Range;

use crate::generate::{Clock, Format, Generator, START, Stamp, restamp};

/// What a request holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    Lines(usize),
    /// As many lines as fit.
    Bytes(usize),
}

#[derive(Debug)]
pub struct Prepared {
    bytes: Vec<u8>,
    requests: Vec<Request>,
    stamps: Vec<Stamp>,
    shares: usize,
    clock: Clock,
    tag: u16,
}

#[derive(Debug, Clone)]
struct Request {
    bytes: Range<usize>,
    lines: usize,
    stamps: Range<usize>,
}

/// How requests are put together.
#[derive(Debug, Clone)]
pub struct Form<'a> {
    pub authority: &'a str,
    pub path: &'a str,
    pub content_type: &'a str,
    pub size: Size,
    /// All records are of this source.
    pub source: Option<&'a str>,
    /// Before each record.
    pub prefix: &'a str,
    pub lines: Lines,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    /// JSON, each line with a number of its own.
    Numbered,
    /// Every format in turn, the same lines again and again.
    Mixed,
}

impl Prepared {
    /// `per_share` requests for each of `shares` connections.
    pub fn new(form: &Form, seed: u64, tag: u16, shares: usize, per_share: usize) -> Prepared {
        let mut generator = Generator::new(seed, tag);
        if let Some(source) = form.source {
            generator = generator.with_source(source);
        }
        let mut prepared = Prepared {
            bytes: Vec::new(),
            requests: Vec::new(),
            stamps: Vec::new(),
            shares,
            clock: Clock::new(START),
            tag,
        };
        let (mut index, mut body, mut stamps) = (0, Vec::new(), Vec::<Stamp>::new());
        for _ in 0..shares * per_share {
            body.clear();
            stamps.clear();
            let mut lines = 0;
            loop {
                let before = body.len();
                body.extend_from_slice(form.prefix.as_bytes());
                let stamp = match form.lines {
                    Lines::Numbered => Some(generator.json(index, &mut body)),
                    Lines::Mixed => {
                        generator.line(Format::ALL[index as usize % Format::ALL.len()], index, &mut body);
                        None
                    }
                };
                if lines > 0 && matches!(form.size, Size::Bytes(max) if body.len() > max) {
                    body.truncate(before);
                    break;
                }
                index += 1;
                lines += 1;
                stamps.extend(stamp);
                if matches!(form.size, Size::Lines(max) if lines >= max) {
                    break;
                }
            }
            prepared.push(form, &body, lines, &stamps);
        }
        prepared
    }

    fn push(&mut self, form: &Form, body: &[u8], lines: usize, stamps: &[Stamp]) {
        let start = self.bytes.len();
        let Form { authority, path, content_type, .. } = form;
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.bytes.extend_from_slice(head.as_bytes());
        self.bytes.extend_from_slice(body);
        let shift = head.len() as u32;
        let first = self.stamps.len();
        let shifted = stamps.iter().map(|stamp| Stamp { time: stamp.time + shift, digits: stamp.digits + shift });
        self.stamps.extend(shifted);
        self.requests.push(Request { bytes: start..self.bytes.len(), lines, stamps: first..self.stamps.len() });
    }

    /// How many requests one connection has before it comes back to its first.
    pub fn per_share(&self) -> usize {
        self.requests.len() / self.shares
    }

    /// Lines of request `at` of this share.
    pub fn lines(&self, share: usize, at: usize) -> usize {
        self.requests[share * self.per_share() + at].lines
    }

    /// Numbers the records of request `at` of this share from `first` on, and gives where its bytes are.
    pub fn stamp(&mut self, share: usize, at: usize, first: u64) -> Range<usize> {
        let request = self.requests[share * self.per_share() + at].clone();
        let bytes = &mut self.bytes[request.bytes.clone()];
        for (index, &stamp) in (first..).zip(&self.stamps[request.stamps]) {
            restamp(bytes, stamp, self.tag, index, &mut self.clock);
        }
        request.bytes
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bodies alone, as they are now, for the measure of what the machine can do with them.
    pub fn bodies(&self) -> impl Iterator<Item = &[u8]> {
        self.requests.iter().map(|request| {
            let whole = &self.bytes[request.bytes.clone()];
            let head = memchr::memmem::find(whole, b"\r\n\r\n").map_or(0, |end| end + 4);
            &whole[head..]
        })
    }
}
