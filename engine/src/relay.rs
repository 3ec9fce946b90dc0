//! Everything that the engine does not answer itself goes to the sidecar: one request at a time, over a connection of
//! its own that is kept as long as both sides keep it.
//!
//! Comes in: a request's head, and its body on the client's connection. Goes out: the sidecar's answer, framed by RFC
//! 9112 §6.3. The head is written anew and never forwarded raw, so that nothing can be smuggled past this door. A 101
//! turns the connection into a byte copy. Buffers are bounded: one read each way.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::{AsyncReadExt, AsyncWriteExt, FutureExt};
use glommio::net::TcpStream;

use crate::config::Upstream;
use crate::conn::{Conn, Connections};
use crate::http::body::Step;
use crate::http::{Framer, Framing, Head, Method, Reply, host};
use crate::shard::Shard;

/// Bodies to the sidecar: its routes read a few kilobytes at most.
const REQUEST_BODY_BYTES_MAX: u64 = 8 * 1024 * 1024;
const ANSWER_HEAD_BYTES_MAX: usize = 64 * 1024;
const ANSWER_HEADERS_MAX: usize = 100;
/// The sidecar's own query limit comes first; this is for one that hangs.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(300);
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// Once a stop has begun, a sidecar may end its WebSockets for so long.
const GOODBYE_TIME: Duration = Duration::from_secs(1);
/// One piece of a byte copy.
const COPY_BYTES: usize = 16 * 1024;
/// What a client may send ahead while it waits for an answer; beyond, nothing is read of it.
const AHEAD_BYTES_MAX: usize = 64 * 1024;

/// How a relayed request ended.
pub enum Relayed {
    /// The client's connection may carry another request.
    Next,
    End,
    /// The sidecar gave no answer: this is the one to send.
    Answer(Reply),
}

pub async fn relay(shard: &Rc<Shard>, client: &mut Conn, head: &Head) -> io::Result<Relayed> {
    if matches!(head.framing, Framing::Length(length) if length > REQUEST_BODY_BYTES_MAX) {
        let message = format!("bodies on this route are at most {REQUEST_BODY_BYTES_MAX} bytes");
        return Ok(Relayed::Answer(Reply::error(413, "body_too_large", &message)));
    }
    let stream = match connect(&shard.upstream).await {
        Ok(stream) => stream,
        Err(error) => return Ok(Relayed::Answer(unavailable(&error))),
    };
    let mut sidecar = Conn::new(stream, shard.scratch.clone());
    if let Err(error) = sidecar.send(&request_head(head), ANSWER_TIME_MAX).await {
        return Ok(Relayed::Answer(unavailable(&error)));
    }
    if head.expects_continue && client.bytes().is_empty() {
        client.send(b"HTTP/1.1 100 Continue\r\n\r\n", ANSWER_TIME_MAX).await?;
    }
    if !forward_body(client, &mut sidecar, head).await? {
        return Ok(Relayed::End);
    }
    let answer = match read_answer(client, &mut sidecar, head).await {
        Ok(Some(answer)) => answer,
        Ok(None) => return Ok(Relayed::End),
        Err(error) => return Ok(Relayed::Answer(unavailable(&error))),
    };
    shard.metrics.request(answer.status);
    if answer.status == 101 {
        client.send(&answer.head, ANSWER_TIME_MAX).await?;
        byte_copy(client, sidecar, &shard.connections).await?;
        return Ok(Relayed::End);
    }
    // A length that only the end of the connection tells cannot be followed by another answer.
    let until_close = answer.framing == Framing::UntilClose;
    let chunked_to_1_0 = answer.framing == Framing::Chunked && !head.is_http_1_1;
    let keep_alive = head.keep_alive && !until_close && !chunked_to_1_0 && !shard.connections.is_stopping();
    let mut out = answer.head;
    out.extend_from_slice(match keep_alive {
        true => &b"Connection: keep-alive\r\n"[..],
        false => b"Connection: close\r\n",
    });
    if answer.framing == Framing::Chunked && !chunked_to_1_0 {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    out.extend_from_slice(b"\r\n");
    let whole = copy_answer(client, &mut sidecar, out, answer.framing, chunked_to_1_0).await?;
    Ok(if whole && keep_alive { Relayed::Next } else { Relayed::End })
}

fn unavailable(error: &io::Error) -> Reply {
    let message =
        format!("the query side does not answer ({error}): start `logboom serve`, or `logboom api` beside the engine");
    Reply::error(503, "api_unavailable", &message).retry_after(1)
}

async fn connect(upstream: &Upstream) -> io::Result<TcpStream> {
    match upstream {
        Upstream::Tcp(address) => {
            let stream = TcpStream::connect_timeout(*address, CONNECT_TIME_MAX).await.map_err(io::Error::from)?;
            stream.set_nodelay(true).map_err(io::Error::from)?;
            Ok(stream)
        }
        Upstream::Abstract(name) => {
            // Never waits: a unix socket connects at once, or its backlog is full and it says so.
            let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
            socket.set_nonblocking(true)?;
            socket.connect(&socket2::SockAddr::unix(format!("\0{name}"))?)?;
            Ok(crate::sys::adopt(OwnedFd::from(socket)))
        }
    }
}

fn request_head(head: &Head) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 + head.end_to_end.len());
    out.extend_from_slice(head.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(head.path.as_bytes());
    if !head.query.is_empty() {
        out.push(b'?');
        out.extend_from_slice(head.query.as_bytes());
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    if head.host.is_none() {
        out.extend_from_slice(b"Host: localhost\r\n");
    }
    out.extend_from_slice(&head.end_to_end);
    out.extend_from_slice(format!("Via: {}\r\n", host::VIA).as_bytes());
    match head.framing {
        Framing::Length(length) => out.extend_from_slice(format!("Content-Length: {length}\r\n").as_bytes()),
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Framing::Empty | Framing::UntilClose => {}
    }
    // One request a connection: what the sidecar holds ends when the client's request does.
    out.extend_from_slice(match head.upgrade {
        true => &b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"[..],
        false => b"Connection: close\r\n\r\n",
    });
    out
}

/// Passes a request's body on as it is framed. False when it is broken.
async fn forward_body(client: &mut Conn, sidecar: &mut Conn, head: &Head) -> io::Result<bool> {
    let mut framer = Framer::new(head.framing);
    let mut sent = 0u64;
    loop {
        let count = match framer.step(client.bytes()) {
            Ok(Step::Done) => return Ok(true),
            Ok(Step::More) => {
                if client.fill(ANSWER_TIME_MAX).await? == 0 {
                    return Ok(false);
                }
                continue;
            }
            Ok(Step::Content(count)) => {
                framer.took(count);
                count
            }
            Ok(Step::Framing(count)) => count,
            Err(_) => return Ok(false),
        };
        sent += count as u64;
        if sent > REQUEST_BODY_BYTES_MAX {
            return Ok(false);
        }
        sidecar.send(&client.bytes()[..count], ANSWER_TIME_MAX).await?;
        client.consume(count);
    }
}

struct Answer {
    status: u16,
    /// Status line and fields, without the hop-by-hop ones and without the empty line at the end.
    head: Vec<u8>,
    framing: Framing,
}

/// `None` when the client has gone: dropping the sidecar's connection then ends what it works on.
async fn read_answer(client: &mut Conn, sidecar: &mut Conn, head: &Head) -> io::Result<Option<Answer>> {
    loop {
        if let Some((answer, length)) = parse_answer(sidecar.bytes(), head.method == Method::Head)? {
            sidecar.consume(length);
            // Interim answers but 101 concern the hop alone.
            if answer.status >= 200 || answer.status == 101 {
                return Ok(Some(answer));
            }
        } else if sidecar.bytes().len() > ANSWER_HEAD_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its head is too long"));
        } else {
            match fill_or_gone(client, sidecar).await? {
                Some(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }
}

/// Reads from the sidecar; `None` when the client goes away first.
async fn fill_or_gone(client: &mut Conn, sidecar: &mut Conn) -> io::Result<Option<usize>> {
    let answer = async { sidecar.fill(ANSWER_TIME_MAX).await.map(Some) };
    let gone = async {
        while client.bytes().len() < AHEAD_BYTES_MAX {
            if !matches!(client.fill(ANSWER_TIME_MAX).await, Ok(1..)) {
                return Ok(None);
            }
        }
        std::future::pending().await
    };
    answer.or(gone).await
}

fn parse_answer(bytes: &[u8], is_head: bool) -> io::Result<Option<(Answer, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; ANSWER_HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let invalid = |error: httparse::Error| io::Error::new(io::ErrorKind::InvalidData, error);
    let httparse::Status::Complete(length) = response.parse(bytes).map_err(invalid)? else { return Ok(None) };
    let status = response.code.unwrap_or(500);
    let mut head = format!("HTTP/1.1 {status} {}\r\n", response.reason.unwrap_or_default()).into_bytes();
    let (mut content_length, mut chunked) = (None, false);
    for header in response.headers.iter() {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("transfer-encoding") {
            chunked = header.value.eq_ignore_ascii_case(b"chunked");
            continue;
        }
        if is("content-length") {
            content_length = std::str::from_utf8(header.value).ok().and_then(|text| text.trim().parse().ok());
        }
        let is_hop = is("connection") || is("keep-alive") || is("upgrade") || is("trailer");
        if is_hop && status != 101 {
            continue;
        }
        head.extend_from_slice(header.name.as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(header.value);
        head.extend_from_slice(b"\r\n");
    }
    let framing = match (is_head || matches!(status, 100..=199 | 204 | 304), chunked, content_length) {
        (true, ..) => Framing::Empty,
        (_, true, _) => Framing::Chunked,
        (_, _, Some(length)) => Framing::Length(length),
        _ => Framing::UntilClose,
    };
    if status == 101 {
        head.extend_from_slice(b"\r\n");
    }
    Ok(Some((Answer { status, head, framing }, length)))
}

/// Sends the head and copies the body; chunks are passed on as chunks, or opened for a client that knows none. False
/// when the sidecar ended before the answer did.
async fn copy_answer(
    client: &mut Conn,
    sidecar: &mut Conn,
    mut out: Vec<u8>,
    framing: Framing,
    open_chunks: bool,
) -> io::Result<bool> {
    let mut framer = Framer::new(framing);
    loop {
        let (count, is_content) = match framer.step(sidecar.bytes()) {
            Ok(Step::Done) => {
                client.send(&out, ANSWER_TIME_MAX).await?;
                return Ok(true);
            }
            Ok(Step::Content(count)) => {
                framer.took(count);
                (count, true)
            }
            Ok(Step::Framing(count)) => (count, false),
            Ok(Step::More) => {
                if !out.is_empty() {
                    client.send(&out, ANSWER_TIME_MAX).await?;
                    out.clear();
                }
                match fill_or_gone(client, sidecar).await? {
                    Some(0) => return Ok(framer.ends_with_connection()),
                    Some(_) => continue,
                    None => return Ok(false),
                }
            }
            Err(_) => return Ok(false),
        };
        if is_content || !open_chunks {
            out.extend_from_slice(&sidecar.bytes()[..count]);
        }
        sidecar.consume(count);
    }
}

/// Copies both ways until the sidecar ends, or either side breaks.
async fn byte_copy(client: &mut Conn, sidecar: Conn, connections: &Connections) -> io::Result<()> {
    let early = client.bytes().to_vec();
    client.consume(early.len());
    let (mut to_sidecar, late) = sidecar.into_parts();
    let client = client.stream();
    client.set_read_timeout(None).map_err(io::Error::from)?;
    client.set_write_timeout(None).map_err(io::Error::from)?;
    to_sidecar.set_read_timeout(None).map_err(io::Error::from)?;
    client.write_all(&late).await?;
    to_sidecar.write_all(&early).await?;
    let (client_read, client_write) = futures_lite::io::split(client);
    let (sidecar_read, sidecar_write) = futures_lite::io::split(to_sidecar);
    // A client that ends its half still gets what the sidecar has to say: it is the sidecar that ends a tail.
    let upwards = async {
        copy(client_read, sidecar_write).await?;
        std::future::pending().await
    };
    // A sidecar in this process says goodbye to its viewers; one elsewhere does not know that this engine stops.
    let stop = async {
        connections.stopping().await;
        glommio::timer::sleep(GOODBYE_TIME).await;
        Ok(())
    };
    copy(sidecar_read, client_write).or(upwards).or(stop).await
}

async fn copy(
    mut from: impl futures_lite::AsyncRead + Unpin,
    mut to: impl futures_lite::AsyncWrite + Unpin,
) -> io::Result<()> {
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        match from.read(&mut buffer).await? {
            0 => return to.close().await,
            count => to.write_all(&buffer[..count]).await?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(text: &str, is_head: bool) -> Framing {
        parse_answer(text.as_bytes(), is_head).unwrap().unwrap().0.framing
    }

    #[test]
    fn answers_are_framed() {
        assert_eq!(framing("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false), Framing::Length(5));
        assert_eq!(framing("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true), Framing::Empty);
        assert_eq!(framing("HTTP/1.1 204 No\r\n\r\n", false), Framing::Empty);
        assert_eq!(framing("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false), Framing::Chunked);
        assert_eq!(framing("HTTP/1.1 200 OK\r\n\r\n", false), Framing::UntilClose);
        assert!(parse_answer(b"HTTP/1.1 200", false).unwrap().is_none());
        assert!(parse_answer(b"nonsense\r\n\r\n", false).is_err());
    }
}
