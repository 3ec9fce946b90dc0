//! Any bytes as a line of one format, which is that of the binary's name: held to it they become a record or a reason,
//! detected always a record, the same one whatever came before, and what comes out is what every store can keep. One file,
//! built once per format.
#![no_main]

use libfuzzer_sys::fuzz_target;
use record::format::{Joiner, LineParser, Mode, Multiline, NotTaken, by_name};
use record::{BatchBuilder, Context, IdSource, Rows, Timestamp, Zone};

const BINARY: &str = env!("CARGO_BIN_NAME");

fuzz_target!(|data: &[u8]| {
    let parser = by_name(BINARY.trim_start_matches("format_")).expect("a format of the registry");
    for unwrap in [false, true] {
        let _ = push(data, Mode::Named(parser), unwrap);
        assert!(push(data, Mode::Auto, unwrap).is_ok(), "a line was not taken");
    }
    let example = parser.info().example.as_bytes();
    assert_eq!(detected(&[data]), detected(&[example, data]), "what a line is depends on what came before");
    let mut joiner = Joiner::new(Multiline::Indent);
    let mut joined = 0;
    for line in data.split(|&b| b == b'\n') {
        joined += joiner.push(line).map_or(0, |record| record.text.len() + 1);
    }
    joined += joiner.finish().map_or(0, |record| record.text.len() + 1);
    assert_eq!(joined, data.len() + 1, "a byte was lost");
});

/// The format and record of the last of these lines, which one parser reads.
fn detected(lines: &[&[u8]]) -> (&'static str, Vec<u8>) {
    let context = Context::new(Timestamp::clamped(1_762_905_600_000_000), &Zone::UTC);
    let (mut parser, mut ids) = (LineParser::new(), IdSource::new(|| 0));
    let mut last = ("", Vec::new());
    for line in lines {
        let mut builder = BatchBuilder::new(1);
        if let Ok(taken) = parser.push_line(line, Mode::Auto, &context, &mut ids, &mut builder) {
            last = (taken.format, Vec::new());
            Rows::new(builder.body()).next().expect("the row that was pushed").write_json_members(&mut last.1);
        }
    }
    last
}

fn push(line: &[u8], mode: Mode, unwrap: bool) -> Result<(), String> {
    let context = Context { unwrap, ..Context::new(Timestamp::clamped(1_762_905_600_000_000), &Zone::UTC) };
    let mut builder = BatchBuilder::new(1);
    match LineParser::new().push_line(line, mode, &context, &mut IdSource::new(|| 0), &mut builder) {
        Ok(_) => {
            let row = Rows::new(builder.body()).next().expect("the row that was pushed");
            let mut record = Vec::new();
            row.write_json(&mut record);
            let record = String::from_utf8(record).expect("UTF-8");
            assert!(sonic_rs::from_str::<sonic_rs::LazyValue>(&record).is_ok(), "not JSON: {record}");
            assert!(!record.contains('\0') && !stands_for_nul(row.metadata()), "NUL: {record}");
            Ok(())
        }
        Err(NotTaken::Reject(reject)) => {
            assert!(!reject.message.is_empty());
            Err(reject.message)
        }
        Err(NotTaken::Full) => panic!("an empty batch is full"),
    }
}

/// Whether JSON text has an escape that stands for NUL: `\u0000` after an even number of backslashes.
fn stands_for_nul(json: &[u8]) -> bool {
    let mut at = 0;
    while at < json.len() {
        match json[at] {
            b'\\' if json[at..].starts_with(b"\\u0000") => return true,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    false
}
