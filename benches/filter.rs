//! The filter over encoded rows, in bytes per second: what a query of memory and each live viewer pay.
//!
//! `cargo bench -p record --bench filter`

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use record::filter::{FoldedNeedle, fold_contains};
use record::{BatchBuilder, Context, Fields, Filter, IdSource, Level, Meta, Rows, Timestamp, Zone};

const ROWS: usize = 10_000;

const SUBJECTS: [&str; 6] = [
    "Connection to 10.0.4.17:5432",
    "Request GET /api/v1/orders/8812",
    "User ann@example.com",
    "Cache shard 7",
    "Payment 5521",
    "Worker pool",
];
const VERBS: [&str; 5] =
    ["failed after 3 retries", "completed", "timed out waiting for a lock", "was refused by upstream", "started"];
const ENDS: [&str; 4] = ["(took 153 ms)", "status=200 bytes=5120", "retrying in 5 s", ""];

/// Rows like those of a web service: about 75 bytes of message and 70 of metadata.
fn rows() -> Vec<u8> {
    let zone = Zone::UTC;
    let mut ids = IdSource::new(|| 7);
    let mut all = Vec::new();
    let mut batch = BatchBuilder::new(16);
    for i in 0..ROWS {
        let at = Timestamp::clamped(1_762_876_800_000_000 + i as i64 * 1_000);
        let message = format!("{} {} {}", SUBJECTS[i % 6], VERBS[i / 6 % 5], ENDS[i / 30 % 4]);
        let mut meta = Meta::default();
        meta.int("user_id", (i % 1_000) as i64);
        meta.text("region", if i % 3 == 0 { b"eu-west-1" } else { b"us-east-1" });
        meta.text("trace", format!("{:016x}", i.wrapping_mul(0x9e37_79b9)).as_bytes());
        let fields = Fields {
            timestamp: Some(at),
            level: Some(Level::ALL[[2, 2, 2, 1, 3, 4][i % 6]]),
            source: "web-1".into(),
            application: "api".into(),
            message: message.as_bytes().into(),
            meta,
        };
        if batch.push(&fields, &Context::new(at, &zone), &mut ids).is_err() {
            all.extend_from_slice(batch.body());
            batch.clear();
            batch.push(&fields, &Context::new(at, &zone), &mut ids).expect("a row fits an empty batch");
        }
    }
    all.extend_from_slice(batch.body());
    all
}

fn filter(c: &mut Criterion) {
    let rows = rows();
    let messages: Vec<&[u8]> = Rows::new(&rows).map(|row| row.message()).collect();

    let mut group = c.benchmark_group("text in messages");
    group.throughput(Throughput::Bytes(messages.iter().map(|message| message.len() as u64).sum()));
    for word in ["deadlock", "timed out", "refused", "e"] {
        let needle = FoldedNeedle::new(word.as_bytes());
        group.bench_function(word, |b| {
            b.iter(|| messages.iter().filter(|message| fold_contains(message, black_box(&needle))).count());
        });
    }
    group.finish();

    let mut group = c.benchmark_group("rows");
    group.throughput(Throughput::Bytes(rows.len() as u64));
    for q in ["", "level:>=error", "deadlock", "user_id:512", "region:eu-west-1 -refused", "absent.path:*"] {
        let pairs = [("q", q), ("from", "2025-01-01")];
        let matcher = Filter::from_params(pairs, Timestamp::MIN, &Zone::UTC).expect("a good filter").matcher();
        group.bench_function(if q.is_empty() { "from" } else { q }, |b| {
            b.iter(|| Rows::new(&rows).filter(|row| black_box(&matcher).matches(row)).count());
        });
    }
    group.finish();
}

criterion_group!(benches, filter);
criterion_main!(benches);
