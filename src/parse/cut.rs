//! From reads to chunks that can be parsed apart from each other: cut at line feeds, or between records of several lines.
//!
//! Comes in: bytes as they are read. Goes out: a chunk for each read, of all lines that have ended. Nothing here waits.

use std::ops::Range;

use memchr::{memchr, memchr_iter, memrchr};
use record::format::{Joined, Joiner, LINE_BYTES_MAX, Multiline};

/// Read at a time: far more than a task costs to hand over, little enough for a few dozen of them to wait in memory.
const READ_BYTES: usize = 2 * 1024 * 1024;

/// Records that are parsed together.
#[derive(Debug, Default)]
pub struct Chunk {
    text: Vec<u8>,
    /// Where records of several lines end in the text, and the numbers of their first lines; `None`: a line each.
    joined: Option<Vec<(usize, u64)>>,
    /// The number of its first line, from 1.
    first_line: u64,
    /// Bytes and lines read for it.
    pub bytes: u64,
    pub lines: u64,
}

impl Chunk {
    pub fn is_empty(&self) -> bool {
        self.text.is_empty() && self.bytes == 0
    }

    /// The records, each with the number of its first line.
    pub fn records(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let ends = self.joined.as_deref().unwrap_or_default();
        let joined = ends.iter().scan(0, |start, &(end, number)| {
            let range: Range<usize> = std::mem::replace(start, end)..end;
            Some((number, &self.text[range]))
        });
        let text = if self.joined.is_some() { &[][..] } else { &self.text };
        joined.chain((self.first_line..).zip(lines(text)))
    }
}

/// The lines of a text, without their ends.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr(b'\n', rest).unwrap_or(rest.len());
        let line = &rest[..end];
        rest = &rest[(end + 1).min(rest.len())..];
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    })
}

/// The cutting of one file.
pub struct Cutter {
    buffer: Vec<u8>,
    /// Of the buffer: the line that has not ended.
    filled: usize,
    /// Within a line that was too long.
    skipping: bool,
    joiner: Option<Joiner>,
    has_open_record: bool,
    /// Of the next line, from 1.
    line: u64,
    /// Read since the last chunk that told of it.
    bytes: u64,
}

impl Cutter {
    pub fn new(multiline: Option<Multiline>) -> Cutter {
        Cutter {
            buffer: vec![0; READ_BYTES],
            filled: 0,
            skipping: false,
            joiner: multiline.map(Joiner::new),
            has_open_record: false,
            line: 1,
            bytes: 0,
        }
    }

    /// Where to read to. There is room, as a line that has not ended is cut off long before it fills the buffer.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.buffer[self.filled..]
    }

    /// So many bytes were read.
    pub fn took(&mut self, count: usize) -> Chunk {
        self.bytes += count as u64;
        self.filled += count;
        if self.skipping {
            match memchr(b'\n', &self.buffer[..self.filled]) {
                Some(end) => {
                    self.take(end + 1);
                    self.skipping = false;
                }
                None => self.filled = 0,
            }
        }
        let mut text = match memrchr(b'\n', &self.buffer[..self.filled]) {
            Some(end) => self.take(end + 1),
            None => Vec::new(),
        };
        // Enough of it for the parser to refuse it, even if the last byte is a carriage return; the rest is dropped.
        if self.filled > LINE_BYTES_MAX + 1 {
            text.extend_from_slice(&self.buffer[..LINE_BYTES_MAX + 2]);
            text.push(b'\n');
            self.filled = 0;
            self.skipping = true;
        }
        self.chunk(text)
    }

    /// The file has ended: gives out what is left.
    pub fn end(&mut self) -> Chunk {
        let text = self.take(self.filled);
        let mut chunk = self.chunk(text);
        if let Some(joined) = self.joiner.as_mut().and_then(Joiner::finish) {
            add(&mut chunk, joined);
        }
        self.has_open_record = false;
        chunk
    }

    /// Whether a record of several lines may go on.
    pub fn has_open_record(&self) -> bool {
        self.has_open_record && self.filled == 0
    }

    /// Nothing more has come for long: gives out the record that is open.
    pub fn close_record(&mut self) -> Chunk {
        self.end()
    }

    /// Takes the first `count` bytes of the buffer.
    fn take(&mut self, count: usize) -> Vec<u8> {
        let taken = self.buffer[..count].to_vec();
        self.buffer.copy_within(count..self.filled, 0);
        self.filled -= count;
        taken
    }

    fn chunk(&mut self, text: Vec<u8>) -> Chunk {
        let unended = !text.is_empty() && !text.ends_with(b"\n");
        let count = memchr_iter(b'\n', &text).count() as u64 + u64::from(unended);
        let mut chunk =
            Chunk { first_line: self.line, bytes: std::mem::take(&mut self.bytes), lines: count, ..Chunk::default() };
        self.line += count;
        match &mut self.joiner {
            None => chunk.text = text,
            Some(joiner) => {
                chunk.joined = Some(Vec::new());
                for line in lines(&text) {
                    self.has_open_record = true;
                    if let Some(joined) = joiner.push(line) {
                        add(&mut chunk, joined);
                    }
                }
            }
        }
        chunk
    }
}

fn add(chunk: &mut Chunk, record: Joined) {
    chunk.text.extend_from_slice(record.text);
    chunk.joined.get_or_insert_default().push((chunk.text.len(), record.first_line as u64 + 1));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The records of a text that is read in pieces, each as `number:text`, long ones by their lengths.
    fn cut(text: &[u8], piece: usize, rule: Option<&str>) -> Vec<String> {
        let mut cutter = Cutter::new(rule.map(|rule| Multiline::parse(rule).unwrap()));
        let mut found = Vec::new();
        let (mut bytes, mut count) = (0, 0);
        let mut gather = |chunk: Chunk| {
            (bytes, count) = (bytes + chunk.bytes, count + chunk.lines);
            found.extend(chunk.records().map(|(number, text)| match text.len() {
                0..100 => format!("{number}:{}", String::from_utf8_lossy(text)),
                length => format!("{number}:{length} bytes"),
            }));
        };
        for piece in text.chunks(piece) {
            cutter.room()[..piece.len()].copy_from_slice(piece);
            gather(cutter.took(piece.len()));
        }
        gather(cutter.end());
        assert_eq!((bytes, count), (text.len() as u64, lines(text).count() as u64));
        found
    }

    #[test]
    fn lines_in_any_pieces() {
        for piece in 1..9 {
            assert_eq!(cut(b"a\r\n\nbc\n\r\nlast", piece, None), ["1:a", "2:", "3:bc", "4:", "5:last"]);
            assert_eq!(cut(b"", piece, None), [""; 0]);
            let joined = ["1:a\n b\n\n c", "5:d"];
            assert_eq!(cut(b"a\r\n b\n\n c\nd", piece, Some("start:^[a-z]")), joined);
            assert_eq!(cut(b"a\n b\n c\nd", piece, Some("indent")), ["1:a\n b\n c", "4:d"]);
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_off_and_counted() {
        let mut text = b"a\n".to_vec();
        text.resize(2 + LINE_BYTES_MAX, b'x');
        text.extend_from_slice(b"\r\n");
        text.resize(text.len() + 5 * LINE_BYTES_MAX, b'y');
        text.extend_from_slice(b"\nb");
        let (right, too_long) = (format!("2:{LINE_BYTES_MAX} bytes"), format!("3:{} bytes", LINE_BYTES_MAX + 2));
        for piece in [4096, 100_001, LINE_BYTES_MAX - 1] {
            for rule in [None, Some("indent")] {
                assert_eq!(cut(&text, piece, rule), ["1:a", &right, &too_long, "4:b"]);
            }
        }
    }

    #[test]
    fn a_record_that_was_closed_early_is_whole() {
        let mut cutter = Cutter::new(Some(Multiline::Indent));
        cutter.room()[..4].copy_from_slice(b"a\n b");
        assert!(cutter.took(4).records().next().is_none() && !cutter.has_open_record());
        cutter.room()[..1].copy_from_slice(b"\n");
        assert!(cutter.took(1).records().next().is_none() && cutter.has_open_record());
        assert_eq!(cutter.close_record().records().collect::<Vec<_>>(), [(1, &b"a\n b"[..])]);
        assert!(!cutter.has_open_record());
        assert!(cutter.end().is_empty());
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(text in "[ a}T\n\r]{0,40}", piece in 1usize..9) {
            for rule in [None, Some("indent"), Some("start:^a")] {
                prop_assert_eq!(cut(text.as_bytes(), piece, rule), cut(text.as_bytes(), 100, rule));
            }
        }
    }
}
