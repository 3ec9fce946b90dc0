//! Nginx's error log.
//!
//! `2025/11/11 16:00:00 [error] 31#31: *1 message, client: …, server: …, request: "…", upstream: "…", host: "…"`
//!
//! The message is all that follows the connection, as a search for an address or a request looks in it; what it tells of
//! client and request is metadata besides.

use super::scan::{find, skip_blanks, whole_number};
use super::{FormatInfo, Malformed, Parser, mismatch};
use crate::fields::{Context, Fields};
use crate::level::Level;
use crate::text::{Text, push_string};
use crate::time::{Civil, number, scan_clock};

pub static INFO: FormatInfo = FormatInfo {
    name: "nginx_error",
    title: "Nginx's error log",
    example: r#"2025/11/11 16:00:00 [error] 31#31: *1 open() "/srv/www/x" failed (2: No such file or directory), client: 10.0.4.17, server: shop, request: "GET /x HTTP/1.1", host: "shop:8080""#,
    fields: &[
        "timestamp",
        "level",
        "application",
        "message",
        "metadata.pid",
        "metadata.tid",
        "metadata.connection",
        "metadata.client",
        "metadata.server",
        "metadata.request",
        "metadata.upstream",
        "metadata.host",
        "metadata.referrer",
    ],
    specification: "https://nginx.org/en/docs/ngx_core_module.html#error_log",
};

pub struct NginxError;

impl Parser for NginxError {
    fn info(&self) -> &FormatInfo {
        &INFO
    }

    fn may_be(&self, line: &[u8]) -> bool {
        has_head(line)
    }

    fn parse<'a>(&self, line: &'a [u8], context: &Context, out: &mut Fields<'a>) -> Result<(), Malformed> {
        parse(line, context, out).map_err(|(reason, at)| mismatch(INFO.name, reason, at))
    }
}

/// Whether a line may be of this format: one look at its date.
fn has_head(line: &[u8]) -> bool {
    matches!(line, [_, _, _, _, b'/', _, _, b'/', _, _, b' ', _, _, b':', _, _, b':', _, _, b' ', b'[', ..])
}

fn parse<'a>(line: &'a [u8], context: &Context, out: &mut Fields<'a>) -> Result<(), (&'static str, usize)> {
    if !has_head(line) {
        return Err(("no time as 2025/11/11 16:00:00 before a bracket", 0));
    }
    out.timestamp = Some(read_time(line, context).ok_or(("a broken time", 0))?);
    let end = find(line, 21, b']').ok_or(("no level in brackets", 21))?;
    out.level = Some(Level::from_name(&line[21..end]).ok_or(("an unknown level", 21))?);

    let pid_at = end + 2;
    let hash = find(line, pid_at, b'#').ok_or(("no pid#tid after the level", end))?;
    let colon = find(line, hash, b':').ok_or(("no pid#tid after the level", end))?;
    let (pid, tid) = (&line[pid_at..hash], &line[hash + 1..colon]);
    if whole_number(pid, 19).is_none() || whole_number(tid, 19).is_none() {
        return Err(("pid and tid are no numbers", pid_at));
    }
    out.meta.number_unless_nil("pid", pid);
    out.meta.number_unless_nil("tid", tid);
    if context.application.is_empty() {
        out.application = Text::Bytes(b"nginx");
    }

    let mut at = skip_blanks(line, colon + 1);
    if line.get(at) == Some(&b'*') {
        let blank = find(line, at, b' ').unwrap_or(line.len());
        if whole_number(&line[at + 1..blank], 19).is_some() {
            out.meta.number_unless_nil("connection", &line[at + 1..blank]);
            at = skip_blanks(line, blank);
        }
    }
    let message = &line[at..];
    out.message = Text::Bytes(message);
    if let Some(comma) = memchr::memmem::find(message, b", client: ") {
        fill_tail(&message[comma..], out);
    }
    Ok(())
}

fn read_time(line: &[u8], context: &Context) -> Option<crate::time::Timestamp> {
    let mut civil = Civil {
        year: number(line, 0, 4)? as i32,
        month: number(line, 5, 2)? as u8,
        day: number(line, 8, 2)? as u8,
        ..Civil::default()
    };
    scan_clock(line, 11, &mut civil)?;
    if !civil.is_valid() {
        return None;
    }
    civil.resolve(context.zone).map(|instant| instant.timestamp)
}

/// `, client: 1.2.3.4, request: "GET / HTTP/1.1", …`, as far as it goes on like this.
fn fill_tail(mut tail: &[u8], out: &mut Fields) {
    while let Some(rest) = tail.strip_prefix(b", ") {
        let Some(colon) = memchr::memmem::find(rest, b": ") else { break };
        let (key, value) = (&rest[..colon], &rest[colon + 2..]);
        if !key.iter().all(u8::is_ascii_lowercase) {
            break;
        }
        let (value, length) = match value.strip_prefix(b"\"") {
            // A request may hold quotes: the last is that before a comma or the end.
            Some(quoted) => {
                let Some(end) = closing(quoted) else { break };
                (&quoted[..end], end + 2)
            }
            None => {
                let end = memchr::memmem::find(value, b", ").unwrap_or(value.len());
                (&value[..end], end)
            }
        };
        if !value.is_empty() {
            let ascii = out.meta.is_ascii();
            out.meta.value_bytes(key, |json| push_string(value, ascii, json));
        }
        tail = &rest[colon + 2 + length..];
    }
}

/// The quote that ends a value: the first before a comma or the end.
fn closing(quoted: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'"', quoted).find(|&at| matches!(&quoted[at + 1..], [] | [b',', b' ', ..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::testing::{check, refuse};

    #[test]
    fn lines_as_nginx_writes_them() {
        check(&[
            (
                r#"2025/11/11 16:00:00 [error] 31#31: *1 open() "/x" failed (2: No such file or directory), client: 10.0.4.17, server: shop, request: "GET /a"b HTTP/1.1", upstream: "http://10.0.0.1:80/", host: "shop:8080", referrer: """#,
                r#"nginx_error 2025-11-11T16:00:00 ERROR -|nginx|open() "/x" failed (2: No such file or directory), client: 10.0.4.17, server: shop, request: "GET /a"b HTTP/1.1", upstream: "http://10.0.0.1:80/", host: "shop:8080", referrer: "" {"pid":31,"tid":31,"connection":1,"client":"10.0.4.17","server":"shop","request":"GET /a\"b HTTP/1.1","upstream":"http://10.0.0.1:80/","host":"shop:8080"}"#,
            ),
            (
                r#"2025/11/01 16:00:00 [notice] 1#1: using the "epoll" event method"#,
                r#"nginx_error 2025-11-01T16:00:00 INFO -|nginx|using the "epoll" event method {"pid":1,"tid":1}"#,
            ),
            (
                "2025/11/01 16:00:00 [emerg] 1#0: bind() to 0.0.0.0:80 failed (98: Address already in use)",
                r#"nginx_error 2025-11-01T16:00:00 FATAL -|nginx|bind() to 0.0.0.0:80 failed (98: Address already in use) {"pid":1,"tid":0}"#,
            ),
            (
                "2025/11/01 16:00:00 [loud] 1#0: x",
                "plain 2025-11-01T16:00:00 INFO -|-|2025/11/01 16:00:00 [loud] 1#0: x {}",
            ),
            ("2025/11/41 16:00:00 [warn] 1#0: x", "plain now WARN -|-|2025/11/41 16:00:00 [warn] 1#0: x {}"),
            (
                "2025/11/01 16:00:00 [warn] no pid",
                "plain 2025-11-01T16:00:00 WARN -|-|2025/11/01 16:00:00 [warn] no pid {}",
            ),
        ]);
    }

    #[test]
    fn held_to_it() {
        refuse(
            &NginxError,
            &[
                ("2025-11-11 16:00:00 [error] 1#1: x", "no time as"),
                ("2025/11/31 16:00:00 [error] 1#1: x", "a broken time"),
                ("2025/11/11 16:00:00 [error 1#1: x", "no level"),
                ("2025/11/11 16:00:00 [error] 1: x", "no pid#tid"),
                ("2025/11/11 16:00:00 [error] a#b: x", "no numbers"),
            ],
        );
    }
}
