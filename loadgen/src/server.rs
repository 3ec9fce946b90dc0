//! The server under test: one that is started for the run, or one that is there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::http::Client;
use crate::process;
use crate::target::Target;

/// A server that has not said where it listens by then has not started.
const START_MAX: Duration = Duration::from_secs(20);
/// A stop writes what is in memory.
const STOP_MAX: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("cannot start {}: {source}", program.display())]
    Start { program: PathBuf, source: io::Error },
    #[error("the server did not start within {} s; it said: {said}", START_MAX.as_secs())]
    Silent { said: String },
    #[error("{}: {source}", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("{0} is in memory (tmpfs), where a sync costs nothing: choose a folder on a disk with --out")]
    InMemory(PathBuf),
    #[error("no answer from http://{authority}: {source}")]
    Ask { authority: String, source: io::Error },
    #[error("http://{authority}{target} answered {status}: {text}")]
    Refused { authority: String, target: String, status: u16, text: String },
}

/// Where the load goes, and what is known of the process behind it.
#[derive(Debug)]
pub struct Server {
    pub authority: String,
    /// On this machine.
    pub pid: Option<u32>,
    target: Target,
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    child: Child,
    folder: PathBuf,
}

impl Server {
    pub fn at(authority: String, pid: Option<u32>, target: Target) -> Server {
        Server { authority, pid, target, own: None }
    }

    /// Starts `program serve` on a free port, its data in a new folder within `out` that is removed in the end.
    pub fn start(program: &Path, out: &Path, arguments: &[String]) -> Result<Server, ServerError> {
        let folder = out.join(format!("server-{}", std::process::id()));
        let wrong = |source| ServerError::Folder { path: folder.clone(), source };
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).map_err(wrong)?;
        if is_in_memory(&folder) {
            let _ = fs::remove_dir_all(&folder);
            return Err(ServerError::InMemory(out.to_owned()));
        }
        let data = std::path::absolute(folder.join("data")).map_err(wrong)?;
        let told = folder.join("stderr");
        let stderr = fs::File::create(&told).map_err(wrong)?;
        let child = Command::new(program)
            .arg("serve")
            .arg("--data-dir")
            .arg(&data)
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .map_err(|source| ServerError::Start { program: program.to_owned(), source })?;
        let pid = child.id();
        let mut server = Server {
            authority: String::new(),
            pid: Some(pid),
            target: Target::Logboom,
            own: Some(Own { child, folder }),
        };
        let began = Instant::now();
        loop {
            if let Ok(text) = fs::read_to_string(data.join("listen"))
                && !text.trim().is_empty()
            {
                server.authority = text.trim().trim_start_matches("http://").to_owned();
                if server.total().is_ok() {
                    return Ok(server);
                }
            }
            let ended = server.own.as_mut().is_some_and(|own| matches!(own.child.try_wait(), Ok(Some(_))));
            if ended || began.elapsed() > START_MAX {
                let said = fs::read_to_string(&told).unwrap_or_default().trim().to_owned();
                return Err(ServerError::Silent { said });
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Where the data of a server of our own is.
    pub fn folder(&self) -> Option<&Path> {
        self.own.as_ref().map(|own| own.folder.as_path())
    }

    /// Bytes that a server of our own has in its store's folder.
    pub fn stored_bytes(&self) -> Option<u64> {
        self.own.as_ref().map(|own| size_of(&own.folder.join("data")))
    }

    pub fn cpu(&self) -> Option<Duration> {
        process::cpu(self.pid?)
    }

    pub fn get(&self, target: &str) -> Result<String, ServerError> {
        let wrong = |source| ServerError::Ask { authority: self.authority.clone(), source };
        let mut client = Client::connect(&self.authority).map_err(wrong)?;
        let answer = client.get(target).map_err(wrong)?;
        let status = answer.status;
        let text = answer.text().map_err(wrong)?;
        match status {
            200 => Ok(text),
            _ => {
                Err(ServerError::Refused { authority: self.authority.clone(), target: target.to_owned(), status, text })
            }
        }
    }

    /// Records that queries find now; `None` where the target cannot tell.
    pub fn total(&self) -> Result<Option<u64>, ServerError> {
        let Some((target, key)) = self.target.total() else { return Ok(None) };
        let text = match self.get(target) {
            // An index is made by the first record.
            Err(ServerError::Refused { status: 404, .. }) if self.target == Target::Elasticsearch => {
                return Ok(Some(0));
            }
            other => other?,
        };
        self.number(target, &text, key).map(Some)
    }

    /// Batches that wait in the queue.
    pub fn queue_depth(&self) -> Result<u64, ServerError> {
        let text = self.get("/queue/status")?;
        self.number("/queue/status", &text, "depth")
    }

    fn number(&self, target: &str, text: &str, key: &str) -> Result<u64, ServerError> {
        let number = sonic_rs::get(text.as_bytes(), &[key]).ok();
        number.and_then(|raw| raw.as_raw_str().trim_matches([' ', '"']).parse().ok()).ok_or_else(|| {
            ServerError::Refused {
                authority: self.authority.clone(),
                target: target.to_owned(),
                status: 200,
                text: text.to_owned(),
            }
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some(mut own) = self.own.take() else { return };
        if let Some(pid) = rustix::process::Pid::from_raw(own.child.id() as i32) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let began = Instant::now();
        while !matches!(own.child.try_wait(), Ok(Some(_)) | Err(_)) {
            if began.elapsed() > STOP_MAX {
                let _ = own.child.kill();
                let _ = own.child.wait();
                break;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        let _ = fs::remove_dir_all(&own.folder);
    }
}

/// `statfs(2)`: TMPFS_MAGIC.
const TMPFS: u64 = 0x0102_1994;

fn is_in_memory(folder: &Path) -> bool {
    rustix::fs::statfs(folder).is_ok_and(|stat| stat.f_type as u64 == TMPFS)
}

fn size_of(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => size_of(&entry.path()),
            _ => entry.metadata().map_or(0, |metadata| metadata.len()),
        })
        .sum()
}
