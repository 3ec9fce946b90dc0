//! Every part killed at random while numbered records flow: engine, worker, sidecar, Redis, Postgres. What was
//! acknowledged is in `logs` once afterwards, and nothing is there twice.
//!
//! `ROUNDS` says how often (4; `make crash-servers ROUNDS=200`), `SEED` repeats a run: it is told when a round fails.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use servers::{Postgres, Redis, free_port};
use sonic_rs::JsonValueTrait;

use crate::crash::{Random, status, variable};
use crate::harness::{PATIENCE, Process, Server, wait_until};

const ROUNDS: u64 = 4;
const CONNECTIONS: u64 = 4;
/// Kills in a round.
const KILLS: u64 = 5;
/// Rows are compared with everything since the table was emptied last, so that a round of many is as quick as the first. What
/// was acknowledged before that must not come again.
const EMPTIED_EACH: u64 = 10;
/// What a part tells while its servers go and come.
const TOLD: [&str; 8] = ["Redis", "redis", "Postgres", "postgres", "records=", "local log", "segment", "drain"];

#[derive(Default)]
struct Sent {
    acknowledged: Vec<u64>,
    /// Neither yes nor no.
    unknown: Vec<u64>,
}

fn where_it_is(engine: &Server) -> String {
    format!("{}\n{}", engine.get("/queue/status").text(), engine.get("/health").text())
}

/// Sends until it is told to stop, to whichever engine listens there.
fn send(address: SocketAddr, first: u64, stop: &AtomicBool) -> Sent {
    let mut sent = Sent::default();
    let mut stream: Option<TcpStream> = None;
    let mut next = first;
    let mut turn = first;
    while !stop.load(Ordering::Relaxed) {
        let Some(open) = &mut stream else {
            stream = TcpStream::connect(address).ok();
            match &stream {
                Some(stream) => stream.set_read_timeout(Some(PATIENCE)).expect("a timeout"),
                None => std::thread::sleep(Duration::from_millis(10)),
            }
            continue;
        };
        turn += 1;
        let (target, count) = match turn % 5 {
            0 => ("/data/batch", 50),
            1 => ("/data/batch", 1_500),
            2 => ("/data/", 1),
            _ => ("/data/fast", 1),
        };
        let numbers: Vec<u64> = (0..count).map(|step| next + step * CONNECTIONS).collect();
        next += count * CONNECTIONS;
        let body: String =
            numbers.iter().map(|number| format!("{{\"message\":\"crash test\",\"number\":{number}}}\n")).collect();
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let written = open.write_all(head.as_bytes()).and_then(|()| open.write_all(body.as_bytes()));
        match written.ok().and_then(|()| status(open)) {
            Some(200..=299) => sent.acknowledged.extend(numbers),
            // 503: not taken, or nobody knows.
            Some(_) => {
                sent.unknown.extend(numbers);
                std::thread::sleep(Duration::from_millis(20));
            }
            None => {
                sent.unknown.extend(numbers);
                stream = None;
            }
        }
    }
    sent
}

/// All parts of a Logboom apart.
struct Parts {
    flags: Vec<String>,
    listen: String,
    api_listen: String,
    data: std::path::PathBuf,
    engine: Option<Server>,
    worker: Option<Process>,
    api: Option<Process>,
}

impl Parts {
    fn new(redis: &Redis, postgres: &Postgres, data: &Path) -> Parts {
        let flags = ["--redis-url", &redis.url(), "--db-url", &postgres.url(), "--claim-after", "2s"];
        let mut parts = Parts {
            flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
            listen: format!("127.0.0.1:{}", free_port()),
            api_listen: format!("127.0.0.1:{}", free_port()),
            data: data.to_owned(),
            engine: None,
            worker: None,
            api: None,
        };
        parts.start_missing();
        parts
    }

    fn start_missing(&mut self) {
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        if self.api.is_none() {
            let mut api = Process::start("api", &[&flags[..], &["--api-listen", &self.api_listen]].concat());
            TOLD.iter().for_each(|told| api.expect(told));
            self.api = Some(api);
        }
        if self.worker.is_none() {
            let mut worker = Process::start("worker", &flags);
            TOLD.iter().for_each(|told| worker.expect(told));
            self.worker = Some(worker);
        }
        if self.engine.is_none() {
            let own = ["--listen", &self.listen, "--api-upstream", &self.api_listen, "--segment-bytes", "4MiB"];
            let mut engine = Server::run("engine", &self.data, &[&flags[..], &own].concat());
            TOLD.iter().for_each(|told| engine.expect(told));
            self.engine = Some(engine);
        }
    }
}

#[test]
fn what_was_acknowledged_is_in_postgres_once() {
    let rounds = variable("ROUNDS").unwrap_or(ROUNDS);
    let seed =
        variable("SEED").unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().map_or(1, |now| now.as_nanos() as u64 | 1));
    let mut random = Random::new(seed);
    let (mut redis, mut postgres) = (Redis::durable(), Postgres::start_new());
    let folder = tempfile::tempdir().unwrap();
    let mut parts = Parts::new(&redis, &postgres, &folder.path().join("data"));
    let address: SocketAddr = parts.listen.parse().unwrap();
    let (mut next_number, mut acknowledged) = (0, 0);
    let mut all = Sent::default();
    for round in 0..rounds {
        if round > 0 && round % EMPTIED_EACH == 0 {
            postgres.sql("TRUNCATE logs, log_counts");
            // One of which nobody knew may come yet.
            all.acknowledged.clear();
        }
        let context = format!("round {round} of seed {seed}");
        let stop = Arc::new(AtomicBool::new(false));
        let senders: Vec<_> = (0..CONNECTIONS)
            .map(|index| {
                let stop = stop.clone();
                std::thread::spawn(move || send(address, next_number + index, &stop))
            })
            .collect();
        for _ in 0..KILLS {
            std::thread::sleep(Duration::from_millis(20 + random.below(400)));
            match random.below(6) {
                0 => parts.engine.take().expect("it runs").kill(),
                1 => parts.worker.take().expect("it runs").kill(),
                2 => parts.api.take().expect("it runs").kill(),
                3 => redis.kill(),
                4 => postgres.stop("immediate"),
                _ => postgres.stop("fast"),
            }
            std::thread::sleep(Duration::from_millis(random.below(200)));
            if !redis.is_running() {
                redis.start();
            }
            if !postgres.is_running() {
                postgres.start();
            }
            parts.start_missing();
        }
        stop.store(true, Ordering::Relaxed);
        for sender in senders {
            let sent = sender.join().expect("a sender does not panic");
            acknowledged += sent.acknowledged.len();
            all.acknowledged.extend(sent.acknowledged);
            all.unknown.extend(sent.unknown);
        }
        let engine = parts.engine.as_ref().expect("it runs");
        // A dead worker's batches are claimed, the log is drained, Redis is empty.
        wait_until("an empty queue", || {
            let status = engine.get("/queue/status").json();
            status["depth"].as_u64() == Some(0) && status["overflow"]["depth"].as_u64() == Some(0)
        });
        let stored = || -> BTreeMap<u64, u32> {
            let stored = postgres.sql("SELECT metadata->>'number', count(*) FROM logs GROUP BY 1");
            let lines = stored.lines().filter_map(|line| line.split_once('|'));
            lines.map(|(number, times)| (number.parse().expect("a number"), times.parse().expect("a count"))).collect()
        };
        let missing = |found: &BTreeMap<u64, u32>| -> Vec<u64> {
            all.acknowledged.iter().copied().filter(|number| !found.contains_key(number)).collect()
        };
        // The status is up to a second old.
        let mut found = stored();
        let deadline = std::time::Instant::now() + PATIENCE;
        while !missing(&found).is_empty() && std::time::Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(100));
            found = stored();
        }
        let twice: Vec<_> = found.iter().filter(|(_, times)| **times > 1).take(10).collect();
        assert!(twice.is_empty(), "{context}: stored twice: {twice:?}");
        let lost = missing(&found);
        let some = &lost[..lost.len().min(10)];
        assert!(lost.is_empty(), "{context}: {} acknowledged and lost: {some:?}; {}", lost.len(), where_it_is(engine));
        let sent: BTreeSet<u64> = all.acknowledged.iter().chain(&all.unknown).copied().collect();
        let invented: Vec<_> = found.keys().filter(|number| !sent.contains(number)).take(10).collect();
        assert!(invented.is_empty(), "{context}: stored, and never sent or compared before: {invented:?}");
        next_number = sent.last().map_or(next_number, |last| last / CONNECTIONS * CONNECTIONS + CONNECTIONS);
        println!("round {round}: {acknowledged} acknowledged so far");
    }
}

/// Waits for so many rows, as long as they become more.
fn wait_for_rows(postgres: &Postgres, expected: u64) {
    let mut seen = (0, std::time::Instant::now());
    loop {
        let count: u64 = postgres.sql("SELECT count(*) FROM logs").parse().expect("a count");
        match count {
            _ if count == expected => return,
            _ if count > seen.0 => seen = (count, std::time::Instant::now()),
            _ => assert!(
                seen.1.elapsed() < PATIENCE,
                "{count} of {expected} rows, and no more for {PATIENCE:?}; Postgres is at:\n{}",
                postgres.sql(
                    "SELECT pid, application_name, state, wait_event, now() - xact_start, pg_blocking_pids(pid), left(query, 80)
                     FROM pg_stat_activity WHERE application_name LIKE 'logboom%' ORDER BY xact_start"
                )
            ),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// One of three workers is killed, one is stopped inside its COPY for longer than the claim time and goes on then: still
/// each record once, and the third goes on meanwhile.
#[test]
fn stopped_and_killed_workers_hold_nobody_up() {
    let (redis, postgres) = (Redis::durable(), Postgres::start_new());
    let (redis_url, db_url) = (redis.url(), postgres.url());
    let flags = ["--redis-url", &redis_url, "--db-url", &db_url, "--claim-after", "2s"];
    let mut engine = Server::engine(&flags);
    TOLD.iter().for_each(|told| engine.expect(told));
    let mut sent = 0;
    let mut fill = |engine: &Server| {
        let body: String = (sent..sent + 20_000).map(|n| format!("{{\"message\":\"m\",\"number\":{n}}}\n")).collect();
        sent += 20_000;
        assert_eq!(engine.post("/data/batch", "application/x-ndjson", body).status, 202);
        sent
    };
    for _ in 0..10 {
        fill(&engine);
    }
    let one_each = [&flags[..], &["--workers", "1"]].concat();
    let mut workers: Vec<Process> = (0..3).map(|_| Process::start("worker", &one_each)).collect();
    workers.iter_mut().for_each(|worker| TOLD.iter().for_each(|told| worker.expect(told)));
    let stopped = workers.remove(0);
    let copying = || {
        let pid = stopped.pid();
        let of_it = format!("application_name LIKE 'logboom/%/{pid}/%' AND state <> 'idle' AND query LIKE 'COPY%'");
        postgres.sql(&format!("SELECT count(*) FROM pg_stat_activity WHERE {of_it}")) != "0"
    };
    let deadline = std::time::Instant::now() + PATIENCE;
    while !copying() && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
        fill(&engine);
    }
    stopped.signal("STOP");
    workers.remove(0).kill();
    let sent = fill(&engine);
    // The third stores everything, what the other two held included, while one of them stands still.
    wait_for_rows(&postgres, sent);
    stopped.signal("CONT");
    let sent = fill(&engine);
    wait_for_rows(&postgres, sent);
    std::thread::sleep(Duration::from_millis(500));
    let counts = postgres.sql("SELECT count(*), count(DISTINCT metadata->'number') FROM logs");
    assert_eq!(counts, format!("{sent}|{sent}"));
    stopped.stop();
}
