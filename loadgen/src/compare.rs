//! Two runs side by side. A change is called one only where it is beyond what the runs of either side differ by among
//! themselves; where a side has one run of a scenario, that is not known, and nothing is called.

use std::fmt::Write;

use crate::report::Phase;
use crate::results::Run;

/// Below this a difference is not worth a word, however even the runs are.
const CHANGE_MIN: f64 = 0.02;

/// A figure of a phase, and whether more of it is better.
struct Figure {
    name: &'static str,
    more_is_better: bool,
    of: fn(&Phase) -> Option<f64>,
}

const FIGURES: &[Figure] = &[
    Figure {
        name: "records/s",
        more_is_better: true,
        of: |phase| phase.asked_per_second.is_none().then(|| phase.found_per_second.unwrap_or(phase.per_second)),
    },
    Figure { name: "p50 ms", more_is_better: false, of: |phase| Some(phase.latency_us.p50 as f64 / 1e3) },
    Figure { name: "p99 ms", more_is_better: false, of: |phase| Some(phase.latency_us.p99 as f64 / 1e3) },
    Figure { name: "server CPU s/M", more_is_better: false, of: |phase| phase.server_cpu_seconds_per_million },
    Figure {
        name: "peak MiB",
        more_is_better: false,
        of: |phase| phase.server_peak_bytes.map(|bytes| bytes as f64 / f64::from(1 << 20)),
    },
];

/// What repeated runs of one side gave.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Side {
    mean: f64,
    /// Largest less smallest, as a share of the mean; `None` with one run.
    spread: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Better,
    Worse,
    Same,
    Unknown,
}

/// A table, in Markdown.
pub fn compare(a: &Run, b: &Run) -> String {
    let mut out = format!("A: {} of {}\nB: {} of {}\n\n", a.commit, a.date, b.commit, b.date);
    if a.machine.name != b.machine.name || a.machine.cpu != b.machine.cpu {
        out.push_str("These are different machines: compare shares of ceilings, not figures.\n\n");
    }
    out.push_str("| scenario | figure | A | B | change | noise | |\n|---|---|---|---|---|---|---|\n");
    for (scenario, phase) in phases(a) {
        for figure in FIGURES {
            let (Some(left), Some(right)) =
                (side(a, &scenario, &phase, figure.of), side(b, &scenario, &phase, figure.of))
            else {
                continue;
            };
            let (change, verdict) = judge(left, right, figure.more_is_better);
            let noise = match (left.spread, right.spread) {
                (Some(left), Some(right)) => format!("±{:.1} %", left.max(right) * 100.0),
                _ => "unknown".to_owned(),
            };
            let verdict = match verdict {
                Verdict::Better => "better",
                Verdict::Worse => "WORSE",
                Verdict::Same => "",
                Verdict::Unknown => "run it with --repeat",
            };
            let _ = writeln!(
                out,
                "| {scenario}: {phase} | {} | {:.2} | {:.2} | {:+.1} % | {noise} | {verdict} |",
                figure.name,
                left.mean,
                right.mean,
                change * 100.0
            );
        }
    }
    out
}

/// Scenarios and their phases, each once.
fn phases(run: &Run) -> Vec<(String, String)> {
    let mut seen = Vec::new();
    for report in &run.reports {
        for phase in &report.phases {
            let key = (report.scenario.clone(), phase.name.clone());
            if !seen.contains(&key) {
                seen.push(key);
            }
        }
    }
    seen
}

fn side(run: &Run, scenario: &str, phase: &str, of: fn(&Phase) -> Option<f64>) -> Option<Side> {
    let reports = run.reports.iter().filter(|report| report.scenario == scenario);
    let phases = reports.flat_map(|report| &report.phases).filter(|found| found.name == phase);
    let values: Vec<f64> = phases.filter_map(of).collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let (least, most) = values.iter().fold((f64::MAX, f64::MIN), |(least, most), v| (least.min(*v), most.max(*v)));
    match values.len() {
        0 => None,
        1 => Some(Side { mean, spread: None }),
        _ => Some(Side { mean, spread: Some((most - least) / mean.max(f64::MIN_POSITIVE)) }),
    }
}

fn judge(a: Side, b: Side, more_is_better: bool) -> (f64, Verdict) {
    let change = b.mean / a.mean.max(f64::MIN_POSITIVE) - 1.0;
    let verdict = match (a.spread, b.spread) {
        (Some(left), Some(right)) if change.abs() <= left.max(right).max(CHANGE_MIN) => Verdict::Same,
        (Some(_), Some(_)) if (change > 0.0) == more_is_better => Verdict::Better,
        (Some(_), Some(_)) => Verdict::Worse,
        _ => Verdict::Unknown,
    };
    (change, verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_called_only_beyond_the_noise() {
        let side = |mean, spread| Side { mean, spread };
        let cases = [
            (side(100.0, Some(0.05)), side(110.0, Some(0.01)), true, Verdict::Better),
            (side(100.0, Some(0.05)), side(110.0, Some(0.01)), false, Verdict::Worse),
            (side(100.0, Some(0.05)), side(90.0, Some(0.12)), true, Verdict::Same),
            (side(100.0, Some(0.0)), side(101.0, Some(0.0)), true, Verdict::Same),
            (side(100.0, None), side(200.0, Some(0.0)), true, Verdict::Unknown),
        ];
        for (a, b, more_is_better, expected) in cases {
            assert_eq!(judge(a, b, more_is_better).1, expected, "{a:?} {b:?}");
        }
    }
}
