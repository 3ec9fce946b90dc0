//! Any bytes as JSON: our scanner takes what serde_json takes and nothing else, and a record comes of it or a reason.
#![no_main]

use libfuzzer_sys::fuzz_target;
use record::format::{LineParser, Mode, NotTaken};
use record::json::{self, TOO_DEEP};
use record::{BatchBuilder, Context, IdSource, Rows, Timestamp, Zone};

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        match json::whole(text) {
            Ok(value) => assert_ne!(is_json(value.raw), Some(false), "taken, and no JSON: {text}"),
            Err(error) if error.reason == TOO_DEEP => {}
            Err(error) => assert_ne!(is_json(text), Some(true), "refused, and JSON ({error}): {text}"),
        }
    }
    let mut builder = BatchBuilder::new(1);
    let mut ids = IdSource::new(|| 0);
    let context = Context::new(Timestamp::MIN, &Zone::UTC);
    match LineParser::new().push_line(data, Mode::Json, &context, &mut ids, &mut builder) {
        Ok(_) => {
            let row = Rows::new(builder.body()).next().expect("the row that was pushed");
            let mut record = Vec::new();
            row.write_json(&mut record);
            let record = String::from_utf8(record).expect("UTF-8");
            assert_ne!(is_json(&record), Some(false), "not JSON: {record}");
            assert!(!record.contains('\0') && !record.contains("\\u0000"));
        }
        Err(NotTaken::Reject(reject)) => assert!(!reject.message.is_empty()),
        Err(NotTaken::Full) => panic!("an empty batch is full"),
    }
});

/// What serde_json says of text: it reads escapes, which sonic-rs leaves to whoever wants the string. Beyond the depth
/// that it reads, it has no say.
fn is_json(text: &str) -> Option<bool> {
    match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        Ok(_) => Some(true),
        Err(error) if error.to_string().contains("recursion limit") => None,
        Err(_) => Some(false),
    }
}
