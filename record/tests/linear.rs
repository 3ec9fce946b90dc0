//! Bad lines cost no more per byte when they are long: what takes quadratic time is found here on any machine, by the
//! processor's clock and with much to spare. `make work` counts instructions instead, and allows twice as many.

mod shapes;

use rustix::time::{ClockId, clock_gettime};
use shapes::{Work, shapes};

const SHORT_BYTES: usize = 1024;
/// Long enough for quadratic work to stand out 128 times, short enough for some thousands of lines in a few seconds.
const LONG_BYTES: usize = 128 * 1024;
/// Clocks are coarse, caches small, and other tests run beside.
const RATIO_MAX: f64 = 12.0;
/// A shorter time is lost in all that.
const NANOS_PER_BYTE_MIN: f64 = 4.0;

#[test]
fn long_lines_cost_what_short_ones_do() {
    assert!(shapes::all_formats_have_heads());
    for shape in shapes() {
        for format in [shape.format, "auto"] {
            // A machine that was busy is asked again.
            let ratio = (0..3).map(|_| ratio(&shape, format)).fold(f64::MAX, f64::min);
            assert!(ratio <= RATIO_MAX, "{format}: {ratio:.0} times the work per byte for {shape:?}");
        }
    }
}

fn ratio(shape: &shapes::Shape, format: &str) -> f64 {
    let mut work = Work::new();
    let mut per_byte = |bytes: usize, times: usize| {
        let line = shape.line(bytes);
        let began = now();
        for _ in 0..times {
            work.parse(&line, format);
        }
        (now() - began) as f64 / (line.len() * times) as f64
    };
    let long = per_byte(LONG_BYTES, 1);
    if long < NANOS_PER_BYTE_MIN {
        return 0.0;
    }
    long / per_byte(SHORT_BYTES, 32).max(NANOS_PER_BYTE_MIN)
}

/// The processor time of this thread, in nanoseconds.
fn now() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
