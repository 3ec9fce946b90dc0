//! What a parser hands over: one record's fields, still borrowed from its line.

use crate::level::Level;
use crate::meta::Meta;
use crate::text::{Text, is_clean_ascii};
use crate::time::{Timestamp, Zone};

/// The fields of one record. `None` and empty mean that the line does not say; [`Defaults`] fill them when the record
/// is written.
#[derive(Debug, Default)]
pub struct Fields<'a> {
    pub timestamp: Option<Timestamp>,
    pub level: Option<Level>,
    pub source: Text<'a>,
    pub application: Text<'a>,
    pub message: Text<'a>,
    pub meta: Meta,
}

impl Fields<'_> {
    /// Empty fields that reuse the memory of `meta`.
    pub fn with(mut meta: Meta) -> Self {
        meta.clear();
        Fields { meta, ..Fields::default() }
    }

    /// Empties them for another try at the same line.
    pub fn reset(&mut self) {
        let ascii = self.meta.is_ascii();
        self.meta.clear();
        self.meta.set_ascii(ascii);
        self.timestamp = None;
        self.level = None;
        self.source = Text::Empty;
        self.application = Text::Empty;
        self.message = Text::Empty;
    }

    /// Takes over what is known of the line that this one is a piece of.
    pub(crate) fn take_ascii(&mut self, whole: &Fields) {
        self.meta.set_ascii(whole.meta.is_ascii());
    }

    /// Looks whether the line is ASCII, which saves looking at each of its pieces.
    pub(crate) fn look_at(&mut self, line: &[u8]) {
        self.meta.set_ascii(is_clean_ascii(line));
    }
}

/// What is known about a line besides its bytes.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    /// When the request was received: the timestamp of a record that has none, and the year of one that has no year.
    pub received: Timestamp,
    /// Where times without a zone are taken to be.
    pub zone: &'a Zone,
    /// Whether a log wrapped in a log is opened one level.
    pub unwrap: bool,
    /// Records from before this are not taken.
    pub oldest: Timestamp,
    /// What the sender says of records that say nothing themselves.
    pub source: &'a str,
    pub application: &'a str,
}

impl<'a> Context<'a> {
    /// A context that takes records of any age, unwraps, and has no sender's defaults.
    pub fn new(received: Timestamp, zone: &'a Zone) -> Self {
        Context { received, zone, unwrap: true, oldest: Timestamp::MIN, source: "", application: "" }
    }
}
