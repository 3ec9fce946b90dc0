//! Routes, statuses and shapes.

use std::io::{BufReader, Read, Write};
use std::time::{Duration, Instant};

use engine::store::QueryError;
use record::Level;

use crate::fake::{Fake, START};
use crate::server::{Answer, Running};

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn pages_follow_one_another() {
    let server = Running::start(Fake::numbered(25));
    let mut seen = Vec::new();
    let mut target = "/logs/?limit=10&source=even".to_owned();
    loop {
        let page = server.get(&target);
        assert_eq!(page.status, 200, "{page:?}");
        assert_eq!(page.header("content-type"), Some("application/json"));
        assert_eq!(page.header("cache-control"), Some("no-store"));
        assert!(page.header("server-timing").unwrap().contains("files;desc=\"3 read 0 skipped\""), "{page:?}");
        seen.extend(page.all("message").iter().map(|&message| message.to_owned()));
        match page.all("next_cursor").first() {
            Some(cursor) => target = format!("/logs?limit=10&source=even&cursor={cursor}"),
            None => {
                assert!(page.body.ends_with("\"next_cursor\":null}"));
                break;
            }
        }
    }
    let want: Vec<String> = (0..25).rev().filter(|n| n % 2 == 0).map(|n| format!("record {n}")).collect();
    assert_eq!(seen, want);
}

#[test]
fn a_cursor_of_another_filter_is_refused() {
    let server = Running::start(Fake::numbered(25));
    let page = server.get("/logs/?limit=10&source=even");
    let cursor = page.all("next_cursor")[0];
    for (target, code) in [
        (format!("/logs/?source=odd&cursor={cursor}"), "cursor_mismatch"),
        (format!("/logs/?cursor={cursor}"), "cursor_mismatch"),
        ("/logs/?cursor=x".to_owned(), "bad_cursor"),
    ] {
        let answer = server.get(&target);
        assert_eq!((answer.status, answer.code()), (400, code), "{target}");
    }
}

#[test]
fn one_record_and_its_neighbours() {
    let server = Running::start(Fake::numbered(25));
    let page = server.get("/logs/?q=record%2012");
    let id = page.all("id")[0].to_owned();
    let one = server.get(&format!("/logs/{id}"));
    assert_eq!(one.status, 200);
    assert_eq!(page.body, format!("{{\"logs\":[{}],\"next_cursor\":null}}", one.body));
    assert_eq!(server.get(&format!("/logs/{id}/")).body, one.body);
    let context = server.get(&format!("/logs/{id}/context?before=2&after=1"));
    assert_eq!(context.all("message"), ["record 8", "record 10", "record 12", "record 14"]);
    assert!(context.body.contains("],\"log\":{\"id\":"), "{context:?}");
    assert_eq!(server.get(&format!("/logs/{id}/context?before=0&after=0/")).status, 400);
    for target in ["/logs/019a739a-5400-7000-8000-000000000000", "/logs/019a739a-5400-7000-8000-000000000000/context"] {
        let missing = server.get(target);
        assert_eq!((missing.status, missing.code()), (404, "not_found"), "{target}");
    }
    assert_eq!(server.get("/logs/12").code(), "bad_id");
}

#[test]
fn counts() {
    let server = Running::start(Fake::numbered(100));
    assert_eq!(
        server.get("/stats").body,
        "{\"total\":100,\"by_level\":{\"TRACE\":0,\"DEBUG\":0,\"INFO\":90,\"WARN\":0,\"ERROR\":10,\"FATAL\":0},\
         \"error_rate\":0.1,\"per_second\":0.0}"
    );
    assert!(server.get("/stats?q=nothing").body.contains("\"total\":0,"));
    assert_eq!(
        server.get("/stats/histogram?interval=1m").body,
        "{\"interval_seconds\":60,\"buckets\":[\
         {\"from\":\"2025-11-11T16:00:00.000000Z\",\"total\":60,\"levels\":{\"INFO\":54,\"ERROR\":6}},\
         {\"from\":\"2025-11-11T16:01:00.000000Z\",\"total\":40,\"levels\":{\"INFO\":36,\"ERROR\":4}}]}"
    );
    assert_eq!(
        server.get("/stats/facets/?field=level&limit=1").body,
        "{\"field\":\"level\",\"values\":[{\"value\":\"INFO\",\"count\":90}],\"other\":10}"
    );
    assert_eq!(
        server.get("/stats/facets?field=metadata.k&level=ERROR").body,
        "{\"field\":\"metadata.k\",\"values\":[{\"value\":\"1\",\"count\":10}],\"other\":0}"
    );
}

#[test]
fn the_rate_is_that_of_arrival() {
    let server = Running::start(Fake::default());
    server.tail.publish(&crate::fake::batch(&[(0, Level::Info, "a", "b", "{}"), (1, Level::Info, "a", "b", "{}")]));
    let stats = server.get("/stats").body;
    let rate: f64 = stats.split("\"per_second\":").nth(1).unwrap().trim_end_matches('}').parse().unwrap();
    assert!(rate > 0.0 && rate <= 2.0, "{stats}");
}

#[test]
fn exports() {
    let mut records: Vec<(i64, Level, &str, &str, &str)> =
        vec![(0, Level::Info, "a", "plain", "{}"), (1, Level::Warn, "b,c", "say \"hi\"\r\nagain", "{\"k\":[1,2]}")];
    let server = Running::start(Fake::new(&records));
    let csv = server.get("/logs/export?format=csv");
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8; header=present"));
    assert_eq!(csv.header("content-disposition"), Some("attachment; filename=\"logs.csv\""));
    let mut lines: Vec<&str> = csv.body.split("Z,").collect();
    assert!(lines.remove(0).starts_with("id,timestamp,level,source,application,message,metadata\r\n"));
    assert!(
        lines[0].starts_with("WARN,\"b,c\",shop,\"say \"\"hi\"\"\r\nagain\",\"{\"\"k\"\":[1,2]}\"\r\n"),
        "{lines:?}"
    );
    assert_eq!(lines[1], "INFO,a,shop,plain,{}\r\n");
    let ndjson = server.get("/logs/export");
    assert_eq!(ndjson.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(ndjson.all("source"), ["b,c", "a"]);
    assert_eq!(ndjson.body.lines().count(), 2);
    records.clear();
    assert_eq!(Running::start(Fake::new(&records)).get("/logs/export").body, "");
    assert_eq!(server.get("/logs/export?format=xml").code(), "bad_parameter");
    assert_eq!(server.ask("HEAD", "/logs/export?format=csv", "").status, 200);
}

/// More than any buffer on the way holds.
fn eighty_megabytes() -> Fake {
    let long = "x".repeat(2_000);
    let records: Vec<_> = (0..40_000).map(|n| (n, Level::Info, "a", long.as_str(), "{}")).collect();
    Fake::new(&records)
}

#[test]
fn an_export_waits_for_a_slow_client_and_ends_with_it() {
    let fake = eighty_megabytes();
    let exported = fake.exported.clone();
    let server = Running::start(fake);
    let mut stream = server.connect();
    stream.write_all(b"GET /logs/export HTTP/1.1\r\nHost: here\r\n\r\n").unwrap();
    let mut byte = [0];
    stream.read_exact(&mut byte).unwrap();
    // The kernel's buffers and the channel fill, then it stands still.
    let mut before = 0;
    wait_for("the export does not wait", || {
        std::thread::sleep(Duration::from_millis(200));
        let now = exported.lock().unwrap().0;
        std::mem::replace(&mut before, now) == now && now > 0
    });
    assert!(exported.lock().unwrap().0 < 400, "{exported:?} of 400 pieces for a client that reads nothing");
    assert_eq!(exported.lock().unwrap().1, 0);
    drop(stream);
    wait_for("the export outlives its client", || exported.lock().unwrap().1 == 1);
}

#[test]
fn failures_of_the_store() {
    let cases = [
        (QueryError::Deadline { seconds: 30 }, 503, "query_too_long"),
        (QueryError::Memory { bytes: 1 }, 503, "query_too_large"),
        (QueryError::Store("torn".into()), 500, "store_failed"),
    ];
    for (failure, status, code) in cases {
        let server = Running::start(Fake { failure: Some(failure), ..Fake::numbered(3) });
        for target in ["/logs/", "/stats", "/logs/export", "/stats/histogram"] {
            let answer = server.get(target);
            assert_eq!((answer.status, answer.code()), (status, code), "{target}");
        }
    }
}

#[test]
fn a_query_ends_when_its_client_goes() {
    let fake = Fake::numbered(3);
    let hold = fake.hold.clone();
    *hold.0.lock().unwrap() = true;
    let server = Running::with(fake, |config| config.queries_max = 1);
    let mut stream = server.connect();
    stream.write_all(b"GET /logs/ HTTP/1.1\r\nHost: here\r\n\r\n").unwrap();
    std::thread::sleep(Duration::from_millis(50));
    drop(stream);
    // Its place is free again although nothing let the store go on.
    let answer = std::thread::scope(|scope| {
        let next = scope.spawn(|| server.get("/logs/"));
        std::thread::sleep(Duration::from_millis(100));
        *hold.0.lock().unwrap() = false;
        next.join().unwrap()
    });
    assert_eq!(answer.status, 200);
}

#[test]
fn too_many_queries_are_told_so() {
    let fake = Fake::numbered(3);
    let hold = fake.hold.clone();
    *hold.0.lock().unwrap() = true;
    let server = Running::with(fake, |config| config.queries_max = 1);
    let mut stream = server.connect();
    stream.write_all(b"GET /logs/ HTTP/1.1\r\nHost: here\r\n\r\n").unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let busy = server.get("/stats");
    assert_eq!((busy.status, busy.code(), busy.header("retry-after")), (503, "busy", Some("1")));
    *hold.0.lock().unwrap() = false;
    assert_eq!(Answer::read(&mut BufReader::new(stream), "GET").status, 200);
}

#[test]
fn paths_methods_and_parameters() {
    let server = Running::start(Fake::numbered(3));
    for (method, target, status, code) in [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/logs/x/y", 404, "not_found"),
        ("POST", "/nothing", 404, "not_found"),
        ("POST", "/logs/", 405, "method_not_allowed"),
        ("DELETE", "/stats/", 405, "method_not_allowed"),
        ("POST", "/", 405, "method_not_allowed"),
        ("OPTIONS", "/logs/", 405, "method_not_allowed"),
        ("GET", "/logs/?limit=0", 400, "bad_parameter"),
        ("GET", "/logs/?limit=10001", 400, "bad_parameter"),
        ("GET", "/logs/?limit=ten", 400, "bad_parameter"),
        ("GET", "/logs/?limit=1&limit=2", 400, "repeated_parameter"),
        ("GET", "/logs/?colour=red", 400, "unknown_parameter"),
        ("GET", "/logs/?interval=1m", 400, "unknown_parameter"),
        ("GET", "/logs/?q=%ff", 400, "bad_encoding"),
        ("GET", "/stats/histogram?interval=2d", 400, "bad_parameter"),
        ("GET", "/stats/facets", 400, "missing_parameter"),
        ("GET", "/stats/facets?field=colour", 400, "bad_parameter"),
        ("GET", "/parse/formats?x=1", 400, "unknown_parameter"),
        ("GET", "/ws/logs", 426, "upgrade_required"),
        ("GET", "/api/docs/nothing.js", 404, "not_found"),
        ("GET", "/../Cargo.toml", 404, "not_found"),
        ("GET", "/%2e%2e/Cargo.toml", 404, "not_found"),
    ] {
        let answer = server.ask(method, target, "");
        assert_eq!((answer.status, answer.code()), (status, code), "{method} {target}");
        assert_eq!(answer.header("allow"), (status == 405).then_some("GET, HEAD"), "{method} {target}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
    for target in ["/logs/", "/stats", "/parse/formats/", "/parse/patterns", "/", "/api/openapi.json", "/api/docs"] {
        let answer = server.ask("HEAD", target, "");
        assert_eq!((answer.status, &*answer.body), (200, ""), "{target}");
    }
}

#[test]
fn long_queries_and_heads_are_refused() {
    let server = Running::start(Fake::numbered(3));
    let long = server.get(&format!("/logs/?q={}", "x".repeat(17 * 1024)));
    assert_eq!((long.status, long.code()), (414, "query_too_long"));
    assert_eq!(server.get(&format!("/logs/?q={}", "x".repeat(8 * 1024))).status, 200);
    let mut stream = server.connect();
    let _ = write!(stream, "GET / HTTP/1.1\r\nHost: here\r\n{}\r\n", "X: y\r\n".repeat(200));
    let mut text = [0; 12];
    stream.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"HTTP/1.1 431");
}

#[test]
fn connections_are_kept() {
    let server = Running::start(Fake::numbered(3));
    let mut stream = BufReader::new(server.connect());
    for _ in 0..3 {
        stream.get_mut().write_all(b"GET /stats HTTP/1.1\r\nHost: here\r\n\r\n").unwrap();
        assert_eq!(Answer::read(&mut stream, "GET").status, 200);
    }
}

#[test]
fn a_body_that_nobody_asked_for_does_not_cost_the_connection() {
    let server = Running::start(Fake::numbered(3));
    let mut stream = BufReader::new(server.connect());
    for _ in 0..5 {
        stream.get_mut().write_all(b"GET /stats HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\n\r\n").unwrap();
        std::thread::sleep(Duration::from_millis(20));
        stream.get_mut().write_all(b"hello").unwrap();
        assert_eq!(Answer::read(&mut stream, "GET").status, 200);
    }
}

#[test]
fn a_stop_lets_answers_end() {
    let fake = Fake::numbered(3);
    let hold = fake.hold.clone();
    *hold.0.lock().unwrap() = true;
    let mut server = Running::start(fake);
    let idle = server.connect();
    let mut stream = server.connect();
    stream.write_all(b"GET /logs/ HTTP/1.1\r\nHost: here\r\n\r\n").unwrap();
    std::thread::sleep(Duration::from_millis(50));
    server.stop();
    std::thread::sleep(Duration::from_millis(50));
    *hold.0.lock().unwrap() = false;
    assert_eq!(Answer::read(&mut BufReader::new(stream), "GET").status, 200);
    let started = Instant::now();
    server.join();
    assert!(started.elapsed() < Duration::from_secs(2), "an idle connection holds the stop up");
    drop(idle);
}

#[test]
fn files_have_tags_and_policies() {
    let server = Running::start(Fake::default());
    for (target, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/app.css", "text/css; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/favicon.svg", "image/svg+xml"),
        ("/api/docs", "text/html; charset=utf-8"),
        ("/api/docs/swagger-initializer.js", "text/javascript; charset=utf-8"),
        ("/api/openapi.json", "application/json"),
    ] {
        let file = server.get(target);
        assert_eq!((file.status, file.header("content-type")), (200, Some(kind)), "{target}");
        assert_eq!(file.header("cache-control"), Some("no-cache"));
        let policy = file.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("script-src 'self' 'unsafe"), "{policy}");
        let tag = file.header("etag").unwrap();
        let again = server.ask("GET", target, &format!("If-None-Match: \"x\", {tag}\r\n"));
        assert_eq!((again.status, again.header("etag")), (304, Some(tag)), "{target}");
    }
    let page = server.get("/?q=level:ERROR");
    assert_eq!(page.status, 200);
    assert!(!page.body.contains("<style") && !page.body.contains("style="), "inline style");
    assert!(!page.body.contains("<script>") && !page.body.contains(" onclick"), "inline script");
}

/// An answer's head, in lower case, and its body as it came, chunks joined.
fn raw(server: &Running, target: &str, accepts: &str) -> (String, Vec<u8>) {
    let mut stream = server.connect();
    write!(stream, "GET {target} HTTP/1.1\r\nHost: here\r\nAccept-Encoding: {accepts}\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let mut rest = &bytes[end + 4..];
    if !head.contains("transfer-encoding: chunked") {
        return (head, rest.to_vec());
    }
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        body.extend_from_slice(&rest[line + 2..line + 2 + size]);
        rest = &rest[line + size + 4..];
        if size == 0 {
            return (head, body);
        }
    }
}

fn unpacked(coding: &str, bytes: &[u8]) -> String {
    let mut body = String::new();
    match coding {
        "gzip" => flate2::read::GzDecoder::new(bytes).read_to_string(&mut body).unwrap(),
        "zstd" => zstd::stream::read::Decoder::new(bytes).unwrap().read_to_string(&mut body).unwrap(),
        other => panic!("{other}"),
    };
    body
}

#[test]
fn answers_are_compressed_for_whom_takes_it() {
    let server = Running::start(Fake::numbered(5_000));
    for target in ["/logs/?limit=10000", "/logs/export", "/logs/export?format=csv", "/app.js", "/api/openapi.json"] {
        let plain = server.get(target);
        assert_eq!(
            (plain.header("content-encoding"), plain.header("vary")),
            (None, Some("accept-encoding")),
            "{target}"
        );
        for (accepts, coding) in [("gzip", "gzip"), ("gzip, deflate, br, zstd", "zstd"), ("zstd;q=0.1, gzip", "gzip")] {
            let (head, bytes) = raw(&server, target, accepts);
            let named = head.contains(&format!("content-encoding: {coding}\r\n"));
            assert!(named && head.contains("vary: accept-encoding"), "{target}: {head}");
            assert!(unpacked(coding, &bytes) == plain.body, "{target} as {coding}");
            assert!(bytes.len() * 3 < plain.body.len() * 2, "{target}: {} of {}", bytes.len(), plain.body.len());
        }
    }
    let small = server.ask("GET", "/stats", "Accept-Encoding: gzip\r\n");
    assert_eq!((small.header("content-encoding"), small.header("cache-control")), (None, Some("no-store")));
    let none = raw(&server, "/logs/export?q=nothing", "zstd");
    assert_eq!(unpacked("zstd", &none.1), "");
}

#[test]
fn a_packed_export_is_read_as_it_comes() {
    let fake = eighty_megabytes();
    let exported = fake.exported.clone();
    let server = Running::start(fake);
    let mut stream = server.connect();
    stream.write_all(b"GET /logs/export HTTP/1.1\r\nHost: here\r\nAccept-Encoding: gzip\r\n\r\n").unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let mut size = String::new();
    let mut stream = BufReader::new(stream);
    std::io::BufRead::read_line(&mut stream, &mut size).unwrap();
    let mut first = vec![0; usize::from_str_radix(size.trim_end(), 16).unwrap()];
    stream.read_exact(&mut first).unwrap();
    let mut lines = vec![0; 60_000];
    flate2::read::GzDecoder::new(&*first).read_exact(&mut lines).unwrap();
    assert!(lines.starts_with(b"{\"id\":"), "the first chunk holds whole records");
    drop(stream);
    wait_for("the export outlives its client", || exported.lock().unwrap().1 == 1);
}

#[test]
fn dead_letters_page_by_page() {
    use engine::store::{DeadLetter, RowBuf};
    use record::{Id, Timestamp};
    let rows = Fake::numbered(3).rows;
    let letter = |n: u64| {
        let at = Timestamp::from_micros(START + n as i64 * 1_000_000).unwrap();
        let bytes = rows[(n % 3) as usize].clone();
        DeadLetter {
            id: Id::new(at, 1, n as u32),
            failed_at: at,
            reason: format!("value {n} out of \"range\""),
            batch_id: Id::new(at, 2, 0),
            // One that nobody can read any more.
            row: (n != 1).then_some(RowBuf { bytes, count: 1 }),
        }
    };
    let fake = Fake { dead_letters: (0..5).rev().map(letter).collect(), ..Fake::default() };
    let server = Running::start(fake);
    let mut seen = Vec::new();
    let mut target = "/dead-letters?limit=2".to_owned();
    let pages = loop {
        let page = server.get(&target);
        assert_eq!((page.status, page.header("cache-control")), (200, Some("no-store")), "{page:?}");
        assert!(page.body.contains("],\"total\":5,\"next_cursor\":"), "{page:?}");
        seen.extend(page.all("reason").iter().map(|reason| reason.to_string()));
        match page.all("next_cursor").first() {
            Some(cursor) => target = format!("/dead-letters/?limit=2&cursor={cursor}"),
            None => break page,
        }
    };
    assert_eq!(
        seen,
        ["value 4 out of \\", "value 3 out of \\", "value 2 out of \\", "value 1 out of \\", "value 0 out of \\"]
    );
    assert!(pages.body.starts_with("{\"dead_letters\":[{\"id\":\"019a"), "{pages:?}");
    assert!(pages.body.contains("\"failed_at\":\"2025-11-11T16:00:00.000000Z\""), "{pages:?}");
    assert!(pages.body.contains("\"log\":{\"id\":"), "{pages:?}");
    assert!(server.get("/dead-letters?limit=4").body.contains("\"log\":null}],"));
    let none = Running::start(Fake::default()).get("/dead-letters/");
    assert_eq!(none.body, "{\"dead_letters\":[],\"total\":0,\"next_cursor\":null}");
    for (query, code) in [("cursor=x", "bad_cursor"), ("limit=1001", "bad_parameter"), ("q=x", "unknown_parameter")] {
        let answer = server.get(&format!("/dead-letters?{query}"));
        assert_eq!((answer.status, answer.code()), (400, code), "{query}");
    }
}

#[test]
fn other_origins_read_when_they_are_named() {
    let server = Running::with(Fake::numbered(3), |config| config.origins = vec!["http://ops.example".into()]);
    let named = server.ask("GET", "/stats", "Origin: http://ops.example\r\n");
    assert_eq!(named.header("access-control-allow-origin"), Some("http://ops.example"));
    let vary: Vec<_> = named.headers.iter().filter(|(name, _)| name == "vary").map(|(_, value)| &**value).collect();
    assert_eq!(vary, ["origin", "accept-encoding"]);
    assert_eq!(
        server.ask("GET", "/stats", "Origin: http://evil.example\r\n").header("access-control-allow-origin"),
        None
    );
    let preflight =
        server.ask("OPTIONS", "/logs/", "Origin: http://ops.example\r\nAccess-Control-Request-Method: GET\r\n");
    assert_eq!((preflight.status, preflight.header("access-control-allow-methods")), (204, Some("GET, HEAD")));
}

#[test]
fn on_loopback_a_foreign_name_is_refused_unless_an_engine_relays_it() {
    let server = Running::with(Fake::numbered(3), |config| config.origins = vec!["https://logs.example".into()]);
    let ask = |target: &str, headers: &str| {
        let mut stream = server.connect();
        write!(stream, "GET {target} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n").unwrap();
        Answer::read(&mut BufReader::new(stream), "GET")
    };
    for target in ["/", "/logs/", "/stats", "/ws/logs", "/api/docs", "/nothing"] {
        let rebound = ask(target, "Host: evil.example:5001\r\nOrigin: http://evil.example:5001\r\n");
        assert_eq!((rebound.status, rebound.code()), (421, "foreign_host"), "{target}");
        assert!(rebound.body.contains("`evil.example:5001` is no name of this server"), "{}", rebound.body);
    }
    for ours in [
        "Host: 127.0.0.1:5001\r\n",
        "Host: localhost\r\n",
        "Host: logs.example\r\n",
        "Host: known-to-the-engine.example\r\nVia: 1.1 logboom\r\n",
        "Host: known-to-the-engine.example\r\nVia: 1.1 proxy\r\nVia: 1.1 logboom\r\n",
    ] {
        assert_eq!(ask("/stats", ours).status, 200, "{ours}");
    }
    assert_eq!(ask("/stats", "Host: evil.example\r\nVia: 1.1 proxy\r\n").status, 421);
}

#[test]
fn times_are_those_of_the_records() {
    let server = Running::start(Fake::numbered(10));
    let from = format!("{}", START / 1_000_000 + 5);
    let page = server.get(&format!("/logs/?from={from}&to=2025-11-11T16:00:07Z"));
    assert_eq!(page.all("timestamp"), ["2025-11-11T16:00:06.000000Z", "2025-11-11T16:00:05.000000Z"]);
}

#[test]
fn listens_on_an_abstract_socket() {
    use std::os::linux::net::SocketAddrExt;
    let name = format!("logboom-api-test-{}", std::process::id());
    let server = Running::with(Fake::numbered(3), |config| config.listen = api::Listen::Abstract(name.clone()));
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let mut stream = std::os::unix::net::UnixStream::connect_addr(&address).unwrap();
    stream.write_all(b"GET /logs/ HTTP/1.1\r\nHost: here\r\n\r\n").unwrap();
    let answer = Answer::read(&mut BufReader::new(stream), "GET");
    assert_eq!((answer.status, answer.all("id").len()), (200, 3));
    drop(server);
}
