//! Looks a folder over without changing it: what `fsck` prints.

use std::collections::BTreeMap;
use std::path::Path;

use super::frame::{HeaderRead, SegmentHeader};
use super::recover::{list, open_batch, read};
use super::scan::{previous_of_first, scan_segment};
use super::{LogError, SegmentName};
use crate::finding::{Finding, Severity};

/// Reads every segment of a folder, oldest first. Meant for a folder that no shard is writing.
pub fn check(dir: &Path) -> Result<Vec<Finding>, LogError> {
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
    let mut before: Option<u64> = None;
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
        if let (Some(previous), Some(before)) = (previous_of.get(&number), before)
            && !segments.contains_key(&previous.segment)
        {
            let sentence = format!("follows segment {}, which is not there; segment {before} is", previous.segment);
            finding(Severity::Lost, sentence);
        }
        before = Some(number);
        let ended_at = previous_of.range(number + 1..).next().map(|(_, previous)| *previous);
        let ended_at = ended_at.filter(|end| end.segment == number).map(|end| end.offset);
        let scan = scan_segment(&bytes, number, ended_at);
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
    Ok(findings)
}
