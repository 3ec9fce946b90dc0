//! From the bytes of a body to staged rows: which shape the body has, where its records begin and end, what became of
//! each.
//!
//! Comes in: decoded pieces of a body, as they arrive. Goes out: rows in a [`Stage`], and an account of the rejected.
//! Nothing here waits. A body up to `atomic_body_bytes_max` is all or nothing, which is the caller's business: it
//! commits the stage, or drops it.
//!
//! Past 500 lines, a fifth of them tests: the shapes share one account and one stage, and a body changes from one shape to
//! another as its bytes come.

use record::format::{Joined, Joiner, LineParser, Mode, Multiline, Reject};
use record::{BatchBuilder, Context, IdSource};

use super::account::{Account, malformed, reject_reply};
use super::ask::{Input, LineFormat};
use super::document::{envelope_start, find_envelope, is_closed, looks_like_json_array};
use super::split::{ArrayError, ArraySplitter, LineSplitter, Piece};
use super::stage::{Stage, Staged};
use crate::http::Reply;

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
            Shape::Array(splitter) => splitter.end()?.map_or(Ok(()), check_envelope_rest),
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

#[cfg(test)]
mod tests {
    use record::{Timestamp, Zone};

    use super::*;

    const LIMITS: IntakeLimits = IntakeLimits { line_bytes_max: 64, whole_bytes_max: 400 };

    /// Status, and how many were accepted and rejected.
    fn take(input: &Input, multiline: Option<Multiline>, body: &[u8], piece: usize) -> (u16, u64, u64) {
        let mut parser = LineParser::new();
        let mut ids = IdSource::new(|| 0);
        let context = Context::new(Timestamp::MIN, &Zone::UTC);
        let mut tools = Tools { parser: &mut parser, ids: &mut ids, context: &context };
        let mut intake = Intake::new(input.clone(), multiline, BatchBuilder::new(1), LIMITS);
        for piece in body.chunks(piece) {
            if let Err(refused) = intake.feed(piece, &mut tools) {
                return (refused.reply().status, 0, 0);
            }
        }
        if let Err(refused) = intake.end(&mut tools) {
            return (refused.reply().status, 0, 0);
        }
        let account = intake.account();
        let (accepted, rejected) = (account.accepted, account.rejected);
        let status = account.reply().status;
        assert_eq!(intake.take_staged(BatchBuilder::new(1)).rows(), accepted);
        (status, accepted, rejected)
    }

    fn check(input: Input, table: &[(&str, (u16, u64, u64))]) {
        for &(body, want) in table {
            for piece in [1, 2, 7, 1000] {
                assert_eq!(take(&input, None, body.as_bytes(), piece), want, "{body:?} by {piece}");
            }
        }
    }

    #[test]
    fn one_json_document() {
        let deep = "[".repeat(300);
        check(
            Input::Json,
            &[
                ("", (422, 0, 0)),
                (" \n ", (422, 0, 0)),
                ("[]", (422, 0, 0)),
                ("1", (422, 0, 0)),
                ("null\n", (422, 0, 0)),
                ("nul", (400, 0, 0)),
                ("{", (400, 0, 0)),
                ("{\"message\": a}", (400, 0, 0)),
                ("{\"message\": a}\n", (400, 0, 0)),
                ("{\"message\": \"a\"}", (202, 1, 0)),
                ("{\n\"message\":\n\"a\"\n}\n", (202, 1, 0)),
                (" [ {\"a\":1} , {\"b\":2} ] ", (202, 2, 0)),
                ("[{\"a\":1},{\"b\":2]", (400, 0, 0)),
                ("[{\"a\":1}] x", (400, 0, 0)),
                ("[{\"a\":1},", (400, 0, 0)),
                ("{\"logs\": [{\"a\":1},{\"b\":2}], \"x\": [1]}", (202, 2, 0)),
                ("{\"x\": {\"logs\": 1}, \"logs\": [{\"a\":1}]}", (202, 1, 0)),
                ("{\n \"x\": 1,\n \"logs\": [\n{\"a\":1}\n]\n}", (202, 1, 0)),
                ("{\"logs\": []}", (422, 0, 0)),
                ("{\"logs\": [{\"a\":1}]", (400, 0, 0)),
                ("{\"logs\": [{\"a\":1}]} 2", (400, 0, 0)),
                (&deep, (400, 0, 0)),
            ],
        );
    }

    #[test]
    fn a_json_value_a_line() {
        let table =
            [("{\"a\":1}\n\n{\"b\":2}\n", (202, 2, 0)), ("{\"a\":1}\nbroken\n", (202, 1, 1)), ("1\n2", (202, 2, 0))];
        check(Input::Ndjson, &table);
        check(Input::Json, &table);
        check(Input::Ndjson, &[("broken", (422, 0, 1)), ("", (422, 0, 0)), ("[]", (202, 1, 0))]);
        let long = format!("{{\"a\":\"{}\"}}\n{{}}", "x".repeat(100));
        check(Input::Ndjson, &[(&long, (202, 1, 1))]);
    }

    #[test]
    fn lines_of_text() {
        check(
            Input::Lines(LineFormat::Detected),
            &[("a\r\n\nb", (202, 2, 0)), ("[x", (202, 1, 0)), ("", (422, 0, 0)), ("{\"a\":1}", (202, 1, 0))],
        );
    }

    #[test]
    fn a_type_that_was_not_said() {
        let many = "[".repeat(60);
        check(
            Input::Unsaid,
            &[
                ("[{\"a\":1},{\"b\":2}]", (202, 2, 0)),
                ("{\"logs\":[{\"a\":1}]}", (202, 1, 0)),
                ("{\"a\":1}\n{\"b\":2}", (202, 2, 0)),
                ("[Thu Oct 12 10:00:00 2025] [error] x\ny", (202, 2, 0)),
                ("[1] [2]\nx", (202, 2, 0)),
                ("plain", (202, 1, 0)),
                (&many, (202, 1, 0)),
            ],
        );
    }

    #[test]
    fn joined_lines_are_told_by_their_first() {
        let body = b"one\n two\n\nthree\n  four\n";
        let got = take(&Input::Lines(LineFormat::Detected), Some(Multiline::Indent), body, 3);
        assert_eq!(got, (202, 2, 0));
    }

    #[test]
    fn what_must_be_whole_has_a_limit() {
        let long = format!("{{\n\"a\":\"{}\"}}", "x".repeat(500));
        assert_eq!(take(&Input::Json, None, long.as_bytes(), 100).0, 413);
    }
}
