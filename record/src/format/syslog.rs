//! What both syslogs share: the priority before a line, and structured data.

use crate::fields::Fields;
use crate::level::Level;
use crate::text::{push_json_inside, push_json_string};

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

/// Where structured data at `at` ends, when it is well formed. Nothing is stored yet.
pub fn structured_data_end(line: &[u8], mut at: usize, rigour: Rigour) -> Result<usize, (&'static str, usize)> {
    let start = at;
    while line.get(at) == Some(&b'[') {
        let element = Element::read(line, at, rigour)?;
        if rigour == Rigour::Strict && repeats(line, start, at, element.id) {
            return Err(("an element of structured data is repeated", at));
        }
        at = element.end;
    }
    if at == start { Err(("no structured data", at)) } else { Ok(at) }
}

/// Whether an element with this id stands between `start` and `end`.
fn repeats(line: &[u8], start: usize, end: usize, id: &[u8]) -> bool {
    /// A line with more elements is taken as it is: comparing all with all would take for ever.
    const ELEMENTS_MAX: usize = 64;
    let mut at = start;
    for _ in 0..ELEMENTS_MAX {
        if at >= end {
            return false;
        }
        match Element::read(line, at, Rigour::Strict) {
            Ok(element) if element.id == id => return true,
            Ok(element) => at = element.end,
            Err(_) => return false,
        }
    }
    false
}

/// Stores structured data that [`structured_data_end`] has found well formed, as `{"id":{"name":"value"}}`. A name that
/// comes again is numbered: `ip`, `ip_2`.
pub fn fill_structured_data(data: &[u8], rigour: Rigour, out: &mut Fields) {
    out.meta.value("structured_data", |json| {
        let mut repaired = false;
        let mut ids = Names::default();
        let mut at = 0;
        json.push(b'{');
        while let Ok(element) = Element::read(data, at, rigour) {
            if at > 0 {
                json.push(b',');
            }
            repaired |= ids.push(element.id, json);
            json.extend_from_slice(b":{");
            let mut names = Names::default();
            let mut param_at = element.params_at;
            while let Ok(Some(param)) = Param::read(data, param_at, rigour) {
                if param_at > element.params_at {
                    json.push(b',');
                }
                repaired |= names.push(param.name, json);
                json.push(b':');
                repaired |= push_value(param.value, json);
                param_at = param.end;
            }
            json.push(b'}');
            at = element.end;
        }
        json.push(b'}');
        repaired
    });
}

/// The names of an object so far.
#[derive(Default)]
struct Names<'a> {
    near: [&'a [u8]; Names::NEAR],
    count: usize,
    far: Option<std::collections::HashMap<&'a [u8], usize>>,
}

impl<'a> Names<'a> {
    /// So many are compared one by one; beyond, by hash.
    const NEAR: usize = 16;

    /// Writes the name as a key, numbered where it has been written before.
    fn push(&mut self, name: &'a [u8], json: &mut Vec<u8>) -> bool {
        let before = match &mut self.far {
            Some(far) => {
                let count = far.entry(name).or_insert(0);
                *count += 1;
                *count - 1
            }
            None => self.near[..self.count].iter().filter(|near| **near == name).count(),
        };
        if self.far.is_none() {
            if self.count < Names::NEAR {
                self.near[self.count] = name;
                self.count += 1;
            } else {
                let mut far = std::collections::HashMap::new();
                for near in self.near.iter().copied().chain([name]) {
                    *far.entry(near).or_insert(0) += 1;
                }
                self.far = Some(far);
            }
        }
        let repaired = push_json_string(name, json);
        if before > 0 {
            json.pop();
            json.push(b'_');
            json.extend_from_slice(itoa::Buffer::new().format(before + 1).as_bytes());
            json.push(b'"');
        }
        repaired
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

/// `[id name="value" …]`.
struct Element<'a> {
    id: &'a [u8],
    params_at: usize,
    end: usize,
}

impl<'a> Element<'a> {
    fn read(line: &'a [u8], at: usize, rigour: Rigour) -> Result<Element<'a>, (&'static str, usize)> {
        if line.get(at) != Some(&b'[') {
            return Err(("no bracket at an element of structured data", at));
        }
        let id_end = name_end(line, at + 1, |b| matches!(b, b' ' | b']'));
        let id = &line[at + 1..id_end];
        check_name(id, at + 1, rigour)?;
        let params_at = id_end;
        let mut end = id_end;
        while let Some(param) = Param::read(line, end, rigour)? {
            end = param.end;
        }
        if rigour == Rigour::Proven && end == params_at {
            return Err(("no parameter in an element of structured data", end));
        }
        if rigour != Rigour::Strict {
            end = super::scan::skip_blanks(line, end);
        }
        if line.get(end) != Some(&b']') {
            return Err(("an element of structured data does not end with ]", end));
        }
        Ok(Element { id, params_at, end: end + 1 })
    }
}

/// ` name="value"`.
struct Param<'a> {
    name: &'a [u8],
    value: &'a [u8],
    end: usize,
}

impl<'a> Param<'a> {
    /// `None` where the element ends instead.
    fn read(line: &'a [u8], at: usize, rigour: Rigour) -> Result<Option<Param<'a>>, (&'static str, usize)> {
        let strict = rigour == Rigour::Strict;
        let start = match strict {
            true => at + usize::from(line.get(at) == Some(&b' ')),
            false => super::scan::skip_blanks(line, at),
        };
        if start == at || !strict && line.get(start) == Some(&b']') {
            return Ok(None);
        }
        let name_end = name_end(line, start, |b| matches!(b, b' ' | b']' | b'=' | b'"'));
        let name = &line[start..name_end];
        check_name(name, start, rigour)?;
        if line.get(name_end) != Some(&b'=') {
            return Err(("no = after the name of a parameter", name_end));
        }
        let mut value_at = name_end + 1;
        if !strict {
            value_at = super::scan::skip_blanks(line, value_at);
        }
        if line.get(value_at) != Some(&b'"') {
            if rigour != Rigour::Lenient {
                return Err(("the value of a parameter is not quoted", value_at));
            }
            let end = name_end_of_bare(line, value_at);
            return Ok(Some(Param { name, value: &line[value_at..end], end }));
        }
        value_at += 1;
        let end = match strict {
            true => strict_value_end(line, value_at)?,
            false => super::scan::closing_quote(line, value_at, |after| matches!(line.get(after), Some(b' ' | b']')))
                .ok_or(("the value of a parameter has no closing quote", value_at))?,
        };
        Ok(Some(Param { name, value: &line[value_at..end], end: end + 1 }))
    }
}

fn name_end(line: &[u8], at: usize, stops: impl Fn(u8) -> bool) -> usize {
    at + line[at..].iter().position(|&b| stops(b)).unwrap_or(line.len() - at)
}

fn name_end_of_bare(line: &[u8], at: usize) -> usize {
    name_end(line, at, |b| matches!(b, b' ' | b']'))
}

fn check_name(name: &[u8], at: usize, rigour: Rigour) -> Result<(), (&'static str, usize)> {
    /// RFC 5424 §6.3.2.
    const NAME_BYTES_MAX: usize = 32;
    let fits = match rigour {
        Rigour::Strict => {
            name.len() <= NAME_BYTES_MAX && name.iter().all(|b| b.is_ascii_graphic() && !matches!(b, b'=' | b'"'))
        }
        Rigour::Lenient => true,
        Rigour::Proven => !name.iter().any(|b| matches!(b, b'=' | b'"')),
    };
    if name.is_empty() || !fits { Err(("a broken name in structured data", at)) } else { Ok(()) }
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
