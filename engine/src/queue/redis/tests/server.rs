//! What a server is, and what it refuses.

use super::*;

async fn found(options: &[&str]) -> Found {
    target(&Redis::with(options)).inspect().await.expect("it answers")
}

#[tokio::test]
async fn how_durable_it_is_and_what_had_better_be_changed() {
    let always = found(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    assert_eq!((always.durability, always.evicts, &always.remarks[..]), (Durability::Fsync, false, &[][..]));
    assert!(always.to_string().contains("(fsync)") && always.to_string().contains("redis://127.0.0.1:"), "{always}");
    let every = found(&["--appendonly", "yes", "--appendfsync", "everysec"]).await;
    assert_eq!((every.durability, every.remarks.len()), (Durability::EverySecond, 0));
    let never = found(&["--appendonly", "yes", "--appendfsync", "no"]).await;
    assert_eq!((never.durability, never.remarks.len()), (Durability::Memory, 1));
    let pausing =
        found(&["--appendonly", "yes", "--appendfsync", "always", "--no-appendfsync-on-rewrite", "yes"]).await;
    assert_eq!((pausing.durability, pausing.remarks.len()), (Durability::EverySecond, 1));
    let memory = found(&["--maxmemory", "10mb", "--maxmemory-policy", "allkeys-lru"]).await;
    assert_eq!((memory.durability, memory.evicts, memory.maxmemory), (Durability::Memory, true, Some(10 << 20)));
    assert_eq!(memory.maxmemory_policy.as_deref(), Some("allkeys-lru"));
    for (remark, says) in
        memory.remarks.iter().zip(["CONFIG SET appendonly yes", "CONFIG SET maxmemory-policy noeviction"])
    {
        assert!(remark.contains(says), "{remark}");
    }
    assert_eq!(memory.remarks.len(), 2);
    assert!(!found(&["--maxmemory-policy", "volatile-lru"]).await.evicts, "streams never expire");
}

#[tokio::test]
async fn a_user_who_may_not_ask_is_served_all_the_same() {
    let redis = Redis::in_memory();
    let mut raw = raw(&redis).await;
    raw.ask::<()>("ACL SETUSER logs on >secret ~logboom:* &logboom:* +@all -@dangerous -@scripting").await;
    let url = |user: &str| format!("redis://{user}@127.0.0.1:{}", redis.port());
    let allowed = Arc::new(Target::parse(&url("logs:secret")).expect("a URL"));
    let found = allowed.inspect().await.expect("it may connect");
    assert_eq!((found.durability, &found.version[..], found.remarks.len()), (Durability::Unknown, "unknown", 0));
    let options = PushOptions { timeout: Duration::from_secs(5), ..PushOptions::new(4, 0) };
    let pushed = Batches::new().some(6);
    all_in(Pusher::new(allowed.clone(), options.clone(), Arc::default()).push(&pushed).await);
    let options_taken = TakeOptions::new(4, "one".into(), Duration::from_secs(30));
    let mut worker = Consumer::new(allowed.clone(), options_taken, Arc::default());
    let taken = take_all(&mut worker).await;
    worker.done(&taken).await.expect("deleted");
    worker.leave(Vec::new()).await;
    assert_eq!(status(&allowed, 4).await.expect("it answers").used_memory, None);

    raw.ask::<()>("ACL SETUSER reader on >secret ~logboom:* +@read").await;
    let reader = Arc::new(Target::parse(&url("reader:secret")).expect("a URL"));
    let error = Pusher::new(reader, options, Arc::default()).push(&pushed).await.remove(0).expect_err("it may not");
    assert!(matches!(&error, RedisError::Refused(text) if text.contains("ACL SETUSER")), "{error}");
}

#[tokio::test]
async fn what_it_refuses_is_told_with_the_mend_and_without_the_password() {
    let open = Redis::in_memory();
    let closed = Redis::with(&["--requirepass", "secret"]);
    for (redis, before, after, says) in [
        (&closed, "", "", "redis://:PASSWORD@"),
        (&closed, ":wr0ng@", "", "password is wrong"),
        (&closed, "ann:wr0ng@", "", "password is wrong"),
        (&closed, ":secret@", "/99", "0 to 15"),
        (&open, ":wr0ng@", "", "leave it out"),
        (&open, "", "/99", "0 to 15"),
    ] {
        let url = format!("redis://{before}127.0.0.1:{}{after}", redis.port());
        let error = Target::parse(&url).expect("a URL").inspect().await.expect_err(&url);
        assert!(matches!(error, RedisError::Refused(_)), "{url}: {error}");
        let text = error.to_string();
        assert!(text.contains(says) && !text.contains("secret") && !text.contains("wr0ng"), "{url}: {text}");
    }
    let url = format!("redis://:secret@127.0.0.1:{}/3", closed.port());
    Target::parse(&url).expect("a URL").inspect().await.expect("it lets in");
}

#[tokio::test]
async fn a_key_of_another_program_is_told_and_the_other_streams_are_served() {
    let redis = Redis::in_memory();
    let mut raw = raw(&redis).await;
    raw.ask::<()>("SET logboom:0 mine").await;
    let mut batches = Batches::new();
    let pushed = [batches.for_stream(0, 1), batches.for_stream(1, 1)].concat();
    let outcomes = pusher(&redis).push(&pushed).await;
    assert!(
        matches!(&outcomes[0], Err(RedisError::Refused(text)) if text.contains("database of its own")),
        "{outcomes:?}"
    );
    assert_eq!(outcomes[1], Ok(()));
    let mut worker = consumer(&redis, "one");
    assert_eq!(ids_of(&take_count(&mut worker, 1).await), [pushed[1].id()]);
    assert_eq!(raw.ask::<String>("GET logboom:0").await, "mine");
}

/// A server of an older version, as far as it is asked.
async fn pretend(version: &'static str) -> u16 {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                let mut answer = "+OK\r\n".repeat(text.matches("SETINFO").count());
                if text.contains("INFO\r\n") && !text.contains("SETINFO") {
                    let info = format!("redis_version:{version}\r\nredis_mode:standalone\r\n");
                    answer = format!("${}\r\n{info}\r\n", info.len());
                }
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    break;
                }
            }
        }
    });
    port
}

#[tokio::test]
async fn an_old_server_and_one_that_is_none_are_refused() {
    let port = pretend("6.2.14").await;
    let error =
        Target::parse(&format!("redis://127.0.0.1:{port}")).expect("a URL").inspect().await.expect_err("too old");
    assert!(
        matches!(&error, RedisError::Refused(text) if text.contains("6.2.14") && text.contains("7.0 or later")),
        "{error}"
    );
    // Something that speaks another protocol.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let error =
        Target::parse(&format!("redis://127.0.0.1:{port}")).expect("a URL").inspect().await.expect_err("no Redis");
    assert!(matches!(&error, RedisError::Refused(text) if text.contains("does not answer as Redis")), "{error}");
}
