//! The log files of Kubernetes' container runtimes (containerd, CRI-O).
//!
//! `2025-11-11T16:00:00.184675702Z stdout F message`: the tag is `F` where the line is whole, `P` where it goes on in
//! the next; the oldest runtimes wrote none.

use super::{FormatInfo, Malformed, Parser, mismatch};
use crate::fields::{Context, Fields};
use crate::text::Text;
use crate::time::scan_iso;

pub static INFO: FormatInfo = FormatInfo {
    name: "cri",
    title: "Container logs of Kubernetes (CRI: containerd, CRI-O)",
    example: "2025-11-11T16:00:00.184675702Z stdout F the container's own line",
    fields: &["timestamp", "message", "metadata.stream", "metadata.partial", "metadata.nanos"],
    specification: "https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md",
};

pub struct Cri;

impl Parser for Cri {
    fn info(&self) -> &FormatInfo {
        &INFO
    }

    fn may_be(&self, line: &[u8]) -> bool {
        matches!(line, [_, _, _, _, b'-', _, _, b'-', _, _, b'T', ..])
    }

    fn parse<'a>(&self, line: &'a [u8], context: &Context, out: &mut Fields<'a>) -> Result<(), Malformed> {
        let refuse = |reason, at| Err(mismatch(INFO.name, reason, at));
        let Some((civil, length)) = scan_iso(line).filter(|(civil, length)| *length > 19 && civil.offset.is_some())
        else {
            return refuse("no time of RFC 3339 at its head", 0);
        };
        let (stream, at) = match &line[length..] {
            [b' ', b's', b't', b'd', b'o', b'u', b't', b' ', ..] => ("stdout", length + 8),
            [b' ', b's', b't', b'd', b'e', b'r', b'r', b' ', ..] => ("stderr", length + 8),
            _ => return refuse("no stdout or stderr after the time", length),
        };
        let Some(instant) = civil.resolve(context.zone) else {
            return refuse("a time outside 1970 to 9999", 0);
        };
        out.timestamp = Some(instant.timestamp);
        if instant.nanos > 0 {
            out.meta.int("nanos", i64::from(instant.nanos));
        }
        out.meta.text("stream", stream.as_bytes());
        let (tag, message) = split_tags(&line[at..]);
        if tag == Some(b'P') {
            out.meta.bool("partial", true);
        }
        out.message = Text::Bytes(message);
        Ok(())
    }
}

/// The first tag, `P` or `F`, and the message. Further tags may follow the first after colons.
fn split_tags(rest: &[u8]) -> (Option<u8>, &[u8]) {
    match rest {
        [tag @ (b'P' | b'F')] => (Some(*tag), &[]),
        [tag @ (b'P' | b'F'), b' ', message @ ..] => (Some(*tag), message),
        [tag @ (b'P' | b'F'), b':', tags @ ..] => match memchr::memchr(b' ', tags) {
            Some(blank) => (Some(*tag), &tags[blank + 1..]),
            None => (None, rest),
        },
        _ => (None, rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::testing::{check, refuse};

    #[test]
    fn whole_partial_and_wrapped_lines() {
        check(&[
            (
                "2025-11-11T16:00:00.184675702Z stdout F   two blanks kept",
                r#"cri 2025-11-11T16:00:00.184675Z INFO -|-|  two blanks kept {"nanos":702,"stream":"stdout"}"#,
            ),
            (
                "2025-11-11T16:00:00.904275+02:00 stderr P ERROR begins",
                r#"cri 2025-11-11T14:00:00.904275Z ERROR -|-|ERROR begins {"stream":"stderr","partial":true}"#,
            ),
            (
                "2025-11-11T16:00:00Z stdout an older runtime's line",
                r#"cri 2025-11-11T16:00:00 INFO -|-|an older runtime's line {"stream":"stdout"}"#,
            ),
            (
                r#"2025-11-11T16:00:00Z stdout F {"level":"warn","msg":"inner","app":"a","time":"2025-11-11T15:59:59Z","k":1}"#,
                r#"cri 2025-11-11T16:00:00 WARN -|a|inner {"stream":"stdout","k":1,"inner":{"timestamp":"2025-11-11T15:59:59.000000Z"}}"#,
            ),
            (
                r#"2025-11-11T16:00:00Z stdout F level=error msg="inner too" k=v"#,
                r#"cri 2025-11-11T16:00:00 ERROR -|-|inner too {"stream":"stdout","k":"v"}"#,
            ),
            ("2025-11-11T16:00:00Z stderr F", r#"cri 2025-11-11T16:00:00 INFO -|-|- {"stream":"stderr"}"#),
            (
                "2025-11-11T16:00:00Z stdout P:extra tagged",
                r#"cri 2025-11-11T16:00:00 INFO -|-|tagged {"stream":"stdout","partial":true}"#,
            ),
            ("2025-11-11T16:00:00Z stdin F x", "plain 2025-11-11T16:00:00 INFO -|-|2025-11-11T16:00:00Z stdin F x {}"),
            ("2025-11-11T16:00:00 stdout F x", "plain 2025-11-11T16:00:00 INFO -|-|2025-11-11T16:00:00 stdout F x {}"),
        ]);
    }

    #[test]
    fn held_to_it() {
        refuse(
            &Cri,
            &[
                ("2025-11-11T16:00:00Z stdin F x", "no stdout or stderr"),
                ("2025-11-11T16:00:00 stdout F x", "no time of RFC 3339"),
                ("2025-11-11T16:00:00Z", "no stdout or stderr"),
                ("", "no time"),
            ],
        );
    }
}
