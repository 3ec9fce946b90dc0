//! One body's rows while they are encoded, apart from everybody else's: they join the shard's batches only once the
//! body has ended well, and are gone with a drop if it does not.

use record::format::{LineParser, Mode, NotTaken, Reject, Taken};
use record::{Batch, BatchBuilder, Context, IdSource, Level, Row, Rows};

/// Rows that belong together.
pub struct Stage {
    sealed: Vec<Batch>,
    sealed_bytes: usize,
    open: BatchBuilder,
    /// Where in the open batch the last row begins.
    last_at: usize,
    levels: [u64; Level::COUNT],
}

/// Rows that are ready to be made durable, all of them or none.
pub struct Staged {
    pub sealed: Vec<Batch>,
    pub open: BatchBuilder,
    pub levels: [u64; Level::COUNT],
}

impl Staged {
    pub fn rows(&self) -> u64 {
        self.levels.iter().sum()
    }
}

impl Stage {
    /// `builder` is an empty one, used before perhaps.
    pub fn new(builder: BatchBuilder) -> Stage {
        Stage { sealed: Vec::new(), sealed_bytes: 0, open: builder, last_at: 0, levels: [0; Level::COUNT] }
    }

    pub fn bytes(&self) -> usize {
        self.sealed_bytes + self.open.body().len()
    }

    /// Parses one line or JSON value and encodes its record.
    pub fn push(
        &mut self,
        parser: &mut LineParser,
        line: &[u8],
        mode: Mode,
        context: &Context,
        ids: &mut IdSource,
    ) -> Result<Taken, Reject> {
        loop {
            self.last_at = self.open.body().len();
            match parser.push_line(line, mode, context, ids, &mut self.open) {
                Ok(taken) => {
                    self.levels[taken.pushed.level.index()] += 1;
                    return Ok(taken);
                }
                Err(NotTaken::Full) => self.seal(),
                Err(NotTaken::Reject(reject)) => return Err(reject),
            }
        }
    }

    /// The row that was pushed last.
    pub fn last_row(&self) -> Option<Row<'_>> {
        Rows::new(self.open.body().get(self.last_at..)?).next()
    }

    fn seal(&mut self) {
        if let Some(batch) = self.open.seal() {
            self.sealed_bytes += batch.frame().len();
            self.sealed.push(batch);
        }
    }

    pub fn finish(self) -> Staged {
        Staged { sealed: self.sealed, open: self.open, levels: self.levels }
    }
}
