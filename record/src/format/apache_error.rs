//! Apache's error log, of 2.2 and 2.4.
//!
//! `[time] [level] [client address] message` (2.2), `[time] [module:level] [pid N:tid N] [client address:port] message`
//!
//! With a process before it, the client is a field like the others (`ErrorLogFormat` of 2.4 has one for it). Without one,
//! as 2.2 writes it, the message begins with the client, as those who read such logs have it: both ways it is metadata.

use super::scan::{find, is_address, whole_number};
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
        "metadata.referer",
        "metadata.severity",
        "metadata.nanos",
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
    let mut has_process = false;
    if let Some((field, after)) = bracketed(line, at)
        && take_process(field, out)
    {
        has_process = true;
        at = after;
    }
    let mut text_at = at;
    if let Some((field, after)) = bracketed(line, at)
        && take_client(field, has_process, out)
    {
        text_at = after;
        if has_process {
            at = after;
        }
    }
    out.message = Text::Bytes(&line[at..]);
    fill_from_text(&line[text_at..], out);
    Ok(())
}

/// What the text tells besides: `(70008)Partial results…: [client 10.0.4.17:4711] AH01075: …, referer: http://shop/`.
fn fill_from_text(text: &[u8], out: &mut Fields) {
    let mut rest = text;
    if text.first() == Some(&b'(') || after_file(text) {
        // The file and the system's error come before Apache's own number and, from 2.4 on, before the client too. Their
        // words may have colons of their own.
        if let Some(colon) = memchr::memmem::find(text, b": AH") {
            rest = &text[colon + 2..];
        } else if let Some(colon) = memchr::memmem::find(text, b": [client ")
            && let Some((field, after)) = bracketed(text, colon + 2)
            && take_client(field, true, out)
        {
            rest = &text[after..];
        }
    }
    if let Some(code) = code(rest) {
        out.meta.text("code", code);
    }
    // A referer has no blanks: it is the last word.
    if let Some(blank) = memchr::memrchr(b' ', text)
        && text[..blank].ends_with(b", referer:")
    {
        out.meta.text_unless_nil("referer", &text[blank + 1..]);
    }
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

/// Whether the text begins with the file that `LogLevel` of trace and debug tells: `mod_rewrite.c(476): `.
fn after_file(text: &[u8]) -> bool {
    let name = text.iter().take(64).take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.')).count();
    text[..name].ends_with(b".c") && text.get(name) == Some(&b'(')
}

/// Takes `client address` and `client address:port`, also `remote` for one that has sent no request yet; false where it
/// is something else. 2.4 always writes a port, and no brackets around an address of version 6.
fn take_client(field: &[u8], has_port: bool, out: &mut Fields) -> bool {
    let client = field.strip_prefix(b"client ").or_else(|| field.strip_prefix(b"remote ").filter(|_| has_port));
    let Some(client) = client else { return false };
    match memchr::memrchr(b':', client) {
        Some(colon)
            if whole_number(&client[colon + 1..], 5).is_some()
                && (memchr::memchr(b':', client) == Some(colon)
                    || client[..colon].ends_with(b"]")
                    || has_port && is_address(&client[..colon])) =>
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

/// Apache's own number of the message, `AH00128`, at its head.
fn code(message: &[u8]) -> Option<&[u8]> {
    let digits = message.strip_prefix(b"AH")?.iter().take_while(|b| b.is_ascii_digit()).count();
    (digits == 5 && message.get(7) == Some(&b':')).then(|| &message[..7])
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
                r#"apache_error 2025-11-11T16:00:00.902022Z ERROR -|apache|AH00128: File does not exist: /x {"module":"core","pid":35708,"tid":4328636416,"client":"10.0.4.17","port":4711,"code":"AH00128"}"#,
            ),
            (
                "[Wed Oct 11 14:32:52.123456789 2000] [ssl:trace3] [pid 7] [client [2001:db8::1]:443] hello",
                r#"apache_error 2000-10-11T14:32:52.123456Z TRACE -|apache|hello {"nanos":789,"module":"ssl","severity":"trace3","pid":7,"client":"2001:db8::1","port":443}"#,
            ),
            (
                "[11/Nov/2025:16:00:00 +0000] [proxy:error] [pid 64] (113)No route to host: AH00957: HTTP: attempt to connect failed",
                r#"apache_error 2025-11-11T16:00:00 ERROR -|apache|(113)No route to host: AH00957: HTTP: attempt to connect failed {"module":"proxy","pid":64,"code":"AH00957"}"#,
            ),
            (
                "[Mon Aug 31 09:30:48.958285 2015] [proxy_fcgi:error] [pid 28787:tid 140169587934976] (70008)Partial results are valid but processing is incomplete: [client 10.0.4.17:4711] AH01075: Error dispatching request to : (reading input brigade), referer: http://shop.example.com/cart",
                r#"apache_error 2015-08-31T09:30:48.958285Z ERROR -|apache|(70008)Partial results are valid but processing is incomplete: [client 10.0.4.17:4711] AH01075: Error dispatching request to : (reading input brigade), referer: http://shop.example.com/cart {"module":"proxy_fcgi","pid":28787,"tid":140169587934976,"client":"10.0.4.17","port":4711,"code":"AH01075","referer":"http://shop.example.com/cart"}"#,
            ),
            (
                "[Wed Oct 11 14:32:52 2000] [error] [client 10.0.4.17] File does not exist: /srv/www/favicon.ico, referer: http://shop/",
                r#"apache_error 2000-10-11T14:32:52 ERROR -|apache|[client 10.0.4.17] File does not exist: /srv/www/favicon.ico, referer: http://shop/ {"client":"10.0.4.17","referer":"http://shop/"}"#,
            ),
            (
                "[Wed Feb 14 08:00:00.000001 2024] [authz_core:error] [pid 99:tid 77] [client 2001:db8::42:51234] AH01630: client denied by server configuration: /srv/.git",
                r#"apache_error 2024-02-14T08:00:00.000001Z ERROR -|apache|AH01630: client denied by server configuration: /srv/.git {"module":"authz_core","pid":99,"tid":77,"client":"2001:db8::42","port":51234,"code":"AH01630"}"#,
            ),
            (
                "[Wed Feb 14 08:00:00.000001 2024] [core:info] [pid 99:tid 77] [remote 10.0.4.17:443] AH00566: request failed: malformed request line",
                r#"apache_error 2024-02-14T08:00:00.000001Z INFO -|apache|AH00566: request failed: malformed request line {"module":"core","pid":99,"tid":77,"client":"10.0.4.17","port":443,"code":"AH00566"}"#,
            ),
            (
                "[Wed Feb 14 08:00:00 2024] [rewrite:trace3] [pid 99] mod_rewrite.c(476): [client 10.0.4.17:443] applying pattern '^'",
                r#"apache_error 2024-02-14T08:00:00 TRACE -|apache|mod_rewrite.c(476): [client 10.0.4.17:443] applying pattern '^' {"module":"rewrite","severity":"trace3","pid":99,"client":"10.0.4.17","port":443}"#,
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
