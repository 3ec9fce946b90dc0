//! Chunks in, records out: parsed on all cores, written in the order in which they came.
//!
//! The reader hands each chunk to the pool, and the promise of its outcome to the writer, which takes the promises in
//! order. The number of promises that may be open is the bound of all memory, and what the reader waits for.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use record::format::{LINE_BYTES_MAX, LineParser, NotTaken, Reject};
use record::{BatchBuilder, Context, IdSource, Rows, Timestamp};

use super::Rules;
use super::cut::Chunk;
use super::tally::Tally;
use crate::Failure;

/// One that is parsed, one that waits and one that is written: 2 MiB each, and as much again as JSON.
pub const CHUNKS_PER_THREAD_MAX: usize = 3;
/// Of the rejected lines so many are told; all are counted. More would bury what matters.
const REJECTED_TOLD_MAX: u64 = 100;

/// Where the reader hands its chunks to; an error when nobody reads what comes out.
pub type Send<'s> = dyn FnMut(&Arc<str>, Chunk) -> Result<(), Failure> + 's;

/// What came of a chunk.
struct Outcome {
    file: Arc<str>,
    json: Vec<u8>,
    rejected: Vec<(u64, String)>,
    tally: Tally,
}

/// Runs `read` to its end, and all that it sends through the parser. Gives back how reading went, and the counts; an
/// error of the outer kind is one of writing.
pub fn run(
    rules: &Rules,
    read: impl FnOnce(&mut Send) -> Result<(), Failure>,
) -> io::Result<(Result<(), Failure>, Tally)> {
    let (promises, in_order) = sync_channel(CHUNKS_PER_THREAD_MAX * rayon::current_num_threads());
    let idle = Mutex::new(Vec::new());
    std::thread::scope(|threads| {
        let writer = threads.spawn(move || write(&in_order));
        let read = rayon::in_place_scope(|pool| {
            let idle = &idle;
            read(&mut move |file, chunk| {
                if chunk.is_empty() {
                    return Ok(());
                }
                let (outcome, promise) = sync_channel(1);
                promises.send(promise).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
                let file = file.clone();
                pool.spawn(move |_| {
                    let unused = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
                    let mut worker = unused.unwrap_or_else(Worker::new);
                    // Only a writer that has failed does not take it.
                    let _ = outcome.send(worker.parse(file, &chunk, rules));
                    idle.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
                });
                Ok(())
            })
        });
        let written = writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((read, written?))
    })
}

/// Takes the outcomes in order; returns when there are no more.
fn write(in_order: &Receiver<Receiver<Outcome>>) -> io::Result<Tally> {
    let mut out = io::stdout().lock();
    let mut sum = Tally::default();
    // A promise that is broken is a task that has panicked, which the pool tells.
    for outcome in in_order.iter().map_while(|promise| promise.recv().ok()) {
        out.write_all(&outcome.json)?;
        out.flush()?;
        let room = REJECTED_TOLD_MAX.saturating_sub(sum.rejected) as usize;
        for (number, message) in outcome.rejected.iter().take(room) {
            eprintln!("logboom: {}, line {number}: {message}", outcome.file);
        }
        sum.add(&outcome.tally);
    }
    if sum.rejected > REJECTED_TOLD_MAX {
        eprintln!("logboom: {} more lines were rejected", sum.rejected - REJECTED_TOLD_MAX);
    }
    Ok(sum)
}

/// The scratch memory of one task, which the next one takes over.
struct Worker {
    parser: LineParser,
    batch: BatchBuilder,
    ids: IdSource,
}

impl Worker {
    fn new() -> Worker {
        Worker {
            parser: LineParser::with_patterns(record::format::installed()),
            batch: BatchBuilder::new(1),
            ids: IdSource::new(|| 0),
        }
    }

    fn parse(&mut self, file: Arc<str>, chunk: &Chunk, rules: &Rules) -> Outcome {
        let context = Context {
            source: &rules.source,
            application: &rules.application,
            unwrap: rules.unwrap,
            ..Context::new(now(), &rules.zone)
        };
        let mut json = Vec::new();
        let mut rejected = Vec::new();
        let mut tally = Tally { lines: chunk.lines, bytes: chunk.bytes, ..Tally::default() };
        for (number, line) in chunk.records() {
            if line.trim_ascii().is_empty() {
                continue;
            }
            self.batch.clear();
            match self.parser.push_line(line, rules.mode(), &context, &mut self.ids, &mut self.batch) {
                Ok(taken) => {
                    tally.count(taken.format, 1);
                    for row in Rows::new(self.batch.body()) {
                        // Without its id: nothing is stored, so there is none to ask for.
                        json.push(b'{');
                        row.write_json_members(&mut json);
                        json.extend_from_slice(b"}\n");
                    }
                }
                Err(NotTaken::Reject(reject)) => {
                    tally.rejected += 1;
                    if tally.rejected <= REJECTED_TOLD_MAX {
                        rejected.push((number, told(reject)));
                    }
                }
                // An empty batch takes any record that is not refused.
                Err(NotTaken::Full) => {}
            }
        }
        Outcome { file, json, rejected, tally }
    }
}

fn told(reject: Reject) -> String {
    match reject.code {
        // Its end was never read, so that its length is not known.
        "line_too_long" => format!("the line is longer than line_bytes_max, {LINE_BYTES_MAX} bytes"),
        _ => reject.message,
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::clamped(since.as_micros() as i64)
}
