//! A copy of a data folder, also of one in use: it starts by itself, and holds what was acknowledged before it was asked
//! for, once.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use sonic_rs::JsonValueTrait;

use crate::harness::{Server, wait_until};
use crate::retention::{fill, run};

const SENDERS: u64 = 4;
const SNAPSHOTS: usize = 3;

/// How often each number is stored.
fn numbers(server: &Server) -> BTreeMap<u64, u32> {
    let mut found = BTreeMap::new();
    for line in server.get("/logs/export?format=ndjson").text().lines() {
        let number = sonic_rs::get(line, sonic_rs::pointer!["metadata", "number"]).expect("a number");
        *found.entry(number.as_u64().expect("a number")).or_default() += 1;
    }
    found
}

#[test]
fn a_server_at_work_is_copied() {
    let folder = tempfile::tempdir().unwrap();
    // Longer than the address of a socket may be.
    let data = folder.path().join("long".repeat(30)).join("data");
    std::fs::create_dir_all(data.parent().unwrap()).unwrap();
    let server = Server::at(&data, &["--flush-bytes", "256KiB", "--flush-age", "200ms"]);
    let acknowledged = Mutex::new(BTreeSet::new());
    let done = AtomicBool::new(false);
    let mut copies = Vec::new();
    std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            let (server, acknowledged, done) = (&server, &acknowledged, &done);
            scope.spawn(move || {
                let mut next = sender;
                while !done.load(Ordering::Relaxed) {
                    let door = ["/data/batch", "/data/", "/data/fast"][(next / SENDERS % 3) as usize];
                    let count = if door == "/data/batch" { 500 } else { 1 };
                    let sent: Vec<u64> = (0..count).map(|step| next + step * SENDERS).collect();
                    next += count * SENDERS;
                    let line = |number| format!("{{\"message\":\"m\",\"number\":{number}}}\n");
                    let body: String = sent.iter().map(line).collect();
                    let answer = server.post(door, "application/json", body);
                    assert!(matches!(answer.status, 201 | 202), "{}", answer.text());
                    acknowledged.lock().unwrap().extend(sent);
                }
            });
        }
        for at in 0..SNAPSHOTS {
            let before = acknowledged.lock().unwrap().len();
            wait_until("some more records", || acknowledged.lock().unwrap().len() > before + 2_000);
            let before = acknowledged.lock().unwrap().clone();
            let copy = folder.path().join(format!("copy-{at}"));
            let (well, said, told) = run(&data, &["snapshot", copy.to_str().unwrap()]);
            assert!(well && said.contains("goes on"), "{said}{told}");
            copies.push((before, copy));
        }
        done.store(true, Ordering::Relaxed);
    });
    for (before, copy) in &copies {
        assert!(run(copy, &["fsck"]).0);
        let server = Server::at(copy, &[]);
        let found = numbers(&server);
        assert!(found.values().all(|times| *times == 1));
        let lost = before.iter().filter(|number| !found.contains_key(number)).count();
        assert_eq!(lost, 0, "of {} that were acknowledged before", before.len());
        // It goes on by itself, and finds its own records again.
        assert_eq!(server.post("/data/", "application/json", r#"{"message":"m","number":4000000000}"#).status, 201);
        server.kill();
        assert_eq!(numbers(&Server::at(copy, &[])).len(), found.len() + 1);
    }
    let all = acknowledged.into_inner().unwrap();
    server.wait_for_count("", all.len() as u64);
    assert!(server.get("/metrics").text().contains(&format!("logboom_snapshots_total {SNAPSHOTS}")));
    server.stop();
    assert!(!data.join("control").exists());
    assert!(run(&data, &["fsck"]).0);
}

#[test]
fn a_copy_starts_as_a_store_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let copy = folder.path().join("copy");
    let to = copy.to_str().unwrap();
    let server = Server::at(&data, &[]);
    fill(&server, "2020-03-01", 1_000);
    server.stop();
    let server = Server::at(&data, &[]);
    fill(&server, "2020-03-02", 500);
    let rows = server.get("/logs/export?format=ndjson").text();
    // The last 500 are in the log alone.
    server.kill();
    let (well, said, told) = run(&data, &["snapshot", to]);
    assert!(well && said.contains("1500 records"), "{said}{told}");
    let (well, _, told) = run(&data, &["snapshot", to]);
    assert!(!well && told.contains("not empty"), "{told}");
    for at in [&copy, &data] {
        let server = Server::at(at, &[]);
        assert!(server.get("/logs/export?format=ndjson").text() == rows, "{} holds the same rows", at.display());
    }
    let server = Server::at(&copy, &[]);
    fill(&server, "2020-03-03", 10);
    assert_eq!(server.count(""), 1_510);
    drop(server);
    assert_eq!(Server::at(&data, &[]).count(""), 1_500);
    assert!(run(&copy, &["fsck"]).0);
}

#[test]
fn a_copy_on_another_file_system_is_made_of_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Path::new("/dev/shm");
    let device = |path: &Path| std::fs::metadata(path).map(|found| found.dev()).ok();
    if !memory.is_dir() || device(memory) == device(folder.path()) {
        println!("skipped: /dev/shm is no file system of its own here");
        return;
    }
    let other = tempfile::tempdir_in(memory).unwrap();
    let mut server = Server::at(&folder.path().join("data"), &[]);
    fill(&server, "2020-03-01", 1_000);
    let copy = other.path().join("copy");
    let (well, said, told) = run(&server.data, &["snapshot", copy.to_str().unwrap()]);
    assert!(well && said.contains("1000 records in 1 files (0 hard links)"), "{said}{told}");
    assert_eq!(Server::at(&copy, &[]).count(""), 1_000);
    // What the server cannot do, it says, and goes on.
    server.expect("no snapshot in");
    let (well, _, told) = run(&server.data, &["snapshot", "/proc/logboom"]);
    assert!(!well && told.contains("/proc/logboom"), "{told}");
    let (well, _, told) = run(&server.data, &["snapshot", copy.to_str().unwrap()]);
    assert!(!well && told.contains("not empty"), "{told}");
    assert_eq!(server.count(""), 1_000);
}

#[test]
fn the_control_socket_is_its_owners() {
    let server = Server::start();
    let path = server.data.join("control");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    for request in ["", "logboom-control 2 snapshot\n/tmp/x", "logboom-control 1 snapshot\nrelative"] {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("error "), "{request:?}: {answer:?}");
    }
}
