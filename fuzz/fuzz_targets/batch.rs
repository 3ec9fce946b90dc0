//! Any bytes as a frame: refused, or a batch whose rows can be read and that comes back from being packed. The checksum
//! is set right first, or nothing would get past it.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use record::filter::{MetaPath, metadata_value};
use record::{Batch, Filter, Level, Timestamp, Zone};

fuzz_target!(|data: &[u8]| {
    let _ = Batch::open(Bytes::copy_from_slice(data));
    let mut frame = data.to_vec();
    if frame.len() < 80 {
        return;
    }
    // The header's magic, version and body length, and the trailer: the rest is the fuzzer's.
    frame[..4].copy_from_slice(b"LBB\x01");
    let end = frame.len() - 4;
    let stored = (end - 76) as u32;
    frame[72..76].copy_from_slice(&stored.to_le_bytes());
    if frame[4] == 0 {
        frame[28..32].copy_from_slice(&stored.to_le_bytes());
    }
    let crc = crc32c::crc32c(&frame[..end]);
    frame[end..].copy_from_slice(&crc.to_le_bytes());
    let Ok(batch) = Batch::open(frame.into()) else { return };
    read(&batch);
    let again = Batch::open(batch.pack()).expect("a packed batch opens");
    assert_eq!((again.header(), again.body()), (batch.header(), batch.body()));
});

fn read(batch: &Batch) {
    let pairs = [("q", "a -b x:1 y.z:>2"), ("level_min", "debug")];
    let matcher = Filter::from_params(pairs, Timestamp::MIN, &Zone::UTC).expect("a good filter").matcher();
    let mut json = Vec::new();
    let mut levels = [0; Level::COUNT];
    for row in batch.rows() {
        matcher.matches(&row);
        metadata_value(row.metadata(), "a.b.c");
        MetaPath::new("").find(row.metadata());
        json.clear();
        row.write_json(&mut json);
        levels[row.level().index()] += 1;
        let _ = (row.id().to_string(), row.timestamp().to_string(), row.part());
    }
    assert_eq!(levels, batch.header().levels);
    assert_eq!(batch.rows().count(), batch.len());
}
