//! A blocking HTTP/1.1 client, no more than the tools need: one connection, one request at a time, bodies read as they
//! come. The load itself is sent by [`crate::drive`].

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Longest answer head that is read: twice what any server here sends.
const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
/// An answer may pause this long. A cold count over a large store takes seconds.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// One kept connection.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<TcpStream>,
    authority: String,
    /// The last answer has not been read to its end, so the connection cannot serve another.
    spent: bool,
}

/// How an answer's body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(u64),
    /// Bytes left of the current chunk; a chunk's head comes next where it is zero.
    Chunked(u64),
    UntilClose,
    Done,
}

/// An answer; reading it reads its body.
#[derive(Debug)]
pub struct Answer<'c> {
    pub status: u16,
    client: &'c mut Client,
    framing: Framing,
}

impl Client {
    pub fn connect(authority: &str) -> io::Result<Client> {
        let stream = TcpStream::connect(authority)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        Ok(Client { stream: BufReader::new(stream), authority: authority.to_owned(), spent: false })
    }

    pub fn get(&mut self, target: &str) -> io::Result<Answer<'_>> {
        let head = format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", self.authority);
        self.send(head.as_bytes(), &[])
    }

    pub fn post(&mut self, target: &str, content_type: &str, body: &[u8]) -> io::Result<Answer<'_>> {
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: {}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
            self.authority,
            body.len()
        );
        self.send(head.as_bytes(), body)
    }

    fn send(&mut self, head: &[u8], body: &[u8]) -> io::Result<Answer<'_>> {
        if self.spent {
            *self = Client::connect(&self.authority)?;
        }
        self.spent = true;
        let stream = self.stream.get_mut();
        stream.write_all(head)?;
        stream.write_all(body)?;
        loop {
            let head = read_head(&mut self.stream)?;
            let (status, framing) = parse_head(&head)?;
            if status / 100 != 1 {
                return Ok(Answer { status, client: self, framing });
            }
        }
    }
}

impl Answer<'_> {
    /// The whole body as text.
    pub fn text(mut self) -> io::Result<String> {
        let mut text = Vec::new();
        self.read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

impl Read for Answer<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        let stream = &mut self.client.stream;
        if self.framing == Framing::Chunked(0) {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            let digits = line.trim().split(';').next().unwrap_or_default();
            let size = u64::from_str_radix(digits, 16).map_err(|_| invalid("a chunk without a size"))?;
            self.framing = Framing::Chunked(size);
            if size == 0 {
                // No server here sends trailers, but they may.
                while {
                    line.clear();
                    stream.read_line(&mut line)? > 2
                } {}
                self.framing = Framing::Done;
            }
        }
        let max = match self.framing {
            Framing::Done | Framing::Length(0) => 0,
            Framing::Length(left) | Framing::Chunked(left) => {
                out.len().min(usize::try_from(left).unwrap_or(usize::MAX))
            }
            Framing::UntilClose => out.len(),
        };
        if max == 0 {
            self.client.spent = false;
            return Ok(0);
        }
        let count = stream.read(&mut out[..max])?;
        match &mut self.framing {
            Framing::UntilClose => {}
            _ if count == 0 => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the answer was cut off")),
            Framing::Length(left) => *left -= count as u64,
            Framing::Chunked(left) => {
                *left -= count as u64;
                if *left == 0 {
                    stream.read_exact(&mut [0; 2])?;
                }
            }
            Framing::Done => {}
        }
        Ok(count)
    }
}

fn read_head(stream: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    loop {
        let from = head.len();
        let count = stream.by_ref().take((HEAD_BYTES_MAX - from) as u64).read_until(b'\n', &mut head)?;
        if count == 0 {
            let kind =
                if head.len() == HEAD_BYTES_MAX { io::ErrorKind::InvalidData } else { io::ErrorKind::UnexpectedEof };
            return Err(io::Error::new(kind, "no whole answer came"));
        }
        if from > 0 && (&head[from..] == b"\r\n" || &head[from..] == b"\n") {
            return Ok(head);
        }
    }
}

fn parse_head(head: &[u8]) -> io::Result<(u16, Framing)> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut answer = httparse::Response::new(&mut headers);
    answer.parse(head).map_err(|error| invalid(&format!("not an HTTP answer: {error}")))?;
    let status = answer.code.unwrap_or(0);
    let find = |name: &str| answer.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
    if status / 100 == 1 || status == 204 || status == 304 {
        return Ok((status, Framing::Done));
    }
    if find("transfer-encoding").is_some_and(|header| header.value.eq_ignore_ascii_case(b"chunked")) {
        return Ok((status, Framing::Chunked(0)));
    }
    match find("content-length") {
        None => Ok((status, Framing::UntilClose)),
        Some(header) => {
            let length = std::str::from_utf8(header.value).ok().and_then(|text| text.trim().parse().ok());
            Ok((status, Framing::Length(length.ok_or_else(|| invalid("a length that is no number"))?)))
        }
    }
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Asks a server that answers each connection with `answer`, twice on one client.
    fn check(answer: &'static str, expected: Result<(u16, &str), ()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let server = std::thread::spawn(move || {
            for stream in listener.incoming().take(1) {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 1024]).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let mut client = Client::connect(&authority).unwrap();
        let found = client.get("/").and_then(|answer| Ok((answer.status, answer.text()?)));
        assert_eq!(
            found.as_ref().map(|(status, text)| (*status, text.as_str())).map_err(|_| ()),
            expected,
            "{answer:?}"
        );
        server.join().unwrap();
    }

    #[test]
    fn answers_are_read_to_their_end() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", Ok((200, "abc")));
        check(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n",
            Ok((200, "abc")),
        );
        check("HTTP/1.1 500 No\r\n\r\nabc", Ok((500, "abc")));
        check("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", Ok((202, "")));
        check("HTTP/1.1 204 No Content\r\n\r\n", Ok((204, "")));
    }

    #[test]
    fn answers_that_break_off_are_errors() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", Err(()));
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", Err(()));
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Err(()));
        check("HTTP/1.1 200", Err(()));
        check("garbage\r\n\r\n", Err(()));
        check("", Err(()));
    }
}
