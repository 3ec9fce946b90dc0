//! Looks a folder over without changing it: what `fsck` prints.

use std::collections::BTreeMap;
use std::path::Path;

use super::frame::{HeaderRead, SegmentHeader};
use super::recover::{list, open_batch, read};
use super::scan::{previous_of_first, scan_segment};
use super::{LogError, SegmentName};
use crate::finding::{Finding, Severity};
use crate::queue::LogPosition;

/// Reads every segment of a folder, oldest first, and compares them with `covered`, up to where the store's files hold the
/// log: what lies behind must be here. Meant for a folder that no shard is writing.
pub fn check(dir: &Path, covered: LogPosition) -> Result<Vec<Finding>, LogError> {
    let mut segments = BTreeMap::new();
    let mut findings = Vec::new();
    let mut shard = None;
    for file in list(dir)? {
        let path = dir.join(file.to_string());
        match file {
            SegmentName::Spare(_) => {}
            SegmentName::Live(number) | SegmentName::Damaged(number) => drop(segments.insert(number, (file, path))),
        }
    }
    let mut end: Option<LogPosition> = None;
    let mut previous_of = BTreeMap::new();
    for (&number, (_, path)) in &segments {
        if let Some(previous) = previous_of_first(&read(path)?, number) {
            previous_of.insert(number, previous);
        }
    }
    for (&number, (file, path)) in &segments {
        let mut finding = |severity, sentence| findings.push(Finding { path: path.clone(), severity, sentence });
        let bytes = read(path)?;
        match SegmentHeader::read(&bytes) {
            HeaderRead::UnknownVersion(version) => {
                finding(
                    Severity::Lost,
                    format!("has version {version}, and this program reads 1: run a newer logboom"),
                );
                continue;
            }
            HeaderRead::Valid(header) if header.segment != number => {
                finding(Severity::Remark, format!("was being made ready as segment {}", header.segment));
                end = end.max(Some(LogPosition { segment: header.segment, offset: 0 }));
                continue;
            }
            HeaderRead::Valid(header) => {
                let first = *shard.get_or_insert(header.shard);
                if first != header.shard {
                    let sentence = format!("was written by shard {}, the others by shard {first}", header.shard);
                    finding(Severity::Remark, sentence);
                }
            }
            HeaderRead::Broken => finding(Severity::Remark, "its header is broken".to_owned()),
        }
        // A segment that is not there was given back, if files hold all of it.
        if let Some(previous) = previous_of.get(&number)
            && *previous > covered
            && !segments.contains_key(&previous.segment)
        {
            let sentence = format!(
                "follows {}, which is not there, and files hold the log up to {} only: what lies between is lost",
                shown(*previous),
                shown(covered)
            );
            finding(Severity::Lost, sentence);
        }
        let ended_at = previous_of.range(number + 1..).next().map(|(_, previous)| *previous);
        let ended_at = ended_at.filter(|end| end.segment == number).map(|end| end.offset);
        let scan = scan_segment(&bytes, number, ended_at);
        if matches!(file, SegmentName::Live(_)) {
            end = end.max(Some(LogPosition { segment: number, offset: scan.end }));
        }
        let opened: Vec<_> = scan.frames.iter().map(|frame| open_batch(&bytes, frame)).collect();
        let rows: usize = opened.iter().flatten().map(|batch| batch.len()).sum();
        let broken = opened.iter().filter(|batch| batch.is_err()).count();
        let aside = if matches!(file, SegmentName::Damaged(_)) { ", set aside" } else { "" };
        let content = format!("{} batches, {rows} records{aside}", opened.len() - broken);
        match scan.damaged_at {
            Some(at) => finding(Severity::Lost, format!("{content}; acknowledged bytes at offset {at} are damaged")),
            None if broken > 0 => finding(Severity::Lost, format!("{content}; {broken} batches cannot be read")),
            None if scan.torn_bytes > 0 => {
                let sentence = format!("{content}; {} bytes behind them were never acknowledged", scan.torn_bytes);
                finding(Severity::Fine, sentence);
            }
            None => finding(Severity::Fine, content),
        }
    }
    if let Some(end) = end.filter(|end| *end < covered) {
        let sentence = format!(
            "ends at {}, and files hold the log up to {}: it lost its end, of which nothing is missed, or it is another store's",
            shown(end),
            shown(covered)
        );
        findings.push(Finding { path: dir.to_owned(), severity: Severity::Remark, sentence });
    }
    Ok(findings)
}

fn shown(position: LogPosition) -> String {
    format!("offset {} of segment {}", position.offset, position.segment)
}
