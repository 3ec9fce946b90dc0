//! Which web pages may ask: those of this server, and those that the setting `origins` names; and under which names.
//!
//! Browsers send `Origin` (RFC 6454) with every WebSocket and every request across origins; other clients send none and
//! are not held up. A WebSocket knows no same-origin rule of the browser's, so it is checked here.

use warp::http::StatusCode;
use warp::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HOST, HeaderMap, HeaderValue,
    ORIGIN, VARY, VIA,
};

use engine::http::host;

use crate::Listen;
use crate::answer::{Answer, empty};
use crate::error::ApiError;
use crate::params::shown;

/// Whether the setting names this origin, or every one with `*`.
pub fn is_allowed(origin: &HeaderValue, origins: &[String]) -> bool {
    origins.iter().any(|allowed| allowed == "*" || allowed.as_bytes().eq_ignore_ascii_case(origin.as_bytes()))
}

/// Refuses a request that a page of another origin has made.
pub fn check(headers: &HeaderMap, origins: &[String]) -> Result<(), ApiError> {
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    if is_same(origin, headers.get(HOST)) || is_allowed(origin, origins) {
        return Ok(());
    }
    let origin = shown(&String::from_utf8_lossy(origin.as_bytes()));
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        "foreign_origin",
        format!("pages of {origin} may not watch: name it in the setting origins to allow it"),
    ))
}

/// Refuses a request that only an outsider's DNS can have led to a port on loopback. One that an engine has relayed was
/// weighed there, and comes under whatever name that engine is known by.
pub fn check_host(headers: &HeaderMap, listen: &Listen, origins: &[String]) -> Result<(), ApiError> {
    let (Listen::Tcp(listen), Some(name)) = (listen, headers.get(HOST)) else { return Ok(()) };
    let name = String::from_utf8_lossy(name.as_bytes());
    if !listen.ip().is_loopback() || is_relayed(headers) || !host::is_foreign(&name, origins) {
        return Ok(());
    }
    let message = host::refusal(&shown(&name), listen.ip());
    Err(ApiError::new(StatusCode::MISDIRECTED_REQUEST, "foreign_host", message))
}

fn is_relayed(headers: &HeaderMap) -> bool {
    headers.get_all(VIA).iter().any(|via| via.as_bytes() == host::VIA.as_bytes())
}

/// Whether the origin's host and port are those that the request is for.
fn is_same(origin: &HeaderValue, host: Option<&HeaderValue>) -> bool {
    let (Ok(origin), Some(Ok(host))) = (origin.to_str(), host.map(HeaderValue::to_str)) else { return false };
    origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
}

/// Lets an allowed page read the answer (Fetch §3.2).
pub fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("server-timing, retry-after"));
    headers.append(VARY, HeaderValue::from_static("origin"));
}

pub fn is_preflight(headers: &HeaderMap, origins: &[String]) -> bool {
    headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
        && headers.get(ORIGIN).is_some_and(|origin| is_allowed(origin, origins))
}

/// The answer to a preflight; [`allow`] adds the rest.
pub fn preflight() -> Answer {
    let mut answer = empty(StatusCode::NO_CONTENT);
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_origin(origin: &str, host: &str, origins: &[&str], want: bool) {
        let mut headers = HeaderMap::new();
        if !origin.is_empty() {
            headers.insert(ORIGIN, HeaderValue::from_str(origin).unwrap());
        }
        headers.insert(HOST, HeaderValue::from_str(host).unwrap());
        let origins: Vec<String> = origins.iter().map(|&origin| origin.into()).collect();
        assert_eq!(check(&headers, &origins).is_ok(), want, "{origin} at {host}");
    }

    #[test]
    fn who_may_watch() {
        check_origin("", "127.0.0.1:5000", &[], true);
        check_origin("http://127.0.0.1:5000", "127.0.0.1:5000", &[], true);
        check_origin("https://Logs.example", "logs.example", &[], true);
        check_origin("http://127.0.0.1:5001", "127.0.0.1:5000", &[], false);
        check_origin("http://evil.example", "127.0.0.1:5000", &[], false);
        check_origin("null", "127.0.0.1:5000", &[], false);
        check_origin("http://ops.example", "127.0.0.1:5000", &["http://ops.example"], true);
        check_origin("http://ops.example.evil", "127.0.0.1:5000", &["http://ops.example"], false);
        check_origin("http://any.example", "127.0.0.1:5000", &["*"], true);
    }
}
