//! How much of the bodies under way may be in memory at once, over all connections of a shard.
//!
//! A body waits here before it takes more. One body at a time may pass the limit, so that there is always one that can
//! come to its end: the limit is kept to within `atomic_body_bytes_max`.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// Eight whole bodies of the largest size, or thousands of usual ones.
pub const BODY_MEMORY_BYTES_MAX: usize = 64 * 1024 * 1024;

#[derive(Default)]
pub struct BodyMemory {
    used: Cell<usize>,
    /// Somebody is past the limit.
    overdrawn: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

impl BodyMemory {
    pub fn hold(self: &Rc<Self>) -> Held {
        Held { memory: self.clone(), bytes: 0, overdraws: false }
    }

    fn wake(&self) {
        for waker in self.waiting.take() {
            waker.wake();
        }
    }
}

/// One body's share, given back when it is dropped.
pub struct Held {
    memory: Rc<BodyMemory>,
    bytes: usize,
    overdraws: bool,
}

impl Held {
    /// Says how much the body takes now; waits while that is too much.
    pub async fn set(&mut self, bytes: usize) {
        let others = self.memory.used.get() - self.bytes;
        self.memory.used.set(others + bytes);
        self.bytes = bytes;
        if self.overdraws || bytes == 0 {
            return;
        }
        poll_fn(|cx| {
            if self.memory.used.get() <= BODY_MEMORY_BYTES_MAX {
                return Poll::Ready(());
            }
            if !self.memory.overdrawn.replace(true) {
                self.overdraws = true;
                return Poll::Ready(());
            }
            self.memory.waiting.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.memory.used.set(self.memory.used.get() - self.bytes);
        if self.overdraws {
            self.memory.overdrawn.set(false);
        }
        self.memory.wake();
    }
}
