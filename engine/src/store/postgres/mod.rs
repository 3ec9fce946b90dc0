//! The Postgres store: rows go in by COPY BINARY as they were encoded, exactly once, and come out by SQL.
//!
//! | file | does |
//! |---|---|
//! | `target.rs`, `tls.rs` | where the server is: the URL, TLS, a connection |
//! | `found.rs` | whether the server found is one to use |
//! | `error.rs` | what a failure means: wait, give up, look at the rows |
//! | `migrate.rs` | brings the schema to this program's version |
//! | `writer.rs`, `session.rs` | batches in: one transaction, each batch once |
//! | `holder.rs` | another session that holds a batch |
//! | `careful.rs` | a batch of which rows were stored before, or are refused |
//! | `counts.rs` | what was stored, added up |
//! | `partitions.rs` | the days' partitions |
//! | `dead_letters.rs` | records that Postgres refused |
//! | `upkeep/` | sealing days, retention, folding counts, forgetting batch ids |
//! | `reader.rs`, `sql.rs` | queries: a [`Filter`](record::Filter) read as SQL |

mod careful;
mod counters;
mod counts;
pub mod dead_letters;
mod error;
mod found;
mod holder;
mod locks;
mod migrate;
mod partitions;
mod reader;
mod session;
mod sql;
mod target;
#[cfg(test)]
mod tests;
mod tls;
mod types;
pub mod upkeep;
mod writer;

pub use counters::{Counters, Failure};
pub use error::PostgresError;
pub use found::{Found, Rights, Schema, Trigrams};
pub use migrate::{Migrated, SCHEMA_VERSION, migrate, script};
pub use reader::{PostgresReader, ReaderOptions};
pub use target::Target;
pub use tokio_postgres::Client;
pub use upkeep::{OldestPending, UpkeepOptions};
pub use writer::{StoreError, Stored, Writer, WriterOptions};
