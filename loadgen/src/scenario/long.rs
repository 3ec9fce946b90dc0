//! What comes later: an empty queue after a burst, and a server that has run for a while.

use std::time::{Duration, Instant};

use super::{LOOK_AGAIN, Run, ScenarioError};
use crate::drive::{Load, Pace, Until};
use crate::prepared::Size;
use crate::report::{Phase, thousands};

const DRAIN_CONNECTIONS: usize = 8;
const DRAIN_RECORDS: u64 = 1_000_000;
/// The queue is given so long: rows that wait for no more than their age are written after it.
const EMPTY_MAX: Duration = Duration::from_secs(600);

/// For `drain`: what is measured is work, not how long rows may wait before it is done.
pub(super) const FLUSH_SOON: [&str; 1] = ["--flush-age=1s"];

const SOAK_CONNECTIONS: usize = 16;
const SOAK_LINES: usize = 1_000;
/// 30,000 records a second.
const SOAK_PER_SECOND: f64 = 30.0;
const SOAK_PER_SHARE: usize = 8;

impl Run<'_> {
    pub(super) fn drain(&mut self) -> Result<(), ScenarioError> {
        let connections = self.options.connections.unwrap_or(DRAIN_CONNECTIONS);
        let mut prepared = self.batches(connections);
        let until = Until::Records(self.options.records.unwrap_or(DRAIN_RECORDS));
        let answers = self.server.target.batch().answers;
        let load = Load::new(&mut prepared, connections, Pace::Closed, until).answered(answers);
        let cpu = self.server.cpu();
        let began = Instant::now();
        let (outcomes, around) = self.measured(&mut [load], &mut [])?;
        self.report.phases.push(Phase::new("the burst", connections, None, &outcomes[0], &around));
        let answered = Instant::now();
        let mut deepest = 0;
        let empty = loop {
            let depth = self.server.queue_depth()?;
            deepest = deepest.max(depth);
            if depth == 0 {
                break true;
            }
            if answered.elapsed() > EMPTY_MAX {
                break false;
            }
            std::thread::sleep(LOOK_AGAIN * 10);
        };
        let (late, whole) = (answered.elapsed().as_secs_f64(), began.elapsed().as_secs_f64());
        let rate = thousands(around.acknowledged as f64 / whole);
        let cpu = self.server.cpu().zip(cpu).map(|(after, before)| after.saturating_sub(before).as_secs_f64());
        let cpu = cpu.map_or(String::new(), |cpu| {
            format!(", {:.2} CPU s a million from first to last", cpu * 1e6 / around.acknowledged.max(1) as f64)
        });
        self.report.note(match empty {
            true => format!(
                "the queue was empty {late:.1} s after the burst ({deepest} batches deep then): {rate}/s in all{cpu}"
            ),
            false => format!("after {} s the queue still held {deepest} batches", EMPTY_MAX.as_secs()),
        });
        Ok(())
    }

    pub(super) fn soak(&mut self) -> Result<(), ScenarioError> {
        let connections = self.options.connections.unwrap_or(SOAK_CONNECTIONS);
        let rate = self.options.rate.unwrap_or(SOAK_PER_SECOND);
        let dialect = self.server.target.batch();
        let mut prepared = self.prepared(&self.form(&dialect, Size::Lines(SOAK_LINES)), connections, SOAK_PER_SHARE);
        self.ceilings(&prepared, None)?;
        let until = Until::Time(self.options.time + self.options.warm_up);
        let load = Load::new(&mut prepared, connections, Pace::Open(rate), until).answered(dialect.answers);
        let load = Load { warm_up: self.options.warm_up, ..load };
        let (outcomes, around) = self.measured(&mut [load], &mut [])?;
        let phase = Phase::new("1,000 records a request", connections, Some(rate), &outcomes[0], &around);
        // Two fifths: what is allocated once has been by then, and enough is left to grow in.
        let settled = phase.samples.get(phase.samples.len() * 2 / 5);
        if let (Some(settled), Some(last)) = (settled, phase.samples.last()) {
            let mib = |bytes: u64| bytes as f64 / (1024.0 * 1024.0);
            self.report.note(format!(
                "memory {:.0} MiB after {:.0} s, {:.0} MiB after {:.0} s",
                mib(settled.memory_bytes),
                settled.seconds,
                mib(last.memory_bytes),
                last.seconds
            ));
        }
        self.report.phases.push(phase.without_found());
        Ok(())
    }
}
