//! `logboom doctor`: what on this machine is in the way, and how to mend it. Every check is a line: what was found, and
//! where it is wrong, what to do. Nothing is changed; the data folder is only touched by a probe that is removed again.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};

use crate::Failure;
use crate::config::Config;

/// Below this, a burst of a minute at full rate fills the disk.
const DISK_FREE_BYTES_MIN: u64 = 2 << 30;
/// A fdatasync slower than this bounds a lone sender to a hundred acknowledgements a second.
const SYNC_SLOW: Duration = Duration::from_millis(10);
const SYNC_ROUNDS: usize = 20;
const SYNC_BYTES: usize = 4096;
/// What a shard's ring locks besides its buffers: queues and bookkeeping.
const RING_OVERHEAD_BYTES: u64 = 512 * 1024;
/// Files that are open besides connections: segments, Parquet files, rings.
const FILES_BESIDE: u64 = 256;

/// What a check found.
enum Finding {
    Good(String),
    /// It works, and could be better.
    Note(String, String),
    /// It does not work.
    Wrong(String, String),
}
use Finding::{Good, Note, Wrong};

pub fn run(config: &Config) -> Result<ExitCode, Failure> {
    let engine = &config.settings.engine;
    let folder = existing_parent(&engine.data_dir);
    let checks: [(&str, &dyn Fn() -> Finding); 10] = [
        ("kernel", &kernel),
        ("io_uring", &|| io_uring(engine)),
        ("memlock", &|| memlock(engine)),
        ("open files", &|| open_files(engine)),
        ("data folder", &|| data_folder(&engine.data_dir, &folder)),
        ("disk space", &|| disk_space(&folder)),
        ("fdatasync", &|| sync_time(&folder)),
        ("port", &|| port(engine)),
        ("Redis", &|| redis(engine)),
        ("Postgres", &|| postgres(engine)),
    ];
    let mut out = io::stdout().lock();
    let mut wrong = 0;
    for (name, check) in checks {
        match check() {
            Good(found) => writeln!(out, "  ok    {name:12} {found}")?,
            Note(found, advice) => writeln!(out, "  note  {name:12} {found}\n                     → {advice}")?,
            Wrong(found, mend) => {
                wrong += 1;
                writeln!(out, "  WRONG {name:12} {found}\n                     → {mend}")?;
            }
        }
    }
    for warning in &config.warnings {
        writeln!(out, "  note  {:12} {warning}", "settings")?;
    }
    match wrong {
        0 => writeln!(out, "Logboom can run here.")?,
        _ => writeln!(out, "{wrong} of {} checks failed: Logboom cannot run here as it is.", checks.len())?,
    }
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn redis(config: &engine::Config) -> Finding {
    use engine::queue::redis::Target;
    let Some(url) = &config.redis_url else { return Good("not used: the local log is the queue".into()) };
    let target = match Target::parse(url) {
        Ok(target) => target,
        Err(error) => return Wrong("redis_url cannot be read".into(), error),
    };
    match on_runtime(target.inspect()) {
        Ok(Ok(found)) if found.remarks.is_empty() => Good(found.to_string()),
        Ok(Ok(found)) => Note(found.to_string(), found.remarks.join("; ")),
        Ok(Err(error)) => Wrong(format!("{} cannot be used", target.shown()), error.to_string()),
        Err(error) => Wrong("no runtime to ask with".into(), error.to_string()),
    }
}

fn postgres(config: &engine::Config) -> Finding {
    use engine::store::postgres::Target;
    let Some(url) = &config.db_url else { return Good("not used: the store is Parquet files".into()) };
    let target = match Target::parse(url) {
        Ok(target) => target,
        Err(error) => return Wrong("db_url cannot be read".into(), error),
    };
    match on_runtime(target.inspect()) {
        Ok(Ok(found)) if found.remarks().is_empty() => Good(found.to_string()),
        Ok(Ok(found)) => Note(found.to_string(), found.remarks().join("; ")),
        Ok(Err(error)) => Wrong(format!("{} cannot be used", target.shown()), error.to_string()),
        Err(error) => Wrong("no runtime to ask with".into(), error.to_string()),
    }
}

/// Asks a server; its driver wants a runtime.
fn on_runtime<T>(asking: impl Future<Output = T>) -> io::Result<T> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(asking))
}

fn kernel() -> Finding {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) < (5, 8) => Wrong(
            format!("Linux {release}"),
            "io_uring as it is used here needs Linux 5.8 or later: update the kernel".into(),
        ),
        _ => Good(format!("Linux {release}")),
    }
}

fn io_uring(config: &engine::Config) -> Finding {
    let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
    match engine::probe::ring(config.ring_bytes) {
        Ok(()) => Good("rings can be made".into()),
        Err(error) => {
            let mend = match (error.raw_os_error(), disabled.as_deref().map(str::trim)) {
                (_, Ok("2")) => "it is switched off: sysctl kernel.io_uring_disabled=0",
                (_, Ok("1")) => {
                    "it is for privileged processes: sysctl kernel.io_uring_disabled=0, or grant CAP_SYS_ADMIN"
                }
                (Some(libc::ENOSYS), _) => {
                    "the kernel, or the sandbox it runs in, has none: use one with CONFIG_IO_URING"
                }
                (Some(libc::EPERM | libc::EACCES), _) => {
                    "a seccomp filter refuses it: in Docker, --security-opt seccomp=unconfined or a profile that allows io_uring_*"
                }
                _ if error.kind() == io::ErrorKind::OutOfMemory => "raise memlock: see below",
                _ => "see `dmesg`",
            };
            Wrong(format!("a ring cannot be made: {error}"), mend.into())
        }
    }
}

fn memlock(config: &engine::Config) -> Finding {
    let need = config.shards as u64 * (config.ring_bytes as u64 + RING_OVERHEAD_BYTES);
    let limit = getrlimit(Resource::Memlock).current;
    let has = limit.map_or_else(|| "unlimited".to_owned(), |bytes| format!("{} KiB", bytes / 1024));
    let found = format!("{has} may be locked, {} shards need about {} KiB", config.shards, need / 1024);
    match limit {
        Some(limit) if limit < need => Wrong(
            found,
            "raise it: `ulimit -l unlimited`, LimitMEMLOCK=infinity in a unit, --ulimit memlock=-1 in Docker; or lower --ring-bytes"
                .into(),
        ),
        _ => Good(found),
    }
}

fn open_files(config: &engine::Config) -> Finding {
    let need = config.connections_max as u64 + FILES_BESIDE;
    let limits = getrlimit(Resource::Nofile);
    let reach = limits.maximum.unwrap_or(u64::MAX).min(config.open_files.max(limits.current.unwrap_or(u64::MAX)));
    let found = format!("{reach} can be had, {} connections need {need}", config.connections_max);
    if reach < need {
        Note(
            found,
            "raise the hard limit (LimitNOFILE= in a unit, --ulimit nofile in Docker), or lower --connections-max"
                .into(),
        )
    } else {
        Good(found)
    }
}

fn data_folder(data: &Path, existing: &Path) -> Finding {
    let shown = data.display();
    if !existing.is_dir() {
        return Wrong(
            format!("{} is not a folder", existing.display()),
            "move it away, or choose another with --data-dir".into(),
        );
    }
    match probe_write(existing, |_| Ok(())) {
        Err(error) => {
            let mend = match error.kind() {
                io::ErrorKind::ReadOnlyFilesystem => "mount it writable, or choose another folder with --data-dir",
                io::ErrorKind::PermissionDenied => "give it to this user, or choose another folder with --data-dir",
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "make room, or choose another with --data-dir"
                }
                _ => "choose another folder with --data-dir",
            };
            Wrong(format!("{shown} cannot be written: {error}"), mend.into())
        }
        Ok(()) if is_locked(data) => Note(
            format!("{shown} is in use by a running logboom"),
            "that one answers already; a second needs a folder of its own".into(),
        ),
        Ok(()) if data.exists() => Good(format!("{shown} can be written")),
        Ok(()) => Good(format!("{shown} can be made")),
    }
}

fn disk_space(folder: &Path) -> Finding {
    match rustix::fs::statvfs(folder) {
        Err(error) => Wrong(format!("cannot be told: {error}"), "choose another folder with --data-dir".into()),
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let found = format!("{:.1} GiB free at {}", free as f64 / f64::from(1 << 30), folder.display());
            if free < DISK_FREE_BYTES_MIN {
                Note(found, "little for a log store: make room, or choose another disk with --data-dir".into())
            } else {
                Good(found)
            }
        }
    }
}

fn sync_time(folder: &Path) -> Finding {
    let mut times = Vec::with_capacity(SYNC_ROUNDS);
    let tried = probe_write(folder, |file| {
        // As the local log does it: over blocks that are there already.
        file.write_all(&[0; SYNC_BYTES * SYNC_ROUNDS])?;
        file.sync_data()?;
        file.rewind()?;
        for _ in 0..SYNC_ROUNDS {
            file.write_all(&[0x55; SYNC_BYTES])?;
            let before = Instant::now();
            file.sync_data()?;
            times.push(before.elapsed());
        }
        Ok(())
    });
    if let Err(error) = tried {
        return Wrong(format!("failed: {error}"), "without it nothing can be acknowledged: check the disk".into());
    }
    times.sort();
    let (middle, worst) = (times[SYNC_ROUNDS / 2], times[SYNC_ROUNDS - 1]);
    let found = format!("{:.2} ms, at worst {:.2} ms", middle.as_secs_f64() * 1e3, worst.as_secs_f64() * 1e3);
    if middle > SYNC_SLOW {
        Note(
            found,
            "slow: every acknowledgement waits for one; another disk, or --durability flush, would be faster".into(),
        )
    } else {
        Good(found)
    }
}

fn port(config: &engine::Config) -> Finding {
    let listen = config.listen;
    match TcpListener::bind(listen) {
        Ok(_) => Good(format!("{listen} is free")),
        Err(_) if is_locked(&config.data_dir) => Good(format!("{listen} is in use, presumably by the running logboom")),
        Err(error) => {
            let mend = match error.kind() {
                io::ErrorKind::AddrInUse => "something listens there: stop it, or choose another port with --listen",
                io::ErrorKind::PermissionDenied => {
                    "ports below 1024 need CAP_NET_BIND_SERVICE: choose another with --listen"
                }
                io::ErrorKind::AddrNotAvailable => {
                    "this machine does not have that address: choose another with --listen"
                }
                _ => "choose another address with --listen",
            };
            Wrong(format!("{listen} cannot be listened on: {error}"), mend.into())
        }
    }
}

/// Whether a running process holds the folder.
fn is_locked(folder: &Path) -> bool {
    let Ok(lock) = File::open(folder.join("lock")) else { return false };
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockShared).is_err()
}

/// The folder itself, or the nearest above it that is there.
fn existing_parent(folder: &Path) -> PathBuf {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    absolute.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/")).to_owned()
}

/// Makes a file of our own, hands it over, and removes it.
fn probe_write(folder: &Path, mut act: impl FnMut(&mut File) -> io::Result<()>) -> io::Result<()> {
    let path = folder.join(format!(".logboom-doctor-{}", std::process::id()));
    let result = File::create(&path).and_then(|mut file| act(&mut file));
    let removed = std::fs::remove_file(&path);
    result.and(removed)
}
