//! Loads and measures log servers: the tools behind `logboom bench` and `logboom query`.
#![forbid(unsafe_code)]

pub mod http;
