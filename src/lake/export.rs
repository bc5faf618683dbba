//! The export of one owner: a customer's silo, or an MSP's control data.
//!
//! Token, snapshot, files, commit, clean-up: the [`Step`]s. Each may be the last: files that no commit names are rubbish to be
//! collected, a commit without its clean-up is repeated and finds nothing new, and an export that was overtaken gives up.

use std::collections::{BTreeSet, HashMap};
use std::ops::Deref;

use granary_db::Tx;
use granary_tenants::{MspScope, MspTx, TenantScope, TenantTx, Tenants};
use granary_types::{CustomerCode, Dataset, Period, Source};
use granary_vault::Objects;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::lake::Lake;
use crate::manifest::{Changes, CurrentFile, FileOwner, HOME_ROOT};
use crate::month::Part;
use crate::plan::{Held, Plan, label};
use crate::read::{Reader, Written, read};
use crate::step::Step;
use crate::{LakeError, store};

/// Readings whose rows are still encoded and stored while the next is read.
const BEHIND: usize = 1;

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

    /// The codes of the MSP and of the customer; none for the MSP's own data.
    pub(crate) fn names(&self) -> (String, Option<CustomerCode>) {
        match self {
            Self::Customer(scope) => (scope.msp.code.clone(), Some(scope.customer.code.clone())),
            Self::Msp(scope) => (scope.msp.code.clone(), None),
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

/// What is known of an owner before anybody looks at it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// The datasets that went out before, as [`label`] names them.
    pub(crate) exported: Vec<String>,
    /// The months that lie in one file a day.
    pub(crate) in_days: BTreeSet<(String, Period)>,
}

/// The right to commit: the last one that was given.
#[derive(Debug)]
pub(crate) struct Ticket {
    token: Uuid,
    exported: Vec<String>,
    current: Vec<CurrentFile>,
}

impl Ticket {
    /// Returns the current files of a dataset.
    pub(crate) fn files_of(&self, dataset: &str) -> impl Iterator<Item = &CurrentFile> {
        self.current.iter().filter(move |file| file.dataset == dataset)
    }

    /// Returns what those parts of a dataset hold that lie under a root: a file in the store of another region is written anew,
    /// however equal it is.
    pub(crate) fn hashes(&self, dataset: &str, root: &str) -> HashMap<Part, Vec<u8>> {
        let here = self.files_of(dataset).filter(|file| file.path.split('/').next() == Some(root));
        here.map(|file| (file.part, file.source_hash.clone())).collect()
    }
}

/// What an export found and wrote, not yet committed.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) changes: Changes,
    dirty_ids: Vec<i64>,
}

/// Exports one owner.
#[derive(Debug)]
pub(crate) struct OwnerExport {
    pub(crate) lake: Lake,
    pub(crate) exported: Exported,
}

impl OwnerExport {
    /// Runs every step when there is work; returns what was committed, none when nothing had changed.
    pub(crate) async fn run(&self, known: &Known) -> Result<Option<Changes>, LakeError> {
        if self.has_work(known).await? { self.run_now().await } else { Ok(None) }
    }

    /// Runs every step; returns what was committed, none when nothing had changed.
    pub(crate) async fn run_now(&self) -> Result<Option<Changes>, LakeError> {
        let ticket = self.take_ticket().await?;
        self.reach(Step::Announced).await;
        let draft = self.write(&ticket).await?;
        self.commit(&ticket, &draft).await?;
        self.reach(Step::Committed).await;
        self.clean_up(&draft).await?;
        self.reach(Step::Cleaned).await;
        Ok(Some(draft.changes).filter(|changes| !changes.is_empty()))
    }

    async fn reach(&self, step: Step) {
        self.lake.reach(step, self.exported.owner().customer).await;
    }

    fn datasets(&self) -> Vec<Dataset> {
        self.lake.datasets().iter().filter(|dataset| dataset.source == self.exported.source()).copied().collect()
    }

    fn root(&self) -> String {
        self.exported.root(self.lake.objects())
    }

    fn plan(&self, dirty: Vec<store::DirtyRow>, exported: &[String], held: &Held) -> Result<Plan, LakeError> {
        Plan::new(&self.datasets(), &self.root(), dirty, exported, held, self.lake.tenants().clock().now())
    }

    /// Looks without leaving a trace, because most owners have nothing to say on most nights.
    pub(crate) async fn has_work(&self, known: &Known) -> Result<bool, LakeError> {
        let held = Held { in_days: known.in_days.clone(), ..Held::default() };
        if !self.plan(Vec::new(), &known.exported, &held)?.is_empty() {
            return Ok(true);
        }
        let tx = self.exported.begin(self.lake.tenants()).await?;
        let is_dirty = store::is_dirty(&tx).await?;
        tx.commit().await?;
        Ok(is_dirty)
    }

    /// Announces the export; whoever announced before may no longer commit.
    pub(crate) async fn take_ticket(&self) -> Result<Ticket, LakeError> {
        let owner = self.exported.owner();
        let tx = self.exported.begin_control(self.lake.tenants()).await?;
        let token = Uuid::now_v7();
        let exported = store::begin_export(&tx, owner.id(), owner.msp, token, tx.now()).await?;
        let current = store::list_current(&tx, owner.msp, owner.customer).await?;
        tx.commit().await?;
        Ok(Ticket { token, exported, current })
    }

    /// Reads what is dirty in one snapshot and writes the files that differ from those of the lake. The snapshot ends when its rows
    /// are read, not when they are written.
    pub(crate) async fn write(&self, ticket: &Ticket) -> Result<Draft, LakeError> {
        let reader = self.lake.reader().await?;
        let snapshot = self.exported.begin_snapshot(self.lake.tenants()).await?;
        self.reach(Step::Opened).await;
        let dirty = store::list_dirty(&snapshot).await?;
        let held = Held::of(&ticket.current, self.lake.tuning().daily_above_bytes);
        let plan = self.plan(dirty, &ticket.exported, &held)?;
        let rows = Reader { lake: &self.lake, owner: self.exported.owner(), root: self.root(), snapshot: &snapshot, ticket };
        let (mut changes, mut writing) = (Changes::default(), JoinSet::new());
        for reading in &plan.readings {
            read(&rows, reading, &mut writing).await?;
            while writing.len() > BEHIND {
                settle(&mut writing, ticket, &mut changes).await?;
            }
        }
        snapshot.commit().await?;
        drop(reader);
        while !writing.is_empty() {
            settle(&mut writing, ticket, &mut changes).await?;
        }
        self.reach(Step::Written).await;
        self.lake.objects().flush(&changes.paths()).await?;
        self.reach(Step::Flushed).await;
        Ok(Draft { changes, dirty_ids: plan.dirty_ids })
    }

    /// Makes the draft a version of the lake, unless a later export has begun.
    pub(crate) async fn commit(&self, ticket: &Ticket, draft: &Draft) -> Result<(), LakeError> {
        let owner = self.exported.owner();
        let tx = self.exported.begin_control(self.lake.tenants()).await?;
        if store::lock_export(&tx, owner.id()).await? != Some(ticket.token) {
            return Err(LakeError::Overtaken);
        }
        if !draft.changes.is_empty() {
            draft.changes.apply(&tx, owner, "export").await?;
        }
        let root = self.root();
        let labels: Vec<String> = self.datasets().iter().map(|dataset| label(dataset, &root)).collect();
        store::finish_export(&tx, owner.id(), &labels).await?;
        self.reach(Step::Committing).await;
        Ok(tx.commit().await?)
    }

    /// Removes exactly the dirty rows that the snapshot saw.
    pub(crate) async fn clean_up(&self, draft: &Draft) -> Result<(), LakeError> {
        if draft.dirty_ids.is_empty() {
            return Ok(());
        }
        let tx = self.exported.begin(self.lake.tenants()).await?;
        store::delete_dirty(&tx, &draft.dirty_ids).await?;
        tx.commit().await
    }
}

/// Waits until one reading is written, and notes what it changes.
async fn settle(
    writing: &mut JoinSet<Result<Option<Written>, LakeError>>,
    ticket: &Ticket,
    changes: &mut Changes,
) -> Result<(), LakeError> {
    let Some(joined) = writing.join_next().await else { return Ok(()) };
    // None: it was too much for the memory that it was given, and is read again.
    let Some(written) = joined.map_err(|_| LakeError::WorkerEnded)?? else { return Ok(()) };
    let Written { reading, stored, seen } = written;
    changes.added.extend(stored);
    let parts = ticket.files_of(reading.dataset.name).map(|file| file.part);
    let gone = parts.filter(|part| reading.wanted.covers(*part) && !seen.contains(part));
    changes.emptied.extend(gone.map(|part| (reading.dataset.name.to_owned(), part)));
    Ok(())
}
