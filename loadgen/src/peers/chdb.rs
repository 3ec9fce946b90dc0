//! ClickHouse's engine, in process (chdb): the same lines from a local file, and the same questions.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use super::install::Tools;
use super::process::Folder;
use super::{PeerFigures, PeerQueries};
use crate::generate::Generator;

const SCRIPT: &str = "benches/peers/chdb/load.py";

#[derive(Deserialize)]
struct Said {
    version: String,
    rows: u64,
    seconds: f64,
    cpu_seconds: f64,
    peak_bytes: u64,
    disk_bytes: u64,
    questions: Vec<(String, Vec<u64>)>,
}

pub fn measure(tools: &Tools, seed: u64, records: u64) -> Result<(PeerFigures, PeerQueries), String> {
    if !Path::new(SCRIPT).is_file() {
        return Err(format!("{SCRIPT} is not here: run it in a checkout of the project"));
    }
    let venv = tools.python("chdb", &["chdb"], "chdb")?;
    let folder = Folder::new("chdb")?;
    let lines = folder.0.join("lines.ndjson");
    write_lines(&lines, seed, records).map_err(|error| format!("{}: {error}", lines.display()))?;
    let output = Command::new(venv.join("bin/python"))
        .arg(SCRIPT)
        .arg(&lines)
        .arg(folder.0.join("data"))
        .output()
        .map_err(|error| format!("{SCRIPT}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = text.lines().rev().find(|line| line.starts_with('{'));
    let Some(said) = last.and_then(|line| sonic_rs::from_str::<Said>(line).ok()) else {
        return Err(format!("it broke off: {text}{}", String::from_utf8_lossy(&output.stderr)));
    };
    let name = format!("ClickHouse {} (chdb)", said.version);
    let figures = PeerFigures {
        peer: name.clone(),
        work: "a local file of JSON lines, in process".to_owned(),
        records: said.rows,
        per_second: said.rows as f64 / said.seconds.max(1e-9),
        p50_us: None,
        p99_us: None,
        cpu_seconds_per_million: Some(said.cpu_seconds * 1e6 / said.rows.max(1) as f64),
        peak_bytes: Some(said.peak_bytes),
        bytes_a_record: Some(said.disk_bytes as f64 / said.rows.max(1) as f64),
        lost: Some(records.saturating_sub(said.rows)),
        doubled: None,
        is_batch: true,
        notes: vec!["nothing is acknowledged: the file is read as one".to_owned()],
    };
    let times = said.questions.into_iter().map(|(question, mut times)| {
        times.sort_unstable();
        (question, times.get(times.len() / 2).copied().unwrap_or(0))
    });
    Ok((figures, PeerQueries { peer: name, rows: said.rows, times_us: times.collect() }))
}

fn write_lines(path: &Path, seed: u64, records: u64) -> std::io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, fs::File::create(path)?);
    let mut generator = Generator::new(seed, 0);
    let mut line = Vec::new();
    for index in 0..records {
        line.clear();
        generator.json(index, &mut line);
        file.write_all(&line)?;
    }
    file.flush()
}
