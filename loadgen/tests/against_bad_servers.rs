//! What the tool says of servers that stall, lose and double: a measurement that does not see these is worth nothing.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use loadgen::report::Report;
use loadgen::scenario::{Options, Scenario, run};
use loadgen::server::Backends;
use loadgen::target::Target;

#[derive(Debug, Clone, Copy, Default)]
struct Faults {
    /// From so long after the start, for so long, nothing is answered.
    stall: Option<(Duration, Duration)>,
    /// Each record of so many is acknowledged and forgotten, or kept twice.
    drop_each: Option<usize>,
    double_each: Option<usize>,
    /// Answered to each post instead.
    status: Option<&'static str>,
    garbage: bool,
}

struct Store {
    began: Instant,
    faults: Faults,
    lines: Mutex<Vec<String>>,
    /// What queries are told; faults do not show there.
    total: Mutex<u64>,
}

fn serve(faults: Faults) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let store = Arc::new(Store { began: Instant::now(), faults, lines: Mutex::default(), total: Mutex::default() });
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let store = store.clone();
            std::thread::spawn(move || answer(stream.unwrap(), &store));
        }
    });
    address
}

fn answer(stream: TcpStream, store: &Store) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut first, mut length) = (String::new(), 0);
        reader.read_line(&mut first).ok().filter(|&count| count > 0)?;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let (status, text) = store.request(&first, &body);
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        let bytes = if store.faults.garbage && first.starts_with("POST") { "what?\r\n\r\n" } else { &answer };
        reader.get_mut().write_all(bytes.as_bytes()).ok()?;
    }
}

impl Store {
    fn request(&self, first: &str, body: &[u8]) -> (&'static str, String) {
        if first.starts_with("GET /stats") {
            return ("200 OK", format!("{{\"total\":{}}}", self.total.lock().unwrap()));
        }
        if first.starts_with("GET") {
            return ("200 OK", self.lines.lock().unwrap().concat());
        }
        if let Some((from, time)) = self.faults.stall
            && self.began.elapsed() >= from
        {
            std::thread::sleep((from + time).saturating_sub(self.began.elapsed()));
        }
        if let Some(status) = self.faults.status {
            return (status, String::new());
        }
        let (mut lines, mut total) = (self.lines.lock().unwrap(), self.total.lock().unwrap());
        let mut accepted = 0;
        for line in String::from_utf8_lossy(body).lines() {
            accepted += 1;
            *total += 1;
            let hits = |each: Option<usize>| each.is_some_and(|each| (*total as usize).is_multiple_of(each));
            let copies = if hits(self.faults.drop_each) { 0 } else { 1 + usize::from(hits(self.faults.double_each)) };
            for _ in 0..copies {
                lines.push(format!("{line}\n"));
            }
        }
        ("202 Accepted", format!("{{\"accepted\":{accepted}}}"))
    }
}

fn options(url: String, seconds: u64, rate: Option<f64>) -> Options {
    Options {
        url: Some((url, None)),
        target: Target::Logboom,
        path: None,
        program: PathBuf::new(),
        server_arguments: Vec::new(),
        backends: Backends::default(),
        out: std::env::temp_dir(),
        records: Some(20_000),
        time: Duration::from_secs(seconds),
        warm_up: Duration::ZERO,
        connections: Some(4),
        pipeline: 1,
        rate,
        p99_max: Duration::from_millis(20),
        seed: 1,
        check: true,
        ceilings: false,
    }
}

fn bench(scenario: Scenario, url: String, seconds: u64, rate: f64) -> Report {
    run(scenario, &options(url, seconds, Some(rate))).unwrap()
}

#[test]
fn a_second_of_silence_is_in_the_percentiles() {
    let faults = Faults { stall: Some((Duration::from_millis(3_000), Duration::from_secs(1))), ..Faults::default() };
    let report = bench(Scenario::Fast, serve(faults), 2, 500.0);
    assert!(report.is_sound(), "{}", report.text());
    let [closed, open] = &report.phases[..] else { panic!("{}", report.text()) };
    assert!(closed.latency_us.max < 900_000, "{}", report.text());
    // At a set rate each request that was due in that second is charged for it: half of them here.
    assert!(open.latency_us.max > 900_000, "{}", report.text());
    assert!(open.latency_us.p90 > 300_000, "{}", report.text());
    assert!(open.latency_us.p50 < 900_000, "{}", report.text());
}

#[test]
fn lost_and_doubled_records_are_counted() {
    let faults = Faults { drop_each: Some(1_000), double_each: Some(700), ..Faults::default() };
    let report = bench(Scenario::Batch, serve(faults), 1, 1_000.0);
    let records = report.records.unwrap();
    let total = records.acknowledged;
    assert!(total >= 20_000 && records.sent == total, "{records:?}");
    assert_eq!(records.lost, total / 1_000, "{records:?}");
    assert_eq!(records.doubled, total / 700 - total / 7_000, "{records:?}");
    assert_eq!(records.stored, total - records.lost, "{records:?}");
    assert!(!report.is_sound());
}

#[test]
fn an_honest_server_is_found_to_be_one() {
    let report = bench(Scenario::Batch, serve(Faults::default()), 1, 1_000.0);
    let records = report.records.unwrap();
    assert!(report.is_sound(), "{}", report.text());
    assert_eq!((records.lost, records.doubled, records.unacknowledged, records.refused), (0, 0, 0, 0), "{records:?}");
}

#[test]
fn refusals_and_garbage_are_told() {
    for status in ["500 No", "429 Too Many Requests"] {
        let report = bench(Scenario::Direct, serve(Faults { status: Some(status), ..Faults::default() }), 1, 200.0);
        let code: u16 = status[..3].parse().unwrap();
        assert!(report.phases[1].refusals.iter().any(|&(seen, count)| seen == code && count > 50), "{}", report.text());
        assert_eq!(report.records.unwrap().acknowledged, 0);
    }
    let report = bench(Scenario::Direct, serve(Faults { garbage: true, ..Faults::default() }), 1, 200.0);
    assert!(report.broke.as_deref().is_some_and(|broke| broke.contains("HTTP")), "{}", report.text());
}

#[test]
fn no_server_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = listener.local_addr().unwrap().to_string();
    drop(listener);
    let options = options(nobody, 1, None);
    let report = run(Scenario::Fast, &options).unwrap();
    assert!(report.broke.is_some());
}
