//! Records that Postgres refused: to look at, to try again, to throw away.
//!
//! A letter is a row as it came, the batch that it came in, and why it was refused. Trying again is one transaction that
//! deletes the letters and stores their rows, so that of two who try at once one finds nothing; a row that is there
//! already stays as it is. What is refused again is a letter again, with the reason of now.

use record::{Id, Row, Timestamp};
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use super::careful::{self, Origin};
use super::error::{Fault, PostgresError};
use super::partitions::Window;
use super::session::{Session, application_name};
use super::target::Target;
use super::types::Uuid;
use super::writer::{Trouble, WriterOptions};
pub use crate::store::LetterPosition as Cursor;
use crate::store::{self, RowBuf};

/// Most letters of one page.
pub const LIST_MAX: usize = 1_000;
/// Most bytes of rows that one page or one transaction holds: a row may have 2 MiB. One letter there is always.
const BYTES_MAX: i64 = 16 << 20;
/// Letters tried again in one transaction.
const REPLAYED_AT_ONCE: i64 = 500;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    pub id: Id,
    pub failed_at: Timestamp,
    pub reason: String,
    pub batch_id: Id,
    /// As it came, in COPY BINARY tuple form.
    pub tuple: Vec<u8>,
}

/// A page, the last refused first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    pub dead_letters: Vec<DeadLetter>,
    pub total: u64,
    /// Where the next page starts; `None` at the end.
    pub next: Option<Cursor>,
}

/// Which letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    All,
    Ids(Vec<Id>),
}

/// What became of letters that were tried again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    pub stored: u64,
    /// Their rows had been stored before.
    pub known: u64,
    /// Refused again: they are letters still.
    pub refused: u64,
}

impl DeadLetter {
    /// Appends it as a JSON object; `log` is null where the row cannot be read.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"id\":\"");
        self.id.write(out);
        out.extend_from_slice(b"\",\"failed_at\":\"");
        self.failed_at.write_rfc3339(out);
        out.extend_from_slice(b"\",\"reason\":\"");
        record::text::push_escaped(self.reason.as_bytes(), out);
        out.extend_from_slice(b"\",\"batch_id\":\"");
        self.batch_id.write(out);
        out.extend_from_slice(b"\",\"log\":");
        match self.log_json() {
            Some(log) => out.extend_from_slice(log.as_bytes()),
            None => out.extend_from_slice(b"null"),
        }
        out.push(b'}');
    }

    /// The record. What is not UTF-8 in it, which may be why it was refused, is shown as U+FFFD.
    fn log_json(&self) -> Option<String> {
        let (row, _) = Row::split(&self.tuple).ok()?;
        let mut json = Vec::new();
        row.write_json(&mut json);
        let json = String::from_utf8_lossy(&json).into_owned();
        record::json::whole(&json).ok()?;
        Some(json)
    }
}

impl From<Listed> for store::DeadLetters {
    fn from(listed: Listed) -> store::DeadLetters {
        let letter = |letter: DeadLetter| store::DeadLetter {
            row: letter.log_json().is_some().then_some(RowBuf { bytes: letter.tuple, count: 1 }),
            id: letter.id,
            failed_at: letter.failed_at,
            reason: letter.reason,
            batch_id: letter.batch_id,
        };
        let letters = listed.dead_letters.into_iter().map(letter).collect();
        store::DeadLetters { letters, total: listed.total, next: listed.next }
    }
}

impl Listed {
    /// What `GET /dead-letters` answers.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = b"{\"dead_letters\":[".to_vec();
        for (index, letter) in self.dead_letters.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            letter.write_json(&mut out);
        }
        out.extend_from_slice(format!("],\"total\":{},\"next_cursor\":", self.total).as_bytes());
        match self.next {
            Some(cursor) => out.extend_from_slice(format!("\"{cursor}\"}}").as_bytes()),
            None => out.extend_from_slice(b"null}"),
        }
        out
    }
}

const COUNT: &str = "SELECT count(*) FROM dead_letters";

pub async fn count(client: &Client) -> Result<u64, PostgresError> {
    Ok(client.query_one(COUNT, &[]).await?.get::<_, i64>(0) as u64)
}

/// At most `limit` letters, and [`LIST_MAX`], the last refused first.
pub async fn list(client: &Client, limit: usize, cursor: Option<Cursor>) -> Result<Listed, PostgresError> {
    Ok(page(client, limit, cursor).await?)
}

/// As [`list`], with the failure as the driver tells it.
pub(super) async fn page(
    client: &Client,
    limit: usize,
    cursor: Option<Cursor>,
) -> Result<Listed, tokio_postgres::Error> {
    let limit = limit.clamp(1, LIST_MAX);
    // One more than asked for tells whether there is another page.
    const PAGE: &str = "
        SELECT id, failed, reason, batch_id, tuple FROM (
            SELECT id, (extract(epoch FROM failed_at) * 1000000)::bigint AS failed, reason, batch_id, tuple,
                sum(octet_length(tuple)) OVER (ORDER BY failed_at DESC, id DESC) - octet_length(tuple) AS before
            FROM dead_letters
            WHERE (failed_at, id) < ('epoch'::timestamptz + $1::bigint * interval '1 microsecond', $2)
            ORDER BY failed_at DESC, id DESC LIMIT $3) page
        WHERE before < $4 ORDER BY failed DESC, id DESC";
    /// Past the year 9999.
    const END: i64 = 300_000_000_000_000_000;
    let from = cursor.unwrap_or(Cursor { failed_at: END, id: Id::MAX });
    let rows = client.query(PAGE, &[&from.failed_at, &Uuid(from.id), &(limit as i64 + 1), &BYTES_MAX]).await?;
    let mut dead_letters: Vec<DeadLetter> = rows
        .iter()
        .map(|row| DeadLetter {
            id: row.get::<_, Uuid>(0).0,
            failed_at: Timestamp::clamped(row.get(1)),
            reason: row.get(2),
            batch_id: row.get::<_, Uuid>(3).0,
            tuple: row.get(4),
        })
        .collect();
    dead_letters.truncate(limit);
    let total = client.query_one(COUNT, &[]).await?.get::<_, i64>(0) as u64;
    let mut next = None;
    if let Some(last) = dead_letters.last() {
        let at = Cursor { failed_at: last.failed_at.as_micros(), id: last.id };
        let more = "SELECT EXISTS (SELECT FROM dead_letters WHERE (failed_at, id) <
            ('epoch'::timestamptz + $1::bigint * interval '1 microsecond', $2))";
        let is_more: bool = client.query_one(more, &[&at.failed_at, &Uuid(at.id)]).await?.get(0);
        next = is_more.then_some(at);
    }
    Ok(Listed { dead_letters, total, next })
}

/// Throws letters away. How many there were.
pub async fn drop(client: &Client, which: &Which) -> Result<u64, PostgresError> {
    Ok(match which {
        Which::All => client.execute("DELETE FROM dead_letters", &[]).await?,
        Which::Ids(ids) => {
            let ids: Vec<Uuid> = ids.iter().copied().map(Uuid).collect();
            client.execute("DELETE FROM dead_letters WHERE id = ANY ($1)", &[&ids]).await?
        }
    })
}

/// Tries letters again, those first that were refused first. If it fails in between, what was tried is settled, and the
/// rest is as it was.
pub async fn replay(target: &Target, which: &Which) -> Result<Replayed, PostgresError> {
    let options = WriterOptions::default();
    let mut session = Session::open(target, &application_name("replay"), options.lock_timeout).await?;
    // What is refused again gets a later time, and is not met again.
    let now = "SELECT (extract(epoch FROM now()) * 1000000)::bigint";
    let until: i64 = session.client.query_one(now, &[]).await?.get(0);
    let ids = match which {
        Which::All => None,
        Which::Ids(ids) => Some(ids.iter().copied().map(Uuid).collect::<Vec<_>>()),
    };
    let mut done = Replayed::default();
    let mut from = Cursor { failed_at: i64::MIN / 2, id: Id::MIN };
    loop {
        let page = next_page(&session.client, ids.as_deref(), from, until).await?;
        let Some((last, _, _)) = page.last() else { return Ok(done) };
        from = *last;
        let keys: Vec<Uuid> = page.iter().map(|(cursor, _, _)| Uuid(cursor.id)).collect();
        let times: Vec<i64> = page.iter().filter_map(|(_, tuple, _)| time_of(tuple)).collect();
        let missing: Vec<i64> = times.into_iter().filter(|&at| session.partitions.of(at).is_none()).collect();
        let window = Window::around(crate::clock::now(), options.retain);
        session.partitions.make(&session.client, &missing, window, options.lock_timeout).await?;
        match replay_some(&session, &keys).await {
            Ok(more) => {
                done.stored += more.stored;
                done.known += more.known;
                done.refused += more.refused;
            }
            Err(Trouble::Unreachable(error)) => return Err(error),
            Err(Trouble::Fault(Fault::Refused, text)) => return Err(PostgresError::Refused(text)),
            Err(Trouble::Fault(_, text)) => return Err(PostgresError::Away(text)),
            Err(Trouble::Held(_)) => return Err(PostgresError::Away("another session replays them".to_owned())),
        }
    }
}

fn time_of(tuple: &[u8]) -> Option<i64> {
    Row::split(tuple).ok().map(|(row, _)| row.timestamp().as_micros())
}

type Letter = (Cursor, Vec<u8>, Id);

/// Letters after `from` and refused before `until`, the oldest first.
async fn next_page(
    client: &Client,
    ids: Option<&[Uuid]>,
    from: Cursor,
    until: i64,
) -> Result<Vec<Letter>, PostgresError> {
    const PAGE: &str = "
        SELECT failed, id, tuple, batch_id FROM (
            SELECT (extract(epoch FROM failed_at) * 1000000)::bigint AS failed, id, tuple, batch_id,
                sum(octet_length(tuple)) OVER (ORDER BY failed_at, id) - octet_length(tuple) AS before
            FROM (SELECT * FROM dead_letters
                WHERE (extract(epoch FROM failed_at) * 1000000, id) > ($1::bigint, $2::uuid)
                    AND (extract(epoch FROM failed_at) * 1000000) <= $3::bigint AND ($4::uuid[] IS NULL OR id = ANY ($4))
                ORDER BY failed_at, id LIMIT $5) letters) page
        WHERE before < $6 ORDER BY failed, id";
    let parameters: [&(dyn ToSql + Sync); 6] =
        [&from.failed_at, &Uuid(from.id), &until, &ids, &REPLAYED_AT_ONCE, &BYTES_MAX];
    let rows = client.query(PAGE, &parameters).await?;
    let letter = |row: &tokio_postgres::Row| {
        let cursor = Cursor { failed_at: row.get(0), id: row.get::<_, Uuid>(1).0 };
        (cursor, row.get(2), row.get::<_, Uuid>(3).0)
    };
    Ok(rows.iter().map(letter).collect())
}

async fn replay_some(session: &Session, ids: &[Uuid]) -> Result<Replayed, Trouble> {
    session.begin().await?;
    let taken = "DELETE FROM dead_letters WHERE id = ANY ($1) RETURNING tuple, batch_id";
    let taken = session.client.query(taken, &[&ids]).await?;
    let letters: Vec<(&[u8], Id)> = taken.iter().map(|row| (row.get(0), row.get::<_, Uuid>(1).0)).collect();
    let mut origins = Vec::with_capacity(letters.len());
    for &(tuple, batch) in &letters {
        let (row, _) = Row::split(tuple).map_err(|error| {
            Trouble::Fault(
                Fault::Refused,
                format!("a dead letter is damaged ({error}): `logboom dead-letters drop` it"),
            )
        })?;
        origins.push(Origin { row, batch });
    }
    let done = careful::store_rows(session, &origins).await?;
    session.commit().await?;
    Ok(Replayed { stored: done.rows, known: done.before, refused: done.dead })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back() {
        let cursor = Cursor { failed_at: 1_795_176_000_000_000, id: Id::MAX };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for text in ["", "1", "x-y", "1-2"] {
            assert!(text.parse::<Cursor>().unwrap_err().contains("next_cursor"));
        }
    }

    #[test]
    fn a_row_that_cannot_be_read_is_shown_without_it() {
        let letter = DeadLetter {
            id: Id::MIN,
            failed_at: Timestamp::MIN,
            reason: "it is \"wrong\"".to_owned(),
            batch_id: Id::MIN,
            tuple: vec![1, 2, 3],
        };
        let listed = Listed { dead_letters: vec![letter], total: 1, next: None };
        let json = String::from_utf8(listed.to_json()).unwrap();
        assert_eq!(
            json,
            "{\"dead_letters\":[{\"id\":\"00000000-0000-0000-0000-000000000000\",\
             \"failed_at\":\"1970-01-01T00:00:00.000000Z\",\"reason\":\"it is \\\"wrong\\\"\",\
             \"batch_id\":\"00000000-0000-0000-0000-000000000000\",\"log\":null}],\"total\":1,\"next_cursor\":null}"
        );
    }
}
