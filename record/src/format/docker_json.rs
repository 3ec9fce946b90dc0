//! The log files of Docker's json-file driver: `{"log":"…\n","stream":"stdout","time":"…"}`, which is JSON of exactly
//! these keys (and `attrs`). An object that merely has a `log` in it is JSON like any other.

use super::{FormatInfo, Malformed, Parser, json, mismatch};
use crate::fields::{Context, Fields};
use crate::text::Text;

pub static INFO: FormatInfo = FormatInfo {
    name: "docker_json",
    title: "Container logs of Docker's json-file driver",
    example: r#"{"log":"the container's own line\n","stream":"stdout","time":"2019-04-01T17:58:33.598656444Z"}"#,
    fields: &["timestamp", "message", "metadata.stream", "metadata.partial", "metadata.attrs", "metadata.nanos"],
    specification: "https://docs.docker.com/engine/logging/drivers/json-file/",
};

pub struct DockerJson;

impl Parser for DockerJson {
    fn info(&self) -> &'static FormatInfo {
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
    let Text::Json(log) = out.message else { return };
    match log.strip_suffix("\\n") {
        // An even number of backslashes before the n: they stand for themselves, and so does the n.
        Some(line) if line.bytes().rev().take_while(|&b| b == b'\\').count() % 2 == 0 => out.message = Text::Json(line),
        _ => out.meta.bool("partial", true),
    }
}
