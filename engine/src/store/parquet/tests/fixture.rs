//! Files of older versions are read. Each folder of `fixtures` holds two files as compaction leaves them, and one as the
//! flush does. When the format changes, a further folder is added (`cargo test -p engine write_fixture -- --ignored` writes
//! one to `target/fixture`), and the others stay as they are.
//!
//! | folder | what is new in it |
//! |---|---|
//! | `store-1` | |
//! | `store-2` | counts per source, minute and level in the footer |

use super::*;

/// What the fixture holds.
fn records() -> Vec<(i64, Level, &'static str, &'static str, &'static str, &'static str)> {
    let mut records = vec![
        (0, Level::Info, "web-1", "shop", "order 1001 accepted", r#"{"region":"eu","ms":12}"#),
        (1, Level::Error, "web-2", "shop", "payment 77 declined: größe \"x\"\n\ttab", r#"{"region":"us","ms":-5}"#),
        (1, Level::Warn, "", "", "", "{}"),
        (2, Level::Fatal, "db", "postgres", "out of memory 🙂", r#"{"ms":"not a number","deep":{"a":[1,{"b":null}]}}"#),
        (3, Level::Trace, "db", "postgres", "Größe", r#"{"region":"a\"b\\c","ms":1.50,"flag":true,"none":null}"#),
        (4, Level::Debug, "web-1", "cart", "cache miss", r#"{"region":"eu","ms":9223372036854775807,"a.b":1}"#),
    ];
    for n in 0..30 {
        records.push((1000 + n * 86_400_000_000, Level::Info, "web-1", "shop", "tick", r#"{"region":"eu","ms":7}"#));
    }
    records
}

fn written(rows: &RowBuf, into: &mut Vec<String>) {
    for row in rows.rows() {
        let record = record::LogRecord::from(row);
        let mut members: Vec<String> = sonic_rs::to_object_iter(&record.metadata)
            .map(|member| {
                member
                    .map(|(key, value)| {
                        format!(
                            "{key}={}",
                            sonic_rs::JsonValueTrait::as_str(&value)
                                .map_or_else(|| value.as_raw_str().to_owned(), |text| format!("{text:?}"))
                        )
                    })
                    .unwrap()
            })
            .collect();
        members.sort();
        let time = record.timestamp.as_micros() - START;
        into.push(format!(
            "{time} {} {} {} {:?} {}",
            record.level,
            record.source,
            record.application,
            record.message,
            members.join(",")
        ));
    }
}

fn rows() -> RowBuf {
    let mut want = RowBuf::default();
    for (counter, (time, level, source, application, message, metadata)) in records().into_iter().enumerate() {
        let timestamp = Timestamp::clamped(START + time);
        let row = record::StoredRow {
            id: Id::new(timestamp, 5, counter as u32),
            timestamp,
            level,
            source: source.as_bytes(),
            application: application.as_bytes(),
            message: message.as_bytes(),
            metadata: metadata.as_bytes(),
        };
        row.write(&mut want.bytes);
        want.count += 1;
    }
    want
}

#[test]
fn files_of_every_version_are_read() {
    for (folder, cells) in [("store-1", false), ("store-2", true)] {
        is_read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(folder), cells);
    }
}

fn is_read(fixture: &Path, cells: bool) {
    let want = rows();
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixture).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    let (store, covered) = open(dir.path());
    assert_eq!(covered.get(&0), Some(&LogPosition { segment: 1, offset: 2 }));
    let (mut got, mut expected) = (Vec::new(), Vec::new());
    let mut sink = |rows: &RowBuf| {
        written(rows, &mut got);
        true
    };
    store.export(&Filter::default(), &stop(), &mut sink).unwrap();
    written(&want, &mut expected);
    got.sort();
    expected.sort();
    assert_eq!(got, expected);
    let kinds: Vec<usize> = store.snapshot().files.iter().map(|file| file.typed().unwrap().len()).collect();
    assert_eq!(kinds, [2, 2, 0]);
    let ticks = Filter {
        source: Some(vec!["web-1".to_owned()]),
        to: Some(Timestamp::clamped(START + 20 * 86_400_000_000)),
        ..Filter::default()
    };
    let watched = stop();
    assert_eq!(store.counts(&ticks, &watched).unwrap().total(), 22);
    assert_eq!(watched.read().rows_read == 0, cells, "{}", fixture.display());
    for finding in super::super::fsck::check(fixture).unwrap() {
        assert_eq!(finding.severity, crate::finding::Severity::Fine, "{finding:?}");
    }
}

#[test]
#[ignore = "writes the next fixture"]
fn write_fixture() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/fixture");
    let _ = std::fs::remove_dir_all(&dir);
    let (store, _) = open(&dir);
    let rows = rows();
    let encoded: Vec<&[u8]> = rows.rows().map(|row| row.as_bytes()).collect();
    for (at, part) in [&encoded[..31], &encoded[31..]].into_iter().enumerate() {
        let mut builder = BatchBuilder::new(16);
        builder.append(&part.concat(), &mut IdSource::new(|| 3), Timestamp::MIN).unwrap();
        store.insert(0, &[builder.seal().unwrap()], LogPosition { segment: 1, offset: at as u64 + 1 });
        store.flush_now().unwrap();
        if at == 0 {
            store.compact_now().unwrap();
        }
    }
    store.close();
    drop(store);
    std::fs::remove_file(dir.join("reserve")).unwrap();
}
