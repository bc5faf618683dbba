//! What a text is: statements one by one, and of each whether it is a question or about the connection itself.

use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};
use granary_warehouse::Question;

use super::fault::Fault;
use super::frames::Target;

/// One text is no more statements than this, and no more bytes: it is taken apart as a whole, at many times its size.
const MOST_STATEMENTS: usize = 100;
const MOST_BYTES: usize = 1 << 20;

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

/// Takes a text apart; an empty one is no statement. Every question goes through here before it is parsed, so that none is longer or
/// deeper than whoever walks down it can bear.
pub(super) fn pieces(sql: &str) -> Result<Vec<Piece>, Fault> {
    if sql.len() > MOST_BYTES {
        return Err(Fault::new("54000", format!("a text is at most {} KiB long", MOST_BYTES >> 10)));
    }
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
        let command = command(&tokens);
        if command == Command::Ask {
            Question::may_be_read(text, &PostgreSqlDialect {})?;
        }
        pieces.push(Piece { sql: text.to_owned(), command });
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
    fn what_is_too_long_or_too_deep_is_never_parsed() {
        let chain = " + 1".repeat(100_000);
        for sql in [format!("select 1{chain}"), format!("select 1 as `{chain}"), format!("select 1; select 1{chain}; select 2")] {
            assert_eq!(pieces(&sql).unwrap_err().code, "54001");
        }
        assert_eq!(pieces(&format!("select '{}'", "x".repeat(2 << 20))).unwrap_err().code, "54000");
        let many = format!("select 1{}", " + 1".repeat(50)) + ";";
        assert_eq!(pieces(&many.repeat(20)).unwrap().len(), 20, "each statement has a length of its own");
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
