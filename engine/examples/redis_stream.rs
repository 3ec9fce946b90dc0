//! What the Redis queue costs: full batches pushed and drained, beside the same blocks sent by `redis-benchmark`.
//!
//! `cargo run --release -p engine --example redis_stream -- [ROWS] [redis-server options…]`, as `2000000 --appendonly yes
//! --appendfsync always`. Starts a Redis of its own.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::queue::redis::{Consumer, Counters, PushOptions, Pusher, TakeOptions, Target};
use record::{Batch, BatchBuilder, Context, Fields, IdSource, PushError, Text, Timestamp, Zone};
use servers::Redis;

/// Calls under way at once, each of as many batches: what a few shards do.
const PUSHERS: usize = 4;
const BATCHES_A_PUSH: usize = 4;
const STREAMS: u16 = 16;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let rows: usize = arguments.next().and_then(|rows| rows.parse().ok()).unwrap_or(2_000_000);
    let options: Vec<String> = arguments.collect();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let redis = Redis::with(&options);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let target = Arc::new(Target::parse(&redis.url()).expect("a URL"));
    let found = runtime.block_on(target.inspect()).expect("it answers");
    let batches = batches(rows);
    let count = batches.iter().map(Batch::len).sum::<usize>();
    let (raw, packed) = (&batches[0].frame().len(), batches[0].pack().len());
    println!("{found}");
    println!(
        "{count} rows in {} batches, the first of {} rows, {raw} bytes, packed {packed}",
        batches.len(),
        batches[0].len()
    );

    let clock = Clock::start(&redis);
    runtime.block_on(push(&target, &batches));
    clock.tell("push", count);
    for workers in [1, 2] {
        let clock = Clock::start(&redis);
        let taken = runtime.block_on(drain(&target, workers));
        clock.tell(&format!("drain, workers {workers}"), taken);
        assert_eq!(taken, count);
        let clock = Clock::start(&redis);
        runtime.block_on(push(&target, &batches));
        clock.tell("push", count);
    }
    let clock = Clock::start(&redis);
    let sum: usize = batches.iter().map(|batch| batch.pack().len()).sum();
    clock.tell(&format!("pack alone, to {sum} bytes"), count);
    benchmark(&redis, &batches[0].pack(), batches.len(), count);
}

/// Access logs, as unlike one another as those are.
fn batches(rows: usize) -> Vec<Batch> {
    let mut seed = 7u64;
    let mut dice = move |sides: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % sides
    };
    let mut ids = IdSource::new(|| 0x1234_5678_9abc_def0);
    let mut builder = BatchBuilder::new(STREAMS);
    let mut batches = Vec::new();
    for row in 0..rows {
        let now = Timestamp::clamped(1_760_000_000_000_000 + row as i64 * 137);
        let paths = ["/index.html", "/api/v1/orders", "/api/v1/users/login", "/static/app.js", "/search?q=log"];
        let path = paths[dice(5) as usize];
        let message = format!("GET {path}?id={:x} HTTP/1.1 took {} ms", dice(1 << 32), dice(5_000));
        let source = format!("web-{:02}", dice(40));
        let meta = format!(
            "{{\"client\":\"10.{}.{}.{}\",\"status\":{},\"bytes\":{}}}",
            dice(256),
            dice(256),
            dice(256),
            [200, 200, 200, 304, 404, 500][dice(6) as usize],
            dice(100_000)
        );
        let mut fields = Fields {
            message: Text::Bytes(message.as_bytes()),
            source: Text::Bytes(source.as_bytes()),
            application: Text::Bytes(b"nginx"),
            ..Fields::default()
        };
        fields.meta.merge_object(&meta);
        let context = Context::new(now, &Zone::UTC);
        if let Err(PushError::Full) = builder.push(&fields, &context, &mut ids) {
            batches.extend(builder.seal());
            builder.push(&fields, &context, &mut ids).expect("it fits an empty batch");
        }
    }
    batches.extend(builder.seal());
    batches
}

async fn push(target: &Arc<Target>, batches: &[Batch]) {
    let options = PushOptions { timeout: Duration::from_secs(30), ..PushOptions::new(STREAMS, 0) };
    let pusher = Pusher::new(target.clone(), options, Arc::new(Counters::default()));
    let share = batches.len().div_ceil(PUSHERS);
    let pushing: Vec<_> = batches
        .chunks(share)
        .map(|share| {
            let (pusher, share) = (pusher.clone(), share.to_vec());
            tokio::spawn(async move {
                for some in share.chunks(BATCHES_A_PUSH) {
                    pusher.push(some).await.into_iter().for_each(|outcome| outcome.expect("it is in"));
                }
            })
        })
        .collect();
    for share in pushing {
        share.await.expect("no panic");
    }
}

async fn drain(target: &Arc<Target>, workers: usize) -> usize {
    let draining: Vec<_> = (0..workers)
        .map(|worker| {
            let options = TakeOptions::new(STREAMS, format!("worker-{worker}"), Duration::from_secs(30));
            let mut consumer = Consumer::new(target.clone(), options, Arc::new(Counters::default()));
            tokio::spawn(async move {
                let mut rows = 0;
                loop {
                    let taken = consumer.take(10_000, Duration::ZERO).await.expect("it answers");
                    if taken.is_empty() {
                        return rows;
                    }
                    consumer.done(&taken).await.expect("it is deleted");
                    rows += taken.iter().map(|one| one.batch.len()).sum::<usize>();
                }
            })
        })
        .collect();
    let mut rows = 0;
    for worker in draining {
        rows += worker.await.expect("no panic");
    }
    rows
}

/// The same block as often, by Redis' own program.
fn benchmark(redis: &Redis, block: &[u8], times: usize, rows: usize) {
    let clock = Clock::start(redis);
    let port = redis.port().to_string();
    let times = times.to_string();
    let mut child = Command::new("redis-benchmark")
        .args(["-p", &port, "-n", &times, "-c", "4", "-P", "4", "-q", "-x", "XADD", "bench", "*", "b"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-benchmark");
    child.stdin.take().expect("its input").write_all(block).expect("it reads");
    child.wait().expect("it ends");
    clock.tell("redis-benchmark, XADD of the first block (its own CPU is not told)", rows);
}

/// Time, and the processor time of this process and of Redis.
struct Clock<'a> {
    redis: &'a Redis,
    at: Instant,
    own: f64,
    server: f64,
}

impl Clock<'_> {
    fn start(redis: &Redis) -> Clock<'_> {
        Clock { redis, at: Instant::now(), own: cpu("self"), server: cpu(&redis.pid().to_string()) }
    }

    fn tell(self, what: &str, rows: usize) {
        // A drain ends with a second of silence, in which nothing is done.
        let silence = if what.starts_with("drain") { 1.0 } else { 0.0 };
        let seconds = self.at.elapsed().as_secs_f64() - silence;
        let million = rows as f64 / 1e6;
        let own = (cpu("self") - self.own) / million;
        let server = (cpu(&self.redis.pid().to_string()) - self.server) / million;
        println!("{what}: {:.0} rows/s; CPU s a million: {own:.2} here, {server:.2} Redis", rows as f64 / seconds);
    }
}

/// User and system time of a process, seconds: fields 14 and 15 of its `stat`, in hundredths.
fn cpu(process: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("Linux");
    let fields = stat.rsplit(") ").next().expect("its fields").split(' ');
    fields.skip(11).take(2).map(|ticks| ticks.parse::<f64>().expect("a number")).sum::<f64>() / 100.0
}
