//! OpenAPI 3.1
use bytes::Bytes;

pub fn json() -> Bytes {
    Bytes::new()
}
