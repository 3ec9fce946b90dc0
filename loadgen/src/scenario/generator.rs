//! This tool itself: what it can send at most, and what a request costs it. What it sends goes to a socket that counts
//! requests, answers them and keeps nothing.

use std::time::Duration;

use super::{Run, SINGLES_PER_SHARE, ScenarioError};
use crate::ceiling::Null;
use crate::drive::{Load, LoadError, Pace, Until, drive};
use crate::ledger::Ledger;
use crate::prepared::Size;
use crate::process::own_cpu;
use crate::report::{Around, Phase, thousands};

const BATCH_CONNECTIONS: usize = 8;
const SINGLE_CONNECTIONS: usize = 64;
const PIPELINE: usize = 32;
/// What is promised: a client that needs more may be what is measured.
const BATCH_PER_CPU_SECOND_MIN: f64 = 2_000_000.0;
const SINGLE_CPU_US_MAX: f64 = 8.0;
const PIPELINED_PER_SECOND_MIN: f64 = 400_000.0;

impl Run<'_> {
    pub(super) fn generator(&mut self) -> Result<(), ScenarioError> {
        let (batch, fast) = (self.server.target.batch(), self.server.target.fast());
        let of_batches = self.generator_phase("batches", &batch, batch.size, BATCH_CONNECTIONS, 1)?;
        let of_singles = self.generator_phase("one record a request", &fast, Size::Lines(1), SINGLE_CONNECTIONS, 1)?;
        let name = format!("one record a request, {PIPELINE} at once on a connection");
        let of_pipelined = self.generator_phase(&name, &fast, Size::Lines(1), SINGLE_CONNECTIONS, PIPELINE)?;

        let per_cpu_second = 1e6 / of_batches.client_cpu_seconds_per_million.max(1e-9);
        let per_single = of_singles.client_cpu_seconds_per_million;
        let missed = |is_kept: bool| if is_kept { "" } else { " MISSED" };
        self.report.note(format!(
            "batches: {} records a CPU second of the client (at least {} wanted{})",
            thousands(per_cpu_second),
            thousands(BATCH_PER_CPU_SECOND_MIN),
            missed(per_cpu_second >= BATCH_PER_CPU_SECOND_MIN)
        ));
        self.report.note(format!(
            "single requests: {per_single:.2} µs of the client's CPU each (at most {SINGLE_CPU_US_MAX} wanted{})",
            missed(per_single <= SINGLE_CPU_US_MAX)
        ));
        self.report.note(format!(
            "pipelined: {} requests a second, {:.2} µs each (at least {} wanted{})",
            thousands(of_pipelined.per_second),
            of_pipelined.client_cpu_seconds_per_million,
            thousands(PIPELINED_PER_SECOND_MIN),
            missed(of_pipelined.per_second >= PIPELINED_PER_SECOND_MIN)
        ));
        self.report.phases.extend([of_batches, of_singles, of_pipelined]);
        Ok(())
    }

    fn generator_phase(
        &self,
        name: &str,
        dialect: &crate::target::Dialect,
        size: Size,
        connections: usize,
        pipeline: usize,
    ) -> Result<Phase, ScenarioError> {
        let connections = self.options.connections.unwrap_or(connections);
        let null = Null::start(connections).map_err(LoadError::System)?;
        let form = dialect.form(&null.authority, size);
        let per_share = if matches!(size, Size::Lines(1)) { SINGLES_PER_SHARE } else { super::BATCHES_PER_SHARE };
        let mut prepared = self.prepared(&form, connections, per_share);
        let load = Load::new(&mut prepared, connections, Pace::Closed, Until::Time(self.options.time));
        let load = Load { pipeline, warm_up: Duration::ZERO, ..load };
        let (cpu, began) = (own_cpu(), std::time::Instant::now());
        let mut ledger = Ledger::new(0);
        let (outcomes, result) = drive(&null.authority, &mut [load], &mut [], &mut ledger);
        result?;
        let around = Around {
            client_cpu: own_cpu().saturating_sub(cpu),
            wall: began.elapsed(),
            acknowledged: ledger.acknowledged,
            ..Around::default()
        };
        Ok(Phase { is_of_the_client: true, ..Phase::new(name, connections, None, &outcomes[0], &around) })
    }
}
