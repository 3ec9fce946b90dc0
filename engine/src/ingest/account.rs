//! What became of a body's records, and how the answer tells it.

use record::format::Reject;

use crate::http::Reply;
use crate::http::reply::push_error;

/// Of the rejected records so many are told in the answer; all are counted.
const ERRORS_SHOWN_MAX: usize = 100;

/// What became of a body's records.
#[derive(Default)]
pub struct Account {
    /// Of the next record: blank lines count too.
    pub index: u64,
    pub accepted: u64,
    pub rejected: u64,
    pub errors: Vec<(u64, Reject)>,
}

impl Account {
    pub fn reject(&mut self, reject: Reject) {
        self.rejected += 1;
        if self.errors.len() < ERRORS_SHOWN_MAX {
            self.errors.push((self.index, reject));
        }
    }

    /// The codes of the rejected that were kept, for the metrics.
    pub fn codes(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.errors.iter().map(|(_, reject)| reject.code)
    }

    /// The answer when all that was accepted is durable.
    pub fn reply(&self) -> Reply {
        if self.accepted == 0 && self.rejected == 0 {
            return Reply::error(422, "empty_body", "the body holds no record: send at least one");
        }
        let mut body = Vec::with_capacity(64);
        body.extend_from_slice(b"{\"accepted\":");
        body.extend_from_slice(itoa::Buffer::new().format(self.accepted).as_bytes());
        body.extend_from_slice(b",\"rejected\":");
        body.extend_from_slice(itoa::Buffer::new().format(self.rejected).as_bytes());
        body.extend_from_slice(b",\"errors\":[");
        for (i, (index, reject)) in self.errors.iter().enumerate() {
            if i > 0 {
                body.push(b',');
            }
            body.extend_from_slice(b"{\"index\":");
            body.extend_from_slice(itoa::Buffer::new().format(*index).as_bytes());
            body.push(b',');
            let start = body.len();
            push_error(&mut body, reject.code, &reject.message, reject.line, reject.column);
            // The error's own members stand beside the index.
            body.remove(start);
        }
        body.push(b']');
        if self.accepted == 0 {
            body.extend_from_slice(b",\"error\":");
            let message = format!("none of {} records was taken: see errors", self.rejected);
            push_error(&mut body, "nothing_accepted", &message, None, None);
        }
        body.push(b'}');
        Reply::json(if self.accepted == 0 { 422 } else { 202 }, body)
    }
}

/// An error answer that tells a reject.
pub fn reject_reply(status: u16, reject: &Reject) -> Reply {
    Reply::error_at(status, reject.code, &reject.message, reject.line, reject.column)
}

/// The answer to a document that is no JSON: the reason, and where, as line and column.
pub fn malformed_reply(text: &[u8], at: usize, reason: &str) -> Reply {
    reject_reply(400, &malformed(text, at, reason))
}

pub fn malformed(text: &[u8], at: usize, reason: &str) -> Reject {
    let before = &text[..at.min(text.len())];
    let line = 1 + memchr::memchr_iter(b'\n', before).count();
    let column = before.len() - memchr::memrchr(b'\n', before).map_or(0, |feed| feed + 1) + 1;
    let code = if reason == record::json::TOO_DEEP { "too_deep" } else { "malformed_json" };
    Reject { code, message: format!("malformed JSON: {reason}"), line: Some(line), column: Some(column) }
}
