//! The clients that black-box tests speak through: a connection that sends what a test says byte by byte, its answers, and
//! a live tail.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use sonic_rs::{JsonContainerTrait, JsonValueTrait, Value};

use crate::harness::{PATIENCE, Server};

/// A whole request. Headers of one's own come first, `Host` and `Content-Length` are added.
pub fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut out = format!("{method} {target} HTTP/1.1\r\nHost: logboom\r\n").into_bytes();
    for (name, value) in headers {
        out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    if method == "POST" {
        out.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
    out
}

/// One connection, byte by byte.
pub struct Connection {
    pub stream: TcpStream,
    reader: BufReader<TcpStream>,
}

/// An answer, whole.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Connection {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("nodelay");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        let reader = BufReader::new(stream.try_clone().expect("a second handle"));
        Connection { stream, reader }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    pub fn ask(&mut self, request: &[u8]) -> Answer {
        self.send(request);
        self.answer()
    }

    /// The next answer, which must come.
    pub fn answer(&mut self) -> Answer {
        self.try_answer().expect("an answer")
    }

    /// The next answer; `None` where the connection ends instead.
    pub fn try_answer(&mut self) -> Option<Answer> {
        let status_line = self.line()?;
        let status = status_line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status: u16 = status.unwrap_or_else(|| panic!("no status line: {status_line:?}"));
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no header: {line:?}"));
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut answer = Answer { status, headers, body: Vec::new() };
        if status / 100 == 1 || status == 204 {
            return Some(answer);
        }
        if answer.header("transfer-encoding") == Some("chunked") {
            loop {
                let size = usize::from_str_radix(self.line()?.split(';').next()?.trim(), 16).expect("a chunk's size");
                let from = answer.body.len();
                answer.body.resize(from + size, 0);
                self.reader.read_exact(&mut answer.body[from..]).ok()?;
                assert_eq!(self.line()?, "", "a chunk ends in CRLF");
                if size == 0 {
                    return Some(answer);
                }
            }
        }
        match answer.header("content-length").map(|length| length.parse::<usize>().expect("a length")) {
            Some(length) => {
                answer.body.resize(length, 0);
                self.reader.read_exact(&mut answer.body).ok()?;
            }
            None => drop(self.reader.read_to_end(&mut answer.body)),
        }
        Some(answer)
    }

    /// Whether the server has ended this connection, as far as it is going to soon.
    pub fn is_closed(&mut self) -> bool {
        matches!(self.reader.fill_buf(), Ok([]) | Err(_))
    }

    /// Bytes as they come; zero at the end.
    pub fn read(&mut self, out: &mut [u8]) -> usize {
        self.reader.read(out).unwrap_or(0)
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line.trim_end_matches(['\r', '\n']).to_owned()),
        }
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        sonic_rs::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {} {:?}", self.status, self.text()))
    }

    /// `error.code` of an error answer; empty where there is none.
    pub fn code(&self) -> String {
        let code = sonic_rs::get(&self.body[..], sonic_rs::pointer!["error", "code"]);
        code.ok().and_then(|code| code.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// The records of a page, as JSON.
    pub fn logs(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()["logs"].as_array().expect("logs").iter().cloned().collect()
    }
}

/// A member of a record as text; empty where there is none.
pub fn text(log: &Value, key: &str) -> String {
    log[key].as_str().unwrap_or_default().to_owned()
}

/// A live tail.
pub struct Viewer {
    socket: tungstenite::WebSocket<TcpStream>,
}

impl Viewer {
    /// Subscribed, by the time this returns.
    pub fn open(server: &Server, query: &str) -> Viewer {
        let stream = TcpStream::connect(server.address).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let (socket, _) =
            tungstenite::client(format!("ws://{}/ws/logs{query}", server.address), stream).expect("a WebSocket");
        Viewer { socket }
    }

    /// The next frame; `None` once the server has closed.
    pub fn frame(&mut self) -> Option<Value> {
        loop {
            match self.socket.read() {
                Ok(tungstenite::Message::Text(text)) => return Some(sonic_rs::from_str(&text).expect("JSON")),
                Ok(tungstenite::Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The messages of the next `count` records.
    pub fn messages(&mut self, count: usize) -> Vec<String> {
        let mut found = Vec::new();
        while found.len() < count {
            let frame = self.frame().unwrap_or_else(|| panic!("closed after {} of {count}", found.len()));
            assert_eq!(frame["type"].as_str(), Some("logs"), "{frame:?}");
            found.extend(frame["logs"].as_array().expect("logs").iter().map(|log| text(log, "message")));
        }
        found
    }
}
