//! Numbers as logs write them, compared as the decimals that they are: no double rounds an id away.

use std::cmp::Ordering;

use crate::text::canonical_i64;

/// A longer string is text, not a number: no reader has to take a line of digits for one.
pub const NUMERIC_STRING_BYTES_MAX: usize = 64;

/// The number on the right of `field:>n`: text of a JSON number (RFC 8259 §6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Number {
    text: String,
    /// Its value, where the text is how an i64 is written.
    int: Option<i64>,
}

impl Number {
    /// `None` where `text` is not written as a JSON number.
    pub fn parse(text: &str) -> Option<Number> {
        Decimal::parse(text.as_bytes())?;
        Some(Number { text: text.to_owned(), int: canonical_i64(text.as_bytes()) })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its value, where the text is how an i64 is written.
    pub fn as_i64(&self) -> Option<i64> {
        self.int
    }

    /// How `value` stands to this number: `Greater` when it is greater.
    pub fn order_of_int(&self, value: i64) -> Ordering {
        match self.int {
            Some(int) => value.cmp(&int),
            None => Decimal::parse(itoa::Buffer::new().format(value).as_bytes())
                .zip(Decimal::parse(self.text.as_bytes()))
                .map_or(Ordering::Equal, |(value, own)| value.order(&own)),
        }
    }

    /// How a JSON number stands to this one. `None` when `text` is not written as a JSON number.
    pub fn order_of(&self, text: &[u8]) -> Option<Ordering> {
        let own = Decimal::parse(self.text.as_bytes())?;
        Some(Decimal::parse(text)?.order(&own))
    }
}

/// Whether a string counts as a number in `field:>n`: a JSON number without an exponent, not too long.
pub(super) fn is_numeric_string(text: &[u8]) -> bool {
    text.len() <= NUMERIC_STRING_BYTES_MAX
        && !text.iter().any(|b| matches!(b, b'e' | b'E'))
        && Decimal::parse(text).is_some()
}

/// Whether both texts are written as JSON numbers of the same value.
pub(super) fn same_number(a: &[u8], b: &[u8]) -> bool {
    match (Decimal::parse(a), Decimal::parse(b)) {
        (Some(a), Some(b)) => a.order(&b) == Ordering::Equal,
        _ => false,
    }
}

/// A JSON number taken apart: ±0.d₁d₂d₃… · 10^exponent with d₁ ≠ 0, or zero.
#[derive(Clone, Copy, Debug)]
struct Decimal<'a> {
    negative: bool,
    /// From the first digit that is not 0 on, the point among them; empty for zero.
    digits: &'a [u8],
    exponent: i64,
}

impl<'a> Decimal<'a> {
    fn parse(text: &'a [u8]) -> Option<Decimal<'a>> {
        let negative = text.first() == Some(&b'-');
        let text = if negative { &text[1..] } else { text };
        let digits_at =
            |at: usize| text.get(at..).map_or(0, |rest| rest.iter().take_while(|b| b.is_ascii_digit()).count());
        let whole = digits_at(0);
        if whole == 0 || (whole > 1 && text[0] == b'0') {
            return None;
        }
        let mut end = whole;
        if text.get(end) == Some(&b'.') {
            let fraction = digits_at(end + 1);
            if fraction == 0 {
                return None;
            }
            end += 1 + fraction;
        }
        let mantissa = &text[..end];
        let mut power = 0i64;
        if matches!(text.get(end), Some(b'e' | b'E')) {
            let minus = text.get(end + 1) == Some(&b'-');
            let at = end + 1 + usize::from(matches!(text.get(end + 1), Some(b'-' | b'+')));
            let count = digits_at(at);
            if count == 0 {
                return None;
            }
            // Held far inside i64, so that adding lengths cannot overflow; no storable number comes near.
            power = text[at..at + count].iter().fold(0i64, |sum, b| (sum * 10 + i64::from(b - b'0')).min(1 << 50));
            power = if minus { -power } else { power };
            end = at + count;
        }
        if end != text.len() {
            return None;
        }
        let Some(first) = mantissa.iter().position(|b| matches!(b, b'1'..=b'9')) else {
            return Some(Decimal { negative: false, digits: &[], exponent: 0 });
        };
        // Digits of the whole part from the first on, or minus the zeros behind the point.
        let shift = if first < whole { (whole - first) as i64 } else { -((first - whole - 1) as i64) };
        Some(Decimal { negative, digits: &mantissa[first..], exponent: power + shift })
    }

    fn order(&self, other: &Decimal) -> Ordering {
        match (self.sign(), other.sign()) {
            (a, b) if a != b => a.cmp(&b),
            (0, _) => Ordering::Equal,
            (sign, _) => {
                let magnitude = self.exponent.cmp(&other.exponent).then_with(|| self.order_of_digits(other));
                if sign < 0 { magnitude.reverse() } else { magnitude }
            }
        }
    }

    fn sign(&self) -> i8 {
        match (self.digits.is_empty(), self.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        }
    }

    fn order_of_digits(&self, other: &Decimal) -> Ordering {
        let digits = |decimal: &Decimal<'a>| decimal.digits.iter().copied().filter(|&b| b != b'.');
        let (mut a, mut b) = (digits(self), other.digits.iter().copied().filter(|&b| b != b'.'));
        loop {
            match (a.next(), b.next()) {
                (None, None) => return Ordering::Equal,
                // Digits that one side has not are zeros.
                (x, y) => match x.unwrap_or(b'0').cmp(&y.unwrap_or(b'0')) {
                    Ordering::Equal => {}
                    order => return order,
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_exact() {
        for (a, b, order) in [
            ("1", "1.0", Ordering::Equal),
            ("0", "-0.0", Ordering::Equal),
            ("0e5", "0", Ordering::Equal),
            ("1e2", "100", Ordering::Equal),
            ("0.001", "1e-3", Ordering::Equal),
            ("1200.50e-2", "12.005", Ordering::Equal),
            ("9007199254740993", "9007199254740992", Ordering::Greater),
            ("0.1", "0.09", Ordering::Greater),
            ("-2", "-1", Ordering::Less),
            ("-1", "0", Ordering::Less),
            ("10", "9", Ordering::Greater),
            ("1e999999999999999999999", "1", Ordering::Greater),
            ("1e-999999999999999999999", "0", Ordering::Greater),
        ] {
            let number = Number::parse(b).unwrap();
            assert_eq!(number.order_of(a.as_bytes()), Some(order), "{a} {b}");
            assert_eq!(Number::parse(a).unwrap().order_of(b.as_bytes()), Some(order.reverse()), "{b} {a}");
            if let Some(a) = canonical_i64(a.as_bytes()) {
                assert_eq!(number.order_of_int(a), order, "{a} {b}");
            }
        }
    }

    #[test]
    fn other_text_is_no_number() {
        for text in ["", "-", "+1", "01", "1.", ".5", "1e", "1e+", "0x1", "1 ", "NaN", "1.5.2", "--1"] {
            assert_eq!(Number::parse(text), None, "{text}");
        }
        assert!(is_numeric_string(b"-12.50") && !is_numeric_string(b"1e3") && !is_numeric_string(&[b'1'; 65]));
    }
}
