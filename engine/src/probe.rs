//! Whether a shard could run here: tried, not guessed, since sysctl, seccomp and memlock all have a say.

use std::io;

use glommio::{GlommioError, LocalExecutorBuilder, Placement, ReactorErrorKind};

/// Makes the rings of one shard, with `ring_bytes` of buffers, and drops them again.
pub fn ring(ring_bytes: usize) -> io::Result<()> {
    let made = std::thread::Builder::new()
        .name("probe".to_owned())
        .spawn(move || LocalExecutorBuilder::new(Placement::Unbound).io_memory(ring_bytes).make().map(drop))?
        .join();
    match made {
        Ok(Ok(())) => Ok(()),
        Ok(Err(GlommioError::IoError(error) | GlommioError::EnhancedIoError { source: error, .. })) => Err(error),
        Ok(Err(GlommioError::ReactorError(ReactorErrorKind::MemLockLimit(limit, need)))) => {
            let (limit, need) = (limit / 1024, need / 1024);
            let message = format!("only {limit} KiB of memory may be locked, and a ring needs {need} KiB");
            Err(io::Error::new(io::ErrorKind::OutOfMemory, message))
        }
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
