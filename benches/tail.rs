//! What a live viewer costs: a batch's rows against its filter, and those that match as JSON, in bytes of rows per second.
//! Beside it the ceiling: a search for one byte string in the same bytes.
//!
//! `cargo bench -p record --bench tail`

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use record::format::{LineParser, Mode};
use record::{Batch, BatchBuilder, Context, Filter, IdSource, Timestamp, Zone};

#[path = "sample.rs"]
mod sample;

const ROWS: usize = 500;
const VIEWERS: usize = 20;

fn batch() -> Batch {
    let zone = Zone::UTC;
    let context = Context::new(Timestamp::clamped(1_796_000_000_000_000), &zone);
    let (mut parser, mut builder, mut ids) = (LineParser::new(), BatchBuilder::new(16), IdSource::new(|| 7));
    for line in sample::lines("json").iter().take(ROWS) {
        parser
            .push_line(line.as_bytes(), Mode::Auto, &context, &mut ids, &mut builder)
            .expect("a batch takes them all");
    }
    builder.seal().expect("rows")
}

fn tail(c: &mut Criterion) {
    let batch = batch();
    let matcher = |pairs: &[(&str, &str)]| {
        Filter::from_params(pairs.iter().copied(), Timestamp::MIN, &Zone::UTC).expect("a good filter").matcher()
    };
    let mut group = c.benchmark_group("tail");
    group.throughput(Throughput::Bytes(batch.body().len() as u64));
    let mut out = Vec::new();
    for (name, pairs) in [
        ("everything, as JSON", &[][..]),
        ("one level, as JSON", &[("level", "ERROR")]),
        ("one source of six, as JSON", &[("source", "us2-db1")]),
        ("a word that none has", &[("q", "deadlock")]),
    ] {
        let matcher = matcher(pairs);
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                batch.rows().filter(|row| matcher.matches(row)).for_each(|row| row.write_json(&mut out));
                black_box(out.len())
            });
        });
    }
    let matchers: Vec<_> =
        (0..VIEWERS).map(|at| matcher(&[("source", ["us2-db1", "eu1-mq1", "nobody"][at % 3])])).collect();
    group.bench_function("20 viewers of one source each, matched", |b| {
        b.iter(|| {
            let count = |matcher: &record::filter::Matcher| batch.rows().filter(|row| matcher.matches(row)).count();
            black_box(matchers.iter().map(count).sum::<usize>())
        });
    });
    group.bench_function("ceiling: a search for bytes", |b| {
        b.iter(|| memchr::memmem::find_iter(black_box(batch.body()), b"deadlock").count());
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = tail
}
criterion_main!(benches);
