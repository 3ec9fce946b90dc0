//! `GET /logs/export`: all that matches, streamed, whatever its size.
//!
//! The store's thread writes pieces into a channel of a few; hyper takes them out as the client reads. A slow client
//! so slows the scan and nothing else; one that is gone ends it; one that takes nothing for long is given up.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use engine::store::{Reader, Stop};
use futures_util::Stream;
use record::{Filter, Row};
use tokio::sync::mpsc;
use warp::Reply;
use warp::http::header::{CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};

use crate::Sidecar;
use crate::answer::Answer;
use crate::coding::{Coding, Packer};
use crate::error::ApiError;
use crate::params::{Params, shown};

/// Pieces on the way to a slow client, of about [`PIECE_BYTES`] each.
const PIECES_MAX: usize = 4;
const PIECE_BYTES: usize = 64 * 1024;
/// What was found is sent after so long, however little it is: rare records of a long scan are seen as they are found.
const PIECE_WAIT_MAX: Duration = Duration::from_millis(500);
/// A client that takes no piece for so long is taken to be dead; a paused download of a person is shorter.
const STALL_MAX: Duration = Duration::from_secs(300);
/// An error within this time still becomes a status; after it the head has been sent and the stream breaks off.
const FIRST_PIECE_WAIT_MAX: Duration = Duration::from_secs(2);
/// An export has no deadline but its client: a year stands for none.
const NO_DEADLINE: Duration = Duration::from_secs(365 * 86_400);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Ndjson,
    Csv,
}

type Piece = Result<Bytes, ApiError>;

pub async fn export(
    sidecar: &Sidecar,
    mut params: Params,
    head_only: bool,
    coding: Coding,
) -> Result<Answer, ApiError> {
    let format = match params.take("format")?.as_deref() {
        None | Some("ndjson") => Format::Ndjson,
        Some("csv") => Format::Csv,
        Some(other) => {
            return Err(ApiError::bad_request(
                "bad_parameter",
                format!("format is `{}`, and must be ndjson or csv", shown(other)),
            ));
        }
    };
    let filter = params.filter(sidecar.now(), &sidecar.config.timezone)?;
    let (sender, mut pieces) = mpsc::channel(PIECES_MAX);
    let mut first = None;
    if !head_only {
        let (reader, place) = sidecar.queries.export().await?;
        let runtime = tokio::runtime::Handle::current();
        tokio::task::spawn_blocking(move || {
            let _place = place;
            let send = |piece| {
                let sent = runtime.block_on(async { tokio::time::timeout(STALL_MAX, sender.send(piece)).await });
                matches!(sent, Ok(Ok(())))
            };
            run(&*reader, &filter, format, coding, send);
        });
        if let Ok(piece) = tokio::time::timeout(FIRST_PIECE_WAIT_MAX, pieces.recv()).await {
            first = piece.transpose()?;
        }
    }
    let mut response = warp::reply::stream(Pieces { first, rest: pieces }).into_response();
    let (kind, name) = match format {
        Format::Ndjson => ("application/x-ndjson", "attachment; filename=\"logs.ndjson\""),
        Format::Csv => ("text/csv; charset=utf-8; header=present", "attachment; filename=\"logs.csv\""),
    };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CONTENT_DISPOSITION, HeaderValue::from_static(name));
    if let Some(coding) = coding.name() {
        response.headers_mut().insert(CONTENT_ENCODING, coding);
    }
    Ok(Answer::Ready(response))
}

/// Reads and writes until the end, or until `send` says that nobody takes any more.
fn run(reader: &dyn Reader, filter: &Filter, format: Format, coding: Coding, send: impl FnMut(Piece) -> bool) {
    let stop = Stop::after(NO_DEADLINE);
    let mut out = match Out::new(coding, send) {
        Ok(out) => out,
        Err(error) => return tracing::error!("an export cannot be packed: {error}"),
    };
    if format == Format::Csv {
        out.piece.extend_from_slice(CSV_HEADER);
    }
    let ended = reader.export(filter, &stop, &mut |rows| {
        rows.rows().all(|row| {
            match format {
                Format::Ndjson => {
                    row.write_json(&mut out.piece);
                    out.piece.push(b'\n');
                }
                Format::Csv => push_csv(&row, &mut out.piece),
            }
            out.piece.len() < PIECE_BYTES || out.send_piece()
        }) && (out.sent_at.elapsed() < PIECE_WAIT_MAX || out.send_piece())
    });
    match ended {
        Ok(()) => out.end(),
        Err(engine::store::QueryError::Cancelled) => {}
        Err(error) => {
            (out.send)(Err(error.into()));
        }
    }
}

/// Lines on their way out: gathered, packed, sent.
struct Out<S> {
    piece: Vec<u8>,
    packer: Packer,
    send: S,
    sent_at: Instant,
    is_wanted: bool,
}

impl<S: FnMut(Piece) -> bool> Out<S> {
    fn new(coding: Coding, send: S) -> std::io::Result<Out<S>> {
        let piece = Vec::with_capacity(PIECE_BYTES + 8 * 1024);
        Ok(Out { piece, packer: Packer::new(coding)?, send, sent_at: Instant::now(), is_wanted: true })
    }

    /// Sends what was gathered. False when nobody takes any more.
    fn send_piece(&mut self) -> bool {
        self.sent_at = Instant::now();
        if !self.piece.is_empty() {
            let packed = self.packer.write(&self.piece).and_then(|()| self.packer.flush());
            self.is_wanted &= (self.send)(piece_of(packed));
            self.piece.clear();
        }
        self.is_wanted
    }

    fn end(mut self) {
        let packed = self.packer.write(&self.piece).and_then(|()| self.packer.end());
        if self.is_wanted && !packed.as_ref().is_ok_and(Vec::is_empty) {
            (self.send)(piece_of(packed));
        }
    }
}

fn piece_of(packed: std::io::Result<Vec<u8>>) -> Piece {
    packed.map(Bytes::from).map_err(|error| ApiError::internal(format!("the export cannot be packed: {error}")))
}

const CSV_HEADER: &[u8] = b"id,timestamp,level,source,application,message,metadata\r\n";

/// Appends a record as a line of CSV (RFC 4180).
fn push_csv(row: &Row, out: &mut Vec<u8>) {
    row.id().write(out);
    out.push(b',');
    row.timestamp().write_rfc3339(out);
    out.push(b',');
    out.extend_from_slice(row.level().as_str().as_bytes());
    for text in [row.source(), row.application(), row.message(), row.metadata()] {
        out.push(b',');
        if !text.iter().any(|byte| matches!(byte, b',' | b'"' | b'\r' | b'\n')) {
            out.extend_from_slice(text);
            continue;
        }
        out.push(b'"');
        for part in text.split_inclusive(|&byte| byte == b'"') {
            out.extend_from_slice(part);
            if part.last() == Some(&b'"') {
                out.push(b'"');
            }
        }
        out.push(b'"');
    }
    out.extend_from_slice(b"\r\n");
}

/// The channel's far end as a body. An error breaks the connection off, so that the client sees that it has not all.
struct Pieces {
    first: Option<Bytes>,
    rest: mpsc::Receiver<Piece>,
}

impl Stream for Pieces {
    type Item = Result<Bytes, std::io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        self.rest
            .poll_recv(context)
            .map(|piece| piece.map(|piece| piece.map_err(|error| std::io::Error::other(error.message))))
    }
}
