//! What a process has used, from `/proc`.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Kernels count CPU time for user space in ticks of this many a second, whatever their own clock.
const TICKS_A_SECOND: f64 = 100.0;

/// A process on this machine.
#[derive(Clone, Copy, Debug)]
pub struct Process(pub u32);

impl Process {
    /// User and system seconds of all its threads, the ended ones included.
    pub fn cpu_seconds(self) -> Option<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0)).ok()?;
        // The name may hold spaces and brackets; fields are counted behind its last bracket.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some((user + system) / TICKS_A_SECOND)
    }

    /// The most memory it has had at once, KiB.
    pub fn peak_kib(self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().trim_end_matches(" kB").parse().ok()
    }
}

/// CPU time of this process so far.
pub fn own_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_something() {
        let me = Process(std::process::id());
        assert!(me.cpu_seconds().is_some());
        assert!(me.peak_kib().is_some_and(|kib| kib > 100));
        assert!(own_cpu() > Duration::ZERO);
        assert!(Process(u32::MAX).cpu_seconds().is_none());
    }
}
