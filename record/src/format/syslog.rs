//! What both syslogs share: the priority before a line, and structured data.

use super::scan::{BLANK, BRACKET, EQUALS, OTHER, QUOTE, word_end};
use crate::fields::Fields;
use crate::level::Level;
use crate::text::{find_special, push_json_inside, push_json_string, push_string};

/// Reads `<34>` at the head of a line: its value, and where what follows it begins. At most 191 (facility 23, severity
/// 7), without leading zeros.
pub fn priority(line: &[u8]) -> Option<(u8, usize)> {
    let digits = line.get(1..4.min(line.len()))?.iter().take_while(|b| b.is_ascii_digit()).count();
    if line[0] != b'<' || digits == 0 || line.get(1 + digits) != Some(&b'>') || digits > 1 && line[1] == b'0' {
        return None;
    }
    let value = line[1..=digits].iter().fold(0u32, |sum, b| sum * 10 + u32::from(b - b'0'));
    (value <= 191).then_some((value as u8, digits + 2))
}

/// Level, facility and severity of a priority.
pub fn fill_priority(priority: u8, out: &mut Fields) {
    out.level = Level::from_syslog(priority & 7);
    out.meta.int("facility", i64::from(priority >> 3));
    out.meta.int("severity", i64::from(priority & 7));
}

/// How closely structured data keeps to its grammar (RFC 5424 §6.3).
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Rigour {
    /// To the letter.
    Strict,
    /// As it is met: long names, blanks around parameters, values without quotes, brackets without backslashes.
    Lenient,
    /// As it is met where no field is set aside for it: each element must have parameters, all of them quoted.
    Proven,
}

/// Reads the structured data at `at` into `metadata.structured_data`, as `{"id":{"name":"value"}}`; tells where it ends. A
/// name that comes again is numbered: `ip`, `ip_2`.
pub fn take_structured_data(
    line: &[u8],
    at: usize,
    rigour: Rigour,
    out: &mut Fields,
) -> Result<usize, (&'static str, usize)> {
    out.meta.try_value("structured_data", |json, ascii| {
        let mut data = Data { line, at, rigour, ascii, repaired: false, json };
        data.read()?;
        Ok((data.repaired, data.at))
    })
}

/// Structured data while it is read and written.
struct Data<'a, 'o> {
    line: &'a [u8],
    at: usize,
    rigour: Rigour,
    /// Whether the line is ASCII without NUL.
    ascii: bool,
    repaired: bool,
    json: &'o mut Vec<u8>,
}

impl<'a> Data<'a, '_> {
    fn read(&mut self) -> Result<(), (&'static str, usize)> {
        let start = self.at;
        let mut ids = Names::default();
        self.json.push(b'{');
        while self.line.get(self.at) == Some(&b'[') {
            if self.at > start {
                self.json.push(b',');
            }
            self.element(&mut ids)?;
        }
        if self.at == start {
            return Err(("no structured data", start));
        }
        self.json.push(b'}');
        Ok(())
    }

    /// `[id name="value" …]`.
    fn element(&mut self, ids: &mut Names<'a>) -> Result<(), (&'static str, usize)> {
        let start = self.at + 1;
        self.at = name_end(self.line, start, true, self.rigour)?;
        let id = &self.line[start..self.at];
        let repeated = self.key(id, ids);
        if repeated && self.rigour == Rigour::Strict {
            return Err(("an element of structured data is repeated", start - 1));
        }
        self.json.push(b'{');
        let params_at = self.at;
        let mut names = Names::default();
        while self.enter_param() {
            if names.count > 0 {
                self.json.push(b',');
            }
            self.param(&mut names)?;
        }
        if self.rigour == Rigour::Proven && names.count == 0 {
            return Err(("no parameter in an element of structured data", params_at));
        }
        if self.line.get(self.at) != Some(&b']') {
            return Err(("an element of structured data does not end with ]", self.at));
        }
        self.at += 1;
        self.json.push(b'}');
        Ok(())
    }

    /// Steps over what stands before a parameter; false where the element ends instead.
    fn enter_param(&mut self) -> bool {
        let start = self.at;
        if self.rigour == Rigour::Strict {
            self.at += usize::from(self.line.get(self.at) == Some(&b' '));
            return self.at > start;
        }
        self.at = super::scan::skip_blanks(self.line, self.at);
        self.at > start && self.line.get(self.at) != Some(&b']')
    }

    /// `name="value"`.
    fn param(&mut self, names: &mut Names<'a>) -> Result<(), (&'static str, usize)> {
        let line = self.line;
        let start = self.at;
        let end = name_end(line, start, false, self.rigour)?;
        let name = &line[start..end];
        self.at = end + 1;
        if self.rigour != Rigour::Strict {
            self.at = super::scan::skip_blanks(line, self.at);
        }
        self.key(name, names);
        if line.get(self.at) == Some(&b'"') {
            self.at += 1;
            return self.quoted();
        }
        if self.rigour != Rigour::Lenient {
            return Err(("the value of a parameter is not quoted", self.at));
        }
        let end = word_end(line, self.at, BLANK | BRACKET);
        self.repaired |= push_json_string(&line[self.at..end], self.json);
        self.at = end;
        Ok(())
    }

    /// The value that begins here, after its quote.
    fn quoted(&mut self) -> Result<(), (&'static str, usize)> {
        let line = self.line;
        let start = self.at;
        let near = find_special(line, start);
        let closes = |after: usize| matches!(line.get(after), Some(b' ' | b']'));
        let is_plain = line.get(near) == Some(&b'"') && self.ascii;
        if is_plain && (self.rigour != Rigour::Strict && closes(near + 1) || !line[start..near].contains(&b']')) {
            // With its quotes it is a JSON string already.
            self.json.extend_from_slice(&line[start - 1..=near]);
            self.at = near + 1;
            return Ok(());
        }
        let end = match self.rigour {
            Rigour::Strict => strict_value_end(line, start)?,
            _ => super::scan::closing_quote(line, start, closes)
                .ok_or(("the value of a parameter has no closing quote", start))?,
        };
        self.repaired |= push_value(&line[start..end], self.json);
        self.at = end + 1;
        Ok(())
    }

    /// Writes a name as a key; true when it has been one before.
    fn key(&mut self, name: &'a [u8], names: &mut Names<'a>) -> bool {
        let before = names.add(name);
        if before == 0 && self.ascii && find_special(name, 0) == name.len() {
            self.json.push(b'"');
            self.json.extend_from_slice(name);
            self.json.extend_from_slice(b"\":");
            return false;
        }
        self.repaired |= push_string(name, self.ascii, self.json);
        if before > 0 {
            self.json.pop();
            self.json.push(b'_');
            self.json.extend_from_slice(itoa::Buffer::new().format(before + 1).as_bytes());
            self.json.push(b'"');
        }
        self.json.push(b':');
        before > 0
    }
}

/// The names of an object so far.
#[derive(Default)]
struct Names<'a> {
    near: [&'a [u8]; Names::NEAR],
    count: usize,
    far: std::collections::HashMap<&'a [u8], usize>,
}

impl<'a> Names<'a> {
    /// So many are compared one by one; beyond, by hash.
    const NEAR: usize = 8;

    /// Notes a name; how often it has come before.
    fn add(&mut self, name: &'a [u8]) -> usize {
        let near = &self.near[..self.count.min(Names::NEAR)];
        let before = near.iter().filter(|near| **near == name).count();
        if self.count < Names::NEAR {
            self.near[self.count] = name;
            self.count += 1;
            return before;
        }
        self.count += 1;
        let far = self.far.entry(name).or_insert(0);
        *far += 1;
        before + *far - 1
    }
}

/// Writes a value without the backslashes that stand before quotes, brackets and backslashes (RFC 5424 §6.3.3).
fn push_value(mut value: &[u8], json: &mut Vec<u8>) -> bool {
    let mut repaired = false;
    json.push(b'"');
    while let Some(at) = memchr::memchr(b'\\', value) {
        let escapes = matches!(value.get(at + 1), Some(b'"' | b'\\' | b']'));
        let (before, after) = if escapes { (at, at + 2) } else { (at + 1, at + 1) };
        repaired |= push_json_inside(&value[..before], json);
        if escapes {
            repaired |= push_json_inside(&value[at + 1..after], json);
        }
        value = &value[after..];
    }
    repaired |= push_json_inside(value, json);
    json.push(b'"');
    repaired
}

/// The end of the name that begins at `at`. Names of parameters end before their `=`.
fn name_end(line: &[u8], at: usize, is_id: bool, rigour: Rigour) -> Result<usize, (&'static str, usize)> {
    /// RFC 5424 §6.3.2.
    const NAME_BYTES_MAX: usize = 32;
    let classes = match rigour {
        Rigour::Strict => BLANK | BRACKET | EQUALS | QUOTE | OTHER,
        Rigour::Proven => BLANK | BRACKET | EQUALS | QUOTE,
        Rigour::Lenient if is_id => BLANK | BRACKET,
        Rigour::Lenient => BLANK | BRACKET | EQUALS | QUOTE,
    };
    let end = word_end(line, at, classes);
    let ends_well = match line.get(end) {
        Some(b' ' | b']') => is_id,
        Some(b'=') => !is_id,
        _ => false,
    };
    if end == at || !ends_well || rigour == Rigour::Strict && end - at > NAME_BYTES_MAX {
        return Err(("a broken name in structured data", at));
    }
    Ok(end)
}

/// The closing quote of a value in which quotes and closing brackets are escaped.
fn strict_value_end(line: &[u8], mut at: usize) -> Result<usize, (&'static str, usize)> {
    loop {
        let special = memchr::memchr3(b'"', b'\\', b']', &line[at..]);
        let next = at + special.ok_or(("the value of a parameter has no closing quote", at))?;
        match line[next] {
            b'"' => return Ok(next),
            // A backslash before any other character stands for itself.
            b'\\' if matches!(line.get(next + 1), Some(b'"' | b'\\' | b']')) => at = next + 2,
            b'\\' => at = next + 1,
            _ => return Err(("an unescaped ] in a value", next)),
        }
    }
}
