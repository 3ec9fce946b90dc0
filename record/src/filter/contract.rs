//! The contract of [`Filter`](super::Filter) as a plain model, and records and filters to try a reader with: made from
//! few words, so that they often match.
//!
//! A reader's test draws [`records`] and a [`filter`], stores [`encode_rows`] of the records, and must find exactly
//! those for which [`matches`] holds. Slow and clear on purpose: nothing here is shared with the matcher.

use std::borrow::Cow;
use std::cmp::Ordering;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use sonic_rs::{JsonValueTrait, LazyValue};

use super::{Expr, Field, Filter, LevelSet, Number, Test, TimeRange};
use crate::fields::{Context, Fields};
use crate::id::Id;
use crate::level::Level;
use crate::meta::Meta;
use crate::record::LogRecord;
use crate::row::{self, RowHead};
use crate::text::Text;
use crate::time::{Timestamp, Zone};

/// Whether the filter wants the record, as the contract says.
pub fn matches(filter: &Filter, record: &LogRecord) -> bool {
    filter.levels.is_none_or(|levels| levels.contains(record.level))
        && filter.source.as_ref().is_none_or(|list| list.contains(&record.source))
        && filter.application.as_ref().is_none_or(|list| list.contains(&record.application))
        && filter.from.is_none_or(|from| from <= record.timestamp)
        && filter.to.is_none_or(|to| record.timestamp < to)
        && expr_matches(&filter.expr, record)
}

fn expr_matches(expr: &Expr, record: &LogRecord) -> bool {
    match expr {
        Expr::All(parts) => parts.iter().all(|part| expr_matches(part, record)),
        Expr::Any(parts) => parts.iter().any(|part| expr_matches(part, record)),
        Expr::Not(part) => !expr_matches(part, record),
        Expr::Text(text) => record.message.to_ascii_lowercase().contains(&text.to_ascii_lowercase()),
        Expr::Level(levels) => levels.contains(record.level),
        Expr::Time(range) => {
            range.from.is_none_or(|from| from <= record.timestamp) && range.to.is_none_or(|to| record.timestamp < to)
        }
        Expr::Id(ids) => ids.contains(&record.id),
        Expr::Field { field, test } => {
            let text = match field {
                Field::Source => &record.source,
                Field::Application => &record.application,
                Field::Message => &record.message,
                Field::Metadata(path) => return metadata_matches(&record.metadata, path, test),
            };
            match test {
                Test::AnyOf(texts) => texts.contains(text),
                Test::Exists => !text.is_empty(),
                _ => numeric_string(text).is_some_and(|value| compares(value, test)),
            }
        }
    }
}

fn metadata_matches(json: &str, path: &str, test: &Test) -> bool {
    let literal = member(json, path);
    let found = literal.or_else(|| path.split('.').try_fold(json.to_owned(), |object, key| member(&object, key)));
    let Some(json) = found else { return false };
    let value: LazyValue = sonic_rs::from_str(&json).unwrap();
    match test {
        Test::Exists => !value.is_null(),
        Test::AnyOf(texts) => texts.iter().any(|text| match () {
            _ if value.is_str() => value.as_str() == Some(text),
            _ if value.is_number() => plain_decimal(text).is_some_and(|wanted| Some(wanted) == plain_decimal(&json)),
            _ => matches!(&json[..], "true" | "false" | "null") && json == *text,
        }),
        _ if value.is_number() => compares(&json, test),
        _ => value.as_str().and_then(numeric_string).is_some_and(|value| compares(value, test)),
    }
}

/// The JSON text of a member of a JSON object, the last of that name.
fn member(json: &str, wanted: &str) -> Option<String> {
    let members = json.starts_with('{').then(|| sonic_rs::to_object_iter(json))?;
    let members = members.map(|member| member.unwrap());
    members.filter(|(key, _)| key == wanted).last().map(|(_, value)| Cow::from(value.as_raw_str()).into_owned())
}

fn numeric_string(text: &str) -> Option<&str> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let magnitude = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = magnitude.split_once('.').unwrap_or((magnitude, "0"));
    let is_number = digits(whole) && digits(fraction) && (whole == "0" || !whole.starts_with('0'));
    (is_number && text.len() <= 64).then_some(text)
}

fn compares(value: &str, test: &Test) -> bool {
    let order = |number: &Number| plain_decimal(value).unwrap().cmp(&plain_decimal(number.as_str()).unwrap());
    match test {
        Test::Greater(number) => order(number) == Ordering::Greater,
        Test::GreaterOrEqual(number) => order(number) != Ordering::Less,
        Test::Less(number) => order(number) == Ordering::Less,
        Test::LessOrEqual(number) => order(number) != Ordering::Greater,
        Test::AnyOf(_) | Test::Exists => unreachable!(),
    }
}

/// A JSON number as a fixed count of decimal digits before and behind the point, ordered as its value is. `None` for
/// other text.
fn plain_decimal(text: &str) -> Option<(bool, Vec<i8>)> {
    /// Digits on either side of the point: more than any number here has, exponent included.
    const SIDE: i64 = 1_500;
    sonic_rs::from_str::<LazyValue>(text).ok().filter(|value| value.is_number() && value.as_raw_str() == text)?;
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i64 = exponent.parse().unwrap();
    let magnitude = mantissa.trim_start_matches('-');
    let point = magnitude.find('.').unwrap_or(magnitude.len()) as i64;
    let mut digits = vec![0i8; 2 * SIDE as usize];
    for (i, digit) in magnitude.bytes().filter(u8::is_ascii_digit).enumerate() {
        if digit != b'0' {
            digits[(SIDE - point + i as i64 - exponent) as usize] = (digit - b'0') as i8;
        }
    }
    let negative = mantissa.starts_with('-') && digits.iter().any(|&digit| digit != 0);
    if negative {
        digits.iter_mut().for_each(|digit| *digit = -*digit);
    }
    Some((!negative, digits))
}

/// The records as rows, one encoded after another, ids and all: what a
/// [`BatchBuilder`](crate::batch::BatchBuilder) appends.
pub fn encode_rows(records: &[LogRecord]) -> Vec<u8> {
    let zone = Zone::UTC;
    let mut rows = Vec::new();
    for record in records {
        let mut meta = Meta::default();
        meta.merge_object(&record.metadata);
        let fields = Fields {
            timestamp: Some(record.timestamp),
            level: Some(record.level),
            source: Text::from(record.source.as_str()),
            application: Text::from(record.application.as_str()),
            message: Text::from(record.message.as_str()),
            meta,
        };
        let head = RowHead { part: 0, id: record.id, timestamp: record.timestamp, level: record.level };
        row::write(&head, &fields, &Context::new(record.timestamp, &zone), &mut rows);
    }
    rows
}

const WORDS: &[&str] = &[
    "time", "out", "timeout", "Timeout", "TIME", "größe", "GRÖSSE", "a", "A", "or", "-", "\"", "\\", " ", ":", "(x)",
    "5", "\n", "🙂",
];
const NAMES: &[&str] = &["web-1", "Web-1", "web 1", "db", "", "5", "12.50", "größe"];
/// Keys of records, and paths to them.
const KEYS: &[&str] = &["a", "a", "a", "b", "b", "a.b", "user id", "größe", "level", "q\"k", "", "."];
const PATHS: &[&str] =
    &["a", "a", "a", "b", "a.b", "a.b", "a.a", "b.a", "a.b.a", "a.a.b", "user id", "größe", "level", "q\"k", "", "."];
const NUMBERS: &[&str] = &[
    "0",
    "-0",
    "0.0",
    "5",
    "-5",
    "-3",
    "5.0",
    "5e0",
    "50e-1",
    "500e-3",
    "0.5",
    "12.50",
    "12.5",
    "100",
    "1e2",
    "1E+2",
    "-1e-3",
    "-0.001",
    "9007199254740992",
    "9007199254740993",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "1e300",
    "-1e300",
    "1e-300",
    "123456789012345678901234567890",
];
const TEXTS: &[&str] = &[
    "",
    "x",
    "X",
    "web-1",
    "true",
    "false",
    "null",
    "05",
    "+5",
    " 5",
    "5 ",
    ".5",
    "5.",
    "NaN",
    "5e0",
    "größe",
    "a\"b\\c",
    "\t\u{7f}",
    "🙂",
    "[1]",
    "0000000000000000000000000000000000000000000000000000000000000001",
    "1000000000000000000000000000000000000000000000000000000000000000",
    "10000000000000000000000000000000000000000000000000000000000000000",
];

/// Up to `max` records, ids unlike one another, times close together, in no order.
pub fn records(max: usize) -> impl Strategy<Value = Vec<LogRecord>> {
    vec(record(), 0..=max).prop_map(|mut records| {
        for (counter, record) in (0u32..).zip(&mut records) {
            record.id = Id::new(record.timestamp, 7, counter);
        }
        records
    })
}

/// One record.
pub fn record() -> impl Strategy<Value = LogRecord> {
    (timestamp(), level(), select(NAMES), select(NAMES), message(), metadata()).prop_map(
        |(timestamp, level, source, application, message, metadata)| LogRecord {
            id: Id::new(timestamp, 7, 0),
            timestamp,
            level,
            source: source.to_owned(),
            application: application.to_owned(),
            message,
            metadata,
        },
    )
}

/// A filter; its ids are those of the first [`records`].
pub fn filter() -> impl Strategy<Value = Filter> {
    let names = || proptest::option::weighted(0.1, vec(select(NAMES).prop_map(str::to_owned), 0..4));
    let levels = proptest::option::weighted(0.2, levels());
    let range = prop_oneof![5 => Just(TimeRange::default()), 1 => time_range()];
    (levels, names(), names(), range, expr()).prop_map(|(levels, source, application, range, expr)| Filter {
        levels,
        source,
        application,
        from: range.from,
        to: range.to,
        expr,
    })
}

/// What a filter can ask besides its own fields.
pub fn expr() -> impl Strategy<Value = Expr> {
    let text = vec(select(WORDS), 0..3).prop_map(|words| Expr::Text(words.concat()));
    let ids = vec((timestamp(), 0u32..8), 0..3)
        .prop_map(|ids| Expr::Id(ids.into_iter().map(|(timestamp, counter)| Id::new(timestamp, 7, counter)).collect()));
    let leaf = prop_oneof![
        4 => text,
        1 => levels().prop_map(Expr::Level),
        1 => time_range().prop_map(Expr::Time),
        1 => ids,
        6 => (field(), test()).prop_map(|(field, test)| Expr::Field { field, test }),
    ];
    let tree = leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Expr::All),
            vec(inner.clone(), 0..4).prop_map(Expr::Any),
            inner.prop_map(|part| Expr::Not(Box::new(part))),
        ]
    });
    prop_oneof![1 => Just(Expr::default()), 4 => tree]
}

fn field() -> impl Strategy<Value = Field> {
    prop_oneof![
        1 => Just(Field::Source),
        1 => Just(Field::Application),
        1 => Just(Field::Message),
        8 => select(PATHS).prop_map(|path| Field::Metadata(path.to_owned())),
    ]
}

fn test() -> impl Strategy<Value = Test> {
    let number = || select(NUMBERS).prop_map(|number| Number::parse(number).unwrap());
    let value = prop_oneof![select(NAMES), select(TEXTS), select(NUMBERS)].prop_map(str::to_owned);
    prop_oneof![
        4 => vec(value, 0..4).prop_map(Test::AnyOf),
        1 => Just(Test::Exists),
        1 => number().prop_map(Test::Greater),
        1 => number().prop_map(Test::GreaterOrEqual),
        1 => number().prop_map(Test::Less),
        1 => number().prop_map(Test::LessOrEqual),
    ]
}

fn timestamp() -> impl Strategy<Value = Timestamp> {
    (0i64..12).prop_map(|step| Timestamp::clamped(1_762_876_800_000_000 + step / 2 * 1_000_000 + step % 2))
}

fn time_range() -> impl Strategy<Value = TimeRange> {
    let end = || proptest::option::of(timestamp());
    (end(), end()).prop_map(|(from, to)| TimeRange { from, to })
}

fn level() -> impl Strategy<Value = Level> {
    select(&Level::ALL[..])
}

fn levels() -> impl Strategy<Value = LevelSet> {
    vec(level(), 0..4).prop_map(LevelSet::from_iter)
}

fn message() -> impl Strategy<Value = String> {
    vec(select(WORDS), 0..6).prop_map(|words| words.concat())
}

/// A JSON object as rows hold it.
fn metadata() -> impl Strategy<Value = String> {
    object(json(), 6).prop_map(|object| {
        let mut meta = Meta::default();
        meta.merge_object(&object);
        let mut out = Vec::new();
        meta.write(&mut out);
        String::from_utf8(out).unwrap()
    })
}

fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        1 => select(&["null", "true", "false", "[]", "{}"][..]).prop_map(str::to_owned),
        3 => select(NUMBERS).prop_map(str::to_owned),
        3 => prop_oneof![select(TEXTS), select(NAMES), select(NUMBERS)].prop_map(quoted),
        1 => Just(r#""\u00e9\/\n""#.to_owned()),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            1 => vec(inner.clone(), 0..3).prop_map(|items| format!("[{}]", items.join(","))),
            4 => object(inner, 4),
        ]
    })
}

/// A JSON object, whose keys may come twice.
fn object(value: impl Strategy<Value = String>, members_max: usize) -> impl Strategy<Value = String> {
    let key = prop_oneof![4 => select(KEYS).prop_map(quoted), 1 => Just(r#""\u0061""#.to_owned())];
    vec((key, value), 0..=members_max).prop_map(|members| {
        let members: Vec<String> = members.into_iter().map(|(key, value)| format!("{key}:{value}")).collect();
        format!("{{{}}}", members.join(","))
    })
}

fn quoted(text: &str) -> String {
    sonic_rs::to_string(text).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::{Q_BYTES_MAX, parse_q};
    use crate::row::Rows;

    fn any_q() -> impl Strategy<Value = String> {
        let piece = select(
            &[
                "a",
                "-",
                "\"",
                "(",
                ")",
                " ",
                "or",
                ":",
                ",",
                "*",
                ">",
                ">=",
                "<",
                "level",
                "user",
                "warn",
                "\\",
                "metadata.",
                "timestamp",
                "now",
                "id",
                "5",
                "é",
                "\u{a0}",
            ][..],
        );
        prop_oneof![vec(piece, 0..20).prop_map(|pieces| pieces.concat()), ".{0,30}"]
    }

    /// With records of which at least one matches half of the time, the model is worth something.
    #[test]
    fn records_and_filters_often_meet() {
        use proptest::strategy::ValueTree;
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let (mut hits, mut misses) = (0, 0);
        for _ in 0..200 {
            let (filter, records) = (filter(), records(20)).new_tree(&mut runner).unwrap().current();
            for record in &records {
                if matches(&filter, record) { hits += 1 } else { misses += 1 }
            }
        }
        assert!(hits > 200 && misses > 200, "{hits} {misses}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn the_matcher_takes_what_the_model_takes(filter in filter(), records in records(20)) {
            let rows = encode_rows(&records);
            let matcher = filter.matcher();
            let decoded: Vec<LogRecord> = Rows::new(&rows).map(LogRecord::from).collect();
            prop_assert_eq!(&decoded, &records);
            for (row, record) in Rows::new(&rows).zip(&records) {
                let wanted = matches(&filter, record);
                prop_assert_eq!(matcher.matches(&row), wanted, "{:?}", record);
                prop_assert_eq!(matcher.matches(record), wanted, "{:?}", record);
                prop_assert!(!wanted || !filter.is_nothing());
                prop_assert!(wanted || !filter.is_everything());
            }
        }

        #[test]
        fn every_test_of_a_field_agrees(field in field(), test in test(), records in vec(record(), 50)) {
            let filter = Filter { expr: Expr::Field { field, test }, ..Filter::default() };
            let matcher = filter.matcher();
            for record in &records {
                prop_assert_eq!(matcher.matches(record), matches(&filter, record), "{:?}", record);
            }
        }

        #[test]
        fn written_as_q_it_takes_the_same(filter in filter(), records in records(20)) {
            let q = filter.to_string();
            let read = parse_q(&q, Timestamp::MIN, &Zone::UTC);
            prop_assert!(read.is_ok(), "{} {:?}", q, read);
            let mut again = Filter::default();
            again.require(read.unwrap());
            for record in &records {
                prop_assert_eq!(matches(&filter, record), matches(&again, record), "{} {:?}", q, record);
            }
        }

        #[test]
        fn pruning_loses_nothing(filter in filter(), records in records(20)) {
            for record in records.iter().filter(|record| matches(&filter, record)) {
                let message = record.message.to_ascii_lowercase();
                prop_assert!(filter.expr.could_match(&mut |text| message.contains(text)));
                prop_assert!(filter.expr.needles().iter().all(|needle| message.contains(needle)));
            }
        }

        #[test]
        fn any_q_is_read_or_refused_with_a_column(q in any_q()) {
            match parse_q(&q, Timestamp::MIN, &Zone::UTC) {
                Ok(expr) => {
                    let again = parse_q(&expr.to_string(), Timestamp::MIN, &Zone::UTC);
                    prop_assert!(again.is_ok(), "{} {} {:?}", q, expr, again);
                }
                Err(error) => {
                    let characters = q.chars().count();
                    prop_assert!(error.column.is_some_and(|column| (1..=characters).contains(&column)), "{:?}", error);
                    prop_assert!(q.len() <= Q_BYTES_MAX);
                }
            }
        }
    }
}
