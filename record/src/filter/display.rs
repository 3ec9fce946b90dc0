//! A filter written as `q`: for logs, and for whoever keeps a search.

use super::q::is_name;
use super::{Expr, Field, Filter, Test, TimeRange};
use crate::id::Id;

/// As `q`, such that reading it gives a filter that takes the same records.
impl std::fmt::Display for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let any_of = |field, texts: &Option<Vec<String>>| {
            texts.clone().map(|texts| Expr::Field { field, test: Test::AnyOf(texts) })
        };
        let parts = [
            self.levels.map(Expr::Level),
            (self.range() != TimeRange::default()).then(|| Expr::Time(self.range())),
            any_of(Field::Source, &self.source),
            any_of(Field::Application, &self.application),
            (!self.expr.is_everything()).then(|| self.expr.clone()),
        ];
        for (i, part) in parts.into_iter().flatten().enumerate() {
            f.write_str(if i > 0 { " " } else { "" })?;
            write!(f, "{part}")?;
        }
        Ok(())
    }
}

/// As `q`, such that reading it gives an expression that takes the same records.
impl std::fmt::Display for Expr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Expr::All(parts) if parts.is_empty() => f.write_str("level:*"),
            Expr::Any(parts) if parts.is_empty() => f.write_str("-level:*"),
            Expr::All(parts) => write_joined(f, parts, " "),
            Expr::Any(parts) => write_joined(f, parts, " or "),
            Expr::Not(part) => write!(f, "-({part})"),
            Expr::Text(text) => write_quoted(f, text),
            Expr::Level(levels) if levels.is_empty() => f.write_str("-level:*"),
            Expr::Level(levels) => {
                f.write_str("level:(")?;
                for (i, level) in levels.iter().enumerate() {
                    f.write_str(if i > 0 { "," } else { "" })?;
                    f.write_str(level.as_str())?;
                }
                f.write_str(")")
            }
            Expr::Time(range) => match (range.from, range.to) {
                (None, None) => f.write_str("timestamp:*"),
                (Some(from), None) => write!(f, "timestamp:>={from}"),
                (None, Some(to)) => write!(f, "timestamp:<{to}"),
                (Some(from), Some(to)) => write!(f, "(timestamp:>={from} timestamp:<{to})"),
            },
            Expr::Id(ids) if ids.is_empty() => f.write_str("-level:*"),
            Expr::Id(ids) => {
                let ids: Vec<String> = ids.iter().map(Id::to_string).collect();
                write!(f, "id:({})", ids.join(","))
            }
            Expr::Field { test: Test::AnyOf(values), .. } if values.is_empty() => f.write_str("-level:*"),
            Expr::Field { field, test } => {
                match field {
                    Field::Source => f.write_str("source")?,
                    Field::Application => f.write_str("application")?,
                    Field::Message => f.write_str("message")?,
                    Field::Metadata(path) => {
                        let name = format!("metadata.{path}");
                        if is_name(&name) { f.write_str(&name)? } else { write_quoted(f, &name)? }
                    }
                }
                match test {
                    Test::AnyOf(values) => write_values(f, values),
                    Test::Exists => f.write_str(":*"),
                    Test::Greater(number) => write!(f, ":>{}", number.as_str()),
                    Test::GreaterOrEqual(number) => write!(f, ":>={}", number.as_str()),
                    Test::Less(number) => write!(f, ":<{}", number.as_str()),
                    Test::LessOrEqual(number) => write!(f, ":<={}", number.as_str()),
                }
            }
        }
    }
}

fn write_joined(f: &mut std::fmt::Formatter<'_>, parts: &[Expr], join: &str) -> std::fmt::Result {
    f.write_str("(")?;
    for (i, part) in parts.iter().enumerate() {
        f.write_str(if i > 0 { join } else { "" })?;
        write!(f, "{part}")?;
    }
    f.write_str(")")
}

fn write_values(f: &mut std::fmt::Formatter<'_>, values: &[String]) -> std::fmt::Result {
    f.write_str(":(")?;
    for (i, value) in values.iter().enumerate() {
        f.write_str(if i > 0 { "," } else { "" })?;
        write_quoted(f, value)?;
    }
    f.write_str(")")
}

fn write_quoted(f: &mut std::fmt::Formatter<'_>, text: &str) -> std::fmt::Result {
    write!(f, "\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
