//! A query ends when its time is up, when its client has gone, and when it gathers too much; each is counted.

use record::filter::Expr;

use super::*;

/// Rows in two files, one of them compacted, and in memory.
fn filled(options: Options) -> (tempfile::TempDir, Arc<ParquetStore>, Maker) {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = ParquetStore::open(dir.path(), options).unwrap();
    let mut maker = Maker::new();
    for part in 0..3 {
        let batch = maker.batch(800, |row| part * 1_000_000_000 + row as i64 * 1_000_000);
        maker.insert(&store, &batch);
        if part < 2 {
            store.flush_now().unwrap();
        }
        if part == 0 {
            store.compact_now().unwrap();
        }
    }
    (dir, store, maker)
}

/// What every way to ask fails of.
fn failures(store: &ParquetStore, id: Id, stop: &Stop) -> Vec<QueryError> {
    // A filter of which no counts are kept.
    let filter = Filter { expr: Expr::Text("from the mill".to_owned()), ..Filter::default() };
    let field = FacetField::Metadata("number".to_owned());
    [
        store.page(&filter, 10, None, stop).err(),
        store.get(id, stop).err(),
        store.context(id, 2, 2, stop).err(),
        store.export(&filter, stop, &mut |_| true).err(),
        store.counts(&filter, stop).err(),
        store.histogram(&filter, Some(1), stop).err(),
        store.facets(&filter, &field, 10, stop).err(),
    ]
    .into_iter()
    .map(|error| error.expect("it is to fail"))
    .collect()
}

#[test]
fn time_that_is_up_ends_every_query() {
    let (_dir, store, maker) = filled(Options::default());
    for error in failures(&store, maker.made[1000].0, &Stop::after(Duration::ZERO)) {
        assert!(matches!(error, QueryError::Deadline { seconds: 0 }), "{error}");
    }
    let totals = store.totals();
    assert_eq!((totals.asked, totals.failed), ([1; Question::ALL.len()], [7, 0, 0, 0]));
}

#[test]
fn a_client_that_has_gone_ends_every_query() {
    let (_dir, store, maker) = filled(Options::default());
    let gone = stop();
    gone.cancel();
    for error in failures(&store, maker.made[1000].0, &gone) {
        assert!(matches!(error, QueryError::Cancelled), "{error}");
    }
    assert_eq!(store.totals().failed, [0, 0, 7, 0]);
    // In the middle of an export, at the next piece.
    let goes = stop();
    let mut pieces = 0;
    let mut sink = |_: &RowBuf| {
        pieces += 1;
        goes.cancel();
        true
    };
    assert!(matches!(store.export(&Filter::default(), &goes, &mut sink), Err(QueryError::Cancelled)));
    assert_eq!(pieces, 1);
}

#[test]
fn what_gathers_too_much_is_refused() {
    let (_dir, store, _) = filled(Options { query_bytes_max: 2_000, ..Options::default() });
    let everything = Filter::default();
    let number = FacetField::Metadata("number".to_owned());
    let parity = FacetField::Metadata("parity".to_owned());
    assert!(store.page(&everything, 5, None, &stop()).is_ok());
    assert!(store.facets(&everything, &parity, 10, &stop()).is_ok());
    assert!(store.histogram(&everything, Some(86_400), &stop()).is_ok());
    for error in [
        store.page(&everything, 500, None, &stop()).err(),
        store.facets(&everything, &number, 10, &stop()).err(),
        store.histogram(&everything, Some(1), &stop()).err(),
    ] {
        assert!(matches!(error, Some(QueryError::Memory { bytes: 2_000 })), "{error:?}");
    }
    assert_eq!(store.totals().failed, [0, 3, 0, 0]);
}
