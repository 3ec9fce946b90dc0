//! A request's body on its way in: framing and coding undone, in pieces, within its limits.
//!
//! Comes in: what a connection has at hand. Goes out: decoded bytes, to whoever takes the body in. Nothing here waits;
//! a turn ends after [`DECODED_PER_TURN`], so that one body does not hold a core.

use std::io;
use std::time::Instant;

use crate::conn::Conn;
use crate::http::body::Step;
use crate::http::coding::{CodingError, Decoder};
use crate::http::{BodyError, Coding, Framer, Head, Reply};
use crate::ingest::Door;

/// Decoded bytes between two looks at whether others wait: about a millisecond of parsing.
const DECODED_PER_TURN: usize = 512 * 1024;
/// Decoded bytes come out in pieces of this.
const DECODED_PIECE: usize = 64 * 1024;
/// A packed body may grow so much, once it has passed [`GROWTH_FREE`]: zstd reaches 100 on very even logs.
const GROWTH_MAX: u64 = 250;
const GROWTH_FREE: u64 = 32 * 1024 * 1024;

/// Why a body was not taken in.
pub enum Broken {
    /// The client has gone, or is too slow.
    Gone(io::Error),
    Slow,
    Refused(Reply),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::TimedOut { Broken::Slow } else { Broken::Gone(error) }
    }
}

/// A body on its way in: framing and coding undone.
pub struct Body {
    pub framer: Framer,
    decoder: Decoder,
    door: Door,
    limit: u64,
    /// Bytes of the body as sent, and decoded.
    pub raw: u64,
    pub decoded: u64,
    pub began: Instant,
    piece: Vec<u8>,
}

pub enum Turn {
    /// The body has ended.
    Done,
    /// More is needed from the client.
    More,
    /// There is more at hand, and somebody else may want the core.
    Again,
}

impl Body {
    pub fn new(head: &Head, coding: Coding, limit: u64) -> Result<Body, CodingError> {
        let door = Door::at(&head.path).unwrap_or(Door::Batch);
        Ok(Body {
            framer: Framer::new(head.framing),
            decoder: Decoder::new(coding)?,
            door,
            limit,
            raw: 0,
            decoded: 0,
            began: Instant::now(),
            piece: Vec::new(),
        })
    }

    /// Feeds what is at hand, decoded, to `feed`.
    pub fn pump(&mut self, conn: &mut Conn, feed: &mut dyn FnMut(&[u8]) -> Result<(), Reply>) -> Result<Turn, Broken> {
        let mut fed = 0;
        loop {
            // A decoder that has more to give is emptied before it is given more.
            if fed > DECODED_PER_TURN {
                return Ok(Turn::Again);
            }
            match self.framer.step(conn.bytes()).map_err(|error| Broken::Refused(framing_reply(&error)))? {
                Step::Content(available) => {
                    let take = self.content(&conn.bytes()[..available], feed, &mut fed)?;
                    self.framer.took(take);
                    self.raw += take as u64;
                    conn.consume(take);
                }
                Step::Framing(count) => conn.consume(count),
                Step::More => return Ok(Turn::More),
                Step::Done => {
                    while self.decode(&[], feed, &mut fed)?.1 > 0 {}
                    self.decoder.finish().map_err(|error| Broken::Refused(coding_reply(&error)))?;
                    return Ok(Turn::Done);
                }
            }
        }
    }

    /// Takes in some of `bytes`; gives how many.
    fn content(
        &mut self,
        bytes: &[u8],
        feed: &mut dyn FnMut(&[u8]) -> Result<(), Reply>,
        fed: &mut usize,
    ) -> Result<usize, Broken> {
        if self.decoder.is_identity() {
            self.count(bytes.len())?;
            *fed += bytes.len();
            feed(bytes).map_err(Broken::Refused)?;
            return Ok(bytes.len());
        }
        let mut taken = 0;
        while *fed <= DECODED_PER_TURN {
            let (consumed, produced) = self.decode(&bytes[taken..], feed, fed)?;
            taken += consumed;
            if consumed == 0 && produced == 0 {
                break;
            }
        }
        // Nothing consumed of a whole chunk and nothing produced: the stream has ended and something follows it.
        if taken == 0 && *fed <= DECODED_PER_TURN {
            return Err(Broken::Refused(coding_reply(&CodingError::Broken("compressed data"))));
        }
        Ok(taken)
    }

    fn decode(
        &mut self,
        bytes: &[u8],
        feed: &mut dyn FnMut(&[u8]) -> Result<(), Reply>,
        fed: &mut usize,
    ) -> Result<(usize, usize), Broken> {
        if self.decoder.is_identity() {
            return Ok((0, 0));
        }
        if self.piece.is_empty() {
            self.piece.resize(DECODED_PIECE, 0);
        }
        let mut piece = std::mem::take(&mut self.piece);
        let progress = self.decoder.decode(bytes, &mut piece).map_err(|error| Broken::Refused(coding_reply(&error)))?;
        self.count(progress.produced)?;
        *fed += progress.produced;
        let result = feed(&piece[..progress.produced]);
        self.piece = piece;
        result.map_err(Broken::Refused)?;
        Ok((progress.consumed, progress.produced))
    }

    fn count(&mut self, decoded: usize) -> Result<(), Broken> {
        self.decoded += decoded as u64;
        if self.decoded > self.limit {
            return Err(Broken::Refused(body_too_large(self.door, self.limit)));
        }
        let grown_too_much = self.decoded > GROWTH_FREE && self.decoded / GROWTH_MAX > self.raw + DECODED_PIECE as u64;
        if grown_too_much && !self.decoder.is_identity() {
            let message = format!("the body grows more than {GROWTH_MAX}-fold when it is decoded: send it less packed");
            return Err(Broken::Refused(Reply::error(413, "body_too_large", &message)));
        }
        Ok(())
    }
}

fn framing_reply(error: &BodyError) -> Reply {
    Reply::error(400, "malformed_body", &error.to_string()).closing()
}

pub fn body_too_large(door: Door, max: u64) -> Reply {
    let setting = match door {
        Door::Batch => "body_bytes_max",
        Door::Parse => "atomic_body_bytes_max",
        Door::Direct | Door::Fast => "line_bytes_max",
    };
    Reply::error(413, "body_too_large", &format!("the body is longer than {max} bytes: raise {setting}, or send less"))
}

pub fn coding_reply(error: &CodingError) -> Reply {
    Reply::error(400, "malformed_encoding", &error.to_string())
}
