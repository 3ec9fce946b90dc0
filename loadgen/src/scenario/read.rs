//! What is asked and not stored: queries as a dashboard makes them, and lines to be parsed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::time::Instant;

use hdrhistogram::Histogram;

use super::{Run, ScenarioError};
use crate::drive::{Load, Pace, Until, histogram};
use crate::generate::{Format, Generator, NEEDLE};
use crate::http::Client;
use crate::prepared::{Form, Lines, Size};
use crate::report::{Phase, QueryFigures, thousands};

const FILL_RECORDS: u64 = 1_000_000;
const FILL_CONNECTIONS: usize = 8;
/// What comes in while queries are asked: 20,000 records a second.
const BESIDE_PER_SECOND: f64 = 200.0;
const BESIDE_LINES: usize = 100;
const BESIDE_CONNECTIONS: usize = 16;
const BESIDE_PER_SHARE: usize = 64;

const PARSE_CONNECTIONS: usize = 8;
/// Small enough that an answer, which is longer, is not what is measured.
const PARSE_BYTES: usize = 64 * 1024;
const PARSE_PER_SHARE: usize = 16;
const PARSE_TARGET: &str = "/parse/auto";
const PARSE_TYPE: &str = "text/plain";
/// Lines of each format whose detection is looked at.
const DETECTED_LINES: u64 = 1_000;

/// What a dashboard asks.
fn queries() -> Vec<(&'static str, String)> {
    vec![
        ("newest 50", "/logs/?limit=50".to_owned()),
        ("newest 50 of level ERROR", "/logs/?level=ERROR&limit=50".to_owned()),
        ("newest 50 errors of an application", "/logs/?application=auth-api&level_min=ERROR&limit=50".to_owned()),
        ("a rare word: 100 rows", format!("/logs/?q={NEEDLE}&limit=100")),
        ("a rare word: the count", format!("/stats?q={NEEDLE}")),
        ("a metadata value: 50 rows", "/logs/?metadata.user_id=1234&limit=50".to_owned()),
        ("counts of everything", "/stats".to_owned()),
        ("counts by minute and level", "/stats/histogram?interval=1m".to_owned()),
        ("applications by count", "/stats/facets?field=application&limit=20".to_owned()),
    ]
}

impl Run<'_> {
    pub(super) fn query(&mut self) -> Result<(), ScenarioError> {
        let connections = self.options.connections.unwrap_or(FILL_CONNECTIONS);
        let records = self.options.records.unwrap_or(FILL_RECORDS);
        let mut prepared = self.batches(connections);
        let dialect = self.server.target.batch();
        let fill = Load::new(&mut prepared, connections, Pace::Closed, Until::Records(records));
        let fill = fill.answered(dialect.answers);
        let (outcomes, around) = self.measured(&mut [fill], &mut [])?;
        self.report.phases.push(Phase::new("filling the store", connections, None, &outcomes[0], &around));

        let authority = self.server.authority.clone();
        let time = self.options.time;
        let never = AtomicBool::new(false);
        let alone = ask(&authority, time, &never)?;

        let mut beside =
            self.prepared(&self.form(&dialect, Size::Lines(BESIDE_LINES)), BESIDE_CONNECTIONS, BESIDE_PER_SHARE);
        let over = AtomicBool::new(false);
        let (loaded, measured) = std::thread::scope(|scope| {
            let asking = scope.spawn(|| ask(&authority, time * 2, &over));
            let (pace, until) = (Pace::Open(BESIDE_PER_SECOND), Until::Time(time));
            let load = Load::new(&mut beside, BESIDE_CONNECTIONS, pace, until);
            let measured = self.measured(&mut [load.answered(dialect.answers)], &mut []);
            over.store(true, Ordering::Relaxed);
            let asked =
                asking.join().unwrap_or_else(|_| Err(ScenarioError::Unfit("the thread that asks broke".to_owned())));
            (asked, measured)
        });
        let (outcomes, around) = measured?;
        let name = "records that come in beside the queries (their CPU is the queries' too)";
        let beside = Phase::new(name, BESIDE_CONNECTIONS, Some(BESIDE_PER_SECOND), &outcomes[0], &around);
        self.report.phases.push(beside.without_found());
        self.report.queries = alone
            .into_iter()
            .zip(loaded?)
            .map(|(alone, loaded)| QueryFigures {
                name: alone.name.to_owned(),
                target: alone.target,
                answer_bytes: alone.answer_bytes,
                asked: alone.latencies.len() + loaded.latencies.len(),
                alone_us: (&alone.latencies).into(),
                loaded_us: (&loaded.latencies).into(),
            })
            .collect();
        Ok(())
    }

    pub(super) fn parse(&mut self) -> Result<(), ScenarioError> {
        self.report.detected = self.detected()?;
        let found: Vec<String> =
            self.report.detected.iter().map(|(name, share)| format!("{name} {:.1} %", share * 100.0)).collect();
        let lines = thousands(DETECTED_LINES as f64);
        self.report.note(format!("formats detected, of {lines} lines each: {}", found.join(", ")));
        let connections = self.options.connections.unwrap_or(PARSE_CONNECTIONS);
        let form = Form {
            path: PARSE_TARGET,
            content_type: PARSE_TYPE,
            lines: Lines::Mixed,
            ..self.form(&self.server.target.batch(), Size::Bytes(PARSE_BYTES))
        };
        let mut prepared = self.prepared(&form, connections, PARSE_PER_SHARE);
        let until = Until::Time(self.options.time + self.options.warm_up);
        let load = Load::new(&mut prepared, connections, self.options.rate.map_or(Pace::Closed, Pace::Open), until);
        let load = Load { warm_up: self.options.warm_up, ..load };
        // Nothing is stored, so nothing will be found.
        let mut ledger = std::mem::replace(&mut self.ledger, crate::ledger::Ledger::new(0));
        let cpu = (self.server.cpu(), crate::process::own_cpu(), Instant::now());
        let (outcomes, result) = crate::drive::drive(&self.server.authority, &mut [load], &mut [], &mut self.ledger);
        let around = crate::report::Around {
            server_cpu: self.server.cpu().zip(cpu.0).map(|(after, before)| after.saturating_sub(before)),
            client_cpu: crate::process::own_cpu().saturating_sub(cpu.1),
            wall: cpu.2.elapsed(),
            server_peak: crate::process::peak_memory(&self.server.pids(), &[]),
            acknowledged: self.ledger.acknowledged,
            ..Default::default()
        };
        std::mem::swap(&mut self.ledger, &mut ledger);
        let phase =
            Phase::new("64 KiB of lines a request, all formats", connections, self.options.rate, &outcomes[0], &around);
        self.report.phases.push(phase);
        Ok(result?)
    }

    /// How many lines of each format are taken for what they are.
    fn detected(&self) -> Result<Vec<(String, f64)>, ScenarioError> {
        let mut client = Client::connect(&self.server.authority).map_err(crate::drive::LoadError::Broken)?;
        let mut found = Vec::new();
        for format in Format::ALL {
            let mut generator = Generator::new(self.options.seed, 0);
            let mut body = Vec::new();
            for index in 0..DETECTED_LINES {
                generator.line(*format, index, &mut body);
            }
            let answer = client.post(PARSE_TARGET, PARSE_TYPE, &body).map_err(crate::drive::LoadError::Broken)?;
            let text = answer.text().map_err(crate::drive::LoadError::Broken)?;
            let count = text.matches(&format!("\"format\":\"{}\"", format.name())).count();
            found.push((format.name().to_owned(), count as f64 / DETECTED_LINES as f64));
        }
        Ok(found)
    }
}

struct Asked {
    name: &'static str,
    target: String,
    answer_bytes: u64,
    latencies: Histogram<u64>,
}

/// Asks all queries in turn, one at a time, until the time is over or somebody says so; each at least once.
fn ask(authority: &str, time: Duration, over: &AtomicBool) -> Result<Vec<Asked>, ScenarioError> {
    let broken = crate::drive::LoadError::Broken;
    let mut client = Client::connect(authority).map_err(broken)?;
    let mut asked: Vec<Asked> = queries()
        .into_iter()
        .map(|(name, target)| Asked { name, target, answer_bytes: 0, latencies: histogram() })
        .collect();
    let began = Instant::now();
    loop {
        for query in &mut asked {
            let before = Instant::now();
            let answer = client.get(&query.target).map_err(broken)?;
            let status = answer.status;
            query.answer_bytes = answer.text().map_err(broken)?.len() as u64;
            query.latencies.saturating_record((before.elapsed().as_nanos() as u64).div_ceil(1000));
            if status != 200 {
                return Err(ScenarioError::Unfit(format!("{} was answered {status}", query.target)));
            }
        }
        if over.load(Ordering::Relaxed) || began.elapsed() >= time {
            return Ok(asked);
        }
    }
}
