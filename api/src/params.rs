//! The query string: decoded once, then taken apart parameter by parameter; what nobody takes is an error.

use record::{Filter, Timestamp, Zone};
use warp::http::StatusCode;

use crate::error::ApiError;

/// A query string of more bytes is refused: the longest useful `q` is far shorter, and so are the limits of proxies.
pub const QUERY_BYTES_MAX: usize = 16 * 1024;
/// Parameters in one query string; a filter has a handful.
pub const PARAMETERS_MAX: usize = 64;
/// The parameters of a filter, as an error names them.
const FILTER_NAMES: &str = "level, level_min, source, application, from, to, q, metadata.KEY";

/// A request's parameters, in order, decoded.
#[derive(Debug, Default)]
pub struct Params {
    pairs: Vec<(String, String)>,
    /// What this route takes besides the filter.
    own: &'static [&'static str],
}

impl Params {
    /// Decodes a query string as HTML forms write it (WHATWG URL §5.1): `+` is a blank.
    pub fn parse(query: &str, own: &'static [&'static str]) -> Result<Params, ApiError> {
        if query.len() > QUERY_BYTES_MAX {
            return Err(ApiError::new(
                StatusCode::URI_TOO_LONG,
                "query_too_long",
                format!("the query string is {} bytes long, at most {QUERY_BYTES_MAX} are read", query.len()),
            ));
        }
        let mut pairs = Vec::new();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            if pairs.len() == PARAMETERS_MAX {
                return Err(ApiError::bad_request(
                    "too_many_parameters",
                    format!("there are more than {PARAMETERS_MAX} parameters"),
                ));
            }
            pairs.push((decode(name)?, decode(value)?));
        }
        Ok(Params { pairs, own })
    }

    /// Takes a parameter that may come once. An empty value is as if it were not there, as a form sends it.
    pub fn take(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        let Some(at) = self.pairs.iter().position(|(n, _)| n == name) else { return Ok(None) };
        let (_, value) = self.pairs.remove(at);
        if self.pairs.iter().any(|(n, _)| n == name) {
            return Err(ApiError::bad_request("repeated_parameter", format!("{name} is given twice: give it once")));
        }
        Ok(Some(value).filter(|value| !value.is_empty()))
    }

    /// Takes a whole number; `mend` says what to do instead of asking for more than `max`.
    pub fn number(
        &mut self,
        name: &str,
        default: usize,
        range: std::ops::RangeInclusive<usize>,
        mend: &str,
    ) -> Result<usize, ApiError> {
        let Some(text) = self.take(name)? else { return Ok(default) };
        let (min, max) = (range.start(), range.end());
        match text.parse() {
            Ok(number) if range.contains(&number) => Ok(number),
            _ => Err(ApiError::bad_request(
                "bad_parameter",
                format!("{name} is `{}`, and must be a number from {min} to {max}{mend}", shown(&text)),
            )),
        }
    }

    /// The filter that the parameters left over make.
    pub fn filter(self, received: Timestamp, zone: &Zone) -> Result<Filter, ApiError> {
        if let Some((name, _)) = self.pairs.iter().find(|(name, _)| !Filter::is_param(name)) {
            return Err(self.unknown(name, FILTER_NAMES));
        }
        let pairs = self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        Ok(Filter::from_params(pairs, received, zone)?)
    }

    /// That nothing is left, on a route without a filter.
    pub fn end(self) -> Result<(), ApiError> {
        match self.pairs.first() {
            Some((name, _)) => Err(self.unknown(name, "")),
            None => Ok(()),
        }
    }

    fn unknown(&self, name: &str, filter_names: &str) -> ApiError {
        let mut known = self.own.join(", ");
        if !known.is_empty() && !filter_names.is_empty() {
            known.push_str(", ");
        }
        known.push_str(filter_names);
        let mend = if known.is_empty() { "none is known here".to_owned() } else { format!("known are {known}") };
        ApiError::bad_request("unknown_parameter", format!("unknown parameter `{}`: {mend}", shown(name)))
    }
}

/// A client's text as an error repeats it: short, and without control characters.
pub fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    let mut out: String =
        text.chars().take(CHARS_MAX).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        out.push('…');
    }
    out
}

/// Undoes percent-encoding and `+`.
pub fn decode(text: &str) -> Result<String, ApiError> {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'+' => out.push(b' '),
            b'%' => {
                let digit = |i: usize| bytes.get(i).and_then(|&b| char::from(b).to_digit(16));
                let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2)) else {
                    return Err(bad_encoding(text));
                };
                out.push((high << 4 | low) as u8);
                at += 2;
            }
            byte => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8(out).map_err(|_| bad_encoding(text))
}

fn bad_encoding(text: &str) -> ApiError {
    ApiError::bad_request(
        "bad_encoding",
        format!("`{}` is not percent-encoded UTF-8: write a percent sign itself as %25", shown(text)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: &str, want: Result<&[(&str, &str)], &str>) {
        match (Params::parse(query, &[]), want) {
            (Ok(params), Ok(want)) => {
                let got: Vec<_> = params.pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
                assert_eq!(got, want, "{query}");
            }
            (Err(error), Err(code)) => assert_eq!(error.code, code, "{query}"),
            (got, want) => panic!("{query}: {got:?}, not {want:?}"),
        }
    }

    #[test]
    fn query_strings() {
        check("", Ok(&[]));
        check("a=b&c=d+e%20f", Ok(&[("a", "b"), ("c", "d e f")]));
        check("a&&b=&=c", Ok(&[("a", ""), ("b", ""), ("", "c")]));
        check("q=%C3%A4%2B%26", Ok(&[("q", "ä+&")]));
        check("q=a=b", Ok(&[("q", "a=b")]));
        for broken in ["q=%", "q=%4", "q=%zz", "q=%ff", "%=1"] {
            check(broken, Err("bad_encoding"));
        }
        check(&"a=1&".repeat(PARAMETERS_MAX + 1), Err("too_many_parameters"));
        check(&"a".repeat(QUERY_BYTES_MAX + 1), Err("query_too_long"));
    }

    #[test]
    fn what_is_left_over_is_named() {
        let mut params = Params::parse("limit=5&colour=red", &["limit", "cursor"]).unwrap();
        assert_eq!(params.number("limit", 1, 1..=10, "").unwrap(), 5);
        let error = params.filter(Timestamp::MIN, &Zone::UTC).unwrap_err();
        assert_eq!(error.code, "unknown_parameter");
        assert!(error.message.starts_with("unknown parameter `colour`: known are limit, cursor, level,"), "{error:?}");
    }

    #[test]
    fn numbers_have_bounds() {
        for (query, code) in [("n=11", "bad_parameter"), ("n=-1", "bad_parameter"), ("n=x", "bad_parameter")] {
            let mut params = Params::parse(query, &["n"]).unwrap();
            assert_eq!(params.number("n", 1, 0..=10, "").unwrap_err().code, code, "{query}");
        }
        let mut params = Params::parse("n=1&n=2", &["n"]).unwrap();
        assert_eq!(params.number("n", 1, 0..=10, "").unwrap_err().code, "repeated_parameter");
    }
}
