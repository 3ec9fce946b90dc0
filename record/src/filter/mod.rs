//! Which records are wanted: one [`Filter`], read by the matcher over rows (memory and tail), by the Parquet store over
//! columns, and as SQL.
//!
//! Comes in: query parameters ([`Filter::from_params`]), of which `q` is a small language ([`parse_q`]). Goes out: a
//! tree that each reader reads in its own way, and [`Filter::matcher`], the reading over rows.
//!
//! # The contract
//!
//! Every reader takes exactly the records that this table says; `filter::contract` (feature `contract`) is a plain model of
//! it, with records and filters to try a reader with.
//!
//! | part | holds for a record when |
//! |---|---|
//! | `levels`, `source`, `application` | absent, or one of them is the record's; an empty list holds for none |
//! | `from`, `to` | `from` ≤ timestamp < `to` |
//! | [`Expr::All`], [`Expr::Any`], [`Expr::Not`] | two-valued logic: what a record lacks is *false*, so `Not` of it is true; `All([])` is true, `Any([])` false |
//! | [`Expr::Text`] | it is a substring of `message` once A–Z in both are a–z, and nothing else is folded; empty text is in all |
//! | [`Expr::Level`], [`Expr::Time`], [`Expr::Id`] | the record's is in the set, in the range (as `from` and `to`), in the list |
//! | [`Expr::Field`] | the field's value passes the [`Test`] |
//!
//! The value of `source`, `application` and `message` is a string; that of a metadata path is JSON. The path `a.b.c` is
//! the literal key `"a.b.c"` of the object where it has one (even if it is null), else `c` of the object `b` of the
//! object `a`; nothing between, and no index into an array. Of a repeated key of an inner object the last counts.
//!
//! | test | passes for |
//! |---|---|
//! | `AnyOf(texts)` | a string that *is* one of the texts, byte for byte; a JSON number, when a text is written as a JSON number and has the same value (`404` and `404.0`); `true`, `false` and `null` by their names; never an array or object |
//! | `Exists` | every JSON value but `null`; for `source`, `application` and `message`: text that is not empty |
//! | `Greater(n)` and the like | a JSON number, or a string that is written as one without exponent, in at most 64 characters ([`NUMERIC_STRING_BYTES_MAX`]) |
//!
//! Numbers are compared as the decimals that they are written as, exactly, as Postgres' `numeric` does: not as doubles.
//!
//! What it does not try to do: regular expressions, wildcards, folding beyond A–Z, words (all text is substrings).

#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod display;
mod fold;
mod matcher;
mod metadata;
mod number;
mod params;
mod q;
mod wire;

use std::hash::Hasher;

pub use fold::{FoldedNeedle, fold_contains};
pub use matcher::{Columns, Matcher};
pub use metadata::{MetaPath, MetaValue, metadata_value};
pub use number::{NUMERIC_STRING_BYTES_MAX, Number};
pub use params::{FILTER_VALUES_MAX, FilterError, parse_time};
pub use q::{Q_BYTES_MAX, Q_DEPTH_MAX, Q_TERMS_MAX, parse_q};
pub use wire::FILTER_BYTES_MAX;

use crate::id::Id;
use crate::level::Level;
use crate::time::Timestamp;

/// Which records are wanted; the default is all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub levels: Option<LevelSet>,
    /// Any of these, exactly.
    pub source: Option<Vec<String>>,
    pub application: Option<Vec<String>>,
    /// Included.
    pub from: Option<Timestamp>,
    /// Not included.
    pub to: Option<Timestamp>,
    pub expr: Expr,
}

/// What else a record must be. See the contract above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    All(Vec<Expr>),
    Any(Vec<Expr>),
    Not(Box<Expr>),
    /// A substring of `message`, as it was written; A–Z is folded on both sides.
    Text(String),
    Level(LevelSet),
    Time(TimeRange),
    Id(Vec<Id>),
    Field {
        field: Field,
        test: Test,
    },
}

impl Default for Expr {
    fn default() -> Self {
        Expr::All(Vec::new())
    }
}

/// A field whose value is text or JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    Source,
    Application,
    Message,
    /// A path, or a key with dots in it.
    Metadata(String),
}

/// What a field's value must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    AnyOf(Vec<String>),
    Exists,
    Greater(Number),
    GreaterOrEqual(Number),
    Less(Number),
    LessOrEqual(Number),
}

/// From `from`, included, to `to`, not included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeRange {
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}

impl TimeRange {
    pub fn contains(&self, timestamp: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= timestamp) && self.to.is_none_or(|to| timestamp < to)
    }

    /// What lies in both.
    pub fn intersection(self, other: TimeRange) -> TimeRange {
        let to = match (self.to, other.to) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        TimeRange { from: self.from.max(other.from), to }
    }

    /// Whether no instant lies in it.
    pub fn is_empty(&self) -> bool {
        self.to.is_some_and(|to| self.from.unwrap_or(Timestamp::MIN) >= to)
    }
}

/// A set of levels.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct LevelSet(u8);

impl LevelSet {
    pub const NONE: LevelSet = LevelSet(0);
    pub const ALL: LevelSet = LevelSet((1 << Level::COUNT) - 1);

    /// `level` and all that is more severe.
    pub const fn at_least(level: Level) -> LevelSet {
        LevelSet(LevelSet::ALL.0 & !((1 << level as u8) - 1))
    }

    pub const fn contains(self, level: Level) -> bool {
        self.0 & 1 << level as u8 != 0
    }

    pub const fn insert(&mut self, level: Level) {
        self.0 |= 1 << level as u8;
    }

    pub const fn intersection(self, other: LevelSet) -> LevelSet {
        LevelSet(self.0 & other.0)
    }

    pub const fn complement(self) -> LevelSet {
        LevelSet(LevelSet::ALL.0 & !self.0)
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// From TRACE to FATAL.
    pub fn iter(self) -> impl Iterator<Item = Level> {
        Level::ALL.into_iter().filter(move |&level| self.contains(level))
    }
}

impl FromIterator<Level> for LevelSet {
    fn from_iter<I: IntoIterator<Item = Level>>(levels: I) -> LevelSet {
        levels.into_iter().fold(LevelSet::NONE, |mut set, level| {
            set.insert(level);
            set
        })
    }
}

impl std::fmt::Debug for LevelSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Filter {
    /// Whether every record is wanted, so that nothing needs to be looked at.
    pub fn is_everything(&self) -> bool {
        self.levels.is_none_or(|levels| levels == LevelSet::ALL)
            && self.source.is_none()
            && self.application.is_none()
            && self.range() == TimeRange::default()
            && self.expr.is_everything()
    }

    /// Whether it can be seen without looking at a record that none is wanted.
    pub fn is_nothing(&self) -> bool {
        let none = |list: &Option<Vec<String>>| list.as_ref().is_some_and(Vec::is_empty);
        self.levels.is_some_and(LevelSet::is_empty)
            || none(&self.source)
            || none(&self.application)
            || self.range().is_empty()
            || matches!(&self.expr, Expr::Any(parts) if parts.is_empty())
    }

    /// `from` and `to`.
    pub fn range(&self) -> TimeRange {
        TimeRange { from: self.from, to: self.to }
    }

    /// The same for the same filter in every process and version: a cursor carries it. Times are left out, since those
    /// that count from now are others at the next page, and a cursor is itself a place in time.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = Fnv::default();
        hash.tag(self.levels.map_or(u8::MAX, |levels| levels.0));
        for list in [&self.source, &self.application] {
            hash.tag(u8::from(list.is_some()));
            hash.texts(list.as_deref().unwrap_or_default());
        }
        self.expr.hash_into(&mut hash);
        hash.finish()
    }

    /// The filter made ready to be asked of many rows.
    pub fn matcher(&self) -> Matcher {
        Matcher::new(self)
    }
}

impl Expr {
    pub fn is_everything(&self) -> bool {
        matches!(self, Expr::All(parts) if parts.is_empty())
    }

    /// Calls `f` with every part that is no `All`, `Any` or `Not`.
    pub fn visit_leaves<'a>(&'a self, f: &mut impl FnMut(&'a Expr)) {
        match self {
            Expr::All(parts) | Expr::Any(parts) => parts.iter().for_each(|part| part.visit_leaves(f)),
            Expr::Not(part) => part.visit_leaves(f),
            leaf => f(leaf),
        }
    }

    /// The metadata paths that are asked for, each once.
    pub fn metadata_keys(&self) -> Vec<&str> {
        let mut keys = Vec::new();
        self.visit_leaves(&mut |leaf| {
            if let Expr::Field { field: Field::Metadata(path), .. } = leaf
                && !keys.contains(&path.as_str())
            {
                keys.push(path.as_str());
            }
        });
        keys
    }

    /// Texts that the message of every match contains, A–Z folded, none empty: a page that lacks one can be left out.
    pub fn needles(&self) -> Vec<String> {
        let mut needles = Vec::new();
        self.push_needles(&mut needles);
        needles.retain(|needle| !needle.is_empty());
        needles
    }

    fn push_needles(&self, needles: &mut Vec<String>) {
        match self {
            Expr::All(parts) => parts.iter().for_each(|part| part.push_needles(needles)),
            Expr::Any(parts) => {
                if let [only] = &parts[..] {
                    only.push_needles(needles);
                }
            }
            Expr::Text(text) => needles.push(text.to_ascii_lowercase()),
            Expr::Field { field: Field::Message, test: Test::AnyOf(texts) } => {
                if let [text] = &texts[..] {
                    needles.push(text.to_ascii_lowercase());
                }
            }
            _ => {}
        }
    }

    /// Whether some row of a page could match, when `may_contain` says of a folded text whether the messages of the
    /// page may contain it. Sees more than [`needles`](Expr::needles): `a or b` needs one of the two.
    pub fn could_match(&self, may_contain: &mut impl FnMut(&str) -> bool) -> bool {
        match self {
            Expr::All(parts) => parts.iter().all(|part| part.could_match(may_contain)),
            Expr::Any(parts) => parts.iter().any(|part| part.could_match(may_contain)),
            Expr::Text(text) => may_contain(&text.to_ascii_lowercase()),
            Expr::Field { field: Field::Message, test: Test::AnyOf(texts) } => {
                texts.iter().any(|text| may_contain(&text.to_ascii_lowercase()))
            }
            Expr::Level(levels) => !levels.is_empty(),
            Expr::Time(range) => !range.is_empty(),
            Expr::Id(_) | Expr::Field { .. } | Expr::Not(_) => true,
        }
    }

    fn hash_into(&self, hash: &mut Fnv) {
        match self {
            Expr::All(parts) | Expr::Any(parts) => {
                hash.tag(if matches!(self, Expr::All(_)) { 1 } else { 2 });
                hash.write_usize(parts.len());
                parts.iter().for_each(|part| part.hash_into(hash));
            }
            Expr::Not(part) => {
                hash.tag(3);
                part.hash_into(hash);
            }
            Expr::Text(text) => {
                hash.tag(4);
                hash.text(text);
            }
            Expr::Level(levels) => {
                hash.tag(5);
                hash.tag(levels.0);
            }
            Expr::Time(_) => hash.tag(6),
            Expr::Id(ids) => {
                hash.tag(7);
                hash.write_usize(ids.len());
                ids.iter().for_each(|id| hash.write(id.as_bytes()));
            }
            Expr::Field { field, test } => {
                hash.tag(8);
                match field {
                    Field::Source => hash.tag(1),
                    Field::Application => hash.tag(2),
                    Field::Message => hash.tag(3),
                    Field::Metadata(path) => {
                        hash.tag(4);
                        hash.text(path);
                    }
                }
                let (tag, number) = match test {
                    Test::AnyOf(texts) => {
                        hash.tag(1);
                        return hash.texts(texts);
                    }
                    Test::Exists => return hash.tag(2),
                    Test::Greater(number) => (3, number),
                    Test::GreaterOrEqual(number) => (4, number),
                    Test::Less(number) => (5, number),
                    Test::LessOrEqual(number) => (6, number),
                };
                hash.tag(tag);
                hash.text(number.as_str());
            }
        }
    }
}

impl Test {
    /// Whether a value, or its absence, passes.
    pub fn matches_value(&self, value: Option<&MetaValue>) -> bool {
        let Some(value) = value else { return false };
        match self {
            Test::AnyOf(texts) => texts.iter().any(|text| value.equals(text)),
            Test::Exists => !matches!(value, MetaValue::Null),
            Test::Greater(number) => value.compare(number).is_some_and(|order| order.is_gt()),
            Test::GreaterOrEqual(number) => value.compare(number).is_some_and(|order| order.is_ge()),
            Test::Less(number) => value.compare(number).is_some_and(|order| order.is_lt()),
            Test::LessOrEqual(number) => value.compare(number).is_some_and(|order| order.is_le()),
        }
    }

    /// Whether the text of `source`, `application` or `message` passes.
    pub fn matches_text(&self, text: &[u8]) -> bool {
        match self {
            Test::Exists => !text.is_empty(),
            Test::AnyOf(texts) => texts.iter().any(|wanted| wanted.as_bytes() == text),
            _ => self.matches_value(Some(&MetaValue::String(text.into()))),
        }
    }
}

/// FNV-1a, 64 bits: stable, and good enough to tell one filter from another.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn tag(&mut self, tag: u8) {
        self.write(&[tag]);
    }

    fn text(&mut self, text: &str) {
        self.write_usize(text.len());
        self.write(text.as_bytes());
    }

    fn texts(&mut self, texts: &[String]) {
        self.write_usize(texts.len());
        texts.iter().for_each(|text| self.text(text));
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &b in bytes {
            self.0 = (self.0 ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn write_usize(&mut self, n: usize) {
        self.write(&(n as u64).to_le_bytes());
    }
}
