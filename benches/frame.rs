//! A request's head read, and its body cut into records, in bytes per second. Beside them the ceilings: httparse alone, and
//! a bare search for line feeds.
//!
//! `cargo bench -p engine --bench frame`

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use engine::http::head::HeadLimits;
use engine::http::{Framer, Framing, Head, body::Step};
use engine::ingest::split::{ArraySplitter, LineSplitter};

#[path = "sample.rs"]
mod sample;

const LINE_BYTES_MAX: usize = 1 << 20;
/// What a read brings.
const PIECE_BYTES: usize = 64 * 1024;

fn frame(c: &mut Criterion) {
    let head = b"POST /data/fast HTTP/1.1\r\nHost: 127.0.0.1:5000\r\nUser-Agent: curl/8.14.1\r\nAccept: */*\r\n\
                 Content-Type: application/json\r\nContent-Length: 245\r\n\r\n";
    let limits = HeadLimits { head_bytes_max: 16 * 1024, headers_max: 64 };
    let mut group = c.benchmark_group("head");
    group.throughput(Throughput::Bytes(head.len() as u64));
    group.bench_function("read", |b| b.iter(|| Head::parse(black_box(head), limits).expect("a head")));
    group.bench_function("ceiling: httparse", |b| {
        b.iter(|| {
            let mut headers = [httparse::EMPTY_HEADER; 16];
            httparse::Request::new(&mut headers).parse(black_box(head)).expect("a head")
        });
    });
    group.finish();

    let lines = sample::lines("json");
    let body = lines.join("\n").into_bytes();
    let mut group = c.benchmark_group("body");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("lines, as they come", |b| {
        b.iter(|| {
            let (mut splitter, mut bytes) = (LineSplitter::new(LINE_BYTES_MAX), 0);
            let mut framer = Framer::new(Framing::Length(body.len() as u64));
            for piece in body.chunks(PIECE_BYTES) {
                if let Ok(Step::Content(count)) = framer.step(piece) {
                    splitter.feed(&piece[..count], &mut |piece| bytes += size(&piece));
                    framer.took(count);
                }
            }
            splitter.end(&mut |piece| bytes += size(&piece));
            black_box(bytes)
        });
    });
    let array = format!("[{}]", lines.join(",")).into_bytes();
    group.bench_function("an array, as it comes", |b| {
        b.iter(|| {
            let (mut splitter, mut bytes) = (ArraySplitter::new(false, LINE_BYTES_MAX, b"["), 0);
            for piece in array[1..].chunks(PIECE_BYTES) {
                splitter.feed(piece, &mut |piece| bytes += size(&piece)).expect("an array");
            }
            black_box(bytes)
        });
    });
    group.bench_function("ceiling: line feeds", |b| b.iter(|| memchr::memchr_iter(b'\n', black_box(&body)).count()));
    group.finish();
}

fn size(piece: &engine::ingest::split::Piece) -> usize {
    match piece {
        engine::ingest::split::Piece::Record(bytes) => bytes.len(),
        engine::ingest::split::Piece::TooLong => 0,
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = frame
}
criterion_main!(benches);
