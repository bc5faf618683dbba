//! A month is closed again and again: after a cut of power, at the same time, after it was finalised.

use granary_billing::{BillingError, Item, list_entries};
use granary_metering::{find_seal, list_refused};
use serde_json::json;

use super::{ACME, GLOBEX, World, event, machine, october, run};

#[tokio::test]
async fn a_close_that_was_begun_goes_on_when_a_draft_changed_meanwhile() {
    let world = World::new().await;
    world.draft().await;
    world.approve_as("test").await.unwrap();
    // The power is cut while GLOBEX is frozen, when ACME is already.
    let client = world.db.superuser().await;
    let globex = world.made.globex.id;
    let cut = format!(
        "create function control.cut() returns trigger language plpgsql as $$ begin raise exception 'power cut'; end $$;
         create trigger cut before update on control.customer_months for each row
             when (new.is_closed and new.customer_id = '{globex}') execute function control.cut();"
    );
    client.batch_execute(&cut).await.unwrap();
    assert!(world.close().await.unwrap_err().to_string().contains("power cut"));
    client.batch_execute("drop trigger cut on control.customer_months").await.unwrap();
    let sealed =
        find_seal(&world.tenants().begin_msp(&world.made.north_scope()).await.unwrap(), world.made.acme.id, october()).await.unwrap();
    let sealed = sealed.unwrap();

    // Both say more of October before somebody closes again.
    world.take(&world.made.acme_scope(), &[machine(ACME, "late", "enterprise"), run(ACME, "late", "late", "2025-10-15")]).await;
    let more = [machine(GLOBEX, "late", "replication"), run(GLOBEX, "late", "late", "2025-10-15")];
    world.take(&world.made.globex_scope(), &more).await;
    assert!(matches!(world.close().await, Err(BillingError::Blocked { .. } | BillingError::NotApproved { .. })));
    let drafted = world.draft().await;
    assert_eq!((drafted.invoices, drafted.net_minor), (2, 5_500 + 20_000));
    world.approve_as("test").await.unwrap();
    let report = world.close().await.unwrap();
    assert_eq!((report.frozen, report.numbered), (1, 2));

    // Who was frozen stayed as it was, and what it said later is a correction.
    let tx = world.tenants().begin_msp(&world.made.north_scope()).await.unwrap();
    let again = find_seal(&tx, world.made.acme.id, october()).await.unwrap().unwrap();
    assert_eq!((again.events_hash, again.closed_at), (sealed.events_hash, sealed.closed_at));
    tx.commit().await.unwrap();
    assert_eq!(world.correct().await.differing, ["ACME"]);
}

#[tokio::test]
async fn a_month_whose_invoices_were_finalised_before_is_closed_all_the_same() {
    let world = World::new().await;
    world.draft().await;
    granary_billing::finalise_period(world.tenants(), &world.made.north, october()).await.unwrap();
    world.take(&world.made.acme_scope(), &[machine(ACME, "late", "enterprise"), run(ACME, "late", "late", "2025-10-15")]).await;
    world.approve_as("test").await.unwrap();
    assert_eq!(world.close().await.unwrap().frozen, 2);
    world.correct().await;
    let tx = world.tenants().begin_msp(&world.made.north_scope()).await.unwrap();
    let entries = list_entries(&tx, Some(october())).await.unwrap();
    assert_eq!(entries.iter().map(|entry| (entry.item, entry.amount_minor)).collect::<Vec<_>>(), [(Item::MachineEnterprise, 2_500)]);
}

#[tokio::test]
async fn comparisons_that_run_at_once_find_a_difference_once_and_at_its_own_tax() {
    let world = World::new().await;
    let client = world.db.superuser().await;
    client.batch_execute("set search_path = control; update contracts set tax_percent = 19").await.unwrap();
    // Nothing of GLOBEX is billed: it has no invoice that would say the tax.
    let taken_back = event(GLOBEX, "v", "event.voided", "2025-11-02T00:00:00Z", &json!({"event_id": "far"}));
    world.take(&world.made.globex_scope(), &[taken_back]).await;
    world.draft().await;
    world.approve_as("test").await.unwrap();
    assert_eq!(world.close().await.unwrap().numbered, 1);
    world.take(&world.made.globex_scope(), &[run(GLOBEX, "far-again", "far", "2025-10-30")]).await;
    tokio::join!(world.correct(), world.correct(), world.correct(), world.correct());
    let tx = world.tenants().begin_msp(&world.made.north_scope()).await.unwrap();
    let entries = list_entries(&tx, Some(october())).await.unwrap();
    let told: Vec<_> = entries.iter().map(|entry| (entry.item, entry.amount_minor, entry.tax_percent.normalize())).collect();
    assert_eq!(told, [(Item::MachineReplication, 10_000, 19.into())]);
}

#[tokio::test]
async fn what_lies_in_quarantine_can_be_looked_at() {
    let world = World::new().await;
    let mut other = run(ACME, "one", "one", "2025-10-07");
    other["data"]["disks"][0]["size_bytes"] = 1.into();
    let elsewhen =
        json!({"specversion": "1.0", "id": "broken", "source": ACME, "type": "backup.completed", "time": "2025-09-30T12:00:00Z"});
    world.take(&world.made.acme_scope(), &[other.clone(), elsewhen]).await;
    let tx = world.tenants().begin_tenant(&world.made.acme_scope()).await.unwrap();
    let refused = list_refused(&tx, october(), 10).await.unwrap();
    assert_eq!(refused.len(), 1);
    assert_eq!((refused[0].id.as_str(), &refused[0].event), ("one", &other));
    assert!(refused[0].reason.contains("another event"), "{}", refused[0].reason);
    assert_eq!(list_refused(&tx, october().previous(), 10).await.unwrap()[0].id, "broken");
    assert!(list_refused(&tx, october(), 0).await.unwrap().is_empty());
}

#[tokio::test]
async fn closing_at_the_same_time_closes_once() {
    let world = World::new().await;
    world.draft().await;
    world.approve_as("test").await.unwrap();
    let (one, two, three) = tokio::join!(world.close(), world.close(), world.close());
    let reports = [one.unwrap(), two.unwrap(), three.unwrap()];
    let sums = reports.iter().fold((0, 0), |sums, report| (sums.0 + report.frozen, sums.1 + report.numbered));
    assert_eq!(sums, (2, 2), "{reports:?}");
}
