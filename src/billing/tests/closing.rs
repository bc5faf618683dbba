//! A month is closed, and what comes later changes nothing of it.
#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]

use granary_billing::{
    BillingError, Completeness, InvoiceFilter, InvoiceState, Item, PeriodStanding, Residual, accept_finding, approve_period, close,
    correct_period, draft_period, draft_period_as, let_editor_approve, list_accounts, list_entries, list_invoices, list_lines, list_notes,
    period_standing, seed_list_prices,
};
use granary_foundation::Silent;
use granary_metering::{FindingKind, IngestReport, PeriodState, find_seal, ingest, list_corrections, project_month, prove};
use granary_tenants::{Actor, MspScope, OperatorScope, TenantScope, Tenants};
use granary_test_support::{TestDatabase, TwoCustomers};
use granary_types::{Classify, Currency, CustomerId, ErrorKind, Period, UserId};
use jiff::civil::date;
use serde_json::{Value, json};

#[path = "closing/again.rs"]
mod again;

fn october() -> Period {
    "2025-10".parse().unwrap()
}

fn event(source: &str, id: &str, kind: &str, time: &str, data: &Value) -> Value {
    json!({"specversion": "1.0", "id": id, "source": source, "type": kind, "time": time, "data": data})
}

fn machine(source: &str, name: &str, tier: &str) -> Value {
    let data = json!({"source_system": "veeam", "vendor_id": name, "name": name, "tier": tier, "from": "2025-01-01"});
    event(source, &format!("p-{name}-{tier}"), "machine.protected", "2025-01-01T05:00:00Z", &data)
}

fn run(source: &str, id: &str, name: &str, day: &str) -> Value {
    let data = json!({
        "run_id": id, "machine": {"source_system": "veeam", "vendor_id": name}, "kind": "full", "attempt": 1,
        "started_at": format!("{day}T20:00:00Z"), "ended_at": format!("{day}T21:00:00Z"), "has_warning": false,
        "disks": [{"index": 0, "size_bytes": 1000, "transferred_bytes": 100, "state": "completed"}],
    });
    event(source, id, "backup.completed", &format!("{day}T21:00:00Z"), &data)
}

fn heartbeat(source: &str, day: &str) -> Value {
    let data = json!({"day": day, "received": 96, "expected": 96, "last_at": format!("{day}T23:59:00Z")});
    event(source, &format!("h-{day}"), "heartbeat.summary", &format!("{day}T23:59:30Z"), &data)
}

const ACME: &str = "https://vbr.acme.example";
const GLOBEX: &str = "https://vbr.globex.example";

struct World {
    db: TestDatabase,
    made: TwoCustomers,
}

impl World {
    /// ACME with three backup machines and one enterprise machine, GLOBEX with one for replication; both are heard until
    /// 4 November, when the clock stands at the cut-off.
    async fn new() -> Self {
        let db = TestDatabase::new().await;
        let made = db.two_customers().await;
        let tx = db.tenants().begin_operator(&OperatorScope::for_job("test", "seed the list")).await.unwrap();
        seed_list_prices(&tx, Currency::USD, date(2015, 1, 1)).await.unwrap();
        tx.commit().await.unwrap();
        db.clock().set("2025-11-04T12:00:00Z".parse().unwrap());
        let world = Self { db, made };
        let mut acme: Vec<Value> =
            ["one", "two", "three"].iter().flat_map(|name| [machine(ACME, name, "backup"), run(ACME, name, name, "2025-10-07")]).collect();
        acme.extend([machine(ACME, "big", "enterprise"), run(ACME, "big", "big", "2025-10-08"), heartbeat(ACME, "2025-11-03")]);
        world.take(&world.made.acme_scope(), &acme).await;
        let globex = [machine(GLOBEX, "far", "replication"), run(GLOBEX, "far", "far", "2025-10-31"), heartbeat(GLOBEX, "2025-11-03")];
        world.take(&world.made.globex_scope(), &globex).await;
        world
    }

    fn tenants(&self) -> &Tenants {
        self.db.tenants()
    }

    async fn take(&self, scope: &TenantScope, events: &[Value]) -> IngestReport {
        let tx = self.tenants().begin_tenant(scope).await.unwrap();
        let report = ingest(&tx, None, &serde_json::to_vec(events).unwrap()).await.unwrap();
        tx.commit().await.unwrap();
        report
    }

    async fn draft(&self) -> granary_billing::DraftReport {
        draft_period(self.tenants(), &self.made.north, october(), Silent::shared()).await.unwrap()
    }

    /// What a reconciliation without a difference says of the drafts.
    async fn reconciled(&self) -> Vec<Residual> {
        let tx = self.tenants().begin_msp(&self.made.north_scope()).await.unwrap();
        let invoices = list_invoices(&tx, &InvoiceFilter { period: Some(october()), customer: None }).await.unwrap();
        tx.commit().await.unwrap();
        let meets = |invoice: &granary_billing::Invoice| Residual {
            customer_id: invoice.customer_id,
            invoiced_minor: invoice.net_minor,
            difference_minor: 0,
            causes: 0,
        };
        invoices.iter().map(meets).collect()
    }

    async fn standing(&self) -> PeriodStanding {
        let residuals = self.reconciled().await;
        period_standing(self.tenants(), &self.made.north_scope(), october(), &residuals).await.unwrap()
    }

    async fn accept(&self, customer: CustomerId, kind: FindingKind) -> Result<(), BillingError> {
        let standing = self.standing().await;
        let tx = self.tenants().begin_msp(&self.made.north_scope()).await.unwrap();
        accept_finding(&tx, &standing, customer, kind, "agreed with the customer").await?;
        Ok(tx.commit().await?)
    }

    async fn approve_as(&self, actor: impl Into<Actor>) -> Result<u64, BillingError> {
        let scope = MspScope::for_principal(self.made.north.clone(), actor.into());
        let tx = self.tenants().begin_msp(&scope).await.unwrap();
        let approved = approve_period(&tx, october()).await?;
        tx.commit().await?;
        Ok(approved)
    }

    async fn close(&self) -> Result<granary_billing::ClosingReport, BillingError> {
        let residuals = self.reconciled().await;
        close(self.tenants(), &self.made.north_scope(), october(), &residuals, Silent::shared()).await
    }

    async fn draft_approve_and_close(&self) {
        self.draft().await;
        self.approve_as("test").await.unwrap();
        let report = self.close().await.unwrap();
        assert_eq!((report.frozen, report.numbered, report.was_closed), (2, 2, false));
    }

    /// Every row that may never change again, to the byte, with its version.
    async fn frozen(&self) -> Vec<String> {
        let client = self.db.superuser().await;
        let mut found = Vec::new();
        let control = ["periods", "customer_months", "invoices", "invoice_items", "statements", "statement_lines"];
        let control = control
            .map(|table| format!("control.{table} t where t.period = '2025-10'"))
            .map(|table| if table.contains("statement_lines") { "control.statement_lines t".to_owned() } else { table });
        let silos = [&self.made.acme, &self.made.globex].map(|customer| &customer.schema_name);
        let tenant = silos.iter().flat_map(|schema| {
            [
                format!("{schema}.rated_lines t where t.period = '2025-10'"),
                format!("{schema}.machine_days t where t.billing_on between '2025-10-01' and '2025-10-31'"),
                format!("{schema}.storage_days t where t.billing_on between '2025-10-01' and '2025-10-31'"),
            ]
        });
        for table in control.into_iter().chain(tenant) {
            for row in client.query(&format!("select t.xmin::text || to_jsonb(t)::text from {table} order by 1"), &[]).await.unwrap() {
                found.push(row.get(0));
            }
        }
        found
    }

    async fn correct(&self) -> granary_billing::CorrectionReport {
        correct_period(self.tenants(), &self.made.north, october(), Silent::shared()).await.unwrap()
    }
}

#[tokio::test]
async fn a_month_is_drafted_approved_and_closed() {
    let world = World::new().await;
    assert!(matches!(world.close().await, Err(BillingError::NotDrafted(..))));
    assert_eq!(world.draft().await.net_minor, 3_000 + 2_500 + 10_000);
    let standing = world.standing().await;
    assert_eq!((standing.progress.state, standing.unapproved(), standing.blockers().len()), (PeriodState::Drafted, 2, 0));
    assert!(matches!(world.close().await, Err(BillingError::NotApproved { .. })));
    assert_eq!(world.approve_as("test").await.unwrap(), 2);

    // A run that comes after the approval is billed, and approved again.
    world.take(&world.made.acme_scope(), &[machine(ACME, "late", "backup"), run(ACME, "late", "late", "2025-10-09")]).await;
    assert!(matches!(world.close().await, Err(BillingError::Blocked { .. })), "not reconciled as it is now");
    assert!(matches!(world.close().await, Err(BillingError::NotApproved { count: 1, .. })));
    world.approve_as("test").await.unwrap();
    let report = world.close().await.unwrap();
    assert_eq!((report.frozen, report.numbered), (2, 2));
    let standing = world.standing().await;
    assert_eq!(standing.progress.state, PeriodState::Closed);
    assert!(standing.customers.iter().all(|customer| customer.is_closed && customer.invoice_state == Some(InvoiceState::Finalised)));
    assert_eq!(standing.customers[0].events_count, Some(5), "runs of October; what protected them was said in January");
    assert!(world.close().await.unwrap().was_closed);
    let client = world.db.superuser().await;
    let news = "select count(*) from outbox.messages where kind = 'metering.period_closed'";
    assert_eq!(client.query_one(news, &[]).await.unwrap().get::<_, i64>(0), 1);
    let noted = "select count(*) from control.audit_log where action in ('period.approve', 'period.close')";
    assert_eq!(client.query_one(noted, &[]).await.unwrap().get::<_, i64>(0), 3);
}

#[tokio::test]
async fn the_editor_does_not_approve_unless_the_msp_allows_it() {
    let world = World::new().await;
    let (ada, ben) = (Actor::User(UserId::new()), Actor::User(UserId::new()));
    let scope = MspScope::for_principal(world.made.north.clone(), ada);
    draft_period_as(world.tenants(), &scope, october(), Silent::shared()).await.unwrap();
    let refused = world.approve_as(ada).await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), (ErrorKind::Denied, "own_work"));
    // The house drafting the same once more makes it nobody else's work.
    world.draft().await;
    assert!(matches!(world.approve_as(ada).await, Err(BillingError::OwnWork(_))));
    assert_eq!(world.approve_as(ben).await.unwrap(), 2);
    let tx = world.tenants().begin_msp(&world.made.north_scope()).await.unwrap();
    let_editor_approve(&tx, true).await.unwrap();
    tx.commit().await.unwrap();
    world.approve_as(ada).await.unwrap();
}

#[tokio::test]
async fn a_silent_customer_blocks_until_it_is_accepted_and_is_billed_by_what_was_known() {
    let world = World::new().await;
    // Nothing of GLOBEX since 20 September: one machine was in protection then.
    let client = world.db.superuser().await;
    let schema = &world.made.globex.schema_name;
    for table in ["backup_runs", "heartbeats", "usage_events", "machine_days"] {
        client.batch_execute(&format!("set search_path = {schema}; delete from {table}")).await.unwrap();
    }
    // What a wrong clock says of years to come is no sign of life.
    world.take(&world.made.globex_scope(), &[run(GLOBEX, "before", "far", "2025-09-20"), heartbeat(GLOBEX, "2098-01-01")]).await;
    project_month(world.tenants(), &world.made.globex_scope(), october().previous()).await.unwrap();
    world.draft().await;
    let standing = world.standing().await;
    let globex = standing.customers.iter().find(|customer| customer.customer_code == "GLOBEX").unwrap();
    assert_eq!((globex.completeness, globex.net_minor, globex.findings[0].kind), (Completeness::Incomplete, 0, FindingKind::Incomplete));
    assert!(globex.findings[0].extent.contains("2025-09-20T21:00:00Z"), "{:?}", globex.findings);
    world.approve_as("test").await.unwrap();
    assert!(matches!(world.close().await, Err(BillingError::Blocked { .. })));
    assert!(matches!(world.accept(world.made.acme.id, FindingKind::Incomplete).await, Err(BillingError::NothingToAccept { .. })));
    assert!(matches!(world.accept(world.made.south_acme.id, FindingKind::Incomplete).await, Err(BillingError::NotFound(_))));
    world.accept(world.made.globex.id, FindingKind::Incomplete).await.unwrap();
    assert_eq!(world.draft().await.net_minor, 3_000 + 2_500 + 10_000);
    world.approve_as("test").await.unwrap();
    world.close().await.unwrap();
    let standing = world.standing().await;
    let globex = standing.customers.iter().find(|customer| customer.customer_code == "GLOBEX").unwrap();
    assert_eq!((globex.completeness, globex.net_minor), (Completeness::Estimated, 10_000));
    let tx = world.tenants().begin_tenant(&world.made.globex_scope()).await.unwrap();
    assert!(list_lines(&tx, october()).await.unwrap()[0].description.contains("estimated"));
    tx.commit().await.unwrap();

    // As long as nobody speaks the estimate stands; once somebody does, it is corrected.
    let report = world.correct().await;
    assert_eq!((report.differing.len(), report.skipped.len()), (0, 1));
    world.db.clock().set("2025-11-20T12:00:00Z".parse().unwrap());
    world.take(&world.made.globex_scope(), &[heartbeat(GLOBEX, "2025-11-19")]).await;
    assert_eq!(world.correct().await.differing, ["GLOBEX"]);
    let tx = world.tenants().begin_msp(&world.made.north_scope()).await.unwrap();
    let entries = list_entries(&tx, Some(october())).await.unwrap();
    assert_eq!(entries.iter().map(|entry| (entry.item, entry.amount_minor)).collect::<Vec<_>>(), [(Item::MachineReplication, -10_000)]);
}

#[tokio::test]
async fn quarantine_and_residuals_block_until_they_are_accepted_as_they_are() {
    let world = World::new().await;
    let other = |size: i64| {
        let mut changed = run(ACME, "one", "one", "2025-10-07");
        changed["data"]["disks"][0]["size_bytes"] = size.into();
        changed
    };
    assert_eq!(world.take(&world.made.acme_scope(), &[other(1)]).await.conflicts, 1);
    world.draft().await;
    world.approve_as("test").await.unwrap();
    assert!(matches!(world.close().await, Err(BillingError::Blocked { .. })));
    world.accept(world.made.acme.id, FindingKind::Quarantine).await.unwrap();
    assert!(world.standing().await.blockers().is_empty());
    // One more is more than what was accepted.
    world.take(&world.made.acme_scope(), &[other(2)]).await;
    world.draft().await;
    assert_eq!(world.standing().await.blockers(), ["ACME: quarantine (2)"]);
    world.accept(world.made.acme.id, FindingKind::Quarantine).await.unwrap();

    let mut residuals = world.reconciled().await;
    residuals.iter_mut().find(|residual| residual.customer_id == world.made.acme.id).unwrap().difference_minor = -250;
    let (tenants, scope) = (world.tenants(), world.made.north_scope());
    let refused = close(tenants, &scope, october(), &residuals, Silent::shared()).await.unwrap_err();
    assert!(refused.to_string().contains("ACME: residual (-2.50 USD)"), "{refused}");
    let standing = period_standing(tenants, &scope, october(), &residuals).await.unwrap();
    let tx = tenants.begin_msp(&scope).await.unwrap();
    accept_finding(&tx, &standing, world.made.acme.id, FindingKind::Residual, "a machine that the lake never saw").await.unwrap();
    tx.commit().await.unwrap();
    close(tenants, &scope, october(), &residuals, Silent::shared()).await.unwrap();
}

#[tokio::test]
async fn a_flood_of_late_events_changes_nothing_that_is_closed() {
    let world = World::new().await;
    world.draft_approve_and_close().await;
    let before = world.frozen().await;
    world.db.clock().set("2025-11-20T12:00:00Z".parse().unwrap());
    let acme = world.made.acme_scope();
    let mut flood: Vec<Value> = Vec::new();
    for number in 0..40 {
        let name = format!("late-{number}");
        flood.extend([machine(ACME, &name, "enterprise"), run(ACME, &name, &name, "2025-10-15")]);
    }
    let unprotected = json!({"source_system": "veeam", "vendor_id": "one", "on": "2025-02-01"});
    flood.push(event(ACME, "u", "machine.unprotected", "2025-10-20T00:00:00Z", &unprotected));
    let mut contradiction = run(ACME, "two", "two", "2025-10-07");
    contradiction["data"]["disks"][0]["transferred_bytes"] = 7.into();
    flood.push(contradiction);
    assert_eq!(world.take(&acme, &flood).await.conflicts, 1);
    project_month(world.tenants(), &acme, october()).await.unwrap();
    assert!(world.draft().await.is_final);
    assert_eq!(world.correct().await.differing, ["ACME"]);
    assert_eq!(world.correct().await.differing, ["ACME"]);
    assert_eq!(world.frozen().await, before);
    assert!(before.len() > 20, "{}", before.len());

    // The database itself refuses.
    let client = world.db.superuser().await;
    client.batch_execute("set search_path = control").await.unwrap();
    for statement in [
        "update customer_months set machines_backup = 9 where period = '2025-10'",
        "delete from customer_months where period = '2025-10'",
        "update customer_months set is_closed = false where period = '2025-10'",
        "update periods set state = 'open' where period = '2025-10'",
        "delete from periods where period = '2025-10'",
        "update invoice_items set amount_minor = 1 where period = '2025-10'",
        "delete from invoice_items where period = '2025-10'",
        "insert into invoice_items select invoice_id, msp_id, customer_id, period, 'other', false, 1, 1, 'USD' from invoice_items limit 1",
    ] {
        let refused = client.execute(statement, &[]).await.unwrap_err();
        let constraint = refused.as_db_error().unwrap_or_else(|| panic!("{statement}: {refused}")).constraint().unwrap();
        assert!(constraint.ends_with("_closed") || constraint.ends_with("_finalised"), "{statement}: {constraint}");
    }
    assert_eq!(world.frozen().await, before);

    // Quantities and money of it stand beside the month.
    let tx = world.tenants().begin_msp(&world.made.north_scope()).await.unwrap();
    let meters: Vec<_> = list_corrections(&tx, october()).await.unwrap();
    let told: Vec<_> = meters.iter().map(|one| format!("{} {} {} {}", one.customer_code, one.meter, one.closed, one.now)).collect();
    assert_eq!(told, ["ACME machines_backup 3 2", "ACME machines_enterprise 1 41", "ACME runs_completed 4 44"]);
    let entries = list_entries(&tx, Some(october())).await.unwrap();
    assert_eq!(
        entries.iter().map(|entry| (entry.item, entry.amount_minor)).collect::<Vec<_>>(),
        [(Item::MachineBackup, -1_000), (Item::MachineEnterprise, 100_000)]
    );
}

#[tokio::test]
async fn later_facts_become_lines_and_credit_notes_with_the_next_month_once() {
    let world = World::new().await;
    world.draft_approve_and_close().await;
    world.db.clock().set("2025-12-04T12:00:00Z".parse().unwrap());
    let unprotected = json!({"source_system": "veeam", "vendor_id": "one", "on": "2025-02-01"});
    let late = [
        machine(ACME, "late", "enterprise"),
        run(ACME, "late", "late", "2025-10-15"),
        event(ACME, "u", "machine.unprotected", "2025-10-20T00:00:00Z", &unprotected),
        run(ACME, "n-two", "two", "2025-11-07"),
        heartbeat(ACME, "2025-12-03"),
        heartbeat(GLOBEX, "2025-12-03"),
    ];
    world.take(&world.made.acme_scope(), &late[..5]).await;
    world.take(&world.made.globex_scope(), &late[5..]).await;
    world.correct().await;
    let (tenants, north, november) = (world.tenants(), &world.made.north, october().next());
    for _ in 0..2 {
        draft_period(tenants, north, november, Silent::shared()).await.unwrap();
        world.correct().await;
    }
    let tx = tenants.begin_tenant(&world.made.acme_scope()).await.unwrap();
    let lines = list_lines(&tx, november).await.unwrap();
    tx.commit().await.unwrap();
    let told: Vec<_> = lines.iter().map(|line| (line.item, line.description.as_str(), line.amount_minor)).collect();
    assert_eq!(
        told,
        [
            (Item::MachineBackup, "Machines, backup (distinct in period)", 1_000),
            (Item::Correction, "Machines, enterprise of 2025-10, corrected", 2_500),
        ]
    );
    granary_billing::finalise_period(tenants, north, november).await.unwrap();
    granary_billing::finalise_period(tenants, north, november).await.unwrap();
    world.correct().await;
    let tx = tenants.begin_msp(&world.made.north_scope()).await.unwrap();
    let notes = list_notes(&tx, &InvoiceFilter::default()).await.unwrap();
    assert_eq!(notes.len(), 1);
    let note = &notes[0];
    assert_eq!((note.is_credit, note.total_minor, note.period), (true, 1_000, october()));
    assert_eq!((note.number.as_deref(), note.cited.as_deref()), (Some("NORTH-CN-2025-00001"), Some("NORTH-2025-00001")));
    let entries = list_entries(&tx, None).await.unwrap();
    assert!(entries.len() == 2 && entries.iter().all(|entry| entry.document_id.is_some()), "{entries:?}");
    let owed: Vec<_> =
        list_accounts(&tx).await.unwrap().iter().map(|account| (account.customer_code.clone(), account.open_minor)).collect();
    assert_eq!(owed, [("ACME".to_owned(), 5_500 + 3_500 - 1_000), ("GLOBEX".to_owned(), 10_000)]);
    tx.commit().await.unwrap();

    // What is said next is a difference to what was corrected.
    let protected = json!({"source_system": "veeam", "vendor_id": "one", "name": "one", "tier": "backup", "from": "2025-02-01"});
    world.take(&world.made.acme_scope(), &[event(ACME, "p-again", "machine.protected", "2025-12-01T00:00:00Z", &protected)]).await;
    world.correct().await;
    let tx = tenants.begin_msp(&world.made.north_scope()).await.unwrap();
    let entries = list_entries(&tx, None).await.unwrap();
    let pending: Vec<_> = entries.iter().filter(|entry| entry.document_id.is_none()).map(|entry| entry.amount_minor).collect();
    assert_eq!(pending, [1_000]);
}

#[tokio::test]
async fn an_event_is_proved_to_be_one_that_was_closed() {
    let world = World::new().await;
    world.draft_approve_and_close().await;
    let acme = world.made.acme_scope();
    world.db.clock().set("2025-11-20T12:00:00Z".parse().unwrap());
    world.take(&acme, &[machine(ACME, "late", "backup"), run(ACME, "late", "late", "2025-10-15")]).await;
    let tx = world.tenants().begin_msp(&world.made.north_scope()).await.unwrap();
    let seal = find_seal(&tx, world.made.acme.id, october()).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    let tx = world.tenants().begin_tenant(&acme).await.unwrap();
    let proof = prove(&tx, october(), &seal, (ACME, "two")).await.unwrap().unwrap();
    assert_eq!((proof.size, proof.path.len(), &proof.root), (4, 2, &seal.events_hash));
    assert!(prove(&tx, october(), &seal, (ACME, "late")).await.unwrap().is_none(), "it came later");
    tx.commit().await.unwrap();
    // Somebody edits the log.
    let client = world.db.superuser().await;
    let schema = &world.made.acme.schema_name;
    client.batch_execute(&format!("update {schema}.usage_events set content_hash = '\\x00' where id = 'three'")).await.unwrap();
    let tx = world.tenants().begin_tenant(&acme).await.unwrap();
    assert_eq!(prove(&tx, october(), &seal, (ACME, "two")).await.unwrap_err().code(), "seal_broken");
}
