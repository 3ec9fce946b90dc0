//! An [`Id`] as Postgres' `uuid`, and the COPY stream that rows go in.

use std::error::Error;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::SinkExt;
use record::Id;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Statement};

/// What COPY BINARY begins with: signature, no flags, no extension (manual, "COPY", File Formats, Binary Format).
const COPY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// A count of columns of -1.
const COPY_TRAILER: &[u8] = b"\xff\xff";

/// From 1970 to 2000, where Postgres' timestamps begin.
pub(super) const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Uuid(pub Id);

impl ToSql for Uuid {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::UUID
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Uuid {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Uuid(Id::from_bytes(raw.try_into()?)))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::UUID
    }
}

/// Runs a `COPY … FROM STDIN (FORMAT binary)` over tuples that are all in hand: nothing is waited for but the server.
pub(super) async fn copy(
    client: &Client,
    statement: &Statement,
    tuples: Vec<Bytes>,
) -> Result<u64, tokio_postgres::Error> {
    let sink = client.copy_in::<_, Bytes>(statement).await?;
    let mut sink = std::pin::pin!(sink);
    // Small pieces are joined in there, large ones are handed on as they are.
    sink.feed(Bytes::from_static(COPY_HEADER)).await?;
    for tuples in tuples {
        sink.feed(tuples).await?;
    }
    sink.feed(Bytes::from_static(COPY_TRAILER)).await?;
    sink.finish().await
}
