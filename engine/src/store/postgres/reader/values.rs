//! Values on the wire: instants as Postgres' binary format has them, and rows taken over as they came.
//!
//! The columns of a row in binary format are what a row's tuple form is put together from; only the white space that
//! `jsonb` is printed with is left out.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use memchr::memchr2;
use record::Timestamp;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use super::failure::Failure;
use crate::store::RowBuf;
use crate::store::postgres::types::POSTGRES_EPOCH_MICROS;

const COLUMNS: u16 = 8;
const METADATA: usize = 7;
const JSONB_VERSION: u8 = 1;

/// µs since 2000.
#[derive(Clone, Copy, Debug)]
pub struct Instant(i64);

impl Instant {
    /// Of µs since 1970.
    pub fn at(micros: i64) -> Instant {
        Instant(micros - POSTGRES_EPOCH_MICROS)
    }

    /// µs since 1970.
    pub fn micros(self) -> i64 {
        self.0.saturating_add(POSTGRES_EPOCH_MICROS)
    }

    pub fn timestamp(self) -> Timestamp {
        Timestamp::clamped(self.micros())
    }
}

impl ToSql for Instant {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_i64(self.0);
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::TIMESTAMPTZ
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Instant {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Instant, Box<dyn Error + Sync + Send>> {
        Ok(Instant(i64::from_be_bytes(raw.try_into()?)))
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::TIMESTAMPTZ
    }
}

/// A column as it came, of whatever type.
#[derive(Clone, Copy, Debug)]
pub struct Raw<'a>(pub &'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Raw<'a>, Box<dyn Error + Sync + Send>> {
        Ok(Raw(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// Appends a row of the columns that a record has, in their order.
pub fn push_row(row: &tokio_postgres::Row, out: &mut RowBuf) -> Result<(), Failure> {
    let start = out.bytes.len();
    out.bytes.extend_from_slice(&COLUMNS.to_be_bytes());
    for column in 0..usize::from(COLUMNS) {
        let Raw(raw) = row.try_get(column)?;
        match (column, raw.split_first()) {
            (METADATA, Some((&JSONB_VERSION, json))) => {
                let at = out.bytes.len();
                out.bytes.extend_from_slice(&[0, 0, 0, 0, JSONB_VERSION]);
                push_compact(json, &mut out.bytes);
                let length = (out.bytes.len() - at - 4) as u32;
                out.bytes[at..at + 4].copy_from_slice(&length.to_be_bytes());
            }
            _ => {
                out.bytes.extend_from_slice(&(raw.len() as u32).to_be_bytes());
                out.bytes.extend_from_slice(raw);
            }
        }
    }
    out.count += 1;
    match record::Row::split(&out.bytes[start..]) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::schema(format!("a row of logs is {error}: was the table altered by hand?"))),
    }
}

/// Appends JSON without the white space between its tokens.
fn push_compact(json: &[u8], out: &mut Vec<u8>) {
    let mut rest = json;
    while let Some(at) = memchr2(b'"', b' ', rest) {
        out.extend_from_slice(&rest[..at]);
        if rest[at] == b' ' {
            rest = &rest[at + 1..];
            continue;
        }
        let mut end = at + 1;
        while let Some(next) = rest.get(end..).and_then(|inside| memchr2(b'"', b'\\', inside)) {
            end += next + 1;
            if rest[end - 1] == b'"' {
                break;
            }
            end += 1;
        }
        let end = end.min(rest.len());
        out.extend_from_slice(&rest[at..end]);
        rest = &rest[end..];
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_made_compact() {
        for (json, want) in [
            ("{}", "{}"),
            (
                r#"{"a": 1, "b c": [1, {"x": "a, b: \" c"}], "d": "\\"}"#,
                r#"{"a":1,"b c":[1,{"x":"a, b: \" c"}],"d":"\\"}"#,
            ),
            (r#"{"": " ", "e": ""}"#, r#"{"":" ","e":""}"#),
            (r#"{"cut": "a\"#, r#"{"cut":"a\"#),
            (r#"{"cut": "a"#, r#"{"cut":"a"#),
        ] {
            let mut out = Vec::new();
            push_compact(json.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), want);
        }
    }
}
