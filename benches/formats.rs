//! Lines into rows, in bytes and in records per second: each format held to by name, then detected, then all mixed. Beside
//! them the ceiling, a bare checked walk by sonic-rs of the same JSON lines, and well-known crates that parse the same
//! lines (into their own structures: no row is encoded). Time is that of the processor, so that what else runs on the
//! machine counts little.
//!
//! `cargo bench -p record --bench formats`, with a filter such as `-- json` for one format.

use std::hint::black_box;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use record::format::{LineParser, Mode, NotTaken, Parser, by_name};
use record::{BatchBuilder, Context, IdSource, Timestamp, Zone};
use rustix::time::{ClockId, clock_gettime};

const LINES: usize = 10_000;

const SOURCES: [&str; 6] = ["us2-db1", "eu1-mq1", "eu1-mq2", "ap1-web14", "us1-web3", "eu2-cache1"];
const APPLICATIONS: [&str; 5] = ["audit-sync", "order-sync", "order-worker", "payment-api", "session-gateway"];
const LEVELS: [&str; 6] = ["INFO", "DEBUG", "INFO", "WARN", "INFO", "ERROR"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Numbers that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len() as u64) as usize]
    }

    fn address(&mut self) -> String {
        format!("{}.{}.{}.{}", self.below(223) + 1, self.below(256), self.below(256), self.below(254) + 1)
    }

    fn clock(&mut self) -> String {
        format!("{:02}:{:02}:{:02}", self.below(24), self.below(60), self.below(60))
    }

    fn message(&mut self) -> String {
        match self.below(4) {
            0 => format!(
                "order {} accepted, {} items, payment ref {:08x}",
                self.below(900_000),
                self.below(9),
                self.0 as u32
            ),
            1 => format!("SELECT on orders returned {} rows in {}.93 ms", self.below(100), self.below(100)),
            2 => {
                format!("user {} logged in from {} session={:08x}", self.below(900_000), self.address(), self.0 as u32)
            }
            _ => format!(
                "cache miss for key product:{}:price, fetched from origin in {} ms",
                self.below(99_999),
                self.below(90)
            ),
        }
    }
}

/// A line of a format; the JSON ones are 245 bytes long on average.
fn line(format: &str, n: &mut Numbers) -> String {
    let (source, application, level) = (n.pick(&SOURCES), n.pick(&APPLICATIONS), n.pick(&LEVELS));
    let (message, clock, day) = (n.message(), n.clock(), n.below(28) + 1);
    let (id, took, pid) = (n.below(1 << 31) << 16 | n.below(1 << 16), n.below(900), n.below(30_000));
    match format {
        "json" => format!(
            r#"{{"timestamp":"2026-11-{day:02}T{clock}.{took:03}Z","level":"{level}","source":"{source}","application":"{application}","message":"{message}","metadata":{{"request_id":"{id:012x}","region":"us-west-2","duration_ms":{took},"user_id":{pid}}}}}"#
        ),
        "docker_json" => format!(
            r#"{{"log":"{message}\n","stream":"stdout","time":"2026-11-{day:02}T{clock}.{id:09}Z"}}"#,
            id = id % 1_000_000_000
        ),
        "cri" => format!("2026-11-{day:02}T{clock}.{:09}Z stdout F {message}", id % 1_000_000_000),
        "syslog_rfc5424" => format!(
            r#"<134>1 2026-11-{day:02}T{clock}.{took:03}Z {source} {application} {pid} {level} [meta@32473 request_id="{id:012x}" region="us-west-2" duration_ms="{took}"] {message}"#
        ),
        "syslog_rfc3164" => {
            format!("<{}>{} {day:2} {clock} {source} {application}[{pid}]: {message}", n.below(192), n.pick(&MONTHS))
        }
        "apache_common" => format!(
            r#"{} - - [{day:02}/{}/2026:{clock} +0000] "GET /product/{pid}/images/{took}x200.jpg HTTP/1.1" {} {}"#,
            n.address(),
            n.pick(&MONTHS),
            n.pick(&["200", "200", "304", "404", "500"]),
            n.below(99_999)
        ),
        "apache_combined" => format!(
            r#"{} "https://www.example.com/shop/{took}" "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36""#,
            line("apache_common", n)
        ),
        "apache_error" => format!(
            "[Fri Nov {day:02} {clock}.902022 2026] [core:error] [pid {pid}:tid 4328636416] [client {}:4711] AH00128: File does not exist: /usr/local/apache2/htdocs/{took}.ico",
            n.address()
        ),
        "nginx_error" => format!(
            r#"2026/11/{day:02} {clock} [error] {pid}#{pid}: *{took} open() "/usr/share/nginx/html/a{took}" failed (2: No such file or directory), client: {}, server: www.example.com, request: "GET /a{took} HTTP/1.1", host: "www.example.com""#,
            n.address()
        ),
        "logfmt" => format!(
            r#"ts=2026-11-{day:02}T{clock}.{took:03}Z level={level} host={source} app={application} msg="{message}" request_id={id:012x} region=us-west-2 duration_ms={took}"#
        ),
        _ => format!("2026-11-{day:02} {clock},{took:03} [main] {level} com.example.{application} - {message}"),
    }
}

const FORMATS: [&str; 11] = [
    "json",
    "docker_json",
    "syslog_rfc5424",
    "syslog_rfc3164",
    "apache_combined",
    "apache_common",
    "nginx_error",
    "apache_error",
    "cri",
    "logfmt",
    "plain",
];

fn lines(format: &str) -> Vec<String> {
    let mut numbers = Numbers(42);
    (0..LINES).map(|_| line(format, &mut numbers)).collect()
}

fn mixed() -> Vec<String> {
    let mut numbers = Numbers(42);
    (0..LINES)
        .map(|_| {
            let format = numbers.pick(&FORMATS);
            line(format, &mut numbers)
        })
        .collect()
}

/// Parses and encodes the lines into batches, as a connection does.
fn into_batches(lines: &[String], mode: Mode, parser: &mut LineParser, builder: &mut BatchBuilder, ids: &mut IdSource) {
    let zone = Zone::UTC;
    let context = Context::new(Timestamp::clamped(1_796_000_000_000_000), &zone);
    for line in lines {
        loop {
            match parser.push_line(line.as_bytes(), mode, &context, ids, builder) {
                Ok(_) => break,
                Err(NotTaken::Full) => {
                    black_box(builder.body());
                    builder.clear();
                }
                Err(NotTaken::Reject(reject)) => panic!("{reject:?}: {line}"),
            }
        }
    }
}

fn encode(group: &mut BenchmarkGroup<CpuTime>, name: &str, lines: &[String], mode: Mode) {
    let mut parser = LineParser::new();
    let mut builder = BatchBuilder::new(16);
    let mut ids = IdSource::new(|| 7);
    group.bench_function(name, |b| b.iter(|| into_batches(lines, mode, &mut parser, &mut builder, &mut ids)));
}

fn throughput(lines: &[String]) -> Throughput {
    let bytes = lines.iter().map(|line| line.len() as u64 + 1).sum();
    Throughput::ElementsAndBytes { elements: lines.len() as u64, bytes }
}

fn formats(c: &mut Criterion<CpuTime>) {
    for format in FORMATS {
        let parser: &'static dyn Parser = by_name(format).expect("a format of the registry");
        let lines = lines(format);
        let mut group = c.benchmark_group(format);
        group.throughput(throughput(&lines));
        encode(&mut group, "named", &lines, Mode::Named(parser));
        encode(&mut group, "detected", &lines, Mode::Auto);
        peers(format, &mut group, &lines);
        group.finish();
    }
    let lines = mixed();
    let mut group = c.benchmark_group("mixed");
    group.throughput(throughput(&lines));
    encode(&mut group, "detected", &lines, Mode::Auto);
    group.finish();
}

/// The usual expression for the combined access log, as configurations of other collectors have it.
const ACCESS: &str = r#"^(?P<client>\S+) (?P<ident>\S+) (?P<user>\S+) \[(?P<time>[^\]]+)\] "(?P<method>\S+) (?P<path>\S+) (?P<protocol>\S+)" (?P<status>\d{3}) (?P<bytes>\d+|-) "(?P<referer>[^"]*)" "(?P<agent>[^"]*)"$"#;

fn peers(format: &str, group: &mut BenchmarkGroup<CpuTime>, lines: &[String]) {
    match format {
        "json" => {
            group.bench_function("ceiling: sonic-rs checked walk", |b| {
                b.iter(|| {
                    for line in lines {
                        for member in sonic_rs::to_object_iter(line.as_str()) {
                            black_box(member.expect("valid JSON"));
                        }
                    }
                });
            });
        }
        "syslog_rfc5424" | "syslog_rfc3164" => {
            let variant = syslog_loose::Variant::Either;
            group.bench_function("peer: syslog_loose", |b| {
                b.iter(|| lines.iter().for_each(|line| drop(black_box(syslog_loose::parse_message(line, variant)))));
            });
        }
        "apache_combined" => {
            let regex = regex::bytes::Regex::new(ACCESS).expect("an expression");
            let mut places = regex.capture_locations();
            group.bench_function("peer: regex", |b| {
                b.iter(|| {
                    for line in lines {
                        black_box(regex.captures_read(&mut places, line.as_bytes()).expect("a match"));
                    }
                });
            });
            let grok = grok::Grok::with_default_patterns().compile("%{COMBINEDAPACHELOG}", false).expect("a pattern");
            group.bench_function("peer: grok", |b| {
                b.iter(|| {
                    for line in lines {
                        let found = grok.match_against(line).expect("a match");
                        black_box(found.iter().count());
                    }
                });
            });
        }
        _ => {}
    }
}

/// The processor time of this thread, in nanoseconds.
struct CpuTime;

impl CpuTime {
    fn now() -> u64 {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }
}

impl Measurement for CpuTime {
    type Intermediate = u64;
    type Value = std::time::Duration;

    fn start(&self) -> u64 {
        CpuTime::now()
    }

    fn end(&self, start: u64) -> Self::Value {
        std::time::Duration::from_nanos(CpuTime::now() - start)
    }

    fn add(&self, a: &Self::Value, b: &Self::Value) -> Self::Value {
        *a + *b
    }

    fn zero(&self) -> Self::Value {
        std::time::Duration::ZERO
    }

    fn to_f64(&self, value: &Self::Value) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        Measurement::formatter(&WallTime)
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .with_measurement(CpuTime)
        .sample_size(20)
        .warm_up_time(std::time::Duration::from_millis(500))
        .measurement_time(std::time::Duration::from_secs(2));
    targets = formats
}
criterion_main!(benches);
