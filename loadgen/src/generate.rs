//! Logs as a company's services write them, from a seed: the same lines on every machine, for every server under test.
//!
//! A record is a function of (seed, index) alone, so that any part of the stream can be made anywhere, in any order.
//! What a measurement can rely on:
//!   - a record each millisecond from [`START_SECONDS`] on, in order
//!   - the word [`NEEDLE`] in exactly one record of each [`NEEDLE_EVERY`]
//!   - six levels (weighted), 20 sources, 50 applications (Zipf), 24 message templates, metadata of two to four keys
//!   - `metadata.request_id` is the record's [`Number`](crate::number::Number)
//!   - a JSON line is 245 bytes long on average

use crate::number::{DIGITS, HEX, Number};
use crate::rng::Rng;

/// 2026-11-20T00:00:00Z.
pub const START_SECONDS: u64 = 1_795_132_800;
pub const NEEDLE: &str = "quokka";
pub const NEEDLE_EVERY: u64 = 10_000;
const NEEDLE_AT: u64 = 4_321;

const LEVELS: [Level; 6] = [
    Level {
        name: "TRACE",
        weight: 4,
        templates: &[
            &[Lit("enter handler "), Path, Lit(" span="), Hex],
            &[Lit("lock acquired key=item:"), Id, Lit(" waited_us="), Small],
        ],
    },
    Level {
        name: "DEBUG",
        weight: 36,
        templates: &[
            &[Lit("cache miss for key user:"), Id, Lit(":profile ttl="), Small, Lit("s")],
            &[Lit("SELECT on orders returned "), Small, Lit(" rows in "), Small, Lit("."), Small, Lit(" ms")],
            &[Lit("retrying idempotent call "), Hex, Lit(" backoff="), Small, Lit("ms")],
            &[Lit("connection pool size="), Small, Lit(" idle="), Small, Lit(" waiting=0")],
        ],
    },
    Level {
        name: "INFO",
        weight: 130,
        templates: &[
            &[Method, Lit(" "), Path, Lit("/"), Id, Lit(" "), Status, Lit(" "), Small, Lit("ms from "), Ip],
            &[Lit("user "), Id, Lit(" logged in from "), Ip, Lit(" session="), Hex],
            &[Lit("order "), Id, Lit(" accepted, "), Small, Lit(" items, payment ref "), Hex],
            &[Lit("job "), Hex, Lit(" finished in "), Small, Lit(" ms, "), Small, Lit(" records written")],
            &[Lit("message "), Id, Lit(" published to topic events-"), Small, Lit(" offset "), Id],
            &[Lit("session "), Hex, Lit(" expired after "), Small, Lit(" minutes idle")],
            &[Lit("config reloaded, "), Small, Lit(" keys changed, revision "), Hex],
            &[Lit("sent mail template=welcome to user "), Id, Lit(" via smtp"), Small],
        ],
    },
    Level {
        name: "WARNING",
        weight: 20,
        templates: &[
            &[Lit("slow query: "), Small, Small, Lit(" ms on table orders (limit "), Small, Lit(" rows)")],
            &[Lit("rate limit near for client "), Ip, Lit(": "), Small, Lit(" of 100")],
            &[Lit("disk usage at "), Small, Lit("% on volume data"), Small],
            &[Lit("deprecated header X-Api-"), Small, Lit(" used by client "), Id],
        ],
    },
    Level {
        name: "ERROR",
        weight: 9,
        templates: &[
            &[Lit("upstream "), Ip, Lit(":8080 timed out after "), Small, Lit("000 ms, request "), Hex],
            &[Lit("payment "), Id, Lit(" declined: gateway code "), Small],
            &[Lit("failed to decode frame of "), Small, Lit(" bytes from "), Ip, Lit(": unexpected end")],
            &[Lit("unique violation on users_email_key for id "), Id],
        ],
    },
    Level {
        name: "CRITICAL",
        weight: 1,
        templates: &[
            &[Lit("out of memory: worker "), Small, Lit(" killed, rss "), Id, Lit(" kB")],
            &[Lit("replica "), Ip, Lit(" lost, failing over to node "), Small],
        ],
    },
];
const LEVEL_WEIGHTS: usize = 200;
const ZONES: [&str; 2] = ["eu1", "us2"];
const KINDS: [&str; 5] = ["web", "api", "db", "mq", "job"];
const SERVICES: [&str; 10] = ["auth", "cart", "order", "billing", "search", "user", "mail", "stock", "ship", "audit"];
const ROLES: [&str; 5] = ["api", "worker", "gateway", "sync", "cache"];
const REGIONS: [&str; 5] = ["eu-west-1", "eu-north-1", "us-east-1", "us-west-2", "ap-south-1"];
const METHODS: [&str; 6] = ["GET", "GET", "GET", "POST", "PUT", "DELETE"];
const PATHS: [&str; 7] =
    ["/api/v1/items", "/api/v1/orders", "/api/v2/search", "/login", "/api/v1/users/me", "/healthz", "/cart"];
const STATUSES: [u16; 10] = [200, 200, 200, 200, 201, 204, 301, 400, 404, 500];
/// Slots of the Zipf table: the rarest of 50 applications has about 18 of them.
const ZIPF_SLOTS: usize = 4_096;

struct Level {
    name: &'static str,
    weight: usize,
    templates: &'static [&'static [Piece]],
}

/// What a message is put together from. `Id` has up to six digits, `Small` is 1 to 97.
#[derive(Clone, Copy)]
enum Piece {
    Lit(&'static str),
    Id,
    Small,
    Hex,
    Ip,
    Method,
    Path,
    Status,
}
use Piece::{Hex, Id, Ip, Lit, Method, Path, Small, Status};

/// Where, within a line, lies what [`restamp`] may write anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    pub time: u32,
    pub digits: u32,
}

/// Bytes of a time as it stands in a line: `2026-11-20T00:00:00.000Z`.
pub const TIME_BYTES: usize = 24;

#[derive(Debug, Clone)]
pub struct Generator {
    seed: u64,
    tag: u16,
    sources: Vec<String>,
    applications: Vec<String>,
    level_of: Vec<u8>,
    application_of: Vec<u8>,
    clock: Clock,
}

impl Generator {
    pub fn new(seed: u64, tag: u16) -> Generator {
        let sources = ZONES
            .iter()
            .flat_map(|zone| KINDS.iter().flat_map(move |kind| [1, 2].map(|n| format!("{zone}-{kind}{n}"))))
            .collect();
        let applications: Vec<String> =
            ROLES.iter().flat_map(|role| SERVICES.iter().map(move |service| format!("{service}-{role}"))).collect();
        let mut level_of = Vec::with_capacity(LEVEL_WEIGHTS);
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
        Generator { seed, tag, sources, applications, level_of, application_of, clock: Clock::default() }
    }

    /// All records are of this source.
    pub fn with_source(self, source: &str) -> Generator {
        Generator { sources: vec![source.to_owned()], ..self }
    }

    /// Appends record `index` as a JSON line.
    pub fn json(&mut self, index: u64, out: &mut Vec<u8>) -> Stamp {
        let mut rng = Rng::at(self.seed, index);
        let (kind, value) = (rng.next(), rng.next());
        let level = &LEVELS[usize::from(self.level_of[(kind & 0xffff) as usize % LEVEL_WEIGHTS])];
        let application = &self.applications[usize::from(self.application_of[(kind >> 16) as usize % ZIPF_SLOTS])];
        let source = &self.sources[(kind >> 32 & 0x3ff) as usize % self.sources.len()];
        let x = value as u32;
        out.extend_from_slice(b"{\"timestamp\":\"");
        let time = out.len() as u32;
        out.extend_from_slice(self.clock.at(index));
        out.extend_from_slice(b"\",\"level\":\"");
        out.extend_from_slice(level.name.as_bytes());
        out.extend_from_slice(b"\",\"source\":\"");
        out.extend_from_slice(source.as_bytes());
        out.extend_from_slice(b"\",\"application\":\"");
        out.extend_from_slice(application.as_bytes());
        out.extend_from_slice(b"\",\"message\":\"");
        message(level.templates[x as usize % level.templates.len()], x, out);
        if index % NEEDLE_EVERY == NEEDLE_AT {
            out.push(b' ');
            out.extend_from_slice(NEEDLE.as_bytes());
        }
        out.extend_from_slice(b"\",\"metadata\":{\"request_id\":\"");
        let digits = out.len() as u32;
        out.extend_from_slice(&Number { tag: self.tag, index }.digits());
        out.extend_from_slice(b"\",\"region\":\"");
        out.extend_from_slice(REGIONS[(value >> 32 & 0xff) as usize % REGIONS.len()].as_bytes());
        out.push(b'"');
        let more = (value >> 40 & 0xff) % 3;
        if more > 0 {
            out.extend_from_slice(b",\"duration_ms\":");
            decimal(value >> 48 & 0x1ff, out);
        }
        if more > 1 {
            out.extend_from_slice(b",\"user_id\":");
            decimal(kind >> 44 & 0x1_ffff, out);
        }
        out.extend_from_slice(b"}}\n");
        Stamp { time, digits }
    }
}

/// Makes the line at `stamp` record `index`, as to its time and number; the rest of it stays.
pub fn restamp(line: &mut [u8], stamp: Stamp, tag: u16, index: u64, clock: &mut Clock) {
    let (time, digits) = (stamp.time as usize, stamp.digits as usize);
    line[time..time + TIME_BYTES].copy_from_slice(clock.at(index));
    line[digits..digits + DIGITS].copy_from_slice(&Number { tag, index }.digits());
}

fn message(template: &[Piece], x: u32, out: &mut Vec<u8>) {
    for piece in template {
        match *piece {
            Lit(text) => out.extend_from_slice(text.as_bytes()),
            Id => decimal(u64::from(x % 1_000_003), out),
            Small => decimal(u64::from(x % 97 + 1), out),
            Hex => x.to_be_bytes().iter().for_each(|&byte| out.extend_from_slice(&HEX[usize::from(byte)])),
            Ip => {
                out.extend_from_slice(b"10.");
                decimal(u64::from(x & 3), out);
                out.push(b'.');
                decimal(u64::from(x >> 8 & 255), out);
                out.push(b'.');
                decimal(u64::from(x >> 16 & 255), out);
            }
            Method => out.extend_from_slice(METHODS[x as usize % METHODS.len()].as_bytes()),
            Path => out.extend_from_slice(PATHS[x as usize % PATHS.len()].as_bytes()),
            Status => decimal(u64::from(STATUSES[x as usize % STATUSES.len()]), out),
        }
    }
}

fn decimal(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// The time of a record as text; only its milliseconds are written anew within a second.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    second: Option<u64>,
    text: [u8; TIME_BYTES],
}

impl Clock {
    pub fn at(&mut self, index: u64) -> &[u8; TIME_BYTES] {
        let (second, milli) = (START_SECONDS + index / 1000, index % 1000);
        if self.second != Some(second) {
            self.second = Some(second);
            self.text = second_text(second);
        }
        self.text[20] = b'0' + (milli / 100) as u8;
        self.text[21] = b'0' + (milli / 10 % 10) as u8;
        self.text[22] = b'0' + (milli % 10) as u8;
        &self.text
    }
}

/// RFC 3339 with zero milliseconds. Days to dates as in Howard Hinnant's `civil_from_days`.
fn second_text(second: u64) -> [u8; TIME_BYTES] {
    let days = second / 86_400 + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let mut text = *b"0000-00-00T00:00:00.000Z";
    let parts = [
        (0, 4, year),
        (5, 2, month),
        (8, 2, day),
        (11, 2, second / 3600 % 24),
        (14, 2, second / 60 % 60),
        (17, 2, second % 60),
    ];
    for (at, width, mut value) in parts {
        for place in (at..at + width).rev() {
            text[place] = b'0' + (value % 10) as u8;
            value /= 10;
        }
    }
    text
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
        assert!((235.0..255.0).contains(&mean), "{mean}");
        assert_eq!(text.matches(NEEDLE).count(), 2);
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
        restamp(&mut line, stamp, 3, 86_400_000 * 102 + 1, &mut Clock::default());
        let value: sonic_rs::Value = sonic_rs::from_slice(&line).unwrap();
        assert_eq!(value["timestamp"].as_str(), Some("2027-03-02T00:00:00.001Z"));
        let id = value["metadata"]["request_id"].as_str().unwrap();
        assert_eq!(Number::parse(id.as_bytes()), Some(Number { tag: 3, index: 86_400_000 * 102 + 1 }));
    }
}
