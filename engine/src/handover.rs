//! The hop from a shard to a task on the other runtime, and the answer back: once a group, never once a record.

use record::Batch;
use tokio::sync::{mpsc, oneshot};

/// The shard's end. An answer of `None` means that the other end is gone.
pub struct Handover<A> {
    sender: mpsc::UnboundedSender<Handed<A>>,
}

/// A group, and where its answer goes.
#[derive(Debug)]
pub struct Handed<A> {
    pub batches: Vec<Batch>,
    pub answer: oneshot::Sender<A>,
}

impl<A> Clone for Handover<A> {
    fn clone(&self) -> Self {
        Handover { sender: self.sender.clone() }
    }
}

impl<A> Handover<A> {
    /// Both ends. A lane hands over one group at a time, so that the queue is never longer than there are shards.
    pub fn new() -> (Handover<A>, mpsc::UnboundedReceiver<Handed<A>>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Handover { sender }, receiver)
    }

    pub async fn hand(&self, batches: Vec<Batch>) -> Option<A> {
        let (answer, answered) = oneshot::channel();
        self.sender.send(Handed { batches, answer }).ok()?;
        answered.await.ok()
    }
}
