//! Where blocking queries run: on threads that may block, a few at a time, and no longer than someone waits for them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::store::{QueryError, ReadStats, Reader, Stop};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use warp::http::header::{HeaderName, HeaderValue};

use crate::error::ApiError;

/// A query that finds no free place within this time is answered 503: longer, and people press reload.
const PLACE_WAIT_MAX: Duration = Duration::from_secs(5);

pub struct Queries {
    reader: Arc<dyn Reader>,
    places: Arc<Semaphore>,
    export_places: Arc<Semaphore>,
    limit: Duration,
}

/// A finished query's answer, and what it took.
pub struct Ran<T> {
    pub answer: T,
    pub waited: Duration,
    pub took: Duration,
    /// What of the store was read.
    pub read: ReadStats,
}

/// Cancels its query when it is dropped: hyper drops the answer's future as soon as the client is gone.
struct CancelOnDrop(Stop);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Queries {
    pub fn new(reader: Arc<dyn Reader>, config: &crate::ApiConfig) -> Queries {
        Queries {
            reader,
            places: Arc::new(Semaphore::new(config.queries_max)),
            export_places: Arc::new(Semaphore::new(config.exports_max)),
            limit: Duration::from_secs(config.query_seconds_max),
        }
    }

    /// Runs `query` on a thread of its own and waits for it.
    pub async fn run<T: Send + 'static>(
        &self,
        query: impl FnOnce(&dyn Reader, &Stop) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<Ran<T>, ApiError> {
        let asked = Instant::now();
        let place = place(&self.places, "queries", "queries_max").await?;
        let started = Instant::now();
        let stop = Stop::after(self.limit);
        let guard = CancelOnDrop(stop.clone());
        let reader = self.reader.clone();
        let watched = stop.clone();
        let running = tokio::task::spawn_blocking(move || {
            // Held until the query has really ended, also when nobody waits any more.
            let _place = place;
            query(&*reader, &stop)
        });
        let answer = running.await.map_err(|error| {
            tracing::error!("a query failed: {error}");
            ApiError::internal("the query failed: the log of this process says why")
        })??;
        drop(guard);
        Ok(Ran { answer, waited: started - asked, took: started.elapsed(), read: watched.read() })
    }

    /// A place for an export, and the reader to export from. Exports run as long as their client reads, so they have
    /// places of their own.
    pub async fn export(&self) -> Result<(Arc<dyn Reader>, OwnedSemaphorePermit), ApiError> {
        let place = place(&self.export_places, "exports", "exports_max").await?;
        Ok((self.reader.clone(), place))
    }
}

async fn place(places: &Arc<Semaphore>, what: &str, setting: &str) -> Result<OwnedSemaphorePermit, ApiError> {
    match tokio::time::timeout(PLACE_WAIT_MAX, places.clone().acquire_owned()).await {
        Ok(Ok(place)) => Ok(place),
        _ => Err(ApiError::busy(format!(
            "too many {what} run at once, and none ended within {} s: try again, or raise {setting}",
            PLACE_WAIT_MAX.as_secs()
        ))),
    }
}

/// `Server-Timing` (W3C Server Timing §3): what browsers show beside a request.
pub fn set_timing<T>(headers: &mut warp::http::HeaderMap, ran: &Ran<T>) {
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    let read = &ran.read;
    let text = format!(
        "query;dur={:.2}, wait;dur={:.2}, files;desc=\"{} read {} skipped\", groups;desc=\"{} read {} skipped\", rows;desc=\"{} read\"",
        ms(ran.took),
        ms(ran.waited),
        read.files_read,
        read.files_skipped,
        read.groups_read,
        read.groups_skipped,
        read.rows_read
    );
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.insert(HeaderName::from_static("server-timing"), value);
    }
}
