//! The store against a real server, one for each test.

mod writer;

use std::sync::Arc;
use std::time::Duration;

use record::{Batch, BatchBuilder, Context, Fields, Id, IdSource, Level, Meta, Text, Timestamp, Zone};
use servers::Postgres;

use super::{Counters, Target, Writer, WriterOptions, migrate};

/// 2026-11-20, noon: within what counts as live.
const NOON: i64 = 1_795_176_000_000_000;
const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// A server with the schema in it, and a runtime to ask it on.
struct Bed {
    server: Postgres,
    target: Arc<Target>,
    counters: Arc<Counters>,
    runtime: tokio::runtime::Runtime,
}

impl Bed {
    fn new() -> Bed {
        Bed::on(Postgres::start_new())
    }

    fn on(server: Postgres) -> Bed {
        let bed = Bed::bare(server);
        bed.run(migrate(&bed.target)).unwrap();
        bed
    }

    /// Without the schema.
    fn bare(server: Postgres) -> Bed {
        let target = Arc::new(Target::parse(&server.url()).unwrap());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Bed { server, target, counters: Arc::default(), runtime }
    }

    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    fn writer(&self, name: &str) -> Writer {
        self.writer_with(name, WriterOptions::default())
    }

    fn writer_with(&self, name: &str, options: WriterOptions) -> Writer {
        Writer::new(self.target.clone(), name, options, self.counters.clone())
    }

    fn sql(&self, sql: &str) -> String {
        self.server.sql(sql)
    }

    fn count(&self, from: &str) -> u64 {
        self.sql(&format!("SELECT count(*) FROM {from}")).parse().unwrap()
    }

    /// Every row is there once, and the counts say the same.
    fn assert_rows(&self, rows: u64) {
        assert_eq!(self.count("logs"), rows);
        assert_eq!(self.sql("SELECT count(DISTINCT id) FROM logs"), rows.to_string());
        self.assert_counts();
    }

    fn assert_counts(&self) {
        let different =
            "(SELECT date_trunc('minute', timestamp), level, source, application, count(*)::numeric FROM logs
            GROUP BY 1, 2, 3, 4) EXCEPT
            (SELECT minute, level, source, application, sum(count) FROM log_counts GROUP BY 1, 2, 3, 4)";
        assert_eq!(self.sql(different), "");
        assert_eq!(self.sql("SELECT coalesce(sum(count), 0) FROM log_counts"), self.count("logs").to_string());
    }
}

/// Makes batches of records, one a second, from a time on.
struct Source {
    ids: IdSource,
    next: i64,
    step: i64,
}

impl Source {
    fn new(from: i64) -> Source {
        Source { ids: crate::clock::id_source(), next: from, step: SECOND }
    }

    fn batch(&mut self, rows: usize) -> Batch {
        self.batch_of(rows, |_| "a message".to_owned())
    }

    fn batch_of(&mut self, rows: usize, message: impl Fn(usize) -> String) -> Batch {
        let zone = Zone::UTC;
        let now = Timestamp::clamped(NOON);
        let context = Context::new(now, &zone);
        let mut builder = BatchBuilder::new(16);
        for number in 0..rows {
            let text = message(number);
            let source = format!("host{}", number % 3);
            let fields = Fields {
                timestamp: Some(Timestamp::clamped(self.next)),
                level: Some(Level::ALL[number % Level::COUNT]),
                source: Text::Bytes(source.as_bytes()),
                message: Text::Bytes(text.as_bytes()),
                ..Fields::default()
            };
            builder.push(&fields, &context, &mut self.ids).unwrap();
            self.next += self.step;
        }
        builder.seal().unwrap()
    }

    fn batches(&mut self, count: usize, rows: usize) -> Vec<Batch> {
        (0..count).map(|_| self.batch(rows)).collect()
    }
}
