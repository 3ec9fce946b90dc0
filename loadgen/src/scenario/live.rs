//! The live tail: how soon it shows what was posted, and what it costs.

use std::time::{Duration, Instant};

use super::{Run, ScenarioError, tag};
use crate::drive::{Load, LoadError, Pace, Until, histogram};
use crate::ledger::Ledger;
use crate::live::{Viewer, Watch};
use crate::prepared::{Form, Size};
use crate::report::{Phase, Records, Report, thousands};
use crate::server::Server;

/// What each viewer is shown a second, as batches of [`FED_LINES`].
const FED_PER_SECOND: f64 = 10_000.0;
const FED_LINES: usize = 100;
/// A hundred such requests a second, each of which may wait behind a megabyte of others.
const FED_CONNECTIONS: usize = 16;
const FED_PER_SHARE: usize = 64;
/// The source of these.
const FED: &str = "fed";
const VIEWERS: usize = 20;
/// With and without viewers by turns, the order changed each time, so that a machine that warms up or slows down favours
/// neither.
const VIEWER_TURNS: [usize; 12] = [0, VIEWERS, VIEWERS, 0, 0, VIEWERS, VIEWERS, 0, 0, VIEWERS, VIEWERS, 0];
const VIEWER_RECORDS: u64 = 1_000_000;
/// No turn is to write or tidy files beside another: rows stay in memory, and each turn has a server of its own.
const KEEP_IN_MEMORY: [&str; 3] = ["--memory-bytes-max=3GiB", "--flush-bytes=2GiB", "--flush-age=1h"];
const TAIL_CONNECTIONS: usize = 16;
const TAIL_PER_SECOND: f64 = 1_000.0;
/// The last frames come a moment after the last answer.
const READ_BYTES: usize = 64 * 1024;
const LAST_FRAMES_MAX: Duration = Duration::from_secs(2);

impl Run<'_> {
    pub(super) fn tail_latency(&mut self) -> Result<(), ScenarioError> {
        let connections = self.options.connections.unwrap_or(TAIL_CONNECTIONS);
        let rate = self.options.rate.unwrap_or(TAIL_PER_SECOND);
        let mut prepared = self.singles(self.server.target.fast(), connections);
        self.ceilings(&prepared, Some(connections))?;
        let watch = Watch::Latency { tag: self.ledger.tag, rate, began: None, latencies: Box::new(histogram()) };
        let mut viewers = [Viewer::open(&self.server.authority, "/ws/logs", watch)?];
        let load = Load::new(&mut prepared, connections, Pace::Open(rate), Until::Time(self.options.time));
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

    /// The same load again and again: batches as fast as they are taken, beside them the records that viewers are fed
    /// with; without viewers and with them by turns.
    pub(super) fn viewers(&mut self) -> Result<(), ScenarioError> {
        let connections = self.options.connections.unwrap_or(8);
        self.ceilings(&self.batches(connections), None)?;
        let mut turns: Vec<(usize, Phase)> = Vec::new();
        let mut records = Records::default();
        if self.options.url.is_some() {
            self.report.note("all turns on one server: its files and their upkeep are in the figures".to_owned());
        }
        // The first is not counted: what it meets is a machine that has rested.
        for (turn, count) in [0].into_iter().chain(VIEWER_TURNS).enumerate() {
            let fresh = match self.options.url {
                Some(_) => None,
                None => {
                    let mut options = self.options.clone();
                    options.out = options.out.join("viewers");
                    options.server_arguments.extend(KEEP_IN_MEMORY.map(str::to_owned));
                    Some(options.start_server()?)
                }
            };
            let server: &Server = fresh.as_ref().unwrap_or(self.server);
            let report = Report::new(&self.report.scenario, &self.report.title);
            let mut run = Run { server, options: self.options, ledger: Ledger::new(tag()), report, waits: true };
            let phase = run.viewers_turn(count, connections);
            if self.options.check {
                run.check();
            }
            self.report.broke = self.report.broke.take().or(run.report.broke);
            if let Some(of) = run.report.records {
                records.add(&of);
            }
            let phase = phase?;
            if turn > 0 {
                if turn <= 2 {
                    self.report.notes.extend(run.report.notes);
                }
                turns.push((count, phase));
            }
        }
        let _ = std::fs::remove_dir_all(self.options.out.join("viewers"));
        self.report.records = self.options.check.then_some(records);
        let cpu = |phase: &Phase| phase.server_cpu_seconds_per_million.unwrap_or(f64::NAN);
        let rate = |phase: &Phase| phase.per_second;
        for (what, of) in [("server CPU s a million", &cpu as &dyn Fn(&Phase) -> f64), ("records/s", &rate)] {
            let side = |watched: bool| {
                let of_side = turns.iter().filter(|(count, _)| (*count > 0) == watched);
                let mut values: Vec<f64> = of_side.map(|(_, phase)| of(phase)).collect();
                values.sort_by(f64::total_cmp);
                values
            };
            let (alone, watched) = (side(false), side(true));
            self.report.note(compared(what, &alone, &watched));
        }
        self.report.note(
            "reading what viewers are shown is the client's CPU, which on a machine that both share the server would have"
                .to_owned(),
        );
        for count in [0, VIEWERS] {
            let mut of_side: Vec<&Phase> =
                turns.iter().filter(|(of, _)| *of == count).map(|(_, phase)| phase).collect();
            of_side.sort_by(|a, b| cpu(a).total_cmp(&cpu(b)));
            if let Some(median) = of_side.get(of_side.len() / 2) {
                let phase = Phase {
                    name: format!("{} (of {} turns the median)", median.name, of_side.len()),
                    ..(*median).clone()
                };
                self.report.phases.push(phase);
            }
        }
        Ok(())
    }

    fn viewers_turn(&mut self, count: usize, connections: usize) -> Result<Phase, ScenarioError> {
        let dialect = self.server.target.batch();
        let mut batches = self.batches(connections);
        let form = Form { source: Some(FED), ..self.form(&dialect, Size::Lines(FED_LINES)) };
        let mut fed = self.prepared(&form, FED_CONNECTIONS, FED_PER_SHARE);
        let mut viewers = Vec::new();
        for _ in 0..count {
            let target = format!("/ws/logs?source={FED}");
            viewers.push(Viewer::open(&self.server.authority, &target, Watch::Count)?);
        }
        let until = Until::Records(self.options.records.unwrap_or(VIEWER_RECORDS));
        let feed = Pace::Open(FED_PER_SECOND / FED_LINES as f64);
        let mut loads = [
            Load::new(&mut batches, connections, Pace::Closed, until).answered(dialect.answers),
            Load::new(&mut fed, FED_CONNECTIONS, feed, Until::OthersEnd).answered(dialect.answers),
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
        Ok(phase)
    }
}

/// Medians of two sorted sides, and whether they differ by more than each side does by itself.
fn compared(what: &str, alone: &[f64], watched: &[f64]) -> String {
    let median = |values: &[f64]| values.get(values.len() / 2).copied().unwrap_or(f64::NAN);
    let spread = |values: &[f64]| match values {
        [least, .., most] => (most - least) / median(values),
        _ => f64::NAN,
    };
    let change = median(watched) / median(alone) - 1.0;
    let noise = spread(alone).max(spread(watched));
    let verdict = if change.abs() > noise { "" } else { ", which is within the spread: no difference was shown" };
    let text = |value: f64| if value >= 1_000.0 { thousands(value) } else { format!("{value:.2}") };
    let range = |values: &[f64]| match values {
        [least, .., most] => format!("{} ({} to {})", text(median(values)), text(*least), text(*most)),
        _ => "unknown".to_owned(),
    };
    format!(
        "{VIEWERS} viewers, {what}: {} without, {} with: {:+.1} %{verdict}",
        range(alone),
        range(watched),
        change * 100.0
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_within_the_spread_is_called_none() {
        let text = compared("CPU", &[1.0, 1.1, 1.2], &[1.1, 1.15, 1.2]);
        assert!(text.contains("+4.5 %") && text.contains("no difference was shown"), "{text}");
        let text = compared("CPU", &[1.0, 1.01, 1.02], &[1.2, 1.21, 1.22]);
        assert!(text.ends_with("+19.8 %"), "{text}");
    }
}
