//! The control socket: what whoever owns the data folder may ask of the engine that uses it.
//!
//! A unix socket in the data folder, for its owner and root alone: a request names a folder to write into, which nobody
//! who merely reaches the port may do (`docs/decisions/0008-control-socket.md`). One request a connection, one at a time:
//!
//! | who | sends |
//! |---|---|
//! | the command | `logboom-control 1 snapshot`, a line feed, an absolute path, and the end of its stream |
//! | the engine | `ok ROWS FILES BYTES LINKED`, or `error`, a blank and a sentence; the end of its stream |

use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::store::parquet::{Copied, ParquetStore};
use crate::upkeep::{UpkeepError, copy_store};

const NAME: &str = "control";
const SNAPSHOT: &[u8] = b"logboom-control 1 snapshot\n";
/// Longer than any path.
const REQUEST_BYTES_MAX: u64 = 16 * 1024;
/// A command sends its request at once.
const REQUEST_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long a broken accept rests.
const ACCEPT_REST: Duration = Duration::from_millis(200);

/// The socket at work.
pub struct Control {
    listener: Arc<UnixListener>,
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
    data_dir: PathBuf,
}

impl Control {
    /// Starts to listen in `data_dir`, whose lock the caller holds. `findings` are what the start found damaged: copies
    /// are made all the same, and told to be no wholer than that.
    pub fn start(data_dir: &Path, store: Arc<ParquetStore>, findings: Vec<String>) -> io::Result<Control> {
        let (_folder, path) = reach(data_dir)?;
        // Nobody else uses the folder, so whatever has the name is left over.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = Arc::new(UnixListener::bind(&path)?);
        std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        let stopping = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new().name("control".to_owned()).spawn({
            let (listener, stopping) = (listener.clone(), stopping.clone());
            move || listen(&listener, &store, &findings, &stopping)
        })?;
        Ok(Control { listener, stopping, thread, data_dir: data_dir.to_owned() })
    }

    /// Takes no more requests, and gives up what is under way.
    pub fn stop(self) {
        self.stopping.store(true, Ordering::Relaxed);
        let _ = rustix::net::shutdown(&*self.listener, rustix::net::Shutdown::Both);
        if self.thread.join().is_err() {
            tracing::error!("the thread of the control socket had ended with a fault");
        }
        // A socket without a listener tells the next command as much as none does.
        let _ = std::fs::remove_file(self.data_dir.join(NAME));
    }
}

/// Asks the engine that uses `data_dir` to make `to` a copy. `None` when none listens there.
pub fn ask_snapshot(data_dir: &Path, to: &Path) -> Option<Result<Copied, UpkeepError>> {
    let (_folder, path) = reach(data_dir).ok()?;
    let mut stream = UnixStream::connect(path).ok()?;
    Some(exchange(&mut stream, to))
}

fn exchange(stream: &mut UnixStream, to: &Path) -> Result<Copied, UpkeepError> {
    let broken = |error: io::Error| UpkeepError::Server(format!("it broke off ({error})"));
    let mut answer = String::new();
    let to = std::path::absolute(to).map_err(broken)?;
    stream.write_all(&[SNAPSHOT, to.as_os_str().as_bytes()].concat()).map_err(broken)?;
    stream.shutdown(Shutdown::Write).map_err(broken)?;
    stream.read_to_string(&mut answer).map_err(broken)?;
    if let Some(message) = answer.strip_prefix("error ") {
        return Err(UpkeepError::Server(message.to_owned()));
    }
    let numbers: Option<Vec<u64>> =
        answer.strip_prefix("ok ").and_then(|rest| rest.split(' ').map(|word| word.parse().ok()).collect());
    match numbers.as_deref() {
        Some(&[rows, files, bytes, linked]) => {
            Ok(Copied { rows, files: files as usize, bytes, linked: linked as usize })
        }
        // Nothing at all is what is left of an engine that was killed.
        _ => Err(UpkeepError::Server(format!("it ended without an answer ({answer:?}): the copy may be incomplete"))),
    }
}

fn listen(listener: &UnixListener, store: &ParquetStore, findings: &[String], stopping: &AtomicBool) {
    while !stopping.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => {
                if let Err(error) = serve(stream, store, findings, stopping) {
                    tracing::warn!("a request on the control socket was not answered: {error}");
                }
            }
            Err(_) if stopping.load(Ordering::Relaxed) => return,
            Err(error) => {
                tracing::warn!("the control socket cannot accept: {error}");
                std::thread::sleep(ACCEPT_REST);
            }
        }
    }
}

fn serve(mut stream: UnixStream, store: &ParquetStore, findings: &[String], stopping: &AtomicBool) -> io::Result<()> {
    stream.set_read_timeout(Some(REQUEST_WAIT_MAX))?;
    stream.set_write_timeout(Some(REQUEST_WAIT_MAX))?;
    // The socket's mode says the same; where a file system keeps no modes, this still holds.
    let peer = rustix::net::sockopt::socket_peercred(&stream)?.uid;
    let answer = if peer.is_root() || peer == rustix::process::geteuid() {
        let mut request = Vec::new();
        (&mut stream).take(REQUEST_BYTES_MAX).read_to_end(&mut request)?;
        answer(&request, store, findings, stopping)
    } else {
        "error only the user that runs the server, and root, may ask for this".to_owned()
    };
    stream.write_all(answer.as_bytes())
}

fn answer(request: &[u8], store: &ParquetStore, findings: &[String], stopping: &AtomicBool) -> String {
    let Some(path) = request.strip_prefix(SNAPSHOT) else {
        return "error this server knows no such request: use the `logboom` of its own version".to_owned();
    };
    let to = PathBuf::from(std::ffi::OsString::from_vec(path.to_owned()));
    if !to.is_absolute() {
        return format!("error {} is no absolute path", to.display());
    }
    match copy_store(store, &to, findings, stopping) {
        Ok(Copied { rows, files, bytes, linked }) => {
            tracing::info!("snapshot: {} holds {rows} records in {files} files", to.display());
            format!("ok {rows} {files} {bytes} {linked}")
        }
        Err(error) => {
            tracing::error!("no snapshot in {}: {error}", to.display());
            format!("error {error}")
        }
    }
}

/// The socket's path, by way of the folder's descriptor: a socket's address has room for some 100 bytes, and paths are
/// longer.
fn reach(data_dir: &Path) -> io::Result<(File, PathBuf)> {
    let folder = File::open(data_dir)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{NAME}", folder.as_raw_fd()));
    Ok((folder, path))
}
