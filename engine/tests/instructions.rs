//! Instructions and allocations per record, stage by stage: figures without noise, held to a table.
//!
//! The table, `benches/instructions.toml`, is keyed by the compiler and the profile, as other compilers make other code.
//! callgrind counts, so that nothing else on the machine matters. Without valgrind, or under a compiler that the table does
//! not have, the test says so and passes; `make instructions` writes the table anew.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering::Relaxed;

use counting::ALLOCATIONS;
use engine::http::Head;
use engine::http::head::HeadLimits;
use engine::ingest::split::LineSplitter;
use record::format::{LineParser, Mode, by_name};
use record::{BatchBuilder, Context, Filter, IdSource, Timestamp, Zone};

#[path = "../../benches/counting.rs"]
mod counting;
#[path = "../../benches/sample.rs"]
mod sample;

/// Records of a stage: enough that what a round costs by itself does not show, few enough for one batch in every format.
const RECORDS: usize = 200;
/// A change within this is none.
const TOLERANCE: f64 = 0.05;
/// Of allocations, for what is seldom: one in so many records.
const ALLOCATIONS_SLACK: f64 = 0.02;
const RESULT: &str = "stage ";

/// What callgrind looks at: it counts within these alone, and gives each its own sum.
macro_rules! counted {
    ($($stage:literal $name:ident)*) => {
        $(
            #[inline(never)]
            fn $name(round: &mut dyn FnMut()) {
                // So that no two are one for the compiler.
                black_box($stage);
                round();
            }
        )*
        const STAGES: &[(&str, &str, fn(&mut dyn FnMut()))] = &[$(($stage, stringify!($name), $name)),*];
    };
}

counted! {
    "head" counted_head
    "cut" counted_cut
    "parse_json" counted_parse_json
    "parse_docker_json" counted_parse_docker_json
    "parse_syslog_rfc5424" counted_parse_syslog_rfc5424
    "parse_syslog_rfc3164" counted_parse_syslog_rfc3164
    "parse_apache_combined" counted_parse_apache_combined
    "parse_apache_common" counted_parse_apache_common
    "parse_nginx_error" counted_parse_nginx_error
    "parse_apache_error" counted_parse_apache_error
    "parse_cri" counted_parse_cri
    "parse_logfmt" counted_parse_logfmt
    "parse_plain" counted_parse_plain
    "detect" counted_detect
    "filter_level" counted_filter_level
    "filter_word" counted_filter_word
    "filter_metadata" counted_filter_metadata
    "tail_json" counted_tail_json
    "open" counted_open
}

/// Warm, then counted.
fn stage(name: &str, mut round: impl FnMut()) {
    let (.., counted) = STAGES.iter().find(|(stage, ..)| *stage == name).expect("a stage of the list");
    round();
    let before = ALLOCATIONS.load(Relaxed);
    counted(&mut round);
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
    stage("open", || {
        black_box(record::Batch::open(black_box(batch.frame().clone())).expect("a batch"));
    });
}

/// Instructions and allocations of each stage, per record.
fn measure() -> Result<BTreeMap<String, (f64, f64)>, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let out = folder.path().join("out");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*counted_*", "--compress-strings=no"])
        .args(["--compress-pos=no", &format!("--callgrind-out-file={}", out.display())])
        .arg(std::env::current_exe().map_err(|error| error.to_string())?)
        .args(["--exact", "work", "--ignored", "--nocapture", "--test-threads=1"])
        .output()
        .map_err(|error| format!("valgrind does not start: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        return Err(format!("valgrind: {said}{}", String::from_utf8_lossy(&output.stderr)));
    }
    let counts = std::fs::read_to_string(&out).map_err(|error| format!("{}: {error}", out.display()))?;
    let mut found = BTreeMap::new();
    // The first stage stands behind the runner's own words.
    for stage in said.lines().filter_map(|line| line.split_once(RESULT)).map(|(_, rest)| rest) {
        let (name, allocations) = stage.split_once(' ').ok_or("a stage without its allocations")?;
        let allocations: f64 = allocations.trim().parse().map_err(|_| "allocations that are no number")?;
        let function = STAGES.iter().find(|(stage, ..)| *stage == name).ok_or("an unknown stage")?.1;
        let instructions = inclusive(&counts, function) as f64;
        found.insert(name.to_owned(), (instructions / RECORDS as f64, allocations / RECORDS as f64));
    }
    Ok(found)
}

/// What a function took with all that it called, from a file of callgrind's: the lines below its name are its own costs and,
/// each behind a `calls=`, what it called in all.
fn inclusive(counts: &str, function: &str) -> u64 {
    let (mut sum, mut inside) = (0, false);
    for line in counts.lines() {
        if let Some(name) = line.strip_prefix("fn=") {
            inside = name.split("::").any(|part| part == function);
        } else if inside && line.starts_with(|c: char| c.is_ascii_digit()) {
            sum += line.split(' ').nth(1).and_then(|cost| cost.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    sum
}

/// The compiler and how it was told to compile; other processors' instructions are others too.
fn key() -> Option<String> {
    let version = Command::new("rustc").arg("--version").output().ok()?;
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    (!version.is_empty()).then(|| format!("{version}, {profile}, {}{}", std::env::consts::ARCH, vectors()))
}

/// What memchr and others choose their code by, when they run.
fn vectors() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        return " with AVX2";
    }
    ""
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
# anew, engine/tests/instructions.rs compares. Keyed by compiler, profile and processor.
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
