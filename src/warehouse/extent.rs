//! How much a statement may be made of: what is nested or chained too deep fills the stack of whoever walks down, which no budget sees
//! and no error catches.

use std::collections::HashMap;

use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::dialect::{Dialect, GenericDialect};
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

/// Bytes of one statement.
const MOST_BYTES: usize = 1 << 20;
/// Words and signs of one statement that put one thing upon another: operators, joins, selects and so on. What lies side by side, as in
/// a list, is not counted.
const MOST_LINKS: usize = 400;
/// Steps of one query: scans, filters, joins and so on.
const MOST_STEPS: usize = 10_000;
/// Steps that stand upon each other.
const MOST_DEPTH: usize = 500;

/// Words after which commas join tables.
const OF_TABLES: [&str; 2] = ["from", "join"];
/// Words after which they do not any more.
const OF_VALUES: [&str; 11] = ["where", "group", "order", "select", "values", "on", "using", "limit", "having", "with", "in"];
/// Words that put one thing upon another.
const LINKS: [&str; 20] = [
    "and",
    "or",
    "not",
    "is",
    "like",
    "ilike",
    "similar",
    "between",
    "select",
    "union",
    "intersect",
    "except",
    "join",
    "case",
    "when",
    "collate",
    "cast",
    "at",
    "isnull",
    "notnull",
];

/// Words that the parser reads as a function when it cannot read them as what they are: where that fails, it has read all within the
/// parentheses twice, and so on at each level.
const READ_TWICE: [&str; 32] = [
    "array",
    "box",
    "case",
    "cast",
    "ceil",
    "circle",
    "convert",
    "exists",
    "extract",
    "floor",
    "interval",
    "lambda",
    "line",
    "lseg",
    "map",
    "match",
    "not",
    "overlay",
    "path",
    "point",
    "polygon",
    "position",
    "prior",
    "safe_cast",
    "session_user",
    "struct",
    "substr",
    "substring",
    "trim",
    "try_cast",
    "try_convert",
    "user",
];
/// How deep such words may stand within each other.
const MOST_READ_TWICE: usize = 12;

/// Refuses a statement that is too long or chains too much, before anybody parses it.
pub(crate) fn within_length(sql: &str) -> Result<()> {
    within_length_as_read(sql, &GenericDialect {})
}

/// As [`within_length`], of a statement that is parsed in another dialect: what is a text to one is a chain of operators to another.
pub(crate) fn within_length_as_read(sql: &str, dialect: &dyn Dialect) -> Result<()> {
    if sql.len() > MOST_BYTES {
        return plan_err!("the statement is longer than {} KiB", MOST_BYTES >> 10);
    }
    // What is no sequence of words is told so by the parser.
    let Ok(tokens) = Tokenizer::new(dialect, sql).tokenize() else { return Ok(()) };
    let (mut links, mut is_of_tables) = (0, false);
    for token in &tokens {
        links += match token {
            Token::Word(word) if word.quote_style.is_none() => {
                let word = word.value.to_lowercase();
                is_of_tables = OF_TABLES.contains(&&*word) || (is_of_tables && !OF_VALUES.contains(&&*word));
                usize::from(LINKS.contains(&&*word))
            }
            Token::Comma => usize::from(is_of_tables),
            Token::Whitespace(_)
            | Token::Word(_)
            | Token::Number(..)
            | Token::SemiColon
            | Token::LParen
            | Token::RParen
            | Token::RBracket
            | Token::EOF => 0,
            token if is_text(token) => 0,
            _ => 1,
        };
    }
    if depth_read_twice(&tokens) > MOST_READ_TWICE {
        return plan_err!("the statement nests cast, case, not and the like more than {MOST_READ_TWICE} deep; say it flatter");
    }
    if readings(&tokens) > MOST_STEPS as u64 {
        return plan_err!("the statement reads its own tables of `with` more than {MOST_STEPS} times; say it in fewer");
    }
    if links > MOST_LINKS {
        plan_err!("the statement chains more than {MOST_LINKS} operators, joins and selects; say it in fewer")
    } else {
        Ok(())
    }
}

fn depth_read_twice(tokens: &[Token]) -> usize {
    let (mut open, mut depth, mut most, mut is_after) = (Vec::new(), 0_usize, 0, false);
    for token in tokens {
        match token {
            Token::Whitespace(_) => continue,
            Token::LParen => {
                open.push(is_after);
                depth += usize::from(is_after);
                most = most.max(depth);
            }
            Token::RParen => depth -= usize::from(open.pop().unwrap_or(false)),
            _ => {}
        }
        is_after = matches!(token, Token::Word(word) if READ_TWICE.contains(&&*word.value.to_lowercase()));
    }
    most
}

/// Counts how often tables of `with` are read when each is written out where it is read: one that reads the one before it twice, and so
/// on, doubles the plan each time. Whatever has the name of such a table is counted, so that the number is at least that large.
fn readings(tokens: &[Token]) -> u64 {
    let tokens: Vec<&Token> = tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_))).collect();
    let word = |index: Option<usize>| match index.and_then(|index| tokens.get(index)) {
        Some(Token::Word(word)) => Some(word.value.to_lowercase()),
        _ => None,
    };
    let (mut sizes, mut most) = (HashMap::<String, u64>::new(), 0_u64);
    // The parentheses that are open: where they began, the table whose text they hold, and what is read within.
    let mut open: Vec<(usize, Option<String>, u64)> = vec![(0, None, 0)];
    let mut closed = None;
    for (index, token) in tokens.iter().enumerate() {
        match token {
            Token::LParen => {
                let mut before = index.checked_sub(1);
                while word(before).is_some_and(|word| matches!(word.as_str(), "not" | "materialized")) {
                    before = before.and_then(|before| before.checked_sub(1));
                }
                let named = before.filter(|_| word(before).as_deref() == Some("as")).and_then(|before| before.checked_sub(1));
                // The name stands before `as`, or before the list of columns that stands there.
                let name = word(named).or_else(|| {
                    let (start, end) = closed?;
                    if named == Some(end) { word(usize::checked_sub(start, 1)) } else { None }
                });
                open.push((index, name, 0));
            }
            Token::RParen if open.len() > 1 => {
                let Some((start, name, read)) = open.pop() else { continue };
                closed = Some((start, index));
                match name {
                    Some(name) => {
                        let size = sizes.entry(name).or_default();
                        *size = read.saturating_add(1).max(*size);
                    }
                    None => {
                        if let Some((_, _, outer)) = open.last_mut() {
                            *outer = outer.saturating_add(read);
                        }
                    }
                }
                most = most.max(read);
            }
            Token::Word(word) => {
                if let (Some(size), Some((_, _, read))) = (sizes.get(&word.value.to_lowercase()), open.last_mut()) {
                    *read = read.saturating_add(*size);
                }
            }
            _ => {}
        }
    }
    open.iter().map(|(_, _, read)| *read).fold(most, u64::max)
}

fn is_text(token: &Token) -> bool {
    matches!(
        token,
        Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::DollarQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::NationalStringLiteral(_)
            | Token::HexStringLiteral(_)
            | Token::Placeholder(_)
    )
}

/// Refuses a query that is made of too many steps, or too deep: a few common table expressions, each of which reads the one before it
/// twice, make a plan that nobody ends planning.
pub(crate) fn within_steps(plan: &LogicalPlan) -> Result<()> {
    let mut steps = 0;
    let mut open = vec![(plan, 1)];
    while let Some((plan, depth)) = open.pop() {
        steps += 1;
        if steps > MOST_STEPS {
            return plan_err!("the query has more than {MOST_STEPS} steps; say it in fewer");
        }
        if depth > MOST_DEPTH {
            return plan_err!("the query has more than {MOST_DEPTH} steps upon each other; say it in fewer");
        }
        open.extend(plan.inputs().into_iter().map(|input| (input, depth + 1)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;

    use super::*;

    #[test]
    fn tables_that_read_each_other_twice_are_counted() {
        let doubled = |levels: usize, columns: &str| {
            let with = (1..levels).fold(format!("t0{columns} as (select 1 as n)"), |with, level| {
                let below = level - 1;
                format!("{with}, t{level}{columns} as not materialized (select x.n from T{below} as x, (select * from t{below}) as y)")
            });
            format!("with {with} select count(*) from t{}", levels - 1)
        };
        for columns in ["", " (n)", "(n)"] {
            assert!(within_length(&doubled(10, columns)).is_ok(), "{columns}");
            assert!(within_length(&doubled(20, columns)).is_err(), "{columns}");
            assert!(within_length(&doubled(70, columns)).is_err(), "{columns}");
        }
        let chain =
            (1..40).fold("t0 as (select 1 as n)".to_owned(), |with, level| format!("{with}, t{level} as (select n from t{})", level - 1));
        assert!(within_length(&format!("with {chain} select * from t39")).is_ok());
    }

    #[test]
    fn what_the_parser_reads_twice_is_not_nested_deep() {
        for (head, tail) in [("cast(", " as int)"), ("not (", ")"), ("CASE (", ") when 1 then 1 end"), ("floor( ", ")")] {
            let nested = |levels: usize| format!("select {}1{}", head.repeat(levels), tail.repeat(levels));
            assert!(within_length(&nested(12)).is_ok(), "{head}");
            assert!(within_length(&nested(13)).is_err(), "{head}");
        }
        assert!(within_length(&format!("select {}", "cast(1 as int), ".repeat(100))).is_ok(), "side by side");
        assert!(within_length(&format!("select {}1{}", "coalesce(".repeat(40), ")".repeat(40))).is_ok());
    }

    #[test]
    fn a_statement_is_counted_in_the_dialect_in_which_it_is_parsed() {
        let chain = " + 1".repeat(1_000);
        // To the engine's own dialect the chain stands within a name, or what begins there never ends.
        for sql in [format!("select 1 as `{chain}`"), format!("select 1 as `{chain}")] {
            assert!(within_length(&sql).is_ok(), "{}", &sql[..20]);
            assert!(within_length_as_read(&sql, &PostgreSqlDialect {}).is_err(), "{}", &sql[..20]);
        }
    }

    #[test]
    fn lists_may_be_long_and_chains_may_not() {
        let list = |count: usize| format!("select a.x, y from lake.t as a where a.x in ({}'x')", "'x', ".repeat(count));
        assert!(within_length(&list(20_000)).is_ok());
        assert!(within_length(&list(300_000)).is_err(), "a megabyte");
        for chained in [" + 1", " and true", " || 'x'", "::int", " is null", " union all select 1", "[1]", " - - 1"] {
            let chain = |count: usize| format!("select 1{}", chained.repeat(count));
            assert!(within_length(&chain(100)).is_ok(), "{chained}");
            assert!(within_length(&chain(1_000)).is_err(), "{chained}");
        }
        assert!(within_length(&format!("select 1 from t{}", ", t".repeat(1_000))).is_err());
        assert!(within_length(&format!("select 1 from t where x = 1 group by x{}", ", x".repeat(1_000))).is_ok());
    }
}
