//! A filter as bytes: how a process tells another what it watches for. Exact: what is read back is the same filter.
//! (`q` is not: it has limits that a filter of many parameters passes.)
//!
//! | at | bytes | content |
//! |---|---|---|
//! | 0 | 3 | `LBQ` |
//! | 3 | 1 | version, 1 |
//! | 4 | n | the filter |
//! | 4 + n | 4 | CRC32C of all before |
//!
//! Integers are little-endian. An optional value is a byte, 0 or 1, and the value after 1; a list or a text its length,
//! u32, and what it holds. The filter: levels?, source?, application?, from?, to?, expression. An expression is a tag and
//! what the table at [`read_expr`](Reader::read_expr) says.

use super::{Expr, Field, Filter, LevelSet, Number, Test, TimeRange};
use crate::id::Id;
use crate::time::Timestamp;

/// Three times what a request's head holds.
pub const FILTER_BYTES_MAX: usize = 96 * 1024;
/// Expressions within one another: `q` allows 32 parentheses, each of which makes up to three.
const DEPTH_MAX: usize = 4 * super::Q_DEPTH_MAX;

const MAGIC: [u8; 3] = *b"LBQ";
const VERSION: u8 = 1;

const ALL: u8 = 1;
const ANY: u8 = 2;
const NOT: u8 = 3;
const TEXT: u8 = 4;
const LEVEL: u8 = 5;
const TIME: u8 = 6;
const ID: u8 = 7;
const FIELD: u8 = 8;

impl Filter {
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        out.extend_from_slice(&MAGIC);
        out.push(VERSION);
        put_option(&mut out, self.levels, |out, levels| out.push(levels.0));
        put_option(&mut out, self.source.as_deref(), put_texts);
        put_option(&mut out, self.application.as_deref(), put_texts);
        put_range(&mut out, self.range());
        put_expr(&mut out, &self.expr);
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// `None` for what [`to_bytes`](Filter::to_bytes) of this version does not write.
    pub fn from_bytes(bytes: &[u8]) -> Option<Filter> {
        let (content, crc) = bytes.split_last_chunk().filter(|_| bytes.len() <= FILTER_BYTES_MAX)?;
        if crc32c::crc32c(content).to_le_bytes() != *crc {
            return None;
        }
        let rest = content.strip_prefix(&MAGIC)?.strip_prefix(&[VERSION])?;
        let mut reader = Reader { rest };
        let levels = reader.option(Reader::levels)?;
        let source = reader.option(Reader::texts)?;
        let application = reader.option(Reader::texts)?;
        let TimeRange { from, to } = reader.range()?;
        let expr = reader.read_expr(0)?;
        reader.rest.is_empty().then_some(Filter { levels, source, application, from, to, expr })
    }
}

fn put_expr(out: &mut Vec<u8>, expr: &Expr) {
    let put_list = |out: &mut Vec<u8>, tag: u8, parts: &[Expr]| {
        out.push(tag);
        put_length(out, parts.len());
        parts.iter().for_each(|part| put_expr(out, part));
    };
    match expr {
        Expr::All(parts) => put_list(out, ALL, parts),
        Expr::Any(parts) => put_list(out, ANY, parts),
        Expr::Not(part) => {
            out.push(NOT);
            put_expr(out, part);
        }
        Expr::Text(text) => {
            out.push(TEXT);
            put_text(out, text);
        }
        Expr::Level(levels) => out.extend_from_slice(&[LEVEL, levels.0]),
        Expr::Time(range) => {
            out.push(TIME);
            put_range(out, *range);
        }
        Expr::Id(ids) => {
            out.push(ID);
            put_length(out, ids.len());
            ids.iter().for_each(|id| out.extend_from_slice(id.as_bytes()));
        }
        Expr::Field { field, test } => {
            out.push(FIELD);
            match field {
                Field::Source => out.push(0),
                Field::Application => out.push(1),
                Field::Message => out.push(2),
                Field::Metadata(path) => {
                    out.push(3);
                    put_text(out, path);
                }
            }
            let (tag, number) = match test {
                Test::AnyOf(texts) => {
                    out.push(0);
                    return put_texts(out, texts);
                }
                Test::Exists => return out.push(1),
                Test::Greater(number) => (2, number),
                Test::GreaterOrEqual(number) => (3, number),
                Test::Less(number) => (4, number),
                Test::LessOrEqual(number) => (5, number),
            };
            out.push(tag);
            put_text(out, number.as_str());
        }
    }
}

fn put_option<T>(out: &mut Vec<u8>, value: Option<T>, put: impl FnOnce(&mut Vec<u8>, T)) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put(out, value);
    }
}

fn put_range(out: &mut Vec<u8>, range: TimeRange) {
    for end in [range.from, range.to] {
        put_option(out, end, |out, end: Timestamp| out.extend_from_slice(&end.as_micros().to_le_bytes()));
    }
}

fn put_texts(out: &mut Vec<u8>, texts: &[String]) {
    put_length(out, texts.len());
    texts.iter().for_each(|text| put_text(out, text));
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_length(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&(length as u32).to_le_bytes());
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// | tag | then |
    /// |---|---|
    /// | 1 `All`, 2 `Any` | expressions |
    /// | 3 `Not` | an expression |
    /// | 4 `Text` | a text |
    /// | 5 `Level` | a bit a level, from TRACE |
    /// | 6 `Time` | from?, to?: i64 µs since 1970 |
    /// | 7 `Id` | ids of 16 bytes |
    /// | 8 `Field` | 0 source, 1 application, 2 message, 3 metadata and its path; then 0 any of texts, 1 exists, 2 `>`, 3 `>=`, 4 `<`, 5 `<=` and the number as text |
    fn read_expr(&mut self, depth: usize) -> Option<Expr> {
        if depth > DEPTH_MAX {
            return None;
        }
        Some(match self.byte()? {
            ALL => Expr::All(self.list(|reader| reader.read_expr(depth + 1))?),
            ANY => Expr::Any(self.list(|reader| reader.read_expr(depth + 1))?),
            NOT => Expr::Not(Box::new(self.read_expr(depth + 1)?)),
            TEXT => Expr::Text(self.text()?),
            LEVEL => Expr::Level(self.levels()?),
            TIME => Expr::Time(self.range()?),
            ID => Expr::Id(self.list(|reader| reader.array().map(Id::from_bytes))?),
            FIELD => {
                let field = match self.byte()? {
                    0 => Field::Source,
                    1 => Field::Application,
                    2 => Field::Message,
                    3 => Field::Metadata(self.text()?),
                    _ => return None,
                };
                let test = match self.byte()? {
                    0 => Test::AnyOf(self.texts()?),
                    1 => Test::Exists,
                    2 => Test::Greater(self.number()?),
                    3 => Test::GreaterOrEqual(self.number()?),
                    4 => Test::Less(self.number()?),
                    5 => Test::LessOrEqual(self.number()?),
                    _ => return None,
                };
                Expr::Field { field, test }
            }
            _ => return None,
        })
    }

    fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.byte()? {
            0 => Some(None),
            1 => read(self).map(Some),
            _ => None,
        }
    }

    /// Grows as it reads: a length that lies costs nothing.
    fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let length = self.length()?;
        let mut items = Vec::new();
        for _ in 0..length {
            items.push(read(self)?);
        }
        Some(items)
    }

    fn texts(&mut self) -> Option<Vec<String>> {
        self.list(Reader::text)
    }

    fn text(&mut self) -> Option<String> {
        let length = self.length()?;
        let (text, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        String::from_utf8(text.to_vec()).ok()
    }

    fn number(&mut self) -> Option<Number> {
        Number::parse(&self.text()?)
    }

    fn levels(&mut self) -> Option<LevelSet> {
        Some(LevelSet(self.byte()?)).filter(|levels| levels.intersection(LevelSet::ALL) == *levels)
    }

    fn range(&mut self) -> Option<TimeRange> {
        let end = |reader: &mut Self| Timestamp::from_micros(i64::from_le_bytes(reader.array()?));
        Some(TimeRange { from: self.option(end)?, to: self.option(end)? })
    }

    fn length(&mut self) -> Option<usize> {
        self.array().map(|bytes| u32::from_le_bytes(bytes) as usize)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*array)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::filter::contract;

    /// Written as `to_bytes` would.
    fn sealed(content: &[u8]) -> Vec<u8> {
        [content, &crc32c::crc32c(content).to_le_bytes()].concat()
    }

    #[test]
    fn what_is_broken_is_no_filter() {
        let good = Filter { expr: Expr::Text("größe".into()), ..Filter::default() }.to_bytes();
        assert!(Filter::from_bytes(&good).is_some());
        for cut in 0..good.len() {
            assert_eq!(Filter::from_bytes(&good[..cut]), None, "cut at {cut}");
            let mut bent = good.clone();
            bent[cut] ^= 1;
            assert_eq!(Filter::from_bytes(&bent), None, "bent at {cut}");
        }
        let head = b"LBQ\x01\0\0\0\0\0";
        for (rest, why) in [
            (&[ALL, 0, 0, 0, 0][..], "nothing is wrong"),
            (&[9], "no such tag"),
            (&[LEVEL, 0xff], "no such level"),
            (&[ALL, 0xff, 0xff, 0xff, 0xff], "a length that lies"),
            (&[TEXT, 1, 0, 0, 0, 0xff], "not UTF-8"),
            (&[FIELD, 0, 2, 1, 0, 0, 0, b'x'], "no number"),
            (&[ALL, 0, 0, 0, 0, 0], "something follows"),
            (&[NOT; DEPTH_MAX + 2], "too deep"),
        ] {
            let read = Filter::from_bytes(&sealed(&[head, rest].concat()));
            assert_eq!(read.is_some(), why == "nothing is wrong", "{why}");
        }
        assert_eq!(Filter::from_bytes(&sealed(b"LBQ\x02\0\0\0\0\0\x01\0\0\0\0")), None, "a newer version");
    }

    #[test]
    fn the_deepest_filter_of_q_fits() {
        let q = format!("{}a{}", "-(b or c ".repeat(super::super::Q_DEPTH_MAX), ")".repeat(super::super::Q_DEPTH_MAX));
        let mut filter = Filter::default();
        filter.require(super::super::parse_q(&q, Timestamp::MIN, &crate::time::Zone::UTC).expect("it is allowed"));
        assert_eq!(Filter::from_bytes(&filter.to_bytes()), Some(filter));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn what_is_written_is_read_back(filter in contract::filter()) {
            prop_assert_eq!(Filter::from_bytes(&filter.to_bytes()), Some(filter));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let content = [b"LBQ\x01".as_slice(), &bytes].concat();
            if let Some(filter) = Filter::from_bytes(&sealed(&content)) {
                prop_assert_eq!(Filter::from_bytes(&filter.to_bytes()), Some(filter));
            }
        }
    }
}
