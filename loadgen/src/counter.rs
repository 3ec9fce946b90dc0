//! How a store is asked how many records it has, and which: by HTTP, by SQL, or by looking at the file that it writes.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use crate::target::Target;

const READ_BYTES: usize = 1024 * 1024;

#[derive(Debug)]
pub enum Counter {
    /// As the target's kind has it.
    Target(Target),
    Lines(Lines),
    Sql(Sql),
}

/// A file to which a line is added for each record.
#[derive(Debug)]
pub struct Lines {
    pub path: PathBuf,
    /// Bytes that were looked at, and line feeds in them.
    seen: Mutex<(u64, u64)>,
}

/// A Postgres, asked through `psql`.
#[derive(Debug, Clone)]
pub struct Sql {
    pub psql: PathBuf,
    pub url: String,
    /// A statement whose only value is the number of records.
    pub count: String,
    /// A statement that prints a line for each record, with `request_id":"` before its number.
    pub export: String,
    /// A statement whose only value is what the records take on the disk.
    pub bytes: String,
}

impl Lines {
    pub fn of(path: PathBuf) -> Lines {
        Lines { path, seen: Mutex::default() }
    }

    /// Looks at what was added since the last time alone.
    pub fn count(&self) -> io::Result<u64> {
        let mut seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            other => other?,
        };
        file.seek(SeekFrom::Start(seen.0))?;
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                return Ok(seen.1);
            }
            seen.0 += count as u64;
            seen.1 += memchr::memchr_iter(b'\n', &buffer[..count]).count() as u64;
        }
    }
}

impl Sql {
    /// One that is asked nothing but what is said each time.
    pub fn bare(psql: PathBuf, url: &str) -> Sql {
        let none = String::new;
        Sql { psql, url: url.to_owned(), count: none(), export: none(), bytes: none() }
    }

    fn command(&self, sql: &str) -> Command {
        let mut command = Command::new(&self.psql);
        command.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-d", &self.url, "-c", sql]);
        command.stdin(Stdio::null());
        command
    }

    /// What a statement prints.
    pub fn ask(&self, sql: &str) -> io::Result<String> {
        let output = self.command(sql).output()?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            false => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        }
    }

    pub fn number(&self, sql: &str) -> io::Result<u64> {
        let text = self.ask(sql)?;
        text.parse().map_err(|_| io::Error::other(format!("`{sql}` was answered `{text}`")))
    }

    /// The lines of a statement as they come.
    pub fn lines(&self, sql: &str) -> io::Result<impl Read> {
        let mut child = self.command(sql).stdout(Stdio::piped()).spawn()?;
        let out = child.stdout.take().ok_or_else(|| io::Error::other("psql has no output"))?;
        Ok(Reaped { child, out })
    }

    /// How long the server takes for a statement, in µs, as `psql` tells it.
    pub fn time_us(&self, sql: &str) -> io::Result<u64> {
        let output = self.command("").args(["-c", "\\timing on", "-c", sql, "-o", "/dev/null"]).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let time = text.lines().rev().find_map(|line| line.strip_prefix("Time: "));
        let ms = time.and_then(|time| time.split(' ').next()).and_then(|ms| ms.parse::<f64>().ok());
        ms.map(|ms| (ms * 1e3).round() as u64).ok_or_else(|| {
            io::Error::other(format!("`{sql}`: {text}{}", String::from_utf8_lossy(&output.stderr).trim()))
        })
    }
}

struct Reaped {
    child: std::process::Child,
    out: std::process::ChildStdout,
}

impl Read for Reaped {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.out.read(out)?;
        if count == 0 && !out.is_empty() && !self.child.wait()?.success() {
            return Err(io::Error::other("psql broke off"));
        }
        Ok(count)
    }
}

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_growing_file_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let lines = Lines::of(folder.path().join("out"));
        assert_eq!(lines.count().unwrap(), 0);
        let mut file = File::create(&lines.path).unwrap();
        file.write_all(b"a\nb").unwrap();
        assert_eq!(lines.count().unwrap(), 1);
        file.write_all(b"\nc\n").unwrap();
        assert_eq!(lines.count().unwrap(), 3);
    }
}
