//! A tenant's silo: its schema, its role, its tables and their grants, made and changed in one transaction each.

use std::sync::LazyLock;
use std::time::Duration;

use granary_db::{Database, DbError, Identifier, OwnerConnection, SimpleQueryRow};
use refinery::Migration;

use crate::catalog::Tenants;
use crate::customer::Customer;
use crate::error::TenantsError;
use crate::store;

mod migrations {
    refinery::embed_migrations!("../../tenant-migrations");
}

/// The migrations of a tenant's schema that this program knows, by version.
pub(crate) static MIGRATIONS: LazyLock<Vec<Migration>> = LazyLock::new(|| {
    let mut known = migrations::migrations::runner().get_migrations().clone();
    known.sort();
    known
});

/// Returns the version that a tenant's schema should have.
pub(crate) fn latest_version() -> i32 {
    MIGRATIONS.last().map_or(0, Migration::version)
}

/// The names that stand in the statements on one silo.
#[derive(Debug, Clone)]
pub(crate) struct SiloNames {
    pub(crate) schema: Identifier,
    pub(crate) role: Identifier,
}

impl SiloNames {
    pub(crate) fn new(schema: &str, role: &str) -> Result<Self, TenantsError> {
        let vetted = |name: &str| Identifier::new(name).map_err(DbError::from);
        Ok(Self { schema: vetted(schema)?, role: vetted(role)? })
    }

    /// Puts the names into a statement.
    pub(crate) fn fill(&self, sql: &str) -> String {
        sql.replace("{schema}", self.schema.as_str()).replace("{role}", self.role.as_str())
    }
}

/// What came of an attempt to bring a schema up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reached {
    /// So many migrations ran.
    Migrated(usize),
    /// Somebody else is at work on the schema.
    Busy,
}

impl Tenants {
    /// Makes a customer's schema, role, tables and grants, or completes what is there. One process at a time works on a schema;
    /// one that was moved meanwhile is looked for where it lies now.
    pub(crate) async fn build_silo(&self, customer: &Customer) -> Result<(), TenantsError> {
        let mut cluster = customer.cluster.clone();
        loop {
            let database = self.clusters().get(&cluster).await?;
            let owner = database.owner().await?;
            owner.lock(&customer.schema_name).await?;
            let tx = self.begin_catalog().await?;
            let now = store::find_cluster(&tx, customer.id).await?;
            tx.commit().await?;
            match now {
                Some(now) if now != cluster => cluster = now,
                _ => {
                    build(database, &owner, &customer.schema_name, &customer.role_name, customer.bucket).await?;
                    owner.give_back().await;
                    return Ok(());
                }
            }
        }
    }
}

/// Makes or completes a silo in one transaction, under the lock that the caller may hold already. On an error the transaction
/// is left open: the caller drops the connection.
pub(crate) async fn build(
    database: &Database,
    owner: &OwnerConnection,
    schema_name: &str,
    role: &str,
    bucket: i32,
) -> Result<(), TenantsError> {
    build_at(&MIGRATIONS, database, owner, (schema_name, role), bucket).await
}

/// As [`build`], at the version that the first of the migrations lead to.
pub(crate) async fn build_at(
    migrations: &[Migration],
    database: &Database,
    owner: &OwnerConnection,
    (schema_name, role): (&str, &str),
    bucket: i32,
) -> Result<(), TenantsError> {
    let names = SiloNames::new(schema_name, role)?;
    let login = database.prepare_bucket(owner, bucket).await?;
    let tenants = &database.installation().tenants_role;
    let creation = store::CREATE_SILO.replace("{tenants}", tenants.as_str()).replace("{login}", login.as_str());
    let history = owner.batch_rows(&names.fill(&format!("{creation};{}", store::READ_HISTORY))).await?;
    apply(owner, &names, migrations, history.get(1..).unwrap_or_default()).await?;
    Ok(())
}

/// Brings a schema that is there up to date in one transaction. On an error the transaction is left open: the caller rolls it
/// back.
pub(crate) async fn migrate_silo(
    owner: &OwnerConnection,
    names: &SiloNames,
    migrations: &[Migration],
    patience: Duration,
) -> Result<Reached, TenantsError> {
    let patience = patience.as_millis().to_string();
    let opening = format!("{};{}", store::OPEN_SILO.replace("{patience}", &patience), store::READ_HISTORY);
    let rows = owner.batch_rows(&names.fill(&opening)).await?;
    let Some((lock, history)) = rows.split_first() else { return Err(unreadable(names)) };
    if lock.get(0) != Some("t") {
        owner.batch("rollback").await?;
        return Ok(Reached::Busy);
    }
    Ok(Reached::Migrated(apply(owner, names, migrations, history).await?))
}

/// Runs what is missing and commits; returns how many ran.
async fn apply(
    owner: &OwnerConnection,
    names: &SiloNames,
    migrations: &[Migration],
    history: &[SimpleQueryRow],
) -> Result<usize, TenantsError> {
    let pending = pending(names, migrations, history)?;
    run_migrations(owner, names, pending).await?;
    owner.batch("commit").await?;
    Ok(pending.len())
}

/// Runs migrations in the current transaction, one message each, notes them, and grants what is new.
pub(crate) async fn run_migrations(owner: &OwnerConnection, names: &SiloNames, migrations: &[Migration]) -> Result<(), TenantsError> {
    for migration in migrations {
        let note = store::NOTE_MIGRATION
            .replace("{version}", &migration.version().to_string())
            .replace("{name}", migration.name())
            .replace("{checksum}", &migration.checksum().to_string());
        let sql = format!("{}\n;{}", migration.sql().unwrap_or_default(), names.fill(&note));
        owner.batch(&sql).await.map_err(|error| failed(names, migration, error))?;
    }
    if !migrations.is_empty() {
        owner.batch(&names.fill(store::GRANT_SILO)).await?;
    }
    Ok(())
}

/// Compares what was applied with what this program knows, and returns what is missing.
fn pending<'a>(names: &SiloNames, known: &'a [Migration], history: &[SimpleQueryRow]) -> Result<&'a [Migration], TenantsError> {
    let refuse = |message: String| DbError::Migration { schema: names.schema.as_str().to_owned(), message }.into();
    for (index, row) in history.iter().enumerate() {
        let (Some(version), Some(name), Some(checksum)) = (row.get(0), row.get(1), row.get(2)) else { return Err(unreadable(names)) };
        match known.get(index) {
            None => return Err(refuse(format!("it is at version {version} ({name}), newer than this program"))),
            Some(migration) if migration.version().to_string() != version => {
                return Err(refuse(format!("version {version} ({name}) was applied where this program has {migration}")));
            }
            Some(migration) if migration.checksum().to_string() != checksum => {
                return Err(refuse(format!("{migration} was edited after it had been applied")));
            }
            Some(_) => {}
        }
    }
    Ok(&known[history.len()..])
}

fn unreadable(names: &SiloNames) -> TenantsError {
    TenantsError::Stored(format!("the history of migrations in {}", names.schema.as_str()))
}

/// Names the migration; locks and lost connections stay what they are, because they pass.
fn failed(names: &SiloNames, migration: &Migration, error: DbError) -> TenantsError {
    if error.is_lock_timeout() || error.is_serialization_failure() || error.is_connection_lost() {
        return error.into();
    }
    DbError::Migration { schema: names.schema.as_str().to_owned(), message: format!("{migration}: {error}") }.into()
}
