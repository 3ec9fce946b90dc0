//! That queries look where they must and nowhere else: read from the server's own plans.

use record::filter::{Expr, LevelSet};

use super::*;

/// The plan of a statement that was run, as text.
fn plan(store: &Fixture, mut sql: Sql) -> String {
    sql.text = format!("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) {}", sql.text);
    let (text, values) = sql.into_parts();
    store.runtime.block_on(async {
        let rows = store.client.query_typed_raw(&text, values).await.unwrap();
        let rows: Vec<tokio_postgres::Row> = rows.try_collect().await.unwrap();
        rows.iter().map(|row| row.get::<_, String>(0) + "\n").collect()
    })
}

/// Three days, as `logs_0`, `logs_86400000000` and so on, of 8,000 records each; the last day has no index of its own.
fn three_days() -> Fixture {
    const DAY: i64 = 86_400 * SECOND;
    let store = Fixture::new(options());
    for day in 0..3 {
        store.partition(Some(START + day * DAY), Some(START + (day + 1) * DAY));
    }
    let mut records = records(24_000, 3 * DAY / 24_000);
    records.iter_mut().step_by(4_000).for_each(|record| record.message.push_str(" with a Rare Needle"));
    records.iter_mut().enumerate().for_each(|(number, record)| {
        if number % 100 != 0 {
            record.level = Level::Info;
        }
    });
    store.insert(&records);
    store.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm");
    for day in ["logs_0", "logs_86400000000"] {
        store.execute(&format!(
            "CREATE INDEX ON {day} USING gin (lower(message) gin_trgm_ops); \
             CREATE INDEX ON {day} (source, \"timestamp\", id)"
        ));
    }
    store.execute("ANALYZE");
    store
}

fn page_sql(filter: &Filter, start: Option<Position>) -> Sql {
    let wanted = Wanted::new(filter, start);
    wanted.rows(wanted.span, Order::NewestFirst, Some(11))
}

#[test]
fn pages_prune_and_stop_early() {
    const DAY: i64 = 86_400 * SECOND;
    let store = three_days();
    let time = |micros: i64| Some(Timestamp::clamped(START + micros));
    let start = Some(Position(Id::new(Timestamp::clamped(START + DAY + DAY / 2), 9, 9)));

    // Both bounds are named: only the day between them is in the plan.
    let filter = Filter { from: time(DAY), to: time(2 * DAY), ..Filter::default() };
    for start in [None, start] {
        let plan = plan(&store, page_sql(&filter, start));
        assert!(plan.contains("Index Scan Backward using logs_86400000000_pkey"), "{plan}");
        assert!(!plan.contains("logs_0") && !plan.contains("logs_172800000000"), "{plan}");
        assert!(plan.contains("(actual rows=11 loops=1)") && !plan.contains("Sort"), "{plan}");
    }

    // A cursor alone keeps newer days out; and of those that are left the older ones are not begun.
    let all = Filter::default();
    let text = plan(&store, page_sql(&all, start));
    assert!(!text.contains("logs_172800000000"), "{text}");
    let older = text.lines().find(|line| line.contains("logs_0_pkey")).unwrap();
    assert!(older.contains("never executed"), "{text}");
    assert!(!text.contains("Sort"), "{text}");

    // The walk does not even ask for them.
    let page = store.page(&all, 10, None, &stop()).unwrap();
    assert_eq!((page.rows.count, page.read.files_read, page.read.files_skipped), (10, 1, 2));
    let page = store.page(&all, 10, start, &stop()).unwrap();
    assert_eq!((page.rows.count, page.read.files_read, page.read.files_skipped), (10, 1, 2));
    let page = store.page(&filter, 10, None, &stop()).unwrap();
    assert_eq!((page.rows.count, page.read.files_read, page.read.files_skipped), (10, 1, 2));
}

#[test]
fn an_id_is_looked_up_in_its_day() {
    const DAY: i64 = 86_400 * SECOND;
    let store = three_days();
    let id = Id::new(Timestamp::clamped(START + DAY), 7, 8_000);
    let ids = Filter { expr: Expr::Id(vec![id]), ..Filter::default() };
    for sql in [wanted::one(id), page_sql(&ids, None)] {
        let plan = plan(&store, sql);
        assert!(plan.contains("using logs_86400000000_pkey"), "{plan}");
        assert!(!plan.contains("logs_0") && !plan.contains("logs_172800000000"), "{plan}");
    }
    assert_eq!(store.get(id, &stop()).unwrap().unwrap().count, 1);
}

#[test]
fn rare_things_are_found_by_their_index() {
    const DAY: i64 = 86_400 * SECOND;
    let store = three_days();
    let day = Filter { to: Some(Timestamp::clamped(START + DAY)), ..Filter::default() };
    for text in ["rare needle", "NEEDLE"] {
        let filter = Filter { expr: Expr::Text(text.to_owned()), ..day.clone() };
        let plan = plan(&store, page_sql(&filter, None));
        assert!(plan.contains("Bitmap Index Scan on logs_0_lower_idx"), "{plan}");
        assert_eq!(store.page(&filter, 10, None, &stop()).unwrap().rows.count, 2);
    }
    let source = Filter { source: Some(vec!["host-1".to_owned()]), ..day.clone() };
    let text = plan(&store, page_sql(&source, None));
    assert!(!text.contains("Seq Scan"), "{text}");
    let levels = Filter { levels: Some(LevelSet::at_least(Level::Error)), ..day };
    let text = plan(&store, page_sql(&levels, None));
    assert!(text.contains("logs_0_timestamp_id_idx"), "{text}");
}

/// A walk over more partitions than are held locked at once is still one snapshot.
#[test]
fn locks_are_let_go_and_the_snapshot_stays() {
    let store = Fixture::new(options());
    for second in 0..100 {
        store.partition(Some(START + second * SECOND), Some(START + (second + 1) * SECOND));
    }
    let records = records(100, SECOND);
    store.insert(&records);
    let mut want: Vec<Id> = records.iter().map(|record| record.id).collect();
    want.reverse();
    let told = store.run(&stop(), async |session| {
        let (mut newest, mut locked, mut steps) = (Vec::new(), 0, 0);
        let timeline = store.timeline(session).await?;
        let wanted = Wanted::new(&Filter::default(), None);
        for step in timeline.steps(wanted.span, Order::NewestFirst) {
            let mut rows = session.stream(wanted.rows(step.span, Order::NewestFirst, None)).await?;
            while let Some(row) = rows.try_next().await? {
                let mut found = RowBuf::default();
                push_row(&row, &mut found)?;
                newest.extend(ids(&found));
            }
            if steps == 0 {
                store.client.batch_execute("DELETE FROM logs").await?;
            }
            steps += 1;
            let held =
                "SELECT count(DISTINCT relation)::int8 FROM pg_locks WHERE relation::regclass::text ~ '^logs_[0-9]+$'";
            locked = store.client.query_one(held, &[]).await?.get::<_, i64>(0).max(locked);
            session.let_go(step.partitions).await?;
        }
        Ok((newest, locked, steps))
    });
    let (newest, locked, steps) = told.unwrap();
    assert_eq!((newest, steps), (want, 100));
    assert!((1..=16).contains(&locked), "{locked}");
}
