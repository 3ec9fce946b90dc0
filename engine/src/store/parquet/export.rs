//! Export: everything that a filter wants of one snapshot, newest first, with bounded memory.

use record::Filter;

use super::merge::Merge;
use super::nearest::Keep;
use super::query::Snapshot;
use super::wanted::Wanted;
use crate::store::{QueryError, ReadStats, RowBuf, Stop};

/// Rows are handed on in pieces of about this size.
const PIECE_BYTES: usize = 256 << 10;
/// Rows of a file that are decoded at a time.
const RUN_ROWS_MAX: usize = 16 * 1024;

/// Hands all that `filter` wants to `sink`, until it returns false.
pub fn export(
    snapshot: &Snapshot,
    filter: &Filter,
    stop: &Stop,
    sink: &mut dyn FnMut(&RowBuf) -> bool,
) -> Result<(), QueryError> {
    let wanted = Wanted::new(filter, None).since(snapshot.oldest);
    let mut merge = Merge::new(&wanted, Keep::Newest, RUN_ROWS_MAX);
    snapshot.chunks.iter().for_each(|chunk| merge.add_chunk(chunk));
    snapshot.files.iter().for_each(|file| merge.add_file(file));
    let mut piece = RowBuf::default();
    let mut goes_on = true;
    let read_before = stop.read().files_read;
    let ran = merge.run(stop, &mut |row| {
        piece.bytes.extend_from_slice(row);
        piece.count += 1;
        if piece.bytes.len() >= PIECE_BYTES {
            stop.check()?;
            goes_on = sink(&piece);
            piece.bytes.clear();
            piece.count = 0;
        }
        Ok(goes_on)
    });
    let read = stop.read().files_read - read_before;
    let files_skipped = (snapshot.files.len() as u64).saturating_sub(read);
    stop.add_read(&ReadStats { files_skipped, ..ReadStats::default() });
    ran?;
    if goes_on && piece.count > 0 {
        stop.check()?;
        sink(&piece);
    }
    Ok(())
}
