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
use sample::{FORMATS, lines, mixed};

#[path = "sample.rs"]
mod sample;

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
