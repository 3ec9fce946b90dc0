//! Measures the Postgres store alone: `cargo run --release -p engine --example postgres_copy -- [ROWS] [WRITERS]
//! [ROWS_PER_COPY] [ROUNDS] [FILE]`.
//!
//! Prepared rows (made up, or the lines of FILE, again and again) are stored by so many writers, each with batches of
//! about 800 rows; beside that, as many `psql \copy … (format binary)` load the same rows into the same tables, emptied. Both
//! take turns. The server is one of its own, so that nothing is measured but this machine.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use engine::store::postgres::{Counters, Target, Writer, WriterOptions, migrate};
use record::format::{LineParser, Mode, NotTaken};
use record::{Batch, BatchBuilder, Context, Fields, IdSource, Level, Meta, Text, Timestamp, Zone};

/// The first row's time, in µs.
const START: i64 = 1_795_132_800_000_000;
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

fn main() {
    let mut args = std::env::args().skip(1);
    let mut number = |default: usize| args.next().map_or(default, |text| text.parse().expect("a number"));
    let (rows, writers, rows_per_copy, rounds) = (number(500_000), number(2), number(10_000), number(3));
    let batches = match args.next() {
        Some(file) => from_lines(Path::new(&file), rows),
        None => made_up(rows),
    };
    let rows: usize = batches.iter().map(Batch::len).sum();
    println!("{rows} rows in {} batches, {writers} writers, {rows_per_copy} rows a COPY", batches.len());

    let server = servers::Postgres::with(&["shared_buffers=1GB", "max_wal_size=16GB", "checkpoint_timeout=1h"]);
    let target = Arc::new(Target::parse(&server.url()).expect("a URL"));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(migrate(&target)).expect("the schema");
    // To see what a table or an index costs: SQL that changes the schema first.
    if let Ok(sql) = std::env::var("SCHEMA_SQL") {
        server.sql(&sql);
    }
    // The partitions are made by the first batches, and stay.
    runtime.block_on(store(&target, &batches, 1, rows));

    let share = batches.len().div_ceil(writers);
    let files: Vec<PathBuf> = batches
        .chunks(share)
        .enumerate()
        .map(|(number, batches)| write_file(&server.folder().join(format!("rows{number}")), batches))
        .collect();
    let empty = || {
        server.sql("TRUNCATE logs, log_counts, ingested_batches");
        server.sql_as("postgres", "log_aggregation", "CHECKPOINT");
    };
    let mut best = (0.0f64, 0.0f64);
    for round in 1..=rounds {
        empty();
        let (started, cpu) = (Instant::now(), cpu_seconds());
        runtime.block_on(store(&target, &batches, writers, rows_per_copy));
        let ours = rows as f64 / started.elapsed().as_secs_f64();
        let cpu = (cpu_seconds() - cpu) / rows as f64 * 1e6;
        assert_eq!(server.sql("SELECT count(*) FROM logs"), rows.to_string());
        let counts = server.sql("SELECT count(*) FROM log_counts");
        empty();
        let started = Instant::now();
        let copies: Vec<_> = files.iter().map(|file| psql(&server.url(), file)).collect();
        for mut copy in copies {
            assert!(copy.wait().expect("psql ends").success());
        }
        let psql = rows as f64 / started.elapsed().as_secs_f64();
        println!(
            "{round}: writers {ours:.0} rows/s, {cpu:.2} CPU s a million of this process, {counts} rows of counts; \
             psql {psql:.0} rows/s; {:.0} %",
            ours / psql * 100.0
        );
        best = (best.0.max(ours), best.1.max(psql));
    }
    println!("best: {:.0} of {:.0} rows/s, {:.0} %", best.0, best.1, best.0 / best.1 * 100.0);
}

/// Each writer takes the next batches there are, as workers of one queue do.
async fn store(target: &Arc<Target>, batches: &[Batch], writers: usize, rows_per_copy: usize) {
    let counters = Arc::new(Counters::default());
    let mut groups: Vec<Vec<Batch>> = vec![Vec::new()];
    let mut rows = 0;
    for batch in batches {
        if rows + batch.len() > rows_per_copy && rows > 0 {
            groups.push(Vec::new());
            rows = 0;
        }
        rows += batch.len();
        groups.last_mut().expect("one").push(batch.clone());
    }
    let groups = Arc::new(groups);
    let next = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let tasks: Vec<_> = (0..writers)
        .map(|number| {
            let mut writer =
                Writer::new(target.clone(), &number.to_string(), WriterOptions::default(), counters.clone());
            let (groups, next) = (groups.clone(), next.clone());
            tokio::spawn(async move {
                while let Some(group) = groups.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                    writer.store(group).await.expect("stored");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic");
    }
}

fn psql(url: &str, file: &Path) -> std::process::Child {
    let copy = format!(
        "\\copy logs (part, id, timestamp, level, source, application, message, metadata) from '{}' (format binary)",
        file.display()
    );
    Command::new("psql").args(["-X", "-q", url, "-c", &copy]).stdout(Stdio::null()).spawn().expect("psql")
}

fn write_file(path: &Path, batches: &[Batch]) -> PathBuf {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).expect("a file"));
    file.write_all(HEADER).expect("room");
    for batch in batches {
        file.write_all(batch.body()).expect("room");
    }
    file.write_all(&[0xff; 2]).expect("room");
    file.flush().expect("room");
    path.to_owned()
}

fn ids() -> IdSource {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    IdSource::new(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state
    })
}

/// One a millisecond, of 20 sources and 50 applications.
fn made_up(rows: usize) -> Vec<Batch> {
    let zone = Zone::UTC;
    let context = Context::new(Timestamp::clamped(START), &zone);
    let (mut ids, mut builder, mut batches) = (ids(), BatchBuilder::new(16), Vec::new());
    for number in 0..rows {
        let source = format!("host-{:02}", number * 7 % 20);
        let application = format!("service-{:02}", number * 13 % 50);
        let message =
            format!("request {number} for /api/v1/items/{} took {} ms", number * 31 % 9_973, number * 17 % 311);
        let mut meta = Meta::default();
        meta.int("user", (number * 7 % 10_007) as i64);
        meta.text("trace", format!("{:016x}", (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)).as_bytes());
        let fields = Fields {
            timestamp: Some(Timestamp::clamped(START + number as i64 * 1_000)),
            level: Some(Level::ALL[[2, 2, 2, 1, 2, 3, 2, 2, 4, 2][number % 10]]),
            source: Text::Bytes(source.as_bytes()),
            application: Text::Bytes(application.as_bytes()),
            message: Text::Bytes(message.as_bytes()),
            meta,
        };
        push(&mut builder, &fields, &context, &mut ids, &mut batches);
    }
    batches.extend(builder.seal());
    batches
}

/// The lines of a file, as often as it takes.
fn from_lines(file: &Path, rows: usize) -> Vec<Batch> {
    let text = std::fs::read(file).expect("the file");
    let zone = Zone::UTC;
    let context = Context::new(Timestamp::clamped(START), &zone);
    let (mut ids, mut builder, mut batches) = (ids(), BatchBuilder::new(16), Vec::new());
    let mut parser = LineParser::new();
    let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).cycle().take(rows);
    for line in lines {
        if let Err(NotTaken::Full) = parser.push_line(line, Mode::Auto, &context, &mut ids, &mut builder) {
            batches.extend(builder.seal());
            parser.push_line(line, Mode::Auto, &context, &mut ids, &mut builder).expect("a line fits");
        }
    }
    batches.extend(builder.seal());
    batches
}

fn push(builder: &mut BatchBuilder, fields: &Fields, context: &Context, ids: &mut IdSource, batches: &mut Vec<Batch>) {
    if builder.push(fields, context, ids).is_err() {
        batches.extend(builder.seal());
        builder.push(fields, context, ids).expect("a line fits");
    }
}

fn cpu_seconds() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("/proc");
    let of = |task: std::io::Result<std::fs::DirEntry>| {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    };
    tasks.filter_map(of).sum::<f64>() / 1e9
}
