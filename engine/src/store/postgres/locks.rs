//! The advisory locks: what only one of many processes does at a time. They are of the database, so any number will do as
//! long as it is always the same.

/// `boom` in ASCII, so that whoever reads `pg_locks` can tell whose they are.
const OURS: i64 = 0x626f_6f6d << 16;

pub(super) const SCHEMA: i64 = OURS | 1;
/// Making and attaching partitions.
pub(super) const PARTITIONS: i64 = OURS | 2;
pub(super) const SEALING: i64 = OURS | 3;
pub(super) const RETENTION: i64 = OURS | 4;
pub(super) const FOLDING: i64 = OURS | 5;
pub(super) const PRUNING: i64 = OURS | 6;
