//! `POST /parse/auto`: lines in, fields out; and stored only if asked.
//!
//! Comes in: a whole body. Goes out: the answer, and rows in a stage when `?store=true` was said.

use record::format::{Joiner, Mode, Multiline, Reject, Taken};
use record::json::{self, Value};
use record::text::push_unescaped;
use record::{BatchBuilder, Row, Zone};

use super::account::{malformed_reply, reject_reply};
use super::ask::{self, Ask, Input, LineFormat};
use super::intake::Tools;
use super::stage::{Stage, Staged};
use crate::http::Reply;
use crate::http::reply::push_error;

/// What a body asks to be parsed.
struct Request {
    lines: Lines,
    format: LineFormat,
    unwrap: bool,
    zone: Option<Zone>,
    source: Option<String>,
    application: Option<String>,
}

enum Lines {
    /// `raw_log`: its failure is the answer's.
    One(Vec<u8>),
    /// `raw_logs`: each has its own result.
    Many(Vec<Vec<u8>>),
}

/// What comes of a body.
pub struct Parsed {
    /// The answer when nothing is to be stored, or nothing could be parsed.
    pub reply: Reply,
    /// The rows of all that parsed.
    pub staged: Staged,
    /// Of a single record that parsed.
    pub id: Option<record::Id>,
    pub accepted: u64,
    pub rejected: u64,
}

/// Parses a body. `tools.context` is the request's; a JSON body may change its parts.
pub fn parse(body: &[u8], ask: &Ask, builder: BatchBuilder, tools: &mut Tools) -> Result<Parsed, Reply> {
    let request = read(body, ask)?;
    let mut context = tools.context.clone();
    context.unwrap = request.unwrap;
    context.zone = request.zone.as_ref().unwrap_or(context.zone);
    context.source = request.source.as_deref().unwrap_or(context.source);
    context.application = request.application.as_deref().unwrap_or(context.application);
    let mode = request.format.mode();
    let mut results = Results { stage: Stage::new(builder), out: Vec::new(), accepted: 0, rejected: 0, id: None };
    let mut tools = Tools { parser: tools.parser, ids: tools.ids, context: &context };
    let reply = match &request.lines {
        Lines::One(line) => match results.line(line, mode, &mut tools) {
            Ok(()) => Reply::json(200, std::mem::take(&mut results.out)),
            Err(reject) => reject_reply(422, &reject),
        },
        Lines::Many(lines) => {
            results.out.extend_from_slice(b"{\"results\":[");
            for (i, line) in lines.iter().enumerate() {
                if i > 0 {
                    results.out.push(b',');
                }
                if let Err(reject) = results.line(line, mode, &mut tools) {
                    results.out.extend_from_slice(b"{\"error\":");
                    push_error(&mut results.out, reject.code, &reject.message, reject.line, reject.column);
                    results.out.push(b'}');
                }
            }
            results.out.extend_from_slice(b"]}");
            Reply::json(200, std::mem::take(&mut results.out))
        }
    };
    Ok(Parsed {
        reply,
        staged: results.stage.finish(),
        id: results.id,
        accepted: results.accepted,
        rejected: results.rejected,
    })
}

struct Results {
    stage: Stage,
    out: Vec<u8>,
    accepted: u64,
    rejected: u64,
    id: Option<record::Id>,
}

impl Results {
    /// Parses one record and appends its JSON.
    fn line(&mut self, line: &[u8], mode: Mode, tools: &mut Tools) -> Result<(), Reject> {
        match self.stage.push(tools.parser, line, mode, tools.context, tools.ids) {
            Ok(Taken { pushed, format }) => {
                self.accepted += 1;
                self.id = Some(pushed.id);
                if let Some(row) = self.stage.last_row() {
                    push_result(&row, format, &mut self.out);
                }
                Ok(())
            }
            Err(reject) => {
                self.rejected += 1;
                Err(reject)
            }
        }
    }
}

fn push_result(row: &Row, format: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"format\":\"");
    out.extend_from_slice(format.as_bytes());
    out.extend_from_slice(b"\",");
    row.write_json_members(out);
    out.push(b'}');
}

fn read(body: &[u8], ask: &Ask) -> Result<Request, Reply> {
    let mut request = Request {
        lines: Lines::Many(Vec::new()),
        format: LineFormat::Detected,
        unwrap: ask.unwrap,
        zone: None,
        source: None,
        application: None,
    };
    match &ask.input {
        Input::Json | Input::Unsaid => read_json(body, &mut request)?,
        Input::Ndjson => request.lines = text_lines(body, None),
        Input::Lines(format) => {
            request.format = format.clone();
            request.lines = text_lines(body, ask.multiline.clone());
        }
    }
    match &request.lines {
        Lines::Many(lines) if lines.is_empty() => {
            Err(Reply::error(422, "empty_body", "nothing to parse: send raw_log, raw_logs or lines of text"))
        }
        _ => Ok(request),
    }
}

/// The records of a text body, blank lines left out.
fn text_lines(body: &[u8], multiline: Option<Multiline>) -> Lines {
    let lines = body.split(|&b| b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut records = Vec::new();
    match multiline.map(Joiner::new) {
        None => records.extend(lines.map(<[u8]>::to_vec)),
        Some(mut joiner) => {
            for line in lines {
                records.extend(joiner.push(line).map(|joined| joined.text.to_vec()));
            }
            records.extend(joiner.finish().map(|joined| joined.text.to_vec()));
        }
    }
    records.retain(|record| !record.trim_ascii().is_empty());
    Lines::Many(records)
}

fn read_json(body: &[u8], request: &mut Request) -> Result<(), Reply> {
    let text = match std::str::from_utf8(body) {
        Ok(text) => text,
        Err(error) => {
            let message = format!("malformed JSON: byte {} is not UTF-8", error.valid_up_to() + 1);
            return Err(Reply::error(400, "malformed_json", &message));
        }
    };
    if text.trim_ascii().is_empty() {
        return Err(Reply::error(422, "empty_body", "the body is empty: send {\"raw_log\": \"...\"}"));
    }
    let value = json::whole(text).map_err(|error| malformed_reply(body, error.at, error.reason))?;
    if !value.is_object() {
        let message = "the body is no object: send {\"raw_log\": \"...\"} or {\"raw_logs\": [...]}";
        return Err(Reply::error(422, "not_an_object", message));
    }
    let mut said = Said::default();
    let mut wrong = None;
    let mut cursor = json::Cursor::new(value.raw);
    let walked = cursor.object(|_, key, value| {
        if wrong.is_none() {
            wrong = member(key.raw, &value, request, &mut said).err();
        }
    });
    walked.map_err(|error| malformed_reply(body, error.at, error.reason))?;
    if let Some(reply) = wrong {
        return Err(reply);
    }
    request.format = match (said.format, said.pattern) {
        (Some(_), Some(_)) => return Err(ask::two_formats()),
        (Some(name), None) => ask::parser(&name)?,
        (None, Some(expression)) => ask::pattern(&expression, said.time_format.as_deref())?,
        (None, None) => LineFormat::Detected,
    };
    match said.lines {
        Some(lines) => request.lines = lines,
        None => {
            let message = "neither raw_log nor raw_logs: send {\"raw_log\": \"...\"} or {\"raw_logs\": [...]}";
            return Err(Reply::error(422, "no_raw_log", message));
        }
    }
    Ok(())
}

/// What a JSON body says, before its parts are put together.
#[derive(Default)]
struct Said {
    lines: Option<Lines>,
    format: Option<String>,
    pattern: Option<String>,
    time_format: Option<String>,
}

fn member(key: &str, value: &Value, request: &mut Request, said: &mut Said) -> Result<(), Reply> {
    if value.is_null() {
        return Ok(());
    }
    let bytes = || unescaped(value).ok_or_else(|| wrong_type(key, "a string"));
    let string = || bytes().map(|bytes| String::from_utf8(bytes).unwrap_or_default());
    match key {
        "raw_log" => said.lines = Some(Lines::One(bytes()?)),
        "raw_logs" => said.lines = Some(Lines::Many(strings(value)?)),
        "format" => said.format = Some(string()?),
        "pattern" => said.pattern = Some(string()?),
        "time_format" => said.time_format = Some(string()?),
        "timezone" => request.zone = Some(ask::zone(&string()?)?),
        "source" => request.source = Some(string()?),
        "application" => request.application = Some(string()?),
        "unwrap" => {
            request.unwrap = match value.raw {
                "true" => true,
                "false" => false,
                _ => return Err(wrong_type(key, "true or false")),
            }
        }
        _ => {}
    }
    Ok(())
}

/// The bytes that a JSON string stands for, NUL among them: what a line may hold is its format's to say. A lone
/// surrogate stands for nothing and becomes U+FFFD.
fn unescaped(value: &Value) -> Option<Vec<u8>> {
    let raw = value.string()?;
    if let Ok(text) = sonic_rs::from_str::<String>(value.raw) {
        return Some(text.into_bytes());
    }
    let mut text = Vec::with_capacity(raw.len());
    push_unescaped(raw, &mut text);
    Some(text)
}

fn strings(value: &Value) -> Result<Vec<Vec<u8>>, Reply> {
    let wrong = || wrong_type("raw_logs", "an array of strings");
    let mut cursor = json::Cursor::new(value.raw);
    let mut out = Vec::new();
    let mut more = cursor.enter_array().map_err(|_| wrong())?;
    while more {
        let element = cursor.value().map_err(|_| wrong())?;
        out.push(unescaped(&element).ok_or_else(wrong)?);
        more = cursor.next_element().map_err(|_| wrong())?;
    }
    Ok(out)
}

fn wrong_type(key: &str, want: &str) -> Reply {
    Reply::error(422, "wrong_type", &format!("`{key}` must be {want}"))
}

#[cfg(test)]
mod tests {
    use record::format::LineParser;
    use record::{Context, IdSource, Timestamp};

    use super::*;
    use crate::http::Coding;
    use crate::ingest::Door;

    fn answer(body: &str, input: Input) -> (u16, String) {
        let ask = Ask {
            door: Door::Parse,
            input,
            coding: Coding::Identity,
            source: String::new(),
            application: String::new(),
            zone: Zone::UTC,
            unwrap: true,
            store: false,
            multiline: None,
        };
        let mut parser = LineParser::new();
        let mut ids = IdSource::new(|| 0);
        let context = Context::new(Timestamp::MIN, &Zone::UTC);
        let mut tools = Tools { parser: &mut parser, ids: &mut ids, context: &context };
        let reply = match parse(body.as_bytes(), &ask, BatchBuilder::new(1), &mut tools) {
            Ok(parsed) => parsed.reply,
            Err(reply) => reply,
        };
        (reply.status, String::from_utf8(reply.body).unwrap())
    }

    fn check(body: &str, status: u16, holds: &str) {
        let (got, text) = answer(body, Input::Json);
        assert!(got == status && text.contains(holds), "{body}: {got} {text}");
    }

    #[test]
    fn one_and_many() {
        check(r#"{"raw_log": "{\"level\":\"error\",\"msg\":\"x\"}"}"#, 200, r#"{"format":"json","#);
        check(r#"{"raw_logs": ["a", "b"], "source": "s"}"#, 200, r#""source":"s""#);
        check(r#"{"raw_logs": ["{", "{}"], "format": "json"}"#, 200, r#"{"results":[{"error":{"code":"#);
        check(r#"{"raw_log": "{", "format": "json"}"#, 422, "malformed_json");
        assert_eq!(answer("a\n\nb\n", Input::Lines(LineFormat::Detected)).1.matches("plain").count(), 2);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (body, status, code) in [
            ("", 422, "empty_body"),
            ("[]", 422, "not_an_object"),
            ("{", 400, "malformed_json"),
            ("{}", 422, "no_raw_log"),
            (r#"{"raw_log": 1}"#, 422, "wrong_type"),
            (r#"{"raw_logs": ["a", 1]}"#, 422, "wrong_type"),
            (r#"{"raw_log": "a", "format": "klingon"}"#, 400, "unknown_format"),
            (r#"{"raw_log": "a", "pattern": "("}"#, 400, "malformed_pattern"),
            (r#"{"raw_log": "a", "pattern": "%{INT:n} ("}"#, 400, r#""column":10}"#),
            (r#"{"raw_log": "a", "pattern": "(?P<a>.)", "format": "json"}"#, 400, "malformed_parameter"),
        ] {
            check(body, status, code);
        }
    }

    #[test]
    fn a_nul_in_a_raw_log_is_no_json() {
        check(r#"{"raw_log": "[\"a\u0000a\"]", "format": "json"}"#, 422, "malformed_json");
        check(r#"{"raw_log": "a\u0000\ud800b"}"#, 200, "a\u{fffd}\u{fffd}b");
    }
}
