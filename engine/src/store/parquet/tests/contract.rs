//! The contract of the filter, and that records come back as they went in: over memory only, files only, both, and at
//! each step of a flush and of a compaction.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use record::filter::contract;
use record::{Filter, LogRecord};

use super::*;

/// Where the records of a case are: how many in each file, and the rest in memory.
#[derive(Clone, Debug)]
struct Layout {
    in_files: Vec<usize>,
    /// After how many of the files all of them are compacted.
    compacted: usize,
}

fn layout() -> impl Strategy<Value = Layout> {
    let in_files = prop_oneof![
        1 => Just(Vec::new()),
        1 => Just(vec![usize::MAX]),
        3 => proptest::collection::vec(0usize..30, 1..4),
    ];
    (in_files, 0usize..5).prop_map(|(in_files, compacted)| Layout { in_files, compacted })
}

/// A record, however it is written: members of metadata in one order, strings without escapes.
type Plain = (Id, Level, String, String, String, BTreeMap<String, String>);

fn plain(record: &LogRecord) -> Plain {
    let member = |(key, value): (String, sonic_rs::LazyValue<'_>)| {
        use sonic_rs::JsonValueTrait;
        let text = value.as_str().map(|text| format!("{text:?}"));
        (key, text.unwrap_or_else(|| value.as_raw_str().to_owned()))
    };
    let members = sonic_rs::to_object_iter(&record.metadata).map(|entry| entry.unwrap());
    let metadata = members.map(|(key, value)| member((key.to_string(), value))).collect();
    let LogRecord { id, level, source, application, message, .. } = record.clone();
    (id, level, source, application, message, metadata)
}

fn insert(store: &ParquetStore, records: &[LogRecord]) {
    for records in records.chunks(7) {
        let mut builder = BatchBuilder::new(16);
        let mut ids = IdSource::new(|| 3);
        builder.append(&contract::encode_rows(records), &mut ids, Timestamp::MIN).unwrap();
        store.insert(0, &[builder.seal().unwrap()], LogPosition::default());
    }
}

fn check_filter(store: &ParquetStore, records: &[LogRecord], filter: &Filter, limit: usize) {
    let mut want: Vec<&LogRecord> = records.iter().filter(|record| contract::matches(filter, record)).collect();
    want.sort_by_key(|record| std::cmp::Reverse(record.id));
    let want: Vec<Plain> = want.into_iter().map(plain).collect();
    let (mut paged, mut start) = (Vec::new(), None);
    loop {
        let page = store.page(filter, limit, start, &stop()).unwrap();
        assert!(page.rows.count <= limit);
        paged.extend(page.rows.rows().map(|row| plain(&row.into())));
        start = page.next;
        if start.is_none() {
            break;
        }
    }
    assert_eq!(paged, want, "{filter:?}");
    let mut exported = Vec::new();
    store
        .export(filter, &stop(), &mut |rows| {
            exported.extend(rows.rows().map(|row| plain(&row.into())));
            true
        })
        .unwrap();
    assert_eq!(exported, want, "{filter:?}");
    let mut levels = [0; Level::COUNT];
    want.iter().for_each(|(_, level, ..)| levels[level.index()] += 1);
    assert_eq!(store.counts(filter, &stop()).unwrap(), Counts { levels });
    for interval in [1, 60] {
        let mut buckets = BTreeMap::<i64, Counts>::new();
        for (id, level, ..) in &want {
            let bucket = id.timestamp().as_micros() / (interval as i64 * 1_000_000) * interval as i64 * 1_000_000;
            buckets.entry(bucket).or_default().levels[level.index()] += 1;
        }
        let want = buckets.into_iter().map(|(micros, counts)| (Timestamp::clamped(micros), counts)).collect();
        let got = store.histogram(filter, Some(interval), &stop()).unwrap();
        assert_eq!(got, Histogram { interval_seconds: interval, buckets: want }, "{filter:?}");
    }
    for field in [FacetField::Source, FacetField::Application, FacetField::Level] {
        let mut counts = BTreeMap::<String, u64>::new();
        for (_, level, source, application, ..) in &want {
            let value = match field {
                FacetField::Source => source.clone(),
                FacetField::Application => application.clone(),
                _ => level.to_string(),
            };
            *counts.entry(value).or_default() += 1;
        }
        let facets = store.facets(filter, &field, 3, &stop()).unwrap();
        let total: u64 = counts.values().sum();
        assert_eq!(facets.values.iter().map(|(_, count)| count).sum::<u64>() + facets.other, total);
        assert!(facets.values.iter().all(|(value, count)| counts[value] == *count), "{filter:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_reading_agrees_with_the_model(
        records in contract::records(60),
        filters in proptest::collection::vec(contract::filter(), 1..12),
        layout in layout(),
        limit in 1usize..20,
        fitting_percent in 0usize..100,
    ) {
        let dir = tempfile::tempdir().unwrap();
        // So that keys get columns although their values are of many kinds.
        let (store, _) = ParquetStore::open(dir.path(), Options { fitting_percent, ..Options::default() }).unwrap();
        let mut rest = &records[..];
        for (at, in_file) in layout.in_files.into_iter().enumerate() {
            let (file, after) = rest.split_at(in_file.min(rest.len()));
            insert(&store, file);
            store.flush_now().unwrap();
            rest = after;
            if at + 1 == layout.compacted {
                store.compact_now().unwrap();
            }
        }
        insert(&store, rest);
        check_filter(&store, &records, &Filter::default(), limit);
        for filter in &filters {
            check_filter(&store, &records, filter, limit);
        }
        let ids: BTreeSet<Id> = records.iter().map(|record| record.id).collect();
        for id in ids {
            let found = store.get(id, &stop()).unwrap().unwrap();
            prop_assert_eq!(found.rows().next().unwrap().id(), id);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn every_reading_agrees_at_each_step_of_a_change(
        records in contract::records(60),
        filters in proptest::collection::vec(contract::filter(), 1..4),
        pieces in 1usize..5,
        limit in 1usize..20,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let seen = Arc::new(Mutex::new(None::<(Arc<ParquetStore>, usize)>));
        let reached = Arc::new(Mutex::new(BTreeSet::new()));
        let steps = Steps::new({
            let (seen, reached, records, filters) = (seen.clone(), reached.clone(), records.clone(), filters.clone());
            move |step| {
                // The store, and how many of the records it has been given; cloned, so that a failing check leaves no lock behind.
                let Some((store, given)) = lock(&seen).clone() else { return Ok(()) };
                lock(&reached).insert(step);
                filters.iter().for_each(|filter| check_filter(&store, &records[..given], filter, limit));
                Ok(())
            }
        });
        // Nothing is due by itself: what is checked is what is asked for here.
        let options = Options { steps, ..Options::new(1 << 30, 1 << 30, Duration::from_secs(3600)) };
        let (store, _) = ParquetStore::open(dir.path(), options).unwrap();
        let mut given = 0;
        for piece in records.chunks(records.len().div_ceil(pieces).max(1)) {
            insert(&store, piece);
            given += piece.len();
            *lock(&seen) = Some((store.clone(), given));
            store.flush_now().unwrap();
        }
        store.compact_now().unwrap();
        *lock(&seen) = None;
        if !records.is_empty() {
            for step in ["create a compacted file", "sync the manifest", "sync the folder of the manifest"] {
                prop_assert!(lock(&reached).contains(step), "{}", step);
            }
        }
    }
}
