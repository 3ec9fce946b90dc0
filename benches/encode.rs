//! Fields into rows of a batch, and the batch sealed, in bytes of rows per second. Beside it the ceiling: the same bytes
//! copied.
//!
//! `cargo bench -p record --bench encode`

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use record::format::{LineParser, Mode};
use record::{Batch, BatchBuilder, Context, Fields, IdSource, Meta, Timestamp, Zone};

#[path = "sample.rs"]
mod sample;

const ROWS: usize = 500;

fn batch(lines: &[String]) -> Batch {
    let zone = Zone::UTC;
    let context = Context::new(Timestamp::clamped(1_796_000_000_000_000), &zone);
    let (mut parser, mut builder, mut ids) = (LineParser::new(), BatchBuilder::new(16), IdSource::new(|| 7));
    for line in lines {
        parser
            .push_line(line.as_bytes(), Mode::Auto, &context, &mut ids, &mut builder)
            .expect("a batch takes them all");
    }
    builder.seal().expect("rows")
}

fn encode(c: &mut Criterion) {
    let lines: Vec<String> = sample::lines("json").into_iter().take(ROWS).collect();
    let sealed = batch(&lines);
    let messages: Vec<Vec<u8>> = sealed.rows().map(|row| row.message().to_vec()).collect();
    let zone = Zone::UTC;
    let context = Context::new(Timestamp::clamped(1_796_000_000_000_000), &zone);

    let mut group = c.benchmark_group("encode");
    group.throughput(Throughput::Bytes(sealed.body().len() as u64));
    let (mut builder, mut ids) = (BatchBuilder::new(16), IdSource::new(|| 7));
    group.bench_function("rows, and seal", |b| {
        b.iter(|| {
            for (at, message) in messages.iter().enumerate() {
                let mut meta = Meta::default();
                meta.text("request_id", b"0123456789ab");
                meta.text("region", b"us-west-2");
                meta.int("duration_ms", at as i64);
                meta.int("user_id", 4_711);
                let fields = Fields {
                    timestamp: Some(context.received),
                    level: Some(record::Level::Info),
                    source: "us2-db1".into(),
                    application: "payment-api".into(),
                    message: message.as_slice().into(),
                    meta,
                };
                builder.push(&fields, &context, &mut ids).expect("a batch takes them all");
            }
            black_box(builder.seal())
        });
    });
    group.bench_function("lz4 of a batch", |b| b.iter(|| black_box(sealed.pack())));
    group.bench_function("open a batch", |b| {
        b.iter(|| Batch::open(black_box(sealed.frame().clone())).expect("a batch"))
    });
    let mut room = Vec::with_capacity(sealed.body().len());
    group.bench_function("ceiling: copy", |b| {
        b.iter(|| {
            room.clear();
            room.extend_from_slice(black_box(sealed.body()));
            black_box(room.len())
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = encode
}
criterion_main!(benches);
