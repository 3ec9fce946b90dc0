//! The store against a real server, one for each test.

mod accident;
mod dead_letters;
mod holder;
mod setup;
mod tls;
mod upkeep;
mod writer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use record::{Batch, BatchBuilder, Context, Fields, IdSource, Level, Text, Timestamp, Zone};
use servers::Postgres;

use super::{Client, Counters, StoreError, Stored, Target, Writer, WriterOptions, migrate};

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

    fn connect(&self, name: &str) -> Client {
        self.run(self.target.connect(name)).unwrap()
    }

    fn writer(&self, name: &str) -> Writer {
        self.writer_with(name, WriterOptions::default())
    }

    fn writer_with(&self, name: &str, options: WriterOptions) -> Writer {
        Writer::new(self.target.clone(), name, options, self.counters.clone())
    }

    fn store(&self, writer: &mut Writer, batches: &[Batch]) -> Result<Stored, StoreError> {
        self.run(writer.store(batches))
    }

    /// As a queue does: the same again until it is taken.
    fn store_at_last(&self, writer: &mut Writer, batches: &[Batch]) -> Stored {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match self.store(writer, batches) {
                Ok(stored) => return stored,
                Err(StoreError::Refused(text)) => panic!("{text}"),
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
        }
    }

    fn sql(&self, sql: &str) -> String {
        self.server.sql(sql)
    }

    fn as_superuser(&self, sql: &str) -> String {
        self.server.sql_as("postgres", "log_aggregation", sql)
    }

    fn count(&self, from: &str) -> u64 {
        self.sql(&format!("SELECT count(*) FROM {from}")).parse().unwrap()
    }

    fn wait_for(&self, condition: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.as_superuser(&format!("SELECT {condition}")) != "t" {
            assert!(Instant::now() < deadline, "{condition} does not come");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Every row is there once, and the counts say the same.
    #[track_caller]
    fn assert_rows(&self, rows: u64) {
        assert_eq!(self.count("logs"), rows);
        assert_eq!(self.sql("SELECT count(DISTINCT id) FROM logs"), rows.to_string());
        self.assert_counts();
    }

    #[track_caller]
    fn assert_counts(&self) {
        let different =
            "(SELECT date_trunc('minute', timestamp), level, source, application, count(*)::numeric FROM logs
            GROUP BY 1, 2, 3, 4) EXCEPT
            (SELECT minute, level, source, application, sum(count) FROM log_counts GROUP BY 1, 2, 3, 4)";
        assert_eq!(self.sql(different), "");
        assert_eq!(self.sql("SELECT coalesce(sum(count), 0) FROM log_counts"), self.count("logs").to_string());
    }

    fn partitions(&self) -> String {
        self.sql(
            "SELECT string_agg(inhrelid::regclass::text, ' ' ORDER BY inhrelid::regclass::text) FROM pg_inherits
            WHERE inhparent = 'logs'::regclass",
        )
    }
}

/// Makes batches of records, one a step, from a time on.
struct Source {
    ids: IdSource,
    next: i64,
    step: i64,
}

impl Source {
    fn new(from: i64) -> Source {
        Source { ids: crate::clock::id_source(), next: from, step: SECOND }
    }

    fn stepping(from: i64, step: i64) -> Source {
        Source { step, ..Source::new(from) }
    }

    fn batch(&mut self, rows: usize) -> Batch {
        self.batch_of(rows, |number| (format!("host{}", number % 3), "a message".to_owned()))
    }

    /// `fields` gives source and message.
    fn batch_of(&mut self, rows: usize, fields: impl Fn(usize) -> (String, String)) -> Batch {
        let zone = Zone::UTC;
        let context = Context::new(Timestamp::clamped(NOON), &zone);
        let mut builder = BatchBuilder::new(16);
        for number in 0..rows {
            let (source, message) = fields(number);
            let fields = Fields {
                timestamp: Some(Timestamp::clamped(self.next)),
                level: Some(Level::ALL[number % Level::COUNT]),
                source: Text::Bytes(source.as_bytes()),
                message: Text::Bytes(message.as_bytes()),
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

/// The batch with something in it that no parser lets through: the message of a row is not UTF-8.
fn with_broken_row(batch: &Batch, number: usize) -> Batch {
    let row = batch.rows().nth(number).unwrap();
    let at = row.message().as_ptr() as usize - batch.frame().as_ptr() as usize;
    let mut frame = batch.frame().to_vec();
    frame[at] = 0xff;
    let end = frame.len() - 4;
    let checksum = crc32c::crc32c(&frame[..end]);
    frame[end..].copy_from_slice(&checksum.to_le_bytes());
    Batch::open(Bytes::from(frame)).unwrap()
}

#[track_caller]
fn assert_away(result: Result<Stored, StoreError>, word: &str) {
    match result {
        Err(StoreError::Away(text)) => assert!(text.contains(word), "{text}"),
        other => panic!("not away: {other:?}"),
    }
}

#[track_caller]
fn assert_refused(result: Result<Stored, StoreError>, word: &str) {
    match result {
        Err(StoreError::Refused(text)) => assert!(text.contains(word), "{text}"),
        other => panic!("not refused: {other:?}"),
    }
}
