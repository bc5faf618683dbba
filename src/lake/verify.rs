//! Compares Postgres and the lake: counts and checksums, per owner, dataset and month.

use granary_foundation::Boxed;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use bytes::Bytes;
use granary_tenants::{MspScope, TenantScope};
use granary_types::{CustomerCode, CustomerStatus, Dataset, MspId, Period};
use granary_vault::VaultError;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::checksum::Checksum;
use crate::copy::{Arrival, CopyDecoder};
use crate::export::{Exported, OwnerTx};
use crate::lake::{ACTOR, Lake};
use crate::manifest::LakeFile;
use crate::month::Part;
use crate::plan::Wanted;
use crate::read::feed;
use crate::schema::{arrow_schema, signature};
use crate::snapshot::FilesOf;
use crate::store::copying::{Order, copy_statement};
use crate::{LakeError, file, store};

/// How Postgres and the lake compare.
#[derive(Debug, Clone, Serialize)]
pub struct VerifyReport {
    pub version: i64,
    pub rows: Vec<Verified>,
}

/// One part of one owner's dataset.
#[derive(Debug, Clone, Serialize)]
pub struct Verified {
    /// None for control data and published rows.
    pub customer: Option<CustomerCode>,
    pub dataset: String,
    pub month: String,
    /// A day of the month, when it lies in one file a day; else empty.
    pub part: String,
    /// None for published rows, which Postgres does not have.
    pub postgres_rows: Option<u64>,
    pub lake_rows: u64,
    pub outcome: VerifyOutcome,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VerifyOutcome {
    /// The same rows.
    Equal,
    /// Postgres has changed since the last export.
    Waiting,
    /// Other rows, although nothing has changed since.
    Differs,
    /// The file cannot be opened, or is not the one that was written.
    Unreadable(String),
}

impl VerifyReport {
    /// Tells whether nothing is wrong; waiting for the next export is not wrong.
    pub fn is_clean(&self) -> bool {
        self.faults().next().is_none()
    }

    /// Returns what is wrong.
    pub fn faults(&self) -> impl Iterator<Item = &Verified> {
        self.rows.iter().filter(|row| !matches!(row.outcome, VerifyOutcome::Equal | VerifyOutcome::Waiting))
    }
}

/// What one side says about a part: how many rows, and their digest.
type Digests = BTreeMap<Part, (u64, [u8; 32])>;

impl Lake {
    /// Reads every table and every file of an MSP and compares them.
    ///
    /// # Errors
    /// When Postgres or the object store does not answer; a file that is missing or cannot be opened is a finding.
    pub fn verify<'a>(&'a self, msp: MspId) -> Boxed<'a, Result<VerifyReport, LakeError>> {
        Box::pin(async move {
            let msp = self.tenants().get_msp(msp).await?;
            let mut owners = vec![Exported::Msp(MspScope::for_job(msp.clone(), ACTOR))];
            let customers = self.tenants().list_customers(msp.id).await?;
            let present = customers.into_iter().filter(|customer| customer.status != CustomerStatus::Erased);
            owners.extend(present.map(|customer| Exported::Customer(Box::new(TenantScope::for_job(msp.clone(), customer, ACTOR)))));
            let mut report = VerifyReport { version: 0, rows: Vec::new() };
            for owner in owners {
                self.verify_owner(&owner, &mut report).await?;
            }
            Ok(report)
        })
    }

    async fn verify_owner(&self, exported: &Exported, report: &mut VerifyReport) -> Result<(), LakeError> {
        let owner = exported.owner();
        // The snapshot first: whatever is committed to the lake after it is still dirty in it.
        let snapshot = exported.begin_snapshot(self.tenants()).await?;
        let dirty = store::list_dirty(&snapshot).await?;
        let dirty: HashSet<(String, String)> = dirty.into_iter().map(|row| (row.dataset, row.month)).collect();
        let tx = exported.begin_control(self.tenants()).await?;
        report.version = store::find_head(&tx, owner.msp).await?;
        let customers: Vec<_> = owner.customer.into_iter().collect();
        let rows = store::list_files_at(&tx, owner.msp, report.version, Some(&customers), FilesOf::Everybody).await?;
        tx.commit().await?;
        let mut files = Vec::new();
        for row in rows.into_iter().filter(|row| row.customer == owner.customer) {
            files.extend(self.open_row(owner.msp, row).await?);
        }
        let code = match exported {
            Exported::Customer(scope) => Some(scope.customer.code.clone()),
            Exported::Msp(_) => None,
        };
        for dataset in self.datasets().iter().filter(|dataset| dataset.source == exported.source()) {
            let (own, others): (Vec<_>, Vec<_>) = files.into_iter().partition(|file: &LakeFile| file.dataset == dataset.name);
            files = others;
            let days = own.iter().filter(|file| !file.part.is_empty()).map(|file| store::part_of(&file.month, &file.part));
            let by_day: BTreeSet<Period> = days.filter_map(|part| part.map(Part::month).transpose()).collect::<Result<_, _>>()?;
            let postgres = digest_rows(&snapshot, dataset, by_day).await?;
            let is_dirty = |part: &str| {
                ["all", part].iter().any(|month| dirty.contains(&(dataset.name.to_owned(), (*month).to_owned())))
                    || (dataset.month_column.is_none() && dirty.iter().any(|(name, _)| name == dataset.name))
            };
            self.compare(code.as_ref(), dataset.name, &postgres, own, is_dirty, report).await?;
        }
        snapshot.commit().await?;
        for published in files {
            let outcome = match self.digest_file(&published).await {
                Err(LakeError::Vault(silent @ VaultError::Store(_))) => return Err(silent.into()),
                Ok(_) => VerifyOutcome::Equal,
                Err(error) => VerifyOutcome::Unreadable(error.to_string()),
            };
            report.rows.push(Verified {
                customer: code.clone(),
                dataset: published.dataset,
                month: published.month,
                part: published.part,
                postgres_rows: None,
                lake_rows: published.row_count,
                outcome,
            });
        }
        Ok(())
    }

    async fn compare(
        &self,
        code: Option<&CustomerCode>,
        dataset: &str,
        postgres: &Digests,
        files: Vec<LakeFile>,
        is_dirty: impl Fn(&str) -> bool,
        report: &mut VerifyReport,
    ) -> Result<(), LakeError> {
        let mut absent = postgres.clone();
        let mut verified = |part: Part, postgres_rows, lake_rows, outcome| {
            let (dataset, month, part) = (dataset.to_owned(), part.month_text(), part.part_text());
            report.rows.push(Verified {
                customer: code.cloned(),
                dataset,
                month,
                part,
                postgres_rows: Some(postgres_rows),
                lake_rows,
                outcome,
            });
        };
        for file in files {
            let part = store::part_of(&file.month, &file.part)?;
            let (rows, digest) = absent.remove(&part).unwrap_or((0, [0; 32]));
            let outcome = match self.digest_file(&file).await {
                Err(LakeError::Vault(silent @ VaultError::Store(_))) => return Err(silent.into()),
                Err(error) => VerifyOutcome::Unreadable(error.to_string()),
                Ok(found) if found == (rows, digest) => VerifyOutcome::Equal,
                Ok(_) if is_dirty(&file.month) => VerifyOutcome::Waiting,
                Ok(_) => VerifyOutcome::Differs,
            };
            verified(part, rows, file.row_count, outcome);
        }
        for (part, (rows, _)) in absent {
            let outcome = if is_dirty(&part.month_text()) { VerifyOutcome::Waiting } else { VerifyOutcome::Differs };
            verified(part, rows, 0, outcome);
        }
        Ok(())
    }

    /// Reads a file again and checks it against what the manifest says.
    async fn digest_file(&self, lake_file: &LakeFile) -> Result<(u64, [u8; 32]), LakeError> {
        let content = self.objects().get(&lake_file.path).await?;
        let (path, key) = (lake_file.path.clone(), lake_file.key.clone());
        let digesting = tokio::task::spawn_blocking(move || {
            let reader = file::open(content, &path, &key)?;
            let signature = signature(&arrow::array::RecordBatchReader::schema(&reader));
            let mut checksum = Checksum::default();
            for batch in reader {
                checksum.add(&batch?)?;
            }
            Ok::<_, LakeError>((checksum.rows, checksum.digest(&signature)))
        });
        let found = digesting.await.map_err(|_| LakeError::WorkerEnded)??;
        if found.0 == lake_file.row_count && found.1.as_slice() == lake_file.source_hash {
            Ok(found)
        } else {
            Err(LakeError::Manifest("the file holds other rows than the manifest says".to_owned()))
        }
    }
}

/// Digests a table as the snapshot sees it; some months by the day.
async fn digest_rows(snapshot: &OwnerTx, dataset: &Dataset, by_day: BTreeSet<Period>) -> Result<Digests, LakeError> {
    let rows = snapshot.copy_out(&copy_statement(dataset, &Wanted::All, &Order::ByPart(by_day.clone()))).await?;
    let (chunks, mut chunks_in) = mpsc::channel::<Bytes>(4);
    let dataset = *dataset;
    let digesting = tokio::task::spawn_blocking(move || {
        let mut decoder = CopyDecoder::new(dataset, Arrival::ByPart(by_day))?;
        let mut checksums: BTreeMap<Part, Checksum> = BTreeMap::new();
        let mut sink = |part, batch| checksums.entry(part).or_default().add(&batch);
        while let Some(chunk) = chunks_in.blocking_recv() {
            decoder.push(&chunk, &mut sink)?;
        }
        decoder.finish(&mut sink)?;
        let signature = signature(&arrow_schema(&dataset));
        Ok::<_, LakeError>(checksums.into_iter().map(|(part, sum)| (part, (sum.rows, sum.digest(&signature)))).collect())
    });
    let (fed, digests) = futures::join!(feed(rows, chunks), digesting);
    fed?;
    digests.map_err(|_| LakeError::WorkerEnded)?
}
