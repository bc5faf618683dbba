//! The pages of the models, and models of an MSP's own: tested before they are used, and nobody else's.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use granary_tenants::{Msp, MspScope};
use granary_types::Role;
use granary_warehouse::{Budget, Warehouse};
use serde_json::json;

use super::house::{Caller, House};

const SQL: &str = "\
with runs as (
    select * from stg_metering__backup_runs
)

select customer_id, customer_code, count(*) as runs
from runs
group by customer_id, customer_code
";

const YML: &str = "\
description: Runs of a customer.
grain: one row per customer
owner: analysts
roles: [msp_admin, msp_analyst]
unique:
    - [customer_id]
columns:
    customer_id:
        description: The customer
        tests: [not_null]
    customer_code:
        description: Its code
    runs:
        description: How many
        tests: [not_negative]
";

fn files(sql: &str, yml: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("runs_of_customers.sql".to_owned(), sql.to_owned()), ("runs_of_customers.yml".to_owned(), yml.to_owned())])
}

fn scope(msp: &Msp) -> MspScope {
    MspScope::for_job(msp.clone(), "test")
}

/// The warehouse as another process sees it.
fn warehouse(house: &House) -> Warehouse {
    let test = &house.test;
    let datasets =
        [granary_tenants::DATASETS, granary_metering::DATASETS, granary_billing::DATASETS, granary_intelligence::DATASETS].concat();
    let lake = granary_lake::Lake::new(test.tenants().clone(), test.keys().clone(), test.objects().clone(), datasets);
    Warehouse::new(lake, Budget::default()).unwrap()
}

async fn ask(house: &House, caller: &Caller, sql: &str) -> (StatusCode, String) {
    let answer = house.post("/api/v1/msp/query", caller, &json!({"sql": sql}).to_string()).await;
    (answer.status, answer.body)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_msps_own_model_shows_each_reader_what_the_reader_sees_and_no_other_msp() {
    let house = House::open().await;
    let (north, south) = (house.made.north.clone(), house.made.south.clone());
    let warehouse = warehouse(&house);
    let now = house.test.clock().now();
    let analyst = house.user(Role::MspAnalyst, &north, None).await;
    let confined = house.user(Role::MspAnalyst, &north, Some(&house.made.acme.clone())).await;
    let stranger = house.user(Role::MspAnalyst, &south, None).await;
    let question = "select customer_code, runs from runs_of_customers order by 1";
    assert_eq!(ask(&house, &analyst, question).await.0, StatusCode::UNPROCESSABLE_ENTITY, "nothing was pushed yet");

    let trial = warehouse.try_own(north.id, &files(SQL, YML), now).await.unwrap();
    assert!(trial.outcomes.iter().all(|outcome| outcome.passed()) && trial.outcomes.len() == 3, "{trial:?}");
    assert_eq!(ask(&house, &analyst, question).await.0, StatusCode::UNPROCESSABLE_ENTITY, "a trial keeps nothing");
    let (version, _) = warehouse.push_own(&scope(&north), &files(SQL, YML), now).await.unwrap();
    assert_eq!(version, 1);

    let all = "[{\"customer_code\":\"ACME\",\"runs\":93},{\"customer_code\":\"GLOBEX\",\"runs\":155}]";
    assert_eq!(ask(&house, &analyst, question).await, (StatusCode::OK, all.to_owned()));
    assert_eq!(ask(&house, &confined, question).await, (StatusCode::OK, "[{\"customer_code\":\"ACME\",\"runs\":93}]".to_owned()));
    let (status, body) = ask(&house, &stranger, question).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    assert!(warehouse.own_versions(&scope(&south)).await.unwrap().is_empty());
    assert!(warehouse.restore_own(&scope(&south), 1).await.is_err(), "another MSP's version is not there");

    // a second version, and back
    let doubled = SQL.replace("count(*) as runs", "2 * count(*) as runs");
    assert_eq!(warehouse.push_own(&scope(&north), &files(&doubled, YML), now).await.unwrap().0, 2);
    assert!(ask(&house, &analyst, question).await.1.contains("\"runs\":186"));
    assert_eq!(warehouse.restore_own(&scope(&north), 1).await.unwrap(), 3);
    assert_eq!(ask(&house, &analyst, question).await.1, all);
    let versions = warehouse.own_versions(&scope(&north)).await.unwrap();
    let found: Vec<_> = versions.iter().map(|version| (version.version, version.restores, version.models.join(","))).collect();
    let name = || "runs_of_customers".to_owned();
    assert_eq!(found, [(3, Some(1), name()), (2, None, name()), (1, None, name())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_own_model_is_never_wider_than_its_reader() {
    let house = House::open().await;
    let north = house.made.north.clone();
    let warehouse = warehouse(&house);
    let sql = "select customer_id, max(customer_code) as customer_code, sum(margin_minor) as runs from margin group by 1\n";
    let yml = YML.replace("        tests: [not_negative]\n", "");
    warehouse.push_own(&scope(&north), &files(sql, &yml), house.test.clock().now()).await.unwrap();
    // an analyst without billing.read has no margin, under no other name either
    let analyst = house.user(Role::MspAnalyst, &north, None).await;
    assert_eq!(ask(&house, &analyst, "select * from runs_of_customers").await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(ask(&house, &analyst, "select count(*) as n from customer_months").await.0, StatusCode::OK, "what else there is stays");
    let administrator = house.user(Role::MspAdmin, &north, None).await;
    assert_eq!(ask(&house, &administrator, "select * from runs_of_customers").await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_model_is_refused_with_file_line_and_reason() {
    let house = House::open().await;
    let warehouse = warehouse(&house);
    let (north, now) = (scope(&house.made.north), house.test.clock().now());
    let wrong = [
        (SQL.replace("count(*) as runs", "count(nothing) as runs"), YML.to_owned(), "runs_of_customers.sql:5: ", "nothing"),
        (SQL.replace("group by", "group"), YML.to_owned(), "runs_of_customers.sql: ", "Line: 7"),
        (SQL.replace("stg_metering__backup_runs", "secrets"), YML.to_owned(), "runs_of_customers.sql: ", "secrets, which is no model"),
        (SQL.to_owned(), YML.replace("grain:", "grains:"), "runs_of_customers.yml: ", "grains"),
        (SQL.to_owned(), YML.replace("owner: analysts", "owner: 'x'"), "runs_of_customers.yml: line 3", "plain text"),
        (SQL.to_owned(), YML.replace("    - [customer_id]", "    - [runs]"), "runs_of_customers.yml: ", "customer_id in unique"),
        (SQL.to_owned(), YML.replace("roles:", "materialised: table\nroles:"), "runs_of_customers.yml: ", "are views"),
        (SQL.replace("as runs", "as nights"), YML.to_owned(), "runs_of_customers.yml: ", "does not describe nights"),
        (
            SQL.replace("count(*) as runs", "-1 as runs"),
            YML.to_owned(),
            "runs_of_customers.yml: ",
            "runs is not negative does not hold in 2 rows",
        ),
        ("drop table margin".to_owned(), YML.to_owned(), "runs_of_customers.sql", ""),
        ("copy (select 1) to '/tmp/x.csv'".to_owned(), YML.to_owned(), "runs_of_customers.sql", ""),
    ];
    for (sql, yml, place, reason) in wrong {
        let error = warehouse.push_own(&north, &files(&sql, &yml), now).await.unwrap_err().to_string();
        assert!(error.starts_with(place) && error.contains(reason), "{error}");
    }
    let ours = BTreeMap::from([("margin.sql".to_owned(), SQL.to_owned()), ("margin.yml".to_owned(), YML.to_owned())]);
    let error = warehouse.push_own(&north, &ours, now).await.unwrap_err().to_string();
    assert_eq!(error, "margin.sql: the name margin is taken by the house: choose another");
    assert!(warehouse.own_versions(&north).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_fails_later_is_named_and_hurts_nobody() {
    let house = House::open().await;
    let north = house.made.north.clone();
    let superuser = house.test.superuser().await;
    let mut broken = files(SQL, YML);
    broken.insert("broken.sql".to_owned(), SQL.replace("count(*)", "max(a_column_of_yesterday)"));
    broken.insert("broken.yml".to_owned(), YML.to_owned());
    let text = serde_json::to_string(&broken).unwrap();
    let insert =
        "insert into control.own_models (msp_id, version, files, pushed_by, pushed_at) values ($1, 1, $2::text::jsonb, 'test', now())";
    superuser.execute(insert, &[&north.id.uuid(), &text]).await.unwrap();
    let analyst = house.user(Role::MspAnalyst, &north, None).await;
    assert_eq!(ask(&house, &analyst, "select count(*) as n from runs_of_customers").await.1, "[{\"n\":2}]");
    assert_eq!(ask(&house, &analyst, "select * from broken").await.0, StatusCode::UNPROCESSABLE_ENTITY);
    let outcomes = warehouse(&house).test(north.id, house.test.clock().now()).await.unwrap();
    let named = outcomes.iter().find(|outcome| outcome.model.as_deref() == Some("broken")).unwrap();
    assert!(!named.passed() && named.test.contains("a_column_of_yesterday"), "{named:?}");
    let error = superuser.execute("update control.own_models set files = '{}'", &[]).await.unwrap_err();
    assert!(format!("{error:?}").contains("own_models_stay"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_show_the_models_of_the_reader() {
    let house = House::bare().await;
    let north = house.made.north.clone();
    let administrator = house.user(Role::MspAdmin, &north, None).await;
    let analyst = house.user(Role::MspAnalyst, &north, None).await;
    let page = house.get("/warehouse", &administrator).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.body);
    assert!(page.body.contains("Lineage of the models") && page.body.contains("href=\"/warehouse/margin\""));
    let page = house.get("/warehouse/mrr_movements", &analyst).await;
    for words in
        ["Lineage of mrr_movements", "one row per customer, period, movement and reason", "amount_minor is not null", "int_mrr_states"]
    {
        assert!(page.body.contains(words), "{words}");
    }
    let list = house.get("/warehouse", &analyst).await;
    assert!(!list.body.contains("/warehouse/margin\""), "an analyst without billing.read does not hear of margin");
    assert_eq!(house.get("/warehouse/margin", &analyst).await.status, StatusCode::NOT_FOUND);
    assert_eq!(house.get("/warehouse/nothing", &administrator).await.status, StatusCode::NOT_FOUND);
}
