//! The clients' side: loads a log server, measures it, and asks it afterwards what it has kept.
//!
//! [`scenario`] says what is sent, [`feeds`] prepare it, [`drive`] sends it, [`server`] is what it is sent to and asked,
//! [`report`] what came of it. The generator must never be what is measured: its own CPU share stands in every report.
#![forbid(unsafe_code)]

pub mod drive;
pub mod feeds;
pub mod http;
pub mod lines;
pub mod report;
pub mod scenario;
pub mod server;
pub mod usage;
pub mod viewers;
