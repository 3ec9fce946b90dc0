//! Queries over a Postgres store: pages and counts of one snapshot, whatever is written meanwhile.
//!
//! Comes in: a filter, a place to start, a [`Stop`]. Goes out: rows in tuple form. The calls block, on threads that may:
//! the work itself runs on the runtime that [`PostgresReader::new`] was given. A query that is stopped is cancelled on the
//! server; one that is not heard of again ends there by itself.
//!
//! | file | does |
//! |---|---|
//! | `reader/session.rs` | a connection, and the transaction of a query |
//! | `reader/walk.rs` | through time, partition by partition |
//! | `reader/wanted.rs` | a filter's bounds in time, and its statements |
//! | `reader/counts.rs` | counts, histograms, facets |
//! | `reader/values.rs` | values and rows on the wire |
//! | `reader/failure.rs` | what goes wrong, and the mend |

mod counts;
mod failure;
mod session;
#[cfg(test)]
mod tests;
pub(super) mod values;
mod walk;
mod wanted;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use deadpool_postgres::{Connect, Manager, ManagerConfig, Pool, RecyclingMethod};
use futures_util::TryStreamExt;
use record::{Filter, Id};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_postgres::{CancelToken, Client, RowStream};
use tokio_postgres_rustls::MakeRustlsConnect;

use self::failure::Failure;
use self::session::Session;
use self::values::push_row;
use self::walk::{Order, Step, Timeline};
use self::wanted::Wanted;
use super::dead_letters;
use super::sql::Sql;
use crate::store::{
    ContextRows, Counts, DeadLetters, FacetField, Facets, Histogram, LetterPosition, Page, Position, QueryError,
    ReadStats, Reader, RowBuf, Stop,
};

/// How often a running query is asked whether anybody still waits for it.
const STOP_POLL: Duration = Duration::from_millis(50);
/// How long the server may take to hear of a cancellation: it has its own limit for what it does not hear of.
const CANCEL_WAIT: Duration = Duration::from_secs(1);
/// How long a finished query may take to end its transaction. A server that was stopped in between takes for ever.
const END_WAIT: Duration = Duration::from_secs(1);
/// A connection may have been lost while nobody used it, and the next one with it before that was noticed.
const ATTEMPTS_MAX: u32 = 3;
/// Where partitions begin is asked again after this. What is newer is found all the same: see `walk.rs`.
const TIMELINE_KEPT: Duration = Duration::from_secs(10);
/// Rows of an export are handed on in pieces of about this size.
const PIECE_BYTES: usize = 256 << 10;

#[derive(Clone, Copy, Debug)]
pub struct ReaderOptions {
    /// Connections at once: as many as queries and exports that may run at once, so that none waits for one.
    pub connections_max: usize,
    /// How long a statement may run when nobody cancels it, and a connection may take to be made. An export's may run on.
    pub query_timeout: Duration,
    /// Most bytes of rows, or of distinct values, that one query may gather.
    pub query_bytes_max: usize,
}

pub struct PostgresReader {
    pool: Pool,
    tls: MakeRustlsConnect,
    runtime: Handle,
    options: ReaderOptions,
    /// What the server is called in messages.
    server: String,
    timeline: Mutex<Option<(Instant, Arc<Timeline>)>>,
    step_bytes_max: i64,
}

impl PostgresReader {
    /// Connects when it is first asked.
    pub fn new(
        url: tokio_postgres::Config,
        tls: MakeRustlsConnect,
        runtime: Handle,
        options: ReaderOptions,
    ) -> PostgresReader {
        let mut config = url;
        if config.get_application_name().is_none() {
            config.application_name("logboom/query");
        }
        let server = named(&config);
        let connect = Connector { tls: tls.clone() };
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let pool = Pool::builder(Manager::from_connect(config, connect, manager))
            .max_size(options.connections_max.max(1))
            .runtime(deadpool_postgres::Runtime::Tokio1)
            .build()
            .expect("a pool with a runtime for its timeouts");
        let (timeline, step_bytes_max) = (Mutex::default(), walk::STEP_BYTES_MAX);
        PostgresReader { pool, tls, runtime, options, server, timeline, step_bytes_max }
    }

    /// Runs `work` in a session of its own, with the deadline of `stop`. It is run again when a connection turns out to
    /// have been lost while nobody used it.
    fn run<T>(&self, stop: &Stop, work: impl AsyncFn(&mut Session) -> Result<T, Failure>) -> Result<T, QueryError> {
        self.runtime.block_on(async {
            let mut attempts = 1;
            loop {
                match self.attempt(stop, &work).await {
                    Ok(answer) => return Ok(answer),
                    Err(failure) if failure.is_lost() && attempts < ATTEMPTS_MAX => attempts += 1,
                    Err(failure) => return Err(self.told(failure, stop)),
                }
            }
        })
    }

    async fn attempt<T>(
        &self,
        stop: &Stop,
        work: &impl AsyncFn(&mut Session) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let limit = stop.remaining().min(self.options.query_timeout);
        let mut session = self.watched(stop, None, Session::begin(&self.pool, limit, Some(limit))).await?;
        let answer = self.watched(stop, session.cancel_token(), work(&mut session)).await?;
        Self::end(session).await;
        Ok(answer)
    }

    /// Nobody waits long for a connection to be given back: it is closed instead.
    async fn end(session: Session) {
        let _ = tokio::time::timeout(END_WAIT, session.end()).await;
    }

    /// Waits for `work` until it is done or `stop` says to stop; it is then cancelled on the server.
    async fn watched<T>(
        &self,
        stop: &Stop,
        token: Option<CancelToken>,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let mut work = pin!(work);
        let mut poll = tokio::time::interval(STOP_POLL);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                _ = poll.tick() => {
                    if let Err(stopped) = stop.check() {
                        if let Some(token) = token {
                            let cancelling = token.cancel_query(self.tls.clone());
                            let _ = tokio::time::timeout(CANCEL_WAIT, cancelling).await;
                        }
                        return Err(stopped.into());
                    }
                }
            }
        }
    }

    fn told(&self, failure: Failure, stop: &Stop) -> QueryError {
        if failure.is_cancelled()
            && let Err(stopped) = stop.check()
        {
            return stopped;
        }
        failure.into_query_error(&self.server)
    }

    async fn timeline(&self, session: &Session) -> Result<Arc<Timeline>, Failure> {
        let kept = || self.timeline.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kept().clone();
        if let Some((read_at, timeline)) = known
            && read_at.elapsed() < TIMELINE_KEPT
        {
            return Ok(timeline);
        }
        let timeline = Arc::new(Timeline::read(session, self.step_bytes_max).await?);
        *kept() = Some((Instant::now(), timeline.clone()));
        Ok(timeline)
    }

    /// The first `limit` rows that are wanted, of as many as there are memory for.
    async fn rows(
        &self,
        session: &mut Session,
        wanted: &Wanted,
        order: Order,
        limit: usize,
        read: &mut ReadStats,
    ) -> Result<Vec<RowBuf>, Failure> {
        if wanted.is_nothing() {
            return Ok(Vec::new());
        }
        let timeline = self.timeline(session).await?;
        // Each row apart, as the caller may want all but the last, or turn them round.
        let mut rows = Vec::new();
        let mut bytes = 0;
        for step in timeline.steps(wanted.span, order) {
            if rows.len() >= limit {
                break;
            }
            let mut found = session.stream(wanted.rows(step.span, order, Some(limit - rows.len()))).await?;
            while let Some(row) = found.try_next().await? {
                let mut one = RowBuf::default();
                push_row(&row, &mut one)?;
                bytes += one.bytes.len();
                if bytes > self.options.query_bytes_max {
                    return Err(QueryError::Memory { bytes: self.options.query_bytes_max }.into());
                }
                rows.push(one);
            }
            read.files_read += step.partitions as u64;
            session.let_go(step.partitions).await?;
        }
        read.files_skipped += (timeline.len() as u64).saturating_sub(read.files_read);
        read.rows_read += rows.len() as u64;
        Ok(rows)
    }

    async fn begin_export(&self, filter: &Filter) -> Result<Export, Failure> {
        let session = Session::begin(&self.pool, self.options.query_timeout, None).await?;
        let wanted = Wanted::new(filter, None);
        let timeline = self.timeline(&session).await?;
        let steps = if wanted.is_nothing() { Vec::new() } else { timeline.steps(wanted.span, Order::NewestFirst) };
        Ok(Export { session, wanted, steps: steps.into_iter(), open: None })
    }

    /// The next piece of an export; `None` at its end.
    async fn piece(&self, export: &mut Export) -> Result<Option<RowBuf>, Failure> {
        let mut piece = RowBuf::default();
        while piece.bytes.len() < PIECE_BYTES {
            if let Some((rows, step)) = &mut export.open {
                match rows.try_next().await? {
                    Some(row) => push_row(&row, &mut piece)?,
                    None => {
                        export.session.let_go(step.partitions).await?;
                        export.open = None;
                    }
                }
                continue;
            }
            let Some(step) = export.steps.next() else { break };
            let rows = export.session.stream(export.wanted.rows(step.span, Order::NewestFirst, None)).await?;
            export.open = Some((rows, step));
        }
        Ok((piece.count > 0).then_some(piece))
    }
}

/// An export under way.
struct Export {
    session: Session,
    wanted: Wanted,
    steps: std::vec::IntoIter<Step>,
    open: Option<(Pin<Box<RowStream>>, Step)>,
}

impl Reader for PostgresReader {
    fn page(&self, filter: &Filter, limit: usize, start: Option<Position>, stop: &Stop) -> Result<Page, QueryError> {
        let wanted = Wanted::new(filter, start);
        self.run(stop, async |session| {
            let mut read = ReadStats::default();
            // One more than asked for tells whether there is another page.
            let mut found = self.rows(session, &wanted, Order::NewestFirst, limit.saturating_add(1), &mut read).await?;
            let more = found.len() > limit;
            found.truncate(limit);
            let rows = joined(found);
            let next = rows.rows().last().filter(|_| more).map(|row| Position(row.id()));
            Ok(Page { rows, next, read })
        })
    }

    fn get(&self, id: Id, stop: &Stop) -> Result<Option<RowBuf>, QueryError> {
        self.run(stop, async |session| self.one(session, id).await)
    }

    fn context(&self, id: Id, before: usize, after: usize, stop: &Stop) -> Result<Option<ContextRows>, QueryError> {
        self.run(stop, async |session| {
            let Some(log) = self.one(session, id).await? else { return Ok(None) };
            let Some(source) = log.rows().next().map(|row| String::from_utf8_lossy(row.source()).into_owned()) else {
                return Ok(None);
            };
            let mut read = ReadStats::default();
            let older = Wanted::older_than(id, &source);
            let mut older = self.rows(session, &older, Order::NewestFirst, before, &mut read).await?;
            older.reverse();
            let newer = Wanted::newer_than(id, &source);
            let newer = self.rows(session, &newer, Order::OldestFirst, after, &mut read).await?;
            Ok(Some(ContextRows { before: joined(older), log, after: joined(newer) }))
        })
    }

    fn export(&self, filter: &Filter, stop: &Stop, sink: &mut dyn FnMut(&RowBuf) -> bool) -> Result<(), QueryError> {
        let told = |failure| self.told(failure, stop);
        let mut attempts = 1;
        let mut export = loop {
            match self.runtime.block_on(self.watched(stop, None, self.begin_export(filter))) {
                Ok(export) => break export,
                Err(failure) if failure.is_lost() && attempts < ATTEMPTS_MAX => attempts += 1,
                Err(failure) => return Err(told(failure)),
            }
        };
        let token = export.session.cancel_token();
        loop {
            // `sink` may block, and wait for something of this runtime: it is called outside of it.
            let piece = self.watched(stop, token.clone(), self.piece(&mut export));
            let Some(piece) = self.runtime.block_on(piece).map_err(told)? else { break };
            if !sink(&piece) {
                // The rest is on its way already, for up to hours: end it where it comes from.
                if let Some(token) = token {
                    let cancelling = token.cancel_query(self.tls.clone());
                    let _ = self.runtime.block_on(async { tokio::time::timeout(CANCEL_WAIT, cancelling).await });
                }
                return Ok(());
            }
        }
        self.runtime.block_on(Self::end(export.session));
        Ok(())
    }

    fn counts(&self, filter: &Filter, stop: &Stop) -> Result<Counts, QueryError> {
        let wanted = Wanted::new(filter, None);
        self.run(stop, async |session| self.count(session, &wanted).await)
    }

    fn histogram(&self, filter: &Filter, interval_seconds: Option<u64>, stop: &Stop) -> Result<Histogram, QueryError> {
        let wanted = Wanted::new(filter, None);
        self.run(stop, async |session| self.count_by_time(session, &wanted, interval_seconds).await)
    }

    fn facets(&self, filter: &Filter, field: &FacetField, limit: usize, stop: &Stop) -> Result<Facets, QueryError> {
        let wanted = Wanted::new(filter, None);
        self.run(stop, async |session| self.count_by_value(session, &wanted, field, limit).await)
    }

    fn dead_letters(
        &self,
        limit: usize,
        start: Option<LetterPosition>,
        stop: &Stop,
    ) -> Result<DeadLetters, QueryError> {
        self.run(stop, async |session| Ok(dead_letters::page(session.client()?, limit, start).await?.into()))
    }
}

impl PostgresReader {
    async fn one(&self, session: &Session, id: Id) -> Result<Option<RowBuf>, Failure> {
        let mut rows = session.stream(wanted::one(id)).await?;
        let mut found = RowBuf::default();
        while let Some(row) = rows.try_next().await? {
            if found.count == 0 {
                push_row(&row, &mut found)?;
            }
        }
        Ok((found.count > 0).then_some(found))
    }

    /// All rows of a statement of few.
    async fn each(
        &self,
        session: &Session,
        sql: Sql,
        mut row: impl FnMut(&tokio_postgres::Row) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut rows = session.stream(sql).await?;
        while let Some(found) = rows.try_next().await? {
            row(&found)?;
        }
        Ok(())
    }
}

fn joined(rows: Vec<RowBuf>) -> RowBuf {
    let count = rows.len();
    let bytes = rows.into_iter().map(|row| row.bytes).collect::<Vec<_>>().concat();
    RowBuf { bytes, count }
}

/// As a person would name the server.
fn named(config: &tokio_postgres::Config) -> String {
    let hosts = config.get_hosts().iter().map(|host| match host {
        tokio_postgres::config::Host::Tcp(host) => host.clone(),
        tokio_postgres::config::Host::Unix(path) => path.display().to_string(),
    });
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let hosts = hosts.collect::<Vec<_>>().join(",");
    format!("Postgres at {hosts}:{port}")
}

/// Makes connections. Their ends are told by the queries that meet them, so here they are no news.
struct Connector {
    tls: MakeRustlsConnect,
}

type Connecting<'a> =
    Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), tokio_postgres::Error>> + Send + 'a>>;

impl Connect for Connector {
    fn connect(&self, config: &tokio_postgres::Config) -> Connecting<'_> {
        let (config, tls) = (config.clone(), self.tls.clone());
        Box::pin(async move {
            let (client, connection) = config.connect(tls).await?;
            let ends = tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!("a connection to Postgres ended: {error}");
                }
            });
            Ok((client, ends))
        })
    }
}
