//! Loads and measures log servers: the tools behind `logboom bench`, `logboom generate` and `logboom query`.
//!
//! ```text
//! generate ─▶ prepared ─▶ drive ─▶ report        ledger: what was sent, acknowledged, stored
//!  (lines)    (requests)  (sockets)               ceiling: what the machine can do at most
//! ```
//!
//! `scenario` says which load is run against what; all else is told by it what to do. `peers` runs some of them against
//! other log systems, `results` keeps what came of it, `figures` brings the newest into the documents.
#![forbid(unsafe_code)]

pub mod answer;
pub mod ceiling;
pub mod compare;
pub mod counter;
pub mod drive;
pub mod emit;
pub mod figures;
pub mod generate;
pub mod http;
pub mod ledger;
pub mod live;
pub mod number;
pub mod peers;
mod plot;
pub mod prepared;
pub mod process;
pub mod report;
pub mod results;
mod rng;
pub mod scenario;
pub mod server;
pub mod target;
