//! A Redis that is there and takes nothing, through the whole program: the local log acknowledges until its limit, `/health`
//! says what to do, and once Redis takes batches again all of them are stored once. One that is away is in `apart`;
//! what Redis says of itself then, and workers that drain it, in `engine/src/queue/redis/tests/trouble.rs`.

use servers::{Postgres, Redis};
use sonic_rs::JsonValueTrait;

use crate::harness::{Answer, Server, text, wait_until};

/// Of a record, so that few of them fill a log: nothing that compresses to little.
const PADDING: usize = 600;
/// Records of a request.
const RECORDS: usize = 1_000;
/// The least that the settings allow.
const QUEUE: [&str; 6] = ["--shards", "1", "--segment-bytes", "4MiB", "--queue-bytes-max", "4MiB"];

/// A full Redis takes nothing new, and goes on giving.
#[test]
fn redis_is_out_of_memory() {
    let begin = |redis: &mut Redis| drop(redis.ask("CONFIG SET maxmemory 1"));
    trouble(Redis::durable(), begin, "CONFIG SET maxmemory 0", "raise it with CONFIG SET maxmemory");
}

/// A master that was made a replica forgets what it had, and is as empty as its new master by the time it takes again.
#[test]
fn redis_is_read_only() {
    let (redis, master) = (Redis::durable(), Redis::in_memory());
    redis.ask("CONFIG SET repl-diskless-sync-delay 0");
    master.ask("CONFIG SET repl-diskless-sync-delay 0");
    let begin = |redis: &mut Redis| drop(redis.ask(&format!("REPLICAOF 127.0.0.1 {}", master.port())));
    trouble(redis, begin, "REPLICAOF NO ONE", "name its master in redis_url");
}

/// One that was killed and has much to read.
#[test]
fn redis_is_loading() {
    // It answers after so many bytes that it has read.
    let redis = Redis::with(&["--loading-process-events-interval-bytes", "1024"]);
    let begin = |redis: &mut Redis| {
        let keys: Vec<String> = (0..8_000).map(|i| format!("other:{i} {}", "x".repeat(100))).collect();
        redis.ask(&format!("MSET {}", keys.join(" ")));
        redis.ask("SAVE");
        redis.kill();
        // Microseconds for each key: longer than the test takes.
        redis.add_options(&["--key-load-delay", "5000"]);
        redis.start();
    };
    trouble(redis, begin, "CONFIG SET key-load-delay 0", "loading its data");
}

/// `told`: what `/health` says of it.
fn trouble(mut redis: Redis, begin: impl FnOnce(&mut Redis), end: &str, told: &str) {
    let postgres = Postgres::start_new();
    let mut server = Server::with(&[&QUEUE[..], &["--redis-url", &redis.url(), "--db-url", &postgres.url()]].concat());
    // What is wrong, and once it is over what Redis was found to be meanwhile.
    server.expect("Redis: ");
    server.expect("the queue is full");
    let mut sent = Sent::default();
    assert_eq!(sent.post(&server).status, 202);
    wait_until("an empty queue", || server.count("") == sent.taken && depth(&server) == Some(0));

    begin(&mut redis);
    let refused = loop {
        let answer = sent.post(&server);
        if answer.status != 202 {
            break answer;
        }
        assert!(sent.taken < 100_000, "the local log has no limit");
    };
    assert!(sent.taken > 2 * RECORDS as u64, "the local log acknowledges: {}", refused.text());
    assert_eq!((refused.status, refused.code().as_str()), (429, "queue_full"), "{}", refused.text());
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(sent.post(&server).status, 429);
    let health = server.get("/health");
    let said = health.json();
    assert_eq!((health.status, text(&said, "status").as_str()), (200, "degraded"), "{}", health.text());
    let is_told = || text(&server.get("/health").json()["parts"]["redis"], "detail").contains(told);
    wait_until(told, is_told);
    assert_eq!(server.count(""), RECORDS as u64, "nothing goes around Redis");

    redis.ask(end);
    wait_until("all that was taken", || server.count("") >= sent.taken && depth(&server) == Some(0));
    wait_until("room", || sent.post(&server).status == 202);
    wait_until("good health of Redis", || !is_told());
    wait_until("the last of them", || server.count("") >= sent.taken && depth(&server) == Some(0));
    let stored = postgres.sql("SELECT count(*), count(DISTINCT metadata->'n'), sum((metadata->'n')::bigint) FROM logs");
    assert_eq!(stored, format!("{0}|{0}|{1}", sent.taken, sent.sum));
    server.stop();
}

/// Batches in Redis and in the local log.
fn depth(server: &Server) -> Option<u64> {
    let queue = server.get("/queue/status").json();
    Some(queue["depth"].as_u64()? + queue["overflow"]["depth"].as_u64()?)
}

/// What was sent, each record with a number of its own, and of those that were acknowledged how many and their sum.
#[derive(Default)]
struct Sent {
    next: u64,
    taken: u64,
    sum: u64,
}

impl Sent {
    fn post(&mut self, server: &Server) -> Answer {
        let numbers = self.next..self.next + RECORDS as u64;
        self.next = numbers.end;
        let mut random = self.next;
        let mut body = String::new();
        for n in numbers.clone() {
            let mut padding = String::new();
            while padding.len() < PADDING {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                padding.push_str(&format!("{random:x}"));
            }
            body.push_str(&format!("{{\"message\":\"{padding}\",\"n\":{n}}}\n"));
        }
        let answer = server.post("/data/batch", "application/x-ndjson", body);
        if answer.status == 202 {
            self.taken += RECORDS as u64;
            self.sum += numbers.sum::<u64>();
        }
        answer
    }
}
