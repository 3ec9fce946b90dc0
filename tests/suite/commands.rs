//! The commands beside `serve`, as a shell sees them.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::harness::{Server, logboom, wait_until};

fn run(arguments: &[&str], input: &[u8]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = logboom(folder.path());
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn told(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

#[test]
fn parse_prints_a_record_for_each_line() {
    let long = "x".repeat(2 << 20);
    let input = format!("{{\"level\":\"warn\",\"msg\":\"one\",\"n\":1}}\n\nplain two\r\n{long}\nlast");
    let out = run(&["parse", "--source", "here"], input.as_bytes());
    let lines: Vec<String> = said(&out).lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 3, "{} {}", said(&out), told(&out));
    for part in ["\"level\":\"WARN\"", "\"message\":\"one\"", "\"source\":\"here\"", "\"metadata\":{\"n\":1}"] {
        assert!(lines[0].contains(part), "{part} in {}", lines[0]);
    }
    assert!(lines[1].contains("\"message\":\"plain two\"") && lines[2].contains("\"message\":\"last\""));
    assert!(
        !out.status.success() && told(&out).contains("line 4") && told(&out).contains("line_bytes_max"),
        "{}",
        told(&out)
    );
    let out = run(&["parse", "--format", "json", "-"], b"{}\nnot json\n");
    assert!(said(&out).lines().count() == 1 && told(&out).contains("line 2"), "{} {}", said(&out), told(&out));
    let out = run(&["parse", "--format", "klingon"], b"");
    assert!(!out.status.success() && told(&out).contains("json"), "{}", told(&out));
    let out = run(&["parse", "/nowhere/to/be/found"], b"");
    assert!(!out.status.success() && told(&out).contains("/nowhere/to/be/found"), "{}", told(&out));
}

#[test]
fn query_finds_pages_and_exports() {
    let server = Server::start();
    let url = format!("http://{}", server.address);
    let body: String =
        (0..2_500).map(|index| format!("{{\"message\":\"m {index}\",\"level\":\"warn\",\"n\":{index}}}\n")).collect();
    assert_eq!(server.post("/data/batch", "application/x-ndjson", body).status, 202);
    server.wait_for_count("", 2_500);
    let lines = |arguments: &[&str]| {
        let out = run(&[&["query", "--url", &url], arguments].concat(), b"");
        assert!(out.status.success(), "{arguments:?}: {}", told(&out));
        said(&out).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(lines(&[]).len(), 100);
    assert_eq!(lines(&["--limit", "2200"]).len(), 2_200);
    assert_eq!(lines(&["--export"]).len(), 2_500);
    assert_eq!(lines(&["--export", "--format", "csv"]).len(), 2_501);
    assert_eq!(lines(&["--metadata", "n=77", "--level", "WARN"]).len(), 1);
    assert_eq!(
        lines(&["--limit", "9999", "--", "m", "-77"]).len(),
        2_500 - (0..2_500).filter(|n| n.to_string().contains("77")).count()
    );
    let text = lines(&["--format", "text", "--limit", "1", "n:2499"]);
    assert!(text.len() == 1 && text[0].contains(" WARN  ") && text[0].ends_with("m 2499 n=2499"), "{text:?}");
    let out = run(&["query", "--url", &url, "--level", "LOUD"], b"");
    assert!(!out.status.success() && told(&out).contains("400") && told(&out).contains("LOUD"), "{}", told(&out));
    let out = run(&["query", "--url", "http://127.0.0.1:1"], b"");
    assert!(!out.status.success() && told(&out).contains("--url"), "{}", told(&out));
    let shell = format!("{} query --url {url} --export | head -1", crate::harness::BINARY);
    let out = Command::new("bash").args(["-o", "pipefail", "-c", &shell]).output().unwrap();
    assert!(out.status.success() && out.stderr.is_empty(), "a closed pipe is no error: {}", told(&out));
}

#[test]
fn tail_shows_what_arrives_and_waits_for_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::at(&data, &[]);
    let address = server.address.to_string();
    let mut command = logboom(folder.path());
    command.args(["tail", "--url", &format!("http://{address}"), "--level-min", "WARN"]);
    let mut tail = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let post = |server: &Server, message: &str| {
        assert_eq!(server.post("/data/fast", "application/json", r#"{"level":"INFO","message":"no"}"#).status, 202);
        let record = format!(r#"{{"level":"ERROR","message":"{message}"}}"#);
        assert_eq!(server.post("/data/fast", "application/json", record).status, 202);
    };
    wait_until("the viewer", || {
        server.get("/metrics").text().lines().any(|line| line.contains("viewers") && line.ends_with(" 1"))
    });
    post(&server, "first");
    assert!(lines.next().unwrap().unwrap().contains("\"message\":\"first\""));
    server.stop();
    let server = Server::at(&data, &["--listen", &address]);
    wait_until("the viewer again", || {
        server.get("/metrics").text().lines().any(|line| line.contains("viewers") && line.ends_with(" 1"))
    });
    post(&server, "second");
    assert!(lines.next().unwrap().unwrap().contains("\"message\":\"second\""));
    assert!(Command::new("kill").args(["-INT", &tail.id().to_string()]).status().unwrap().success());
    wait_until("its end", || tail.try_wait().unwrap().is_some());
    assert!(tail.wait().unwrap().success());
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn help_and_version_are_there() {
    let out = run(&["--version"], b"");
    assert_eq!(said(&out).trim(), format!("logboom {}", env!("CARGO_PKG_VERSION")));
    let out = run(&["--help"], b"");
    for part in
        ["serve", "parse", "tail", "query", "bench", "doctor", "fsck", "snapshot", "config", "--listen", "--data-dir"]
    {
        assert!(said(&out).contains(part), "{part}");
    }
}
