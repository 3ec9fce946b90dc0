//! The few places where a file descriptor changes hands without its owner's type: the crate's only unsafe code.
#![allow(unsafe_code)]

use std::os::fd::{BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use glommio::net::TcpStream;

/// Gives a connected stream socket to the shard that runs on this thread. glommio reads and writes it with recv and
/// send alone, so a unix socket will do as well as a TCP one.
pub fn adopt(socket: OwnedFd) -> TcpStream {
    // SAFETY: the descriptor is open and owned, and `into_raw_fd` leaves the stream as its only owner.
    unsafe { TcpStream::from_raw_fd(socket.into_raw_fd()) }
}

/// Ends reading on a socket that another part of this shard holds: its owner sees the end of the stream.
///
/// `fd` must belong to a connection that is still listed as open; see `shard::Connections`, which takes a connection
/// off its list before its stream is dropped, on the same thread.
pub fn end_reading(fd: RawFd) {
    // SAFETY: by the contract above `fd` is open for the length of this call, which neither keeps nor closes it.
    let socket = unsafe { BorrowedFd::borrow_raw(fd) };
    // It fails only on a socket that the peer has closed already, which is what is wanted.
    let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Read);
}
