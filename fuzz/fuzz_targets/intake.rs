//! Any bytes as a body, of each type and in any pieces: what becomes of its records does not depend on the pieces.
#![no_main]

use engine::ingest::ask::{Input, LineFormat};
use engine::ingest::{Intake, IntakeLimits, Tools};
use libfuzzer_sys::fuzz_target;
use record::format::LineParser;
use record::{BatchBuilder, Context, IdSource, Timestamp, Zone};

const LIMITS: IntakeLimits = IntakeLimits { line_bytes_max: 1024, whole_bytes_max: 8192 };

fuzz_target!(|data: &[u8]| {
    let Some((&choice, body)) = data.split_first() else { return };
    let input = match choice % 4 {
        0 => Input::Json,
        1 => Input::Ndjson,
        2 => Input::Lines(LineFormat::Detected),
        _ => Input::Unsaid,
    };
    let whole = take(input.clone(), body, body.len().max(1));
    let piece = usize::from(choice / 4) + 1;
    assert_eq!(whole, take(input, body, piece), "in pieces of {piece}");
});

/// What was accepted and rejected, and the rows without what differs from run to run; or that it was refused.
fn take(input: Input, body: &[u8], piece: usize) -> Option<(u64, u64, Vec<u8>)> {
    let mut parser = LineParser::new();
    let mut ids = IdSource::new(|| 0);
    let context = Context::new(Timestamp::MIN, &Zone::UTC);
    let mut tools = Tools { parser: &mut parser, ids: &mut ids, context: &context };
    let mut intake = Intake::new(input, None, BatchBuilder::new(1), LIMITS);
    for piece in body.chunks(piece) {
        intake.feed(piece, &mut tools).ok()?;
    }
    intake.end(&mut tools).ok()?;
    let (accepted, rejected) = (intake.account().accepted, intake.account().rejected);
    let staged = intake.take_staged(BatchBuilder::new(1));
    assert_eq!(staged.rows(), accepted);
    let mut members = Vec::new();
    for row in staged.sealed.iter().flat_map(|batch| batch.rows()).chain(record::Rows::new(staged.open.body())) {
        row.write_json_members(&mut members);
    }
    Some((accepted, rejected, members))
}
