//! Answers that are no error: JSON bodies, and the headers that every answer carries.

use bytes::Bytes;
use serde::Serialize;
use warp::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use warp::http::{HeaderMap as Headers, Response};
use warp::reply;

use crate::error::ApiError;

/// Data answers run no script, load nothing and are shown in no frame, whatever a browser makes of them.
const DATA_POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

pub fn set_json(headers: &mut HeaderMap) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
}

/// A body that is JSON already.
pub fn json(body: impl Into<Bytes>) -> reply::Response {
    let mut response = Response::new(body.into().into());
    set_json(response.headers_mut());
    response
}

/// A value that becomes JSON.
pub fn json_of<T: Serialize>(value: &T) -> Result<reply::Response, ApiError> {
    match sonic_rs::to_vec(value) {
        Ok(body) => Ok(json(body)),
        Err(error) => Err(ApiError::internal(format!("the answer cannot be written: {error}"))),
    }
}

/// Fills in what every answer carries and a handler has not set itself.
pub fn finish(headers: &mut Headers) {
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    headers.insert(HeaderName::from_static("referrer-policy"), HeaderValue::from_static("no-referrer"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.entry(HeaderName::from_static("content-security-policy")).or_insert(DATA_POLICY);
}
