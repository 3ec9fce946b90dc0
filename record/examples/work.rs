//! Counts the instructions that bad lines cost, short and long, under callgrind: `make work` runs it, and
//! `benches/work.py` reads what comes of it. By itself it does nothing of use. Arguments are the formats to flood.

#[path = "../tests/shapes/mod.rs"]
mod shapes;

use shapes::{Work, shapes};

/// The two lengths: a usual line, and the longest.
const SHORT_BYTES: usize = 1024;
const LONG_BYTES: usize = 1024 * 1024;

fn main() {
    assert!(shapes::all_formats_have_heads());
    let only: Vec<String> = std::env::args().skip(1).collect();
    for shape in shapes().into_iter().filter(|shape| only.is_empty() || only.iter().any(|name| name == shape.format)) {
        let lines = [shape.line(SHORT_BYTES), shape.line(LONG_BYTES)];
        for format in [shape.format, "auto"] {
            let mut work = Work::new();
            // Once before, as a connection is warm.
            work.parse(&lines[0], format);
            println!(
                "{format}\t{:?}\t{:?}\t{:?}\t{}\t{}",
                shape.head,
                String::from_utf8_lossy(shape.flood),
                shape.tail,
                lines[0].len(),
                lines[1].len()
            );
            for line in &lines {
                measured(&mut work, line, format);
            }
        }
    }
}

/// Callgrind writes a file after each call of this one.
#[inline(never)]
fn measured(work: &mut Work, line: &[u8], format: &str) {
    work.parse(line, format);
}
