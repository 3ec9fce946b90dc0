//! Generated lines, written somewhere: as fast as they can be made or at a set rate, up to a count or a size, into a
//! stream or into a file that grows and rotates as a service's log does.

use std::fs::{File, OpenOptions, rename};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::generate::{Format, Generator};

/// Lines are written in pieces of about this: what a pipe takes at once.
const PIECE_BYTES: usize = 64 * 1024;
/// At a set rate, lines go out so often.
const TICK: Duration = Duration::from_millis(10);

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Amount {
    pub lines: Option<u64>,
    pub bytes: Option<u64>,
    /// Lines a second.
    pub rate: Option<f64>,
}

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    pub lines: u64,
    pub bytes: u64,
}

/// Writes lines until there are enough, or the reader has gone.
pub fn emit(generator: &mut Generator, format: Format, amount: Amount, mut out: impl Write) -> io::Result<Written> {
    let began = Instant::now();
    let mut piece = Vec::with_capacity(2 * PIECE_BYTES);
    let mut written = Written::default();
    let lines_max = amount.lines.unwrap_or(u64::MAX);
    let bytes_max = amount.bytes.unwrap_or(u64::MAX);
    loop {
        let due =
            amount.rate.map_or(lines_max, |rate| (began.elapsed().as_secs_f64() * rate) as u64 + 1).min(lines_max);
        let mut over = written.lines >= lines_max;
        piece.clear();
        while written.lines < due && piece.len() < PIECE_BYTES {
            let before = piece.len();
            generator.line(format, written.lines, &mut piece);
            if written.bytes + piece.len() as u64 > bytes_max {
                piece.truncate(before);
                over = true;
                break;
            }
            written.lines += 1;
        }
        out.write_all(&piece)?;
        written.bytes += piece.len() as u64;
        if over || (written.lines >= lines_max) {
            out.flush()?;
            return Ok(written);
        }
        if amount.rate.is_some() && written.lines >= due {
            out.flush()?;
            std::thread::sleep(TICK);
        }
    }
}

/// A log file that is renamed to `NAME.1` once it is large, `NAME.1` to `NAME.2`, and so on, as logrotate does it. Lines
/// are never cut by it.
#[derive(Debug)]
pub struct Rotating {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
    kept: usize,
}

impl Rotating {
    pub fn open(path: &Path, bytes_max: u64, kept: usize) -> io::Result<Rotating> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Rotating { path: path.to_owned(), file, bytes, bytes_max, kept })
    }

    fn numbered(&self, number: usize) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..self.kept).rev() {
            match rename(self.numbered(number), self.numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        rename(&self.path, self.numbered(1))?;
        self.file = OpenOptions::new().append(true).create(true).open(&self.path)?;
        self.bytes = 0;
        Ok(())
    }
}

impl Write for Rotating {
    /// Takes whole lines, so that a rotation falls between two.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let room = usize::try_from(self.bytes_max.saturating_sub(self.bytes)).unwrap_or(usize::MAX);
        let fitting = match bytes.len() <= room {
            true => bytes.len(),
            false => memchr::memrchr(b'\n', &bytes[..room]).map_or(0, |end| end + 1),
        };
        if fitting == 0 && self.bytes > 0 {
            self.rotate()?;
            return self.write(bytes);
        }
        // A line that is longer than a file has one to itself.
        let line = || memchr::memchr(b'\n', bytes).map_or(bytes.len(), |end| end + 1);
        let count = if fitting == 0 { line() } else { fitting };
        self.file.write_all(&bytes[..count])?;
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_kept_to() {
        for (lines, bytes) in
            [(Some(0), None), (Some(1), None), (Some(10_000), None), (None, Some(300_000)), (None, Some(3))]
        {
            let mut out = Vec::new();
            let amount = Amount { lines, bytes, rate: None };
            let written = emit(&mut Generator::new(1, 0), Format::Json, amount, &mut out).unwrap();
            let count = out.iter().filter(|&&byte| byte == b'\n').count() as u64;
            assert_eq!((written.bytes, written.lines), (out.len() as u64, count));
            assert!(lines.is_none_or(|lines| lines == count), "{count}");
            assert!(bytes.is_none_or(|bytes| written.bytes <= bytes && written.bytes + 500 > bytes), "{written:?}");
        }
    }

    #[test]
    fn a_rate_is_kept_to() {
        let began = Instant::now();
        let amount = Amount { lines: Some(300), bytes: None, rate: Some(1_000.0) };
        emit(&mut Generator::new(1, 0), Format::Plain, amount, io::sink()).unwrap();
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(280) && took < Duration::from_secs(3), "{took:?}");
    }

    #[test]
    fn files_rotate_between_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.log");
        let amount = Amount { lines: Some(1_000), bytes: None, rate: None };
        let mut whole = Vec::new();
        emit(&mut Generator::new(1, 0), Format::Logfmt, amount, &mut whole).unwrap();
        let mut file = Rotating::open(&path, 50_000, 100).unwrap();
        emit(&mut Generator::new(1, 0), Format::Logfmt, amount, &mut file).unwrap();
        let mut text = Vec::new();
        let mut number = 1;
        while file.numbered(number).exists() {
            number += 1;
        }
        assert!(number > 3, "{number}");
        for number in (1..number).rev() {
            let part = std::fs::read(file.numbered(number)).unwrap();
            assert!(part.len() <= 50_000 && part.ends_with(b"\n"));
            text.extend(part);
        }
        text.extend(std::fs::read(&path).unwrap());
        assert!(text == whole);
    }
}
