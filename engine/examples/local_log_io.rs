//! Which way of writing costs a group least: `cargo run --release -p engine --example local_log_io [FOLDER] [busy]`.
//!
//! Writes groups one after another into files that were filled with zeros, as the local log does, and prints for each way
//! and size what a group takes until it is on the disk, and the CPU time of the process (the ring's own workers are in it,
//! the kernel's are not). Rounds of all ways take turns and the median round is shown, so that a machine that is used by
//! others is unfair to all of them alike. `busy`: a thread keeps one core busy meanwhile, as a client on the same machine would.
//! The figures behind `docs/decisions/0003-local-log-io.md`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use engine::queue::local::{Durability, LocalLog, Options, Recovery};
use glommio::LocalExecutorBuilder;
use glommio::io::{BufferedFile, DmaFile, OpenOptions};
use record::{Batch, BatchBuilder, Context, Fields, IdSource, Text, Timestamp, Zone};

const SEGMENT_BYTES: u64 = 16 << 20;
const SIZES: [usize; 4] = [4 << 10, 20 << 10, 200 << 10, 1 << 20];
const ROUND: Duration = Duration::from_millis(400);
const ROUNDS: usize = 5;

#[derive(Clone, Copy, Debug)]
enum Way {
    BufferedThenSync,
    DirectThenSync,
    DirectThenBlockingSync,
    DirectDsync,
}

const WAYS: [Way; 4] = [Way::BufferedThenSync, Way::DirectThenSync, Way::DirectThenBlockingSync, Way::DirectDsync];

enum Segment {
    Buffered(BufferedFile),
    /// The same file once more, for the call that blocks.
    Direct(DmaFile, Way, std::fs::File),
}

impl Segment {
    async fn open(way: Way, path: &Path) -> io::Result<Segment> {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        Ok(match way {
            Way::BufferedThenSync => Segment::Buffered(options.buffered_open(path).await?),
            _ => {
                if let Way::DirectDsync = way {
                    options.custom_flags(libc::O_DSYNC);
                }
                let again = std::fs::File::options().write(true).open(path)?;
                Segment::Direct(options.dma_open(path).await?, way, again)
            }
        })
    }

    async fn append(&self, at: u64, group: &[u8]) -> io::Result<()> {
        match self {
            Segment::Buffered(file) => {
                file.write_at(group.to_vec(), at).await?;
                file.fdatasync().await?;
            }
            Segment::Direct(file, way, again) => {
                let mut buffer = file.alloc_dma_buffer(group.len());
                buffer.as_bytes_mut().copy_from_slice(group);
                file.write_at(buffer, at).await?;
                match way {
                    Way::DirectThenSync => file.fdatasync().await?,
                    Way::DirectThenBlockingSync => again.sync_data()?,
                    Way::BufferedThenSync | Way::DirectDsync => {}
                }
            }
        }
        Ok(())
    }

    async fn close(self) -> io::Result<()> {
        match self {
            Segment::Buffered(file) => file.close().await?,
            Segment::Direct(file, ..) => file.close().await?,
        }
        Ok(())
    }
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|t| t.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

/// One round: groups a second, p50 and p99 in µs, CPU µs a group.
async fn run(way: Way, size: usize, paths: &[PathBuf]) -> io::Result<[f64; 4]> {
    let group = vec![b'x'; size];
    let mut latencies = Vec::new();
    let (began, cpu) = (Instant::now(), cpu_seconds());
    'time: loop {
        for path in paths {
            let segment = Segment::open(way, path).await?;
            let mut at = 4096;
            while at + size as u64 <= SEGMENT_BYTES && began.elapsed() < ROUND {
                let start = Instant::now();
                segment.append(at, &group).await?;
                latencies.push(start.elapsed().as_micros() as f64);
                at += size as u64;
            }
            segment.close().await?;
            if began.elapsed() >= ROUND {
                break 'time;
            }
        }
    }
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    latencies.sort_unstable_by(f64::total_cmp);
    let count = latencies.len();
    Ok([count as f64 / seconds, latencies[count / 2], latencies[count * 99 / 100], cpu * 1e6 / count as f64])
}

fn median(rounds: &[[f64; 4]], figure: usize) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(|round| round[figure]).collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn compare(paths: &[PathBuf]) -> io::Result<()> {
    for size in SIZES {
        let mut rounds = WAYS.map(|_| Vec::new());
        for _ in 0..ROUNDS {
            for (way, rounds) in WAYS.into_iter().zip(&mut rounds) {
                rounds.push(run(way, size, paths).await?);
            }
        }
        for (way, rounds) in WAYS.into_iter().zip(&rounds) {
            println!(
                "{size:>8} {:<22} {:>6.0} groups/s  p50 {:>6.0} µs  p99 {:>6.0} µs  CPU {:>5.0} µs a group",
                format!("{way:?}"),
                median(rounds, 0),
                median(rounds, 1),
                median(rounds, 2),
                median(rounds, 3),
            );
        }
    }
    Ok(())
}

/// The local log itself, with batches of at most 190 kB: its framing and its segments' upkeep come on top. The store covers
/// everything each 64 MiB.
async fn measure_log(dir: &Path) -> io::Result<()> {
    let log = LocalLog::open(dir, 0, Recovery::default(), Options::new(Durability::Sync, u64::MAX)).await;
    let log = log.map_err(io::Error::other)?;
    let mut ids = IdSource::new(|| 0x9e37_79b9_7f4a_7c15);
    for size in SIZES {
        let mut builder = BatchBuilder::new(16);
        let message = vec![b'x'; size.min(190_000) - 200];
        let now = Timestamp::clamped(1_760_000_000_000_000);
        let group: Vec<Batch> = (0..size.div_ceil(200_000))
            .filter_map(|_| {
                let fields = Fields { message: Text::Bytes(&message), ..Fields::default() };
                builder.push(&fields, &Context::new(now, &Zone::UTC), &mut ids).ok()?;
                builder.seal()
            })
            .collect();
        let (mut latencies, mut since_release) = (Vec::new(), 0);
        let (began, cpu) = (Instant::now(), cpu_seconds());
        while began.elapsed() < ROUND * ROUNDS as u32 {
            let start = Instant::now();
            let end = log.append(&group).await.map_err(io::Error::other)?;
            latencies.push(start.elapsed().as_micros() as f64);
            since_release += size;
            if since_release > 64 << 20 {
                since_release = 0;
                log.release(end).await.map_err(io::Error::other)?;
            }
        }
        let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu);
        latencies.sort_unstable_by(f64::total_cmp);
        let count = latencies.len();
        println!(
            "{size:>8} {:<22} {:>6.0} groups/s  p50 {:>6.0} µs  p99 {:>6.0} µs  CPU {:>5.0} µs a group",
            "LocalLog",
            count as f64 / seconds,
            latencies[count / 2],
            latencies[count * 99 / 100],
            cpu * 1e6 / count as f64,
        );
    }
    Ok(())
}

fn spin(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().unwrap_or_else(|| "data/bench".to_owned());
    let busy = args.next().is_some_and(|word| word == "busy");
    std::fs::create_dir_all(&dir)?;
    let paths: Vec<_> = (0..4).map(|i| Path::new(&dir).join(format!("io-{i}.segment"))).collect();
    for path in &paths {
        let start = Instant::now();
        std::fs::write(path, vec![0; SEGMENT_BYTES as usize])?;
        std::fs::File::open(path)?.sync_all()?;
        println!("fill {} with zeros and sync: {} ms", path.display(), start.elapsed().as_millis());
    }
    static DONE: AtomicBool = AtomicBool::new(false);
    if busy {
        std::thread::spawn(|| {
            while !DONE.load(Ordering::Relaxed) {
                spin(Duration::from_millis(1));
            }
        });
    }
    let files = paths.clone();
    let log_dir = Path::new(&dir).join("log");
    let log_files = log_dir.clone();
    let handle = LocalExecutorBuilder::default().io_memory(4 << 20).spawn(move || async move {
        let result = match compare(&files).await {
            Ok(()) => measure_log(&log_dir).await,
            failed => failed,
        };
        DONE.store(true, Ordering::Relaxed);
        result
    });
    let result = handle.map_err(io::Error::from)?.join().map_err(io::Error::from)?;
    for path in &paths {
        std::fs::remove_file(path)?;
    }
    std::fs::remove_dir_all(&log_files)?;
    result
}
