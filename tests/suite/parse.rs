//! From lines to records: `logboom parse` as a shell sees it, and the same parser behind the doors.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use sonic_rs::{JsonContainerTrait, JsonValueTrait, Value};

use crate::harness::{PATIENCE, Server, logboom, request, text};

/// Runs `logboom parse` in a folder.
fn parse_in(folder: &Path, arguments: &[&str], input: &[u8]) -> Output {
    let mut command = logboom(folder);
    command.arg("parse").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|threads| {
        // A command that ends early does not read it all.
        threads.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap()
    })
}

fn parse(arguments: &[&str], input: impl AsRef<[u8]>) -> Output {
    parse_in(tempfile::tempdir().unwrap().path(), arguments, input.as_ref())
}

fn records(out: &Output) -> Vec<Value> {
    let lines = out.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| sonic_rs::from_slice(line).unwrap()).collect()
}

fn messages(out: &Output) -> Vec<String> {
    records(out).iter().map(|record| text(record, "message")).collect()
}

fn told(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// The messages of lines that all are taken.
#[track_caller]
fn check(arguments: &[&str], input: &str, want: &[&str]) {
    let out = parse(arguments, input);
    assert!(out.status.success(), "{arguments:?}: {}", told(&out));
    assert_eq!(messages(&out), want, "{arguments:?}");
}

/// The command fails and says so.
#[track_caller]
fn refuse(arguments: &[&str], want: &[&str]) {
    let out = parse(arguments, "a line\n");
    assert!(!out.status.success(), "{arguments:?}");
    for want in want {
        assert!(told(&out).contains(want), "{arguments:?}: {want} in {}", told(&out));
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

const PYTHON: &str = "2025-11-11 16:00:00,123 - shop.orders - ERROR - out of stock";
const SETTINGS: &str = "[patterns]\nours = '^(?P<level>\\w+)/(?P<message>.*)$'\n[patterns.dated]\n\
    expression = '%{NOTSPACE:timestamp} %{GREEDYDATA:message}'\ntime_format = '%d.%m.%Y/%H:%M:%S'\n";

#[test]
fn lines_are_held_to_formats_and_patterns() {
    check(&["--format", "auto"], "a\n", &["a"]);
    check(&["--format", "plain"], "{}\n", &["{}"]);
    check(&["--format", "python"], PYTHON, &["out of stock"]);
    check(&["--pattern", "^(?P<level>[a-z]+): (?P<message>.*)$"], "warn: x\nerror: y\n", &["x", "y"]);
    check(&["--pattern", "%{WORD:level} %{GREEDYDATA:message}"], "warn x y\n", &["x y"]);
    let dated = ["--pattern", r"^(?P<timestamp>\S+) (?P<message>.*)$", "--time-format", "%d.%m.%Y/%H:%M:%S"];
    let out = parse(&dated, "11.12.2025/16:00:00 x");
    assert_eq!(text(&records(&out)[0], "timestamp"), "2025-12-11T16:00:00.000000Z", "{}", told(&out));

    refuse(&["--format", "klingon"], &["klingon", "syslog_rfc5424", "postgres"]);
    refuse(&["--format", "json", "--pattern", "x"], &["--format", "--pattern"]);
    refuse(&["--time-format", "%Y"], &["--pattern"]);
    refuse(&["--pattern", "("], &["--pattern", "regular expression"]);
    refuse(&["--pattern", "no group"], &["named group"]);
    refuse(&["--pattern", "%{KLINGON:x}"], &["KLINGON"]);
    refuse(&["--multiline", "sometimes"], &["--multiline", "indent"]);
    refuse(&["--timezone", "Nowhere/Near"], &["Nowhere/Near"]);
}

#[test]
fn formats_of_the_settings_are_known() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("logboom.toml"), format!("timezone = 'Europe/Berlin'\n{SETTINGS}")).unwrap();
    let out = parse_in(folder.path(), &["--format", "ours"], b"error/x\n");
    let found = records(&out);
    assert_eq!((text(&found[0], "level"), text(&found[0], "message")), ("ERROR".into(), "x".into()), "{}", told(&out));
    // Where no time zone is given, that of the settings holds.
    for (zone, want) in [(&[][..], "15:00:00"), (&["--timezone", "UTC"], "16:00:00")] {
        let out = parse_in(folder.path(), &[&["--format", "dated"], zone].concat(), b"11.11.2025/16:00:00 x");
        assert_eq!(text(&records(&out)[0], "timestamp"), format!("2025-11-11T{want}.000000Z"), "{}", told(&out));
    }
    let out = parse_in(folder.path(), &["--format", "klingon"], b"");
    assert!(told(&out).contains("ours") && !out.status.success(), "{}", told(&out));
}

#[test]
fn what_lines_do_not_say_is_said_for_them() {
    let line = "2025-11-11 16:00:00 INFO x\n";
    let out = parse(&["--source", "s", "--application", "a", "--timezone", "+02:00"], line);
    let record = &records(&out)[0];
    assert_eq!((text(record, "source"), text(record, "application")), ("s".into(), "a".into()));
    assert_eq!(text(record, "timestamp"), "2025-11-11T14:00:00.000000Z");
    let wrapped =
        r#"{"log":"{\"level\":\"error\",\"msg\":\"inner\"}\n","stream":"stdout","time":"2025-11-11T16:00:00Z"}"#;
    check(&[], wrapped, &["inner"]);
    check(&["--no-unwrap"], wrapped, &[r#"{"level":"error","msg":"inner"}"#]);
}

#[test]
fn lines_of_one_record_are_joined() {
    let trace = "ERROR a\n  at b\r\n  at c\nINFO d\n";
    check(&["--multiline", "indent"], trace, &["ERROR a\n  at b\n  at c", "INFO d"]);
    check(&["--multiline", "start:^[A-Z]"], "A a\n\nb\nB c", &["A a\n\nb", "B c"]);
    let out = parse(&["--multiline", "indent", "--format", "json"], "{\n}\nx\n y\n{}\nz\n");
    assert_eq!(records(&out).len(), 2);
    assert!(told(&out).contains("line 3: ") && told(&out).contains("line 6: "), "{}", told(&out));
}

#[test]
fn order_is_kept_over_many_chunks_and_files() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = String::new();
    // 12 MB, of lines that take turns in length and format, a broken one now and then.
    for number in 0..120_000 {
        let line = match number % 3 {
            0 => format!("{{\"level\":\"info\",\"msg\":\"m{number}\",\"pad\":\"{}\"}}\n", "x".repeat(number % 256)),
            1 => format!("level=warn msg=m{number} pad={}\n", "y".repeat(number % 100)),
            _ => format!("m{number}\n"),
        };
        all.push_str(&line);
    }
    std::fs::write(folder.path().join("a"), &all).unwrap();
    std::fs::write(folder.path().join("b"), "mb\n").unwrap();
    let want: Vec<String> = (0..120_000).map(|number| format!("m{number}")).collect();
    let out = parse_in(folder.path(), &["a", "b", "-", "--stats"], b"mc\n");
    assert!(out.status.success(), "{}", told(&out));
    assert!(messages(&out) == [&want[..], &["mb".into(), "mc".into()]].concat(), "out of order");
    for want in ["json 40000", "logfmt 40000", "plain 40002", "rejected 0", "120002 lines", "lines/s"] {
        let told = told(&out).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(told.contains(want), "{want} in {told}");
    }
    let out = parse_in(folder.path(), &["--multiline", "start:^"], all.as_bytes());
    assert!(messages(&out) == want, "out of order when joined");

    let out = parse_in(folder.path(), &["a", "--format", "json", "--stats"], b"");
    assert!(!out.status.success());
    let told = told(&out);
    let lines: Vec<&str> = told.lines().filter(|line| line.starts_with("logboom: a, line ")).collect();
    assert_eq!(lines.len(), 100, "{told}");
    assert!(lines[0].contains("line 2: ") && lines[99].contains("line 150: "), "{told}");
    assert!(told.contains("79900 more lines were rejected"), "{told}");
}

#[test]
fn compressed_files_are_told_by_their_content() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    // Two members each, cut within a line, as `cat a.gz b.gz` makes them.
    put("gzip", &[gzip(b"a\nb"), gzip(b"c\nd\n")].concat());
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    put("zstd", &[zstd(b"e\nf"), zstd(b"g\n")].concat());
    let out = parse_in(folder.path(), &["gzip", "zstd", "-"], &gzip(b"h"));
    assert!(out.status.success(), "{}", told(&out));
    assert_eq!(messages(&out), ["a", "bc", "d", "e", "fg", "h"]);

    // What begins like gzip or zstd, and ends before one could tell.
    for start in [&b"\x1f"[..], b"\x28\xb5"] {
        assert_eq!(records(&parse(&[], start)).len(), 1);
    }
    let lines: String = (0..200_000).map(|number| format!("m{number}\n")).collect();
    for (name, whole) in [("broken.gz", gzip(lines.as_bytes())), ("broken.zst", zstd(lines.as_bytes()))] {
        put(name, &whole[..whole.len() / 2]);
        let out = parse_in(folder.path(), &[name, "--stats"], b"");
        let found = messages(&out);
        assert!(!out.status.success() && told(&out).contains(&format!("{name} cannot be read: ")), "{}", told(&out));
        assert!(told(&out).contains("lines/s"), "{}", told(&out));
        assert!(found.len() > 1_000, "what could be read is printed: {}", found.len());
        assert!(found.iter().enumerate().all(|(number, message)| *message == format!("m{number}")));
    }
}

#[test]
fn lines_that_trickle_come_out_one_by_one() {
    for arguments in [&["parse"][..], &["parse", "--multiline", "indent"]] {
        let folder = tempfile::tempdir().unwrap();
        let mut command = logboom(folder.path());
        let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for number in 0..3 {
            let began = Instant::now();
            // Only a line that has ended is one.
            stdin.write_all(b"num").unwrap();
            std::thread::sleep(Duration::from_millis(20));
            stdin.write_all(format!("ber {number}\n  more\n").as_bytes()).unwrap();
            let joined = arguments.len() > 1;
            let want = if joined { format!("number {number}\\n  more") } else { format!("number {number}") };
            let line = lines.next().unwrap().unwrap();
            assert!(line.contains(&format!("\"message\":\"{want}\"")), "{line}");
            if !joined {
                assert!(lines.next().unwrap().unwrap().contains("more"));
            }
            assert!(began.elapsed() < PATIENCE);
        }
        drop(stdin);
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let shell = format!("yes 'INFO a line' | {} parse | head -1", crate::harness::BINARY);
    let out = Command::new("bash").args(["-c", &format!("{shell}; echo ${{PIPESTATUS[1]}}")]).output().unwrap();
    assert!(String::from_utf8_lossy(&out.stdout).ends_with("\n0\n") && out.stderr.is_empty(), "{out:?}");
}

/// `text` as a parameter's value.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn a_request_brings_its_own_pattern() {
    let server = Server::start();
    let regex = encoded(r"^(?P<level>\w+)/(?P<code__int>\d+) (?P<message>.*)$");
    let grok = encoded("%{WORD:level}/%{INT:code:int} %{GREEDYDATA:message}");
    for (index, pattern) in [regex, grok].into_iter().enumerate() {
        let answer = server.post(&format!("/data/batch?pattern={pattern}"), "text/plain", "warn/7 a\nno\nerror/8 b\n");
        assert_eq!(answer.status, 202, "{}", answer.text());
        let answer = answer.json();
        assert_eq!((answer["accepted"].as_u64(), answer["rejected"].as_u64()), (Some(2), Some(1)));
        assert_eq!(answer["errors"][0]["index"].as_u64(), Some(1));
        assert_eq!(answer["errors"][0]["code"].as_str(), Some("format_mismatch"), "{answer:?}");
        server.wait_for_count("?metadata.code=8&level=ERROR", index as u64 + 1);
    }
    let dated = format!(
        "pattern={}&time_format={}",
        encoded("%{NOTSPACE:timestamp} %{GREEDYDATA:message}"),
        encoded("%d.%m.%Y")
    );
    let answer = server.post(&format!("/parse/auto?{dated}"), "text/plain", "11.12.2025 x");
    assert_eq!(text(&answer.json()["results"][0], "timestamp"), "2025-12-11T00:00:00.000000Z", "{}", answer.text());
    for (target, code) in [
        ("pattern=(", "malformed_pattern"),
        ("pattern=no+group", "malformed_pattern"),
        ("pattern=%25%7BKLINGON:x%7D", "malformed_pattern"),
        ("pattern=(%3FP<a>.)&time_format=%25Q", "malformed_pattern"),
        ("pattern=(%3FP<a>.)&format=json", "malformed_parameter"),
        ("format=klingon", "unknown_format"),
        ("multiline=sometimes", "malformed_multiline"),
        ("multiline=start:(", "malformed_multiline"),
    ] {
        for door in ["/data/batch", "/parse/auto"] {
            let answer = server.post(&format!("{door}?{target}"), "text/plain", "a");
            assert_eq!((answer.status, &*answer.code()), (400, code), "{door}?{target}: {}", answer.text());
        }
    }
    assert_eq!(server.count(""), 4);
}

#[test]
fn a_body_says_how_it_is_parsed() {
    let server = Server::start();
    let ask = |body: &str| server.post("/parse/auto", "application/json", body);
    let answer =
        ask(r#"{"raw_log": "x;warn", "pattern": "(?P<message>.*);(?P<level>.*)", "source": "s", "application": "a"}"#);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let record = answer.json();
    let found = ["format", "level", "source", "application", "message"].map(|key| text(&record, key));
    assert_eq!(found, ["pattern", "WARN", "s", "a", "x"]);
    let answer =
        ask(r#"{"raw_logs": ["01.02.2025 x", "nothing"], "pattern": "%{NOTSPACE:timestamp} %{GREEDYDATA:message}",
            "time_format": "%d.%m.%Y", "timezone": "+01:00"}"#);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let results = answer.json();
    assert_eq!(text(&results["results"][0], "timestamp"), "2025-01-31T23:00:00.000000Z", "{results:?}");
    assert_eq!(results["results"][1]["error"]["code"].as_str(), Some("format_mismatch"), "{results:?}");
    let wrapped = r#"{"raw_log": "{\"log\":\"{\\\"msg\\\":\\\"in\\\"}\",\"stream\":\"stdout\",\"time\":\"2025-11-11T16:00:00Z\"}", "unwrap": UNWRAP}"#;
    for (unwrap, want) in [("true", "in"), ("false", r#"{"msg":"in"}"#), ("null", "in")] {
        assert_eq!(text(&ask(&wrapped.replace("UNWRAP", unwrap)).json(), "message"), want, "{unwrap}");
    }
    for (body, status, code) in [
        (r#"{"raw_log": "x", "pattern": "("}"#, 400, "malformed_pattern"),
        (r#"{"raw_log": "x", "pattern": "(?P<a>.)", "format": "json"}"#, 400, "malformed_parameter"),
        (r#"{"raw_log": "x", "format": "klingon"}"#, 400, "unknown_format"),
        (r#"{"raw_log": "x", "timezone": "Nowhere"}"#, 400, "unknown_timezone"),
        (r#"{"raw_log": "x", "format": 7}"#, 422, "wrong_type"),
        (r#"{"raw_log": "x", "unwrap": "no"}"#, 422, "wrong_type"),
        (r#"{"raw_log": ["x"]}"#, 422, "wrong_type"),
        (r#"{"raw_logs": "x"}"#, 422, "wrong_type"),
        (r#"{"raw_logs": []}"#, 422, "empty_body"),
        (r#"{"format": "json"}"#, 422, "no_raw_log"),
        (r#"{"raw_log": "x", "format": "json"}"#, 422, "malformed_json"),
        (r#"{"raw_log": "x", "pattern": "(?P<a>y)"}"#, 422, "format_mismatch"),
    ] {
        let answer = ask(body);
        assert_eq!((answer.status, &*answer.code()), (status, code), "{body}: {}", answer.text());
    }
}

#[test]
fn patterns_have_names() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("logboom.toml"), SETTINGS).unwrap();
    let server = Server::at(&folder.path().join("data"), &[]);
    let listed = server.get("/parse/patterns").json();
    let names: Vec<String> = listed["patterns"].as_array().unwrap().iter().map(|info| text(info, "name")).collect();
    for want in ["hdfs", "postgres", "ours", "dated"] {
        assert!(names.iter().any(|name| name == want), "{want} in {names:?}");
    }
    // Each that has an example reads it.
    for info in listed["patterns"].as_array().unwrap().iter().filter(|info| !text(info, "example").is_empty()) {
        let name = text(info, "name");
        let answer = server.post(&format!("/parse/auto?format={name}"), "text/plain", text(info, "example"));
        assert_eq!(text(&answer.json()["results"][0], "format"), name, "{}", answer.text());
    }
    let answer = server.post("/data/batch?format=ours", "text/plain", "error/x\nno\n");
    assert_eq!(answer.json()["accepted"].as_u64(), Some(1), "{}", answer.text());
    server.wait_for_count("?level=ERROR&q=x", 1);
    let answer =
        server.post("/parse/auto", "application/json", r#"{"raw_log": "02.01.2025/01:02:03 x", "format": "dated"}"#);
    assert_eq!(text(&answer.json(), "timestamp"), "2025-01-02T01:02:03.000000Z", "{}", answer.text());

    for (patterns, want) in [
        ("[patterns]\njson = '(?P<a>.)'", "json"),
        ("[patterns]\nx = '('", "x"),
        ("[patterns]\nx = 7", "expression"),
        ("[patterns.x]\nregex = '(?P<a>.)'", "regex"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("logboom.toml"), patterns).unwrap();
        let out = parse_in(folder.path(), &[], b"");
        assert!(!out.status.success() && told(&out).contains(want), "{patterns}: {}", told(&out));
    }
}

#[test]
fn the_doors_join_lines() {
    let server = Server::start();
    let trace = "ERROR a\n  at b\n  at c\r\n\nINFO d\nINFO e\n";
    let answer = server.post("/data/batch?multiline=indent", "text/plain", trace);
    assert_eq!(answer.json()["accepted"].as_u64(), Some(3), "{}", answer.text());
    server.wait_for_count("", 3);
    let found = server.get("/logs/?level=ERROR").logs();
    assert_eq!(text(&found[0], "message"), "ERROR a\n  at b\n  at c");
    let answer = server.post("/parse/auto?multiline=start:%5E%5BA-Z%5D", "text/plain", trace);
    assert_eq!(answer.json()["results"].as_array().map(|results| results.len()), Some(3), "{}", answer.text());
}

/// The number of a record's first line is what errors call it, whatever came before.
#[test]
fn errors_of_joined_lines_have_the_number_of_the_first() {
    let server = Server::start();
    let long = "x".repeat(2 << 20);
    for (body, want) in [
        ("{\n}\n\nno\n more\n{}\nno\n".to_owned(), vec![(3, "malformed_json"), (6, "malformed_json")]),
        (format!("{long}\n{{}}\n"), vec![(0, "line_too_long")]),
        (format!("{{\n}}\n{{\n \n}}\n{long}\nno\n{{}}"), vec![(5, "line_too_long"), (6, "malformed_json")]),
    ] {
        // In one piece and in several: a record may span them.
        for chunked in [false, true] {
            let target = "/data/batch?multiline=indent&format=json";
            let answer = match chunked {
                false => server.post(target, "text/plain", &body),
                true => {
                    let head = request("POST", target, &[("Content-Type", "text/plain")], b"");
                    let head =
                        String::from_utf8(head).unwrap().replace("Content-Length: 0", "Transfer-Encoding: chunked");
                    let mut connection = server.connect();
                    connection.send(head.as_bytes());
                    for piece in body.as_bytes().chunks(body.len().min(100_000) / 3 + 1) {
                        connection.send(format!("{:x}\r\n", piece.len()).as_bytes());
                        connection.send(&[piece, b"\r\n"].concat());
                    }
                    connection.send(b"0\r\n\r\n");
                    connection.answer()
                }
            };
            assert_eq!(answer.status, 202, "{}", answer.text());
            let answer = answer.json();
            let errors = answer["errors"].as_array().unwrap().iter();
            let found: Vec<_> = errors.map(|error| (error["index"].as_u64().unwrap(), text(error, "code"))).collect();
            let want: Vec<_> = want.iter().map(|(index, code)| (*index, (*code).to_owned())).collect();
            assert_eq!(found, want, "chunked: {chunked}, {:.20}", body);
        }
    }
}

#[test]
fn what_was_parsed_is_stored_if_asked() {
    let server = Server::start();
    let json = "application/json";
    let answer = server.post("/parse/auto?store=true", json, r#"{"raw_log": "ERROR one", "source": "s"}"#);
    assert_eq!(answer.status, 202, "{}", answer.text());
    let id = text(&answer.json(), "id");
    server.wait_for_count("?source=s", 1);
    assert_eq!(text(&server.get(&format!("/logs/{id}")).json(), "message"), "ERROR one");
    let answer = server.post(
        "/parse/auto?store=true",
        json,
        r#"{"raw_logs": ["{}", "no", "{\"msg\":\"two\"}"], "format": "json"}"#,
    );
    assert_eq!((answer.status, &*answer.text()), (202, r#"{"accepted":2,"rejected":1}"#));
    let answer = server.post("/parse/auto?store=true", "text/plain", "WARN three\nWARN four\n");
    assert_eq!((answer.status, &*answer.text()), (202, r#"{"accepted":2,"rejected":0}"#));
    server.wait_for_count("", 5);
    // Nothing that could be stored: the answer is that of parsing.
    let answer = server.post("/parse/auto?store=true", json, r#"{"raw_log": "no", "format": "json"}"#);
    assert_eq!((answer.status, &*answer.code()), (422, "malformed_json"), "{}", answer.text());
    let answer = server.post("/parse/auto?store=false", json, r#"{"raw_log": "ERROR not kept"}"#);
    assert_eq!(answer.status, 200);
    assert_eq!(server.count(""), 5);
}

/// What the README says of three lines.
#[test]
fn the_examples_of_the_readme_answer_as_it_says() {
    let server = Server::start();
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let section =
        readme.split("Ask what a line would become").nth(1).and_then(|rest| rest.split("Find and count").next());
    let section = section.expect("the section on asking");
    let commands = section.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).expect("commands");
    let answers = section.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).expect("answers");
    let (commands, answers): (Vec<&str>, Vec<&str>) = (commands.lines().collect(), answers.lines().collect());
    assert_eq!((commands.len(), answers.len()), (3, 3));
    for (command, want) in commands.iter().zip(answers) {
        let command = command.replace("127.0.0.1:5000", &server.address.to_string()).replace("curl ", "curl -sS ");
        let out = Command::new("bash").args(["-euc", &command]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&out.stdout), want, "{command}");
    }
    assert_eq!(server.count(""), 0);
}
