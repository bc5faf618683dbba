//! A night: every MSP's control data and every customer's silo, several owners at a time, each for itself.
//!
//! First everybody is looked at, which costs one small question each; then those are exported who have something to say.

use granary_foundation::Boxed;
use std::collections::HashMap;
use std::sync::Arc;

use futures::StreamExt;
use granary_foundation::SharedProgress;
use granary_tenants::{Msp, MspScope, TenantScope};
use granary_types::{CustomerCode, CustomerStatus, MspId};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;
use uuid::Uuid;

use crate::export::{Exported, Known, OwnerExport};
use crate::lake::{ACTOR, Lake};
use crate::manifest::Changes;
use crate::store::NightRow;
use crate::{LakeError, store};

/// Owners that are looked at at the same time.
const PARALLEL_LOOKS: usize = 4;
/// Owners that encode, store or commit while as many are read as may be.
const PARALLEL_WRITERS: usize = 2;

/// What a night did.
#[derive(Debug, Clone, Serialize)]
pub struct NightReport {
    pub night: Date,
    pub owners: Vec<OwnerNight>,
}

/// What a night did for one owner.
#[derive(Debug, Clone, Serialize)]
pub struct OwnerNight {
    /// Code of the MSP.
    pub msp: String,
    /// None for the MSP's control data.
    pub customer: Option<CustomerCode>,
    #[serde(flatten)]
    pub outcome: OwnerOutcome,
}

/// How an owner's export ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum OwnerOutcome {
    /// Files were written or removed.
    Done { files_written: u64, files_removed: u64, rows_written: u64 },
    /// The lake held it all.
    Unchanged,
    /// Another night exports it at the same time.
    Overtaken,
    /// It goes on next time.
    Failed { error: String },
}

impl NightReport {
    /// Returns the number of files that were written.
    pub fn files_written(&self) -> u64 {
        self.done().map(|(files, _)| files).sum()
    }

    /// Returns the number of rows that were written.
    pub fn rows_written(&self) -> u64 {
        self.done().map(|(_, rows)| rows).sum()
    }

    /// Returns the owners whose export failed.
    pub fn failures(&self) -> impl Iterator<Item = &OwnerNight> {
        self.owners.iter().filter(|owner| matches!(owner.outcome, OwnerOutcome::Failed { .. }))
    }

    fn done(&self) -> impl Iterator<Item = (u64, u64)> {
        self.owners.iter().filter_map(|owner| match owner.outcome {
            OwnerOutcome::Done { files_written, rows_written, .. } => Some((files_written, rows_written)),
            OwnerOutcome::Unchanged | OwnerOutcome::Overtaken | OwnerOutcome::Failed { .. } => None,
        })
    }
}

/// An owner, and what is known of it.
struct Due {
    exported: Exported,
    known: Known,
}

/// What a look at an owner found.
enum Looked {
    Due(Exported),
    Unchanged(Exported),
    Failed(Exported, LakeError),
}

impl Lake {
    /// Exports what changed since the last night: of every MSP, or of those named.
    ///
    /// Owners fail on their own; their failure is part of the report and of the table `nights`.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn export_night<'a>(&'a self, night: Date, progress: SharedProgress) -> Boxed<'a, Result<NightReport, LakeError>> {
        Box::pin(async move {
            let msps = self.tenants().list_msps().await?;
            self.export(night, msps, progress).await
        })
    }

    /// Exports what changed of one MSP and its customers.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn export_msp<'a>(&'a self, night: Date, msp: Msp, progress: SharedProgress) -> Boxed<'a, Result<NightReport, LakeError>> {
        Box::pin(async move { self.export(night, vec![msp], progress).await })
    }

    async fn export(&self, night: Date, msps: Vec<Msp>, progress: SharedProgress) -> Result<NightReport, LakeError> {
        let mut due = Vec::new();
        for msp in msps {
            due.extend(self.list_due(msp).await?);
        }
        progress.begin("export", due.len() as u64);
        let started_at = self.tenants().clock().now();
        let (mut owners, mut unchanged, mut with_work, mut failed) =
            (Vec::new(), HashMap::<MspId, Vec<Exported>>::new(), Vec::new(), Vec::new());
        let mut looks = futures::stream::iter(due).map(|due| self.look(due)).buffer_unordered(PARALLEL_LOOKS);
        while let Some(looked) = looks.next().await {
            match looked {
                Looked::Due(exported) => with_work.push(exported),
                Looked::Unchanged(exported) => unchanged.entry(exported.owner().msp).or_default().push(exported),
                // Noted when nobody is looked at any more: a look that is not waited for holds its connection.
                Looked::Failed(exported, error) => failed.push((exported, error)),
            }
        }
        drop(looks);
        for (exported, error) in failed {
            progress.advance(1);
            owners.push(self.end_owner(night, exported, Err(error), started_at).await);
        }
        for (msp, looked_at) in unchanged {
            progress.advance(looked_at.len() as u64);
            owners.extend(self.record_unchanged(night, msp, looked_at, started_at).await);
        }
        let exports = futures::stream::iter(with_work)
            .map(|exported| {
                // A task of its own: it decodes and encodes beside the others.
                let (lake, progress) = (self.clone(), Arc::clone(&progress));
                tokio::spawn(async move {
                    let report = lake.export_owner(night, exported).await;
                    progress.advance(1);
                    report
                })
            })
            .buffer_unordered(self.tuning().readers + PARALLEL_WRITERS)
            .map(|joined| joined.map_err(|_| LakeError::WorkerEnded))
            .collect::<Vec<_>>()
            .await;
        progress.end();
        owners.extend(exports.into_iter().collect::<Result<Vec<_>, _>>()?);
        owners.sort_by(|left, right| (&left.msp, &left.customer).cmp(&(&right.msp, &right.customer)));
        Ok(NightReport { night, owners })
    }

    async fn list_due(&self, msp: Msp) -> Result<Vec<Due>, LakeError> {
        let tx = self.begin(&msp).await?;
        let mut known: HashMap<Uuid, Known> = HashMap::new();
        for (owner, exported) in store::list_exported(&tx, msp.id).await? {
            known.entry(owner).or_default().exported = exported;
        }
        for (owner, dataset, month) in store::list_in_days(&tx, msp.id).await? {
            known.entry(owner).or_default().in_days.insert((dataset, month));
        }
        tx.commit().await?;
        let customers = self.tenants().list_customers(msp.id).await?;
        let mut scopes = vec![Exported::Msp(MspScope::for_job(msp.clone(), ACTOR))];
        let present = customers.into_iter().filter(|customer| customer.status != CustomerStatus::Erased);
        scopes.extend(present.map(|customer| Exported::Customer(Box::new(TenantScope::for_job(msp.clone(), customer, ACTOR)))));
        Ok(scopes.into_iter().map(|exported| Due { known: known.remove(&exported.owner().id()).unwrap_or_default(), exported }).collect())
    }

    async fn look(&self, due: Due) -> Looked {
        let export = OwnerExport { lake: self.clone(), exported: due.exported };
        match export.has_work(&due.known).await {
            Ok(true) => Looked::Due(export.exported),
            Ok(false) => Looked::Unchanged(export.exported),
            Err(error) => Looked::Failed(export.exported, error),
        }
    }

    async fn export_owner(&self, night: Date, exported: Exported) -> OwnerNight {
        let started_at = self.tenants().clock().now();
        let export = OwnerExport { lake: self.clone(), exported };
        let outcome = export.run_now().await.map(|changes| changes.as_ref().map_or(OwnerOutcome::Unchanged, OwnerOutcome::of));
        self.end_owner(night, export.exported, outcome, started_at).await
    }

    /// Notes how an owner's night ended.
    async fn end_owner(
        &self,
        night: Date,
        exported: Exported,
        outcome: Result<OwnerOutcome, LakeError>,
        started_at: Timestamp,
    ) -> OwnerNight {
        let (msp, customer) = exported.names();
        let mut outcome = match outcome {
            Ok(outcome) => outcome,
            Err(LakeError::Overtaken) => {
                tracing::warn!(msp, customer = customer.as_ref().map(CustomerCode::as_str), "{}", LakeError::Overtaken);
                return OwnerNight { msp, customer, outcome: OwnerOutcome::Overtaken };
            }
            Err(error) => OwnerOutcome::Failed { error: error.to_string() },
        };
        if let Err(error) = self.record_night(night, &exported, &outcome, started_at).await {
            tracing::error!(msp, customer = customer.as_ref().map(CustomerCode::as_str), %error, "the night cannot be recorded");
            outcome = OwnerOutcome::Failed { error: error.to_string() };
        }
        if let OwnerOutcome::Failed { error } = &outcome {
            tracing::error!(msp, customer = customer.as_ref().map(CustomerCode::as_str), error, "an export failed");
        }
        OwnerNight { msp, customer, outcome }
    }

    /// Notes at once that nothing of many owners of one MSP had changed.
    async fn record_unchanged(&self, night_on: Date, msp: MspId, looked_at: Vec<Exported>, started_at: Timestamp) -> Vec<OwnerNight> {
        let Some(first) = looked_at.first() else { return Vec::new() };
        let owners: Vec<Uuid> = looked_at.iter().map(|exported| exported.owner().id()).collect();
        let recorded = async {
            let tx = first.begin_control(self.tenants()).await?;
            store::upsert_unchanged(&tx, night_on, msp, &owners, started_at).await?;
            Ok::<_, LakeError>(tx.commit().await?)
        };
        let outcome = match recorded.await {
            Ok(()) => OwnerOutcome::Unchanged,
            Err(error) => {
                tracing::error!(msp.id = %msp, %error, "the night cannot be recorded");
                OwnerOutcome::Failed { error: error.to_string() }
            }
        };
        let night = |exported: &Exported| {
            let (msp, customer) = exported.names();
            OwnerNight { msp, customer, outcome: outcome.clone() }
        };
        looked_at.iter().map(night).collect()
    }

    async fn record_night(
        &self,
        night_on: Date,
        exported: &Exported,
        outcome: &OwnerOutcome,
        started_at: Timestamp,
    ) -> Result<(), LakeError> {
        let owner = exported.owner();
        let (word, files, rows, error) = match outcome {
            OwnerOutcome::Done { files_written, rows_written, .. } => ("done", *files_written, *rows_written, None),
            OwnerOutcome::Unchanged | OwnerOutcome::Overtaken => ("unchanged", 0, 0, None),
            OwnerOutcome::Failed { error } => ("failed", 0, 0, Some(error.as_str())),
        };
        let row = NightRow {
            night_on,
            msp: owner.msp,
            owner: owner.id(),
            outcome: word,
            files_written: i32::try_from(files).unwrap_or(i32::MAX),
            rows_written: rows.cast_signed(),
            error,
            started_at,
        };
        let tx = exported.begin_control(self.tenants()).await?;
        store::upsert_night(&tx, &row).await?;
        Ok(tx.commit().await?)
    }
}

impl OwnerOutcome {
    fn of(changes: &Changes) -> Self {
        Self::Done {
            files_written: changes.added.len() as u64,
            files_removed: changes.emptied.len() as u64,
            rows_written: changes.rows_added(),
        }
    }
}
