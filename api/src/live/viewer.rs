//! One WebSocket: frames out, pings answered, closed with a reason.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::time::{Instant, timeout};
use warp::ws::{Message, WebSocket};

use super::Subscription;
use super::feed::Event;

/// A ping goes out after so long without a frame: proxies drop connections that are silent for a minute, and a viewer
/// whose machine has gone is found out.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// A viewer that takes nothing for so long is gone.
const SEND_MAX: Duration = Duration::from_secs(30);
/// How long its answer to our close is waited for.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// At a stop the feed's last frame comes within this: it joins records for 10 ms.
const LAST_FRAME_MAX: Duration = Duration::from_millis(60);

/// RFC 6455 §7.4.1: the server goes down.
const GOING_AWAY: u16 = 1001;

/// Serves one viewer until either side ends it.
pub async fn watch(mut socket: WebSocket, mut subscription: Subscription) {
    let mut silent_until = Instant::now() + SILENCE_MAX;
    let mut ping_unanswered = false;
    loop {
        let send = tokio::select! {
            event = subscription.frames.next() => match event {
                Event::Message { message, skipped } => {
                    if let Some(skipped) = skipped && !send(&mut socket, Message::text(skipped.message())).await {
                        return;
                    }
                    Message::text(&*message)
                }
                Event::Closed => return close(socket).await,
            },
            incoming = socket.next() => match incoming {
                // Whatever it says, it is there; the library answers pings by itself.
                Some(Ok(message)) if !message.is_close() => {
                    ping_unanswered = false;
                    continue;
                }
                _ => {
                    // Sends the answer to a close that tungstenite holds ready.
                    let _ = tokio::time::timeout(CLOSE_MAX, socket.flush()).await;
                    return;
                }
            },
            () = stopped(&mut subscription.stop) => {
                // What was acknowledged before the stop is on its way through the feed.
                while let Ok(Event::Message { message, .. }) = timeout(LAST_FRAME_MAX, subscription.frames.next()).await {
                    if !self::send(&mut socket, Message::text(&*message)).await {
                        return;
                    }
                }
                return close(socket).await;
            }
            () = tokio::time::sleep_until(silent_until) => match ping_unanswered {
                true => return,
                false => {
                    ping_unanswered = true;
                    Message::ping("")
                }
            },
        };
        if !self::send(&mut socket, send).await {
            return;
        }
        silent_until = Instant::now() + SILENCE_MAX;
    }
}

async fn stopped(stop: &mut tokio::sync::watch::Receiver<bool>) {
    // An error means that the server is gone altogether.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// False when the viewer is gone.
async fn send(socket: &mut WebSocket, message: Message) -> bool {
    matches!(tokio::time::timeout(SEND_MAX, socket.send(message)).await, Ok(Ok(())))
}

async fn close(mut socket: WebSocket) {
    if send(&mut socket, Message::close_with(GOING_AWAY, "the server stops")).await {
        let answered = async { while let Some(Ok(_)) = socket.next().await {} };
        let _ = tokio::time::timeout(CLOSE_MAX, answered).await;
    }
}
