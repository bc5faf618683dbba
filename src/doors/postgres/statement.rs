//! What a text is: statements one by one, and of each whether it is a question or about the connection itself.

use std::sync::LazyLock;

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};
use datafusion_pg_catalog::sql::PostgresCompatibilityParser;

use super::fault::Fault;
use super::frames::Target;

/// One text is no more statements than this.
const MOST_STATEMENTS: usize = 100;

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) sql: String,
    pub(super) command: Command,
}

/// What a statement wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    Ask,
    Begin,
    Commit,
    Rollback,
    /// Nothing, under this name.
    Nothing(&'static str),
    Set(String, Option<String>),
    Reset(Option<String>),
    /// All of them without a name.
    Show(Option<String>),
    Discard,
    /// All of them without a name.
    Forget(Target, Option<String>),
    Refused(Box<Fault>),
}

/// Takes a text apart; an empty one is no statement.
pub(super) fn pieces(sql: &str) -> Result<Vec<Piece>, Fault> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql)
        .tokenize_with_location()
        .map_err(|error| Fault::new("42601", error.to_string()).placed(sql))?;
    let tokens: Vec<TokenWithSpan> = tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF)).collect();
    let lines: Vec<usize> = std::iter::once(0).chain(sql.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let mut pieces = Vec::new();
    for statement in tokens.split(|token| token.token == Token::SemiColon) {
        let (Some(first), Some(last)) = (statement.first(), statement.last()) else { continue };
        if pieces.len() == MOST_STATEMENTS {
            return Err(Fault::new("54000", format!("a text holds at most {MOST_STATEMENTS} statements")));
        }
        let text = sql.get(byte_of(sql, &lines, first.span.start)..byte_of(sql, &lines, last.span.end)).unwrap_or(sql);
        let tokens: Vec<&Token> = statement.iter().map(|token| &token.token).collect();
        pieces.push(Piece { sql: text.to_owned(), command: command(&tokens) });
    }
    Ok(pieces)
}

/// Lines and columns are counted from one, columns in letters.
fn byte_of(sql: &str, lines: &[usize], place: Location) -> usize {
    let line = usize::try_from(place.line).unwrap_or(1).saturating_sub(1);
    let column = usize::try_from(place.column).unwrap_or(1).saturating_sub(1);
    let start = lines.get(line).copied().unwrap_or(sql.len());
    sql[start..].char_indices().nth(column).map_or(sql.len(), |(at, _)| start + at)
}

fn word(token: Option<&&Token>) -> String {
    match token {
        Some(Token::Word(word)) if word.quote_style.is_none() => word.value.to_ascii_uppercase(),
        _ => String::new(),
    }
}

fn command(tokens: &[&Token]) -> Command {
    let refused = |fault: Fault| Command::Refused(Box::new(fault));
    let second = word(tokens.get(1));
    match word(tokens.first()).as_str() {
        "BEGIN" | "START" => match is_writing(tokens) {
            true => refused(Fault::read_only()),
            false => Command::Begin,
        },
        "COMMIT" | "END" => Command::Commit,
        "ROLLBACK" if tokens.iter().any(|token| word(Some(token)) == "TO") => Command::Nothing("ROLLBACK"),
        "ROLLBACK" | "ABORT" => Command::Rollback,
        "SAVEPOINT" => Command::Nothing("SAVEPOINT"),
        "RELEASE" => Command::Nothing("RELEASE"),
        "SET" => set(tokens),
        "RESET" if second == "ALL" => Command::Reset(None),
        "RESET" => match name(&tokens[1..]) {
            Some((name, _)) => Command::Reset(Some(name)),
            None => refused(Fault::new("42601", "reset what? write reset NAME or reset all")),
        },
        "SHOW" => show(tokens),
        "DISCARD" if second == "ALL" => Command::Discard,
        "DISCARD" => Command::Nothing("DISCARD"),
        "DEALLOCATE" => Command::Forget(Target::Statement, named(tokens, usize::from(second == "PREPARE") + 1)),
        "CLOSE" => Command::Forget(Target::Portal, named(tokens, 1)),
        "UNLISTEN" => Command::Nothing("UNLISTEN"),
        "PREPARE" | "EXECUTE" | "DECLARE" | "FETCH" | "MOVE" => refused(
            Fault::new("0A000", "statements and cursors are not named in SQL here")
                .hint("drivers name them in the protocol: fetch in portions by the driver's fetch size"),
        ),
        _ => Command::Ask,
    }
}

/// Whether a transaction wants to change something.
fn is_writing(tokens: &[&Token]) -> bool {
    tokens.windows(2).any(|pair| word(pair.first()) == "READ" && word(pair.get(1)) == "WRITE")
}

fn set(tokens: &[&Token]) -> Command {
    let refused = |fault: Fault| Command::Refused(Box::new(fault));
    let is_scoped = ["SESSION", "LOCAL"].contains(&word(tokens.get(1)).as_str());
    let rest = &tokens[1 + usize::from(is_scoped)..];
    match (word(rest.first()).as_str(), word(rest.get(1)).as_str()) {
        ("TRANSACTION" | "CHARACTERISTICS", _) => match is_writing(rest) {
            true => refused(Fault::read_only()),
            false => Command::Nothing("SET"),
        },
        ("TIME", "ZONE") => Command::Set("TimeZone".to_owned(), value(&rest[2..])),
        ("NAMES", _) => Command::Set("client_encoding".to_owned(), value(&rest[1..])),
        ("ROLE" | "AUTHORIZATION", _) => refused(Fault::new("42501", "permission denied to become somebody else")),
        _ => match name(rest) {
            Some((name, used)) => {
                let is_given = matches!(rest.get(used), Some(Token::Eq)) || word(rest.get(used)) == "TO";
                if is_given && rest.len() > used + 1 {
                    Command::Set(name, value(&rest[used + 1..]))
                } else {
                    refused(Fault::new("42601", format!("set {name} to what? write set {name} = VALUE")))
                }
            }
            None => refused(Fault::new("42601", "set what? write set NAME = VALUE")),
        },
    }
}

fn show(tokens: &[&Token]) -> Command {
    match (word(tokens.get(1)).as_str(), word(tokens.get(2)).as_str()) {
        ("ALL", "") => Command::Show(None),
        ("TIME", "ZONE") => Command::Show(Some("TimeZone".to_owned())),
        ("TRANSACTION", "ISOLATION") => Command::Show(Some("transaction_isolation".to_owned())),
        ("SESSION", "AUTHORIZATION") => Command::Show(Some("session_authorization".to_owned())),
        _ => match name(tokens.get(1..).unwrap_or_default()) {
            Some((name, used)) if tokens.len() == used + 1 => Command::Show(Some(name)),
            _ => Command::Refused(Box::new(Fault::new("42601", "show what? write show NAME or show all"))),
        },
    }
}

/// A name with or without dots, and how many tokens it takes.
fn name(tokens: &[&Token]) -> Option<(String, usize)> {
    let mut name = String::new();
    for (index, token) in tokens.iter().enumerate() {
        match token {
            Token::Word(word) if index % 2 == 0 => name.push_str(&word.value),
            Token::Period if index % 2 == 1 => name.push('.'),
            _ => return (index % 2 == 1).then_some((name, index)),
        }
    }
    (tokens.len() % 2 == 1).then_some((name, tokens.len()))
}

fn named(tokens: &[&Token], at: usize) -> Option<String> {
    match tokens.get(at) {
        Some(Token::Word(word)) if word.quote_style.is_some() => Some(word.value.clone()),
        Some(Token::Word(word)) if word.value.eq_ignore_ascii_case("all") => None,
        Some(token) => Some(token.to_string().to_lowercase()),
        None => None,
    }
}

/// What is set; none for what it was at start.
fn value(tokens: &[&Token]) -> Option<String> {
    if tokens.len() == 1 && ["DEFAULT", "LOCAL"].contains(&word(tokens.first()).as_str()) {
        return None;
    }
    let text = |token: &&Token| match token {
        Token::SingleQuotedString(text) => text.clone(),
        Token::Word(word) => word.value.clone(),
        other => other.to_string(),
    };
    Some(tokens.iter().map(text).collect())
}

/// Reads a question as it is written.
pub(super) fn read(sql: &str) -> Result<ast::Statement, Fault> {
    let parsed = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).and_then(|mut parser| parser.parse_statements());
    let mut statement = one(sql, parsed)?;
    in_other_words(&mut statement);
    Ok(statement)
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
        std::ops::ControlFlow::<()>::Continue(())
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

/// Reads a question about the catalog, with what Postgres would allow and the engine does not put into its words.
pub(super) fn read_as_postgres(sql: &str) -> Result<ast::Statement, Fault> {
    static WORDS: LazyLock<PostgresCompatibilityParser> = LazyLock::new(PostgresCompatibilityParser::new);
    let named = names_as_numbers(sql);
    let mut statement = one(sql, WORDS.parse(named.as_deref().unwrap_or(sql)))?;
    in_other_words(&mut statement);
    Ok(statement)
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
        std::ops::ControlFlow::<()>::Continue(())
    });
    is_changed.then(|| statement.to_string())
}

/// Writes `array(select x …)` as `(select array_agg(x) …)` and `(x).name` as `get_field(x, 'name')`, which the engine knows.
fn in_other_words(statement: &mut ast::Statement) {
    let _ = ast::visit_expressions_mut(statement, |expression| {
        let other = match expression {
            ast::Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("array") => match &function.args {
                ast::FunctionArguments::Subquery(query) => collected(query.as_ref().clone()),
                _ => None,
            },
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
        std::ops::ControlFlow::<()>::Continue(())
    });
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

    fn commands(sql: &str) -> Vec<Command> {
        pieces(sql).unwrap().into_iter().map(|piece| piece.command).collect()
    }

    #[test]
    fn a_text_is_taken_apart_where_statements_end() {
        let sql = "select ';' as ü ; -- nothing; here\n  select $a$;$a$;; /* ; */ ";
        let texts: Vec<_> = pieces(sql).unwrap().into_iter().map(|piece| piece.sql).collect();
        assert_eq!(texts, ["select ';' as ü", "select $a$;$a$"]);
        assert!(pieces(" ; -- only a remark").unwrap().is_empty());
        assert_eq!(pieces("select 'open").unwrap_err().code, "42601");
    }

    #[test]
    fn what_only_postgres_says_is_said_otherwise() {
        let said = |sql: &str| read_as_postgres(sql).unwrap().to_string();
        assert!(said("select array(select b.x from b order by 1) as y from c").contains("(SELECT array_agg(b.x) FROM b)"));
        assert!(said("select 1 where x = 'pg_class'::regclass").contains("x = to_regclass('pg_class')"));
        assert!(said("select (r.keys).n from r").contains("get_field(r.keys, 'n')"), "{}", said("select (r.keys).n from r"));
    }

    #[test]
    fn what_is_about_the_connection_is_no_question() {
        let set = |name: &str, value: &str| Command::Set(name.to_owned(), Some(value.to_owned()));
        assert_eq!(commands("set granary.as_of = '2025-10'"), [set("granary.as_of", "2025-10")]);
        assert_eq!(
            commands("SET SESSION extra_float_digits TO 3; set time zone 'UTC'"),
            [set("extra_float_digits", "3"), set("TimeZone", "UTC")]
        );
        assert_eq!(commands("set search_path = lake, warehouse"), [set("search_path", "lake,warehouse")]);
        assert_eq!(commands("set statement_timeout to default"), [Command::Set("statement_timeout".to_owned(), None)]);
        assert_eq!(
            commands("BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY; commit; abort"),
            [Command::Begin, Command::Commit, Command::Rollback]
        );
        assert_eq!(commands("show transaction isolation level"), [Command::Show(Some("transaction_isolation".to_owned()))]);
        assert_eq!(commands("deallocate \"S_1\""), [Command::Forget(Target::Statement, Some("S_1".to_owned()))]);
        assert_eq!(commands("set session characteristics as transaction read only"), [Command::Nothing("SET")]);
        for refused in [
            "set role postgres",
            "set session authorization x",
            "begin read write",
            "declare c cursor for select 1",
            "set x",
            "set",
            "reset",
            "show",
        ] {
            assert!(matches!(commands(refused)[..], [Command::Refused(_)]), "{refused}");
        }
        assert_eq!(commands("select set from show"), [Command::Ask]);
    }
}
