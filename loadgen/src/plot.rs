//! The plots of a run, as SVG.

use std::error::Error;
use std::ops::Range;

use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

use crate::peers::Peers;
use crate::report::{Phase, Report, ms, thousands};
use crate::results::Run;

const SIZE: (u32, u32) = (860, 440);
const MARGIN: u32 = 12;
const LABELS: u32 = 64;
const FONT: (&str, u32) = ("sans-serif", 14);
const CAPTION: (&str, u32) = ("sans-serif", 18);
/// More lines than this cannot be told apart.
const SERIES_MAX: usize = 9;
/// A timeline of fewer points says nothing.
const POINTS_MIN: usize = 3;

type Drawn = Result<String, Box<dyn Error>>;
type Series = Vec<(String, Vec<(f64, f64)>)>;

/// File name, title and content of each.
pub fn all(run: &Run) -> Result<Vec<(String, String, String)>, String> {
    let mut plots = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for report in &run.reports {
        // Of repeated runs the first is shown; the tables have all of them.
        if seen.contains(&report.scenario.as_str()) {
            continue;
        }
        seen.push(&report.scenario);
        let drawn = [
            ("latency", "latency spectrum", latency(report)),
            ("rate", "records a second over time, and p99", over_time(report)),
            ("memory", "memory of the server over time", memory(report)),
            ("p99", "p99 by rate", p99_by_rate(report)),
        ];
        for (kind, what, svg) in drawn {
            if let Some(svg) = svg.map_err(|error| error.to_string())? {
                let title = format!("{}: {what}", report.scenario);
                plots.push((format!("{}-{kind}.svg", report.scenario), title, svg));
            }
        }
    }
    let mut all_bars = vec![("cpu.svg", "server CPU seconds a million records", cpu(&run.reports))];
    if let Some(peers) = &run.peers {
        all_bars.extend([
            ("peers-batch-cpu.svg", "many records at a time: CPU seconds a million", peers_cpu(peers, true)),
            ("peers-single-cpu.svg", "one record a request: CPU seconds a million", peers_cpu(peers, false)),
        ]);
    }
    for (file, title, values) in all_bars {
        if let Some(svg) = bars(title, &values).map_err(|error| error.to_string())? {
            plots.push((file.to_owned(), title.to_owned(), svg));
        }
    }
    Ok(plots)
}

fn latency(report: &Report) -> Result<Option<String>, Box<dyn Error>> {
    let series: Series = report
        .phases
        .iter()
        .filter(|phase| phase.requests > 0 && phase.latency_us.max > 0)
        .map(|phase| {
            // Nines: 0 is the least, 1 is p90, 2 is p99.
            let points = phase.spectrum.iter().filter(|(quantile, _)| *quantile < 1.0);
            (phase.name.clone(), points.map(|&(q, us)| (-(1.0 - q).log10(), us.max(1) as f64 / 1e3)).collect())
        })
        .take(SERIES_MAX)
        .collect();
    if series.is_empty() {
        return Ok(None);
    }
    let (x, y) = (0.0..top(&series, |point| point.0), bottom(&series)..top(&series, |point| point.1));
    let nines = |x: &f64| match (x.round() as i64, (x - x.round()).abs() < 1e-6) {
        (0, true) => "p0".to_owned(),
        (1, true) => "p90".to_owned(),
        (2, true) => "p99".to_owned(),
        (n @ 3..=9, true) => format!("p99.{}", "9".repeat(n as usize - 2)),
        _ => String::new(),
    };
    let ticks = x.end.floor() as usize + 1;
    let title = format!("{}: latency, ms", report.scenario);
    lines(&title, x, y.log_scale(), ticks, &nines, &|y| ms_of(*y), &series).map(Some)
}

fn over_time(report: &Report) -> Result<Option<String>, Box<dyn Error>> {
    let timed: Vec<&Phase> = report.phases.iter().filter(|phase| phase.timeline.len() >= POINTS_MIN).collect();
    if timed.is_empty() {
        return Ok(None);
    }
    let of = |value: fn(&crate::report::Second) -> f64| -> Series {
        let series = timed.iter().take(SERIES_MAX).map(|phase| {
            let points = phase.timeline.iter().enumerate().map(|(second, point)| (second as f64, value(point)));
            (phase.name.clone(), points.collect())
        });
        series.collect()
    };
    let (rates, p99) = (of(|second| second.records as f64), of(|second| second.p99_us.max(1) as f64 / 1e3));
    let x = 0.0..top(&rates, |point| point.0);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let (upper, lower) = root.split_vertically(SIZE.1 / 2);
        let title = format!("{}: records a second", report.scenario);
        let y = 0.0..top(&rates, |point| point.1);
        draw_lines(&upper, &title, x.clone(), y, 10, &seconds, &|y| thousands(*y), &rates, true)?;
        let y = (bottom(&p99)..top(&p99, |point| point.1)).log_scale();
        draw_lines(&lower, "p99, ms", x, y, 10, &seconds, &|y| ms_of(*y), &p99, false)?;
        root.present()?;
    }
    Ok(Some(svg))
}

fn memory(report: &Report) -> Result<Option<String>, Box<dyn Error>> {
    let series: Series = report
        .phases
        .iter()
        .filter(|phase| phase.samples.len() >= POINTS_MIN)
        .map(|phase| {
            let points = phase.samples.iter().map(|s| (s.seconds, s.memory_bytes as f64 / f64::from(1 << 20)));
            (phase.name.clone(), points.collect())
        })
        .take(SERIES_MAX)
        .collect();
    if series.is_empty() {
        return Ok(None);
    }
    let (x, y) = (0.0..top(&series, |point| point.0), 0.0..top(&series, |point| point.1));
    let title = format!("{}: memory of the server, MiB", report.scenario);
    lines(&title, x, y, 10, &seconds, &|y| thousands(*y), &series).map(Some)
}

fn p99_by_rate(report: &Report) -> Result<Option<String>, Box<dyn Error>> {
    let asked = report.phases.iter().filter_map(|phase| Some((phase.asked_per_second?, phase)));
    let mut points: Vec<(f64, f64)> =
        asked.map(|(rate, phase)| (rate, phase.latency_us.p99.max(1) as f64 / 1e3)).collect();
    if points.len() < POINTS_MIN {
        return Ok(None);
    }
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let series = vec![("p99".to_owned(), points)];
    let (x, y) = (0.0..top(&series, |point| point.0), bottom(&series)..top(&series, |point| point.1));
    let title = format!("{}: p99 in ms by requests a second", report.scenario);
    lines(&title, x, y.log_scale(), 8, &|x| thousands(*x), &|y| ms_of(*y), &series).map(Some)
}

/// A bar for the first phase of each scenario.
fn cpu(reports: &[Report]) -> Vec<(String, f64)> {
    let mut found: Vec<(String, f64)> = Vec::new();
    for report in reports {
        let cpu = report.phases.first().and_then(|phase| phase.server_cpu_seconds_per_million);
        if let (Some(cpu), false) = (cpu, found.iter().any(|(name, _)| *name == report.scenario)) {
            found.push((report.scenario.clone(), cpu));
        }
    }
    found
}

/// A bar for each peer's work of one kind: many records at a time, or one.
fn peers_cpu(peers: &Peers, is_batch: bool) -> Vec<(String, f64)> {
    let figures = peers.figures.iter().filter(|figures| figures.is_batch == is_batch);
    figures.filter_map(|of| Some((format!("{}, {}:", of.peer, of.work), of.cpu_seconds_per_million?))).collect()
}

/// The longest is the dearest.
fn bars(title: &str, bars: &[(String, f64)]) -> Result<Option<String>, Box<dyn Error>> {
    let most = bars.iter().map(|(_, cpu)| *cpu).fold(0.0, f64::max);
    if bars.is_empty() || most <= 0.0 {
        return Ok(None);
    }
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (SIZE.0, 60 + 30 * bars.len() as u32)).into_drawing_area();
        root.fill(&WHITE)?;
        let count = bars.len();
        let mut chart = ChartBuilder::on(&root)
            .margin(MARGIN)
            .caption(title, CAPTION)
            .build_cartesian_2d(0.0..most * 1.15, 0.0..count as f64)?;
        chart.configure_mesh().disable_mesh().disable_x_axis().disable_axes().disable_y_axis().draw()?;
        for (index, (name, cpu)) in bars.iter().enumerate() {
            let low = (count - 1 - index) as f64;
            let bar = Rectangle::new([(0.0, low + 0.2), (*cpu, low + 0.8)], Palette99::pick(0).mix(0.35).filled());
            chart.draw_series(std::iter::once(bar))?;
            let label = format!("{name} {cpu:.2}");
            chart.draw_series(std::iter::once(Text::new(label, (most * 0.01, low + 0.62), FONT)))?;
        }
        root.present()?;
    }
    Ok(Some(svg))
}

fn lines<Y>(
    title: &str,
    x: Range<f64>,
    y: Y,
    ticks: usize,
    x_text: &dyn Fn(&f64) -> String,
    y_text: &dyn Fn(&f64) -> String,
    series: &Series,
) -> Drawn
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        draw_lines(&root, title, x, y, ticks, x_text, y_text, series, true)?;
        root.present()?;
    }
    Ok(svg)
}

#[expect(clippy::too_many_arguments, reason = "one drawing, said once")]
fn draw_lines<Y>(
    area: &DrawingArea<SVGBackend, plotters::coord::Shift>,
    title: &str,
    x: Range<f64>,
    y: Y,
    ticks: usize,
    x_text: &dyn Fn(&f64) -> String,
    y_text: &dyn Fn(&f64) -> String,
    series: &Series,
    legend: bool,
) -> Result<(), Box<dyn Error>>
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let mut chart = ChartBuilder::on(area)
        .margin(MARGIN)
        .caption(title, CAPTION)
        .x_label_area_size(LABELS / 2)
        .y_label_area_size(LABELS + LABELS / 4)
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .x_labels(ticks)
        .y_labels(6)
        .label_style(FONT)
        .x_label_formatter(&x_text)
        .y_label_formatter(&y_text)
        .draw()?;
    for (index, (name, points)) in series.iter().enumerate() {
        let color = Palette99::pick(index).mix(1.0);
        let drawn = chart.draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)))?;
        drawn.label(name.as_str()).legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
    }
    if legend && series.len() > 1 {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .label_font(FONT)
            .draw()?;
    }
    Ok(())
}

/// A little above the most, and never nothing.
fn top(series: &Series, of: fn(&(f64, f64)) -> f64) -> f64 {
    let most = series.iter().flat_map(|(_, points)| points).map(of).fold(0.0, f64::max);
    if most > 0.0 { most * 1.05 } else { 1.0 }
}

/// For a logarithmic scale: a little below the least.
fn bottom(series: &Series) -> f64 {
    let least = series.iter().flat_map(|(_, points)| points).map(|point| point.1).fold(f64::MAX, f64::min);
    (least * 0.8).clamp(1e-3, 1e9)
}

/// Whole seconds; marks between them stay without a text.
fn seconds(x: &f64) -> String {
    if x.fract().abs() < 1e-6 { format!("{x:.0} s") } else { String::new() }
}

fn ms_of(value: f64) -> String {
    if value >= 10.0 { format!("{value:.0}") } else { ms((value * 1e3).round() as u64) }
}
