//! What `/proc` tells of a process on this machine: the CPU it used and the memory it had at most.

use std::fs;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// `utime` and `stime` are in ticks of `USER_HZ`, which is 100 on every Linux there is.
const TICK: Duration = Duration::from_millis(10);
const SAMPLE_EACH: Duration = Duration::from_secs(1);

/// CPU that the process has used so far, all its threads included, those that ended too; `None` where it is not on this
/// machine or has ended.
pub fn cpu(pid: u32) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name may hold blanks and brackets; the fields behind its last bracket do not.
    let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_ascii_whitespace().collect();
    let ticks: u32 = fields.get(11)?.parse::<u32>().ok()? + fields.get(12)?.parse::<u32>().ok()?;
    Some(TICK * ticks)
}

/// The most memory the process has had, in bytes, since the last [`reset_peak`].
pub fn peak_memory(pid: u32) -> Option<u64> {
    memory(pid, "VmHWM:")
}

fn memory(pid: u32, what: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(what))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Starts the peak anew; gives whether that was allowed.
pub fn reset_peak(pid: u32) -> bool {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").is_ok()
}

/// CPU of the calling thread so far.
pub fn own_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.max(0) as u64, time.tv_nsec as u32)
}

/// What a process had and had used at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    pub seconds: f64,
    pub cpu_seconds: f64,
    pub memory_bytes: u64,
}

/// Looks at a process once a second, on a thread of its own.
#[derive(Debug)]
pub struct Sampler {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<Vec<Sample>>,
}

impl Sampler {
    pub fn start(pid: u32) -> Sampler {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let (began, mut samples) = (Instant::now(), Vec::new());
            while let (Some(cpu), Some(memory_bytes)) = (cpu(pid), memory(pid, "VmRSS:")) {
                let (seconds, cpu_seconds) = (began.elapsed().as_secs_f64(), cpu.as_secs_f64());
                samples.push(Sample { seconds, cpu_seconds, memory_bytes });
                if stopped.recv_timeout(SAMPLE_EACH) != Err(mpsc::RecvTimeoutError::Timeout) {
                    break;
                }
            }
            samples
        });
        Sampler { stop, thread }
    }

    pub fn stop(self) -> Vec<Sample> {
        drop(self.stop);
        self.thread.join().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_something() {
        let me = std::process::id();
        assert!(peak_memory(me).unwrap() > 100_000);
        assert!(cpu(me).is_some());
        assert!(own_cpu() > Duration::ZERO);
        assert_eq!(cpu(u32::MAX), None);
    }
}
