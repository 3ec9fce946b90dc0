//! Files of older versions are read: `fixtures/store-1` was written by the first one: two files as
//! compaction leaves them, one as the flush does. When the format changes, a further
//! folder is added, and this one stays as it is.

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

#[test]
fn files_of_the_first_version_are_read() {
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
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/store-1");
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(&fixture).unwrap() {
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
    for finding in super::super::fsck::check(&fixture).unwrap() {
        assert_eq!(finding.severity, crate::finding::Severity::Fine, "{finding:?}");
    }
}
