//! Batches in, each once.
//!
//! Comes in: sealed batches, in any number and order. Goes out: what was stored, or why not yet. One connection, which
//! is made anew as needed; only the server is waited for, and nothing for longer than `transaction_max`.
//!
//! One transaction: the batches' ids into `ingested_batches`, sorted; COPY of the batches whose ids were new, as they
//! were encoded; their counts; COMMIT. Whoever runs it again, since the answer was lost or the queue delivered twice,
//! finds the ids there and copies nothing.
//!
//! | the server answers | so |
//! |---|---|
//! | connection lost, passing | the same again, a few times, then [`StoreError::Away`] |
//! | no partition | it is made, and the same again |
//! | an id is locked for `lock_timeout` | see `holder.rs`; [`StoreError::Locked`] names the batches, nothing is stored |
//! | primary key, data | each half in a transaction of its own; a single batch: see `careful.rs` |
//! | refused | [`StoreError::Refused`] |
//!
//! What it does not try to do: order batches, or keep what it was given.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use record::{Batch, Id};
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use super::counters::{Counters, add};
use super::counts::Counting;
use super::error::{Fault, PostgresError, tell};
use super::partitions::Window;
use super::session::{Session, application_name};
use super::target::Target;
use super::types::{Uuid, copy};
use super::{careful, holder};

/// A transaction that fails for a passing reason is run again at once, and again after a while that doubles.
const TRIES_MAX: u32 = 4;
const RETRY_AFTER: Duration = Duration::from_millis(50);
/// A rollback that takes longer is left to the server: the connection is closed.
const ROLLBACK_MAX: Duration = Duration::from_secs(2);

/// Batches whose COMMIT had no answer, and that nobody delivered here again: another writer had them. All that is lost
/// with them is a count.
const IN_DOUBT_MAX: usize = 10_000;

#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// How long a lock is waited for.
    pub lock_timeout: Duration,
    /// How long a transaction may take. Over `lock_timeout`.
    pub transaction_max: Duration,
    /// A session of ours that has held a batch for longer than this belongs to a stopped worker, and is ended. Over
    /// `transaction_max`, and not over the time after which the queue gives a batch to somebody else.
    pub claim_after: Duration,
    /// How long records are kept: days that are kept anyway are not counted against the limit of partitions.
    pub retain: Option<Duration>,
}

impl WriterOptions {
    /// `claim_after` is when the queue gives a batch to somebody else: whatever takes longer is over before that.
    pub fn new(claim_after: Duration, retain: Option<Duration>) -> WriterOptions {
        /// Longer only keeps a worker from its other batches.
        const LOCK_TIMEOUT_MAX: Duration = Duration::from_secs(5);
        let lock_timeout = (claim_after / 6).min(LOCK_TIMEOUT_MAX);
        WriterOptions { lock_timeout, transaction_max: claim_after * 2 / 3, claim_after, retain }
    }
}

impl Default for WriterOptions {
    fn default() -> Self {
        WriterOptions::new(Duration::from_secs(30), None)
    }
}

/// What became of the batches of a call. Every one of them is in the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Rows that this call stored.
    pub rows: u64,
    /// Batches that this call stored.
    pub batches: usize,
    /// Batches that had been stored before.
    pub known: usize,
    /// Rows that Postgres refused, in the dead letters now.
    pub dead: u64,
}

impl Stored {
    fn add(&mut self, more: Stored) {
        self.rows += more.rows;
        self.batches += more.batches;
        self.known += more.known;
        self.dead += more.dead;
    }
}

/// Why batches are not in the store, or not all of them. Whatever it is, the same call may be made again later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Wait, and try again.
    #[error("{0}")]
    Away(String),
    /// Waiting does not help.
    #[error("{0}")]
    Refused(String),
    /// Other sessions hold these batches; try them again later, and the others now.
    #[error("{} batches are held by another session", held.len())]
    Locked { held: Vec<Id> },
}

pub struct Writer {
    target: Arc<Target>,
    name: String,
    options: WriterOptions,
    counters: Arc<Counters>,
    session: Option<Session>,
    /// Batches whose COMMIT had no answer: if they turn out to be known, it was we who stored them.
    in_doubt: HashSet<Id>,
    /// Asks whom the session waits for; there while it has to wait.
    watch: Option<Client>,
    /// Server processes of sessions that were given up in the middle of a transaction.
    abandoned: Vec<i32>,
}

/// Why a transaction did not take place.
#[derive(Debug)]
pub(super) enum Trouble {
    Fault(Fault, String),
    Held(Vec<Id>),
    /// There is no connection.
    Unreachable(PostgresError),
}

impl From<tokio_postgres::Error> for Trouble {
    fn from(error: tokio_postgres::Error) -> Trouble {
        Trouble::Fault(Fault::of(&error), tell(&error))
    }
}

impl From<PostgresError> for Trouble {
    fn from(error: PostgresError) -> Trouble {
        Trouble::Unreachable(error)
    }
}

/// What to do with a group of batches next.
enum Outcome {
    Stored(Stored),
    /// Smaller groups will tell which batch it is.
    Split,
}

impl Writer {
    /// `name` tells this process' writers apart, as `0`. No connection is made yet.
    pub fn new(target: Arc<Target>, name: &str, options: WriterOptions, counters: Arc<Counters>) -> Writer {
        Writer {
            target,
            name: application_name(name),
            options,
            counters,
            session: None,
            in_doubt: HashSet::new(),
            watch: None,
            abandoned: Vec::new(),
        }
    }

    /// Stores them all, or says why not; a part of them may be stored then, and is known the next time. May be dropped at
    /// any point.
    pub async fn store(&mut self, batches: &[Batch]) -> Result<Stored, StoreError> {
        let mut sorted: Vec<&Batch> = batches.iter().collect();
        sorted.sort_by_key(|batch| (batch.header().part, batch.id()));
        sorted.dedup_by_key(|batch| batch.id());
        let mut stored = Stored { known: batches.len() - sorted.len(), ..Stored::default() };
        // Groups still to do, in order from the end.
        let mut groups: Vec<&[&Batch]> = if sorted.is_empty() { Vec::new() } else { vec![&sorted] };
        while let Some(group) = groups.pop() {
            match self.store_group(group).await {
                Ok(Outcome::Stored(more)) => stored.add(more),
                Ok(Outcome::Split) => {
                    let (head, tail) = group.split_at(group.len() / 2);
                    groups.push(tail);
                    groups.push(head);
                }
                Err(error) => {
                    add(&self.counters.failures, 1);
                    if !matches!(error, StoreError::Locked { .. }) {
                        self.counters.failed(&error.to_string());
                    }
                    return Err(error);
                }
            }
        }
        Ok(stored)
    }

    async fn store_group(&mut self, group: &[&Batch]) -> Result<Outcome, StoreError> {
        let mut is_careful = false;
        let mut tries = 0;
        loop {
            let trouble = match self.attempt(group, is_careful).await {
                Ok(stored) => {
                    self.count(&stored);
                    return Ok(Outcome::Stored(stored));
                }
                Err(trouble) => trouble,
            };
            let text = match trouble {
                Trouble::Held(held) => return Err(StoreError::Locked { held }),
                Trouble::Unreachable(PostgresError::Away(text)) => return Err(StoreError::Away(text)),
                Trouble::Unreachable(PostgresError::Refused(text)) | Trouble::Fault(Fault::Refused, text) => {
                    return Err(StoreError::Refused(text));
                }
                Trouble::Fault(Fault::Duplicate | Fault::Data | Fault::TooMuch, _) if group.len() > 1 => {
                    return Ok(Outcome::Split);
                }
                Trouble::Fault(Fault::Duplicate | Fault::Data, _) if !is_careful => {
                    is_careful = true;
                    continue;
                }
                Trouble::Fault(_, text) => text,
            };
            tries += 1;
            add(&self.counters.retries, 1);
            self.counters.failed(&text);
            if tries >= TRIES_MAX {
                return Err(StoreError::Away(text));
            }
            if tries > 1 {
                tokio::time::sleep(RETRY_AFTER * 2u32.pow(tries)).await;
            }
        }
    }

    fn count(&self, stored: &Stored) {
        add(&self.counters.transactions, u64::from(stored.batches > 0));
        add(&self.counters.rows, stored.rows);
        add(&self.counters.batches, stored.batches as u64);
        add(&self.counters.known_batches, stored.known as u64);
        add(&self.counters.dead_letters, stored.dead);
    }

    /// One transaction. The session outlives it only where what it is in is known.
    async fn attempt(&mut self, group: &[&Batch], is_careful: bool) -> Result<Stored, Trouble> {
        // Taken out while it is used: whoever drops this future drops the connection with it.
        let mut session = match self.session.take().filter(|session| !session.client.is_closed()) {
            Some(session) => session,
            None => self.connect().await?,
        };
        let pid = session.pid;
        let limit = self.options.transaction_max;
        let transaction = async {
            self.make_partitions(&mut session, group).await?;
            self.transact(&session, group, is_careful).await
        };
        let outcome = match tokio::time::timeout(limit, transaction).await {
            Ok(outcome) => outcome,
            Err(_) => {
                self.abandon(pid);
                return Err(Trouble::Fault(Fault::Passing, too_slow(limit)));
            }
        };
        match &outcome {
            Ok(_) => self.session = Some(session),
            // Nothing is wrong with the connection: on with the next.
            Err(Trouble::Held(_)) | Err(Trouble::Fault(Fault::Duplicate | Fault::Data | Fault::TooMuch, _)) => {
                let rolled_back = tokio::time::timeout(ROLLBACK_MAX, session.rollback()).await;
                if matches!(rolled_back, Ok(Ok(()))) {
                    self.session = Some(session);
                } else {
                    self.abandon(pid);
                }
            }
            Err(_) => self.abandon(pid),
        }
        outcome
    }

    async fn connect(&self) -> Result<Session, PostgresError> {
        let limit = self.options.transaction_max;
        let opening = Session::open(&self.target, &self.name, self.options.lock_timeout);
        tokio::time::timeout(limit, opening).await.unwrap_or_else(|_| Err(PostgresError::Away(too_slow(limit))))
    }

    /// The server may not have noticed that the other side is gone.
    fn abandon(&mut self, pid: i32) {
        /// Older ones have been noticed by now.
        const ABANDONED_MAX: usize = 8;
        if self.abandoned.len() == ABANDONED_MAX {
            self.abandoned.remove(0);
        }
        self.abandoned.push(pid);
    }

    async fn make_partitions(&self, session: &mut Session, group: &[&Batch]) -> Result<(), Trouble> {
        /// One round makes days, another what somebody else's partitions leave of them.
        const ROUNDS_MAX: usize = 3;
        for _ in 0..ROUNDS_MAX {
            let missing = session.partitions.missing(group);
            if missing.is_empty() {
                break;
            }
            let window = Window::around(crate::clock::now(), self.options.retain);
            let made = session.partitions.make(&session.client, &missing, window, self.options.lock_timeout).await;
            add(&self.counters.partitions_made, made?);
        }
        Ok(())
    }

    async fn transact(&mut self, session: &Session, group: &[&Batch], is_careful: bool) -> Result<Stored, Trouble> {
        // Sent together: the server answers one after the other.
        let (begun, claimed) = tokio::join!(session.begin(), self.claim(session, group));
        begun?;
        let claimed = match claimed {
            Err(Trouble::Fault(Fault::Locked, text)) => return Err(self.find_held(session, group, text).await?),
            claimed => claimed?,
        };
        let fresh: Vec<&Batch> = group.iter().copied().filter(|batch| claimed.contains(&batch.id())).collect();
        let mut stored = self.stored_before(group, &claimed);
        if !fresh.is_empty() {
            stored.batches += fresh.len();
            if is_careful {
                let done = careful::store(session, fresh[0], &self.counters).await?;
                stored.rows += done.rows;
                stored.dead += done.dead;
            } else {
                stored.rows += copy_batches(session, &fresh).await?;
            }
        }
        // From here on until it is answered, nobody knows.
        if self.in_doubt.len() > IN_DOUBT_MAX {
            self.in_doubt.clear();
        }
        self.in_doubt.extend(&claimed);
        let committed = session.commit().await;
        if committed.as_ref().err().is_none_or(|error| error.as_db_error().is_some() && Fault::of(error) != Fault::Lost)
        {
            for batch in group {
                self.in_doubt.remove(&batch.id());
            }
        }
        committed?;
        Ok(stored)
    }

    /// The ids that are new, ours now until the transaction ends.
    async fn claim(&mut self, session: &Session, group: &[&Batch]) -> Result<HashSet<Id>, Trouble> {
        let parts: Vec<i16> = group.iter().map(|batch| batch.header().part).collect();
        let ids: Vec<Uuid> = group.iter().map(|batch| Uuid(batch.id())).collect();
        let parameters: [&(dyn ToSql + Sync); 2] = [&parts, &ids];
        let mut claim = std::pin::pin!(session.client.query(&session.claim, &parameters));
        let rows = tokio::select! {
            rows = &mut claim => {
                self.watch = None;
                rows
            }
            () = tokio::time::sleep(self.options.lock_timeout / 2) => {
                // The wait goes on meanwhile, and ends as soon as the holder is gone.
                let (rows, ()) = tokio::join!(claim, self.free(session.pid));
                rows
            }
        };
        Ok(rows?.iter().map(|row| row.get::<_, Uuid>(0).0).collect())
    }

    /// Ends whoever keeps us waiting, if it is one of ours and will not do so itself. Should the connection for it come too
    /// late, it is there the next time.
    async fn free(&mut self, pid: i32) {
        let Writer { target, name, options, watch, abandoned, .. } = self;
        match holder::terminate(target, watch, name, pid, options.claim_after, abandoned).await {
            Ok(ended) => add(&self.counters.terminated_holders, ended),
            Err(error) => self.counters.failed(error.text()),
        }
    }

    /// Which batches other sessions hold, once waiting for them has ended in vain.
    async fn find_held(&self, session: &Session, group: &[&Batch], text: String) -> Result<Trouble, Trouble> {
        session.rollback().await?;
        let held = holder::find_held(session, group).await?;
        // Whoever it was is gone: the same again.
        Ok(if held.is_empty() { Trouble::Fault(Fault::Passing, text) } else { Trouble::Held(held) })
    }

    /// The batches that were known, and those of them that turn out to be ours.
    fn stored_before(&self, group: &[&Batch], claimed: &HashSet<Id>) -> Stored {
        let mut stored = Stored::default();
        for batch in group.iter().filter(|batch| !claimed.contains(&batch.id())) {
            if self.in_doubt.contains(&batch.id()) {
                stored.batches += 1;
                stored.rows += batch.len() as u64;
            } else {
                stored.known += 1;
            }
        }
        stored
    }

    /// Whether a connection is up, as of the last call.
    pub fn is_connected(&self) -> bool {
        self.session.as_ref().is_some_and(|session| !session.client.is_closed())
    }
}

fn too_slow(limit: Duration) -> String {
    format!(
        "Postgres took longer than {} s for a transaction: look at the load of its disk, and at pg_stat_activity",
        limit.as_secs()
    )
}

async fn copy_batches(session: &Session, fresh: &[&Batch]) -> Result<u64, Trouble> {
    let rows =
        copy(&session.client, &session.copy_logs, fresh.iter().map(|batch| batch.body_bytes()).collect()).await?;
    let mut counting = Counting::default();
    for batch in fresh {
        batch.rows().for_each(|row| counting.add(&row));
    }
    copy(&session.client, &session.copy_counts, vec![counting.tuples()]).await?;
    Ok(rows)
}
