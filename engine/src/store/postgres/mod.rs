//! The Postgres store: rows go in by COPY BINARY as they were encoded, exactly once, and come out by SQL.
//!
//! | file | does |
//! |---|---|
//! | `target.rs` | where the server is: the URL, TLS, a connection, and whether the server found is one to use |
//! | `migrate.rs` | brings the schema to this program's version |
//! | `writer.rs` | batches in: one transaction, each batch once |
//! | `partitions.rs` | the days' partitions |
//! | `dead_letters.rs` | records that Postgres refused |
//! | `upkeep.rs` | sealing days, retention, folding counts, forgetting batch ids |
//! | `reader.rs`, `sql.rs` | queries: a [`Filter`](record::Filter) read as SQL |

mod reader;
mod sql;

pub use reader::{PostgresReader, ReaderOptions};
