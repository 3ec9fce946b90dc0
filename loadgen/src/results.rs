//! A run as a folder: what was run, on what, the figures, the plots.
//!
//! ```text
//! <date>-<commit>-<machine>/
//!   run.json     all of it, for programs: see `Run`
//!   README.md    the figures as tables
//!   *.svg        a plot for each that has one
//! ```

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::peers::Peers;
use crate::plot;
use crate::report::{Phase, QueryFigures, Report, ms, thousands};

/// Of `run.json`; a change that old readers would misread counts it up.
pub const SCHEMA: u32 = 1;
const UNKNOWN: &str = "unknown";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    pub schema: u32,
    /// `2026-11-24T09:00:00Z`, when it began.
    pub date: String,
    /// Of the checkout that it was run in; else the version.
    pub commit: String,
    pub command: String,
    pub machine: Machine,
    /// Arguments of the server that was started, or where another one is.
    pub server: String,
    /// What it kept its logs in: `embedded`, or the servers that it used.
    #[serde(default = "embedded")]
    pub store: String,
    /// Whether all that was asked for has run: a run that ended early keeps what it had.
    #[serde(default = "yes")]
    pub complete: bool,
    /// One or more of each scenario, in the order they were run.
    pub reports: Vec<Report>,
    #[serde(default)]
    pub peers: Option<Peers>,
}

fn embedded() -> String {
    "embedded".to_owned()
}

fn yes() -> bool {
    true
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Machine {
    pub name: String,
    pub kernel: String,
    pub cpu: String,
    pub cores: usize,
    pub memory_bytes: u64,
    /// File system of the folder in which servers kept their data.
    pub disk: String,
    /// Processes that wanted to run, over a minute before the run: others' work makes figures worse.
    pub load: f64,
}

#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} is no run: {reason}", path.display())]
    Format { path: PathBuf, reason: String },
    #[error("{} has schema {found}, and this program reads {SCHEMA}", path.display())]
    Schema { path: PathBuf, found: u32 },
    #[error("a plot cannot be drawn: {0}")]
    Plot(String),
}

impl Machine {
    /// This one; `folder` is where servers keep their data.
    pub fn here(folder: &Path) -> Machine {
        let uname = rustix::system::uname();
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key));
            line.map(|line| line.trim_start_matches([' ', '\t', ':']).trim().to_owned())
        };
        let memory = field(&text("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let kib: u64 = memory.trim_end_matches(" kB").parse().unwrap_or(0);
        Machine {
            name: uname.nodename().to_string_lossy().into_owned(),
            kernel: uname.release().to_string_lossy().into_owned(),
            cpu: field(&text("/proc/cpuinfo"), "model name").unwrap_or_else(|| UNKNOWN.to_owned()),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_bytes: kib * 1024,
            disk: file_system(folder, &text("/proc/mounts")),
            load: text("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0),
        }
    }
}

/// The kind of file system that a folder is on: that of the longest mount point above it.
fn file_system(folder: &Path, mounts: &str) -> String {
    let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let above = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let (point, kind) = (fields.nth(1)?, fields.next()?);
        folder.starts_with(point).then_some((point.len(), kind))
    });
    above.max_by_key(|(length, _)| *length).map_or(UNKNOWN.to_owned(), |(_, kind)| kind.to_owned())
}

/// Of the checkout around the working folder, with a `+` where it has changes; else `version`.
pub fn commit(version: &str) -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    match git(&["rev-parse", "--short=9", "HEAD"]) {
        Some(commit) if !commit.is_empty() => {
            let clean =
                git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|changes| changes.is_empty());
            format!("{commit}{}", if clean { "" } else { "+" })
        }
        _ => format!("v{version}"),
    }
}

impl Run {
    /// Reads a run's folder, or its `run.json`.
    pub fn read(path: &Path) -> Result<Run, ResultsError> {
        let path = if path.is_dir() { path.join("run.json") } else { path.to_owned() };
        let bytes = fs::read(&path).map_err(|source| ResultsError::File { path: path.clone(), source })?;
        let schema = sonic_rs::get(&bytes[..], &["schema"]).ok().and_then(|raw| raw.as_raw_str().parse().ok());
        match schema {
            Some(SCHEMA) => {}
            Some(found) => return Err(ResultsError::Schema { path, found }),
            None => return Err(ResultsError::Format { path, reason: "it names no schema".to_owned() }),
        }
        sonic_rs::from_slice(&bytes).map_err(|error| ResultsError::Format { path, reason: error.to_string() })
    }

    /// What the folder of this run is called.
    pub fn folder_name(&self) -> String {
        let name: String = self.machine.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let date = self.date.get(..19).unwrap_or(&self.date).replace(':', "");
        format!("{date}-{}-{name}", self.commit)
    }

    /// Writes the run's folder within `out`; gives where it is.
    pub fn write(&self, out: &Path) -> Result<PathBuf, ResultsError> {
        let folder = out.join(self.folder_name());
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| ResultsError::File { path, source }
        };
        fs::create_dir_all(&folder).map_err(at(&folder))?;
        let json = sonic_rs::to_string_pretty(self)
            .map_err(|error| ResultsError::Format { path: folder.clone(), reason: error.to_string() })?;
        let mut files = vec![("run.json".to_owned(), json + "\n")];
        let mut plots = Vec::new();
        for (name, title, svg) in plot::all(self).map_err(ResultsError::Plot)? {
            plots.push((name.clone(), title));
            files.push((name, svg));
        }
        files.push(("README.md".to_owned(), self.readme(&plots)));
        for (name, text) in files {
            let path = folder.join(name);
            fs::write(&path, text).map_err(at(&path))?;
        }
        Ok(folder)
    }

    fn readme(&self, plots: &[(String, String)]) -> String {
        let mut out = String::new();
        self.write_readme(plots, &mut out).expect("a string takes whatever is written");
        out
    }

    fn write_readme(&self, plots: &[(String, String)], out: &mut String) -> std::fmt::Result {
        let Machine { name, kernel, cpu, cores, memory_bytes, disk, load } = &self.machine;
        writeln!(out, "# {}, {} on {name}\n", self.date.get(..10).unwrap_or_default(), self.commit)?;
        writeln!(out, "    {}\n", self.command)?;
        writeln!(
            out,
            "{cores} cores ({cpu}), {:.0} GiB, {disk}, Linux {kernel}; load {load:.2} before the run. Client and server \
             share the machine. CPU is seconds a million records. Server: {}.",
            *memory_bytes as f64 / (1u64 << 30) as f64,
            self.server
        )?;
        if !self.complete {
            writeln!(out, "\n**It ended before all was run**: what is missing here was not measured.")?;
        }
        for report in &self.reports {
            writeln!(out, "\n## {}\n\n{}.\n", report.scenario, report.title)?;
            if let Some(broke) = &report.broke {
                writeln!(out, "**Ended early**: {broke}. The figures are of what came before.\n")?;
            }
            write_phases(&report.phases, out)?;
            write_queries(&report.queries, out)?;
            for (plot, title) in plots.iter().filter(|(plot, _)| plot.starts_with(&format!("{}-", report.scenario))) {
                writeln!(out, "\n![{title}]({plot})")?;
            }
            if let Some(r) = &report.records {
                writeln!(
                    out,
                    "\nRecords: sent {}, acknowledged {}, refused {}, stored {}, **lost {}, doubled {}**.",
                    thousands(r.sent as f64),
                    thousands(r.acknowledged as f64),
                    thousands(r.refused as f64),
                    thousands(r.stored as f64),
                    r.lost,
                    r.doubled
                )?;
            }
            if let Some(bytes) = report.bytes_a_record() {
                writeln!(out, "\nOn the disk once all is written: {bytes:.1} bytes a record.")?;
            }
            if !report.notes.is_empty() {
                writeln!(out)?;
            }
            for note in &report.notes {
                writeln!(out, "- {note}")?;
            }
            if let Some(c) = &report.ceilings {
                writeln!(
                    out,
                    "\nCeilings in the same run: loopback {:.0} MB/s; sonic-rs walk {} records/s at {:.2} CPU s; append and \
                     fdatasync of 4 KiB {} ms, of 1 MiB {} ms (p50){}.",
                    c.loopback_megabytes_per_second,
                    thousands(c.walk_records_per_second),
                    c.walk_cpu_seconds_per_million,
                    ms(c.sync_4k_us.p50),
                    ms(c.sync_1m_us.p50),
                    [
                        ("a server that keeps nothing", c.null_requests_per_second, "requests/s"),
                        ("XADD of the same blocks", c.xadd_records_per_second, "records/s"),
                        ("two \\copy of the same rows at once", c.copy_records_per_second, "records/s"),
                    ]
                    .into_iter()
                    .filter_map(|(what, rate, unit)| Some(format!("; {what} {} {unit}", thousands(rate?))))
                    .collect::<String>()
                )?;
            }
            writeln!(out, "\nRepeat it: `{}`", report.command)?;
        }
        if let Some(peers) = &self.peers {
            writeln!(
                out,
                "\n## peers\n\nThe same records, one system after another. CPU is that of all processes of a system, until \
                 its store has all records; p50 and p99 are those of requests.\n"
            )?;
            out.push_str(&peers.markdown());
            for (plot, title) in plots.iter().filter(|(plot, _)| plot.starts_with("peers-")) {
                writeln!(out, "\n![{title}]({plot})")?;
            }
            writeln!(out, "\nRepeat it: `{}`", peers.command)?;
        }
        for (plot, title) in plots.iter().filter(|(plot, _)| plot.starts_with("cpu")) {
            writeln!(out, "\n![{title}]({plot})")?;
        }
        Ok(())
    }
}

fn write_phases(phases: &[Phase], out: &mut String) -> std::fmt::Result {
    if phases.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "| | records/s | p50 ms | p99 ms | p99.9 ms | max ms | server CPU | client CPU | peak MiB | of its ceiling |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|---|---|")?;
    for phase in phases {
        let rate = phase.found_per_second.unwrap_or(phase.per_second);
        let shares: Vec<String> =
            phase.shares.iter().map(|(what, share)| format!("{:.1} % of {what}", share * 100.0)).collect();
        let asked =
            phase.asked_per_second.map_or(String::new(), |rate| format!(", {} requests/s asked", thousands(rate)));
        let verdict =
            if phase.client_was_the_bottleneck() { " (no verdict: the client was the bottleneck)" } else { "" };
        let connections = match phase.connections {
            0 => String::new(),
            count => format!(", {count} connections"),
        };
        let latency = &phase.latency_us;
        let latencies = match phase.requests {
            0 => ["-"; 4].join(" | "),
            _ => [latency.p50, latency.p99, latency.p999, latency.max].map(ms).join(" | "),
        };
        writeln!(
            out,
            "| {}{connections}{asked}{verdict} | {} | {latencies} | {} | {:.2} | {} | {} |",
            phase.name,
            thousands(rate),
            match (phase.server_cpu_seconds_per_million, phase.each_cpu()) {
                (None, _) => "-".to_owned(),
                (Some(cpu), each) if each.is_empty() => format!("{cpu:.2}"),
                (Some(cpu), each) => format!("{cpu:.2} ({each})"),
            },
            phase.client_cpu_seconds_per_million,
            phase.server_peak_bytes.map_or("-".to_owned(), |peak| format!("{:.0}", peak as f64 / f64::from(1 << 20))),
            shares.join(", ")
        )?;
    }
    Ok(())
}

fn write_queries(queries: &[QueryFigures], out: &mut String) -> std::fmt::Result {
    if queries.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n| query | alone p50 ms | p99 | with records coming in p50 ms | p99 | answer bytes |")?;
    writeln!(out, "|---|---|---|---|---|---|")?;
    for query in queries {
        writeln!(
            out,
            "| {} (`{}`) | {} | {} | {} | {} | {} |",
            query.name,
            query.target,
            ms(query.alone_us.p50),
            ms(query.alone_us.p99),
            ms(query.loaded_us.p50),
            ms(query.loaded_us.p99),
            query.answer_bytes
        )?;
    }
    Ok(())
}
