//! A Redis: persistent as told, stopped and started again at will, on the same port and folder.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::{free_port, program, wait_for_port};

pub struct Redis {
    port: u16,
    folder: TempDir,
    options: Vec<String>,
    child: Option<Child>,
}

impl Redis {
    /// Keeps every write before it answers: `appendonly yes`, `appendfsync always`.
    pub fn durable() -> Redis {
        Redis::with(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    /// Keeps nothing.
    pub fn in_memory() -> Redis {
        Redis::with(&["--appendonly", "no"])
    }

    /// With options of `redis-server`, as `["--maxmemory", "10mb"]`.
    pub fn with(options: &[&str]) -> Redis {
        let folder = tempfile::Builder::new().prefix("logboom-redis-").tempdir().expect("a folder");
        let options = options.iter().map(|&option| option.to_owned()).collect();
        let mut redis = Redis { port: free_port(), folder, options, child: None };
        redis.start();
        redis
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// A server that copies this one.
    pub fn replica(&self) -> Redis {
        Redis::with(&["--replicaof", "127.0.0.1", &self.port.to_string(), "--repl-diskless-sync-delay", "0"])
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// After [`stop`](Redis::stop) or [`kill`](Redis::kill), with what it had kept.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let child = Command::new(program("redis-server", &[]))
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
            .arg(self.folder.path())
            .args(&self.options)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server starts");
        self.child = Some(child);
        wait_for_port(self.port, "redis-server");
    }

    /// Further options, from the next start on.
    pub fn add_options(&mut self, options: &[&str]) {
        self.options.extend(options.iter().map(|&option| option.to_owned()));
    }

    /// SIGTERM: it writes what it keeps, and ends.
    pub fn stop(&mut self) {
        self.end("TERM");
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.end("KILL");
    }

    /// Runs a command, as `CONFIG SET maxmemory 1`; the answer as `redis-cli` prints it.
    pub fn ask(&self, command: &str) -> String {
        let mut cli = Command::new(program("redis-cli", &[]));
        cli.args(["-e", "-p", &self.port.to_string()]).args(command.split(' '));
        let output = cli.output().expect("redis-cli starts");
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// STOP and CONT: it hangs, and goes on.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(sent.expect("kill").success());
    }

    fn end(&mut self, signal: &str) {
        if let Some(mut child) = self.child.take() {
            let _ = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status();
            let _ = child.wait();
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.end("KILL");
    }
}
