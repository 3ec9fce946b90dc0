//! Start-up: what is said when all is well, and one clear sentence, with the mend, when it is not.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use crate::harness::{Server, logboom, wait_until};

/// Runs to its end, which must be a failure; what it told.
fn fails(folder: &Path, arguments: &[&str]) -> String {
    let Output { status, stderr, .. } = logboom(folder).args(arguments).output().expect("the binary starts");
    let told = String::from_utf8_lossy(&stderr).into_owned();
    assert!(!status.success(), "{arguments:?} succeeded; it told: {told}");
    assert!(!told.contains("panicked"), "{told}");
    told
}

/// Its last line holds these.
fn check(folder: &Path, arguments: &[&str], parts: &[&str]) {
    let told = fails(folder, arguments);
    let last = told.lines().last().unwrap_or_default();
    for part in parts {
        assert!(last.contains(part), "{part:?} in: {told}");
    }
}

#[test]
fn a_port_in_use_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    check(folder.path(), &["serve", "--listen", &address], &[&address, "in use", "--listen"]);
    check(folder.path(), &["--listen", "192.0.2.1:5000"], &["192.0.2.1:5000", "--listen"]);
}

#[test]
fn a_folder_in_use_is_told() {
    let server = Server::start();
    let data = server.data.to_string_lossy().into_owned();
    let pid = server.pid().to_string();
    check(
        server.data.parent().unwrap(),
        &["--listen", "127.0.0.1:0", "--data-dir", &data],
        &[&data, "in use", &pid, "--data-dir"],
    );
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn a_folder_that_cannot_be_written_is_told() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    check(folder.path(), &["--listen", "127.0.0.1:0", "--data-dir", "file"], &["file", "not a folder", "--data-dir"]);
    check(folder.path(), &["--listen", "127.0.0.1:0", "--data-dir", "/proc/logboom"], &["/proc/logboom", "--data-dir"]);
    // A real read-only file system needs a mount of its own, which only root may make.
    let script = "mount -t tmpfs none \"$0\" && mkdir \"$0/data\" && mount -o remount,ro \"$0\" && exec \"$1\" --listen 127.0.0.1:0 --data-dir \"$0/data\"";
    let out = std::process::Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", script])
        .arg(folder.path())
        .arg(crate::harness::BINARY)
        .output();
    if let Ok(Output { status, stderr, .. }) = out {
        let told = String::from_utf8_lossy(&stderr);
        if !told.contains("unshare") && !told.contains("mount:") {
            assert!(!status.success() && told.contains("read-only file system"), "{told}");
        }
    }
}

#[test]
fn too_little_memlock_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let run = |command: &str| {
        let script = format!(
            "ulimit -l 16 && exec setpriv --no-new-privs --bounding-set -ipc_lock --inh-caps -ipc_lock {} {command} --listen 127.0.0.1:0",
            crate::harness::BINARY
        );
        let out = std::process::Command::new("sh")
            .args(["-c", &script])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .output();
        let out = out.expect("sh");
        (
            out.status.success(),
            String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr),
        )
    };
    let (well, told) = run("doctor");
    // Where the limit could not be lowered, or the process keeps CAP_IPC_LOCK, there is nothing to see.
    if told.contains("16 KiB may be locked") {
        assert!(!well && told.contains("memlock") && told.contains("ulimit -l"), "{told}");
        let (well, told) = run("serve");
        let last = told.lines().last().unwrap_or_default();
        assert!(!well && last.contains("only 16 KiB") && last.contains("ulimit -l"), "{told}");
    }
}

#[test]
fn doctor_finds_this_machine_fit() {
    let folder = tempfile::tempdir().unwrap();
    let out = logboom(folder.path()).args(["doctor", "--listen", "127.0.0.1:0"]).output().unwrap();
    let told = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{told}");
    for check in ["kernel", "io_uring", "memlock", "open files", "data folder", "disk space", "fdatasync", "port"] {
        assert!(told.contains(check), "{check} in {told}");
    }
    assert!(!folder.path().join("data").exists(), "a doctor leaves nothing behind");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let out = logboom(folder.path()).args(["doctor", "--listen", &listen]).output().unwrap();
    let told = String::from_utf8_lossy(&out.stdout);
    assert!(!out.status.success() && told.contains("WRONG") && told.contains(&listen), "{told}");
}

#[test]
fn the_greeting_says_what_runs_where() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = logboom(folder.path());
    command.args(["--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    wait_until("the address", || folder.path().join("data/listen").exists());
    let address = std::fs::read_to_string(folder.path().join("data/listen")).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert!(std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let out = child.wait_with_output().unwrap();
    let (said, told) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{told}");
    let data = folder.path().join("data");
    for part in [&format!("http://{}/", address.trim()), "curl -X POST", "/data/fast", &*data.to_string_lossy()] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert!(!told.contains('\x1b'), "no colours where nobody looks: {told:?}");
}

#[test]
fn an_idle_server_does_nothing() {
    let server = Server::start();
    assert_eq!(server.post("/data/", "application/json", r#"{"message":"m"}"#).status, 201);
    let cpu_ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.pid())).unwrap();
        let fields: Vec<u64> = stat
            .rsplit_once(')')
            .unwrap()
            .1
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|ticks| ticks.parse().unwrap())
            .collect();
        fields[0] + fields[1]
    };
    std::thread::sleep(Duration::from_secs(1));
    let before = cpu_ticks();
    std::thread::sleep(Duration::from_secs(4));
    let used = cpu_ticks() - before;
    // Ticks are 10 ms: half a percent of a core, and what rounding adds.
    assert!(used <= 2, "{used} ticks in 4 s");
}

#[test]
fn beyond_loopback_a_warning_comes() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("logboom.toml"), "listen = \"0.0.0.0:0\"").unwrap();
    let mut server = logboom(folder.path()).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    wait_until("the address", || folder.path().join("data/listen").exists());
    std::thread::sleep(Duration::from_millis(300));
    assert!(std::process::Command::new("kill").arg(server.id().to_string()).status().unwrap().success());
    let mut told = String::new();
    std::io::Read::read_to_string(server.stderr.as_mut().unwrap(), &mut told).unwrap();
    server.wait().unwrap();
    assert!(told.contains(" WARN ") && told.contains("no authentication"), "{told}");
}

#[test]
fn settings_come_from_file_environment_and_flags_in_that_order() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "logboom.toml",
        "shards = 3\nline_bytes_max = \"1KiB\"\nflush_age = \"7s\"\norigins = [\"https://a\", \"https://b\"]\n",
    );
    write(".env", "LOGBOOM_FLUSH_AGE=8s\nLOGBOOM_BODY_TIMEOUT=9s\n");
    let config = |arguments: &[&str]| {
        let mut command = logboom(folder.path());
        command.env("LOGBOOM_BODY_TIMEOUT", "10s").env("LOGBOOM_HEAD_TIMEOUT", "11s").arg("config").args(arguments);
        let out = command.output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let said = config(&["--head-timeout", "12s"]);
    for (key, value, from) in [
        ("shards", "3", "logboom.toml"),
        ("line_bytes_max", "1KiB", "logboom.toml"),
        ("origins", "https://a,https://b", "logboom.toml"),
        ("flush_age", "8s", ".env"),
        ("body_timeout", "10s", "environment"),
        ("head_timeout", "12s", "flag"),
        ("unwrap", "true", "default"),
    ] {
        let line = said.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words, [key, value, from], "{said}");
    }
    // What it prints as TOML is the same settings.
    let toml = config(&["--toml", "--head-timeout", "12s"]);
    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("logboom.toml"), toml).unwrap();
    let out = logboom(other.path()).args(["config", "--toml"]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(String::from_utf8_lossy(&out.stdout).contains("head_timeout = \"12s\""));
}

#[test]
fn wrong_settings_are_told_with_the_mend() {
    let folder = tempfile::tempdir().unwrap();
    let with = |file: &str, arguments: &[&str], parts: &[&str]| {
        std::fs::write(folder.path().join("logboom.toml"), file).unwrap();
        check(folder.path(), arguments, parts);
    };
    with("lisen = \"x\"", &["serve"], &["lisen", "`listen`", "logboom.toml"]);
    with("listen = ", &["serve"], &["logboom.toml", "line 1"]);
    with("shards = 1.5", &["serve"], &["shards"]);
    with("", &["serve", "--listen", "nonsense"], &["--listen", "nonsense", "host:port"]);
    with("", &["serve", "--line-bytes-max", "2GiB"], &["line_bytes_max", "1048576"]);
    with("", &["serve", "--timezone", "Mars/Phobos"], &["Mars/Phobos", "Europe/Berlin"]);
    with("", &["serve", "--log-level", "engine=loud"], &["log_level", "loud"]);
    with("", &["serve", "--config", "missing.toml"], &["missing.toml"]);
}
