//! Questions in SQL: in every format, within the caller's grant, and nothing but questions.

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use arrow::ipc::reader::StreamReader;
use axum::body::Body;
use axum::http::header::{ACCEPT, CONTENT_TYPE, COOKIE};
use axum::http::{Request, StatusCode};
use granary_access::ApiKeyScope;
use granary_types::Role;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::house::{Caller, House};

async fn ask(house: &House, caller: &Caller, sql: &str, accept: &str) -> (StatusCode, String, Vec<u8>) {
    let Caller::Session(token) = caller else { panic!("a session") };
    let request = Request::post("/api/v1/msp/query").header(COOKIE, format!("granary_session={token}")).header(ACCEPT, accept);
    let request = request.body(Body::from(json!({"sql": sql}).to_string())).unwrap();
    let response = house.router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let kind = response.headers().get(CONTENT_TYPE).unwrap().to_str().unwrap().to_owned();
    let body = axum::body::to_bytes(response.into_body(), 64 << 20).await.unwrap();
    (status, kind, body.to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_comes_in_the_format_that_is_asked_for() {
    let house = House::open().await;
    let analyst = house.user(Role::MspAnalyst, &house.made.north, None).await;
    let sql = "select customer_code, count(*) as runs from stg_metering__backup_runs group by 1 order by 1";
    let (status, kind, body) = ask(&house, &analyst, sql, "application/json").await;
    assert_eq!((status, kind.as_str()), (StatusCode::OK, "application/json"), "{}", String::from_utf8_lossy(&body));
    let expected = json!([{"customer_code": "ACME", "runs": 93}, {"customer_code": "GLOBEX", "runs": 155}]);
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
    let (_, kind, body) = ask(&house, &analyst, sql, "text/csv").await;
    assert_eq!((kind.as_str(), std::str::from_utf8(&body).unwrap()), ("text/csv", "customer_code,runs\nACME,93\nGLOBEX,155\n"));
    let (_, kind, body) = ask(&house, &analyst, sql, "application/vnd.apache.arrow.stream").await;
    assert_eq!(kind, "application/vnd.apache.arrow.stream");
    let batches: Vec<_> = StreamReader::try_new(body.as_slice(), None).unwrap().map(Result::unwrap).collect();
    let runs: Vec<i64> = batches.iter().flat_map(|batch| batch.column(1).as_primitive::<Int64Type>().values().to_vec()).collect();
    assert_eq!(runs, [93, 155]);
    let (_, kind, body) = ask(&house, &analyst, sql, "application/vnd.apache.parquet").await;
    assert_eq!((kind.as_str(), &body[..4], &body[body.len() - 4..]), ("application/vnd.apache.parquet", &b"PAR1"[..], &b"PAR1"[..]));

    // Nothing is an answer too, in every format.
    let nothing = format!("select * from ({sql}) where runs < 0");
    assert_eq!(ask(&house, &analyst, &nothing, "application/json").await.2, b"[]");
    assert_eq!(ask(&house, &analyst, &nothing, "text/csv").await.2, b"customer_code,runs\n");
    let (_, _, body) = ask(&house, &analyst, &nothing, "application/vnd.apache.arrow.stream").await;
    assert_eq!(StreamReader::try_new(body.as_slice(), None).unwrap().schema().fields().len(), 2);
    assert!(ask(&house, &analyst, &nothing, "application/vnd.apache.parquet").await.2.ends_with(b"PAR1"));

    // A long answer comes in pieces, and is whole.
    let long = "select a.value * 1000 + b.value as n from generate_series(0, 999) as a cross join generate_series(0, 999) as b";
    let (status, _, body) = ask(&house, &analyst, long, "text/csv").await;
    assert_eq!((status, body.iter().filter(|byte| **byte == b'\n').count()), (StatusCode::OK, 1_000_001));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_more_than_the_grant_and_nothing_changes() {
    let house = House::open().await;
    let (north, acme) = (&house.made.north, &house.made.acme);
    let confined = house.user(Role::MspAnalyst, north, Some(acme)).await;
    let key = house.key(north, acme, &[ApiKeyScope::Sql]).await;
    let body = json!({"sql": "select distinct customer_code from stg_metering__backup_runs"}).to_string();
    for caller in [&confined, &key] {
        let answer = house.post("/api/v1/msp/query", caller, &body).await;
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "[{\"customer_code\":\"ACME\"}]"));
    }
    for (caller, status) in [
        (house.user(Role::CustomerViewer, north, Some(acme)).await, StatusCode::FORBIDDEN),
        (house.user(Role::MspFinance, north, None).await, StatusCode::FORBIDDEN),
        (Caller::Nobody, StatusCode::UNAUTHORIZED),
    ] {
        assert_eq!(house.post("/api/v1/msp/query", &caller, &body).await.status, status);
    }
    for (sql, code) in [
        ("drop table invoice_lines", "query_refused"),
        ("create external table x stored as csv location '/etc/passwd'", "query_refused"),
        ("copy (select 1) to '/tmp/x.csv'", "query_refused"),
        ("set datafusion.execution.batch_size = 1", "query_refused"),
        ("select 1; select 2", "query_refused"),
        ("select * from margin", "query_refused"),
        ("select * from '/etc/passwd'", "query_refused"),
        ("", "query_refused"),
    ] {
        let answer = house.post("/api/v1/msp/query", &confined, &json!({"sql": sql}).to_string()).await;
        assert_eq!((answer.status, answer.code().as_str()), (StatusCode::UNPROCESSABLE_ENTITY, code), "{sql}: {}", answer.body);
    }
    let past = house.post("/api/v1/msp/query", &confined, &json!({"sql": "select 1", "as_of": "2024-01"}).to_string()).await;
    assert_eq!((past.status, past.code().as_str()), (StatusCode::NOT_FOUND, "lake_version_not_found"));
    let first = json!({"sql": "select count(*) as n from stg_metering__backup_runs", "as_of": "v1"}).to_string();
    assert_eq!(house.post("/api/v1/msp/query", &confined, &first).await.status, StatusCode::OK);
}
