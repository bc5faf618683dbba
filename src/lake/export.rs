//! The export of one owner: a customer's silo, or an MSP's control data.
//!
//! Token, snapshot, files, commit, clean-up. Each step may be the last: files that no commit names are rubbish to be
//! collected, a commit without its clean-up is repeated and finds nothing new, and an export that was overtaken gives up.

use std::ops::Deref;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use granary_db::{CopyOutStream, Tx};
use granary_tenants::{MspScope, MspTx, TenantScope, TenantTx, Tenants};
use granary_types::{Dataset, Source};
use granary_vault::{Keys, Objects};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::encode::{Encoded, Encoder};
use crate::manifest::{Changes, CurrentFile, FileOwner, HOME_ROOT, NewFile};
use crate::plan::{Plan, Wanted, label};
use crate::{LakeError, store};

/// Rows travel to the encoding thread in chunks of this size.
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks that wait for the encoding thread, and files that wait to be stored.
const QUEUE: usize = 4;
/// Files that are stored at the same time.
const PARALLEL_STORES: usize = 8;

/// Whose data is exported, and how it is reached.
#[derive(Debug, Clone)]
pub(crate) enum Exported {
    Customer(Box<TenantScope>),
    Msp(MspScope),
}

/// A transaction in the owner's schema.
pub(crate) enum OwnerTx {
    Tenant(Box<TenantTx>),
    Msp(Box<MspTx>),
}

impl Deref for OwnerTx {
    type Target = Tx;

    fn deref(&self) -> &Tx {
        match self {
            Self::Tenant(tx) => tx,
            Self::Msp(tx) => tx,
        }
    }
}

impl OwnerTx {
    pub(crate) async fn commit(self) -> Result<(), LakeError> {
        match self {
            Self::Tenant(tx) => Ok(tx.commit().await?),
            Self::Msp(tx) => Ok(tx.commit().await?),
        }
    }
}

impl Exported {
    pub(crate) fn owner(&self) -> FileOwner {
        match self {
            Self::Customer(scope) => FileOwner { msp: scope.msp.id, customer: Some(scope.customer.id) },
            Self::Msp(scope) => FileOwner { msp: scope.msp.id, customer: None },
        }
    }

    /// What the names of the owner's files begin with: a customer's region decides; an MSP is at home.
    fn root(&self, objects: &Objects) -> String {
        match self {
            Self::Customer(scope) => objects.root_of(&scope.customer.region),
            Self::Msp(_) => HOME_ROOT.to_owned(),
        }
    }

    pub(crate) const fn source(&self) -> Source {
        match self {
            Self::Customer(_) => Source::Tenant,
            Self::Msp(_) => Source::Control,
        }
    }

    fn msp_scope(&self) -> MspScope {
        match self {
            Self::Customer(scope) => MspScope { msp: scope.msp.clone(), actor: scope.actor },
            Self::Msp(scope) => scope.clone(),
        }
    }

    pub(crate) async fn begin_control(&self, tenants: &Tenants) -> Result<MspTx, LakeError> {
        Ok(tenants.begin_msp(&self.msp_scope()).await?)
    }

    async fn begin(&self, tenants: &Tenants) -> Result<OwnerTx, LakeError> {
        Ok(match self {
            Self::Customer(scope) => OwnerTx::Tenant(Box::new(tenants.begin_tenant(scope).await?)),
            Self::Msp(scope) => OwnerTx::Msp(Box::new(tenants.begin_msp(scope).await?)),
        })
    }

    /// Opens one consistent, read-only view of everything that the owner has.
    pub(crate) async fn begin_snapshot(&self, tenants: &Tenants) -> Result<OwnerTx, LakeError> {
        Ok(match self {
            Self::Customer(scope) => OwnerTx::Tenant(Box::new(tenants.begin_tenant_snapshot(scope).await?)),
            Self::Msp(scope) => OwnerTx::Msp(Box::new(tenants.begin_msp_snapshot(scope).await?)),
        })
    }
}

/// The right to commit: the last one that was given.
#[derive(Debug)]
pub(crate) struct Ticket {
    token: Uuid,
    exported: Vec<String>,
    current: Vec<CurrentFile>,
}

/// What an export found and wrote, not yet committed.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) changes: Changes,
    dirty_ids: Vec<i64>,
}

/// Exports one owner.
#[derive(Debug)]
pub(crate) struct OwnerExport<'a> {
    pub(crate) tenants: &'a Tenants,
    pub(crate) keys: &'a Keys,
    pub(crate) objects: &'a Objects,
    /// All datasets of the house; those of the owner's source are exported.
    pub(crate) datasets: &'a [Dataset],
    pub(crate) exported: Exported,
}

impl OwnerExport<'_> {
    /// Runs every step; returns what was committed, none when nothing had changed.
    pub(crate) async fn run(&self, known: &[String]) -> Result<Option<Changes>, LakeError> {
        if !self.has_work(known).await? {
            return Ok(None);
        }
        let ticket = self.take_ticket().await?;
        let draft = self.write(&ticket).await?;
        self.commit(&ticket, &draft).await?;
        self.clean_up(&draft).await?;
        Ok(Some(draft.changes).filter(|changes| !changes.is_empty()))
    }

    fn datasets(&self) -> Vec<Dataset> {
        self.datasets.iter().filter(|dataset| dataset.source == self.exported.source()).copied().collect()
    }

    /// Looks without leaving a trace, because most owners have nothing to say on most nights.
    async fn has_work(&self, known: &[String]) -> Result<bool, LakeError> {
        let tx = self.exported.begin(self.tenants).await?;
        let dirty = store::list_dirty(&tx).await?;
        tx.commit().await?;
        Ok(!Plan::new(&self.datasets(), &self.exported.root(self.objects), dirty, known)?.is_empty())
    }

    /// Announces the export; whoever announced before may no longer commit.
    pub(crate) async fn take_ticket(&self) -> Result<Ticket, LakeError> {
        let owner = self.exported.owner();
        let tx = self.exported.begin_control(self.tenants).await?;
        let token = Uuid::now_v7();
        let exported = store::begin_export(&tx, owner.id(), owner.msp, token, tx.now()).await?;
        let current = store::list_current(&tx, owner.msp, owner.customer).await?;
        tx.commit().await?;
        Ok(Ticket { token, exported, current })
    }

    /// Reads what is dirty in one snapshot and writes the files that differ from those of the lake.
    pub(crate) async fn write(&self, ticket: &Ticket) -> Result<Draft, LakeError> {
        let snapshot = self.exported.begin_snapshot(self.tenants).await?;
        let dirty = store::list_dirty(&snapshot).await?;
        let plan = Plan::new(&self.datasets(), &self.exported.root(self.objects), dirty, &ticket.exported)?;
        let mut changes = Changes::default();
        for (dataset, wanted) in &plan.datasets {
            self.write_dataset(&snapshot, dataset, wanted, ticket, &mut changes).await?;
        }
        snapshot.commit().await?;
        self.objects.flush(&changes.paths()).await?;
        Ok(Draft { changes, dirty_ids: plan.dirty_ids })
    }

    /// Makes the draft a version of the lake, unless a later export has begun.
    pub(crate) async fn commit(&self, ticket: &Ticket, draft: &Draft) -> Result<(), LakeError> {
        let owner = self.exported.owner();
        let tx = self.exported.begin_control(self.tenants).await?;
        if store::lock_export(&tx, owner.id()).await? != Some(ticket.token) {
            return Err(LakeError::Overtaken);
        }
        if !draft.changes.is_empty() {
            draft.changes.apply(&tx, owner, "export").await?;
        }
        let root = self.exported.root(self.objects);
        let labels: Vec<String> = self.datasets().iter().map(|dataset| label(dataset, &root)).collect();
        store::finish_export(&tx, owner.id(), &labels).await?;
        Ok(tx.commit().await?)
    }

    /// Removes exactly the dirty rows that the snapshot saw.
    pub(crate) async fn clean_up(&self, draft: &Draft) -> Result<(), LakeError> {
        if draft.dirty_ids.is_empty() {
            return Ok(());
        }
        let tx = self.exported.begin(self.tenants).await?;
        store::delete_dirty(&tx, &draft.dirty_ids).await?;
        tx.commit().await
    }

    /// Streams one dataset: Postgres → decoding and encoding on a thread of its own → object store.
    async fn write_dataset(
        &self,
        snapshot: &OwnerTx,
        dataset: &Dataset,
        wanted: &Wanted,
        ticket: &Ticket,
        changes: &mut Changes,
    ) -> Result<(), LakeError> {
        let owner = self.exported.owner();
        let current = ticket.current.iter().filter(|file| file.dataset == dataset.name);
        let parts: Vec<_> = current.clone().map(|file| file.part).collect();
        let root = self.exported.root(self.objects);
        // A file that lies in the store of another region is written anew, however equal it is.
        let here = current.filter(|file| file.path.split('/').next() == Some(&root));
        let current: std::collections::HashMap<_, _> = here.map(|file| (file.part, file.source_hash.clone())).collect();

        let rows = snapshot.copy_out(&store::copy_statement(dataset, wanted)).await?;
        let (chunks, chunks_in) = mpsc::channel(QUEUE);
        let (files, mut files_in) = mpsc::channel::<Encoded>(QUEUE);
        let encoder = Encoder::new(*dataset, (owner, root), self.objects.clone(), current, files)?;
        let encoding = tokio::task::spawn_blocking(move || encoder.run(chunks_in));
        let storing = futures::stream::poll_fn(move |context| files_in.poll_recv(context))
            .map(|Encoded { part, file }| NewFile::store(file, owner, dataset.name, part, self.keys, self.objects))
            .buffer_unordered(PARALLEL_STORES)
            .try_collect::<Vec<_>>();
        let (fed, stored, seen) = futures::join!(feed(rows, chunks), storing, encoding);
        fed?;
        // When storing fails, the encoder only learns that nobody takes its files.
        let stored = stored?;
        let seen = seen.map_err(|_| LakeError::WorkerEnded)??;

        changes.added.extend(stored);
        let gone = parts.into_iter().filter(|part| wanted.covers(*part) && !seen.contains(part));
        changes.emptied.extend(gone.map(|part| (dataset.name.to_owned(), part)));
        Ok(())
    }
}

/// Hands rows on in chunks; ends quietly when nobody takes them, because then the encoder has the reason.
pub(crate) async fn feed(rows: CopyOutStream, chunks: mpsc::Sender<Bytes>) -> Result<(), LakeError> {
    let mut rows = std::pin::pin!(rows);
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    while let Some(row) = rows.next().await {
        let row = row.map_err(granary_db::DbError::from)?;
        if chunk.len() + row.len() > CHUNK_BYTES && !chunk.is_empty() {
            let full = std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK_BYTES));
            if chunks.send(full.into()).await.is_err() {
                return Ok(());
            }
        }
        chunk.extend_from_slice(&row);
    }
    // Whether anybody still listens no longer matters.
    let _ = chunks.send(chunk.into()).await;
    Ok(())
}
