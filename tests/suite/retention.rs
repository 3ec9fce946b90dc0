//! What is kept, and for how long; and whether a data folder is whole.

use std::path::Path;
use std::process::Output;

use sonic_rs::{JsonContainerTrait, JsonValueTrait};

use crate::harness::{Server, logboom, text, wait_until};

const OLD: &str = r#"{"timestamp":"2020-03-01T10:00:00Z","message":"old"}"#;

#[test]
fn records_past_retention_are_refused_one_by_one() {
    let server = Server::with(&["--retain", "30d"]);
    for door in ["/data/", "/data/fast"] {
        let answer = server.post(door, "application/json", OLD);
        let error = &answer.json()["error"];
        assert_eq!((answer.status, text(error, "code").as_str()), (422, "too_old"), "{}", answer.text());
        let message = text(error, "message");
        assert!(message.contains("retain") && message.contains("2020-03-01T10:00:00"), "{message}");
    }
    let body = format!("{{\"message\":\"new\"}}\n{OLD}\n{{\"message\":\"newer\"}}\n");
    let answer = server.post("/data/batch", "application/x-ndjson", body);
    let told = answer.json();
    assert_eq!((answer.status, told["accepted"].as_u64(), told["rejected"].as_u64()), (202, Some(2), Some(1)));
    let errors = told["errors"].as_array().unwrap();
    assert_eq!((errors[0]["index"].as_u64(), text(&errors[0], "code").as_str()), (Some(1), "too_old"));
    server.wait_for_count("", 2);
    // Reading it is no storing.
    let answer = server.post("/parse/auto?store=false", "text/plain", OLD);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

pub fn fill(server: &Server, day: &str, count: usize) {
    let line = |index| format!("{{\"timestamp\":\"{day}T10:00:00Z\",\"message\":\"m{index}\",\"source\":\"{day}\"}}\n");
    let body: String = (0..count).map(line).collect();
    assert_eq!(server.post("/data/batch", "application/x-ndjson", body).status, 202);
}

#[test]
fn old_days_go_and_young_ones_stay() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for day in ["2020-03-01", "2020-03-02"] {
        // A stop flushes: a file for each.
        let server = Server::at(&data, &[]);
        fill(&server, day, 1_000);
        server.stop();
    }
    let server = Server::at(&data, &[]);
    assert_eq!(server.post("/data/", "application/json", r#"{"message":"new"}"#).status, 201);
    assert_eq!(server.count(""), 2_001);
    server.stop();
    let server = Server::at(&data, &["--retain", "30d"]);
    wait_until("the old days to go", || server.count("") == 1);
}

#[test]
fn the_oldest_files_go_where_bytes_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let noise = |index: u64| format!("{:x}", index.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31) ^ (index << 7));
    // Months of their own, so that compaction does not put them together.
    for day in ["2020-03-01", "2020-04-01"] {
        let server = Server::at(&data, &[]);
        let line = |index: u64| {
            let words: String = (0..8).map(|word| noise(index * 8 + word)).collect();
            format!("{{\"timestamp\":\"{day}T10:00:00Z\",\"message\":\"{words}\",\"source\":\"{day}\"}}\n")
        };
        let body: String = (0..1_000).map(line).collect();
        assert_eq!(server.post("/data/batch", "application/x-ndjson", body).status, 202);
        server.stop();
    }
    // Each file is about 70 KB.
    let server = Server::at(&data, &["--retain-bytes", "110KiB", "--flush-bytes", "64KiB"]);
    wait_until("the older day to go", || server.count("?source=2020-03-01") == 0);
    assert_eq!(server.count("?source=2020-04-01"), 1_000);
}

/// What a command on a data folder says, and tells on stderr.
pub fn run(data: &Path, arguments: &[&str]) -> (bool, String, String) {
    let mut command = logboom(data.parent().unwrap());
    let out: Output = command.args(arguments).arg("--data-dir").arg(data).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.success(), text(&out.stdout), text(&out.stderr))
}

#[test]
fn fsck_tells_a_damaged_store_and_mends_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (well, _, told) = run(&data, &["fsck"]);
    assert!(!well && told.contains("is not there") && !data.exists(), "{told}");
    for day in ["2020-03-01", "2020-03-02"] {
        let server = Server::at(&data, &[]);
        fill(&server, day, 1_000);
        let (well, _, told) = run(&data, &["fsck"]);
        assert!(!well && told.contains("is in use"), "{told}");
        server.stop();
    }
    let (well, said, told) = run(&data, &["fsck"]);
    assert!(well && said.contains("1000 records") && said.contains("is whole"), "{said}{told}");
    let mut files: Vec<_> = std::fs::read_dir(data.join("store")).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "parquet"));
    files.sort();
    assert_eq!(files.len(), 2, "{files:?}");
    let mut bytes = std::fs::read(&files[0]).unwrap();
    let middle = bytes.len() / 3;
    bytes[middle] ^= 0x55;
    std::fs::write(&files[0], bytes).unwrap();
    let (well, said, _) = run(&data, &["fsck"]);
    let name = files[0].file_name().unwrap().to_str().unwrap();
    let wrong: Vec<&str> = said.lines().filter(|line| line.starts_with("WRONG")).collect();
    assert!(!well && wrong.len() == 1 && wrong[0].contains(name), "{said}");
    let (well, said, told) = run(&data, &["fsck", "--repair"]);
    assert!(well && said.contains("is set aside") && said.contains("is whole"), "{said}{told}");
    assert_eq!(Server::at(&data, &[]).count(""), 1_000);
}
