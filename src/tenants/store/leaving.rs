//! Holds, erasures and their certificates.

use granary_db::{OwnerConnection, Tx};
use granary_types::{CustomerCode, CustomerId, MspId};
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::error::TenantsError;
use crate::leaving::{Erasure, LegalHold};

const INSERT_HOLD: &str = "
    insert into legal_holds (id, msp_id, customer_id, reason, set_by, set_at) values ($1, $2, $3, $4, $5, $6)
    on conflict (customer_id) where released_at is null do nothing";
const RELEASE_HOLD: &str = "
    update legal_holds set released_by = $2, released_at = $3 where customer_id = $1 and released_at is null
    returning reason, set_by, set_at, released_by, released_at";
const FIND_HOLD: &str = "
    select reason, set_by, set_at, released_by, released_at from legal_holds where customer_id = $1 and released_at is null";
const LIST_HOLDS: &str = "
    select reason, set_by, set_at, released_by, released_at from legal_holds where customer_id = $1 order by set_at desc, id desc";
/// Who asked for it and why is known from the operation.
const INSERT_ERASURE: &str = "
    insert into erasures (customer_id, msp_id, code, reason, requested_by, started_at)
    select r.customer_id, r.msp_id, c.code, coalesce(r.reason, ''), r.actor, r.started_at
    from lifecycle_runs r join customers c on c.id = r.customer_id
    where r.customer_id = $1 and r.operation = 'erase'
    on conflict (customer_id) do nothing";
/// What was found first stays: a repetition finds less.
const NOTE_FINDING: &str = "update erasures set findings = jsonb_build_object($2::text, $3::jsonb) || findings where customer_id = $1";
const FIND_ERASURE: &str = "
    select customer_id, code, reason, requested_by, started_at, findings, certificate::text, finished_at from erasures where customer_id = $1";
const FIND_ERASURE_BY_CODE: &str = "
    select customer_id, code, reason, requested_by, started_at, findings, certificate::text, finished_at
    from erasures where msp_id = $1 and code = $2 order by started_at desc limit 1";
const FINISH_ERASURE: &str = "
    update erasures set certificate = $2::text::jsonb, finished_at = $3 where customer_id = $1 and finished_at is null";
/// What the control schema forgets of a customer, in the order that references ask for; each statement says how many rows went.
/// That a customer was erased is news that others may not have heard yet, and names nobody.
pub(super) const FORGET: [&str; 39] = [
    "delete from mails where customer_id = $1",
    "delete from recovery_codes where user_id in (select id from users where customer_id = $1)",
    "delete from second_factors where user_id in (select id from users where customer_id = $1)",
    "delete from user_tokens where user_id in (select id from users where customer_id = $1)",
    "delete from sessions where user_id in (select id from users where customer_id = $1)",
    "delete from user_customers where customer_id = $1 or user_id in (select id from users where customer_id = $1)",
    "delete from api_keys where customer_id = $1 or control_plane_id in (select id from control_planes where customer_id = $1)",
    "delete from user_identities where provider_id = $1 or user_id in (select id from users where customer_id = $1)",
    "delete from sso_logins where provider_id = $1",
    "delete from identity_provider_domains where provider_id = $1",
    "delete from identity_provider_groups where provider_id = $1",
    "delete from identity_providers where customer_id = $1",
    "delete from users where customer_id = $1",
    "delete from contacts where customer_id = $1",
    "delete from control_plane_keys where customer_id = $1",
    "delete from enrolment_codes where customer_id = $1",
    "delete from control_planes where customer_id = $1",
    "delete from sites where customer_id = $1",
    "delete from customer_limits where customer_id = $1",
    "delete from contract_limits where customer_id = $1",
    "delete from retention_marks where customer_id = $1",
    "delete from contracts where customer_id = $1",
    "delete from customer_months where customer_id = $1",
    "delete from alerts where customer_id = $1",
    "delete from alert_watches where customer_id = $1",
    "delete from period_findings where customer_id = $1",
    "delete from period_acceptances where customer_id = $1",
    "delete from usage_corrections where customer_id = $1",
    "delete from correction_entries where customer_id = $1",
    "delete from api_calls where customer_id = $1",
    "delete from usage_measurements where customer_id = $1",
    "delete from run_rates where customer_id = $1",
    "delete from prices where customer_id = $1",
    "delete from schema_states where customer_id = $1",
    "delete from moves where customer_id = $1",
    "delete from jobs where customer_id = $1",
    "delete from events where (customer_id = $1 or payload ->> 'customer_id' = $1::uuid::text) and kind <> 'tenants.customer_erased'",
    "delete from outbox.messages
     where kind <> 'tenants.customer_erased'
         and (payload ->> 'customer_id' = $1::uuid::text or role_name = (select role_name from customers where id = $1))",
    "delete from clones where parent_id = $1",
];
/// What stays says who did what and when, and not in whose words.
pub(super) const BLANK: [&str; 3] = [
    "update status_changes set reason = null where customer_id = $1 and reason is not null",
    "update lifecycle_runs set reason = null where customer_id = $1 and operation <> 'erase' and reason is not null",
    "update audit_log set subject = 'customer:' || customer_id, detail = '{}', reason = null, salt = null
     where customer_id = $1 and (salt is not null or subject <> 'customer:' || customer_id or detail <> '{}' or reason is not null)",
];
const BLUR_STATEMENTS: &str = "
    update statement_lines set description = replace(description, $2, $3) where customer_id = $1 and position($2 in description) > 0";
/// The row stays, because invoices and payments refer to it; what it says of the customer goes.
const BURY: &str = "
    update customers
    set code = $2, name = 'Erased customer', time_zone = 'UTC', country = 'ZZ', vertical = null, contact_email = null,
        brand_color = null, logo_url = null
    where id = $1 and status = 'erased'";
const IS_BURIED: &str = "
    select array[
        code = $2 and name = 'Erased customer',
        not exists (select from users u where u.customer_id = c.id) and not exists (select from contracts k where k.customer_id = c.id)
            and not exists (select from contacts k where k.customer_id = c.id) and not exists (select from jobs j where j.customer_id = c.id)]
    from customers c where id = $1";
const IS_ERASED_BEGUN: &str = "select exists (select from erasures where customer_id = $1)";
const KEPT_INVOICES: &str = "select number, keep_until from kept_invoices where customer_id = $1 order by number";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[
    INSERT_HOLD,
    RELEASE_HOLD,
    FIND_HOLD,
    LIST_HOLDS,
    INSERT_ERASURE,
    NOTE_FINDING,
    FIND_ERASURE,
    FIND_ERASURE_BY_CODE,
    FINISH_ERASURE,
    BLUR_STATEMENTS,
    BURY,
    IS_BURIED,
    IS_ERASED_BEGUN,
    KEPT_INVOICES,
];

/// Sets a hold; false when one stands already.
pub(crate) async fn insert_hold(tx: &Tx, (msp, customer): (MspId, CustomerId), reason: &str, by: &str) -> Result<bool, TenantsError> {
    Ok(tx.execute(INSERT_HOLD, &[&Uuid::now_v7(), &msp, &customer, &reason, &by, &tx.now()]).await? == 1)
}

/// Releases a hold; none when none stands.
pub(crate) async fn release_hold(tx: &Tx, customer: CustomerId, by: &str) -> Result<Option<LegalHold>, TenantsError> {
    tx.query_opt(RELEASE_HOLD, &[&customer, &by, &tx.now()]).await?.as_ref().map(hold).transpose()
}

/// Finds the hold that stands.
pub(crate) async fn find_hold(tx: &Tx, customer: CustomerId) -> Result<Option<LegalHold>, TenantsError> {
    tx.query_opt(FIND_HOLD, &[&customer]).await?.as_ref().map(hold).transpose()
}

/// Lists all holds there ever were, the newest first.
pub(crate) async fn list_holds(tx: &Tx, customer: CustomerId) -> Result<Vec<LegalHold>, TenantsError> {
    tx.query(LIST_HOLDS, &[&customer]).await?.iter().map(hold).collect()
}

fn hold(row: &granary_db::Row) -> Result<LegalHold, TenantsError> {
    let get = TenantsError::column;
    Ok(LegalHold {
        reason: row.try_get(0).map_err(get)?,
        set_by: row.try_get(1).map_err(get)?,
        set_at: row.try_get(2).map_err(get)?,
        released_by: row.try_get(3).map_err(get)?,
        released_at: row.try_get(4).map_err(get)?,
    })
}

/// Begins an erasure's record.
pub(crate) async fn insert_erasure(tx: &Tx, customer: CustomerId) -> Result<(), TenantsError> {
    tx.execute(INSERT_ERASURE, &[&customer]).await?;
    Ok(())
}

pub(crate) async fn has_erasure(tx: &Tx, customer: CustomerId) -> Result<bool, TenantsError> {
    tx.query_one(IS_ERASED_BEGUN, &[&customer]).await?.try_get(0).map_err(TenantsError::column)
}

/// Notes what a step is about to destroy.
pub(crate) async fn note_finding(tx: &Tx, customer: CustomerId, key: &str, found: &Value) -> Result<(), TenantsError> {
    tx.execute(NOTE_FINDING, &[&customer, &key, found]).await?;
    Ok(())
}

pub(crate) async fn find_erasure(tx: &Tx, customer: CustomerId) -> Result<Option<Erasure>, TenantsError> {
    tx.query_opt(FIND_ERASURE, &[&customer]).await?.as_ref().map(erasure).transpose()
}

pub(crate) async fn find_erasure_by_code(tx: &Tx, msp: MspId, code: &CustomerCode) -> Result<Option<Erasure>, TenantsError> {
    tx.query_opt(FIND_ERASURE_BY_CODE, &[&msp, &code.as_str()]).await?.as_ref().map(erasure).transpose()
}

/// Stores the certificate, once.
pub(crate) async fn finish_erasure(tx: &Tx, customer: CustomerId, certificate: &str) -> Result<(), TenantsError> {
    tx.execute(FINISH_ERASURE, &[&customer, &certificate, &tx.now()]).await?;
    Ok(())
}

/// Deletes what the control schema knows of a customer, and returns how many rows that were.
pub(crate) async fn forget(tx: &Tx, customer: CustomerId) -> Result<u64, TenantsError> {
    let mut gone = 0;
    for statement in FORGET {
        gone += tx.execute(statement, &[&customer]).await?;
    }
    for statement in BLANK {
        tx.execute(statement, &[&customer]).await?;
    }
    Ok(gone)
}

/// Replaces the code and forgets the name.
pub(crate) async fn bury(tx: &Tx, customer: CustomerId, code: &str, buried: &str) -> Result<(), TenantsError> {
    tx.execute(BLUR_STATEMENTS, &[&customer, &code, &buried]).await?;
    tx.execute(BURY, &[&customer, &buried]).await?;
    Ok(())
}

pub(crate) async fn look_at_grave(tx: &Tx, customer: CustomerId, buried: &str) -> Result<Vec<bool>, TenantsError> {
    tx.query_one(IS_BURIED, &[&customer, &buried]).await?.try_get(0).map_err(TenantsError::column)
}

/// Lists the kept invoices' numbers, and until when each is kept.
pub(crate) async fn kept_invoices(tx: &Tx, customer: CustomerId) -> Result<Vec<(String, jiff::civil::Date)>, TenantsError> {
    let get = TenantsError::column;
    let rows = tx.query(KEPT_INVOICES, &[&customer]).await?;
    rows.iter().map(|row| Ok((row.try_get(0).map_err(get)?, row.try_get(1).map_err(get)?))).collect()
}

/// Removes the news that a silo's role left on its cluster.
pub(crate) async fn delete_news(owner: &OwnerConnection, role: &str) -> Result<(), TenantsError> {
    owner.execute("delete from outbox.messages where role_name = $1", &[&role]).await?;
    Ok(())
}

fn erasure(row: &granary_db::Row) -> Result<Erasure, TenantsError> {
    let get = TenantsError::column;
    let certificate: Option<String> = row.try_get(6).map_err(get)?;
    let finished_at: Option<Timestamp> = row.try_get(7).map_err(get)?;
    Ok(Erasure {
        customer: row.try_get(0).map_err(get)?,
        code: row.try_get::<_, &str>(1).map_err(get)?.parse().map_err(TenantsError::column)?,
        reason: row.try_get(2).map_err(get)?,
        requested_by: row.try_get(3).map_err(get)?,
        started_at: row.try_get(4).map_err(get)?,
        findings: row.try_get(5).map_err(get)?,
        certificate: certificate.map(|text| serde_json::from_str(&text)).transpose().map_err(TenantsError::column)?,
        finished_at,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use granary_db::TxSettings;
    use granary_test_support::TestDatabase;

    use super::FORGET;

    /// What becomes of each table when a customer is erased. Whoever adds a table says it here.
    const FATES: &[(&str, &[&str])] = &[
        (
            "rows go",
            &[
                "mails",
                "recovery_codes",
                "second_factors",
                "user_tokens",
                "sessions",
                "user_customers",
                "api_keys",
                "user_identities",
                "sso_logins",
                "identity_provider_domains",
                "identity_provider_groups",
                "identity_providers",
                "users",
                "contacts",
                "control_plane_keys",
                "enrolment_codes",
                "control_planes",
                "sites",
                "customer_limits",
                "contract_limits",
                "retention_marks",
                "contracts",
                "customer_months",
                "alerts",
                "alert_watches",
                "period_findings",
                "period_acceptances",
                "usage_corrections",
                "correction_entries",
                "api_calls",
                "usage_measurements",
                "run_rates",
                "prices",
                "schema_states",
                "moves",
                "jobs",
                "events",
                "outbox.messages",
                "clones",
            ],
        ),
        ("another room's step lets them go", &["invoice_items", "lake_files", "lake_exports", "lake_versions", "nights"]),
        (
            "a row without name, code and words is left",
            &["customers", "status_changes", "lifecycle_runs", "lifecycle_steps", "audit_log", "audit_heads", "audit_checkpoints"],
        ),
        ("amounts and numbers that the law wants, by the id alone", &["invoices", "payments", "statement_lines", "opening_balances"]),
        ("the proof, and what forbade it", &["erasures", "legal_holds", "kept_invoices"]),
        ("keys are destroyed, and that they were is kept", &["keystore.keys"]),
        ("keys of the installation", &["keystore.masters"]),
        ("sealed under the key of the MSP, and forgotten within days", &["idempotency_keys"]),
        (
            "nothing of one customer",
            &[
                "installations",
                "msps",
                "login_attempts",
                "login_rules",
                "token_keys",
                "cron_slots",
                "periods",
                "invoice_series",
                "statements",
                "erased_totals",
                "own_models",
                "retention_rules",
                "lake_heads",
                "dirty",
                "refinery_schema_history",
            ],
        ),
    ];

    #[tokio::test]
    async fn what_becomes_of_every_table_when_a_customer_is_erased_is_decided() {
        let test = TestDatabase::new().await;
        let superuser = test.superuser().await;
        let tables = "select case n.nspname when 'control' then '' else n.nspname || '.' end || c.relname
            from pg_class c join pg_namespace n on n.oid = c.relnamespace
            where n.nspname in ('control', 'outbox', 'keystore') and c.relkind in ('r', 'p') order by 1";
        let tables: Vec<String> = superuser.query(tables, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
        let fates: BTreeMap<&str, &str> = FATES.iter().flat_map(|(fate, tables)| tables.iter().map(|table| (*table, *fate))).collect();
        let undecided: Vec<_> = tables.iter().filter(|table| !fates.contains_key(table.as_str())).collect();
        assert!(undecided.is_empty(), "what becomes of {undecided:?} when a customer is erased? decide in FATES, and in FORGET");
        let unknown: Vec<_> = fates.keys().filter(|table| !tables.iter().any(|known| known == *table)).collect();
        assert!(unknown.is_empty(), "{unknown:?} are no tables");
        let forgotten: Vec<&str> = FORGET.iter().map(|statement| statement.split_whitespace().nth(2).unwrap()).collect();
        let mut promised: Vec<&str> = FATES[0].1.to_vec();
        promised.sort_unstable();
        assert_eq!(
            {
                let mut sorted = forgotten;
                sorted.sort_unstable();
                sorted
            },
            promised
        );
    }

    #[tokio::test]
    async fn the_audit_log_of_a_living_customer_does_not_change() {
        let test = TestDatabase::new().await;
        let them = test.two_customers().await;
        let tx = test.database().begin(&TxSettings::operator()).await.unwrap();
        let blank =
            "update audit_log set subject = 'customer:' || customer_id, detail = '{}', reason = null, salt = null where customer_id = $1";
        let error = tx.execute(blank, &[&them.acme.id]).await.unwrap_err();
        assert!(error.to_string().contains("only added to"), "{error}");
        tx.rollback().await.unwrap();
        let superuser = test.superuser().await;
        superuser.batch_execute("set search_path = control").await.unwrap();
        superuser.execute("update customers set status = 'erased' where id = $1", &[&them.acme.id.uuid()]).await.unwrap();
        let tx = test.database().begin(&TxSettings::operator()).await.unwrap();
        assert!(tx.execute(blank, &[&them.acme.id]).await.unwrap() > 0);
        let error = tx.execute("update audit_log set reason = 'another story' where customer_id = $1", &[&them.acme.id]).await.unwrap_err();
        assert!(error.to_string().contains("only added to"), "{error}");
        tx.rollback().await.unwrap();
    }
}
