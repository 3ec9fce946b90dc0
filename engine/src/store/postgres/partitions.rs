//! The days' partitions: which there are, which a record needs, and making them.
//!
//! | records of | go to |
//! |---|---|
//! | before 2000 | `logs_past` |
//! | from 2100 on | `logs_future` |
//! | any day between | `logs_YYYY_MM_DD`, UTC |
//! | a day beyond the live window, once there are [`DAYS_BEYOND_MAX`] such | what is free of the month, `logs_YYYY_MM_DD_to_YYYY_MM_DD` |
//!
//! A partition is made and then attached, which waits for no reader and no writer, in a transaction before the one that
//! needs it. Partitions that somebody else attached are used as they are; new ones fit into the gaps.

use record::time::{civil_from_days, days_from_civil};
use record::{Batch, Timestamp};
use tokio_postgres::Client;

use super::error::PostgresError;
use super::locks;

pub(super) const DAY_MICROS: i64 = 86_400_000_000;
/// Single days outside of what is kept anyway: planning slows down with each, and a sender whose clock is lost could
/// ask for 36,500.
const DAYS_BEYOND_MAX: usize = 1_000;
/// What counts as live without a retention: a year, since most look at no more.
const LIVE_DAYS: i64 = 366;
/// So many in one transaction: each takes locks on itself and three indexes, of some 6,400 that a server has by default.
const MADE_AT_ONCE_MAX: usize = 50;

/// What one partition holds: from a time on, up to another; µs since 1970, the ends of `i64` for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Partition {
    pub name: String,
    pub from: i64,
    pub to: i64,
}

impl Partition {
    pub fn is_day(&self) -> bool {
        self.from.checked_add(DAY_MICROS) == Some(self.to)
    }
}

/// The partitions that take rows, oldest first, and those on their way out.
#[derive(Clone, Debug, Default)]
pub(super) struct Partitions {
    pub attached: Vec<Partition>,
    /// Being detached: no rows go in, yet no other partition may take their place.
    pub leaving: Vec<Partition>,
}

/// Days that count as live: `from` on, up to `to`, µs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub from: i64,
    pub to: i64,
}

impl Window {
    /// Two days ahead: no clock that is set at all is further off.
    pub fn around(now: Timestamp, retain: Option<std::time::Duration>) -> Window {
        let back = retain.map_or(LIVE_DAYS * DAY_MICROS, |retain| retain.as_micros() as i64);
        Window { from: now.as_micros() - back - DAY_MICROS, to: now.as_micros() + 2 * DAY_MICROS }
    }
}

const LOAD: &str = r"
    SELECT c.relname::text,
        CASE WHEN b[1] <> 'MINVALUE' THEN (extract(epoch FROM trim(b[1], '''')::timestamptz) * 1000000)::int8 END,
        CASE WHEN b[2] <> 'MAXVALUE' THEN (extract(epoch FROM trim(b[2], '''')::timestamptz) * 1000000)::int8 END,
        i.inhdetachpending
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid,
        regexp_match(pg_get_expr(c.relpartbound, c.oid),
            'FROM \((MINVALUE|''[^'']*'')\) TO \((MAXVALUE|''[^'']*'')\)') b
    WHERE i.inhparent = to_regclass('logs') AND b IS NOT NULL
    ORDER BY 2 NULLS FIRST";

impl Partitions {
    /// As they are now. The session's `DateStyle` must be ISO.
    pub async fn load(client: &Client) -> Result<Partitions, tokio_postgres::Error> {
        let mut found = Partitions::default();
        for row in client.query(LOAD, &[]).await? {
            let (from, to): (Option<i64>, Option<i64>) = (row.get(1), row.get(2));
            let partition = Partition { name: row.get(0), from: from.unwrap_or(i64::MIN), to: to.unwrap_or(i64::MAX) };
            if row.get(3) { found.leaving.push(partition) } else { found.attached.push(partition) }
        }
        Ok(found)
    }

    /// Where a record of this time goes.
    pub fn of(&self, at: i64) -> Option<&Partition> {
        let after = self.attached.partition_point(|partition| partition.from <= at);
        self.attached[..after].last().filter(|partition| at < partition.to)
    }

    /// Times of rows that have nowhere to go, a few for each partition that is missing.
    pub fn missing(&self, batches: &[&Batch]) -> Vec<i64> {
        let mut times = Vec::new();
        for batch in batches {
            let (first, last) = (batch.header().first.as_micros(), batch.header().last.as_micros());
            if self.of(first).is_some_and(|partition| last < partition.to) {
                continue;
            }
            let lost = batch.rows().map(|row| row.timestamp().as_micros()).filter(|&at| self.of(at).is_none());
            times.extend(lost);
            thin(&mut times);
        }
        times
    }

    /// The partition to make for a record of this time, which has none.
    fn plan(&self, at: i64, window: Window) -> Partition {
        let day = at.div_euclid(DAY_MICROS);
        let (year, month, _) = civil_from_days(day);
        let beyond = |partition: &Partition| partition.to <= window.from || partition.from >= window.to;
        let is_beyond = |day: i64| beyond(&day_of(day));
        let days_beyond = || self.attached.iter().filter(|partition| partition.is_day() && beyond(partition)).count();
        let whole = if year < 2000 {
            Partition { name: "logs_past".to_owned(), from: i64::MIN, to: start_of(2000, 1) }
        } else if year >= 2100 {
            Partition { name: "logs_future".to_owned(), from: start_of(2100, 1), to: i64::MAX }
        } else if is_beyond(day) && days_beyond() >= DAYS_BEYOND_MAX {
            let (next_year, next) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
            named(start_of(year, month), start_of(next_year, next))
        } else {
            day_of(day)
        };
        self.fitted(whole, at)
    }

    /// What of `whole` around `at` is free.
    fn fitted(&self, whole: Partition, at: i64) -> Partition {
        let taken = || self.attached.iter().chain(&self.leaving);
        let from = taken().map(|other| other.to).filter(|&to| to <= at).fold(whole.from, i64::max);
        let to = taken().map(|other| other.from).filter(|&from| from > at).fold(whole.to, i64::min);
        if (from, to) == (whole.from, whole.to) { whole } else { named(from, to) }
    }

    fn add(&mut self, partition: Partition) {
        let at = self.attached.partition_point(|other| other.from < partition.from);
        self.attached.insert(at, partition);
    }

    /// Makes what these times need, each transaction so many, and knows of it. How many it made.
    pub async fn make(
        &mut self,
        client: &Client,
        times: &[i64],
        window: Window,
        lock_timeout: std::time::Duration,
    ) -> Result<u64, PostgresError> {
        let mut made = 0;
        let begin = format!("BEGIN; SET LOCAL lock_timeout = {}", lock_timeout.as_millis());
        for times in times.chunks(MADE_AT_ONCE_MAX) {
            client.batch_execute(&begin).await?;
            match self.make_some(client, times, window).await {
                Ok(some) => {
                    client.batch_execute("COMMIT").await?;
                    made += some;
                }
                Err(error) => {
                    // What stands in memory is no longer what is there.
                    self.attached.clear();
                    if !client.is_closed() {
                        let _ = client.batch_execute("ROLLBACK").await;
                    }
                    return Err(error);
                }
            }
        }
        Ok(made)
    }

    async fn make_some(&mut self, client: &Client, times: &[i64], window: Window) -> Result<u64, PostgresError> {
        let mut made = 0;
        client.batch_execute(&format!("SELECT pg_advisory_xact_lock({})", locks::PARTITIONS)).await?;
        // Others may have made some meanwhile.
        *self = Partitions::load(client).await?;
        for &at in times {
            if self.of(at).is_some() {
                continue;
            }
            if let Some(leaving) = self.leaving.iter().find(|other| other.from <= at && at < other.to) {
                let name = &leaving.name;
                return Err(PostgresError::Away(format!("the partition {name} is being detached: upkeep finishes it")));
            }
            let mut partition = self.plan(at, window);
            partition.name = free_name(client, &partition.name).await?;
            client.batch_execute(&statement(&partition)).await?;
            self.add(partition);
            made += 1;
        }
        Ok(made)
    }
}

fn statement(partition: &Partition) -> String {
    let Partition { name, from, to } = partition;
    let bound = |at: i64, none: &str| match at {
        i64::MIN | i64::MAX => none.to_owned(),
        at => {
            let mut text = Vec::new();
            Timestamp::clamped(at).write_rfc3339(&mut text);
            format!("'{}'", String::from_utf8_lossy(&text))
        }
    };
    let (from, to) = (bound(*from, "MINVALUE"), bound(*to, "MAXVALUE"));
    format!(
        "CREATE TABLE {name} (LIKE logs INCLUDING ALL); ALTER TABLE logs ATTACH PARTITION {name} FOR VALUES FROM \
         ({from}) TO ({to})"
    )
}

/// The name, or the same with a number where a detached partition, kept by somebody, has it.
async fn free_name(client: &Client, name: &str) -> Result<String, PostgresError> {
    let asked = client.prepare("SELECT to_regclass($1) IS NULL").await?;
    let mut free = name.to_owned();
    for number in 2.. {
        if client.query_one(&asked, &[&free]).await?.get(0) {
            break;
        }
        free = format!("{name}_{number}");
    }
    Ok(free)
}

fn day_of(day: i64) -> Partition {
    named(day * DAY_MICROS, (day + 1) * DAY_MICROS)
}

fn named(from: i64, to: i64) -> Partition {
    let date = |at: i64| {
        let (year, month, day) = civil_from_days(at.div_euclid(DAY_MICROS));
        let seconds = at.rem_euclid(DAY_MICROS) / 1_000_000;
        let clock = if seconds == 0 { String::new() } else { format!("_{seconds:05}") };
        format!("{year:04}_{month:02}_{day:02}{clock}")
    };
    let name = match (from, to) {
        (i64::MIN, to) => format!("logs_past_to_{}", date(to)),
        (from, i64::MAX) => format!("logs_future_from_{}", date(from)),
        (from, to) if from % DAY_MICROS == 0 && to == from + DAY_MICROS => format!("logs_{}", date(from)),
        (from, to) => format!("logs_{}_to_{}", date(from), date(to)),
    };
    Partition { name, from, to }
}

fn start_of(year: i64, month: i64) -> i64 {
    days_from_civil(year, month, 1) * DAY_MICROS
}

/// Leaves the first and the last time of each day: enough to make what the day lacks, in two rounds at most.
fn thin(times: &mut Vec<i64>) {
    times.sort_unstable();
    let day = |at: i64| at.div_euclid(DAY_MICROS);
    let mut kept: Vec<i64> = Vec::new();
    for &at in times.iter() {
        match kept[..] {
            [.., first, last] if day(first) == day(at) && day(last) == day(at) => *kept.last_mut().expect("two") = at,
            _ => kept.push(at),
        }
    }
    *times = kept;
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::clamped(1_795_132_800_000_000);

    fn at(year: i64, month: i64, day: i64) -> i64 {
        days_from_civil(year, month, day) * DAY_MICROS
    }

    fn plan(known: &Partitions, at: i64) -> (String, i64, i64) {
        let Partition { name, from, to } = known.plan(at, Window::around(NOW, None));
        assert!(from <= at && at < to);
        (name, from, to)
    }

    #[test]
    fn each_time_has_its_partition() {
        let none = Partitions::default();
        let day = at(2026, 11, 20);
        assert_eq!(plan(&none, day + 5), ("logs_2026_11_20".to_owned(), day, day + DAY_MICROS));
        assert_eq!(plan(&none, at(1999, 12, 31)), ("logs_past".to_owned(), i64::MIN, at(2000, 1, 1)));
        assert_eq!(plan(&none, 0).0, "logs_past");
        assert_eq!(plan(&none, at(2100, 1, 1)), ("logs_future".to_owned(), at(2100, 1, 1), i64::MAX));
        assert_eq!(plan(&none, Timestamp::MAX.as_micros()).0, "logs_future");
        assert_eq!(plan(&none, at(2000, 1, 1)).0, "logs_2000_01_01");
        assert_eq!(plan(&none, at(2100, 1, 1) - 1).0, "logs_2099_12_31");
    }

    #[test]
    fn days_far_away_are_bounded() {
        let mut known = Partitions::default();
        let start = at(2010, 3, 10).div_euclid(DAY_MICROS);
        for day in start..start + DAYS_BEYOND_MAX as i64 {
            known.add(day_of(day));
        }
        // What is free of the month, before the days and after them.
        assert_eq!(plan(&known, at(2010, 3, 2)).0, "logs_2010_03_01_to_2010_03_10");
        assert_eq!(plan(&known, at(2012, 12, 7)).0, "logs_2012_12_04_to_2013_01_01");
        assert_eq!(plan(&known, at(2050, 12, 7)).0, "logs_2050_12_01_to_2051_01_01");
        // The live window is not part of it.
        assert_eq!(plan(&known, at(2026, 11, 1)).0, "logs_2026_11_01");
        // A piece that is there takes what belongs into it.
        known.add(known.plan(at(2010, 3, 2), Window::around(NOW, None)));
        assert!(known.of(at(2010, 3, 9)).is_some());
        assert!(known.of(at(2010, 2, 28)).is_none());
    }

    #[test]
    fn partitions_of_others_are_left_room() {
        let mut known = Partitions::default();
        let noon = at(2026, 11, 20) + DAY_MICROS / 2;
        known.add(Partition { name: "theirs".to_owned(), from: noon, to: noon + DAY_MICROS });
        assert_eq!(plan(&known, noon - 1).0, "logs_2026_11_20_to_2026_11_20_43200");
        assert_eq!(plan(&known, noon + DAY_MICROS).0, "logs_2026_11_21_43200_to_2026_11_22");
        assert_eq!(known.of(noon).unwrap().name, "theirs");
        assert_eq!(known.of(noon - 1), None);
    }

    #[test]
    fn a_few_times_stand_for_a_day() {
        let mut times: Vec<i64> = (0..100).map(|i| i * DAY_MICROS / 40).rev().collect();
        thin(&mut times);
        let hour = DAY_MICROS / 40;
        assert_eq!(times, [0, 39 * hour, 40 * hour, 79 * hour, 80 * hour, 99 * hour]);
    }
}
