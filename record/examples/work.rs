//! What bad lines cost, short and long: `benches/work.py` (`make work`) runs this by itself for the processor's time of
//! every case, then under callgrind for the instructions of those that it names.
//!
//! `work` prints a line for each case: its number, mode, head, flood, the lengths of both lines, and the nanoseconds they
//! took. `work NUMBER…` parses the lines of these cases, each in a call of `measured`.

#[path = "../tests/shapes/mod.rs"]
mod shapes;

use rustix::time::{ClockId, clock_gettime};
use shapes::{Work, shapes};

/// A usual line, and the longest.
const SHORT_BYTES: usize = 1024;
const LONG_BYTES: usize = 1024 * 1024;

fn main() {
    assert!(shapes::all_formats_have_heads());
    let only: Vec<usize> = std::env::args().skip(1).map(|number| number.parse().expect("a number")).collect();
    let cases = shapes().into_iter().flat_map(|shape| [(shape, shape.format), (shape, "auto")]);
    for (number, (shape, mode)) in cases.enumerate() {
        if !only.is_empty() && !only.contains(&number) {
            continue;
        }
        let lines = [shape.line(SHORT_BYTES), shape.line(LONG_BYTES)];
        let mut work = Work::new();
        // Once before, as a connection is warm.
        work.parse(&lines[0], mode);
        // Valgrind has no clock of the kind that is read here. What it counts of the first call has all that came before
        // in it, so there is a second.
        let (clock, times): (fn() -> u64, _) = if only.is_empty() { (now, 16) } else { (|| 0, 2) };
        let began = clock();
        (0..times).for_each(|_| measured(&mut work, &lines[0], mode));
        let between = clock();
        measured(&mut work, &lines[1], mode);
        let (short, long) = ((between - began) / times, clock() - between);
        let (flood, lengths) = (String::from_utf8_lossy(shape.flood), lines.map(|line| line.len()));
        println!("{number}\t{mode}\t{:?}\t{flood:?}\t{}\t{}\t{short}\t{long}", shape.head, lengths[0], lengths[1]);
    }
}

/// Callgrind writes a file after each call of this one, of what has been done since the last.
#[inline(never)]
fn measured(work: &mut Work, line: &[u8], mode: &str) {
    work.parse(line, mode);
}

/// The processor time of this thread, in nanoseconds.
fn now() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
