//! Customer months and the states of a period.

use granary_metering::{MeteringError, PeriodState, close_period, list_customer_months, mark_drafted, period_state, project_month};
use granary_types::Period;

use super::house::{House, completed, protected};

#[tokio::test]
async fn a_closed_month_never_changes() {
    let house = House::new().await;
    let tenants = house.database.tenants();
    let (scope, msp) = (house.customers.acme_scope(), house.customers.north_scope());
    let october: Period = "2025-10".parse().unwrap();
    house.take(&[protected("web-1", "backup", "2025-10-01"), completed("r1", "web-1", "2025-10-05", 5)]).await;
    project_month(tenants, &scope, october).await.unwrap();
    let tx = tenants.begin_msp(&msp).await.unwrap();
    assert_eq!(period_state(&tx, october).await.unwrap(), PeriodState::Open);
    mark_drafted(&tx, october).await.unwrap();
    mark_drafted(&tx, october).await.unwrap();
    assert_eq!(period_state(&tx, october).await.unwrap(), PeriodState::Drafted);
    tx.commit().await.unwrap();
    assert!(matches!(close_period(tenants, &msp, october.next()).await, Err(MeteringError::PeriodNotEnded(_))));
    close_period(tenants, &msp, october).await.unwrap();

    house.take(&[protected("web-2", "backup", "2025-10-01"), completed("r2", "web-2", "2025-10-06", 5)]).await;
    assert_eq!(project_month(tenants, &scope, october).await.unwrap().distinct.total(), 2.into());
    close_period(tenants, &msp, october).await.unwrap();
    let tx = tenants.begin_msp(&msp).await.unwrap();
    assert!(matches!(mark_drafted(&tx, october).await, Err(MeteringError::PeriodClosed(_))));
    tx.rollback().await.unwrap();
    let tx = tenants.begin_msp(&msp).await.unwrap();
    let months = list_customer_months(&tx, october).await.unwrap();
    tx.commit().await.unwrap();
    let acme = months.iter().find(|month| month.customer_id == scope.customer.id).unwrap();
    assert_eq!((months.len(), acme.machines_backup, acme.is_closed), (2, 1, true));
    assert_eq!(acme.events_hash.as_ref().unwrap().len(), 64);

    let south = tenants.begin_msp(&house.customers.south_scope()).await.unwrap();
    assert!(list_customer_months(&south, october).await.unwrap().is_empty());
    south.commit().await.unwrap();
}
