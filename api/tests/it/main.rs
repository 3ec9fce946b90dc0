//! The sidecar as its clients see it: a real server on a port or a socket, a store in memory, plain HTTP.

mod fake;
mod http;
mod live;
mod server;
