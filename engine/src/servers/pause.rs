//! The pause between tries of something that fails: longer each time, and over at once when the process stops.

use std::time::Duration;

use tokio::sync::watch;

use super::{RETRY_MAX, RETRY_MIN};

pub struct Pause {
    next: Duration,
    stopping: watch::Receiver<bool>,
}

impl Pause {
    pub fn new(stopping: watch::Receiver<bool>) -> Pause {
        Pause { next: RETRY_MIN, stopping }
    }

    /// It has gone well: the next pause is a short one again.
    pub fn reset(&mut self) {
        self.next = RETRY_MIN;
    }

    pub async fn wait(&mut self) {
        let time = self.next;
        self.next = (time * 2).min(RETRY_MAX);
        self.sleep(time).await;
    }

    /// A pause of this length.
    pub async fn sleep(&mut self, time: Duration) {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            _ = self.stopping.changed() => {}
        }
    }
}
