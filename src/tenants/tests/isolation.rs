//! Nothing of one tenant reaches another.

use granary_test_support::TestDatabase;

#[tokio::test]
async fn a_customer_is_provisioned() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    let tx = test.tenants().begin_tenant(&them.acme_scope()).await.unwrap();
    let row = tx.query_one("select count(*) from machines", &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 0);
    tx.commit().await.unwrap();
}
