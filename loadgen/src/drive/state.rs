//! What is known of a load under way, and what comes of it: due times, latencies, the timeline.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::{Load, Outcome, Point, histogram};

/// A point of the timeline.
const INTERVAL: Duration = Duration::from_secs(1);

/// A request under way.
#[derive(Debug)]
pub(super) struct Flight {
    pub began: Instant,
    pub first: u64,
    pub lines: usize,
}

pub(super) struct State {
    pub began: Instant,
    warm: Instant,
    last: Instant,
    pub due: u64,
    pub idle: Vec<usize>,
    pub sent: u64,
    pub in_flight: usize,
    pub ended: bool,
    latencies: Histogram<u64>,
    interval: Histogram<u64>,
    interval_end: Instant,
    interval_records: u64,
    timeline: Vec<Point>,
    records: u64,
    requests: u64,
    refusals: Vec<(u16, u64)>,
    pub unsent: u64,
}

impl State {
    pub fn new(load: &Load) -> State {
        let now = Instant::now();
        State {
            began: now,
            warm: now + load.warm_up,
            last: now,
            due: 0,
            idle: Vec::new(),
            sent: 0,
            in_flight: 0,
            ended: false,
            latencies: histogram(),
            interval: histogram(),
            interval_end: now + INTERVAL,
            interval_records: 0,
            timeline: Vec::new(),
            records: 0,
            requests: 0,
            refusals: Vec::new(),
            unsent: 0,
        }
    }

    pub fn start(&mut self, now: Instant, load: &Load) {
        self.began = now;
        self.warm = now + load.warm_up;
        self.last = self.warm;
        self.interval_end = now + INTERVAL;
    }

    /// When request number `due` is to be sent.
    pub fn due_at(&self, rate: f64) -> Instant {
        self.began + Duration::from_secs_f64(self.due as f64 / rate)
    }

    pub fn answered(&mut self, flight: &Flight, now: Instant, accepted: u64) {
        while now >= self.interval_end {
            self.close_interval();
        }
        let latency = (now.saturating_duration_since(flight.began).as_nanos() as u64).div_ceil(1000).max(1);
        self.interval.saturating_record(latency);
        self.interval_records += accepted;
        if flight.began >= self.warm {
            self.latencies.saturating_record(latency);
            self.requests += 1;
        }
        if now >= self.warm {
            self.records += accepted;
            self.last = now;
        }
    }

    fn close_interval(&mut self) {
        self.timeline.push(Point {
            records: self.interval_records,
            p50_us: self.interval.value_at_quantile(0.5),
            p99_us: self.interval.value_at_quantile(0.99),
            max_us: self.interval.max(),
        });
        self.interval.reset();
        self.interval_records = 0;
        self.interval_end += INTERVAL;
    }

    pub fn refuse(&mut self, status: u16) {
        match self.refusals.iter_mut().find(|(seen, _)| *seen == status) {
            Some((_, count)) => *count += 1,
            None => self.refusals.push((status, 1)),
        }
    }

    pub fn finish(mut self) -> Outcome {
        // The last second is seldom a whole one, and would look like a fall.
        if self.interval_records > 0 && self.timeline.is_empty() {
            self.close_interval();
        }
        Outcome {
            latencies: self.latencies,
            timeline: self.timeline,
            records: self.records,
            requests: self.requests,
            time: self.last.saturating_duration_since(self.warm),
            refusals: self.refusals,
            unsent: self.unsent,
        }
    }
}
