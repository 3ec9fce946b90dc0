//! Real servers for tests: a Redis and a Postgres of one's own, on free ports, in temporary folders, gone when dropped.
//!
//! They are Debian's programs (`redis-server`, `postgresql`), found on the PATH or where Debian puts them. Postgres
//! refuses to run as root, so there it runs as the user `postgres`.

mod postgres;
mod redis;

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use postgres::Postgres;
pub use redis::Redis;

/// Longer than any start on a loaded machine.
const START_MAX: Duration = Duration::from_secs(60);

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}

fn wait_for_port(port: u16, what: &str) {
    let deadline = Instant::now() + START_MAX;
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(Instant::now() < deadline, "{what} does not listen on {port}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A program on the PATH, or in one of `beside`.
fn program(name: &str, beside: &[PathBuf]) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).chain(beside.iter().cloned()).map(|folder| folder.join(name));
    found
        .into_iter()
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("{name} is not installed: `make tools` installs what the tests need"))
}

/// Folders and files of a tree for a user.
fn give_to(path: &Path, user: u32, group: u32) {
    std::os::unix::fs::lchown(path, Some(user), Some(group)).expect("root may give files away");
    if path.is_dir() {
        for entry in std::fs::read_dir(path).expect("a folder").flatten() {
            give_to(&entry.path(), user, group);
        }
    }
}
