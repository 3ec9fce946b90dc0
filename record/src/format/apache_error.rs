//! Apache's error log, of 2.2 and 2.4.
//!
//! `[time] [level] [client address] message` (2.2), `[time] [module:level] [pid N:tid N] [client address:port] message`
//!
//! The message is all that follows the process, as a search for a client's address looks in it; client and error code
//! are metadata besides.

use super::scan::{find, whole_number};
use super::{FormatInfo, Malformed, Parser, mismatch};
use crate::fields::{Context, Fields};
use crate::level::Level;
use crate::text::Text;
use crate::time::{Instant, scan_bsd, scan_clf, scan_iso};

pub static INFO: FormatInfo = FormatInfo {
    name: "apache_error",
    title: "Apache's error log, 2.2 and 2.4",
    example: "[Tue Nov 11 16:00:00.902022 2025] [core:error] [pid 35708:tid 4328636416] [client 10.0.4.17:4711] AH00128: File does not exist: /usr/local/apache2/htdocs/favicon.ico",
    fields: &[
        "timestamp",
        "level",
        "application",
        "message",
        "metadata.module",
        "metadata.pid",
        "metadata.tid",
        "metadata.client",
        "metadata.port",
        "metadata.code",
    ],
    specification: "https://httpd.apache.org/docs/2.4/mod/core.html#errorlogformat",
};

pub struct ApacheError;

impl Parser for ApacheError {
    fn info(&self) -> &FormatInfo {
        &INFO
    }

    fn may_be(&self, line: &[u8]) -> bool {
        matches!(line, [b'[', b'A'..=b'Z' | b'0'..=b'9', ..])
    }

    fn parse<'a>(&self, line: &'a [u8], context: &Context, out: &mut Fields<'a>) -> Result<(), Malformed> {
        parse(line, context, out).map_err(|(reason, at)| mismatch(INFO.name, reason, at))
    }
}

fn parse<'a>(line: &'a [u8], context: &Context, out: &mut Fields<'a>) -> Result<(), (&'static str, usize)> {
    let (time, mut at) = bracketed(line, 0).ok_or(("no time in brackets", 0))?;
    let instant = read_time(time, context).ok_or(("a broken time", 1))?;
    out.timestamp = Some(instant.timestamp);

    let (kind, after) = bracketed(line, at).ok_or(("no level in brackets", at))?;
    let (module, level) = match memchr::memchr(b':', kind) {
        Some(colon) => (&kind[..colon], &kind[colon + 1..]),
        None => (&kind[..0], kind),
    };
    // 2.4 has the levels trace1 to trace8.
    let word = level.strip_suffix(b" ").unwrap_or(level);
    let word = if word.starts_with(b"trace") { &word[..5] } else { word };
    out.level = Some(Level::from_name(word).ok_or(("an unknown level", at))?);
    at = after;
    if instant.nanos > 0 {
        out.meta.int("nanos", i64::from(instant.nanos));
    }
    out.meta.text_unless_nil("module", module);
    if level.starts_with(b"trace") && level.len() > 5 {
        out.meta.text("severity", level);
    }
    if context.application.is_empty() {
        out.application = Text::Bytes(b"apache");
    }
    if let Some((field, after)) = bracketed(line, at)
        && take_process(field, out)
    {
        at = after;
    }
    let message = &line[at..];
    out.message = Text::Bytes(message);
    let text = match bracketed(line, at) {
        Some((field, after)) if take_client(field, out) => &line[after..],
        _ => message,
    };
    if let Some(code) = code(text) {
        out.meta.text("code", code);
    }
    Ok(())
}

/// What stands in the brackets at `at`, which may have a pair inside, and where what follows them begins.
fn bracketed(line: &[u8], at: usize) -> Option<(&[u8], usize)> {
    if line.get(at) != Some(&b'[') {
        return None;
    }
    let mut end = find(line, at, b']')?;
    if line[at + 1..end].contains(&b'[') {
        end = find(line, end + 1, b']')?;
    }
    let after = end + 1;
    Some((&line[at + 1..end], after + usize::from(line.get(after) == Some(&b' '))))
}

fn read_time(time: &[u8], context: &Context) -> Option<Instant> {
    if let Some((civil, true, length)) = scan_bsd(time)
        && length == time.len()
    {
        return civil.resolve(context.zone);
    }
    let (civil, length) = scan_clf(time).or_else(|| scan_iso(time))?;
    if length == time.len() { civil.resolve(context.zone) } else { None }
}

/// Takes `pid N` and `pid N:tid N`; false where it is something else.
fn take_process(field: &[u8], out: &mut Fields) -> bool {
    let Some(pid) = field.strip_prefix(b"pid ") else { return false };
    let (pid, tid) = match memchr::memmem::find(pid, b":tid ") {
        Some(colon) => (&pid[..colon], &pid[colon + 5..]),
        None => (pid, &pid[..0]),
    };
    if whole_number(pid, 19).is_none() || !tid.is_empty() && whole_number(tid, 20).is_none() {
        return false;
    }
    out.meta.number_unless_nil("pid", pid);
    out.meta.number_unless_nil("tid", tid);
    true
}

/// Takes `client address` and `client address:port`; false where it is something else.
fn take_client(field: &[u8], out: &mut Fields) -> bool {
    let Some(client) = field.strip_prefix(b"client ") else { return false };
    // A colon and digits are a port, unless there are more colons: then it is an IPv6 address.
    match memchr::memrchr(b':', client) {
        Some(colon)
            if whole_number(&client[colon + 1..], 5).is_some()
                && (memchr::memchr(b':', client) == Some(colon) || client[..colon].ends_with(b"]")) =>
        {
            let address = &client[..colon];
            let address = address.strip_prefix(b"[").and_then(|a| a.strip_suffix(b"]")).unwrap_or(address);
            out.meta.text_unless_nil("client", address);
            out.meta.number_unless_nil("port", &client[colon + 1..]);
        }
        _ => out.meta.text_unless_nil("client", client),
    }
    true
}

/// Apache's own number of the message, `AH00128`, at its head or after the system's error.
fn code(message: &[u8]) -> Option<&[u8]> {
    let at = match message.starts_with(b"AH") {
        true => 0,
        // `(113)No route to host: AH00957: …`
        false if message.first() == Some(&b'(') => memchr::memmem::find(message, b": AH")? + 2,
        false => return None,
    };
    let digits = message[at + 2..].iter().take_while(|b| b.is_ascii_digit()).count();
    (digits == 5 && message.get(at + 7) == Some(&b':')).then(|| &message[at..at + 7])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::testing::{check, refuse};

    #[test]
    fn lines_of_2_2_and_2_4() {
        check(&[
            (
                "[Wed Oct 11 14:32:52 2000] [error] [client 127.0.0.1] client denied by server configuration: /export/home/live/ap/htdocs/test",
                r#"apache_error 2000-10-11T14:32:52 ERROR -|apache|[client 127.0.0.1] client denied by server configuration: /export/home/live/ap/htdocs/test {"client":"127.0.0.1"}"#,
            ),
            (
                "[Tue Nov 11 16:00:00.902022 2025] [core:error] [pid 35708:tid 4328636416] [client 10.0.4.17:4711] AH00128: File does not exist: /x",
                r#"apache_error 2025-11-11T16:00:00.902022Z ERROR -|apache|[client 10.0.4.17:4711] AH00128: File does not exist: /x {"module":"core","pid":35708,"tid":4328636416,"client":"10.0.4.17","port":4711,"code":"AH00128"}"#,
            ),
            (
                "[Wed Oct 11 14:32:52.123456789 2000] [ssl:trace3] [pid 7] [client [2001:db8::1]:443] hello",
                r#"apache_error 2000-10-11T14:32:52.123456Z TRACE -|apache|[client [2001:db8::1]:443] hello {"nanos":789,"module":"ssl","severity":"trace3","pid":7,"client":"2001:db8::1","port":443}"#,
            ),
            (
                "[11/Nov/2025:16:00:00 +0000] [proxy:error] [pid 64] (113)No route to host: AH00957: HTTP: attempt to connect failed",
                r#"apache_error 2025-11-11T16:00:00 ERROR -|apache|(113)No route to host: AH00957: HTTP: attempt to connect failed {"module":"proxy","pid":64,"code":"AH00957"}"#,
            ),
            (
                "[Wed Oct 11 14:32:52 2000] [notice] caught SIGTERM, shutting down",
                "apache_error 2000-10-11T14:32:52 INFO -|apache|caught SIGTERM, shutting down {}",
            ),
            (
                "[Wed Oct 11 14:32:52 2000] [loud] what",
                "plain 2000-10-11T14:32:52 INFO -|-|[Wed Oct 11 14:32:52 2000] [loud] what {}",
            ),
            (
                "[Wed Oct 99 14:32:52 2000] [error] what",
                "plain now INFO -|-|[Wed Oct 99 14:32:52 2000] [error] what {}",
            ),
            ("[2024-01-01] [error", "plain now INFO -|-|[2024-01-01] [error {}"),
        ]);
    }

    #[test]
    fn held_to_it() {
        refuse(
            &ApacheError,
            &[
                ("", "no time in brackets"),
                ("[yesterday] [error] x", "a broken time"),
                ("[Wed Oct 11 14:32:52 2000] x", "no level in brackets"),
                ("[Wed Oct 11 14:32:52 2000] [loud] x", "an unknown level (column 28)"),
            ],
        );
    }
}
