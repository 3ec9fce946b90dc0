//! Compaction and retention: nothing is lost or doubled, whatever breaks and whoever reads meanwhile.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

const DAY_MICROS: i64 = 86_400_000_000;

/// Six files over four days and a month's end, some of them overlapping.
fn fill(store: &ParquetStore, maker: &mut Maker) {
    for n in 0..6 {
        let batch = maker.batch(400, |row| (row as i64 % 4) * 8 * DAY_MICROS + n * 50 + row as i64);
        maker.insert(store, &batch);
        store.flush_now().unwrap();
    }
}

fn names_on_disk(dir: &Path) -> BTreeSet<String> {
    let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| manifest::is_file_name(name)).collect()
}

#[test]
fn compacted_files_hold_the_same_and_the_old_ones_go() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let mut maker = Maker::new();
    fill(&store, &mut maker);
    let old = names_on_disk(dir.path());
    let before = store.snapshot();
    store.compact_now().unwrap();
    check(&store, &maker.made, 150);
    // Small days of one month share a file: two months, two files.
    assert_eq!(store.status().files, 2);
    // A query that began before still reads the old files.
    let mut rows = 0;
    let mut sink = |piece: &RowBuf| {
        rows += piece.count;
        true
    };
    export::export(&before, &Filter::default(), &stop(), &mut sink).unwrap();
    assert_eq!(rows, maker.made.len());
    assert!(names_on_disk(dir.path()).is_superset(&old));
    drop(before);
    assert!(names_on_disk(dir.path()).is_disjoint(&old));
    fill(&store, &mut maker);
    store.compact_now().unwrap();
    check(&store, &maker.made, 1000);
    store.close();
    drop(store);
    let (store, _) = open(dir.path());
    check(&store, &maker.made, 1000);
    assert_eq!(store.report().orphans, 0);
}

#[test]
fn metadata_filters_read_typed_columns() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let mut maker = Maker::new();
    fill(&store, &mut maker);
    store.compact_now().unwrap();
    let typed: Vec<String> =
        store.snapshot().files[0].typed().unwrap().iter().map(|column| column.key.clone()).collect();
    assert_eq!(typed, ["number", "parity"]);
    let metadata = |key: &str, test| Filter {
        expr: record::filter::Expr::Field { field: record::filter::Field::Metadata(key.to_owned()), test },
        ..Filter::default()
    };
    let any_of = |text: &str| record::filter::Test::AnyOf(vec![text.to_owned()]);
    assert_eq!(store.counts(&metadata("parity", any_of("odd")), &stop()).unwrap().total(), 1200);
    assert_eq!(store.counts(&metadata("number", any_of("1234")), &stop()).unwrap().total(), 1);
    let number = |text: &str| record::filter::Number::parse(text).unwrap();
    use record::filter::Test::{Greater, GreaterOrEqual, Less, LessOrEqual};
    // Beyond what the column holds no group is opened; at its ends the rows are there.
    for (test, rows) in [
        (Greater(number("2399")), 0),
        (GreaterOrEqual(number("2399.5")), 0),
        (Less(number("0")), 0),
        (LessOrEqual(number("-1")), 0),
        (any_of("2400"), 0),
        (GreaterOrEqual(number("2399")), 1),
        (Greater(number("2.3985e3")), 1),
        (LessOrEqual(number("0")), 1),
        (any_of("2399"), 1),
    ] {
        let watched = stop();
        assert_eq!(store.counts(&metadata("number", test.clone()), &watched).unwrap().total(), rows, "{test:?}");
        assert_eq!(watched.read().rows_read > 0, rows > 0, "{test:?}");
    }
    let facets = store.facets(&Filter::default(), &FacetField::Metadata("parity".to_owned()), 5, &stop()).unwrap();
    assert_eq!(facets.values, [("even".to_owned(), 1200), ("odd".to_owned(), 1200)]);
}

#[test]
fn a_rare_word_reads_few_pages() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let mut maker = Maker::new();
    for n in 0..60 {
        let batch = maker.batch(1000, |row| n * 1000 + row as i64);
        maker.insert(&store, &batch);
    }
    store.flush_now().unwrap();
    store.compact_now().unwrap();
    let text = |text: &str| Filter { expr: record::filter::Expr::Text(text.to_owned()), ..Filter::default() };
    let page = store.page(&text("Message 31234 "), 50, None, &stop()).unwrap();
    assert_eq!(page.rows.count, 1);
    assert!(page.read.rows_read <= 30_000, "{:?}", page.read);
    let page = store.page(&text("quokka"), 50, None, &stop()).unwrap();
    assert_eq!(page.rows.count, 0);
    assert!(page.read.rows_read <= 10_000, "{:?}", page.read);
    assert_eq!(store.counts(&text("message 31234 "), &stop()).unwrap().total(), 1);
}

#[test]
fn a_compaction_that_breaks_loses_and_doubles_nothing() {
    let steps = [
        "create a compacted file",
        "finish a compacted file",
        "sync the file",
        "sync the folder of the file",
        "write the manifest",
        "sync the manifest",
        "rename the manifest",
        "sync the folder of the manifest",
    ];
    for broken in steps {
        let dir = tempfile::tempdir().unwrap();
        let mut maker = Maker::new();
        let (store, _) = open(dir.path());
        fill(&store, &mut maker);
        store.close();
        drop(store);
        let failing = Arc::new(AtomicBool::new(true));
        let seen = failing.clone();
        let steps = Steps::new(move |step| match step == broken && seen.load(Ordering::SeqCst) {
            true => Err(std::io::Error::from(std::io::ErrorKind::StorageFull)),
            false => Ok(()),
        });
        let (store, _) = ParquetStore::open(dir.path(), Options { steps, ..Options::default() }).unwrap();
        // The step after the rename is no failure of the compaction: the old files stay until the next start.
        assert_eq!(store.compact_now().is_err(), broken != "sync the folder of the manifest", "{broken}");
        check(&store, &maker.made, 500);
        // As after a crash: opened again without a close.
        let copy = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        let (again, _) = open(copy.path());
        check(&again, &maker.made, 500);
        assert!(again.report().damaged.is_empty());
        drop(again);
        failing.store(false, Ordering::SeqCst);
        store.compact_now().unwrap();
        check(&store, &maker.made, 500);
        store.close();
        drop(store);
        let (store, _) = open(dir.path());
        check(&store, &maker.made, 500);
    }
}

#[test]
fn queries_agree_while_files_change() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let mut maker = Maker::new();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut least = 0;
            while !done.load(Ordering::SeqCst) {
                let total = store.counts(&Filter::default(), &stop()).unwrap().total();
                let snapshot = store.snapshot();
                let mut rows = 0;
                let mut ids = BTreeSet::new();
                let mut sink = |piece: &RowBuf| {
                    rows += piece.count as u64;
                    ids.extend(piece.rows().map(|row| row.id()));
                    true
                };
                export::export(&snapshot, &Filter::default(), &stop(), &mut sink).unwrap();
                assert!(rows >= total && total >= least, "{rows} {total} {least}");
                assert_eq!(ids.len() as u64, rows);
                least = rows;
            }
        });
        for round in 0..12 {
            let batch = maker.batch(200, |row| row as i64 * 1000 + round);
            maker.insert(&store, &batch);
            store.flush_now().unwrap();
            if round % 3 == 2 {
                store.compact_now().unwrap();
            }
        }
        done.store(true, Ordering::SeqCst);
        reader.join().unwrap();
    });
    check(&store, &maker.made, 333);
}

#[test]
fn what_is_too_old_or_too_much_goes() {
    let dir = tempfile::tempdir().unwrap();
    let mut maker = Maker::new();
    let (store, _) = open(dir.path());
    let now = tidy::now().as_micros() - START;
    let days = [40, 9, 3, 1];
    for age in days {
        let batch = maker.batch(100, |row| now - age * DAY_MICROS + row as i64);
        maker.insert(&store, &batch);
        store.flush_now().unwrap();
    }
    store.close();
    drop(store);
    let left = |options: Options| {
        let (store, _) = ParquetStore::open(dir.path(), options).unwrap();
        for _ in 0..200 {
            if store.totals().expired_rows > 0 {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let left = store.counts(&Filter::default(), &stop()).unwrap().total() as usize;
        check(&store, &maker.made[maker.made.len() - left..], 100);
        left
    };
    let week = Duration::from_secs(7 * 86_400);
    assert_eq!(left(Options { retain: Some(week), ..Options::default() }), 200);
    let files = names_on_disk(dir.path());
    let bytes = files.iter().map(|name| std::fs::metadata(dir.path().join(name)).unwrap().len()).max();
    assert_eq!(left(Options { retain_bytes: bytes, ..Options::default() }), 100);
}

#[test]
fn a_damaged_file_does_not_hold_up_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let mut maker = Maker::new();
    fill(&store, &mut maker);
    store.close();
    drop(store);
    let damaged = dir.path().join(names_on_disk(dir.path()).first().unwrap());
    let mut bytes = std::fs::read(&damaged).unwrap();
    bytes[4..300].fill(b'x');
    std::fs::write(&damaged, bytes).unwrap();
    let (store, _) = open(dir.path());
    // Eight files are enough for a compaction, which fails, and eight more for the next.
    for round in 0..10 {
        let batch = maker.batch(400, |row| round * 1000 + row as i64);
        maker.insert(&store, &batch);
        store.flush_now().unwrap();
    }
    for _ in 0..400 {
        if store.totals().compactions > 0 {
            break;
        }
        let batch = maker.batch(1, |row| row as i64);
        maker.insert(&store, &batch);
        store.flush_now().unwrap();
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(store.totals().compactions > 0, "{:?}", store.status());
    let whole = store.counts(&Filter::default(), &stop()).unwrap().total();
    assert_eq!(whole, maker.made.len() as u64);
}

const MINUTE_MICROS: i64 = 60_000_000;

/// Bounds that cut through minutes, with a source and without, over one file and several: kept counts and rows add up.
#[test]
fn counts_between_any_bounds_agree_with_the_rows() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let mut maker = Maker::new();
    for part in 0..3 {
        let batch = maker.batch(800, |row| part * 5 * MINUTE_MICROS + row as i64 * 625_000);
        maker.insert(&store, &batch);
        store.flush_now().unwrap();
        if part == 1 {
            store.compact_now().unwrap();
        }
    }
    let batch = maker.batch(500, |row| 12 * MINUTE_MICROS + row as i64 * 1_000_000);
    maker.insert(&store, &batch);
    // START is a whole minute.
    let minute = MINUTE_MICROS;
    let bounds = [None, Some(0), Some(1), Some(minute), Some(3 * minute + 17), Some(9 * minute), Some(11 * minute - 1)];
    for from in bounds {
        for to in bounds.into_iter().chain([Some(14 * minute + 500_000)]) {
            for source in [None, Some(vec!["host-1".to_owned()]), Some(vec!["host-2".to_owned(), "host-2".to_owned()])]
            {
                let time = |micros: Option<i64>| micros.map(|micros| Timestamp::clamped(START + micros));
                let filter = Filter { from: time(from), to: time(to), source, ..Filter::default() };
                let wanted = |number: usize, id: &Id| {
                    filter.from.is_none_or(|from| id.timestamp() >= from)
                        && filter.to.is_none_or(|to| id.timestamp() < to)
                        && filter.source.as_ref().is_none_or(|list| list[0] == format!("host-{}", number % 3))
                };
                let mut want = Counts::default();
                let mut buckets = std::collections::BTreeMap::<i64, Counts>::new();
                for (number, (id, level, _)) in maker.made.iter().enumerate() {
                    if wanted(number, id) {
                        want.levels[level.index()] += 1;
                        let bucket = id.timestamp().as_micros() / (2 * minute) * 2 * minute;
                        buckets.entry(bucket).or_default().levels[level.index()] += 1;
                    }
                }
                assert_eq!(store.counts(&filter, &stop()).unwrap(), want, "{filter:?}");
                let histogram = store.histogram(&filter, Some(120), &stop()).unwrap();
                let want: Vec<_> = buckets.into_iter().map(|(at, counts)| (Timestamp::clamped(at), counts)).collect();
                assert_eq!(histogram.buckets, want, "{filter:?}");
            }
        }
    }
    // Of a source and whole minutes no row is read, whatever the file.
    let watched = stop();
    let filter = Filter {
        source: Some(vec!["host-1".to_owned()]),
        to: Some(Timestamp::clamped(START + 5 * minute)),
        ..Filter::default()
    };
    assert!(store.counts(&filter, &watched).unwrap().total() > 0);
    assert_eq!(watched.read().rows_read, 0);
    assert_eq!(watched.read().files_skipped, 2);
}

/// Rows past retention in a file with younger ones: not shown from that moment on, and gone with the next compaction.
#[test]
fn what_is_past_retention_is_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let hour = Duration::from_secs(3600);
    let options = || Options { retain: Some(hour), ..Options::default() };
    let (store, _) = ParquetStore::open(dir.path(), options()).unwrap();
    let mut maker = Maker::new();
    let now = tidy::now().as_micros() - START;
    // Every second row is two hours old, the others a minute.
    let at = |row: usize| now - if row.is_multiple_of(2) { 7_200_000_000 } else { 60_000_000 } + row as i64;
    let batch = maker.batch(1_000, at);
    maker.insert(&store, &batch);
    let oldest = store.oldest_kept(tidy::now()).unwrap();
    let (old, kept): (Vec<_>, Vec<_>) = maker.made.iter().cloned().partition(|(id, ..)| id.timestamp() < oldest);
    assert_eq!((old.len(), kept.len()), (500, 500));
    let agrees = |store: &ParquetStore| {
        check(store, &kept, 77);
        assert!(store.get(old[3].0, &stop()).unwrap().is_none());
        assert!(store.context(old[3].0, 1, 1, &stop()).unwrap().is_none());
        let first = kept.iter().min().unwrap();
        assert_eq!(store.context(first.0, 5, 0, &stop()).unwrap().unwrap().before.count, 0);
    };
    agrees(&store);
    store.flush_now().unwrap();
    agrees(&store);
    assert_eq!(store.totals().expired_rows, 0);
    store.compact_now().unwrap();
    agrees(&store);
    let totals = store.totals();
    assert_eq!((totals.expired_rows, totals.expired_files, totals.superseded_files), (500, 0, 1));
    assert_eq!(store.status().file_rows, 500);
    // A store that is to keep everything again has lost them.
    store.close();
    drop(store);
    check(&open(dir.path()).0, &kept, 100);
}

/// A level and a source that occur in a few minutes only: kept counts tell which pages to read.
#[test]
fn rare_levels_and_sources_read_few_pages() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let mut ids = IdSource::new(|| 11);
    let mut position = 0;
    for minute in 0..40i64 {
        for part in 0..4i64 {
            let mut builder = BatchBuilder::new(16);
            for row in 0..500 {
                let time = Timestamp::clamped(START + minute * MINUTE_MICROS + part * 15_000_000 + row * 30_000);
                let is_rare = minute == 20 && part == 2 && row % 100 == 7;
                let fields = Fields {
                    timestamp: Some(time),
                    level: Some(if is_rare { Level::Fatal } else { Level::Info }),
                    source: if is_rare { "rare" } else { "web" }.into(),
                    message: "tick".into(),
                    ..Fields::default()
                };
                builder.push(&fields, &Context::new(time, &Zone::UTC), &mut ids).unwrap();
            }
            position += 1;
            store.insert(0, &[builder.seal().unwrap()], LogPosition { segment: 1, offset: position });
        }
    }
    store.flush_now().unwrap();
    store.compact_now().unwrap();
    for filter in [
        Filter { source: Some(vec!["rare".to_owned()]), ..Filter::default() },
        Filter { levels: Some([Level::Fatal].into_iter().collect()), ..Filter::default() },
    ] {
        let page = store.page(&filter, 50, None, &stop()).unwrap();
        assert_eq!(page.rows.count, 5);
        // The minute is two pages long, and touches four at most.
        assert!(page.read.rows_read <= 4 * 1024, "{:?}", page.read);
        let mut exported = 0;
        store
            .export(&filter, &stop(), &mut |rows| {
                exported += rows.count;
                true
            })
            .unwrap();
        assert_eq!(exported, 5);
        let facets = store.facets(&filter, &FacetField::Source, 5, &stop()).unwrap();
        assert_eq!(facets.values, [("rare".to_owned(), 5)]);
    }
}

/// More files than the thread of the lowest priority is left alone with.
#[test]
fn files_that_wait_are_taken_up_by_a_second_thread() {
    let dir = tempfile::tempdir().unwrap();
    let mut maker = Maker::new();
    let (store, _) = open(dir.path());
    // So that none is compacted while they are made.
    let held = lock(&store.shared.tidying);
    for n in 0..60 {
        let batch = maker.batch(20, |row| n * 100 + row as i64);
        maker.insert(&store, &batch);
        store.flush_now().unwrap();
    }
    assert_eq!(store.status().files, 60);
    drop(held);
    for _ in 0..1_000 {
        if store.status().files < 20 {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(store.status().files < 20, "{:?}", store.status());
    check(&store, &maker.made, 500);
}
