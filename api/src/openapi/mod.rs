//! The OpenAPI 3.1 document of both halves: the engine's routes and the sidecar's, with examples and error answers.
//!
//! `routes.rs` is the table, `schemas.rs` the shapes, this file the words that both are written in. A test asks a
//! running sidecar for every route in it.

mod routes;
mod schemas;

use bytes::Bytes;
use record::Level;
use serde_json::Value;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    Components, ContentBuilder, HttpMethod, Info, OpenApi, OpenApiBuilder, PathItem, PathsBuilder, Ref, RefOr,
    Required, ResponseBuilder, Schema,
};

/// The document as JSON.
pub fn json() -> Bytes {
    match document().to_json() {
        Ok(json) => json.into(),
        Err(error) => {
            tracing::error!("the OpenAPI document cannot be written: {error}");
            Bytes::from_static(b"{}")
        }
    }
}

fn document() -> OpenApi {
    let mut info = Info::new("Logboom", env!("CARGO_PKG_VERSION"));
    info.description = Some(
        "Takes logs from anything, at the speed of the machine, and makes them searchable and watchable at once. \
         Every route answers with and without its trailing slash, and every error is \
         `{\"error\": {\"code\", \"message\"}}`, where the message says what to write instead."
            .into(),
    );
    let mut paths = PathsBuilder::new();
    for route in routes::all() {
        let route = route.error(
            421,
            &["foreign_host"],
            "`logs.example` is no name of this server, which listens on this machine only: name it in the setting origins",
        );
        paths = paths.path(route.path, PathItem::new(route.method, route.operation));
    }
    let tags = [
        ("ingest", "Logs in"),
        ("logs", "Records out"),
        ("stats", "How many, when, of what"),
        ("parse", "What lines become"),
        ("operation", "Is it well"),
        ("pages", "For a browser"),
    ];
    let tags = tags.map(|(name, about)| TagBuilder::new().name(name).description(Some(about)).build());
    let mut components = Components::new();
    components.schemas.extend(schemas::all());
    OpenApiBuilder::new().info(info).paths(paths).components(Some(components)).tags(Some(tags)).build()
}

/// One route as the document has it.
struct Route {
    method: HttpMethod,
    path: &'static str,
    operation: OperationBuilder,
}

impl Route {
    fn get(path: &'static str, tag: &str, id: &str, summary: &str) -> Route {
        Route::new(HttpMethod::Get, path, tag, id, summary)
    }

    fn post(path: &'static str, tag: &str, id: &str, summary: &str) -> Route {
        Route::new(HttpMethod::Post, path, tag, id, summary)
    }

    fn new(method: HttpMethod, path: &'static str, tag: &str, id: &str, summary: &str) -> Route {
        let operation = OperationBuilder::new().tag(tag).operation_id(Some(id)).summary(Some(summary));
        Route { method, path, operation }
    }

    fn about(mut self, text: &str) -> Route {
        self.operation = self.operation.description(Some(text));
        self
    }

    fn in_path(self, name: &str, about: &str, schema: Object, example: Value) -> Route {
        self.parameter(parameter(ParameterIn::Path, name, about, schema).example(Some(example)))
    }

    fn query(self, name: &str, about: &str, schema: Object) -> Route {
        self.parameter(parameter(ParameterIn::Query, name, about, schema))
    }

    fn required_query(self, name: &str, about: &str, schema: Object, example: Value) -> Route {
        let parameter = parameter(ParameterIn::Query, name, about, schema);
        self.parameter(parameter.required(Required::True).example(Some(example)))
    }

    fn parameter(mut self, parameter: impl Into<Parameter>) -> Route {
        self.operation = self.operation.parameter(parameter.into());
        self
    }

    /// The parameters of a filter.
    fn filtered(mut self) -> Route {
        let levels = Level::ALL.map(Level::as_str).join("|");
        let level = ObjectBuilder::new().schema_type(Type::String).pattern(Some(format!("^({levels})(,({levels}))*$")));
        let least = one_of(&Level::ALL.map(Level::as_str));
        for (name, about, schema, example) in [
            (
                "level",
                "Any of these, separated by commas; synonyms such as `warning` too.",
                level.build(),
                "ERROR,FATAL",
            ),
            ("level_min", "This level or a more severe one.", least, "WARN"),
            ("source", "Exactly this source; repeated, any of them.", text(), "web-1"),
            ("application", "Exactly this application; repeated, any of them.", text(), "shop"),
            ("from", "From this time, included: RFC 3339, seconds since 1970, `now` or `-15m`.", time(), "-1h"),
            ("to", "To this time, not included.", time(), "now"),
            (
                "q",
                "The search language: words, `\"phrases\"`, `-not`, `or`, `field:value`, `field:*`, `field:>n`.",
                text(),
                "timeout",
            ),
        ] {
            let parameter = parameter(ParameterIn::Query, name, about, schema);
            // Not as `example`, which tools would send with every request.
            self = self.parameter(parameter.description(Some(format!("{about} Such as `{example}`."))));
        }
        self
    }

    /// A body of one content type; called again for each further one.
    fn body(mut self, bodies: &[(&str, Value)], schema: impl Into<RefOr<Schema>> + Clone) -> Route {
        let mut request = RequestBodyBuilder::new().required(Some(Required::True));
        for (kind, example) in bodies {
            let schema =
                if kind.contains("json") && !kind.contains("ndjson") { schema.clone().into() } else { text().into() };
            request = request
                .content(*kind, ContentBuilder::new().schema(Some(schema)).example(Some(example.clone())).build());
        }
        self.operation = self.operation.request_body(Some(request.build()));
        self
    }

    /// An answer of JSON with a schema of [`schemas`].
    fn json(self, status: u16, about: &str, schema: &str, example: Value) -> Route {
        self.answer(status, about, "application/json", Ref::from_schema_name(schema), example)
    }

    fn answer(
        mut self,
        status: u16,
        about: &str,
        kind: &str,
        schema: impl Into<RefOr<Schema>>,
        example: Value,
    ) -> Route {
        self.operation =
            self.operation.response(status.to_string(), answer(about).content(kind, content(schema, example)).build());
        self
    }

    /// An answer that comes as JSON lines or as CSV, by the request's choice.
    fn lines_or_csv(mut self, about: &str, schema: &str, example: Value, csv: &str) -> Route {
        let response = answer(about)
            .content("application/x-ndjson", content(Ref::from_schema_name(schema), example))
            .content("text/csv", content(text(), csv.into()));
        self.operation = self.operation.response("200", response.build());
        self
    }

    fn empty(mut self, status: u16, about: &str) -> Route {
        self.operation = self.operation.response(status.to_string(), ResponseBuilder::new().description(about).build());
        self
    }

    /// Error answers of one status, with the codes that they may carry and a message of the first.
    fn error(mut self, status: u16, codes: &[&str], message: &str) -> Route {
        let example = serde_json::json!({"error": {"code": codes.first(), "message": message}});
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Error"))).example(Some(example)).build();
        let list = codes.iter().map(|code| format!("`{code}`")).collect::<Vec<_>>().join(", ");
        let mut response = ResponseBuilder::new().description(list).content("application/json", content);
        if matches!(status, 429 | 503) {
            let about = "Seconds to wait before the next try";
            let header = HeaderBuilder::new().schema(Some(number(1..=3600))).description(Some(about));
            response = response.header("Retry-After", header.build());
        }
        if status == 405 {
            let header =
                HeaderBuilder::new().schema(Some(text())).description(Some("The methods that the route takes"));
            response = response.header("Allow", header.build());
        }
        self.operation = self.operation.response(status.to_string(), response.build());
        self
    }

    /// The errors of whatever asks the store.
    fn queried(self) -> Route {
        self.error(500, &["store_failed", "internal"], "the store cannot be read: Input/output error (os error 5)")
            .error(
                503,
                &["busy", "query_too_long", "query_too_large", "api_unavailable"],
                "the query took longer than 30 s: narrow its time range, or raise query_seconds_max",
            )
    }
}

fn answer(about: &str) -> ResponseBuilder {
    ResponseBuilder::new().description(about)
}

fn content(schema: impl Into<RefOr<Schema>>, example: Value) -> utoipa::openapi::Content {
    ContentBuilder::new().schema(Some(schema.into())).example(Some(example)).build()
}

fn parameter(place: ParameterIn, name: &str, about: &str, schema: Object) -> ParameterBuilder {
    let required = if place == ParameterIn::Path { Required::True } else { Required::False };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .description(Some(about))
        .schema(Some(Schema::Object(schema)))
}

fn text() -> Object {
    Object::with_type(Type::String)
}

/// What `from` and `to` take, as far as a pattern says it.
fn time() -> Object {
    let pattern =
        "^(now|(now)?-[0-9]{1,4}[smhdw]|[0-9]{10}|[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9:.]{5,15}(Z|[+-][0-9:]{5})?)?)$";
    ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern)).build()
}

fn number(range: std::ops::RangeInclusive<usize>) -> Object {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(*range.start())).maximum(Some(*range.end())).build()
}

fn one_of(values: &[&str]) -> Object {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(values.iter().copied())).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sidecar's routes as the table has them, and all of them.
    #[test]
    fn tells_of_every_route() {
        let document = document();
        for path in document.paths.paths.keys() {
            let asked = path.replace("{id}", "019a739a-5400-7000-8000-04d2000004d2");
            let engine = ["/data/", "/data/fast", "/data/batch", "/parse/auto", "/health", "/queue/status", "/metrics"];
            let route = crate::route::Route::of(&asked);
            let none = matches!(route, None | Some(crate::route::Route::Dashboard("data" | "health" | "metrics")));
            assert_eq!(none, engine.contains(&path.as_str()), "{path}");
        }
        assert_eq!(document.paths.paths.len(), 21);
    }

    #[test]
    fn refers_to_nothing_that_is_missing() {
        let json: Value = serde_json::from_slice(&json()).unwrap();
        assert_eq!(json["openapi"], "3.1.0");
        fn references<'a>(value: &'a Value, out: &mut Vec<&'a str>) {
            match value {
                Value::Object(map) => {
                    out.extend(map.get("$ref").and_then(Value::as_str));
                    map.values().for_each(|value| references(value, out));
                }
                Value::Array(list) => list.iter().for_each(|value| references(value, out)),
                _ => {}
            }
        }
        let mut found = Vec::new();
        references(&json, &mut found);
        assert!(found.len() > 20);
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(json.pointer(pointer).is_some(), "{reference}");
        }
    }
}
