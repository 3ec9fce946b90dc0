//! From the bytes of a body to staged rows: which shape the body has, where its records begin and end, what became of
//! each.
//!
//! Comes in: decoded pieces of a body, as they arrive. Goes out: rows in a [`Stage`], and an account of the rejected.
//! Nothing here waits. A body up to `atomic_body_bytes_max` is all or nothing, which is the caller's business: it
//! commits the stage, or drops it.

use record::format::{Joined, Joiner, LineParser, Mode, Multiline, Reject};
use record::{BatchBuilder, Context, IdSource};

use super::ask::{Input, LineFormat};
use super::split::{ArrayError, ArraySplitter, LineSplitter, Piece};
use super::stage::{Stage, Staged};
use crate::http::Reply;
use crate::http::reply::push_error;

/// Of the rejected records so many are told in the answer; all are counted.
const ERRORS_SHOWN_MAX: usize = 100;

/// A shape that needs the whole body first is gathered up to `atomic_body_bytes_max`.
#[derive(Clone, Copy, Debug)]
pub struct IntakeLimits {
    pub line_bytes_max: usize,
    pub whole_bytes_max: usize,
}

/// A body under way.
pub struct Intake {
    shape: Shape,
    input: Input,
    multiline: Option<Multiline>,
    limits: IntakeLimits,
    records: Records,
}

enum Shape {
    /// The first bytes have not told yet.
    Unknown(Vec<u8>),
    Lines(Lines),
    Array(ArraySplitter),
    /// Gathered until its end tells what it is.
    Whole(Vec<u8>),
}

/// Lines under way.
struct Lines {
    splitter: LineSplitter,
    strictness: Strictness,
    joining: Option<Joining>,
}

/// Joins lines, and counts them: a line that is too long is no part of a record, and yet has a number.
struct Joining {
    joiner: Joiner,
    lines: u64,
}

#[derive(Clone)]
enum Strictness {
    Json,
    Text(LineFormat),
}

impl Strictness {
    fn mode(&self) -> Mode<'_> {
        match self {
            Strictness::Json => Mode::Json,
            Strictness::Text(format) => format.mode(),
        }
    }
}

impl Lines {
    fn feed(&mut self, bytes: &[u8], records: &mut Records, tools: &mut Tools) {
        let (mode, joining) = (self.strictness.mode(), &mut self.joining);
        self.splitter.feed(bytes, &mut |piece| records.line(piece, mode, joining, tools));
    }

    fn end(&mut self, records: &mut Records, tools: &mut Tools) {
        let (mode, joining) = (self.strictness.mode(), &mut self.joining);
        self.splitter.end(&mut |piece| records.line(piece, mode, joining, tools));
        if let Some(joined) = joining.as_mut().and_then(|joining| joining.joiner.finish()) {
            records.joined(joined, mode, tools);
        }
    }
}

/// A body that cannot be taken as a whole.
#[derive(Debug)]
pub enum BodyRefused {
    Malformed(Reject),
    /// JSON, and neither an array nor an object.
    NoContainer,
    /// It would have to be gathered whole, and is longer than that.
    TooLarge {
        max: usize,
    },
}

impl BodyRefused {
    pub fn reply(&self) -> Reply {
        match self {
            BodyRefused::Malformed(reject) => reject_reply(400, reject),
            BodyRefused::NoContainer => {
                Reply::error(422, "not_an_object", "the body is neither an array nor an object: send records")
            }
            BodyRefused::TooLarge { max } => Reply::error(
                413,
                "body_too_large",
                &format!(
                    "a JSON document of this shape is taken up to {max} bytes: send NDJSON, or raise atomic_body_bytes_max"
                ),
            ),
        }
    }
}

impl From<ArrayError> for BodyRefused {
    fn from(error: ArrayError) -> Self {
        BodyRefused::Malformed(Reject {
            code: "malformed_json",
            message: error.to_string(),
            line: Some(error.line),
            column: Some(error.column),
        })
    }
}

/// An error answer that tells a reject.
pub fn reject_reply(status: u16, reject: &Reject) -> Reply {
    let mut body = b"{\"error\":".to_vec();
    push_error(&mut body, reject.code, &reject.message, reject.line, reject.column);
    body.push(b'}');
    Reply::json(status, body)
}

/// The answer to a document that is no JSON: the reason, and where, as line and column.
pub fn malformed_reply(text: &[u8], at: usize, reason: &str) -> Reply {
    reject_reply(400, &malformed(text, at, reason))
}

fn malformed(text: &[u8], at: usize, reason: &str) -> Reject {
    let before = &text[..at.min(text.len())];
    let line = 1 + memchr::memchr_iter(b'\n', before).count();
    let column = before.len() - memchr::memrchr(b'\n', before).map_or(0, |feed| feed + 1) + 1;
    let code = if reason == record::json::TOO_DEEP { "too_deep" } else { "malformed_json" };
    Reject { code, message: format!("malformed JSON: {reason}"), line: Some(line), column: Some(column) }
}

/// What became of a body's records.
#[derive(Default)]
pub struct Account {
    /// Of the next record: blank lines count too.
    index: u64,
    pub accepted: u64,
    pub rejected: u64,
    errors: Vec<(u64, Reject)>,
}

impl Account {
    fn reject(&mut self, reject: Reject) {
        self.rejected += 1;
        if self.errors.len() < ERRORS_SHOWN_MAX {
            self.errors.push((self.index, reject));
        }
    }

    /// The codes of the rejected that were kept, for the metrics.
    pub fn codes(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.errors.iter().map(|(_, reject)| reject.code)
    }

    /// The answer when all that was accepted is durable.
    pub fn reply(&self) -> Reply {
        if self.accepted == 0 && self.rejected == 0 {
            return Reply::error(422, "empty_body", "the body holds no record: send at least one");
        }
        let mut body = Vec::with_capacity(64);
        body.extend_from_slice(b"{\"accepted\":");
        body.extend_from_slice(itoa::Buffer::new().format(self.accepted).as_bytes());
        body.extend_from_slice(b",\"rejected\":");
        body.extend_from_slice(itoa::Buffer::new().format(self.rejected).as_bytes());
        body.extend_from_slice(b",\"errors\":[");
        for (i, (index, reject)) in self.errors.iter().enumerate() {
            if i > 0 {
                body.push(b',');
            }
            body.extend_from_slice(b"{\"index\":");
            body.extend_from_slice(itoa::Buffer::new().format(*index).as_bytes());
            body.push(b',');
            let start = body.len();
            push_error(&mut body, reject.code, &reject.message, reject.line, reject.column);
            // The error's own members stand beside the index.
            body.remove(start);
        }
        body.push(b']');
        if self.accepted == 0 {
            body.extend_from_slice(b",\"error\":");
            let message = format!("none of {} records was taken: see errors", self.rejected);
            push_error(&mut body, "nothing_accepted", &message, None, None);
        }
        body.push(b'}');
        Reply::json(if self.accepted == 0 { 422 } else { 202 }, body)
    }
}

/// Where records go: parsed, counted, staged.
struct Records {
    stage: Stage,
    account: Account,
    line_bytes_max: usize,
    /// The first element of an array that is no JSON: then the array is none either.
    malformed: Option<Reject>,
}

/// What parsing a record needs from outside.
pub struct Tools<'t> {
    pub parser: &'t mut LineParser,
    pub ids: &'t mut IdSource,
    pub context: &'t Context<'t>,
}

impl Records {
    fn line(&mut self, piece: Piece, mode: Mode, joining: &mut Option<Joining>, tools: &mut Tools) {
        let Some(Joining { joiner, lines }) = joining else { return self.one_line(piece, mode, tools) };
        let number = *lines;
        *lines += 1;
        match piece {
            Piece::Record(line) => {
                if let Some(joined) = joiner.push(line) {
                    self.joined(joined, mode, tools);
                }
            }
            Piece::TooLong => {
                if let Some(joined) = joiner.finish() {
                    self.joined(joined, mode, tools);
                }
                self.account.index = number;
                self.take(piece, mode, tools);
                // It counts as a line all the same.
                joiner.push(b"");
            }
        }
    }

    /// A record of several lines, told by the number of its first.
    fn joined(&mut self, joined: Joined, mode: Mode, tools: &mut Tools) {
        self.account.index = joined.first_line as u64;
        self.one_line(Piece::Record(joined.text), mode, tools);
    }

    fn one_line(&mut self, piece: Piece, mode: Mode, tools: &mut Tools) {
        if !matches!(piece, Piece::Record(line) if line.trim_ascii().is_empty()) {
            self.take(piece, mode, tools);
        }
        self.account.index += 1;
    }

    fn element(&mut self, piece: Piece, tools: &mut Tools) {
        self.take(piece, Mode::Json, tools);
        self.account.index += 1;
    }

    fn take(&mut self, piece: Piece, mode: Mode, tools: &mut Tools) {
        let line = match piece {
            Piece::Record(line) => line,
            Piece::TooLong => {
                let max = self.line_bytes_max;
                let message = format!("the line is longer than {max} bytes: raise line_bytes_max");
                return self.account.reject(Reject { code: "line_too_long", message, line: None, column: None });
            }
        };
        match self.stage.push(tools.parser, line, mode, tools.context, tools.ids) {
            Ok(_) => self.account.accepted += 1,
            Err(reject) => {
                if reject.code == "malformed_json" && self.malformed.is_none() {
                    self.malformed = Some(reject.clone());
                }
                self.account.reject(reject);
            }
        }
    }
}

impl Intake {
    /// `multiline` joins lines of text; JSON is never joined.
    pub fn new(input: Input, multiline: Option<Multiline>, builder: BatchBuilder, limits: IntakeLimits) -> Intake {
        let shape = match &input {
            Input::Json | Input::Unsaid => Shape::Unknown(Vec::new()),
            Input::Ndjson => lines(Strictness::Json, None, limits),
            Input::Lines(format) => lines(Strictness::Text(format.clone()), multiline.clone(), limits),
        };
        let records = Records {
            stage: Stage::new(builder),
            account: Account::default(),
            line_bytes_max: limits.line_bytes_max,
            malformed: None,
        };
        Intake { shape, input, multiline, limits, records }
    }

    /// Bytes that this body holds in memory.
    pub fn bytes(&self) -> usize {
        let gathered = match &self.shape {
            Shape::Unknown(bytes) | Shape::Whole(bytes) => bytes.len(),
            Shape::Lines(..) | Shape::Array(_) => 0,
        };
        self.records.stage.bytes() + gathered
    }

    pub fn account(&self) -> &Account {
        &self.records.account
    }

    /// Takes what is staged so far, to be committed ahead of the body's end.
    pub fn take_staged(&mut self, builder: BatchBuilder) -> Staged {
        std::mem::replace(&mut self.records.stage, Stage::new(builder)).finish()
    }

    pub fn feed(&mut self, bytes: &[u8], tools: &mut Tools) -> Result<(), BodyRefused> {
        match &mut self.shape {
            Shape::Lines(lines) => {
                lines.feed(bytes, &mut self.records, tools);
                Ok(())
            }
            Shape::Array(splitter) => {
                splitter.feed(bytes, &mut |piece| self.records.element(piece, tools))?;
                self.check_elements()
            }
            Shape::Whole(whole) => {
                if whole.len() + bytes.len() > self.limits.whole_bytes_max {
                    return Err(BodyRefused::TooLarge { max: self.limits.whole_bytes_max });
                }
                whole.extend_from_slice(bytes);
                Ok(())
            }
            Shape::Unknown(first) => {
                first.extend_from_slice(bytes);
                let first = std::mem::take(first);
                self.decide(first, false, tools)
            }
        }
    }

    /// The body has ended well: takes what is left in hand. The account says what became of it all.
    pub fn end(&mut self, tools: &mut Tools) -> Result<(), BodyRefused> {
        let is_json = matches!(self.input, Input::Json);
        if let Shape::Unknown(first) = &mut self.shape {
            let first = std::mem::take(first);
            self.decide(first, true, tools)?;
        }
        if let Shape::Whole(whole) = &mut self.shape {
            let whole = std::mem::take(whole);
            self.document(&whole, tools)?;
        }
        match &mut self.shape {
            Shape::Lines(lines) => {
                lines.end(&mut self.records, tools);
                // One line that is no JSON was meant as one document.
                match self.records.malformed.take() {
                    Some(reject)
                        if is_json && self.records.account.accepted == 0 && self.records.account.rejected == 1 =>
                    {
                        Err(BodyRefused::Malformed(reject))
                    }
                    _ => Ok(()),
                }
            }
            Shape::Array(splitter) => {
                let rest = splitter.end()?;
                if !rest.is_empty() {
                    check_envelope_rest(rest)?;
                }
                Ok(())
            }
            Shape::Unknown(_) | Shape::Whole(_) => Ok(()),
        }
    }

    /// Chooses the shape from the first bytes, or waits for more of them.
    fn decide(&mut self, first: Vec<u8>, ended: bool, tools: &mut Tools) -> Result<(), BodyRefused> {
        let is_json = matches!(self.input, Input::Json);
        let begin = first.iter().position(|b| !b.is_ascii_whitespace()).unwrap_or(first.len());
        let lines = match self.input {
            Input::Json => Strictness::Json,
            _ => Strictness::Text(LineFormat::Detected),
        };
        self.shape = match first.get(begin) {
            None if ended || first.len() > self.limits.line_bytes_max => self.lines(lines),
            None => {
                self.shape = Shape::Unknown(first);
                return Ok(());
            }
            Some(b'[') if is_json => {
                let (before, after) = first.split_at(begin + 1);
                self.shape = Shape::Array(ArraySplitter::new(false, self.limits.line_bytes_max, before));
                return self.feed(after, tools);
            }
            // A line of text may begin like this too: only the whole tells.
            Some(b'[' | b'{') if !is_json => Shape::Whole(Vec::new()),
            Some(b'{') => match envelope_start(&first[begin..]) {
                Some(length) => {
                    let (before, after) = first.split_at(begin + length);
                    self.shape = Shape::Array(ArraySplitter::new(true, self.limits.line_bytes_max, before));
                    return self.feed(after, tools);
                }
                None => {
                    // A first line that is a whole value by itself begins a line each.
                    let line_end = memchr::memchr(b'\n', &first[begin..]);
                    let line = line_end.map(|end| &first[begin..begin + end]);
                    match line {
                        Some(line) if is_closed(line) => self.lines(Strictness::Json),
                        Some(_) => Shape::Whole(Vec::new()),
                        None if ended || first.len() > self.limits.line_bytes_max => Shape::Whole(Vec::new()),
                        None => {
                            self.shape = Shape::Unknown(first);
                            return Ok(());
                        }
                    }
                }
            },
            // One value by itself is a document that is no object or array; more lines make it lines.
            Some(_) if is_json => {
                let is_alone = match memchr::memchr(b'\n', &first[begin..]) {
                    Some(end) => first[begin + end..].trim_ascii().is_empty(),
                    None => first.len() <= self.limits.line_bytes_max,
                };
                match (is_alone, ended) {
                    (true, true) => return Err(no_container(&first)),
                    (true, false) => {
                        self.shape = Shape::Unknown(first);
                        return Ok(());
                    }
                    (false, _) => self.lines(lines),
                }
            }
            Some(_) => self.lines(lines),
        };
        self.feed(&first, tools)
    }

    fn lines(&self, strictness: Strictness) -> Shape {
        lines(strictness, self.multiline.clone(), self.limits)
    }

    /// A body in hand as a whole: one JSON document, or lines after all.
    fn document(&mut self, whole: &[u8], tools: &mut Tools) -> Result<(), BodyRefused> {
        let text = whole.trim_ascii();
        let is_json = matches!(self.input, Input::Json);
        if let Some(b'[') = text.first()
            && (is_json || is_closed(text))
            && looks_like_json_array(text)
        {
            self.shape = Shape::Array(ArraySplitter::new(false, self.limits.line_bytes_max, &text[..1]));
            let array = text[1..].to_vec();
            let before = self.records.account.accepted;
            let done = self.feed(&array, tools).and_then(|()| self.close_array());
            if is_json || done.is_ok() {
                return done;
            }
            // Not JSON after all: it began like it, so it is text.
            debug_assert_eq!(before, 0);
            self.restart();
        } else if is_closed(text) {
            match find_envelope(text) {
                Some(array) => {
                    let before = &text[..array];
                    self.shape = Shape::Array(ArraySplitter::new(true, self.limits.line_bytes_max, before));
                    let rest = text[array..].to_vec();
                    return self.feed(&rest, tools);
                }
                None if is_json => {
                    self.records.element(Piece::Record(text), tools);
                    if let Some(reject) = self.records.malformed.take() {
                        return Err(BodyRefused::Malformed(reject));
                    }
                    self.shape = Shape::Unknown(Vec::new());
                    return Ok(());
                }
                None => {}
            }
        } else if is_json {
            return Err(BodyRefused::Malformed(malformed(text, text.len(), "the document is not closed")));
        }
        self.shape = self.lines(Strictness::Text(LineFormat::Detected));
        self.feed(whole, tools)
    }

    fn close_array(&mut self) -> Result<(), BodyRefused> {
        if let Shape::Array(splitter) = &mut self.shape {
            splitter.end()?;
        }
        Ok(())
    }

    /// Forgets what was staged of a body that turned out to be of another shape.
    fn restart(&mut self) {
        let staged = std::mem::replace(&mut self.records.stage, Stage::new(BatchBuilder::new(1))).finish();
        let mut builder = staged.open;
        builder.clear();
        self.records.stage = Stage::new(builder);
        self.records.account = Account::default();
        self.records.malformed = None;
    }

    /// An array with an element that is no JSON is itself no JSON.
    fn check_elements(&mut self) -> Result<(), BodyRefused> {
        match self.records.malformed.take() {
            Some(reject) => {
                let index = self.records.account.errors.last().map_or(0, |(index, _)| *index);
                let message = format!("{} (in element {index})", reject.message);
                Err(BodyRefused::Malformed(Reject { message, ..reject }))
            }
            None => Ok(()),
        }
    }
}

fn lines(strictness: Strictness, multiline: Option<Multiline>, limits: IntakeLimits) -> Shape {
    let multiline = multiline.filter(|_| matches!(strictness, Strictness::Text(_)));
    let joining = multiline.map(|rule| Joining { joiner: Joiner::new(rule), lines: 0 });
    Shape::Lines(Lines { splitter: LineSplitter::new(limits.line_bytes_max), strictness, joining })
}

/// What is wrong with a document that begins like neither an array nor an object.
fn no_container(text: &[u8]) -> BodyRefused {
    match record::json::whole(&String::from_utf8_lossy(text)) {
        Ok(_) => BodyRefused::NoContainer,
        Err(error) => BodyRefused::Malformed(malformed(text, error.at, error.reason)),
    }
}

/// The length of `{"logs":[` at the start of `bytes`, whatever blanks are in it.
fn envelope_start(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    for want in [&b"{"[..], b"\"logs\"", b":", b"["] {
        at += bytes[at..].iter().take_while(|b| b.is_ascii_whitespace()).count();
        if !bytes[at..].starts_with(want) {
            return None;
        }
        at += want.len();
    }
    Some(at)
}

/// Where the array of a top-level `logs` begins, just after its bracket.
fn find_envelope(object: &[u8]) -> Option<usize> {
    let mut depth = 0usize;
    let mut at = 0;
    while at < object.len() {
        match object[at] {
            b'"' => {
                let start = at;
                at = string_end(object, at + 1)?;
                if depth == 1 && &object[start..=at] == b"\"logs\"" {
                    let blank = |from: usize| object[from..].iter().take_while(|b| b.is_ascii_whitespace()).count();
                    let colon = at + 1 + blank(at + 1);
                    let bracket = colon + 1 + object.get(colon + 1..).map_or(0, |_| blank(colon + 1));
                    if object.get(colon) == Some(&b':') && object.get(bracket) == Some(&b'[') {
                        return Some(bracket + 1);
                    }
                }
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    None
}

fn string_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

/// Whether every bracket that `bytes` open is closed at their end and not before.
fn is_closed(bytes: &[u8]) -> bool {
    let bytes = bytes.trim_ascii();
    let (mut depth, mut at) = (0usize, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => match string_end(bytes, at + 1) {
                Some(end) => at = end,
                None => return false,
            },
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return false,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1 == bytes.len();
                }
            }
            _ => {}
        }
        at += 1;
    }
    false
}

/// Whether what follows the bracket can be an element, rather than an Apache error log's time.
fn looks_like_json_array(text: &[u8]) -> bool {
    matches!(
        text[1..].trim_ascii_start().first(),
        Some(b'{' | b'[' | b'"' | b']' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n')
    )
}

/// What follows the array of an envelope must close its object.
fn check_envelope_rest(rest: &[u8]) -> Result<(), BodyRefused> {
    let mut object = b"{\"logs\":[]".to_vec();
    object.extend_from_slice(rest);
    let is_object = std::str::from_utf8(&object).is_ok_and(|text| record::json::whole(text).is_ok());
    if is_object {
        return Ok(());
    }
    Err(BodyRefused::Malformed(Reject {
        code: "malformed_json",
        message: "malformed JSON: the object around logs is not closed".into(),
        line: None,
        column: None,
    }))
}
