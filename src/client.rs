//! What `tail` and `query` share: where the server is, how filters travel, and how a record is shown.

use std::io::{self, IsTerminal, Write};

use crate::cli::Filters;

/// A server's address, taken from `http://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// For the `Host` field, and to connect to.
    pub authority: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("`{0}` is no server's address: write http://host:port with --url")]
    Url(String),
    #[error(
        "no answer from http://{authority}: {source}; is it running? `logboom serve` starts one, --url names another"
    )]
    Connect { authority: String, source: io::Error },
    #[error("http://{authority} broke off: {reason}")]
    Broken { authority: String, reason: String },
    #[error("http://{authority} answered {status}: {message}")]
    Refused { authority: String, status: u16, message: String },
}

impl Address {
    pub fn parse(url: &str) -> Result<Address, ClientError> {
        let wrong = || ClientError::Url(url.to_owned());
        let rest = match url.split_once("://") {
            Some(("http" | "ws", rest)) => rest,
            Some(_) => return Err(wrong()),
            None => url,
        };
        let authority = rest.split('/').next().unwrap_or_default();
        if authority.is_empty() || authority.contains(|c: char| c.is_whitespace() || c == '@') {
            return Err(wrong());
        }
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let authority = if has_port { authority.to_owned() } else { format!("{authority}:80") };
        Ok(Address { authority })
    }
}

/// The query string of these filters, without its `?`; empty without any.
pub fn query_string(filters: &Filters) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    let named = [
        ("level", &filters.level),
        ("level_min", &filters.level_min),
        ("source", &filters.source),
        ("application", &filters.application),
    ];
    for (name, value) in named {
        if let Some(value) = value {
            pairs.push((name.to_owned(), value.clone()));
        }
    }
    for pair in &filters.metadata {
        let (key, value) = pair.split_once('=').ok_or_else(|| format!("--metadata `{pair}`: write KEY=VALUE"))?;
        pairs.push((format!("metadata.{key}"), value.to_owned()));
    }
    if !filters.q.is_empty() {
        pairs.push(("q".to_owned(), filters.q.join(" ")));
    }
    Ok(pairs)
}

/// `path` with these pairs behind it, percent-encoded.
pub fn target(path: &str, pairs: &[(String, String)]) -> String {
    let mut out = path.to_owned();
    for (index, (name, value)) in pairs.iter().enumerate() {
        out.push(if index == 0 { '?' } else { '&' });
        push_encoded(name, &mut out);
        out.push('=');
        push_encoded(value, &mut out);
    }
    out
}

fn push_encoded(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
}

/// Writes a record, given as JSON, as a line for people: time, level, source, application, message, metadata.
pub fn write_text(json: &str, colour: bool, out: &mut Vec<u8>) {
    use sonic_rs::{JsonContainerTrait, JsonValueTrait, LazyValue};
    let Ok(record) = sonic_rs::from_str::<LazyValue>(json) else {
        out.extend_from_slice(json.as_bytes());
        out.push(b'\n');
        return;
    };
    let text = |key: &str| record.get(key).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default();
    let level = text("level");
    let paint = match level.as_str() {
        "ERROR" | "FATAL" => "\x1b[31m",
        "WARN" => "\x1b[33m",
        "TRACE" | "DEBUG" => "\x1b[2m",
        _ => "",
    };
    let (paint, plain) = if colour && !paint.is_empty() { (paint, "\x1b[0m") } else { ("", "") };
    push_visible(&text("timestamp"), out);
    out.extend_from_slice(format!(" {paint}{level:5}{plain}").as_bytes());
    for key in ["source", "application", "message"] {
        let value = text(key);
        if !value.is_empty() {
            out.push(b' ');
            push_visible(&value, out);
        }
    }
    let metadata =
        record.get("metadata").and_then(|value| sonic_rs::from_str::<sonic_rs::Value>(value.as_raw_str()).ok());
    for (key, value) in metadata.as_ref().and_then(|metadata| metadata.as_object()).into_iter().flatten() {
        out.push(b' ');
        push_visible(key, out);
        out.push(b'=');
        match value.as_str() {
            Some(text) => push_visible(text, out),
            None => push_visible(&value.to_string(), out),
        }
    }
    out.push(b'\n');
}

/// A log must not move the cursor of whoever reads it: control characters are shown, not sent.
fn push_visible(text: &str, out: &mut Vec<u8>) {
    for c in text.chars() {
        match c {
            '\n' => out.extend_from_slice(b"\\n"),
            '\t' => out.push(b'\t'),
            c if c.is_control() => out.extend_from_slice(format!("\\u{{{:x}}}", c as u32).as_bytes()),
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// Where records go, and in which form.
pub struct Printer {
    out: io::Stdout,
    text: bool,
    colour: bool,
    line: Vec<u8>,
}

impl Printer {
    /// `text` of `None`: for people on a terminal, JSON elsewhere.
    pub fn new(text: Option<bool>) -> Printer {
        let out = io::stdout();
        let terminal = out.is_terminal();
        let colour = terminal && std::env::var_os("NO_COLOR").is_none();
        Printer { text: text.unwrap_or(terminal), colour, line: Vec::new(), out }
    }

    /// One record, given as JSON.
    pub fn print(&mut self, json: &str) -> io::Result<()> {
        self.line.clear();
        if self.text {
            write_text(json, self.colour, &mut self.line);
        } else {
            self.line.extend_from_slice(json.as_bytes());
            self.line.push(b'\n');
        }
        self.out.write_all(&self.line)
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_from_urls() {
        for (url, authority) in [
            ("http://127.0.0.1:5000", Some("127.0.0.1:5000")),
            ("http://logs/", Some("logs:80")),
            ("[::1]:5000", Some("[::1]:5000")),
            ("http://[::1]", Some("[::1]:80")),
            ("https://logs", None),
            ("http://", None),
            ("http://a b", None),
        ] {
            assert_eq!(Address::parse(url).ok().map(|found| found.authority).as_deref(), authority, "{url}");
        }
    }

    #[test]
    fn filters_travel_encoded() {
        let pairs =
            [("q", "a b&c=\"ü\""), ("metadata.k", "1")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(target("/logs/", &pairs), "/logs/?q=a%20b%26c%3D%22%C3%BC%22&metadata.k=1");
        assert_eq!(target("/logs/", &[]), "/logs/");
    }

    #[test]
    fn a_record_is_one_line_for_people() {
        let check = |json: &str, expected: &str| {
            let mut out = Vec::new();
            write_text(json, false, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("{expected}\n"));
        };
        check(
            r#"{"id":"x","timestamp":"2026-01-01T00:00:00.000000Z","level":"WARN","source":"web","application":"","message":"a\nb","metadata":{"n":1,"s":"t"}}"#,
            "2026-01-01T00:00:00.000000Z WARN  web a\\nb n=1 s=t",
        );
        check(r#"{"level":"INFO","message":"\u001b[2J"}"#, " INFO  \\u{1b}[2J");
        check("nonsense", "nonsense");
    }
}
