//! `GET /logs/`, `/logs/{id}` and `/logs/{id}/context`: pages of records, one record, and its neighbours.

use engine::store::RowBuf;
use record::Id;

use crate::Sidecar;
use crate::answer::{Answer, json};
use crate::cursor::Cursor;
use crate::error::ApiError;
use crate::params::{Params, shown};
use crate::query::set_timing;

pub const PAGE_ROWS_DEFAULT: usize = 100;
/// A page is held in memory as a whole: 10,000 records are a few MB. `/logs/export` has no limit.
pub const PAGE_ROWS_MAX: usize = 10_000;
pub const CONTEXT_ROWS_DEFAULT: usize = 10;
/// Neighbours to each side: more than anyone reads by scrolling.
pub const CONTEXT_ROWS_MAX: usize = 1_000;

pub async fn page(sidecar: &Sidecar, mut params: Params) -> Result<Answer, ApiError> {
    let limit =
        params.number("limit", PAGE_ROWS_DEFAULT, 1..=PAGE_ROWS_MAX, ": page with cursor, or use /logs/export")?;
    let cursor = params.take("cursor")?.map(|text| Cursor::read(&text)).transpose()?;
    let received = cursor.map_or_else(|| sidecar.now(), |cursor| cursor.received);
    let filter = params.filter(received, &sidecar.config.timezone)?;
    let fingerprint = filter.fingerprint();
    let start = cursor.map(|cursor| cursor.position_in(&filter)).transpose()?;
    let ran = sidecar.queries.run(move |reader, stop| reader.page(&filter, limit, start, stop)).await?;
    let page = &ran.answer;
    let mut body = Vec::with_capacity(64 + page.rows.bytes.len() * 5 / 4);
    body.extend_from_slice(b"{\"logs\":");
    push_rows(&page.rows, &mut body);
    body.extend_from_slice(b",\"next_cursor\":");
    match page.next {
        Some(position) => {
            body.push(b'"');
            body.extend_from_slice(Cursor { position, received, fingerprint }.write().as_bytes());
            body.push(b'"');
        }
        None => body.extend_from_slice(b"null"),
    }
    body.push(b'}');
    let mut response = json(body);
    set_timing(response.headers_mut(), &ran);
    Ok(response)
}

pub async fn one(sidecar: &Sidecar, id: &str, params: Params) -> Result<Answer, ApiError> {
    params.end()?;
    let id = parse_id(id)?;
    let ran = sidecar.queries.run(move |reader, stop| reader.get(id, stop)).await?;
    let mut body = Vec::new();
    match ran.answer.as_ref().and_then(|rows| rows.rows().next()) {
        Some(row) => row.write_json(&mut body),
        None => return Err(no_record(id)),
    }
    let mut response = json(body);
    set_timing(response.headers_mut(), &ran);
    Ok(response)
}

pub async fn context(sidecar: &Sidecar, id: &str, mut params: Params) -> Result<Answer, ApiError> {
    let before = params.number("before", CONTEXT_ROWS_DEFAULT, 0..=CONTEXT_ROWS_MAX, "")?;
    let after = params.number("after", CONTEXT_ROWS_DEFAULT, 0..=CONTEXT_ROWS_MAX, "")?;
    params.end()?;
    let id = parse_id(id)?;
    let ran = sidecar.queries.run(move |reader, stop| reader.context(id, before, after, stop)).await?;
    let Some(context) = &ran.answer else { return Err(no_record(id)) };
    let Some(log) = context.log.rows().next() else { return Err(no_record(id)) };
    let mut body = Vec::new();
    body.extend_from_slice(b"{\"before\":");
    push_rows(&context.before, &mut body);
    body.extend_from_slice(b",\"log\":");
    log.write_json(&mut body);
    body.extend_from_slice(b",\"after\":");
    push_rows(&context.after, &mut body);
    body.push(b'}');
    let mut response = json(body);
    set_timing(response.headers_mut(), &ran);
    Ok(response)
}

/// Appends rows as a JSON array of records.
fn push_rows(rows: &RowBuf, out: &mut Vec<u8>) {
    out.push(b'[');
    for (i, row) in rows.rows().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        row.write_json(out);
    }
    out.push(b']');
}

fn parse_id(text: &str) -> Result<Id, ApiError> {
    Id::parse(text).ok_or_else(|| {
        ApiError::bad_request(
            "bad_id",
            format!("`{}` is no id: give the 36 characters of a UUID, as `id` of a record has them", shown(text)),
        )
    })
}

fn no_record(id: Id) -> ApiError {
    ApiError::not_found(format!("no record has the id {id}: it may have been older than the retention"))
}
