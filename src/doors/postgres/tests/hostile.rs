//! What somebody sends who wants more than his own, at this door.

use std::time::Duration;

use granary_warehouse::{Budget, Warehouse};
use tokio_postgres::SimpleQueryMessage;

use super::house::{House, one};
use crate::postgres::DoorLimits;

/// The statements of a section, one a line.
fn statements(section: &str) -> Vec<String> {
    let mut is_within = false;
    let mut found = Vec::new();
    for line in include_str!("../../../../tests/data/hostile.sql").lines() {
        if let Some(heading) = line.strip_prefix("-- ") {
            is_within = heading.starts_with(&format!("{section}:"));
        } else if is_within && !line.is_empty() {
            found.push(if section == "expanded" { expand(line) } else { line.to_owned() });
        }
    }
    found
}

/// Writes out `{n*text}`.
fn expand(line: &str) -> String {
    let (mut text, mut rest) = (String::new(), line);
    while let Some((before, after)) = rest.split_once('{') {
        let (mark, after) = after.split_once('}').unwrap();
        let (count, repeated) = mark.split_once('*').unwrap();
        text += before;
        text += &repeated.repeat(count.parse().unwrap());
        rest = after;
    }
    text + rest
}

/// What one statement may take, and how much longer until it is told so: planning is not watched.
const TIME: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_secs(20);

fn short(sql: &str) -> String {
    sql.chars().take(160).collect()
}

/// What no answer may hold: others' rows, and files of the machine.
const FORBIDDEN: [&str; 6] = ["GLOBEX Inc.", "Southern Backup", "root:x:0", "granary://", "/tmp/", "DATABASE_URL"];

/// What is a word of the protocol's own here, refused where there is no such protocol: it changes nothing.
fn is_of_the_protocol(sql: &str) -> bool {
    [
        "begin",
        "commit",
        "rollback",
        "savepoint",
        "start transaction",
        "select 1; select 2",
        "select 1;; select 2",
        "set ",
        "reset ",
        "show ",
        "deallocate",
        "discard",
        "close",
        "end",
        "abort",
        "release",
        "unlisten",
        "select current_setting",
    ]
    .iter()
    .any(|word| sql.to_lowercase().starts_with(word))
}

/// One house for all: an export takes longer than everything that is asked of it.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_statements_open_nothing() {
    let house = House::open().await;
    no_statement_shows_or_changes_what_is_not_ones_own(&house).await;
    what_only_this_protocol_has_opens_nothing(&house).await;
}

async fn no_statement_shows_or_changes_what_is_not_ones_own(house: &House) {
    let budget = Budget { time: TIME, memory_bytes: 64 << 20, spill_bytes: 64 << 20, ..Budget::default() };
    let warehouse = Warehouse::new(house.lake.clone(), budget).unwrap();
    let door = house.door_to(&warehouse, DoorLimits::default(), None).await;
    let (refused, harmless, expanded) = (statements("refused"), statements("harmless"), statements("expanded"));
    let (made, mut wrong, mut answered, mut met) = (&house.made, Vec::new(), 0, 0);
    let others = [made.globex.id.to_string(), made.south_acme.id.to_string(), made.south.id.to_string()];
    let forbidden: Vec<&str> = FORBIDDEN.into_iter().chain(others.iter().map(String::as_str)).collect();
    let mut client = house.acme_by(&door).await;
    for sql in refused.iter().chain(&harmless).chain(&expanded) {
        let begun = std::time::Instant::now();
        for is_extended in [false, true] {
            let outcome = if is_extended {
                client.query(sql, &[]).await.map(|rows| format!("{rows:?}"))
            } else {
                client.simple_query(sql).await.map(|messages| messages.iter().map(shown).collect())
            };
            let text = match &outcome {
                Ok(text) => {
                    answered += 1;
                    // A text without a statement is answered as one.
                    if refused.contains(sql) && !is_of_the_protocol(sql) && !sql.trim_matches(';').is_empty() {
                        wrong.push(format!("{}: was answered", short(sql)));
                    }
                    text.clone()
                }
                Err(error) => error.as_db_error().map_or_else(|| error.to_string(), |error| format!("{error:?}")),
            };
            wrong.extend(
                forbidden
                    .iter()
                    .filter(|word| text.contains(**word) && !sql.contains(**word))
                    .map(|word| format!("{}: shows {word}", short(sql))),
            );
            wrong.extend(text.contains("XX000").then(|| format!("{}: a fault of ours: {text}", short(sql))));
            met += usize::from(text.contains("ACME Inc."));
            if client.is_closed() {
                wrong.push(format!("{}: ended the connection", short(sql)));
                client = house.acme_by(&door).await;
            }
            // What a statement began ends here.
            let _ = client.batch_execute("rollback; discard all").await;
        }
        if begun.elapsed() > 2 * (TIME + GRACE) {
            wrong.push(format!("{}: took {:?}", short(sql), begun.elapsed()));
        }
    }
    let asked = refused.len() + harmless.len() + expanded.len();
    println!("{asked} statements twice, {answered} answered, {met} with rows of ACME, {} wrong", wrong.len());
    assert!(refused.len() + harmless.len() >= 200);
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(met >= 2, "the search for others' rows proves nothing when one's own are not met");
    assert_eq!(one(&client, "select count(*) from lake.customers").await, "1");
    assert!(!std::path::Path::new("/tmp/stolen.csv").exists() && !std::path::Path::new("/tmp/stolen.parquet").exists());
}

fn shown(message: &SimpleQueryMessage) -> String {
    match message {
        SimpleQueryMessage::Row(row) => (0..row.len()).filter_map(|at| row.get(at)).collect::<Vec<_>>().join("|") + "\n",
        other => format!("{other:?}\n"),
    }
}

async fn what_only_this_protocol_has_opens_nothing(house: &House) {
    let client = house.acme().await;
    for sql in [
        "copy lake.customers to stdout",
        "copy lake.customers from stdin",
        "copy (select 1) to program 'id'",
        "select pg_read_file('/etc/passwd')",
        "select pg_sleep(10)",
        "select set_config('search_path', 'x', false)",
        "select lo_import('/etc/passwd')",
        "select * from pg_ls_dir('/')",
        "select pg_terminate_backend(1)",
        "select pg_cancel_backend(1)",
        "select * from pg_authid",
        "select * from pg_shadow",
        "select * from pg_hba_file_rules",
        "select * from pg_stat_activity",
        "do $$ begin perform 1; end $$",
        "call nosuch()",
        "listen x",
        "notify x",
        "vacuum",
        "lock table lake.customers",
        "create temp table t (a int)",
        "set local role postgres",
        "alter system set x = 1",
        "select dblink('host=127.0.0.1', 'select 1')",
        "grant select on lake.customers to public",
        "select nextval('s')",
        "explain analyze insert into lake.customers values (1)",
    ] {
        let error = client.simple_query(sql).await.expect_err(sql);
        let code = error.code().unwrap_or_else(|| panic!("{sql}: {error}")).code().to_owned();
        assert!(["42601", "42883", "42P01", "25006", "42501", "0A000", "42000"].contains(&code.as_str()), "{sql}: {code} {error:?}");
    }
    assert_eq!(one(&client, "select rolname from pg_roles").await, one(&client, "select current_user").await);
    assert_eq!(one(&client, "select datname from pg_database").await, "north");
}
