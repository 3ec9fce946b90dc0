//! Other log systems under the same load, one after another, in one table.
//!
//! Each is started for a work, loaded, asked which records it has, and stopped. What this machine has not, or what does not
//! start, is absent with the reason; no figure is taken from elsewhere.
//!
//! | file | what |
//! |---|---|
//! | `baseline.rs` | the Python reference of `benches/peers/fastapi-baseline` |
//! | `syslog.rs` | rsyslog and syslog-ng |
//! | `chdb.rs` | ClickHouse's engine, in process |
//! | `install.rs`, `process.rs` | finding programs, fetching what may be fetched, starting and stopping |

mod baseline;
mod chdb;
pub mod install;
pub mod process;
mod syslog;

use std::any::Any;
use std::fmt::Write;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::counter::{Counter, Sql};
use crate::generate::NEEDLE;
use crate::report::{Report, ms, thousands};
use crate::scenario::{Options, Scenario, run_on};
use crate::server::Server;
use crate::target::Target;
use install::Tools;

/// Of a work in batches; single records go by time.
const RECORDS: u64 = 500_000;
const ASKED: usize = 9;

/// All that a run found of peers.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Peers {
    pub command: String,
    pub figures: Vec<PeerFigures>,
    pub queries: Vec<PeerQueries>,
    /// What did not run, and why.
    pub absent: Vec<(String, String)>,
}

/// One kind of work of one peer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PeerFigures {
    pub peer: String,
    pub work: String,
    pub records: u64,
    /// Until its store had all of them, where that can be seen.
    pub per_second: f64,
    /// Of requests; none where there are no answers.
    pub p50_us: Option<u64>,
    pub p99_us: Option<u64>,
    /// Of all its processes, its Redis and its Postgres included.
    pub cpu_seconds_per_million: Option<f64>,
    pub peak_bytes: Option<u64>,
    pub bytes_a_record: Option<f64>,
    pub lost: Option<u64>,
    pub doubled: Option<u64>,
    /// Many records at a time.
    pub is_batch: bool,
    pub notes: Vec<String>,
}

/// The p50 of some questions about the same records.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PeerQueries {
    pub peer: String,
    pub rows: u64,
    pub times_us: Vec<(String, u64)>,
}

/// A peer that runs, and what must live as long as it does.
pub struct Peer {
    name: String,
    work: String,
    server: Server,
    keep: Vec<Box<dyn Any>>,
}

fn started(name: String, work: &str, server: Server, keep: Vec<Box<dyn Any>>) -> Peer {
    Peer { name, work: work.to_owned(), server, keep }
}

/// What is run: a name for `--only`, what it is, and how.
struct Work {
    name: &'static str,
    what: &'static str,
    scenario: Scenario,
    start: fn(&Tools, &Options) -> Result<Peer, String>,
    /// Whether it is asked questions afterwards.
    asks: bool,
}

const fn work(
    name: &'static str,
    what: &'static str,
    scenario: Scenario,
    start: fn(&Tools, &Options) -> Result<Peer, String>,
) -> Work {
    Work { name, what, scenario, start, asks: false }
}

const SEED_TEST: &str = "the seed's test: 1,000 logs, 10 clients, /data/fast";
const FAST: &str = "/data/fast, one record a request";
const DIRECT: &str = "/data/, one record a request";

const WORKS: &[Work] = &[
    work("logboom", SEED_TEST, Scenario::SeedConcurrent, |_, options| logboom(SEED_TEST, options)),
    work("logboom", FAST, Scenario::Fast, |_, options| logboom(FAST, options)),
    work("logboom", DIRECT, Scenario::Direct, |_, options| logboom(DIRECT, options)),
    Work {
        asks: true,
        ..work("logboom", "batches", Scenario::Batch, |_, options| logboom("/data/batch, 1 MiB", options))
    },
    work("baseline", SEED_TEST, Scenario::SeedConcurrent, |tools, _| {
        baseline::start(tools, SEED_TEST, Target::Baseline)
    }),
    work("baseline", FAST, Scenario::Fast, |tools, _| baseline::start(tools, FAST, Target::Baseline)),
    work("baseline", DIRECT, Scenario::Direct, |tools, _| baseline::start(tools, DIRECT, Target::Baseline)),
    work("baseline", "batches into its stream", Scenario::Batch, |tools, _| {
        baseline::start(tools, "/data/batch of 1,000, by its stream and its workers", Target::Baseline)
    }),
    Work {
        asks: true,
        ..work("baseline", "batches into Postgres", Scenario::Batch, |tools, _| {
            baseline::start(tools, "/data/batch of 1,000, straight into Postgres", Target::BaselineStore)
        })
    },
    work("rsyslog", "TCP into a file", Scenario::Batch, |tools, _| syslog::rsyslog_to_file(tools)),
    Work {
        asks: true,
        ..work("rsyslog", "TCP into Postgres", Scenario::Batch, |tools, _| syslog::rsyslog_to_postgres(tools))
    },
    work("syslog-ng", "TCP into a file", Scenario::Batch, |tools, _| syslog::syslog_ng_to_file(tools)),
    work("syslog-ng", "TCP into Postgres", Scenario::Batch, |tools, _| syslog::syslog_ng_to_postgres(tools)),
    work("url", "batches", Scenario::Batch, |_, options| at_url("batches", options)),
    work("url", "one record a request", Scenario::Fast, |_, options| at_url("one record a request", options)),
];

/// All names that `--only` knows.
pub const NAMES: [&str; 6] = ["logboom", "baseline", "rsyslog", "syslog-ng", "chdb", "url"];

fn logboom(work: &str, options: &Options) -> Result<Peer, String> {
    let server = Server::start(&options.program, &options.out, &options.server_arguments, &options.backends)
        .map_err(|error| error.to_string())?;
    Ok(started(format!("Logboom ({})", options.backends.name()), work, server, Vec::new()))
}

fn at_url(work: &str, options: &Options) -> Result<Peer, String> {
    let (authority, pid) = options.url.clone().ok_or("no --url was given")?;
    let name = Target::ALL.iter().find(|(_, target)| *target == options.target).map_or("a server", |(name, _)| name);
    Ok(started(format!("{name} at {authority}"), work, Server::at(authority, pid, options.target), Vec::new()))
}

/// Runs all of them, or those that are named; `told` is shown each as it comes.
pub fn run(tools: &Tools, options: &Options, only: &[String], mut told: impl FnMut(&str)) -> Peers {
    let mut peers = Peers::default();
    let wanted = |name: &str| only.is_empty() || only.iter().any(|of| of == name);
    // Ceilings are measured by the scenarios; a peer's rates stand beside one another.
    let options =
        Options { records: Some(options.records.unwrap_or(RECORDS)), ceilings: false, check: true, ..options.clone() };
    for work in WORKS.iter().filter(|work| wanted(work.name) && (work.name != "url" || options.url.is_some())) {
        told(&format!("{}: {}", work.name, work.what));
        match (work.start)(tools, &options) {
            Ok(peer) => measure(work, peer, &options, &mut peers, &mut told),
            Err(reason) => peers.leave_out(work.name, work.what, reason, &mut told),
        }
    }
    if wanted("chdb") {
        told("chdb: a local file");
        match chdb::measure(tools, options.seed, options.records.unwrap_or(RECORDS)) {
            Ok((figures, queries)) => {
                told(&figures.row());
                peers.figures.push(figures);
                peers.queries.push(queries);
            }
            Err(reason) => peers.leave_out("chdb", "a local file", reason, &mut told),
        }
    }
    peers
}

fn measure(work: &Work, peer: Peer, options: &Options, peers: &mut Peers, told: &mut impl FnMut(&str)) {
    let Peer { name, work: what, server, keep } = peer;
    let seeds = matches!(work.scenario, Scenario::SeedConcurrent);
    let options = Options { records: options.records.filter(|_| !seeds), url: None, ..options.clone() };
    let mut report = run_on(work.scenario, &server, &options);
    if let (true, None) = (work.asks, &report.broke) {
        match ask(&server) {
            Ok(times_us) => {
                let rows = report.records.map_or(0, |records| records.stored);
                peers.queries.push(PeerQueries { peer: format!("{name}: {what}"), rows, times_us });
            }
            Err(reason) => report.note(format!("it could not be asked: {reason}")),
        }
    }
    report.stored_bytes = server.into_stored_bytes();
    drop(keep);
    match (PeerFigures::new(name, what, work.scenario, &report), report.broke) {
        (Some(figures), None) => {
            told(&figures.row());
            peers.figures.push(figures);
        }
        (_, broke) => {
            let reason = broke.unwrap_or_else(|| "it gave no figures".to_owned());
            peers.leave_out(work.name, work.what, reason, told);
        }
    }
}

/// The p50 of each question, warm.
fn ask(server: &Server) -> Result<Vec<(String, u64)>, String> {
    let word = format!("message ilike '%{NEEDLE}%'");
    let questions = [
        (
            "newest 50 of level ERROR",
            "/logs/?level=ERROR&limit=50".to_owned(),
            "select * from logs where level = 'ERROR' order by timestamp desc limit 50".to_owned(),
        ),
        (
            "a rare word: its rows",
            format!("/logs/?q={NEEDLE}&limit=100"),
            format!("select * from logs where {word} order by timestamp desc limit 100"),
        ),
        ("a rare word: the count", format!("/stats?q={NEEDLE}"), format!("select count(*) from logs where {word}")),
        (
            "counts by minute and level",
            "/stats/histogram?interval=1m".to_owned(),
            "select date_trunc('minute', timestamp), level, count(*) from logs group by 1, 2".to_owned(),
        ),
    ];
    let mut found = Vec::new();
    for (name, path, sql) in questions {
        let mut times = Vec::new();
        for _ in 0..ASKED {
            times.push(match &server.counter {
                Counter::Sql(postgres) => Sql::time_us(postgres, &sql).map_err(|error| error.to_string())?,
                _ => {
                    let before = Instant::now();
                    server.get(&path).map_err(|error| error.to_string())?;
                    before.elapsed().as_micros() as u64
                }
            });
        }
        times.sort_unstable();
        found.push((name.to_owned(), times[times.len() / 2]));
    }
    Ok(found)
}

impl PeerFigures {
    fn new(peer: String, work: String, scenario: Scenario, report: &Report) -> Option<PeerFigures> {
        let phase = report.phases.first()?;
        let is_batch = matches!(scenario, Scenario::Batch);
        let unanswered = report.notes.iter().any(|note| note.contains("no answers"));
        Some(PeerFigures {
            peer,
            work,
            records: phase.records,
            per_second: phase.found_per_second.unwrap_or(phase.per_second),
            p50_us: (!unanswered).then_some(phase.latency_us.p50),
            p99_us: (!unanswered).then_some(phase.latency_us.p99),
            cpu_seconds_per_million: phase.server_cpu_seconds_per_million,
            peak_bytes: phase.server_peak_bytes,
            bytes_a_record: report.bytes_a_record().filter(|_| is_batch),
            lost: report.records.map(|records| records.lost),
            doubled: report.records.map(|records| records.doubled),
            is_batch,
            notes: phase
                .refusals
                .iter()
                .map(|(status, count)| format!("{count} requests were answered {status}"))
                .collect(),
        })
    }

    /// As a row of a table.
    pub fn row(&self) -> String {
        let none = || "-".to_owned();
        let time = |us: Option<u64>| us.map_or_else(none, ms);
        format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            self.peer,
            self.work,
            thousands(self.per_second),
            time(self.p50_us),
            time(self.p99_us),
            self.cpu_seconds_per_million.map_or_else(none, |cpu| format!("{cpu:.2}")),
            self.peak_bytes.map_or_else(none, |bytes| format!("{:.0}", bytes as f64 / f64::from(1 << 20))),
            self.bytes_a_record.map_or_else(none, |bytes| format!("{bytes:.1}")),
            thousands(self.records as f64),
            match (self.lost, self.doubled) {
                (Some(lost), Some(doubled)) => format!("{lost} / {doubled}"),
                (Some(lost), None) => format!("{lost} / -"),
                _ => none(),
            }
        )
    }
}

impl Peers {
    fn leave_out(&mut self, name: &str, what: &str, reason: String, told: &mut impl FnMut(&str)) {
        let reason = reason.lines().next().unwrap_or_default().to_owned();
        told(&format!("{name}, {what}: left out: {reason}"));
        self.absent.push((format!("{name}, {what}"), reason));
    }

    /// As Markdown, without a heading.
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        self.write(&mut out).expect("a string takes whatever is written");
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "| | work | records/s | p50 ms | p99 ms | CPU s/M | peak MiB | bytes a record | records | lost / doubled |"
        )?;
        writeln!(out, "|---|---|---|---|---|---|---|---|---|---|")?;
        for figures in &self.figures {
            writeln!(out, "{}", figures.row())?;
        }
        for figures in self.figures.iter().filter(|figures| !figures.notes.is_empty()) {
            writeln!(out, "\n{}, {}: {}.", figures.peer, figures.work, figures.notes.join("; "))?;
        }
        if let Some(first) = self.queries.first() {
            let names: Vec<&str> = first.times_us.iter().map(|(name, _)| name.as_str()).collect();
            writeln!(
                out,
                "\n| p50 in ms, warm | rows | {} |\n|---|---|{}",
                names.join(" | "),
                "---|".repeat(names.len())
            )?;
            for of in &self.queries {
                let times: Vec<String> = of.times_us.iter().map(|(_, us)| ms(*us)).collect();
                writeln!(out, "| {} | {} | {} |", of.peer, thousands(of.rows as f64), times.join(" | "))?;
            }
        }
        if !self.absent.is_empty() {
            writeln!(out, "\nNot run:\n")?;
        }
        for (what, reason) in &self.absent {
            writeln!(out, "- {what}: {reason}")?;
        }
        Ok(())
    }
}
