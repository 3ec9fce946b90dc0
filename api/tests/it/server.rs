//! A running sidecar, and an HTTP client of a few lines.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use api::{ApiConfig, Listen, Server};
use engine::store::Reader;
use engine::tail::Tail;

pub struct Running {
    pub address: SocketAddr,
    pub tail: Tail,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    runtime: Option<tokio::runtime::Runtime>,
    serving: Option<tokio::task::JoinHandle<()>>,
}

impl Running {
    pub fn start(reader: impl Reader + 'static) -> Running {
        Running::with(reader, |_| ())
    }

    pub fn with(reader: impl Reader + 'static, set: impl FnOnce(&mut ApiConfig)) -> Running {
        let mut config = ApiConfig::new(Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))));
        set(&mut config);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let tail = Tail::default();
        let server = {
            let _in_runtime = runtime.enter();
            Server::bind(&config.listen).unwrap()
        };
        let address = match server.address() {
            Listen::Tcp(address) => *address,
            Listen::Abstract(_) => SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        let serving = server.serve(config, Arc::new(reader), tail.clone(), async {
            let _ = stopped.await;
        });
        let serving = runtime.spawn(serving);
        Running { address, tail, stop: Some(stop), runtime: Some(runtime), serving: Some(serving) }
    }

    /// Begins the stop and returns at once.
    pub fn stop(&mut self) {
        self.stop.take();
    }

    /// Stops and waits for the end.
    pub fn join(&mut self) {
        self.stop();
        if let (Some(serving), Some(runtime)) = (self.serving.take(), &self.runtime) {
            runtime.block_on(serving).unwrap();
        }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    pub fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, "")
    }

    /// A request of its own connection; `headers` as lines with their ends.
    pub fn ask(&self, method: &str, target: &str, headers: &str) -> Answer {
        let mut stream = self.connect();
        write!(stream, "{method} {target} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n{headers}\r\n").unwrap();
        Answer::read(&mut BufReader::new(stream), method)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// The connection broke off within the body.
    pub cut: bool,
}

impl Answer {
    pub fn read(stream: &mut impl BufRead, method: &str) -> Answer {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).unwrap_or_else(|| panic!("no status line: {line:?}")).parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let mut answer = Answer { status, headers, body: String::new(), cut: false };
        if method == "HEAD" || matches!(status, 101 | 204 | 304) {
            return answer;
        }
        let mut body = Vec::new();
        if answer.header("transfer-encoding") == Some("chunked") {
            loop {
                let mut size = String::new();
                stream.read_line(&mut size).unwrap();
                let Ok(size) = usize::from_str_radix(size.trim_end(), 16) else {
                    answer.cut = true;
                    break;
                };
                let start = body.len();
                body.resize(start + size + 2, 0);
                stream.read_exact(&mut body[start..]).unwrap();
                body.truncate(start + size);
                if size == 0 {
                    break;
                }
            }
        } else {
            let length = answer.header("content-length").unwrap().parse().unwrap();
            body.resize(length, 0);
            stream.read_exact(&mut body).unwrap();
        }
        answer.body = String::from_utf8(body).unwrap();
        answer
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The code of an error.
    pub fn code(&self) -> &str {
        let at = self.body.find("\"code\":\"").unwrap_or_else(|| panic!("no error: {self:?}")) + 8;
        self.body[at..].split('"').next().unwrap()
    }

    /// All values of a member, wherever it stands.
    pub fn all(&self, member: &str) -> Vec<&str> {
        let mark = format!("\"{member}\":\"");
        self.body.split(&mark).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
    }
}
