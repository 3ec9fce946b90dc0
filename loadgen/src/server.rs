//! The server that is measured: one that runs, or one of our own in a folder that goes with it. And what it is asked
//! once the load is over: how many records it holds, which of ours, and how often.

use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sonic_rs::JsonValueTrait;

use crate::http::Client;
use crate::lines::{TIME_BYTES, read_time, write_time};
use crate::usage::Process;

const START_TIME_MAX: Duration = Duration::from_secs(20);
/// What is found later than this after the last acknowledgement is taken for lost.
const FOUND_TIME_MAX: Duration = Duration::from_secs(60);
/// Between two looks at the count: short beside the 100 ms that are promised.
const LOOK_EVERY: Duration = Duration::from_millis(5);

#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("`{0}` is no address: write http://host:port")]
    Address(String),
    #[error("no server could be started in {folder}: {reason}")]
    Start { folder: PathBuf, reason: String },
    #[error("no answer from {authority}: {source}")]
    Silent { authority: String, source: io::Error },
    #[error("{authority} answered {target} with {status}: {body}")]
    Refused { authority: String, target: String, status: u16, body: String },
}

/// A server under load.
#[derive(Debug)]
pub struct Server {
    pub address: SocketAddr,
    authority: String,
    /// Where it runs on this machine and its pid is known.
    pub process: Option<Process>,
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    child: Child,
    folder: PathBuf,
}

/// What became of numbered records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Different records of the run.
    pub stored: u64,
    /// Copies beyond the first.
    pub doubled: u64,
}

impl Server {
    pub fn running(authority: &str, pid: Option<u32>) -> Result<Server, ServerError> {
        let address = authority.to_socket_addrs().ok().and_then(|mut found| found.next());
        let address = address.ok_or_else(|| ServerError::Address(authority.to_owned()))?;
        Ok(Server { address, authority: authority.to_owned(), process: pid.map(Process), own: None })
    }

    /// Starts `program serve` with these flags in a new folder below `below`.
    pub fn start(program: &Path, below: &Path, flags: &[String]) -> Result<Server, ServerError> {
        let folder = below.join(format!("bench-data-{}-{:x}", std::process::id(), now_nanos()));
        let wrong = |reason: String| ServerError::Start { folder: folder.clone(), reason };
        std::fs::create_dir_all(&folder).map_err(|error| wrong(error.to_string()))?;
        let mut command = Command::new(program);
        command.arg("serve").args(["--listen", "127.0.0.1:0", "--log-level", "warn", "--data-dir"]).arg(&folder);
        let child = command.args(flags).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let mut child = child.map_err(|error| wrong(error.to_string()))?;
        let deadline = Instant::now() + START_TIME_MAX;
        let address: SocketAddr = loop {
            let found = std::fs::read_to_string(folder.join("listen")).ok().and_then(|text| text.trim().parse().ok());
            match (found, child.try_wait()) {
                (Some(address), _) => break address,
                (None, Ok(None)) if Instant::now() < deadline => std::thread::sleep(LOOK_EVERY),
                (None, ended) => {
                    let _ = child.kill();
                    return Err(wrong(format!("it did not come up ({ended:?})")));
                }
            }
        };
        let process = Some(Process(child.id()));
        Ok(Server { address, authority: address.to_string(), process, own: Some(Own { child, folder }) })
    }

    fn ask(&self, target: &str) -> Result<String, ServerError> {
        let silent = |source| ServerError::Silent { authority: self.authority.clone(), source };
        let mut client = Client::connect(&self.authority).map_err(silent)?;
        let answer = client.get(target).map_err(silent)?;
        let status = answer.status;
        let body = answer.text().map_err(silent)?;
        if status == 200 {
            return Ok(body);
        }
        let target = target.to_owned();
        Err(ServerError::Refused { authority: self.authority.clone(), target, status, body })
    }

    /// Records it holds, of all or of a span of times.
    pub fn count(&self, span: Option<(i64, i64)>) -> Result<u64, ServerError> {
        let target = format!("/stats{}", span.map_or_else(String::new, |span| format!("?{}", query(span))));
        let body = self.ask(&target)?;
        let total = sonic_rs::get(&body, &["total"]).ok().and_then(|total| total.as_u64());
        total.ok_or(ServerError::Refused { authority: self.authority.clone(), target, status: 200, body })
    }

    /// Waits until it holds `total`; what it held at last, and when.
    pub fn wait_for(&self, total: u64) -> Result<(u64, Instant), ServerError> {
        let deadline = Instant::now() + FOUND_TIME_MAX;
        loop {
            let found = self.count(None)?;
            let now = Instant::now();
            if found >= total || now > deadline {
                return Ok((found, now));
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// A span of `count` milliseconds that it holds nothing of, for records numbered by their time.
    pub fn free_span(&self, start: i64, count: i64) -> Result<i64, ServerError> {
        // Days apart, so that spans of several runs stay readable.
        const STEP: i64 = 86_400_000;
        let mut start = start;
        while self.count(Some((start, start + count)))? > 0 {
            start += STEP * (1 + count / STEP);
        }
        Ok(start)
    }

    /// Reads all records of a span back and counts which are there, and which more than once.
    pub fn stored(&self, span: (i64, i64)) -> Result<Stored, ServerError> {
        let silent = |source| ServerError::Silent { authority: self.authority.clone(), source };
        let mut client = Client::connect(&self.authority).map_err(silent)?;
        let answer = client.get(&format!("/logs/export?format=ndjson&{}", query(span))).map_err(silent)?;
        let mut seen = vec![false; usize::try_from(span.1 - span.0).unwrap_or(0)];
        let mut found = Stored::default();
        let mut lines = BufReader::with_capacity(1 << 20, answer);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).map_err(silent)? > 0 {
            const KEY: &[u8] = b"\"timestamp\":\"";
            let time = memchr::memmem::find(&line, KEY).and_then(|at| read_time(&line[at + KEY.len()..]));
            match time.and_then(|time| seen.get_mut(usize::try_from(time - span.0).ok()?)) {
                Some(seen) if !*seen => {
                    *seen = true;
                    found.stored += 1;
                }
                Some(_) => found.doubled += 1,
                None => {}
            }
            line.clear();
        }
        Ok(found)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(Own { child, folder }) = &mut self.own {
            let _ = child.kill();
            let _ = child.wait();
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

fn query((from, to): (i64, i64)) -> String {
    let text = |millis| {
        let mut out = [0; TIME_BYTES];
        write_time(millis, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    };
    format!("from={}&to={}", text(from), text(to))
}

fn now_nanos() -> u128 {
    std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos())
}
