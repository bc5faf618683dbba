//! What must exist before the house can work: schemas, group roles, the app's login, the control schema's tables.
//!
//! Roles belong to the whole cluster, therefore their names carry the installation's id.

use granary_foundation::Secret;
use refinery::Target;
use uuid::Uuid;

use crate::error::DbError;
use crate::owner::OwnerConnection;
use crate::settings::Identifier;
use crate::store::{cluster, installation as store};

mod migrations {
    refinery::embed_migrations!("../../platform-migrations");
}

/// The names of this installation's roles.
#[derive(Debug, Clone)]
pub struct InstallationNames {
    pub id: Uuid,
    /// What every role's name begins with.
    pub prefix: String,
    /// The login that may become the four roles below that belong to no tenant. Like every login it has no right of its own.
    pub app_role: Identifier,
    /// Every tenant's role is a member: it may add to the outbox.
    pub tenants_role: Identifier,
    pub msp_role: Identifier,
    pub operator_role: Identifier,
    pub access_role: Identifier,
    pub keystore_role: Identifier,
}

impl InstallationNames {
    fn of(id: Uuid) -> Result<Self, DbError> {
        let prefix = format!("granary_{}", &id.simple().to_string()[..12]);
        let name = |suffix: &str| Identifier::new(format!("{prefix}_{suffix}"));
        Ok(Self {
            id,
            app_role: name("app")?,
            tenants_role: name("tenants")?,
            msp_role: name("msp")?,
            operator_role: name("operator")?,
            access_role: name("access")?,
            keystore_role: name("keystore")?,
            prefix,
        })
    }

    /// Returns the role of one tenant: `granary_<installation>_t_<id>`.
    ///
    /// # Errors
    /// Never for an id; the name is vetted all the same.
    pub fn tenant_role(&self, id: Uuid) -> Result<Identifier, DbError> {
        Ok(Identifier::new(format!("{}_t_{}", self.prefix, id.simple()))?)
    }

    /// Returns the login of one bucket: `granary_<installation>_b<number>`. It may become the roles of the bucket's tenants.
    ///
    /// # Errors
    /// Never for a number above zero; the name is vetted all the same.
    pub fn bucket_login(&self, bucket: i32) -> Result<Identifier, DbError> {
        Ok(Identifier::new(format!("{}_b{bucket}", self.prefix))?)
    }

    fn groups(&self) -> impl Iterator<Item = &Identifier> {
        self.doors().into_iter().chain([&self.tenants_role])
    }

    /// The roles that the app's own login may become.
    fn doors(&self) -> [&Identifier; 4] {
        [&self.msp_role, &self.operator_role, &self.access_role, &self.keystore_role]
    }
}

/// Prepares the database, one process at a time, and tells the names. Done again it changes nothing.
pub(crate) async fn prepare(owner: &mut OwnerConnection, now: jiff::Timestamp) -> Result<InstallationNames, DbError> {
    check_version(owner).await?;
    owner.lock(store::PREPARE_LOCK).await?;
    check_age(owner).await?;
    owner.batch(store::CREATE_SCHEMAS).await?;
    owner.set_path(&Identifier::new("control")?).await?;
    owner.migrate(&migrations::migrations::runner().set_target(Target::Version(1)), "control").await?;
    owner.execute(store::INSERT_INSTALLATION, &[&Uuid::new_v4(), &now]).await?;
    let names = InstallationNames::of(owner.query_one(store::GET_INSTALLATION, &[]).await?.try_get(0)?)?;

    let applied = owner.migrate(&migrations::migrations::runner().set_grouped(true), "control").await?;
    let known: i64 = owner.query_one(store::COUNT_ROLES, &[&names.prefix]).await?.try_get(0)?;
    if applied > 0 || known < 6 {
        for role in names.groups() {
            owner.execute_formatted(store::CREATE_GROUP, &[&role.as_str()]).await?;
        }
        owner.execute(store::SECURE, &[&names.prefix]).await?;
        owner.batch(store::REVOKE_DANGEROUS).await?;
    }
    Ok(names)
}

/// Opens a connection of the owner and tells which migrations the control schema lacks. Changes nothing.
///
/// # Errors
/// When the server does not answer.
pub async fn plan_control(url: &Secret) -> Result<(OwnerConnection, Vec<refinery::Migration>), DbError> {
    let owner = OwnerConnection::connect(url).await?;
    check_age(&owner).await?;
    let mut applied = Vec::new();
    if owner.query_one(store::HAS_HISTORY, &[]).await?.try_get(0)? {
        for row in owner.query(store::LIST_APPLIED, &[]).await? {
            applied.push(row.try_get::<_, i32>(0)?);
        }
    }
    let mut missing = migrations::migrations::runner().get_migrations().clone();
    missing.retain(|migration| !applied.contains(&migration.version()));
    missing.sort();
    Ok((owner, missing))
}

async fn check_version(owner: &OwnerConnection) -> Result<(), DbError> {
    let version: i32 = owner.query_one(store::SERVER_VERSION, &[]).await?.try_get(0)?;
    if version < 150_000 { Err(DbError::ServerTooOld((version / 10_000).to_string())) } else { Ok(()) }
}

/// Refuses a control schema that a newer program has changed: this one does not know what it says.
async fn check_age(owner: &OwnerConnection) -> Result<(), DbError> {
    if !owner.query_one(store::HAS_HISTORY, &[]).await?.try_get::<_, bool>(0)? {
        return Ok(());
    }
    let found: i32 = owner.query_one(store::NEWEST_APPLIED, &[]).await?.try_get(0)?;
    let known = migrations::migrations::runner().get_migrations().iter().map(refinery::Migration::version).max().unwrap_or_default();
    if found > known { Err(DbError::SchemaNewer { found, known }) } else { Ok(()) }
}

/// Prepares a cluster for the silos of an installation. Done again it changes nothing.
pub(crate) async fn prepare_cluster(owner: &OwnerConnection, names: &InstallationNames, name: &str) -> Result<InstallationNames, DbError> {
    check_version(owner).await?;
    owner.lock(store::PREPARE_LOCK).await?;
    if owner.query_one(cluster::IS_HOME, &[]).await?.try_get(0)? {
        return Err(DbError::OtherCluster { name: name.to_owned(), found: "a home, with a control schema".to_owned() });
    }
    for role in names.groups() {
        owner.execute_formatted(store::CREATE_GROUP, &[&role.as_str()]).await?;
    }
    owner.batch(cluster::CREATE).await?;
    owner.execute(cluster::JOIN, &[&names.id, &name]).await?;
    let membership = owner.query_one(cluster::MEMBERSHIP, &[]).await?;
    let (installation, cluster): (Uuid, String) = (membership.try_get(0)?, membership.try_get(1)?);
    if (installation, cluster.as_str()) != (names.id, name) {
        return Err(DbError::OtherCluster { name: name.to_owned(), found: format!("cluster {cluster} of installation {installation}") });
    }
    owner.execute_formatted(cluster::SECURE, &[&names.tenants_role.as_str(), &names.operator_role.as_str()]).await?;
    owner.batch(store::REVOKE_DANGEROUS).await?;
    Ok(names.clone())
}

/// Sees to it that the app's own login is there and may become the roles that belong to no tenant.
pub(crate) async fn prepare_app(owner: &OwnerConnection, names: &InstallationNames, password: &Secret) -> Result<(), DbError> {
    prepare_login(owner, &names.app_role, password).await?;
    let app = names.app_role.as_str();
    for door in names.doors() {
        if owner.query_opt(store::FIND_MEMBERSHIP, &[&door.as_str(), &app]).await?.is_none() {
            owner.execute_formatted(store::GRANT_ROLE, &[&door.as_str(), &app]).await?;
        }
    }
    Ok(())
}

/// Makes a login with what holds when a transaction says nothing. One that is there is left as it is.
pub(crate) async fn prepare_login(owner: &OwnerConnection, login: &Identifier, password: &Secret) -> Result<(), DbError> {
    if owner.query_opt(store::FIND_ROLE, &[&login.as_str()]).await?.is_none() {
        owner.execute_formatted(store::CREATE_LOGIN, &[&login.as_str(), &password.reveal()]).await?;
    }
    Ok(())
}

/// Makes a login that the server refused accept our password. A role belongs to the cluster: it is only touched when the
/// password that we hold does not open the door.
pub(crate) async fn mend_login(owner: &OwnerConnection, login: &Identifier, password: &Secret) -> Result<(), DbError> {
    prepare_login(owner, login, password).await?;
    owner.execute_formatted(store::SET_PASSWORD, &[&login.as_str(), &password.reveal()]).await
}
