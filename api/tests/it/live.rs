//! The live tail over real WebSockets.

use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use record::Level;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, WebSocket};

use crate::fake::{Fake, batch};
use crate::server::{Answer, Running};

fn watch(server: &Running, query: &str) -> WebSocket<TcpStream> {
    let stream = server.connect();
    tungstenite::client(format!("ws://here/ws/logs{query}"), stream).unwrap().0
}

fn text(socket: &mut WebSocket<TcpStream>) -> String {
    loop {
        match socket.read().unwrap() {
            Message::Text(text) => return text.as_str().to_owned(),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn messages(text: &str) -> Vec<String> {
    text.split("\"message\":\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

#[test]
fn what_arrives_after_the_handshake_is_seen() {
    let server = Running::start(Fake::default());
    let mut all = watch(&server, "");
    let mut errors = watch(&server, "/?level=ERROR");
    server.tail.publish(&batch(&[(5, Level::Info, "a", "one", "{}"), (3, Level::Error, "a", "two", "{}")]));
    let frame = text(&mut all);
    assert!(frame.starts_with("{\"type\":\"logs\",\"logs\":[{\"id\":\""), "{frame}");
    assert!(frame.ends_with("\"metadata\":{}}]}"), "{frame}");
    assert_eq!(messages(&frame), ["one", "two"]);
    assert_eq!(messages(&text(&mut errors)), ["two"]);
}

#[test]
fn a_lone_record_does_not_wait_and_a_flood_is_joined() {
    let server = Running::start(Fake::default());
    let mut socket = watch(&server, "");
    std::thread::sleep(Duration::from_millis(50));
    let sent = Instant::now();
    server.tail.publish(&batch(&[(0, Level::Info, "a", "lone", "{}")]));
    text(&mut socket);
    assert!(sent.elapsed() < Duration::from_millis(20), "{:?}", sent.elapsed());
    let publish = |n: usize| server.tail.publish(&batch(&[(0, Level::Info, "a", &format!("{n}"), "{}")]));
    let mut frames = 0;
    let mut got = Vec::new();
    let began = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..100 {
                publish(n);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        while got.len() < 100 {
            got.extend(messages(&text(&mut socket)));
            frames += 1;
        }
    });
    assert_eq!(got, (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
    // At most one in 10 ms, however long a busy machine makes of the 100; one more where a pause was cut short.
    let took = began.elapsed();
    assert!(frames <= 10 + took.as_millis() / 10, "{frames} frames for 100 records in {took:?}");
}

#[test]
fn a_slow_viewer_skips_and_is_told() {
    let server = Running::start(Fake::default());
    let mut slow = watch(&server, "");
    let mut quick = watch(&server, "?source=other");
    let long = "x".repeat(1_000);
    let records: Vec<_> = (0..150).map(|n| (n, Level::Info, "a", long.as_str(), "{}")).collect();
    let flood = batch(&records);
    let mut published = 0;
    // More than all buffers between here and a client that does not read.
    for _ in 0..400 {
        server.tail.publish(&flood);
        published += 150;
        std::thread::sleep(Duration::from_millis(1));
    }
    // A record behind a flood would be skipped with the rest of it.
    std::thread::sleep(Duration::from_millis(100));
    server.tail.publish(&batch(&[(0, Level::Info, "other", "still here", "{}")]));
    assert_eq!(messages(&text(&mut quick)), ["still here"]);
    let (mut seen, mut skipped) = (0, 0);
    loop {
        let frame = text(&mut slow);
        match frame.strip_prefix("{\"type\":\"skipped\",\"count\":") {
            Some(rest) => {
                let (count, exact) = rest.split_once(",\"exact\":").unwrap();
                assert_eq!(exact, "true}", "a filter that takes all misses what there was");
                skipped += count.parse::<usize>().unwrap();
            }
            None => {
                seen += messages(&frame).len();
                if frame.contains("still here") {
                    break;
                }
            }
        }
    }
    assert!(skipped > 0, "nothing was skipped of {published}");
    assert_eq!(seen + skipped, published + 1);
}

#[test]
fn what_is_skipped_is_what_the_filter_wants() {
    let server = Running::start(Fake::default());
    let mut socket = watch(&server, "?level=ERROR");
    std::thread::sleep(Duration::from_millis(50));
    // One frame holds 256 KiB: with the second batch it is full, of the third nothing is shown.
    let long = "x".repeat(1_800);
    let records: Vec<_> =
        (0..100).map(|n| (n, if n % 2 == 0 { Level::Error } else { Level::Info }, "a", long.as_str(), "{}")).collect();
    let flood = batch(&records);
    for _ in 0..30 {
        server.tail.publish(&flood);
    }
    let (mut seen, mut skipped, mut exact) = (0, 0, true);
    while exact && seen + skipped < 1_500 {
        let frame = text(&mut socket);
        match frame.strip_prefix("{\"type\":\"skipped\",\"count\":") {
            Some(rest) => {
                let (count, is_exact) = rest.split_once(",\"exact\":").unwrap();
                skipped += count.parse::<usize>().unwrap();
                exact = is_exact == "true}";
            }
            None => seen += messages(&frame).len(),
        }
    }
    assert!(skipped > 0, "{seen} were seen and nothing skipped");
    // Where the machine was too busy to look at each batch, it says so.
    assert!(!exact || seen + skipped == 1_500, "{seen} and {skipped}");
}

#[test]
fn foreign_pages_may_not_watch() {
    let server = Running::with(Fake::default(), |config| config.origins = vec!["http://ops.example".into()]);
    let shake = |origin: &str| {
        let mut stream = server.connect();
        write!(
            stream,
            "GET /ws/logs HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{origin}\r\n"
        )
        .unwrap();
        Answer::read(&mut BufReader::new(stream), "GET")
    };
    assert_eq!(shake("").status, 101);
    assert_eq!(shake("Origin: http://here\r\n").status, 101);
    assert_eq!(shake("Origin: http://ops.example\r\n").status, 101);
    let foreign = shake("Origin: http://evil.example\r\n");
    assert_eq!((foreign.status, foreign.code()), (403, "foreign_origin"));
}

#[test]
fn viewers_have_a_limit_and_give_their_place_back() {
    let server = Running::with(Fake::default(), |config| config.viewers_max = 1);
    let mut first = watch(&server, "");
    let refused = tungstenite::client("ws://here/ws/logs", server.connect()).unwrap_err();
    assert!(refused.to_string().contains("503"), "{refused}");
    assert_eq!(server.tail.viewers(), 1);
    first.close(None).unwrap();
    while first.read().is_ok() {}
    let started = Instant::now();
    while server.tail.viewers() > 0 {
        assert!(started.elapsed() < Duration::from_secs(5), "the feed outlives its viewer");
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(watch(&server, ""));
}

#[test]
fn a_broken_filter_is_refused_before_the_handshake() {
    let server = Running::start(Fake::default());
    let refused = tungstenite::client("ws://here/ws/logs?colour=red", server.connect()).unwrap_err();
    assert!(refused.to_string().contains("400"), "{refused}");
}

#[test]
fn same_filters_share_a_feed() {
    let server = Running::start(Fake::default());
    let mut viewers: Vec<_> = (0..20).map(|_| watch(&server, "?level=INFO")).collect();
    let _other = watch(&server, "?level=WARN");
    let mut later = watch(&server, "?level=INFO&from=2025-11-11T16:00:01Z");
    assert_eq!(server.tail.viewers(), 3);
    server.tail.publish(&batch(&[(0, Level::Info, "a", "to all", "{}")]));
    server.tail.publish(&batch(&[(1, Level::Info, "a", "to the last", "{}")]));
    assert_eq!(messages(&text(&mut later)), ["to the last"]);
    for viewer in &mut viewers {
        assert_eq!(messages(&text(viewer)), ["to all"]);
    }
}

#[test]
fn a_stop_closes_with_going_away() {
    let mut server = Running::start(Fake::default());
    let mut socket = watch(&server, "");
    socket.send(Message::Ping("x".into())).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Pong("x".into()));
    server.stop();
    match socket.read().unwrap() {
        Message::Close(Some(frame)) => assert_eq!(frame.code, CloseCode::Away),
        other => panic!("{other:?}"),
    }
    // Reading on answers the close, and the server need not wait.
    while socket.read().is_ok() {}
    let started = Instant::now();
    server.join();
    assert!(started.elapsed() < Duration::from_secs(1));
}
