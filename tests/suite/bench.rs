//! `logboom bench` when things are not as they should be: it says so, keeps what it has, and its exit code tells.

use std::path::Path;
use std::process::{Command, Output};

use crate::harness::{BINARY, Server};
use loadgen::results::Run;
use servers::{Postgres, Redis};

fn bench(out: &Path, arguments: &[&str]) -> (Output, String) {
    let output = Command::new(BINARY)
        .arg("bench")
        .args(arguments)
        .args(["--no-ceilings", "--warm-up", "0", "--seconds", "1", "--out"])
        .arg(out)
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output, said)
}

/// The run that was kept in `out`.
fn kept(out: &Path) -> Run {
    let mut folders = std::fs::read_dir(out).unwrap().flatten().filter(|entry| entry.path().join("run.json").is_file());
    let run = Run::read(&folders.next().expect("a run").path()).unwrap();
    assert!(folders.next().is_none(), "one run, one folder");
    run
}

#[test]
fn a_short_run_is_sound_and_kept() {
    let out = tempfile::tempdir().unwrap();
    let (output, said) = bench(out.path(), &["batch", "--records", "5000"]);
    assert!(output.status.success(), "{said}");
    let run = kept(out.path());
    assert!(run.complete && run.store == "embedded", "{said}");
    let records = run.reports[0].records.unwrap();
    assert!(records.stored >= 5_000 && records.stored == records.sent, "{said}");
    assert!(run.reports[0].bytes_a_record().is_some_and(|bytes| (5.0..100.0).contains(&bytes)), "{said}");
}

#[test]
fn parts_are_measured_each_for_itself() {
    let (redis, postgres) = (Redis::durable(), Postgres::start_new());
    let out = tempfile::tempdir().unwrap();
    let (redis_url, db_url) = (redis.url(), postgres.url());
    let urls = ["--redis-url", &redis_url, "--db-url", &db_url];
    let (output, said) = bench(out.path(), &[&["apart", "--records", "20000"], &urls[..]].concat());
    assert!(output.status.success(), "{said}");
    let run = kept(out.path());
    let report = &run.reports[0];
    let names = |nth: usize| report.phases[nth].cpu_of_each.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>();
    assert_eq!((names(0), names(1)), (vec!["engine", "api"], vec!["engine", "worker", "api"]), "{said}");
    assert_eq!(report.phases[0].records, report.phases[1].records, "what was filled in is drained: {said}");
    let records = report.records.unwrap();
    assert!(records.stored > 40_000 && records.stored == records.acknowledged && records.are_sound(), "{said}");

    let (output, said) = bench(&out.path().join("other"), &["apart"]);
    assert!(!output.status.success() && said.contains("--servers starts them"), "{said}");
}

/// What a run says it was measured on is what was used.
#[test]
fn a_redis_that_is_not_there_is_no_run_on_redis() {
    let out = tempfile::tempdir().unwrap();
    let (output, said) = bench(out.path(), &["fast", "--redis-url", "redis://127.0.0.1:1"]);
    assert!(!output.status.success() && said.contains("does not use redis"), "{said}");
}

#[test]
fn no_server_is_told_and_kept() {
    let out = tempfile::tempdir().unwrap();
    // Nobody listens on the port of a listener that has gone.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (output, said) = bench(out.path(), &["fast", "--url", &format!("http://{nobody}")]);
    assert!(!output.status.success() && said.contains("no answer from"), "{said}");
    assert!(kept(out.path()).reports[0].broke.is_some());
}

#[test]
fn a_rate_beyond_the_machine_is_told() {
    let server = Server::start();
    let out = tempfile::tempdir().unwrap();
    let url = format!("http://{}", server.address);
    let (output, said) = bench(out.path(), &["fast", "--url", &url, "--rate", "5000000", "--connections", "2"]);
    assert!(output.status.success(), "not an error, only no verdict: {said}");
    assert!(said.contains("were due and never sent"), "{said}");
    assert!(kept(out.path()).reports[0].phases[1].unsent > 1_000_000, "{said}");
}

#[test]
fn what_does_not_fit_is_refused_before_anything_runs() {
    let out = tempfile::tempdir().unwrap();
    let refused = [
        (&["batch", "--publish"][..], "--publish goes with `bench all`"),
        (&["query", "--target", "loki", "--url", "http://127.0.0.1:1"], "`query` asks for what loki does not have"),
        (&["batch", "--redis-url", "redis://127.0.0.1:1", "--url", "http://127.0.0.1:1"], "cannot be used with"),
        (&["fast", "--rate", "0"], "more than 0"),
    ];
    for (arguments, reason) in refused {
        let (output, said) = bench(out.path(), arguments);
        assert!(!output.status.success() && said.contains(reason), "{arguments:?}: {said}");
    }
    let file = out.path().join("file");
    std::fs::write(&file, "").unwrap();
    let (output, said) = bench(&file, &["batch"]);
    assert!(!output.status.success() && said.contains("file"), "{said}");
}

#[test]
fn a_disk_without_room_costs_the_files_and_not_the_figures() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=16k none \"$1\" || exit 77
        \"$2\" bench fast --url \"$3\" --no-ceilings --warm-up 0 --seconds 1 --out \"$1\"";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(folder.path())
        .args([BINARY, &format!("http://{}", server.address)])
        .output();
    let Ok(output) = output else { return eprintln!("not tried: there is no unshare") };
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.code() == Some(77) || said.contains("unshare failed") {
        return eprintln!("not tried: nothing may be mounted here: {said}");
    }
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot be kept") && said.contains("as JSON"), "{said}");
    assert!(said.contains("\"scenario\": \"fast\""), "{said}");
}
