//! SIGKILL at random moments: while records come in, while rows are flushed, while a start recovers. Every acknowledged
//! record is there once afterwards, and no record is there twice.
//!
//! `ROUNDS` says how often (20), `SEED` repeats a run: it is told when a round fails.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use sonic_rs::JsonValueTrait;

use crate::harness::{Server, logboom};

const ROUNDS: u64 = 20;
const CONNECTIONS: u64 = 8;
/// Flushes every few milliseconds, and small segments, so that a kill meets them all.
const OFTEN: [&str; 6] = ["--flush-bytes", "64KiB", "--flush-age", "30ms", "--segment-bytes", "4MiB"];

/// xorshift64*: enough to choose moments with.
struct Random(u64);

impl Random {
    fn below(&mut self, max: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % max
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// What one connection sent, by its fate.
#[derive(Default)]
struct Sent {
    acknowledged: Vec<u64>,
    refused: Vec<u64>,
    /// Neither yes nor no: the server died first.
    unknown: Vec<u64>,
}

/// Sends until the server dies. Numbers run on in steps of [`CONNECTIONS`], so that none is sent twice.
fn send(address: SocketAddr, round: u64, first: u64) -> Sent {
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
        let body: String = numbers
            .iter()
            .map(|number| format!("{{\"message\":\"crash test\",\"source\":\"round-{round}\",\"number\":{number}}}\n"))
            .collect();
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).is_err() {
            sent.unknown.extend(numbers);
            return sent;
        }
        match status(&mut stream) {
            Some(200..=299) => sent.acknowledged.extend(numbers),
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

/// The status of an answer with a length, read to its end.
fn status(stream: &mut TcpStream) -> Option<u16> {
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
fn killed_start(data: &Path, after: Duration) {
    let mut command = logboom(data.parent().expect("a parent"));
    command.arg("serve").args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(data).args(OFTEN);
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
    let mut random = Random(seed.max(1));
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut next_number = 0;
    let mut total = 0_u64;
    for round in 0..rounds {
        let server = Server::at(&data, &OFTEN);
        let address = server.address;
        let senders: Vec<_> = (0..CONNECTIONS)
            .map(|index| std::thread::spawn(move || send(address, round, next_number + index)))
            .collect();
        std::thread::sleep(Duration::from_millis(10 + random.below(500)));
        server.kill();
        let mut all = Sent::default();
        for sender in senders {
            let sent = sender.join().expect("a sender does not panic");
            all.acknowledged.extend(sent.acknowledged);
            all.refused.extend(sent.refused);
            all.unknown.extend(sent.unknown);
        }
        for _ in 0..random.below(3) {
            killed_start(&data, Duration::from_millis(random.below(60)));
        }
        let context = format!("round {round} of seed {seed}");
        let server = Server::at(&data, &OFTEN);
        let found = stored(&server, &format!("&source=round-{round}"));
        let twice: Vec<_> = found.iter().filter(|(_, times)| **times > 1).take(10).collect();
        assert!(twice.is_empty(), "{context}: stored twice: {twice:?}");
        let lost: Vec<_> = all.acknowledged.iter().filter(|number| !found.contains_key(number)).collect();
        assert!(
            lost.is_empty(),
            "{context}: {} of {} acknowledged are lost: {:?}…",
            lost.len(),
            all.acknowledged.len(),
            &lost[..lost.len().min(10)]
        );
        let refused: Vec<_> = all.refused.iter().filter(|number| found.contains_key(number)).take(10).collect();
        assert!(refused.is_empty(), "{context}: refused and stored: {refused:?}");
        let sent: BTreeSet<u64> = all.acknowledged.iter().chain(&all.unknown).copied().collect();
        let invented: Vec<_> = found.keys().filter(|number| !sent.contains(number)).take(10).collect();
        assert!(invented.is_empty(), "{context}: stored and never sent: {invented:?}");
        total += found.len() as u64;
        assert_eq!(server.count(""), total, "{context}: counts kept agree with rows stored");
        next_number = sent.last().map_or(next_number, |last| last / CONNECTIONS * CONNECTIONS + CONNECTIONS);
        println!("round {round}: {} acknowledged, {} stored", all.acknowledged.len(), found.len());
        if random.below(2) == 0 { server.stop() } else { server.kill() }
    }
    let server = Server::at(&data, &OFTEN);
    let found = stored(&server, "");
    assert_eq!(found.len() as u64, total, "seed {seed}: earlier rounds are still there");
    assert!(found.values().all(|times| *times == 1), "seed {seed}");
}
