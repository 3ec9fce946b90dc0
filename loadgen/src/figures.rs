//! The figures that the project's documents show: those of the newest runs in `results/`, written between two marks.
//!
//! A test holds that they are the same. Of each kind of store the newest complete run counts.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::peers::PeerFigures;
use crate::report::{Phase, QueryFigures, Report, ms, thousands};
use crate::results::{ResultsError, Run};

/// Documents, and what each shows.
pub const DOCUMENTS: [(&str, &str); 2] = [("README.md", "figures"), ("docs/PERFORMANCE_RESULTS.md", "claims")];
const NOT_YET: &str = "not measured yet";

#[derive(Debug, thiserror::Error)]
pub enum FiguresError {
    #[error(transparent)]
    Results(#[from] ResultsError),
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} has no lines `<!-- {what} -->` and `<!-- /{what} -->`", path.display())]
    Marks { path: PathBuf, what: &'static str },
    #[error("{} holds no run: `logboom bench all --publish` adds one", .0.display())]
    Empty(PathBuf),
}

/// The newest complete run of each kind of store, the embedded one first, and their folders.
pub fn newest(results: &Path) -> Result<Vec<(String, Run)>, FiguresError> {
    let wrong = |source| FiguresError::File { path: results.to_owned(), source };
    let mut runs: Vec<(String, Run)> = Vec::new();
    for entry in fs::read_dir(results).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        if !path.join("run.json").is_file() {
            continue;
        }
        let run = Run::read(&path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match runs.iter_mut().find(|(_, seen)| seen.store == run.store) {
            _ if !run.complete => {}
            Some(seen) if seen.1.date < run.date => *seen = (name, run),
            Some(_) => {}
            None => runs.push((name, run)),
        }
    }
    runs.sort_by_key(|(_, run)| (run.store != "embedded", run.store.clone()));
    if runs.is_empty() { Err(FiguresError::Empty(results.to_owned())) } else { Ok(runs) }
}

/// What stands between the marks of a document, for these runs.
pub fn text(what: &str, runs: &[(String, Run)], to_results: &str) -> String {
    match what {
        "claims" => claims(runs, to_results),
        _ => figures(runs, to_results),
    }
}

/// A document with its figures written anew; `root` is the checkout.
pub fn rewritten(
    root: &Path,
    document: &str,
    what: &'static str,
    runs: &[(String, Run)],
) -> Result<String, FiguresError> {
    let path = root.join(document);
    let old = fs::read_to_string(&path).map_err(|source| FiguresError::File { path: path.clone(), source })?;
    let (open, close) = (format!("<!-- {what} -->\n"), format!("<!-- /{what} -->"));
    let (Some(from), Some(to)) = (old.find(&open), old.find(&close)) else {
        return Err(FiguresError::Marks { path, what });
    };
    let to_results = if document.contains('/') { "../results" } else { "results" };
    let text = text(what, runs, to_results);
    Ok(format!("{}{open}\n{}\n\n{}", &old[..from], text.trim(), &old[to..]))
}

/// Writes all documents anew.
pub fn rewrite(root: &Path) -> Result<Vec<PathBuf>, FiguresError> {
    let runs = newest(&root.join("results"))?;
    let mut written = Vec::new();
    for (document, what) in DOCUMENTS {
        let text = rewritten(root, document, what, &runs)?;
        let path = root.join(document);
        fs::write(&path, text).map_err(|source| FiguresError::File { path: path.clone(), source })?;
        written.push(path);
    }
    Ok(written)
}

type Cell = fn(&Run) -> Option<String>;

const ROWS: &[(&str, Cell)] = &[
    ("batches of NDJSON, until queries find them", |run| {
        let phase = phase(run, "batch", 0)?;
        let rate = phase.found_per_second.unwrap_or(phase.per_second);
        let share_of = |name| phase.shares.iter().find(|(what, _): &&(String, f64)| what.contains(name));
        let share = share_of("copy").or_else(|| share_of("walk"));
        let share = share.map_or(String::new(), |(what, share)| format!(", {:.0} % of {what}", share * 100.0));
        Some(format!("{} records/s{share}", thousands(rate)))
    }),
    ("CPU a million of these", |run| Some(format!("{:.2} s", phase(run, "batch", 0)?.server_cpu_seconds_per_million?))),
    ("on the disk", |run| Some(format!("{:.0} bytes a record", report(run, "batch")?.bytes_a_record()?))),
    ("one record a request, into the queue", |run| Some(single(phase(run, "fast", 0)?))),
    ("one record a request, into the store", |run| Some(single(phase(run, "direct", 0)?))),
    ("lines of eleven formats, parsed", |run| {
        Some(format!("{} lines/s", thousands(phase(run, "parse", 0)?.per_second)))
    }),
    ("posted, until a viewer has it", |run| {
        let latency = &phase(run, "tail-latency", 1)?.latency_us;
        Some(format!("p50 {} ms, p99 {} ms", ms(latency.p50), ms(latency.p99)))
    }),
    ("newest 50 of level ERROR", |run| query(run, "newest 50 of level ERROR")),
    ("a rare word: 100 rows", |run| query(run, "a rare word: 100 rows")),
    ("counts by minute and level", |run| query(run, "counts by minute and level")),
];

fn figures(runs: &[(String, Run)], to_results: &str) -> String {
    let mut out = String::new();
    let stores: Vec<&str> = runs.iter().map(|(_, run)| run.store.as_str()).collect();
    out.push_str(&format!("| | {} |\n|---|{}\n", stores.join(" | "), "---|".repeat(stores.len())));
    for (what, cell) in ROWS {
        let cells: Vec<Option<String>> = runs.iter().map(|(_, run)| cell(run)).collect();
        if cells.iter().any(Option::is_some) {
            let cells: Vec<String> = cells.into_iter().map(|cell| cell.unwrap_or_else(|| "-".to_owned())).collect();
            out.push_str(&format!("| {what} | {} |\n", cells.join(" | ")));
        }
    }
    for (name, run) in runs {
        let machine = &run.machine;
        out.push_str(&format!(
            "\n{} cores ({}), shared by client and server; [{}]({to_results}/{name}/README.md), commit {}.\n",
            machine.cores, machine.cpu, run.store, run.commit
        ));
    }
    out
}

fn claims(runs: &[(String, Run)], to_results: &str) -> String {
    // The first is the embedded one, which the seed's own test is nearest to.
    let Some((name, run)) = runs.first() else { return NOT_YET.to_owned() };
    let seed = phase(run, "seed-concurrent", 0);
    let tail = phase(run, "tail-latency", 1);
    let command =
        |scenario: &str| report(run, scenario).map_or(String::new(), |report| format!("`{}`", report.command));
    let detected = report(run, "parse").map(|report| &report.detected).filter(|detected| !detected.is_empty());
    let rows: [(&str, Option<String>, String); 5] = [
        (
            "568 logs/s (1,000 logs, 10 clients)",
            seed.map(|phase| format!("{}/s", thousands(phase.per_second))),
            command("seed-concurrent"),
        ),
        (
            "3 ms",
            seed.map(|phase| format!("p50 {} ms, p99 {} ms", ms(phase.latency_us.p50), ms(phase.latency_us.p99))),
            command("seed-concurrent"),
        ),
        (
            "4 formats, 100 % detected",
            detected.map(|detected| {
                let least = detected.iter().map(|(_, share)| *share).fold(1.0, f64::min);
                format!("{} formats, {:.1} % detected at the least", detected.len(), least * 100.0)
            }),
            command("parse"),
        ),
        (
            "live in under 100 ms",
            tail.map(|phase| {
                let latency = &phase.latency_us;
                format!("p50 {} ms, p99 {} ms, at most {} ms", ms(latency.p50), ms(latency.p99), ms(latency.max))
            }),
            command("tail-latency"),
        ),
        (
            "23.6 times from development to production",
            ratios(run),
            run.peers.as_ref().map_or(String::new(), |peers| format!("`{}`", peers.command)),
        ),
    ];
    let mut out = "| the seed claims | measured | repeat it |\n|---|---|---|\n".to_owned();
    for (claim, measured, command) in rows {
        out.push_str(&format!("| {claim} | {} | {command} |\n", measured.unwrap_or_else(|| NOT_YET.to_owned())));
    }
    out.push_str(&format!("\nFrom [{name}]({to_results}/{name}/README.md), commit {}.\n", run.commit));
    if let Some(peers) = &run.peers {
        out.push_str("\nBeside others, in the same run:\n\n");
        out.push_str(&peers.markdown());
    }
    out
}

/// Rates as multiples of the Python reference's, work by work.
fn ratios(run: &Run) -> Option<String> {
    let peers = run.peers.as_ref()?;
    let of = |who: &str, work: &str| -> Option<&PeerFigures> {
        peers.figures.iter().find(|figures| figures.peer.starts_with(who) && figures.work.starts_with(work))
    };
    let works = [
        ("the seed's test", "the same test"),
        ("/data/fast", "`/data/fast`"),
        ("/data/,", "`/data/`"),
        ("/data/batch", "batches"),
    ];
    let ratios: Vec<String> = works
        .iter()
        .filter_map(|(work, name)| {
            let ratio = of("Logboom", work)?.per_second / of("Python", work)?.per_second;
            Some(format!("{name} {ratio:.1}"))
        })
        .collect();
    (!ratios.is_empty())
        .then(|| format!("times the rate of the Python reference in the same run: {}", ratios.join(", ")))
}

fn single(phase: &Phase) -> String {
    let latency = &phase.latency_us;
    format!("{} requests/s, p50 {} ms, p99 {} ms", thousands(phase.per_second), ms(latency.p50), ms(latency.p99))
}

fn query(run: &Run, name: &str) -> Option<String> {
    let of: &QueryFigures = report(run, "query")?.queries.iter().find(|query| query.name == name)?;
    Some(format!("{} ms; {} ms while records come in", ms(of.alone_us.p50), ms(of.loaded_us.p50)))
}

/// Of repeated runs the one in the middle, by its rate; of two in the middle the slower.
fn report<'a>(run: &'a Run, scenario: &str) -> Option<&'a Report> {
    let mut reports: Vec<&Report> = run.reports.iter().filter(|report| report.scenario == scenario).collect();
    let rate = |report: &Report| report.phases.first().map_or(0.0, |phase| phase.per_second);
    reports.sort_by(|a, b| rate(a).total_cmp(&rate(b)));
    reports.get(reports.len().saturating_sub(1) / 2).copied()
}

fn phase<'a>(run: &'a Run, scenario: &str, nth: usize) -> Option<&'a Phase> {
    report(run, scenario)?.phases.get(nth)
}
