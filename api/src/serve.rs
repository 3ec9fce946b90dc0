//! Connections: accepted up to a limit, served over HTTP/1.1, ended gracefully.
//!
//! warp's own server would serve too; it sets no limit on connections, heads or the time a head may take.

use std::future::Future;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::sync::Arc;
use std::time::Duration;

use engine::store::Reader;
use engine::tail::Tail;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};

use crate::{ApiConfig, Listen, Sidecar};

/// The bytes of a request's head; a query string of [`crate::params::QUERY_BYTES_MAX`] fits.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// A head with more fields is answered 431.
const HEADERS_MAX: usize = 100;
/// On TCP a client has so long for a head, and between requests. The engine's shards are trusted to be quicker and keep
/// their connections.
const HEAD_WAIT_MAX: Duration = Duration::from_secs(60);
/// After an accept that failed, as for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A sidecar that listens and does not serve yet: its address is known, connections wait.
pub struct Server {
    listener: Listener,
    address: Listen,
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// Serves one connection to its end; once `stopped` changes, the request under way is its last. (A macro, since the two
/// kinds of stream make two types.)
macro_rules! connection {
    ($http:ident, $stream:ident, $service:ident, $stopped:ident) => {{
        let mut stopped = $stopped;
        let mut serving = std::pin::pin!($http.serve_connection(TokioIo::new($stream), $service).with_upgrades());
        tokio::select! {
            ended = serving.as_mut() => ended,
            _ = stopped.changed() => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        }
    }};
}

impl Server {
    /// Binds. Must be called on a tokio runtime.
    pub fn bind(listen: &Listen) -> io::Result<Server> {
        match listen {
            Listen::Abstract(name) => {
                let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
                let listener = std::os::unix::net::UnixListener::bind_addr(&address)?;
                listener.set_nonblocking(true)?;
                Ok(Server { listener: Listener::Unix(UnixListener::from_std(listener)?), address: listen.clone() })
            }
            Listen::Tcp(address) => {
                let listener = std::net::TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                let address = Listen::Tcp(listener.local_addr()?);
                Ok(Server { listener: Listener::Tcp(TcpListener::from_std(listener)?), address })
            }
        }
    }

    /// Where it listens: of port 0 the port that it got.
    pub fn address(&self) -> &Listen {
        &self.address
    }

    /// Serves until `shutdown` is ready, then lets answers under way end.
    pub async fn serve(
        self,
        config: ApiConfig,
        reader: Arc<dyn Reader>,
        tail: Tail,
        shutdown: impl Future<Output = ()>,
    ) {
        let stop_max = Duration::from_secs(config.stop_seconds_max);
        let places = Arc::new(Semaphore::new(config.connections_max));
        let sidecar = Arc::new(Sidecar::new(config, reader, tail));
        let routes = crate::route::routes(sidecar.clone());
        let mut http = http1::Builder::new();
        http.max_buf_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX).half_close(false);
        if matches!(self.listener, Listener::Tcp(_)) {
            http.timer(TokioTimer::new()).header_read_timeout(HEAD_WAIT_MAX);
        }
        let (stop, stopped) = watch::channel(());
        let mut connections = tokio::task::JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            // Over the limit connections wait in the kernel's backlog.
            let accepted = async {
                let place = places.clone().acquire_owned().await;
                (self.listener.accept().await, place)
            };
            let (stream, place) = tokio::select! {
                (accepted, place) = accepted => match accepted {
                    Ok(stream) => (stream, place),
                    Err(error) => {
                        tracing::warn!("a connection was not accepted: {error}");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                },
                Some(_) = connections.join_next() => continue,
                () = &mut shutdown => break,
            };
            let service = TowerToHyperService::new(warp::service(routes.clone()));
            let (http, stopped) = (http.clone(), stopped.clone());
            connections.spawn(async move {
                let _place = place;
                let ended = match stream {
                    Stream::Unix(stream) => connection!(http, stream, service, stopped),
                    Stream::Tcp(stream) => connection!(http, stream, service, stopped),
                };
                if let Err(error) = ended {
                    tracing::debug!("a connection broke: {error}");
                }
            });
        }
        drop(self.listener);
        drop(stopped);
        stop.send_replace(());
        let ended = async { tokio::join!(sidecar.live.close(), stop.closed()) };
        if tokio::time::timeout(stop_max, ended).await.is_err() {
            tracing::info!("answers still under way after {} s are cut", stop_max.as_secs());
        }
        connections.shutdown().await;
    }
}

enum Stream {
    Unix(tokio::net::UnixStream),
    Tcp(tokio::net::TcpStream),
}

impl Listener {
    async fn accept(&self) -> io::Result<Stream> {
        match self {
            Listener::Unix(listener) => Ok(Stream::Unix(listener.accept().await?.0)),
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
        }
    }
}

/// Binds and serves until `shutdown` is ready. Runs on the current tokio runtime; blocking queries go to its blocking
/// threads.
pub async fn serve(
    config: ApiConfig,
    reader: Arc<dyn Reader>,
    tail: Tail,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let server = Server::bind(&config.listen)?;
    server.serve(config, reader, tail, shutdown).await;
    Ok(())
}
