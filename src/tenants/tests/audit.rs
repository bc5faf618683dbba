//! The chains of the audit log: many writers at once, and whoever changes what was written is found out.
#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]

use granary_db::{AuditEntry, record_audit};
use granary_foundation::Silent;
use granary_tenants::{AuditFilter, AuditReport, MspScope, TenantScope, Tenants, list_audit};
use granary_test_support::{TestDatabase, TwoCustomers};
use serde_json::json;

/// Writers at once, and how often each writes.
const WRITERS: usize = 20;
const EACH: usize = 10;

fn entry(scope: &MspScope, them: &TwoCustomers, number: usize) -> AuditEntry {
    AuditEntry {
        msp: Some(scope.msp.id),
        customer: Some(them.acme.id),
        actor: scope.actor.to_string(),
        action: "customer.test".to_owned(),
        subject: "customer:ACME".to_owned(),
        detail: json!({"number": number, "share": 0.5, "names": ["ü", "\u{1f33e}"]}),
        reason: number.is_multiple_of(2).then(|| format!("reason {number}")),
    }
}

/// Everybody writes into the MSP's log and into the silo's at once, several entries a transaction.
async fn write(test: &TestDatabase, them: &TwoCustomers) {
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let (tenants, msp, acme) = (test.tenants().clone(), them.north_scope(), them.acme_scope());
        let entries: Vec<AuditEntry> = (0..EACH).map(|number| entry(&msp, them, writer * EACH + number)).collect();
        writers.push(tokio::spawn(async move {
            for pair in entries.chunks(2) {
                let tx = tenants.begin_msp(&msp).await.unwrap();
                for entry in pair {
                    record_audit(&tx, entry).await.unwrap();
                }
                tx.commit().await.unwrap();
                let tx = tenants.begin_tenant(&acme).await.unwrap();
                for entry in pair {
                    tx.record_audit(&entry.action, &entry.subject, &entry.detail, entry.reason.as_deref()).await.unwrap();
                }
                tx.commit().await.unwrap();
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
}

/// What is wrong with the MSP's chain and with the silo's.
async fn faults(tenants: &Tenants, them: &TwoCustomers) -> [Vec<String>; 2] {
    let reports = verify(tenants, them).await;
    [0, 1].map(|index| reports[index].faults.iter().map(ToString::to_string).collect())
}

async fn verify(tenants: &Tenants, them: &TwoCustomers) -> Vec<AuditReport> {
    tenants.verify_audit(&them.north, Some(&them.acme), "test".into(), &Silent::shared()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_writers_make_one_chain_and_every_change_of_it_is_found() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    write(&test, &them).await;
    let whole = verify(test.tenants(), &them).await;
    assert!(whole.iter().all(|report| report.faults.is_empty()), "{whole:?}");
    let records = i64::try_from(WRITERS * EACH).unwrap();
    assert_eq!(whole[1].records, records);
    assert!(whole[0].records > records, "provisioning was recorded too");
    assert!(test.tenants().verify_installation_audit().await.unwrap().faults.is_empty());

    let superuser = test.superuser().await;
    let last = [whole[0].records, whole[1].records];
    let places = [
        ("control.audit_log".to_owned(), format!("and msp_id = '{}'", them.north.id)),
        (format!("{}.audit_log", them.acme.schema_name), String::new()),
    ];
    for (index, (log, of)) in places.iter().enumerate() {
        let last = last[index];
        let attacks = [
            ("edit", format!("update {log} set reason = 'another story' where sequence = 37 {of}"), "record 37 was edited".to_owned()),
            ("edit of the actor", format!("update {log} set actor = 'user:eve' where sequence = 3 {of}"), "record 3 was edited".to_owned()),
            ("delete", format!("delete from {log} where sequence = 12 {of}"), "record 12 was deleted".to_owned()),
            (
                "reorder",
                format!(
                    "update {log} set sequence = -1 where sequence = 5 {of}; update {log} set sequence = 5 where sequence = 6 {of};
                     update {log} set sequence = 6 where sequence = -1 {of}"
                ),
                "record 5 was reordered: it was written as record 6; record 6 was reordered: it was written as record 5".to_owned(),
            ),
            (
                "truncate",
                format!("delete from {log} where sequence > 190 {of}"),
                format!("the log was truncated: records 191 to {last} are gone, as the head tells"),
            ),
            ("forge", forge(log, &them, index == 0), "1 entries stand outside the chain, 0 did when it began".to_owned()),
        ];
        for (name, attack, found) in attacks {
            superuser
                .batch_execute(&format!("alter table {log} disable trigger user; create table public.kept as table {log}"))
                .await
                .unwrap();
            superuser.batch_execute(&attack).await.unwrap();
            let faults = faults(test.tenants(), &them).await;
            assert_eq!(faults[index].join("; "), found, "{name} in {log}");
            assert!(faults[1 - index].is_empty(), "{name} in {log}: {faults:?}");
            let restore =
                format!("delete from {log}; insert into {log} overriding system value select * from public.kept; drop table public.kept");
            superuser.batch_execute(&restore).await.unwrap();
            superuser.batch_execute(&format!("alter table {log} enable trigger user")).await.unwrap();
        }
    }
    assert_eq!(faults(test.tenants(), &them).await, [const { Vec::<String>::new() }; 2], "everything stands as it stood");
}

/// Something that lists show and no chain has: before its first record.
fn forge(log: &str, them: &TwoCustomers, is_control: bool) -> String {
    let (column, msp) = if is_control { ("msp_id, ", format!("'{}', ", them.north.id)) } else { ("", String::new()) };
    format!("insert into {log} ({column}actor, action, subject, happened_at, sequence) values ({msp}'x', 'x', 'x', now(), 0)")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_is_gone_is_named() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    write(&test, &them).await;
    let superuser = test.superuser().await;
    superuser.batch_execute(&format!("alter table {}.audit_head rename to gone", them.acme.schema_name)).await.unwrap();
    let msp = format!(
        "alter table control.audit_log disable trigger user; delete from control.audit_log where msp_id = '{0}';
         delete from control.audit_heads where msp_id = '{0}'",
        them.north.id
    );
    superuser.batch_execute(&msp).await.unwrap();
    let gone = "the chain is gone: nothing says where the log ends";
    assert_eq!(faults(test.tenants(), &them).await, [[gone], [gone]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_cut_off_with_its_head_wound_back_is_told_by_what_was_signed() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    write(&test, &them).await;
    assert!(test.tenants().checkpoint_audit("test".into()).await.unwrap() >= 2);
    assert_eq!(test.tenants().checkpoint_audit("test".into()).await.unwrap(), 0, "nothing is signed twice");
    let superuser = test.superuser().await;
    let schema = &them.acme.schema_name;
    let wind_back = format!(
        "delete from {schema}.audit_log where sequence > 150;
         update {schema}.audit_head set sequence = 150, digest = (select digest from {schema}.audit_log where sequence = 150)"
    );
    superuser.batch_execute(&wind_back).await.unwrap();
    assert_eq!(
        faults(test.tenants(), &them).await[1],
        ["the log was truncated: records 151 to 200 are gone, as checkpoint 1 tells"],
        "a head alone would not have told"
    );
    // Whoever changes what was signed, or signs it anew, lacks the MSP's key.
    superuser.batch_execute("update control.audit_checkpoints set sequence = 150 where customer_id is not null").await.unwrap();
    let found = faults(test.tenants(), &them).await[1].join("; ");
    assert!(found.starts_with("checkpoint 1 was edited"), "{found}");
    superuser.batch_execute("delete from control.audit_checkpoints where customer_id is null").await.unwrap();
    // Written on from there, the head fits the log and neither fits what was signed.
    superuser
        .batch_execute(&format!("insert into {schema}.audit_log (actor, action, subject, happened_at) values ('x', 'x', 'x', now())"))
        .await
        .unwrap();
    let found = faults(test.tenants(), &them).await[1].join("; ");
    assert!(found.contains("1 entries stand outside the chain, 0 did when it began"), "{found}");
}

#[tokio::test]
async fn what_was_written_before_the_chain_is_counted_and_its_actors_are_covered() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    let superuser = test.superuser().await;
    let schema = &them.globex.schema_name;
    let older = "insert into audit_log (actor, action, subject, happened_at) values ('a', 'b', 'c', now()), ('d', 'e', 'f', now())";
    let migration = include_str!("../../../tenant-migrations/V0007__audit_chain.sql");
    let begin = &migration[migration.find("insert into audit_head").unwrap()..];
    superuser.batch_execute(&format!("set search_path = {schema}; {older}; {begin}; reset search_path")).await.unwrap();
    let tx = test.tenants().begin_tenant(&them.globex_scope()).await.unwrap();
    tx.record_audit("first", "x", &json!({}), None).await.unwrap();
    tx.commit().await.unwrap();
    let verify = async || {
        let reports = test.tenants().verify_audit(&them.north, Some(&them.globex), "test".into(), &Silent::shared()).await.unwrap();
        (reports[1].older, reports[1].records, reports[1].faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    };
    assert_eq!(verify().await, (2, 1, String::new()));
    superuser.batch_execute(&format!("update {schema}.audit_log set actor = 'nobody' where actor = 'd'")).await.unwrap();
    assert_eq!(verify().await, (2, 1, "one of the 2 entries from before the chain was edited".to_owned()));
    // Whoever adjusts the digest as well breaks what the first record follows.
    let digest = &begin[begin.find("sha256").unwrap()..begin.find("\nfrom").unwrap()];
    let adjust = format!("update audit_head set older_digest = (select {digest} from audit_log where sequence is null)");
    superuser.batch_execute(&format!("set search_path = {schema}; {adjust}; reset search_path")).await.unwrap();
    assert_eq!(verify().await, (2, 1, "record 1 does not follow the record before it".to_owned()));
}

#[tokio::test]
async fn the_words_of_an_erased_customer_go_and_the_chain_holds() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    let tx = test.tenants().begin_msp(&them.north_scope()).await.unwrap();
    for number in 0..5 {
        record_audit(&tx, &entry(&them.north_scope(), &them, number)).await.unwrap();
    }
    tx.commit().await.unwrap();
    let superuser = test.superuser().await;
    superuser.batch_execute("set search_path = control").await.unwrap();
    let blank = "update control.audit_log set subject = 'customer:' || customer_id, detail = '{}', reason = null, salt = null where customer_id = $1";
    assert!(superuser.execute(blank, &[&them.acme.id.uuid()]).await.is_err(), "not while the customer lives");
    superuser.execute("update control.customers set status = 'erased' where id = $1", &[&them.acme.id.uuid()]).await.unwrap();
    let blanked = superuser.execute(blank, &[&them.acme.id.uuid()]).await.unwrap();
    let reports = test.tenants().verify_audit(&them.north, Some(&them.globex), "test".into(), &Silent::shared()).await.unwrap();
    assert!(reports[0].faults.is_empty(), "{reports:?}");
    assert_eq!(reports[0].blanked, i64::try_from(blanked).unwrap());
    // Of a customer that was not erased nobody may take them out.
    superuser.batch_execute("update control.customers set status = 'active' where status = 'erased'").await.unwrap();
    let reports = test.tenants().verify_audit(&them.north, Some(&them.globex), "test".into(), &Silent::shared()).await.unwrap();
    assert_eq!(reports[0].faults.len(), usize::try_from(blanked).unwrap());
}

#[tokio::test]
async fn a_transaction_that_rolls_back_leaves_no_record_and_no_gap() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    let record = async |is_kept: bool| {
        let tx = test.tenants().begin_tenant(&them.acme_scope()).await.unwrap();
        tx.record_audit("first", "x", &json!({}), None).await.unwrap();
        if is_kept { tx.commit().await.unwrap() } else { tx.rollback().await.unwrap() }
    };
    record(true).await;
    record(false).await;
    record(true).await;
    let reports = verify(test.tenants(), &them).await;
    assert!(reports[1].records == 2 && reports[1].faults.is_empty(), "{reports:?}");
}

#[tokio::test]
async fn pages_of_two_logs_follow_one_another_without_a_gap() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    write(&test, &them).await;
    let scope: TenantScope = them.acme_scope();
    let (mut seen, mut filter) = (Vec::new(), AuditFilter { action: Some("customer.test".to_owned()), ..AuditFilter::default() });
    loop {
        let page = test.tenants().list_audit_of_customer(&scope, &filter, 37).await.unwrap();
        seen.extend(page.iter().map(|line| line.place.to_string()));
        filter.after = page.last().map(|line| line.place);
        if page.len() < 37 {
            break;
        }
    }
    let all = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!((all, seen.len()), (2 * WRITERS * EACH, 2 * WRITERS * EACH));
    let tx = test.tenants().begin_msp(&them.south_scope()).await.unwrap();
    let foreign = list_audit(&tx, None, &AuditFilter::default(), 100).await.unwrap();
    tx.commit().await.unwrap();
    assert!(foreign.iter().all(|line| line.action != "customer.test"));
}
