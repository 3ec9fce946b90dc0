//! Text of no format: the line is the message. A time at its head and a level word near it are read where they plainly
//! are such; nothing is taken out of the line.

use memchr::{memchr, memmem, memrchr};

use super::keys::{LEVELS, METADATA, slot};
use super::{FormatInfo, Malformed, Parser};
use crate::fields::{Context, Fields};
use crate::level::Level;
use crate::text::Text;
use crate::time::{Instant, number, parse_epoch, scan_bsd, scan_clf, scan_day_first, scan_iso, scan_rfc2822};

pub static INFO: FormatInfo = FormatInfo {
    name: "plain",
    title: "Plain text: what fits no other format",
    example: "2025-11-11 16:00:00,123 [main] WARN  com.example.Pool - 3 connections left",
    fields: &["timestamp", "level", "message", "metadata.nanos"],
    specification: "none: any bytes are taken",
};

pub struct Plain;

impl Parser for Plain {
    fn info(&self) -> &FormatInfo {
        &INFO
    }

    fn parse<'a>(&self, line: &'a [u8], context: &Context, out: &mut Fields<'a>) -> Result<(), Malformed> {
        let mut at = 0;
        if let Some((instant, end)) = leading_time(line, context) {
            out.timestamp = Some(instant.timestamp);
            if instant.nanos > 0 {
                out.meta.int("nanos", i64::from(instant.nanos));
            }
            at = end;
        }
        out.level = leading_level(&line[at..], at > 0);
        out.message = Text::Bytes(line);
        Ok(())
    }
}

/// The time that a line begins with, bare or in brackets, when it has both a date and a clock; and where it ends.
fn leading_time(line: &[u8], context: &Context) -> Option<(Instant, usize)> {
    let start = skip_colours(line, 0);
    let bracket = usize::from(line.get(start) == Some(&b'['));
    let rest = &line[start + bracket..];
    let first = *rest.first()?;
    let (instant, length) = if first.is_ascii_digit() {
        let iso = scan_iso(rest).filter(|(_, length)| *length > 10);
        let civil = iso.or_else(|| scan_clf(rest)).or_else(|| scan_day_first(rest)).or_else(|| scan_rfc2822(rest));
        match civil {
            Some((civil, length)) => (civil.resolve(context.zone)?, length),
            None => leading_epoch(rest)?,
        }
    } else if first.is_ascii_uppercase() {
        let (civil, has_year, length) = scan_bsd(rest)?;
        let resolved = match has_year {
            true => civil.resolve(context.zone),
            false => civil.resolve_without_year(context.zone, context.received),
        };
        (resolved?, length)
    } else {
        return audit_time(line);
    };
    let end = skip_colours(line, start + bracket + length);
    let ends = match line.get(end) {
        None | Some(b',' | b';' | b'|') => bracket == 0,
        // `[2025-11-11T16:00:00Z INFO main] text`: the bracket may hold more than the time.
        Some(b' ' | b'\t' | b':') => true,
        Some(b']') => bracket == 1,
        Some(_) => false,
    };
    ends.then_some((instant, end + usize::from(line.get(end) == Some(&b']'))))
}

/// Seconds since 1970 with a fraction, as Squid and `redis-cli monitor` write them: ten digits, three to nine more.
fn leading_epoch(text: &[u8]) -> Option<(Instant, usize)> {
    let length = text.iter().take(21).take_while(|b| b.is_ascii_digit() || **b == b'.').count();
    let is_one = text[..length].get(10) == Some(&b'.') && memrchr(b'.', &text[..length]) == Some(10) && length >= 14;
    Some((parse_epoch(&text[..length]).filter(|_| is_one)?, length))
}

/// The time in the head of Linux' audit log: `type=LOGIN msg=audit(1762876800.123:456): …`, also after `node=NAME`.
fn audit_time(line: &[u8]) -> Option<(Instant, usize)> {
    let at = audit_head(line)?;
    let length = line[at..].iter().take(20).position(|&b| b == b':')?;
    Some((parse_epoch(&line[at..at + length])?, at + length))
}

/// Where the time of a line of Linux' audit log begins.
pub(super) fn audit_head(line: &[u8]) -> Option<usize> {
    const HEAD_BYTES_MAX: usize = 300;
    const HEAD: &[u8] = b" msg=audit(";
    if !line.starts_with(b"type=") && !line.starts_with(b"node=") {
        return None;
    }
    Some(memmem::find(&line[..line.len().min(HEAD_BYTES_MAX)], HEAD)? + HEAD.len())
}

/// Steps over the colours of a terminal: `ESC [ 3 2 m`.
fn skip_colours(text: &[u8], mut at: usize) -> usize {
    while let Some(escape) = text.get(at..).and_then(|rest| rest.strip_prefix(b"\x1b[")) {
        let digits = escape.iter().take(16).take_while(|b| b.is_ascii_digit() || **b == b';').count();
        if escape.get(digits) != Some(&b'm') {
            break;
        }
        at += digits + 3;
    }
    at
}

/// The level among the first words of a text: a word in capitals, one in brackets, the first before a colon, or the first
/// after a time. Where no time came before, a common word means that this is prose already.
fn leading_level(text: &[u8], after_time: bool) -> Option<Level> {
    /// Loggers write time, thread, process and logger before the level, hardly more.
    const WORDS_MAX: usize = 5;
    /// And not so far from the head.
    const HEAD_BYTES_MAX: usize = 80;
    let head = &text[..text.len().min(HEAD_BYTES_MAX)];
    if let [letter @ (b'I' | b'W' | b'E' | b'F'), rest @ ..] = head
        && number(rest, 0, 4).is_some()
        && rest.get(4) == Some(&b' ')
        && rest.get(7) == Some(&b':')
    {
        // `W1111 16:00:00.160748 …`: klog.
        return Some(match letter {
            b'I' => Level::Info,
            b'W' => Level::Warn,
            b'E' => Level::Error,
            _ => Level::Fatal,
        });
    }
    let mut at = 0;
    for word_number in 0..WORDS_MAX {
        loop {
            match head.get(at) {
                Some(b' ' | b'\t' | b'|' | b'-' | b':' | b',' | b';') => at += 1,
                Some(0x1b) if skip_colours(head, at) > at => at = skip_colours(head, at),
                _ => break,
            }
        }
        let ends = |b: &u8| matches!(b, b' ' | b'\t' | b'|' | b'\x1b');
        let length = head[at..].iter().position(ends).unwrap_or(head.len() - at);
        let word = &head[at..at + length];
        if word.is_empty() {
            return None;
        }
        if let Some(level) = level_word(word, word_number == 0, after_time) {
            return Some(level);
        }
        if !after_time && word.iter().all(u8::is_ascii_lowercase) {
            return None;
        }
        at += length;
    }
    None
}

fn level_word(word: &[u8], is_first: bool, after_time: bool) -> Option<Level> {
    // `2025-11-11T16:00:00Z level=error …`
    if after_time
        && let Some(equals) = memchr(b'=', word)
        && LEVELS.contains(&slot(&word[..equals]).unwrap_or(METADATA))
    {
        let value = &word[equals + 1..];
        return Level::from_name(value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value));
    }
    // `production.ERROR:`
    let word = match (memchr::memrchr(b'.', word), word) {
        (Some(point), [.., b':']) if word[point + 1].is_ascii_uppercase() => &word[point + 1..],
        _ => word,
    };
    let core_start = word.iter().position(u8::is_ascii_alphabetic)?;
    let core = &word[core_start..];
    let core = &core[..core.iter().position(|b| !b.is_ascii_alphabetic()).unwrap_or(core.len())];
    let before = word[..core_start].last();
    let after = word.get(core_start + core.len());
    // `INFO:root:text`, `[error]`, `<warn>`, `INFO,` — but not `ERROR_CODE` or `errors.c`.
    let stands_alone = matches!(before, None | Some(b'[' | b'<' | b'(' | b'{' | b'"' | b'*'))
        && matches!(after, None | Some(b']' | b'>' | b')' | b'}' | b':' | b',' | b';' | b'"' | b'*' | b'/'));
    if !stands_alone || core.len() < 3 {
        return None;
    }
    let enclosed = matches!((before, after), (Some(b'['), Some(b']')) | (Some(b'<'), Some(b'>')));
    let capitals = core.iter().all(u8::is_ascii_uppercase);
    let heads = is_first && before.is_none() && (after == Some(&b':') || after_time && after.is_none());
    if !(enclosed || capitals || heads) || matches!(core, b"LOG" | b"log" | b"Log" | b"FINE" | b"fine") && !enclosed {
        return None;
    }
    Level::from_name(core)
}

/// What a line of another format says in its message, where the line itself gives no level.
pub(super) fn level_of_message(message: &[u8], context: &Context) -> Option<Level> {
    let at = leading_time(message, context).map_or(0, |(_, end)| end);
    leading_level(&message[at..], at > 0)
}

#[cfg(test)]
mod tests {
    use crate::format::testing::check;

    #[test]
    fn times_and_levels_at_the_head() {
        check(&[
            ("the quick brown fox", "plain now INFO -|-|the quick brown fox {}"),
            (
                "2025-11-11 16:00:00,123 [main] WARN  com.example.Pool - 3 connections left",
                "plain 2025-11-11T16:00:00.123 WARN -|-|2025-11-11 16:00:00,123 [main] WARN  com.example.Pool - 3 connections left {}",
            ),
            (
                "[2025-11-11T16:00:00.123456789Z] ERROR boom",
                r#"plain 2025-11-11T16:00:00.123456Z ERROR -|-|[2025-11-11T16:00:00.123456789Z] ERROR boom {"nanos":789}"#,
            ),
            ("ERROR: relation does not exist", "plain now ERROR -|-|ERROR: relation does not exist {}"),
            ("error: no such file", "plain now ERROR -|-|error: no such file {}"),
            ("INFO:root:hello", "plain now INFO -|-|INFO:root:hello {}"),
            (
                "an ERROR in the middle does not count because it is far far away from the head",
                "plain now INFO -|-|an ERROR in the middle does not count because it is far far away from the head {}",
            ),
            ("the errors.c file", "plain now INFO -|-|the errors.c file {}"),
            (
                "2025-11-11T16:00:00Z  INFO app::mod: text",
                "plain 2025-11-11T16:00:00 INFO -|-|2025-11-11T16:00:00Z  INFO app::mod: text {}",
            ),
            ("[error] bracketed", "plain now ERROR -|-|[error] bracketed {}"),
            ("Jun 31 12:08:33 not a date", "plain now INFO -|-|Jun 31 12:08:33 not a date {}"),
            ("2025-11-11 is a day", "plain now INFO -|-|2025-11-11 is a day {}"),
            ("INFORMATION overload", "plain now INFO -|-|INFORMATION overload {}"),
            (
                "W1111 16:00:00.160748       1 a.go:1] x",
                "plain now WARN -|-|W1111 16:00:00.160748       1 a.go:1] x {}",
            ),
            (
                "[2025-11-11T16:00:00Z INFO  app] x ERROR",
                "plain 2025-11-11T16:00:00 INFO -|-|[2025-11-11T16:00:00Z INFO  app] x ERROR {}",
            ),
            (
                "[2025-11-11 16:00:00,123: ERROR/Main] x",
                "plain 2025-11-11T16:00:00.123 ERROR -|-|[2025-11-11 16:00:00,123: ERROR/Main] x {}",
            ),
            (
                "11-Nov-2025 16:00:00.123 WARNING [main] x",
                "plain 2025-11-11T16:00:00.123 WARN -|-|11-Nov-2025 16:00:00.123 WARNING [main] x {}",
            ),
            (
                "[2025-11-11 16:00:00] production.ERROR: x",
                "plain 2025-11-11T16:00:00 ERROR -|-|[2025-11-11 16:00:00] production.ERROR: x {}",
            ),
            (
                "Tue Nov 11 16:00:00 2025 OpenVPN started",
                "plain 2025-11-11T16:00:00 INFO -|-|Tue Nov 11 16:00:00 2025 OpenVPN started {}",
            ),
            (
                "\x1b[2m2025-11-11T16:00:00.5Z\x1b[0m \x1b[33m WARN\x1b[0m hyper: x",
                "plain 2025-11-11T16:00:00.500 WARN -|-|\x1b[2m2025-11-11T16:00:00.5Z\x1b[0m \x1b[33m WARN\x1b[0m hyper: x {}",
            ),
            ("\x1b[1;31mERROR\x1b[0m x", "plain now ERROR -|-|\x1b[1;31mERROR\x1b[0m x {}"),
            (
                "2025.11.11 16:00:00.160748 [ 1 ] {} <Error> Application: x",
                "plain 2025-11-11T16:00:00.160748Z ERROR -|-|2025.11.11 16:00:00.160748 [ 1 ] {} <Error> Application: x {}",
            ),
            ("11.12.2025 16:00:00 ERROR x", "plain 2025-12-11T16:00:00 ERROR -|-|11.12.2025 16:00:00 ERROR x {}"),
            (
                "1762876800.123    105 10.0.0.1 TCP_MISS/200 4192 GET http://x/ - DIRECT/10.0.0.2 text/html",
                "plain 2025-11-11T16:00:00.123 INFO -|-|1762876800.123    105 10.0.0.1 TCP_MISS/200 4192 GET http://x/ - DIRECT/10.0.0.2 text/html {}",
            ),
            ("1762876800.1.2 x", "plain now INFO -|-|1762876800.1.2 x {}"),
            (
                r#"type=USER_LOGIN msg=audit(1762876800.123:456): pid=1 uid=0 msg='op=login acct="root" res=failed'"#,
                r#"plain 2025-11-11T16:00:00.123 INFO -|-|type=USER_LOGIN msg=audit(1762876800.123:456): pid=1 uid=0 msg='op=login acct="root" res=failed' {}"#,
            ),
            (
                "2025-11-11T16:00:00Z level=error msg=x and more",
                "plain 2025-11-11T16:00:00 ERROR -|-|2025-11-11T16:00:00Z level=error msg=x and more {}",
            ),
            ("Nov 11 16:00:00 ERROR no host", "plain 2025-11-11T16:00:00 ERROR -|-|Nov 11 16:00:00 ERROR no host {}"),
            (
                "2025-11-11T16:00:00Z\terror\tqueue.go:128\tx",
                "plain 2025-11-11T16:00:00 ERROR -|-|2025-11-11T16:00:00Z\terror\tqueue.go:128\tx {}",
            ),
        ]);
    }
}
