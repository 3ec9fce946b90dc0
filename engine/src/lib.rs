//! The write path: from a socket to a stored record, and the readers that the sidecar asks.
//!
//! Only this crate names glommio.

pub mod config;
pub mod folder;
pub mod probe;
pub mod queue;
pub mod store;
pub mod tail;

pub use config::{Config, Durability, Upstream};
