//! `logboom tail`: what arrives, as it arrives. A server that stops or restarts is waited for.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sonic_rs::JsonValueTrait;
use tungstenite::Message;

use crate::Failure;
use crate::cli::{self, Output};
use crate::client::{Address, ClientError, Printer, query_string, target};

/// Between two tries to reach a server that has gone away: long enough not to hammer it, short enough not to be felt.
const RETRY_EVERY: Duration = Duration::from_millis(500);

pub fn run(options: &cli::Tail) -> Result<ExitCode, Failure> {
    let address = Address::parse(&options.server.url)?;
    let target = target("/ws/logs", &query_string(&options.filters)?);
    let mut printer = Printer::new(options.format.map(|format| format == Output::Text));
    let stop = Stop::on_signal()?;
    let mut reached = false;
    loop {
        match watch(&address, &target, &stop, &mut printer, &mut reached) {
            Err(Ended::Output(error)) => return Err(error.into()),
            Err(Ended::Server(error @ ClientError::Refused { .. })) => return Err(error.into()),
            // One that was never there is more likely a wrong address than a restart.
            Err(Ended::Server(error)) if !reached => return Err(error.into()),
            Err(Ended::Server(error)) if !stop.asked() => eprintln!("logboom: {error}; waiting for it"),
            _ => {}
        }
        while !stop.asked() && TcpStream::connect(&address.authority).is_err() {
            std::thread::sleep(RETRY_EVERY);
        }
        if stop.asked() {
            printer.flush()?;
            return Ok(ExitCode::SUCCESS);
        }
    }
}

enum Ended {
    Server(ClientError),
    Output(io::Error),
}

/// Prints until the connection ends.
fn watch(address: &Address, target: &str, stop: &Stop, printer: &mut Printer, reached: &mut bool) -> Result<(), Ended> {
    let authority = &address.authority;
    let connect = |source| Ended::Server(ClientError::Connect { authority: authority.clone(), source });
    let broken = |reason: String| Ended::Server(ClientError::Broken { authority: authority.clone(), reason });
    let socket = TcpStream::connect(authority).map_err(connect)?;
    if !stop.guard(socket.try_clone().map_err(connect)?) {
        return Ok(());
    }
    let (mut viewer, _) = match tungstenite::client(format!("ws://{authority}{target}"), socket) {
        Ok(opened) => opened,
        Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
            let body = answer.body().as_deref().unwrap_or_default();
            let message = crate::query::error_message(&String::from_utf8_lossy(body));
            let status = answer.status().as_u16();
            // A server whose sidecar is still starting, or stopping, will be there soon.
            if status == 503 && *reached {
                return Err(broken(message));
            }
            return Err(Ended::Server(ClientError::Refused { authority: authority.clone(), status, message }));
        }
        Err(error) => return Err(broken(error.to_string())),
    };
    *reached = true;
    loop {
        let text = match viewer.read() {
            Ok(Message::Text(text)) => text,
            Ok(Message::Close(_)) => return Err(broken("it closed the connection".to_owned())),
            Ok(_) => continue,
            Err(error) => return Err(broken(error.to_string())),
        };
        print(&text, printer).map_err(Ended::Output)?;
    }
}

/// One frame: records, or how many were skipped.
fn print(text: &str, printer: &mut Printer) -> io::Result<()> {
    let Ok(frame) = sonic_rs::from_str::<sonic_rs::LazyValue>(text) else { return Ok(()) };
    match frame.get("type").and_then(|kind| kind.as_str().map(str::to_owned)).as_deref() {
        Some("logs") => {
            let logs = frame.get("logs");
            for log in logs.into_iter().filter_map(|logs| logs.into_array_iter()).flatten().flatten() {
                printer.print(log.as_raw_str())?;
            }
            printer.flush()
        }
        Some("skipped") => {
            let count = frame.get("count").and_then(|count| count.as_u64()).unwrap_or(0);
            let most = if frame.get("exact").and_then(|exact| exact.as_bool()) == Some(false) { "up to " } else { "" };
            eprintln!("logboom: {most}{count} records came too fast and are not shown");
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Turns SIGINT and SIGTERM into an end of the connection, so that the last frame is printed whole.
struct Stop {
    asked: Arc<AtomicBool>,
    socket: Arc<Mutex<Option<TcpStream>>>,
}

impl Stop {
    fn on_signal() -> io::Result<Stop> {
        let stop = Stop { asked: Arc::default(), socket: Arc::default() };
        let (asked, socket) = (stop.asked.clone(), stop.socket.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        // The handlers are in place before this returns.
        let (mut interrupt, mut terminate) = {
            use tokio::signal::unix::{SignalKind, signal};
            let _inside = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            });
            asked.store(true, Ordering::SeqCst);
            if let Some(socket) = socket.lock().ok().and_then(|mut socket| socket.take()) {
                let _ = socket.shutdown(Shutdown::Both);
            }
            // A reader of our output that neither reads nor goes away would hold us for ever.
            std::thread::sleep(Duration::from_secs(1));
            std::process::exit(0);
        })?;
        Ok(stop)
    }

    fn asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// From now on a signal ends this connection. False where one has already come.
    fn guard(&self, socket: TcpStream) -> bool {
        if let Ok(mut guarded) = self.socket.lock() {
            *guarded = Some(socket);
        }
        !self.asked()
    }
}
