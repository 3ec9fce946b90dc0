//! Access logs of web servers: the Common Log Format, and the combined one of Apache and Nginx.
//!
//! `[vhost ]client ident user [time] "request" status bytes[ "referer" "user agent"][ more]`
//!
//! Comes in every dialect of these two: IPv6 and host names as clients, `-` for what is missing, quotes escaped or not,
//! requests that are empty, binary or without a protocol, a virtual host before the client, further fields at the end
//! (kept as `metadata.extra`). A line that is cut in the middle of a field is none.

use memchr::memchr2;

use super::scan::{NO_HOST, closing_quote, find, is_address, whole_number, word_end};
use super::{FormatInfo, Malformed, Parser, mismatch};
use crate::fields::{Context, Fields};
use crate::level::Level;
use crate::text::Text;
use crate::time::{scan_bsd, scan_clf, scan_iso};

pub static COMMON: FormatInfo = FormatInfo {
    name: "apache_common",
    title: "Access log, Common Log Format (Apache and others)",
    example: r#"127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326"#,
    fields: &[
        "timestamp",
        "level",
        "source",
        "application",
        "message",
        "metadata.vhost",
        "metadata.client",
        "metadata.ident",
        "metadata.user",
        "metadata.method",
        "metadata.path",
        "metadata.protocol",
        "metadata.status",
        "metadata.bytes",
        "metadata.extra",
        "metadata.nanos",
    ],
    specification: "https://httpd.apache.org/docs/2.4/logs.html#common",
};

pub static COMBINED: FormatInfo = FormatInfo {
    name: "apache_combined",
    title: "Access log, combined format (Apache, Nginx and others)",
    example: r#"127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326 "http://www.example.com/start.html" "Mozilla/4.08 [en] (Win98; I ;Nav)""#,
    fields: &[
        "timestamp",
        "level",
        "source",
        "application",
        "message",
        "metadata.vhost",
        "metadata.client",
        "metadata.ident",
        "metadata.user",
        "metadata.method",
        "metadata.path",
        "metadata.protocol",
        "metadata.status",
        "metadata.bytes",
        "metadata.referer",
        "metadata.user_agent",
        "metadata.extra",
        "metadata.nanos",
    ],
    specification: "https://httpd.apache.org/docs/2.4/logs.html#combined",
};

/// Either of the two formats: one grammar, of which the combined one has two fields more.
pub struct Access {
    pub combined: bool,
}

impl Parser for Access {
    fn info(&self) -> &FormatInfo {
        if self.combined { &COMBINED } else { &COMMON }
    }

    fn parse<'a>(&self, line: &'a [u8], context: &Context, out: &mut Fields<'a>) -> Result<(), Malformed> {
        let combined = parse_either(line, time_bracket(line), false, context, out)
            .map_err(|(reason, at)| mismatch(self.info().name, reason, at))?;
        match (combined, self.combined) {
            (false, true) => Err(mismatch(COMBINED.name, "no quoted referer and user agent", line.len())),
            (true, false) => Err(mismatch(COMMON.name, "it goes on with a quoted referer and user agent", line.len())),
            _ => Ok(()),
        }
    }

    /// The combined one detects both.
    fn may_be(&self, line: &[u8]) -> bool {
        self.combined && near_bracket(line).is_some()
    }

    fn detect<'a>(&self, line: &'a [u8], context: &Context, out: &mut Fields<'a>) -> Result<&'static str, Malformed> {
        match parse_either(line, near_bracket(line), true, context, out) {
            Ok(combined) => Ok(if combined { COMBINED.name } else { COMMON.name }),
            Err((reason, at)) => Err(mismatch(COMMON.name, reason, at)),
        }
    }
}

/// Where the time's bracket is in a line of unknown format, which must begin like a client.
fn near_bracket(line: &[u8]) -> Option<usize> {
    /// A host name has at most 255 bytes; an ident and a user are short.
    const HEAD_BYTES_MAX: usize = 600;
    let begins = line.first().is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b':' | b'_'));
    if begins { time_bracket(&line[..line.len().min(HEAD_BYTES_MAX)]) } else { None }
}

/// Where the time's bracket is: the first that a time of these logs (or a `-`) stands in.
fn time_bracket(line: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        // Mostly it is further away than `find` looks before it calls this.
        let bracket = at + memchr::memchr(b'[', line.get(at..)?)?;
        match line.get(bracket + 1..)? {
            [d, _, b'/', _, _, _, b'/', ..] if d.is_ascii_digit() => return Some(bracket),
            [b'-', b']', ..] => return Some(bracket),
            _ => at = bracket + 1,
        }
    }
}

/// Reads a line of either format, given where its time's bracket is; says whether it is a combined one.
fn parse_either<'a>(
    line: &'a [u8],
    bracket: Option<usize>,
    detecting: bool,
    context: &Context,
    out: &mut Fields<'a>,
) -> Result<bool, (&'static str, usize)> {
    let bracket = bracket.ok_or(("no time in brackets", 0))?;
    let head = Head::split(&line[..bracket]).ok_or(("no client, ident and user before the time", bracket))?;
    if detecting && !head.is_beyond_doubt(line) {
        return Err(("another log's head before the time", 0));
    }

    let mut at = bracket + 1;
    if line[at] == b'-' {
        at += 1;
    } else {
        let (civil, length) = scan_clf(&line[at..]).ok_or(("a broken time", at))?;
        let instant = civil.resolve(context.zone).ok_or(("a time outside 1970 to 9999", at))?;
        out.timestamp = Some(instant.timestamp);
        if instant.nanos > 0 {
            out.meta.int("nanos", i64::from(instant.nanos));
        }
        at += length;
    }
    if line.get(at..at + 3) != Some(b"] \"") {
        return Err(("no quoted request after the time", at));
    }
    at += 3;

    let quote = closing_quote(line, at, |after| status_length(line, after).is_some())
        .ok_or(("no closing quote and status after the request", at))?;
    let request = &line[at..quote];
    let status_at = quote + 2;
    let status_end = status_at + status_length(line, quote + 1).unwrap_or_default();
    let status = &line[status_at..status_end];
    if line.get(status_end) != Some(&b' ') {
        return Err(("the line ends before the bytes", status_end));
    }
    at = status_end + 1;
    let end = find(line, at, b' ').unwrap_or(line.len());
    let bytes = &line[at..end];
    if bytes != b"-" && whole_number(bytes, 19).is_none() {
        return Err(("the bytes are no number", at));
    }

    let more = line.get(end + 1..).unwrap_or_default().trim_ascii_end();
    let tail = Tail::split(more).ok_or(("a cut field at the end", end))?;

    if let Some(status) = whole_number(status, 3) {
        out.level = Some(Level::from_http_status(status as u16));
    }
    fill_head(&head, context, out);
    fill_request(request, out);
    out.meta.number_unless_nil("status", status);
    out.meta.number_unless_nil("bytes", bytes);
    let combined = tail.agents.is_some();
    if let Some((referer, user_agent)) = tail.agents {
        out.meta.text_unless_nil("referer", referer);
        out.meta.text_unless_nil("user_agent", user_agent);
    }
    out.meta.text_unless_nil("extra", tail.extra);
    Ok(combined)
}

/// What stands before the time.
struct Head<'a> {
    vhost: &'a [u8],
    client: &'a [u8],
    ident: &'a [u8],
    user: &'a [u8],
}

impl<'a> Head<'a> {
    fn split(head: &'a [u8]) -> Option<Head<'a>> {
        let head = head.strip_suffix(b" ")?;
        let mut first = find(head, 0, b' ')?;
        // `X-Forwarded-For` in the client's place is a list.
        while head[..first].ends_with(b",") {
            first = find(head, first + 1, b' ')?;
        }
        let second = find(head, first + 1, b' ')?;
        let (one, two, rest) = (&head[..first], &head[first + 1..second], &head[second + 1..]);
        if one.is_empty() || two.is_empty() {
            return None;
        }
        // Names of users may hold blanks: a virtual host is only what stands before an address.
        match find(rest, 0, b' ') {
            Some(third) if is_address(two) && !rest[third + 1..].is_empty() => {
                Some(Head { vhost: one, client: two, ident: &rest[..third], user: &rest[third + 1..] })
            }
            _ => Some(Head { vhost: b"", client: one, ident: two, user: rest }),
        }
    }

    /// Whether it is the head of these logs alone, and not that of syslog or of another log with an access line in it.
    fn is_beyond_doubt(&self, line: &[u8]) -> bool {
        let is_host = |text: &[u8]| word_end(text, 0, NO_HOST) == text.len();
        let is_host_list =
            |text: &[u8]| is_host(text) || text.split(|&b| b == b',').all(|client| is_host(client.trim_ascii_start()));
        let begins_with_time = match line[0] {
            b'0'..=b'9' => matches!(line.get(4), Some(b'-' | b'/')) && scan_iso(line).is_some(),
            b'A'..=b'Z' => scan_bsd(line).is_some(),
            _ => false,
        };
        // A user's name with blanks in it is rare enough to ask for more: a client that is an address or a full name.
        let plain_user =
            || !self.user.contains(&b' ') || self.user[0] == b'"' || memchr2(b'.', b':', self.client).is_some();
        !begins_with_time
            && is_host_list(self.client)
            && is_host(self.vhost)
            && !self.ident.contains(&b':')
            && plain_user()
    }
}

/// What stands after the bytes.
struct Tail<'a> {
    /// Referer and user agent, where both are there.
    agents: Option<(&'a [u8], &'a [u8])>,
    extra: &'a [u8],
}

impl<'a> Tail<'a> {
    /// `None` when a quoted field has no end.
    fn split(more: &'a [u8]) -> Option<Tail<'a>> {
        if more.first() != Some(&b'"') {
            return Some(Tail { agents: None, extra: more });
        }
        let ends = |after: usize| matches!(more.get(after), None | Some(b' '));
        let referer = closing_quote(more, 1, ends)?;
        if more.get(referer + 1..referer + 3) != Some(b" \"") {
            return (more.len() == referer + 1).then_some(Tail { agents: None, extra: more });
        }
        let start = referer + 3;
        let user_agent = closing_quote(more, start, ends)?;
        let extra = more.get(user_agent + 2..).unwrap_or_default();
        // The last of further fields may be quoted, and cut.
        if extra.iter().filter(|&&b| b == b'"').count() % 2 == 1 {
            return None;
        }
        Some(Tail { agents: Some((&more[1..referer], &more[start..user_agent])), extra })
    }
}

/// The length of the status that stands after one blank at `at` and before a blank or the end.
fn status_length(line: &[u8], at: usize) -> Option<usize> {
    match line.get(at..)? {
        [b' ', a, b, c, rest @ ..] if a.is_ascii_digit() && b.is_ascii_digit() && c.is_ascii_digit() => {
            matches!(rest.first(), None | Some(b' ')).then_some(3)
        }
        [b' ', b'-', rest @ ..] => matches!(rest.first(), None | Some(b' ')).then_some(1),
        _ => None,
    }
}

fn fill_head<'a>(head: &Head<'a>, context: &Context, out: &mut Fields<'a>) {
    let client = find(head.client, 0, b',').map_or(head.client, |comma| &head.client[..comma]);
    if context.source.is_empty() && client != b"-" {
        out.source = Text::Bytes(client);
    }
    if context.application.is_empty() {
        out.application = Text::Bytes(b"apache");
    }
    out.meta.text_unless_nil("vhost", head.vhost);
    out.meta.text_unless_nil("client", head.client);
    out.meta.text_unless_nil("ident", head.ident);
    out.meta.text_unless_nil("user", head.user);
}

/// `GET /path HTTP/1.1`, also without the protocol. What is not of this shape stays in the message alone.
fn fill_request<'a>(request: &'a [u8], out: &mut Fields<'a>) {
    if request == b"-" {
        return;
    }
    out.message = Text::Bytes(request);
    let Some(blank) = find(request, 0, b' ') else { return };
    let (method, rest) = (&request[..blank], &request[blank + 1..]);
    if method.is_empty() || !method.iter().all(|b| b.is_ascii_alphabetic() || matches!(b, b'-' | b'_')) {
        return;
    }
    out.meta.text("method", method);
    match memchr::memrchr(b' ', rest) {
        Some(blank) if rest[blank + 1..].starts_with(b"HTTP/") => {
            out.meta.text("path", &rest[..blank]);
            out.meta.text("protocol", &rest[blank + 1..]);
        }
        _ => out.meta.text("path", rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::testing::{check, refuse};

    #[test]
    fn lines_of_both() {
        check(&[
            (
                r#"127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326"#,
                r#"apache_common 2000-10-10T20:55:36 INFO 127.0.0.1|apache|GET /apache_pb.gif HTTP/1.0 {"client":"127.0.0.1","user":"frank","method":"GET","path":"/apache_pb.gif","protocol":"HTTP/1.0","status":200,"bytes":2326}"#,
            ),
            (
                r#"127.0.0.1 - - [10/Oct/2000:13:55:36 +0000] "GET /x?a=1 HTTP/1.1" 404 - "-" "curl/8.0""#,
                r#"apache_combined 2000-10-10T13:55:36 WARN 127.0.0.1|apache|GET /x?a=1 HTTP/1.1 {"client":"127.0.0.1","method":"GET","path":"/x?a=1","protocol":"HTTP/1.1","status":404,"user_agent":"curl/8.0"}"#,
            ),
            (
                r#"2001:db8::7 id "quoted user" [10/Oct/2000:13:55:36 +0000] "POST /a b c HTTP/2.0" 503 0 "http://a/\"b\"" "agent \"x\" y""#,
                r#"apache_combined 2000-10-10T13:55:36 ERROR 2001:db8::7|apache|POST /a b c HTTP/2.0 {"client":"2001:db8::7","ident":"id","user":"\"quoted user\"","method":"POST","path":"/a b c","protocol":"HTTP/2.0","status":503,"bytes":0,"referer":"http://a/\\\"b\\\"","user_agent":"agent \\\"x\\\" y"}"#,
            ),
            (
                r#"crawl.example.com - - [10/Oct/2000:13:55:36 +0000] "-" 408 - "-" "-""#,
                r#"apache_combined 2000-10-10T13:55:36 WARN crawl.example.com|apache|- {"client":"crawl.example.com","status":408}"#,
            ),
            (
                r#"www.example.com:443 10.0.0.1 - - [10/Oct/2000:13:55:36 +0000] "GET / HTTP/1.1" 200 5 "-" "-" 0.002 "10.1.1.1""#,
                r#"apache_combined 2000-10-10T13:55:36 INFO 10.0.0.1|apache|GET / HTTP/1.1 {"vhost":"www.example.com:443","client":"10.0.0.1","method":"GET","path":"/","protocol":"HTTP/1.1","status":200,"bytes":5,"extra":"0.002 \"10.1.1.1\""}"#,
            ),
            (
                r#"10.0.0.1 - first last [10/Oct/2000:13:55:36 +0000] "\x16\x03\x01\x00" 400 226"#,
                r#"apache_common 2000-10-10T13:55:36 WARN 10.0.0.1|apache|\x16\x03\x01\x00 {"client":"10.0.0.1","user":"first last","status":400,"bytes":226}"#,
            ),
            (
                r#"10.0.0.1 - - [10/Oct/2000:13:55:36 +0000] "" 400 226 "-" "-""#,
                r#"apache_combined 2000-10-10T13:55:36 WARN 10.0.0.1|apache|- {"client":"10.0.0.1","status":400,"bytes":226}"#,
            ),
            (
                r#"10.0.0.1 - - [10/Oct/2000:13:55:36 +0000] "GET /a"b"c HTTP/1.0" 200 1"#,
                r#"apache_common 2000-10-10T13:55:36 INFO 10.0.0.1|apache|GET /a"b"c HTTP/1.0 {"client":"10.0.0.1","method":"GET","path":"/a\"b\"c","protocol":"HTTP/1.0","status":200,"bytes":1}"#,
            ),
            (
                r#"10.0.0.1 - - [10/Oct/2000:13:55:36 +0000] "GET /only" 200 1 15ms"#,
                r#"apache_common 2000-10-10T13:55:36 INFO 10.0.0.1|apache|GET /only {"client":"10.0.0.1","method":"GET","path":"/only","status":200,"bytes":1,"extra":"15ms"}"#,
            ),
            (r#"- - - [-] "-" - -"#, "apache_common now INFO -|apache|- {}"),
            (
                r#"10.0.4.17, 10.1.0.2 - - [10/Oct/2000:13:55:36 +0000] "GET / HTTP/1.1" 200 1 "-" "-""#,
                r#"apache_combined 2000-10-10T13:55:36 INFO 10.0.4.17|apache|GET / HTTP/1.1 {"client":"10.0.4.17, 10.1.0.2","method":"GET","path":"/","protocol":"HTTP/1.1","status":200,"bytes":1}"#,
            ),
            (
                r#"127.0.0.1 - - [10/Oct/2000 13:55:36] "GET / HTTP/1.1" 200 -"#,
                r#"apache_common 2000-10-10T13:55:36 INFO 127.0.0.1|apache|GET / HTTP/1.1 {"client":"127.0.0.1","method":"GET","path":"/","protocol":"HTTP/1.1","status":200}"#,
            ),
            (
                r#"Nov 14 12:08:33 web1 nginx: 10.0.4.17 - - [14/Nov/2025:12:08:33 +0000] "GET / HTTP/1.1" 200 5"#,
                r#"syslog_rfc3164 2025-11-14T12:08:33 INFO web1|nginx|GET / HTTP/1.1 {"client":"10.0.4.17","method":"GET","path":"/","protocol":"HTTP/1.1","status":200,"bytes":5,"inner":{"timestamp":"2025-11-14T12:08:33.000000Z"}}"#,
            ),
            (
                r#"14/Nov/2025 12:08:33 web1 - - [14/Nov/2025:12:08:33 +0000] "GET / HTTP/1.1" 200 5"#,
                r#"plain 2025-11-14T12:08:33 INFO -|-|14/Nov/2025 12:08:33 web1 - - [14/Nov/2025:12:08:33 +0000] "GET / HTTP/1.1" 200 5 {}"#,
            ),
            (
                r#"10.0.0.1 - - [10/Oct/2000:13:55:36 +0000] "GET / HTTP/1.1" 200 5 "http://cut"#,
                r#"plain now INFO -|-|10.0.0.1 - - [10/Oct/2000:13:55:36 +0000] "GET / HTTP/1.1" 200 5 "http://cut {}"#,
            ),
            (
                r#"10.0.0.1 - - [10/Oct/2000:13:55:36 +0000] "GET / HTTP/1.1" 200 5 "-" "cut"#,
                r#"plain now INFO -|-|10.0.0.1 - - [10/Oct/2000:13:55:36 +0000] "GET / HTTP/1.1" 200 5 "-" "cut {}"#,
            ),
            (
                r#"10.0.0.1 - - [10/Oct/2000:13:55:36 +0000] "GET / HTTP/1.1" 200"#,
                r#"plain now INFO -|-|10.0.0.1 - - [10/Oct/2000:13:55:36 +0000] "GET / HTTP/1.1" 200 {}"#,
            ),
            (
                r#"10.0.0.1 - - [10/Oct/2000:13:55:36 +0000] "GET / HTTP"#,
                r#"plain now INFO -|-|10.0.0.1 - - [10/Oct/2000:13:55:36 +0000] "GET / HTTP {}"#,
            ),
            (
                r#"10.0.0.1 - - [99/Oct/2000:13:55:36 +0000] "GET / HTTP/1.1" 200 5"#,
                r#"plain now INFO -|-|10.0.0.1 - - [99/Oct/2000:13:55:36 +0000] "GET / HTTP/1.1" 200 5 {}"#,
            ),
            ("- - - [1234] - - -", "plain now INFO -|-|- - - [1234] - - - {}"),
        ]);
    }

    #[test]
    fn held_to_one_of_the_two() {
        refuse(
            &Access { combined: true },
            &[
                (r#"1.2.3.4 - - [10/Oct/2000:13:55:36 +0000] "GET / HTTP/1.1" 200 5"#, "no quoted referer"),
                (r#"1.2.3.4 - - [10/Oct/2000:13:55:36 +0000] "GET / HTTP/1.1" 200 5 "-" "cut"#, "a cut field"),
                (r#"1.2.3.4 - - [99/Oct/2000:13:55:36 +0000] "GET / HTTP/1.1" 200 5 "-" "-""#, "a broken time"),
                ("- - - [1234] - - - - - ", "no time in brackets"),
            ],
        );
        refuse(
            &Access { combined: false },
            &[
                (r#"1.2.3.4 - - [10/Oct/2000:13:55:36 +0000] "GET / HTTP/1.1" 200 5 "-" "-""#, "it goes on"),
                (r#"1.2.3.4 - - [10/Oct/2000:13:55:36 +0000] "GET / HTTP/1.1" 200"#, "ends before the bytes"),
                (r#"1.2.3.4 - - [10/Oct/2000:13:55:36 +0000] "GET / HTTP/1.1" 200 x"#, "the bytes are no number"),
                (r#"1.2.3.4 [10/Oct/2000:13:55:36 +0000] "GET / HTTP/1.1" 200 5"#, "no client, ident and user"),
            ],
        );
    }
}
