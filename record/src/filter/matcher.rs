//! The filter read over rows: compiled once, cheap tests first, nothing allocated per row.

use super::{Expr, Field, Filter, FoldedNeedle, LevelSet, MetaPath, MetaValue, Test, TimeRange};
use crate::id::Id;
use crate::level::Level;
use crate::record::LogRecord;
use crate::row::Row;
use crate::time::Timestamp;

/// What a filter asks of a record, one column at a time, so that a reader of columns fetches only what is needed.
pub trait Columns {
    fn id(&self) -> Id;
    fn timestamp(&self) -> Timestamp;
    fn level(&self) -> Level;
    fn source(&self) -> &[u8];
    fn application(&self) -> &[u8];
    fn message(&self) -> &[u8];
    /// A JSON object as text.
    fn metadata(&self) -> &[u8];

    /// The value at a path; a reader that keeps some keys in columns of their own looks there first.
    fn metadata_value(&self, path: &MetaPath) -> Option<MetaValue<'_>> {
        path.find(self.metadata())
    }
}

impl Columns for Row<'_> {
    fn id(&self) -> Id {
        Row::id(self)
    }
    fn timestamp(&self) -> Timestamp {
        Row::timestamp(self)
    }
    fn level(&self) -> Level {
        Row::level(self)
    }
    fn source(&self) -> &[u8] {
        Row::source(self)
    }
    fn application(&self) -> &[u8] {
        Row::application(self)
    }
    fn message(&self) -> &[u8] {
        Row::message(self)
    }
    fn metadata(&self) -> &[u8] {
        Row::metadata(self)
    }
}

impl Columns for LogRecord {
    fn id(&self) -> Id {
        self.id
    }
    fn timestamp(&self) -> Timestamp {
        self.timestamp
    }
    fn level(&self) -> Level {
        self.level
    }
    fn source(&self) -> &[u8] {
        self.source.as_bytes()
    }
    fn application(&self) -> &[u8] {
        self.application.as_bytes()
    }
    fn message(&self) -> &[u8] {
        self.message.as_bytes()
    }
    fn metadata(&self) -> &[u8] {
        self.metadata.as_bytes()
    }
}

/// A filter made ready to be asked of many rows.
#[derive(Clone, Debug)]
pub struct Matcher {
    everything: bool,
    range: TimeRange,
    levels: LevelSet,
    source: Option<Vec<String>>,
    application: Option<Vec<String>>,
    expr: Node,
}

impl Matcher {
    pub fn new(filter: &Filter) -> Matcher {
        Matcher {
            everything: filter.is_everything(),
            range: filter.range(),
            levels: filter.levels.unwrap_or(LevelSet::ALL),
            source: filter.source.clone(),
            application: filter.application.clone(),
            expr: Node::new(&filter.expr),
        }
    }

    /// Whether the record is wanted.
    pub fn matches(&self, record: &impl Columns) -> bool {
        self.everything
            || (self.range.contains(record.timestamp())
                && self.levels.contains(record.level())
                && is_one_of(self.source.as_deref(), || record.source())
                && is_one_of(self.application.as_deref(), || record.application())
                && self.expr.matches(record))
    }

    /// Whether the record passes the filter's `expr`: for a reader that has seen to time, level, source and application
    /// by itself.
    pub fn matches_expr(&self, record: &impl Columns) -> bool {
        self.expr.matches(record)
    }
}

fn is_one_of<'a>(list: Option<&[String]>, text: impl FnOnce() -> &'a [u8]) -> bool {
    list.is_none_or(|list| {
        let text = text();
        list.iter().any(|wanted| wanted.as_bytes() == text)
    })
}

/// An [`Expr`], compiled.
#[derive(Clone, Debug)]
enum Node {
    All(Box<[Node]>),
    Any(Box<[Node]>),
    Not(Box<Node>),
    Level(LevelSet),
    Time(TimeRange),
    Id(Box<[Id]>),
    Source(Test),
    Application(Test),
    Message(Test),
    Text(FoldedNeedle),
    Metadata(Box<MetaPath>, Test),
}

impl Node {
    fn new(expr: &Expr) -> Node {
        let parts = |parts: &[Expr]| {
            let mut nodes: Vec<Node> = parts.iter().map(Node::new).collect();
            nodes.sort_by_key(Node::cost);
            nodes.into_boxed_slice()
        };
        match expr {
            Expr::All(all) => Node::All(parts(all)),
            Expr::Any(any) => Node::Any(parts(any)),
            Expr::Not(part) => Node::Not(Box::new(Node::new(part))),
            Expr::Text(text) => Node::Text(FoldedNeedle::new(text.as_bytes())),
            Expr::Level(levels) => Node::Level(*levels),
            Expr::Time(range) => Node::Time(*range),
            Expr::Id(ids) => Node::Id(ids.clone().into_boxed_slice()),
            Expr::Field { field, test } => {
                let test = test.clone();
                match field {
                    Field::Source => Node::Source(test),
                    Field::Application => Node::Application(test),
                    Field::Message => Node::Message(test),
                    Field::Metadata(path) => Node::Metadata(Box::new(MetaPath::new(path)), test),
                }
            }
        }
    }

    /// What a test costs, roughly in nanoseconds: the cheap ones are asked first.
    fn cost(&self) -> u32 {
        match self {
            Node::Level(_) | Node::Time(_) => 1,
            Node::Id(_) => 2,
            Node::Source(_) | Node::Application(_) | Node::Message(_) => 4,
            Node::Text(_) => 15,
            Node::Metadata(..) => 60,
            Node::All(parts) | Node::Any(parts) => parts.iter().map(Node::cost).sum(),
            Node::Not(part) => part.cost(),
        }
    }

    fn matches(&self, record: &impl Columns) -> bool {
        match self {
            Node::All(parts) => parts.iter().all(|part| part.matches(record)),
            Node::Any(parts) => parts.iter().any(|part| part.matches(record)),
            Node::Not(part) => !part.matches(record),
            Node::Level(levels) => levels.contains(record.level()),
            Node::Time(range) => range.contains(record.timestamp()),
            Node::Id(ids) => ids.contains(&record.id()),
            Node::Source(test) => test.matches_text(record.source()),
            Node::Application(test) => test.matches_text(record.application()),
            Node::Message(test) => test.matches_text(record.message()),
            Node::Text(needle) => needle.is_in(record.message()),
            Node::Metadata(path, test) => test.matches_value(record.metadata_value(path).as_ref()),
        }
    }
}
