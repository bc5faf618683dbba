//! A billed month on a real Postgres, from usage events to paid invoices.
#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]

use granary_billing::{
    BillingError, InvoiceFilter, InvoiceState, Item, NewPayment, PaymentState, Price, PriceOwner, draft_period, finalise_period,
    get_statement, invoice_view, list_invoices, list_lines, list_payments, list_run_rates, portfolio_subtotals, record_payment,
    seed_list_prices, set_price,
};
use granary_foundation::{SharedProgress, Silent};
use granary_metering::{ingest, rebuild_days};
use granary_tenants::{OperatorScope, TenantScope, Tenants};
use granary_test_support::{TestDatabase, TwoCustomers};
use granary_types::{Classify, Currency, ErrorKind, Period};
use jiff::civil::{Date, date};
use rust_decimal::Decimal;
use serde_json::{Value, json};

fn october() -> Period {
    "2025-10".parse().unwrap()
}

fn silent() -> SharedProgress {
    Silent::shared()
}

fn event(source: &str, id: String, kind: &str, time: &str, data: Value) -> Value {
    json!({"specversion": "1.0", "id": id, "source": source, "type": kind, "time": time, "data": data})
}

/// Protects machines of a tier from 1 January and completes one run of each on a day of October.
fn machines(source: &str, tier: &str, count: usize, day: Date) -> Vec<Value> {
    let one = |index: usize| {
        let (vendor, started) = (format!("{tier}-{index}"), format!("{day}T20:00:00Z"));
        let data = json!({"source_system": "veeam", "vendor_id": vendor, "name": vendor, "tier": tier, "from": "2025-01-01"});
        let run = json!({
            "run_id": format!("run-{vendor}"), "machine": {"source_system": "veeam", "vendor_id": vendor}, "kind": "full", "attempt": 1,
            "started_at": started, "ended_at": format!("{day}T21:00:00Z"), "has_warning": false,
            "disks": [{"index": 0, "size_bytes": 1000, "transferred_bytes": 100, "state": "completed"}],
        });
        [
            event(source, format!("p-{vendor}"), "machine.protected", "2025-01-01T05:00:00Z", data),
            event(source, format!("r-{vendor}"), "backup.completed", &format!("{day}T21:00:00Z"), run),
        ]
    };
    (0..count).flat_map(one).collect()
}

async fn take(tenants: &Tenants, scope: &TenantScope, events: &[Value]) {
    let tx = tenants.begin_tenant(scope).await.unwrap();
    let report = ingest(&tx, None, &serde_json::to_vec(events).unwrap()).await.unwrap();
    assert!(report.outcomes.iter().all(|outcome| format!("{outcome:?}").starts_with("Accepted")), "{report:?}");
    rebuild_days(&tx, october(), october()).await.unwrap();
    tx.commit().await.unwrap();
}

/// ACME with 3 backup and 2 enterprise machines, GLOBEX with 1 replication machine, and the operator's list.
async fn portfolio(db: &TestDatabase) -> TwoCustomers {
    let fixture = db.two_customers().await;
    let tenants = db.tenants();
    let tx = tenants.begin_operator(&OperatorScope::for_job("test", "seed the list")).await.unwrap();
    seed_list_prices(&tx, Currency::USD, date(2015, 1, 1)).await.unwrap();
    seed_list_prices(&tx, Currency::USD, date(2015, 1, 1)).await.unwrap();
    tx.commit().await.unwrap();
    let acme = [machines("acme", "backup", 3, date(2025, 10, 5)), machines("acme", "enterprise", 2, date(2025, 10, 6))].concat();
    take(tenants, &fixture.acme_scope(), &acme).await;
    take(tenants, &fixture.globex_scope(), &machines("globex", "replication", 1, date(2025, 10, 31))).await;
    fixture
}

/// Every row version of the month, as Postgres counts them.
async fn versions(db: &TestDatabase, fixture: &TwoCustomers) -> Vec<String> {
    let client = db.superuser().await;
    let mut found = Vec::new();
    for table in [
        format!("{}.rated_lines", fixture.acme.schema_name),
        format!("{}.rated_lines", fixture.globex.schema_name),
        "control.invoices".to_owned(),
    ] {
        for row in client.query(&format!("select xmin::text || ' ' || id::text from {table} order by id"), &[]).await.unwrap() {
            found.push(row.get(0));
        }
    }
    found
}

#[tokio::test]
async fn a_month_is_drafted_once_however_often_it_is_drafted() {
    let db = TestDatabase::new().await;
    let fixture = portfolio(&db).await;
    let tenants = db.tenants();
    let report = draft_period(tenants, &fixture.north, october(), silent()).await.unwrap();
    assert_eq!((report.invoices, report.net_minor, report.statement_minor), (2, 8_000 + 10_000, 9_000 + 20_000));
    let before = versions(&db, &fixture).await;
    draft_period(tenants, &fixture.north, october(), silent()).await.unwrap();
    assert_eq!(versions(&db, &fixture).await, before);
    assert_eq!(before.len(), 3 + 2);

    take(tenants, &fixture.acme_scope(), &machines("acme-2", "backup", 1, date(2025, 10, 7))[1..]).await;
    let tx = tenants.begin_tenant(&fixture.acme_scope()).await.unwrap();
    let lines = list_lines(&tx, october()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(
        lines.iter().map(|line| (line.item, line.amount_minor)).collect::<Vec<_>>(),
        [(Item::MachineBackup, 3_000), (Item::MachineEnterprise, 5_000)]
    );
    assert_eq!(lines[0].description, "Machines, backup (distinct in period)");
}

#[tokio::test]
async fn numbers_have_no_gap_and_a_finalised_month_never_changes() {
    let db = TestDatabase::new().await;
    let fixture = portfolio(&db).await;
    let tenants = db.tenants();
    assert!(matches!(finalise_period(tenants, &fixture.north, october()).await, Err(BillingError::NotDrafted(..))));
    draft_period(tenants, &fixture.north, october(), silent()).await.unwrap();
    let report = finalise_period(tenants, &fixture.north, october()).await.unwrap();
    let numbers: Vec<_> = report.numbered.iter().map(|(_, number)| number.as_str()).collect();
    assert_eq!(numbers, ["NORTH-2025-00001", "NORTH-2025-00002"]);
    let again = finalise_period(tenants, &fixture.north, october()).await.unwrap();
    assert_eq!((again.numbered.len(), again.already_final), (0, 2));

    let before = versions(&db, &fixture).await;
    take(tenants, &fixture.acme_scope(), &machines("acme", "replication", 1, date(2025, 10, 9))).await;
    assert!(draft_period(tenants, &fixture.north, october(), silent()).await.unwrap().is_final);
    assert_eq!(versions(&db, &fixture).await, before);
    let tx = tenants.begin_tenant(&fixture.acme_scope()).await.unwrap();
    let refused = tx.execute("update rated_lines set amount_minor = 1 where period = '2025-10'", &[]).await.unwrap_err();
    assert_eq!(refused.constraint(), Some("rated_lines_finalised"));
    assert_eq!(BillingError::from(refused).kind(), ErrorKind::Conflict);
    drop(tx);
    for statement in ["update invoices set net_minor = 1, total_minor = 1", "delete from invoices", "update statements set total_minor = 1"]
    {
        let client = db.superuser().await;
        client.batch_execute("set search_path = control").await.unwrap();
        let refused = client.execute(statement, &[]).await.unwrap_err();
        assert!(refused.as_db_error().unwrap().constraint().unwrap().ends_with("_finalised"), "{refused:?}");
    }
}

#[tokio::test]
async fn the_portfolio_adds_up_and_belongs_to_one_msp() {
    let db = TestDatabase::new().await;
    let fixture = portfolio(&db).await;
    let tenants = db.tenants();
    draft_period(tenants, &fixture.north, october(), silent()).await.unwrap();
    let tx = tenants.begin_msp(&fixture.north_scope()).await.unwrap();
    let sums = portfolio_subtotals(&tx, october()).await.unwrap();
    assert_eq!((sums.machine_retail_minor, sums.machine_wholesale_minor, sums.platform_fee_minor), (18_000, 9_000, 20_000));
    assert_eq!((sums.machine_margin_minor, sums.machine_margin_percent), (-11_000, Some(Decimal::new(-611, 1))));
    assert_eq!(sums.tiers.iter().map(|tier| tier.machines.to_string()).collect::<Vec<_>>(), ["3", "2", "1"]);
    let statement = get_statement(&tx, october()).await.unwrap();
    assert_eq!(statement.lines.iter().map(|line| line.amount_minor).sum::<i64>(), statement.statement.total_minor);
    assert_eq!(statement.lines.last().unwrap().item, Item::PlatformFee);
    let tenant = tenants.begin_tenant(&fixture.acme_scope()).await.unwrap();
    let view = invoice_view(&tx, &tenant, october()).await.unwrap();
    assert_eq!((view.invoice.state, view.invoice.customer_code.as_str(), view.lines.len()), (InvoiceState::Draft, "ACME", 2));
    tx.commit().await.unwrap();
    tenant.commit().await.unwrap();

    let tx = tenants.begin_msp(&fixture.south_scope()).await.unwrap();
    assert!(list_invoices(&tx, &InvoiceFilter::default()).await.unwrap().is_empty());
    assert!(matches!(get_statement(&tx, october()).await, Err(BillingError::NotFound(_))));
    assert_eq!(portfolio_subtotals(&tx, october()).await.unwrap().retail_minor, 0);
}

#[tokio::test]
async fn payments_are_counted_once_and_only_on_finalised_invoices() {
    let db = TestDatabase::new().await;
    let fixture = portfolio(&db).await;
    let tenants = db.tenants();
    draft_period(tenants, &fixture.north, october(), silent()).await.unwrap();
    let filter = InvoiceFilter { period: None, customer: Some(fixture.acme.id) };
    let tx = tenants.begin_msp(&fixture.north_scope()).await.unwrap();
    let invoice = list_invoices(&tx, &filter).await.unwrap().remove(0);
    let payment = |amount_minor, reference: &str| NewPayment {
        customer: fixture.acme.id,
        invoice: Some(invoice.id),
        amount_minor,
        currency: Currency::USD,
        method: "ach".to_owned(),
        reference: Some(reference.to_owned()),
        received_on: date(2025, 11, 9),
    };
    assert!(matches!(record_payment(&tx, &payment(100, "early")).await, Err(BillingError::NotFound(_))));
    drop(tx);
    finalise_period(tenants, &fixture.north, october()).await.unwrap();
    let tx = tenants.begin_msp(&fixture.north_scope()).await.unwrap();
    assert!(record_payment(&tx, &payment(3_000, "a")).await.unwrap().is_some());
    assert!(record_payment(&tx, &payment(3_000, "a")).await.unwrap().is_none());
    let partly = list_invoices(&tx, &filter).await.unwrap().remove(0);
    assert_eq!((partly.payment_state(date(2025, 11, 10)), partly.open_minor()), (PaymentState::PartlyPaid, 5_000));
    assert_eq!((partly.due_on, partly.payment_state(date(2025, 12, 11))), (Some(date(2025, 12, 10)), PaymentState::Overdue));
    record_payment(&tx, &payment(5_000, "b")).await.unwrap();
    let paid = list_invoices(&tx, &filter).await.unwrap().remove(0);
    assert_eq!((paid.payment_state(date(2025, 12, 5)), paid.paid_minor), (PaymentState::Paid, 8_000));
    assert!(matches!(record_payment(&tx, &payment(0, "c")).await, Err(BillingError::NotAPayment(0))));
    let other = NewPayment { customer: fixture.globex.id, ..payment(1, "d") };
    assert!(matches!(record_payment(&tx, &other).await, Err(BillingError::NotFound(_))));
    assert_eq!(list_payments(&tx, Some(fixture.acme.id)).await.unwrap().len(), 2);
}

#[tokio::test]
async fn prices_are_added_on_a_first_and_never_changed() {
    let db = TestDatabase::new().await;
    let fixture = portfolio(&db).await;
    let tx = db.tenants().begin_msp(&fixture.north_scope()).await.unwrap();
    let price = |unit_price: i64, day| Price {
        owner: PriceOwner::Customer(fixture.acme.id),
        item: Item::MachineBackup,
        unit_price: unit_price.into(),
        currency: Currency::USD,
        valid_from: day,
    };
    set_price(&tx, &price(8, date(2025, 10, 1))).await.unwrap();
    set_price(&tx, &price(8, date(2025, 10, 1))).await.unwrap();
    assert!(matches!(set_price(&tx, &price(9, date(2025, 10, 1))).await, Err(BillingError::PriceStands { .. })));
    assert!(matches!(set_price(&tx, &price(9, date(2025, 10, 2))).await, Err(BillingError::NotAFirst(_))));
    let list = Price { owner: PriceOwner::List, ..price(1, date(2025, 10, 1)) };
    assert!(set_price(&tx, &list).await.is_err());
    tx.commit().await.unwrap();
    let report = draft_period(db.tenants(), &fixture.north, october(), silent()).await.unwrap();
    assert_eq!(report.net_minor, 3 * 800 + 2 * 2_500 + 10_000);
}

#[tokio::test]
async fn an_open_month_has_a_run_rate_and_no_draft() {
    let db = TestDatabase::new().await;
    let fixture = portfolio(&db).await;
    let (tenants, november) = (db.tenants(), october().next());
    assert!(matches!(draft_period(tenants, &fixture.north, november, silent()).await, Err(BillingError::TooEarly { .. })));
    db.clock().set("2025-10-31T20:00:00Z".parse().unwrap());
    let rates = granary_billing::compute_run_rates(tenants, &fixture.north, october(), silent()).await.unwrap();
    let mut amounts: Vec<_> = rates.iter().map(|rate| rate.amount_minor).collect();
    amounts.sort_unstable();
    assert_eq!(amounts, [8_000, 10_000]);
    let tx = tenants.begin_msp(&fixture.north_scope()).await.unwrap();
    assert_eq!(list_run_rates(&tx).await.unwrap().len(), 2);
    assert!(list_invoices(&tx, &InvoiceFilter::default()).await.unwrap().is_empty());
}
