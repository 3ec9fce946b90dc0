//! The public port: one thread accepts, and hands each connection to the shard that has the fewest.
//!
//! `SO_REUSEPORT` would spread connections by a hash, 7 to 1 on a bad day. A blocked accept costs nothing.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use crate::metrics::Metrics;
use crate::shard::Message;

/// Connections that the kernel completes ahead of accept. It caps this at `net.core.somaxconn`, usually 4,096.
const BACKLOG: i32 = 4096;
/// How long accept rests when there are no descriptors or no memory left.
const EXHAUSTED_REST: Duration = Duration::from_millis(50);

/// Binds the port. `SO_REUSEADDR` alone: a port that another process listens on is an error.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// One shard, as the accepting thread sees it.
pub struct Outlet {
    pub sender: UnboundedSender<Message>,
    pub load: Arc<AtomicUsize>,
}

/// Accepts until the listener is shut down.
pub fn accept(listener: &TcpListener, outlets: &[Outlet], connections_max: usize, metrics: &Metrics) {
    let mut next = 0;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                let total: usize = outlets.iter().map(|outlet| outlet.load.load(Ordering::Relaxed)).sum();
                if total >= connections_max {
                    // Closing tells a client at once; an unanswered backlog would leave it waiting.
                    metrics.reject("too_many_connections", 1);
                    tracing::warn!(connections_max, "refused a connection: raise connections_max");
                    continue;
                }
                // An answer is small and wanted now.
                let _ = stream.set_nodelay(true);
                let least = (0..outlets.len())
                    .map(|i| (next + i) % outlets.len())
                    .min_by_key(|&i| outlets[i].load.load(Ordering::Relaxed));
                let Some(chosen) = least else { return };
                next = chosen + 1;
                outlets[chosen].load.fetch_add(1, Ordering::Relaxed);
                if outlets[chosen].sender.send(Message::Accepted(stream)).is_err() {
                    return;
                }
            }
            // The listener was shut down.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return,
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted) => {}
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                std::thread::sleep(EXHAUSTED_REST);
            }
        }
    }
}
