//! Pools and preparation.

use std::sync::Arc;

use granary_db::{AuditEntry, Database, DatabaseConfig, TxSettings, record_audit};
use granary_foundation::Secret;
use granary_test_support::TestDatabase;
use granary_types::{Classify, Clock, ErrorKind};
use serde_json::json;

#[tokio::test]
async fn preparing_again_and_at_once_changes_nothing() {
    let test = TestDatabase::new().await;
    let again: Vec<_> = (0..4)
        .map(|_| {
            let config = DatabaseConfig {
                url: test.url(),
                app_password: Secret::new("not-a-secret"),
                max_connections: 2,
                connections_per_tenant: 1,
            };
            tokio::spawn(async move { Database::connect(&config, Clock::System).await.unwrap() })
        })
        .collect();
    for task in again {
        let database = task.await.unwrap();
        assert_eq!(database.installation().id, test.database().installation().id);
        let tx = database.begin(&TxSettings::operator()).await.unwrap();
        tx.commit().await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_and_a_bad_url_invalid() {
    let connect = async |url: &str| {
        let config =
            DatabaseConfig { url: Secret::new(url), app_password: Secret::new("x"), max_connections: 1, connections_per_tenant: 1 };
        Database::connect(&config, Clock::System).await.unwrap_err()
    };
    let error = connect("postgres://granary@127.0.0.1:1/granary").await;
    assert_eq!((error.kind(), error.code()), (ErrorKind::Unavailable, "database_unreachable"));
    assert!(error.to_string().starts_with("cannot reach Postgres: "), "{error}");
    assert_eq!(connect("postgres:/nonsense").await.code(), "database_url_invalid");
}

#[tokio::test]
async fn doors_lead_only_where_they_say() {
    let test = TestDatabase::new().await;
    let denied = async |settings: TxSettings, sql: &'static str| {
        let tx = test.database().begin(&settings).await.unwrap();
        let error = tx.query(sql, &[]).await.expect_err(sql);
        assert!(error.is_permission_denied(), "{sql}: {error}");
        tx.rollback().await.unwrap();
    };
    denied(TxSettings::operator(), "select * from keystore.keys").await;
    denied(TxSettings::operator(), "update audit_log set actor = 'x'").await;
    denied(TxSettings::operator(), "select secure('x')").await;
    denied(TxSettings::keystore(), "select * from control.customers").await;
    denied(TxSettings::access(), "select * from invoices").await;
    denied(TxSettings::access(), "update customers set name = 'x'").await;
    denied(TxSettings::access(), "delete from audit_log").await;

    let tx = test.database().begin(&TxSettings::operator()).await.unwrap().audited_with(Arc::new(test.keys().clone()));
    for action in ["customer.open", "customer.erase"] {
        let entry = AuditEntry {
            msp: None,
            customer: None,
            actor: "user:ada".to_owned(),
            action: action.to_owned(),
            subject: "customer:ACME".to_owned(),
            detail: json!({}),
            reason: None,
        };
        record_audit(&tx, &entry).await.unwrap();
    }
    tx.commit().await.unwrap();
    let tx = test.database().begin(&TxSettings::access()).await.unwrap();
    tx.query("select id from users", &[]).await.unwrap();
    // Of the audit log it reads who opened a customer's data, to show it to the customer, and nothing else.
    let actions = tx.query("select action from audit_log", &[]).await.unwrap();
    assert_eq!(actions.iter().map(|row| row.get(0)).collect::<Vec<&str>>(), ["customer.open"]);
    tx.commit().await.unwrap();
    let tx = test.database().begin(&TxSettings::operator().statement_timeout(std::time::Duration::from_millis(20))).await.unwrap();
    let error = tx.query("select pg_sleep(5)", &[]).await.unwrap_err();
    assert!(error.is_cancelled() && error.kind() == ErrorKind::Unavailable, "{error}");
}
