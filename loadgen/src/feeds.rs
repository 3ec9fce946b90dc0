//! Prepared requests: made before the clock runs, so that sending one costs a copy and the digits of its time.

use std::io;
use std::path::Path;

use crate::drive::{Feed, Request};
use crate::lines::{Lines, TIME_AT, TIME_BYTES, write_time};

/// Single records of different make, told apart only by their time after that.
const SINGLES: usize = 4_096;
/// Bodies kept ready; beyond, the same lines come again with other times.
const POOL_BYTES_MAX: usize = 128 << 20;

fn head(target: &str, content_type: &str, length: usize) -> String {
    format!(
        "POST {target} HTTP/1.1\r\nHost: logboom\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n"
    )
}

/// One request, ready but for the times of its records.
struct Prepared {
    bytes: Vec<u8>,
    /// Where each record's time stands.
    times: Vec<u32>,
}

/// Requests made of generated records, numbered by their time.
pub struct Generated {
    prepared: Vec<Prepared>,
    next: usize,
    /// Of the next record.
    millis: i64,
    left: u64,
}

impl Generated {
    /// `records` single records for a door that takes one.
    pub fn singles(target: &str, seed: u64, start: i64, records: u64) -> Generated {
        let mut lines = Lines::new(seed, start);
        let mut line = Vec::new();
        let prepared = (0..SINGLES).map(|_| {
            line.clear();
            lines.push(&mut line);
            line.pop();
            let mut bytes = head(target, "application/json", line.len()).into_bytes();
            let time = (bytes.len() + TIME_AT) as u32;
            bytes.extend_from_slice(&line);
            Prepared { bytes, times: vec![time] }
        });
        Generated { prepared: prepared.collect(), next: 0, millis: start, left: records }
    }

    /// `records` records as NDJSON in bodies of about `body_bytes`.
    pub fn batches(target: &str, seed: u64, start: i64, records: u64, body_bytes: usize) -> Generated {
        let mut lines = Lines::new(seed, start);
        let (mut prepared, mut made, mut pool) = (Vec::new(), 0, 0);
        while made < records && pool < POOL_BYTES_MAX {
            let (mut body, mut starts) = (Vec::with_capacity(body_bytes + 1024), Vec::new());
            while body.len() < body_bytes && made < records {
                starts.push(body.len());
                lines.push(&mut body);
                made += 1;
            }
            let head = head(target, "application/x-ndjson", body.len()).into_bytes();
            let times = starts.iter().map(|start| (head.len() + start + TIME_AT) as u32).collect();
            pool += body.len();
            prepared.push(Prepared { bytes: [head, body].concat(), times });
        }
        Generated { prepared, next: 0, millis: start, left: records }
    }
}

impl Feed for Generated {
    /// The last request of a run may carry a few records more than were asked for: a body is not cut.
    fn next(&mut self, request: &mut Request) -> bool {
        if self.left == 0 {
            return false;
        }
        let prepared = &self.prepared[self.next];
        self.next = (self.next + 1) % self.prepared.len();
        request.bytes.clear();
        request.bytes.extend_from_slice(&prepared.bytes);
        for at in &prepared.times {
            write_time(self.millis, &mut request.bytes[*at as usize..*at as usize + TIME_BYTES]);
            self.millis += 1;
        }
        request.records = prepared.times.len() as u64;
        self.left = self.left.saturating_sub(request.records);
        true
    }
}

/// The lines of a file, sent as they are, once.
pub struct FromFile {
    content: Vec<u8>,
    at: usize,
    target: String,
    body_bytes: usize,
}

impl FromFile {
    pub fn open(path: &Path, target: &str, body_bytes: usize) -> io::Result<FromFile> {
        Ok(FromFile { content: std::fs::read(path)?, at: 0, target: target.to_owned(), body_bytes })
    }
}

impl Feed for FromFile {
    fn next(&mut self, request: &mut Request) -> bool {
        let rest = &self.content[self.at..];
        if rest.is_empty() {
            return false;
        }
        let about = self.body_bytes.min(rest.len());
        let end = memchr::memrchr(b'\n', &rest[..about]).or_else(|| memchr::memchr(b'\n', rest));
        let body = &rest[..end.map_or(rest.len(), |end| end + 1)];
        request.bytes.clear();
        request.bytes.extend_from_slice(head(&self.target, "application/x-ndjson", body.len()).as_bytes());
        request.bytes.extend_from_slice(body);
        request.records = memchr::memchr_iter(b'\n', body).count() as u64 + u64::from(!body.ends_with(b"\n"));
        self.at += body.len();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lines::read_time;

    /// All times of what a feed gives, and the records it says it gives.
    fn times(feed: &mut dyn Feed) -> (Vec<i64>, u64) {
        let (mut request, mut found, mut records) = (Request::default(), Vec::new(), 0);
        while feed.next(&mut request) {
            records += request.records;
            let text = String::from_utf8(request.bytes.clone()).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
            found.extend(body.lines().map(|line| read_time(&line.as_bytes()[TIME_AT..]).unwrap()));
        }
        (found, records)
    }

    #[test]
    fn requests_are_numbered_without_a_gap() {
        let start = 1_763_596_800_000;
        let (found, records) = times(&mut Generated::singles("/data/fast", 1, start, 5_000));
        assert_eq!((found, records), ((start..start + 5_000).collect(), 5_000));
        let (found, records) = times(&mut Generated::batches("/data/batch", 1, start, 5_000, 10_000));
        assert_eq!((found.len() as u64, records), (5_000, 5_000));
        assert!(found.iter().zip(start..).all(|(found, expected)| *found == expected));
    }

    #[test]
    fn a_file_is_sent_once_in_whole_lines() {
        let path = std::env::temp_dir().join(format!("logboom-feed-{}", std::process::id()));
        let lines: Vec<String> = (0..100).map(|index| format!("{{\"n\":{index}}}")).collect();
        std::fs::write(&path, lines.join("\n")).unwrap();
        let mut feed = FromFile::open(&path, "/data/batch", 64).unwrap();
        std::fs::remove_file(&path).unwrap();
        let (mut request, mut found, mut records) = (Request::default(), Vec::new(), 0);
        while feed.next(&mut request) {
            records += request.records;
            let text = String::from_utf8(request.bytes.clone()).unwrap();
            found.extend(text.split_once("\r\n\r\n").unwrap().1.lines().map(str::to_owned));
        }
        assert_eq!((found, records), (lines, 100));
    }
}
