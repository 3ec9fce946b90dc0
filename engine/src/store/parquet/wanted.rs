//! A filter as the store reads it: bounds of the id, which prune, and tests of rows, the cheap columns first.

use record::filter::{Columns, Expr, Field, LevelSet, Matcher, Test};
use record::text::canonical_i64;
use record::{Filter, Id, Timestamp};

use super::manifest::FileEntry;
use super::schema::{APPLICATION, ColumnSet, LEVEL, MESSAGE, METADATA, SOURCE, TIMESTAMP, TypedColumn};
use super::tally::{Tally, ValueCounts};
use crate::store::Position;

/// Which rows a query wants.
pub struct Wanted {
    /// The least id that is wanted.
    low: Id,
    /// The least id above `low` that is not, if there is any.
    high: Option<Id>,
    pub levels: Option<LevelSet>,
    /// Any of these.
    pub source: Option<Vec<String>>,
    pub application: Option<Vec<String>>,
    /// The rest of the expression: levels, sources and applications that it asks for as a whole are above.
    pub expr: Expr,
    /// Of the whole filter but its times.
    matcher: Matcher,
    /// Of `expr`.
    expr_matcher: Matcher,
}

impl Wanted {
    /// What `filter` wants, from `start` on.
    pub fn new(filter: &Filter, start: Option<Position>) -> Wanted {
        let low = filter.from.map_or(Id::MIN, |from| Id::new(from, 0, 0));
        let bounds = [filter.to.map(|to| Id::new(to, 0, 0)), start.map(|Position(id)| id)];
        Wanted::within(filter, low, bounds.into_iter().flatten().min())
    }

    pub fn one(id: Id) -> Wanted {
        Wanted::within(&Filter::default(), id, successor(id))
    }

    /// What is older than `id`, of the same source.
    pub fn older_from(id: Id, source: &str) -> Wanted {
        Wanted::within(&of_source(source), Id::MIN, Some(id))
    }

    /// What is newer than `id`, of the same source.
    pub fn newer_from(id: Id, source: &str) -> Wanted {
        Wanted::within(&of_source(source), successor(id).unwrap_or(id), None)
    }

    fn within(filter: &Filter, low: Id, high: Option<Id>) -> Wanted {
        // The bounds say all that the filter's own times do.
        let mut rest = Filter { from: None, to: None, ..filter.clone() };
        let matcher = rest.matcher();
        for part in conjuncts(std::mem::take(&mut rest.expr)) {
            rest.expr = match hoist(part, &mut rest) {
                Some(part) => and(std::mem::take(&mut rest.expr), part),
                None => std::mem::take(&mut rest.expr),
            };
        }
        let expr_matcher = Filter { expr: rest.expr.clone(), ..Filter::default() }.matcher();
        let Filter { levels, source, application, expr, .. } = rest;
        Wanted { low, high, levels, source, application, expr, matcher, expr_matcher }
    }

    /// The same, but nothing older than `oldest`.
    #[must_use]
    pub fn since(mut self, oldest: Option<Timestamp>) -> Wanted {
        self.low = self.low.max(oldest.map_or(Id::MIN, |oldest| Id::new(oldest, 0, 0)));
        self
    }

    /// Whether rows from `first` to `last` may be wanted, going by their time.
    pub fn overlaps(&self, first: Timestamp, last: Timestamp) -> bool {
        Id::new(last, u64::MAX, u32::MAX) >= self.low && self.high.is_none_or(|high| Id::new(first, 0, 0) < high)
    }

    /// Whether every row from `first` to `last` lies within the bounds.
    pub fn encloses(&self, first: Timestamp, last: Timestamp) -> bool {
        self.low <= Id::new(first, 0, 0) && self.high.is_none_or(|high| Id::new(last, u64::MAX, u32::MAX) < high)
    }

    pub fn holds(&self, id: Id) -> bool {
        id >= self.low && self.high.is_none_or(|high| id < high)
    }

    /// The time within which everything lies that may be wanted.
    pub fn span(&self) -> (Timestamp, Timestamp) {
        (self.low.timestamp(), self.high.map_or(Timestamp::MAX, |high| high.timestamp()))
    }

    /// Whether there is a time from which on nothing is wanted.
    pub fn has_end(&self) -> bool {
        self.high.is_some()
    }

    pub fn matches(&self, row: &impl Columns) -> bool {
        self.holds(row.id()) && self.matcher.matches(row)
    }

    /// The part of the test that is no bound and no list of levels, sources or applications.
    pub fn matches_expr(&self, row: &impl Columns) -> bool {
        self.expr_matcher.matches_expr(row)
    }

    /// The columns that [`matches_expr`](Wanted::matches_expr) asks for, in a file with these typed columns.
    pub fn expr_columns(&self, typed: &[TypedColumn]) -> ColumnSet {
        let mut columns = ColumnSet::default();
        self.expr.visit_leaves(&mut |leaf| {
            columns = columns.and(match leaf {
                Expr::Level(_) => ColumnSet::of(&[LEVEL]),
                Expr::Time(_) => ColumnSet::of(&[TIMESTAMP]),
                Expr::Id(_) => ColumnSet::ID,
                Expr::Text(_) => ColumnSet::of(&[MESSAGE]),
                Expr::Field { field: Field::Source, .. } => ColumnSet::of(&[SOURCE]),
                Expr::Field { field: Field::Application, .. } => ColumnSet::of(&[APPLICATION]),
                Expr::Field { field: Field::Message, .. } => ColumnSet::of(&[MESSAGE]),
                Expr::Field { field: Field::Metadata(path), .. } => metadata_columns(path, typed),
                Expr::All(_) | Expr::Any(_) | Expr::Not(_) => ColumnSet::default(),
            });
        });
        columns
    }

    /// The metadata value and the numbers that it may be, when the expression asks for nothing else.
    pub fn equal_ints(&self) -> Option<(&str, Vec<i64>)> {
        let Expr::All(parts) = &self.expr else { return None };
        let [Expr::Field { field: Field::Metadata(path), test: Test::AnyOf(texts) }] = &parts[..] else { return None };
        let ints: Option<_> = texts.iter().map(|text| canonical_i64(text.as_bytes())).collect();
        Some((path, ints?))
    }

    /// The levels that are asked for, when nothing but levels and time is: kept counts then answer.
    pub fn levels_only(&self) -> Option<LevelSet> {
        let others = self.source.is_some() || self.application.is_some() || !self.expr.is_everything();
        (!others).then(|| self.levels.unwrap_or(LevelSet::ALL))
    }

    /// The levels and sources that are asked for, when nothing but these and time is: counts kept by minute then answer.
    pub fn levels_and_sources_only(&self) -> Option<(LevelSet, Option<&[String]>)> {
        let others = self.application.is_some() || !self.expr.is_everything();
        (!others).then(|| (self.levels.unwrap_or(LevelSet::ALL), self.source.as_deref()))
    }

    /// Whether a file may hold a wanted row, going by what is kept of it.
    pub fn may_be_in(&self, entry: &FileEntry, tally: Option<&Tally>) -> bool {
        let any_of = |list: &Option<Vec<String>>, kept: Option<&ValueCounts>| match (list, kept) {
            (Some(list), Some(kept)) => list.iter().any(|value| kept.contains_key(value.as_bytes())),
            _ => true,
        };
        self.overlaps(entry.first, entry.last)
            && self.levels.is_none_or(|levels| levels.iter().any(|level| entry.counts.levels[level.index()] > 0))
            && any_of(&self.source, tally.and_then(|tally| tally.sources.as_ref()))
            && any_of(&self.application, tally.and_then(|tally| tally.applications.as_ref()))
    }

    /// Whether the kept counts of a file could tell more than the manifest does.
    pub fn asks_for_values(&self) -> bool {
        self.source.is_some() || self.application.is_some()
    }

    /// Whether nothing but the bounds may keep a row out.
    pub fn is_time_only(&self) -> bool {
        self.levels_only() == Some(LevelSet::ALL)
    }
}

/// The columns in which the value at a metadata path may be.
pub fn metadata_columns(path: &str, typed: &[TypedColumn]) -> ColumnSet {
    match typed.iter().find(|column| column.key == path) {
        // A path may also lead into an object, and objects have no column of their own.
        Some(column) if path.contains('.') || column.is_partial => ColumnSet::of(&[column.column, METADATA]),
        Some(column) => ColumnSet::of(&[column.column]),
        None => ColumnSet::of(&[METADATA]),
    }
}

/// The parts of an expression that must all hold.
fn conjuncts(expr: Expr) -> Vec<Expr> {
    match expr {
        Expr::All(parts) => parts.into_iter().flat_map(conjuncts).collect(),
        other => vec![other],
    }
}

/// Moves a part of an expression into the filter's own lists, where it can be; else gives it back.
fn hoist(part: Expr, filter: &mut Filter) -> Option<Expr> {
    match part {
        Expr::Level(levels) => {
            filter.levels = Some(filter.levels.map_or(levels, |others| others.intersection(levels)));
            None
        }
        Expr::Field { field: Field::Source, test: Test::AnyOf(any) } if filter.source.is_none() => {
            filter.source = Some(any);
            None
        }
        Expr::Field { field: Field::Application, test: Test::AnyOf(any) } if filter.application.is_none() => {
            filter.application = Some(any);
            None
        }
        other => Some(other),
    }
}

fn and(expr: Expr, part: Expr) -> Expr {
    match expr {
        Expr::All(mut parts) => {
            parts.push(part);
            Expr::All(parts)
        }
        other => Expr::All(vec![other, part]),
    }
}

fn of_source(source: &str) -> Filter {
    Filter { source: Some(vec![source.to_owned()]), ..Filter::default() }
}

/// The next id in the order.
fn successor(id: Id) -> Option<Id> {
    u128::from_be_bytes(*id.as_bytes()).checked_add(1).map(|next| Id::from_bytes(next.to_be_bytes()))
}
