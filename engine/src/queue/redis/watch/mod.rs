//! The live tail across processes: a viewer of one sees what the engines of others take in.
//!
//! ```text
//! viewer's process                    Redis                        engine's process
//! announce ──HSET, every 2 s──▶ logboom:tail (who, what) ──HGETALL, every second──▶ publish
//! announce ◀─────────── logboom:tail:rows ◀──────PUBLISH, only what is wanted────── publish
//! ```
//!
//! Nothing here holds up an engine: with no viewer anywhere it asks for a hash once a second, and takes no batch. With
//! viewers it sends the rows that some of them want, up to a rate, and of the others the number. A viewer's process
//! that dies is found out because its field no longer changes; no two clocks are compared.
//!
//! What it does not try to do: send again what got lost; a query finds it.

mod announce;
mod frame;
mod publish;

use std::time::Duration;

pub use announce::announce;
pub use publish::publish;

/// The one stage that a queue's part knows: it is carried here. Its tests reach it by this name.
#[cfg(test)]
pub(super) use crate::tail::{Next, Tail, Viewer};
use record::{Batch, IdSource};

use super::Keys;

/// A filter's field is written anew so often.
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// A field that has not changed for so long is nobody's: five renewals missed.
const DEAD_AFTER: Duration = Duration::from_secs(10);
/// The hash goes when nobody has written to it for so long: the last viewer may have died with its process.
const KEPT_SECONDS: u64 = 60;
/// Between two attempts to reach Redis.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// An answer takes longer than this only from a server that hangs.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// Filters that one process announces, and that an engine heeds. With more it asks for all rows, and is shown a part: an
/// engine tries every row on each of them.
const FILTERS_MAX: usize = 64;

impl Keys {
    fn watchers(&self) -> String {
        format!("{}:tail", self.prefix)
    }

    fn rows_channel(&self) -> String {
        format!("{}:tail:rows", self.prefix)
    }
}

/// Ids of batches that are made for a channel. Their origin is 0, which no other source draws, so that what one process
/// shows of another is never sent on.
fn copied_ids() -> IdSource {
    IdSource::new(|| 0)
}

/// Whether a batch came from another process' tail.
fn is_copied(batch: &Batch) -> bool {
    batch.id().origin() == 0
}
