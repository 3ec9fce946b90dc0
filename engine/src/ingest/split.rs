//! Cutting a body into records while it arrives: at line feeds, or at the elements of one JSON array.
//!
//! Plain state machines over whatever pieces come: a record that lies within one piece is handed on where it stands,
//! one that spans pieces is gathered first. Length is checked while reading, not once the end turns up.

use memchr::{memchr, memchr2};

/// One record's bytes, or the news that it was too long to be gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    Record(&'a [u8]),
    /// It had more than `line_bytes_max` bytes; they are dropped.
    TooLong,
}

/// Where records go.
pub type Sink<'s> = dyn FnMut(Piece) + 's;

/// Cuts at line feeds; a carriage return before one belongs to it.
#[derive(Debug)]
pub struct LineSplitter {
    carry: Vec<u8>,
    skipping: bool,
    line_bytes_max: usize,
}

impl LineSplitter {
    pub fn new(line_bytes_max: usize) -> Self {
        LineSplitter { carry: Vec::new(), skipping: false, line_bytes_max }
    }

    pub fn feed(&mut self, mut bytes: &[u8], sink: &mut Sink) {
        if !self.carry.is_empty() || self.skipping {
            let Some(end) = memchr(b'\n', bytes) else {
                return self.keep(bytes);
            };
            self.keep(&bytes[..end]);
            self.finish(sink);
            bytes = &bytes[end + 1..];
        }
        while let Some(end) = memchr(b'\n', bytes) {
            self.hand_over(&bytes[..end], sink);
            bytes = &bytes[end + 1..];
        }
        self.keep(bytes);
    }

    /// The body has ended: what was gathered is the last line, if there is any.
    pub fn end(&mut self, sink: &mut Sink) {
        if !self.carry.is_empty() || self.skipping {
            self.finish(sink);
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        // One byte more is let in, for the carriage return that will be cut off.
        if self.skipping || self.carry.len() + bytes.len() > self.line_bytes_max + 1 {
            self.skipping = true;
            self.carry = Vec::new();
        } else {
            self.carry.extend_from_slice(bytes);
        }
    }

    fn finish(&mut self, sink: &mut Sink) {
        if std::mem::take(&mut self.skipping) {
            return sink(Piece::TooLong);
        }
        let line = std::mem::take(&mut self.carry);
        self.hand_over(&line, sink);
        // The buffer is kept, unless one long line has made it large.
        if line.capacity() <= 64 * 1024 {
            self.carry = line;
            self.carry.clear();
        }
    }

    fn hand_over(&self, line: &[u8], sink: &mut Sink) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        sink(if line.len() > self.line_bytes_max { Piece::TooLong } else { Piece::Record(line) });
    }
}

/// A JSON document that is not the array it began as.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed JSON: {reason}")]
pub struct ArrayError {
    pub reason: &'static str,
    /// From 1.
    pub line: usize,
    /// From 1, in bytes.
    pub column: usize,
}

/// Cuts out the elements of `[…]`, or of the array of `{"logs": […], …}`. It checks the array's own grammar; each
/// element is checked by whoever parses it.
#[derive(Debug)]
pub struct ArraySplitter {
    state: State,
    carry: Vec<u8>,
    skipping: bool,
    record_bytes_max: usize,
    /// Of the element under way: open brackets, and whether a string is open.
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// In an envelope, an object goes on after the array.
    in_envelope: bool,
    line: usize,
    /// Bytes read in all, and where the current line began.
    read: u64,
    line_start: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Just after `[`: an element, or the end at once.
    First,
    /// After a comma: an element.
    Element,
    /// Within an element that is a string, array or object.
    Within,
    /// Within a number or literal, which ends at a comma, bracket or blank.
    Scalar,
    /// After an element: a comma or the end.
    After,
    /// After the array. In an envelope the rest is gathered and checked at the end.
    Closed,
}

impl ArraySplitter {
    /// Begins just after the array's `[`. `skipped` is what came before it in the body.
    pub fn new(in_envelope: bool, record_bytes_max: usize, skipped: &[u8]) -> Self {
        let last_line = memchr::memrchr(b'\n', skipped).map_or(0, |at| at + 1);
        ArraySplitter {
            state: State::First,
            carry: Vec::new(),
            skipping: false,
            record_bytes_max,
            depth: 0,
            in_string: false,
            escaped: false,
            in_envelope,
            line: 1 + memchr::memchr_iter(b'\n', skipped).count(),
            read: skipped.len() as u64,
            line_start: last_line as u64,
        }
    }

    pub fn feed(&mut self, bytes: &[u8], sink: &mut Sink) -> Result<(), ArrayError> {
        let mut start = 0;
        let mut at = 0;
        while at < bytes.len() {
            let b = bytes[at];
            match self.state {
                State::First | State::Element | State::After => {
                    match (self.state, b) {
                        (_, b' ' | b'\t' | b'\r' | b'\n') => {}
                        (State::First | State::After, b']') => self.state = State::Closed,
                        (State::After, b',') => self.state = State::Element,
                        (State::After, _) => return Err(self.error("a comma or ] is missing", bytes, at)),
                        (_, b'{' | b'[') => {
                            (self.state, self.depth, start) = (State::Within, 1, at);
                        }
                        (_, b'"') => {
                            (self.state, self.in_string, start) = (State::Within, true, at);
                        }
                        (_, b'-' | b'0'..=b'9' | b'a'..=b'z') => (self.state, start) = (State::Scalar, at),
                        _ => return Err(self.error("a value is missing", bytes, at)),
                    }
                    at += 1;
                }
                State::Within => {
                    at += self.within(&bytes[at..]);
                    if self.depth == 0 && !self.in_string {
                        self.hand_over(&bytes[start..at], sink);
                        self.state = State::After;
                    }
                }
                State::Scalar => {
                    if matches!(b, b',' | b']' | b' ' | b'\t' | b'\r' | b'\n') {
                        self.hand_over(&bytes[start..at], sink);
                        self.state = State::After;
                    } else {
                        at += 1;
                    }
                }
                State::Closed => {
                    let rest = &bytes[at..];
                    if self.in_envelope {
                        self.keep(rest);
                    } else if let Some(more) = rest.iter().position(|b| !b.is_ascii_whitespace()) {
                        return Err(self.error("more follows after the array", bytes, at + more));
                    }
                    at = bytes.len();
                }
            }
        }
        if matches!(self.state, State::Within | State::Scalar) {
            self.keep(&bytes[start..]);
        }
        self.count_lines(bytes);
        Ok(())
    }

    /// The body has ended. Gives what followed the array within its envelope, if there is one, for the caller to check: it
    /// should close the object.
    pub fn end(&mut self) -> Result<Option<&[u8]>, ArrayError> {
        match self.state {
            State::Closed if self.skipping => Err(self.error("too much follows after the array of logs", &[], 0)),
            State::Closed => Ok(self.in_envelope.then_some(&self.carry[..])),
            _ => Err(self.error("it ends before its array does", &[], 0)),
        }
    }

    /// Moves through an element that is a string, array or object; returns how far.
    fn within(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            if self.escaped {
                self.escaped = false;
                at += 1;
                continue;
            }
            if self.in_string {
                let Some(next) = memchr2(b'"', b'\\', &bytes[at..]) else { return bytes.len() };
                at += next + 1;
                match bytes[at - 1] {
                    b'"' => self.in_string = false,
                    _ => self.escaped = true,
                }
            } else {
                match bytes[at] {
                    b'"' => self.in_string = true,
                    b'{' | b'[' => self.depth += 1,
                    b'}' | b']' => self.depth -= 1,
                    _ => {}
                }
                at += 1;
            }
            if self.depth == 0 && !self.in_string {
                return at;
            }
        }
        at
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.skipping || self.carry.len() + bytes.len() > self.record_bytes_max {
            self.skipping = true;
            self.carry = Vec::new();
        } else {
            self.carry.extend_from_slice(bytes);
        }
    }

    fn hand_over(&mut self, last: &[u8], sink: &mut Sink) {
        if self.carry.is_empty() && !self.skipping {
            return sink(if last.len() > self.record_bytes_max { Piece::TooLong } else { Piece::Record(last) });
        }
        self.keep(last);
        if std::mem::take(&mut self.skipping) {
            sink(Piece::TooLong);
        } else {
            sink(Piece::Record(&self.carry));
        }
        self.carry.clear();
    }

    fn count_lines(&mut self, bytes: &[u8]) {
        if let Some(last) = memchr::memrchr(b'\n', bytes) {
            self.line += memchr::memchr_iter(b'\n', bytes).count();
            self.line_start = self.read + last as u64 + 1;
        }
        self.read += bytes.len() as u64;
    }

    fn error(&mut self, reason: &'static str, bytes: &[u8], at: usize) -> ArrayError {
        self.count_lines(&bytes[..at]);
        ArrayError { reason, line: self.line, column: (self.read - self.line_start) as usize + 1 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn gather(piece: Piece) -> String {
        match piece {
            Piece::Record(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Piece::TooLong => "TOO LONG".into(),
        }
    }

    fn lines(text: &[u8], piece: usize) -> Vec<String> {
        let mut splitter = LineSplitter::new(10);
        let mut out = Vec::new();
        for piece in text.chunks(piece) {
            splitter.feed(piece, &mut |p| out.push(gather(p)));
        }
        splitter.end(&mut |p| out.push(gather(p)));
        out
    }

    fn elements(text: &[u8], piece: usize, in_envelope: bool) -> Result<(Vec<String>, String), ArrayError> {
        let mut splitter = ArraySplitter::new(in_envelope, 20, b"[");
        let mut out = Vec::new();
        for piece in text.chunks(piece) {
            splitter.feed(piece, &mut |p| out.push(gather(p)))?;
        }
        let rest = String::from_utf8_lossy(splitter.end()?.unwrap_or_default()).into_owned();
        Ok((out, rest))
    }

    #[test]
    fn lines_in_any_pieces() {
        for piece in 1..20 {
            assert_eq!(lines(b"a\r\n\nbc\n", piece), ["a", "", "bc"]);
            assert_eq!(lines(b"last", piece), ["last"]);
            assert_eq!(lines(b"0123456789\r\n01234567890\nx", piece), ["0123456789", "TOO LONG", "x"]);
        }
    }

    #[test]
    fn elements_in_any_pieces() {
        for piece in 1..40 {
            let text = br#" {"a":"]\"}"} , [1,[2]],"x,y" ,12, null ]  "#;
            let want = [r#"{"a":"]\"}"}"#, "[1,[2]]", r#""x,y""#, "12", "null"];
            assert_eq!(elements(text, piece, false).unwrap().0, want, "{piece}");
            assert_eq!(elements(b"]", piece, false).unwrap().0, [""; 0]);
            let text = format!(r#"{{"a":"{}"}},1]"#, "x".repeat(30));
            assert_eq!(elements(text.as_bytes(), piece, false).unwrap().0, ["TOO LONG", "1"]);
            assert_eq!(elements(br#"1], "x": 2}"#, piece, true).unwrap().1, r#", "x": 2}"#);
        }
    }

    #[test]
    fn broken_arrays_say_where() {
        for (text, line, column) in
            [("1 2]", 1, 4), ("1,]", 1, 4), ("1,\n\n x\u{7f}}", 3, 5), ("1] 2", 1, 5), ("[", 1, 3), ("", 1, 2)]
        {
            for piece in 1..6 {
                let error = elements(text.as_bytes(), piece, false).unwrap_err();
                assert_eq!((error.line, error.column), (line, column), "{text:?} by {piece}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes: Vec<u8>, piece in 1usize..9) {
            lines(&bytes, piece);
            let _ = elements(&bytes, piece, true);
        }
    }
}
