//! Redis Streams as the queue: one entry a batch, taken by any worker of the group `store`.
//!
//! | file | does |
//! |---|---|
//! | `target.rs` | where the server is: the URL, TLS, a connection, and how durable it is |
//! | `push.rs` | batches in |
//! | `take.rs` | batches out: to one of many workers, and again if that one dies |
//! | `status.rs` | streams, pending, oldest, consumers |
//! | `watch.rs` | the live tail across processes, by Pub/Sub |
