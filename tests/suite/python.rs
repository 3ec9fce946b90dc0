//! What Python sees: `requests` on one kept connection, and the store's files in the readers that people have.
//!
//! The interpreter and its packages are made once by `make python`, into `target/python`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::harness::{Server, wait_until};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// An interpreter with the packages of `tests/python/requirements.txt`.
pub fn python() -> PathBuf {
    let made = Command::new("make").args(["-s", "python"]).current_dir(root()).output().expect("make");
    assert!(made.status.success(), "`make python` failed: {}", String::from_utf8_lossy(&made.stderr));
    root().join("target/python/bin/python")
}

fn run(script: &str, arguments: &[&str]) -> Output {
    let out = Command::new(python()).arg(root().join("tests/python").join(script)).args(arguments).output();
    let out = out.expect("python");
    let (said, told) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{script}: {said}{told}");
    out
}

#[test]
fn a_session_alternates_posting_and_reading() {
    let server = Server::start();
    run("session.py", &[&format!("http://{}", server.address)]);
}

#[test]
fn other_readers_find_the_same_rows_in_the_files() {
    let mut server = Server::with(&["--flush-bytes", "64KiB", "--flush-age", "50ms"]);
    let metric = |name: &str| {
        let page = server.get("/metrics").text();
        let count =
            page.lines().find_map(|line| line.strip_prefix(name)).and_then(|rest| rest.trim().parse::<u64>().ok());
        count.unwrap_or_else(|| panic!("no {name} in {page}"))
    };
    // A file each, and enough of them for a compaction; then some more, so that there are files of both kinds.
    for part in 0..10 {
        let line = |index: usize| {
            let level = ["info", "warn", "error"][index % 3];
            let time = 1_762_876_800_000_u64 + index as u64;
            format!(
                "{{\"timestamp\":{time},\"level\":\"{level}\",\"source\":\"s{}\",\"message\":\"m {index}\",\"n\":{index},\"who\":\"ü\"}}\n",
                index % 5
            )
        };
        let body: String = (part * 2_000..(part + 1) * 2_000).map(line).collect();
        assert_eq!(server.post("/data/batch", "application/x-ndjson", body).status, 202);
        if part == 8 {
            wait_until("a compaction", || metric("logboom_compactions_total ") > 0);
        }
        wait_until("a flush", || metric("logboom_memory_rows ") == 0);
    }
    server.wait_for_count("", 20_000);
    let export = server.get("/logs/export?format=ndjson").body;
    let data = server.data.clone();
    let expected = data.with_file_name("expected.ndjson");
    std::fs::write(&expected, export).unwrap();
    server.signal("TERM");
    assert!(server.wait().success());
    let store = data.join("store");
    run("read_parquet.py", &[&store.to_string_lossy(), &expected.to_string_lossy()]);
}
