//! Looks a store over, and mends it. Meant for a folder that no store has open.
//!
//! - [`check`] changes nothing: it reads every file whole and compares it with what the manifest says.
//! - [`repair`] sets damaged files aside, and makes a manifest anew from the files where there is none to be read. Files
//!   tell themselves up to where they hold the log, so that nothing of it is stored twice.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use record::filter::Columns;
use record::{Id, Timestamp};

use super::disk::{Steps, sync_dir};
use super::file::DataFile;
use super::manifest::{self, FileEntry, Manifest, ManifestError};
use super::scan::Run;
use super::schema::ColumnSet;
use super::wanted::Wanted;
use super::{Covered, StoreError};
use crate::finding::{Finding, Severity};
use crate::store::{Counts, QueryError, Stop};

/// Looking up an id in one file never takes so long.
const LOOK_UP_MAX: Duration = Duration::from_secs(60);

/// Reads the whole store; changes nothing.
pub fn check(dir: &Path) -> Result<Vec<Finding>, StoreError> {
    let mut findings = Vec::new();
    let mut finding =
        |name: &str, severity, sentence| findings.push(Finding { path: dir.join(name), severity, sentence });
    let manifest = match Manifest::read(dir) {
        Ok(Some(manifest)) => {
            finding(manifest::NAME, Severity::Fine, format!("names {} files", manifest.files.len()));
            manifest
        }
        Ok(None) => {
            finding(manifest::NAME, Severity::Remark, "is not there, as in a new store".to_owned());
            Manifest::default()
        }
        Err(error) => {
            finding(manifest::NAME, Severity::Lost, error.to_string());
            Manifest::default()
        }
    };
    for entry in &manifest.files {
        match read_whole(dir, entry.clone()) {
            Ok(found) if found == *entry => {
                finding(&entry.name, Severity::Fine, format!("{} records", entry.rows));
            }
            Ok(found) if found.crc != entry.crc => {
                finding(&entry.name, Severity::Lost, format!("its checksum does not match: {} records", entry.rows));
            }
            Ok(found) => {
                let sentence = format!("holds {} records where the manifest tells of {}", found.rows, entry.rows);
                finding(&entry.name, Severity::Lost, sentence);
            }
            Err(reason) => finding(&entry.name, Severity::Lost, format!("{reason}: {} records", entry.rows)),
        }
    }
    let named: HashSet<&str> = manifest.files.iter().map(|entry| entry.name.as_str()).collect();
    for name in names(dir)? {
        if manifest::is_file_name(&name) && !named.contains(name.as_str()) {
            finding(&name, Severity::Remark, "is not in the manifest: the next start removes it".to_owned());
        } else if name.ends_with(".damaged") {
            finding(&name, Severity::Remark, "was set aside as damaged".to_owned());
        }
    }
    Ok(findings)
}

/// Up to where the files hold each shard's log, as far as there is a manifest to tell it.
pub fn covered(dir: &Path) -> Covered {
    Manifest::read(dir).ok().flatten().unwrap_or_default().covered
}

/// Mends what can be mended; tells what it did.
pub fn repair(dir: &Path) -> Result<Vec<String>, StoreError> {
    let io_error = |error| StoreError::Io { path: dir.to_owned(), error };
    let mut done = Vec::new();
    let (mut manifest, is_new) = match Manifest::read(dir) {
        Ok(manifest) => (manifest.unwrap_or_default(), false),
        Err(error @ ManifestError::UnknownVersion(_)) => {
            return Err(StoreError::Manifest { path: dir.to_owned(), error });
        }
        Err(error) => {
            done.push(format!("{error}: it is made anew from the files"));
            (manifest_of_files(dir, &mut done)?, true)
        }
    };
    let before = manifest.files.len();
    let mut kept = Vec::new();
    for entry in std::mem::take(&mut manifest.files) {
        match read_whole(dir, entry.clone()) {
            Ok(found) if found.crc == entry.crc => kept.push(found),
            other => {
                let reason = other.err().unwrap_or_else(|| "its checksum does not match".to_owned());
                set_aside(dir, &entry.name).map_err(io_error)?;
                done.push(format!("{} is set aside: {reason}: {} records", entry.name, entry.rows));
            }
        }
    }
    manifest.files = kept;
    if is_new || manifest.files.len() != before {
        manifest.write(dir, &Steps::default()).map_err(|failed| io_error(failed.error))?;
    }
    Ok(done)
}

/// Reads every row of a file and its page filters; what the manifest should say of it.
fn read_whole(dir: &Path, entry: FileEntry) -> Result<FileEntry, String> {
    let file = DataFile::open(dir, entry.clone()).map_err(|error| format!("cannot be read: {error}"))?;
    read_open(&file).map_err(|error| error.to_string())
}

fn read_open(file: &DataFile) -> Result<FileEntry, QueryError> {
    let mut found = FileEntry {
        rows: 0,
        crc: file.checksum()?,
        first: Timestamp::MAX,
        last: Timestamp::MIN,
        counts: Counts::default(),
        ..file.entry.clone()
    };
    let mut previous = Id::MIN;
    let mut in_order = true;
    file.check_filters()?;
    for group in 0..file.groups()? {
        for page in file.pages(group)? {
            let run = Run::new(&page, &Wanted::one(Id::MIN));
            file.read(run.group, &run.ranges, ColumnSet::all(file.typed()?.len()), &mut |view| {
                for row in 0..view.len() {
                    let row = view.row(row);
                    in_order &= previous < row.id();
                    previous = row.id();
                    found.rows += 1;
                    found.first = found.first.min(row.timestamp());
                    found.last = found.last.max(row.timestamp());
                    found.counts.levels[row.level().index()] += 1;
                }
                Ok(())
            })?;
        }
    }
    if in_order { Ok(found) } else { Err(QueryError::Store("its records are out of order".to_owned())) }
}

/// The manifest as the files tell it. A file whose records are in a later one too, as an interrupted compaction leaves
/// it, is not named.
fn manifest_of_files(dir: &Path, done: &mut Vec<String>) -> Result<Manifest, StoreError> {
    let io_error = |error| StoreError::Io { path: dir.to_owned(), error };
    let mut numbers: Vec<u64> = names(dir)?.iter().filter_map(|name| manifest::file_number(name)).collect();
    numbers.sort_unstable();
    let mut manifest = Manifest { next: numbers.last().map_or(0, |last| last + 1), ..Manifest::default() };
    let mut kept: Vec<DataFile> = Vec::new();
    for number in numbers.into_iter().rev() {
        let name = manifest::file_name(number);
        match open_unnamed(dir, &name) {
            Ok((file, covered)) => {
                let ids = ends(&file).map_err(|error| StoreError::Unreadable { path: dir.join(&name), error })?;
                if ids.iter().any(|id| kept.iter().any(|newer| holds(newer, *id))) {
                    done.push(format!("{name} is not named: its records are in a later file"));
                    continue;
                }
                manifest::add_covered(&mut manifest.covered, &covered);
                kept.push(file);
            }
            Err(reason) => {
                set_aside(dir, &name).map_err(io_error)?;
                done.push(format!("{name} is set aside: {reason}"));
            }
        }
    }
    manifest.files = kept.iter().rev().map(|file| file.entry.clone()).collect();
    Ok(manifest)
}

fn open_unnamed(dir: &Path, name: &str) -> Result<(DataFile, Covered), String> {
    let bytes = std::fs::metadata(dir.join(name)).map_err(|error| error.to_string())?.len();
    let entry = FileEntry {
        name: name.to_owned(),
        generation: 1,
        rows: 0,
        bytes,
        crc: 0,
        first: Timestamp::MIN,
        last: Timestamp::MAX,
        counts: Counts::default(),
    };
    let found = read_whole(dir, entry)?;
    let file = DataFile::open(dir, found).map_err(|error| error.to_string())?;
    let covered = file.covered().map_err(|error| error.to_string())?;
    Ok((file, covered))
}

/// The ids of a file's first and last record.
fn ends(file: &DataFile) -> Result<Vec<Id>, QueryError> {
    let mut ids = Vec::new();
    let groups = file.groups()?;
    for group in [0, groups.saturating_sub(1)].into_iter().filter(|group| *group < groups) {
        let pages = file.pages(group)?;
        let rows = pages.last().map_or(0, |page| page.rows.end);
        for row in [0, rows.saturating_sub(1)] {
            let only = row..row + 1;
            file.read(group, std::slice::from_ref(&only), ColumnSet::ID, &mut |view| {
                ids.extend((0..view.len()).map(|row| view.row(row).id()));
                Ok(())
            })?;
        }
    }
    Ok(ids)
}

fn holds(file: &DataFile, id: Id) -> bool {
    let wanted = Wanted::one(id);
    let stop = Stop::after(LOOK_UP_MAX);
    if !wanted.overlaps(file.entry.first, file.entry.last) {
        return false;
    }
    let look = || -> Result<bool, QueryError> {
        for group in 0..file.groups()? {
            for page in file.pages(group)?.iter().filter(|page| wanted.overlaps(page.first, page.last)) {
                if !super::scan::select(file, &Run::new(page, &wanted), &wanted, &stop)?.is_empty() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    };
    look().unwrap_or(false)
}

fn set_aside(dir: &Path, name: &str) -> std::io::Result<()> {
    match std::fs::rename(dir.join(name), dir.join(format!("{name}.damaged"))) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => sync_dir(dir),
    }
}

fn names(dir: &Path) -> Result<Vec<String>, StoreError> {
    let io_error = |error| StoreError::Io { path: dir.to_owned(), error };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(io_error)? {
        names.extend(entry.map_err(io_error)?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}
