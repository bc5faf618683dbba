//! What an operator sees of queues, nights and schemas, and what it can do there.

use axum::http::StatusCode;
use granary_types::Role;

use super::house::House;
use super::people::csrf;

const DEAD: &str = "019a5c1e-7f00-7000-8000-0000000000d1";

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_what_is_wrong_and_gives_a_dead_job_another_life() {
    let house = House::bare().await;
    let olga = house.user(Role::OperatorAdmin, &house.made.north, None).await;
    let superuser = house.test.superuser().await;
    superuser.batch_execute("set search_path = control; update msps set created_at = '2030-01-01'").await.unwrap();
    let page = house.get("/operations", &olga).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.body);
    for words in ["Nothing is wrong", "No dead jobs", "outbox of local", "Nobody"] {
        assert!(page.body.contains(words), "{words}: {}", page.body);
    }
    let planted = format!(
        "set search_path = control;
        insert into jobs (id, kind, payload, state, run_at, attempt, last_error, msp_id, customer_id, created_at, finished_at)
        select '{DEAD}', 'night.run', '{{}}', 'dead', '2025-11-01', 10, 'the disk <b>is full', msp_id, id, '2025-11-01', '2025-11-01' from customers where id = '{0}';
        insert into schema_states (customer_id, error, failed_attempts, attempted_at) values ('{0}', 'lock timeout', 3, '2025-11-01')",
        house.made.acme.id
    );
    superuser.batch_execute(&planted).await.unwrap();
    let page = house.get("/operations", &olga).await;
    for words in [&format!("granary jobs retry {DEAD}"), "the disk &lt;b&gt;is full", "ACME of NORTH", "migration failed", "lock timeout"] {
        assert!(page.body.contains(words), "{words}: {}", page.body);
    }
    let retry = format!("csrf={}&action=retry&id={DEAD}", csrf(&page.body));
    let forged = house.post("/operations", &olga, &format!("csrf=guessed&action=retry&id={DEAD}")).await;
    assert_eq!(forged.status, StatusCode::FORBIDDEN);
    let ada = house.user(Role::MspAdmin, &house.made.north, None).await;
    assert_eq!(house.post("/operations", &ada, &retry).await.status, StatusCode::FORBIDDEN);

    let done = house.post("/operations", &olga, &retry).await;
    assert!(done.status == StatusCode::OK && done.body.contains("The job is due again"), "{}", done.body);
    let row = superuser.query_one("select state, attempt from control.jobs where id::text = $1", &[&DEAD]).await.unwrap();
    assert_eq!((row.get::<_, &str>(0), row.get::<_, i32>(1)), ("ready", 0));
    let audited =
        "select count(*) from control.audit_log where action = 'operator.access' and reason = 'retry a job' and actor like 'user:%'";
    assert_eq!(superuser.query_one(audited, &[]).await.unwrap().get::<_, i64>(0), 1);
    let gone = house.post("/operations", &olga, &format!("csrf={}&action=retry&id={}", csrf(&page.body), DEAD.replace("d1", "d2"))).await;
    assert!(gone.status == StatusCode::UNPROCESSABLE_ENTITY && gone.body.contains("This job is not dead any more."), "{}", gone.body);
}
