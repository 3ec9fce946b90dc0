//! What `/proc` tells of a process on this machine: the CPU it used and the memory it had at most.

use std::fs;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// `utime` and `stime` are in ticks of `USER_HZ`, which is 100 on every Linux there is.
const TICK: Duration = Duration::from_millis(10);
const SAMPLE_EACH: Duration = Duration::from_secs(1);

/// Parent, and CPU with that of the children that have ended.
fn stat(pid: u32) -> Option<(u32, Duration)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name may hold blanks and brackets; the fields behind its last bracket do not.
    let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_ascii_whitespace().collect();
    let ticks = fields.get(11..15)?.iter().map(|field| field.parse::<u32>().ok()).sum::<Option<u32>>()?;
    Some((fields.get(1)?.parse().ok()?, TICK * ticks))
}

/// These processes and all that they have started.
fn tree(roots: &[u32]) -> Vec<(u32, Duration)> {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let all: Vec<(u32, u32, Duration)> =
        pids.filter_map(|pid| stat(pid).map(|(parent, cpu)| (pid, parent, cpu))).collect();
    let mut found: Vec<(u32, Duration)> =
        all.iter().filter(|(pid, ..)| roots.contains(pid)).map(|&(pid, _, cpu)| (pid, cpu)).collect();
    let mut at = 0;
    while let Some(&(parent, _)) = found.get(at) {
        at += 1;
        for &(pid, of, cpu) in &all {
            if of == parent && !found.iter().any(|(seen, _)| *seen == pid) {
                found.push((pid, cpu));
            }
        }
    }
    found
}

/// CPU that processes have used so far, with all their threads and children, those that ended too; `None` where one is not
/// on this machine or has ended.
pub fn cpu(roots: &[u32]) -> Option<Duration> {
    let tree = tree(roots);
    let all_are_there = roots.iter().all(|root| tree.iter().any(|(pid, _)| pid == root));
    (!roots.is_empty() && all_are_there).then(|| tree.iter().map(|(_, cpu)| *cpu).sum())
}

/// Memory that these and their children have now, in bytes: what several share is counted once.
fn memory_now(roots: &[u32]) -> Option<u64> {
    let tree = tree(roots);
    match &tree[..] {
        [] => None,
        [(pid, _)] => memory(*pid, "status", "VmRSS:"),
        many => Some(many.iter().filter_map(|(pid, _)| memory(*pid, "smaps_rollup", "Pss:")).sum()),
    }
}

/// The most memory that the processes have had, in bytes: one, since the last [`reset_peak`]; several, what was seen of
/// them.
pub fn peak_memory(roots: &[u32], samples: &[Sample]) -> Option<u64> {
    match &tree(roots)[..] {
        [] => None,
        [(pid, _)] => memory(*pid, "status", "VmHWM:"),
        _ => samples.iter().map(|sample| sample.memory_bytes).max(),
    }
}

fn memory(pid: u32, file: &str, what: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(what))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
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

/// Looks at processes once a second, on a thread of its own.
#[derive(Debug)]
pub struct Sampler {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<Vec<Sample>>,
}

impl Sampler {
    pub fn start(roots: &[u32]) -> Sampler {
        let roots = roots.to_vec();
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let (began, mut samples) = (Instant::now(), Vec::new());
            while let (Some(cpu), Some(memory_bytes)) = (cpu(&roots), memory_now(&roots)) {
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
        assert!(memory_now(&[me]).unwrap() > 100_000);
        assert!(cpu(&[me]).is_some());
        assert_eq!((cpu(&[u32::MAX]), cpu(&[])), (None, None));
        assert!(own_cpu() > Duration::ZERO);
    }

    #[test]
    fn what_a_process_has_started_counts() {
        let mut shell = std::process::Command::new("sh").args(["-c", "sleep 30 & sleep 30; :"]).spawn().unwrap();
        let began = Instant::now();
        while tree(&[shell.id()]).len() < 3 && began.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let found = tree(&[shell.id()]);
        assert_eq!(found.len(), 3, "{found:?}");
        let sample = Sample { seconds: 0.0, cpu_seconds: 0.0, memory_bytes: 77 };
        assert_eq!(peak_memory(&[shell.id()], &[sample]), Some(77));
        for (pid, _) in found {
            let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        shell.wait().unwrap();
    }
}
