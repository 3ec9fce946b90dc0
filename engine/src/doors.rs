//! The doors: what one connection is answered, request by request.
//!
//! Comes in: a connection. Goes out: answers, in the order of the requests. Requests that were pipelined are staged one
//! after another and share one append; before anything is read from the client again, all answers due are sent. What
//! may wait: a body that is still on its way, an append, the sidecar.
//!
//! Over 500 lines, since it is one story: every way in which one session can go on, and what it then owes the client.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use record::format::LineParser;
use record::{Context, Timestamp};

use crate::body_reader::{Body, Broken, Turn, body_too_large, coding_reply};
use crate::conn::{Conn, Listed};
use crate::http::body::Step;
use crate::http::head::HeadLimits;
use crate::http::{Coding, Framer, Framing, Head, Method, Reply, host};
use crate::ingest::account::{malformed_reply, reject_reply};
use crate::ingest::intake::BodyRefused;
use crate::ingest::{AppendFailure, Ask, Door, Intake, IntakeLimits, Ticket, Tools, parse};
use crate::shard::Shard;
use crate::{health, relay};

/// A body must bring so many bytes a second on average, once `body_timeout` is over.
const BODY_RATE_MIN: u64 = 1024;
/// Answers that wait are sent once they are this long.
const ANSWERS_BYTES_MAX: usize = 64 * 1024;
/// How long an early answer waits for the client to stop sending.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(10);

/// Answers one connection until either side ends it.
pub async fn serve(shard: Rc<Shard>, conn: Conn, listed: Listed) {
    let mut session = Session {
        shard,
        conn,
        listed,
        due: VecDeque::new(),
        parser: LineParser::with_patterns(record::format::installed()),
    };
    // An error here means that the client has gone: there is nobody to tell.
    let _ = session.run().await;
}

struct Session {
    shard: Rc<Shard>,
    // Dropped before the connection: see `Connections::list`.
    listed: Listed,
    conn: Conn,
    due: VecDeque<Due>,
    parser: LineParser,
}

/// An answer that is due, perhaps once its rows are durable.
struct Due {
    ticket: Option<Ticket>,
    reply: Reply,
    keep_alive: bool,
    is_head: bool,
}

/// What comes after a request.
enum After {
    Next,
    /// The request was read to its end, and is the last.
    Close,
    /// The client may still be sending what nobody wants.
    End,
}

impl After {
    fn whole_request(keep_alive: bool) -> After {
        if keep_alive { After::Next } else { After::Close }
    }
}

impl Session {
    async fn run(&mut self) -> io::Result<()> {
        loop {
            let Some(head) = self.next_head().await? else { return Ok(()) };
            self.listed.set_busy(true);
            match self.request(head).await? {
                After::Next => {}
                // Unread bytes would turn the close into a reset, which can take the answer with it.
                After::Close if self.conn.bytes().is_empty() => return self.send_due().await,
                After::Close | After::End => return self.end().await,
            }
        }
    }

    /// The next request's head; `None` when the connection is to end.
    async fn next_head(&mut self) -> io::Result<Option<Head>> {
        let config = &self.shard.config;
        let limits = HeadLimits { head_bytes_max: config.head_bytes_max, headers_max: config.headers_max };
        let (idle, whole) = (config.idle_timeout, config.head_timeout);
        let mut began: Option<Instant> = None;
        loop {
            match Head::parse(self.conn.bytes(), limits) {
                Ok(Some((head, length))) => {
                    self.conn.consume(length);
                    return Ok(Some(head));
                }
                Ok(None) => {}
                Err(error) => {
                    self.shard.metrics.reject(error.code, 1);
                    self.answer(Reply::error(error.status, error.code, &error.message).closing(), false, false);
                    self.end().await?;
                    return Ok(None);
                }
            }
            self.send_due().await?;
            if self.shard.connections.is_stopping() {
                return Ok(None);
            }
            self.listed.set_busy(false);
            self.conn.relax();
            let limit = match began {
                None => idle,
                Some(began) => whole.saturating_sub(began.elapsed()),
            };
            match self.conn.fill(limit).await {
                Ok(0) => return Ok(None),
                Ok(_) => {
                    self.listed.set_busy(true);
                    began.get_or_insert_with(Instant::now);
                }
                Err(error) if error.kind() == io::ErrorKind::TimedOut && began.is_some() => {
                    let message = format!("the request head took longer than {} s: see head_timeout", whole.as_secs());
                    self.answer(Reply::error(408, "head_timeout", &message).closing(), false, false);
                    self.end().await?;
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn request(&mut self, head: Head) -> io::Result<After> {
        let config = &self.shard.config;
        if let Some(name) = &head.host
            && config.listen.ip().is_loopback()
            && host::is_foreign(name, &config.origins)
        {
            self.shard.metrics.reject("foreign_host", 1);
            let message = host::refusal(name, config.listen.ip());
            return self.refuse(&head, Reply::error(421, "foreign_host", &message)).await;
        }
        if head.method == Method::Post && head.is_foreign(&self.shard.config.origins) {
            let origin = head.origin.as_deref().unwrap_or_default();
            let message = format!("a page of `{origin}` may not post here: allow it with the setting origins");
            return self.refuse(&head, Reply::error(403, "foreign_origin", &message)).await;
        }
        if let Some(door) = Door::at(&head.path) {
            if head.method != Method::Post {
                let message = format!("{} is not for this route: POST to it", head.method.as_str());
                return self.refuse(&head, Reply::error(405, "method_not_allowed", &message).allow("POST")).await;
            }
            return self.ingest(door, head).await;
        }
        if let Some(page) = health::Page::at(&head.path) {
            if !matches!(head.method, Method::Get | Method::Head) {
                let message = format!("{} is not for this route: GET it", head.method.as_str());
                return self.refuse(&head, Reply::error(405, "method_not_allowed", &message).allow("GET, HEAD")).await;
            }
            let reply = self.shard.health.page(page);
            return self.refuse(&head, reply).await;
        }
        self.send_due().await?;
        match relay::relay(&self.shard, &mut self.conn, &head).await? {
            relay::Relayed::Next => Ok(After::Next),
            relay::Relayed::End => Ok(After::Close),
            relay::Relayed::Answer(reply) => self.refuse(&head, reply).await,
        }
    }

    /// Answers without the body: reads and drops it, so that the client sees the answer and may go on.
    async fn refuse(&mut self, head: &Head, reply: Reply) -> io::Result<After> {
        let mut reply = reply;
        let discard_max = self.shard.config.discard_bytes_max;
        let known_end = match head.framing {
            Framing::Empty => Some(0),
            Framing::Length(length) if length <= discard_max && !head.expects_continue => Some(length),
            _ => None,
        };
        if reply.status >= 400 {
            reply.close |= known_end.is_none();
        }
        let close = reply.close || known_end.is_none();
        reply.close = close;
        let keep_alive = self.answer(reply, head.keep_alive, head.method == Method::Head);
        if known_end == Some(0) {
            return Ok(After::whole_request(keep_alive));
        }
        if !keep_alive {
            return Ok(After::End);
        }
        self.send_due().await?;
        self.drop_body(&mut Framer::new(head.framing)).await
    }

    /// Reads the rest of a body and drops it.
    async fn drop_body(&mut self, framer: &mut Framer) -> io::Result<After> {
        loop {
            match framer.step(self.conn.bytes()) {
                Ok(Step::Content(count)) => {
                    framer.took(count);
                    self.conn.consume(count);
                }
                Ok(Step::Framing(count)) => self.conn.consume(count),
                Ok(Step::Done) => return Ok(After::Next),
                Ok(Step::More) if self.conn.fill(DRAIN_TIME_MAX).await? > 0 => {}
                _ => return Ok(After::End),
            }
        }
    }

    /// Queues an answer. Gives whether the connection goes on after it.
    fn answer(&mut self, reply: Reply, keep_alive: bool, is_head: bool) -> bool {
        self.answer_once(None, reply, keep_alive, is_head)
    }

    fn answer_once(&mut self, ticket: Option<Ticket>, reply: Reply, keep_alive: bool, is_head: bool) -> bool {
        let keep_alive = keep_alive && !reply.close && !self.shard.connections.is_stopping();
        self.due.push_back(Due { ticket, reply, keep_alive, is_head });
        keep_alive
    }

    /// Waits for what the due answers wait for, and sends them.
    async fn send_due(&mut self) -> io::Result<()> {
        let mut out = Vec::new();
        while let Some(due) = self.due.pop_front() {
            let reply = match &due.ticket {
                Some(ticket) => match ticket.settled().await {
                    Ok(()) => due.reply,
                    Err(failure) => failure_reply(&failure, 0),
                },
                None => due.reply,
            };
            self.shard.metrics.request(reply.status);
            reply.write(due.keep_alive, due.is_head, &mut out);
            if out.len() > ANSWERS_BYTES_MAX {
                self.conn.send(&out, self.shard.config.body_timeout).await?;
                out.clear();
            }
        }
        if out.is_empty() { Ok(()) } else { self.conn.send(&out, self.shard.config.body_timeout).await }
    }

    /// Sends what is due and ends the connection so that the client can read it.
    async fn end(&mut self) -> io::Result<()> {
        self.send_due().await?;
        self.conn.end_writing().await;
        let discard_max = self.shard.config.discard_bytes_max;
        self.conn.drain(discard_max, DRAIN_TIME_MAX).await;
        Ok(())
    }

    async fn ingest(&mut self, door: Door, head: Head) -> io::Result<After> {
        let ask = match self.admit(door, &head) {
            Ok(ask) => ask,
            Err(reply) => {
                self.count_refusal(&reply);
                return self.refuse(&head, reply).await;
            }
        };
        let mut body = match Body::new(&head, ask.coding, self.body_limit(&ask)) {
            Ok(body) => body,
            Err(error) => return self.refuse(&head, coding_reply(&error)).await,
        };
        if head.expects_continue && self.conn.bytes().is_empty() {
            self.send_due().await?;
            self.conn.send(b"HTTP/1.1 100 Continue\r\n\r\n", self.shard.config.body_timeout).await?;
        }
        let taken = match door {
            Door::Batch => self.batch(&ask, &mut body).await,
            Door::Direct | Door::Fast | Door::Parse => self.whole(&ask, &mut body).await,
        };
        self.shard.metrics.body(body.decoded);
        let (ticket, reply) = match taken {
            Ok(taken) => taken,
            Err(Broken::Gone(error)) => return Err(error),
            Err(Broken::Slow) => {
                let message = format!(
                    "the body came too slowly: it must not pause for {} s, nor fall below {BODY_RATE_MIN} bytes/s",
                    self.shard.config.body_timeout.as_secs()
                );
                self.shard.metrics.reject("body_timeout", 1);
                self.answer(Reply::error(408, "body_timeout", &message).closing(), false, false);
                return Ok(After::End);
            }
            Err(Broken::Refused(reply)) => {
                self.count_refusal(&reply);
                return self.refuse_within(&head, &mut body, reply).await;
            }
        };
        let keep_alive = self.answer_once(ticket, reply, head.keep_alive, false);
        Ok(After::whole_request(keep_alive))
    }

    /// Answers in the middle of a body, and reads the rest of it if that is bounded.
    async fn refuse_within(&mut self, head: &Head, body: &mut Body, reply: Reply) -> io::Result<After> {
        let rest = match head.framing {
            Framing::Length(length) => Some(length.saturating_sub(body.raw)),
            _ if body.framer.is_done() => Some(0),
            _ => None,
        };
        let goes_on = rest.is_some_and(|rest| rest <= self.shard.config.discard_bytes_max);
        let reply = if goes_on { reply } else { reply.closing() };
        if !self.answer(reply, head.keep_alive, false) {
            return Ok(After::End);
        }
        self.send_due().await?;
        self.drop_body(&mut body.framer).await
    }

    /// Everything that the head alone decides: type, coding, length, and whether there is room.
    fn admit(&self, door: Door, head: &Head) -> Result<Ask, Reply> {
        let ask = Ask::read(door, head, &self.shard.defaults)?;
        let limit = self.body_limit(&ask);
        if let Framing::Length(length) = head.framing
            && ask.coding == Coding::Identity
            && length > limit
        {
            return Err(body_too_large(door, limit));
        }
        let stores = door != Door::Parse || ask.store;
        if stores && let Some(failure) = self.shard.refuses(door) {
            return Err(failure_reply(&failure, 0));
        }
        Ok(ask)
    }

    /// Most decoded bytes of this request's body.
    fn body_limit(&self, ask: &Ask) -> u64 {
        let config = &self.shard.config;
        match ask.door {
            Door::Batch => config.body_bytes_max,
            Door::Parse => config.atomic_body_bytes_max as u64,
            Door::Direct | Door::Fast => config.line_bytes_max as u64,
        }
    }

    fn count_refusal(&self, reply: &Reply) {
        self.shard.metrics.reject(reply.code.unwrap_or("refused"), 1);
    }

    /// A body that is needed as a whole: one record, or what is to be parsed.
    async fn whole(&mut self, ask: &Ask, body: &mut Body) -> Result<(Option<Ticket>, Reply), Broken> {
        let mut whole = Vec::new();
        let permit = self.shard.body_memory.clone();
        let mut held = permit.hold();
        loop {
            let turn = body.pump(&mut self.conn, &mut |bytes| {
                whole.extend_from_slice(bytes);
                Ok(())
            })?;
            held.set(whole.len()).await;
            match turn {
                Turn::Done => break,
                Turn::Again => glommio::executor().yield_if_needed().await,
                Turn::More => self.fill_body(body).await?,
            }
        }
        match ask.door {
            Door::Parse => self.parse(ask, &whole),
            _ => self.one(ask, &whole),
        }
    }

    fn one(&mut self, ask: &Ask, body: &[u8]) -> Result<(Option<Ticket>, Reply), Broken> {
        let text = body.trim_ascii();
        if text.first() != Some(&b'{') {
            return Err(Broken::Refused(match text.is_empty() {
                true => Reply::error(422, "empty_body", "the body is empty: send one JSON object"),
                false => not_an_object(text),
            }));
        }
        let shard = self.shard.clone();
        let received = crate::clock::now();
        let context = context(ask, received, shard.oldest_kept(received));
        let mut ids = shard.ids.borrow_mut();
        let mut stage = crate::ingest::stage::Stage::new(shard.builders.take());
        match stage.push(&mut self.parser, text, record::format::Mode::Json, &context, &mut ids) {
            Ok(taken) => {
                let (ticket, builder) = shard.appender(ask.door).submit(stage.finish(), ask.door, &mut ids, received);
                shard.builders.give(builder);
                let status = if ask.door == Door::Direct { 201 } else { 202 };
                Ok((Some(ticket), id_reply(status, taken.pushed.id)))
            }
            Err(reject) => {
                shard.builders.give(stage.finish().open);
                let status = match reject.code {
                    "line_too_long" | "record_too_large" => 413,
                    "too_old" => 422,
                    _ => 400,
                };
                Err(Broken::Refused(reject_reply(status, &reject)))
            }
        }
    }

    fn parse(&mut self, ask: &Ask, body: &[u8]) -> Result<(Option<Ticket>, Reply), Broken> {
        let shard = self.shard.clone();
        let received = crate::clock::now();
        // What is not to be stored may be of any age.
        let oldest = if ask.store { shard.oldest_kept(received) } else { Timestamp::MIN };
        let context = context(ask, received, oldest);
        let mut ids = shard.ids.borrow_mut();
        let mut tools = Tools { parser: &mut self.parser, ids: &mut ids, context: &context };
        let parsed = parse::parse(body, ask, shard.builders.take(), &mut tools).map_err(Broken::Refused)?;
        if !ask.store || parsed.accepted == 0 {
            let mut builder = parsed.staged.open;
            builder.clear();
            shard.builders.give(builder);
            return Ok((None, parsed.reply));
        }
        let (ticket, builder) = shard.appender(Door::Parse).submit(parsed.staged, Door::Parse, &mut ids, received);
        shard.builders.give(builder);
        let reply = match parsed.id.filter(|_| parsed.accepted == 1 && parsed.rejected == 0) {
            Some(id) => id_reply(202, id),
            None => {
                let body = format!("{{\"accepted\":{},\"rejected\":{}}}", parsed.accepted, parsed.rejected);
                Reply::json(202, body.into_bytes())
            }
        };
        Ok((Some(ticket), reply))
    }

    /// Many records. Up to `atomic_body_bytes_max` they are kept apart until the body has ended well; a longer body is
    /// committed in parts as it arrives.
    async fn batch(&mut self, ask: &Ask, body: &mut Body) -> Result<(Option<Ticket>, Reply), Broken> {
        let shard = self.shard.clone();
        let config = &shard.config;
        let limits =
            IntakeLimits { line_bytes_max: config.line_bytes_max, whole_bytes_max: config.atomic_body_bytes_max };
        let mut batch = BatchBody {
            intake: Intake::new(ask.input.clone(), ask.multiline.clone(), shard.builders.take(), limits),
            committed: 0,
            received: crate::clock::now(),
        };
        let memory = shard.body_memory.clone();
        let mut held = memory.hold();
        let result = loop {
            match self.batch_turn(ask, body, &mut batch) {
                Ok(Turn::Done) => break Ok(()),
                Ok(Turn::Again) => glommio::executor().yield_if_needed().await,
                Ok(Turn::More) => {
                    held.set(batch.intake.bytes()).await;
                    if let Err(broken) = self.fill_body(body).await {
                        break Err(broken);
                    }
                }
                Err(broken) => break Err(broken),
            }
            if body.decoded > config.atomic_body_bytes_max as u64
                && batch.intake.bytes() > config.atomic_body_bytes_max / 4
            {
                self.commit_part(&mut batch).await?;
            }
        };
        if let Err(broken) = result {
            // The whole lines of a long body stay: those of a short one were never told to anybody.
            if batch.committed > 0 {
                self.commit_part(&mut batch).await?;
            }
            return Err(match broken {
                Broken::Refused(reply) if batch.committed > 0 => Broken::Refused(kept_in_part(reply, batch.committed)),
                other => other,
            });
        }
        let account = batch.intake.account();
        for code in account.codes() {
            shard.metrics.reject(code, 1);
        }
        let reply = account.reply();
        let ticket = self.submit_part(&mut batch);
        shard.builders.give(batch.intake.take_staged(record::BatchBuilder::new(1)).open);
        match ticket {
            Some((ticket, _)) if batch.committed > 0 => {
                ticket.settled().await.map_err(|failure| Broken::Refused(failure_reply(&failure, batch.committed)))?;
                Ok((None, reply))
            }
            ticket => Ok((ticket.map(|(ticket, _)| ticket), reply)),
        }
    }

    /// Takes in what is at hand of a batch's body.
    fn batch_turn(&mut self, ask: &Ask, body: &mut Body, batch: &mut BatchBody) -> Result<Turn, Broken> {
        let shard = self.shard.clone();
        let context = context(ask, batch.received, shard.oldest_kept(batch.received));
        let mut ids = shard.ids.borrow_mut();
        let mut tools = Tools { parser: &mut self.parser, ids: &mut ids, context: &context };
        let intake = &mut batch.intake;
        let turn = body.pump(&mut self.conn, &mut |bytes| intake.feed(bytes, &mut tools).map_err(|e| e.reply()))?;
        if matches!(turn, Turn::Done) {
            intake.end(&mut tools).map_err(|error: BodyRefused| Broken::Refused(error.reply()))?;
        }
        Ok(turn)
    }

    /// Submits what is staged of a body, if anything is; with the number of rows.
    fn submit_part(&self, batch: &mut BatchBody) -> Option<(Ticket, u64)> {
        let shard = &self.shard;
        let staged = batch.intake.take_staged(shard.builders.take());
        let rows = staged.rows();
        if rows == 0 {
            shard.builders.give(staged.open);
            return None;
        }
        let mut ids = shard.ids.borrow_mut();
        let (ticket, builder) = shard.appender(Door::Batch).submit(staged, Door::Batch, &mut ids, batch.received);
        shard.builders.give(builder);
        Some((ticket, rows))
    }

    async fn commit_part(&mut self, batch: &mut BatchBody) -> Result<(), Broken> {
        let Some((ticket, rows)) = self.submit_part(batch) else { return Ok(()) };
        ticket.settled().await.map_err(|failure| Broken::Refused(failure_reply(&failure, batch.committed)))?;
        batch.committed += rows;
        Ok(())
    }

    /// Reads more of a body, within its time. Everything due is sent first: the client may be waiting for it.
    async fn fill_body(&mut self, body: &Body) -> Result<(), Broken> {
        self.send_due().await?;
        let pause = self.shard.config.body_timeout;
        let allowed = pause + Duration::from_secs(body.raw / BODY_RATE_MIN);
        if body.began.elapsed() > allowed {
            return Err(Broken::Slow);
        }
        match self.conn.fill(pause).await? {
            0 => Err(Broken::Gone(io::ErrorKind::UnexpectedEof.into())),
            _ => Ok(()),
        }
    }
}

struct BatchBody {
    intake: Intake,
    /// Rows that are durable already, of a body that is longer than can be kept apart.
    committed: u64,
    received: Timestamp,
}

fn context(ask: &Ask, received: Timestamp, oldest: Timestamp) -> Context<'_> {
    Context {
        received,
        zone: &ask.zone,
        unwrap: ask.unwrap,
        oldest,
        source: &ask.source,
        application: &ask.application,
    }
}

/// 422 for a JSON value that is no object, 400 for what is no JSON at all.
fn not_an_object(text: &[u8]) -> Reply {
    match record::json::whole(&String::from_utf8_lossy(text)) {
        Ok(_) => {
            let message = "the body is no object: send one JSON object, or many to /data/batch";
            Reply::error(422, "not_an_object", message)
        }
        Err(error) => malformed_reply(text, error.at, error.reason),
    }
}

fn id_reply(status: u16, id: record::Id) -> Reply {
    let mut body = b"{\"id\":\"".to_vec();
    id.write(&mut body);
    body.extend_from_slice(b"\"}");
    Reply::json(status, body)
}

/// The answer to rows that were not stored, `kept` of the same body having been stored before.
fn failure_reply(failure: &AppendFailure, kept: u64) -> Reply {
    let reply = match kept {
        0 => Reply::error(failure.status(), failure.code(), &failure.to_string()),
        _ => kept_in_part(Reply::error(503, "partly_stored", &format!("{failure}; {kept} records are kept")), kept),
    };
    reply.retry_after(if failure.status() == 429 { 1 } else { 5 })
}

/// Adds to an error's answer how many records of the body are stored all the same.
fn kept_in_part(mut reply: Reply, kept: u64) -> Reply {
    reply.body.pop();
    reply.body.extend_from_slice(format!(",\"accepted\":{kept}}}").as_bytes());
    reply
}
