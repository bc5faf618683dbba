//! Tests of questions and answers, in the simple and in the extended protocol.

use futures::TryStreamExt;
use granary_foundation::Silent;
use granary_tenants::{NewContract, NewCustomer};
use granary_types::{Currency, Tier};
use granary_warehouse::{Budget, Warehouse};
use jiff::civil::{Date, date};
use tokio_postgres::NoTls;
use tokio_postgres::types::Type;

use super::house::{House, code, connect, one, rows, said};
use crate::postgres::DoorLimits;

/// One house for all: an export takes longer than everything that is asked of it.
#[tokio::test(flavor = "multi_thread")]
async fn questions_are_answered_as_postgres_would() {
    let house = House::open().await;
    a_key_sees_the_rows_of_its_grant(&house).await;
    values_come_typed_both_ways(&house).await;
    an_answer_comes_in_portions_and_in_a_stream(&house).await;
    transactions_are_brackets(&house).await;
    what_is_set_holds_and_is_shown(&house).await;
    a_question_ends_when_it_is_called_off_or_its_time_is_over(&house).await;
    an_exceeded_budget_is_named(&house).await;
    a_look_up_is_answered_or_refused(&house).await;
    more_questions_than_places_wait_for_their_turn(&house).await;
    who_is_gone_in_the_middle_of_an_answer_keeps_no_place(&house).await;
    every_question_about_rows_is_in_the_audit_log(&house).await;
    an_error_says_what_and_where(&house).await;
    a_connection_asks_as_of_a_version_and_in_a_transaction_of_one(&house).await;
}

async fn a_key_sees_the_rows_of_its_grant(house: &House) {
    let (north, acme) = (house.north().await, house.acme().await);
    let codes = "select code, name from lake.customers order by code";
    let text = |value: &str| Some(value.to_owned());
    assert_eq!(rows(&north, codes).await, [[text("ACME"), text("ACME Inc.")], [text("GLOBEX"), text("GLOBEX Inc.")]]);
    assert_eq!(rows(&acme, codes).await, [[text("ACME"), text("ACME Inc.")]]);
    assert_eq!(code(&acme, "select * from margin").await, "42P01", "what a customer may not see is not there");
    assert_eq!(one(&acme, "select count(*) from information_schema.tables where table_name = 'margin'").await, "0");
    assert_eq!(one(&acme, "select count(*) from pg_class where relname = 'margin'").await, "0");
}

async fn values_come_typed_both_ways(house: &House) {
    let client = house.north().await;
    let sql = "select code, created_at, $1 + 1 as n from lake.customers where code = $2 and created_at < $3 and $4";
    let statement = client.prepare_typed(sql, &[Type::INT8]).await.unwrap();
    assert_eq!(statement.params(), [Type::INT8, Type::TEXT, Type::TIMESTAMPTZ, Type::BOOL]);
    let now: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let row = client.query_one(&statement, &[&41_i64, &"ACME", &now, &true]).await.unwrap();
    assert_eq!((row.get::<_, &str>("code"), row.get::<_, i64>("n")), ("ACME", 42));
    assert_eq!(row.get::<_, jiff::Timestamp>("created_at"), "2025-01-01T05:00:00Z".parse().unwrap());

    let sql = "select cast(1.5 as decimal(20, 4)), date '2025-10-01', 1.25::float8, null::int, true, 'ü', 7::smallint, array['a', 'b'], \
        interval '1 day'";
    let row = client.query_one(sql, &[]).await.unwrap();
    let kinds: Vec<_> = row.columns().iter().map(|column| column.type_().clone()).collect();
    let expected =
        [Type::NUMERIC, Type::DATE, Type::FLOAT8, Type::INT4, Type::BOOL, Type::TEXT, Type::INT2, Type::TEXT_ARRAY, Type::INTERVAL];
    assert_eq!(kinds, expected);
    assert_eq!((row.get::<_, Date>(1), row.get::<_, f64>(2), row.get::<_, Option<i32>>(3)), (date(2025, 10, 1), 1.25, None));
    assert_eq!((row.get::<_, bool>(4), row.get::<_, &str>(5), row.get::<_, i16>(6)), (true, "ü", 7));
    assert_eq!(row.get::<_, Vec<String>>(7), ["a", "b"]);
    let shown = rows(&client, sql).await;
    let shown: Vec<_> = shown[0].iter().map(Option::as_deref).collect();
    assert_eq!(&shown[..8], [Some("1.5000"), Some("2025-10-01"), Some("1.25"), None, Some("t"), Some("ü"), Some("7"), Some("{a,b}")]);
}

async fn an_answer_comes_in_portions_and_in_a_stream(house: &House) {
    let mut client = house.north().await;
    let transaction = client.transaction().await.unwrap();
    let portal = transaction.bind("select value from generate_series(1, 10000) order by 1", &[]).await.unwrap();
    let mut seen = 0_i64;
    loop {
        let portion = transaction.query_portal(&portal, 3_000).await.unwrap();
        if portion.is_empty() {
            break;
        }
        assert_eq!(portion[0].get::<_, i64>(0), seen + 1);
        seen += i64::try_from(portion.len()).unwrap();
    }
    assert_eq!(seen, 10_000);
    transaction.rollback().await.unwrap();
    let rows = client.query_raw("select value from generate_series(1, 200000)", Vec::<String>::new()).await.unwrap();
    let mut rows = std::pin::pin!(rows);
    let mut count = 0;
    while rows.try_next().await.unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, 200_000);
}

async fn transactions_are_brackets(house: &House) {
    let client = house.north().await;
    client.batch_execute("begin; select 1; commit; start transaction read only; savepoint a; rollback to a; rollback").await.unwrap();
    client.batch_execute("begin").await.unwrap();
    assert_eq!(code(&client, "select nosuch").await, "42703");
    assert_eq!(code(&client, "select 1").await, "25P02");
    client.batch_execute("rollback").await.unwrap();
    assert_eq!(one(&client, "select 1").await, "1");
    assert_eq!(code(&client, "begin read write").await, "25006");
}

async fn what_is_set_holds_and_is_shown(house: &House) {
    let client = house.north().await;
    client.batch_execute("set application_name = 'tests'; set extra_float_digits to 3; set time zone 'UTC'").await.unwrap();
    assert_eq!(one(&client, "show application_name").await, "tests");
    assert_eq!(one(&client, "select current_setting('application_name')").await, "tests");
    assert_eq!(one(&client, "show transaction isolation level").await, "repeatable read");
    assert!(rows(&client, "show all").await.len() > 20);
    client.batch_execute("set search_path to lake").await.unwrap();
    assert_eq!(one(&client, "select count(*) from customers").await, "2");
    client.batch_execute("discard all").await.unwrap();
    assert_eq!(code(&client, "select count(*) from customers").await, "42P01");
    for (sql, expected) in [
        ("set timezone = 'Europe/Berlin'", "22023"),
        ("set role postgres", "42501"),
        ("set session authorization postgres", "42501"),
        ("set datafusion.execution.batch_size = 1", "42704"),
        ("show nosuch", "42704"),
    ] {
        assert_eq!(code(&client, sql).await, expected, "{sql}");
    }
}

async fn a_connection_asks_as_of_a_version_and_in_a_transaction_of_one(house: &House) {
    let client = house.north().await;
    let count = "select count(*) from lake.customers";
    client.batch_execute("begin").await.unwrap();
    assert_eq!(one(&client, count).await, "2");
    let before = house.lake.version(house.made.north.id).await.unwrap();
    let contract = NewContract::new(date(2025, 1, 1), Currency::USD, Tier::Backup, 1_000);
    let zone = jiff::tz::TimeZone::UTC;
    let initech = NewCustomer::new(house.made.north.id, "INITECH".parse().unwrap(), "Initech".to_owned(), zone, contract);
    house.test.tenants().provision_customer(&initech).await.unwrap();
    house.lake.export_night("2025-11-11".parse().unwrap(), Silent::shared()).await.unwrap();
    assert_eq!(one(&client, count).await, "2", "a transaction reads one version");
    client.batch_execute("commit").await.unwrap();
    assert_eq!(one(&client, count).await, "3");
    client.batch_execute(&format!("set granary.as_of = 'v{before}'")).await.unwrap();
    assert_eq!((one(&client, count).await, one(&client, "show granary.as_of").await), ("2".to_owned(), format!("v{before}")));
    client.batch_execute("set granary.as_of = 'nosuch'").await.unwrap();
    assert_eq!(code(&client, count).await, "22023");
    client.batch_execute("reset granary.as_of").await.unwrap();
    assert_eq!(one(&client, count).await, "3");
    let (key, secret) = house.key(&house.made.north, None).await;
    let past = connect(house.config(&key.prefix, secret.reveal()).options(format!("-c granary.as_of=v{before}"))).await.unwrap();
    assert_eq!(one(&past, count).await, "2");
}

const ENDLESS: &str = "select count(*) from generate_series(1, 100000000) as a (x), generate_series(1, 1000) as b (y) where x * y % 7 = 8";

async fn a_question_ends_when_it_is_called_off_or_its_time_is_over(house: &House) {
    let client = house.north().await;
    let cancel = client.cancel_token();
    let asking = client.simple_query(ENDLESS);
    let calling = async {
        // Until the question is there, nothing is called off.
        loop {
            cancel.cancel_query(NoTls).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let error = tokio::select! { answer = asking => answer.unwrap_err(), () = calling => unreachable!() };
    assert_eq!(said(&error), "57014 canceling statement due to user request");
    client.batch_execute("set statement_timeout = '200ms'").await.unwrap();
    assert_eq!(said(&client.simple_query(ENDLESS).await.unwrap_err()), "57014 canceling statement due to statement timeout");
    assert_eq!(said(&client.query(ENDLESS, &[]).await.unwrap_err()), "57014 canceling statement due to statement timeout");
    client.batch_execute("reset statement_timeout").await.unwrap();
    assert_eq!(one(&client, "select 1").await, "1");
}

async fn an_exceeded_budget_is_named(house: &House) {
    let budget = Budget { streamed_rows: 1_000, time: std::time::Duration::from_millis(300), ..Budget::default() };
    let warehouse = Warehouse::new(house.lake.clone(), budget).unwrap();
    // The first question is not about the time that planning the models takes.
    let door = house.door_to(&warehouse, DoorLimits::default(), None).await;
    let client = house.north_by(&door).await;
    let error = client.simple_query("select value from generate_series(1, 100000)").await.unwrap_err();
    assert_eq!(said(&error), "54000 the query exceeds the warehouse's rows budget of 1000");
    assert_eq!(said(&client.simple_query(ENDLESS).await.unwrap_err()), "57014 the query exceeds the warehouse's time budget of 0.3 s");
}

/// What the engine does not know it refuses: no value is told that nobody has looked up.
async fn a_look_up_is_answered_or_refused(house: &House) {
    let client = house.north().await;
    let counted = "select c.code, (select count(*) from lake.customers as o where o.code = c.code) as n, current_user from lake.customers as c \
        order by 1";
    let counted = rows(&client, counted).await;
    assert!(counted.iter().all(|row| row[1].as_deref() == Some("1")) && counted.len() == 2, "{counted:?}");
    for word in ["'x'", "current_user", "'pg_x'"] {
        let sql = format!(
            "select c.code, (select o.name from lake.customers as o where o.code = c.code) as name, {word} from lake.customers as c order by 1"
        );
        match client.simple_query(&sql).await {
            Ok(_) => assert_eq!(rows(&client, &sql).await[0][1].as_deref(), Some("ACME Inc."), "{sql}"),
            Err(error) => assert!(said(&error).contains("must be aggregated"), "{sql}: {}", said(&error)),
        }
    }
}

async fn more_questions_than_places_wait_for_their_turn(house: &House) {
    let clients = futures::future::join_all((0..6).map(|_| house.north())).await;
    let sql = "select count(*) from lake.customers, generate_series(1, 3000) as a (x) where x % 3 = 1";
    let answers = futures::future::join_all(clients.iter().map(|client| one(client, sql))).await;
    assert!(answers.iter().all(|answer| answer == "2000"), "{answers:?}");
}

async fn who_is_gone_in_the_middle_of_an_answer_keeps_no_place(house: &House) {
    let (key, secret) = house.key(&house.made.north, None).await;
    for _ in 0..8 {
        let (client, connection) = house.config(&key.prefix, secret.reveal()).connect(NoTls).await.unwrap();
        let connection = tokio::spawn(connection);
        let long = "select c.code, a.x, repeat('x', 100) from lake.customers as c, generate_series(1, 100000000) as a (x)";
        let answer = client.query_raw(long, Vec::<String>::new()).await.unwrap();
        assert!(std::pin::pin!(answer).try_next().await.unwrap().is_some());
        connection.abort();
    }
    let begun = std::time::Instant::now();
    assert_eq!(one(&house.north().await, "select count(*) from lake.customers").await, "2");
    assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
}

async fn every_question_about_rows_is_in_the_audit_log(house: &House) {
    let client = house.north().await;
    rows(&client, "select 'the one' from lake.customers").await;
    rows(&client, "select relname from pg_class").await;
    let sql = "select detail->>'sql', detail->>'door' from control.audit_log where action = 'warehouse.query'";
    let noted = house.test.superuser().await.query(sql, &[]).await.unwrap();
    let noted: Vec<(String, String)> = noted.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert!(noted.contains(&("select 'the one' from lake.customers".to_owned(), "postgres".to_owned())), "{noted:?}");
    assert!(!noted.iter().any(|(sql, _)| sql.contains("pg_class")), "{noted:?}");
}

async fn an_error_says_what_and_where(house: &House) {
    let client = house.north().await;
    for (sql, expected) in [
        ("select * from nosuch", "42P01"),
        ("select nosuch from lake.customers", "42703"),
        ("selekt 1", "42601"),
        ("select 1 from", "42601"),
        ("select nosuch(1)", "42883"),
        ("select 1 / (code::int) from lake.customers", "22P02"),
        ("insert into lake.customers values (1)", "25006"),
        ("create table t (a int)", "25006"),
        ("declare c cursor for select 1", "0A000"),
        ("deallocate nosuch", "26000"),
    ] {
        assert_eq!(code(&client, sql).await, expected, "{sql}");
    }
    let error = client.simple_query("select 1; select 2 frm where").await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert!(matches!(error.position(), Some(tokio_postgres::error::ErrorPosition::Original(29))), "{error:?}");
    let error = client.simple_query("select 1; select 2 frm (where").await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert!(matches!(error.position(), Some(tokio_postgres::error::ErrorPosition::Original(24..29))), "{error:?}");
}
