//! Text of no format: the line is the message.

use super::{FormatInfo, Malformed, Parser};
use crate::fields::{Context, Fields};
use crate::text::Text;

pub static INFO: FormatInfo = FormatInfo {
    name: "plain",
    title: "Plain text: what fits no other format",
    example: "the quick brown fox",
    fields: &["message"],
    specification: "none: any bytes are taken",
};

pub struct Plain;

impl Parser for Plain {
    fn info(&self) -> &'static FormatInfo {
        &INFO
    }

    fn parse<'a>(&self, line: &'a [u8], _: &Context, out: &mut Fields<'a>) -> Result<(), Malformed> {
        out.message = Text::Bytes(line);
        Ok(())
    }
}
