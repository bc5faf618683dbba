//! What a migration would do, found out without changing anything.

use granary_db::plan_control;
use granary_foundation::{Boxed, Secret};
use granary_types::CustomerCode;

use crate::error::TenantsError;
use crate::silo::MIGRATIONS;
use crate::store;

/// A migration that is to run.
#[derive(Debug, Clone)]
pub struct PlannedMigration {
    /// `control`, or `tenants`.
    pub schema: &'static str,
    pub version: i32,
    pub name: String,
    /// How many schemas lack it.
    pub schemas: i64,
    pub sql: String,
}

/// Lists the migrations that the control schema and the tenants' schemas lack, in the order in which they would run. Asks the
/// owner's connection, because the house itself brings the control schema up to date when it opens.
///
/// # Errors
/// When Postgres does not answer.
pub fn plan<'a>(url: &'a Secret, only: Option<&'a CustomerCode>) -> Boxed<'a, Result<Vec<PlannedMigration>, TenantsError>> {
    Box::pin(async move {
        let (owner, control) = plan_control(url).await?;
        let planned = |schema, schemas, migration: &refinery::Migration| PlannedMigration {
            schema,
            version: migration.version(),
            name: migration.name().to_owned(),
            schemas,
            sql: migration.sql().unwrap_or_default().to_owned(),
        };
        let mut plan: Vec<_> = control.iter().map(|migration| planned("control", 1, migration)).collect();
        let versions = store::count_versions(&owner, only.map(CustomerCode::as_str)).await?;
        for migration in MIGRATIONS.iter() {
            let behind = versions.iter().filter(|(version, _)| *version < migration.version()).map(|(_, schemas)| schemas).sum();
            if behind > 0 {
                plan.push(planned("tenants", behind, migration));
            }
        }
        Ok(plan)
    })
}
