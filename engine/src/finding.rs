//! What looking after a folder finds, of the local log and of the store alike.

use std::path::PathBuf;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Fine,
    /// Nothing is lost, but it is worth knowing.
    Remark,
    /// Records cannot be read here. What the log has lost, the store may have.
    Lost,
}

/// What a file is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub path: PathBuf,
    pub severity: Severity,
    pub sentence: String,
}

impl Finding {
    /// Whether records cannot be read.
    pub fn is_lost(&self) -> bool {
        self.severity == Severity::Lost
    }
}
