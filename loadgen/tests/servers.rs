//! What is measured of a Redis and a Postgres, with real ones; without them the tests say so and pass.

use loadgen::ceiling::servers::{batches, copy, xadd};
use loadgen::counter::Sql;
use loadgen::generate::Generator;
use loadgen::peers::install::Tools;
use loadgen::peers::process::{Postgres, Redis};

fn tools() -> Tools {
    Tools { folder: std::env::temp_dir(), install: false }
}

fn lines() -> Vec<u8> {
    let mut generator = Generator::new(3, 0);
    let mut lines = Vec::new();
    for index in 0..2_000 {
        generator.json(index, &mut lines);
    }
    lines
}

#[test]
fn batches_hold_all_lines() {
    let lines = lines();
    let batches = batches(&[&lines[..]]);
    assert!(batches.len() > 1, "{}", batches.len());
    assert_eq!(batches.iter().map(record::Batch::len).sum::<usize>(), 2_000);
}

#[test]
fn redis_takes_the_blocks() {
    let redis = match Redis::start(&tools()) {
        Ok(redis) => redis,
        Err(reason) => return eprintln!("not tried: {reason}"),
    };
    let lines = lines();
    let rate = xadd(&redis.url, &batches(&[&lines[..]])).unwrap();
    assert!(rate > 1_000.0, "{rate}");
    let wrong = xadd(&format!("{}/99", redis.url), &batches(&[&lines[..]])).unwrap_err().to_string();
    assert!(wrong.contains("out of range"), "{wrong}");
    assert!(xadd("rediss://127.0.0.1:1", &[]).is_err());
}

#[test]
fn postgres_takes_the_rows_and_keeps_nothing() {
    let postgres = match Postgres::start(&tools()) {
        Ok(postgres) => postgres,
        Err(reason) => return eprintln!("not tried: {reason}"),
    };
    let lines = lines();
    let folder = tempfile::tempdir().unwrap();
    let rate = copy(&postgres.url, &batches(&[&lines[..]]), folder.path()).unwrap();
    assert!(rate > 1_000.0, "{rate}");
    let sql = Sql {
        psql: postgres.psql.clone(),
        url: postgres.url.clone(),
        count: "select count(*) from pg_tables where schemaname = 'public'".to_owned(),
        export: String::new(),
        bytes: String::new(),
    };
    assert_eq!(sql.number(&sql.count).unwrap(), 0, "the table is gone");
    assert!(sql.time_us("select pg_sleep(0.01)").unwrap() >= 10_000);
    assert!(sql.number("select 'x'").is_err() && sql.ask("select from nothing").is_err());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "and so is the file");
}
