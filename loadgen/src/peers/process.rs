//! Servers that are started for a run and gone after it: their processes, ports and folders.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::install::Tools;

const START_MAX: Duration = Duration::from_secs(60);
const STOP_MAX: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A child that is told to end when it is dropped, and killed if it does not.
#[derive(Debug)]
pub struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts it, its output into `log`.
    pub fn start(command: &mut Command, log: &Path) -> Result<Running, String> {
        let wrong = |error: io::Error| format!("{}: {error}", log.display());
        let out = fs::File::create(log).map_err(wrong)?;
        let err = out.try_clone().map_err(wrong)?;
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        let child = child.map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        Ok(Running { child, log: log.to_owned() })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default().trim().to_owned()
    }

    /// Waits until something holds; an early end of the process is an error.
    pub fn wait_until(&mut self, mut holds: impl FnMut() -> bool) -> Result<(), String> {
        let began = Instant::now();
        loop {
            if holds() {
                return Ok(());
            }
            if !matches!(self.child.try_wait(), Ok(None)) || began.elapsed() > START_MAX {
                return Err(format!("it did not start; it said: {}", self.said()));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        if let Some(pid) = Pid::from_raw(self.child.id() as i32) {
            let _ = rustix::process::kill_process(pid, Signal::TERM);
        }
        let began = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if began.elapsed() > STOP_MAX {
                let _ = self.child.kill();
                let _ = self.child.wait();
                break;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

/// A folder of a run, gone when dropped.
#[derive(Debug)]
pub struct Folder(pub PathBuf);

impl Folder {
    /// Below the system's own folder for such things, where servers that run as another user can reach it.
    pub fn new(name: &str) -> Result<Folder, String> {
        Folder::within(&std::env::temp_dir(), &format!("logboom-bench-{name}"))
    }

    pub fn within(parent: &Path, name: &str) -> Result<Folder, String> {
        let path = parent.join(format!("{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| error.to_string())?;
    listener.local_addr().map(|address| address.port()).map_err(|error| error.to_string())
}

pub fn listens(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// A Postgres as Debian has it, its settings untouched: every COMMIT is on the disk before it is answered.
#[derive(Debug)]
pub struct Postgres {
    // The server ends before its folder goes.
    running: Running,
    _folder: Folder,
    pub url: String,
    pub port: u16,
    pub psql: PathBuf,
}

const DATABASE: &str = "logs";

impl Postgres {
    pub fn start(tools: &Tools) -> Result<Postgres, String> {
        let folder = Folder::new("postgres")?;
        let data = folder.0.join("data");
        let initdb = server_program(tools, "initdb")?;
        let psql = tools.program("psql").or_else(|| server_program(tools, "psql").ok());
        let psql = psql.ok_or("psql is not on this machine: `apt-get install postgresql-client`")?;
        let user = unprivileged()?;
        let as_user = |program: &Path| {
            let mut command = Command::new(program);
            if let Some((user, group)) = user {
                command.uid(user).gid(group);
            }
            command.env("LC_ALL", "C").current_dir(&folder.0);
            command
        };
        if let Some((user, group)) = user {
            std::os::unix::fs::chown(&folder.0, Some(user), Some(group)).map_err(|error| error.to_string())?;
        }
        let made = as_user(&initdb)
            .args(["-A", "trust", "-U", DATABASE, "-E", "UTF8", "--locale=C", "-D"])
            .arg(&data)
            .output()
            .map_err(|error| format!("{}: {error}", initdb.display()))?;
        if !made.status.success() {
            return Err(format!("initdb: {}", String::from_utf8_lossy(&made.stderr).trim()));
        }
        let port = free_port()?;
        let mut command = as_user(&server_program(tools, "postgres")?);
        command.arg("-D").arg(&data).args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-k"]);
        let mut running = Running::start(command.arg(&folder.0), &folder.0.join("log"))?;
        running.wait_until(|| listens(port))?;
        let maintenance = format!("postgresql://{DATABASE}@127.0.0.1:{port}/postgres");
        let create = format!("create database {DATABASE}");
        // It listens a moment before it answers.
        running.wait_until(|| {
            let made = Command::new(&psql).args(["-X", "-q", "-d", &maintenance, "-c", &create]).output();
            made.is_ok_and(|output| {
                output.status.success() || String::from_utf8_lossy(&output.stderr).contains("already exists")
            })
        })?;
        let url = format!("postgresql://{DATABASE}@127.0.0.1:{port}/{DATABASE}");
        Ok(Postgres { running, _folder: folder, url, port, psql })
    }

    pub fn pid(&self) -> u32 {
        self.running.pid()
    }
}

/// A Redis that keeps what it has acknowledged: `appendonly yes`, `appendfsync always`.
#[derive(Debug)]
pub struct Redis {
    running: Running,
    _folder: Folder,
    pub url: String,
}

impl Redis {
    pub fn start(tools: &Tools) -> Result<Redis, String> {
        let program = tools.program("redis-server");
        let program = program.ok_or("redis-server is not on this machine: `apt-get install redis-server`")?;
        let folder = Folder::new("redis")?;
        let port = free_port()?;
        let mut command = Command::new(program);
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]);
        command.args(["--appendfsync", "always", "--dir"]).arg(&folder.0);
        let mut running = Running::start(&mut command, &folder.0.join("log"))?;
        running.wait_until(|| listens(port))?;
        Ok(Redis { running, _folder: folder, url: format!("redis://127.0.0.1:{port}") })
    }

    pub fn pid(&self) -> u32 {
        self.running.pid()
    }
}

/// A program of the newest Postgres that is here.
fn server_program(tools: &Tools, name: &str) -> Result<PathBuf, String> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = versions.map(|entry| entry.path().join("bin").join(name)).collect();
    found.retain(|file| file.is_file());
    found.sort();
    let found = found.pop().or_else(|| tools.program(name));
    found.ok_or_else(|| format!("{name} is not on this machine: `apt-get install postgresql`"))
}

/// Whom Postgres runs as: it refuses root.
fn unprivileged() -> Result<Option<(u32, u32)>, String> {
    if !rustix::process::getuid().is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut fields =
        users.lines().find(|line| line.starts_with("postgres:")).into_iter().flat_map(|line| line.split(':'));
    let mut number = |nth| fields.nth(nth).and_then(|field| field.parse().ok());
    match (number(2), number(0)) {
        (Some(user), Some(group)) => Ok(Some((user, group))),
        _ => Err("postgres does not run as root, and there is no user `postgres` to run it as".to_owned()),
    }
}
