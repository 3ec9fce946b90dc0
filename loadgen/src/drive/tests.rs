use std::net::TcpListener;
use std::thread;

use super::*;

/// A server whose `answer` is asked for each request, by its number; `None` breaks the connection.
fn server(mut answer: impl FnMut(u64) -> Option<String> + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut number = 0;
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut seen = Vec::new();
            let mut piece = [0; 4096];
            'connection: while let Ok(count @ 1..) = stream.read(&mut piece) {
                seen.extend_from_slice(&piece[..count]);
                while let Some(end) = memchr::memmem::find(&seen, b"\r\n\r\n") {
                    seen.drain(..end + 4);
                    let Some(text) = answer(number) else { break 'connection };
                    number += 1;
                    stream.write_all(text.as_bytes()).unwrap();
                }
            }
        }
    });
    address
}

/// `count` requests of one record each.
fn feed(count: u64) -> impl FnMut(&mut Request) -> bool {
    let mut left = count;
    move |request| {
        request.bytes.clear();
        request.bytes.extend_from_slice(b"GET / HTTP/1.1\r\n\r\n");
        request.records = 1;
        left = left.wrapping_sub(1);
        left != u64::MAX
    }
}

fn load(rate: Option<f64>) -> Load {
    Load { connections: 1, rate, time_max: Duration::from_secs(10), warm_up: Duration::ZERO }
}

const YES: &str = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";

#[test]
fn a_stall_shows_in_the_percentiles_of_an_open_loop() {
    let address = server(|number| {
        if number == 100 {
            thread::sleep(Duration::from_secs(1));
        }
        Some(YES.to_owned())
    });
    let outcome = drive(address, load(Some(500.0)), &mut feed(1_000)).unwrap();
    assert_eq!((outcome.sent, outcome.acknowledged), (1_000, 1_000));
    // Half of the requests were due within the second, or while its queue was worked off: from 1 s down to nothing.
    let p99 = outcome.latency.value_at_quantile(0.99);
    let p75 = outcome.latency.value_at_quantile(0.75);
    assert!(p99 > 900_000 && p75 > 200_000, "{p99} µs and {p75} µs");
    assert!(outcome.elapsed > Duration::from_millis(1_900), "{:?}", outcome.elapsed);
}

#[test]
fn every_fate_is_counted() {
    let address = server(|number| match number {
        0..10 => Some(YES.to_owned()),
        10 => Some("HTTP/1.1 400 No\r\nContent-Length: 2\r\n\r\nno".to_owned()),
        11 => Some("HTTP/1.1 429 Later\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n".to_owned()),
        12..20 => Some(YES.to_owned()),
        _ => None,
    });
    let outcome = drive(address, load(None), &mut feed(100)).unwrap();
    assert_eq!((outcome.sent, outcome.acknowledged, outcome.unanswered), (20, 18, 1));
    assert_eq!(outcome.refused, BTreeMap::from([(400, 1), (429, 1)]));
    assert_eq!((outcome.resent, outcome.latency.len()), (1, 18));
}

#[test]
fn answers_are_read_however_they_come() {
    let check = |text: &str, expected: Result<Option<(u16, Option<u64>)>, Garbage>| {
        let found = parse(text.as_bytes()).map(|answer| answer.map(|answer| (answer.status, answer.accepted)));
        assert_eq!(found, expected, "{text:?}");
    };
    check(YES, Ok(Some((202, None))));
    check("HTTP/1.1 202 A\r\ncontent-length: 15\r\n\r\n{\"accepted\":12}", Ok(Some((202, Some(12)))));
    check("HTTP/1.1 202 A\r\ncontent-length: 15\r\n\r\n{\"accepted\":", Ok(None));
    check("HTTP/1.1 202 A\r\ncontent-le", Ok(None));
    check("HTTP/1.1 204 None\r\n\r\n", Ok(Some((204, None))));
    check("HTTP/1.1 200 A\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", Err(Garbage));
    check("SSH-2.0-OpenSSH\r\n", Err(Garbage));
    check("HTTP/1.1 200 A\r\ncontent-length: 1\r\n\r\nabc", Err(Garbage));
}
