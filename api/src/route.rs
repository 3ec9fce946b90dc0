//! The sidecar's table of contents: which path is answered by what.
//!
//! One warp filter takes a request apart; the match below is the whole routing, with and without a trailing slash, so
//! that an unknown path is a 404, a known one with another method a 405, and nothing in between.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use futures_util::{Stream, StreamExt};
use warp::http::header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use warp::http::{Method, StatusCode};
use warp::ws::Ws;
use warp::{Filter, Reply, reply};

use crate::answer::Answer;
use crate::coding::Coding;
use crate::error::ApiError;
use crate::params::{Params, decode, shown};
use crate::{Sidecar, assets, export, logs, origin, stats};

/// A WebSocket client has nothing to tell but pings and a close.
const INCOMING_BYTES_MAX: usize = 4 * 1024;

/// A body that nobody asked for is read up to here; after a longer one the connection ends.
const UNASKED_BYTES_MAX: usize = 64 * 1024;
const UNASKED_WAIT_MAX: Duration = Duration::from_secs(5);

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    Page,
    One(&'a str),
    Context(&'a str),
    Export,
    Stats,
    Histogram,
    Facets,
    DeadLetters,
    Formats,
    Patterns,
    Live,
    OpenApi,
    Docs(&'a str),
    Dashboard(&'a str),
}

impl Route<'_> {
    /// The route of a path, without its slashes at either end.
    pub fn of(path: &str) -> Option<Route<'_>> {
        let trimmed = path.strip_prefix('/')?;
        let trimmed = trimmed.strip_suffix('/').unwrap_or(trimmed);
        let (head, rest) = trimmed.split_once('/').unwrap_or((trimmed, ""));
        Some(match (head, rest) {
            ("logs", "") => Route::Page,
            ("logs", "export") => Route::Export,
            ("logs", rest) => match rest.split_once('/') {
                None => Route::One(rest),
                Some((id, "context")) => Route::Context(id),
                Some(_) => return None,
            },
            ("stats", "") => Route::Stats,
            ("stats", "histogram") => Route::Histogram,
            ("stats", "facets") => Route::Facets,
            ("dead-letters", "") => Route::DeadLetters,
            ("parse", "formats") => Route::Formats,
            ("parse", "patterns") => Route::Patterns,
            ("ws", "logs") => Route::Live,
            ("api", "openapi.json") => Route::OpenApi,
            ("api", "docs") => Route::Docs(""),
            ("api", rest) if !rest.is_empty() => Route::Docs(rest.strip_prefix("docs/")?),
            ("", "") if path != "/" => return None,
            (_, "") => Route::Dashboard(trimmed),
            _ => return None,
        })
    }

    /// The parameters that it takes besides those of the filter.
    fn params(&self) -> &'static [&'static str] {
        match self {
            Route::Page | Route::DeadLetters => &["limit", "cursor"],
            Route::Context(_) => &["before", "after"],
            Route::Export => &["format"],
            Route::Histogram => &["interval"],
            Route::Facets => &["field", "limit"],
            _ => &[],
        }
    }
}

/// A request, taken apart.
struct Asked {
    method: Method,
    path: String,
    query: String,
    headers: HeaderMap,
    upgrade: Option<Ws>,
}

/// The whole sidecar as a warp filter.
pub fn routes(sidecar: Arc<Sidecar>) -> warp::filters::BoxedFilter<(reply::Response,)> {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let upgrade = warp::ws().map(Some).or(warp::any().map(|| None)).unify();
    warp::method()
        .and(warp::path::full())
        .and(query)
        .and(warp::header::headers_cloned())
        .and(upgrade)
        .and(warp::body::stream())
        .and_then(move |method, path: warp::path::FullPath, query, headers, upgrade, body| {
            let asked = Asked { method, path: path.as_str().to_owned(), query, headers, upgrade };
            let sidecar = sidecar.clone();
            async move {
                read_away(&asked.headers, body).await;
                Ok::<_, Infallible>(respond(&sidecar, asked).await)
            }
        })
        .boxed()
}

/// Reads a body that nobody asked for, so that its connection can be kept: hyper closes one with a body left over.
async fn read_away(headers: &HeaderMap, body: impl Stream<Item = Result<impl Buf, warp::Error>>) {
    let is_empty = headers.get(CONTENT_LENGTH).is_none_or(|length| length.as_bytes() == b"0");
    if is_empty && !headers.contains_key(TRANSFER_ENCODING) {
        return;
    }
    let reading = async {
        let mut body = std::pin::pin!(body);
        let mut bytes = 0;
        while let Some(Ok(piece)) = body.next().await {
            bytes += piece.remaining();
            if bytes > UNASKED_BYTES_MAX {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(UNASKED_WAIT_MAX, reading).await;
}

async fn respond(sidecar: &Sidecar, asked: Asked) -> reply::Response {
    let origin = asked.headers.get(warp::http::header::ORIGIN).cloned();
    let coding = Coding::accepted(&asked.headers);
    let mut answer = answer(sidecar, asked).await.unwrap_or_else(ApiError::into_answer);
    if let Some(origin) = origin
        && origin::is_allowed(&origin, &sidecar.config.origins)
    {
        origin::allow(answer.headers_mut(), origin);
    }
    answer.finish(coding).await
}

async fn answer(sidecar: &Sidecar, asked: Asked) -> Result<Answer, ApiError> {
    origin::check_host(&asked.headers, &sidecar.config.listen, &sidecar.config.origins)?;
    let path = decode(&asked.path.replace('+', "%2B"))?;
    let Some(route) = Route::of(&path) else {
        return Err(ApiError::not_found(format!("there is no {}: /api/docs lists what there is", shown(&path))));
    };
    if asked.method == Method::OPTIONS && origin::is_preflight(&asked.headers, &sidecar.config.origins) {
        return Ok(origin::preflight());
    }
    if asked.method != Method::GET && asked.method != Method::HEAD {
        if let Route::Dashboard(file) = route {
            // What is not there has no methods.
            assets::dashboard(file, sidecar.config.dashboard_folder.as_deref(), &asked.headers)?;
        }
        return Err(ApiError {
            allow: Some("GET, HEAD"),
            ..ApiError::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                format!("{} is not for {}: GET and HEAD are", shown(asked.method.as_str()), shown(&path)),
            )
        });
    }
    let head_only = asked.method == Method::HEAD;
    let params = Params::parse(&asked.query, route.params())?;
    match route {
        Route::Page => logs::page(sidecar, params).await,
        Route::One(id) => logs::one(sidecar, id, params).await,
        Route::Context(id) => logs::context(sidecar, id, params).await,
        Route::Export => export::export(sidecar, params, head_only, Coding::accepted(&asked.headers)).await,
        Route::Stats => stats::stats(sidecar, params).await,
        Route::Histogram => stats::histogram(sidecar, params).await,
        Route::Facets => stats::facets(sidecar, params).await,
        Route::DeadLetters => crate::dead_letters::page(sidecar, params).await,
        Route::Formats => crate::formats::formats(params),
        Route::Patterns => crate::formats::patterns(params),
        Route::Live => live(sidecar, params, &asked.headers, asked.upgrade),
        Route::OpenApi => Ok(assets::openapi(&asked.headers)),
        Route::Docs(file) => assets::docs(file, &asked.headers),
        // What stands in a page's query string, the page reads.
        Route::Dashboard(file) => assets::dashboard(file, sidecar.config.dashboard_folder.as_deref(), &asked.headers),
    }
}

fn live(sidecar: &Sidecar, params: Params, headers: &HeaderMap, upgrade: Option<Ws>) -> Result<Answer, ApiError> {
    origin::check(headers, &sidecar.config.origins)?;
    let filter = params.filter(sidecar.now(), &sidecar.config.timezone)?;
    let Some(upgrade) = upgrade else {
        return Err(ApiError::new(
            StatusCode::UPGRADE_REQUIRED,
            "upgrade_required",
            "this is a WebSocket: connect with ws:// and version 13, as docs/WEBSOCKET.md shows",
        ));
    };
    // Subscribed before the 101: what becomes durable after the client has it, the client gets.
    let subscription = sidecar.live.subscribe(&filter)?;
    let upgrade = upgrade.max_message_size(INCOMING_BYTES_MAX).max_frame_size(INCOMING_BYTES_MAX);
    Ok(Answer::Ready(upgrade.on_upgrade(|socket| crate::live::watch(socket, subscription)).into_response()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (path, want) in [
            ("/logs/", Some(Route::Page)),
            ("/logs", Some(Route::Page)),
            ("/logs/export", Some(Route::Export)),
            ("/logs/export/", Some(Route::Export)),
            ("/logs/x", Some(Route::One("x"))),
            ("/logs/x/context/", Some(Route::Context("x"))),
            ("/logs/x/y", None),
            ("/logs/x/context/y", None),
            ("/stats/", Some(Route::Stats)),
            ("/stats/histogram", Some(Route::Histogram)),
            ("/stats/facets", Some(Route::Facets)),
            ("/stats/other", None),
            ("/dead-letters/", Some(Route::DeadLetters)),
            ("/dead-letters/x", None),
            ("/ws/logs/", Some(Route::Live)),
            ("/api/docs", Some(Route::Docs(""))),
            ("/api/docs/", Some(Route::Docs(""))),
            ("/api/docs/swagger-ui.css", Some(Route::Docs("swagger-ui.css"))),
            ("/api/openapi.json", Some(Route::OpenApi)),
            ("/api/other", None),
            ("/", Some(Route::Dashboard(""))),
            ("/app.css", Some(Route::Dashboard("app.css"))),
            ("/../Cargo.toml", None),
            ("/nothing", Some(Route::Dashboard("nothing"))),
            ("/nothing/at/all", None),
            ("//", None),
            ("", None),
        ] {
            assert_eq!(Route::of(path), want, "{path}");
        }
    }
}
