//! Times as strptime writes their shape, for logs that write them in a way of their own.

use crate::time::{Civil, Instant, Timestamp, Zone, month, number};

/// The shape of a time: `%Y-%m-%d %H:%M:%S`.
///
/// | directive | stands for |
/// |---|---|
/// | `%Y` `%y` | year of four or two digits |
/// | `%m` `%d` `%e` | month, day |
/// | `%b` | the month's name, at least its first three letters |
/// | `%H` `%M` `%S` | hour, minute, second |
/// | `%f` | a fraction of one to nine digits |
/// | `%z` | an offset: `Z`, `+0100` or `+01:00` |
/// | `%%` | a percent sign |
///
/// Of month, day, hour, minute and second the leading zero may be missing, or be a blank, as strptime has it; where two
/// directives adjoin, as in `%y%m%d`, each has its two columns. A blank stands for one or more, all else for itself.
/// Without a year it is the one nearest to the receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeFormat {
    text: String,
    has_year: bool,
}

/// A shape that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown directive `%{0}` in a time format: there are %Y %y %m %d %e %b %H %M %S %f %z %%")]
pub struct UnknownDirective(pub String);

impl TimeFormat {
    pub fn new(text: &str) -> Result<TimeFormat, UnknownDirective> {
        let mut chars = text.chars();
        let mut has_year = false;
        while let Some(c) = chars.next() {
            if c == '%' {
                match chars.next() {
                    Some('Y' | 'y') => has_year = true,
                    Some('m' | 'd' | 'e' | 'b' | 'H' | 'M' | 'S' | 'f' | 'z' | '%') => {}
                    other => return Err(UnknownDirective(other.map(String::from).unwrap_or_default())),
                }
            }
        }
        Ok(TimeFormat { text: text.to_owned(), has_year })
    }

    /// Reads text that is of this shape as a whole.
    pub fn parse(&self, text: &[u8], zone: &Zone, received: Timestamp) -> Option<Instant> {
        let mut civil = Civil { year: 2000, month: 1, day: 1, ..Civil::default() };
        let mut at = 0;
        let mut shape = self.text.as_bytes();
        let mut after_directive = false;
        loop {
            let is_directive = matches!(shape, [b'%', directive, ..] if *directive != b'%');
            (at, shape) = match shape {
                [b'%', directive, rest @ ..] => {
                    let before_directive = matches!(rest, [b'%', next, ..] if *next != b'%');
                    let adjoins = after_directive || before_directive;
                    (read_directive(*directive, adjoins, text, at, &mut civil)?, rest)
                }
                [b' ', rest @ ..] => {
                    let blanks = text.get(at..)?.iter().take_while(|&&b| b == b' ').count();
                    ((blanks > 0).then_some(at + blanks)?, rest)
                }
                [literal, rest @ ..] => ((text.get(at) == Some(literal)).then_some(at + 1)?, rest),
                [] => break,
            };
            after_directive = is_directive;
        }
        if at != text.len() || !civil.is_valid() {
            return None;
        }
        if self.has_year { civil.resolve(zone) } else { civil.resolve_without_year(zone, received) }
    }
}

/// Reads what a directive stands for at `at`; where it ends. `adjoins`: with no character between it and another, so
/// that only its width tells where it ends.
fn read_directive(directive: u8, adjoins: bool, text: &[u8], at: usize, civil: &mut Civil) -> Option<usize> {
    let two = |value: &mut u8| {
        let blank = usize::from(text.get(at) == Some(&b' '));
        let digits = if number(text, at + blank, 2).is_some() && !(adjoins && blank == 1) { 2 } else { 1 };
        if adjoins && blank + digits < 2 {
            return None;
        }
        *value = number(text, at + blank, digits)? as u8;
        Some(at + blank + digits)
    };
    match directive {
        b'Y' => {
            civil.year = number(text, at, 4)? as i32;
            Some(at + 4)
        }
        b'y' => {
            let year = number(text, at, 2)? as i32;
            // POSIX: 69 to 99 are of the last century.
            civil.year = if year >= 69 { 1900 + year } else { 2000 + year };
            Some(at + 2)
        }
        b'm' => two(&mut civil.month),
        b'd' | b'e' => two(&mut civil.day),
        b'b' => {
            civil.month = month(text.get(at..at + 3)?)?;
            Some(at + text[at..].iter().take_while(|b| b.is_ascii_alphabetic()).count())
        }
        b'H' => two(&mut civil.hour),
        b'M' => two(&mut civil.minute),
        b'S' => two(&mut civil.second),
        b'f' => {
            let digits = text.get(at..)?.iter().take_while(|b| b.is_ascii_digit()).count().min(9);
            let nanos = number(text, at, digits).filter(|_| digits > 0)? * 10u32.pow(9 - digits as u32);
            (civil.micros, civil.nanos) = (nanos / 1000, (nanos % 1000) as u16);
            Some(at + digits)
        }
        b'z' => {
            let (offset, length) = crate::time::scan_offset(text.get(at..)?)?;
            civil.offset = offset;
            Some(at + length)
        }
        b'%' => (text.get(at) == Some(&b'%')).then_some(at + 1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_of_real_logs() {
        let received = Timestamp::clamped(1_762_905_600_000_000);
        for (format, text, want) in [
            ("%y%m%d %H%M%S", "251111 160000", "2025-11-11T16:00:00.000000Z"),
            ("%y/%m/%d %H:%M:%S", "25/11/11 16:00:00", "2025-11-11T16:00:00.000000Z"),
            ("%Y%m%d-%H:%M:%S:%f", "20251111-16:00:00:606", "2025-11-11T16:00:00.606000Z"),
            ("%m%d %H:%M:%S.%f", "0102 15:04:05.678901", "2026-01-02T15:04:05.678901Z"),
            ("%e %b %Y %H:%M:%S%z", "1 January 1999 00:00:00+01:00", "1998-12-31T23:00:00.000000Z"),
            ("100%% %d.%m.%y %H:%M", "100%   24.12.99 18:00", "1999-12-24T18:00:00.000000Z"),
            // Without leading zeros: Windows' and American dates, MySQL 5's and HAProxy's clocks.
            ("%m/%d/%Y %H:%M:%S", "1/2/2025 3:04:05", "2025-01-02T03:04:05.000000Z"),
            ("%d.%m.%Y, %H:%M", "1.2.2025, 9:30", "2025-02-01T09:30:00.000000Z"),
            ("%y%m%d %H:%M:%S", "131112  9:05:01", "2013-11-12T09:05:01.000000Z"),
            ("%y%m%d%H%M%S", "131112 90501", "2013-11-12T09:05:01.000000Z"),
            ("[%d/%b/%Y:%H:%M:%S.%f]", "[ 6/Feb/2009:12:14:14.655]", "2009-02-06T12:14:14.655000Z"),
            ("%b %e %H:%M:%S", "Nov 11 6:0:5", "2025-11-11T06:00:05.000000Z"),
        ] {
            let got = TimeFormat::new(format).unwrap().parse(text.as_bytes(), &Zone::UTC, received);
            assert_eq!(got.map(|i| i.timestamp.to_string()).as_deref(), Some(want), "{format}");
        }
    }

    #[test]
    fn what_does_not_fit() {
        let format = TimeFormat::new("%Y-%m-%d %H:%M:%S.%f").unwrap();
        for text in ["", "2025", "2025-13-01 00:00:00.1", "2025-01-01 00:00:00.", "2025-01-01 00:00:00.1x"] {
            assert_eq!(format.parse(text.as_bytes(), &Zone::UTC, Timestamp::MIN), None, "{text}");
        }
        for (format, text) in [
            ("%y%m%d %H:%M", "25111 16:00"),
            ("%m%d %H:%M", "111 16:00"),
            ("%Y-%m-%d %H:%M", "2025-11-11T16:00"),
            ("%m/%d/%Y", "1//2025"),
            ("%m/%d/%Y", "13/1/2025"),
            ("%m/%d/%Y", "  1/1/2025"),
        ] {
            let format = TimeFormat::new(format).unwrap();
            assert_eq!(format.parse(text.as_bytes(), &Zone::UTC, Timestamp::MIN), None, "{text}");
        }
        assert!(TimeFormat::new("%Q").is_err());
        assert!(TimeFormat::new("%").is_err());
    }
}
