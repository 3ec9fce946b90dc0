//! `q`, the search language: text in, [`Expr`] out, or an error that says where and what to write instead. Past 500
//! lines, of which the tables that test it are a third.
//!
//! | written | means |
//! |---|---|
//! | `disk full` | both texts occur in `message`, A–Z folded |
//! | `"disk full"` | this text does; `\"` and `\\` stand for `"` and `\` |
//! | `-debug`, `-"a b"`, `-level:info`, `-(a b)` | not |
//! | `a or b`, `a b or c` | one of them; binds looser than standing side by side |
//! | `source:web-1`, `user:"Ann B"` | equality; a name that is no field is metadata, as is `metadata.user` |
//! | `level:(warn,error)` | one of these |
//! | `user:*` | exists |
//! | `status:>=500`, `level:>=warn`, `timestamp:>-15m` | by number, by severity, by time (`timestamp` takes every shape of a time, and `-15m` or `now`) |
//! | `"odd name":x` | a field whose name is not of letters, digits and `_ . - / @ $` or begins with a digit |
//!
//! A word is a field only if what stands before its first colon is such a name and something can be compared after it:
//! `10:30`, `std::io`, `http://x`, `C:\x` and `panic:` are plain text. `localhost:80` is a field; in quotes it is text.
//! A dash means *not* before a word, a phrase or a parenthesis; `-`, `--flag` and `a-b` are text.

use super::{Expr, Field, FilterError, LevelSet, Number, Test, TimeRange, params::parse_time};
use crate::id::Id;
use crate::level::Level;
use crate::time::{Timestamp, Zone};

/// More is no question that a person asks, and each reader walks the whole of it for every record.
pub const Q_BYTES_MAX: usize = 8 * 1024;
/// Words, phrases and values: the tail tests them all, for every viewer and record.
pub const Q_TERMS_MAX: usize = 256;
/// Parentheses within parentheses: every reader recurses as deep.
pub const Q_DEPTH_MAX: usize = 32;

const CLOSES_NOTHING: &str = "`)` closes nothing: leave it out, or write it in quotes";

/// Reads `q`. Times without a zone are in `zone`; `now` is `received`.
pub fn parse_q(q: &str, received: Timestamp, zone: &Zone) -> Result<Expr, FilterError> {
    let mut parser = Parser { text: q, at: 0, terms: 0, depth: 0, received, zone };
    if q.len() > Q_BYTES_MAX {
        return Err(
            parser.error(Q_BYTES_MAX, format!("q is {} bytes long, and at most {Q_BYTES_MAX} are read", q.len()))
        );
    }
    if let Some(at) = q.find('\0') {
        return Err(parser.error(at, "q holds a NUL, which no record does: leave it out".into()));
    }
    parser.skip_blanks();
    if parser.rest().is_empty() {
        return Ok(Expr::default());
    }
    let expr = parser.any()?;
    match parser.rest().is_empty() {
        true => Ok(expr),
        false => Err(parser.error(parser.at, CLOSES_NOTHING.into())),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    terms: usize,
    depth: usize,
    received: Timestamp,
    zone: &'a Zone,
}

impl<'a> Parser<'a> {
    /// `a b or c d`, up to the end or a closing parenthesis.
    fn any(&mut self) -> Result<Expr, FilterError> {
        let mut parts = Vec::new();
        let mut or_at = None;
        loop {
            parts.push(self.all(or_at)?);
            if !self.at_or() {
                return Ok(only_or(parts, Expr::Any));
            }
            or_at = Some(self.at);
            self.at += "or".len();
        }
    }

    /// Terms side by side; `or_at` is where the `or` before them stands.
    fn all(&mut self, or_at: Option<usize>) -> Result<Expr, FilterError> {
        let mut parts = Vec::new();
        loop {
            self.skip_blanks();
            if matches!(self.peek(), None | Some(')')) || self.at_or() {
                break;
            }
            parts.push(self.not()?);
        }
        if !parts.is_empty() {
            return Ok(only_or(parts, Expr::All));
        }
        let (at, message) = match or_at {
            _ if self.at_or() => {
                (self.at, "`or` needs something on both sides: write `a or b`, or \"or\" for the word")
            }
            Some(or_at) => (or_at, "`or` needs something after it: write `a or b`, or \"or\" for the word"),
            None => (self.at, CLOSES_NOTHING),
        };
        Err(self.error(at, message.into()))
    }

    fn not(&mut self) -> Result<Expr, FilterError> {
        let mut rest = self.rest().chars();
        let negated =
            rest.next() == Some('-') && rest.next().is_some_and(|c| c != '-' && c != ')' && !c.is_whitespace());
        if !negated {
            return self.term();
        }
        self.at += 1;
        Ok(Expr::Not(Box::new(self.term()?)))
    }

    /// A group, a phrase, a field or a word.
    fn term(&mut self) -> Result<Expr, FilterError> {
        let start = self.at;
        self.count_term(start)?;
        match self.peek() {
            Some('(') => self.group(),
            Some('"') => {
                let text = self.quoted()?;
                if self.peek() != Some(':') {
                    return Ok(Expr::Text(text));
                }
                self.at += 1;
                self.field(&text, start)
            }
            _ => {
                let word = self.word(is_word_end);
                if let Some((name, _)) = word.split_once(':')
                    && is_name(name)
                    && is_comparison(&self.text[start + name.len() + 1..])
                {
                    self.at = start + name.len() + 1;
                    return self.field(name, start);
                }
                Ok(Expr::Text(word.to_owned()))
            }
        }
    }

    fn group(&mut self) -> Result<Expr, FilterError> {
        let open = self.at;
        self.depth += 1;
        if self.depth > Q_DEPTH_MAX {
            return Err(
                self.error(open, format!("more than {Q_DEPTH_MAX} parentheses within one another: write fewer"))
            );
        }
        self.at += 1;
        self.skip_blanks();
        if self.peek() == Some(')') {
            let mend = "write `(a or b)`, or quotes around parentheses to find";
            return Err(self.error(self.at, format!("nothing stands in the parentheses: {mend}")));
        }
        let expr = if self.rest().is_empty() { Expr::default() } else { self.any()? };
        if self.peek() != Some(')') {
            return Err(self.error(open, "this `(` is never closed: add `)`, or write it in quotes".into()));
        }
        self.at += 1;
        self.depth -= 1;
        Ok(expr)
    }

    /// What follows a field's colon.
    fn field(&mut self, name: &str, name_at: usize) -> Result<Expr, FilterError> {
        let start = self.at;
        let shown = &self.text[name_at..start - 1];
        let rest = self.rest();
        if self.take_star() {
            return Ok(self.exists(name));
        }
        if let Some(operator) = [">=", "<=", ">", "<"].into_iter().find(|operator| rest.starts_with(operator)) {
            self.at += operator.len();
            let value_at = self.at;
            let value = self.value(shown, is_word_end)?;
            return self.comparison(name, name_at, operator, &value, value_at);
        }
        let mut values = Vec::new();
        if self.peek() == Some('(') {
            self.at += 1;
            loop {
                self.skip_blanks();
                let at = self.at;
                self.count_term(at)?;
                values.push((self.value(shown, |c| is_word_end(c) || c == ',')?, at));
                self.skip_blanks();
                match self.peek() {
                    Some(',') => self.at += 1,
                    Some(')') => break self.at += 1,
                    None => return Err(self.error(start, format!("this `(` is never closed: write `{shown}:(a,b)`"))),
                    Some(_) => {
                        let mend = "values are parted by commas, and one with blanks needs quotes";
                        return Err(self.error(self.at, format!("{mend}: write `{shown}:(a,\"b c\")`")));
                    }
                }
            }
        } else {
            values.push((self.value(shown, is_word_end)?, start));
        }
        self.equality(name, values)
    }

    /// A star that stands alone after the colon.
    fn take_star(&mut self) -> bool {
        let mut rest = self.rest().chars();
        let alone = rest.next() == Some('*') && rest.next().is_none_or(|c| c == ')' || c.is_whitespace());
        self.at += usize::from(alone);
        alone
    }

    /// One value, bare or in quotes; a bare one ends where `ends` says.
    fn value(&mut self, name: &str, ends: fn(char) -> bool) -> Result<String, FilterError> {
        let start = self.at;
        if self.peek() == Some('"') {
            let value = self.quoted()?;
            return match self.peek() {
                Some(c) if !ends(c) || c == '"' || c == '(' => Err(self.error(
                    self.at,
                    "a blank is missing after the closing quote; within quotes, write \\\" for one".into(),
                )),
                _ => Ok(value),
            };
        }
        let value = self.word(ends);
        if let Some(c @ ('"' | '(')) = self.peek() {
            return Err(self.error(self.at, format!("a value with `{c}` in it needs quotes: write `{name}:\"…\"`")));
        }
        if value.is_empty() {
            return Err(self.error(
                start,
                format!("a value is missing: write `{name}:value`, or `{name}:\"\"` for the empty one"),
            ));
        }
        if value.starts_with('*') || value.ends_with('*') {
            let mend = format!(
                "`*` stands alone, for any value: write `{name}:*`, or `{name}:\"{value}\"` for the star itself"
            );
            return Err(self.error(start, mend));
        }
        Ok(value.to_owned())
    }

    fn exists(&self, name: &str) -> Expr {
        match name {
            // Every record has these.
            "id" | "timestamp" | "level" => Expr::default(),
            _ => Expr::Field { field: field_of(name), test: Test::Exists },
        }
    }

    fn equality(&self, name: &str, values: Vec<(String, usize)>) -> Result<Expr, FilterError> {
        match name {
            "level" => {
                let levels = values.iter().map(|(value, at)| self.level(value, *at));
                Ok(Expr::Level(levels.collect::<Result<LevelSet, FilterError>>()?))
            }
            "id" => {
                let ids = values.iter().map(|(value, at)| {
                    Id::parse(value).ok_or_else(|| {
                        self.error(
                            *at,
                            format!("`{value}` is no id: write one as 019a7400-0000-7000-8000-000000000000"),
                        )
                    })
                });
                Ok(Expr::Id(ids.collect::<Result<_, _>>()?))
            }
            "timestamp" => {
                let instants = values.iter().map(|(value, at)| {
                    let instant = self.time(value, *at)?;
                    Ok(Expr::Time(TimeRange { from: Some(instant), to: next(instant) }))
                });
                Ok(only_or(instants.collect::<Result<_, FilterError>>()?, Expr::Any))
            }
            _ => {
                let values = values.into_iter().map(|(value, _)| value).collect();
                Ok(Expr::Field { field: field_of(name), test: Test::AnyOf(values) })
            }
        }
    }

    fn comparison(
        &self,
        name: &str,
        name_at: usize,
        operator: &str,
        value: &str,
        value_at: usize,
    ) -> Result<Expr, FilterError> {
        match name {
            "id" => Err(self.error(name_at, "ids are not compared: write `id:…`, or compare `timestamp`".into())),
            "level" => {
                let least = self.level(value, value_at)?;
                let at_least = LevelSet::at_least(least);
                let above = at_least.intersection(LevelSet::from_iter([least]).complement());
                Ok(Expr::Level(match operator {
                    ">=" => at_least,
                    ">" => above,
                    "<" => at_least.complement(),
                    _ => above.complement(),
                }))
            }
            "timestamp" => {
                let instant = self.time(value, value_at)?;
                let from = |from| Expr::Time(TimeRange { from: Some(from), to: None });
                let to = |to| Expr::Time(TimeRange { from: None, to: Some(to) });
                Ok(match operator {
                    ">=" => from(instant),
                    "<" => to(instant),
                    // No record is later than the last instant there is.
                    ">" => next(instant).map_or(Expr::Any(Vec::new()), from),
                    _ => next(instant).map_or(Expr::default(), to),
                })
            }
            _ => {
                let number = Number::parse(value).ok_or_else(|| {
                    let mend = format!("`{operator}` compares numbers: write one as {name}:{operator}12.5");
                    self.error(value_at, format!("`{value}` is no number, and {mend}"))
                })?;
                let test = match operator {
                    ">=" => Test::GreaterOrEqual(number),
                    "<=" => Test::LessOrEqual(number),
                    ">" => Test::Greater(number),
                    _ => Test::Less(number),
                };
                Ok(Expr::Field { field: field_of(name), test })
            }
        }
    }

    fn level(&self, name: &str, at: usize) -> Result<Level, FilterError> {
        Level::from_name(name.as_bytes()).ok_or_else(|| self.at_column(FilterError::unknown_level(name), at))
    }

    fn time(&self, text: &str, at: usize) -> Result<Timestamp, FilterError> {
        parse_time(text, self.received, self.zone)
            .ok_or_else(|| self.at_column(FilterError::unknown_time("timestamp", text), at))
    }

    /// Text in quotes, from its opening quote on.
    fn quoted(&mut self) -> Result<String, FilterError> {
        let open = self.at;
        let mut text = String::new();
        let mut chars = self.text[open + 1..].char_indices();
        while let Some((i, c)) = chars.next() {
            match c {
                '"' => {
                    self.at = open + 1 + i + 1;
                    return Ok(text);
                }
                '\\' => match chars.next() {
                    Some((_, escaped @ ('"' | '\\'))) => text.push(escaped),
                    Some(_) => {
                        let message = "a backslash in quotes stands before `\"` or `\\`: write \\\\ for one of its own";
                        return Err(self.error(open + 1 + i, message.into()));
                    }
                    None => break,
                },
                c => text.push(c),
            }
        }
        Err(self.error(open, "this quote is never closed: add `\"`; within quotes, write \\\" for one".into()))
    }

    /// All up to where `ends` says.
    fn word(&mut self, ends: fn(char) -> bool) -> &'a str {
        let rest = &self.text[self.at..];
        let word = &rest[..rest.find(ends).unwrap_or(rest.len())];
        self.at += word.len();
        word
    }

    /// Whether the word `or` comes next.
    fn at_or(&self) -> bool {
        let rest = self.rest();
        rest.get(..2).is_some_and(|word| word.eq_ignore_ascii_case("or"))
            && rest[2..].chars().next().is_none_or(is_word_end)
    }

    fn count_term(&mut self, at: usize) -> Result<(), FilterError> {
        self.terms += 1;
        match self.terms > Q_TERMS_MAX {
            true => Err(self.error(at, format!("more than {Q_TERMS_MAX} words and values: ask for fewer at a time"))),
            false => Ok(()),
        }
    }

    fn skip_blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn error(&self, at: usize, message: String) -> FilterError {
        self.at_column(FilterError { code: "bad_query", message, column: None }, at)
    }

    /// Points the error at the character that holds byte `at`, or at the last one.
    fn at_column(&self, error: FilterError, at: usize) -> FilterError {
        let starts = self.text.char_indices().take_while(|&(start, _)| start <= at).count();
        FilterError { column: Some(starts.max(1)), ..error }
    }
}

fn only_or(mut parts: Vec<Expr>, join: fn(Vec<Expr>) -> Expr) -> Expr {
    if parts.len() == 1 { parts.remove(0) } else { join(parts) }
}

fn next(instant: Timestamp) -> Option<Timestamp> {
    Timestamp::from_micros(instant.as_micros() + 1)
}

fn is_word_end(c: char) -> bool {
    c.is_whitespace() || matches!(c, '(' | ')' | '"')
}

/// Whether a field can have this name without quotes.
pub(super) fn is_name(name: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '/' | '@' | '$');
    name.chars().next().is_some_and(|c| c.is_alphabetic() || matches!(c, '_' | '@' | '$')) && name.chars().all(inside)
}

/// Whether what follows a name's colon is there to be compared.
fn is_comparison(after: &str) -> bool {
    !after.starts_with("//")
        && !after.starts_with(':')
        && !after.starts_with('\\')
        && after.chars().next().is_some_and(|c| c != ')' && !c.is_whitespace())
}

fn field_of(name: &str) -> Field {
    match name {
        "source" => Field::Source,
        "application" => Field::Application,
        "message" => Field::Message,
        _ => Field::Metadata(name.strip_prefix("metadata.").unwrap_or(name).to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(q: &str) -> Result<Expr, FilterError> {
        parse_q(q, Timestamp::from_micros(1_762_876_800_000_000).unwrap(), &Zone::UTC)
    }

    /// The tree in a short form of its own.
    fn short(expr: &Expr) -> String {
        let join = |parts: &[Expr]| parts.iter().map(short).collect::<Vec<_>>().join(" ");
        match expr {
            Expr::All(parts) => format!("all({})", join(parts)),
            Expr::Any(parts) => format!("any({})", join(parts)),
            Expr::Not(part) => format!("not({})", short(part)),
            Expr::Text(text) => format!("'{text}'"),
            Expr::Level(levels) => format!("{levels:?}"),
            Expr::Time(range) => {
                let micros = |t: Option<Timestamp>| {
                    t.map_or(String::new(), |t| (t.as_micros() - 1_762_876_800_000_000).to_string())
                };
                format!("[{},{})", micros(range.from), micros(range.to))
            }
            Expr::Id(ids) => format!("{ids:?}"),
            Expr::Field { field, test } => {
                let test = match test {
                    Test::AnyOf(values) => format!("={}", values.join("|")),
                    Test::Exists => "*".to_owned(),
                    Test::Greater(number) => format!(">{}", number.as_str()),
                    Test::GreaterOrEqual(number) => format!(">={}", number.as_str()),
                    Test::Less(number) => format!("<{}", number.as_str()),
                    Test::LessOrEqual(number) => format!("<={}", number.as_str()),
                };
                match field {
                    Field::Metadata(path) => format!("m:{path}{test}"),
                    field => format!("{field:?}{test}"),
                }
            }
        }
    }

    #[test]
    fn what_is_written_and_what_it_means() {
        for (q, want) in [
            ("", "all()"),
            ("  ", "all()"),
            ("disk", "'disk'"),
            ("disk full", "all('disk' 'full')"),
            ("\"disk full\"", "'disk full'"),
            (r#""a \"b\" \\""#, r#"'a "b" \'"#),
            ("a b or c", "any(all('a' 'b') 'c')"),
            ("a OR b oR c", "any('a' 'b' 'c')"),
            ("a (b or c)", "all('a' any('b' 'c'))"),
            ("\"or\" orb", "all('or' 'orb')"),
            ("-a -\"b c\" -(d e) -level:info", "all(not('a') not('b c') not(all('d' 'e')) not({Info}))"),
            ("- --flag a-b 5-", "all('-' '--flag' 'a-b' '5-')"),
            ("foo(bar)", "all('foo' 'bar')"),
            ("10:30 http://x std::io C:\\x panic: :x", "all('10:30' 'http://x' 'std::io' 'C:\\x' 'panic:' ':x')"),
            ("source:web-1 application:api message:\"x y\"", "all(Source=web-1 Application=api Message=x y)"),
            ("user:5 metadata.user:5 a.b:x", "all(m:user=5 m:user=5 m:a.b=x)"),
            ("metadata.level:5 metadata:x", "all(m:level=5 m:metadata=x)"),
            ("app.kubernetes.io/name:x @v:1 größe:2", "all(m:app.kubernetes.io/name=x m:@v=1 m:größe=2)"),
            ("\"odd name\":x \"9\":*", "all(m:odd name=x m:9*)"),
            ("path:/api/v1?x=1,2 t:10:30", "all(m:path=/api/v1?x=1,2 m:t=10:30)"),
            ("user:(a,\"b c\" , d)", "m:user=a|b c|d"),
            ("user:\"\"", "m:user="),
            ("user:* (user:*)", "all(m:user* m:user*)"),
            ("status:>=500 status:<6e2 d:>-1.5 d:<=\"7\"", "all(m:status>=500 m:status<6e2 m:d>-1.5 m:d<=7)"),
            ("level:warning level:(critical,Info)", "all({Warn} {Info, Fatal})"),
            (
                "level:>=warn level:<info level:>error level:<=debug",
                "all({Warn, Error, Fatal} {Trace, Debug} {Fatal} {Trace, Debug})",
            ),
            ("level:* timestamp:* id:*", "all(all() all() all())"),
            ("timestamp:>=2025-11-11T16:00:00Z timestamp:<now", "all([0,) [,0))"),
            ("timestamp:>-1m timestamp:<=now+1s", "all([-59999999,) [,1000001))"),
            ("timestamp:(now,-1s)", "any([0,1) [-1000000,-999999))"),
            ("timestamp:>9999-12-31T23:59:59.999999Z", "any()"),
            ("id:019a7400-0000-7000-8000-000000000000", "[019a7400-0000-7000-8000-000000000000]"),
            ("Level:x", "m:Level=x"),
        ] {
            assert_eq!(parse(q).map(|expr| short(&expr)).as_deref(), Ok(want), "{q}");
        }
    }

    #[test]
    fn errors_say_where_and_what_to_write() {
        for (q, column, says) in [
            ("a \"b", 3, "never closed"),
            ("größe \"b", 7, "never closed"),
            (r#""a\n""#, 3, "backslash"),
            (r#""a\"#, 1, "never closed"),
            ("(a", 1, "never closed"),
            ("a)", 2, "closes nothing"),
            (")", 1, "closes nothing"),
            ("()", 2, "nothing stands"),
            ("or a", 1, "both sides"),
            ("a or", 3, "after it"),
            ("a or or b", 6, "both sides"),
            ("(a or)", 4, "after it"),
            ("user:(", 6, "value is missing"),
            ("user:()", 7, "value is missing"),
            ("user:(a,,b)", 9, "value is missing"),
            ("user:(a b)", 9, "commas"),
            ("user:(a", 6, "never closed"),
            ("user:a(b)", 7, "needs quotes"),
            ("user:\"a\"b", 9, "blank is missing"),
            ("\"odd name\": x", 12, "value is missing"),
            ("user:> 5", 7, "value is missing"),
            ("user:>x", 7, "no number"),
            ("user:an*", 6, "stands alone"),
            ("level:loud", 7, "TRACE, DEBUG, INFO, WARN, ERROR, FATAL"),
            ("level:>=(warn)", 9, "needs quotes"),
            ("timestamp:>soon", 12, "-90m"),
            ("id:5", 4, "no id"),
            ("id:>5", 1, "not compared"),
            ("a\0", 2, "NUL"),
        ] {
            let error = parse(q).expect_err(q);
            assert_eq!(error.column, Some(column), "{q}: {error}");
            assert!(error.message.contains(says), "{q}: {error}");
        }
    }

    #[test]
    fn limits() {
        let deep = |n: usize| format!("{}a{}", "(".repeat(n), ")".repeat(n));
        assert!(parse(&deep(Q_DEPTH_MAX)).is_ok() && parse(&deep(Q_DEPTH_MAX + 1)).is_err());
        assert!(parse(&"(".repeat(Q_BYTES_MAX)).is_err());
        assert!(parse(&"-(".repeat(Q_BYTES_MAX / 2)).is_err());
        assert!(parse(&"a ".repeat(Q_TERMS_MAX)).is_ok() && parse(&"a ".repeat(Q_TERMS_MAX + 1)).is_err());
        assert!(parse(&format!("x:({})", vec!["a"; Q_TERMS_MAX + 1].join(","))).is_err());
        assert!(parse(&"a".repeat(Q_BYTES_MAX)).is_ok() && parse(&"a".repeat(Q_BYTES_MAX + 1)).is_err());
    }
}
