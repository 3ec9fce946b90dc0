//! What is known of a server: told by whoever has last talked to it, read by `/health`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

pub struct Known {
    name: &'static str,
    is_failing: AtomicBool,
    state: Mutex<State>,
}

#[derive(Clone, Debug, Default)]
pub struct State {
    /// What it answered when it was last asked what it is.
    pub found: String,
    /// What could be better there, with the mend.
    pub remarks: Vec<String>,
    /// Why it cannot be used, and since when.
    pub failure: Option<(String, Instant)>,
}

impl Known {
    pub fn new(name: &'static str) -> Known {
        Known { name, is_failing: AtomicBool::new(false), state: Mutex::default() }
    }

    pub fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }

    /// Why it cannot be used. Costs an atomic load while it can.
    pub fn failure(&self) -> Option<String> {
        if !self.is_failing() {
            return None;
        }
        self.lock().failure.as_ref().map(|(reason, _)| reason.clone())
    }

    pub fn state(&self) -> State {
        self.lock().clone()
    }

    /// It was talked to, and all is well.
    pub fn works(&self) {
        if self.is_failing.swap(false, Ordering::Relaxed)
            && let Some((_, since)) = self.lock().failure.take()
        {
            tracing::info!("{} is back after {:.1} s", self.name, since.elapsed().as_secs_f64());
        }
    }

    pub fn found(&self, found: String, remarks: Vec<String>) {
        let mut state = self.lock();
        for remark in remarks.iter().filter(|remark| !state.remarks.contains(remark)) {
            tracing::warn!("{}: {remark}", self.name);
        }
        state.found = found;
        state.remarks = remarks;
    }

    /// It cannot be used. Told once, until it works again or something else is wrong.
    pub fn failed(&self, reason: &str) {
        self.is_failing.store(true, Ordering::Relaxed);
        let mut state = self.lock();
        match &mut state.failure {
            Some((known, _)) if known == reason => {}
            Some((known, _)) => {
                tracing::warn!("{}: {reason}", self.name);
                *known = reason.to_owned();
            }
            None => {
                tracing::warn!("{}: {reason}", self.name);
                state.failure = Some((reason.to_owned(), Instant::now()));
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_known_until_it_is_over() {
        let known = Known::new("Redis");
        known.works();
        assert!(!known.is_failing());
        known.failed("away");
        let (_, since) = known.state().failure.expect("a failure");
        known.failed("loading");
        let (reason, still) = known.state().failure.expect("a failure");
        assert_eq!((reason.as_str(), still), ("loading", since));
        known.works();
        assert!(!known.is_failing() && known.state().failure.is_none());
    }
}
