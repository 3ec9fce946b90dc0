//! The record: what a log is to Logboom, how it is encoded, and how lines become one.
//!
//! Pure: no I/O, no clock, no async, no unsafe. So every part of it runs in a test or a fuzzer as it is.
//!
//! A line's route: [`format`] finds its [`Fields`], [`BatchBuilder`] encodes them as a [`Row`], a sealed [`Batch`] goes
//! wherever logs go, and [`filter`] reads rows back.
#![forbid(unsafe_code)]

pub mod batch;
pub mod fields;
pub mod filter;
pub mod format;
pub mod id;
pub mod json;
pub mod level;
pub mod meta;
mod record;
pub mod row;
pub mod text;
pub mod time;
pub mod time_format;

pub use batch::{Batch, BatchBuilder, BatchError, PushError, Pushed};
pub use fields::{Context, Fields};
pub use filter::Filter;
pub use id::{Id, IdSource};
pub use level::Level;
pub use meta::Meta;
pub use record::LogRecord;
pub use row::{Row, Rows, StoredRow};
pub use text::Text;
pub use time::{Timestamp, Zone};
