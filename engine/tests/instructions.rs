//! Instructions and allocations per record, stage by stage: figures without noise, held to a table.
//!
//! The table, `benches/instructions.toml`, is keyed by the compiler and the profile, as other compilers make other code.
//! callgrind counts, so that nothing else on the machine matters. Without valgrind, or under a compiler that the table does
//! not have, the test says so and passes; `make instructions` writes the table anew.

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use engine::http::Head;
use engine::http::head::HeadLimits;
use engine::ingest::split::LineSplitter;
use record::format::{LineParser, Mode, by_name};
use record::{BatchBuilder, Context, Filter, IdSource, Timestamp, Zone};

#[path = "../../benches/sample.rs"]
mod sample;

/// Records of a stage: enough that what a round costs by itself does not show.
const RECORDS: usize = 500;
/// A change within this is none.
const TOLERANCE: f64 = 0.05;
/// Of allocations, for what is seldom: one in so many records.
const ALLOCATIONS_SLACK: f64 = 0.02;
const RESULT: &str = "stage ";

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

/// What callgrind looks at: it counts within this, and writes a file each time it ends.
#[inline(never)]
fn counted_stage(stage: &mut dyn FnMut()) {
    stage();
}

/// Warm, then counted.
fn stage(name: &str, mut round: impl FnMut()) {
    round();
    let before = ALLOCATIONS.load(Relaxed);
    counted_stage(&mut round);
    println!("{RESULT}{name} {}", ALLOCATIONS.load(Relaxed) - before);
}

/// Run under callgrind by the test below.
#[test]
#[ignore = "the work that the other test has counted"]
fn work() {
    let zone = Zone::UTC;
    let context = Context::new(Timestamp::clamped(1_796_000_000_000_000), &zone);
    let mut ids = IdSource::new(|| 7);
    let mut builder = BatchBuilder::new(16);
    let mut parser = LineParser::new();

    let head = b"POST /data/fast HTTP/1.1\r\nHost: 127.0.0.1:5000\r\nUser-Agent: curl/8.14.1\r\nAccept: */*\r\n\
                 Content-Type: application/json\r\nContent-Length: 245\r\n\r\n";
    let limits = HeadLimits { head_bytes_max: 16 * 1024, headers_max: 64 };
    stage("head", || {
        for _ in 0..RECORDS {
            black_box(Head::parse(black_box(head), limits).expect("a head"));
        }
    });
    let body = sample::lines("json")[..RECORDS].join("\n").into_bytes();
    stage("cut", || {
        let (mut splitter, mut count) = (LineSplitter::new(1 << 20), 0);
        splitter.feed(&body, &mut |_| count += 1);
        splitter.end(&mut |_| count += 1);
        assert_eq!(black_box(count), RECORDS);
    });
    for format in sample::FORMATS {
        let lines = sample::lines(format);
        let mode = Mode::Named(by_name(format).expect("a format of the registry"));
        stage(&format!("parse_{format}"), || {
            builder.clear();
            for line in &lines[..RECORDS] {
                parser
                    .push_line(line.as_bytes(), mode, &context, &mut ids, &mut builder)
                    .expect("a batch takes them all");
            }
        });
    }
    let mixed = sample::mixed();
    stage("detect", || {
        builder.clear();
        for line in &mixed[..RECORDS] {
            parser
                .push_line(line.as_bytes(), Mode::Auto, &context, &mut ids, &mut builder)
                .expect("a batch takes them all");
        }
    });
    let mut sealed = None;
    builder.clear();
    for line in &sample::lines("json")[..RECORDS] {
        parser
            .push_line(line.as_bytes(), Mode::Auto, &context, &mut ids, &mut builder)
            .expect("a batch takes them all");
    }
    sealed.replace(builder.seal().expect("rows"));
    let batch = sealed.expect("rows");
    let matcher = |pairs: &[(&str, &str)]| {
        Filter::from_params(pairs.iter().copied(), Timestamp::MIN, &Zone::UTC).expect("a good filter").matcher()
    };
    for (name, pairs) in [
        ("filter_level", &[("level_min", "ERROR")][..]),
        ("filter_word", &[("q", "deadlock")]),
        ("filter_metadata", &[("metadata.user_id", "512")]),
    ] {
        let matcher = matcher(pairs);
        stage(name, || {
            black_box(batch.rows().filter(|row| matcher.matches(row)).count());
        });
    }
    let mut out = Vec::new();
    stage("tail_json", || {
        out.clear();
        batch.rows().for_each(|row| row.write_json(&mut out));
    });
    stage("seal_and_open", || {
        black_box(record::Batch::open(black_box(batch.frame().clone())).expect("a batch"));
    });
}

/// Instructions and allocations of each stage, per record.
fn measure() -> Result<BTreeMap<String, (f64, f64)>, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let out = folder.path().join("out");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*counted_stage*"])
        .args(["--dump-after=*counted_stage*", "--compress-strings=no", "--compress-pos=no"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe().map_err(|error| error.to_string())?)
        .args(["--exact", "work", "--ignored", "--nocapture", "--test-threads=1"])
        .output()
        .map_err(|error| format!("valgrind does not start: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        return Err(format!("valgrind: {said}{}", String::from_utf8_lossy(&output.stderr)));
    }
    let mut found = BTreeMap::new();
    // The first stage stands behind the runner's own words.
    let stages = said.lines().filter_map(|line| line.split_once(RESULT)).map(|(_, rest)| rest);
    for (nth, stage) in stages.enumerate() {
        let (name, allocations) = stage.split_once(' ').ok_or("a stage without its allocations")?;
        let dump = PathBuf::from(format!("{}.{}", out.display(), nth + 1));
        let text = std::fs::read_to_string(&dump).map_err(|error| format!("{}: {error}", dump.display()))?;
        let total = text.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")));
        let total: f64 = total.and_then(|total| total.trim().parse().ok()).ok_or("a dump without a total")?;
        let allocations: f64 = allocations.trim().parse().map_err(|_| "allocations that are no number")?;
        found.insert(name.to_owned(), (total / RECORDS as f64, allocations / RECORDS as f64));
    }
    Ok(found)
}

/// The compiler and how it was told to compile; other processors' instructions are others too.
fn key() -> Option<String> {
    let version = Command::new("rustc").arg("--version").output().ok()?;
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    (!version.is_empty()).then(|| format!("{version}, {profile}, {}", std::env::consts::ARCH))
}

/// `["key"]` and lines `stage = [instructions, allocations]` below it.
fn read_table(text: &str) -> BTreeMap<String, BTreeMap<String, (f64, f64)>> {
    let mut table: BTreeMap<String, BTreeMap<String, (f64, f64)>> = BTreeMap::new();
    let mut section = String::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("[\"").and_then(|rest| rest.strip_suffix("\"]")) {
            section = name.to_owned();
        } else if let Some((name, values)) = line.split_once(" = [") {
            let values: Vec<f64> = values.trim_end_matches(']').split(", ").filter_map(|v| v.parse().ok()).collect();
            if let [instructions, allocations] = values[..] {
                table.entry(section.clone()).or_default().insert(name.to_owned(), (instructions, allocations));
            }
        }
    }
    table
}

const HEAD: &str =
    "# Instructions and allocations per record, by stage, as callgrind counts them: `make instructions` writes this
# anew, engine/tests/instructions.rs compares. Keyed by compiler, profile and architecture.
";

fn write_table(path: &Path, table: &BTreeMap<String, BTreeMap<String, (f64, f64)>>) {
    let mut text = HEAD.to_owned();
    for (section, stages) in table {
        text.push_str(&format!("\n[\"{section}\"]\n"));
        for (stage, (instructions, allocations)) in stages {
            text.push_str(&format!("{stage} = [{instructions:.1}, {allocations:.3}]\n"));
        }
    }
    std::fs::write(path, text).unwrap();
}

#[test]
fn stages_cost_what_the_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/instructions.toml");
    let rewrite = std::env::var_os("LOGBOOM_WRITE_INSTRUCTIONS").is_some();
    let mut table = read_table(&std::fs::read_to_string(&path).unwrap_or_default());
    let Some(key) = key() else { return eprintln!("not compared: there is no rustc to ask for its version") };
    if !rewrite && !table.contains_key(&key) {
        return eprintln!("not compared: {} has no figures for {key}; `make instructions` adds them", path.display());
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        return eprintln!("not compared: valgrind is not on this machine (`apt-get install valgrind`)");
    }
    let found = measure().unwrap();
    assert!(found.len() > 10, "{found:?}");
    if rewrite {
        table.insert(key, found);
        return write_table(&path, &table);
    }
    let mut wrong = Vec::new();
    for (stage, (instructions, allocations)) in &table[&key] {
        let Some((now, now_allocations)) = found.get(stage) else {
            wrong.push(format!("{stage} is gone"));
            continue;
        };
        if (now / instructions - 1.0).abs() > TOLERANCE {
            let change = (now / instructions - 1.0) * 100.0;
            wrong.push(format!("{stage}: {now:.1} instructions a record, {instructions:.1} before ({change:+.1} %)"));
        }
        if (now_allocations - allocations).abs() > ALLOCATIONS_SLACK {
            wrong.push(format!("{stage}: {now_allocations:.3} allocations a record, {allocations:.3} before"));
        }
    }
    assert!(wrong.is_empty(), "{}\nwhere this is meant, `make instructions` writes it down", wrong.join("\n"));
}
