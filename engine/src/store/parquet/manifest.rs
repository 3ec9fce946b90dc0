//! The manifest: which files are the store, and which part of the log they hold. Replaced as a whole, so that a crash
//! leaves either the old store or the new.
//!
//! Text, so that it can be read by eye:
//!
//! ```text
//! logboom-manifest 1
//! next NUMBER                                       of the next file
//! covered SHARD SEGMENT OFFSET                      per shard of the log
//! file NAME GENERATION ROWS BYTES CRC32C FIRST LAST T D I W E F   times in µs since 1970, rows per level
//! crc32c HEX                                        of all before this line
//! ```

use std::fmt::Write;
use std::io;
use std::path::Path;

use record::{Level, Timestamp};

use super::Covered;
use super::disk::{ReplaceError, Steps, replace_file};
use crate::queue::LogPosition;
use crate::store::Counts;

pub const NAME: &str = "manifest";
const HEAD: &str = "logboom-manifest 1\n";
const HEAD_WORD: &str = "logboom-manifest ";

/// What is known of a file without opening it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    pub name: String,
    /// 0 as the flush wrote it, above that how often compaction has written its rows anew.
    pub generation: u64,
    pub rows: u64,
    pub bytes: u64,
    /// CRC32C of the whole file.
    pub crc: u32,
    pub first: Timestamp,
    pub last: Timestamp,
    pub counts: Counts,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The number of the next file: none is used twice.
    pub next: u64,
    pub covered: Covered,
    pub files: Vec<FileEntry>,
}

/// Why a manifest cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("the manifest has version {0}, and this program reads 1: run a newer logboom")]
    UnknownVersion(String),
    #[error("the manifest is damaged: its checksum does not match")]
    Checksum,
    #[error("the manifest is damaged in line {0}")]
    Line(usize),
    #[error("the manifest cannot be read: {0}")]
    Io(#[from] io::Error),
}

impl Manifest {
    /// The manifest in `dir`; `None` when there is none, as in a new store.
    pub fn read(dir: &Path) -> Result<Option<Manifest>, ManifestError> {
        match std::fs::read(dir.join(NAME)) {
            Ok(bytes) => Manifest::parse(&String::from_utf8_lossy(&bytes)).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes this the manifest of `dir`, durably.
    pub fn write(&self, dir: &Path, steps: &Steps) -> Result<(), ReplaceError> {
        replace_file(dir, NAME, self.to_text().as_bytes(), steps)
    }

    fn to_text(&self) -> String {
        let mut text = String::from(HEAD);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "next {}", self.next);
        let mut covered: Vec<_> = self.covered.iter().collect();
        covered.sort();
        for (shard, position) in covered {
            let _ = writeln!(text, "covered {shard} {} {}", position.segment, position.offset);
        }
        for file in &self.files {
            let FileEntry { name, generation, rows, bytes, crc, first, last, counts } = file;
            let _ = write!(
                text,
                "file {name} {generation} {rows} {bytes} {crc} {} {}",
                first.as_micros(),
                last.as_micros()
            );
            for count in counts.levels {
                let _ = write!(text, " {count}");
            }
            text.push('\n');
        }
        let crc = crc32c::crc32c(text.as_bytes());
        let _ = writeln!(text, "crc32c {crc:08x}");
        text
    }

    fn parse(text: &str) -> Result<Manifest, ManifestError> {
        let Some(version) = text.strip_prefix(HEAD_WORD) else { return Err(ManifestError::Line(1)) };
        if !text.starts_with(HEAD) {
            return Err(ManifestError::UnknownVersion(version.lines().next().unwrap_or_default().to_owned()));
        }
        let content = text.rfind("crc32c ").map(|at| text.split_at(at));
        let (content, crc) = content.ok_or(ManifestError::Checksum)?;
        if u32::from_str_radix(crc["crc32c ".len()..].trim_end(), 16) != Ok(crc32c::crc32c(content.as_bytes())) {
            return Err(ManifestError::Checksum);
        }
        let mut manifest = Manifest::default();
        for (at, line) in content.lines().enumerate().skip(1) {
            manifest.parse_line(line).ok_or(ManifestError::Line(at + 1))?;
        }
        Ok(manifest)
    }

    fn parse_line(&mut self, line: &str) -> Option<()> {
        let mut words = line.split(' ');
        let kind = words.next()?;
        let mut name = None;
        if kind == "file" {
            name = words.next();
        }
        let numbers: Vec<u64> = words.map(str::parse).collect::<Result<_, _>>().ok()?;
        match (kind, name, numbers.as_slice()) {
            ("next", _, &[next]) => self.next = next,
            ("covered", _, &[shard, segment, offset]) => {
                self.covered.insert(u16::try_from(shard).ok()?, LogPosition { segment, offset });
            }
            ("file", Some(name), &[generation, rows, bytes, crc, first, last, ref levels @ ..]) => {
                let levels: [u64; Level::COUNT] = levels.try_into().ok()?;
                let time = |micros: u64| i64::try_from(micros).ok().and_then(Timestamp::from_micros);
                if !is_file_name(name) {
                    return None;
                }
                self.files.push(FileEntry {
                    name: name.to_owned(),
                    generation,
                    rows,
                    bytes,
                    crc: u32::try_from(crc).ok()?,
                    first: time(first)?,
                    last: time(last)?,
                    counts: Counts { levels },
                });
            }
            _ => return None,
        }
        Some(())
    }
}

/// Moves the positions of `covered` up to those of `more`.
pub fn add_covered(covered: &mut Covered, more: &Covered) {
    for (&shard, &position) in more {
        let known = covered.entry(shard).or_default();
        *known = position.max(*known);
    }
}

/// Positions as a file's own metadata holds them: `SHARD SEGMENT OFFSET`, separated by semicolons.
pub fn covered_to_text(covered: &Covered) -> String {
    let mut positions: Vec<_> = covered.iter().collect();
    positions.sort();
    let texts: Vec<String> =
        positions.iter().map(|(shard, position)| format!("{shard} {} {}", position.segment, position.offset)).collect();
    texts.join(";")
}

/// Reads them back; what cannot be read is as if it were not covered.
pub fn covered_from_text(text: &str) -> Covered {
    let position = |text: &str| {
        let mut words = text.split(' ');
        let shard = words.next()?.parse().ok()?;
        Some((shard, LogPosition { segment: words.next()?.parse().ok()?, offset: words.next()?.parse().ok()? }))
    };
    text.split(';').filter_map(position).collect()
}

/// The name of the file with this number.
pub fn file_name(number: u64) -> String {
    format!("{number:012}.parquet")
}

/// Whether the store gives files names like this one: it touches no others.
pub fn is_file_name(name: &str) -> bool {
    file_number(name).is_some()
}

pub fn file_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".parquet")?;
    (digits.len() >= 12 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Manifest {
        let entry = |n: u64| FileEntry {
            name: file_name(n),
            generation: n % 3,
            rows: 21,
            bytes: 4096,
            crc: u32::MAX,
            first: Timestamp::MIN,
            last: Timestamp::MAX,
            counts: Counts { levels: [1, 2, 3, 4, 5, 6] },
        };
        let position = LogPosition { segment: 3, offset: 17 };
        Manifest { next: 9, covered: [(0, position), (7, position)].into(), files: vec![entry(1), entry(8)] }
    }

    #[test]
    fn comes_back_as_it_was() {
        assert_eq!(Manifest::parse(&sample().to_text()).unwrap(), sample());
        assert_eq!(Manifest::parse(&Manifest::default().to_text()).unwrap(), Manifest::default());
    }

    #[test]
    fn every_damage_is_seen() {
        let text = sample().to_text();
        for at in 0..text.len() - 1 {
            let mut damaged = text.clone().into_bytes();
            damaged[at] ^= 1;
            assert!(Manifest::parse(&String::from_utf8_lossy(&damaged)).is_err(), "byte {at}");
            assert!(Manifest::parse(&text[..at]).is_err(), "cut at {at}");
        }
        let newer = text.replace("manifest 1", "manifest 2");
        assert!(matches!(Manifest::parse(&newer), Err(ManifestError::UnknownVersion(version)) if version == "2"));
    }

    #[test]
    fn positions_come_back() {
        let covered = sample().covered;
        assert_eq!(covered_from_text(&covered_to_text(&covered)), covered);
        for text in ["", "1", "1 2", "x 1 2", "70000 1 2", ";;"] {
            assert!(covered_from_text(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn only_names_of_its_own() {
        for name in ["1.parquet", "../000000000001.parquet", "00000000000x.parquet", "000000000001.csv", ""] {
            assert!(!is_file_name(name), "{name}");
        }
        assert_eq!(file_number(&file_name(12)), Some(12));
    }
}
