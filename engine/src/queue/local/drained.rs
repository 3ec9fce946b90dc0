//! How far a shard's log has been handed on to a server: a small file in its folder.
//!
//! It is written now and then, and not synced: what is drained a second time is stored once all the same, since the store
//! knows the batches by their ids. One line of text: segment, offset, and the CRC32C of both in hex.

use std::io;
use std::path::Path;

use crate::queue::LogPosition;

const NAME: &str = "drained";

/// Everything before this need not be drained again. The start, where nothing is known.
pub fn read(dir: &Path) -> LogPosition {
    let text = std::fs::read_to_string(dir.join(NAME)).unwrap_or_default();
    let parsed = || {
        let (content, crc) = text.trim_end().rsplit_once(' ')?;
        let (segment, offset) = content.split_once(' ')?;
        let whole = u32::from_str_radix(crc, 16).ok()? == crc32c::crc32c(content.as_bytes());
        whole.then_some(LogPosition { segment: segment.parse().ok()?, offset: offset.parse().ok()? })
    };
    parsed().unwrap_or_default()
}

pub fn write(dir: &Path, position: LogPosition) -> io::Result<()> {
    let content = format!("{} {}", position.segment, position.offset);
    let beside = dir.join(format!("{NAME}.new"));
    std::fs::write(&beside, format!("{content} {:08x}\n", crc32c::crc32c(content.as_bytes())))?;
    std::fs::rename(beside, dir.join(NAME))
}

/// Before the folder goes.
pub fn forget(dir: &Path) {
    let _ = std::fs::remove_file(dir.join(NAME));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_broken_counts_as_nothing_drained() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()), LogPosition::default());
        let position = LogPosition { segment: 7, offset: 8192 };
        write(dir.path(), position).unwrap();
        assert_eq!(read(dir.path()), position);
        for broken in ["", "7 8192", "7 8192 00000000\n", "8 8192 deadbeef", "x"] {
            std::fs::write(dir.path().join(NAME), broken).unwrap();
            assert_eq!(read(dir.path()), LogPosition::default(), "{broken:?}");
        }
    }
}
