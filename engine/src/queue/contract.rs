//! What every queue keeps: whatever is in is taken once, again if its taker dies before it is done, and never after. No
//! order is promised.

use std::collections::BTreeSet;

use record::{Batch, BatchBuilder, Context, Fields, Id, IdSource, Text, Timestamp, Zone};

/// Batches of one to five rows, whose ids differ.
pub fn batches(ids: &mut IdSource, count: usize) -> Vec<Batch> {
    let mut builder = BatchBuilder::new(16);
    let make = |i: usize| {
        for row in 0..1 + i % 5 {
            let message = format!("{i} {row} {}", "x".repeat(i * 37));
            let fields = Fields { message: Text::Bytes(message.as_bytes()), ..Fields::default() };
            let now = Timestamp::clamped(1_760_000_000_000_000 + i as i64);
            builder.push(&fields, &Context::new(now, &Zone::UTC), ids).expect("it fits");
        }
        builder.seal().expect("a row is in it")
    };
    (0..count).map(make).collect()
}

/// A queue is held to the contract by four functions: `push` returns once all are in; `take` gives all that can be
/// taken now, and leaves it with the taker; `done` says that the taker has stored them, in the order in which they were
/// taken; `crash` ends the taker and brings another.
pub async fn check(
    push: impl AsyncFn(Vec<Batch>),
    take: impl AsyncFn() -> Vec<Batch>,
    done: impl AsyncFn(&[Batch]),
    crash: impl AsyncFn(),
) {
    let mut source = crate::clock::id_source();
    assert_eq!(take().await.len(), 0, "a new queue is empty");

    let first = batches(&mut source, 40);
    for some in first.chunks(7) {
        push(some.to_vec()).await;
    }
    let taken = take().await;
    assert_same(&taken, &first, "what was pushed is taken, each once");
    assert_eq!(take().await.len(), 0, "what is taken is not taken again while its taker lives");

    crash().await;
    let taken = take().await;
    assert_same(&taken, &first, "what was not done is taken again");

    let (stored, rest) = taken.split_at(15);
    done(stored).await;
    crash().await;
    let again = take().await;
    assert_same(&again, rest, "what was done is not taken again, and the rest is");

    let more = batches(&mut source, 5);
    push(more.clone()).await;
    let taken = take().await;
    assert_same(&taken, &more, "new batches come while others are with a taker");
    done(&again).await;
    done(&taken).await;
    crash().await;
    assert_eq!(take().await.len(), 0, "all is done");
}

/// The same batches, byte for byte, in any order.
fn assert_same(found: &[Batch], expected: &[Batch], what: &str) {
    let ids = |batches: &[Batch]| batches.iter().map(Batch::id).collect::<Vec<Id>>();
    let frames = |batches: &[Batch]| batches.iter().map(|batch| batch.frame().to_vec()).collect::<BTreeSet<_>>();
    assert_eq!(found.len(), expected.len(), "{what}: {:?} {:?}", ids(found), ids(expected));
    assert!(frames(found) == frames(expected), "{what}: {:?} {:?}", ids(found), ids(expected));
}
