//! A filter as statements: its bounds in time drawn together, since they say which partitions need to be looked at.

use record::filter::{Expr, Field, Test};
use record::{Filter, Id};
use tokio_postgres::types::Type;

use super::values::Instant;
use super::walk::{Order, Span};
use crate::store::Position;
use crate::store::postgres::counts::MINUTE_MICROS;
use crate::store::postgres::sql::{COLUMNS, Sql, Table};
use crate::store::postgres::types::Uuid;

/// Which rows a query wants.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// All that is wanted lies in it.
    pub span: Span,
    /// Only rows before this place in the order, or after it.
    beyond: Option<(Id, Order)>,
    /// What else is asked for: no times of its own, nor in its expression as a whole.
    filter: Filter,
}

impl Wanted {
    /// What `filter` wants, from `start` on.
    pub fn new(filter: &Filter, start: Option<Position>) -> Wanted {
        let micros = |time: record::Timestamp| time.as_micros();
        let mut span = Span { from: filter.from.map(micros), to: filter.to.map(micros) };
        let mut rest = Vec::new();
        for part in conjuncts(filter.expr.clone()) {
            match &part {
                Expr::Time(range) => {
                    let range = Span { from: range.from.map(micros), to: range.to.map(micros) };
                    span = span.intersection(range);
                    continue;
                }
                Expr::Id(ids) if !ids.is_empty() => {
                    let times = || ids.iter().map(|id| id.timestamp().as_micros());
                    span = span.intersection(Span { from: times().min(), to: times().max().map(|last| last + 1) });
                }
                _ => {}
            }
            rest.push(part);
        }
        let filter = Filter { from: None, to: None, expr: Expr::All(rest), ..filter.clone() };
        let wanted = Wanted { span, beyond: None, filter };
        match start {
            Some(Position(id)) => wanted.beyond(id, Order::NewestFirst),
            None => wanted,
        }
    }

    /// What is older than `id`, of the same source.
    pub fn older_than(id: Id, source: &str) -> Wanted {
        Wanted::new(&of_source(source), None).beyond(id, Order::NewestFirst)
    }

    /// What is newer than `id`, of the same source.
    pub fn newer_than(id: Id, source: &str) -> Wanted {
        Wanted::new(&of_source(source), None).beyond(id, Order::OldestFirst)
    }

    /// Only what comes after `id` in this order.
    fn beyond(mut self, id: Id, order: Order) -> Wanted {
        let micros = id.timestamp().as_micros();
        // Both ends are named, for partitions are chosen by them: the comparison of pairs alone would choose none.
        self.span = self.span.intersection(match order {
            Order::NewestFirst => Span { from: None, to: Some(micros + 1) },
            Order::OldestFirst => Span { from: Some(micros), to: None },
        });
        self.beyond = Some((id, order));
        self
    }

    /// Rows in tuple form.
    pub fn rows(&self, span: Span, order: Order, limit: Option<usize>) -> Sql {
        let mut sql = Sql::new("SELECT ");
        sql.push(COLUMNS).push(" FROM logs");
        self.push_where(&mut sql, span, Table::Logs);
        sql.push(order.sql());
        if let Some(limit) = limit {
            sql.push(" LIMIT ").bind(i64::try_from(limit).unwrap_or(i64::MAX), Type::INT8);
        }
        sql
    }

    /// Appends the condition, for rows within `span`, which lies in the whole span.
    pub fn push_where(&self, sql: &mut Sql, span: Span, table: Table) {
        sql.push(" WHERE true");
        for (operator, end) in [(" >= ", span.from), (" < ", span.to)] {
            if let Some(end) = end {
                sql.push(" AND ").push_time(table.time(), operator, end);
            }
        }
        if let Some((id, order)) = self.beyond {
            let operator = if order == Order::NewestFirst { " < (" } else { " > (" };
            sql.push(" AND (\"timestamp\", id)").push(operator);
            sql.bind(Instant::at(id.timestamp().as_micros()), Type::TIMESTAMPTZ);
            sql.push(", ").bind(Uuid(id), Type::UUID).push(")");
        }
        sql.push_filter(&self.filter, table);
    }

    /// Whether counts a minute know all that is asked for, but where the span begins and ends within one.
    pub fn is_of_minutes(&self) -> bool {
        let mut all = self.beyond.is_none();
        self.filter.expr.visit_leaves(&mut |leaf| {
            all &= match leaf {
                Expr::Level(_) | Expr::Field { field: Field::Source | Field::Application, .. } => true,
                Expr::Time(range) => {
                    [range.from, range.to].iter().flatten().all(|end| end.as_micros() % MINUTE_MICROS == 0)
                }
                Expr::Text(_) | Expr::Id(_) | Expr::Field { .. } => false,
                Expr::All(_) | Expr::Any(_) | Expr::Not(_) => true,
            };
        });
        all
    }

    pub fn is_nothing(&self) -> bool {
        self.span.is_empty() || self.filter.is_nothing()
    }
}

/// The record of an id, whose time tells the partition.
pub fn one(id: Id) -> Sql {
    let mut sql = Sql::new("SELECT ");
    sql.push(COLUMNS).push(" FROM logs WHERE ").push_time("\"timestamp\"", " = ", id.timestamp().as_micros());
    sql.push(" AND id = ").bind(Uuid(id), Type::UUID);
    sql
}

/// The parts of an expression that must all hold.
fn conjuncts(expr: Expr) -> Vec<Expr> {
    match expr {
        Expr::All(parts) => parts.into_iter().flat_map(conjuncts).collect(),
        other => vec![other],
    }
}

fn of_source(source: &str) -> Filter {
    let test = Test::AnyOf(vec![source.to_owned()]);
    Filter { expr: Expr::Field { field: Field::Source, test }, ..Filter::default() }
}
