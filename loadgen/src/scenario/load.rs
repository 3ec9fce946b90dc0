//! How much, and how fast: batches, single records, the seed's own test, and the rate at which latency gives way.

use std::time::Duration;

use super::{Run, SINGLES_PER_SHARE, ScenarioError};
use crate::drive::{Load, Pace, Until};
use crate::prepared::{Prepared, Size};
use crate::report::{Phase, thousands};
use crate::target::{Answers, Dialect};

const BATCH_CONNECTIONS: usize = 8;
const BATCH_RECORDS: u64 = 2_000_000;
const SINGLE_CONNECTIONS: usize = 64;
/// The open loop runs at this share of what the closed one reached, unless a rate is given.
const OPEN_SHARE: f64 = 0.75;
/// The seed's own test.
const SEED_RECORDS: u64 = 1_000;
const SEED_CLIENTS: usize = 10;
const SEED_CLAIM: &str = "568 logs a second at 3 ms";
/// `saturate` halves the span of rates so often: to one part in 64.
const SATURATE_STEPS: usize = 6;
/// One hiccup of the machine is not the server's: a rate that fails is tried once more.
const SATURATE_TRIES: usize = 2;
const STEP: &str = " a second";
/// Promised: what was acknowledged is found within this.
const FOUND_LATE_MS: f64 = 100.0;
const SATURATE_STEP_MAX: Duration = Duration::from_secs(5);

impl Run<'_> {
    pub(super) fn batch(&mut self) -> Result<(), ScenarioError> {
        let connections = self.options.connections.unwrap_or(BATCH_CONNECTIONS);
        let mut prepared = self.batches(connections);
        self.ceilings(&prepared, None)?;
        let dialect = self.server.target.batch();
        let until = Until::Records(self.options.records.unwrap_or(BATCH_RECORDS));
        let load = Load::new(&mut prepared, connections, self.options.rate.map_or(Pace::Closed, Pace::Open), until);
        let (outcomes, around) = self.measured(&mut [load.answered(dialect.answers)], &mut [])?;
        if dialect.answers == Answers::Never {
            self.report.note(
                "there are no answers: a record counts as sent, and its latency ends, once the kernel has it"
                    .to_owned(),
            );
        }
        let what = match dialect.size {
            Size::Bytes(_) if dialect.is_json() => "1 MiB of NDJSON a request".to_owned(),
            Size::Bytes(bytes) => format!("{} KiB a request", bytes / 1024),
            Size::Lines(lines) => format!("{} records a request", thousands(lines as f64)),
        };
        let mut phase = Phase::new(&what, connections, self.options.rate, &outcomes[0], &around);
        if let Some(ceilings) = &self.report.ceilings {
            let rate = phase.found_per_second.unwrap_or(phase.per_second);
            phase.shares = vec![
                ("loopback".to_owned(), rate / ceilings.loopback_records_per_second),
                ("a sonic-rs walk on one core".to_owned(), rate / ceilings.walk_records_per_second),
            ];
            for (what, ceiling, rate) in [
                ("XADD of the same blocks", ceilings.xadd_records_per_second, phase.per_second),
                ("two \\copy of the same rows", ceilings.copy_records_per_second, rate),
            ] {
                phase.shares.extend(ceiling.map(|ceiling| (what.to_owned(), rate / ceiling)));
            }
        }
        self.report.phases.push(phase);
        Ok(())
    }

    /// First as fast as answers come, then at a set rate below that.
    pub(super) fn single(&mut self, dialect: Dialect) -> Result<(), ScenarioError> {
        let connections = self.options.connections.unwrap_or(SINGLE_CONNECTIONS);
        let mut prepared = self.singles(dialect, connections);
        self.ceilings(&prepared, Some(connections))?;
        let until = Until::Time(self.options.time + self.options.warm_up);
        self.single_phase("closed loop", &mut prepared, connections, Pace::Closed, until)?;
        let reached = self.report.phases.last().map_or(0.0, |phase| phase.per_second);
        let rate = self.options.rate.unwrap_or((reached * OPEN_SHARE).round()).max(1.0);
        self.single_phase("open loop", &mut prepared, connections, Pace::Open(rate), until)?;
        Ok(())
    }

    pub(super) fn seed_concurrent(&mut self) -> Result<(), ScenarioError> {
        let connections = self.options.connections.unwrap_or(SEED_CLIENTS);
        let mut prepared = self.singles(self.server.target.fast(), connections);
        self.ceilings(&prepared, Some(connections))?;
        let until = Until::Records(self.options.records.unwrap_or(SEED_RECORDS));
        self.single_phase("1,000 logs, 10 clients", &mut prepared, connections, Pace::Closed, until)?;
        self.report.note(format!("the seed claims {SEED_CLAIM}"));
        Ok(())
    }

    /// Halves the span between a rate that holds and one that does not.
    pub(super) fn saturate(&mut self) -> Result<(), ScenarioError> {
        let connections = self.options.connections.unwrap_or(SINGLE_CONNECTIONS);
        let mut prepared = self.singles(self.server.target.fast(), connections);
        self.ceilings(&prepared, Some(connections))?;
        let until = Until::Time(self.options.time.min(SATURATE_STEP_MAX));
        self.single_phase("closed loop", &mut prepared, connections, Pace::Closed, until)?;
        let bound = self.options.p99_max;
        let (mut holds, mut fails) = (0.0, self.report.phases[0].per_second * 1.25);
        for _ in 0..SATURATE_STEPS {
            let rate = f64::midpoint(holds, fails).round().max(1.0);
            let name = format!("{}{STEP}", thousands(rate));
            let mut kept = false;
            for _ in 0..SATURATE_TRIES {
                self.single_phase(&name, &mut prepared, connections, Pace::Open(rate), until)?;
                let Some(phase) = self.report.phases.last() else { break };
                kept =
                    phase.latency_us.p99 <= bound.as_micros() as u64 && phase.unsent == 0 && phase.refusals.is_empty();
                if kept {
                    break;
                }
            }
            if kept { holds = rate } else { fails = rate }
        }
        self.report.note(match holds > 0.0 {
            true => {
                format!("highest rate with p99 under {} ms: {} requests a second", bound.as_millis(), thousands(holds))
            }
            false => format!("p99 stayed under {} ms at none of these rates", bound.as_millis()),
        });
        Ok(())
    }

    pub(super) fn singles(&self, dialect: Dialect, connections: usize) -> Prepared {
        self.prepared(&self.form(&dialect, Size::Lines(1)), connections, SINGLES_PER_SHARE)
    }

    fn single_phase(
        &mut self,
        name: &str,
        prepared: &mut Prepared,
        connections: usize,
        pace: Pace,
        until: Until,
    ) -> Result<(), ScenarioError> {
        let warm_up = if matches!(until, Until::Time(_)) { self.options.warm_up } else { Duration::ZERO };
        let answers = match self.server.target.fast().answers {
            Answers::Accepted => Answers::Status,
            other => other,
        };
        let load = Load { prepared, connections, pace, until, warm_up, answers, pipeline: self.options.pipeline };
        let (outcomes, around) = self.measured(&mut [load], &mut [])?;
        let asked = if let Pace::Open(rate) = pace { Some(rate) } else { None };
        let mut phase = Phase::new(name, connections, asked, &outcomes[0], &around).without_found();
        if let Some(found) = around.found {
            let late = found.saturating_sub(around.wall).as_secs_f64() * 1e3;
            // The steps of `saturate` are many, and say it only where it is late.
            if late > FOUND_LATE_MS || !name.ends_with(STEP) {
                self.report.note(format!("{name}: a query found all of it {late:.0} ms after the last answer"));
            }
        }
        if let Some(ceilings) = &self.report.ceilings
            && let Some(null) = ceilings.null_requests_per_second
        {
            phase.shares = vec![("a server that keeps nothing".to_owned(), phase.per_second / null)];
            phase.sync_times = Some(phase.latency_us.p50 as f64 / ceilings.sync_4k_us.p50.max(1) as f64);
        }
        self.report.phases.push(phase);
        Ok(())
    }
}
