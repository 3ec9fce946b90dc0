//! `GET /dead-letters`: what the store refused for good, with its reason, the last refused first.

use engine::store::LetterPosition;

use crate::Sidecar;
use crate::answer::{Answer, json};
use crate::error::ApiError;
use crate::params::{Params, shown};
use crate::query::set_timing;

pub const LETTERS_DEFAULT: usize = 100;
/// A page is held in memory as a whole, and a letter may be a record of 2 MiB.
pub const LETTERS_MAX: usize = 1_000;

pub async fn page(sidecar: &Sidecar, mut params: Params) -> Result<Answer, ApiError> {
    let limit = params.number("limit", LETTERS_DEFAULT, 1..=LETTERS_MAX, ": page with cursor")?;
    let start = params.take("cursor")?.map(|text| read_cursor(&text)).transpose()?;
    params.end()?;
    let ran = sidecar.queries.run(move |reader, stop| reader.dead_letters(limit, start, stop)).await?;
    let found = &ran.answer;
    let mut body = b"{\"dead_letters\":[".to_vec();
    for (i, letter) in found.letters.iter().enumerate() {
        if i > 0 {
            body.push(b',');
        }
        body.extend_from_slice(b"{\"id\":\"");
        letter.id.write(&mut body);
        body.extend_from_slice(b"\",\"failed_at\":\"");
        letter.failed_at.write_rfc3339(&mut body);
        body.extend_from_slice(b"\",\"reason\":");
        record::text::push_json_string(letter.reason.as_bytes(), &mut body);
        body.extend_from_slice(b",\"batch_id\":\"");
        letter.batch_id.write(&mut body);
        body.extend_from_slice(b"\",\"log\":");
        match letter.row.as_ref().and_then(|rows| rows.rows().next()) {
            Some(row) => {
                // What is not UTF-8 in it may be why it was refused.
                let mut log = Vec::new();
                row.write_json(&mut log);
                body.extend_from_slice(String::from_utf8_lossy(&log).as_bytes());
            }
            None => body.extend_from_slice(b"null"),
        }
        body.push(b'}');
    }
    body.extend_from_slice(format!("],\"total\":{},\"next_cursor\":", found.total).as_bytes());
    match found.next {
        Some(position) => body.extend_from_slice(format!("\"{position}\"").as_bytes()),
        None => body.extend_from_slice(b"null"),
    }
    body.push(b'}');
    let mut response = json(body);
    set_timing(response.headers_mut(), &ran);
    Ok(response)
}

/// No filter goes with it: the place is the whole cursor.
fn read_cursor(text: &str) -> Result<LetterPosition, ApiError> {
    text.parse().map_err(|_| {
        ApiError::bad_request(
            "bad_cursor",
            format!("`{}` is no cursor: give next_cursor of the page before, or leave it out", shown(text)),
        )
    })
}
