//! Syslog as RFC 5424 has it: `<PRI>VERSION TIME HOST APP PROCID MSGID STRUCTURED-DATA MESSAGE`.
//!
//! A line that is held to this format must keep to its grammar to the letter, and a cut one is refused. Where the format
//! is detected, what devices really send is taken too: no priority, nine digits of fraction, structured data as in
//! [`Rigour::Lenient`](super::syslog::Rigour), and headers that end early. A byte order mark before the message stays in
//! it, like every other character.

use super::scan::{BLANK, OTHER, word_end};
use super::syslog::{Rigour, fill_priority, priority, take_structured_data};
use super::{FormatInfo, Malformed, Parser, mismatch};
use crate::fields::{Context, Fields};
use crate::text::Text;
use crate::time::scan_iso;

pub static INFO: FormatInfo = FormatInfo {
    name: "syslog_rfc5424",
    title: "Syslog, RFC 5424",
    example: r#"<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog 4711 ID47 [exampleSDID@32473 iut="3" eventSource="Application"] An application event log entry"#,
    fields: &[
        "timestamp",
        "level",
        "source",
        "application",
        "message",
        "metadata.facility",
        "metadata.severity",
        "metadata.procid",
        "metadata.msgid",
        "metadata.structured_data",
        "metadata.nanos",
    ],
    specification: "RFC 5424, section 6",
};

pub struct Rfc5424;

impl Parser for Rfc5424 {
    fn info(&self) -> &FormatInfo {
        &INFO
    }

    fn parse<'a>(&self, line: &'a [u8], context: &Context, out: &mut Fields<'a>) -> Result<(), Malformed> {
        parse(line, context, Rigour::Strict, out).map_err(|(reason, at)| mismatch(INFO.name, reason, at))
    }

    fn may_be(&self, line: &[u8]) -> bool {
        match line {
            [b'<', ..] => has_version(line),
            [b'1', b' ', digit, ..] => digit.is_ascii_digit(),
            _ => false,
        }
    }

    fn detect<'a>(&self, line: &'a [u8], context: &Context, out: &mut Fields<'a>) -> Result<&'static str, Malformed> {
        match parse(line, context, Rigour::Lenient, out) {
            Ok(()) => Ok(INFO.name),
            Err((reason, at)) => Err(mismatch(INFO.name, reason, at)),
        }
    }
}

/// Whether a version follows the priority, and after it a time, its absence, or nothing.
pub(super) fn has_version(line: &[u8]) -> bool {
    priority(line).is_some_and(|(_, at)| is_version_at(line, at))
}

/// The same, where the priority has been read.
#[inline]
pub(super) fn is_version_at(line: &[u8], at: usize) -> bool {
    let digits = line[at..].iter().take(4).take_while(|b| b.is_ascii_digit()).count();
    (1..=3).contains(&digits)
        && line.get(at + digits) == Some(&b' ')
        && line.get(at + digits + 1).is_none_or(|&b| b == b'-' || b.is_ascii_digit())
}

/// The longest that the header's fields may be (RFC 5424 §6).
const HOSTNAME_BYTES_MAX: usize = 255;
const APP_NAME_BYTES_MAX: usize = 48;
const PROCID_BYTES_MAX: usize = 128;
const MSGID_BYTES_MAX: usize = 32;

fn parse<'a>(
    line: &'a [u8],
    context: &Context,
    rigour: Rigour,
    out: &mut Fields<'a>,
) -> Result<(), (&'static str, usize)> {
    let strict = rigour == Rigour::Strict;
    let mut at = match priority(line) {
        Some((priority, at)) => {
            fill_priority(priority, out);
            at
        }
        // Without a priority, only the usual version and a time that follows it tell.
        None if !strict && line.starts_with(b"1 ") && line.len() > 20 => 0,
        None => return Err(("no priority from <0> to <191>", 0)),
    };
    let has_priority = at > 0;

    let version = line[at..].iter().take(3).take_while(|b| b.is_ascii_digit()).count();
    if version == 0 || line[at] == b'0' || line.get(at + version) != Some(&b' ') {
        return Err(("no version after the priority", at));
    }
    at += version + 1;

    let mut header = Header { line, at, strict };
    if let Some(time) = header.field(usize::MAX, "no time")? {
        let time_at = header.at - time.len();
        let broken = ("a broken time", time_at);
        let (civil, length) = scan_iso(time).ok_or(broken)?;
        let written_in_full = time.len() > 19 && matches!(time[10], b'T' | b't') && civil.offset.is_some();
        if length != time.len() || !written_in_full || strict && !is_strict_time(time) {
            return Err(broken);
        }
        let instant = civil.resolve(context.zone).ok_or(("a time outside 1970 to 9999", time_at))?;
        out.timestamp = Some(instant.timestamp);
        if instant.nanos > 0 {
            out.meta.int("nanos", i64::from(instant.nanos));
        }
    } else if !has_priority {
        return Err(("neither a priority nor a time", 0));
    }
    if let Some(host) = header.field(HOSTNAME_BYTES_MAX, "no host name")? {
        out.source = Text::Bytes(host);
    }
    if let Some(app) = header.field(APP_NAME_BYTES_MAX, "no application name")? {
        out.application = Text::Bytes(app);
    }
    if let Some(procid) = header.field(PROCID_BYTES_MAX, "no process id")? {
        out.meta.number_or_text("procid", procid);
    }
    if let Some(msgid) = header.field(MSGID_BYTES_MAX, "no message id")? {
        out.meta.text("msgid", msgid);
    }
    at = header.enter()?;
    fill_rest(line, at, rigour, out)
}

/// Structured data and message.
fn fill_rest<'a>(line: &'a [u8], at: usize, rigour: Rigour, out: &mut Fields<'a>) -> Result<(), (&'static str, usize)> {
    let strict = rigour == Rigour::Strict;
    let end = match &line[at.min(line.len())..] {
        [] if strict => return Err(("no structured data", at)),
        [] => return Ok(()),
        [b'-'] | [b'-', b' ', ..] => at + 1,
        _ => match take_structured_data(line, at, rigour, out) {
            Ok(end) => end,
            Err(error) if strict => return Err(error),
            // Some senders leave it out.
            Err(_) => {
                out.message = Text::Bytes(&line[at..]);
                return Ok(());
            }
        },
    };
    match line.get(end) {
        None => {}
        Some(b' ') => out.message = Text::Bytes(&line[end + 1..]),
        Some(_) if strict => return Err(("no blank after the structured data", end)),
        Some(_) => out.message = Text::Bytes(&line[end..]),
    }
    Ok(())
}

/// The fields of the header, one after another.
struct Header<'a> {
    line: &'a [u8],
    /// Just after the last field that was read; a blank, or the end of the line.
    at: usize,
    strict: bool,
}

impl<'a> Header<'a> {
    /// The next field; `None` where it is `-`, and when not strict also where the line has ended.
    fn field(&mut self, bytes_max: usize, missing: &'static str) -> Result<Option<&'a [u8]>, (&'static str, usize)> {
        let start = self.enter()?;
        if start >= self.line.len() {
            return if self.strict { Err((missing, start)) } else { Ok(None) };
        }
        let rest = &self.line[start..];
        let length = word_end(rest, 0, BLANK | OTHER);
        let (field, end) = match rest.get(length) {
            None | Some(b' ') => (&rest[..length], start + length),
            Some(_) if self.strict => return Err(("a field of the header that is not printable", start + length)),
            Some(_) => super::scan::token(self.line, start),
        };
        if field.is_empty() {
            return Err((missing, start));
        }
        if self.strict && field.len() > bytes_max {
            return Err(("a field of the header that is too long", start));
        }
        self.at = end;
        Ok(if field == b"-" { None } else { Some(field) })
    }

    /// Steps over the blank after the last field.
    fn enter(&mut self) -> Result<usize, (&'static str, usize)> {
        // The version's own blank has been stepped over.
        if self.line.get(self.at) == Some(&b' ') && self.at > 0 && self.line[self.at - 1] != b' ' {
            self.at += 1;
        } else if self.strict && self.at >= self.line.len() {
            return Err(("the line ends too early", self.at));
        }
        Ok(self.at)
    }
}

/// Whether a time that is one also keeps to RFC 5424 §6.2.3: capitals, at most six digits, no leap second, an offset
/// with a colon.
fn is_strict_time(time: &[u8]) -> bool {
    let fraction = match time.get(19) {
        Some(b'.') => 1 + time[20..].iter().take_while(|b| b.is_ascii_digit()).count(),
        _ => 0,
    };
    let zone = &time[19 + fraction..];
    time[4] == b'-'
        && time[10] == b'T'
        && time[17] < b'6'
        && fraction <= 7
        && (zone == b"Z" || zone.len() == 6 && zone[3] == b':')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::testing::{check, refuse};

    #[test]
    fn lines_to_the_letter_and_less() {
        check(&[
            (
                r#"<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog 4711 ID47 [exampleSDID@32473 iut="3" eventSource="Appli\"ca\\tion\]" eventID="1011"][x] An event"#,
                r#"syslog_rfc5424 2003-10-11T22:14:15.003 INFO mymachine.example.com|evntslog|An event {"facility":20,"severity":5,"procid":4711,"msgid":"ID47","structured_data":{"exampleSDID@32473":{"iut":"3","eventSource":"Appli\"ca\\tion]","eventID":"1011"},"x":{}}}"#,
            ),
            ("<34>1 - - - - - -", r#"syslog_rfc5424 now FATAL -|-|- {"facility":4,"severity":2}"#),
            (
                "<0>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time",
                r#"syslog_rfc5424 2003-08-24T12:14:15.000003Z FATAL 192.0.2.1|myproc|%% It's time {"facility":0,"severity":0,"procid":8710}"#,
            ),
            (
                r#"<14>1 2025-02-11T12:31:28.123456789+01:00 host app - - [a@1 x="1" x="2" y= "3"] three"#,
                r#"syslog_rfc5424 2025-02-11T11:31:28.123456Z INFO host|app|three {"facility":1,"severity":6,"nanos":789,"structured_data":{"a@1":{"x":"1","x_2":"2","y":"3"}}}"#,
            ),
            (
                "<14>1 2025-02-11T12:31:28Z host app 1 m no structured data",
                r#"syslog_rfc5424 2025-02-11T12:31:28 INFO host|app|no structured data {"facility":1,"severity":6,"procid":1,"msgid":"m"}"#,
            ),
            (
                "<165>1 2023-06-04T17:42:32Z host",
                r#"syslog_rfc5424 2023-06-04T17:42:32 INFO host|-|- {"facility":20,"severity":5}"#,
            ),
            (
                "1 2023-06-04T17:42:32Z host app 12345 ID47 - without a priority",
                r#"syslog_rfc5424 2023-06-04T17:42:32 INFO host|app|without a priority {"procid":12345,"msgid":"ID47"}"#,
            ),
            (
                r#"<29>1 2006-01-02T15:04:05Z host app - - [meta a="b]c"] lenient"#,
                r#"syslog_rfc5424 2006-01-02T15:04:05 INFO host|app|lenient {"facility":3,"severity":5,"structured_data":{"meta":{"a":"b]c"}}}"#,
            ),
            ("<13>1 apple a day", r#"syslog_rfc3164 now INFO -|1|apple a day {"facility":1,"severity":5}"#),
            (
                "<192>1 2003-10-11T22:14:15.003Z h a - - - x",
                "plain now INFO -|-|<192>1 2003-10-11T22:14:15.003Z h a - - - x {}",
            ),
        ]);
    }

    #[test]
    fn held_to_the_letter() {
        let long = format!("<1>1 - {} - - - -", "h".repeat(256));
        refuse(
            &Rfc5424,
            &[
                ("", "no priority"),
                ("122 - - - - - -", "no priority"),
                ("<192>1 - - - - - -", "no priority"),
                ("<002>1 - - - - - -", "no priority"),
                ("<1>1", "no version"),
                ("<1>0 - - - - - -", "no version"),
                ("<1>1000 - - - - - -", "no version"),
                ("<1>1 2003-11-02T23:12:46 h a p m -", "a broken time (column 6)"),
                ("<1>1 2003-11-02T23:12:46z h a p m -", "a broken time"),
                ("<1>1 2003-11-02T23:12:46.1234567Z h a p m -", "a broken time"),
                ("<1>1 2003-11-02T23:12:60Z h a p m -", "a broken time"),
                ("<1>1 2003-11-02T23:12:46+0100 h a p m -", "a broken time"),
                ("<1>1 2003-09-31T22:14:16Z h a p m -", "a broken time"),
                ("<1>1 - h a p", "the line ends too early"),
                ("<1>1 - h a p m", "the line ends too early"),
                ("<1>1 - h  p m -", "no application name"),
                ("<1>1 - \u{fc} a p m -", "not printable"),
                (&long, "too long"),
                ("<1>1 - - - - - X", "no structured data"),
                ("<1>1 - - - - - [ ]", "a broken name"),
                ("<1>1 - - - - - []]", "a broken name"),
                ("<1>1 - - - - - [id1][id1]", "repeated"),
                (r#"<1>1 - - - - - [a b="]c"]"#, "an unescaped ]"),
                (r#"<1>1 - - - - - [a b="c\""#, "no closing quote"),
                (r#"<1>1 - - - - - [a b=c]"#, "not quoted"),
                (r#"<1>1 - - - - - [a b="c" ]"#, "a broken name"),
                ("<1>1 - - - - - [a]x", "no blank after"),
            ],
        );
    }
}
