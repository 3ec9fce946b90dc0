//! A record that owns its fields: for whoever wants one in hand rather than a view of encoded bytes.

use crate::id::Id;
use crate::level::Level;
use crate::row::Row;
use crate::time::Timestamp;

/// One log record. `metadata` is the text of a JSON object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    pub id: Id,
    pub timestamp: Timestamp,
    pub level: Level,
    pub source: String,
    pub application: String,
    pub message: String,
    pub metadata: String,
}

impl From<Row<'_>> for LogRecord {
    fn from(row: Row<'_>) -> LogRecord {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        LogRecord {
            id: row.id(),
            timestamp: row.timestamp(),
            level: row.level(),
            source: text(row.source()),
            application: text(row.application()),
            message: text(row.message()),
            metadata: text(row.metadata()),
        }
    }
}
