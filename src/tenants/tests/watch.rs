//! What an operator is told: each trouble is planted, found under its name, and gone when it was mended.
#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]

use granary_tenants::{Severity, Watch};
use granary_test_support::TestDatabase;

/// Check, what the finding names, trouble, cure. `ACME` is a customer's id, `MSP` its MSP's; the clock stands in November 2025.
#[rustfmt::skip]
const TROUBLES: &[[&str; 4]] = &[
    ["dead_jobs", "night.run", "insert into jobs (id, kind, payload, state, run_at, last_error, created_at) values ('00000000-0000-0000-0000-00000000000d', 'night.run', '{}', 'dead', '2025-11-01', 'no key', '2025-11-01')", "delete from jobs"],
    ["jobs_wait", "outbox.relay", "insert into jobs (id, kind, payload, state, run_at, created_at) values ('00000000-0000-0000-0000-00000000000e', 'outbox.relay', '{}', 'ready', '1970-01-01', '2025-11-01')", "delete from jobs"],
    ["outbox_waits", "outbox", "insert into outbox.messages (id, kind, payload, emitted_at) values ('00000000-0000-0000-0000-00000000000f', 'x', '{}', '2025-11-01')", "delete from outbox.messages"],
    ["night_late", "NORTH", "update msps set created_at = '2025-01-01'", "update msps set created_at = '2030-01-01'"],
    ["night_late", "NORTH", "insert into nights (night_on, msp_id, owner_id, outcome, files_written, rows_written, started_at, finished_at) values ('2025-11-05', 'MSP', 'MSP', 'done', 1, 1, '2025-11-05', '2025-11-05')", "delete from nights"],
    ["night_failed", "NORTH", "insert into nights (night_on, msp_id, owner_id, outcome, files_written, rows_written, error, started_at, finished_at) values ('2025-11-09', 'MSP', 'ACME', 'failed', 0, 0, 'no key', '2025-11-09', '2030-11-09')", "delete from nights"],
    ["export_failed", "ACME of NORTH", "insert into nights (night_on, msp_id, owner_id, outcome, files_written, rows_written, error, started_at, finished_at) values ('2025-11-09', 'MSP', 'ACME', 'failed', 0, 0, 'no key', '2025-11-09', '2030-11-09')", "delete from nights"],
    ["mails_unsent", "waiting", "insert into mails (id, kind, sealed, key_version, state, attempts, created_at) values ('00000000-0000-0000-0000-00000000000a', 'invitation', '', 1, 'waiting', 3, '2025-11-01')", "delete from mails"],
    ["mails_unsent", "failed", "insert into mails (id, kind, sealed, key_version, state, attempts, created_at) values ('00000000-0000-0000-0000-00000000000a', 'invitation', '', 1, 'failed', 3, now())", "delete from mails"],
    ["migration_failed", "ACME of NORTH", "insert into schema_states (customer_id, error, attempted_at) values ('ACME', 'locked', '2025-11-01')", "delete from schema_states"],
    ["schema_drifted", "ACME of NORTH", "insert into schema_states (customer_id, drift, checked_at) values ('ACME', 'column x is missing', '2025-11-01')", "delete from schema_states"],
    ["operation_stuck", "ACME of NORTH", "insert into lifecycle_runs (customer_id, msp_id, operation, actor, started_at, updated_at, last_error) values ('ACME', 'MSP', 'erase', 'x', '2025-11-09', '2025-11-09', 'no store')", "delete from lifecycle_runs where operation = 'erase'"],
    ["move_unfinished", "ACME of NORTH", "insert into moves (customer_id, msp_id, from_cluster, to_cluster, started_at) values ('ACME', 'MSP', 'local', 'eu1', '2025-11-01')", "delete from moves"],
    ["copy_forsaken", "ACME of NORTH", "insert into clones (id, parent_id, msp_id, code, schema_name, role_name, cluster, has_personal_data, reason, created_at, expires_at) values ('00000000-0000-0000-0000-00000000000c', 'ACME', 'MSP', 'STAGING', 't_x', 'r_x', 'local', true, 'x', '2025-01-01', '2025-02-01')", "delete from clones"],
];

async fn watch(test: &TestDatabase) -> Watch {
    test.tenants().keep_watch().await.unwrap()
}

#[tokio::test]
async fn every_trouble_is_named_with_its_remedy() {
    let test = TestDatabase::new().await;
    let made = test.two_customers().await;
    let superuser = test.superuser().await;
    superuser
        .batch_execute("set search_path = control; set session_replication_role = replica; update msps set created_at = '2030-01-01'")
        .await
        .unwrap();
    let fresh = watch(&test).await.findings();
    assert!(fresh.is_empty(), "{fresh:#?}");
    let mut wrong = Vec::new();
    for [check, subject, trouble, cure] in TROUBLES {
        let of_made = |sql: &str| sql.replace("'ACME'", &format!("'{}'", made.acme.id)).replace("'MSP'", &format!("'{}'", made.north.id));
        superuser.batch_execute(&of_made(trouble)).await.unwrap_or_else(|error| panic!("{trouble}: {error:?}"));
        let found = watch(&test).await.findings();
        let is_found =
            |finding: &granary_tenants::Finding| finding.check == *check && finding.subject == *subject && !finding.remedy.is_empty();
        if !found.iter().any(|finding| is_found(finding) && finding.severity == Severity::Fault) {
            wrong.push(format!("{check} of {subject} was not found: {found:#?}"));
        }
        superuser.batch_execute(&of_made(cure)).await.unwrap();
        let left = watch(&test).await.findings();
        if !left.is_empty() {
            wrong.push(format!("{check} of {subject} is still there: {left:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let watch = watch(&test).await;
    assert_eq!((watch.schemas.current, watch.schemas.behind), (3, 0));
    assert_eq!(watch.customers, [("active".to_owned(), 3)]);
    assert!(watch.clusters[0].seen.as_ref().is_ok_and(|outbox| outbox.server_version >= 150_000), "{:?}", watch.clusters);
}
