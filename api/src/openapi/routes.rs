//! The table of routes, of both halves. Longer than a page because each route has examples and errors.

use serde_json::{Value, json};

use super::{Route, number, one_of, text};
use crate::dead_letters::{LETTERS_DEFAULT, LETTERS_MAX};
use crate::logs::{CONTEXT_ROWS_DEFAULT, CONTEXT_ROWS_MAX, PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX};
use crate::stats::{FACET_VALUES_DEFAULT, FACET_VALUES_MAX};
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{Ref, RefOr, Schema};

const ID: &str = "019a739a-5400-7000-8000-04d2000004d2";

pub fn all() -> Vec<Route> {
    let mut routes = ingest();
    routes.extend(logs());
    routes.extend(stats());
    routes.extend(parse());
    routes.extend(operation());
    routes.extend(pages());
    routes
}

fn record() -> Value {
    json!({
        "id": ID, "timestamp": "2025-11-11T16:00:00.000000Z", "level": "ERROR", "source": "web-server",
        "application": "api", "message": "Database connection failed", "metadata": {"user_id": 12345}
    })
}

fn new_record() -> Value {
    json!({
        "timestamp": "2025-11-11T16:00:00", "level": "ERROR", "source": "web-server", "application": "api",
        "message": "Database connection failed", "metadata": {"user_id": 12345}
    })
}

fn uuid() -> Object {
    let format = SchemaFormat::Custom("uuid".into());
    ObjectBuilder::new().schema_type(Type::String).format(Some(format)).build()
}

fn defaulted(mut schema: Object, default: usize) -> Object {
    schema.default = Some(default.into());
    schema
}

fn interval() -> Object {
    ObjectBuilder::new().schema_type(Type::String).pattern(Some("^([1-9][0-9]?[smh]?|1d)$")).build()
}

/// What every route that takes a body may say of it.
fn taken(route: Route) -> Route {
    route
        .query("source", "The source of records that name none.", text())
        .query("application", "The application of records that name none.", text())
        .query("timezone", "Where times without a zone are: an IANA name or `+02:00`.", text())
        .query("unwrap", "Whether a log wrapped in a log is opened one level.", one_of(&["true", "false"]))
        .error(
            400,
            &[
                "malformed_json",
                "malformed_parameter",
                "malformed_encoding",
                "malformed_body",
                "unknown_timezone",
                "unknown_format",
                "malformed_pattern",
                "malformed_multiline",
            ],
            "broken JSON at column 17",
        )
        .error(
            403,
            &["foreign_origin"],
            "pages of http://elsewhere.example may not post: name it in the setting origins",
        )
        .error(408, &["body_timeout"], "the body came too slowly")
        .error(413, &["body_too_large", "record_too_large", "line_too_long"], "the body is longer than body_bytes_max")
        .error(415, &["unsupported_media_type", "unknown_encoding"], "image/png is no log: send application/json")
        .error(429, &["queue_full"], "the queue is full: wait, or raise queue_bytes_max")
        .error(503, &["disk_full", "partly_stored", "stopping"], "the disk is full")
}

/// What the doors that take lines of text are told of them.
fn lines(route: Route) -> Route {
    route
        .query("format", "What the lines are: `auto`, or a name of `/parse/formats` or `/parse/patterns`.", text())
        .query("pattern", "A regular or grok expression that the lines are held to, instead of a format.", text())
        .query("time_format", "The shape of the pattern's times, such as `%d.%m.%Y %H:%M:%S`.", text())
        .query("multiline", "Join lines into records: `indent`, or `start:` and what the first line matches.", text())
}

fn ingest() -> Vec<Route> {
    vec![
        taken(
            Route::post("/data/", "ingest", "post_record", "Store one record, and find it at once")
                .about("Answers once the record is committed and found by queries.")
                .body(&[("application/json", new_record())], Ref::from_schema_name("NewRecord"))
                .json(201, "Stored", "Accepted", json!({"id": ID}))
                .error(422, &["empty_body", "not_an_object", "too_old"], "the body is empty: send a JSON object"),
        ),
        taken(
            Route::post("/data/fast", "ingest", "post_record_fast", "Queue one record, durably")
                .about("Answers once the record is durable in the queue; queries find it within 100 ms.")
                .body(&[("application/json", new_record())], Ref::from_schema_name("NewRecord"))
                .json(202, "Durable", "Accepted", json!({"id": ID}))
                .error(422, &["empty_body", "not_an_object", "too_old"], "the body is empty: send a JSON object"),
        ),
        taken(lines(
            Route::post("/data/batch", "ingest", "post_batch", "Queue many records, durably")
                .about(
                    "A JSON array, `{\"logs\": […]}`, NDJSON, or lines of any format (`text/plain`, or `?format=`). \
                     `Content-Encoding`: gzip, zstd, deflate. Up to 8 MiB a body is taken whole or not at all, but for \
                     its broken lines, which are told.",
                )
                .body(
                    &[
                        ("application/json", json!({"logs": [new_record()]})),
                        (
                            "application/x-ndjson",
                            json!("{\"level\":\"INFO\",\"message\":\"a\"}\n{\"message\":\"b\"}\n"),
                        ),
                        (
                            "text/plain",
                            json!(
                                "ERROR disk full\n10.0.0.1 - - [11/Nov/2025:16:00:00 +0000] \"GET / HTTP/1.1\" 200 5\n"
                            ),
                        ),
                    ],
                    Ref::from_schema_name("Batch"),
                )
                .json(202, "Durable", "BatchAnswer", json!({"accepted": 1, "rejected": 0, "errors": []}))
                .error(422, &["empty_body", "nothing_taken"], "the body is empty: send at least one record"),
        )),
    ]
}

fn logs() -> Vec<Route> {
    vec![
        Route::get("/logs/", "logs", "find_records", "Find records, newest first")
            .about("Pages stay right while records arrive: a cursor is a place, not a number of rows.")
            .query("limit", "Records in the page.", defaulted(number(1..=PAGE_ROWS_MAX), PAGE_ROWS_DEFAULT))
            .query("cursor", "`next_cursor` of the page before, with the same filter.", text())
            .filtered()
            .json(200, "A page", "Page", json!({"logs": [record()], "next_cursor": null}))
            .error(
                400,
                &[
                    "unknown_parameter", "bad_parameter", "repeated_parameter", "too_many_parameters", "bad_encoding",
                    "bad_query", "bad_filter", "unknown_level", "unknown_time", "empty_time_range", "bad_cursor",
                    "cursor_mismatch",
                ],
                "unknown parameter `colour`: known are limit, cursor, level, level_min, source, application, from, to, q, metadata.KEY",
            )
            .error(414, &["query_too_long"], "the query string is 20000 bytes long, at most 16384 are read")
            .queried(),
        Route::get("/logs/{id}", "logs", "get_record", "One record")
            .in_path("id", "Of the record.", uuid(), json!(ID))
            .json(200, "The record", "Record", record())
            .error(400, &["bad_id", "unknown_parameter"], "`12` is no id: give the 36 characters of a UUID")
            .error(404, &["not_found"], "no record has the id 019a739a-5400-7000-8000-04d2000004d2")
            .queried(),
        Route::get("/logs/{id}/context", "logs", "get_neighbours", "The records before and after one, from its source")
            .in_path("id", "Of the record.", uuid(), json!(ID))
            .query("before", "How many older ones.", defaulted(number(0..=CONTEXT_ROWS_MAX), CONTEXT_ROWS_DEFAULT))
            .query("after", "How many newer ones.", defaulted(number(0..=CONTEXT_ROWS_MAX), CONTEXT_ROWS_DEFAULT))
            .json(200, "Oldest first", "Neighbours", json!({"before": [], "log": record(), "after": []}))
            .error(400, &["bad_id", "bad_parameter", "unknown_parameter"], "before is `x`, and must be a number from 0 to 1000")
            .error(404, &["not_found"], "no record has the id 019a739a-5400-7000-8000-04d2000004d2")
            .queried(),
        filter_errors(
            Route::get("/logs/export", "logs", "export_records", "All that matches, streamed, without a limit")
                .about("Newest first. A connection that breaks off within the body means that not all of it came.")
                .query("format", "`ndjson`, or `csv` by RFC 4180 with a header line.", one_of(&["ndjson", "csv"]))
                .filtered()
                .lines_or_csv(
                    "The records",
                    "Record",
                    record(),
                    "id,timestamp,level,source,application,message,metadata\r\n",
                ),
        )
        .queried(),
        filter_errors(
            Route::get("/ws/logs", "logs", "watch_records", "The live tail, a WebSocket")
                .about(
                    "Messages are `{\"type\": \"logs\", \"logs\": […]}` in order of arrival, joined for at most 10 ms, \
                     and `{\"type\": \"skipped\", \"count\": n, \"exact\": true}` when records came faster than they were taken. \
                     See docs/WEBSOCKET.md.",
                )
                .filtered()
                .empty(101, "The WebSocket is open, and nothing that arrives from now on is missed")
                .error(403, &["foreign_origin"], "pages of http://elsewhere.example may not watch: name it in the setting origins")
                .error(426, &["upgrade_required"], "this is a WebSocket: connect with ws://"),
        )
        .error(503, &["busy", "api_unavailable"], "1000 viewers watch already: close one, or raise viewers_max"),
    ]
}

fn filter_errors(route: Route) -> Route {
    route
        .error(
            400,
            &[
                "unknown_parameter",
                "bad_parameter",
                "repeated_parameter",
                "too_many_parameters",
                "bad_encoding",
                "bad_query",
                "bad_filter",
                "unknown_level",
                "unknown_time",
                "empty_time_range",
            ],
            "unknown level `LOUD`: write one of TRACE, DEBUG, INFO, WARN, ERROR, FATAL",
        )
        .error(414, &["query_too_long"], "the query string is 20000 bytes long, at most 16384 are read")
}

fn stats() -> Vec<Route> {
    vec![
        filter_errors(
            Route::get("/stats", "stats", "count_records", "How many, by level, and how fast").filtered().json(
                200,
                "Counts",
                "Stats",
                json!({
                    "total": 19745,
                    "by_level": {"TRACE": 0, "DEBUG": 4431, "INFO": 12303, "WARN": 1247, "ERROR": 1757, "FATAL": 7},
                    "error_rate": 0.0893, "per_second": 1284.0
                }),
            ),
        )
        .queried(),
        filter_errors(
            Route::get("/stats/histogram", "stats", "count_by_time", "How many, by time and level")
                .query("interval", "From `1s` to `1d`, such as `30s`, `1m`, `6h`; none: at most 200 buckets.", interval())
                .filtered()
                .json(
                    200,
                    "Counts",
                    "HistogramAnswer",
                    json!({
                        "interval_seconds": 60,
                        "buckets": [{"from": "2025-11-11T16:00:00.000000Z", "total": 412, "levels": {"INFO": 400, "ERROR": 12}}]
                    }),
                ),
        )
        .queried(),
        filter_errors(
            Route::get("/stats/facets", "stats", "count_by_value", "The commonest values of a field")
                .required_query("field", "`level`, `source`, `application` or `metadata.KEY`.", text(), json!("application"))
                .query("limit", "Values listed.", defaulted(number(1..=FACET_VALUES_MAX), FACET_VALUES_DEFAULT))
                .filtered()
                .json(
                    200,
                    "Counts",
                    "FacetsAnswer",
                    json!({"field": "application", "values": [{"value": "payments", "count": 6615}], "other": 0}),
                ),
        )
        .queried(),
    ]
}

fn parse() -> Vec<Route> {
    let formats = json!({"formats": [{
        "name": "json", "title": "A JSON object on one line", "example": "{\"level\":\"info\",\"msg\":\"hello\"}",
        "fields": ["timestamp", "level", "message"], "specification": "https://www.rfc-editor.org/rfc/rfc8259"
    }]});
    let patterns = json!({"patterns": [{
        "name": "python", "title": "Python's logging, as its documentation configures it",
        "example": "2025-11-11 16:00:00,123 - shop.orders - ERROR - out of stock",
        "fields": ["timestamp", "level", "message", "metadata.name"],
        "specification": "^(?P<timestamp>\\S+ \\S+) - (?P<name>\\S+) - (?P<level>\\w+) - (?P<message>.*)$"
    }]});
    vec![
        taken(lines(
            Route::post("/parse/auto", "parse", "parse_lines", "See what lines become")
                .about("Parses and stores nothing; with `store=true` as `/data/fast`.")
                .query("store", "Store what was parsed.", one_of(&["true", "false"]))
                .body(
                    &[
                        ("application/json", json!({"raw_log": "ERROR disk full"})),
                        ("text/plain", json!("ERROR disk full\n")),
                    ],
                    Ref::from_schema_name("RawLogs"),
                )
                .json(
                    200,
                    "The fields",
                    "Parsed",
                    json!({
                        "format": "plain", "timestamp": "2025-11-11T16:00:00.000000Z", "level": "ERROR", "source": "",
                        "application": "", "message": "ERROR disk full", "metadata": {}
                    }),
                )
                .json(202, "Stored (`store=true`)", "Parsed", json!({"format": "plain", "message": "ERROR disk full"}))
                .error(
                    422,
                    &["format_mismatch", "no_raw_log", "wrong_type", "empty_body", "not_an_object"],
                    "not syslog_rfc5424: no priority (column 1)",
                ),
        )),
        Route::get("/parse/formats", "parse", "list_formats", "The formats that lines may have")
            .json(200, "From the registry", "Formats", formats)
            .error(400, &["unknown_parameter"], "unknown parameter `x`: none is known here")
            .error(503, &["api_unavailable"], "the sidecar does not answer"),
        Route::get("/parse/patterns", "parse", "list_patterns", "The patterns that lines may be held to, by name")
            .json(200, "From the registry and the settings", "Patterns", patterns)
            .error(400, &["unknown_parameter"], "unknown parameter `x`: none is known here")
            .error(503, &["api_unavailable"], "the sidecar does not answer"),
    ]
}

fn operation() -> Vec<Route> {
    let health =
        json!({"status": "ok", "version": "0.1.0", "parts": {"queue": {"status": "ok", "detail": "312 records wait"}}});
    vec![
        Route::get("/health", "operation", "get_health", "Whether logs are taken, and how well")
            .json(200, "`ok` or `degraded`", "Health", health)
            .json(
                503,
                "Logs cannot be taken",
                "Health",
                json!({"status": "down", "version": "0.1.0", "parts": {"queue": {"status": "down", "detail": "the disk is full"}}}),
            ),
        Route::get("/queue/status", "operation", "get_queue", "What waits between the doors and the store").json(
            200,
            "The queue",
            "Queue",
            json!({"kind": "local", "depth": 312, "oldest_seconds": 0.2, "streams": []}),
        ),
        Route::get("/dead-letters", "operation", "list_dead_letters", "What the store has refused for good, and why")
            .about("Newest first. Such a record is in no query; correct it and send it again. The files take whatever was encoded and have none.")
            .query("limit", "Letters in the page.", defaulted(number(1..=LETTERS_MAX), LETTERS_DEFAULT))
            .query("cursor", "`next_cursor` of the page before.", text())
            .json(
                200,
                "A page",
                "DeadLetters",
                json!({
                    "dead_letters": [{
                        "id": ID, "failed_at": "2025-11-11T16:00:01.000000Z", "reason": "22P05: unsupported Unicode escape sequence",
                        "batch_id": ID, "log": record()
                    }],
                    "total": 1, "next_cursor": null
                }),
            )
            .error(
                400,
                &["bad_parameter", "bad_cursor", "repeated_parameter", "unknown_parameter", "too_many_parameters", "bad_encoding"],
                "limit is `x`, and must be a number from 1 to 1000: page with cursor",
            )
            .error(414, &["query_too_long"], "the query string is 20000 bytes long, at most 16384 are read")
            .queried(),
        Route::get("/metrics", "operation", "get_metrics", "Metrics for Prometheus").answer(
            200,
            "OpenMetrics text",
            "application/openmetrics-text",
            RefOr::T(Schema::Object(text())),
            json!("logboom_records_total{door=\"batch\",level=\"INFO\"} 5000000\n"),
        ),
    ]
}

fn pages() -> Vec<Route> {
    let page = || RefOr::T(Schema::Object(text()));
    vec![
        Route::get("/", "pages", "dashboard", "The dashboard")
            .answer(200, "The page", "text/html", page(), json!("<!doctype html>"))
            .empty(304, "The page has not changed"),
        Route::get("/api/docs", "pages", "docs", "This document, to read and to try")
            .answer(200, "Swagger UI", "text/html", page(), json!("<!doctype html>"))
            .empty(304, "The page has not changed"),
        Route::get("/api/openapi.json", "pages", "openapi", "This document")
            .answer(
                200,
                "OpenAPI 3.1",
                "application/json",
                ObjectBuilder::new().schema_type(Type::Object).build(),
                json!({"openapi": "3.1.0"}),
            )
            .empty(304, "The document has not changed"),
    ]
}
