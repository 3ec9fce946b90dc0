//! The live tail: in order, with filters, never in the way, and across a stop.

use std::net::TcpStream;
use std::time::Duration;

use sonic_rs::JsonValueTrait;

use crate::harness::{Server, Viewer, request};

#[test]
fn what_arrives_is_seen_in_order() {
    let server = Server::start();
    let mut viewer = Viewer::open(&server, "");
    let mut connection = server.connect();
    for index in 0..200 {
        let body = format!(r#"{{"message":"m{index}"}}"#);
        let door = ["/data/", "/data/fast"][index % 2];
        let answer = connection.ask(&request("POST", door, &[("Content-Type", "application/json")], body.as_bytes()));
        assert!(answer.status / 100 == 2, "{}", answer.text());
    }
    let expected: Vec<String> = (0..200).map(|index| format!("m{index}")).collect();
    assert_eq!(viewer.messages(200), expected);
}

#[test]
fn filters_hold_for_the_tail_too() {
    let server = Server::start();
    let mut viewer = Viewer::open(&server, "?level_min=ERROR&q=disk%20-full");
    let lines = [
        r#"{"level":"ERROR","message":"disk broken"}"#,
        r#"{"level":"ERROR","message":"disk full"}"#,
        r#"{"level":"INFO","message":"disk found"}"#,
        r#"{"level":"FATAL","message":"Disk gone"}"#,
    ];
    assert_eq!(server.post("/data/batch", "application/x-ndjson", lines.join("\n")).status, 202);
    assert_eq!(viewer.messages(2), ["disk broken", "Disk gone"]);
    let refused = server.get("/ws/logs");
    assert!(matches!(refused.status, 400 | 426), "{}", refused.status);
    let upgrade = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let bad = server.connect().ask(&request("GET", "/ws/logs?level=LOUD", &upgrade, b""));
    assert_eq!(bad.status, 400, "{}", bad.text());
    let foreign = [&upgrade[..], &[("Origin", "https://evil.example")]].concat();
    let foreign = server.connect().ask(&request("GET", "/ws/logs", &foreign, b""));
    assert_eq!(foreign.status, 403, "{}", foreign.text());
}

#[test]
fn a_viewer_that_does_not_read_costs_itself_alone() {
    let server = Server::start();
    let stream = TcpStream::connect(server.address).unwrap();
    let (mut stalled, _) = tungstenite::client(format!("ws://{}/ws/logs", server.address), stream).unwrap();
    let mut viewer = Viewer::open(&server, "?q=needle");
    let body: String = (0..4_000).map(|index| format!("{{\"message\":\"{index} {}\"}}\n", "x".repeat(200))).collect();
    let started = std::time::Instant::now();
    for _ in 0..40 {
        assert_eq!(server.post("/data/batch", "application/x-ndjson", &body).status, 202);
    }
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    assert_eq!(server.post("/data/fast", "application/json", r#"{"message":"needle"}"#).status, 202);
    loop {
        let frame = viewer.frame().expect("a frame");
        // It may have been too slow as well, on a busy machine.
        if frame["type"].as_str() == Some("logs") {
            break;
        }
    }
    // Once it reads again, it is told what it missed.
    stalled.get_ref().set_read_timeout(Some(crate::harness::PATIENCE)).unwrap();
    let skipped = loop {
        let tungstenite::Message::Text(frame) = stalled.read().expect("frames go on") else { continue };
        let frame: sonic_rs::Value = sonic_rs::from_str(&frame).unwrap();
        if frame["type"].as_str() == Some("skipped") {
            break frame["count"].as_u64().unwrap();
        }
    };
    assert!(skipped > 0);
    server.wait_for_count("", 160_001);
}

#[test]
fn a_stop_ends_the_tail_after_the_last_record() {
    let mut server = Server::start();
    let mut viewer = Viewer::open(&server, "");
    for index in 0..50 {
        assert_eq!(server.post("/data/fast", "application/json", format!(r#"{{"message":"m{index}"}}"#)).status, 202);
    }
    server.signal("TERM");
    let expected: Vec<String> = (0..50).map(|index| format!("m{index}")).collect();
    assert_eq!(viewer.messages(50), expected);
    assert!(viewer.frame().is_none());
    assert!(server.wait().success());
}
