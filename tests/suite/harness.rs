//! What every black-box test stands on: the real binary on a port of its own, in a folder of its own, and clients that
//! say exactly what a test wants to be said.
//!
//! A server that tells of a WARN or an ERROR that the test did not announce fails the test.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sonic_rs::JsonValueTrait;

pub use crate::client::{Answer, Connection, Viewer, request, text};

pub const BINARY: &str = env!("CARGO_BIN_EXE_logboom");
/// Longer than anything here should take on a loaded machine, shorter than anyone's patience.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The binary, cut off from the settings of whoever runs the tests.
pub fn logboom(folder: &Path) -> Command {
    without_settings(BINARY, folder)
}

/// Any program that may start the binary, cut off in the same way.
pub fn without_settings(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env_remove("LOG_LEVEL").env_remove("DB_URL").env_remove("REDIS_URL");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LOGBOOM_") {
            command.env_remove(name);
        }
    }
    command
}

/// A running server.
pub struct Server {
    pub address: SocketAddr,
    pub data: PathBuf,
    process: Process,
}

/// What any process has: what it told, signals, its end.
impl Deref for Server {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl Server {
    pub fn start() -> Server {
        Server::with(&[])
    }

    /// With flags, as `--flush-bytes 64KiB`.
    pub fn with(flags: &[&str]) -> Server {
        let folder = tempfile::tempdir().expect("a folder");
        let mut server = Server::at(&folder.path().join("data"), flags);
        server.process._folder = Some(folder);
        server
    }

    /// The engine alone.
    pub fn engine(flags: &[&str]) -> Server {
        let folder = tempfile::tempdir().expect("a folder");
        let mut server = Server::run("engine", &folder.path().join("data"), flags);
        server.process._folder = Some(folder);
        server
    }

    /// On a data folder that outlives it.
    pub fn at(data: &Path, flags: &[&str]) -> Server {
        Server::run("serve", data, flags)
    }

    /// A command that takes logs, on a data folder that outlives it.
    pub fn run(name: &str, data: &Path, flags: &[&str]) -> Server {
        let parent = data.parent().expect("a data folder inside another");
        let _ = std::fs::remove_file(data.join("listen"));
        Server::launch(logboom(parent), name, |_| data.to_owned(), data, flags)
    }

    /// On a disk of its own, of this size: a mount that only the server sees, and which goes with it. `None`, with the
    /// reason told, where this user may not make one.
    pub fn on_small_disk(disk: &Path, size: &str, flags: &[&str]) -> Option<Server> {
        const MOUNT: &str = "mount -t tmpfs -o size=\"$1\" none \"$2\" && shift 2 && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--map-root-user", "sh", "-c", MOUNT, "sh", size]).arg(disk).current_dir("/");
        let tried = Command::new("unshare")
            .args(["--mount", "--map-root-user", "sh", "-c", MOUNT, "sh", size])
            .arg(disk)
            .arg("true")
            .output();
        match tried {
            Ok(out) if out.status.success() => {}
            Ok(out) => {
                println!("skipped: no disk of its own: {}", String::from_utf8_lossy(&out.stderr).trim());
                return None;
            }
            Err(error) => {
                println!("skipped: no disk of its own: unshare: {error}");
                return None;
            }
        }
        command.arg(BINARY);
        let data = disk.join("data");
        let seen = data.clone();
        let inside = move |pid| PathBuf::from(format!("/proc/{pid}/root{}", seen.display()));
        Some(Server::launch(command, "serve", inside, &data, flags))
    }

    /// `inside` tells where the data folder is seen from here.
    fn launch(
        mut command: Command,
        name: &str,
        inside: impl Fn(u32) -> PathBuf,
        data: &Path,
        flags: &[&str],
    ) -> Server {
        command.arg(name).arg("--data-dir").arg(data).args(flags);
        if !flags.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let (told, teller) = listen_to(&mut child);
        let data = inside(child.id());
        let listen = data.join("listen");
        let deadline = Instant::now() + PATIENCE;
        let address = loop {
            match std::fs::read_to_string(&listen).ok().and_then(|text| text.trim().parse().ok()) {
                Some(address) => break address,
                None if child.try_wait().is_ok_and(|ended| ended.is_some()) || Instant::now() > deadline => {
                    let _ = child.kill();
                    let _ = child.wait();
                    let _ = teller.join();
                    let told = told.lock().expect("nobody panics here").clone();
                    panic!("the server did not come up; it told:\n{told}");
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        Server {
            address,
            data,
            process: Process { child, told, teller: Some(teller), expected: Vec::new(), _folder: None },
        }
    }

    /// SIGKILL: as a crash would.
    pub fn kill(self) {
        self.process.kill();
    }

    /// SIGTERM, and a clean end.
    pub fn stop(self) {
        self.process.stop();
    }

    pub fn connect(&self) -> Connection {
        Connection::open(self.address)
    }

    pub fn get(&self, target: &str) -> Answer {
        self.connect().ask(&request("GET", target, &[], b""))
    }

    pub fn post(&self, target: &str, content_type: &str, body: impl AsRef<[u8]>) -> Answer {
        let headers: &[(&str, &str)] = match content_type {
            "" => &[],
            _ => &[("Content-Type", content_type)],
        };
        self.connect().ask(&request("POST", target, headers, body.as_ref()))
    }

    /// How many records match, as `/stats` says.
    pub fn count(&self, query: &str) -> u64 {
        let answer = self.get(&format!("/stats{query}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["total"].as_u64().expect("a total")
    }

    /// Waits until that many records match; a 202 promises it within 100 ms, a loaded test machine gets longer.
    pub fn wait_for_count(&self, query: &str, expected: u64) {
        let mut found = 0;
        wait_until(&format!("{expected} records of {query:?}"), || {
            found = self.count(query);
            found >= expected
        });
        assert_eq!(found, expected, "{query}");
    }
}

/// A process of the program: by itself one that listens nowhere the harness knows of, as a worker, or a sidecar apart.
pub struct Process {
    child: Child,
    told: Arc<Mutex<String>>,
    teller: Option<JoinHandle<()>>,
    expected: Vec<&'static str>,
    _folder: Option<tempfile::TempDir>,
}

impl Process {
    pub fn start(name: &str, flags: &[&str]) -> Process {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = logboom(folder.path());
        command.arg(name).args(flags).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let (told, teller) = listen_to(&mut child);
        Process { child, told, teller: Some(teller), expected: Vec::new(), _folder: Some(folder) }
    }

    /// One that is to end by itself, soon.
    pub fn run(name: &str, flags: &[&str]) -> std::process::Output {
        let folder = tempfile::tempdir().expect("a folder");
        let mut child = logboom(folder.path())
            .arg(name)
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let deadline = Instant::now() + PATIENCE;
        while child.try_wait().expect("wait").is_none() {
            if Instant::now() > deadline {
                let _ = child.kill();
                panic!("{name} {flags:?} goes on");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        child.wait_with_output().expect("its output")
    }

    /// A WARN or ERROR line with this text is meant to come.
    pub fn expect(&mut self, text: &'static str) {
        self.expected.push(text);
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that it has had.
    pub fn peak_memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
        peak.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Everything told on stderr so far.
    pub fn told(&self) -> String {
        self.told.lock().expect("nobody panics here").clone()
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().expect("kill").success());
    }

    /// SIGKILL: as a crash would.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, and a clean end.
    pub fn stop(mut self) {
        self.signal("TERM");
        let status = self.wait();
        assert!(status.success(), "{status}; it told:\n{}", self.told());
    }

    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                return status;
            }
            assert!(Instant::now() < deadline, "the server does not end; it told:\n{}", self.told());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(teller) = self.teller.take() {
            let _ = teller.join();
        }
        check_told(&self.told(), &self.expected);
    }
}

/// What a process tells on stderr, as it comes.
fn listen_to(child: &mut Child) -> (Arc<Mutex<String>>, JoinHandle<()>) {
    let told = Arc::new(Mutex::new(String::new()));
    let stderr = BufReader::new(child.stderr.take().expect("stderr is piped"));
    let into = told.clone();
    let teller = std::thread::spawn(move || {
        for line in stderr.lines().map_while(Result::ok) {
            let mut told = into.lock().expect("nobody panics here");
            told.push_str(&line);
            told.push('\n');
        }
    });
    (told, teller)
}

/// Nothing but what was expected may have been told as WARN or ERROR.
pub fn check_told(told: &str, expected: &[&str]) {
    if std::thread::panicking() {
        eprintln!("--- the server told:\n{told}");
        return;
    }
    let unexpected: Vec<&str> = told
        .lines()
        .filter(|line| [" WARN ", " ERROR ", "panicked"].iter().any(|word| line.contains(word)))
        .filter(|line| !expected.iter().any(|text| line.contains(text)))
        .collect();
    assert!(unexpected.is_empty(), "the server told what no test expects:\n{}", unexpected.join("\n"));
}

/// Asks until it is so.
pub fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
