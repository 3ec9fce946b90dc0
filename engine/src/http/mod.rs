//! HTTP/1.1 for the doors: heads, bodies, codings and answers, as plain functions over bytes (RFC 9110, RFC 9112).
//!
//! What it does not try to do: HTTP/2, trailers (read and dropped), ranges. The sidecar's answers pass through
//! [`relay`](crate::relay) unread but for their framing.

pub mod body;
pub mod coding;
pub mod head;
pub mod host;
pub mod reply;

pub use body::{BodyError, Framer, Framing};
pub use coding::{Coding, Decoder};
pub use head::{Head, HeadError, Method};
pub use reply::Reply;
