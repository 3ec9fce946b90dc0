//! `logboom fsck` and `logboom snapshot`: looking after a data folder.

use std::io::Write;
use std::process::ExitCode;

use engine::upkeep;

use crate::Failure;
use crate::cli::{Fsck, Snapshot};
use crate::config::Settings;

/// A line for each file; fails where records cannot be read. With `--repair`, what was done comes first.
pub fn fsck(settings: &Settings, options: &Fsck) -> Result<ExitCode, Failure> {
    let data_dir = &settings.engine.data_dir;
    let mut out = std::io::stdout().lock();
    if options.repair {
        for done in upkeep::repair(data_dir)? {
            writeln!(out, "mended {done}")?;
        }
    }
    let findings = upkeep::check(data_dir)?;
    for found in &findings {
        let word = if found.is_lost() { "WRONG " } else { "ok    " };
        writeln!(out, "{word} {}: {}", found.path.display(), found.sentence)?;
    }
    match findings.iter().filter(|found| found.is_lost()).count() {
        0 => {
            writeln!(out, "{} is whole.", data_dir.display())?;
            Ok(ExitCode::SUCCESS)
        }
        wrong => {
            writeln!(
                out,
                "{wrong} of {} files are damaged: `logboom fsck --repair` sets the store's aside, a start the log's.",
                findings.len()
            )?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Says what is in the copy, and who made it.
pub fn snapshot(settings: &Settings, options: &Snapshot) -> Result<ExitCode, Failure> {
    let upkeep::Snapshot { copied, by_server } = upkeep::snapshot(&settings.engine, &options.folder)?;
    let mut out = std::io::stdout().lock();
    let to = options.folder.display();
    let by = if by_server { "The server that uses the folder goes on. " } else { "" };
    writeln!(
        out,
        "{by}{to} holds {} records in {} files ({} hard links), {} bytes: `logboom --data-dir {to}` starts on it.",
        copied.rows, copied.files, copied.linked, copied.bytes
    )?;
    Ok(ExitCode::SUCCESS)
}
