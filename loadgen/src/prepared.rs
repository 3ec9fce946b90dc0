//! Requests that are made before anything is measured: head and body as bytes, end to end, one share a connection.
//!
//! Sending one costs a write and the digits of its records: each gets its time and number just before it goes, so that a
//! small bank of requests makes a stream of any length without a record twice.

use std::ops::Range;

use crate::generate::{Clock, Format, Generator, START, Stamp, TimeForm, Times, restamp};

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
    time_form: TimeForm,
    tag: u16,
}

#[derive(Debug, Clone)]
struct Request {
    bytes: Range<usize>,
    head_bytes: usize,
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
    pub lines: Lines,
    /// When the records are of.
    pub times: Times,
}

/// The shape of a request's body; each record has a number of its own, but for [`Lines::Mixed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    /// NDJSON.
    Json,
    /// NDJSON, an action of Elasticsearch's `_bulk` before each record.
    Bulk,
    /// One JSON array.
    Array,
    /// Loki's push: records of one source and application are a stream.
    Loki,
    /// RFC 5424 messages and nothing around them: no HTTP.
    Syslog(Framing),
    /// Every format in turn, the same lines again and again.
    Mixed,
}

/// Where a syslog message ends on a stream (RFC 6587 §3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Its length and a blank before it.
    Octets,
    LineFeed,
}

const BULK_ACTION: &[u8] = b"{\"create\":{}}\n";

/// One body under way.
#[derive(Debug, Default)]
struct Body {
    bytes: Vec<u8>,
    /// One for each numbered record, in their order.
    stamps: Vec<Stamp>,
    lines: usize,
}

impl Form<'_> {
    fn time_form(&self) -> TimeForm {
        if self.lines == Lines::Loki { TimeForm::Nanos } else { TimeForm::Rfc3339 }
    }

    fn is_http(&self) -> bool {
        !matches!(self.lines, Lines::Syslog(_))
    }

    /// Whether a body of so many bytes and lines is more than is asked for.
    fn is_over(&self, bytes: usize) -> bool {
        matches!(self.size, Size::Bytes(max) if bytes > max)
    }

    fn is_full(&self, lines: usize) -> bool {
        matches!(self.size, Size::Lines(max) if lines >= max)
    }

    /// The records from `first` on, as many as one request holds.
    fn fill(&self, generator: &mut Generator, first: u64, body: &mut Body) {
        body.bytes.clear();
        body.stamps.clear();
        body.lines = 0;
        if self.lines == Lines::Loki {
            return self.fill_streams(generator, first, body);
        }
        if self.lines == Lines::Array {
            body.bytes.push(b'[');
        }
        loop {
            let (bytes, stamps) = (body.bytes.len(), body.stamps.len());
            self.record(generator, first + body.lines as u64, body);
            if body.lines > 0 && self.is_over(body.bytes.len()) {
                body.bytes.truncate(bytes);
                body.stamps.truncate(stamps);
                break;
            }
            body.lines += 1;
            if self.is_full(body.lines) {
                break;
            }
        }
        if self.lines == Lines::Array {
            body.bytes.push(b']');
        }
    }

    fn record(&self, generator: &mut Generator, index: u64, body: &mut Body) {
        let out = &mut body.bytes;
        match self.lines {
            Lines::Mixed => {
                let format = Format::ALL[index as usize % Format::ALL.len()];
                return generator.line(format, index, out);
            }
            Lines::Bulk => out.extend_from_slice(BULK_ACTION),
            Lines::Array if body.lines > 0 => out.push(b','),
            _ => {}
        }
        let stamp = match self.lines {
            Lines::Syslog(framing) => {
                let mut message = Vec::new();
                let stamp = generator.rfc5424(index, &mut message);
                if framing == Framing::Octets {
                    // Counted, it needs no end.
                    message.pop();
                    out.extend_from_slice(format!("{} ", message.len()).as_bytes());
                }
                let stamp = moved(stamp, out.len());
                out.extend_from_slice(&message);
                stamp
            }
            _ => generator.json(index, out),
        };
        body.stamps.push(stamp);
    }

    fn fill_streams(&self, generator: &mut Generator, first: u64, body: &mut Body) {
        let mut entries: Vec<(Vec<u8>, Vec<u8>, Stamp)> = Vec::new();
        let mut bytes = 0;
        loop {
            let (mut labels, mut entry) = (Vec::new(), Vec::new());
            let stamp = generator.loki(first + entries.len() as u64, &mut labels, &mut entry);
            bytes += entry.len() + 1;
            if !entries.is_empty() && self.is_over(bytes) {
                break;
            }
            entries.push((labels, entry, stamp));
            if self.is_full(entries.len()) {
                break;
            }
        }
        body.lines = entries.len();
        body.stamps.resize(entries.len(), Stamp { time: 0, digits: 0 });
        let mut order: Vec<usize> = (0..entries.len()).collect();
        // Stable: within a stream the records stay in the order of their times.
        order.sort_by(|&a, &b| entries[a].0.cmp(&entries[b].0));
        let out = &mut body.bytes;
        out.extend_from_slice(b"{\"streams\":[");
        let mut open: Option<&[u8]> = None;
        for index in order {
            let (labels, entry, stamp) = &entries[index];
            match open {
                Some(last) if last == labels => out.push(b','),
                last => {
                    out.extend_from_slice(if last.is_some() { b"]},{\"stream\":" } else { b"{\"stream\":" });
                    out.extend_from_slice(labels);
                    out.extend_from_slice(b",\"values\":[");
                    open = Some(labels);
                }
            }
            body.stamps[index] = moved(*stamp, out.len());
            out.extend_from_slice(entry);
        }
        out.extend_from_slice(b"]}]}");
    }
}

fn moved(stamp: Stamp, by: usize) -> Stamp {
    Stamp { time: stamp.time + by as u32, digits: stamp.digits + by as u32 }
}

impl Prepared {
    /// `per_share` requests for each of `shares` connections.
    pub fn new(form: &Form, seed: u64, tag: u16, shares: usize, per_share: usize) -> Prepared {
        let mut generator = Generator::new(seed, tag).with_times(form.times);
        if let Some(source) = form.source {
            generator = generator.with_source(source);
        }
        let mut prepared = Prepared {
            bytes: Vec::new(),
            requests: Vec::new(),
            stamps: Vec::new(),
            shares,
            clock: Clock::new(form.times),
            time_form: form.time_form(),
            tag,
        };
        let (mut index, mut body) = (0, Body::default());
        for _ in 0..shares * per_share {
            form.fill(&mut generator, index, &mut body);
            index += body.lines as u64;
            prepared.push(form, &body);
        }
        prepared
    }

    fn push(&mut self, form: &Form, body: &Body) {
        let start = self.bytes.len();
        let Form { authority, path, content_type, .. } = form;
        if form.is_http() {
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
                body.bytes.len()
            );
            self.bytes.extend_from_slice(head.as_bytes());
        }
        let head_bytes = self.bytes.len() - start;
        self.bytes.extend_from_slice(&body.bytes);
        let first = self.stamps.len();
        self.stamps.extend(body.stamps.iter().map(|&stamp| moved(stamp, head_bytes)));
        self.requests.push(Request {
            bytes: start..self.bytes.len(),
            head_bytes,
            lines: body.lines,
            stamps: first..self.stamps.len(),
        });
    }

    /// How many requests one connection has before it comes back to its first.
    pub fn per_share(&self) -> usize {
        self.requests.len() / self.shares
    }

    /// Lines of request `at` of this share.
    pub fn lines(&self, share: usize, at: usize) -> usize {
        self.requests[share * self.per_share() + at].lines
    }

    /// Numbers the records of request `at` of this share from `first` on, and gives where its bytes are. The requests of a
    /// share lie one behind the other.
    pub fn stamp(&mut self, share: usize, at: usize, first: u64) -> Range<usize> {
        let request = self.requests[share * self.per_share() + at].clone();
        let bytes = &mut self.bytes[request.bytes.clone()];
        for (index, &stamp) in (first..).zip(&self.stamps[request.stamps]) {
            restamp(bytes, stamp, self.time_form, self.tag, index, &mut self.clock);
        }
        request.bytes
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bodies alone, as they are now, for the measure of what the machine can do with them.
    pub fn bodies(&self) -> impl Iterator<Item = &[u8]> {
        self.requests.iter().map(|request| &self.bytes[request.bytes.clone()][request.head_bytes..])
    }
}

impl Default for Form<'_> {
    fn default() -> Self {
        Form {
            authority: "localhost",
            path: "/",
            content_type: "application/x-ndjson",
            size: Size::Lines(1),
            source: None,
            lines: Lines::Json,
            times: START,
        }
    }
}
