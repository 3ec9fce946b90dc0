//! A [`Filter`] read as SQL, to the letter of its contract (the head of `record/src/filter/mod.rs`).
//!
//! Every value is bound as a parameter; what is written into the text are column names, labels of levels and the numbers
//! of parameters. Positive conditions may be NULL, which counts as false wherever it can get to; below a `Not` it is
//! made false by `IS NOT TRUE`.
//!
//! What Postgres cannot hold, no record has: a text with a NUL, a number beyond [`numeric`]'s reach. Such values are
//! left out instead of being sent and refused.

use record::filter::{Expr, Field, LevelSet, NUMERIC_STRING_BYTES_MAX, Number, Test};
use record::json::JSON_DEPTH_MAX;
use record::text::push_json_string;
use record::{Filter, Id, Level};
use tokio_postgres::types::{ToSql, Type};

use super::reader::values::Instant;
use super::types::Uuid;

/// The columns of a row in the order of its tuple form. No answer may have a column of a type of our own: the driver
/// would ask the server about it on the connection whose rows it is just being sent, and with many rows wait for ever.
pub const COLUMNS: &str = "part, id, \"timestamp\", level::text, source, application, message, metadata";

/// A statement and the values that go with it.
#[derive(Debug, Default)]
pub struct Sql {
    pub text: String,
    values: Vec<(Value, Type)>,
}

type Value = Box<dyn ToSql + Send + Sync>;

/// What rows of a table are asked for: both have levels, sources and applications under the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    Logs,
    /// Counts a minute.
    LogCounts,
}

impl Table {
    pub fn time(self) -> &'static str {
        match self {
            Table::Logs => "\"timestamp\"",
            Table::LogCounts => "minute",
        }
    }
}

impl Sql {
    pub fn new(text: &str) -> Sql {
        Sql { text: text.to_owned(), values: Vec::new() }
    }

    pub fn push(&mut self, text: &str) -> &mut Sql {
        self.text.push_str(text);
        self
    }

    /// Appends a parameter that holds `value`.
    pub fn bind(&mut self, value: impl ToSql + Send + Sync + 'static, kind: Type) -> &mut Sql {
        self.values.push((Box::new(value), kind));
        let number = self.values.len();
        self.text.push_str(&format!("${number}"));
        self
    }

    /// Text and values, as the driver takes them.
    pub fn into_parts(self) -> (String, Vec<(Value, Type)>) {
        (self.text, self.values)
    }

    /// Appends `column op instant`, of µs since 1970.
    pub fn push_time(&mut self, column: &str, operator: &str, micros: i64) {
        self.push(column).push(operator).bind(Instant::at(micros), Type::TIMESTAMPTZ);
    }

    /// Appends what a filter asks for but its times, each part behind an AND.
    pub fn push_filter(&mut self, filter: &Filter, table: Table) {
        if let Some(levels) = filter.levels {
            self.push(" AND ").push_levels(levels);
        }
        for (column, list) in [("source", &filter.source), ("application", &filter.application)] {
            if let Some(list) = list {
                self.push(" AND ").push_any_of(column, list);
            }
        }
        match &filter.expr {
            Expr::All(parts) => parts.iter().for_each(|part| self.push(" AND ").push_expr(part, table)),
            other => self.push(" AND ").push_expr(other, table),
        }
    }

    fn push_expr(&mut self, expr: &Expr, table: Table) {
        match expr {
            Expr::All(parts) => self.push_joined(parts, " AND ", "true", table),
            Expr::Any(parts) => self.push_joined(parts, " OR ", "false", table),
            Expr::Not(part) => {
                self.push("(").push_expr(part, table);
                self.push(" IS NOT TRUE)");
            }
            Expr::Text(text) => self.push_contains(text),
            Expr::Level(levels) => self.push_levels(*levels),
            Expr::Time(range) => {
                self.push("(true");
                for (operator, end) in [(" >= ", range.from), (" < ", range.to)] {
                    if let Some(end) = end {
                        self.push(" AND ").push_time(table.time(), operator, end.as_micros());
                    }
                }
                self.push(")");
            }
            Expr::Id(ids) => self.push_ids(ids),
            Expr::Field { field, test } => self.push_field(field, test),
        }
    }

    fn push_joined(&mut self, parts: &[Expr], operator: &str, none: &str, table: Table) {
        if parts.is_empty() {
            self.push(none);
            return;
        }
        for (i, part) in parts.iter().enumerate() {
            self.push(if i == 0 { "(" } else { operator }).push_expr(part, table);
        }
        self.push(")");
    }

    /// The comparison that partial indexes are made for, where the set is one.
    fn push_levels(&mut self, levels: LevelSet) {
        let mut labels = levels.iter().map(|level| format!("'{level}'"));
        let first = labels.next().unwrap_or_default();
        match () {
            () if levels.is_empty() => self.push("false"),
            () if levels == LevelSet::ALL => self.push("true"),
            () if levels.iter().count() == 1 => self.push("level = ").push(&first),
            () if levels.iter().next().map(LevelSet::at_least) == Some(levels) => self.push("level >= ").push(&first),
            () => {
                self.push("level IN (").push(&first);
                labels.for_each(|label| {
                    self.push(", ").push(&label);
                });
                self.push(")")
            }
        };
    }

    /// `column` is one of the texts. One alone is compared by `=`: only then an index that has the column first gives
    /// rows in the order of what follows in it.
    fn push_any_of(&mut self, column: &str, texts: &[String]) {
        let mut texts: Vec<String> = texts.iter().filter(|text| is_storable(text)).cloned().collect();
        match (texts.pop(), texts.is_empty()) {
            (None, _) => self.push("false"),
            (Some(only), true) => self.push(column).push(" = ").bind(only, Type::TEXT),
            (Some(last), false) => {
                texts.push(last);
                self.push(column).push(" = ANY(").bind(texts, Type::TEXT_ARRAY).push(")")
            }
        };
    }

    /// `message` contains the text, A–Z folded: `lower` under the collation "C", which the column has, folds nothing
    /// else. The trigram index of a sealed partition is on this very expression.
    fn push_contains(&mut self, text: &str) {
        match text {
            "" => self.push("true"),
            text if is_storable(text) => {
                self.push("lower(message) LIKE ").bind(format!("%{}%", folded_pattern(text)), Type::TEXT)
            }
            _ => self.push("false"),
        };
    }

    /// The id gives its record's time away, and partitions are known by time.
    fn push_ids(&mut self, ids: &[Id]) {
        let times: Vec<Instant> = ids.iter().map(|id| Instant::at(id.timestamp().as_micros())).collect();
        let ids: Vec<Uuid> = ids.iter().map(|id| Uuid(*id)).collect();
        self.push("(\"timestamp\" = ANY(").bind(times, Type::TIMESTAMPTZ_ARRAY);
        self.push(") AND id = ANY(").bind(ids, Type::UUID_ARRAY).push("))");
    }

    fn push_field(&mut self, field: &Field, test: &Test) {
        let column = match field {
            Field::Source => "source",
            Field::Application => "application",
            Field::Message => "message",
            Field::Metadata(path) => return self.push_metadata(path, test),
        };
        match (test, field) {
            (Test::Exists, _) => {
                self.push(column).push(" <> ''");
            }
            (Test::AnyOf(texts), Field::Message) => self.push_message(texts),
            (Test::AnyOf(texts), _) => self.push_any_of(column, texts),
            (test, _) => {
                self.push("CASE WHEN ").push_is_numeric(column);
                self.push(" THEN ").push(column).push("::numeric").push_comparison(test);
                self.push(" END");
            }
        }
    }

    /// Whole messages: what the trigram index knows first, as equality is nothing it could be asked for.
    fn push_message(&mut self, texts: &[String]) {
        let mut texts = texts.iter().filter(|text| is_storable(text)).peekable();
        if texts.peek().is_none() {
            self.push("false");
            return;
        }
        for (i, text) in texts.enumerate() {
            self.push(if i == 0 { "(" } else { " OR " });
            self.push("(lower(message) LIKE ").bind(folded_pattern(text), Type::TEXT);
            self.push(" AND message = ").bind(text.clone(), Type::TEXT).push(")");
        }
        self.push(")");
    }

    fn push_metadata(&mut self, path: &str, test: &Test) {
        let value = self.metadata_value(path);
        match test {
            Test::Exists => {
                self.push("jsonb_typeof(").push(&value).push(") <> 'null'");
            }
            Test::AnyOf(texts) => {
                // Of jsonb values numbers are equal when they are the same number, however they are written.
                let equal: Vec<String> = texts.iter().filter(|text| is_storable(text)).flat_map(json_values).collect();
                match equal.is_empty() {
                    true => self.push("false"),
                    false => self
                        .push(&value)
                        .push(" = ANY(CAST(")
                        .bind(equal, Type::TEXT_ARRAY)
                        .push("::text[] AS jsonb[]))"),
                };
            }
            test => {
                let text = format!("({value} #>> '{{}}')");
                self.push("CASE jsonb_typeof(").push(&value).push(") WHEN 'number' THEN ");
                self.push(&value).push("::numeric").push_comparison(test);
                self.push(" WHEN 'string' THEN CASE WHEN ").push_is_numeric(&text);
                self.push(" THEN ").push(&text).push("::numeric").push_comparison(test);
                self.push(" END END");
            }
        }
    }

    /// The value at a metadata path: the literal key's, else the one found key by key. `->` by a text finds nothing in
    /// an array, while a path as `#>` takes it would read `0` as an index.
    pub fn metadata_value(&mut self, path: &str) -> String {
        if !is_storable(path) {
            return "NULL::jsonb".to_owned();
        }
        let literal = format!("metadata -> {}", self.parameter(path));
        // Deeper than any record is nested.
        let segments: Vec<&str> = path.split('.').take(JSON_DEPTH_MAX + 1).collect();
        if segments.len() == 1 || segments.len() > JSON_DEPTH_MAX {
            return format!("({literal})");
        }
        let steps: Vec<String> = segments.into_iter().map(|segment| self.parameter(segment)).collect();
        format!("COALESCE({literal}, metadata -> {})", steps.join(" -> "))
    }

    /// A parameter that holds `text`, for a place that is still to come.
    fn parameter(&mut self, text: &str) -> String {
        self.values.push((Box::new(text.to_owned()), Type::TEXT));
        format!("${}", self.values.len())
    }

    /// A JSON number without an exponent, and no longer than the contract lets one be.
    fn push_is_numeric(&mut self, text: &str) {
        self.push(&format!("octet_length({text}) <= {NUMERIC_STRING_BYTES_MAX} AND "));
        self.push(text).push(" ~ '^-?(0|[1-9][0-9]*)([.][0-9]+)?$'");
    }

    fn push_comparison(&mut self, test: &Test) {
        let (operator, number) = match test {
            Test::Greater(number) => (" > ", number),
            Test::GreaterOrEqual(number) => (" >= ", number),
            Test::Less(number) => (" < ", number),
            Test::LessOrEqual(number) => (" <= ", number),
            Test::AnyOf(_) | Test::Exists => return,
        };
        self.push(operator).push("CAST(").bind(numeric(number), Type::TEXT).push("::text AS numeric)");
    }
}

/// Whether Postgres can hold the text: what it cannot, no record has.
fn is_storable(text: &str) -> bool {
    !text.contains('\0')
}

/// A text folded, as a pattern that stands for itself: `\` is what LIKE escapes with unless it is told otherwise.
fn folded_pattern(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    for c in text.chars() {
        if matches!(c, '\\' | '%' | '_') {
            pattern.push('\\');
        }
        pattern.push(c.to_ascii_lowercase());
    }
    pattern
}

/// The JSON values that a text stands for in an equality: itself, and the number, truth value or null it is written as.
fn json_values(text: &String) -> Vec<String> {
    let mut quoted = Vec::with_capacity(text.len() + 2);
    push_json_string(text.as_bytes(), &mut quoted);
    let mut values = vec![String::from_utf8_lossy(&quoted).into_owned()];
    if matches!(&text[..], "true" | "false" | "null") {
        values.push(text.clone());
    } else if let Some(number) = Number::parse(text) {
        let number = numeric(&number);
        // No JSON number is infinite, nor so near to zero that it had to be replaced.
        if !number.ends_with("Infinity") && !number.ends_with(TINY) {
            values.push(number);
        }
    }
    values
}

/// Nearer to zero than any number of a record but zero: those begin at 5e-324.
const TINY: &str = "1e-400";
/// Digits that can make a difference: a number of a record has at most 1,000.
const DIGITS_MAX: usize = 1_100;

/// A number as text that `numeric` takes, and that compares with every number that a record can hold as the original
/// does: Postgres' reaches from 1e-16383 to 1e131071 only.
pub fn numeric(number: &Number) -> String {
    let text = number.as_str();
    let sign = if text.starts_with('-') { "-" } else { "" };
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) =
        mantissa.trim_start_matches('-').split_once('.').unwrap_or((mantissa.trim_start_matches('-'), ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0');
    if significant.is_empty() {
        return "0".to_owned();
    }
    // Of the first digit that is not 0; what is too long for an i64 is so far out that its sign says all.
    let far = if exponent.starts_with('-') { i64::MIN / 2 } else { i64::MAX / 2 };
    let zeros = (digits.len() - significant.len()) as i64;
    let power =
        exponent.parse::<i64>().unwrap_or(far).clamp(i64::MIN / 2, i64::MAX / 2) + whole.len() as i64 - zeros - 1;
    match power {
        400.. => return format!("{sign}Infinity"),
        ..=-400 => return format!("{sign}{TINY}"),
        _ => {}
    }
    let significant = significant.trim_end_matches('0');
    let (kept, rest) = significant.split_at(significant.len().min(DIGITS_MAX));
    // What is cut off still makes it greater than what was kept.
    let more = if rest.is_empty() { "" } else { "1" };
    let (first, others) = kept.split_at(1);
    format!("{sign}{first}.{others}{more}0e{power}")
}

/// The level of a label.
pub fn level_of(label: &[u8]) -> Option<Level> {
    Level::ALL.into_iter().find(|level| level.as_str().as_bytes() == label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sql(expr: Expr) -> Sql {
        let mut sql = Sql::default();
        sql.push_filter(&Filter { expr, ..Filter::default() }, Table::Logs);
        sql
    }

    #[test]
    fn numbers_stay_within_reach() {
        for (text, want) in [
            ("0", "0"),
            ("-0.00e99", "0"),
            ("5", "5.0e0"),
            ("-12.50", "-1.250e1"),
            ("0.001", "1.0e-3"),
            ("1E+2", "1.0e2"),
            ("9007199254740993", "9.0071992547409930e15"),
            ("1e999999999999999999999", "Infinity"),
            ("-1e400", "-Infinity"),
            ("1e-999999999999999999999", "1e-400"),
            ("-1e-400", "-1e-400"),
        ] {
            assert_eq!(numeric(&Number::parse(text).unwrap()), want, "{text}");
        }
        let long = format!("0.{}", "7".repeat(20_000));
        assert_eq!(numeric(&Number::parse(&long).unwrap()), format!("7.{}10e-1", "7".repeat(DIGITS_MAX - 1)));
    }

    #[test]
    fn patterns_stand_for_themselves() {
        assert_eq!(folded_pattern(r"100%_\GRÖSSE"), r"100\%\_\\grÖsse");
    }

    /// Whatever a value is, it is not in the text of the statement.
    #[test]
    fn no_value_is_written_into_the_text() {
        for hostile in ["'; DROP TABLE logs; --", "$1", "\\'", "a'b", "\"", "%s{}", "x.y'z"] {
            let texts = || vec![hostile.to_owned(), "q'q".to_owned()];
            let metadata = |test| Expr::Field { field: Field::Metadata(hostile.to_owned()), test };
            let expr = Expr::All(vec![
                Expr::Text(hostile.to_owned()),
                Expr::Field { field: Field::Source, test: Test::AnyOf(texts()) },
                Expr::Field { field: Field::Message, test: Test::AnyOf(texts()) },
                metadata(Test::AnyOf(texts())),
                metadata(Test::Exists),
                metadata(Test::Less(Number::parse("77e77").unwrap())),
                Expr::Not(Box::new(metadata(Test::Exists))),
            ]);
            let (text, values) = sql(expr).into_parts();
            for piece in ["DROP", "q'q", "a'b", "%s", "y'z", "77"] {
                assert!(!text.contains(piece), "{text}");
            }
            assert!(values.len() >= 10);
        }
    }
}
