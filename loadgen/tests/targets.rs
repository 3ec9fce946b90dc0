//! What each kind of target is sent, byte for byte, by a server that keeps what it reads.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use loadgen::generate::{Generator, START};
use loadgen::number::Number;
use loadgen::prepared::Framing;
use loadgen::report::Report;
use loadgen::scenario::{Options, Scenario, run};
use loadgen::server::Backends;
use loadgen::target::Target;
use sonic_rs::{JsonContainerTrait, JsonValueTrait, Value};

const SEED: u64 = 7;
const RECORDS: u64 = 9_000;

#[derive(Debug, Clone)]
struct Request {
    first: String,
    content_type: String,
    body: String,
}

#[derive(Default)]
struct Recording {
    requests: Mutex<Vec<Request>>,
    /// Whatever came, for servers that speak no HTTP.
    bytes: Mutex<Vec<u8>>,
}

/// To a first line, and all that was posted before.
type Answer = fn(&str, &[Request]) -> (&'static str, String);

/// Records in what was posted.
fn count(posted: &[Request]) -> usize {
    posted.iter().map(|request| request.body.matches("request_id").count()).sum()
}

/// Answers each request with what `answer` makes of its first line and of how many records came so far.
fn record(answer: Answer) -> (String, Arc<Recording>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let recording = Arc::new(Recording::default());
    let kept = recording.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let kept = kept.clone();
            std::thread::spawn(move || serve(stream.unwrap(), &kept, answer));
        }
    });
    (address, recording)
}

fn serve(stream: TcpStream, kept: &Recording, answer: Answer) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut first, mut length, mut content_type) = (String::new(), 0, String::new());
        reader.read_line(&mut first).ok().filter(|&count| count > 0)?;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                length = value.trim().parse().unwrap();
            }
            if let Some(value) = line.strip_prefix("Content-Type: ") {
                content_type = value.trim().to_owned();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let body = String::from_utf8(body).unwrap();
        let first = first.trim_end().to_owned();
        let mut requests = kept.requests.lock().unwrap();
        if first.starts_with("POST") {
            requests.push(Request { first: first.clone(), content_type, body });
        }
        let (status, text) = answer(&first, &requests);
        drop(requests);
        let length =
            if status.starts_with("204") { String::new() } else { format!("Content-Length: {}\r\n", text.len()) };
        reader.get_mut().write_all(format!("HTTP/1.1 {status}\r\n{length}\r\n{text}").as_bytes()).ok()?;
    }
}

/// Reads and says nothing.
fn listen() -> (String, Arc<Recording>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let recording = Arc::new(Recording::default());
    let kept = recording.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let kept = kept.clone();
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                let _ = stream.unwrap().read_to_end(&mut bytes);
                // One connection's after another's: messages are not cut.
                kept.bytes.lock().unwrap().extend_from_slice(&bytes);
            });
        }
    });
    (address, recording)
}

fn bench(target: Target, scenario: Scenario, url: &str, path: Option<&str>) -> Report {
    let options = Options {
        url: Some((url.to_owned(), None)),
        target,
        path: path.map(str::to_owned),
        program: PathBuf::new(),
        server_arguments: Vec::new(),
        backends: Backends::default(),
        out: std::env::temp_dir(),
        records: Some(RECORDS),
        time: Duration::from_millis(300),
        warm_up: Duration::ZERO,
        connections: Some(2),
        pipeline: 1,
        rate: None,
        p99_max: Duration::from_millis(20),
        seed: SEED,
        check: true,
        ceilings: false,
    };
    let report = run(scenario, &options).unwrap();
    assert!(report.is_sound(), "{}", report.text());
    report
}

/// The line of record `index` of this seed, but for its number, whose tag changes with every run.
fn json(index: u64) -> Value {
    let mut line = Vec::new();
    Generator::new(SEED, 0).json(index, &mut line);
    sonic_rs::from_slice(&line).unwrap()
}

/// Which record of which run, and that no other is given its number.
fn number_of(record: &Value, seen: &mut BTreeSet<u64>) -> u64 {
    let digits = record["metadata"]["request_id"].as_str().unwrap();
    let index = Number::parse(digits.as_bytes()).unwrap().index;
    assert!(seen.insert(index), "{index} was sent twice");
    index
}

fn check_time(record: &Value, index: u64) {
    let time = json(index)["timestamp"].as_str().unwrap().to_owned();
    assert_eq!(record["timestamp"].as_str().unwrap(), time, "{index}");
}

#[test]
fn victorialogs_is_told_which_fields_are_what() {
    let (address, recording) = record(|first, posted| match first {
        _ if first.starts_with("GET /select/logsql/query?query=*%20%7C%20count()%20total ") => {
            ("200 OK", format!("{{\"total\":\"{}\"}}\n", count(posted)))
        }
        _ if first.starts_with("GET /select/logsql/query?query=* ") => {
            ("200 OK", posted.iter().map(|request| request.body.as_str()).collect())
        }
        _ => ("200 OK", String::new()),
    });
    let report = bench(Target::Jsonline, Scenario::Batch, &address, None);
    assert!(report.phases[0].found_seconds.is_some(), "{}", report.text());
    assert_eq!(report.records.unwrap().stored, report.phases[0].records);
    let requests = recording.requests.lock().unwrap();
    let mut seen = BTreeSet::new();
    for request in requests.iter() {
        let path = "/insert/jsonline?_time_field=timestamp&_msg_field=message&_stream_fields=source,application";
        assert_eq!(request.first, format!("POST {path} HTTP/1.1"));
        assert_eq!(request.content_type, "application/x-ndjson");
        assert!(request.body.len() <= 1 << 20 && request.body.ends_with("}\n"), "{}", request.body.len());
        for line in request.body.lines() {
            let record: Value = sonic_rs::from_str(line).unwrap();
            let index = number_of(&record, &mut seen);
            check_time(&record, index);
        }
    }
    // Whole requests: the last one may be more than was asked for.
    assert!(seen.len() as u64 >= RECORDS && seen.iter().copied().eq(0..seen.len() as u64));
}

#[test]
fn bulk_has_an_action_before_each_record() {
    let (address, recording) = record(|first, posted| match first {
        _ if first.starts_with("GET /logs/_count ") => {
            ("200 OK", format!("{{\"count\":{},\"_shards\":{{}}}}", count(posted)))
        }
        _ => ("200 OK", "{\"errors\":false}".to_owned()),
    });
    let report = bench(Target::Elasticsearch, Scenario::Batch, &address, None);
    assert!(report.phases[0].found_seconds.is_some() && report.phases[0].refusals.is_empty(), "{}", report.text());
    let mut seen = BTreeSet::new();
    for request in recording.requests.lock().unwrap().iter() {
        assert_eq!(request.first, "POST /logs/_bulk?filter_path=errors HTTP/1.1");
        assert_eq!(request.content_type, "application/x-ndjson");
        let lines: Vec<&str> = request.body.lines().collect();
        assert!(request.body.ends_with('\n') && lines.len().is_multiple_of(2));
        for pair in lines.chunks_exact(2) {
            assert_eq!(pair[0], "{\"create\":{}}");
            let record: Value = sonic_rs::from_str(pair[1]).unwrap();
            let index = number_of(&record, &mut seen);
            check_time(&record, index);
        }
    }
    assert!(seen.len() as u64 >= RECORDS);
}

#[test]
fn an_item_that_bulk_did_not_take_is_not_acknowledged() {
    let (address, _) = record(|first, _| match first.starts_with("GET") {
        true => ("404 Not Found", String::new()),
        false => ("200 OK", "{\"errors\":true}".to_owned()),
    });
    let report = bench(Target::Elasticsearch, Scenario::Batch, &address, None);
    assert_eq!(report.phases[0].records, 0, "{}", report.text());
}

#[test]
fn loki_gets_streams_with_labels_and_nanoseconds() {
    let (address, recording) = record(|first, posted| match first {
        _ if first.starts_with("GET /loki/api/v1/query?query=sum(count_over_time(") => {
            let result = match count(posted) {
                0 => String::new(),
                came => format!("{{\"metric\":{{}},\"value\":[1700000000.1,\"{came}\"]}}"),
            };
            let text =
                format!("{{\"status\":\"success\",\"data\":{{\"resultType\":\"vector\",\"result\":[{result}]}}}}");
            ("200 OK", text)
        }
        _ => ("204 No Content", String::new()),
    });
    let now_ns = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    let report = bench(Target::Loki, Scenario::Batch, &address, None);
    assert!(report.phases[0].found_seconds.is_some(), "{}", report.text());
    let mut seen = BTreeSet::new();
    let mut steps = BTreeSet::new();
    for request in recording.requests.lock().unwrap().iter() {
        assert_eq!(request.first, "POST /loki/api/v1/push HTTP/1.1");
        assert_eq!(request.content_type, "application/json");
        let push: Value = sonic_rs::from_str(&request.body).unwrap();
        let streams = push["streams"].as_array().unwrap();
        let mut labels = BTreeSet::new();
        for stream in streams.iter() {
            assert_eq!(stream.as_object().unwrap().len(), 2);
            let label = &stream["stream"];
            assert_eq!(label.as_object().unwrap().len(), 2, "{label}");
            assert!(labels.insert(label.to_string()), "{label} is there twice");
            let mut last = 0;
            for value in stream["values"].as_array().unwrap().iter() {
                let [time, line, more] = &value.as_array().unwrap()[..] else { panic!("{value}") };
                let digits = more["request_id"].as_str().unwrap();
                let index = Number::parse(digits.as_bytes()).unwrap().index;
                assert!(seen.insert(index));
                let time = time.as_str().unwrap();
                assert_eq!(time.len(), 19);
                let time: u64 = time.parse().unwrap();
                assert!(time > last, "out of order in its stream");
                last = time;
                steps.insert(time - index * 100_000);
                // The bank of prepared requests comes round: text and labels are those of its first time.
                let _ = line.as_str().unwrap();
                let keys: Vec<String> = more.as_object().unwrap().iter().map(|(key, _)| key.to_owned()).collect();
                assert_eq!(keys[..3], ["level", "request_id", "region"]);
                assert!(more.as_object().unwrap().iter().all(|(_, value)| value.is_str()), "{more}");
            }
        }
        assert!(labels.len() > 20, "{}", labels.len());
    }
    assert!(seen.len() as u64 >= RECORDS);
    // A record each 100 µs, from three quarters of an hour ago.
    assert_eq!(steps.len(), 1, "{steps:?}");
    let began = now_ns - steps.into_iter().next().unwrap();
    assert!((2_640..2_760).contains(&(began / 1_000_000_000)), "{began}");
}

#[test]
fn loki_is_sent_what_the_json_line_has() {
    let (mut labels, mut entry) = (Vec::new(), Vec::new());
    for index in [0, 4_321, 7_050] {
        labels.clear();
        entry.clear();
        let stamp = Generator::new(SEED, 0).loki(index, &mut labels, &mut entry);
        let (labels, entry): (Value, Value) =
            (sonic_rs::from_slice(&labels).unwrap(), sonic_rs::from_slice(&entry).unwrap());
        let expected = json(index);
        assert_eq!(labels["source"], expected["source"]);
        assert_eq!(labels["application"], expected["application"]);
        assert_eq!(entry[1], expected["message"]);
        assert_eq!(entry[2]["level"], expected["level"]);
        assert_eq!(entry[2]["request_id"], expected["metadata"]["request_id"]);
        let nanos = (START.start_us + index * START.step_us) * 1_000;
        assert_eq!(entry[0].as_str(), Some(&nanos.to_string()[..]));
        assert!(stamp.time < stamp.digits);
    }
}

#[test]
fn a_sink_gets_ndjson_where_it_wants_it() {
    let (address, recording) = record(|_, _| ("200 OK", String::new()));
    let report = bench(Target::Http, Scenario::Batch, &address, Some("/in/logs?x=1"));
    assert!(report.phases[0].found_seconds.is_none() && report.records.is_none(), "{}", report.text());
    for request in recording.requests.lock().unwrap().iter() {
        assert_eq!(request.first, "POST /in/logs?x=1 HTTP/1.1");
        assert_eq!(request.body.lines().count(), request.body.matches("request_id").count());
    }
    let (address, recording) = record(|_, _| ("200 OK", String::new()));
    bench(Target::Http, Scenario::Fast, &address, None);
    let requests = recording.requests.lock().unwrap();
    assert!(requests.len() > 100);
    assert!(requests.iter().all(|request| request.body.lines().count() == 1 && request.first == "POST / HTTP/1.1"));
}

/// Messages of a stream, by their framing.
fn messages(bytes: &[u8], framing: Framing) -> Vec<String> {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    if framing == Framing::LineFeed {
        assert!(text.ends_with('\n'));
        return text.lines().map(str::to_owned).collect();
    }
    let (mut rest, mut found) = (&text[..], Vec::new());
    while let Some((digits, after)) = rest.split_once(' ') {
        let length: usize = digits.parse().unwrap_or_else(|_| panic!("no length: {digits:.40}"));
        found.push(after[..length].to_owned());
        rest = &after[length..];
    }
    assert_eq!(rest, "");
    found
}

#[test]
fn syslog_is_rfc_5424_counted_or_by_lines() {
    for framing in [Framing::Octets, Framing::LineFeed] {
        let (address, recording) = listen();
        let report = bench(Target::Syslog(framing), Scenario::Batch, &address, None);
        assert!(report.notes.iter().any(|note| note.contains("no answers")), "{}", report.text());
        let expected = report.phases[0].records as usize;
        assert!(expected as u64 >= RECORDS);
        let began = Instant::now();
        let found = loop {
            // What was sent last may still be on its way.
            let bytes = recording.bytes.lock().unwrap().clone();
            let found = if bytes.is_empty() { Vec::new() } else { messages(&bytes, framing) };
            if found.len() >= expected || began.elapsed() > Duration::from_secs(10) {
                break found;
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        assert_eq!(found.len(), expected);
        let mut seen = BTreeSet::new();
        for message in &found {
            let (priority, rest) = message.strip_prefix('<').unwrap().split_once(">1 ").unwrap();
            let priority: u32 = priority.parse().unwrap();
            assert!((128..136).contains(&priority), "{message}");
            let fields: Vec<&str> = rest.splitn(6, ' ').collect();
            let [time, _host, _application, process, id, rest] = fields[..] else { panic!("{message}") };
            assert!(process.parse::<u32>().is_ok() && id.bytes().all(|byte| byte.is_ascii_uppercase()), "{message}");
            let digits = rest.strip_prefix("[meta@32473 request_id=\"").unwrap();
            let index = Number::parse(&digits.as_bytes()[..12]).unwrap().index;
            assert!(seen.insert(index), "{index}");
            assert_eq!(json(index)["timestamp"].as_str(), Some(time));
            assert!(digits.contains("region=\"") && digits.contains("] "), "{message}");
        }
        assert!(seen.into_iter().eq(0..expected as u64));
    }
}

#[test]
fn the_reference_gets_arrays() {
    let (address, recording) = record(|_, _| ("202 Accepted", "{}".to_owned()));
    bench(Target::Baseline, Scenario::Batch, &address, None);
    let mut seen = BTreeSet::new();
    for request in recording.requests.lock().unwrap().iter() {
        assert_eq!(request.first, "POST /data/batch HTTP/1.1");
        assert_eq!(request.content_type, "application/json");
        let records: Value = sonic_rs::from_str(&request.body).unwrap();
        assert_eq!(records.as_array().unwrap().len(), 1_000);
        for record in records.as_array().unwrap().iter() {
            let index = number_of(record, &mut seen);
            check_time(record, index);
        }
    }
    assert!(seen.into_iter().eq(0..RECORDS));
}

#[test]
fn a_server_that_closes_after_each_answer_is_connected_to_anew() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // One of the two waits while the other is served.
            std::thread::spawn(move || {
                let mut stream = BufReader::new(stream.unwrap());
                let (mut line, mut length) = (String::new(), 0);
                while stream.read_line(&mut line).is_ok_and(|count| count > 2) {
                    if let Some(value) = line.strip_prefix("Content-Length: ") {
                        length = value.trim().parse().unwrap();
                    }
                    line.clear();
                }
                let _ = stream.read_exact(&mut vec![0; length]);
                let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
                let _ = stream.get_mut().write_all(answer);
            });
        }
    });
    let report = bench(Target::Http, Scenario::Fast, &address, None);
    assert!(report.phases[0].records > 20, "{}", report.text());
}
