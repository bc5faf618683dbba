//! Rows that go from one silo to another: all of them in one snapshot, then, when the silo itself moves, those that changed
//! meanwhile.

use granary_db::{Identifier, OwnerConnection};
use granary_foundation::SharedProgress;

use crate::error::TenantsError;
use crate::store::{self, Table};

/// A batch with fewer changed rows than this is looked up row by row.
const FEW: i64 = 20_000;

/// A silo here and the one that it becomes there.
pub(super) struct Copying<'a> {
    pub(super) from: &'a OwnerConnection,
    pub(super) schema: &'a Identifier,
    pub(super) to: &'a OwnerConnection,
    pub(super) arriving: &'a Identifier,
    pub(super) tables: &'a [Table],
}

impl Copying<'_> {
    /// Copies one snapshot of every table that `wanted` names, compares both sides by counts and sums, and returns the number
    /// of rows.
    pub(super) async fn copy_snapshot(&self, wanted: impl Fn(&Table) -> bool, progress: &SharedProgress) -> Result<u64, TenantsError> {
        let tables: Vec<&Table> = self.tables.iter().filter(|table| wanted(table)).collect();
        progress.begin("copying the silo", tables.len() as u64 * 2);
        self.from.batch(store::BEGIN_SNAPSHOT).await?;
        self.to.batch(store::BEGIN_LOAD).await?;
        let mut rows = 0;
        for table in &tables {
            rows += self.from.copy_to(&table.copy_out(self.schema), self.to, &table.copy_in(self.arriving)).await?;
            progress.advance(1);
        }
        self.to.batch(store::COMMIT).await?;
        for table in &tables {
            let (here, there) = (table.digest_shown(self.schema), table.digest(self.arriving));
            self.compare(table, &here, &there).await?;
            progress.advance(1);
        }
        self.from.batch(store::COMMIT).await?;
        progress.end();
        Ok(rows)
    }

    /// Brings over what was noted as changed, in a transaction of its own here; returns how many rows that was.
    pub(super) async fn catch_up(&self, capture: &Identifier) -> Result<i64, TenantsError> {
        self.from.batch(store::BEGIN_SNAPSHOT).await?;
        let changed = self.apply_changes(capture).await?;
        self.from.batch(store::COMMIT).await?;
        Ok(changed)
    }

    /// As [`Self::catch_up`], inside the caller's transaction here; what arrived there is committed.
    pub(super) async fn apply_changes(&self, capture: &Identifier) -> Result<i64, TenantsError> {
        let batch = store::take_batch(self.from, capture).await?;
        let changed: i64 = batch.iter().map(|(_, rows)| rows).sum();
        if changed == 0 {
            return Ok(0);
        }
        self.to.batch(store::BEGIN_LOAD).await?;
        if changed <= FEW {
            self.from.batch(store::LOOK_UP).await?;
            self.to.batch(store::LOOK_UP).await?;
        }
        for (name, _) in &batch {
            let table = self.tables.iter().find(|table| table.plain_name == *name);
            let table = table.ok_or_else(|| TenantsError::Stored(format!("an unknown table {name} changed")))?;
            self.to.batch(&table.stage(self.arriving)).await?;
            self.from.copy_to(&table.changed_keys(capture), self.to, store::STAGE_KEYS).await?;
            self.from.copy_to(&table.changed_rows(self.schema, capture), self.to, store::STAGE_ROWS).await?;
            self.to.batch(&table.settle(self.arriving)).await?;
            self.compare(table, &table.changed_digest(self.schema, capture), &table.arrived_digest(self.arriving)).await?;
        }
        self.to.batch(store::COMMIT).await?;
        self.from.batch(&store::forget_batch(capture)).await?;
        Ok(changed)
    }

    async fn compare(&self, table: &Table, here: &str, there: &str) -> Result<(), TenantsError> {
        let (here, there) = tokio::join!(store::digest(self.from, here), store::digest(self.to, there));
        let (here, there) = (here?, there?);
        if here == there {
            return Ok(());
        }
        Err(TenantsError::CopyDiffers { table: table.plain_name.clone(), here: here.0, there: there.0 })
    }
}
