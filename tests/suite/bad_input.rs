//! What no well-meant client sends: a clear error each, nothing lost, nothing kept half, and the next request works.

use std::io::Write;
use std::time::{Duration, Instant};

use sonic_rs::JsonValueTrait;

use crate::harness::{Server, request, text};

const DOORS: [&str; 4] = ["/data/", "/data/fast", "/data/batch", "/parse/auto"];

fn post(server: &Server, target: &str, body: &[u8]) -> crate::harness::Answer {
    server.post(target, "application/json", body)
}

#[test]
fn nesting_is_bounded_on_every_door() {
    let server = Server::start();
    let brackets = "[".repeat(1_000_000);
    let closed = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let objects = "{\"a\":".repeat(100_000);
    let inside = format!("{{\"message\":\"m\",\"ignored\":{}{}}}", "[".repeat(50_000), "]".repeat(50_000));
    let wrapped = format!("{{\"raw_log\":{}}}", sonic_rs::to_string(&inside).unwrap());
    for door in DOORS {
        for body in [&brackets, &closed, &objects, &inside] {
            let answer = post(&server, door, body.as_bytes());
            assert!(matches!(answer.status, 400 | 413 | 422), "{door}: {} {}", answer.status, answer.text());
        }
    }
    let answer = post(&server, "/parse/auto", wrapped.as_bytes());
    assert!(matches!(answer.status, 200 | 422), "{} {}", answer.status, answer.text());
    let lines = format!("{inside}\n{{\"message\":\"good\"}}\n{brackets}\n");
    let answer = server.post("/data/batch", "application/x-ndjson", lines);
    assert_eq!((answer.status, answer.json()["accepted"].as_u64()), (202, Some(1)), "{}", answer.text());
    for query in ["/logs/?q=".to_owned() + &"(".repeat(5_000), "/logs/?cursor=".to_owned() + &"x".repeat(5_000)] {
        let answer = server.get(&query);
        assert!(matches!(answer.status, 400 | 414 | 431), "{}", answer.status);
    }
    assert_eq!(server.get("/health").status, 200);
    server.wait_for_count("", 1);
}

#[test]
fn broken_json_is_400_and_no_record_is_422() {
    let server = Server::start();
    for door in ["/data/", "/data/fast"] {
        for (body, status) in [
            ("{", 400),
            ("{\"message\":\"m\"} x", 400),
            ("{\"message\":\"m\",}", 400),
            ("{'message':'m'}", 400),
            ("{\"message\":\"\u{1}\"}", 400),
            ("nonsense", 400),
            ("", 422),
            ("  \n ", 422),
            ("[]", 422),
            ("3", 422),
            ("null", 422),
            ("\"text\"", 422),
            ("{\"message\":\"m\"}", 200),
            ("{}", 200),
        ] {
            let answer = post(&server, door, body.as_bytes());
            let status = if status == 200 { if door == "/data/" { 201 } else { 202 } } else { status };
            assert_eq!(answer.status, status, "{door} {body:?}: {}", answer.text());
        }
    }
    for (body, status) in
        [("", 422), ("[]", 422), ("{\"logs\":[]}", 422), ("{", 400), ("[{]", 400), ("3", 422), ("null", 422)]
    {
        let answer = post(&server, "/data/batch", body.as_bytes());
        assert_eq!(answer.status, status, "{body:?}: {}", answer.text());
    }
    // An error says where.
    let answer = post(&server, "/data/fast", b"{\"message\":\n \"m\",}");
    let error = answer.json()["error"].clone();
    assert_eq!(error["line"].as_u64(), Some(2), "{}", answer.text());
    assert!(error["column"].as_u64().is_some_and(|column| column > 0), "{}", answer.text());
    server.wait_for_count("", 4);
}

#[test]
fn odd_values_are_taken_and_cleaned() {
    let server = Server::start();
    let check = |body: &[u8], expected: &[(&str, &str)], metadata: &[&str]| {
        let answer = post(&server, "/data/", body);
        assert_eq!(answer.status, 201, "{}: {}", String::from_utf8_lossy(body), answer.text());
        let log = server.get(&format!("/logs/{}", text(&answer.json(), "id"))).json();
        for (key, value) in expected {
            assert_eq!(text(&log, key), *value, "{key} of {}", String::from_utf8_lossy(body));
        }
        let found = sonic_rs::to_string(&log["metadata"]).unwrap();
        for part in metadata {
            assert!(found.contains(part), "{part} in {found}");
        }
    };
    check(br#"{"message":"a\u0000b"}"#, &[("message", "a\u{fffd}b")], &[]);
    check(b"{\"message\":\"a\xff\xfeb\"}", &[], &["true"]);
    check(br#"{"message":"\ud800 \udc00\ud83d"}"#, &[], &[]);
    check(br#"{"message":"\ud83d\ude00"}"#, &[("message", "\u{1f600}")], &[]);
    check(br#"{"level":"SHOUT","message":"m"}"#, &[("level", "INFO")], &["SHOUT"]);
    check(br#"{"level":"critical","message":"m"}"#, &[("level", "FATAL")], &[]);
    check(br#"{"level":17,"message":"m"}"#, &[], &["17"]);
    check(br#"{"timestamp":"yesterday, I think","message":"m"}"#, &[], &["yesterday"]);
    check(br#"{"timestamp":"0001-01-01T00:00:00Z","message":"m"}"#, &[], &["0001-01-01"]);
    check(br#"{"timestamp":1e300,"message":"m"}"#, &[], &[]);
    check(br#"{"timestamp":1762876800,"message":"m"}"#, &[("timestamp", "2025-11-11T16:00:00.000000Z")], &[]);
    check(br#"{"message":"first","message":"last"}"#, &[("message", "last")], &[]);
    check(br#"{"message":"m","big":123456789012345678901234567890}"#, &[], &["\"big\":1"]);
    check(br#"{"message":"m","huge":1e999}"#, &[], &["\"1e999\""]);
    check(br#"{"message":"m","metadata":[1,2]}"#, &[], &["[1,2]"]);
    check(br#"{"message":{"nested":true}}"#, &[], &[]);
    let long = format!(r#"{{"message":"{}"}}"#, "ü".repeat(100_000));
    check(long.as_bytes(), &[("message", &"ü".repeat(100_000))], &[]);
}

#[test]
fn long_lines_are_refused_and_their_neighbours_kept() {
    let server = Server::with(&["--line-bytes-max", "64KiB"]);
    let long = format!("{{\"message\":\"{}\"}}", "x".repeat(100_000));
    for door in ["/data/", "/data/fast"] {
        let answer = post(&server, door, long.as_bytes());
        assert_eq!(answer.status, 413, "{door}: {}", answer.text());
        assert!(answer.text().contains("line_bytes_max"), "{}", answer.text());
    }
    let lines = format!("{{\"message\":\"a\"}}\n{long}\n{{\"message\":\"b\"}}\n");
    let answer = server.post("/data/batch", "application/x-ndjson", lines);
    let told = answer.json();
    assert_eq!((told["accepted"].as_u64(), told["rejected"].as_u64()), (Some(2), Some(1)), "{}", answer.text());
    server.wait_for_count("", 2);
}

#[test]
fn too_large_a_body_is_413_on_its_head() {
    let server = Server::with(&["--atomic-body-bytes-max", "1MiB", "--body-bytes-max", "2MiB"]);
    let mut connection = server.connect();
    let head = "POST /data/batch HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\nContent-Length: 4000000\r\n\r\n";
    connection.send(head.as_bytes());
    // The rest is read and dropped, so that a client that only reads at the end sees the answer.
    connection.send(&vec![b'\n'; 4_000_000]);
    let answer = connection.answer();
    assert_eq!(answer.status, 413, "{}", answer.text());
    assert!(answer.text().contains("body_bytes_max"), "{}", answer.text());
    // Asked first, it is refused without a byte.
    let mut connection = server.connect();
    let head = "POST /data/batch HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4000000\r\n\r\n";
    assert_eq!(connection.ask(head.as_bytes()).status, 413);
    assert_eq!(server.count(""), 0);
}

#[test]
fn a_gzip_bomb_costs_neither_memory_nor_the_server() {
    let server = Server::with(&["--body-bytes-max", "16MiB"]);
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..512 {
        bomb.write_all(&[b' '; 1 << 20]).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    for door in DOORS {
        let headers = [("Content-Type", "application/json"), ("Content-Encoding", "gzip")];
        let answer = server.connect().ask(&request("POST", door, &headers, &bomb));
        assert!(matches!(answer.status, 400 | 413 | 422), "{door}: {} {}", answer.status, answer.text());
    }
    let peak = server.peak_memory_kib();
    assert!(peak < 300 * 1024, "{peak} KiB");
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn heads_that_mislead_are_refused_and_the_connection_ends() {
    let server = Server::start();
    let flood: String = (0..500).map(|index| format!("X-Header-{index}: y\r\n")).collect();
    let wide = format!("X-Wide: {}\r\n", "y".repeat(100_000));
    let long_target = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(100_000));
    let post = |headers: &str, body: &str| format!("POST /data/fast HTTP/1.1\r\nHost: h\r\n{headers}\r\n{body}");
    let record = "{\"message\":\"m\"}";
    for (name, sent, statuses) in [
        ("both lengths", post("Content-Length: 15\r\nTransfer-Encoding: chunked\r\n", record), &[400][..]),
        ("two lengths", post("Content-Length: 15\r\nContent-Length: 16\r\n", record), &[400]),
        ("a list of lengths", post("Content-Length: 15, 16\r\n", record), &[400]),
        ("a negative length", post("Content-Length: -1\r\n", record), &[400]),
        ("a signed length", post("Content-Length: +15\r\n", record), &[400]),
        ("a length beyond numbers", post("Content-Length: 99999999999999999999\r\n", record), &[400, 413]),
        ("chunked not last", post("Transfer-Encoding: chunked, gzip\r\n", record), &[400, 501]),
        ("unknown coding", post("Transfer-Encoding: snappy\r\n", record), &[400, 501]),
        ("a bare CR", post("X-A: a\rX-B: b\r\nContent-Length: 15\r\n", record), &[400]),
        ("a folded header", post("X-A: a\r\n b\r\nContent-Length: 15\r\n", record), &[400]),
        ("a space before the colon", post("Content-Length : 15\r\n", record), &[400]),
        ("a NUL", post("X-A: a\0b\r\nContent-Length: 15\r\n", record), &[400]),
        ("no host", format!("POST /data/fast HTTP/1.1\r\nContent-Length: 15\r\n\r\n{record}"), &[400]),
        ("two hosts", post("Host: other\r\nContent-Length: 15\r\n", record), &[400]),
        ("a chunk without a size", post("Transfer-Encoding: chunked\r\n", "zz\r\nxx\r\n0\r\n\r\n"), &[400]),
        ("a chunk too large to be one", post("Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\n"), &[400, 413]),
        ("another version", "GET /health HTTP/3.0\r\nHost: h\r\n\r\n".to_owned(), &[400, 505]),
        ("no HTTP at all", "hello there\r\n\r\n".to_owned(), &[400]),
        ("TLS", "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\r\n\r\n".to_owned(), &[400]),
        ("a header flood", post(&flood, ""), &[431]),
        ("a wide header", post(&wide, ""), &[431]),
        ("a long target", long_target, &[414, 431]),
    ] {
        let mut connection = server.connect();
        // What is refused early may not be read to its end.
        let _ = connection.stream.write_all(sent.as_bytes());
        let answer = connection.try_answer().unwrap_or_else(|| panic!("{name}: no answer"));
        assert!(statuses.contains(&answer.status), "{name}: {} {}", answer.status, answer.text());
        assert!(!answer.code().is_empty(), "{name}: {}", answer.text());
        assert!(connection.is_closed(), "{name}: the connection stays open");
    }
    assert_eq!(server.count(""), 0);
}

#[test]
fn slow_and_silent_clients_cost_a_connection_and_no_more() {
    let server = Server::with(&["--head-timeout", "600ms", "--body-timeout", "600ms", "--idle-timeout", "600ms"]);
    // A head of a byte now and then.
    let mut slow = server.connect();
    let started = Instant::now();
    let mut refused = None;
    for byte in b"POST /data/fast HTTP/1.1\r\nHost: h\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" {
        if slow.stream.write_all(&[*byte]).is_err() || started.elapsed() > Duration::from_secs(4) {
            break;
        }
        std::thread::sleep(Duration::from_millis(60));
        if started.elapsed() > Duration::from_millis(1500) {
            refused = slow.try_answer();
            break;
        }
    }
    assert!(refused.is_none_or(|answer| answer.status == 408));
    assert!(slow.is_closed());
    // A body that stops.
    let mut silent = server.connect();
    silent.send(b"POST /data/fast HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{\"message\"");
    assert!(silent.try_answer().is_none_or(|answer| answer.status == 408));
    assert!(silent.is_closed());
    // A body that comes in small pieces and does come is taken.
    let mut steady = server.connect();
    steady.send(b"POST /data/fast HTTP/1.1\r\nHost: h\r\nContent-Length: 15\r\n\r\n");
    for byte in b"{\"message\":\"m\"}" {
        steady.send(&[*byte]);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(steady.answer().status, 202);
    // An idle connection is closed without a word.
    let mut idle = server.connect();
    assert!(idle.try_answer().is_none());
    server.wait_for_count("", 1);
}

#[test]
fn more_connections_than_allowed_wait_or_are_turned_away() {
    let mut server = Server::with(&["--connections-max", "16"]);
    server.expect("connections_max");
    let open: Vec<_> = (0..16)
        .map(|_| {
            let mut connection = server.connect();
            assert_eq!(connection.ask(&request("GET", "/health", &[], b"")).status, 200);
            connection
        })
        .collect();
    let mut more = server.connect();
    let _ = more.stream.write_all(&request("GET", "/health", &[], b""));
    more.stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let answer = more.try_answer();
    assert!(answer.as_ref().is_none_or(|answer| answer.status == 503), "{answer:?}");
    drop(open);
    crate::harness::wait_until("room again", || {
        let mut connection = server.connect();
        connection.stream.write_all(&request("GET", "/health", &[], b"")).is_ok()
            && connection.try_answer().is_some_and(|answer| answer.status == 200)
    });
}
