//! Any bytes as text, and valid JSON as a value and as metadata: what comes out is UTF-8 without NUL, JSON stays the JSON
//! it was, and what can be found in it is what sonic-rs finds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use record::Meta;
use record::filter::{MetaValue, metadata_value};
use record::text::{push_clean, push_json_string, push_json_value, push_unescaped};
use sonic_rs::{JsonValueTrait, LazyValue};

/// sonic-rs has no recursion limit; every door bounds the depth before it.
const DEPTH_MAX: usize = 64;

fuzz_target!(|data: &[u8]| {
    let mut out = Vec::new();
    push_clean(data, &mut out);
    assert!(std::str::from_utf8(&out).is_ok_and(|text| !text.contains('\0')));
    let mut quoted = Vec::new();
    push_json_string(data, &mut quoted);
    assert_eq!(sonic_rs::from_slice::<String>(&quoted).expect("a JSON string"), String::from_utf8(out).unwrap());

    let Ok(json) = std::str::from_utf8(data) else { return };
    let mut any = Vec::new();
    push_unescaped(json, &mut any);
    push_json_value(json, &mut any);
    metadata_value(data, "a.b");
    if data.iter().filter(|&&b| b == b'[' || b == b'{').count() > DEPTH_MAX {
        return;
    }
    let json = json.trim_matches([' ', '\t', '\n', '\r']);
    if sonic_rs::from_str::<sonic_rs::Value>(json).is_err() {
        return;
    }
    check_value(json);
    if json.starts_with('{') {
        check_object(json);
    }
});

/// A copied value is valid, storable, and the same when copied again.
fn check_value(json: &str) {
    let mut stored = Vec::new();
    push_json_value(json, &mut stored);
    let stored = String::from_utf8(stored).expect("UTF-8");
    sonic_rs::from_str::<sonic_rs::Value>(&stored).unwrap_or_else(|error| panic!("{json} became {stored}: {error}"));
    let mut again = Vec::new();
    push_json_value(&stored, &mut again);
    assert_eq!(stored.as_bytes(), again);
}

/// Metadata made of an object has each key once, and each value is found under its key.
fn check_object(json: &str) {
    let mut meta = Meta::default();
    meta.merge_object(json);
    let mut object = Vec::new();
    meta.write(&mut object);
    let text = std::str::from_utf8(&object).expect("UTF-8");
    let mut keys = std::collections::HashSet::new();
    for member in sonic_rs::to_object_iter(text) {
        let (key, value): (_, LazyValue) = member.unwrap_or_else(|error| panic!("{json} became {text}: {error}"));
        assert!(keys.insert(key.to_string()), "{text} has {key} twice");
        let found = metadata_value(&object, &key).unwrap_or_else(|| panic!("{key} is not found in {text}"));
        match found {
            MetaValue::String(found) => assert_eq!(value.as_str().map(str::as_bytes), Some(&*found), "{text}"),
            MetaValue::Nested(found) => assert_eq!(value.as_raw_str().as_bytes(), found, "{text}"),
            other => assert_eq!(value.as_raw_str().as_bytes(), &*other.text().expect("a scalar"), "{text}"),
        }
    }
    let count = sonic_rs::to_object_iter(json)
        .filter_map(Result::ok)
        .map(|(key, _)| key.replace('\0', "\u{fffd}"))
        .collect::<std::collections::HashSet<_>>();
    assert_eq!(count, keys, "{json} became {text}");
}
