//! Request heads. Comes in: the bytes of a connection so far. Goes out: a head that owns what it needs, or what is
//! wrong with it and which status says so.

use std::mem::MaybeUninit;

use httparse::Header;

use super::body::Framing;

/// A request line longer than this is answered 414.
const TARGET_BYTES_MAX: usize = 16 * 1024;

/// `headers_max` may be set up to here: room for them is made on the stack.
pub const HEADERS_MAX: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
    Post,
    Other(String),
}

impl Method {
    pub fn as_str(&self) -> &str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Other(name) => name,
        }
    }
}

/// A request's head.
#[derive(Clone, Debug)]
pub struct Head {
    pub method: Method,
    /// Percent-encoded, as it came.
    pub path: String,
    /// What follows the question mark, without it.
    pub query: String,
    pub is_http_1_1: bool,
    pub framing: Framing,
    pub keep_alive: bool,
    pub expects_continue: bool,
    pub content_type: Option<String>,
    pub content_encoding: Option<String>,
    pub host: Option<String>,
    pub origin: Option<String>,
    /// The client asks for another protocol on this connection (a WebSocket).
    pub upgrade: bool,
    /// The fields that may be passed on to the sidecar, as lines: all but those that concern this connection only.
    pub end_to_end: Vec<u8>,
}

/// A head that cannot be answered as asked. The connection ends after the answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct HeadError {
    pub status: u16,
    pub code: &'static str,
    pub message: String,
}

fn refuse(status: u16, code: &'static str, message: impl Into<String>) -> HeadError {
    HeadError { status, code, message: message.into() }
}

/// How long a head may be.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    pub head_bytes_max: usize,
    pub headers_max: usize,
}

impl Head {
    /// Reads the head at the start of `bytes`: the head and its length, or `None` when more is needed.
    pub fn parse(bytes: &[u8], limits: HeadLimits) -> Result<Option<(Head, usize)>, HeadError> {
        // Empty lines before a request are skipped (RFC 9112 §2.2), a few of them.
        let blank = bytes.iter().take(8).take_while(|b| matches!(b, b'\r' | b'\n')).count();
        let text = &bytes[blank..];
        let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let headers = &mut headers[..limits.headers_max.min(HEADERS_MAX)];
        let mut request = httparse::Request::new(&mut []);
        let length = match request.parse_with_uninit_headers(text, headers) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if text.len() >= limits.head_bytes_max => return Err(too_large(limits)),
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => {
                let message = format!("more than {} header fields: raise headers_max", limits.headers_max);
                return Err(refuse(431, "too_many_headers", message));
            }
            Err(httparse::Error::Version) => {
                return Err(refuse(505, "http_version", "only HTTP/1.0 and HTTP/1.1 are spoken here"));
            }
            Err(error) => return Err(refuse(400, "malformed_head", format!("malformed request head: {error}"))),
        };
        if length > limits.head_bytes_max {
            return Err(too_large(limits));
        }
        let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
            return Err(refuse(400, "malformed_head", "malformed request head: no request line"));
        };
        Ok(Some((Head::read(method, target, minor == 1, request.headers)?, blank + length)))
    }

    fn read(method: &str, target: &str, is_http_1_1: bool, headers: &[Header]) -> Result<Head, HeadError> {
        if target.len() > TARGET_BYTES_MAX {
            let message =
                format!("the request target is {} bytes long, at most {TARGET_BYTES_MAX} are read", target.len());
            return Err(refuse(414, "target_too_long", message));
        }
        let (path, query) = split_target(target)?;
        let mut head = Head {
            method: match method {
                "GET" => Method::Get,
                "HEAD" => Method::Head,
                "POST" => Method::Post,
                other => Method::Other(other.to_owned()),
            },
            path,
            query,
            is_http_1_1,
            framing: Framing::Empty,
            keep_alive: is_http_1_1,
            expects_continue: false,
            content_type: None,
            content_encoding: None,
            host: None,
            origin: None,
            upgrade: false,
            end_to_end: Vec::new(),
        };
        let mut framing = FramingHeaders::default();
        for header in headers {
            head.take(header, &mut framing)?;
        }
        if head.is_http_1_1 && head.host.is_none() {
            return Err(refuse(400, "no_host", "an HTTP/1.1 request needs a Host field (RFC 9112 §3.2)"));
        }
        head.framing = framing.settle(is_http_1_1)?;
        Ok(head)
    }

    fn take(&mut self, header: &Header, framing: &mut FramingHeaders) -> Result<(), HeadError> {
        let name = header.name;
        let value = header.value.trim_ascii();
        let text = || String::from_utf8_lossy(value).into_owned();
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        // Lengths first: most fields are none of these, and say so by their length.
        match name.len() {
            4 if is("host") => {
                if self.host.is_some() {
                    return Err(refuse(400, "two_hosts", "a request has one Host field (RFC 9112 §3.2)"));
                }
                self.host = Some(text());
            }
            6 if is("origin") => self.origin = Some(text()),
            6 if is("expect") => {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(refuse(417, "unknown_expectation", format!("unknown expectation `{}`", text())));
                }
                self.expects_continue = self.is_http_1_1;
                return Ok(());
            }
            7 if is("upgrade") => {
                self.upgrade = true;
                return Ok(());
            }
            10 if is("connection") => {
                for option in value.split(|&b| b == b',') {
                    match option.trim_ascii() {
                        close if close.eq_ignore_ascii_case(b"close") => self.keep_alive = false,
                        keep if keep.eq_ignore_ascii_case(b"keep-alive") && !self.is_http_1_1 => self.keep_alive = true,
                        _ => {}
                    }
                }
                return Ok(());
            }
            12 if is("content-type") => self.content_type = Some(text()),
            14 if is("content-length") => {
                framing.lengths.push(text());
                return Ok(());
            }
            16 if is("content-encoding") => self.content_encoding = Some(text()),
            17 if is("transfer-encoding") => {
                framing.transfer_encodings.push(text());
                return Ok(());
            }
            _ if ["keep-alive", "proxy-connection", "te", "trailer"].iter().any(|hop| is(hop)) => return Ok(()),
            _ => {}
        }
        self.end_to_end.extend_from_slice(name.as_bytes());
        self.end_to_end.extend_from_slice(b": ");
        self.end_to_end.extend_from_slice(value);
        self.end_to_end.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// Whether a browser sent this from a page of another site.
    pub fn is_foreign(&self, allowed: &[String]) -> bool {
        let Some(origin) = &self.origin else { return false };
        if allowed.iter().any(|one| one == "*" || one.eq_ignore_ascii_case(origin)) {
            return false;
        }
        let origin_host = origin.split_once("://").map(|(_, host)| host);
        match (origin_host, &self.host) {
            (Some(origin), Some(host)) => !origin.eq_ignore_ascii_case(host),
            _ => true,
        }
    }
}

fn too_large(limits: HeadLimits) -> HeadError {
    let message = format!("the request head is longer than {} bytes: raise head_bytes_max", limits.head_bytes_max);
    refuse(431, "head_too_large", message)
}

/// Path and query of an origin-form or absolute-form target (RFC 9112 §3.2).
fn split_target(target: &str) -> Result<(String, String), HeadError> {
    let origin_form = match target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('/') => rest.find('/').map_or("/", |at| &rest[at..]),
        _ => target,
    };
    if !origin_form.starts_with('/') && origin_form != "*" {
        return Err(refuse(400, "malformed_target", format!("the request target `{target}` is no path")));
    }
    let (path, query) = origin_form.split_once('?').unwrap_or((origin_form, ""));
    let query = query.split('#').next().unwrap_or_default();
    Ok((path.to_owned(), query.to_owned()))
}

/// The two fields that frame a body, before they are weighed against each other.
#[derive(Default)]
struct FramingHeaders {
    lengths: Vec<String>,
    transfer_encodings: Vec<String>,
}

impl FramingHeaders {
    /// RFC 9112 §6.1 and §6.3: whatever two readers could take differently is refused, since that is how requests are
    /// smuggled.
    fn settle(self, is_http_1_1: bool) -> Result<Framing, HeadError> {
        if !self.transfer_encodings.is_empty() {
            if !self.lengths.is_empty() {
                let message = "both Transfer-Encoding and Content-Length: send one of them";
                return Err(refuse(400, "two_framings", message));
            }
            if !is_http_1_1 {
                return Err(refuse(400, "two_framings", "HTTP/1.0 knows no Transfer-Encoding"));
            }
            return match &*self.transfer_encodings {
                [one] if one.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
                more => {
                    let message = format!("transfer coding `{}` is not spoken here, only chunked", more.join(", "));
                    Err(refuse(501, "unknown_transfer_coding", message))
                }
            };
        }
        let Some(first) = self.lengths.first() else { return Ok(Framing::Empty) };
        if self.lengths.iter().any(|other| other != first) {
            return Err(refuse(400, "two_framings", format!("two Content-Lengths: {}", self.lengths.join(", "))));
        }
        let is_number = !first.is_empty() && first.bytes().all(|b| b.is_ascii_digit());
        match first.parse().ok().filter(|_| is_number) {
            Some(0) => Ok(Framing::Empty),
            Some(length) => Ok(Framing::Length(length)),
            None => Err(refuse(400, "malformed_length", format!("Content-Length `{first}` is no number of bytes"))),
        }
    }
}

/// The parameters of a query string, decoded (`+` is a blank, as forms send it).
pub fn query_params(query: &str) -> Vec<(String, String)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decode(key), percent_decode(value))
        })
        .collect()
}

fn percent_decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&b) = bytes.get(at) {
        let hex = |i: usize| bytes.get(at + i).and_then(|&b| (b as char).to_digit(16));
        match (b, hex(1), hex(2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', ..) => out.push(b' '),
            _ => out.push(b),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { head_bytes_max: 1024, headers_max: 10 };

    fn parse(text: &str) -> Result<Option<(Head, usize)>, HeadError> {
        Head::parse(text.as_bytes(), LIMITS)
    }

    fn head(text: &str) -> Head {
        parse(text).unwrap().unwrap().0
    }

    #[test]
    fn a_whole_head() {
        let text = "POST /data/fast?source=a%20b&x=1+2 HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n\
                    Content-Length: 12\r\nExpect: 100-continue\r\nX-Y: z\r\n\r\nbody";
        let (head, length) = parse(text).unwrap().unwrap();
        assert_eq!(length, text.len() - 4);
        assert_eq!((head.path.as_str(), head.framing), ("/data/fast", Framing::Length(12)));
        assert!(head.keep_alive && head.expects_continue);
        assert_eq!(query_params(&head.query), [("source".into(), "a b".into()), ("x".into(), "1 2".into())]);
        assert_eq!(
            String::from_utf8(head.end_to_end).unwrap(),
            "Host: h\r\nContent-Type: application/json\r\nX-Y: z\r\n"
        );
    }

    #[test]
    fn cut_anywhere_it_waits() {
        let text = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
        for cut in 0..text.len() {
            assert!(parse(&text[..cut]).unwrap().is_none(), "{cut}");
        }
    }

    #[test]
    fn keep_alive_by_version() {
        assert!(!head("GET / HTTP/1.0\r\n\r\n").keep_alive);
        assert!(head("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").keep_alive);
        assert!(!head("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").keep_alive);
    }

    #[test]
    fn what_could_be_smuggled_is_refused() {
        for (fields, status) in [
            ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", 400),
            ("Content-Length: 1\r\nContent-Length: 2\r\n", 400),
            ("Content-Length: +1\r\n", 400),
            ("Content-Length: 1, 1\r\n", 400),
            ("Content-Length: 99999999999999999999999\r\n", 400),
            ("Transfer-Encoding: gzip, chunked\r\n", 501),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 501),
            ("A : b\r\n", 400),
            ("A: b\rC: d\r\n", 400),
            ("A: b\r\n folded\r\n", 400),
            ("Host: two\r\n", 400),
            ("Expect: magic\r\n", 417),
        ] {
            let error = parse(&format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n")).unwrap_err();
            assert_eq!(error.status, status, "{fields}");
        }
        assert_eq!(parse("GET / HTTP/1.1\r\n\r\n").unwrap_err().code, "no_host");
        assert_eq!(parse("GET / HTTP/2.0\r\n\r\n").unwrap_err().status, 505);
    }

    #[test]
    fn floods_are_refused() {
        let many = "A: b\r\n".repeat(11);
        assert_eq!(parse(&format!("GET / HTTP/1.1\r\nHost: h\r\n{many}")).unwrap_err().status, 431);
        let long = "a".repeat(2000);
        assert_eq!(parse(&format!("GET / HTTP/1.1\r\nHost: h\r\nA: {long}")).unwrap_err().status, 431);
    }

    #[test]
    fn origins() {
        let with = |origin: &str| head(&format!("GET / HTTP/1.1\r\nHost: a:1\r\nOrigin: {origin}\r\n\r\n"));
        assert!(!with("http://a:1").is_foreign(&[]));
        assert!(with("http://b").is_foreign(&[]));
        assert!(with("null").is_foreign(&[]));
        assert!(!with("http://b").is_foreign(&["http://b".into()]));
    }

    #[test]
    fn absolute_targets() {
        assert_eq!(head("GET http://h:1/a?b=c HTTP/1.1\r\nHost: h\r\n\r\n").path, "/a");
        assert_eq!(parse("GET a HTTP/1.1\r\nHost: h\r\n\r\n").unwrap_err().status, 400);
    }
}
