//! Instants to the microsecond, and the many ways in which logs write them.
//!
//! Here is what a time is, and the calendar; [`scan`] reads the ways in which it is written. Nothing reads a clock: what a
//! time leaves open (its zone, for RFC 3164 its year) comes from the caller.

mod scan;

pub use scan::{
    is_weekday, month, number, parse, parse_epoch, scan_bsd, scan_clf, scan_clock, scan_day_first, scan_iso,
    scan_offset, scan_rfc2822,
};

const MICROS: i64 = 1_000_000;
const DAY_SECONDS: i64 = 86_400;

/// An instant from 1970-01-01T00:00:00Z to 9999-12-31T23:59:59.999999Z, to the microsecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    pub const MIN: Timestamp = Timestamp(0);
    pub const MAX: Timestamp = Timestamp(253_402_300_799_999_999);

    /// `None` outside 1970–9999.
    pub const fn from_micros(micros: i64) -> Option<Timestamp> {
        if 0 <= micros && micros <= Timestamp::MAX.0 { Some(Timestamp(micros)) } else { None }
    }

    /// The nearest instant that can be held.
    pub const fn clamped(micros: i64) -> Timestamp {
        match Timestamp::from_micros(micros) {
            Some(timestamp) => timestamp,
            None if micros < 0 => Timestamp::MIN,
            None => Timestamp::MAX,
        }
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Appends RFC 3339 in UTC with six digits of fraction: `2025-11-11T16:00:00.000000Z`.
    pub fn write_rfc3339(self, out: &mut Vec<u8>) {
        let (year, month, day) = civil_from_days(self.0.div_euclid(DAY_SECONDS * MICROS));
        let in_day = self.0.rem_euclid(DAY_SECONDS * MICROS);
        let (seconds, micros) = (in_day / MICROS, in_day % MICROS);
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        digits(&mut text[0..4], year);
        digits(&mut text[5..7], month);
        digits(&mut text[8..10], day);
        digits(&mut text[11..13], seconds / 3600);
        digits(&mut text[14..16], seconds / 60 % 60);
        digits(&mut text[17..19], seconds % 60);
        digits(&mut text[20..26], micros);
        out.extend_from_slice(&text);
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = Vec::with_capacity(27);
        self.write_rfc3339(&mut text);
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

fn digits(out: &mut [u8], mut value: i64) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Where times without a zone of their own are taken to be.
#[derive(Clone, Debug)]
pub struct Zone(ZoneKind);

#[derive(Clone, Debug)]
enum ZoneKind {
    /// Seconds east of UTC.
    Fixed(i32),
    Named(jiff::tz::TimeZone),
}

/// Text that names no time zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown time zone `{0}`: write an IANA name such as Europe/Berlin, UTC, or an offset such as +02:00")]
pub struct UnknownZone(pub String);

impl Zone {
    pub const UTC: Zone = Zone(ZoneKind::Fixed(0));

    /// Reads an IANA name, `UTC`, `local` (the machine's own) or an offset such as `+02:00`.
    pub fn parse(name: &str) -> Result<Zone, UnknownZone> {
        let name = name.trim();
        if name.is_empty() || name.eq_ignore_ascii_case("utc") {
            return Ok(Zone::UTC);
        }
        if name.eq_ignore_ascii_case("local") {
            return Ok(Zone(ZoneKind::Named(jiff::tz::TimeZone::system())));
        }
        if let Some((Some(seconds), length)) = scan_offset(name.as_bytes())
            && length == name.len()
        {
            return Ok(Zone(ZoneKind::Fixed(seconds)));
        }
        match jiff::tz::TimeZone::get(name) {
            Ok(zone) => Ok(Zone(ZoneKind::Named(zone))),
            Err(_) => Err(UnknownZone(name.to_owned())),
        }
    }

    /// Seconds since 1970 of a civil time in this zone, given as if it were UTC. In a gap or fold of daylight saving
    /// time the reading of RFC 5545 holds: a gap is read with the offset before it, a fold as its first pass.
    fn to_utc(&self, civil_seconds: i64) -> i64 {
        let zone = match &self.0 {
            ZoneKind::Fixed(offset) => return civil_seconds - i64::from(*offset),
            ZoneKind::Named(zone) => zone,
        };
        let in_utc = || {
            let civil = jiff::tz::TimeZone::UTC.to_datetime(jiff::Timestamp::from_second(civil_seconds).ok()?);
            Some(zone.to_ambiguous_timestamp(civil).compatible().ok()?.as_second())
        };
        in_utc().unwrap_or(civil_seconds)
    }
}

impl Default for Zone {
    fn default() -> Self {
        Zone::UTC
    }
}

/// As [`Zone::parse`] reads it.
impl std::fmt::Display for Zone {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            ZoneKind::Fixed(0) => out.write_str("UTC"),
            ZoneKind::Fixed(offset) => {
                let (sign, minutes) = (if *offset < 0 { '-' } else { '+' }, offset.abs() / 60);
                write!(out, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
            }
            ZoneKind::Named(zone) => out.write_str(zone.iana_name().unwrap_or("local")),
        }
    }
}

/// A date and time as a line has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Civil {
    pub year: i32,
    /// From 1.
    pub month: u8,
    pub day: u8,
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
    pub micros: u32,
    /// What is left of the fraction below the microsecond, 0 to 999.
    pub nanos: u16,
    /// Seconds east of UTC, where the line says so.
    pub offset: Option<i32>,
}

/// An instant, and the nanoseconds of it that a [`Timestamp`] cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instant {
    pub timestamp: Timestamp,
    /// 0 to 999.
    pub nanos: u16,
}

impl Civil {
    /// The instant; `None` outside 1970–9999.
    pub fn resolve(&self, zone: &Zone) -> Option<Instant> {
        let seconds = self.civil_seconds();
        let utc = match self.offset {
            Some(offset) => seconds - i64::from(offset),
            None => zone.to_utc(seconds),
        };
        Timestamp::from_micros(utc * MICROS + i64::from(self.micros))
            .map(|timestamp| Instant { timestamp, nanos: self.nanos })
    }

    /// The instant when the line has no year: that which puts it nearest to `received`, on 29 February the nearest
    /// leap year.
    pub fn resolve_without_year(&self, zone: &Zone, received: Timestamp) -> Option<Instant> {
        let (year, _, _) = civil_from_days(received.0.div_euclid(DAY_SECONDS * MICROS));
        let reach = if (self.month, self.day) == (2, 29) { 8 } else { 1 };
        (year - reach..=year + reach)
            .filter(|&year| i64::from(self.day) <= days_in_month(year, i64::from(self.month)))
            .filter_map(|year| Civil { year: year as i32, ..*self }.resolve(zone))
            .min_by_key(|instant| instant.timestamp.0.abs_diff(received.0))
    }

    /// Seconds since 1970 as if the time were UTC.
    fn civil_seconds(&self) -> i64 {
        let days = days_from_civil(i64::from(self.year), i64::from(self.month), i64::from(self.day));
        // A leap second is told as the second before it.
        let second = i64::from(self.second.min(59));
        days * DAY_SECONDS + i64::from(self.hour) * 3600 + i64::from(self.minute) * 60 + second
    }

    /// Whether it is a date of the calendar and a time of day.
    pub fn is_valid(&self) -> bool {
        (1..=12).contains(&self.month)
            && self.day >= 1
            && i64::from(self.day) <= days_in_month(i64::from(self.year), i64::from(self.month))
            && self.has_valid_clock()
    }

    fn has_valid_clock(&self) -> bool {
        self.hour <= 23 && self.minute <= 59 && self.second <= 60
    }
}

/// Days since 1970 of a date of the proleptic Gregorian calendar (Howard Hinnant's `days_from_civil`).
pub fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year, month and day of a number of days since 1970.
pub fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calendar_round_trip() {
        for days in (0..2_932_896).step_by(97) {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-31T23:59:59.999999Z");
    }
}
