//! Rows that Postgres refuses: set aside, shown, tried again.

use std::sync::atomic::Ordering;

use super::super::PostgresError;
use super::super::dead_letters::{self, Replayed, Which};
use super::*;

#[test]
fn a_refused_row_among_100_000_is_set_aside_and_the_rest_is_stored() {
    let bed = Bed::new();
    let mut writer = bed.writer("0");
    let mut source = Source::stepping(NOON, 1_000);
    let mut batches = source.batches(125, 800);
    batches[62] = with_broken_row(&batches[62], 400);
    let broken = batches[62].rows().nth(400).unwrap().id();
    let stored = bed.store(&mut writer, &batches).unwrap();
    assert_eq!(stored, Stored { rows: 99_999, batches: 125, known: 0, dead: 1 });
    bed.assert_rows(99_999);
    assert_eq!(bed.store(&mut writer, &batches).unwrap().known, 125);

    let client = bed.connect("test");
    let listed = bed.run(dead_letters::list(&client, 10, None)).unwrap();
    assert_eq!((listed.total, listed.dead_letters.len(), listed.next), (1, 1, None));
    let letter = &listed.dead_letters[0];
    assert_eq!((letter.id, letter.batch_id), (broken, batches[62].id()));
    assert!(letter.reason.contains("invalid byte sequence"), "{}", letter.reason);
    let json = String::from_utf8(listed.to_json()).unwrap();
    assert!(record::json::whole(&json).is_ok(), "{json}");
    assert!(json.contains(&format!("\"log\":{{\"id\":\"{broken}\"")) && json.contains("\u{fffd} message"), "{json}");

    // Forgotten and delivered again, it is set aside once.
    bed.sql("DELETE FROM ingested_batches");
    assert_eq!(bed.store(&mut writer, &batches[60..65]).unwrap().rows, 0);
    assert_eq!(bed.count("dead_letters"), 1);
    // Tried again, it is refused again.
    let replayed = bed.run(dead_letters::replay(&bed.target, &Which::All)).unwrap();
    assert_eq!(replayed, Replayed { stored: 0, known: 0, refused: 1 });
    assert_eq!(bed.run(dead_letters::count(&client)).unwrap(), 1);
    assert_eq!(bed.run(dead_letters::drop(&client, &Which::Ids(vec![broken]))).unwrap(), 1);
    assert_eq!(bed.run(dead_letters::drop(&client, &Which::All)).unwrap(), 0);
    bed.assert_rows(99_999);
}

#[test]
fn letters_are_stored_once_when_what_refused_them_is_mended() {
    let bed = Bed::new();
    let mut writer = bed.writer("0");
    bed.sql("ALTER TABLE logs ADD CONSTRAINT short CHECK (length(message) < 5)");
    let mut source = Source::new(NOON);
    let long = |number: usize| number.is_multiple_of(3);
    let text = |number: usize| ("host".to_owned(), if long(number) { "too long" } else { "ok" }.to_owned());
    let batches: Vec<Batch> = (0..4).map(|_| source.batch_of(30, text)).collect();
    let stored = bed.store(&mut writer, &batches).unwrap();
    assert_eq!(stored, Stored { rows: 80, batches: 4, known: 0, dead: 40 });
    bed.assert_rows(80);
    assert_eq!(bed.counters.dead_letters.load(Ordering::Relaxed), 40);

    // Page by page, the last first.
    let client = bed.connect("test");
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = bed.run(dead_letters::list(&client, 15, cursor)).unwrap();
        assert_eq!(page.total, 40);
        seen.extend(page.dead_letters.iter().map(|letter| letter.id));
        cursor = page.next.map(|next| next.to_string().parse().unwrap());
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 40);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 40);

    bed.sql("ALTER TABLE logs DROP CONSTRAINT short");
    let some = Which::Ids(seen[..5].to_vec());
    let replayed = bed.run(dead_letters::replay(&bed.target, &some)).unwrap();
    assert_eq!(replayed, Replayed { stored: 5, known: 0, refused: 0 });
    bed.assert_rows(85);
    // Two at once: each letter is stored by one of them.
    let (one, other) = bed.run(async {
        tokio::join!(dead_letters::replay(&bed.target, &Which::All), dead_letters::replay(&bed.target, &Which::All))
    });
    assert_eq!(one.unwrap().stored + other.unwrap().stored, 35);
    bed.assert_rows(120);
    assert_eq!(bed.count("dead_letters"), 0);
    assert_eq!(bed.run(dead_letters::replay(&bed.target, &some)).unwrap(), Replayed::default());
}

#[test]
fn a_letter_whose_row_was_stored_meanwhile_is_known() {
    let bed = Bed::new();
    let mut writer = bed.writer("0");
    let batch = Source::new(NOON - 400 * DAY).batch(3);
    bed.store(&mut writer, std::slice::from_ref(&batch)).unwrap();
    let row = batch.rows().nth(1).unwrap();
    let client = bed.connect("test");
    let insert = format!(
        "INSERT INTO dead_letters VALUES ({}, '{}', '{}', now(), 'by hand', $1)",
        row.part(),
        row.id(),
        batch.id()
    );
    bed.run(client.execute(&insert, &[&row.as_bytes()])).unwrap();
    // Its day has gone meanwhile, too: the partition is made again.
    assert_eq!(
        bed.run(dead_letters::replay(&bed.target, &Which::All)).unwrap(),
        Replayed { stored: 0, known: 1, refused: 0 }
    );
    bed.assert_rows(3);
    bed.run(client.execute(&insert, &[&row.as_bytes()])).unwrap();
    bed.sql(&format!("DROP TABLE {}; DELETE FROM log_counts", bed.partitions()));
    assert_eq!(bed.run(dead_letters::replay(&bed.target, &Which::All)).unwrap().stored, 1);
    bed.assert_rows(1);
    // A damaged one stays, and says so.
    bed.run(client.execute(&insert, &[&&b"nonsense"[..]])).unwrap();
    match bed.run(dead_letters::replay(&bed.target, &Which::All)) {
        Err(PostgresError::Refused(text)) => assert!(text.contains("dead-letters drop"), "{text}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(bed.count("dead_letters"), 1);
}
