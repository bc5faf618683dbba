//! A customer leaves the lake: its files go, its rows go out of what the MSP has, and the MSP's older versions go.

use std::collections::{BTreeSet, HashMap};

use arrow::array::{AsArray, RecordBatch};
use granary_foundation::Boxed;
use granary_tenants::{Extent, Granted, LifecycleStep, Msp, MspScope, ReadGrant, StepFailure, Subject, TenantsError};
use granary_types::{Role, Source};
use serde_json::json;

use crate::export::{Exported, Known, OwnerExport};
use crate::lake::{ACTOR, Lake};
use crate::manifest::{FileOwner, LakeFile};
use crate::month::Part;
use crate::publish::Publication;
use crate::{LakeError, store};

/// How often somebody else may be first.
const ATTEMPTS: u32 = 20;
/// The name under which the rewriting notes what it found.
const ROWS: &str = "rows";

/// The step of an erasure that deletes a customer's files, those of all versions and those that no version names.
#[derive(Debug)]
pub struct EraseFiles(pub Lake);

/// The step of an erasure that writes what the MSP has without the customer, control data, scores and marts of all months, and
/// destroys the older versions.
#[derive(Debug)]
pub struct EraseRows(pub Lake);

impl Lake {
    async fn erase_files(&self, subject: &Subject) -> Result<(), LakeError> {
        let (msp, customer) = (&subject.msp, subject.customer.id);
        let objects = self.list_objects(FileOwner { msp: msp.id, customer: Some(customer) }).await?;
        let found = json!({"files": objects.len(), "bytes": objects.iter().map(|object| object.size).sum::<u64>()});
        self.tenants().note_finding(customer, "lake", &found).await?;
        for object in objects {
            self.objects().delete(object.location.as_ref()).await?;
        }
        let tx = self.begin(msp).await?;
        store::forget_customer(&tx, customer).await?;
        tx.commit().await?;
        self.snapshots().clear();
        Ok(())
    }

    /// Lists everything that an owner has, also in the stores of regions that it was in before.
    async fn list_objects(&self, owner: FileOwner) -> Result<Vec<object_store::ObjectMeta>, LakeError> {
        let mut found = Vec::new();
        for root in self.objects().roots() {
            found.extend(self.objects().list(&owner.folder(&root)).await?);
        }
        Ok(found)
    }

    /// Looks for what is left of a customer's files: objects, and rows of the manifest.
    async fn traces(&self, subject: &Subject) -> Result<(bool, bool), LakeError> {
        let owner = FileOwner { msp: subject.msp.id, customer: Some(subject.customer.id) };
        let has_objects = !self.list_objects(owner).await?.is_empty();
        let tx = self.begin(&subject.msp).await?;
        let has_rows = store::knows_customer(&tx, subject.customer.id).await?;
        tx.commit().await?;
        Ok((has_objects, has_rows))
    }

    async fn erase_rows(&self, subject: &Subject) -> Result<(), LakeError> {
        let (msp, customer) = (&subject.msp, subject.customer.id);
        self.export_control(msp).await?;
        let mut outcome = Err(LakeError::Overtaken);
        for _ in 0..ATTEMPTS {
            outcome = self.rewrite_without(subject).await;
            if !matches!(outcome, Err(LakeError::Overtaken)) {
                break;
            }
        }
        let version = outcome?;
        let tx = self.begin(msp).await?;
        let paths = store::list_past(&tx, msp.id, version).await?;
        // What a version before this one would show of the MSP is no longer whole.
        store::versions::whole_from(&tx, msp.id, version).await?;
        tx.commit().await?;
        // Whatever was added up to this version and has been replaced by now may hold rows of the customer.
        self.tenants().note_finding(customer, ROWS, &json!({"version": version, "older_files": paths.len()})).await?;
        // Objects first: a row without its object is found again, an object without its row is not.
        for path in &paths {
            self.objects().delete(path).await?;
        }
        let tx = self.begin(msp).await?;
        store::delete_past(&tx, msp.id, &paths).await?;
        tx.commit().await?;
        self.snapshots().clear();
        Ok(())
    }

    /// Exports an MSP's own control data as it is now; of several at once the last to begin wins.
    async fn export_control(&self, msp: &Msp) -> Result<(), LakeError> {
        let export = OwnerExport { lake: self.clone(), exported: Exported::Msp(MspScope::for_job(msp.clone(), ACTOR)) };
        for _ in 0..ATTEMPTS {
            let tx = self.begin(msp).await?;
            let known = store::list_exported(&tx, msp.id).await?.into_iter().find(|(owner, _)| *owner == msp.id.uuid());
            tx.commit().await?;
            let exported = known.map_or_else(Vec::new, |(_, datasets)| datasets);
            match export.run(&Known { exported, ..Known::default() }).await {
                Err(LakeError::Overtaken) => {}
                outcome => return outcome.map(drop),
            }
        }
        Err(LakeError::Overtaken)
    }

    /// Publishes every part that has rows of the customer without them; returns the version that has none.
    async fn rewrite_without(&self, subject: &Subject) -> Result<i64, LakeError> {
        let id = subject.customer.id.to_string();
        let (mut publications, mut read) = (Vec::new(), HashMap::new());
        for file in self.own_files(&subject.msp).await?.iter().filter(|file| self.is_published(file)) {
            let batches = self.read(file).await?;
            let Some(first) = batches.iter().find(|batch| has_rows(batch, &[("customer_id", &id)])) else { continue };
            let part: Part = file.month.parse().map_err(|_| LakeError::InvalidPart(file.month.clone()))?;
            read.insert((file.dataset.clone(), part), file.source_hash.clone());
            let (dataset, month, schema) = (file.dataset.clone(), file.month.clone(), first.schema());
            publications.push(Publication { dataset, month, schema, batches });
        }
        self.publish_over(&subject.msp, publications, "erasure", &read).await
    }

    /// Tells whether no row of the customer is left in what was published, nor one that calls it by its code; and whether the
    /// versions that had such rows are gone.
    async fn look_for_rows(&self, subject: &Subject) -> Result<(bool, bool), LakeError> {
        let Some(erasure) = self.tenants().erasure_of(subject.customer.id).await? else { return Ok((false, false)) };
        let (id, code) = (subject.customer.id.to_string(), erasure.code.to_string());
        let mut is_clean = true;
        for file in self.own_files(&subject.msp).await? {
            let is_published = self.is_published(&file);
            for batch in self.read(&file).await? {
                let has_code = has_rows(&batch, &[("id", &id), ("code", &code)])
                    || has_rows(&batch, &[("customer_id", &id), ("customer_code", &code)]);
                if has_code || (is_published && has_rows(&batch, &[("customer_id", &id)])) {
                    tracing::warn!(tenant.id = %subject.customer.id, dataset = file.dataset, "a dataset still has rows of an erased customer");
                    is_clean = false;
                }
            }
        }
        let Some(version) = erasure.findings[ROWS]["version"].as_i64() else { return Ok((is_clean, false)) };
        let tx = self.begin(&subject.msp).await?;
        let has_past = !store::list_past(&tx, subject.msp.id, version).await?.is_empty();
        tx.commit().await?;
        Ok((is_clean, !has_past))
    }

    /// Returns the current files that are the MSP's own.
    async fn own_files(&self, msp: &Msp) -> Result<Vec<LakeFile>, LakeError> {
        let grant = ReadGrant { msp: msp.id, customers: Granted::Only(BTreeSet::new()), role: Role::MspAdmin, can_read_billing: true };
        Ok(self.snapshot(&grant, None).await?.files.clone())
    }

    /// Tells whether a file was published, and not exported from Postgres.
    fn is_published(&self, file: &LakeFile) -> bool {
        !self.datasets().iter().any(|dataset| dataset.source == Source::Control && dataset.name == file.dataset)
    }
}

/// Tells whether a batch has a row in which each of the columns has its value.
fn has_rows(batch: &RecordBatch, wanted: &[(&str, &str)]) -> bool {
    let columns = wanted.iter().map(|(name, value)| Some((batch.column_by_name(name)?.as_string_opt::<i32>()?, *value)));
    let Some(columns) = columns.collect::<Option<Vec<_>>>() else { return false };
    (0..batch.num_rows())
        .any(|row| columns.iter().all(|(column, value)| !arrow::array::Array::is_null(column, row) && column.value(row) == *value))
}

macro_rules! destroys {
    ($name:literal, $perform:ident) => {
        fn name(&self) -> &'static str {
            $name
        }

        fn perform<'a>(&'a self, subject: &'a Subject) -> Boxed<'a, Result<(), StepFailure>> {
            Box::pin(async move { Ok(self.0.$perform(subject).await?) })
        }

        /// What was destroyed does not come back.
        fn undo<'a>(&'a self, _subject: &'a Subject) -> Boxed<'a, Result<(), StepFailure>> {
            Box::pin(async { Err(TenantsError::Irrevocable.into()) })
        }
    };
}

impl LifecycleStep for EraseFiles {
    destroys!("lake.files", erase_files);

    fn verify<'a>(&'a self, subject: &'a Subject) -> Boxed<'a, Result<Extent, StepFailure>> {
        Box::pin(async move {
            let (has_objects, has_rows) = self.0.traces(subject).await?;
            Ok(Extent::of([!has_objects, !has_rows]))
        })
    }
}

impl LifecycleStep for EraseRows {
    destroys!("lake.rows", erase_rows);

    fn verify<'a>(&'a self, subject: &'a Subject) -> Boxed<'a, Result<Extent, StepFailure>> {
        Box::pin(async move {
            let (is_clean, is_alone) = self.0.look_for_rows(subject).await?;
            Ok(Extent::of([is_clean, is_alone]))
        })
    }
}
