//! Any bytes as JSON: our scanner takes what sonic-rs takes and nothing else, and a record comes of it or a reason.
#![no_main]

use libfuzzer_sys::fuzz_target;
use record::format::{LineParser, Mode, NotTaken};
use record::json::{self, TOO_DEEP};
use record::{BatchBuilder, Context, IdSource, Rows, Timestamp, Zone};

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        match json::whole(text) {
            Ok(value) => assert!(is_json(value.raw), "taken, and no JSON: {text}"),
            Err(error) if error.reason == TOO_DEEP => {}
            Err(error) => assert!(!is_json(text), "refused, and JSON ({error}): {text}"),
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
            assert!(is_json(&record), "not JSON: {record}");
            assert!(!record.contains('\0') && !record.contains("\\u0000"));
        }
        Err(NotTaken::Reject(reject)) => assert!(!reject.message.is_empty()),
        Err(NotTaken::Full) => panic!("an empty batch is full"),
    }
});

/// What sonic-rs says of text that does not nest too deep for it.
fn is_json(text: &str) -> bool {
    // serde's own value reads numbers beyond f64 as errors, a raw value does not look at them.
    sonic_rs::from_str::<sonic_rs::LazyValue>(text).is_ok()
}
