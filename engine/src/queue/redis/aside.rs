//! Entries that are no batch, or none that this version reads: moved whole to a stream of their own, for a person to
//! look at. Nothing is deleted before its copy is in, so that a crash doubles an entry and never loses one.

use super::line::Line;
use super::{GROUP, Keys, RedisError};

/// An entry, where it stood, and what is wrong with it.
#[derive(Clone, Debug)]
pub(super) struct Foreign {
    pub stream: u16,
    pub entry: String,
    pub why: String,
    pub fields: Vec<Vec<u8>>,
}

/// Moves one entry. Two round trips: a full Redis refuses the copy and would serve the deletion.
pub(super) async fn set_aside(line: &mut Line, keys: &Keys, foreign: &Foreign) -> Result<(), RedisError> {
    let from = keys.stream(foreign.stream);
    let mut copy = redis::pipe();
    copy.cmd("XADD").arg(keys.set_aside()).arg("*");
    copy.arg("from").arg(&from).arg("entry").arg(&foreign.entry).arg("why").arg(&foreign.why);
    for field in &foreign.fields {
        copy.arg(&field[..]);
    }
    line.ask(&mut copy).await?;
    let mut remove = redis::pipe();
    remove.cmd("XDEL").arg(&from).arg(&foreign.entry);
    remove.cmd("XACK").arg(&from).arg(GROUP).arg(&foreign.entry);
    line.ask(&mut remove).await.map(drop)
}
