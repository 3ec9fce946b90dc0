//! Answers, put together.

use record::text::push_json_string;

/// An answer with its whole body.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    /// Of an error, for the metrics; the body tells it to the client.
    pub code: Option<&'static str>,
    pub content_type: &'static str,
    pub body: Vec<u8>,
    pub retry_after_seconds: Option<u32>,
    pub allow: Option<&'static str>,
    /// The connection ends after this answer, whatever the client asked.
    pub close: bool,
}

impl Reply {
    pub fn json(status: u16, body: Vec<u8>) -> Reply {
        Reply {
            status,
            code: None,
            content_type: "application/json",
            body,
            retry_after_seconds: None,
            allow: None,
            close: false,
        }
    }

    /// An error in the one shape that errors have: `{"error": {"code", "message"}}`.
    pub fn error(status: u16, code: &'static str, message: &str) -> Reply {
        Reply::error_at(status, code, message, None, None)
    }

    /// The same with the place in the body: `{"error": {"code", "message", "line", "column"}}`.
    pub fn error_at(
        status: u16,
        code: &'static str,
        message: &str,
        line: Option<usize>,
        column: Option<usize>,
    ) -> Reply {
        Reply { code: Some(code), ..Reply::json(status, error_body(code, message, line, column)) }
    }

    pub fn closing(mut self) -> Reply {
        self.close = true;
        self
    }

    pub fn retry_after(mut self, seconds: u32) -> Reply {
        self.retry_after_seconds = Some(seconds);
        self
    }

    pub fn allow(mut self, methods: &'static str) -> Reply {
        self.allow = Some(methods);
        self
    }

    /// Appends the answer as it goes over the wire; without its body for HEAD.
    pub fn write(&self, keep_alive: bool, is_head: bool, out: &mut Vec<u8>) {
        let mut number = itoa::Buffer::new();
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(number.format(self.status).as_bytes());
        out.push(b' ');
        out.extend_from_slice(reason(self.status).as_bytes());
        out.extend_from_slice(b"\r\nContent-Type: ");
        out.extend_from_slice(self.content_type.as_bytes());
        out.extend_from_slice(b"\r\nContent-Length: ");
        out.extend_from_slice(number.format(self.body.len()).as_bytes());
        if let Some(seconds) = self.retry_after_seconds {
            out.extend_from_slice(b"\r\nRetry-After: ");
            out.extend_from_slice(number.format(seconds).as_bytes());
        }
        if let Some(methods) = self.allow {
            out.extend_from_slice(b"\r\nAllow: ");
            out.extend_from_slice(methods.as_bytes());
        }
        out.extend_from_slice(b"\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n");
        out.extend_from_slice(match keep_alive && !self.close {
            true => b"Connection: keep-alive\r\n\r\n",
            false => b"Connection: close\r\n\r\n",
        });
        if !is_head {
            out.extend_from_slice(&self.body);
        }
    }
}

/// The body of an error answer.
pub fn error_body(code: &str, message: &str, line: Option<usize>, column: Option<usize>) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    out.extend_from_slice(b"{\"error\":");
    push_error(&mut out, code, message, line, column);
    out.push(b'}');
    out
}

/// Appends `{"code", "message", "line", "column"}`, the last two where they are known.
pub fn push_error(out: &mut Vec<u8>, code: &str, message: &str, line: Option<usize>, column: Option<usize>) {
    out.extend_from_slice(b"{\"code\":");
    push_json_string(code.as_bytes(), out);
    out.extend_from_slice(b",\"message\":");
    push_json_string(message.as_bytes(), out);
    for (name, value) in [(&b",\"line\":"[..], line), (b",\"column\":", column)] {
        if let Some(value) = value {
            out.extend_from_slice(name);
            out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        }
    }
    out.push(b'}');
}

/// The reason phrase of a status that this program sends (RFC 9110 §15).
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Unknown",
    }
}
