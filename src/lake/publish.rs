//! How marts and scores return to the lake.

use granary_foundation::Boxed;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use granary_tenants::Msp;
use granary_types::MspId;
use tokio::runtime::Handle;

use crate::checksum::Checksum;
use crate::file::{SealedFile, SealedWriter};
use crate::lake::Lake;
use crate::manifest::{Changes, CurrentFile, FileOwner, HOME_ROOT, NewFile};
use crate::month::Part;
use crate::schema::{conform, published_schema};
use crate::{LakeError, store};

/// Rows that replace one part of a published dataset.
#[derive(Debug, Clone)]
pub struct Publication {
    pub dataset: String,
    /// A UTC month such as `2025-10`, or `all`.
    pub month: String,
    /// See [`published_schema`] for how it lies in the file.
    pub schema: SchemaRef,
    /// None, or no row in any: the part is emptied.
    pub batches: Vec<RecordBatch>,
}

impl Publication {
    /// Returns a digest of the rows, whatever their order, and of the names and types of their columns.
    ///
    /// # Errors
    /// When a type does not fit the lake.
    pub fn digest(&self) -> Result<[u8; 32], LakeError> {
        let schema = published_schema(&self.schema)?;
        let mut sum = Checksum::default();
        for batch in &self.batches {
            sum.add(&conform(batch, &schema)?)?;
        }
        // whether a column might be null depends on where its rows were read from
        let signature: String = schema.fields().iter().map(|field| format!("{} {};", field.name(), field.data_type())).collect();
        Ok(sum.digest(signature.as_bytes()))
    }
}

impl Lake {
    /// Publishes one part of a dataset; returns the version that holds it.
    ///
    /// # Errors
    /// When a type does not fit the lake, or storing fails.
    pub fn publish<'a>(
        &'a self,
        msp: MspId,
        dataset: &'a str,
        month: &'a str,
        schema: SchemaRef,
        batches: Vec<RecordBatch>,
        reason: &'a str,
    ) -> Boxed<'a, Result<i64, LakeError>> {
        Box::pin(async move {
            let publication = Publication { dataset: dataset.to_owned(), month: month.to_owned(), schema, batches };
            self.publish_all(msp, vec![publication], reason).await
        })
    }

    /// Publishes several parts as one version, sealed with the MSP's key. Parts that are the same as before are not
    /// written; when all are, the current version is returned. Rows of customers that were erased are left out, whenever they
    /// were computed.
    ///
    /// # Errors
    /// When a type does not fit the lake, storing fails, or a customer is erased meanwhile; nothing is published then.
    pub fn publish_all<'a>(&'a self, msp: MspId, publications: Vec<Publication>, reason: &'a str) -> Boxed<'a, Result<i64, LakeError>> {
        Box::pin(async move {
            let msp = self.tenants().get_msp(msp).await?;
            self.publish_over(&msp, publications, reason, &HashMap::new()).await
        })
    }

    /// Publishes; `read` says of which content of which parts the rows were made, and when one has changed since, nothing is
    /// published.
    pub(crate) async fn publish_over(
        &self,
        msp: &Msp,
        publications: Vec<Publication>,
        reason: &str,
        read: &HashMap<(String, Part), Vec<u8>>,
    ) -> Result<i64, LakeError> {
        let owner = FileOwner { msp: msp.id, customer: None };
        let tx = self.begin(msp).await?;
        let current = hashes(store::list_current(&tx, msp.id, None).await?);
        let erased = Arc::new(store::list_erased(&tx, msp.id).await?);
        tx.commit().await?;

        let mut changes = Changes::default();
        for publication in publications {
            let part: Part = publication.month.parse().map_err(|_| LakeError::InvalidPart(publication.month.clone()))?;
            let name = (publication.dataset.clone(), part);
            let before = current.get(&name);
            match self.encode(owner, publication, part, Arc::clone(&erased)).await? {
                None if before.is_some() => changes.emptied.push(name),
                None => {}
                Some(file) if before.is_some_and(|hash| *hash == file.source_hash) => file.discard().await?,
                Some(file) => {
                    changes.added.push(NewFile::store(file, owner, &name.0, part, Vec::new(), self.keys(), self.objects()).await?)
                }
            }
        }
        self.objects().flush(&changes.paths()).await?;
        let tx = self.begin(msp).await?;
        store::lock_head(&tx, msp.id).await?;
        if store::list_erased(&tx, msp.id).await? != *erased {
            return Err(LakeError::ErasedMeanwhile);
        }
        if !read.is_empty() {
            let now = hashes(store::list_current(&tx, msp.id, None).await?);
            if read.iter().any(|(name, hash)| now.get(name) != Some(hash)) {
                return Err(LakeError::Overtaken);
            }
        }
        let version = changes.apply(&tx, owner, reason).await?;
        tx.commit().await?;
        Ok(version)
    }

    /// Encodes on a thread of its own; none when there is no row.
    async fn encode(
        &self,
        owner: FileOwner,
        publication: Publication,
        part: Part,
        erased: Arc<BTreeSet<String>>,
    ) -> Result<Option<SealedFile>, LakeError> {
        let (objects, runtime) = (self.objects().clone(), Handle::current());
        let encoding = tokio::task::spawn_blocking(move || {
            let Publication { dataset, schema, batches, .. } = publication;
            let schema = published_schema(&schema)?;
            let conformed = batches.into_iter().map(|batch| without(conform(&batch, &schema)?, &erased));
            let batches = conformed.collect::<Result<Vec<_>, LakeError>>()?;
            if batches.iter().all(|batch| batch.num_rows() == 0) {
                return Ok(None);
            }
            let Some(first) = batches.first() else { return Ok(None) };
            let mut writer = SealedWriter::create(owner.new_path(HOME_ROOT, &dataset, part), first, objects, runtime)?;
            let mut checksum = Checksum::default();
            for batch in &batches {
                checksum.add(batch)?;
                writer.write(batch)?;
            }
            writer.finish(&checksum).map(Some)
        });
        encoding.await.map_err(|_| LakeError::WorkerEnded)?
    }
}

fn hashes(files: Vec<CurrentFile>) -> HashMap<(String, Part), Vec<u8>> {
    files.into_iter().map(|file| ((file.dataset, file.part), file.source_hash)).collect()
}

/// Leaves out the rows of customers that were erased.
fn without(batch: RecordBatch, erased: &BTreeSet<String>) -> Result<RecordBatch, LakeError> {
    if erased.is_empty() {
        return Ok(batch);
    }
    let Some(owners) = batch.column_by_name("customer_id").and_then(|column| column.as_string_opt::<i32>()) else { return Ok(batch) };
    if !owners.iter().flatten().any(|owner| erased.contains(owner)) {
        return Ok(batch);
    }
    let stays: BooleanArray = owners.iter().map(|owner| Some(!owner.is_some_and(|owner| erased.contains(owner)))).collect();
    Ok(filter_record_batch(&batch, &stays)?)
}
