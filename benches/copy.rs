//! What a writer takes to hand 10,000 records to Postgres by COPY, committed, in bytes of rows per second: claim, rows,
//! counts, COMMIT. Beside it the ceiling: the same rows by one bare COPY of the same connection into the same table.
//!
//! `cargo bench -p engine --bench copy`; it needs Debian's `postgresql`, and starts a server of its own.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use engine::store::postgres::{Counters, Target, Writer, WriterOptions, migrate};
use futures_util::SinkExt;
use record::format::{LineParser, Mode, NotTaken};
use record::{Batch, BatchBuilder, Context, IdSource, Timestamp, Zone};
use tokio::runtime::Runtime;

#[path = "sample.rs"]
mod sample;

const ROWS: usize = 10_000;
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const COPY: &str =
    "COPY logs (part, id, timestamp, level, source, application, message, metadata) FROM STDIN (FORMAT binary)";
const EMPTY: &str = "TRUNCATE logs, log_counts, ingested_batches";

fn batches() -> Vec<Batch> {
    let zone = Zone::UTC;
    let context = Context::new(Timestamp::clamped(1_796_000_000_000_000), &zone);
    let (mut parser, mut builder, mut ids) = (LineParser::new(), BatchBuilder::new(16), IdSource::new(|| 7));
    let mut batches = Vec::new();
    for line in sample::lines("json").iter().cycle().take(ROWS) {
        while let Err(NotTaken::Full) = parser.push_line(line.as_bytes(), Mode::Auto, &context, &mut ids, &mut builder)
        {
            batches.extend(builder.seal());
        }
    }
    batches.extend(builder.seal());
    batches
}

/// The time of `work` alone, an empty table before each.
fn timed(server: &servers::Postgres, times: u64, mut work: impl FnMut()) -> Duration {
    let mut time = Duration::ZERO;
    for _ in 0..times {
        server.sql(EMPTY);
        let began = Instant::now();
        work();
        time += began.elapsed();
    }
    time
}

fn copy(c: &mut Criterion) {
    if !Path::new("/usr/lib/postgresql").is_dir() {
        return eprintln!("not measured: there is no Postgres here (`apt-get install postgresql`)");
    }
    let runtime = Runtime::new().expect("a runtime");
    let server = servers::Postgres::start_new();
    let target = Arc::new(Target::parse(&server.url()).expect("a URL"));
    runtime.block_on(migrate(&target)).expect("the schema");
    let batches = batches();
    let bytes: usize = batches.iter().map(|batch| batch.body().len()).sum();

    let mut group = c.benchmark_group("copy");
    group.throughput(Throughput::Bytes(bytes as u64));
    let counters = Arc::new(Counters::default());
    let mut writer = Writer::new(target, "bench", WriterOptions::default(), counters);
    group.bench_function("a writer, committed", |b| {
        b.iter_custom(|times| {
            timed(&server, times, || {
                let stored = runtime.block_on(writer.store(&batches)).expect("stored");
                assert_eq!(stored.rows, ROWS as u64);
            })
        });
    });
    let (client, connection) =
        runtime.block_on(tokio_postgres::connect(&server.url(), tokio_postgres::NoTls)).expect("a connection");
    runtime.spawn(connection);
    let whole: Vec<u8> = [HEADER]
        .into_iter()
        .chain(batches.iter().map(Batch::body))
        .chain([&[0xff; 2][..]])
        .flatten()
        .copied()
        .collect();
    let whole = Bytes::from(whole);
    group.bench_function("ceiling: COPY", |b| {
        b.iter_custom(|times| {
            timed(&server, times, || {
                runtime.block_on(async {
                    let mut sink = pin!(client.copy_in::<_, Bytes>(COPY).await.expect("a COPY"));
                    sink.send(whole.clone()).await.expect("rows");
                    assert_eq!(sink.finish().await.expect("an end"), ROWS as u64);
                });
            })
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    targets = copy
}
criterion_main!(benches);
