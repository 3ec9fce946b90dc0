//! The time of a record as text, in the ways that formats write it.

/// Bytes of a time of RFC 3339: `2026-11-20T00:00:00.000Z`.
pub const TIME_BYTES: usize = 24;
/// Digits of a time in nanoseconds since 1970, from 2001 to 2286.
pub const NANOS_BYTES: usize = 19;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// When records are: the first at `start_us`, each `step_us` after the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    pub start_us: u64,
    pub step_us: u64,
}

/// Text is kept for a second, within which only the milliseconds are written anew.
#[derive(Debug, Clone)]
pub struct Clock {
    times: Times,
    second: Option<u64>,
    text: [u8; TIME_BYTES],
    month: usize,
    weekday: usize,
}

impl Clock {
    pub fn new(times: Times) -> Clock {
        Clock { times, second: None, text: *b"0000-00-00T00:00:00.000Z", month: 0, weekday: 0 }
    }

    /// As RFC 3339 has it.
    pub fn at(&mut self, index: u64) -> &[u8; TIME_BYTES] {
        let time = self.times.start_us + index * self.times.step_us;
        let (second, milli) = (time / 1_000_000, time / 1_000 % 1_000);
        if self.second != Some(second) {
            self.set(second);
        }
        self.text[20] = b'0' + (milli / 100) as u8;
        self.text[21] = b'0' + (milli / 10 % 10) as u8;
        self.text[22] = b'0' + (milli % 10) as u8;
        &self.text
    }

    /// Nanoseconds since 1970.
    pub fn nanos(&self, index: u64) -> [u8; NANOS_BYTES] {
        let mut left = (self.times.start_us + index * self.times.step_us) * 1_000;
        let mut digits = [b'0'; NANOS_BYTES];
        for digit in digits.iter_mut().rev() {
            *digit += (left % 10) as u8;
            left /= 10;
        }
        digits
    }

    /// `Nov 20 00:00:00`, as BSD's syslog has it.
    pub fn bsd(&mut self, index: u64, out: &mut Vec<u8>) {
        self.at(index);
        out.extend_from_slice(MONTHS[self.month].as_bytes());
        out.push(b' ');
        out.push(if self.text[8] == b'0' { b' ' } else { self.text[8] });
        out.push(self.text[9]);
        out.push(b' ');
        out.extend_from_slice(&self.text[11..19]);
    }

    /// `20/Nov/2026:00:00:00 +0000`, as access logs have it.
    pub fn clf(&mut self, index: u64, out: &mut Vec<u8>) {
        self.at(index);
        out.extend_from_slice(&self.text[8..10]);
        out.push(b'/');
        out.extend_from_slice(MONTHS[self.month].as_bytes());
        out.push(b'/');
        out.extend_from_slice(&self.text[..4]);
        out.push(b':');
        out.extend_from_slice(&self.text[11..19]);
        out.extend_from_slice(b" +0000");
    }

    /// `2026/11/20 00:00:00`, as Nginx's error log has it.
    pub fn nginx(&mut self, index: u64, out: &mut Vec<u8>) {
        self.at(index);
        let text = &self.text;
        for part in [&text[..4], b"/", &text[5..7], b"/", &text[8..10], b" ", &text[11..19]] {
            out.extend_from_slice(part);
        }
    }

    /// `Fri Nov 20 00:00:00.000000 2026`, as Apache's error log has it.
    pub fn apache(&mut self, index: u64, out: &mut Vec<u8>) {
        self.at(index);
        out.extend_from_slice(WEEKDAYS[self.weekday].as_bytes());
        out.push(b' ');
        out.extend_from_slice(MONTHS[self.month].as_bytes());
        out.push(b' ');
        out.extend_from_slice(&self.text[8..10]);
        out.push(b' ');
        out.extend_from_slice(&self.text[11..23]);
        out.extend_from_slice(b"000 ");
        out.extend_from_slice(&self.text[..4]);
    }

    /// Days to dates as in Howard Hinnant's `civil_from_days`.
    fn set(&mut self, second: u64) {
        let days = second / 86_400 + 719_468;
        let of_era = days % 146_097;
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = year_of_era + days / 146_097 * 400 + u64::from(month <= 2);
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
                self.text[place] = b'0' + (value % 10) as u8;
                value /= 10;
            }
        }
        self.second = Some(second);
        self.month = month as usize - 1;
        self.weekday = (second / 86_400 % 7) as usize;
    }
}
