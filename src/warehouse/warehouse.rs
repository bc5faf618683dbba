//! The warehouse: the one place that opens sessions.

use granary_foundation::Boxed;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::datatypes::SchemaRef;
use granary_lake::{AsOf, FilesOf, Lake, LakeError, LakeFile, Snapshot};
use granary_tenants::{Granted, ReadGrant};
use granary_types::MspId;
use tokio::sync::OnceCell;

use crate::answer::{Admission, QueryThreads};
use crate::catalog::{Blueprint, Contents, plan_schemas, session_context};
use crate::files::CustomerFiles;
use crate::footers::{FooterMemory, Footers};
use crate::keys::SessionKeys;
use crate::own::{self, Own};
use crate::runtime::Engine;
use crate::table::TableFile;
use crate::{Budget, Models, Session, WarehouseError, ledger, runtime};

/// Opens sessions over the lake, builds and tests the models. Cheap to clone.
#[derive(Clone)]
pub struct Warehouse {
    pub(crate) lake: Lake,
    pub(crate) budget: Budget,
    pub(crate) models: Arc<Models>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) footers: Arc<FooterMemory>,
    schemas: Arc<OnceCell<HashMap<String, SchemaRef>>>,
    /// By grant and version of the MSP's own models.
    sessions: Arc<Mutex<Vec<(ReadGrant, i32, Session)>>>,
    pub(crate) own: Arc<Mutex<HashMap<MspId, Own>>>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) threads: Arc<QueryThreads>,
}

impl fmt::Debug for Warehouse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Warehouse({} models)", self.models.iter().count())
    }
}

impl Warehouse {
    /// Opens the warehouse with the models that this binary was built with.
    ///
    /// # Errors
    /// When the engine cannot start, for instance without a directory for temporary files.
    pub fn new(lake: Lake, budget: Budget) -> Result<Self, WarehouseError> {
        let models = Models::embedded()?;
        Self::with_models(lake, budget, models)
    }

    /// Opens the warehouse with other models.
    ///
    /// # Errors
    /// As [`Warehouse::new`].
    pub fn with_models(lake: Lake, budget: Budget, models: Models) -> Result<Self, WarehouseError> {
        let engine = runtime::shared(&budget, lake.objects().store()).map_err(WarehouseError::Engine)?;
        let footers = FooterMemory::new(budget.footer_bytes);
        Ok(Self {
            lake,
            budget,
            footers,
            models: Arc::new(models),
            engine,
            schemas: Arc::default(),
            sessions: Arc::default(),
            own: Arc::default(),
            admission: Arc::default(),
            threads: Arc::default(),
        })
    }

    /// Returns the models.
    pub fn models(&self) -> &Models {
        &self.models
    }

    /// Opens a session for a grant on the newest version of the lake, or returns the one that is open.
    ///
    /// # Errors
    /// When the lake cannot be read or a model does not plan.
    pub fn session<'a>(&'a self, grant: &'a ReadGrant) -> Boxed<'a, Result<Session, WarehouseError>> {
        Box::pin(async move {
            let version = self.lake.version(grant.msp).await?;
            let own = self.own_models(grant.msp).await?;
            if let Some(session) = self.open_session(grant, version, own.version) {
                return Ok(session);
            }
            let session = self.session_on(grant, version, &own).await?;
            let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            sessions.retain(|(other, ..)| other != grant);
            if sessions.len() >= self.budget.sessions {
                sessions.remove(0);
            }
            sessions.push((grant.clone(), own.version, session.clone()));
            Ok(session)
        })
    }

    /// Opens a session for a grant on a version of the lake that is past; nobody else gets it.
    ///
    /// # Errors
    /// As [`Warehouse::session`], and when the version is not there any more.
    pub fn session_at<'a>(&'a self, grant: &'a ReadGrant, version: i64) -> Boxed<'a, Result<Session, WarehouseError>> {
        Box::pin(async move { self.session_on(grant, version, &self.own_models(grant.msp).await?).await })
    }

    /// Opens a session for a grant as of an instant, a version or a name; on the newest version when nothing is wanted.
    ///
    /// # Errors
    /// As [`Warehouse::session_at`], and when there is no such version.
    pub fn session_as_of<'a>(&'a self, grant: &'a ReadGrant, wanted: Option<&'a AsOf>) -> Boxed<'a, Result<Session, WarehouseError>> {
        Box::pin(async move {
            let Some(wanted) = wanted else { return self.session(grant).await };
            self.session_at(grant, self.lake.find_version(grant.msp, wanted).await?).await
        })
    }

    fn open_session(&self, grant: &ReadGrant, version: i64, own: i32) -> Option<Session> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let index =
            sessions.iter().position(|(other, of_own, session)| other == grant && *of_own == own && session.version() == version)?;
        // the session used last stands last, and goes last
        let entry = sessions.remove(index);
        let session = entry.2.clone();
        sessions.push(entry);
        Some(session)
    }

    async fn session_on(&self, grant: &ReadGrant, version: i64, own: &Own) -> Result<Session, WarehouseError> {
        let contents = self.contents_at(grant, version).await?;
        let only = granted_ids(grant);
        let blueprint = self.blueprint(&contents, only.as_ref());
        let context = session_context(&blueprint, self.schemas().await?, grant).await?;
        own::add_seen(&context, &own.models, grant).await;
        Ok(Session::new(context, version, &self.engine, self.budget.clone()))
    }

    /// Lists what a grant sees of a version: the MSP's own files at once, those of customers when somebody reads them.
    pub(crate) async fn contents_at(&self, grant: &ReadGrant, version: i64) -> Result<Contents, WarehouseError> {
        let shared = self.lake.files_at(grant, version, FilesOf::Msp).await?;
        let keys = Arc::new(SessionKeys::default());
        let customers = Some(CustomerFiles::new(&self.lake, grant, version, &keys));
        Ok(Contents { customers, ..contents_with(&keys, &shared, &self.footers)? })
    }

    /// Returns the columns of every model; they follow from the SQL alone.
    pub(crate) async fn schemas(&self) -> Result<&HashMap<String, SchemaRef>, WarehouseError> {
        let plan = || async { plan_schemas(&self.blueprint(&contents_of_files(&[], &self.footers)?, None)).await };
        self.schemas.get_or_try_init(plan).await
    }

    pub(crate) fn blueprint<'a>(&'a self, contents: &'a Contents, only: Option<&'a BTreeSet<String>>) -> Blueprint<'a> {
        Blueprint { engine: &self.engine, budget: &self.budget, datasets: self.lake.datasets(), models: &self.models, contents, only }
    }
}

fn granted_ids(grant: &ReadGrant) -> Option<BTreeSet<String>> {
    match &grant.customers {
        Granted::All => None,
        Granted::Only(customers) => Some(customers.iter().map(ToString::to_string).collect()),
    }
}

/// Sorts the files of a snapshot by dataset and takes their keys.
pub(crate) fn contents_of(snapshot: &Snapshot, memory: &Arc<FooterMemory>) -> Result<Contents, LakeError> {
    contents_of_files(&snapshot.files, memory)
}

pub(crate) fn contents_of_files(opened: &[LakeFile], memory: &Arc<FooterMemory>) -> Result<Contents, LakeError> {
    contents_with(&Arc::new(SessionKeys::default()), opened, memory)
}

fn contents_with(keys: &Arc<SessionKeys>, opened: &[LakeFile], memory: &Arc<FooterMemory>) -> Result<Contents, LakeError> {
    let mut files: HashMap<String, Vec<TableFile>> = HashMap::new();
    for file in opened {
        files.entry(file.dataset.clone()).or_default().push(TableFile::of(file));
    }
    let digests = opened.iter().map(|file| (file.path.clone(), ledger::hex(&file.source_hash))).collect();
    keys.add(opened)?;
    Ok(Contents { files, customers: None, keys: Arc::clone(keys) as _, footers: Footers::new(memory), digests })
}
