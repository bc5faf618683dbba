//! Questions in other words: what Postgres would answer and the engine does not say so, above all what clients ask about the catalog.

use std::ops::ControlFlow;
use std::sync::LazyLock;

use datafusion::sql::sqlparser::ast::{self, VisitMut};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use pgwire::api::Type;

use super::fault::Fault;

/// What becomes of a look-up, `(select x from …)` in the place of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LookUps {
    /// It stays as it is, and is refused where the engine cannot tell that it finds one row.
    Kept,
    /// It finds the first row. In the catalog there is one; elsewhere the answer would hide that there are more.
    First,
    /// It finds nothing. In the catalog that is an answer that clients bear; elsewhere it would be a wrong one.
    Nothing,
}

/// Reads a question as it is written.
pub(super) fn read(sql: &str) -> Result<ast::Statement, Fault> {
    let mut statement = parsed(sql)?;
    in_other_words(&mut statement);
    Ok(statement)
}

fn parsed(sql: &str) -> Result<ast::Statement, Fault> {
    one(sql, Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).and_then(|mut parser| parser.parse_statements()))
}

/// Lists the places whose values are lists: `x = any($1)`.
pub(super) fn places_of_lists(sql: &str) -> Vec<usize> {
    let (mut places, Ok(statement)) = (Vec::new(), read(sql)) else { return Vec::new() };
    let _ = ast::visit_expressions(&statement, |expression| {
        if let ast::Expr::AnyOp { right, .. } | ast::Expr::AllOp { right, .. } = expression {
            let of = if let ast::Expr::Nested(of) = right.as_ref() { of } else { right };
            if let ast::Expr::Value(value) = of.as_ref()
                && let ast::Value::Placeholder(name) = &value.value
            {
                places.extend(name.strip_prefix('$').and_then(|number| number.parse::<usize>().ok()));
            }
        }
        ControlFlow::<()>::Continue(())
    });
    places
}

/// Lists the places that are cast to a day or a time, `cast($1 as date)`, with what they take: the engine does not say so.
pub(super) fn places_of_times(sql: &str) -> Vec<(usize, Type)> {
    let (mut places, Ok(statement)) = (Vec::new(), read(sql)) else { return Vec::new() };
    let _ = ast::visit_expressions(&statement, |expression| {
        if let ast::Expr::Cast { expr, data_type, .. } = expression
            && let ast::Expr::Value(value) = expr.as_ref()
            && let ast::Value::Placeholder(name) = &value.value
            && let Some(number) = name.strip_prefix('$').and_then(|number| number.parse::<usize>().ok())
        {
            let kind = match data_type.to_string().to_lowercase().as_str() {
                "date" => Type::DATE,
                "timestamp" | "timestamp without time zone" => Type::TIMESTAMP,
                "timestamptz" | "timestamp with time zone" => Type::TIMESTAMPTZ,
                "time" | "time without time zone" => Type::TIME,
                _ => return ControlFlow::<()>::Continue(()),
            };
            places.push((number, kind));
        }
        ControlFlow::Continue(())
    });
    places
}

/// Tells whether a statement is a question, or about one.
pub(super) fn is_question(statement: &ast::Statement) -> bool {
    match statement {
        ast::Statement::Query(_) => true,
        ast::Statement::Explain { statement, .. } => is_question(statement),
        _ => false,
    }
}

/// Reads a question with what Postgres would allow and the engine does not put into its words.
pub(super) fn read_as_postgres(sql: &str, look_ups: LookUps) -> Result<ast::Statement, Fault> {
    static WORDS: LazyLock<PostgresCompatibilityParser> = LazyLock::new(PostgresCompatibilityParser::new);
    let named = names_as_numbers(sql);
    let sql = named.as_deref().unwrap_or(sql);
    let mut statement = one(sql, WORDS.parse(sql))?;
    // The library finds nothing by look-ups that stand among the columns. Parentheses hide them from it; but whole questions of some
    // clients, which it has answers of its own to, are left to it.
    if look_ups != LookUps::Nothing
        && let Ok(mut written) = parsed(sql)
        && WORDS.rewrite(written.clone()).to_string() == statement.to_string()
    {
        let _ = written.visit(&mut Hiding);
        if look_ups == LookUps::First {
            find_first(&mut written);
        }
        statement = WORDS.rewrite(written);
    }
    in_other_words(&mut statement);
    Ok(statement)
}

/// Puts look-ups among the columns into parentheses, and writes `x = any(select …)` as `x in (select …)`: the library takes it for a list.
struct Hiding;

impl ast::VisitorMut for Hiding {
    type Break = ();

    fn post_visit_select(&mut self, select: &mut ast::Select) -> ControlFlow<()> {
        for item in &mut select.projection {
            if let ast::SelectItem::UnnamedExpr(column) | ast::SelectItem::ExprWithAlias { expr: column, .. } = item
                && let ast::Expr::Subquery(query) = column
            {
                *column = ast::Expr::Nested(Box::new(ast::Expr::Subquery(query.clone())));
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &mut ast::Expr) -> ControlFlow<()> {
        let (left, right, negated) = match expression {
            ast::Expr::AnyOp { left, compare_op: ast::BinaryOperator::Eq, right, .. } => (left, right, false),
            ast::Expr::AllOp { left, compare_op: ast::BinaryOperator::NotEq, right } => (left, right, true),
            _ => return ControlFlow::Continue(()),
        };
        if let ast::Expr::Subquery(subquery) = right.as_ref() {
            *expression = ast::Expr::InSubquery { expr: left.clone(), subquery: subquery.clone(), negated };
        }
        ControlFlow::Continue(())
    }
}

/// Writes `(select x from …)` as `(select first_value(x) from …)`.
fn find_first(statement: &mut ast::Statement) {
    // The rows that a value is compared to all of are no look-up, though they are read as one.
    let compared = ast::visit_expressions(statement, |expression| match expression {
        ast::Expr::AnyOp { right, .. } | ast::Expr::AllOp { right, .. } if matches!(right.as_ref(), ast::Expr::Subquery(_)) => {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    });
    if compared.is_break() {
        return;
    }
    let _ = ast::visit_expressions_mut(statement, |expression| {
        if let ast::Expr::Subquery(query) = expression
            && let Some(first) = found_first(query)
        {
            *expression = first;
        }
        ControlFlow::<()>::Continue(())
    });
}

/// Returns the look-up as the engine answers it, if it is one; null for what it cannot look up row by row.
fn found_first(query: &mut ast::Query) -> Option<ast::Expr> {
    if !first_of(query) {
        return None;
    }
    let ast::SetExpr::Select(select) = query.body.as_mut() else { return None };
    let own = own_names(select);
    let (mut inner, mut outer) = (None, None);
    for condition in conjuncts(select.selection.take()) {
        let both = |kept: Option<ast::Expr>, more: ast::Expr| match kept {
            Some(kept) => Some(ast::Expr::BinaryOp {
                left: Box::new(kept),
                op: ast::BinaryOperator::And,
                right: Box::new(ast::Expr::Nested(Box::new(more))),
            }),
            None => Some(ast::Expr::Nested(Box::new(more))),
        };
        match (sides(&condition, &own), &condition) {
            // What is only about the row outside is asked before.
            ((false, true), _) => outer = both(outer, condition),
            ((_, false), _) => inner = both(inner, condition),
            ((true, true), ast::Expr::BinaryOp { left, op: ast::BinaryOperator::Eq, right })
                if sides(left, &own) != (true, true) && sides(right, &own) != (true, true) =>
            {
                inner = both(inner, condition);
            }
            _ => return Some(ast::Expr::value(ast::Value::Null)),
        }
    }
    select.selection = inner;
    let found = ast::Expr::Subquery(Box::new(query.clone()));
    let Some(outer) = outer else { return Some(found) };
    let mut parser = Parser::new(&PostgreSqlDialect {}).try_with_sql("case when true then 1 end").ok()?;
    let mut case = parser.parse_expr().ok()?;
    if let ast::Expr::Case { conditions, .. } = &mut case
        && let Some(when) = conditions.first_mut()
    {
        when.condition = outer;
        when.result = found;
    }
    Some(case)
}

fn conjuncts(condition: Option<ast::Expr>) -> Vec<ast::Expr> {
    match condition {
        None => Vec::new(),
        Some(ast::Expr::BinaryOp { left, op: ast::BinaryOperator::And, right }) => {
            let mut all = conjuncts(Some(*left));
            all.extend(conjuncts(Some(*right)));
            all
        }
        Some(ast::Expr::Nested(of)) => conjuncts(Some(*of)),
        Some(other) => vec![other],
    }
}

/// The names that a look-up's own tables go by.
fn own_names(select: &ast::Select) -> Vec<String> {
    let tables = select.from.iter().flat_map(|from| std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)));
    let name = |table: &ast::TableFactor| match table {
        ast::TableFactor::Table { alias: Some(alias), .. } | ast::TableFactor::Derived { alias: Some(alias), .. } => {
            Some(alias.name.value.clone())
        }
        ast::TableFactor::Table { name, .. } => name.0.last().map(ToString::to_string),
        _ => None,
    };
    tables.filter_map(name).collect()
}

/// Tells whether a condition is about the look-up's own tables, and about the row outside. A name without a table is its own.
fn sides(condition: &ast::Expr, own: &[String]) -> (bool, bool) {
    let (mut is_inner, mut is_outer) = (false, false);
    let _ = ast::visit_expressions(condition, |expression| {
        match expression {
            ast::Expr::Identifier(_) => is_inner = true,
            ast::Expr::CompoundIdentifier(parts) => {
                let table = parts.len().checked_sub(2).and_then(|at| parts.get(at));
                let is_own = table.is_some_and(|table| own.iter().any(|own| own.eq_ignore_ascii_case(&table.value)));
                (is_inner, is_outer) = (is_inner || is_own, is_outer || !is_own);
            }
            // The library looks such names up as well, within the look-up.
            ast::Expr::Cast { data_type, .. } if data_type.to_string().to_lowercase().starts_with("reg") => {
                (is_inner, is_outer) = (true, true)
            }
            ast::Expr::Subquery(_) | ast::Expr::Exists { .. } | ast::Expr::InSubquery { .. } => (is_inner, is_outer) = (true, true),
            _ => {}
        }
        ControlFlow::<()>::Continue(())
    });
    (is_inner, is_outer)
}

/// Makes a look-up one of the first row; false when it is none, or finds one row already.
fn first_of(query: &mut ast::Query) -> bool {
    let is_cut = query.limit_clause.is_some() || query.fetch.is_some();
    let ast::SetExpr::Select(select) = query.body.as_mut() else { return false };
    let is_grouped = select.having.is_some()
        || select.distinct.is_some()
        || !matches!(&select.group_by, ast::GroupByExpr::Expressions(by, _) if by.is_empty());
    let [ast::SelectItem::UnnamedExpr(of) | ast::SelectItem::ExprWithAlias { expr: of, .. }] = select.projection.as_mut_slice() else {
        return false;
    };
    if is_cut || is_grouped || select.from.is_empty() || is_aggregate(of) {
        return false;
    }
    let Some(first) = call("first_value", vec![of.clone()]) else { return false };
    *of = first;
    query.order_by = None;
    true
}

/// Tells whether a value is made of many rows already.
fn is_aggregate(value: &ast::Expr) -> bool {
    const AGGREGATES: [&str; 11] =
        ["count", "sum", "min", "max", "avg", "bool_and", "bool_or", "every", "any_value", "first_value", "last_value"];
    let found = ast::visit_expressions(value, |expression| match expression {
        ast::Expr::Function(function) => {
            let name = function.name.to_string().to_lowercase();
            let name = name.strip_prefix("pg_catalog.").unwrap_or(&name);
            if AGGREGATES.contains(&name) || name.ends_with("_agg") { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

/// Writes `'name'::regclass` as `to_regclass('name')`, which also knows the catalog's own tables; none when there is nothing to write.
fn names_as_numbers(sql: &str) -> Option<String> {
    let (mut statement, mut is_changed) = (read(sql).ok()?, false);
    let _ = ast::visit_expressions_mut(&mut statement, |expression| {
        if let ast::Expr::Cast { expr, data_type, .. } = expression
            && data_type.to_string().to_lowercase().ends_with("regclass")
            && let ast::Expr::Value(value) = expr.as_ref()
            && matches!(value.value, ast::Value::SingleQuotedString(_) | ast::Value::Placeholder(_))
            && let Some(number) = call("to_regclass", vec![expr.as_ref().clone()])
        {
            *expression = number;
            is_changed = true;
        }
        ControlFlow::<()>::Continue(())
    });
    is_changed.then(|| statement.to_string())
}

/// Writes `array(select x …)` as `(select array_agg(x) …)`, `(x).name` as `get_field(x, 'name')` and `generate_subscripts(x, 1)` as
/// `unnest(list_subscripts(x, 1))`, which the engine knows, or is told by the room.
fn in_other_words(statement: &mut ast::Statement) {
    let _ = ast::visit_expressions_mut(statement, |expression| {
        let other = match expression {
            ast::Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("array") => match &function.args {
                ast::FunctionArguments::Subquery(query) => collected(query.as_ref().clone()),
                _ => None,
            },
            ast::Expr::Function(function) if names_subscripts(&function.name) => numbered(function),
            ast::Expr::Like { escape_char: Some(escape), .. } | ast::Expr::ILike { escape_char: Some(escape), .. }
                if escaping(escape).is_some_and(|letter| letter != '\\') =>
            {
                escaped(expression.clone())
            }
            ast::Expr::CompoundFieldAccess { root, access_chain } => match (root.as_ref(), access_chain.as_slice()) {
                (ast::Expr::Nested(of), [ast::AccessExpr::Dot(ast::Expr::Identifier(name))]) => {
                    let name = ast::Expr::value(ast::Value::SingleQuotedString(name.value.to_lowercase()));
                    call("get_field", vec![of.as_ref().clone(), name])
                }
                _ => None,
            },
            _ => None,
        };
        if let Some(other) = other {
            *expression = other;
        }
        ControlFlow::<()>::Continue(())
    });
}

fn names_subscripts(name: &ast::ObjectName) -> bool {
    let name = name.to_string().to_lowercase();
    name.strip_prefix("pg_catalog.").unwrap_or(&name) == "generate_subscripts"
}

/// Rows are made where a list is taken apart, and nowhere else among the columns.
fn numbered(function: &ast::Function) -> Option<ast::Expr> {
    let ast::FunctionArguments::List(given) = &function.args else { return None };
    let value = |argument: &ast::FunctionArg| match argument {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(value)) => Some(value.clone()),
        _ => None,
    };
    let arguments: Vec<ast::Expr> = given.args.iter().map(value).collect::<Option<_>>()?;
    call("unnest", vec![call("list_subscripts", arguments)?])
}

fn escaping(value: &ast::ValueWithSpan) -> Option<char> {
    match &value.value {
        ast::Value::SingleQuotedString(text) => text.chars().next().filter(|letter| text.len() == letter.len_utf8()),
        _ => None,
    }
}

/// Writes a pattern with the one letter that the engine takes for escaping.
fn escaped(mut expression: ast::Expr) -> Option<ast::Expr> {
    let (ast::Expr::Like { pattern, escape_char, .. } | ast::Expr::ILike { pattern, escape_char, .. }) = &mut expression else {
        return None;
    };
    let letter = escaping(escape_char.as_ref()?)?.to_string();
    let text = |text: &str| ast::Expr::value(ast::Value::SingleQuotedString(text.to_owned()));
    let mut other = pattern.as_ref().clone();
    // The letter itself, twice, goes by a sign that no pattern holds.
    for (from, to) in [("\\", "\\\\"), (&letter.repeat(2), "\u{1}"), (&letter, "\\"), ("\u{1}", &letter)] {
        other = call("replace", vec![other, text(from), text(to)])?;
    }
    **pattern = other;
    *escape_char = None;
    Some(expression)
}

/// A list has no order here.
fn collected(mut query: ast::Query) -> Option<ast::Expr> {
    query.order_by = None;
    // psql asks so for the options of a table's overflow, which no table here has, and the engine takes no list of an outer row apart.
    if query.to_string().contains("unnest(tc.reloptions)") {
        let text = |text: &str| ast::Expr::value(ast::Value::SingleQuotedString(text.to_owned()));
        return call("string_to_array", vec![text(""), text(",")]);
    }
    let ast::SetExpr::Select(select) = query.body.as_mut() else { return None };
    let [ast::SelectItem::UnnamedExpr(of) | ast::SelectItem::ExprWithAlias { expr: of, .. }] = select.projection.as_slice() else {
        return None;
    };
    select.projection = vec![ast::SelectItem::UnnamedExpr(call("array_agg", vec![of.clone()])?)];
    Some(ast::Expr::Subquery(Box::new(query)))
}

fn call(name: &str, arguments: Vec<ast::Expr>) -> Option<ast::Expr> {
    let mut parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(&format!("{name}(1)")).ok()?;
    let ast::Expr::Function(mut function) = parser.parse_expr().ok()? else { return None };
    let args = arguments.into_iter().map(|argument| ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(argument))).collect();
    function.args = ast::FunctionArguments::List(ast::FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() });
    Some(ast::Expr::Function(function))
}

/// Tells whether a question is, or may be, about the catalog: what clients ask at start, in words that only Postgres has.
pub(super) fn is_about_the_catalog(sql: &str) -> bool {
    let lower = sql.to_ascii_lowercase();
    ["pg_", "information_schema", "::reg", "current_schema", "current_user", "session_user", "version()"]
        .iter()
        .any(|word| lower.contains(word))
}

fn one(sql: &str, parsed: Result<Vec<ast::Statement>, ParserError>) -> Result<ast::Statement, Fault> {
    let mut statements = parsed.map_err(|error| {
        let text = error.to_string();
        Fault::new("42601", text.strip_prefix("sql parser error: ").unwrap_or(&text)).placed(sql)
    })?;
    match (statements.pop(), statements.is_empty()) {
        (Some(statement), true) => Ok(statement),
        _ => Err(Fault::new("42601", "one statement at a time: write a single select")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_postgres_says_is_said_otherwise() {
        let said = |sql: &str| read_as_postgres(sql, LookUps::First).unwrap().to_string();
        assert!(said("select array(select b.x from b order by 1) as y from c").contains("(SELECT array_agg(b.x) FROM b)"));
        assert!(said("select 1 where x = 'pg_class'::regclass").contains("x = to_regclass('pg_class')"));
        assert!(said("select pg_catalog.generate_subscripts(i.k, 1) from i").contains("unnest(list_subscripts(i.k, 1))"));
        assert!(said("select (r.keys).n from r").contains("get_field(r.keys, 'n')"), "{}", said("select (r.keys).n from r"));
    }
    #[test]
    fn a_look_up_finds_what_is_there() {
        let said = |sql: &str, look_ups| read_as_postgres(sql, look_ups).unwrap().to_string();
        let sql = "select (select d.adbin from pg_attrdef d where d.adnum = a.attnum) as y, 'array_in'::regproc from pg_attribute a";
        assert!(said(sql, LookUps::Kept).contains("(SELECT d.adbin FROM"), "{}", said(sql, LookUps::Kept));
        assert!(said(sql, LookUps::First).contains("(SELECT first_value(d.adbin) FROM"), "{}", said(sql, LookUps::First));
        assert!(said(sql, LookUps::Nothing).contains("NULL AS y"), "{}", said(sql, LookUps::Nothing));
        for same in [
            "select 1 where (select count(*) from a) > 0",
            "select 1 where (select x from a limit 1) > 0",
            "select 1 where (select x from a group by x) > 0",
            "select 1 where 1 < all(select x from a)",
        ] {
            assert_eq!(said(same, LookUps::First), said(same, LookUps::Kept));
            assert!(!said(same, LookUps::First).contains("first_value"), "{same}");
        }
        assert!(said("select 1 where 1 = any(select x from a)", LookUps::First).contains("1 IN (SELECT x FROM a)"));
        assert!(said("select 1 where 1 <> all(select x from a)", LookUps::First).contains("1 NOT IN (SELECT x FROM a)"));
    }
}
