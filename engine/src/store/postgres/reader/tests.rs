//! The reader over a real server.

mod contract;
mod plans;
mod stopping;
mod stored;

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use record::{Id, Level, LogRecord, Timestamp};
use servers::Postgres;
use tokio::runtime::Runtime;

use super::*;
use crate::store::postgres::{Target, migrate};

/// A second of 2025-11-11; partitions are cut here in pieces of two seconds.
pub const START: i64 = 1_762_876_800_000_000;
pub const SECOND: i64 = 1_000_000;

/// A server with the schema, a reader, and a connection to write with.
pub struct Fixture {
    reader: PostgresReader,
    pub client: Client,
    pub runtime: Runtime,
    pub server: Postgres,
}

impl Deref for Fixture {
    type Target = PostgresReader;

    fn deref(&self) -> &PostgresReader {
        &self.reader
    }
}

impl DerefMut for Fixture {
    fn deref_mut(&mut self) -> &mut PostgresReader {
        &mut self.reader
    }
}

pub fn options() -> ReaderOptions {
    ReaderOptions { connections_max: 4, query_timeout: Duration::from_secs(60), query_bytes_max: 64 << 20 }
}

pub fn stop() -> Stop {
    Stop::after(Duration::from_secs(60))
}

impl Fixture {
    pub fn new(options: ReaderOptions) -> Fixture {
        let server = Postgres::with(&["fsync=off"]);
        let target = Target::parse(&server.url()).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(migrate(&target)).unwrap();
        let client = runtime.block_on(target.connect("test")).unwrap();
        let mut reader = reader_of(&target, &runtime, options);
        // So that every partition is a step of its own.
        reader.step_bytes_max = 0;
        Fixture { reader, client, runtime, server }
    }

    pub fn execute(&self, sql: &str) {
        self.runtime.block_on(self.client.batch_execute(sql)).unwrap();
    }

    /// Makes a partition from one time to another; `None` is without a bound.
    pub fn partition(&self, from: Option<i64>, to: Option<i64>) {
        let bound = |micros: Option<i64>, none: &str| {
            micros.map_or(none.to_owned(), |micros| format!("'{}'", Timestamp::clamped(micros)))
        };
        let name = from.map_or("past".to_owned(), |from| format!("{}", from - START)).replace('-', "m");
        let (from, to) = (bound(from, "MINVALUE"), bound(to, "MAXVALUE"));
        self.execute(&format!("CREATE TABLE logs_{name} PARTITION OF logs FOR VALUES FROM ({from}) TO ({to})"));
    }

    pub fn insert(&self, records: &[LogRecord]) {
        let rows = record::filter::contract::encode_rows(records);
        self.runtime.block_on(async {
            let mut sink = Box::pin(self.client.copy_in("COPY logs FROM STDIN (FORMAT binary)").await.unwrap());
            let mut copied = bytes::BytesMut::from(&b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0"[..]);
            copied.extend_from_slice(&rows);
            copied.extend_from_slice(&[0xff, 0xff]);
            futures_util::SinkExt::send(&mut sink, copied.freeze()).await.unwrap();
            assert_eq!(sink.as_mut().finish().await.unwrap(), records.len() as u64);
        });
    }

    /// Counts what there is, as the writer does.
    pub fn count_minutes(&self) {
        self.execute(
            "DELETE FROM log_counts; INSERT INTO log_counts SELECT part, date_trunc('minute', \"timestamp\"), level, \
             source, application, count(*) FROM logs GROUP BY 1, 2, 3, 4, 5",
        );
    }
}

pub fn reader_of(target: &Target, runtime: &Runtime, options: ReaderOptions) -> PostgresReader {
    PostgresReader::new(target.config().clone(), target.tls(), runtime.handle().clone(), options)
}

/// Records that count up, so many µs apart.
pub fn records(count: usize, apart: i64) -> Vec<LogRecord> {
    let record = |number: usize| {
        let timestamp = Timestamp::clamped(START + number as i64 * apart);
        LogRecord {
            id: Id::new(timestamp, 7, number as u32),
            timestamp,
            level: Level::ALL[number % Level::COUNT],
            source: format!("host-{}", number % 3),
            application: "mill".to_owned(),
            message: format!("message {number} from the mill"),
            metadata: format!(
                r#"{{"number":{number},"parity":"{}"}}"#,
                if number.is_multiple_of(2) { "even" } else { "odd" }
            ),
        }
    };
    (0..count).map(record).collect()
}

pub fn ids(rows: &RowBuf) -> Vec<Id> {
    rows.rows().map(|row| row.id()).collect()
}
