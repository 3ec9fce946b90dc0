//! What a request asks of a door, decided on its head alone.

use std::sync::Arc;

use record::Zone;
use record::format::{self, Mode, Multiline, Parser, Pattern, Reject};

use super::account::reject_reply;
use crate::http::{Coding, Head, Reply, head::query_params};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Door {
    /// `POST /data/`: one record, into the store.
    Direct,
    /// `POST /data/fast`: one record, into the queue.
    Fast,
    /// `POST /data/batch`: many.
    Batch,
    /// `POST /parse/auto`: parsed, and stored only if asked.
    Parse,
}

impl Door {
    pub const ALL: [Door; 4] = [Door::Direct, Door::Fast, Door::Batch, Door::Parse];

    /// The door behind a path, with or without its trailing slash.
    pub fn at(path: &str) -> Option<Door> {
        Some(match path.strip_suffix('/').unwrap_or(path) {
            "/data" => Door::Direct,
            "/data/fast" => Door::Fast,
            "/data/batch" => Door::Batch,
            "/parse/auto" => Door::Parse,
            _ => return None,
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Door::Direct => "direct",
            Door::Fast => "fast",
            Door::Batch => "batch",
            Door::Parse => "parse",
        }
    }
}

/// What lines of text are held to.
#[derive(Clone)]
pub enum LineFormat {
    /// Each line's format is found out.
    Detected,
    Known(&'static dyn Parser),
    /// An expression that came with the request.
    Pattern(Arc<Pattern>),
}

impl LineFormat {
    pub fn mode(&self) -> Mode<'_> {
        match self {
            LineFormat::Detected => Mode::Auto,
            LineFormat::Known(parser) => Mode::Named(*parser),
            LineFormat::Pattern(pattern) => Mode::Named(&**pattern),
        }
    }
}

/// What a body is.
#[derive(Clone)]
pub enum Input {
    /// `application/json`: one document, or a line each where the first is one by itself.
    Json,
    /// A JSON value a line.
    Ndjson,
    /// Lines of text.
    Lines(LineFormat),
    /// No type, or the one that curl sends without being told: JSON where it is, else lines.
    Unsaid,
}

/// One request's wishes.
#[derive(Clone)]
pub struct Ask {
    pub door: Door,
    pub input: Input,
    pub coding: Coding,
    pub source: String,
    pub application: String,
    pub zone: Zone,
    pub unwrap: bool,
    /// `/parse/auto?store=true`.
    pub store: bool,
    /// Which lines of text go on with the record before them.
    pub multiline: Option<Multiline>,
}

/// What holds where a request does not say.
#[derive(Clone, Debug)]
pub struct Defaults {
    pub zone: Zone,
    pub unwrap: bool,
}

impl Ask {
    pub fn read(door: Door, head: &Head, defaults: &Defaults) -> Result<Ask, Reply> {
        let Some(coding) = Coding::from_header(head.content_encoding.as_deref()) else {
            let coding = head.content_encoding.as_deref().unwrap_or_default();
            let message = format!("content encoding `{coding}` is not known: send gzip, zstd, deflate or none");
            return Err(Reply::error(415, "unknown_encoding", &message));
        };
        let mut ask = Ask {
            door,
            input: Input::Unsaid,
            coding,
            source: String::new(),
            application: String::new(),
            zone: defaults.zone.clone(),
            unwrap: defaults.unwrap,
            store: false,
            multiline: None,
        };
        let (mut named, mut expression, mut time_format) = (None, None, None);
        if !head.query.is_empty() {
            for (key, value) in query_params(&head.query) {
                match &*key {
                    "source" => ask.source = value,
                    "application" => ask.application = value,
                    "format" => named = Some(value),
                    "unwrap" => ask.unwrap = flag("unwrap", &value)?,
                    "store" => ask.store = flag("store", &value)?,
                    "timezone" => ask.zone = zone(&value)?,
                    "pattern" => expression = Some(value),
                    "time_format" => time_format = Some(value),
                    "multiline" => ask.multiline = Some(multiline(&value)?),
                    _ => {}
                }
            }
        }
        let named = match (named, expression) {
            (Some(_), Some(_)) => return Err(two_formats()),
            (Some(name), None) => Some(parser(&name)?),
            (None, Some(expression)) => Some(pattern(&expression, time_format.as_deref())?),
            (None, None) => None,
        };
        ask.input = input(door, head.content_type.as_deref(), named)?;
        Ok(ask)
    }
}

/// Reads `true`, `false` and their usual short forms.
pub fn flag(name: &str, value: &str) -> Result<bool, Reply> {
    match value {
        "true" | "1" | "yes" | "on" | "" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(Reply::error(400, "malformed_parameter", &format!("{name}=`{value}` is neither true nor false"))),
    }
}

pub fn zone(name: &str) -> Result<Zone, Reply> {
    Zone::parse(name).map_err(|error| Reply::error(400, "unknown_timezone", &error.to_string()))
}

/// The format of a name.
pub fn parser(name: &str) -> Result<LineFormat, Reply> {
    if name == "auto" {
        return Ok(LineFormat::Detected);
    }
    match format::by_name(name) {
        Some(parser) => Ok(LineFormat::Known(parser)),
        None => {
            let names: Vec<_> = format::registry().iter().map(|parser| parser.info().name).collect();
            let message = format!(
                "format `{name}` is not known: use auto, {}, or a pattern of GET /parse/patterns",
                names.join(", ")
            );
            Err(Reply::error(400, "unknown_format", &message))
        }
    }
}

/// A regular or grok expression.
pub fn pattern(expression: &str, time_format: Option<&str>) -> Result<LineFormat, Reply> {
    match Pattern::new(expression, time_format) {
        Ok(pattern) => Ok(LineFormat::Pattern(Arc::new(pattern))),
        Err(error) => {
            let (column, message) = (error.column(expression), error.to_string());
            Err(reject_reply(400, &Reject { code: "malformed_pattern", message, line: None, column }))
        }
    }
}

pub fn multiline(rule: &str) -> Result<Multiline, Reply> {
    Multiline::parse(rule).map_err(|error| Reply::error(400, "malformed_multiline", &error.to_string()))
}

pub fn two_formats() -> Reply {
    Reply::error(400, "malformed_parameter", "both format and pattern are given: give one of them")
}

fn input(door: Door, content_type: Option<&str>, format: Option<LineFormat>) -> Result<Input, Reply> {
    let takes_lines = matches!(door, Door::Batch | Door::Parse);
    if let Some(format) = format
        && takes_lines
    {
        return Ok(Input::Lines(format));
    }
    let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match &*essence {
        "" | "application/x-www-form-urlencoded" => Ok(Input::Unsaid),
        "application/json" | "text/json" => Ok(Input::Json),
        "application/x-ndjson"
        | "application/ndjson"
        | "application/jsonl"
        | "application/x-jsonlines"
        | "application/jsonlines"
        | "application/json-lines"
        | "application/x-jsonl"
            if takes_lines =>
        {
            Ok(Input::Ndjson)
        }
        json if json.starts_with("application/") && json.ends_with("+json") => Ok(Input::Json),
        text if text.starts_with("text/") && takes_lines => Ok(Input::Lines(LineFormat::Detected)),
        other => {
            let want = match takes_lines {
                true => "application/json, application/x-ndjson or text/plain",
                false => "application/json",
            };
            let message = format!("content type `{other}` is not taken here: send {want}");
            Err(Reply::error(415, "unsupported_media_type", &message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::HeadLimits;

    fn ask(door: Door, query: &str, fields: &str) -> Result<Ask, Reply> {
        let text = format!("POST /x?{query} HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        let limits = HeadLimits { head_bytes_max: 4096, headers_max: 20 };
        let (head, _) = Head::parse(text.as_bytes(), limits).unwrap().unwrap();
        Ask::read(door, &head, &Defaults { zone: Zone::UTC, unwrap: true })
    }

    fn kind(door: Door, query: &str, content_type: &str) -> String {
        match ask(door, query, &format!("Content-Type: {content_type}\r\n")) {
            Ok(ask) => match ask.input {
                Input::Json => "json".into(),
                Input::Ndjson => "ndjson".into(),
                Input::Lines(LineFormat::Detected) => "lines".into(),
                Input::Lines(LineFormat::Known(parser)) => parser.info().name.into(),
                Input::Lines(LineFormat::Pattern(pattern)) => pattern.info().name.into(),
                Input::Unsaid => "unsaid".into(),
            },
            Err(reply) => reply.status.to_string(),
        }
    }

    #[test]
    fn types() {
        for (door, query, content_type, want) in [
            (Door::Batch, "", "application/json; charset=utf-8", "json"),
            (Door::Batch, "", "application/x-ndjson", "ndjson"),
            (Door::Batch, "", "text/plain", "lines"),
            (Door::Batch, "format=json", "application/octet-stream", "json"),
            (Door::Batch, "format=auto", "application/json", "lines"),
            (Door::Batch, "format=klingon", "text/plain", "400"),
            (Door::Batch, "", "application/x-www-form-urlencoded", "unsaid"),
            (Door::Batch, "pattern=(%3FP<message>.*)", "text/plain", "pattern"),
            (Door::Batch, "pattern=(", "text/plain", "400"),
            (Door::Batch, "pattern=(%3FP<a>.)&format=json", "text/plain", "400"),
            (Door::Batch, "multiline=sometimes", "text/plain", "400"),
            (Door::Batch, "", "image/png", "415"),
            (Door::Fast, "", "text/plain", "415"),
            (Door::Direct, "", "application/x-ndjson", "415"),
            (Door::Fast, "", "application/vnd.x+json", "json"),
            (Door::Parse, "", "text/plain", "lines"),
        ] {
            let want = if want == "json" && query == "format=json" { "json" } else { want };
            assert_eq!(kind(door, query, content_type), want, "{door:?} {query} {content_type}");
        }
        assert_eq!(ask(Door::Batch, "", "Content-Encoding: br\r\n").err().unwrap().status, 415);
    }

    #[test]
    fn parameters() {
        let ask = ask(Door::Batch, "source=a+b&application=c&unwrap=false&timezone=Europe/Berlin", "").unwrap();
        assert_eq!((&*ask.source, &*ask.application, ask.unwrap), ("a b", "c", false));
        assert_eq!(super::tests::ask(Door::Batch, "timezone=Nowhere", "").err().unwrap().status, 400);
        assert_eq!(super::tests::ask(Door::Batch, "unwrap=perhaps", "").err().unwrap().status, 400);
    }

    #[test]
    fn doors_with_and_without_slash() {
        for door in ["/data", "/data/", "/data/fast", "/data/fast/", "/data/batch/", "/parse/auto"] {
            assert!(Door::at(door).is_some(), "{door}");
        }
        assert_eq!(Door::at("/data/fast//"), None);
    }
}
