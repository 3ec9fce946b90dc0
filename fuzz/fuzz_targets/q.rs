//! Any text as `q`, and as query parameters: read or refused with a column inside it; what was read can be written and
//! read again, and asked of a record.
#![no_main]

use libfuzzer_sys::fuzz_target;
use record::filter::{Columns, parse_q};
use record::{Filter, Id, Level, LogRecord, Timestamp, Zone};

fuzz_target!(|text: &str| {
    let now = Timestamp::clamped(1_762_876_800_000_000);
    match parse_q(text, now, &Zone::UTC) {
        Ok(expr) => {
            let mut filter = Filter::default();
            filter.require(expr);
            let written = filter.to_string();
            // Writing adds parentheses and quotes, so that a q near a limit may pass it when read again.
            match parse_q(&written, now, &Zone::UTC) {
                Ok(again) => {
                    let mut same = Filter::default();
                    same.require(again);
                    let record = record();
                    assert_eq!(filter.matcher().matches(&record), same.matcher().matches(&record), "{written}");
                }
                Err(error) => {
                    assert!(error.message.contains("more than") || error.message.contains("at most"), "{error}")
                }
            }
            filter.fingerprint();
        }
        Err(error) => {
            let column = error.column.expect("an error of q has a column");
            assert!((1..=text.chars().count()).contains(&column), "{error}");
        }
    }
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    if let Ok(filter) = Filter::from_params(pairs, now, &Zone::UTC) {
        filter.matcher().matches(&record());
    }
});

fn record() -> impl Columns {
    let timestamp = Timestamp::clamped(1_762_876_800_000_000);
    LogRecord {
        id: Id::new(timestamp, 1, 2),
        timestamp,
        level: Level::Warn,
        source: "web-1".to_owned(),
        application: "api".to_owned(),
        message: "a or b: (timeout) -5".to_owned(),
        metadata: r#"{"a":{"b":"x\"y","c":[1]},"user":5,"n":"12.5","e":1e5}"#.to_owned(),
    }
}
