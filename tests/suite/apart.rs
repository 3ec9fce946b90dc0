//! On real servers: Redis as the queue, Postgres as the store, all in one process and each in its own.

use std::time::Duration;

use servers::{Postgres, Redis, free_port};
use sonic_rs::{JsonContainerTrait, JsonValueTrait};

use crate::harness::{PATIENCE, Process, Server, Viewer, text, wait_until};

/// Engines look once a second who watches from other processes.
const UNTIL_WATCHED: Duration = Duration::from_secs(3);
/// What a process tells while its servers go and come.
const TOLD: [&str; 5] = ["Redis", "redis", "Postgres", "postgres", "records="];

fn lines(from: usize, count: usize) -> String {
    (from..from + count).map(|index| format!("{{\"message\":\"m{index}\",\"source\":\"s\",\"n\":{index}}}\n")).collect()
}

fn take(server: &Server, from: usize, count: usize) {
    let answer = server.post("/data/batch", "application/x-ndjson", lines(from, count));
    assert_eq!(answer.status, 202, "{}", answer.text());
}

/// Every door, every question, the tail: as on the embedded store.
fn doors_and_questions(server: &Server, watched_from_elsewhere: bool) {
    let mut viewer = Viewer::open(server, "?q=watched");
    if watched_from_elsewhere {
        std::thread::sleep(UNTIL_WATCHED);
    }
    let one = server.post("/data/", "application/json", r#"{"level":"error","message":"watched 1","k":[1,{"a":"ä"}]}"#);
    assert_eq!(one.status, 201, "{}", one.text());
    let id = text(&one.json(), "id");
    // 201: it is found.
    let found = server.get(&format!("/logs/{id}"));
    assert_eq!(found.status, 200, "{}", found.text());
    assert_eq!(text(&found.json(), "message"), "watched 1");
    assert_eq!(sonic_rs::to_string(&found.json()["metadata"]).unwrap(), r#"{"k":[1,{"a":"ä"}]}"#);
    let fast = server.post("/data/fast", "application/json", r#"{"level":"warn","message":"watched 2"}"#);
    assert_eq!(fast.status, 202, "{}", fast.text());
    take(server, 0, 3_000);
    server.wait_for_count("", 3_002);
    assert_eq!(server.count("?level_min=WARN"), 2);
    assert_eq!(server.count("?source=s"), 3_000);
    assert_eq!(server.count("?metadata.n=17"), 1);
    let page = server.get("/logs/?q=m29&limit=5").json();
    assert_eq!(page["logs"].as_array().map(|logs| logs.len()), Some(5), "{page:?}");
    assert!(page["next_cursor"].is_str());
    assert_eq!(server.get("/logs/export?format=ndjson").text().lines().count(), 3_002);
    assert_eq!(viewer.messages(2), ["watched 1", "watched 2"]);
}

#[test]
fn redis_and_postgres_in_one_process() {
    let (redis, postgres) = (Redis::durable(), Postgres::start_new());
    let server = Server::with(&["--redis-url", &redis.url(), "--db-url", &postgres.url()]);
    doors_and_questions(&server, false);
    assert_eq!(postgres.sql("SELECT count(*) FROM logs"), "3002");
    wait_until("an empty queue", || server.get("/queue/status").json()["depth"].as_u64() == Some(0));
    assert_eq!(text(&server.get("/queue/status").json(), "kind"), "redis");
    let health = server.get("/health");
    assert_eq!((health.status, text(&health.json(), "status")), (200, "ok".to_owned()), "{}", health.text());
    server.stop();
}

#[test]
fn postgres_without_redis() {
    let postgres = Postgres::start_new();
    let server = Server::with(&["--db-url", &postgres.url()]);
    doors_and_questions(&server, false);
    assert_eq!(postgres.sql("SELECT count(*), count(DISTINCT id) FROM logs"), "3002|3002");
    server.stop();
}

#[test]
fn redis_before_the_embedded_store() {
    let redis = Redis::durable();
    let server = Server::with(&["--redis-url", &redis.url()]);
    doors_and_questions(&server, false);
    wait_until("an empty queue", || server.get("/queue/status").json()["depth"].as_u64() == Some(0));
    server.stop();
}

#[test]
fn each_part_in_its_own_process() {
    let (redis, postgres) = (Redis::durable(), Postgres::start_new());
    let (redis_url, db_url) = (redis.url(), postgres.url());
    let on_both = ["--redis-url", &redis_url, "--db-url", &db_url];
    let port = free_port().to_string();
    let api_address = format!("127.0.0.1:{port}");
    let api = Process::start("api", &[&on_both[..], &["--api-listen", &api_address]].concat());
    let worker = Process::start("worker", &[&on_both[..], &["--workers", "2"]].concat());
    let engine = Server::engine(&[&on_both[..], &["--api-upstream", &api_address]].concat());
    wait_until("a sidecar", || engine.get("/stats").status == 200);
    doors_and_questions(&engine, true);
    // It is known by a name that the sidecar has not heard of.
    let named = ["--api-upstream", &api_address, "--origins", "https://logs.example"];
    let other = Server::engine(&[&on_both[..], &named].concat());
    let asked = b"GET /stats HTTP/1.1\r\nHost: logs.example\r\nConnection: close\r\n\r\n";
    assert_eq!(other.connect().ask(asked).status, 200);
    let mut past_the_engines = std::net::TcpStream::connect(&api_address).unwrap();
    std::io::Write::write_all(&mut past_the_engines, asked).unwrap();
    let answer = std::io::read_to_string(past_the_engines).unwrap();
    assert!(answer.starts_with("HTTP/1.1 421 ") && answer.contains("foreign_host"), "{answer}");
    let mut viewer = Viewer::open(&other, "?q=elsewhere");
    std::thread::sleep(UNTIL_WATCHED);
    assert_eq!(engine.post("/data/fast", "application/json", r#"{"message":"from elsewhere"}"#).status, 202);
    assert_eq!(viewer.messages(1), ["from elsewhere"]);
    other.stop();
    engine.stop();
    worker.stop();
    api.stop();
}

/// However long it lasts: what waits is on the disk.
const OUTAGE_MEMORY_MAX_KIB: u64 = 300 * 1024;

/// What comes while a server is away is taken, and stored once it is back.
fn outage(away: Duration, redis_goes: bool, postgres_goes: bool) {
    let (mut redis, mut postgres) = (Redis::durable(), Postgres::start_new());
    let mut server = Server::with(&["--redis-url", &redis.url(), "--db-url", &postgres.url()]);
    TOLD.into_iter().for_each(|told| server.expect(told));
    take(&server, 0, 1_000);
    server.wait_for_count("", 1_000);
    if redis_goes {
        redis.kill();
    }
    if postgres_goes {
        postgres.stop("immediate");
    }
    let began = std::time::Instant::now();
    let mut sent = 1_000;
    while began.elapsed() < away {
        take(&server, sent, 500);
        sent += 500;
        let health = server.get("/health");
        assert_eq!(health.status, 200, "logs can be taken: {}", health.text());
        std::thread::sleep(Duration::from_millis(50));
    }
    let health = server.get("/health").json();
    assert_eq!(text(&health, "status"), "degraded", "{health:?}");
    if postgres_goes {
        let refused = server.post("/data/", "application/json", r#"{"message":"now"}"#);
        assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")), "{}", refused.text());
        postgres.start();
    }
    if redis_goes {
        redis.start();
    }
    wait_until("all of them", || {
        let answer = server.get("/stats");
        answer.status == 200 && answer.json()["total"].as_u64() == Some(sent as u64)
    });
    assert_eq!(postgres.sql("SELECT count(*), count(DISTINCT metadata->'n') FROM logs"), format!("{sent}|{sent}"));
    wait_until("good health", || text(&server.get("/health").json(), "status") == "ok");
    assert!(began.elapsed() < away + PATIENCE);
    let peak = server.peak_memory_kib();
    assert!(peak < OUTAGE_MEMORY_MAX_KIB, "{peak} KiB");
    println!("away for {away:?}: {sent} records, all stored once; memory {peak} KiB at the most");
    server.stop();
}

fn outage_time() -> Duration {
    let seconds = std::env::var("OUTAGE_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(10))
}

#[test]
fn postgres_is_away() {
    outage(outage_time(), false, true);
}

#[test]
fn redis_is_away() {
    outage(outage_time(), true, false);
}

#[test]
fn both_are_away() {
    outage(outage_time(), true, true);
}

/// A server that is not there yet is waited for; the engine takes logs meanwhile.
#[test]
fn servers_that_come_later_are_waited_for() {
    let (mut redis, mut postgres) = (Redis::durable(), Postgres::start_new());
    redis.stop();
    postgres.stop("fast");
    let mut server = Server::with(&["--redis-url", &redis.url(), "--db-url", &postgres.url()]);
    TOLD.into_iter().for_each(|told| server.expect(told));
    take(&server, 0, 500);
    assert_eq!(text(&server.get("/health").json(), "status"), "degraded");
    redis.start();
    postgres.start();
    wait_until("all of them", || {
        let answer = server.get("/stats");
        answer.status == 200 && answer.json()["total"].as_u64() == Some(500)
    });
    server.stop();
}

/// A server that answers and refuses ends the start, with the mend.
#[test]
fn servers_that_refuse_end_the_start() {
    let (redis, postgres) = (Redis::with(&["--requirepass", "secret"]), Postgres::start_new());
    let db = |from: &str, to: &str| postgres.url().replace(from, to);
    postgres.sql_as(
        "postgres",
        "postgres",
        "CREATE DATABASE old OWNER log_user TEMPLATE template0 ENCODING 'SQL_ASCII'",
    );
    let wrong_auth = redis.url().replace("redis://", "redis://:wrong@");
    for (flags, told) in [
        (["--redis-url", &redis.url()], "redis"),
        (["--redis-url", &wrong_auth], "redis"),
        (["--redis-url", "http://127.0.0.1"], "redis_url"),
        (["--db-url", &db("log_aggregation", "missing")], "missing"),
        (["--db-url", &db("log_aggregation", "old")], "UTF8"),
        (["--db-url", &db("log_user:", "nobody:")], "nobody"),
        (["--db-url", "mysql://127.0.0.1/x"], "db_url"),
    ] {
        let ended = Process::run("serve", &flags);
        assert!(!ended.status.success(), "{flags:?}");
        let error = String::from_utf8_lossy(&ended.stderr).to_lowercase();
        assert!(error.contains(&told.to_lowercase()), "{flags:?}: {error}");
        assert!(!error.contains("wrong@") && !error.contains("log_password"), "a secret is told: {error}");
    }
}
