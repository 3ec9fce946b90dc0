//! The clock and the dice: everything else is told what time it is.

use record::{IdSource, Timestamp};

/// The time of receipt.
pub fn now() -> Timestamp {
    let micros = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |t| t.as_micros() as i64);
    Timestamp::clamped(micros)
}

/// A source of ids whose random part comes from the kernel.
pub fn id_source() -> IdSource {
    IdSource::new(|| {
        // The standard library seeds each of these anew from the kernel's random numbers.
        use std::hash::{BuildHasher, Hasher};
        let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
        hasher.write_u32(std::process::id());
        hasher.write_i64(now().as_micros());
        hasher.finish()
    })
}
