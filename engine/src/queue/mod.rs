//! Queues: where an acknowledged batch waits until the store has it.

pub mod local;
