//! Files inside the binary: the dashboard, Swagger UI and the OpenAPI document, each with an ETag.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use rust_embed::Embed;
use warp::http::StatusCode;
use warp::http::header::{CACHE_CONTROL, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH};

use crate::answer::{Answer, empty, whole};
use crate::error::ApiError;
use crate::params::shown;

#[derive(Embed)]
#[folder = "$CARGO_MANIFEST_DIR/dashboard"]
struct Dashboard;

/// The dashboard loads itself and nothing else, runs no inline script, and is shown in no frame.
const DASHBOARD_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Swagger UI sets styles on elements and draws its icons from data.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const DOCS_PATH: &str = "/api/docs/";

/// A file of the dashboard, the page itself when no name is given; from `folder` where the setting names one.
pub fn dashboard(name: &str, folder: Option<&Path>, headers: &HeaderMap) -> Result<Answer, ApiError> {
    let name = if name.is_empty() { "index.html" } else { name };
    let missing = || ApiError::not_found(format!("there is no /{}: /api/docs lists what there is", shown(name)));
    // No file of ours begins with a dot or lies in a folder: so there is nothing to climb out of.
    if name.starts_with('.') || name.contains(['/', '\\', '\0']) {
        return Err(missing());
    }
    if let Some(folder) = folder {
        let content = crate::dev::read(folder, name).ok_or_else(missing)?;
        let tag = hex(&fnv(&content).to_be_bytes());
        return Ok(file_answer(content, content_type(name), &tag, DASHBOARD_POLICY, headers));
    }
    let file = Dashboard::get(name).ok_or_else(missing)?;
    let tag = hex(&file.metadata.sha256_hash()[..12]);
    let content = match file.data {
        std::borrow::Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        std::borrow::Cow::Owned(bytes) => bytes.into(),
    };
    Ok(file_answer(content, content_type(name), &tag, DASHBOARD_POLICY, headers))
}

/// Swagger UI, from the assets that its crate carries.
pub fn docs(name: &str, headers: &HeaderMap) -> Result<Answer, ApiError> {
    static CONFIG: LazyLock<Arc<utoipa_swagger_ui::Config<'static>>> = LazyLock::new(|| {
        Arc::new(
            utoipa_swagger_ui::Config::new(["/api/openapi.json"])
                .try_it_out_enabled(true)
                .display_request_duration(true),
        )
    });
    let missing = || ApiError::not_found(format!("the API's pages have no file {}", shown(name)));
    let file = match utoipa_swagger_ui::serve(name, CONFIG.clone()) {
        Ok(file) => file.ok_or_else(missing)?,
        Err(error) => return Err(ApiError::internal(format!("the API's page cannot be written: {error}"))),
    };
    let mut content = file.bytes.into_owned();
    if name.is_empty() {
        // The page is served with and without a trailing slash, so its files need their whole path.
        content = String::from_utf8_lossy(&content).replace("\"./", &format!("\"{DOCS_PATH}")).into_bytes();
        content = String::from_utf8_lossy(&content)
            .replace("href=\"index.css\"", &format!("href=\"{DOCS_PATH}index.css\""))
            .into_bytes();
    }
    let tag = hex(&fnv(&content).to_be_bytes());
    let kind = if name.is_empty() { "text/html; charset=utf-8" } else { content_type(name) };
    Ok(file_answer(content.into(), kind, &tag, DOCS_POLICY, headers))
}

pub fn openapi(headers: &HeaderMap) -> Answer {
    static DOCUMENT: LazyLock<(Bytes, String)> = LazyLock::new(|| {
        let json = crate::openapi::json();
        let tag = hex(&fnv(&json).to_be_bytes());
        (json, tag)
    });
    file_answer(DOCUMENT.0.clone(), "application/json", &DOCUMENT.1, "default-src 'none'", headers)
}

/// A file's answer; 304 when the client has it already. `no-cache` makes it ask each time: a new binary's files are
/// seen at once.
fn file_answer(content: Bytes, kind: &'static str, tag: &str, policy: &'static str, asked: &HeaderMap) -> Answer {
    // Weak, since the bytes differ with the encoding.
    let tag = format!("\"{tag}\"");
    let known = asked
        .get(IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.split(',').any(|each| matches!(each.trim(), "*") || each.trim().ends_with(&*tag)));
    let mut answer = if known { empty(StatusCode::NOT_MODIFIED) } else { whole(kind, content) };
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(HeaderName::from_static("content-security-policy"), HeaderValue::from_static(policy));
    if let Ok(tag) = HeaderValue::from_str(&format!("W/{tag}")) {
        headers.insert(ETAG, tag);
    }
    answer
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("ico") => "image/x-icon",
        Some("png") => "image/png",
        Some("json" | "map") => "application/json",
        _ => "application/octet-stream",
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// FNV-1a, 64 bits: tells two builds' files apart.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
