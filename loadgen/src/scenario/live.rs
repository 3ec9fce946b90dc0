//! The live tail: how soon it shows what was posted, and what it costs.

use std::time::{Duration, Instant};

use super::{Run, ScenarioError};
use crate::drive::{Load, LoadError, Pace, Until, histogram};
use crate::live::{Viewer, Watch};
use crate::prepared::{Form, Size};
use crate::report::{Phase, thousands};

/// What each viewer is shown a second, as batches of [`FED_LINES`].
const FED_PER_SECOND: f64 = 10_000.0;
const FED_LINES: usize = 100;
/// A hundred such requests a second, each of which may wait behind a megabyte of others.
const FED_CONNECTIONS: usize = 16;
const FED_PER_SHARE: usize = 64;
/// The source of these.
const FED: &str = "fed";
const VIEWERS: usize = 20;
/// With and without viewers by turns, so that a machine that warms up or slows down favours neither.
const VIEWER_TURNS: [usize; 4] = [0, VIEWERS, VIEWERS, 0];
const TAIL_CONNECTIONS: usize = 16;
const TAIL_PER_SECOND: f64 = 1_000.0;
/// The last frames come a moment after the last answer.
const READ_BYTES: usize = 64 * 1024;
const LAST_FRAMES_MAX: Duration = Duration::from_secs(2);

impl Run<'_> {
    pub(super) fn tail_latency(&mut self) -> Result<(), ScenarioError> {
        let connections = self.options.connections.unwrap_or(TAIL_CONNECTIONS);
        let rate = self.options.rate.unwrap_or(TAIL_PER_SECOND);
        let mut prepared = self.singles(self.options.target.fast(), connections);
        self.ceilings(&prepared, Some(connections))?;
        let watch = Watch::Latency { tag: self.ledger.tag, rate, began: None, latencies: Box::new(histogram()) };
        let mut viewers = [Viewer::open(&self.server.authority, "/ws/logs", watch)?];
        let load = Load {
            prepared: &mut prepared,
            connections,
            pace: Pace::Open(rate),
            until: Until::Time(self.options.time),
            warm_up: Duration::ZERO,
            counts_accepted: false,
        };
        let (outcomes, around) = self.measured(&mut [load], &mut viewers)?;
        let [viewer] = &mut viewers;
        wait_for(viewer, self.ledger.acknowledged)?;
        let posted = Phase::new("post, until it is acknowledged", connections, Some(rate), &outcomes[0], &around)
            .without_found();
        let mut seen = posted.clone();
        seen.name = "post, until a viewer has it".to_owned();
        seen.set_latencies(&viewer.latencies());
        let Viewer { frames, bytes, seen: count, skipped, .. } = viewer;
        self.report
            .notes
            .push(format!("the viewer saw {count} records in {frames} frames, {bytes} bytes; {skipped} were skipped"));
        self.report.phases.extend([posted, seen]);
        Ok(())
    }

    /// The same load twice: batches as fast as they are taken, beside them the records that viewers are fed with; once
    /// without viewers, once with them.
    pub(super) fn viewers(&mut self) -> Result<(), ScenarioError> {
        let connections = self.options.connections.unwrap_or(8);
        let records = self.options.records.unwrap_or(2_000_000);
        let mut batches = self.batches(connections);
        let dialect = self.options.target.batch();
        let form = Form { source: Some(FED), ..dialect.form(&self.server.authority, Size::Lines(FED_LINES)) };
        let mut fed = self.prepared(&form, FED_CONNECTIONS, FED_PER_SHARE);
        self.ceilings(&batches, None)?;
        for (turn, count) in [0].into_iter().chain(VIEWER_TURNS).enumerate() {
            let mut viewers = Vec::new();
            for _ in 0..count {
                let target = format!("/ws/logs?source={FED}");
                viewers.push(Viewer::open(&self.server.authority, &target, Watch::Count)?);
            }
            let mut loads = [
                Load {
                    prepared: &mut batches,
                    connections,
                    pace: Pace::Closed,
                    until: Until::Records(records),
                    warm_up: Duration::ZERO,
                    counts_accepted: true,
                },
                Load {
                    prepared: &mut fed,
                    connections: FED_CONNECTIONS,
                    pace: Pace::Open(FED_PER_SECOND / FED_LINES as f64),
                    until: Until::OthersEnd,
                    warm_up: Duration::ZERO,
                    counts_accepted: true,
                },
            ];
            let (outcomes, around) = self.measured(&mut loads, &mut viewers)?;
            let name = format!("1 MiB of NDJSON a request, {count} viewers");
            let phase = Phase::new(&name, connections, None, &outcomes[0], &around).without_found();
            for viewer in &mut viewers {
                wait_for(viewer, outcomes[1].records)?;
            }
            if count > 0 {
                let mean = |of: fn(&Viewer) -> u64| viewers.iter().map(of).sum::<u64>() as f64 / count as f64;
                self.report.note(format!(
                    "{} records a second were for the viewers; of {} they saw {} each on average and were told of {} skipped",
                    thousands(outcomes[1].records as f64 / phase.seconds),
                    thousands(outcomes[1].records as f64),
                    thousands(mean(|viewer| viewer.seen)),
                    thousands(mean(|viewer| viewer.skipped)),
                ));
            }
            // The first fills the store: from then on every turn has files to be tidied beside it.
            if turn > 0 {
                self.report.phases.push(phase);
            }
        }
        let mean = |watched: bool, of: fn(&Phase) -> f64| {
            let turns = self.report.phases.iter().zip(VIEWER_TURNS);
            let values: Vec<f64> =
                turns.filter(|(_, count)| (*count > 0) == watched).map(|(phase, _)| of(phase)).collect();
            values.iter().sum::<f64>() / values.len().max(1) as f64
        };
        let rate = |phase: &Phase| phase.per_second;
        let cpu = |phase: &Phase| phase.server_cpu_seconds_per_million.unwrap_or(f64::NAN);
        self.report.note(format!(
            "{VIEWERS} viewers: {:+.1} % rate, {:+.1} % server CPU a million (reading what they are shown is in the \
             client's CPU, which the server would otherwise have)",
            (mean(true, rate) / mean(false, rate) - 1.0) * 100.0,
            (mean(true, cpu) / mean(false, cpu) - 1.0) * 100.0,
        ));
        Ok(())
    }
}

fn wait_for(viewer: &mut Viewer, records: u64) -> Result<(), LoadError> {
    let began = Instant::now();
    let mut scratch = vec![0; READ_BYTES];
    while viewer.seen + viewer.skipped < records && began.elapsed() < LAST_FRAMES_MAX {
        viewer.read(&mut scratch)?;
        std::thread::sleep(Duration::from_micros(100));
    }
    Ok(())
}
