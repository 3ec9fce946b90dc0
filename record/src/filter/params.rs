//! Query parameters to a [`Filter`]: the same for pages, export, figures and the live tail.
//!
//! | parameter | means |
//! |---|---|
//! | `level=warn,error` | any of these; repeated, any of all; synonyms are welcome |
//! | `level_min=warn` | this or more severe |
//! | `source=`, `application=` | exactly this; repeated, any of these |
//! | `from=`, `to=` | from this instant, included, to that, not included: any shape of a time, `now`, `-90m`, `-24h`, `now-7d` |
//! | `metadata.KEY=` | equality; repeated, any of these; other keys must hold too |
//! | `q=` | the search language ([`parse_q`](super::parse_q)); repeated, all must hold |
//!
//! An empty value is as if the parameter were not there, as a form sends it, but for `metadata.KEY=`, which asks for
//! the empty text.

use super::{Expr, Field, Filter, LevelSet, Test, TimeRange, parse_q};
use crate::level::Level;
use crate::time::{self, Timestamp, Zone};

/// Values of all parameters together. Each is compared with every record.
pub const FILTER_VALUES_MAX: usize = 256;

/// A filter that cannot be read: what is wrong, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", column.map_or(String::new(), |column| format!(" (column {column})")))]
pub struct FilterError {
    /// `bad_query`, `unknown_level`, `unknown_time`, `empty_time_range`, `bad_filter`.
    pub code: &'static str,
    pub message: String,
    /// Where in `q`, in characters from 1.
    pub column: Option<usize>,
}

impl FilterError {
    pub(super) fn unknown_level(name: &str) -> FilterError {
        let levels = Level::ALL.map(Level::as_str).join(", ");
        let message =
            format!("unknown level `{name}`: write one of {levels}, or a synonym such as warning or critical");
        FilterError { code: "unknown_level", message, column: None }
    }

    pub(super) fn unknown_time(name: &str, text: &str) -> FilterError {
        let message = format!(
            "`{text}` is no time for {name}: write one as 2025-11-11T16:00:00Z, as seconds since 1970, as now, or \
             relative to now as -90m, -24h, -7d (units s, m, h, d, w)"
        );
        FilterError { code: "unknown_time", message, column: None }
    }

    fn bad_filter(message: String) -> FilterError {
        FilterError { code: "bad_filter", message, column: None }
    }
}

impl Filter {
    /// Whether a query parameter is one of the filter's.
    pub fn is_param(name: &str) -> bool {
        matches!(name, "level" | "level_min" | "source" | "application" | "from" | "to" | "q")
            || name.strip_prefix("metadata.").is_some_and(|key| !key.is_empty())
    }

    /// Reads the filter out of query parameters, names and values already decoded; those that are not the filter's are
    /// left alone. `now` is `received`; times without a zone are in `zone`.
    pub fn from_params<'a>(
        params: impl IntoIterator<Item = (&'a str, &'a str)>,
        received: Timestamp,
        zone: &Zone,
    ) -> Result<Filter, FilterError> {
        let mut filter = Filter::default();
        let mut metadata: Vec<(&str, Vec<String>)> = Vec::new();
        let mut parts = Vec::new();
        let mut at_least = LevelSet::ALL;
        let mut values = 0;
        for (name, value) in params {
            let key = name.strip_prefix("metadata.").filter(|key| !key.is_empty());
            if !Filter::is_param(name) || (value.is_empty() && key.is_none()) {
                continue;
            }
            if name != "q" && (value.contains('\0') || name.contains('\0')) {
                return Err(FilterError::bad_filter(format!("{name} holds a NUL, which no record does: leave it out")));
            }
            values += 1;
            if values > FILTER_VALUES_MAX {
                let message = format!("more than {FILTER_VALUES_MAX} values in one filter: ask for fewer at a time");
                return Err(FilterError::bad_filter(message));
            }
            match name {
                "level" => {
                    for level in value.split(',').filter(|level| !level.trim().is_empty()) {
                        filter.levels.get_or_insert(LevelSet::NONE).insert(level_of(level)?);
                    }
                }
                "level_min" => at_least = at_least.intersection(LevelSet::at_least(level_of(value)?)),
                "source" => filter.source.get_or_insert_default().push(value.to_owned()),
                "application" => filter.application.get_or_insert_default().push(value.to_owned()),
                "from" => filter.from = Some(time_of(name, value, received, zone)?),
                "to" => filter.to = Some(time_of(name, value, received, zone)?),
                "q" => parts.push(parse_q(value, received, zone)?),
                _ => {
                    let key = key.unwrap_or_default();
                    match metadata.iter_mut().find(|(known, _)| *known == key) {
                        Some((_, values)) => values.push(value.to_owned()),
                        None => metadata.push((key, vec![value.to_owned()])),
                    }
                }
            }
        }
        if let (Some(from), Some(to)) = (filter.from, filter.to)
            && from >= to
        {
            let message = format!("from is {from} and to is {to}: from must be earlier, since to is not included");
            return Err(FilterError { code: "empty_time_range", message, column: None });
        }
        if at_least != LevelSet::ALL {
            filter.require(Expr::Level(at_least));
        }
        for (key, values) in metadata {
            filter.require(Expr::Field { field: Field::Metadata(key.to_owned()), test: Test::AnyOf(values) });
        }
        for part in parts {
            filter.require(part);
        }
        Ok(filter)
    }

    /// Narrows the filter: `expr` must hold as well. What it says of level, time, source and application becomes part
    /// of the filter's own fields, where every reader uses it to leave out whole files.
    pub fn require(&mut self, expr: Expr) {
        match expr {
            Expr::All(parts) => parts.into_iter().for_each(|part| self.require(part)),
            Expr::Level(levels) => self.levels = Some(self.levels.unwrap_or(LevelSet::ALL).intersection(levels)),
            Expr::Not(part) => match *part {
                Expr::Level(levels) => self.require(Expr::Level(levels.complement())),
                other => self.require_other(Expr::Not(Box::new(other))),
            },
            Expr::Time(range) => TimeRange { from: self.from, to: self.to } = self.range().intersection(range),
            Expr::Field { field: Field::Source, test: Test::AnyOf(texts) } => narrow(&mut self.source, texts),
            Expr::Field { field: Field::Application, test: Test::AnyOf(texts) } => narrow(&mut self.application, texts),
            other => self.require_other(other),
        }
    }

    fn require_other(&mut self, expr: Expr) {
        match &mut self.expr {
            Expr::All(parts) if parts.is_empty() => self.expr = expr,
            Expr::All(parts) => parts.push(expr),
            _ => {
                let first = std::mem::take(&mut self.expr);
                self.expr = Expr::All(vec![first, expr]);
            }
        }
    }
}

fn narrow(list: &mut Option<Vec<String>>, texts: Vec<String>) {
    match list {
        Some(list) => list.retain(|text| texts.contains(text)),
        None => *list = Some(texts),
    }
}

fn level_of(name: &str) -> Result<Level, FilterError> {
    Level::from_name(name.as_bytes()).ok_or_else(|| FilterError::unknown_level(name))
}

fn time_of(name: &str, text: &str, received: Timestamp, zone: &Zone) -> Result<Timestamp, FilterError> {
    // A `+` that was not written as %2B arrives as a blank: `2025-11-11T16:00:00 02:00`.
    let with_plus = || {
        let (before, after) = text.rsplit_once(' ')?;
        parse_time(&format!("{before}+{after}"), received, zone)
    };
    parse_time(text, received, zone).or_else(with_plus).ok_or_else(|| FilterError::unknown_time(name, text))
}

/// Reads an instant: any shape of [`time::parse`], `now`, or relative to it: `-90m`, `-1h30m`, `now-7d`, `+1h`.
pub fn parse_time(text: &str, received: Timestamp, zone: &Zone) -> Option<Timestamp> {
    let text = text.trim();
    let offset = match text.get(..3) {
        Some(now) if now.eq_ignore_ascii_case("now") => &text[3..],
        _ => text,
    };
    if offset.is_empty() && !text.is_empty() {
        return Some(received);
    }
    if let Some(sign @ ('-' | '+')) = offset.chars().next() {
        let micros = span_micros(&offset[1..])?;
        let micros = if sign == '-' { -micros } else { micros };
        return Some(Timestamp::clamped(received.as_micros().saturating_add(micros)));
    }
    Some(time::parse(text.as_bytes(), zone, received)?.timestamp)
}

/// `90m` or `1h30m` in microseconds.
fn span_micros(mut text: &str) -> Option<i64> {
    let mut sum = 0i64;
    while !text.is_empty() {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let count: i64 = text[..digits].parse().ok()?;
        let seconds = match text[digits..].chars().next()? {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return None,
        };
        sum = count.checked_mul(seconds * 1_000_000)?.checked_add(sum)?;
        text = &text[digits + 1..];
        if text.is_empty() {
            return Some(sum);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Filter, FilterError> {
        let received = Timestamp::from_micros(1_762_876_800_000_000).unwrap();
        let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        Filter::from_params(pairs, received, &Zone::UTC)
    }

    #[test]
    fn parameters_and_the_filter_they_make() {
        for (query, as_q) in [
            ("", ""),
            ("limit=5&cursor=x&level=&source=&q=&from=", ""),
            ("level=warning,err&level=panic", "level:(WARN,ERROR,FATAL)"),
            ("level_min=error", "level:(ERROR,FATAL)"),
            ("level=info,fatal&level_min=warn", "level:(FATAL)"),
            ("source=a&source=b,c&application=x", r#"source:("a","b,c") application:("x")"#),
            (
                "from=2025-11-11&to=now",
                "(timestamp:>=2025-11-11T00:00:00.000000Z timestamp:<2025-11-11T16:00:00.000000Z)",
            ),
            ("from=-1h30m", "timestamp:>=2025-11-11T14:30:00.000000Z"),
            ("from=now-1d", "timestamp:>=2025-11-10T16:00:00.000000Z"),
            ("from=-99999w", "timestamp:>=1970-01-01T00:00:00.000000Z"),
            ("from=2025-11-11T16:00:00 02:00", "timestamp:>=2025-11-11T14:00:00.000000Z"),
            ("to=1762876800", "timestamp:<2025-11-11T16:00:00.000000Z"),
            ("metadata.a=1&metadata.b=x&metadata.a=", r#"(metadata.a:("1","") metadata.b:("x"))"#),
            ("q=timeout&q=-x or y", r#"("timeout" (-("x") or "y"))"#),
            ("q=level:error source:(a,b) timeout&source=b", r#"level:(ERROR) source:("b") "timeout""#),
            ("q=source:a&source=b", "-level:*"),
            ("q=-level:(trace,debug) x", r#"level:(INFO,WARN,ERROR,FATAL) "x""#),
            ("metadata.=x", ""),
        ] {
            assert_eq!(read(query).map(|filter| filter.to_string()).as_deref(), Ok(as_q), "{query}");
        }
        assert!(read("q=source:a&source=b").unwrap().is_nothing());
        assert!(read("limit=5").unwrap().is_everything());
    }

    #[test]
    fn errors_carry_code_and_mend() {
        for (query, code, says) in [
            ("level=loud", "unknown_level", "TRACE, DEBUG, INFO, WARN, ERROR, FATAL"),
            ("level_min=x", "unknown_level", "`x`"),
            ("from=soon", "unknown_time", "-90m"),
            ("from=-5", "unknown_time", "units s, m, h, d, w"),
            ("to=-h", "unknown_time", "for to"),
            ("from=-99999999999999999999w", "unknown_time", "-90m"),
            ("from=2025-11-11&to=2025-11-11", "empty_time_range", "must be earlier"),
            ("q=(", "bad_query", "never closed"),
            ("source=a\0", "bad_filter", "NUL"),
            ("metadata.a\0=", "bad_filter", "NUL"),
        ] {
            let error = read(query).expect_err(query);
            assert_eq!(error.code, code, "{query}");
            assert!(error.message.contains(says), "{query}: {error}");
        }
        let many = vec!["source=a"; FILTER_VALUES_MAX + 1].join("&");
        assert_eq!(read(&many).unwrap_err().code, "bad_filter");
    }

    #[test]
    fn a_fingerprint_tells_filters_apart_but_not_by_time() {
        let print = |query: &str| read(query).unwrap().fingerprint();
        assert_eq!(print("q=a&from=-1h"), print("q=a&from=-2h"));
        let all = [
            "",
            "level=info",
            "source=info",
            "application=info",
            "q=info",
            "q=-info",
            "q=a b",
            "q=a or b",
            "q=ab",
            "q=info:info",
            "q=info:*",
            "q=info:>1",
            "q=info:>=1",
            "source=a&source=b",
            "source=ab",
        ];
        let prints: std::collections::HashSet<u64> = all.iter().map(|query| print(query)).collect();
        assert_eq!(prints.len(), all.len());
        // Cursors outlive a restart and an update.
        assert_eq!(print("level=info&source=a&q=-x or user:>5"), 8_927_153_312_594_242_849);
    }
}
