//! In and out, while all is well.

use super::*;

#[tokio::test]
async fn what_goes_in_comes_out_once_and_leaves_nothing() {
    let redis = Redis::in_memory();
    let batches = Batches::new().some(50);
    all_in(pusher(&redis).push(&batches).await);
    let mut worker = consumer(&redis, "one");
    let taken = take_all(&mut worker).await;
    assert_eq!(ids(taken.iter().map(|one| &one.batch)), ids(&batches));
    assert!(taken.iter().all(|one| one.deliveries == 1));
    worker.done(&taken).await.expect("deleted");
    worker.leave(&[]).await.expect("left");
    let mut raw = raw(&redis).await;
    for stream in 0..4 {
        let key = format!("logboom:{stream}");
        let length: u64 = redis::cmd("XLEN").arg(&key).query_async(&mut raw).await.expect("a length");
        let pending: redis::Value =
            redis::cmd("XPENDING").arg(&key).arg("store").query_async(&mut raw).await.expect("pending");
        let consumers: redis::Value =
            redis::cmd("XINFO").arg("CONSUMERS").arg(&key).arg("store").query_async(&mut raw).await.expect("consumers");
        assert_eq!(length, 0);
        assert_eq!(reply::array(pending).expect("a summary")[0], redis::Value::Int(0));
        assert_eq!(consumers, redis::Value::Array(Vec::new()));
    }
}
