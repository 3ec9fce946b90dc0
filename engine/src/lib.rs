//! The write path: from a socket to a stored record, and the readers that the sidecar asks.
//!
//! A record's route: [`listen`] accepts, [`doors`] reads requests, [`ingest`] turns bodies into staged rows and makes
//! them durable in [`queue`], [`store`] makes them searchable, [`tail`] shows them. [`shard`] wires it all together.
//!
//! Only this crate names glommio, and nothing of glommio leaves it.

mod body_memory;
mod body_reader;
mod clock;
pub mod config;
mod conn;
mod control;
mod doors;
mod engine;
pub mod finding;
pub mod folder;
mod handover;
mod health;
pub mod http;
pub mod ingest;
mod listen;
mod metrics;
pub mod probe;
pub mod queue;
mod rate;
mod relay;
pub mod servers;
mod shard;
pub mod store;
mod store_metrics;
mod sys;
pub mod tail;
pub mod upkeep;

pub use config::{Config, Durability, RedisRequire, Upstream};
pub use engine::{Role, Running, StartError, start};
