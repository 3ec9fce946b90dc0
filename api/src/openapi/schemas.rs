//! Shapes of bodies, by name. Those of the sidecar's own answers come from the types that are sent; those that are
//! written as bytes (records) or by the engine are described here.

use serde_json::json;
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, KnownFormat, ObjectBuilder, OneOfBuilder, SchemaFormat, Type,
};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::{number, one_of, text};

type Named = (String, RefOr<Schema>);

pub fn all() -> Vec<Named> {
    let mut schemas = Vec::new();
    derived::<crate::stats::Stats>(&mut schemas);
    derived::<crate::stats::HistogramAnswer>(&mut schemas);
    derived::<crate::stats::FacetsAnswer>(&mut schemas);
    derived::<crate::formats::Formats>(&mut schemas);
    derived::<crate::formats::Patterns>(&mut schemas);
    schemas.extend([
        named("Record", record()),
        named("NewRecord", new_record()),
        named("Page", page()),
        named("Neighbours", neighbours()),
        named("DeadLetters", dead_letters()),
        named("Accepted", object([("id", uuid())])),
        named("Batch", batch()),
        named("BatchAnswer", batch_answer()),
        named("RawLogs", raw_logs()),
        named("Parsed", parsed()),
        named("Health", health()),
        named("Queue", queue()),
        named("Error", error()),
    ]);
    schemas
}

fn derived<T: ToSchema>(schemas: &mut Vec<Named>) {
    schemas.push((T::name().into_owned(), <T as PartialSchema>::schema()));
    T::schemas(schemas);
}

fn named(name: &str, schema: impl Into<Schema>) -> Named {
    (name.to_owned(), RefOr::T(schema.into()))
}

/// An object whose listed members are all there.
fn object<const N: usize>(members: [(&str, RefOr<Schema>); N]) -> ObjectBuilder {
    let names = members.each_ref().map(|(name, _)| *name);
    let object = open(members);
    names.into_iter().fold(object, ObjectBuilder::required)
}

/// An object whose members may be left out.
fn open<const N: usize>(members: [(&str, RefOr<Schema>); N]) -> ObjectBuilder {
    members.into_iter().fold(ObjectBuilder::new(), |object, (name, schema)| object.property(name, schema))
}

fn list(item: impl Into<RefOr<Schema>>) -> RefOr<Schema> {
    RefOr::T(ArrayBuilder::new().items(item.into()).build().into())
}

fn of(name: &str) -> RefOr<Schema> {
    Ref::from_schema_name(name).into()
}

fn string(about: &str) -> RefOr<Schema> {
    RefOr::T(ObjectBuilder::new().schema_type(Type::String).description(Some(about)).build().into())
}

fn count(about: &str) -> RefOr<Schema> {
    let object = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).description(Some(about));
    RefOr::T(object.build().into())
}

fn uuid() -> RefOr<Schema> {
    let format = SchemaFormat::Custom("uuid".into());
    let about = "UUIDv7 of the event's time: ids sort as events happened";
    let object = ObjectBuilder::new().schema_type(Type::String).format(Some(format)).description(Some(about));
    RefOr::T(object.build().into())
}

fn time() -> RefOr<Schema> {
    let format = SchemaFormat::KnownFormat(KnownFormat::DateTime);
    let about = "UTC, six digits of fraction";
    let object = ObjectBuilder::new().schema_type(Type::String).format(Some(format)).description(Some(about));
    RefOr::T(object.build().into())
}

fn level() -> RefOr<Schema> {
    RefOr::T(one_of(&record::Level::ALL.map(record::Level::as_str)).into())
}

/// An object of whatever members.
fn anything(about: &str) -> RefOr<Schema> {
    let object = ObjectBuilder::new()
        .schema_type(Type::Object)
        .additional_properties(Some(AdditionalProperties::FreeForm(true)))
        .description(Some(about));
    RefOr::T(object.build().into())
}

fn record() -> ObjectBuilder {
    object([
        ("id", uuid()),
        ("timestamp", time()),
        ("level", level()),
        ("source", string("Where it comes from: a host, a pod")),
        ("application", string("What wrote it")),
        ("message", string("The text")),
        ("metadata", anything("Everything else, as it was")),
    ])
}

fn new_record() -> ObjectBuilder {
    open([
        ("timestamp", string("Any usual shape: RFC 3339 and its looser cousins, epochs; none: the time of receipt")),
        ("level", string("A level or one of its many synonyms; none or unknown: INFO")),
        ("source", string("")),
        ("application", string("")),
        ("message", string("")),
        ("metadata", anything("Further keys of the record go here as well")),
    ])
    .additional_properties(Some(AdditionalProperties::FreeForm(true)))
}

fn page() -> ObjectBuilder {
    let cursor = ObjectBuilder::new()
        .schema_type(utoipa::openapi::schema::SchemaType::from_iter([Type::String, Type::Null]))
        .description(Some("Of the next page; null at the end"));
    object([("logs", list(of("Record"))), ("next_cursor", RefOr::T(cursor.build().into()))])
}

fn dead_letters() -> ObjectBuilder {
    let nullable = |schema: RefOr<Schema>| {
        let null = ObjectBuilder::new().schema_type(Type::Null).build();
        RefOr::T(Schema::from(OneOfBuilder::new().item(schema).item(null).build()))
    };
    let one = object([
        ("id", uuid()),
        ("failed_at", time()),
        ("reason", string("In the store's words")),
        ("batch_id", uuid()),
        ("log", nullable(of("Record"))),
    ]);
    object([
        ("dead_letters", list(Schema::from(one))),
        ("total", count("How many there are")),
        ("next_cursor", nullable(string("Of the next page; null at the end"))),
    ])
}

fn neighbours() -> ObjectBuilder {
    object([("before", list(of("Record"))), ("log", of("Record")), ("after", list(of("Record")))])
}

fn batch() -> ObjectBuilder {
    object([("logs", list(of("NewRecord")))])
}

fn batch_answer() -> ObjectBuilder {
    let one = object([
        ("index", count("Of the line or element, from 0")),
        ("code", string("")),
        ("message", string("What is wrong, and what to write instead")),
    ]);
    object([
        ("accepted", count("Records that are durable")),
        ("rejected", count("Lines that are not")),
        ("errors", list(Schema::from(one))),
    ])
}

fn raw_logs() -> ObjectBuilder {
    open([
        ("raw_log", string("One record, line feeds included")),
        ("raw_logs", list(text())),
        ("format", string("Hold them to this format, as in `/parse/formats` and `/parse/patterns`")),
        ("pattern", string("Hold them to a regular or grok expression instead")),
        ("time_format", string("The shape of the pattern's times, such as `%d.%m.%Y %H:%M:%S`")),
        ("timezone", string("Where times without a zone are: an IANA name or `+02:00`")),
        ("source", string("The source of records that name none")),
        ("application", string("The application of records that name none")),
    ])
}

fn parsed() -> ObjectBuilder {
    open([
        ("format", string("The format that took it")),
        ("timestamp", time()),
        ("level", level()),
        ("source", string("")),
        ("application", string("")),
        ("message", string("")),
        ("metadata", anything("")),
        ("results", list(anything("As one, in order; or `{\"error\": …}`"))),
    ])
}

fn health() -> ObjectBuilder {
    object([
        ("status", RefOr::T(one_of(&["ok", "degraded", "down"]).into())),
        ("version", string("Of this program")),
        ("parts", anything("By name: `{\"status\", \"detail\"}`")),
    ])
}

fn queue() -> ObjectBuilder {
    object([
        ("kind", string("`local` or `redis`")),
        ("depth", count("Batches that wait for the store")),
        ("oldest_seconds", RefOr::T(ObjectBuilder::new().schema_type(Type::Number).build().into())),
        ("streams", list(anything("Of the log: `name`, `batches`, `bytes`, `oldest_seconds`; of Redis: `name`, `length`, `pending`, `oldest_seconds`, `consumers`"))),
    ])
    .property("overflow", anything("With Redis: the local log, in the same shape, of what Redis did not take"))
}

fn error() -> ObjectBuilder {
    let mut inner = object([("code", string("For programs")), ("message", string("For people"))]);
    for (name, about) in [("line", "From 1"), ("column", "In characters or bytes, from 1")] {
        let place = number(0..=usize::MAX >> 12);
        let mut place = place;
        place.description = Some(about.to_owned());
        inner = inner.property(name, place);
    }
    let example =
        json!({"error": {"code": "unknown_parameter", "message": "unknown parameter `colour`: known are limit"}});
    object([("error", RefOr::T(inner.build().into()))]).examples([example])
}
