//! A disk that is really full: what is sent is refused, what is asked is answered, retention goes on, and once there is
//! room ingestion does too, by itself. Nothing that was acknowledged is lost.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use crate::harness::{PATIENCE, Server, wait_until};

const DISK: &str = "56m";
const RETAIN_SECONDS: u64 = 10 * 86_400;
/// For so long after they were sent the old records are kept: the disk must be full by then.
const OLD_FOR_SECONDS: u64 = 8;
/// What one request brings.
const BODY_BYTES: usize = 128 << 10;
const OLD_BODIES: usize = 120;

/// Records that hardly pack; how many.
fn noise(seed: u64, fields: &str) -> (String, u64) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let (mut body, mut count) = (String::new(), 0);
    while body.len() < BODY_BYTES {
        let mut message = String::new();
        for _ in 0..60 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            message += &format!("{state:016x}");
        }
        body += &format!("{{{fields}\"message\":\"{message}\"}}\n");
        count += 1;
    }
    (body, count)
}

/// Writes to a file until the disk takes no more.
fn fill_up(path: &Path) {
    let mut file = File::options().create(true).append(true).open(path).unwrap();
    for piece in [256 << 10, 4 << 10, 1] {
        while file.write_all(&vec![1; piece]).is_ok() {}
    }
}

/// Sends until the disk is full; how many records were taken.
fn send_until_full(server: &Server, seed: u64) -> u64 {
    let mut taken = 0;
    let deadline = Instant::now() + PATIENCE;
    for at in 0.. {
        let (body, count) = noise(seed + at, "");
        let answer = server.post("/data/batch", "application/x-ndjson", body);
        match answer.status {
            202 => taken += count,
            // The store cannot keep up, as long as it tries.
            429 => std::thread::sleep(Duration::from_millis(50)),
            _ => {
                assert_eq!((answer.status, answer.code().as_str()), (503, "disk_full"), "{}", answer.text());
                assert!(answer.header("retry-after").is_some());
                return taken;
            }
        }
        assert!(Instant::now() < deadline, "{taken} records, and the disk is not full");
    }
    taken
}

#[test]
fn a_full_disk_refuses_answers_and_recovers() {
    let disk = tempfile::tempdir().unwrap();
    let retain = format!("{RETAIN_SECONDS}s");
    let flags = [
        ["--segment-bytes", "4MiB"],
        ["--flush-bytes", "256KiB"],
        ["--flush-age", "200ms"],
        ["--memory-bytes-max", "2MiB"],
        ["--retain", &retain],
    ];
    let Some(mut server) = Server::on_small_disk(disk.path(), DISK, flags.as_flattened()) else { return };
    for told in ["the disk is full", "cannot be written", "cannot be compacted"] {
        server.expect(told);
    }
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let old = format!("\"timestamp\":{},\"source\":\"old\",", now - RETAIN_SECONDS + OLD_FOR_SECONDS);
    for seed in 0..OLD_BODIES {
        let (body, _) = noise(seed as u64, &old);
        assert_eq!(server.post("/data/batch", "application/x-ndjson", body).status, 202);
    }
    // So that they have files of their own.
    wait_until("a flush", || server.get("/metrics").text().contains("logboom_memory_rows 0\n"));
    let ballast = server.data.parent().unwrap().join("ballast");
    fill_up(&ballast);

    let mut taken = send_until_full(&server, 1_000);
    assert_eq!(server.count("?from=-1h"), taken);
    assert_eq!(server.get("/logs/?limit=50&from=-1h").logs().len() as u64, taken.min(50));
    let health = server.get("/health").text();
    assert!(health.contains("disk is full") || health.contains("No space left"), "{health}");

    // The old records grow too old; their files go, and there is room.
    let take_one = || server.post("/data/fast", "application/json", r#"{"message":"one"}"#).status == 202;
    wait_until("retention to make room", take_one);
    taken += 1;
    assert_eq!(server.count("?source=old"), 0);
    let metrics = server.get("/metrics").text();
    assert!(!metrics.contains("logboom_expired_files_total 0\n"), "{metrics}");
    assert_eq!(server.count(""), taken);

    // Somebody else fills the disk, and takes it back.
    fill_up(&ballast);
    taken += send_until_full(&server, 2_000);
    assert_eq!(server.count(""), taken);
    std::fs::remove_file(&ballast).unwrap();
    wait_until("room on the disk", take_one);
    taken += 1;
    wait_until("health to be well", || server.get("/health").text().starts_with("{\"status\":\"ok\""));
    let export = server.get("/logs/export?format=ndjson").text();
    assert_eq!(export.lines().count() as u64, taken);
    server.stop();
}
