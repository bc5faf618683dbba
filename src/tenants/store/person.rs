//! One person in what a customer has.

use granary_db::Tx;
use granary_types::CustomerId;

use crate::error::TenantsError;
use crate::person::Mention;

macro_rules! mentions_in {
    ($first:literal $(, $table:literal)*) => {
        /// The tables of a silo that may name somebody; `dirty` names datasets and months.
        #[cfg(test)]
        const SEARCHED: &[&str] = &[$first $(, $table)*];
        const LIST_MENTIONS: &str = concat!(
            "select '", $first, "', to_jsonb(t) from ", $first, " t where strpos(lower(t::text), $1) > 0"
            $(, " union all select '", $table, "', to_jsonb(t) from ", $table, " t where strpos(lower(t::text), $1) > 0")*
        );
    };
}

mentions_in!(
    "activity",
    "audit_head",
    "audit_log",
    "backup_attempts",
    "backup_disks",
    "backup_runs",
    "heartbeats",
    "idempotency_keys",
    "machine_days",
    "machines",
    "maintenance_windows",
    "quarantined_events",
    "rated_lines",
    "replication_cycles",
    "repositories",
    "restore_runs",
    "schedules",
    "skipped_runs",
    "storage_days",
    "storage_samples",
    "stored_backups",
    "tickets",
    "tier_assignments",
    "usage_events"
);

const DELETE_CONTACT_EMAIL: &str = "update customers set contact_email = null where id = $1 and lower(contact_email) = $2";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[DELETE_CONTACT_EMAIL];

/// Lists the rows of a silo that hold a text, which is in lower case.
pub(crate) async fn list_mentions(tx: &Tx, text: &str) -> Result<Vec<Mention>, TenantsError> {
    let get = TenantsError::column;
    let rows = tx.query(LIST_MENTIONS, &[&text]).await?;
    rows.iter().map(|row| Ok(Mention { table: row.try_get(0).map_err(get)?, row: row.try_get(1).map_err(get)? })).collect()
}

/// Blanks a customer's address; false when it is another one.
pub(crate) async fn delete_contact_email(tx: &Tx, customer: CustomerId, email: &str) -> Result<bool, TenantsError> {
    Ok(tx.execute(DELETE_CONTACT_EMAIL, &[&customer, &email]).await? == 1)
}

#[cfg(test)]
mod tests {
    use granary_test_support::TestDatabase;

    use super::{LIST_MENTIONS, SEARCHED};

    #[tokio::test]
    async fn every_table_of_a_silo_is_searched() {
        let test = TestDatabase::new().await;
        let them = test.two_customers().await;
        let superuser = test.superuser().await;
        let tables = "select c.relname::text from pg_class c
            where c.relnamespace = $1::text::regnamespace and c.relkind = 'r' and c.relname not in ('dirty', 'refinery_schema_history') order by 1";
        let tables: Vec<String> = superuser.query(tables, &[&them.acme.schema_name]).await.unwrap().iter().map(|row| row.get(0)).collect();
        assert_eq!(tables, SEARCHED);
        superuser.batch_execute(&format!("set search_path = {}", them.acme.schema_name)).await.unwrap();
        superuser.prepare(LIST_MENTIONS).await.unwrap();
    }
}
