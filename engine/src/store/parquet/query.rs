//! Queries: one snapshot, newest first.

use std::sync::Arc;

use record::{Filter, Id, Row, Timestamp};

use super::file::DataFile;
use super::find::find;
use super::memory::Chunk;
use super::nearest::{Keep, Nearest};
use super::wanted::Wanted;
use crate::store::{ContextRows, Page, Position, QueryError, RowBuf, Stop};

/// What there is at one moment: no later row or file enters it.
pub struct Snapshot {
    pub chunks: Vec<Arc<Chunk>>,
    pub files: Arc<Vec<Arc<DataFile>>>,
    /// What is older is past retention, and not shown any more.
    pub oldest: Option<Timestamp>,
    /// What one query may gather.
    pub bytes_max: usize,
}

impl Snapshot {
    pub fn page(
        &self,
        filter: &Filter,
        limit: usize,
        start: Option<Position>,
        stop: &Stop,
    ) -> Result<Page, QueryError> {
        let wanted = Wanted::new(filter, start).since(self.oldest);
        // One more than asked for tells whether there is another page.
        let mut newest = Nearest::new(Keep::Newest, limit.saturating_add(1), self.bytes_max);
        let read = find(self, &wanted, &mut newest, stop)?;
        let (rows, last) = newest.into_page(limit);
        Ok(Page { rows, next: last.map(Position), read })
    }

    pub fn get(&self, id: Id, stop: &Stop) -> Result<Option<RowBuf>, QueryError> {
        let mut found = Nearest::new(Keep::Newest, 1, self.bytes_max);
        find(self, &Wanted::one(id).since(self.oldest), &mut found, stop)?;
        let (rows, _) = found.into_page(1);
        Ok((rows.count > 0).then_some(rows))
    }

    pub fn context(&self, id: Id, before: usize, after: usize, stop: &Stop) -> Result<Option<ContextRows>, QueryError> {
        let Some(log) = self.get(id, stop)? else { return Ok(None) };
        let source = match log.rows().next() {
            Some(row) => String::from_utf8_lossy(row.source()).into_owned(),
            None => return Ok(None),
        };
        let mut older = Nearest::new(Keep::Newest, before, self.bytes_max);
        find(self, &Wanted::older_from(id, &source).since(self.oldest), &mut older, stop)?;
        let mut newer = Nearest::new(Keep::Oldest, after, self.bytes_max);
        find(self, &Wanted::newer_from(id, &source).since(self.oldest), &mut newer, stop)?;
        let (newest_first, _) = older.into_page(before);
        let mut rows: Vec<Row<'_>> = newest_first.rows().collect();
        rows.reverse();
        let mut before = RowBuf::default();
        for row in rows {
            before.push(&row);
        }
        Ok(Some(ContextRows { before, log, after: newer.into_page(after).0 }))
    }
}
