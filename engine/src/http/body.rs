//! Body framing (RFC 9112 §6 and §7.1): which bytes of a connection are a message's body, and where it ends.

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Empty,
    Length(u64),
    Chunked,
    /// Up to the end of the connection: answers only.
    UntilClose,
}

/// Chunk size lines and trailers may take this much together with each other, each.
const CHUNK_LINE_BYTES_MAX: usize = 4 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("malformed chunk: {0}")]
    Chunk(&'static str),
}

/// Where in a body a connection is. Give it bytes; it says how many it took and which of them are content.
#[derive(Clone, Debug)]
pub struct Framer {
    state: State,
    /// Of the size line or the trailers under way.
    line_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Content(u64),
    UntilClose,
    ChunkSize,
    ChunkContent(u64),
    ChunkEnd,
    Trailers,
    Done,
}

/// What to do with the bytes at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The first so many bytes are content: say with [`Framer::took`] how many of them were taken.
    Content(usize),
    /// The first so many bytes are framing: drop them.
    Framing(usize),
    /// More bytes are needed.
    More,
    Done,
}

impl Framer {
    pub fn new(framing: Framing) -> Framer {
        let state = match framing {
            Framing::Empty | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Content(length),
            Framing::Chunked => State::ChunkSize,
            Framing::UntilClose => State::UntilClose,
        };
        Framer { state, line_bytes: 0 }
    }

    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether the end of the connection is the end of the body.
    pub fn ends_with_connection(&self) -> bool {
        matches!(self.state, State::UntilClose)
    }

    /// The next step over `bytes`. Call again with what is left until it says `More` or `Done`.
    pub fn step(&mut self, bytes: &[u8]) -> Result<Step, BodyError> {
        if self.state == State::Done {
            return Ok(Step::Done);
        }
        if bytes.is_empty() {
            return Ok(Step::More);
        }
        match self.state {
            State::Content(left) | State::ChunkContent(left) => {
                Ok(Step::Content(left.min(bytes.len() as u64) as usize))
            }
            State::UntilClose => Ok(Step::Content(bytes.len())),
            State::ChunkEnd => match bytes {
                [b'\r', b'\n', ..] => {
                    self.state = State::ChunkSize;
                    Ok(Step::Framing(2))
                }
                [b'\r'] => Ok(Step::More),
                _ => Err(BodyError::Chunk("no line end after its content")),
            },
            State::ChunkSize => self.chunk_size(bytes),
            State::Trailers => self.trailers(bytes),
            State::Done => Ok(Step::Done),
        }
    }

    /// Moves on by content that was taken: at most as much as the last step offered.
    pub fn took(&mut self, count: usize) {
        self.state = match self.state {
            State::Content(left) if left <= count as u64 => State::Done,
            State::Content(left) => State::Content(left - count as u64),
            State::ChunkContent(left) if left <= count as u64 => State::ChunkEnd,
            State::ChunkContent(left) => State::ChunkContent(left - count as u64),
            other => other,
        };
    }

    fn chunk_size(&mut self, bytes: &[u8]) -> Result<Step, BodyError> {
        let line = &bytes[..bytes.len().min(CHUNK_LINE_BYTES_MAX)];
        if !line[0].is_ascii_hexdigit() {
            return Err(BodyError::Chunk("its size line is no number in hexadecimal"));
        }
        match httparse::parse_chunk_size(line) {
            // A chunk's line ends in CRLF here, as everywhere: a bare line feed is how a second reader is fooled.
            Ok(httparse::Status::Complete((length, _))) if !line[..length].ends_with(b"\r\n") => {
                Err(BodyError::Chunk("a bare line feed in its size line"))
            }
            Ok(httparse::Status::Complete((length, 0))) => {
                self.state = State::Trailers;
                self.line_bytes = 0;
                Ok(Step::Framing(length))
            }
            Ok(httparse::Status::Complete((length, size))) => {
                self.state = State::ChunkContent(size);
                Ok(Step::Framing(length))
            }
            Ok(httparse::Status::Partial) if bytes.len() < CHUNK_LINE_BYTES_MAX => Ok(Step::More),
            _ => Err(BodyError::Chunk("its size line is no number in hexadecimal")),
        }
    }

    /// Trailer fields are read and dropped, up to the empty line.
    fn trailers(&mut self, bytes: &[u8]) -> Result<Step, BodyError> {
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            return match self.line_bytes + bytes.len() > CHUNK_LINE_BYTES_MAX {
                true => Err(BodyError::Chunk("its trailers are too long")),
                false => Ok(Step::More),
            };
        };
        self.line_bytes += end + 1;
        if self.line_bytes > CHUNK_LINE_BYTES_MAX {
            return Err(BodyError::Chunk("its trailers are too long"));
        }
        match &bytes[..=end] {
            b"\r\n" => self.state = State::Done,
            line if !line.ends_with(b"\r\n") => return Err(BodyError::Chunk("a bare line feed in its trailers")),
            _ => {}
        }
        Ok(Step::Framing(end + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds `bytes` in pieces of `piece`; gives the content and what follows the body, or the error.
    fn read(framing: Framing, bytes: &[u8], piece: usize) -> Result<Option<(Vec<u8>, usize)>, BodyError> {
        let mut framer = Framer::new(framing);
        let (mut content, mut at, mut have) = (Vec::new(), 0, 0);
        loop {
            match framer.step(&bytes[at..have])? {
                Step::Content(n) => {
                    content.extend_from_slice(&bytes[at..at + n]);
                    framer.took(n);
                    at += n;
                }
                Step::Framing(n) => at += n,
                Step::Done => return Ok(Some((content, at))),
                Step::More if have == bytes.len() => return Ok(None),
                Step::More => have = (have + piece).min(bytes.len()),
            }
        }
    }

    fn check(framing: Framing, bytes: &str, want: Result<Option<(&str, usize)>, ()>) {
        for piece in [1, 2, 3, 7, 1000] {
            let got = read(framing, bytes.as_bytes(), piece).map_err(drop);
            let want = want.map(|o| o.map(|(content, at)| (content.as_bytes().to_vec(), at)));
            assert_eq!(got, want, "{bytes:?} by {piece}");
        }
    }

    #[test]
    fn framings() {
        check(Framing::Empty, "GET", Ok(Some(("", 0))));
        check(Framing::Length(3), "abcdef", Ok(Some(("abc", 3))));
        check(Framing::Length(9), "abcdef", Ok(None));
        check(Framing::Chunked, "3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\nGET", Ok(Some(("abc0123456789", 32))));
        check(Framing::Chunked, "1\r\na\r\n0\r\nTrailer: x\r\n\r\n", Ok(Some(("a", 23))));
        check(Framing::Chunked, "5\r\nabc", Ok(None));
    }

    #[test]
    fn broken_chunks() {
        for bytes in ["g\r\n", "-1\r\n", "3\nabc\r\n", "3\r\nabcd\r\n", "\r\n", "fffffffffffffffff\r\n", "0\r\na\n\r\n"]
        {
            check(Framing::Chunked, bytes, Err(()));
        }
        assert!(read(Framing::Chunked, format!("1;{}", "x".repeat(5000)).as_bytes(), 100).is_err());
        assert!(read(Framing::Chunked, format!("0\r\n{}", "A: b\r\n".repeat(1000)).as_bytes(), 100).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes: Vec<u8>, piece in 1usize..50) {
            let _ = read(Framing::Chunked, &bytes, piece);
        }

        #[test]
        fn chunks_come_back(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..100), 0..10), piece in 1usize..50) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\n");
            prop_assert_eq!(read(Framing::Chunked, &wire, piece).unwrap(), Some((chunks.concat(), wire.len())));
        }
    }
}
