//! Log lines as applications write them, the same for the same seed, faster than anything here can send them.
//!
//! One record a millisecond from a start, in order: a record's timestamp is its number, so that what comes back from a
//! store can be counted without a field of the load generator's own. Weighted levels, Zipf-like applications, templated
//! messages, metadata of two to four keys, about 245 bytes a line as JSON.

/// Where the 24 characters of the timestamp stand in a line.
pub const TIME_AT: usize = r#"{"timestamp":""#.len();
pub const TIME_BYTES: usize = "2026-11-20T00:00:00.000Z".len();

/// Of 200 records; the names as applications write them, not as they are stored.
const LEVELS: [(&str, u32); 6] =
    [("TRACE", 4), ("DEBUG", 36), ("INFO", 130), ("WARNING", 20), ("ERROR", 9), ("CRITICAL", 1)];
const TEMPLATES: [&[&str]; 6] = [
    &["enter handler {p} span={h}", "lock acquired key=item:{a} waited_us={b}"],
    &[
        "cache miss for key user:{a}:profile ttl={b}s",
        "SELECT on orders returned {b} rows in {b}.{b} ms",
        "retrying idempotent call {h} backoff={b}ms",
        "connection pool size={b} idle={b} waiting=0",
    ],
    &[
        "{m} {p}/{a} {s} {b}ms from {i}",
        "user {a} logged in from {i} session={h}",
        "order {a} accepted, {b} items, payment ref {h}",
        "job {h} finished in {b} ms, {b} records written",
        "message {a} published to topic events-{b} offset {a}",
        "session {h} expired after {b} minutes idle",
        "config reloaded, {b} keys changed, revision {h}",
        "sent mail template=welcome to user {a} via smtp{b}",
    ],
    &[
        "slow query: {b}{b} ms on table orders (limit {b} rows)",
        "rate limit near for client {i}: {b} of 100",
        "disk usage at {b}% on volume data{b}",
        "deprecated header X-Api-{b} used by client {a}",
    ],
    &[
        "upstream {i}:8080 timed out after {b}000 ms, request {h}",
        "payment {a} declined: gateway code {b}",
        "failed to decode frame of {b} bytes from {i}: unexpected end",
        "unique violation on users_email_key for id {a}",
    ],
    &["out of memory: worker {b} killed, rss {a} kB", "replica {i} lost, failing over to node {b}"],
];
const AREAS: [&str; 10] = ["auth", "cart", "order", "billing", "search", "user", "mail", "stock", "ship", "audit"];
const ROLES: [&str; 5] = ["api", "worker", "gateway", "sync", "cache"];
const REGIONS: [&str; 5] = ["eu-west-1", "eu-north-1", "us-east-1", "us-west-2", "ap-south-1"];
const METHODS: [&str; 6] = ["GET", "GET", "GET", "POST", "PUT", "DELETE"];
const PATHS: [&str; 7] =
    ["/api/v1/items", "/api/v1/orders", "/api/v2/search", "/login", "/api/v1/users/me", "/healthz", "/cart"];
const STATUS: [u32; 10] = [200, 200, 200, 200, 201, 204, 301, 400, 404, 500];
/// A word that one record of so many holds, at [`NEEDLE_AT`] of each.
const NEEDLE: &str = " quokka";
const NEEDLE_EVERY: u64 = 10_000;
const NEEDLE_AT: u64 = 4_321;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// SplitMix64: a good spread from any seed, two multiplications a draw.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

/// Writes lines one after another.
#[derive(Debug)]
pub struct Lines {
    random: Random,
    /// Of the next record.
    millis: i64,
    index: u64,
    sources: Vec<String>,
    applications: Vec<String>,
    /// An index into `applications` for each of 4,096 equally likely draws.
    zipf: Vec<u8>,
    /// An index into `LEVELS` for each of 200.
    levels: Vec<u8>,
}

impl Lines {
    /// Lines of records from `start`, milliseconds since 1970.
    pub fn new(seed: u64, start: i64) -> Lines {
        let sources = ["eu1", "us2"].iter().flat_map(|zone| {
            ["web", "api", "db", "mq", "job"].iter().flat_map(move |kind| [1, 2].map(|n| format!("{zone}-{kind}{n}")))
        });
        let applications: Vec<String> =
            ROLES.iter().flat_map(|role| AREAS.iter().map(move |area| format!("{area}-{role}"))).collect();
        let whole: f64 = (1..=applications.len()).map(|rank| 1.0 / rank as f64).sum();
        let mut zipf = Vec::with_capacity(4096);
        let (mut rank, mut reached) = (0, 1.0 / whole);
        for draw in 0..4096 {
            while f64::from(draw) / 4096.0 >= reached && rank + 1 < applications.len() {
                rank += 1;
                reached += 1.0 / (rank + 1) as f64 / whole;
            }
            zipf.push(rank as u8);
        }
        let levels = (0_u8..).zip(LEVELS).flat_map(|(index, (_, weight))| std::iter::repeat_n(index, weight as usize));
        let (sources, levels) = (sources.collect(), levels.collect());
        Lines { random: Random(seed), millis: start, index: 0, sources, applications, zipf, levels }
    }

    /// Appends the next record as a line of JSON, its line feed included.
    pub fn push(&mut self, out: &mut Vec<u8>) {
        let (x, y, z) = (self.random.draw(), self.random.draw(), self.random.draw());
        let level = usize::from(self.levels[(x % 200) as usize]);
        out.extend_from_slice(br#"{"timestamp":""#);
        let mut time = [0; TIME_BYTES];
        write_time(self.millis, &mut time);
        out.extend_from_slice(&time);
        push_all(out, &[r#"","level":""#, LEVELS[level].0, r#"","source":""#]);
        push_all(out, &[&self.sources[(y % 20) as usize], r#"","application":""#]);
        push_all(out, &[&self.applications[usize::from(self.zipf[(y >> 8 & 4095) as usize])], r#"","message":""#]);
        let templates = TEMPLATES[level];
        push_template(templates[(x >> 8) as usize % templates.len()], (x >> 16) as u32, out);
        if self.index % NEEDLE_EVERY == NEEDLE_AT {
            out.extend_from_slice(NEEDLE.as_bytes());
        }
        out.extend_from_slice(br#"","metadata":{"request_id":""#);
        push_hex(z & 0xffff_ffff_ffff, 12, out);
        push_all(out, &[r#"","region":""#, REGIONS[(y >> 20) as usize % 5], "\""]);
        let more = (y >> 32) % 3;
        if more > 0 {
            out.extend_from_slice(br#","duration_ms":"#);
            push_number(y >> 36 & 0x1ff, out);
        }
        if more > 1 {
            out.extend_from_slice(br#","user_id":"#);
            push_number(z >> 47, out);
        }
        out.extend_from_slice(b"}}\n");
        self.index += 1;
        self.millis += 1;
    }
}

fn push_all(out: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
}

fn push_template(template: &str, x: u32, out: &mut Vec<u8>) {
    let mut rest = template.as_bytes();
    while let Some(at) = memchr::memchr(b'{', rest) {
        out.extend_from_slice(&rest[..at]);
        match rest[at + 1] {
            b'a' => push_number(u64::from(x % 1_000_003), out),
            b'b' => push_number(u64::from(x % 97 + 1), out),
            b'h' => push_hex(u64::from(x), 8, out),
            b'm' => out.extend_from_slice(METHODS[x as usize % 6].as_bytes()),
            b'p' => out.extend_from_slice(PATHS[x as usize % 7].as_bytes()),
            b's' => push_number(u64::from(STATUS[x as usize % 10]), out),
            _ => {
                out.extend_from_slice(b"10.");
                push_number(u64::from(x & 3), out);
                for byte in [x >> 8 & 255, x >> 16 & 255] {
                    out.push(b'.');
                    push_number(u64::from(byte), out);
                }
            }
        }
        rest = &rest[at + 3..];
    }
    out.extend_from_slice(rest);
}

fn push_hex(value: u64, digits: u32, out: &mut Vec<u8>) {
    for digit in (0..digits).rev() {
        out.push(HEX[(value >> (4 * digit) & 15) as usize]);
    }
}

fn push_number(mut value: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Writes `2026-11-20T00:00:00.000Z`. The years 1970 to 9999.
pub fn write_time(millis: i64, out: &mut [u8]) {
    let (days, in_day) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
    // Howard Hinnant's civil_from_days, from 0000-03-01.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    out.copy_from_slice(b"0000-00-00T00:00:00.000Z");
    for (at, count, value) in [
        (0, 4, year),
        (5, 2, month),
        (8, 2, day),
        (11, 2, in_day / 3_600_000),
        (14, 2, in_day / 60_000 % 60),
        (17, 2, in_day / 1_000 % 60),
        (20, 3, in_day % 1_000),
    ] {
        let mut rest = value;
        for digit in out[at..at + count].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }
}

/// Milliseconds since 1970 of a time as [`write_time`] writes it, or with more digits behind the point.
pub fn read_time(text: &[u8]) -> Option<i64> {
    let number = |at: usize, count: usize| -> Option<i64> {
        text.get(at..at + count)?
            .iter()
            .try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
    };
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let days = era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    let seconds = number(11, 2)? * 3_600 + number(14, 2)? * 60 + number(17, 2)?;
    Some((days * 86_400 + seconds) * 1_000 + number(20, 3)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sonic_rs::JsonValueTrait;

    const START: i64 = 1_763_596_800_000;

    #[test]
    fn the_same_seed_gives_the_same_lines() {
        let lines = |seed| {
            let (mut lines, mut out) = (Lines::new(seed, START), Vec::new());
            (0..1_000).for_each(|_| lines.push(&mut out));
            out
        };
        assert_eq!(lines(42), lines(42));
        assert_ne!(lines(42), lines(43));
        let mean = lines(42).len() / 1_000;
        assert!((225..265).contains(&mean), "{mean} bytes a line");
    }

    #[test]
    fn lines_are_json_numbered_by_their_time() {
        let (mut lines, mut out) = (Lines::new(1, START), Vec::new());
        (0..20_000).for_each(|_| lines.push(&mut out));
        let mut needles = 0;
        for (index, line) in out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).enumerate() {
            let record: sonic_rs::Value = sonic_rs::from_slice(line).expect("JSON");
            let time = record["timestamp"].as_str().expect("a time");
            assert_eq!(&line[TIME_AT..TIME_AT + TIME_BYTES], time.as_bytes());
            assert_eq!(read_time(time.as_bytes()), Some(START + index as i64));
            needles += usize::from(record["message"].as_str().is_some_and(|text| text.contains("quokka")));
        }
        assert_eq!(needles, 2);
    }

    #[test]
    fn times_write_and_read() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_763_596_800_123, "2025-11-20T00:00:00.123Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ] {
            let mut out = [0; TIME_BYTES];
            write_time(millis, &mut out);
            assert_eq!(std::str::from_utf8(&out).unwrap(), text);
            assert_eq!(read_time(text.as_bytes()), Some(millis));
        }
        assert_eq!(read_time(b"2025-11-20T00:00:00.123456Z"), Some(1_763_596_800_123));
        assert_eq!(read_time(b"2025-11-2"), None);
    }
}
