//! Logs as a company's services write them, from a seed: the same lines on every machine, for every server under test.
//!
//! A record is a function of (seed, index) alone, so that any part of the stream can be made anywhere, in any order.
//! What a measurement can rely on:
//!   - a record each millisecond from [`START`] on, in order, unless other times are asked for
//!   - the word [`NEEDLE`] in exactly one record of each 10,000
//!   - six levels (weighted), 20 sources, 50 applications (Zipf), 24 message templates, metadata of two to four keys
//!   - incidents: a hundred records in a row of each 10,000 are errors of one application on one source
//!   - `metadata.request_id` is the record's [`Number`]
//!   - a JSON line is 245 bytes long on average

mod clock;
mod format;
mod message;

pub use clock::{Clock, NANOS_BYTES, TIME_BYTES, Times};
pub use format::Format;

use message::{LEVELS, Piece, WEIGHTS};

use crate::number::{DIGITS, Number};
use crate::rng::Rng;

/// 2026-11-20T00:00:00Z, a record each millisecond.
pub const START: Times = Times { start_us: 1_795_132_800_000_000, step_us: 1_000 };
pub const NEEDLE: &str = "quokka";
/// Needles and incidents come once in so many records.
pub const ROUND: u64 = 10_000;
const NEEDLE_AT: u64 = 4_321;
const INCIDENT: std::ops::Range<u64> = 7_000..7_100;
const ERROR: usize = 4;

const ZONES: [&str; 2] = ["eu1", "us2"];
const KINDS: [&str; 5] = ["web", "api", "db", "mq", "job"];
const SERVICES: [&str; 10] = ["auth", "cart", "order", "billing", "search", "user", "mail", "stock", "ship", "audit"];
const ROLES: [&str; 5] = ["api", "worker", "gateway", "sync", "cache"];
const REGIONS: [&str; 5] = ["eu-west-1", "eu-north-1", "us-east-1", "us-west-2", "ap-south-1"];
/// Slots of the Zipf table: the rarest of 50 applications has about 18 of them.
const ZIPF_SLOTS: usize = 4_096;

/// Where, within a line, lies what [`restamp`] may write anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    pub time: u32,
    pub digits: u32,
}

/// How the time at a [`Stamp`] is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeForm {
    Rfc3339,
    /// Nanoseconds since 1970, in digits.
    Nanos,
}

/// Shares of lines, of 1, that are not as all others.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Oddities {
    /// With a stack trace of several lines in its message, where the format can say so.
    pub traces: f64,
    /// Cut in the middle.
    pub broken: f64,
}

#[derive(Debug, Clone)]
pub struct Generator {
    seed: u64,
    tag: u16,
    sources: Vec<String>,
    applications: Vec<String>,
    level_of: Vec<u8>,
    application_of: Vec<u8>,
    clock: Clock,
    oddities: Oddities,
    scratch: Vec<u8>,
}

/// A record before it is written in some format.
struct Record<'g> {
    index: u64,
    level: usize,
    source: &'g str,
    application: &'g str,
    template: &'static [Piece],
    /// What the message is made from.
    x: u32,
    needle: bool,
    trace: bool,
    digits: [u8; DIGITS],
    region: &'static str,
    duration_ms: Option<u64>,
    user_id: Option<u64>,
    pid: u64,
}

impl Generator {
    pub fn new(seed: u64, tag: u16) -> Generator {
        let sources = ZONES
            .iter()
            .flat_map(|zone| KINDS.iter().flat_map(move |kind| [1, 2].map(|n| format!("{zone}-{kind}{n}"))))
            .collect();
        let applications: Vec<String> =
            ROLES.iter().flat_map(|role| SERVICES.iter().map(move |service| format!("{service}-{role}"))).collect();
        let mut level_of = Vec::with_capacity(WEIGHTS);
        for (index, level) in LEVELS.iter().enumerate() {
            level_of.extend(std::iter::repeat_n(index as u8, level.weight));
        }
        let harmonic: f64 = (1..=applications.len()).map(|rank| 1.0 / rank as f64).sum();
        let mut application_of = Vec::with_capacity(ZIPF_SLOTS);
        let mut share = 0.0;
        for rank in 0..applications.len() {
            share += 1.0 / (rank + 1) as f64 / harmonic;
            application_of.resize((share * ZIPF_SLOTS as f64).round() as usize, rank as u8);
        }
        application_of.resize(ZIPF_SLOTS, 0);
        Generator {
            seed,
            tag,
            sources,
            applications,
            level_of,
            application_of,
            clock: Clock::new(START),
            oddities: Oddities::default(),
            scratch: Vec::new(),
        }
    }

    /// All records are of this source.
    pub fn with_source(self, source: &str) -> Generator {
        Generator { sources: vec![source.to_owned()], ..self }
    }

    pub fn with_times(self, times: Times) -> Generator {
        Generator { clock: Clock::new(times), ..self }
    }

    pub fn with_oddities(self, oddities: Oddities) -> Generator {
        Generator { oddities, ..self }
    }

    /// Appends record `index` as a JSON line.
    pub fn json(&mut self, index: u64, out: &mut Vec<u8>) -> Stamp {
        let (record, clock, _) = self.record(index);
        format::json(&record, clock, out)
    }

    /// Appends record `index` as an RFC 5424 message, its line feed included.
    pub fn rfc5424(&mut self, index: u64, out: &mut Vec<u8>) -> Stamp {
        let (record, clock, _) = self.record(index);
        format::rfc5424(&record, clock, out)
    }

    /// Appends record `index` as an entry of a push to Loki, and the labels of the stream that it belongs to.
    pub fn loki(&mut self, index: u64, labels: &mut Vec<u8>, entry: &mut Vec<u8>) -> Stamp {
        let (record, clock, _) = self.record(index);
        format::loki(&record, clock, labels, entry)
    }

    /// Appends record `index` in any format, its line feed included.
    pub fn line(&mut self, format: Format, index: u64, out: &mut Vec<u8>) {
        let start = out.len();
        let broken = self.oddities.broken;
        let odd = broken > 0.0 && share_of(Rng::at(!self.seed, index).next()) < broken;
        let (record, clock, scratch) = self.record(index);
        format.write(&record, clock, scratch, out);
        if odd {
            out.truncate(start + (out.len() - start) * 2 / 3);
            out.push(b'\n');
        }
    }

    fn record(&mut self, index: u64) -> (Record<'_>, &mut Clock, &mut Vec<u8>) {
        let mut rng = Rng::at(self.seed, index);
        let (kind, value) = (rng.next(), rng.next());
        let mut level = usize::from(self.level_of[(kind & 0xffff) as usize % WEIGHTS]);
        let (mut application, mut source) = ((kind >> 16) as usize % ZIPF_SLOTS, (kind >> 32 & 0x3ff) as usize);
        let of_round = index % ROUND;
        if INCIDENT.contains(&of_round) {
            let incident = Rng::at(self.seed, index - of_round).next();
            (level, application) = (ERROR, incident as usize % ZIPF_SLOTS);
            source = (incident >> 32 & 0x3ff) as usize;
        }
        let x = value as u32;
        let level_of = &LEVELS[level];
        let more = (value >> 40 & 0xff) % 3;
        let record = Record {
            index,
            level,
            source: &self.sources[source % self.sources.len()],
            application: &self.applications[usize::from(self.application_of[application])],
            template: level_of.templates[x as usize % level_of.templates.len()],
            x,
            needle: of_round == NEEDLE_AT,
            trace: self.oddities.traces > 0.0 && share_of(rng.next()) < self.oddities.traces,
            digits: Number { tag: self.tag, index }.digits(),
            region: REGIONS[(value >> 32 & 0xff) as usize % REGIONS.len()],
            duration_ms: (more > 0).then_some(value >> 48 & 0x1ff),
            user_id: (more > 1).then_some(kind >> 44 & 0x1_ffff),
            pid: 1_000 + (kind >> 61),
        };
        (record, &mut self.clock, &mut self.scratch)
    }
}

/// Makes the line at `stamp` record `index`, as to its time and number; the rest of it stays.
pub fn restamp(line: &mut [u8], stamp: Stamp, form: TimeForm, tag: u16, index: u64, clock: &mut Clock) {
    let (time, digits) = (stamp.time as usize, stamp.digits as usize);
    match form {
        TimeForm::Rfc3339 => line[time..time + TIME_BYTES].copy_from_slice(clock.at(index)),
        TimeForm::Nanos => line[time..time + NANOS_BYTES].copy_from_slice(&clock.nanos(index)),
    }
    line[digits..digits + DIGITS].copy_from_slice(&Number { tag, index }.digits());
}

/// A number drawn, as a share of all numbers.
fn share_of(drawn: u64) -> f64 {
    (drawn >> 11) as f64 / (1u64 << 53) as f64
}

fn decimal(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use sonic_rs::{JsonContainerTrait, JsonValueTrait};

    fn lines(seed: u64, count: u64) -> String {
        let mut generator = Generator::new(seed, 9);
        let mut out = Vec::new();
        for index in 0..count {
            generator.json(index, &mut out);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_are_json_of_the_promised_shape() {
        let text = lines(42, 20_000);
        let mean = text.len() as f64 / 20_000.0;
        assert!((240.0..250.0).contains(&mean), "{mean}");
        assert_eq!(text.matches(NEEDLE).count(), 2);
        let errors = text.matches("\"level\":\"ERROR\"").count();
        assert!((900..1_300).contains(&errors), "{errors}");
        for (index, line) in text.lines().enumerate().step_by(37) {
            let value: sonic_rs::Value = sonic_rs::from_str(line).unwrap();
            let id = value["metadata"]["request_id"].as_str().unwrap();
            assert_eq!(Number::parse(id.as_bytes()), Some(Number { tag: 9, index: index as u64 }));
            let keys = value["metadata"].as_object().unwrap().len();
            assert!((2..=4).contains(&keys), "{line}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_lines() {
        assert_eq!(lines(1, 500), lines(1, 500));
        assert_ne!(lines(1, 500), lines(2, 500));
        let first = "{\"timestamp\":\"2026-11-20T00:00:00.000Z\",";
        assert!(lines(42, 1).starts_with(first));
    }

    #[test]
    fn a_line_can_be_made_another_record() {
        let mut generator = Generator::new(1, 3);
        let mut line = Vec::new();
        let stamp = generator.json(0, &mut line);
        restamp(&mut line, stamp, TimeForm::Rfc3339, 3, 86_400_000 * 102 + 1, &mut Clock::new(START));
        let value: sonic_rs::Value = sonic_rs::from_slice(&line).unwrap();
        assert_eq!(value["timestamp"].as_str(), Some("2027-03-02T00:00:00.001Z"));
        let id = value["metadata"]["request_id"].as_str().unwrap();
        assert_eq!(Number::parse(id.as_bytes()), Some(Number { tag: 3, index: 86_400_000 * 102 + 1 }));
    }

    #[test]
    fn each_format_is_read_as_itself_with_time_level_and_needle() {
        use record::format::{LineParser, Mode};
        let received = record::Timestamp::from_micros((START.start_us + 3_600_000_000) as i64).unwrap();
        let context = record::Context::new(received, &record::Zone::UTC);
        let mut parser = LineParser::new();
        let mut ids = record::IdSource::new(|| 0);
        for &format in Format::ALL {
            let mut generator = Generator::new(5, 0);
            for index in [0, 1, 7, NEEDLE_AT, 7_003, 12_345] {
                let mut line = Vec::new();
                generator.line(format, index, &mut line);
                let text = String::from_utf8(line).unwrap();
                let mut builder = record::BatchBuilder::new(1);
                let taken = parser.push_line(text.trim_end().as_bytes(), Mode::Auto, &context, &mut ids, &mut builder);
                assert_eq!(taken.unwrap().format, format.name(), "{text}");
                let batch = builder.seal().unwrap();
                let row = batch.rows().next().unwrap();
                // Formats without milliseconds lose them; those without a time are of the moment they came.
                if format != Format::Plain {
                    let expected = (START.start_us + index * START.step_us) / 1_000_000;
                    assert_eq!(row.timestamp().as_micros() as u64 / 1_000_000, expected, "{text}");
                }
                assert_eq!(text.contains(NEEDLE), index == NEEDLE_AT, "{text}");
            }
        }
    }

    #[test]
    fn oddities_come_at_their_rate() {
        let oddities = Oddities { traces: 0.1, broken: 0.05 };
        let mut generator = Generator::new(3, 0).with_oddities(oddities);
        let (mut broken, mut traces) = (0, 0);
        for index in 0..10_000 {
            let mut line = Vec::new();
            generator.line(Format::Json, index, &mut line);
            assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 1);
            broken += usize::from(!line.ends_with(b"}\n"));
            traces += usize::from(memchr::memmem::find(&line, b"\\n\\tat ").is_some());
        }
        assert!((400..600).contains(&broken), "{broken}");
        assert!((850..1_150).contains(&traces), "{traces}");
    }
}
