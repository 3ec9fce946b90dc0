//! The local log.
