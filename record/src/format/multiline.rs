//! Joining the lines of one record: stack traces and the like.
//!
//! Comes in: lines one by one, without their line feeds. Goes out: records, each as soon as the next one begins. Nothing
//! here waits: who reads a live stream decides when an open record has waited long enough, and calls
//! [`Joiner::finish`].
//!
//! | rule | a line goes on with the record when it |
//! |---|---|
//! | `indent` | begins with a blank or a tab, closes a bracket, or is one that Java's and Python's traces write at the margin |
//! | `start:EXPRESSION` | does not match the expression with which records begin |

use regex::bytes::{Regex, RegexBuilder};

use super::line::LINE_BYTES_MAX;
use super::pattern::{COMPILED_BYTES_MAX, EXPRESSION_BYTES_MAX, PatternError, why_broken};

/// Which lines go on with a record.
#[derive(Clone, Debug)]
pub enum Multiline {
    Indent,
    /// Matches the first line of each record.
    Start(Regex),
}

impl Multiline {
    /// Reads a rule as `--multiline` and `?multiline=` give it: `indent`, or `start:` and a regular expression.
    pub fn parse(text: &str) -> Result<Multiline, PatternError> {
        if text == "indent" {
            return Ok(Multiline::Indent);
        }
        let Some(expression) = text.strip_prefix("start:") else {
            return Err(PatternError::Regex {
                reason: format!("`{text}`: write indent, or start: and an expression"),
                at: None,
            });
        };
        if expression.len() > EXPRESSION_BYTES_MAX {
            return Err(PatternError::TooLong(expression.len()));
        }
        let regex = RegexBuilder::new(expression).size_limit(COMPILED_BYTES_MAX).build();
        let regex = regex.map_err(|error| why_broken(expression, error))?;
        Ok(Multiline::Start(regex))
    }
}

/// Puts lines together. A record that would pass [`LINE_BYTES_MAX`] ends before that; what follows is the next.
#[derive(Debug)]
pub struct Joiner {
    rule: Multiline,
    /// The record that is open, and the one that was given out last.
    open: Vec<u8>,
    done: Vec<u8>,
    is_open: bool,
    /// Lines seen so far, and where among them the open record began.
    lines: usize,
    first_line: usize,
    in_traceback: bool,
}

/// A record of one or more lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined<'a> {
    pub text: &'a [u8],
    /// The number of its first line, from 0.
    pub first_line: usize,
}

impl Joiner {
    pub fn new(rule: Multiline) -> Joiner {
        Joiner {
            rule,
            open: Vec::new(),
            done: Vec::new(),
            is_open: false,
            lines: 0,
            first_line: 0,
            in_traceback: false,
        }
    }

    /// Takes a line; gives out the record before it when this one begins another.
    pub fn push(&mut self, line: &[u8]) -> Option<Joined<'_>> {
        let number = self.lines;
        self.lines += 1;
        let fits = self.open.len() + 1 + line.len() <= LINE_BYTES_MAX;
        if self.is_open && self.goes_on(line) && fits {
            self.open.push(b'\n');
            self.open.extend_from_slice(line);
            return None;
        }
        let had_one = self.is_open;
        let first_line = std::mem::replace(&mut self.first_line, number);
        std::mem::swap(&mut self.open, &mut self.done);
        self.open.clear();
        self.open.extend_from_slice(line);
        self.is_open = true;
        had_one.then_some(Joined { text: &self.done, first_line })
    }

    /// Gives out the record that is open, at the end of the lines or when none has come for long.
    pub fn finish(&mut self) -> Option<Joined<'_>> {
        self.in_traceback = false;
        std::mem::take(&mut self.is_open).then(|| {
            std::mem::swap(&mut self.open, &mut self.done);
            self.open.clear();
            Joined { text: &self.done, first_line: self.first_line }
        })
    }

    fn goes_on(&mut self, line: &[u8]) -> bool {
        match &self.rule {
            Multiline::Start(regex) => !regex.is_match(line),
            Multiline::Indent => {
                let indented = matches!(line.first(), Some(b' ' | b'\t'));
                // Python ends a trace with the exception, at the margin again.
                let ends_traceback = self.in_traceback && !indented && !line.is_empty();
                self.in_traceback = line.starts_with(b"Traceback (") || self.in_traceback && !ends_traceback;
                indented || ends_traceback || self.in_traceback || is_part_of_trace(line)
            }
        }
    }
}

/// Lines that traces write without an indent.
fn is_part_of_trace(line: &[u8]) -> bool {
    [&b"Caused by: "[..], b"Suppressed: ", b"... ", b"During handling of ", b"The above exception ", b"}", b"]", b")"]
        .iter()
        .any(|head| line.starts_with(head))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn join(rule: &str, lines: &[&str]) -> Vec<(usize, String)> {
        let mut joiner = Joiner::new(Multiline::parse(rule).unwrap());
        let mut records = Vec::new();
        let mut take = |joined: Option<Joined>| {
            records.extend(joined.map(|j| (j.first_line, String::from_utf8_lossy(j.text).into_owned())));
        };
        for line in lines {
            take(joiner.push(line.as_bytes()));
        }
        take(joiner.finish());
        assert!(joiner.finish().is_none());
        records
    }

    #[track_caller]
    fn check(rule: &str, lines: &[&str], want: &[(usize, &str)]) {
        let got = join(rule, lines);
        let got: Vec<(usize, &str)> = got.iter().map(|(line, text)| (*line, text.as_str())).collect();
        assert_eq!(got, want);
    }

    #[test]
    fn traces_of_java() {
        check(
            "indent",
            &["ERROR a", "java.lang.X: y", "\tat A.b(A.java:1)", "Caused by: Z", "\tat C", "\t... 3 more", "INFO b"],
            &[
                (0, "ERROR a"),
                (1, "java.lang.X: y\n\tat A.b(A.java:1)\nCaused by: Z\n\tat C\n\t... 3 more"),
                (6, "INFO b"),
            ],
        );
    }

    #[test]
    fn traces_of_python() {
        check(
            "indent",
            &["ERROR a", "Traceback (most recent call last):", "  File \"x\", line 1", "ValueError: y", "INFO b"],
            &[(0, "ERROR a\nTraceback (most recent call last):\n  File \"x\", line 1\nValueError: y"), (4, "INFO b")],
        );
    }

    #[test]
    fn objects_over_many_lines() {
        check("indent", &["{", "  \"a\": 1", "}", "{", "}"], &[(0, "{\n  \"a\": 1\n}"), (3, "{\n}")]);
    }

    #[test]
    fn a_start_pattern() {
        let lines = ["cut", "2025 a", "b", "", "2025 c"];
        check(r"start:^\d{4} ", &lines, &[(0, "cut"), (1, "2025 a\nb\n"), (4, "2025 c")]);
        check("indent", &[], &[]);
    }

    #[test]
    fn a_record_has_an_end() {
        let mut joiner = Joiner::new(Multiline::Indent);
        let line = vec![b' '; LINE_BYTES_MAX / 3];
        let records: Vec<usize> = (0..7).filter_map(|_| joiner.push(&line).map(|joined| joined.text.len())).collect();
        assert_eq!(records.len(), 3);
        assert!(records.iter().all(|&length| length <= LINE_BYTES_MAX));
    }

    #[test]
    fn unknown_rules_are_told() {
        assert!(Multiline::parse("java").unwrap_err().to_string().contains("write indent, or start:"));
        assert!(Multiline::parse("start:(").is_err());
    }

    proptest! {
        #[test]
        fn no_line_is_lost(lines in prop::collection::vec("[ a}T]{0,4}", 0..20)) {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            for rule in ["indent", "start:^a"] {
                let joined: Vec<String> = join(rule, &lines).into_iter().map(|(_, text)| text).collect();
                prop_assert_eq!(joined.join("\n"), lines.join("\n"));
            }
        }
    }
}
