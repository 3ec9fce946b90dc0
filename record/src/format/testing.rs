//! What the tests of all formats share.

use super::{LineParser, Mode, NotTaken, Parser, Reject};
use crate::batch::BatchBuilder;
use crate::fields::Context;
use crate::id::IdSource;
use crate::row::Rows;
use crate::time::{Timestamp, Zone};

/// 2025-11-12T00:00:00Z: when all test lines were received.
pub const RECEIVED: Timestamp = Timestamp::clamped(1_762_905_600_000_000);

/// A line's record as `format timestamp LEVEL source|application|message metadata`; `now` is the time of receipt, `-` an
/// empty field.
pub fn read(line: &[u8], mode: Mode, unwrap: bool) -> Result<String, Reject> {
    let context = Context { unwrap, ..Context::new(RECEIVED, &Zone::UTC) };
    let mut builder = BatchBuilder::new(1);
    let taken = match LineParser::new().push_line(line, mode, &context, &mut IdSource::new(|| 0), &mut builder) {
        Ok(taken) => taken,
        Err(NotTaken::Reject(reject)) => return Err(reject),
        Err(NotTaken::Full) => unreachable!("an empty batch is not full"),
    };
    let row = Rows::new(builder.body()).next().expect("the row that was just pushed");
    let text = |bytes: &[u8]| match std::str::from_utf8(bytes).expect("fields are UTF-8") {
        "" => "-".to_owned(),
        text => text.to_owned(),
    };
    let time = match row.timestamp() == RECEIVED {
        true => "now".to_owned(),
        false => row.timestamp().to_string().trim_end_matches("000Z").trim_end_matches(".000").to_owned(),
    };
    let metadata = text(row.metadata());
    assert!(sonic_rs::from_str::<sonic_rs::Value>(&metadata).is_ok(), "metadata is JSON: {metadata}");
    Ok(format!(
        "{} {time} {} {}|{}|{} {metadata}",
        taken.format,
        row.level(),
        text(row.source()),
        text(row.application()),
        text(row.message()),
    ))
}

/// Detects each line and compares its record with the one expected.
#[track_caller]
pub fn check(table: &[(&str, &str)]) {
    for (line, want) in table {
        assert_eq!(read(line.as_bytes(), Mode::Auto, true).as_deref(), Ok(*want), "{line}");
    }
}

/// Each line must not be of the format; the reject's code and message contain `want`.
#[track_caller]
pub fn refuse(parser: &dyn Parser, table: &[(&str, &str)]) {
    for (line, want) in table {
        let reject = read(line.as_bytes(), Mode::Named(parser), true).expect_err(line);
        let said = format!("{} {}", reject.code, reject.message);
        assert!(said.contains(want), "{line}: {said}");
    }
}
