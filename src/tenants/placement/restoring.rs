//! One customer's silo as a dump, and out of a dump beside the living ones.
//!
//! Of a dump only rows are taken. The schema that they go into is made by our own migrations up to the dump's version, and then
//! brought up to this program's: what stands in a dump can neither run nor reach another schema.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use granary_db::{AuditEntry, DbError, Dump, Identifier, record_audit};
use granary_foundation::{Boxed, SharedProgress};
use granary_vault::Owner;
use refinery::Migration;
use serde_json::json;

use super::clones::{CloneSource, SiloClone};
use super::cloning::{NewClone, Place};
use crate::catalog::Tenants;
use crate::customer::Customer;
use crate::error::TenantsError;
use crate::msp::Msp;
use crate::scope::{Actor, TenantScope};
use crate::silo::{MIGRATIONS, SiloNames, build_at, migrate_silo};
use crate::store::{self, Table};

/// The table that says which migrations a schema has.
const HISTORY: &str = "refinery_schema_history";
const PATIENCE: Duration = Duration::from_secs(30);

/// What came out of a dump.
#[derive(Debug, Clone)]
pub struct Restored {
    pub clone: SiloClone,
    /// The version that the dump was of.
    pub dumped_version: i32,
    pub tables: usize,
    pub rows: u64,
}

impl Tenants {
    /// Writes a customer's silo to a file, as `pg_dump` does; a file of that name is replaced when the new one is complete. Returns
    /// its size in bytes.
    ///
    /// # Errors
    /// When the file cannot be written, or there is no `pg_dump`.
    pub fn dump_customer<'a>(
        &'a self,
        msp: &'a Msp,
        customer: &'a Customer,
        out: &'a Path,
        actor: Actor,
    ) -> Boxed<'a, Result<u64, TenantsError>> {
        Box::pin(async move {
            let tx = self.begin_tenant(&TenantScope::for_job(msp.clone(), customer.clone(), actor)).await?;
            tx.record_audit("customer.dump", &format!("customer:{}", customer.code), &json!({}), None).await?;
            tx.commit().await?;
            let (customer, side) = self.hold(customer.clone()).await?;
            let schema = Identifier::new(customer.schema_name.as_str()).map_err(DbError::from)?;
            let mut part = out.as_os_str().to_owned();
            part.push(".part");
            let part = Path::new(&part);
            // Everything is in clear in it: nobody else reads it.
            let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(part).map_err(file_error(part))?;
            let outcome = side.database.dump_schema(&schema, file).await;
            let kept = outcome.map_err(TenantsError::from).and_then(|()| keep(part, out));
            if kept.is_err() {
                std::fs::remove_file(part).ok();
            }
            let size = kept?;
            let tx = self.begin_catalog().await?;
            let entry = AuditEntry {
                msp: Some(customer.msp_id),
                customer: Some(customer.id),
                actor: actor.to_string(),
                action: "customer.dump".to_owned(),
                subject: format!("customer:{}", customer.code),
                detail: json!({"bytes": size}),
                reason: None,
            };
            record_audit(&tx, &entry).await?;
            tx.commit().await?;
            Ok(size)
        })
    }

    /// Makes a copy out of a dump, beside the customer's silo, which is left alone. `of` names the schema in the dump when it is
    /// another customer's or another installation's.
    ///
    /// # Errors
    /// When the dump holds no such silo, is damaged, incomplete or newer than this program, or the code is taken.
    pub fn restore_customer<'a>(
        &'a self,
        new: &'a NewClone<'a>,
        dump: &'a Path,
        of: Option<&'a str>,
        actor: Actor,
        progress: &'a SharedProgress,
    ) -> Boxed<'a, Result<Restored, TenantsError>> {
        Box::pin(async move {
            let parent = self.get_customer(new.parent).await?;
            let dump = Dump::open(dump).await?;
            let from = chosen(&dump, &parent, of)?;
            let migrations = migrations_of(&dump, &from).await?;
            let source = if from.as_str() == parent.schema_name { CloneSource::Dump } else { CloneSource::Foreign };
            let clone = self.enter_clone(&parent, new, source, actor).await?;
            let place = self.hold_clone(&clone).await?;
            self.keys().create_for(Owner::Customer(clone.id)).await?;
            place.owner.batch(&store::drop_schemas(&[&place.schema])).await?;
            let names = SiloNames::new(&clone.schema_name, &clone.role_name)?;
            build_at(migrations, place.database, &place.owner, (&clone.schema_name, &clone.role_name), clone.bucket).await?;
            let tables = store::list_tables(&place.owner, &place.schema).await?;
            compare(&dump, &from, &tables)?;
            store::open_for_load(&place.owner, &place.schema, &tables).await?;
            let rows = load(&dump, &from, &place, &tables, progress).await?;
            store::advance_sequences(&place.owner, &place.schema).await?;
            place.owner.batch(store::BEGIN).await?;
            store::close_for_load(&place.owner, &place.schema, &tables).await?;
            place.owner.batch(store::COMMIT).await?;
            migrate_silo(&place.owner, &names, &MIGRATIONS, PATIENCE).await?;
            let clone = self.complete(&clone, actor).await?;
            Ok(Restored { clone, dumped_version: migrations.last().map_or(0, Migration::version), tables: tables.len(), rows })
        })
    }
}

/// Puts what was written on the disk, under its own name.
fn keep(part: &Path, out: &Path) -> Result<u64, TenantsError> {
    let file = File::open(part).map_err(file_error(part))?;
    file.sync_all().map_err(file_error(part))?;
    let size = file.metadata().map_err(file_error(part))?.len();
    std::fs::rename(part, out).map_err(file_error(out))?;
    Ok(size)
}

fn file_error(path: &Path) -> impl Fn(io::Error) -> TenantsError {
    move |error| TenantsError::Unfit(format!("cannot write {}: {error}", path.display()))
}

/// The schema that is wanted of a dump.
fn chosen(dump: &Dump, parent: &Customer, of: Option<&str>) -> Result<Identifier, TenantsError> {
    let wanted = of.unwrap_or(&parent.schema_name);
    if dump.schemas().any(|schema| schema == wanted) {
        return Identifier::new(wanted).map_err(|error| DbError::from(error).into());
    }
    let held: Vec<&str> = dump.schemas().filter(|schema| schema.starts_with("t_")).take(3).collect();
    let held = if held.is_empty() { "no silo at all".to_owned() } else { held.join(", ") };
    let code = &parent.code;
    Err(TenantsError::Unfit(match of {
        Some(_) => format!("the dump does not hold {wanted}; it holds {held}"),
        None => format!(
            "the dump does not hold {wanted}, the silo of {code}; it holds {held}; one of another customer or installation is restored beside {code} only when it is named with --of"
        ),
    }))
}

/// The migrations that the schema in a dump has: the first ones of ours, or it is not one that we can read.
async fn migrations_of(dump: &Dump, schema: &Identifier) -> Result<&'static [Migration], TenantsError> {
    let mut rows = dump.rows(schema, Some(HISTORY))?;
    let mut applied: Vec<(String, String)> = Vec::new();
    while let Some(table) = rows.next_table().await? {
        let place = |name: &str| table.columns.iter().position(|column| column == name);
        let (Some(version), Some(checksum)) = (place("version"), place("checksum")) else { continue };
        while let Some(row) = rows.next_row().await? {
            let text = String::from_utf8_lossy(row);
            let fields: Vec<&str> = text.trim_end_matches('\n').split('\t').collect();
            let field = |at: usize| fields.get(at).copied().unwrap_or_default().to_owned();
            applied.push((field(version), field(checksum)));
        }
    }
    applied.sort_by_key(|(version, _)| version.parse::<i32>().unwrap_or(i32::MAX));
    if applied.is_empty() {
        return Err(TenantsError::Unfit("the dump does not say which version its schema has: it is no dump of a silo".to_owned()));
    }
    let known = MIGRATIONS.get(..applied.len()).unwrap_or_default();
    let is_ours = |((version, checksum), migration): (&(String, String), &Migration)| {
        *version == migration.version().to_string() && *checksum == migration.checksum().to_string()
    };
    if known.len() != applied.len() || !applied.iter().zip(known).all(is_ours) {
        return Err(TenantsError::Unfit("the dump is of a newer program, or of another one: its migrations are not ours".to_owned()));
    }
    Ok(known)
}

/// A dump of a part would make a silo that lacks the rest.
fn compare(dump: &Dump, schema: &Identifier, tables: &[Table]) -> Result<(), TenantsError> {
    let held: BTreeSet<&str> = dump.tables(schema.as_str()).filter(|table| *table != HISTORY).collect();
    let wanted: BTreeSet<&str> = tables.iter().map(|table| table.plain_name.as_str()).collect();
    if let Some(missing) = wanted.difference(&held).next() {
        return Err(TenantsError::Unfit(format!("the dump is incomplete: it has no rows of {missing}")));
    }
    match held.difference(&wanted).next() {
        None => Ok(()),
        Some(unknown) => Err(TenantsError::Unfit(format!("the dump has a table {unknown} that no silo has"))),
    }
}

/// Loads every table in one transaction, so that foreign keys are checked over all of them.
async fn load(dump: &Dump, from: &Identifier, place: &Place<'_>, tables: &[Table], progress: &SharedProgress) -> Result<u64, TenantsError> {
    progress.begin("restoring the silo", tables.len() as u64);
    place.owner.batch(store::BEGIN_LOAD).await?;
    let mut loaded = 0;
    let mut rows = dump.rows(from, None)?;
    while let Some(head) = rows.next_table().await? {
        if head.table == HISTORY {
            continue;
        }
        let table = tables.iter().find(|table| head.schema == from.as_str() && table.plain_name == head.table);
        let into = table.and_then(|table| table.copy_text_in(&place.schema, &head.columns));
        let into = into.ok_or_else(|| TenantsError::Unfit(format!("the dump has columns of {} that no silo has", head.table)))?;
        loaded += place.owner.load(&into, &mut rows).await?;
        progress.advance(1);
    }
    place.owner.batch(store::COMMIT).await?;
    progress.end();
    Ok(loaded)
}
