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
