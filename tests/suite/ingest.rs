//! The doors: what they take, and what they answer.

use std::io::Write;
use std::process::Command;

use sonic_rs::{JsonContainerTrait, JsonValueTrait};

use crate::harness::{Server, request, text};

const RECORD: &str = r#"{"timestamp": "2025-11-11T16:00:00", "level": "ERROR",
  "source": "web-server", "application": "api", "message": "Database connection failed", "metadata": {"user_id": 12345}}"#;
const RAW: &str =
    r#"{"raw_log": "{\"timestamp\":\"2025-11-11T16:00:00\",\"level\":\"ERROR\",\"message\":\"Failed\"}"}"#;

#[test]
fn the_first_examples_work_as_they_are_written() {
    let server = Server::start();
    let url = |path: &str| format!("http://{}{path}", server.address);
    let curl = |arguments: &[&str]| {
        let out = Command::new("curl").args(["-sS", "-w", "\n%{http_code}"]).args(arguments).output().expect("curl");
        String::from_utf8(out.stdout).expect("text")
    };
    let said = curl(&["-X", "POST", &url("/data/fast"), "-H", "Content-Type: application/json", "-d", RECORD]);
    assert!(said.ends_with("\n202") && said.contains("\"id\""), "{said}");
    let said = curl(&["-X", "POST", &url("/parse/auto"), "-H", "Content-Type: application/json", "-d", RAW]);
    assert!(said.ends_with("\n200"), "{said}");
    for part in ["\"format\":\"json\"", "\"level\":\"ERROR\"", "\"message\":\"Failed\"", "2025-11-11T16:00:00"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    server.wait_for_count("", 1);
    let found = server.get("/logs/?level=ERROR&source=web-server").logs();
    assert_eq!(text(&found[0], "message"), "Database connection failed");
    assert_eq!(text(&found[0], "timestamp"), "2025-11-11T16:00:00.000000Z");
    assert_eq!(found[0]["metadata"]["user_id"].as_u64(), Some(12345));
    assert!(curl(&[&url("/health")]).contains("\"status\":\"ok\""));
    assert!(curl(&[&url("/")]).to_lowercase().contains("<!doctype html"));
}

#[test]
fn a_record_is_found_once_the_store_door_has_answered() {
    let server = Server::start();
    for index in 0..20 {
        let answer = server.post("/data/", "application/json", format!(r#"{{"message":"number {index}"}}"#));
        assert_eq!(answer.status, 201, "{answer:?}");
        let id = answer.json()["id"].as_str().expect("an id").to_owned();
        let found = server.get(&format!("/logs/{id}"));
        assert_eq!((found.status, text(&found.json(), "message")), (200, format!("number {index}")));
        assert_eq!(server.count(""), index + 1);
    }
}

#[test]
fn types_decide_how_a_body_is_read() {
    let server = Server::start();
    let json = r#"{"message":"m"}"#;
    let array = r#"[{"message":"a"},{"message":"b"}]"#;
    let logs = r#"{"logs":[{"message":"a"},{"message":"b"}]}"#;
    let form = "application/x-www-form-urlencoded";
    for (target, content_type, body, status, accepted) in [
        ("/data/", "application/json", json, 201, 0),
        ("/data", "application/json; charset=utf-8", json, 201, 0),
        ("/data/", "", json, 201, 0),
        ("/data/", form, json, 201, 0),
        ("/data/", "text/plain", json, 415, 0),
        ("/data/fast/", "application/json", json, 202, 0),
        ("/data/fast", "", json, 202, 0),
        ("/data/fast", form, json, 202, 0),
        ("/data/fast", "text/plain", json, 415, 0),
        ("/data/fast", "image/png", json, 415, 0),
        ("/data/batch", "application/json", array, 202, 2),
        ("/data/batch/", "application/json", logs, 202, 2),
        ("/data/batch", "application/json", "{\"message\":\"a\"}\n{\"message\":\"b\"}\n", 202, 2),
        ("/data/batch", "application/x-ndjson", "{\"message\":\"a\"}\r\n\n{\"message\":\"b\"}", 202, 2),
        ("/data/batch", "text/plain", "one\ntwo\n\nthree", 202, 3),
        ("/data/batch?format=plain", "application/json", "one\ntwo", 202, 2),
        ("/data/batch?format=nonsense", "text/plain", "one", 400, 0),
        ("/data/batch", form, array, 202, 2),
        ("/data/batch", "", logs, 202, 2),
        ("/data/batch", form, "one\ntwo", 202, 2),
        ("/data/batch", "image/png", "x", 415, 0),
        ("/parse/auto", form, RAW, 200, 0),
        ("/parse/auto", "", RAW, 200, 0),
        ("/parse/auto", "text/plain", "one\ntwo", 200, 0),
        ("/parse/auto", "image/png", "one", 415, 0),
    ] {
        let answer = server.post(target, content_type, body);
        assert_eq!(answer.status, status, "{target} {content_type:?} {body}: {}", answer.text());
        if accepted > 0 {
            assert_eq!(answer.json()["accepted"].as_u64(), Some(accepted), "{target} {content_type:?} {body}");
        }
        if status >= 400 {
            let error = answer.json()["error"].clone();
            let message = text(&error, "message");
            assert!(!answer.code().is_empty() && !message.is_empty(), "{}", answer.text());
            assert!(!message.starts_with(|c: char| c.is_uppercase()), "{message}");
        }
    }
}

#[test]
fn good_and_bad_records_are_told_apart_by_index() {
    let server = Server::start();
    let answer = server.post(
        "/data/batch",
        "application/x-ndjson",
        "{\"message\":\"a\"}\n\n{broken\n{\"message\":\"b\"}\n{\"x\":\n",
    );
    assert_eq!(answer.status, 202, "{}", answer.text());
    let answer = answer.json();
    assert_eq!((answer["accepted"].as_u64(), answer["rejected"].as_u64()), (Some(2), Some(2)), "{answer:?}");
    let indices: Vec<_> =
        answer["errors"].as_array().expect("errors").iter().map(|error| error["index"].as_u64()).collect();
    // From zero, and blank lines count.
    assert_eq!(indices, [Some(2), Some(4)]);
    server.wait_for_count("", 2);

    let broken = "nonsense\n".repeat(300);
    let answer = server.post("/data/batch", "application/x-ndjson", broken);
    assert_eq!(answer.status, 422, "{}", answer.text());
    let answer = answer.json();
    assert_eq!(answer["rejected"].as_u64(), Some(300), "{answer:?}");
    assert!(answer["errors"].as_array().expect("errors").len() <= 100);
    assert_eq!(server.count(""), 2);
}

#[test]
fn encodings_are_taken_off() {
    let server = Server::start();
    let body: String = (0..5_000).map(|index| format!("{{\"message\":\"line {index}\"}}\n")).collect();
    let gzip = {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(body.as_bytes()).unwrap();
        out.finish().unwrap()
    };
    let zlib = {
        let mut out = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(body.as_bytes()).unwrap();
        out.finish().unwrap()
    };
    let zstd = zstd::encode_all(body.as_bytes(), 1).unwrap();
    let send = |encoding: &str, bytes: &[u8]| {
        let headers = [("Content-Type", "application/x-ndjson"), ("Content-Encoding", encoding)];
        server.connect().ask(&request("POST", "/data/batch", &headers, bytes))
    };
    let mut expected = 0;
    for (encoding, bytes) in [("gzip", &gzip), ("GZIP", &gzip), ("deflate", &zlib), ("zstd", &zstd)] {
        let answer = send(encoding, bytes);
        assert_eq!(answer.status, 202, "{encoding}: {}", answer.text());
        assert_eq!(answer.json()["accepted"].as_u64(), Some(5_000), "{encoding}");
        expected += 5_000;
    }
    // Two members one after another are one body (RFC 1952 §2.2).
    let twice = [gzip.as_slice(), gzip.as_slice()].concat();
    assert_eq!(send("gzip", &twice).json()["accepted"].as_u64(), Some(10_000));
    expected += 10_000;
    assert_eq!(send("br", &gzip).status, 415);
    assert_eq!(send("gzip", b"not gzip at all").status, 400);
    assert_eq!(send("gzip", &gzip[..gzip.len() / 2]).status, 400);
    assert_eq!(send("zstd", &zstd[..zstd.len() / 2]).status, 400);
    server.wait_for_count("", expected);
}

#[test]
fn bodies_come_in_every_framing() {
    let server = Server::start();
    let mut connection = server.connect();
    // Chunked, in pieces that end anywhere.
    connection.send(b"POST /data/batch HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n");
    for piece in ["{\"message\":\"a\"}\n{\"mes", "sage\":\"b\"", "}\n"] {
        connection.send(format!("{:x};extension=1\r\n", piece.len()).as_bytes());
        connection.send(piece.as_bytes());
        connection.send(b"\r\n");
    }
    connection.send(b"0\r\nTrailer: ignored\r\n\r\n");
    let answer = connection.answer();
    assert_eq!((answer.status, answer.json()["accepted"].as_u64()), (202, Some(2)), "{}", answer.text());

    // Asked first, then sent.
    let body = r#"{"message":"c"}"#;
    let head = format!(
        "POST /data/ HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    connection.send(head.as_bytes());
    assert_eq!(connection.answer().status, 100);
    connection.send(body.as_bytes());
    assert_eq!(connection.answer().status, 201);

    // Many at once, answered in order.
    let one = request("POST", "/data/fast", &[("Content-Type", "application/json")], body.as_bytes());
    let bad = request("POST", "/data/fast", &[("Content-Type", "application/json")], b"{");
    let health = request("GET", "/health", &[], b"");
    let stats = request("GET", "/stats", &[], b"");
    let pipeline = [one.as_slice(), &bad, &health, &stats, &one, &stats].concat();
    connection.send(&pipeline);
    let statuses: Vec<u16> = (0..6).map(|_| connection.answer().status).collect();
    assert_eq!(statuses, [202, 400, 200, 200, 202, 200]);

    // HTTP/1.0 and `Connection: close` end the connection.
    let mut old = server.connect();
    assert_eq!(old.ask(b"GET /health HTTP/1.0\r\n\r\n").status, 200);
    assert!(old.is_closed());
    let mut last = server.connect();
    let answer = last.ask(&request("POST", "/data/fast", &[("Connection", "close")], body.as_bytes()));
    assert_eq!(answer.status, 202);
    assert!(last.is_closed());
    server.wait_for_count("", 6);
}

#[test]
fn a_body_is_whole_or_in_part() {
    let server = Server::with(&["--atomic-body-bytes-max", "1MiB", "--body-bytes-max", "64MiB"]);
    let line = |index: usize| format!("{{\"message\":\"line {index} {}\"}}\n", "x".repeat(100));
    let small: String = (0..1_000).map(line).collect();
    let large: String = (0..20_000).map(line).collect();
    let cut = |body: &str| {
        let mut connection = server.connect();
        let head = format!(
            "POST /data/batch HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        connection.send(head.as_bytes());
        connection.send(&body.as_bytes()[..body.len() * 9 / 10]);
        connection.stream.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = connection.try_answer();
    };
    cut(&small);
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(server.count(""), 0, "a short body that was cut leaves nothing");
    cut(&large);
    crate::harness::wait_until("whole lines of a long body that was cut", || server.count("") > 0);
    let came = large.as_bytes()[..large.len() * 9 / 10].iter().filter(|byte| **byte == b'\n').count() as u64;
    std::thread::sleep(std::time::Duration::from_millis(300));
    let kept = server.count("");
    assert!(kept <= came, "{kept} of the {came} whole lines that came");
    let answer = server.post("/data/batch", "application/x-ndjson", &large);
    assert_eq!((answer.status, answer.json()["accepted"].as_u64()), (202, Some(20_000)), "{}", answer.text());
}

#[test]
fn parse_only_parses_unless_told_to_store() {
    let server = Server::start();
    let many = r#"{"raw_logs": ["{\"level\":\"warning\",\"msg\":\"one\"}", "two\nlines", ""]}"#;
    let answer = server.post("/parse/auto", "application/json", many);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let results = answer.json()["results"].clone();
    let results: Vec<_> = results.as_array().expect("results").iter().cloned().collect();
    assert_eq!(results.len(), 3, "{}", answer.text());
    assert_eq!((text(&results[0], "format").as_str(), text(&results[0], "level").as_str()), ("json", "WARN"));
    assert_eq!(text(&results[1], "message"), "two\nlines");
    let held = r#"{"raw_log": "no json", "format": "json"}"#;
    let answer = server.post("/parse/auto", "application/json", held);
    assert_eq!(answer.status, 422, "{}", answer.text());
    let held = r#"{"raw_logs": ["no json", "{}"], "format": "json"}"#;
    let answer = server.post("/parse/auto", "application/json", held);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.json()["results"][0]["error"].is_object(), "{}", answer.text());
    assert_eq!(server.count(""), 0);
    let answer = server.post("/parse/auto?store=true", "application/json", RAW);
    assert_eq!(answer.status, 202, "{}", answer.text());
    server.wait_for_count("", 1);
    let formats = server.get("/parse/formats");
    assert!(formats.status == 200 && formats.text().contains("\"json\""), "{}", formats.text());
    assert_eq!(server.get("/parse/patterns").status, 200);
}

#[test]
fn the_servers_own_figures_add_up() {
    let server = Server::start();
    assert_eq!(server.post("/data/fast", "application/json", RECORD).status, 202);
    assert_eq!(
        server.post("/data/batch", "application/x-ndjson", "{\"message\":\"a\"}\n{\"message\":\"b\"}").status,
        202
    );
    assert_eq!(server.post("/data/fast", "application/json", "{").status, 400);
    let health = server.get("/health");
    assert_eq!((health.status, text(&health.json(), "status").as_str()), (200, "ok"), "{}", health.text());
    assert!(health.json()["parts"].is_object());
    let queue = server.get("/queue/status/");
    assert_eq!((queue.status, text(&queue.json(), "kind").as_str()), (200, "local"), "{}", queue.text());
    assert!(queue.json()["depth"].is_number() && queue.json()["streams"].is_array(), "{}", queue.text());
    let metrics = server.get("/metrics");
    assert_eq!(metrics.status, 200);
    assert!(metrics.header("content-type").is_some_and(|kind| kind.contains("text")), "{metrics:?}");
    assert!(metrics.text().contains("# TYPE"), "{}", metrics.text());
    for (method, target, status) in [("GET", "/nowhere", 404), ("GET", "/data/fast", 405), ("DELETE", "/logs/", 405)] {
        let answer = server.connect().ask(&request(method, target, &[], b""));
        assert_eq!(answer.status, status, "{method} {target}: {}", answer.text());
        assert!(!answer.code().is_empty(), "{}", answer.text());
    }
}

#[test]
fn other_peoples_pages_may_not_post() {
    let server = Server::with(&["--origins", "https://logs.example.com"]);
    let own = format!("http://{}", server.address);
    for (origin, status) in [("https://evil.example", 403), ("null", 403), ("https://logs.example.com", 202)] {
        let headers = [("Origin", origin), ("Content-Type", "application/json")];
        let answer = server.connect().ask(&request("POST", "/data/fast", &headers, RECORD.as_bytes()));
        assert_eq!(answer.status, status, "{origin}: {}", answer.text());
    }
    let same = format!(
        "POST /data/fast HTTP/1.1\r\nHost: {}\r\nOrigin: {own}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{RECORD}",
        server.address,
        RECORD.len()
    );
    assert_eq!(server.connect().ask(same.as_bytes()).status, 202);
    server.wait_for_count("", 2);
}

#[test]
fn on_loopback_a_request_names_a_host_of_ours() {
    let server = Server::with(&["--origins", "https://logs.example.com"]);
    let port = server.address.port();
    for (host, status) in [
        (format!("127.0.0.1:{port}"), 200),
        (format!("localhost:{port}"), 200),
        ("box".to_owned(), 200),
        ("logs.example.com".to_owned(), 200),
        (format!("evil.example:{port}"), 421),
        ("127.0.0.1.evil.example".to_owned(), 421),
    ] {
        // Whether it is answered by the engine or by the sidecar.
        for target in ["/health", "/logs/", "/"] {
            let asked = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let answer = server.connect().ask(asked.as_bytes());
            assert_eq!(answer.status, status, "{host} {target}: {}", answer.text());
        }
    }
    let asked = format!(
        "POST /data/fast HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{RECORD}",
        RECORD.len()
    );
    let answer = server.connect().ask(asked.as_bytes());
    assert_eq!((answer.status, answer.code().as_str()), (421, "foreign_host"), "{}", answer.text());
}
