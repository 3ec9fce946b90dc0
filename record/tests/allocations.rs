//! Once warm, no format allocates per record.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use record::format::{LineParser, Mode, registry};
use record::{BatchBuilder, Context, IdSource, Timestamp, Zone};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes on to the system's allocator unchanged.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn no_allocation_per_record() {
    let zone = Zone::UTC;
    let context = Context::new(Timestamp::clamped(1_762_905_600_000_000), &zone);
    let mut ids = IdSource::new(|| 0);
    let mut builder = BatchBuilder::new(1);
    let mut parser = LineParser::new();
    let mut lines: Vec<&str> = registry().iter().map(|parser| parser.info().example).collect();
    lines.extend([
        r#"{"message":"a \"quoted\" \u00e9","metadata":{"a":[1, 2],"b":{"c":null}},"k":"v","level":"warn","log":{"level":"x"}}"#,
        r#"{"log":{"level":"warn","logger":"x"},"host":{"name":"h","ip":["1"]},"message":"m"}"#,
        r#"{"log":"{\"level\":\"error\",\"message\":\"wrapped\",\"k\":1}\n","stream":"stdout","time":"2025-11-11T16:00:00Z"}"#,
        "2025-11-11T16:00:00Z stdout F level=error msg=\"wrapped too\" k=v",
        "<14>1 2025-02-11T12:31:28Z host app - - [a@1 x=\"1\\]\" y=\"2\"][b] text \u{fc}",
        "logger=x t=2025-11-11T16:00:00.520963849Z level=warn msg=\"tab\\there\" version=11 flag=",
    ]);
    let mut round = |lines: &[&str], parser: &mut LineParser| {
        builder.clear();
        for line in lines {
            parser.push_line(line.as_bytes(), Mode::Auto, &context, &mut ids, &mut builder).expect("any line is taken");
        }
    };
    for line in &lines {
        let one = [*line; 20];
        round(&one, &mut parser);
        let before = ALLOCATIONS.load(Relaxed);
        round(&one, &mut parser);
        assert_eq!(ALLOCATIONS.load(Relaxed) - before, 0, "{line}");
    }
}
