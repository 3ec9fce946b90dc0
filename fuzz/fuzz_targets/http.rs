//! Any bytes as a request: its head and its body's framing end, give back no more than they were given, and do not
//! depend on how the bytes are cut into reads.
#![no_main]

use engine::http::body::Step;
use engine::http::coding::Decoder;
use engine::http::head::{HeadLimits, query_params};
use engine::http::{Coding, Framer, Framing, Head};
use libfuzzer_sys::fuzz_target;

const LIMITS: HeadLimits = HeadLimits { head_bytes_max: 2048, headers_max: 16 };

fuzz_target!(|data: &[u8]| {
    let Ok(Some((head, length))) = Head::parse(data, LIMITS) else { return };
    assert!(length <= data.len());
    query_params(&head.query);
    head.is_foreign(&[]);
    let body = &data[length..];
    let whole = read(head.framing, body, body.len().max(1));
    assert_eq!(whole, read(head.framing, body, 1));
    assert_eq!(read(Framing::Chunked, body, 3), read(Framing::Chunked, body, 7));
    if let (Some(coding), Some((content, _))) = (Coding::from_header(head.content_encoding.as_deref()), whole) {
        decode(coding, &content);
    }
});

/// The content and where the body ends; `None` when it is broken or cut.
fn read(framing: Framing, bytes: &[u8], piece: usize) -> Option<(Vec<u8>, usize)> {
    let mut framer = Framer::new(framing);
    let (mut content, mut at, mut have) = (Vec::new(), 0, 0);
    loop {
        match framer.step(&bytes[at..have]).ok()? {
            Step::Content(count) => {
                content.extend_from_slice(&bytes[at..at + count]);
                framer.took(count);
                at += count;
            }
            Step::Framing(count) => at += count,
            Step::Done => return Some((content, at)),
            Step::More if have == bytes.len() => return None,
            Step::More => have = (have + piece).min(bytes.len()),
        }
    }
}

fn decode(coding: Coding, mut input: &[u8]) {
    let mut decoder = Decoder::new(coding).expect("a decoder");
    let mut output = [0; 512];
    for _ in 0..1000 {
        match decoder.decode(input, &mut output) {
            Ok(progress) if progress.consumed > 0 || progress.produced > 0 => input = &input[progress.consumed..],
            _ => break,
        }
    }
    let _ = decoder.finish();
}
