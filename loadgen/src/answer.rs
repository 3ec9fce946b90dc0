//! Answers on a connection that is not waited for: how long each is, once enough of it has come.

use crate::drive::LoadError;

const HEADERS_MAX: usize = 32;
/// Longest answer that is gathered; a load's answers are a few hundred bytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// A whole answer at the head of what was read.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Where its body is; chunk sizes are still in it where it came in chunks.
    pub body: std::ops::Range<usize>,
    pub length: usize,
    pub closes: bool,
}

/// The first answer in `bytes`, or `None` while some of it is missing.
pub fn parse(bytes: &[u8]) -> Result<Option<Answer>, LoadError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let head = match response.parse(bytes) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) if bytes.len() <= ANSWER_BYTES_MAX => return Ok(None),
        Ok(httparse::Status::Partial) => return Err(LoadError::Answer("its head has no end".to_owned())),
        Err(error) => return Err(LoadError::Answer(format!("it is no HTTP: {error}"))),
    };
    let status = response.code.unwrap_or(0);
    let (mut content, mut chunked, mut closes) = (None, false, false);
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            content = std::str::from_utf8(header.value).ok().and_then(|text| text.trim().parse::<usize>().ok());
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = header.value.eq_ignore_ascii_case(b"chunked");
        } else if header.name.eq_ignore_ascii_case("connection") {
            closes = header.value.eq_ignore_ascii_case(b"close");
        }
    }
    let end = match (chunked, content) {
        (true, _) => chunks_end(bytes, head)?,
        (false, Some(content)) if content <= ANSWER_BYTES_MAX => Some(head + content),
        (false, None) if matches!(status / 100, 1) || matches!(status, 204 | 304) => Some(head),
        (false, _) => return Err(LoadError::Answer(format!("a {status} without a usable length"))),
    };
    Ok(end.filter(|&end| end <= bytes.len()).map(|end| Answer { status, body: head..end, length: end, closes }))
}

fn chunks_end(bytes: &[u8], mut at: usize) -> Result<Option<usize>, LoadError> {
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        match httparse::parse_chunk_size(rest) {
            Ok(httparse::Status::Complete((line, size))) if size <= ANSWER_BYTES_MAX as u64 => {
                at += line + size as usize + 2;
                if size == 0 {
                    return Ok(Some(at));
                }
            }
            Ok(httparse::Status::Partial) => return Ok(None),
            _ => return Err(LoadError::Answer("a chunk without a size".to_owned())),
        }
    }
}

/// The number behind `"accepted":` in a batch's answer.
pub fn accepted(body: &[u8]) -> Option<u64> {
    const KEY: &[u8] = b"\"accepted\":";
    let at = memchr::memmem::find(body, KEY)? + KEY.len();
    let digits = body[at..].trim_ascii_start();
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&digits[..length]).ok()?.parse().ok()
}

/// Whether an answer of `_bulk` says that it did not take all.
pub fn has_errors(body: &[u8]) -> bool {
    let mut rest = body;
    const KEY: &[u8] = b"\"errors\"";
    while let Some(at) = memchr::memmem::find(rest, KEY) {
        rest = rest[at + KEY.len()..].trim_ascii_start();
        if let Some(value) = rest.strip_prefix(b":") {
            return value.trim_ascii_start().starts_with(b"true");
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &str, expected: Result<Option<(u16, &str, usize)>, ()>) {
        let found = parse(bytes.as_bytes());
        let found = found.map(|answer| answer.map(|a| (a.status, &bytes[a.body], a.length))).map_err(|_| ());
        assert_eq!(found, expected, "{bytes:?}");
    }

    #[test]
    fn an_answer_ends_where_it_says() {
        let whole = "HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\n\r\nhello";
        check(&format!("{whole}HTTP/1.1"), Ok(Some((202, "hello", whole.len()))));
        for cut in 0..whole.len() {
            check(&whole[..cut], Ok(None));
        }
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
        check(chunked, Ok(Some((200, "2\r\nab\r\n0\r\n\r\n", chunked.len()))));
        check(&chunked[..chunked.len() - 1], Ok(None));
        check("HTTP/1.1 204 No Content\r\n\r\n", Ok(Some((204, "", 27))));
    }

    #[test]
    fn garbage_is_an_error() {
        check("garbage\r\n\r\n", Err(()));
        check("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", Err(()));
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Err(()));
    }

    #[test]
    fn what_a_batch_accepted_is_found() {
        assert_eq!(accepted(br#"{"accepted":4200,"rejected":0}"#), Some(4200));
        assert_eq!(accepted(br#"{"rejected":0, "accepted": 7}"#), Some(7));
        assert_eq!(accepted(b"{}"), None);
        assert!(has_errors(br#"{"errors" : true}"#) && has_errors(b"10\r\n{\"errors\":true}\r\n"));
        assert!(!has_errors(br#"{"errors":false}"#) && !has_errors(b"{}"));
    }
}
