//! Rows into Parquet files, and questions that must read them all, in bytes of rows per second. Beside them the ceilings:
//! zstd of the same bytes, and a search for the same word in them.
//!
//! `cargo bench -p engine --bench parquet`; it writes below `target`, which must be on the disk that is meant.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use engine::queue::LogPosition;
use engine::store::parquet::{Options, ParquetStore};
use engine::store::{Reader, Stop};
use record::format::{LineParser, Mode, NotTaken};
use record::{Batch, BatchBuilder, Context, Filter, IdSource, Timestamp, Zone};

#[path = "sample.rs"]
mod sample;

const ZSTD_LEVEL: i32 = 1;
/// What no message has.
const WORD: &str = "deadlock";

fn batches() -> Vec<Batch> {
    let zone = Zone::UTC;
    let context = Context::new(Timestamp::clamped(1_796_000_000_000_000), &zone);
    let (mut parser, mut builder, mut ids) = (LineParser::new(), BatchBuilder::new(16), IdSource::new(|| 7));
    let mut batches = Vec::new();
    for line in sample::lines("json").iter().cycle().take(10 * sample::LINES) {
        while let Err(NotTaken::Full) = parser.push_line(line.as_bytes(), Mode::Auto, &context, &mut ids, &mut builder)
        {
            batches.extend(builder.seal());
        }
    }
    batches.extend(builder.seal());
    batches
}

fn open(folder: &Path) -> std::sync::Arc<ParquetStore> {
    let options = Options::new(1 << 30, 1 << 30, Duration::from_secs(3_600));
    ParquetStore::open(folder, options).expect("a store").0
}

fn fill(store: &ParquetStore, batches: &[Batch]) -> Duration {
    for (nth, batch) in batches.iter().enumerate() {
        let end = LogPosition { segment: 0, offset: nth as u64 + 1 };
        store.insert(0, std::slice::from_ref(batch), end);
    }
    let began = Instant::now();
    store.flush_now().expect("a flush");
    began.elapsed()
}

fn parquet(c: &mut Criterion) {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    std::fs::create_dir_all(&target).expect("a folder");
    let folder = tempfile::tempdir_in(&target).expect("a folder");
    let batches = batches();
    let bytes: Vec<u8> = batches.iter().flat_map(|batch| batch.body().iter().copied()).collect();

    let mut group = c.benchmark_group("parquet write");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    let mut nth = 0;
    group.bench_function("100,000 rows, sorted and synced", |b| {
        b.iter_custom(|count| {
            let mut took = Duration::ZERO;
            for _ in 0..count {
                nth += 1;
                let own = folder.path().join(nth.to_string());
                let store = open(&own);
                took += fill(&store, &batches);
                store.close();
                let _ = std::fs::remove_dir_all(own);
            }
            took
        });
    });
    group.bench_function("ceiling: zstd", |b| {
        b.iter(|| black_box(zstd::bulk::compress(&bytes, ZSTD_LEVEL).expect("a compressor").len()));
    });
    group.finish();

    let store = open(&folder.path().join("scan"));
    fill(&store, &batches);
    let filter = |pairs: &[(&str, &str)]| {
        Filter::from_params(pairs.iter().copied(), Timestamp::MIN, &Zone::UTC).expect("a good filter")
    };
    let stop = || Stop::after(Duration::from_secs(60));
    let mut group = c.benchmark_group("parquet scan");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    for (name, pairs) in [
        ("count of a metadata value", &[("metadata.duration_ms", "17")][..]),
        ("count of a common word", &[("q", "order")]),
        ("count of a word that none has", &[("q", WORD)]),
    ] {
        let filter = filter(pairs);
        group.bench_function(name, |b| b.iter(|| black_box(store.counts(&filter, &stop()).expect("counts").total())));
    }
    group.bench_function("ceiling: a search for bytes", |b| {
        b.iter(|| memchr::memmem::find_iter(black_box(&bytes), WORD.as_bytes()).count());
    });
    group.finish();
    store.close();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    targets = parquet
}
criterion_main!(benches);
