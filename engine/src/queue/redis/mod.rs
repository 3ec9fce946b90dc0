//! Redis Streams as the queue: one entry a batch, taken by any worker of the group `store`.
//!
//! | file | does |
//! |---|---|
//! | `target.rs` | where the server is: the URL, TLS, a connection, and how durable it is |
//! | `error.rs` | what it answers when something is wrong, and what mends it |
//! | `push.rs` | batches in |
//! | `take.rs` | batches out: to one of many workers, and again if that one dies |
//! | `line.rs` | a worker's connection |
//! | `reply.rs` | what the server answers, as entries; what an entry is |
//! | `aside.rs` | entries that are no batch: moved, never deleted |
//! | `status.rs` | streams, pending, oldest, consumers |
//! | `watch/` | the live tail across processes, by Pub/Sub |
//! | `counters.rs` | all that is counted |
//!
//! # What is where
//!
//! | key | type | holds |
//! |---|---|---|
//! | `logboom:0` … `logboom:15` | stream | entries of one field, `b`: a batch's frame ([`record::batch`]), lz4 where that pays |
//! | `logboom:streams` | set | the numbers of all streams that an engine ever wrote to, so that fewer `streams` strand none |
//! | `logboom:set-aside` | stream | entries that are no batch: `from`, `entry`, `why`, then their own fields |
//! | `logboom:tail` | hash | who watches the live tail, with which filter |
//! | `logboom:tail:rows` | channel | rows for those who watch |
//!
//! # Contract
//!
//! - [`Pusher::push`] answers Ok for a batch once XADD has, and after WAIT where replicas are asked for. After an error
//!   it may be in all the same: whoever sends it again sends it under the same batch id, to the same stream, and the
//!   store drops what it has.
//! - [`Consumer::take`] gives every entry to one worker, again if that one does not say [`done`](Consumer::done) within
//!   `claim_after`, and promises no order. `done` deletes the entry (XDEL) and then forgets that it was pending (XACK):
//!   a crash between leaves an id without an entry, which the next claim clears; the other way round the entry would stay
//!   for ever. Both go in a plain pipeline: a full Redis refuses a MULTI, and a full Redis must drain.
//! - Every command names one key, so that a cluster can serve it.
//!
//! What it does not try to do: find masters (Sentinel, Cluster), trim streams, or keep an order among batches.

mod aside;
mod counters;
mod error;
mod line;
pub mod push;
mod reply;
pub mod status;
pub mod take;
pub mod target;
pub mod watch;

#[cfg(test)]
mod tests;

pub use counters::{Counters, Failure, Side};
pub use error::RedisError;
pub use push::{PushOptions, Pusher};
pub use status::{Status, status};
pub use take::{Consumer, TakeOptions, Taken};
pub use target::{Durability, Found, Target};

/// What every key begins with, unless a test wants otherwise.
const PREFIX: &str = "logboom";
/// The consumer group of all workers.
const GROUP: &str = "store";
/// The field of an entry that holds the batch's frame.
const FIELD: &str = "b";

/// The names of everything in Redis.
#[derive(Clone, Debug)]
struct Keys {
    prefix: String,
}

impl Keys {
    fn new(prefix: &str) -> Keys {
        Keys { prefix: prefix.to_owned() }
    }

    fn stream(&self, number: u16) -> String {
        format!("{}:{number}", self.prefix)
    }

    fn streams(&self) -> String {
        format!("{}:streams", self.prefix)
    }

    fn set_aside(&self) -> String {
        format!("{}:set-aside", self.prefix)
    }
}
