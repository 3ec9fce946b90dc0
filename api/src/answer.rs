//! Answers: bodies that are there as a whole, or streams; compressed where the client takes it; and the headers that every
//! answer carries.

use bytes::Bytes;
use serde::Serialize;
use warp::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, VARY};
use warp::http::{Response, StatusCode};
use warp::reply;

use crate::coding::Coding;
use crate::error::ApiError;

/// Below this a compressed body saves no packet.
const COMPRESSED_BYTES_MIN: usize = 2 * 1024;
/// Above this compressing takes more than a millisecond, which no thread of the runtime should.
const COMPRESSED_INLINE_BYTES_MAX: usize = 64 * 1024;

/// Data answers run no script, load nothing and are shown in no frame, whatever a browser makes of them.
const DATA_POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// What a handler answers.
pub enum Answer {
    Whole(Response<Bytes>),
    /// A stream, packed already, or the 101 of a WebSocket.
    Ready(reply::Response),
}

impl Answer {
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        match self {
            Answer::Whole(response) => response.headers_mut(),
            Answer::Ready(response) => response.headers_mut(),
        }
    }

    /// Makes it what goes out.
    pub async fn finish(mut self, coding: Coding) -> reply::Response {
        finish_headers(self.headers_mut());
        match self {
            Answer::Ready(response) => response,
            Answer::Whole(response) => compressed(response, coding).await.map(Into::into),
        }
    }
}

/// A body of this content type.
pub fn whole(kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    Answer::Whole(response)
}

/// No body but a status.
pub fn empty(status: StatusCode) -> Answer {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    Answer::Whole(response)
}

/// A body that is JSON already.
pub fn json(body: impl Into<Bytes>) -> Answer {
    whole("application/json", body)
}

/// A value that becomes JSON.
pub fn json_of<T: Serialize>(value: &T) -> Result<Answer, ApiError> {
    match sonic_rs::to_vec(value) {
        Ok(body) => Ok(json(body)),
        Err(error) => Err(ApiError::internal(format!("the answer cannot be written: {error}"))),
    }
}

async fn compressed(mut response: Response<Bytes>, coding: Coding) -> Response<Bytes> {
    let Some(name) = coding.name() else { return response };
    let is_image = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"image/p"));
    if response.body().len() < COMPRESSED_BYTES_MIN || is_image {
        return response;
    }
    let plain = response.body().clone();
    let packed = match plain.len() > COMPRESSED_INLINE_BYTES_MAX {
        true => tokio::task::spawn_blocking(move || coding.pack(&plain).ok()).await.ok().flatten(),
        false => coding.pack(&plain).ok(),
    };
    let Some(packed) = packed else { return response };
    *response.body_mut() = packed.into();
    response.headers_mut().insert(CONTENT_ENCODING, name);
    response
}

/// Fills in what every answer carries and a handler has not set itself.
fn finish_headers(headers: &mut HeaderMap) {
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    headers.insert(HeaderName::from_static("referrer-policy"), HeaderValue::from_static("no-referrer"));
    // Said whatever was chosen: a cache that has it packed must not give it to a client that cannot unpack.
    headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.entry(HeaderName::from_static("content-security-policy")).or_insert(DATA_POLICY);
}
