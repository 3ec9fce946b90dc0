//! The log files of Docker's json-file driver: `{"log":"…\n","stream":"stdout","time":"…"}`, which is JSON of exactly
//! these keys (and `attrs`). An object that merely has a `log` in it is JSON like any other.

use super::{FormatInfo, Malformed, Parser, json, mismatch};
use crate::fields::{Context, Fields};
use crate::text::Text;

pub static INFO: FormatInfo = FormatInfo {
    name: "docker_json",
    title: "Container logs of Docker's json-file driver",
    example: r#"{"log":"the container's own line\n","stream":"stdout","time":"2025-11-11T16:00:00.598656444Z"}"#,
    fields: &["timestamp", "message", "metadata.stream", "metadata.partial", "metadata.attrs", "metadata.nanos"],
    specification: "https://docs.docker.com/engine/logging/drivers/json-file/",
};

pub struct DockerJson;

impl Parser for DockerJson {
    fn info(&self) -> &FormatInfo {
        &INFO
    }

    fn parse<'a>(&self, line: &'a [u8], context: &Context, out: &mut Fields<'a>) -> Result<(), Malformed> {
        match json::read(line, context, out)? {
            true => Ok(()),
            false => Err(mismatch(INFO.name, "its keys are not log, stream and time", 0)),
        }
    }
}

/// Takes the line feed off the message; where there is none, the container's line goes on in the next record.
pub(super) fn finish(out: &mut Fields) {
    let (Text::Json(log) | Text::Clean(log)) = out.message else { return };
    match without_escape(log, "\\n") {
        // A terminal (`docker run -t`) ends its lines with a carriage return as well.
        Some(line) => out.message = Text::Json(without_escape(line, "\\r").unwrap_or(line)),
        None => out.meta.bool("partial", true),
    }
}

/// The text without the escape at its end. After an odd number of other backslashes it is none: they stand for
/// themselves, and so does its letter.
fn without_escape<'a>(text: &'a str, escape: &str) -> Option<&'a str> {
    let rest = text.strip_suffix(escape)?;
    (rest.bytes().rev().take_while(|&b| b == b'\\').count() % 2 == 0).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::testing::{check, refuse};

    #[test]
    fn whole_partial_and_wrapped_lines() {
        check(&[
            (
                r#"{"log":"the line\n","stream":"stdout","time":"2025-11-11T16:00:00.598656444Z"}"#,
                r#"docker_json 2025-11-11T16:00:00.598656Z INFO -|-|the line {"stream":"stdout","nanos":444}"#,
            ),
            (
                r#"{"log":"goes on","stream":"stderr","attrs":{"tag":"x"},"time":"2025-11-11T16:00:00Z"}"#,
                r#"docker_json 2025-11-11T16:00:00 INFO -|-|goes on {"stream":"stderr","attrs":{"tag":"x"},"partial":true}"#,
            ),
            (
                r#"{"log":"\u001b[33mWARN\u001b[0m from a terminal\r\n","stream":"stdout","time":"2025-11-11T16:00:00Z"}"#,
                "docker_json 2025-11-11T16:00:00 WARN -|-|\x1b[33mWARN\x1b[0m from a terminal {\"stream\":\"stdout\"}",
            ),
            (
                r#"{"log":"a\\n","stream":"stdout","time":"2025-11-11T16:00:00Z"}"#,
                r#"docker_json 2025-11-11T16:00:00 INFO -|-|a\n {"stream":"stdout","partial":true}"#,
            ),
            (
                r#"{"log":"{\"level\":\"error\",\"message\":\"in\",\"time\":\"2025-11-11T15:59:59Z\",\"stream\":\"x\"}\n","stream":"stdout","time":"2025-11-11T16:00:00Z"}"#,
                r#"docker_json 2025-11-11T16:00:00 ERROR -|-|in {"stream":"stdout","stream_2":"x","inner":{"timestamp":"2025-11-11T15:59:59.000000Z"}}"#,
            ),
            (
                r#"{"log":"10.0.0.1 - - [10/Oct/2000:13:55:36 +0000] \"GET / HTTP/1.1\" 500 5\n","stream":"stdout","time":"2025-11-11T16:00:00Z"}"#,
                r#"docker_json 2025-11-11T16:00:00 ERROR -|-|GET / HTTP/1.1 {"stream":"stdout","client":"10.0.0.1","method":"GET","path":"/","protocol":"HTTP/1.1","status":500,"bytes":5,"inner":{"timestamp":"2000-10-10T13:55:36.000000Z"}}"#,
            ),
            (
                r#"{"log":"[WARN] careful\n","stream":"stdout","time":"2025-11-11T16:00:00Z"}"#,
                r#"docker_json 2025-11-11T16:00:00 WARN -|-|[WARN] careful {"stream":"stdout"}"#,
            ),
            (
                r#"{"log":{"level":"info"},"stream":"stdout","time":"2025-11-11T16:00:00Z"}"#,
                r#"json 2025-11-11T16:00:00 INFO -|-|- {"stream":"stdout"}"#,
            ),
            (
                r#"{"log":"x","stream":"stdin","time":"2025-11-11T16:00:00Z"}"#,
                r#"json 2025-11-11T16:00:00 INFO -|-|x {"stream":"stdin"}"#,
            ),
            (
                r#"{"log":"x","stream":"stdout","time":"2025-11-11T16:00:00Z","more":1}"#,
                r#"json 2025-11-11T16:00:00 INFO -|-|x {"stream":"stdout","more":1}"#,
            ),
            (
                r#"{"message":"{\"msg\":\"inner\",\"level\":\"error\",\"host\":\"h\"}","level":"info","host":"outer"}"#,
                r#"json now ERROR outer|-|inner {"outer":{"level":"INFO"},"inner":{"source":"h"}}"#,
            ),
            (r#"{"message":"{\"no\":\"message\"}"}"#, r#"json now INFO -|-|{"no":"message"} {}"#),
        ]);
    }

    #[test]
    fn held_to_it() {
        refuse(
            &DockerJson,
            &[
                (
                    r#"{"log":{"level":"info"},"stream":"stdout","time":"2025-11-11T16:00:00Z"}"#,
                    "not log, stream and time",
                ),
                (r#"{"log":"x","stream":"stdout","time":"yesterday"}"#, "not log, stream and time"),
                (r#"{"log":"x","stream":"stdout","time":"2025-11-11T16:00:00Z""#, "malformed JSON"),
            ],
        );
    }
}
