//! The worked example of `docs/PARSER_GUIDE.md`, and that the guide shows just this.

// begin
use record::format::{FormatInfo, Malformed, Parser, mismatch};
use record::{Context, Fields, Level, Text, time};

pub static INFO: FormatInfo = FormatInfo {
    name: "pipes",
    title: "Fields between pipes: time, level, application, message",
    example: "2025-11-11 16:00:00|WARN|shop|stock is low|sku=4711",
    fields: &["timestamp", "level", "application", "message", "metadata.rest"],
    specification: "docs/PARSER_GUIDE.md",
};

pub struct Pipes;

impl Parser for Pipes {
    fn info(&self) -> &FormatInfo {
        &INFO
    }

    /// A look at the first bytes: a date and a pipe where it must be.
    fn may_be(&self, line: &[u8]) -> bool {
        line.first().is_some_and(u8::is_ascii_digit) && line.get(19) == Some(&b'|')
    }

    fn parse<'a>(&self, line: &'a [u8], context: &Context, out: &mut Fields<'a>) -> Result<(), Malformed> {
        let refuse = |reason, at| Err(mismatch(INFO.name, reason, at));
        let mut parts = line.splitn(5, |&b| b == b'|');
        let (Some(when), Some(level), Some(application), Some(message)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return refuse("fewer than four fields between pipes", line.len());
        };
        let Some(instant) = time::parse(when, context.zone, context.received) else {
            return refuse("a broken time", 0);
        };
        out.timestamp = Some(instant.timestamp);
        out.level = Level::from_name(level);
        if out.level.is_none() {
            out.meta.text("level", level);
        }
        out.application = Text::Bytes(application);
        out.message = Text::Bytes(message);
        if let Some(rest) = parts.next() {
            out.meta.text("rest", rest);
        }
        Ok(())
    }
}
// end

use record::format::{LineParser, Mode};
use record::{BatchBuilder, IdSource, Rows, Timestamp, Zone};

static FORMATS: &[&dyn Parser] = &[&Pipes];

/// The line's format and record.
fn read(line: &str, mode: Mode) -> Result<(&'static str, String), String> {
    let context = Context::new(Timestamp::MIN, &Zone::UTC);
    let mut builder = BatchBuilder::new(1);
    let mut ids = IdSource::new(|| 0);
    let taken = LineParser::with_patterns(FORMATS)
        .push_line(line.as_bytes(), mode, &context, &mut ids, &mut builder)
        .map_err(|error| format!("{error:?}"))?;
    let mut json = Vec::new();
    Rows::new(builder.body()).next().expect("a row").write_json_members(&mut json);
    Ok((taken.format, String::from_utf8(json).expect("UTF-8")))
}

#[test]
fn the_example_is_read() {
    let record = r#""timestamp":"2025-11-11T16:00:00.000000Z","level":"WARN","source":"","application":"shop","message":"stock is low","metadata":{"rest":"sku=4711"}"#;
    for mode in [Mode::Auto, Mode::Named(&Pipes)] {
        assert_eq!(read(INFO.example, mode), Ok(("pipes", record.to_owned())));
    }
    for broken in ["", "2025-11-11 16:00:00|WARN", "2025-13-11 16:00:00|WARN|shop|x"] {
        assert!(read(broken, Mode::Named(&Pipes)).is_err(), "{broken}");
        assert_eq!(read(broken, Mode::Auto).unwrap().0, "plain", "{broken}");
    }
}

#[test]
fn the_guide_shows_this_example() {
    let read = |path: &str| std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let source = read("tests/parser_guide.rs");
    let example = source.split("// begin\n").nth(1).and_then(|rest| rest.split("// end\n").next()).unwrap();
    assert!(read("../docs/PARSER_GUIDE.md").contains(example), "docs/PARSER_GUIDE.md shows another example");
}
