//! `GET /stats`, `/stats/histogram` and `/stats/facets`: how many, when, and of what.

use engine::store::{Counts, FacetField};
use record::filter::{Expr, TimeRange};
use record::{Level, Timestamp};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use utoipa::ToSchema;

use crate::Sidecar;
use crate::answer::{Answer, json_of};
use crate::error::ApiError;
use crate::params::{Params, shown};
use crate::query::set_timing;

pub const FACET_VALUES_DEFAULT: usize = 20;
/// Values listed of one field: a list for a person, not an inventory.
pub const FACET_VALUES_MAX: usize = 1_000;
/// A day: a longer bucket hides more than it shows.
const INTERVAL_SECONDS_MAX: u64 = 86_400;
/// Buckets in one answer: more than the pixels of any screen.
const BUCKETS_MAX: usize = 20_000;
/// As the engine's own rate of arrival.
const RATE_SECONDS: i64 = 10;

/// Records by level; every level is there.
#[derive(Debug, Serialize, ToSchema)]
pub struct ByLevel {
    #[serde(rename = "TRACE")]
    trace: u64,
    #[serde(rename = "DEBUG")]
    debug: u64,
    #[serde(rename = "INFO")]
    info: u64,
    #[serde(rename = "WARN")]
    warn: u64,
    #[serde(rename = "ERROR")]
    error: u64,
    #[serde(rename = "FATAL")]
    fatal: u64,
}

impl From<&Counts> for ByLevel {
    fn from(counts: &Counts) -> ByLevel {
        let [trace, debug, info, warn, error, fatal] = counts.levels;
        ByLevel { trace, debug, info, warn, error, fatal }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Stats {
    /// Records that match.
    #[schema(example = 19745)]
    total: u64,
    by_level: ByLevel,
    /// The share of ERROR and FATAL, from 0 to 1; 0 when nothing matches.
    #[schema(example = 0.0893)]
    error_rate: f64,
    /// Records a second over the last 10 s. Without a filter by their arrival, with one by their own time.
    #[schema(example = 1284.0)]
    per_second: f64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct HistogramAnswer {
    #[schema(example = 60)]
    interval_seconds: u64,
    /// Oldest first; empty ones are left out.
    buckets: Vec<Bucket>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Bucket {
    /// Where it begins; it ends where `interval_seconds` have passed.
    #[schema(value_type = String, format = DateTime, example = "2025-11-11T16:00:00.000000Z")]
    #[serde(serialize_with = "write_time")]
    from: Timestamp,
    #[schema(example = 412)]
    total: u64,
    /// Levels without a record are left out.
    #[schema(value_type = std::collections::BTreeMap<String, u64>, example = json!({"INFO": 400, "ERROR": 12}))]
    levels: Levels,
}

#[derive(Debug)]
struct Levels(Counts);

impl Serialize for Levels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for level in Level::ALL {
            let count = self.0.levels[level.index()];
            if count > 0 {
                map.serialize_entry(level.as_str(), &count)?;
            }
        }
        map.end()
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct FacetsAnswer {
    #[schema(example = "application")]
    field: String,
    /// Most frequent first.
    values: Vec<FacetValue>,
    /// Records with another value than those listed.
    #[schema(example = 0)]
    other: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct FacetValue {
    #[schema(example = "payments")]
    value: String,
    #[schema(example = 6615)]
    count: u64,
}

fn write_time<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

/// The last `seconds` before `now`.
fn last(seconds: i64, now: Timestamp) -> TimeRange {
    TimeRange { from: Some(Timestamp::clamped(now.as_micros() - seconds * 1_000_000)), to: Some(now) }
}

pub async fn stats(sidecar: &Sidecar, params: Params) -> Result<Answer, ApiError> {
    let now = sidecar.now();
    let filter = params.filter(now, &sidecar.config.timezone)?;
    // What has arrived is only counted as a whole; a filter is asked of the store, whose newest rows are at hand.
    let arriving = filter.is_everything().then(|| sidecar.tail.per_second());
    let mut recent = filter.clone();
    recent.require(Expr::Time(last(RATE_SECONDS, now)));
    let ran = sidecar
        .queries
        .run(move |reader, stop| {
            let counts = reader.counts(&filter, stop)?;
            let per_second = match arriving {
                Some(rate) => rate,
                None if recent.is_nothing() => 0.0,
                None => reader.counts(&recent, stop)?.total() as f64 / RATE_SECONDS as f64,
            };
            Ok((counts, per_second))
        })
        .await?;
    let (counts, per_second) = &ran.answer;
    let total = counts.total();
    let bad = counts.levels[Level::Error.index()] + counts.levels[Level::Fatal.index()];
    let stats = Stats {
        total,
        by_level: counts.into(),
        error_rate: if total == 0 { 0.0 } else { bad as f64 / total as f64 },
        per_second: *per_second,
    };
    let mut response = json_of(&stats)?;
    set_timing(response.headers_mut(), &ran);
    Ok(response)
}

pub async fn histogram(sidecar: &Sidecar, mut params: Params) -> Result<Answer, ApiError> {
    let interval = params.take("interval")?.map(|text| parse_interval(&text)).transpose()?;
    let filter = params.filter(sidecar.now(), &sidecar.config.timezone)?;
    let ran = sidecar.queries.run(move |reader, stop| reader.histogram(&filter, interval, stop)).await?;
    let histogram = &ran.answer;
    if histogram.buckets.len() > BUCKETS_MAX {
        return Err(ApiError::bad_request(
            "too_many_buckets",
            format!(
                "interval makes {} buckets of {} s, at most {BUCKETS_MAX} are answered: give a longer one, or none",
                histogram.buckets.len(),
                histogram.interval_seconds
            ),
        ));
    }
    let answer = HistogramAnswer {
        interval_seconds: histogram.interval_seconds,
        buckets: histogram
            .buckets
            .iter()
            .map(|(from, counts)| Bucket { from: *from, total: counts.total(), levels: Levels(*counts) })
            .collect(),
    };
    let mut response = json_of(&answer)?;
    set_timing(response.headers_mut(), &ran);
    Ok(response)
}

pub async fn facets(sidecar: &Sidecar, mut params: Params) -> Result<Answer, ApiError> {
    let name = params.take("field")?.ok_or_else(|| {
        ApiError::bad_request("missing_parameter", "field is missing: level, source, application or metadata.KEY")
    })?;
    let field = parse_field(&name)?;
    let limit = params.number("limit", FACET_VALUES_DEFAULT, 1..=FACET_VALUES_MAX, "")?;
    let filter = params.filter(sidecar.now(), &sidecar.config.timezone)?;
    let mut ran = sidecar.queries.run(move |reader, stop| reader.facets(&filter, &field, limit, stop)).await?;
    let values = std::mem::take(&mut ran.answer.values);
    let answer = FacetsAnswer {
        field: name,
        values: values.into_iter().map(|(value, count)| FacetValue { value, count }).collect(),
        other: ran.answer.other,
    };
    let mut response = json_of(&answer)?;
    set_timing(response.headers_mut(), &ran);
    Ok(response)
}

fn parse_field(name: &str) -> Result<FacetField, ApiError> {
    Ok(match name {
        "level" => FacetField::Level,
        "source" => FacetField::Source,
        "application" => FacetField::Application,
        _ => match name.strip_prefix("metadata.").filter(|key| !key.is_empty()) {
            Some(key) => FacetField::Metadata(key.to_owned()),
            None => {
                return Err(ApiError::bad_request(
                    "bad_parameter",
                    format!("field is `{}`, and must be level, source, application or metadata.KEY", shown(name)),
                ));
            }
        },
    })
}

/// `30s`, `1m`, `6h`, `1d`, or seconds.
fn parse_interval(text: &str) -> Result<u64, ApiError> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => 0,
    };
    match digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)) {
        Some(seconds @ 1..=INTERVAL_SECONDS_MAX) => Ok(seconds),
        _ => Err(ApiError::bad_request(
            "bad_parameter",
            format!("interval is `{}`, and must be from 1s to 1d, such as 30s, 1m or 6h", shown(text)),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals() {
        for (text, want) in [("1s", 1), ("90", 90), ("1m", 60), ("6h", 21_600), ("1d", 86_400)] {
            assert_eq!(parse_interval(text).unwrap(), want, "{text}");
        }
        for text in ["", "0s", "2d", "m", "1w", "-1s", "1.5h", "99999999999999999999s", "18446744073709551615d", "1 m"]
        {
            assert_eq!(parse_interval(text).unwrap_err().code, "bad_parameter", "{text}");
        }
    }

    #[test]
    fn fields() {
        assert_eq!(parse_field("metadata.a.b").unwrap(), FacetField::Metadata("a.b".into()));
        for text in ["", "message", "metadata.", "Level"] {
            assert_eq!(parse_field(text).unwrap_err().code, "bad_parameter", "{text}");
        }
    }
}
