//! What the store's own writer stores, read at once.

use record::{BatchBuilder, IdSource};

use super::*;
use crate::store::postgres::{Writer, WriterOptions};

#[test]
fn what_the_writer_stores_is_read_at_once() {
    let store = Fixture::new(options());
    let all = Filter::default();
    // Asked before there is any partition: what is known of them is then older than all that is stored.
    assert_eq!(store.page(&all, 10, None, &stop()).unwrap().rows.count, 0);
    let target = Arc::new(Target::parse(&store.server.url()).unwrap());
    let mut writer = Writer::new(target, "logboom/test/1", WriterOptions::default(), Arc::default());
    // Two days and a bit.
    let made = records(300, 600 * SECOND);
    let mut drawn = IdSource::new(|| 3);
    for (stored, half) in made.chunks(150).enumerate() {
        let mut batches = Vec::new();
        for records in half.chunks(40) {
            let mut builder = BatchBuilder::new(16);
            builder.append(&record::filter::contract::encode_rows(records), &mut drawn, Timestamp::MIN).unwrap();
            batches.push(builder.seal().unwrap());
        }
        store.runtime.block_on(writer.store(&batches)).unwrap();
        let page = store.page(&all, 1_000, None, &stop()).unwrap();
        let want: Vec<Id> = made[..150 * (stored + 1)].iter().rev().map(|record| record.id).collect();
        assert_eq!(ids(&page.rows), want);
        assert_eq!(store.counts(&all, &stop()).unwrap().total(), want.len() as u64);
    }
    let levels = store.counts(&all, &stop()).unwrap().levels;
    assert_eq!(levels, [50; Level::COUNT]);
    let histogram = store.histogram(&all, None, &stop()).unwrap();
    assert_eq!(histogram.interval_seconds, 1_800);
    assert_eq!(histogram.buckets.iter().map(|(_, counts)| counts.total()).sum::<u64>(), 300);
    let sources = store.facets(&all, &FacetField::Source, 2, &stop()).unwrap();
    assert_eq!(sources.values, [("host-0".to_owned(), 100), ("host-1".to_owned(), 100)]);
    assert_eq!(sources.other, 100);
    let numbers = store.facets(&all, &FacetField::Metadata("parity".to_owned()), 2, &stop()).unwrap();
    assert_eq!(numbers.values, [("even".to_owned(), 150), ("odd".to_owned(), 150)]);
}
