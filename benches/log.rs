//! A group of batches appended to the local log and synced, in bytes per second. Beside it the ceiling: the same bytes
//! written over a file's own blocks with pwrite, and fdatasync.
//!
//! `cargo bench -p engine --bench log`; it writes below `target`, which must be on the disk that is meant.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use engine::queue::LogPosition;
use engine::queue::local::{Durability, LocalLog, Options, recover};
use glommio::LocalExecutorBuilder;
use record::format::{LineParser, Mode, NotTaken};
use record::{Batch, BatchBuilder, Context, IdSource, Timestamp, Zone};

#[path = "sample.rs"]
mod sample;

/// As a lone request, as some that came together, and as a flood.
const GROUPS: [(&str, usize); 3] = [("one record", 1), ("one batch", 500), ("five batches", 2_500)];
const FILE_BYTES: u64 = 64 << 20;

fn batches(rows: usize) -> Vec<Batch> {
    let zone = Zone::UTC;
    let context = Context::new(Timestamp::clamped(1_796_000_000_000_000), &zone);
    let (mut parser, mut builder, mut ids) = (LineParser::new(), BatchBuilder::new(16), IdSource::new(|| 7));
    let mut batches = Vec::new();
    for line in sample::lines("json").iter().take(rows) {
        while let Err(NotTaken::Full) = parser.push_line(line.as_bytes(), Mode::Auto, &context, &mut ids, &mut builder)
        {
            batches.extend(builder.seal());
        }
    }
    batches.extend(builder.seal());
    batches
}

/// What so many appends take, in a log of its own.
fn appends(folder: &Path, group: Vec<Batch>, count: u64) -> Duration {
    let folder = folder.to_owned();
    let shard = LocalExecutorBuilder::default().io_memory(4 << 20).spawn(move || async move {
        let recovery = recover(&folder, LogPosition::default(), &mut |_, _| {}).expect("a folder");
        let options = Options::new(Durability::Sync, u64::MAX);
        let log = LocalLog::open(&folder, 0, recovery, options).await.expect("a log");
        let began = Instant::now();
        for nth in 0..count {
            let end = log.append(&group).await.expect("an append");
            // What is covered is given back, so that segments are written again, as they are in service.
            if nth % 64 == 63 {
                log.release(end).await.expect("a release");
            }
        }
        began.elapsed()
    });
    shard.expect("an executor").join().expect("no panic")
}

fn log(c: &mut Criterion) {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    std::fs::create_dir_all(&target).expect("a folder");
    let folder = tempfile::tempdir_in(&target).expect("a folder");
    let mut group = c.benchmark_group("log");
    for (name, rows) in GROUPS {
        let batches = batches(rows);
        let bytes: u64 = batches.iter().map(|batch| batch.frame().len() as u64).sum();
        group.throughput(Throughput::Bytes(bytes));
        let mut nth = 0;
        group.bench_function(format!("append and sync, {name}"), |b| {
            b.iter_custom(|count| {
                nth += 1;
                let own = folder.path().join(format!("{rows}-{nth}"));
                let took = appends(&own, batches.clone(), count);
                let _ = std::fs::remove_dir_all(own);
                took
            });
        });
        let path = folder.path().join("ceiling");
        let file = File::create(&path).expect("a file");
        let block = vec![0; 1 << 20];
        for at in (0..FILE_BYTES).step_by(block.len()) {
            file.write_all_at(&block, at).expect("room");
        }
        file.sync_all().expect("a sync");
        let (piece, mut at) = (vec![b'x'; bytes as usize], 0);
        group.bench_function(format!("ceiling: pwrite and fdatasync, {name}"), |b| {
            b.iter(|| {
                file.write_all_at(&piece, at).expect("a write");
                file.sync_data().expect("a sync");
                at = (at + bytes.next_multiple_of(4096)) % (FILE_BYTES - (2 << 20));
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = log
}
criterion_main!(benches);
