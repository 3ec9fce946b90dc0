//! Whether a shard could run here: tried, not guessed, since sysctl, seccomp and memlock all have a say.

use std::io;

use glommio::{GlommioError, LocalExecutorBuilder, Placement};
use rustix::process::{Resource, getrlimit};

/// glommio makes no ring where less may be locked, and says so in words that only it understands.
const MEMLOCK_BYTES_MIN: u64 = 512 * 1024;

/// Makes the rings of one shard, with `ring_bytes` of buffers, and drops them again.
pub fn ring(ring_bytes: usize) -> io::Result<()> {
    if let Some(limit) = getrlimit(Resource::Memlock).current
        && limit < MEMLOCK_BYTES_MIN
    {
        let (limit, need) = (limit / 1024, MEMLOCK_BYTES_MIN / 1024);
        let message = format!("only {limit} KiB of memory may be locked, and a ring needs {need} KiB");
        return Err(io::Error::new(io::ErrorKind::OutOfMemory, message));
    }
    let made = std::thread::Builder::new()
        .name("probe".to_owned())
        .spawn(move || LocalExecutorBuilder::new(Placement::Unbound).io_memory(ring_bytes).make().map(drop))?
        .join();
    match made {
        Ok(Ok(())) => Ok(()),
        Ok(Err(GlommioError::IoError(error) | GlommioError::EnhancedIoError { source: error, .. })) => Err(error),
        Ok(Err(error)) => Err(io::Error::other(error.to_string())),
        Err(_) => Err(io::Error::other("making a ring panicked")),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_ring_can_be_made_where_tests_run() {
        super::ring(1 << 20).unwrap();
    }
}
