//! The ingest route: what a request asks, its body cut into records, rows staged, one append, an acknowledgement.

pub mod account;
pub mod appender;
pub mod ask;
pub mod document;
pub mod intake;
pub mod lane;
pub mod parse;
pub mod split;
pub mod stage;

pub use appender::{AppendFailure, Appender, Ticket};
pub use ask::{Ask, Defaults, Door};
pub use intake::{Intake, IntakeLimits, Tools};
pub use lane::Lane;
