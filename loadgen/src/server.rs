//! The server under test: one that is started for the run, or one that is there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sonic_rs::PointerNode;

use crate::counter::{Counter, Sql};
use crate::http::Client;
use crate::ledger::{Ledger, Stored};
use crate::process;
use crate::target::Target;

/// A server that has not said where it listens by then has not started.
const START_MAX: Duration = Duration::from_secs(20);
/// A stop writes what is in memory.
const STOP_MAX: Duration = Duration::from_secs(30);
/// And whatever it works with is there by then.
const USED_MAX: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// What a server's process is called beside those of others.
const SERVER: &str = "logboom";

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
    #[error("the server does not use {name} as this run says: {health}")]
    Backend { name: &'static str, health: String },
    #[error("no answer from http://{authority}: {source}")]
    Ask { authority: String, source: io::Error },
    #[error("http://{authority}{target} answered {status}: {text}")]
    Refused { authority: String, target: String, status: u16, text: String },
}

/// Where the load goes, and what is known of the processes behind it.
#[derive(Debug)]
pub struct Server {
    pub authority: String,
    /// On this machine; what they have started counts as well.
    pub processes: Vec<Process>,
    pub target: Target,
    pub counter: Counter,
    own: Option<Own>,
}

/// One of those that a system is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    pub name: &'static str,
    pub pid: u32,
}

/// What one of them has used.
pub type CpuOf = (&'static str, Duration);

/// Of a server of our own: servers beside it, if it is to use any.
#[derive(Debug, Clone, Default)]
pub struct Backends {
    pub redis_url: Option<String>,
    pub db_url: Option<String>,
    /// Theirs, where they were started for this run: what they use is counted with the server's.
    pub processes: Vec<Process>,
    pub psql: Option<PathBuf>,
}

/// What all partitions take, with their indexes.
const PARTITIONS_BYTES: &str = "select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint from pg_class c \
                                join pg_namespace n on n.oid = c.relnamespace \
                                where c.relkind = 'r' and n.nspname = 'public' and c.relname like 'logs%'";

impl Backends {
    /// A Postgres that was started for this run alone.
    fn fresh_postgres(&self) -> Option<Sql> {
        let url = self.db_url.clone().filter(|_| !self.processes.is_empty())?;
        let psql = self.psql.clone()?;
        Some(Sql { bytes: PARTITIONS_BYTES.to_owned(), ..Sql::bare(psql, &url) })
    }

    /// The program, which is told of these servers and of no others: what is measured is what the run says, not what the
    /// shell happens to have.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for (name, value) in [("REDIS_URL", &self.redis_url), ("DB_URL", &self.db_url)] {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    pub fn name(&self) -> &'static str {
        match (&self.redis_url, &self.db_url) {
            (None, None) => "embedded",
            (Some(_), None) => "redis",
            (None, Some(_)) => "postgres",
            (Some(_), Some(_)) => "redis and postgres",
        }
    }
}

#[derive(Debug)]
struct Own {
    child: Child,
    folder: PathBuf,
    /// Its store, where that is a Postgres that held nothing before.
    fresh_postgres: Option<Sql>,
}

impl Server {
    pub fn at(authority: String, pid: Option<u32>, target: Target) -> Server {
        let processes = pid.into_iter().map(|pid| Process { name: SERVER, pid }).collect();
        Server::with(authority, processes, target, Counter::Target(target))
    }

    /// One that somebody else has started.
    pub fn with(authority: String, processes: Vec<Process>, target: Target, counter: Counter) -> Server {
        Server { authority, processes, target, counter, own: None }
    }

    /// Starts `program serve` on a free port, its data in a new folder within `out` that is removed in the end.
    pub fn start(program: &Path, out: &Path, arguments: &[String], backends: &Backends) -> Result<Server, ServerError> {
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
        let child = backends
            .command(program)
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
        let own = Process { name: SERVER, pid: child.id() };
        let mut server = Server {
            authority: String::new(),
            processes: [own].into_iter().chain(backends.processes.iter().copied()).collect(),
            target: Target::Logboom,
            counter: Counter::Target(Target::Logboom),
            own: Some(Own { child, folder, fresh_postgres: backends.fresh_postgres() }),
        };
        let began = Instant::now();
        loop {
            if let Ok(text) = fs::read_to_string(data.join("listen"))
                && !text.trim().is_empty()
            {
                server.authority = text.trim().trim_start_matches("http://").to_owned();
                if server.total().is_ok() {
                    return server.uses(backends).map(|()| server);
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

    /// Of all its processes so far.
    pub fn cpu(&self) -> Option<Duration> {
        process::cpu(&self.pids())
    }

    /// The same apart; a process that has ended is left out of the end of it.
    pub fn cpu_of_each(&self) -> Vec<CpuOf> {
        self.processes.iter().map_while(|process| Some((process.name, process::cpu(&[process.pid])?))).collect()
    }

    pub fn pids(&self) -> Vec<u32> {
        self.processes.iter().map(|process| process.pid).collect()
    }

    /// That it works with the servers that the run says, and with no others. One that is just coming up is waited for.
    pub fn uses(&self, backends: &Backends) -> Result<(), ServerError> {
        let began = Instant::now();
        loop {
            let page = self.get("/metrics")?;
            let works: Vec<&str> = page.lines().filter(|line| line.starts_with("logboom_server_works{")).collect();
            let named = |name: &str| works.iter().find(|line| line.contains(&format!("\"{name}\"")));
            let wrong = [("redis", backends.redis_url.is_some()), ("postgres", backends.db_url.is_some())]
                .into_iter()
                .find(|(name, wanted)| named(name).is_some_and(|line| line.ends_with(" 1")) != *wanted);
            let Some((name, _)) = wrong else { return Ok(()) };
            if began.elapsed() > USED_MAX {
                return Err(ServerError::Backend { name, health: self.get("/health")? });
            }
            std::thread::sleep(LOOK_AGAIN);
        }
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

    /// Records that queries find now; `None` where nobody can tell.
    pub fn total(&self) -> Result<Option<u64>, ServerError> {
        let ask = |source| ServerError::Ask { authority: self.authority.clone(), source };
        let target = match &self.counter {
            Counter::Target(target) => *target,
            Counter::Lines(lines) => return lines.count().map(Some).map_err(ask),
            Counter::Sql(sql) => return sql.number(&sql.count).map(Some).map_err(ask),
        };
        let Some((path, keys)) = target.total() else { return Ok(None) };
        let text = match self.get(path) {
            // An index is made by the first record.
            Err(ServerError::Refused { status: 404, .. }) if target == Target::Elasticsearch => return Ok(Some(0)),
            other => other?,
        };
        // A sum of nothing is no number.
        if target == Target::Loki && text.contains("\"result\":[]") {
            return Ok(Some(0));
        }
        self.number(path, &text, keys).map(Some)
    }

    /// Compares what it gives out with what was sent; `None` where it gives nothing out.
    pub fn compare(&self, ledger: &Ledger) -> Result<Option<Stored>, ServerError> {
        let ask = |source| ServerError::Ask { authority: self.authority.clone(), source };
        match &self.counter {
            Counter::Target(target) => {
                let Some(export) = target.export() else { return Ok(None) };
                let mut client = Client::connect(&self.authority).map_err(ask)?;
                let answer = client.get(export).map_err(ask)?;
                match answer.status {
                    200 => ledger.compare(answer).map(Some).map_err(ask),
                    status => Err(ServerError::Refused {
                        authority: self.authority.clone(),
                        target: export.to_owned(),
                        status,
                        text: answer.text().unwrap_or_default(),
                    }),
                }
            }
            Counter::Lines(lines) => {
                let file = fs::File::open(&lines.path).map_err(ask)?;
                ledger.compare_after(file, b"request_id=\"").map(Some).map_err(ask)
            }
            Counter::Sql(sql) => {
                let lines = sql.lines(&sql.export).map_err(ask)?;
                ledger.compare(lines).map(Some).map_err(ask)
            }
        }
    }

    /// Batches that wait in the queue.
    pub fn queue_depth(&self) -> Result<u64, ServerError> {
        let text = self.get("/queue/status")?;
        self.number("/queue/status", &text, &["depth"])
    }

    fn number(&self, target: &str, text: &str, keys: &[&str]) -> Result<u64, ServerError> {
        let path: Vec<PointerNode> = keys
            .iter()
            .map(|key| key.parse().map_or_else(|_| PointerNode::Key((*key).to_owned().into()), PointerNode::Index))
            .collect();
        let number = sonic_rs::get(text.as_bytes(), &path).ok();
        number.and_then(|raw| raw.as_raw_str().trim_matches([' ', '"']).parse().ok()).ok_or_else(|| {
            ServerError::Refused {
                authority: self.authority.clone(),
                target: target.to_owned(),
                status: 200,
                text: text.to_owned(),
            }
        })
    }

    /// What the records take on the disk once everything is written: a server of our own is stopped for that. `None` where
    /// it cannot be told.
    pub fn into_stored_bytes(mut self) -> Option<u64> {
        match (&self.counter, self.own.as_mut()) {
            (Counter::Sql(sql), _) => sql.number(&sql.bytes).ok(),
            (Counter::Lines(lines), _) => fs::metadata(&lines.path).ok().map(|metadata| metadata.len()),
            (Counter::Target(_), Some(own)) => {
                own.stop();
                match &own.fresh_postgres {
                    Some(sql) => sql.number(&sql.bytes).ok(),
                    None => Some(parquet_bytes(&own.folder.join("data/store"))),
                }
            }
            (Counter::Target(_), None) => None,
        }
    }
}

impl Own {
    fn stop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id() as i32) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let began = Instant::now();
        while !matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
            if began.elapsed() > STOP_MAX {
                let _ = self.child.kill();
                let _ = self.child.wait();
                break;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut own) = self.own.take() {
            own.stop();
            let _ = fs::remove_dir_all(&own.folder);
        }
    }
}

/// `statfs(2)`: TMPFS_MAGIC.
const TMPFS: u64 = 0x0102_1994;

fn is_in_memory(folder: &Path) -> bool {
    rustix::fs::statfs(folder).is_ok_and(|stat| stat.f_type as u64 == TMPFS)
}

/// What the store's files take; room that it keeps in reserve is no record's.
fn parquet_bytes(store: &Path) -> u64 {
    let files = fs::read_dir(store).into_iter().flatten().flatten();
    let parquet = files.filter(|entry| entry.path().extension().is_some_and(|ending| ending == "parquet"));
    parquet.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}
