//! A file, a pipe or standard input; what gzip or zstd has compressed is told by its first bytes and decompressed.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::os::fd::AsFd;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use zstd::stream::read::Decoder;

use crate::Failure;

/// Compressed bytes read at a time: a few system calls per chunk.
const COMPRESSED_BYTES: usize = 256 * 1024;
/// A record of several lines is whole when no other line has come for this long: writers flush a trace in one go.
const QUIET: Timespec = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };

/// The first bytes of compressed files.
const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";

pub struct Input {
    name: String,
    source: Source,
}

enum Source {
    /// What was read to tell what it is, and the rest.
    Plain(Cursor<Vec<u8>>, File),
    Compressed(Box<dyn Read>),
}

impl Input {
    pub fn stdin() -> Result<Input, Failure> {
        let name = "standard input".to_owned();
        let file = io::stdin().as_fd().try_clone_to_owned().map_err(|error| unreadable(&name, &error))?;
        Input::of(name, File::from(file))
    }

    /// The file at a path; `-` is standard input.
    pub fn open(path: &Path) -> Result<Input, Failure> {
        if path.as_os_str() == "-" {
            return Input::stdin();
        }
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| unreadable(&name, &error))?;
        Input::of(name, file)
    }

    fn of(name: String, mut file: File) -> Result<Input, Failure> {
        let first = first_bytes(&mut file).map_err(|error| unreadable(&name, &error))?;
        let is_gzip = first.starts_with(GZIP);
        if !is_gzip && !first.starts_with(ZSTD) {
            return Ok(Input { name, source: Source::Plain(Cursor::new(first), file) });
        }
        let bytes = BufReader::with_capacity(COMPRESSED_BYTES, Cursor::new(first).chain(file));
        let decoder: Box<dyn Read> = match is_gzip {
            true => Box::new(MultiGzDecoder::new(bytes)),
            false => Box::new(Decoder::with_buffer(bytes).map_err(|error| unreadable(&name, &error))?),
        };
        Ok(Input { name, source: Source::Compressed(decoder) })
    }

    /// How messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads what there is, at least a byte unless it has ended.
    pub fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = match &mut self.source {
                Source::Plain(first, file) => match first.read(into)? {
                    0 => file.read(into),
                    count => Ok(count),
                },
                Source::Compressed(decoder) => decoder.read(into),
            };
            match count {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                count => return count,
            }
        }
    }

    /// Waits up to [`QUIET`] for something to read; whether nothing came. What is compressed is not live.
    pub fn is_idle(&self) -> bool {
        match &self.source {
            Source::Plain(first, file) if first.position() as usize == first.get_ref().len() => {
                let mut watched = [PollFd::new(file, PollFlags::IN)];
                matches!(poll(&mut watched, Some(&QUIET)), Ok(0))
            }
            Source::Plain(..) | Source::Compressed(_) => false,
        }
    }
}

/// As many bytes as it takes to tell what they are: one, where they are a text's.
fn first_bytes(file: &mut File) -> io::Result<Vec<u8>> {
    let mut first = Vec::new();
    while [GZIP, ZSTD].iter().any(|magic| first.len() < magic.len() && magic.starts_with(&first)) {
        let mut byte = [0];
        match file.read(&mut byte) {
            Ok(0) => break,
            Ok(_) => first.push(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(first)
}

fn unreadable(name: &str, error: &io::Error) -> String {
    format!("{name} cannot be read: {error}")
}
