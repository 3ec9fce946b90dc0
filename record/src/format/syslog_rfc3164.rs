//! Syslog as BSD began it (RFC 3164) and as machines really write it: over the network with a priority, in files
//! without.
//!
//! `<PRI>TIME HOST TAG[PID]: MESSAGE`, where the time is `Oct 11 22:14:15`, also with a year, or one of RFC 3339; and
//! where all but one of priority and time may be missing: no host (`haproxy[1]: …`), no tag, tags with slashes, brackets
//! or blanks (`Google Chrome[85294]:`), Cisco's clock marks, sequence numbers and colon after the time, and the
//! `last message repeated 2 times` of syslogd. A year that is missing is the one nearest to the receipt.

use super::scan::{is_address, skip_blanks, token, whole_number};
use super::syslog::{Rigour, fill_priority, priority, take_structured_data};
use super::{FormatInfo, Malformed, NOT_AT_ITS_HEAD, Parser, mismatch, syslog_rfc5424};
use crate::fields::{Context, Fields};
use crate::level::Level;
use crate::text::Text;
use crate::time::{Instant, is_weekday, scan_bsd, scan_iso};

pub static INFO: FormatInfo = FormatInfo {
    name: "syslog_rfc3164",
    title: "Syslog, RFC 3164 (BSD) and as it stands in /var/log",
    example: "<34>Oct 11 22:14:15 mymachine su[4711]: 'su root' failed for lonvick on /dev/pts/8",
    fields: &[
        "timestamp",
        "level",
        "source",
        "application",
        "message",
        "metadata.facility",
        "metadata.severity",
        "metadata.procid",
        "metadata.sequence",
        "metadata.structured_data",
        "metadata.nanos",
    ],
    specification: "RFC 3164, section 4",
};

pub struct Rfc3164;

impl Parser for Rfc3164 {
    fn info(&self) -> &FormatInfo {
        &INFO
    }

    fn parse<'a>(&self, line: &'a [u8], context: &Context, out: &mut Fields<'a>) -> Result<(), Malformed> {
        parse(line, context, false, out).map_err(|(reason, at)| mismatch(INFO.name, reason, at))
    }

    fn may_be(&self, line: &[u8]) -> bool {
        match line {
            [b'<', ..] => !syslog_rfc5424::has_version(line),
            // With a weekday it is the time of ctime, which programs write at the head of what is no syslog.
            [a @ b'A'..=b'Z', b @ b'a'..=b'z', c @ b'a'..=b'z', b' ', ..] => !is_weekday(&[*a, *b, *c]),
            [_, _, _, _, b'-', _, _, b'-', _, _, b'T', ..] => true,
            // As macOS writes it; most of what begins so is no syslog.
            [_, _, _, _, b'-', _, _, b'-', _, _, b' ', ..] => line.len() > 40 && matches!(line[26], b'+' | b'-'),
            _ => false,
        }
    }

    fn detect<'a>(&self, line: &'a [u8], context: &Context, out: &mut Fields<'a>) -> Result<&'static str, Malformed> {
        // Where a priority begins it, the version that may follow is looked for once that has been read.
        if line.first() != Some(&b'<') && !self.may_be(line) {
            return Err(mismatch(INFO.name, NOT_AT_ITS_HEAD, 0));
        }
        match parse(line, context, true, out) {
            Ok(()) => Ok(INFO.name),
            Err((reason, at)) => Err(mismatch(INFO.name, reason, at)),
        }
    }
}

fn parse<'a>(
    line: &'a [u8],
    context: &Context,
    detecting: bool,
    out: &mut Fields<'a>,
) -> Result<(), (&'static str, usize)> {
    let mut at = 0;
    let has_priority = match priority(line) {
        Some((_, after)) if detecting && syslog_rfc5424::is_version_at(line, after) => {
            return Err(("the version of RFC 5424 after the priority", after));
        }
        Some((priority, after)) => {
            fill_priority(priority, out);
            at = skip_blanks(line, after);
            true
        }
        None => false,
    };
    let mut is_iso = false;
    let mut after_time = at;
    if let Some(time) = Time::read(line, at, context) {
        out.timestamp = Some(time.instant.timestamp);
        if time.instant.nanos > 0 {
            out.meta.int("nanos", i64::from(time.instant.nanos));
        }
        if !time.sequence.is_empty() {
            out.meta.number_or_text("sequence", time.sequence);
        }
        out.source = Text::Bytes(time.host);
        is_iso = time.is_iso;
        after_time = time.end;
    } else if !has_priority {
        return Err(("neither a priority nor a time at its head", 0));
    }

    let colon = line.get(after_time) == Some(&b':') && after_time > at;
    at = skip_blanks(line, after_time + usize::from(colon));
    let has_host = !colon && after_time > 0 && has_host(line, at, out.timestamp.is_some());
    if has_host {
        let (host, end) = token(line, at);
        let host = in_brackets(host).unwrap_or(host);
        let is_host = Level::from_name(host).is_none() && host != b"stdout" && host != b"stderr";
        if detecting && !has_priority && !is_host {
            return Err(("something else where a host would stand", at));
        }
        if host != b"-" {
            out.source = Text::Bytes(host);
        }
        at = skip_blanks(line, end);
        // `host : %ASA-6-302016: …`
        if line.get(at..at + 2) == Some(b": ") {
            at = skip_blanks(line, at + 2);
        }
    }
    // Many programs begin their lines with such a time: only a tag in its place shows that it is syslog.
    let tag = Tag::read(line, at);
    if detecting && is_iso && !has_priority {
        let needs_pid = line[10] == b' ';
        let is_tag = |tag: &Tag| tag.has_colon && (!needs_pid || whole_number(tag.pid, 10).is_some());
        if !has_host || !tag.as_ref().is_some_and(is_tag) {
            return Err(("a time, but no host and tag", at));
        }
    }
    if let Some(tag) = tag {
        if tag.name != b"-" {
            out.application = Text::Bytes(tag.name);
        }
        out.meta.number_unless_nil("procid", tag.pid);
        at = tag.end;
    }
    let after = skip_blanks(line, at);
    if has_priority
        && line.get(after) == Some(&b'[')
        && let Ok(end) = take_structured_data(line, after, Rigour::Proven, out)
    {
        at = after_blank(line, end);
    }
    out.message = Text::Bytes(&line[at..]);
    Ok(())
}

/// The time at the head of a line.
struct Time<'a> {
    instant: Instant,
    /// Cisco's number of the message, before its time.
    sequence: &'a [u8],
    /// And, where it is set to write it, the device's name.
    host: &'a [u8],
    is_iso: bool,
    end: usize,
}

impl<'a> Time<'a> {
    fn read(line: &'a [u8], at: usize, context: &Context) -> Option<Time<'a>> {
        let rest = &line[at..];
        if rest.first()?.is_ascii_digit() {
            if let Some((civil, length)) = scan_iso(rest).filter(|(_, length)| *length > 15) {
                let end = at + length;
                let instant = civil.resolve(context.zone)?;
                return ends(line, end).then_some(Time { instant, sequence: b"", host: b"", is_iso: true, end });
            }
            let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
            let sequence = &rest[..digits];
            let start = at + digits + 2;
            if digits > 10 || rest.get(digits..digits + 2) != Some(b": ") {
                return None;
            }
            let start = skip_blanks(line, start);
            if let Some(time) = Time::read_bsd(line, start, context) {
                return Some(Time { sequence, ..time });
            }
            // `45: router1: Mar  1 18:46:11: …`
            let (word, end) = token(line, start);
            let host = word.strip_suffix(b":")?;
            let time = Time::read_bsd(line, skip_blanks(line, end), context)?;
            return Some(Time { sequence, host, ..time });
        }
        Time::read_bsd(line, at, context)
    }

    fn read_bsd(line: &'a [u8], at: usize, context: &Context) -> Option<Time<'a>> {
        // Cisco marks a clock that is not set with a star, one that has lost its source with a point.
        let marked = usize::from(matches!(line.get(at), Some(b'*' | b'.')));
        let (civil, has_year, length) = scan_bsd(line.get(at + marked..)?)?;
        let mut end = at + marked + length;
        let mut civil = civil;
        if let Some([b' ', zone @ ..]) = line.get(end..)
            && let letters = zone.iter().take_while(|b| b.is_ascii_uppercase()).count()
            && (3..=5).contains(&letters)
            && zone.get(letters) == Some(&b':')
        {
            if matches!(&zone[..letters], b"UTC" | b"GMT") {
                civil.offset = Some(0);
            }
            end += 1 + letters;
        }
        let instant = match has_year {
            true => civil.resolve(context.zone)?,
            false => civil.resolve_without_year(context.zone, context.received)?,
        };
        ends(line, end).then_some(Time { instant, sequence: b"", host: b"", is_iso: false, end })
    }
}

fn ends(line: &[u8], end: usize) -> bool {
    matches!(line.get(end), None | Some(b' ' | b':'))
}

/// Whether a host stands at `at`: a word, unless it is the tag or a sentence of syslogd's own.
fn has_host(line: &[u8], at: usize, has_time: bool) -> bool {
    let (word, _) = token(line, at);
    let begins_like_one = word.first().is_some_and(|&b| b != b'[') || in_brackets(word).is_some();
    has_time && begins_like_one && !is_tag(word) && !is_repetition(&line[at..])
}

/// `[10.0.4.17]`: the address in it, as some relays write it in the host's place.
fn in_brackets(word: &[u8]) -> Option<&[u8]> {
    word.strip_prefix(b"[")?.strip_suffix(b"]").filter(|inside| is_address(inside))
}

/// `name:` or `name[pid]:`, whatever follows the latter.
fn is_tag(word: &[u8]) -> bool {
    word.ends_with(b":") && !word.ends_with(b"::") || memchr::memmem::find(word, b"]:").is_some()
}

fn is_repetition(text: &[u8]) -> bool {
    text.starts_with(b"last message repeated ") || text.starts_with(b"--- last message repeated ")
}

/// Program and process.
struct Tag<'a> {
    name: &'a [u8],
    pid: &'a [u8],
    has_colon: bool,
    /// Where the message begins.
    end: usize,
}

impl<'a> Tag<'a> {
    /// RFC 3164 allows 32; classes and pods have longer names.
    const NAME_BYTES_MAX: usize = 128;

    fn read(line: &'a [u8], at: usize) -> Option<Tag<'a>> {
        let rest = line.get(at..)?;
        if is_repetition(rest) {
            return None;
        }
        let stop = rest.iter().take(Tag::NAME_BYTES_MAX + 1).position(|b| matches!(b, b':' | b'[' | b' '));
        let stop = match stop {
            Some(stop) => stop,
            None if rest.len() > Tag::NAME_BYTES_MAX || rest.is_empty() => return None,
            None => rest.len(),
        };
        match rest.get(stop) {
            Some(_) if stop == 0 => None,
            Some(b':') => Tag::with_colon(line, at, stop),
            Some(b'[') => Tag::with_pid(line, at, stop).or_else(|| Tag::word(line, at)),
            Some(_) => Tag::with_blanks(line, at).or_else(|| Tag::word(line, at)),
            None => Some(Tag { name: rest, pid: b"", has_colon: false, end: line.len() }),
        }
    }

    /// `name: `; a colon inside a word is part of the name, unless no other ends it.
    fn with_colon(line: &'a [u8], at: usize, first: usize) -> Option<Tag<'a>> {
        let (word, word_end) = token(line, at);
        let name_end = match word.strip_suffix(b":") {
            Some(name) if name.len() <= Tag::NAME_BYTES_MAX && !name.contains(&b'[') => name.len(),
            _ => first,
        };
        let end = if name_end == word.len() - 1 { word_end } else { at + name_end + 1 };
        Some(Tag { name: &word[..name_end], pid: b"", has_colon: true, end: after_blank(line, end) })
    }

    /// `name[pid]: `, `name[pid] ` or `name[pid]` at the end of the line.
    fn with_pid(line: &'a [u8], at: usize, bracket: usize) -> Option<Tag<'a>> {
        let rest = &line[at..];
        let length = rest[bracket + 1..].iter().take(Tag::NAME_BYTES_MAX).position(|&b| b == b']')?;
        let close = bracket + 1 + length;
        let has_colon = match rest.get(close + 1) {
            Some(b':') => true,
            Some(b' ') | None => false,
            Some(_) => return None,
        };
        let end = after_blank(line, at + close + 1 + usize::from(has_colon));
        Some(Tag { name: &rest[..bracket], pid: &rest[bracket + 1..close], has_colon, end })
    }

    /// `Google Chrome Helper[85294]: `: words, then digits in brackets and a colon; or `syslogd 1.4.1: `.
    fn with_blanks(line: &'a [u8], at: usize) -> Option<Tag<'a>> {
        let rest = &line[at..];
        let bracket = rest.iter().take(Tag::NAME_BYTES_MAX).position(|b| matches!(b, b':' | b'['))?;
        if rest[bracket] == b':' {
            let name = &rest[..bracket];
            let version = &name[memchr::memchr(b' ', name)? + 1..];
            let is_version = version.contains(&b'.') && version.iter().all(|b| b.is_ascii_digit() || *b == b'.');
            let end = after_blank(line, at + bracket + 1);
            return is_version.then_some(Tag { name, pid: b"", has_colon: true, end });
        }
        let tag = Tag::with_pid(line, at, bracket)?;
        let words = tag.name.split(|&b| b == b' ').count();
        let plain = tag.name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b' ' | b'.' | b'-' | b'_'));
        (tag.has_colon && words <= 4 && plain && tag.pid.iter().all(u8::is_ascii_digit) && !tag.name.ends_with(b" "))
            .then_some(tag)
    }

    /// A word that is followed by a blank: RFC 3164 §4.1.3 ends a tag at any character that none can have. A dash says
    /// that there is none.
    fn word(line: &'a [u8], at: usize) -> Option<Tag<'a>> {
        let (name, end) = token(line, at);
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'/') || b >= 0x80;
        let is_tag = name == b"-" || name[0] != b'-' && name.iter().all(|&b| fits(b));
        is_tag.then(|| Tag { name, pid: b"", has_colon: false, end: after_blank(line, end) })
    }
}

fn after_blank(line: &[u8], at: usize) -> usize {
    at + usize::from(line.get(at) == Some(&b' '))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Mode;
    use crate::format::testing::{check, read, refuse};

    #[test]
    fn lines_as_machines_write_them() {
        check(&[
            (
                "<34>Oct 11 22:14:15 mymachine su[4711]: 'su root' failed for lonvick on /dev/pts/8",
                r#"syslog_rfc3164 2025-10-11T22:14:15 FATAL mymachine|su|'su root' failed for lonvick on /dev/pts/8 {"facility":4,"severity":2,"procid":4711}"#,
            ),
            (
                "Jun  4 12:08:33 web1 systemd[1]: Started the shop",
                r#"syslog_rfc3164 2025-06-04T12:08:33 INFO web1|systemd|Started the shop {"procid":1}"#,
            ),
            (
                "Oct 11 22:14:15 vault login(pam_unix)[2204]: session opened for user=ann",
                r#"syslog_rfc3164 2025-10-11T22:14:15 INFO vault|login(pam_unix)|session opened for user=ann {"procid":2204}"#,
            ),
            (
                "Mar 17 00:01:25 mx1 postfix/qmgr[88]: removed from x[1.2.3.4]",
                r#"syslog_rfc3164 2026-03-17T00:01:25 INFO mx1|postfix/qmgr|removed from x[1.2.3.4] {"procid":88}"#,
            ),
            (
                "Aug 16 00:10:45 mac Google Chrome Helper[85294]: crashed",
                r#"syslog_rfc3164 2025-08-16T00:10:45 INFO mac|Google Chrome Helper|crashed {"procid":85294}"#,
            ),
            (
                "Jun 19 04:09:11 vault syslogd 1.5.0: restart.",
                "syslog_rfc3164 2025-06-19T04:09:11 INFO vault|syslogd 1.5.0|restart. {}",
            ),
            (
                "Jun 19 04:09:11 vault last message repeated 2 times",
                "syslog_rfc3164 2025-06-19T04:09:11 INFO vault|-|last message repeated 2 times {}",
            ),
            (
                "Jun 19 04:09:11 last message repeated 2 times",
                "syslog_rfc3164 2025-06-19T04:09:11 INFO -|-|last message repeated 2 times {}",
            ),
            (
                "<133>Jun 14 08:00:01 keepalived[411]: Entering MASTER state",
                r#"syslog_rfc3164 2025-06-14T08:00:01 INFO -|keepalived|Entering MASTER state {"facility":16,"severity":5,"procid":411}"#,
            ),
            (
                "<190>*Apr 16 2017 21:28:13: %ASA-6-302016: Teardown UDP",
                r#"syslog_rfc3164 2017-04-16T21:28:13 INFO -|%ASA-6-302016|Teardown UDP {"facility":23,"severity":6}"#,
            ),
            (
                "<189>45: router1: Mar  1 18:46:11: %SYS-5-CONFIG_I: x",
                r#"syslog_rfc3164 2026-03-01T18:46:11 INFO router1|%SYS-5-CONFIG_I|x {"facility":23,"severity":5,"sequence":45}"#,
            ),
            (
                "<189>45: *Mar  1 18:46:11.123 UTC: %SYS-5-CONFIG_I: Configured from console",
                r#"syslog_rfc3164 2026-03-01T18:46:11.123 INFO -|%SYS-5-CONFIG_I|Configured from console {"facility":23,"severity":5,"sequence":45}"#,
            ),
            (
                "<190>Apr 16 21:28:13 2017 router app: up",
                r#"syslog_rfc3164 2017-04-16T21:28:13 INFO router|app|up {"facility":23,"severity":6}"#,
            ),
            (
                "<7>2016-11-10T10:43:21.156+02:00 gw1 openvpn[71]: tun0 is up",
                r#"syslog_rfc3164 2016-11-10T08:43:21.156 DEBUG gw1|openvpn|tun0 is up {"facility":0,"severity":7,"procid":71}"#,
            ),
            (
                "2016-11-10T10:43:21.156123+02:00 gw1 openvpn[71]: tun0 is up",
                r#"syslog_rfc3164 2016-11-10T08:43:21.156123Z INFO gw1|openvpn|tun0 is up {"procid":71}"#,
            ),
            (
                "<15> openvpn[2499]: no time",
                r#"syslog_rfc3164 now DEBUG -|openvpn|no time {"facility":1,"severity":7,"procid":2499}"#,
            ),
            (
                "<13>Feb 14 20:07:26 host root[39]:no blank",
                r#"syslog_rfc3164 2026-02-14T20:07:26 INFO host|root|no blank {"facility":1,"severity":5,"procid":39}"#,
            ),
            (
                r#"<46>Jan  6 15:33:03 host rsyslogd:  [origin software="rsyslogd" swVersion="8.2302.0"] start"#,
                r#"syslog_rfc3164 2026-01-06T15:33:03 INFO host|rsyslogd|start {"facility":5,"severity":6,"structured_data":{"origin":{"software":"rsyslogd","swVersion":"8.2302.0"}}}"#,
            ),
            (
                "<187>1234: Oct 11 22:14:15.123 CEST: %LINEPROTO-5-UPDOWN: Line protocol on Interface Gi0/1, changed state to down",
                r#"syslog_rfc3164 2025-10-11T22:14:15.123 ERROR -|%LINEPROTO-5-UPDOWN|Line protocol on Interface Gi0/1, changed state to down {"facility":23,"severity":3,"sequence":1234}"#,
            ),
            (
                "<165>Aug 24 05:34:00 CST 1987 mymachine myproc[10]: %% It's time to make the do-nuts.",
                r#"syslog_rfc3164 1987-08-24T05:34:00 INFO mymachine|myproc|%% It's time to make the do-nuts. {"facility":20,"severity":5,"procid":10}"#,
            ),
            (
                "<34>Oct 11 22:14:15 [10.0.4.17] app: relayed",
                r#"syslog_rfc3164 2025-10-11T22:14:15 FATAL 10.0.4.17|app|relayed {"facility":4,"severity":2}"#,
            ),
            (
                "2024-02-14 08:00:00.123456+0100  localhost kernel[0]: (AppleACPI) wake reason",
                r#"syslog_rfc3164 2024-02-14T07:00:00.123456Z INFO localhost|kernel|(AppleACPI) wake reason {"procid":0}"#,
            ),
            (
                "2024-02-14 08:00:00.123 UTC [4711] LOG:  ready",
                "plain 2024-02-14T08:00:00.123 INFO -|-|2024-02-14 08:00:00.123 UTC [4711] LOG:  ready {}",
            ),
            (
                "Feb 14 08:00:00 mac com.apple.xpc.launchd[1] (com.apple.mdworker[8372]): Service exited",
                r#"syslog_rfc3164 2026-02-14T08:00:00 INFO mac|com.apple.xpc.launchd|(com.apple.mdworker[8372]): Service exited {"procid":1}"#,
            ),
            ("Jun  4 12:08:33 - - Starting", "syslog_rfc3164 2025-06-04T12:08:33 INFO -|-|Starting {}"),
            ("Jun  4 12:08:33 host", "syslog_rfc3164 2025-06-04T12:08:33 INFO host|-|- {}"),
            ("Jun  4 12:08:33", "syslog_rfc3164 2025-06-04T12:08:33 INFO -|-|- {}"),
            ("Feb 29 12:00:00 host app: a leap day", "syslog_rfc3164 2024-02-29T12:00:00 INFO host|app|a leap day {}"),
            ("Dec 31 23:59:59 host app: last year", "syslog_rfc3164 2025-12-31T23:59:59 INFO host|app|last year {}"),
            (
                r#"<46>Jan  5 15:33:03 host app: {"message":"in","level":"error"}"#,
                r#"syslog_rfc3164 2026-01-05T15:33:03 ERROR host|app|in {"facility":5,"severity":6,"outer":{"level":"INFO"}}"#,
            ),
            (
                "2024-01-01T00:00:00Z INFO app: a level, not a host",
                "plain 2024-01-01T00:00:00 INFO -|-|2024-01-01T00:00:00Z INFO app: a level, not a host {}",
            ),
            (
                "2024-01-01T00:00:00Z started all things at once",
                "plain 2024-01-01T00:00:00 INFO -|-|2024-01-01T00:00:00Z started all things at once {}",
            ),
            ("Foo  4 12:08:33 host app: x", "plain now INFO -|-|Foo  4 12:08:33 host app: x {}"),
            ("Jun 31 12:08:33 host app: x", "plain now INFO -|-|Jun 31 12:08:33 host app: x {}"),
            (
                "<166>Nov 11 2025 16:00:00 fw1 : %ASA-6-302016: Teardown UDP",
                r#"syslog_rfc3164 2025-11-11T16:00:00 INFO fw1|%ASA-6-302016|Teardown UDP {"facility":20,"severity":6}"#,
            ),
            (
                r#"<189>date=2025-11-11 time=16:00:00 devname="fw1" level=warning"#,
                r#"syslog_rfc3164 2025-11-11T16:00:00 WARN -|-|date=2025-11-11 time=16:00:00 devname="fw1" level=warning {"facility":23,"severity":5,"devname":"fw1","outer":{"level":"INFO"}}"#,
            ),
        ]);
    }

    #[test]
    fn held_to_it() {
        refuse(
            &Rfc3164,
            &[
                ("", "neither a priority nor a time"),
                ("text", "neither a priority nor a time"),
                ("Jun 31 12:08:33 host app: x", "neither a priority nor a time"),
                ("<192>Jun 30 12:08:33 host app: x", "neither a priority nor a time"),
            ],
        );
        let got = read(b"2024-01-01T00:00:00Z host words", Mode::Named(&Rfc3164), true).unwrap();
        assert_eq!(got, "syslog_rfc3164 2024-01-01T00:00:00 INFO host|words|- {}");
    }
}
