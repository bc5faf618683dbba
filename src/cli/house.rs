//! The house put together: every room over one database, one lake and one clock.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use granary_access::Access;
use granary_db::embedded::{Server, Spool};
use granary_db::{Database, DatabaseConfig};
use granary_foundation::{Config, Outbound, Secret, SharedProgress, Silent, config};
use granary_lake::{Lake, Retention};
use granary_notifications::{Mailer, Post, Smtp};
use granary_tenants::{Cluster, Clusters, Customer, Granted, HOME, Lifecycle, Msp, MspScope, ReadGrant, TenantScope, Tenants};
use granary_types::{Classify, Clock, CustomerCode, CustomerId, ErrorKind, Role};
use granary_vault::{AwsKms, Keys, MasterKey, Objects};
use granary_warehouse::{Budget, Warehouse};
use serde::{Deserialize, Serialize};

use super::arguments::Global;
use super::files::{Named, shell_quoted};
use super::{Failure, Usage, disk};

/// Who acts when a command runs.
pub(crate) const ACTOR: &str = "cli";

/// All rooms, ready to be used; clones share everything.
#[derive(Debug, Clone)]
pub(crate) struct Rooms {
    pub(crate) config: Arc<Config>,
    pub(crate) clock: Clock,
    pub(crate) database: Database,
    pub(crate) tenants: Tenants,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) access: Access,
    pub(crate) lake: Lake,
    pub(crate) retention: Retention,
    pub(crate) warehouse: Warehouse,
    pub(crate) mailer: Mailer,
    pub(crate) progress: SharedProgress,
    /// How the owner connects to our own server, and where that lays its log.
    pub(crate) archive: Option<(Secret, Spool)>,
}

/// The rooms and what they stand on; [`House::close`] lets go of the embedded Postgres.
#[derive(Debug)]
pub(crate) struct House {
    rooms: Rooms,
    server: Option<Server>,
}

impl std::ops::Deref for House {
    type Target = Rooms;

    fn deref(&self) -> &Rooms {
        &self.rooms
    }
}

/// What the demo decided at its first start; kept in its data directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DemoFile {
    pub(crate) customers: u32,
    pub(crate) months: u32,
    pub(crate) seed: u64,
    pub(crate) until: jiff::civil::Date,
    /// The instant at which the demo's clock stands still.
    pub(crate) clock_at: jiff::Timestamp,
}

impl DemoFile {
    fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("demo.json")
    }

    /// Reads the file; none when there is no demo in the data directory.
    pub(crate) fn read(data_dir: &Path) -> Result<Option<Self>, Failure> {
        let path = Self::path(data_dir);
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| {
                let path = path.display();
                let remedy = "put the file back as it was, or make a demo in another --data-dir";
                Usage(format!("{path} does not describe a demo: {error}; {remedy}")).into()
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Ok(Err(error).named("read", path)?),
        }
    }

    /// Writes the file, whole or not at all.
    pub(crate) fn write(&self, data_dir: &Path) -> Result<(), Failure> {
        std::fs::create_dir_all(data_dir).named("make the data directory", data_dir)?;
        let draft = data_dir.join("demo.json.new");
        std::fs::write(&draft, serde_json::to_vec_pretty(self)?).named("write", &draft)?;
        Ok(std::fs::rename(&draft, Self::path(data_dir)).named("rename", &draft)?)
    }
}

/// Reads the configuration that a command runs with.
pub(crate) fn configuration(global: &Global) -> Result<Config, Failure> {
    let mut config = Config::load(global.config.as_deref(), config::environment)?;
    if let Some(data_dir) = &global.data_dir {
        config.data_dir.clone_from(data_dir);
    }
    granary_foundation::telemetry::start(&config.log, &config.traces);
    Ok(config)
}

/// Finds how the owner reaches Postgres: as configured, or over our own server, which is started when it does not run.
pub(crate) async fn postgres(config: &Config, progress: &SharedProgress) -> Result<(Option<Server>, Secret), Failure> {
    std::fs::create_dir_all(&config.data_dir).named("make the data directory", &config.data_dir)?;
    must_be_whole(config)?;
    match &config.database.url {
        Some(url) => Ok((None, url.clone())),
        None => {
            let data_dir = std::fs::canonicalize(&config.data_dir).named("find the data directory", &config.data_dir)?;
            let server = Server::start(&data_dir, Arc::clone(progress)).await?;
            tell_place(&data_dir, server.base())?;
            let url = server.url().clone();
            Ok((Some(server), url))
        }
    }
}

/// Refuses a data directory whose restoration was begun and not finished.
fn must_be_whole(config: &Config) -> Result<(), Missing> {
    if !config.data_dir.join(granary_recovery::UNFINISHED).exists() {
        return Ok(());
    }
    Err(Missing(format!("{} holds a house that is not restored yet; run granary restore again", config.data_dir.display())))
}

/// Refuses a data directory in which no house was built: a mistyped one would otherwise become a new and empty house.
pub(crate) fn must_stand(config: &Config) -> Result<(), Missing> {
    must_be_whole(config)?;
    if config.database.url.is_some() || config.data_dir.join("keys").is_dir() {
        return Ok(());
    }
    let remedy = "name one with --data-dir, or make one with granary demo or granary msp add";
    Err(Missing(format!("{} is not a data directory of granary; {remedy}", config.data_dir.display())))
}

impl House {
    /// Opens the house of a data directory; starts the embedded Postgres when none runs there and no other is configured.
    pub(crate) async fn open(global: &Global) -> Result<Self, Failure> {
        Self::open_with(configuration(global)?, Silent::shared()).await
    }

    /// Opens the house with a configuration that was read already.
    pub(crate) async fn open_with(config: Config, progress: SharedProgress) -> Result<Self, Failure> {
        let clock = DemoFile::read(&config.data_dir)?.map_or(Clock::System, |demo| Clock::fixed(demo.clock_at));
        let (server, url) = postgres(&config, &progress).await?;
        let data_dir = std::fs::canonicalize(&config.data_dir).named("find the data directory", &config.data_dir)?;
        match Rooms::over(config.clone(), clock, &data_dir, url, progress).await {
            Ok(rooms) => {
                let archive = server.as_ref().map(|server| (server.url().clone(), server.spool()));
                Ok(Self { rooms: Rooms { archive, ..rooms }, server })
            }
            Err(failure) => {
                let failure = explained(failure, &config, server.as_ref());
                if let Some(server) = server {
                    server.stop().await?;
                }
                Err(failure)
            }
        }
    }

    /// Lets go of the database; the last user of an embedded Postgres stops it.
    pub(crate) async fn close(self) -> Result<(), Failure> {
        self.tenants.clusters().close();
        if let Some(server) = self.server {
            server.stop().await?;
        }
        Ok(())
    }

    /// Lists the folders that must not run full: the data directory, the embedded Postgres, a local lake.
    pub(crate) fn places(&self) -> Vec<PathBuf> {
        let lake = self.config.lake.url.as_deref().and_then(|url| url.strip_prefix("file://")).map(PathBuf::from);
        let postgres = self.server.as_ref().map(|server| server.base().to_owned());
        [self.config.data_dir.clone()].into_iter().chain(postgres).chain(lake).collect()
    }

    /// Says that the disk is full when a failure comes from that.
    pub(crate) fn explain(&self, failure: Failure) -> Failure {
        explained(failure, &self.config, self.server.as_ref())
    }

    /// Runs a command over a house that is there, and closes it whatever came of it.
    pub(crate) async fn with<T>(global: &Global, work: impl AsyncFnOnce(&Rooms) -> Result<T, Failure>) -> Result<T, Failure> {
        let config = configuration(global)?;
        must_stand(&config)?;
        Self::open_with(config, Silent::shared()).await?.used(work).await
    }

    /// Runs a command over a house, which is built if there is none yet.
    pub(crate) async fn with_new<T>(global: &Global, work: impl AsyncFnOnce(&Rooms) -> Result<T, Failure>) -> Result<T, Failure> {
        Self::open(global).await?.used(work).await
    }

    async fn used<T>(self, work: impl AsyncFnOnce(&Rooms) -> Result<T, Failure>) -> Result<T, Failure> {
        let house = self;
        let outcome = work(&house.rooms).await.map_err(|failure| house.explain(failure));
        let closed = house.close().await;
        let answer = outcome?;
        closed?;
        Ok(answer)
    }
}

impl Rooms {
    async fn over(config: Config, clock: Clock, data_dir: &Path, url: Secret, progress: SharedProgress) -> Result<Self, Failure> {
        let keys_dir = data_dir.join("keys");
        std::fs::create_dir_all(&keys_dir).named("make", &keys_dir)?;
        let app_password = password(&keys_dir.join("app-password"))?;
        let master = master(&config, &keys_dir.join("master"))?;
        let clusters = clusters(&config, &app_password)?;
        let max_connections = config.database.max_connections;
        let connections_per_tenant = config.database.connections_per_tenant.unwrap_or(max_connections.div_ceil(4));
        let settings = DatabaseConfig { url, app_password, max_connections, connections_per_tenant };
        let database = Database::connect(&settings, clock.clone()).await?;
        let keys = Keys::new(database.clone(), master);
        let lake_url = lake_url(&config, data_dir);
        let objects = Objects::open_regions(&lake_url, &config.lake)?;
        let tenants = Tenants::over(Clusters::new(database.clone(), clusters), keys.clone());
        let datasets =
            [granary_tenants::DATASETS, granary_metering::DATASETS, granary_billing::DATASETS, granary_intelligence::DATASETS].concat();
        let lake = Lake::new(tenants.clone(), keys, objects, datasets);
        let retention = Retention::new(lake.clone(), granary_metering::RETAINED, config.leaving.keep_invoices_years);
        let warehouse = Warehouse::new(lake.clone(), budget(&config.query))?;
        let outbound = Outbound::new(&config.outbound);
        let access = Access::new(tenants.clone()).with_clock(Clock::System).with_outbound(outbound).with_home(&public_url(&config));
        // A name that all replicas have; where people come in is what they have in common.
        let access = match &config.server.public_url {
            Some(url) => access.with_issuer(url),
            None => access,
        };
        let lifecycle = super::life::lifecycle(&tenants, &lake, &config);
        let post = Smtp::of(&config.mail)?.map(|smtp| Arc::new(smtp) as Arc<dyn Post>);
        let mailer = Mailer::new(database.clone(), tenants.keys().clone(), post);
        Ok(Self {
            config: Arc::new(config),
            clock,
            database,
            tenants,
            lifecycle,
            access,
            lake,
            retention,
            warehouse,
            mailer,
            progress,
            archive: None,
        })
    }

    /// Finds the MSP that a command is about: the named one, or the only one.
    pub(crate) async fn msp(&self, code: Option<&str>) -> Result<Msp, Failure> {
        match code {
            Some(code) => self
                .tenants
                .find_msp_by_code(&code.to_ascii_uppercase())
                .await?
                .ok_or_else(|| Missing(format!("there is no MSP '{code}'; see granary msp list")).into()),
            None => {
                let mut msps = self.tenants.list_msps().await?;
                match msps.len() {
                    0 => Err(Missing("there is no MSP yet; add one with granary msp add, or start granary demo".to_owned()).into()),
                    1 => Ok(msps.remove(0)),
                    _ => {
                        let codes: Vec<&str> = msps.iter().map(|msp| msp.code.as_str()).collect();
                        Err(Usage(format!("there are several MSPs; choose with --msp: {}", codes.join(", "))).into())
                    }
                }
            }
        }
    }

    /// Finds a customer of the MSP that a command is about.
    pub(crate) async fn customer(&self, msp: Option<&str>, code: &CustomerCode) -> Result<(Msp, Customer), Failure> {
        let msp = self.msp(msp).await?;
        let customer = self.tenants.get_customer_by_code(msp.id, code).await?;
        Ok((msp, customer))
    }

    /// Writes down, for the customers to see, that a command opened their data.
    pub(crate) async fn note_opening(&self, customers: impl IntoIterator<Item = CustomerId>, command: &str) -> Result<(), Failure> {
        let customers: Vec<CustomerId> = customers.into_iter().collect();
        Ok(self.access.note_command(&customers, command).await?)
    }

    /// The same for every customer that a grant covers.
    pub(crate) async fn note_grant(&self, grant: &ReadGrant, command: &str) -> Result<(), Failure> {
        let customers = self.tenants.list_customers(grant.msp).await?;
        self.note_opening(customers.iter().map(|customer| customer.id).filter(|id| grant.customers.includes(*id)), command).await
    }

    /// The scope of a command on one customer.
    pub(crate) fn tenant_scope(msp: &Msp, customer: &Customer) -> TenantScope {
        TenantScope::for_job(msp.clone(), customer.clone(), ACTOR)
    }

    /// The scope of a command on one MSP.
    pub(crate) fn msp_scope(msp: &Msp) -> MspScope {
        MspScope::for_job(msp.clone(), ACTOR)
    }

    /// Writes down what a command did or read: in the MSP's log, or, without one, in the installation's.
    pub(crate) async fn note(
        &self,
        msp: Option<&Msp>,
        customer: Option<CustomerId>,
        action: &str,
        subject: &str,
        detail: &serde_json::Value,
    ) -> Result<(), Failure> {
        match msp {
            Some(msp) => {
                let tx = self.tenants.begin_msp(&Self::msp_scope(msp)).await?;
                granary_tenants::note(&tx, customer, action, subject, detail).await?;
                Ok(tx.commit().await?)
            }
            None => Ok(self.tenants.note_as_operator(ACTOR.into(), action, subject, detail).await?),
        }
    }

    /// What a command on one MSP may read: everything of it.
    pub(crate) fn grant(msp: &Msp) -> ReadGrant {
        ReadGrant { msp: msp.id, customers: Granted::All, role: Role::MspAdmin, can_read_billing: true }
    }
}

/// Where people reach the server; never what a request says.
pub(crate) fn public_url(config: &Config) -> String {
    config.server.public_url.clone().unwrap_or_else(|| {
        let scheme = if config.tls.cert.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", config.server.listen)
    })
}

/// Where the lake lies: as configured, or in the data directory.
pub(crate) fn lake_url(config: &Config, data_dir: &Path) -> String {
    config.lake.url.clone().unwrap_or_else(|| format!("file://{}", data_dir.join("lake").display()))
}

/// The master key: from the environment, behind a service, or in the file.
pub(crate) fn master(config: &Config, file: &Path) -> Result<MasterKey, Failure> {
    Ok(match (&config.keys.master, &config.keys.kms) {
        (Some(text), None) => MasterKey::from_text(text, file)?,
        (None, Some(kms)) => MasterKey::from_kms(Arc::new(AwsKms::new(kms)?), file)?,
        (None, None) => MasterKey::load_or_create(file)?,
        (Some(_), Some(_)) => {
            return Err(Usage("GRANARY_MASTER_KEY and [keys.kms] both name a master key; leave one out".to_owned()).into());
        }
    })
}

/// The clusters beside the home, as configured; the same login serves all of them.
fn clusters(config: &Config, app_password: &Secret) -> Result<Vec<Cluster>, Failure> {
    let cluster = |(name, settings): (&String, &granary_foundation::config::ClusterConfig)| {
        if name == HOME {
            return Err(Usage(format!("a cluster cannot be called '{HOME}': that is the home's name")).into());
        }
        let url = settings.url.clone().ok_or_else(|| Usage(format!("clusters.{name} has no url")))?;
        let max_connections = settings.max_connections;
        let connections_per_tenant = max_connections.div_ceil(4);
        let database = DatabaseConfig { url, app_password: app_password.clone(), max_connections, connections_per_tenant };
        Ok(Cluster { name: name.clone(), region: settings.region.clone(), database })
    };
    config.clusters.iter().map(cluster).collect()
}

fn explained(failure: Failure, config: &Config, server: Option<&Server>) -> Failure {
    disk::explain(failure, config, server.map(Server::base), server.is_some_and(Server::has_run_out_of_room))
}

/// What one query may use, as configured.
fn budget(config: &granary_foundation::config::QueryConfig) -> Budget {
    Budget {
        memory_bytes: config.memory_bytes as u64,
        time: std::time::Duration::from_secs(config.timeout_seconds),
        rows: config.max_rows,
        files: config.max_files,
        ..Budget::default()
    }
}

/// Says once where the cluster lies when it cannot lie in the data directory: whoever removes the one must know the other.
fn tell_place(data_dir: &Path, base: &Path) -> Result<(), Failure> {
    let note = data_dir.join("postgres.place");
    if base.starts_with(data_dir) || note.exists() {
        return Ok(());
    }
    let [shown, both] = [base, data_dir].map(|path| shell_quoted(&path.to_string_lossy()));
    let text = format!(
        "the account that Postgres runs as cannot enter {both}, so that its files lie in {shown}\nto remove everything: rm -r {both} {shown}\n"
    );
    say!("{}", text.trim_end());
    Ok(std::fs::write(&note, text).named("write", &note)?)
}

/// Reads the password of the login without rights, or makes one.
fn password(path: &Path) -> Result<Secret, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Secret::new(text.trim())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let text = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
            let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
            file.and_then(|mut file| file.write_all(text.as_bytes())).named("write", path)?;
            Ok(Secret::new(text))
        }
        Err(error) => Ok(Err(error).named("read", path)?),
    }
}

/// A thing that a command names and that is not there.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Missing(pub(crate) String);

impl Classify for Missing {
    fn kind(&self) -> ErrorKind {
        ErrorKind::NotFound
    }

    fn code(&self) -> &'static str {
        "not_found"
    }
}

/// Asks every room's error type for the kind of a failure.
pub(crate) fn kind_of(failure: &(dyn std::error::Error + 'static)) -> Option<ErrorKind> {
    macro_rules! first_of {
        ($($error:ty),* $(,)?) => {
            $(if let Some(error) = failure.downcast_ref::<$error>() { return Some(error.kind()); })*
        };
    }
    first_of!(
        Usage,
        Missing,
        disk::DiskFull,
        granary_foundation::ConfigError,
        granary_db::DbError,
        granary_db::embedded::EmbeddedError,
        granary_vault::VaultError,
        granary_recovery::RecoveryError,
        granary_tenants::TenantsError,
        granary_access::AccessError,
        granary_notifications::NotificationError,
        granary_metering::MeteringError,
        granary_metering::veeam::VeeamError,
        granary_metering::sendense::SendenseError,
        granary_billing::BillingError,
        granary_lake::LakeError,
        granary_warehouse::WarehouseError,
        granary_doors::DoorError,
        granary_intelligence::IntelligenceError,
        granary_reconciliation::ReconciliationError,
        granary_reports::ReportError,
    );
    None
}
