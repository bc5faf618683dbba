//! The warehouse: the one place that opens sessions.

use granary_foundation::Boxed;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::execution::runtime_env::RuntimeEnv;
use granary_lake::{AsOf, Lake, LakeError, LakeFile, Snapshot};
use granary_tenants::{Granted, ReadGrant};
use tokio::sync::OnceCell;

use crate::answer::{Admission, QueryThreads};
use crate::catalog::{Blueprint, Contents, plan_schemas, session_context};
use crate::keys::SessionKeys;
use crate::table::TableFile;
use crate::{Budget, Models, Session, WarehouseError, runtime};

/// Opens sessions over the lake, builds and tests the models. Cheap to clone.
#[derive(Clone)]
pub struct Warehouse {
    pub(crate) lake: Lake,
    pub(crate) budget: Budget,
    pub(crate) models: Arc<Models>,
    pub(crate) runtime: Arc<RuntimeEnv>,
    schemas: Arc<OnceCell<HashMap<String, SchemaRef>>>,
    sessions: Arc<Mutex<Vec<(ReadGrant, Session)>>>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) threads: Arc<QueryThreads>,
    #[cfg(feature = "distributed")]
    cluster: Option<Arc<crate::cluster::Cluster>>,
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
        let runtime = runtime::shared(&budget, lake.objects().store()).map_err(WarehouseError::Engine)?;
        Ok(Self {
            lake,
            budget,
            models: Arc::new(models),
            runtime,
            schemas: Arc::default(),
            sessions: Arc::default(),
            admission: Arc::default(),
            threads: Arc::default(),
            #[cfg(feature = "distributed")]
            cluster: None,
        })
    }

    /// Spreads large queries over the executors that are configured, if any are.
    ///
    /// # Errors
    /// When an address is none, or what goes there would go in the clear over a network that nobody called trusted.
    #[cfg(feature = "distributed")]
    pub fn with_executors(mut self, config: &granary_foundation::config::ExecutorsConfig) -> Result<Self, WarehouseError> {
        let house = crate::cluster::LakeHouse::new(self.lake.clone());
        self.cluster = crate::cluster::Cluster::of(config, Arc::new(house))?;
        Ok(self)
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
            if let Some(session) = self.open_session(grant, version) {
                return Ok(session);
            }
            let snapshot = self.lake.snapshot(grant, Some(version)).await?;
            let session = self.session_on(grant, &snapshot).await?;
            let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            sessions.retain(|(other, _)| other != grant);
            if sessions.len() >= self.budget.sessions {
                sessions.remove(0);
            }
            sessions.push((grant.clone(), session.clone()));
            Ok(session)
        })
    }

    /// Opens a session for a grant on a version of the lake that is past; nobody else gets it.
    ///
    /// # Errors
    /// As [`Warehouse::session`], and when the version is not there any more.
    pub fn session_at<'a>(&'a self, grant: &'a ReadGrant, version: i64) -> Boxed<'a, Result<Session, WarehouseError>> {
        Box::pin(async move {
            let snapshot = self.lake.snapshot(grant, Some(version)).await?;
            self.session_on(grant, &snapshot).await
        })
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

    fn open_session(&self, grant: &ReadGrant, version: i64) -> Option<Session> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let index = sessions.iter().position(|(other, session)| other == grant && session.version() == version)?;
        // the session used last stands last, and goes last
        let entry = sessions.remove(index);
        let session = entry.1.clone();
        sessions.push(entry);
        Some(session)
    }

    async fn session_on(&self, grant: &ReadGrant, snapshot: &Snapshot) -> Result<Session, WarehouseError> {
        let contents = contents_of(snapshot)?;
        let only = granted_ids(grant);
        let blueprint = self.blueprint(&contents, only.as_ref());
        let context = session_context(&blueprint, self.schemas().await?, grant).await?;
        let session = Session::new(context, snapshot.version, self.budget.clone());
        #[cfg(feature = "distributed")]
        if let Some(cluster) = &self.cluster {
            let spread = crate::cluster::Spread { cluster: Arc::clone(cluster), grant: grant.clone(), version: snapshot.version };
            return Ok(session.spread_by(spread));
        }
        Ok(session)
    }

    /// Returns the columns of every model; they follow from the SQL alone.
    pub(crate) async fn schemas(&self) -> Result<&HashMap<String, SchemaRef>, WarehouseError> {
        let plan = || async {
            let nothing = Contents { files: HashMap::new(), keys: Arc::new(SessionKeys::default()) };
            plan_schemas(&self.blueprint(&nothing, None)).await
        };
        self.schemas.get_or_try_init(plan).await
    }

    pub(crate) fn blueprint<'a>(&'a self, contents: &'a Contents, only: Option<&'a BTreeSet<String>>) -> Blueprint<'a> {
        Blueprint { runtime: &self.runtime, budget: &self.budget, datasets: self.lake.datasets(), models: &self.models, contents, only }
    }
}

fn granted_ids(grant: &ReadGrant) -> Option<BTreeSet<String>> {
    match &grant.customers {
        Granted::All => None,
        Granted::Only(customers) => Some(customers.iter().map(ToString::to_string).collect()),
    }
}

/// Sorts the files of a snapshot by dataset and takes their keys.
pub(crate) fn contents_of(snapshot: &Snapshot) -> Result<Contents, LakeError> {
    let mut files: HashMap<String, Vec<TableFile>> = HashMap::new();
    for file in &snapshot.files {
        files.entry(file.dataset.clone()).or_default().push(table_file(file));
    }
    let opened = snapshot.files.iter().map(|file| Ok((file.path.clone(), granary_lake::decryption(&file.path, &file.key)?)));
    let keys = SessionKeys::new(opened.collect::<Result<_, LakeError>>()?);
    Ok(Contents { files, keys: Arc::new(keys) })
}

fn table_file(file: &LakeFile) -> TableFile {
    let partition = match &file.customer {
        Some((id, code)) => vec![id.to_string(), code.to_string(), file.month.clone()],
        None => vec![file.month.clone()],
    };
    TableFile {
        path: file.path.clone(),
        size_bytes: file.size_bytes,
        footer_bytes: usize::try_from(file.footer_bytes).unwrap_or(usize::MAX),
        row_count: usize::try_from(file.row_count).unwrap_or(usize::MAX),
        partition,
    }
}
