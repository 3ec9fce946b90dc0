//! SIGKILL at random moments: while records come in, while rows are flushed, files compacted, old and surplus ones let go,
//! snapshots taken, while a start recovers. Every acknowledged record that retention keeps is there once afterwards, and no
//! record is there twice; a snapshot that was said to be made holds what was acknowledged before it was asked for.
//!
//! Flushes come so often that compaction always has work. Retention has it too: some records are sent a second before they
//! are too old, and the store begins with days of ballast that have to go, one after another, for what comes in.
//!
//! `ROUNDS` says how often (20), `SEED` repeats a run: it is told when a round fails.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use sonic_rs::JsonValueTrait;

use crate::harness::{Server, logboom};

const ROUNDS: u64 = 20;
const CONNECTIONS: u64 = 8;
/// Flushes every few milliseconds, and small segments, so that a kill meets them all.
const OFTEN: [&str; 6] = ["--flush-bytes", "64KiB", "--flush-age", "30ms", "--segment-bytes", "4MiB"];
/// What is older goes. Ballast is younger.
const RETAIN_SECONDS: u64 = 10 * 86_400;
/// How long before that a record is sent that is to go.
const FLEETING_SECONDS: u64 = 1;
/// Days of ballast, and the bytes of text of each: more than a day that shares a file with others.
const BALLAST_DAYS: u64 = 6;
const BALLAST_BYTES_OF_DAY: usize = 5 << 20;
/// Rounds on one folder: what they keep is less than the ballast that makes room for it.
const ROUNDS_OF_FOLDER: u64 = 20;
/// How often a round takes a snapshot: one of so many.
const SNAPSHOT_ONE_OF: u64 = 3;

/// xorshift64*: enough to choose moments with.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.max(1))
    }

    pub fn below(&mut self, max: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % max
    }
}

pub fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// What one connection sent, by its fate.
#[derive(Default)]
struct Sent {
    acknowledged: Vec<u64>,
    refused: Vec<u64>,
    /// Neither yes nor no: the server died first.
    unknown: Vec<u64>,
    /// Acknowledged or not, retention may have taken them since.
    fleeting: Vec<u64>,
}

/// What has been acknowledged so far in a round, by all connections.
type Acknowledged = Arc<Mutex<BTreeSet<u64>>>;

/// Sends until the server dies. Numbers run on in steps of [`CONNECTIONS`], so that none is sent twice.
fn send(address: SocketAddr, round: u64, first: u64, so_far: &Acknowledged) -> Sent {
    let mut sent = Sent::default();
    let Ok(mut stream) = TcpStream::connect(address) else { return sent };
    stream.set_read_timeout(Some(crate::harness::PATIENCE)).expect("a timeout");
    let mut next = first;
    let mut turn = first;
    loop {
        turn += 1;
        // Singles through both doors, batches that fit into one batch of the log and such that need several.
        let (target, count) = match turn % 5 {
            0 => ("/data/batch", 20),
            1 => ("/data/batch", 2_000),
            2 => ("/data/", 1),
            _ => ("/data/fast", 1),
        };
        let numbers: Vec<u64> = (0..count).map(|step| next + step * CONNECTIONS).collect();
        next += count * CONNECTIONS;
        let is_fleeting = turn % 7 == 3;
        let time = if is_fleeting {
            format!("\"timestamp\":{},", seconds_ago(RETAIN_SECONDS - FLEETING_SECONDS))
        } else {
            String::new()
        };
        let line =
            |number| format!("{{{time}\"message\":\"crash test\",\"source\":\"round-{round}\",\"number\":{number}}}\n");
        let body: String = numbers.iter().map(line).collect();
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).is_err() {
            sent.unknown.extend(numbers);
            return sent;
        }
        match status(&mut stream) {
            // 422: the second was over before it came.
            Some(200..=299 | 422) if is_fleeting => sent.fleeting.extend(numbers),
            Some(200..=299) => {
                so_far.lock().expect("nobody panics here").extend(&numbers);
                sent.acknowledged.extend(numbers);
            }
            Some(429) => {
                sent.refused.extend(numbers);
                std::thread::sleep(Duration::from_millis(20));
            }
            Some(_) | None => {
                sent.unknown.extend(numbers);
                return sent;
            }
        }
    }
}

/// Seconds since 1970 so long ago.
fn seconds_ago(seconds: u64) -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().expect("a clock").as_secs() - seconds
}

/// Fills a folder with days of noise; the `--retain-bytes` with which the first goes at once, and the others as more comes.
fn ballast(data: &Path, random: &mut Random) -> String {
    let server = Server::at(data, &["--flush-bytes", "1MiB"]);
    for day in 0..BALLAST_DAYS {
        let mut body = String::new();
        let time = seconds_ago((BALLAST_DAYS - day + 1) * 86_400);
        while body.len() < BALLAST_BYTES_OF_DAY {
            let noise: String = (0..500).map(|_| format!("{:016x}", random.below(u64::MAX))).collect();
            body += &format!("{{\"timestamp\":{time},\"source\":\"ballast\",\"message\":\"{noise}\"}}\n");
        }
        assert_eq!(server.post("/data/batch", "application/x-ndjson", body).status, 202);
    }
    server.stop();
    let files = std::fs::read_dir(data.join("store")).expect("a store").map(|file| file.expect("a file"));
    let files = files.filter(|file| file.path().extension().is_some_and(|ending| ending == "parquet"));
    let bytes: u64 = files.map(|file| file.metadata().expect("a file").len()).sum();
    (bytes / BALLAST_DAYS * (BALLAST_DAYS - 1)).to_string()
}

/// A snapshot that is asked for after a while: what was acknowledged by then, and the folder, if it was made.
fn snapshot(data: &Path, to: PathBuf, after: Duration, so_far: &Acknowledged) -> Option<(BTreeSet<u64>, PathBuf)> {
    std::thread::sleep(after);
    let acknowledged = so_far.lock().expect("nobody panics here").clone();
    let mut command = logboom(data.parent().expect("a parent"));
    let out = command.arg("snapshot").arg(&to).arg("--data-dir").arg(data).output().expect("the binary starts");
    out.status.success().then_some((acknowledged, to))
}

/// The status of an answer with a length, read to its end.
pub fn status(stream: &mut TcpStream) -> Option<u16> {
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let count = stream.read(&mut piece).ok().filter(|count| *count > 0)?;
        answer.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.to_ascii_lowercase().split("content-length:").nth(1)?.split("\r\n").next()?.trim().parse().ok()?;
        if body.len() >= length {
            return head.split(' ').nth(1)?.parse().ok();
        }
    }
}

/// A start that is killed before, while or after it recovers.
fn killed_start(data: &Path, flags: &[&str], after: Duration) {
    let mut command = logboom(data.parent().expect("a parent"));
    command.arg("serve").args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(data).args(flags);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
    std::thread::sleep(after);
    let _ = child.kill();
    let _ = child.wait();
}

/// How often each number is stored.
fn stored(server: &Server, query: &str) -> BTreeMap<u64, u32> {
    let mut found = BTreeMap::new();
    for line in server.get(&format!("/logs/export?format=ndjson{query}")).text().lines() {
        let number =
            sonic_rs::get(line, sonic_rs::pointer!["metadata", "number"]).ok().and_then(|value| value.as_u64());
        *found.entry(number.unwrap_or_else(|| panic!("no number in {line}"))).or_default() += 1;
    }
    found
}

#[test]
fn what_was_acknowledged_is_there_once() {
    let rounds = variable("ROUNDS").unwrap_or(ROUNDS);
    let seed =
        variable("SEED").unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().map_or(1, |now| now.as_nanos() as u64 | 1));
    let mut random = Random::new(seed);
    let mut done = Seen::default();
    while done.rounds < rounds {
        on_one_folder(rounds.min(done.rounds + ROUNDS_OF_FOLDER), seed, &mut random, &mut done);
    }
    println!("{done:?}");
    // A few rounds may miss any of it.
    if rounds >= ROUNDS {
        assert!(done.snapshots > 0, "seed {seed}: no snapshot was made");
        assert!(done.compactions > 0, "seed {seed}: nothing was compacted");
        assert!(done.expired_files > 0, "seed {seed}: retention took no file");
    }
}

/// What has happened to the rounds so far.
#[derive(Debug, Default)]
struct Seen {
    rounds: u64,
    snapshots: u64,
    compactions: u64,
    expired_files: u64,
}

impl Seen {
    /// Adds what a server that is about to end has done.
    fn count(&mut self, server: &Server) {
        let metrics = server.get("/metrics").text();
        self.compactions += metric(&metrics, "logboom_compactions_total");
        self.expired_files += metric(&metrics, "logboom_expired_files_total");
    }
}

fn on_one_folder(rounds: u64, seed: u64, random: &mut Random, done: &mut Seen) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let retain_bytes = ballast(&data, random);
    let retain = format!("{RETAIN_SECONDS}s");
    let mut flags = OFTEN.to_vec();
    flags.extend(["--retain", &retain, "--retain-bytes", &retain_bytes]);
    let mut next_number = 0;
    let mut total = 0_u64;
    while done.rounds < rounds {
        let round = done.rounds;
        let server = Server::at(&data, &flags);
        let address = server.address;
        let so_far = Acknowledged::default();
        let senders: Vec<_> = (0..CONNECTIONS)
            .map(|index| {
                let so_far = so_far.clone();
                std::thread::spawn(move || send(address, round, next_number + index, &so_far))
            })
            .collect();
        let lives = Duration::from_millis(10 + random.below(500));
        let copying = (random.below(SNAPSHOT_ONE_OF) == 0).then(|| {
            let (data, to, so_far) = (data.clone(), folder.path().join(format!("copy-{round}")), so_far.clone());
            let after = Duration::from_millis(random.below(lives.as_millis() as u64));
            std::thread::spawn(move || snapshot(&data, to, after, &so_far))
        });
        std::thread::sleep(lives);
        done.count(&server);
        server.kill();
        let mut all = Sent::default();
        for sender in senders {
            let sent = sender.join().expect("a sender does not panic");
            all.acknowledged.extend(sent.acknowledged);
            all.refused.extend(sent.refused);
            all.unknown.extend(sent.unknown);
            all.fleeting.extend(sent.fleeting);
        }
        for _ in 0..random.below(3) {
            killed_start(&data, &flags, Duration::from_millis(random.below(60)));
        }
        let context = format!("round {round} of seed {seed}");
        let sent: BTreeSet<u64> =
            [&all.acknowledged, &all.unknown, &all.fleeting].into_iter().flatten().copied().collect();
        let of_round = format!("&source=round-{round}");
        let check = |found: &BTreeMap<u64, u32>, acknowledged: &mut dyn Iterator<Item = u64>, context: &str| {
            let twice: Vec<_> = found.iter().filter(|(_, times)| **times > 1).take(10).collect();
            assert!(twice.is_empty(), "{context}: stored twice: {twice:?}");
            let lost: Vec<_> = acknowledged.filter(|number| !found.contains_key(number)).collect();
            assert!(
                lost.is_empty(),
                "{context}: {} acknowledged of {} sent are lost: {:?}…",
                lost.len(),
                sent.len(),
                &lost[..lost.len().min(10)]
            );
            let invented: Vec<_> = found.keys().filter(|number| !sent.contains(number)).take(10).collect();
            assert!(invented.is_empty(), "{context}: stored and never sent: {invented:?}");
        };
        if let Some((acknowledged, copy)) = copying.and_then(|copying| copying.join().expect("no panic")) {
            let server = Server::at(&copy, &OFTEN);
            check(&stored(&server, &of_round), &mut acknowledged.into_iter(), &format!("{context}, its snapshot"));
            done.snapshots += 1;
        }
        let server = Server::at(&data, &flags);
        let found = stored(&server, &of_round);
        check(&found, &mut all.acknowledged.iter().copied(), &context);
        let refused: Vec<_> = all.refused.iter().filter(|number| found.contains_key(number)).take(10).collect();
        assert!(refused.is_empty(), "{context}: refused and stored: {refused:?}");
        // What nothing is to take: the ballast and the fleeting ones are older than an hour.
        let young = stored(&server, &format!("{of_round}&from=-1h"));
        total += young.len() as u64;
        assert_eq!(server.count("?from=-1h"), total, "{context}: counts kept agree with rows stored");
        next_number = sent.last().map_or(next_number, |last| last / CONNECTIONS * CONNECTIONS + CONNECTIONS);
        println!("round {round}: {} acknowledged, {} stored", all.acknowledged.len(), found.len());
        done.count(&server);
        done.rounds += 1;
        if random.below(2) == 0 { server.stop() } else { server.kill() }
    }
    let server = Server::at(&data, &flags);
    let found = stored(&server, "&from=-1h");
    assert_eq!(found.len() as u64, total, "seed {seed}: earlier rounds are still there");
    assert!(found.values().all(|times| *times == 1), "seed {seed}");
}

/// A counter of `/metrics`.
fn metric(page: &str, name: &str) -> u64 {
    let line = page.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.trim().parse().ok());
    number.unwrap_or_else(|| panic!("no {name} in {page}"))
}
