//! Measures the embedded store alone: `cargo run --release -p engine --example store_speed -- DIR [ROWS] [QUESTION]`.
//!
//! With `0` rows it compacts the store that is in `DIR`, and tells how much smaller that makes it. Else it
//! generates rows (one a millisecond, in order, as a busy service writes them), flushes them 48 MiB at a time, and asks
//! the questions that people ask, each until it is warm. CPU is the whole process's, generation left out.
//!
//! In place of a question:
//!
//! - `grow` fills the store as a server does, with flushes and compaction beside, and tells at each tenth what a row costs
//!   and how much memory there is; then it opens it anew, and asks.
//! - `filters` looks for whole messages of the store, and for words that it does not hold, and tells which share of the
//!   rows was read for nothing.

use std::path::Path;
use std::time::{Duration, Instant};

use engine::queue::LogPosition;
use engine::store::parquet::{Options, ParquetStore};
use engine::store::{FacetField, Reader, Stop};
use record::filter::{Expr, Field, Number, Test};
use record::{Batch, BatchBuilder, Context, Fields, Filter, IdSource, Level, Meta, Timestamp, Zone};

/// The first row's time, in µs.
const START: i64 = 1_795_132_800_000_000;
const FLUSH_BYTES: usize = 48 << 20;

fn main() {
    let mut args = std::env::args().skip(1);
    let dir = args.next().expect("a folder to put the store in");
    let rows: u64 = args.next().map_or(1_000_000, |rows| rows.parse().expect("a number of rows"));
    if std::env::args().nth(3).is_some_and(|mode| mode == "grow") {
        return grow(Path::new(&dir), rows);
    }
    let options = Options::new(1 << 30, 1 << 30, Duration::from_secs(3600));
    let began = Instant::now();
    let (store, _) = ParquetStore::open(Path::new(&dir), options).expect("the store opens");
    println!("opened in    {:.1} ms, {} MiB of memory", began.elapsed().as_secs_f64() * 1e3, resident_mib());
    if store.status().file_rows == 0 {
        fill(&store, rows);
    } else if rows == 0 {
        report_files(&store);
        store.compact_now().expect("the compaction works");
        report_files(&store);
        return store.close();
    } else if std::env::args().nth(3).is_some_and(|mode| mode == "filters") {
        return false_positives(&store);
    }
    ask(&store);
    println!("then         {} MiB of memory", resident_mib());
    store.close();
}

fn fill(store: &ParquetStore, rows: u64) {
    let mut generator = Generator::new();
    let (mut insert, mut flush, mut flush_cpu, mut made) = (Duration::ZERO, Duration::ZERO, 0.0, 0);
    while made < rows {
        let mut batches = Vec::new();
        let mut bytes = 0;
        while bytes < FLUSH_BYTES && made < rows {
            let batch = generator.batch((rows - made).min(10_000) as usize);
            bytes += batch.frame().len();
            made += batch.len() as u64;
            batches.push(batch);
        }
        let start = Instant::now();
        for batch in &batches {
            store.insert(0, std::slice::from_ref(batch), LogPosition { segment: 0, offset: made });
        }
        insert += start.elapsed();
        drop(batches);
        let (start, cpu) = (Instant::now(), cpu_seconds());
        store.flush_now().expect("the flush works");
        flush += start.elapsed();
        flush_cpu += cpu_seconds() - cpu;
    }
    let per = |seconds: f64| seconds * 1e6 / rows as f64;
    println!("insert       {:.3} µs a row", per(insert.as_secs_f64()));
    println!("flush        {:.3} µs a row, {:.3} µs of CPU", per(flush.as_secs_f64()), per(flush_cpu));
    report_files(store);
    ask(store);
    let (start, cpu) = (Instant::now(), cpu_seconds());
    store.compact_now().expect("the compaction works");
    let (wall, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    println!("compaction   {:.3} µs a row, {:.3} µs of CPU", per(wall), per(cpu));
    report_files(store);
}

/// Fills a store as a server does, a tenth at a time.
fn grow(dir: &Path, rows: u64) {
    let mut generator = Generator::new();
    let (store, _) = ParquetStore::open(dir, Options::default()).expect("the store opens");
    let mut made = 0;
    for tenth in 1..=10 {
        let tidy_seconds = || cpu_seconds_of("store-tidy") + cpu_seconds_of("store-behind");
        let (flush, tidy, began) = (cpu_seconds_of("store"), tidy_seconds(), made);
        while made < rows * tenth / 10 {
            let batch = generator.batch((rows - made).min(10_000) as usize);
            made += batch.len() as u64;
            store.wait_for_room_blocking();
            store.insert(0, &[batch], LogPosition { segment: 0, offset: made });
        }
        let per_row = |seconds: f64| seconds * 1e6 / (made - began) as f64;
        let (flush, tidy) = (cpu_seconds_of("store") - flush, tidy_seconds() - tidy);
        println!(
            "{made:>11} rows  CPU µs a row: flush {:.3}, compaction {:.3}  {:>4} files  {:>4} MiB of memory",
            per_row(flush),
            per_row(tidy),
            store.status().files,
            resident_mib()
        );
    }
    store.flush_now().expect("the flush works");
    // One compaction begins as soon as the one before it has ended, if there is anything to do.
    let mut idle = 0;
    while idle < 20 {
        std::thread::sleep(Duration::from_millis(50));
        idle = if store.status().is_compacting { 0 } else { idle + 1 };
    }
    let totals = store.totals();
    println!(
        "compacted    {} rows in {} runs, {:.0} s",
        totals.compacted_rows, totals.compactions, totals.compaction_seconds
    );
    let tidy = cpu_seconds_of("store-tidy") + cpu_seconds_of("store-behind");
    println!(
        "             {:.3} µs of CPU a row of the store, {:.3} a row written anew",
        tidy * 1e6 / rows as f64,
        tidy * 1e6 / totals.compacted_rows as f64
    );
    report_files(&store);
    store.close();
}

/// How many rows are read that the page filters might have spared.
fn false_positives(store: &ParquetStore) {
    let stop = || Stop::after(Duration::from_secs(100));
    let total = store.status().file_rows as f64;
    let text = |text: &str| Filter { expr: Expr::Text(text.to_owned()), ..Filter::default() };
    let share = |needle: &str, found: &mut usize| {
        let page = store.page(&text(needle), 1_000, None, &stop()).expect("a page");
        *found += page.rows.count;
        page.read.rows_read as f64 / total
    };
    let show = |what: &str, mut shares: Vec<f64>, found: usize| {
        shares.sort_unstable_by(f64::total_cmp);
        let at = |part: usize| shares[(shares.len() - 1) * part / 100] * 100.0;
        println!(
            "{what:<24} {:>3} asked, {found} found; of all rows read: median {:.3} %, p90 {:.3} %, most {:.3} %",
            shares.len(),
            at(50),
            at(90),
            at(100)
        );
    };
    let absent =
        ["quagga", "zebrafish", "xylophone", "jabberwock", "kubelet-7", "fjord", "0xdeadbeefcafe", "wolverine"];
    let mut found = 0;
    let shares = absent.iter().map(|needle| share(needle, &mut found)).collect();
    show("words that none has", shares, found);
    let mut messages = Vec::new();
    for at in 1..=50 {
        let to = Some(Timestamp::clamped(START + (total as i64 * at / 51) * 1000));
        let page = store.page(&Filter { to, ..Filter::default() }, 1, None, &stop()).expect("a page");
        messages.extend(page.rows.rows().map(|row| String::from_utf8_lossy(row.message()).into_owned()));
    }
    found = 0;
    let shares = messages.iter().map(|message| share(message, &mut found)).collect();
    show("whole messages", shares, found);
}

fn report_files(store: &ParquetStore) {
    let status = store.status();
    println!("files        {}, {:.1} bytes a row", status.files, status.file_bytes as f64 / status.file_rows as f64);
}

fn ask(store: &ParquetStore) {
    let filter = |pairs: &[(&str, &str)]| {
        let mut filter = Filter::default();
        for (name, value) in pairs {
            match *name {
                "level" => filter.levels = Some(Level::from_name(value.as_bytes()).into_iter().collect()),
                "source" => filter.source = Some(vec![value.to_string()]),
                "region" => {
                    filter.expr = Expr::Field {
                        field: Field::Metadata("region".to_owned()),
                        test: Test::AnyOf(vec![value.to_string()]),
                    }
                }
                "slow" => {
                    let number = Number::parse(value).expect("a number");
                    filter.expr =
                        Expr::Field { field: Field::Metadata("duration_ms".to_owned()), test: Test::Greater(number) }
                }
                "text" => filter.expr = Expr::Text(value.to_string()),
                _ => unreachable!("{name}"),
            }
        }
        filter
    };
    let stop = || Stop::after(Duration::from_secs(100));
    let page = |pairs: &[(&str, &str)], limit| {
        let page = store.page(&filter(pairs), limit, None, &stop()).expect("a page");
        format!("{} rows of {} read", page.rows.count, page.read.rows_read)
    };
    let count = |pairs: &[(&str, &str)]| store.counts(&filter(pairs), &stop()).expect("counts").total().to_string();
    let histogram = |pairs: &[(&str, &str)]| {
        store.histogram(&filter(pairs), Some(60), &stop()).expect("a histogram").buckets.len().to_string()
    };
    time("newest 50", || page(&[], 50));
    time("newest 50 ERROR", || page(&[("level", "ERROR")], 50));
    time("500 with a rare word", || page(&[("text", "quokka")], 500));
    time("count of a rare word", || count(&[("text", "quokka")]));
    let middle = Filter { to: Some(Timestamp::clamped(START + 1_234_000_000)), ..Filter::default() };
    let found = store.page(&middle, 1, None, &stop()).expect("a page");
    let phrase = found.rows.rows().next().map(|row| String::from_utf8_lossy(row.message()).into_owned());
    let phrase = phrase.unwrap_or_default();
    time("a phrase that one has", || page(&[("text", &phrase)], 50) + ": " + &phrase);
    time("region, newest 50", || page(&[("region", "eu-west-1")], 50));
    time("duration > 500, 50", || page(&[("slow", "500")], 50));
    time("per minute and level", || histogram(&[]));
    time("per minute of a source", || histogram(&[("source", "eu1-web1")]));
    time("facets of source", || {
        let facets = store.facets(&Filter::default(), &FacetField::Source, 20, &stop()).expect("facets");
        facets.values.len().to_string()
    });
    time("export", || {
        let mut json = Vec::new();
        let mut rows = 0;
        let mut sink = |piece: &engine::store::RowBuf| {
            json.clear();
            piece.rows().for_each(|row| row.write_json(&mut json));
            rows += piece.count;
            true
        };
        store.export(&Filter::default(), &stop(), &mut sink).expect("an export");
        rows.to_string()
    });
}

fn time(what: &str, mut ask: impl FnMut() -> String) {
    if std::env::args().nth(3).is_some_and(|only| !what.contains(&only)) {
        return;
    }
    let (mut best, mut best_cpu) = (f64::MAX, f64::MAX);
    let mut answer = String::new();
    let begin = Instant::now();
    for _ in 0..7 {
        let (start, cpu) = (Instant::now(), cpu_seconds());
        answer = ask();
        best = best.min(start.elapsed().as_secs_f64());
        best_cpu = best_cpu.min(cpu_seconds() - cpu);
        if begin.elapsed() > Duration::from_secs(5) {
            break;
        }
    }
    println!("{what:<24} {:>9.2} ms {:>9.2} ms of CPU   {answer}", best * 1e3, best_cpu * 1e3);
}

/// What all threads have run for, to the nanosecond.
fn cpu_seconds() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("/proc");
    let of = |task: std::io::Result<std::fs::DirEntry>| {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    };
    tasks.filter_map(of).sum::<f64>() / 1e9
}

/// The same, of the threads of one name.
fn cpu_seconds_of(name: &str) -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("/proc");
    let of = |task: std::io::Result<std::fs::DirEntry>| {
        let path = task.ok()?.path();
        let is_it = std::fs::read_to_string(path.join("comm")).ok()?.trim_end() == name;
        let text = std::fs::read_to_string(path.join("schedstat")).ok().filter(|_| is_it)?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    };
    tasks.filter_map(of).sum::<f64>() / 1e9
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).expect("a number") / 1024
}

/// Rows as a busy service writes them: 24 templates, 20 sources, 50 applications, 2 to 4 metadata keys.
struct Generator {
    ids: IdSource,
    builder: BatchBuilder,
    random: u64,
    made: u64,
}

impl Generator {
    fn new() -> Generator {
        let mut seed = 7u64;
        let random = move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            seed
        };
        Generator { ids: IdSource::new(random), builder: BatchBuilder::new(16), random: 42, made: 0 }
    }

    fn batch(&mut self, rows_max: usize) -> Batch {
        for _ in 0..rows_max.min(600) {
            self.push();
        }
        self.builder.seal().expect("a batch")
    }

    fn next(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % bound
    }

    fn push(&mut self) {
        const TEMPLATES: [&[&str]; 6] = [
            &["enter handler {p} span={h}", "lock acquired key=item:{a} waited_us={b}"],
            &[
                "cache miss for key user:{a}:profile ttl={b}s",
                "SELECT on orders returned {b} rows in {b}.{b} ms",
                "retrying idempotent call {h} backoff={b}ms",
                "connection pool size={b} idle={b} waiting=0",
            ],
            &[
                "{m} {p}/{a} {s} {b}ms from {i}",
                "user {a} logged in from {i} session={h}",
                "order {a} accepted, {b} items, payment ref {h}",
                "job {h} finished in {b} ms, {b} records written",
                "message {a} published to topic events-{b} offset {a}",
                "session {h} expired after {b} minutes idle",
                "config reloaded, {b} keys changed, revision {h}",
                "sent mail template=welcome to user {a} via smtp{b}",
            ],
            &[
                "slow query: {b}{b} ms on table orders (limit {b} rows)",
                "rate limit near for client {i}: {b} of 100",
                "disk usage at {b}% on volume data{b}",
                "deprecated header X-Api-{b} used by client {a}",
            ],
            &[
                "upstream {i}:8080 timed out after {b}000 ms, request {h}",
                "payment {a} declined: gateway code {b}",
                "failed to decode frame of {b} bytes from {i}: unexpected end",
                "unique violation on users_email_key for id {a}",
            ],
            &["out of memory: worker {b} killed, rss {a} kB", "replica {i} lost, failing over to node {b}"],
        ];
        let level = match self.next(1000) {
            0..20 => 0,
            20..200 => 1,
            200..850 => 2,
            850..950 => 3,
            950..995 => 4,
            _ => 5,
        };
        let templates = TEMPLATES[level];
        let x = self.next(1 << 31) << 1 | self.next(2);
        let mut message = String::new();
        let mut rest = templates[(x % templates.len() as u64) as usize];
        while let Some(at) = rest.find('{') {
            message.push_str(&rest[..at]);
            message.push_str(&match &rest[at + 1..at + 2] {
                "a" => (x % 1_000_003).to_string(),
                "b" => (x % 97 + 1).to_string(),
                "h" => format!("{x:08x}"),
                "i" => format!("10.{}.{}.{}", x & 3, x >> 8 & 255, x >> 16 & 255),
                "m" => ["GET", "GET", "GET", "POST", "PUT", "DELETE"][(x % 6) as usize].to_owned(),
                "p" => ["/api/v1/items", "/api/v1/orders", "/api/v2/search", "/login", "/api/v1/users/me", "/cart"]
                    [(x % 6) as usize]
                    .to_owned(),
                _ => ["200", "200", "201", "204", "301", "400", "404", "500"][(x % 8) as usize].to_owned(),
            });
            rest = &rest[at + 3..];
        }
        message.push_str(rest);
        if self.made % 10_000 == 4321 {
            message.push_str(&format!(" quokka number {} ", self.made / 10_000));
        }
        let source = format!(
            "{}-{}{}",
            ["eu1", "us2"][self.next(2) as usize],
            ["web", "api", "db", "mq", "job"][self.next(5) as usize],
            self.next(2) + 1
        );
        // The inverse of a Zipf distribution over 50 names, roughly.
        let rank = (50f64.powf(self.next(1 << 20) as f64 / (1 << 20) as f64) - 1.0) as usize;
        let application = format!(
            "{}-{}",
            ["auth", "cart", "order", "billing", "search", "user", "mail", "stock", "ship", "audit"][rank % 10],
            ["api", "worker", "gateway", "sync", "cache"][rank / 10 % 5]
        );
        let mut meta = Meta::default();
        let request = self.next(1 << 31) << 17 | self.next(1 << 17);
        meta.text("request_id", format!("{request:012x}").as_bytes());
        let regions = ["eu-west-1", "eu-north-1", "us-east-1", "us-west-2", "ap-south-1"];
        meta.text("region", regions[self.next(5) as usize].as_bytes());
        let keys = self.next(3);
        if keys > 0 {
            meta.int("duration_ms", self.next(512) as i64);
        }
        if keys > 1 {
            meta.int("user_id", self.next(1 << 17) as i64);
        }
        let timestamp = Timestamp::clamped(START + self.made as i64 * 1000);
        let fields = Fields {
            timestamp: Some(timestamp),
            level: Level::from_index(level),
            source: source.as_str().into(),
            application: application.as_str().into(),
            message: message.as_str().into(),
            meta,
        };
        let pushed = self.builder.push(&fields, &Context::new(timestamp, &Zone::UTC), &mut self.ids);
        pushed.expect("600 rows fit a batch");
        self.made += 1;
    }
}
