//! A Postgres: made from a template that is initialised once for all tests, stopped and started again at will.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::{free_port, give_to, program, wait_for_port};

/// The role and the database that every server but a bare one has.
const ROLE: &str = "log_user";
const PASSWORD: &str = "log_password";
const DATABASE: &str = "log_aggregation";

pub struct Postgres {
    port: u16,
    folder: TempDir,
    options: Vec<String>,
    is_running: bool,
}

impl Postgres {
    /// As it comes: every COMMIT is on the disk before it is answered.
    pub fn start_new() -> Postgres {
        Postgres::with(&[])
    }

    /// With settings, as `["max_connections=10"]`.
    pub fn with(settings: &[&str]) -> Postgres {
        let postgres = Postgres::bare(settings);
        let made = format!(
            "CREATE DATABASE {DATABASE} OWNER {ROLE} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"
        );
        postgres.sql_as("postgres", "postgres", &format!("CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'"));
        postgres.sql_as("postgres", "postgres", &made);
        postgres
    }

    /// Without the role and the database: as initdb leaves it.
    pub fn bare(settings: &[&str]) -> Postgres {
        let folder = tempfile::Builder::new().prefix("logboom-postgres-").tempdir().expect("a folder");
        let template = template();
        let copied = Command::new("cp").arg("-a").arg(&template).arg(folder.path().join("data")).status();
        assert!(copied.expect("cp").success(), "{} cannot be copied", template.display());
        if let Some((user, group)) = unprivileged() {
            give_to(folder.path(), user, group);
        }
        let options = settings.iter().map(|&setting| setting.to_owned()).collect();
        let mut postgres = Postgres { port: free_port(), folder, options, is_running: false };
        postgres.start();
        postgres
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("postgresql://{ROLE}:{PASSWORD}@127.0.0.1:{}/{DATABASE}", self.port)
    }

    /// Of the role that owns the server.
    pub fn superuser_url(&self, database: &str) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/{database}", self.port)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs SQL in the database of the logs as their owner; the answer as `psql -At` prints it.
    pub fn sql(&self, sql: &str) -> String {
        self.sql_as(ROLE, DATABASE, sql)
    }

    pub fn sql_as(&self, role: &str, database: &str, sql: &str) -> String {
        self.psql(role, database, "-c", sql.as_ref())
    }

    /// Runs a file of SQL in the database of the logs as their owner: `psql -f`.
    pub fn sql_file(&self, file: &Path) -> String {
        self.psql(ROLE, DATABASE, "-f", file.as_ref())
    }

    fn psql(&self, role: &str, database: &str, flag: &str, what: &OsStr) -> String {
        let output = Command::new(program("psql", &folders()))
            .args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", role, "-d", database])
            .args(["-p", &self.port.to_string(), flag])
            .arg(what)
            .env("PGPASSWORD", PASSWORD)
            .output()
            .expect("psql starts");
        assert!(output.status.success(), "{what:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    pub fn is_running(&self) -> bool {
        self.is_running
    }

    /// Changes settings of the running server, as `"fsync = off"`; what a reload cannot change needs
    /// [`with`](Postgres::with).
    pub fn set(&self, setting: &str) {
        self.sql_as("postgres", "postgres", &format!("ALTER SYSTEM SET {setting}"));
        self.sql_as("postgres", "postgres", "SELECT pg_reload_conf()");
    }

    /// A setting for the next [`start`](Postgres::start), as `"ssl=on"`.
    pub fn set_option(&mut self, setting: &str) {
        self.options.push(setting.to_owned());
    }

    /// Gives a file to the user that the server runs as, who alone may read it: what it asks of a private key.
    pub fn own(&self, file: &Path) {
        if let Some((user, group)) = unprivileged() {
            give_to(file, user, group);
        }
        let only_owner = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(file, only_owner).expect("its owner may change it");
    }

    /// Who may come in and how: lines of `pg_hba.conf`, in the place of those that trust everybody.
    pub fn set_access(&self, lines: &str) {
        // A reload replaces the rules as a whole, for connections from then on.
        std::fs::write(self.folder.path().join("data/pg_hba.conf"), lines).expect("pg_hba.conf");
        let reloaded = self.pg_ctl().arg("reload").status();
        assert!(reloaded.expect("pg_ctl starts").success());
    }

    pub fn start(&mut self) {
        assert!(!self.is_running, "it runs already");
        // What a crash test is about is Postgres' own way back after `immediate`, so fsync stays on.
        let mut options = format!("-p {} -k {} -c listen_addresses=127.0.0.1", self.port, self.folder.path().display());
        for option in &self.options {
            options.push_str(&format!(" -c {option}"));
        }
        let mut command = self.pg_ctl();
        command.args(["start", "-w", "-t", "60", "-s", "-o", &options, "-l"]).arg(self.folder.path().join("log"));
        assert!(command.status().expect("pg_ctl starts").success(), "postgres does not start:\n{}", self.log());
        self.is_running = true;
        wait_for_port(self.port, "postgres");
    }

    /// `fast`: sessions are ended; `immediate`: as a crash would.
    pub fn stop(&mut self, mode: &str) {
        if std::mem::take(&mut self.is_running) {
            let stopped = self.pg_ctl().args(["stop", "-w", "-s", "-m", mode]).status();
            assert!(stopped.expect("pg_ctl starts").success(), "postgres does not stop:\n{}", self.log());
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn pg_ctl(&self) -> Command {
        let mut command = as_unprivileged(program("pg_ctl", &folders()));
        command.arg("-D").arg(self.folder.path().join("data")).current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.is_running {
            let _ = self.pg_ctl().args(["stop", "-w", "-s", "-m", "immediate"]).status();
        }
    }
}

/// A data folder fresh from initdb, made by the first test that asks.
fn template() -> PathBuf {
    let temporary = std::env::temp_dir();
    let user = rustix::process::getuid().as_raw();
    let version = version();
    let template = temporary.join(format!("logboom-postgres-template-{user}-{version}"));
    let lock = File::create(temporary.join(format!("logboom-postgres-template-{user}.lock"))).expect("a lock file");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("a lock");
    if !template.join("PG_VERSION").is_file() {
        let making = tempfile::Builder::new().prefix("logboom-initdb-").tempdir().expect("a folder");
        if let Some((user, group)) = unprivileged() {
            give_to(making.path(), user, group);
        }
        let made = as_unprivileged(program("initdb", &folders()))
            .args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(making.path().join("data"))
            .current_dir(making.path())
            .output()
            .expect("initdb starts");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let _ = std::fs::remove_dir_all(&template);
        std::fs::rename(making.path().join("data"), &template).expect("the template is moved into place");
    }
    template
}

fn version() -> String {
    let output = Command::new(program("initdb", &folders())).arg("--version").output().expect("initdb starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().nth(2).unwrap_or("unknown").to_owned()
}

/// Where Debian puts each version, the newest first.
fn folders() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .filter(|folder| folder.join("initdb").is_file())
        .collect();
    found.sort();
    found.reverse();
    found
}

/// Whom to run as: nobody else, unless we are root.
fn unprivileged() -> Option<(u32, u32)> {
    if !rustix::process::getuid().is_root() {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").expect("/etc/passwd");
    let fields: Vec<&str> = users.lines().find(|line| line.starts_with("postgres:"))?.split(':').collect();
    Some((fields[2].parse().ok()?, fields[3].parse().ok()?))
}

fn as_unprivileged(program: PathBuf) -> Command {
    let mut command = Command::new(program);
    if let Some((user, group)) = unprivileged() {
        command.uid(user).gid(group);
    }
    command.env("LC_ALL", "C");
    command
}
