//! What was acknowledged is there after a stop, and after a kill.

use std::time::Duration;

use sonic_rs::JsonValueTrait;

use crate::harness::{Server, text};

fn fill(server: &Server, from: usize, count: usize) {
    let body: String = (from..from + count).map(|index| format!("{{\"message\":\"m{index}\"}}\n")).collect();
    let answer = server.post("/data/batch", "application/x-ndjson", body);
    assert_eq!(answer.json()["accepted"].as_u64(), Some(count as u64), "{}", answer.text());
}

#[test]
fn data_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let small = ["--flush-bytes", "64KiB", "--segment-bytes", "4MiB"];
    let mut expected = 0;
    for round in 0..6 {
        let server = Server::at(&data, &small);
        server.wait_for_count("", expected);
        let answer = server.post("/data/", "application/json", format!(r#"{{"message":"round {round}"}}"#));
        let id = text(&answer.json(), "id");
        fill(&server, expected as usize, 3_000);
        expected += 3_001;
        if round % 2 == 0 {
            server.stop()
        } else {
            server.kill()
        }
        let server = Server::at(&data, &["--flush-age", "100ms"]);
        server.wait_for_count("", expected);
        assert_eq!(text(&server.get(&format!("/logs/{id}")).json(), "message"), format!("round {round}"));
        let messages = server.get("/logs/export?format=ndjson").text();
        assert_eq!(messages.lines().count() as u64, expected, "each record once");
        // Sometimes long enough for a flush to have happened.
        std::thread::sleep(Duration::from_millis(80 * round));
    }
}

#[test]
fn a_stop_lets_requests_under_way_end() {
    let mut server = Server::start();
    let mut connection = server.connect();
    let body = "{\"message\":\"m\"}\n".repeat(1_000);
    let head = format!(
        "POST /data/batch HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    connection.send(head.as_bytes());
    connection.send(&body.as_bytes()[..5_000]);
    std::thread::sleep(Duration::from_millis(100));
    server.signal("TERM");
    std::thread::sleep(Duration::from_millis(100));
    connection.send(&body.as_bytes()[5_000..]);
    let answer = connection.answer();
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert!(connection.is_closed());
    assert!(server.wait().success());
}

#[test]
fn a_second_signal_does_not_wait() {
    let mut server = Server::with(&["--stop-timeout", "60s"]);
    let mut connection = server.connect();
    connection.send(b"POST /data/batch HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n{");
    std::thread::sleep(Duration::from_millis(100));
    server.signal("INT");
    std::thread::sleep(Duration::from_millis(300));
    assert!(server.is_running(), "a stop waits for the request");
    server.signal("INT");
    assert!(!server.wait().success());
}
