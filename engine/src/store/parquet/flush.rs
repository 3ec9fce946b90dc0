//! The flush: what is in memory becomes a file.
//!
//! Comes in: the frozen chunks. Goes out: a file, durable and named by the manifest, and only then are the chunks let
//! go and the log told what it may forget. It runs on a thread of its own, at low priority: ingestion goes first.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use record::Row;

use super::Covered;
use super::disk::Steps;
use super::manifest::FileEntry;
use super::memory::Chunk;
use super::writer::{FileWriter, Packing, WriteError};

/// zstd's level for files that compaction will soon write anew: the fastest.
const ZSTD_LEVEL: i32 = 1;

/// Writes the rows of `chunks` to the file `name` in `dir`, durably. A file that was begun and failed is removed.
pub fn write_file(
    dir: &Path,
    name: &str,
    chunks: &[Arc<Chunk>],
    covered: &Covered,
    steps: &Steps,
) -> Result<FileEntry, WriteError> {
    let written = try_write_file(dir, name, chunks, covered, steps);
    if written.is_err() {
        // What cannot be removed now is an orphan that the next start removes.
        let _ = std::fs::remove_file(dir.join(name));
    }
    written
}

fn try_write_file(
    dir: &Path,
    name: &str,
    chunks: &[Arc<Chunk>],
    covered: &Covered,
    steps: &Steps,
) -> Result<FileEntry, WriteError> {
    let pieces: Vec<&Bytes> = chunks.iter().flat_map(|chunk| chunk.pieces()).collect();
    let index = sorted_index(&pieces, chunks.iter().map(|chunk| chunk.rows as usize).sum());
    steps.reach("create the file")?;
    let packing =
        Packing { generation: 0, zstd_level: ZSTD_LEVEL, typed: Vec::new(), filters: false, covered: covered.clone() };
    let mut writer = FileWriter::create(dir, name.to_owned(), packing)?;
    for entry in index {
        let piece = pieces[entry.piece as usize];
        let (row, _) = Row::split(&piece[entry.offset as usize..]).map_err(io::Error::other)?;
        writer.push(&row)?;
    }
    steps.reach("finish the file")?;
    writer.finish(dir, steps)
}

/// Where a row is.
struct Place {
    id: u128,
    piece: u32,
    offset: u32,
}

/// Every row of `pieces`, in ascending order of ids.
fn sorted_index(pieces: &[&Bytes], rows: usize) -> Vec<Place> {
    let mut index = Vec::with_capacity(rows);
    for (at, piece) in pieces.iter().enumerate() {
        let mut rest = &piece[..];
        while let Ok((row, after)) = Row::split(rest) {
            let offset = (piece.len() - rest.len()) as u32;
            index.push(Place { id: u128::from_be_bytes(*row.id().as_bytes()), piece: at as u32, offset });
            rest = after;
        }
    }
    // The stable sort finds the runs that are in order already, as most batches are.
    index.sort_by_key(|place| place.id);
    index
}
