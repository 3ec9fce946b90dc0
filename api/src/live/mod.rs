//! The live tail's hub: viewers with the same filter share one feed, so that a record is matched and written as JSON
//! once for all of them.
//!
//! ```text
//! engine::tail ──batches──▶ feed (one a filter) ──frames──▶ viewer, viewer, viewer
//! ```
//!
//! A feed subscribes when its first viewer does and ends with its last one. Nothing here holds the engine up: a feed
//! that is too slow for the batches, and a viewer that is too slow for the frames, skip, and are told how many records.
//! What it does not try to do: keep the order of timestamps, or send again what was skipped; a query finds it.

mod feed;
mod viewer;

use std::sync::{Arc, Mutex, PoisonError, Weak};

use engine::tail::Tail;
use record::Filter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::error::ApiError;
use feed::Feed;
pub use viewer::watch;

pub struct Live {
    tail: Tail,
    /// By filter; those without a viewer go when the next feed comes.
    feeds: Mutex<Vec<(Filter, Weak<Feed>)>>,
    places: Arc<Semaphore>,
    viewers_max: usize,
    stop: watch::Sender<bool>,
}

/// One viewer's share of a feed, subscribed from the moment it exists.
pub struct Subscription {
    frames: feed::Frames,
    stop: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
}

impl Live {
    pub fn new(tail: Tail, viewers_max: usize) -> Live {
        Live {
            tail,
            feeds: Mutex::default(),
            places: Arc::new(Semaphore::new(viewers_max)),
            viewers_max,
            stop: watch::Sender::new(false),
        }
    }

    pub fn subscribe(&self, filter: &Filter) -> Result<Subscription, ApiError> {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            return Err(ApiError::busy(format!(
                "{} viewers watch already: close one, or raise viewers_max",
                self.viewers_max
            )));
        };
        let mut feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        // By the filter itself: its fingerprint leaves times out.
        let known = feeds.iter().find(|(of, _)| of == filter).and_then(|(_, feed)| feed.upgrade());
        let feed = known.unwrap_or_else(|| {
            feeds.retain(|(_, feed)| feed.strong_count() > 0);
            let feed = Arc::new(Feed::start(filter, &self.tail));
            feeds.push((filter.clone(), Arc::downgrade(&feed)));
            feed
        });
        Ok(Subscription { frames: feed.subscribe(), stop: self.stop.subscribe(), _place: place })
    }

    /// Tells every viewer that the server goes away, and returns once all have left.
    pub async fn close(&self) {
        self.stop.send_replace(true);
        let all = u32::try_from(self.viewers_max).unwrap_or(u32::MAX);
        let _ = self.places.acquire_many(all).await;
    }
}
