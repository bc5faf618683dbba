//! What is wrong with a database, asked of its catalog: that every wall stands, and that the server keeps what it is given.

use granary_db::{Database, Tx, TxSettings};
use granary_foundation::Boxed;
use serde::Serialize;

use crate::catalog::Tenants;
use crate::error::TenantsError;
use crate::placement::HOME;
use crate::silo::latest_version;
use crate::store::{self, Question, SiloRow};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A wall has a hole, or data may be lost.
    Fault,
    /// It works, and could be better.
    Advice,
}

/// One thing that is wrong, and what mends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub severity: Severity,
    pub cluster: String,
    /// The check that found it: `role_powers`, `rights_abroad`, …
    pub check: &'static str,
    /// What it is about: a role, a table, a setting.
    pub subject: String,
    pub found: String,
    /// A statement or a command.
    pub remedy: String,
}

/// What was looked at and what was found, faults first.
#[derive(Debug, Clone, Default)]
pub struct Inspection {
    pub checks: usize,
    pub silos: usize,
    pub findings: Vec<Finding>,
}

impl Inspection {
    /// Lists what is no mere advice.
    pub fn faults(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity == Severity::Fault)
    }
}

/// What is inspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inspected {
    /// The walls between tenants.
    Isolation,
    /// The walls, the server's settings, and whether every schema is up to date.
    Everything {
        /// Connections that this program may open.
        connections: usize,
    },
}

/// What the questions are asked about.
struct Expected<'a> {
    cluster: &'a str,
    prefix: String,
    schemas: Vec<String>,
    roles: Vec<String>,
    logins: Vec<String>,
    are_open: Vec<bool>,
}

impl<'a> Expected<'a> {
    fn of(cluster: &'a str, database: &Database, silos: &[SiloRow]) -> Result<Self, TenantsError> {
        let names = database.installation();
        let logins = silos.iter().map(|silo| Ok(names.bucket_login(silo.bucket)?.as_str().to_owned()));
        Ok(Self {
            cluster,
            prefix: names.prefix.clone(),
            schemas: silos.iter().map(|silo| silo.schema.clone()).collect(),
            roles: silos.iter().map(|silo| silo.role.clone()).collect(),
            logins: logins.collect::<Result<_, TenantsError>>()?,
            are_open: silos.iter().map(|silo| silo.schema_version > 0).collect(),
        })
    }

    async fn ask(&self, tx: &Tx, question: &Question, severity: Severity) -> Result<Vec<Finding>, TenantsError> {
        let get = TenantsError::column;
        let rows = tx.query(question.sql, &[&self.prefix, &self.schemas, &self.roles, &self.logins, &self.are_open]).await?;
        rows.iter()
            .map(|row| {
                Ok(Finding {
                    severity,
                    cluster: self.cluster.to_owned(),
                    check: question.check,
                    subject: row.try_get(0).map_err(get)?,
                    found: row.try_get(1).map_err(get)?,
                    remedy: row.try_get(2).map_err(get)?,
                })
            })
            .collect()
    }
}

impl Tenants {
    /// Asks the catalogs of all clusters for every fault that it knows to look for. Reads only.
    ///
    /// # Errors
    /// When Postgres refuses, or a cluster does not answer.
    pub fn inspect<'a>(&'a self, what: Inspected) -> Boxed<'a, Result<Inspection, TenantsError>> {
        Box::pin(async move {
            let mut inspection = Inspection::default();
            for cluster in std::iter::once(HOME).chain(self.clusters().others().map(|other| other.name.as_str())) {
                let tx = self.begin_catalog().await?;
                let silos = store::list_silos(&tx, cluster).await?;
                tx.commit().await?;
                self.inspect_cluster(cluster, &silos, what, &mut inspection).await?;
            }
            inspection.findings.sort_by_key(|finding| finding.severity);
            Ok(inspection)
        })
    }

    async fn inspect_cluster(
        &self,
        cluster: &str,
        silos: &[SiloRow],
        what: Inspected,
        inspection: &mut Inspection,
    ) -> Result<(), TenantsError> {
        let database = self.clusters().get(cluster).await?;
        let expected = Expected::of(cluster, database, silos)?;
        let tx = database.begin(&TxSettings::operator()).await?;
        let (server, advice) = match what {
            Inspected::Isolation => (&[][..], &store::ADVICE[..2]),
            Inspected::Everything { .. } => (store::SERVER, store::ADVICE),
        };
        let faults = store::ISOLATION.iter().chain(server).map(|question| (question, Severity::Fault));
        for (question, severity) in faults.chain(advice.iter().map(|question| (question, Severity::Advice))) {
            inspection.findings.extend(expected.ask(&tx, question, severity).await?);
            inspection.checks += 1;
        }
        if let Inspected::Everything { connections } = what {
            inspection.findings.extend(room_for(cluster, &tx, connections).await?);
            inspection.findings.extend(outdated(cluster, silos));
            inspection.checks += 2;
        }
        inspection.silos += silos.len();
        Ok(tx.commit().await?)
    }
}

/// Whether the server accepts as many connections as this program may open.
async fn room_for(cluster: &str, tx: &Tx, connections: usize) -> Result<Option<Finding>, TenantsError> {
    let room = store::connections_of_server(tx).await?;
    let wanted = i64::try_from(connections).unwrap_or(i64::MAX);
    Ok((room < wanted).then(|| Finding {
        severity: Severity::Fault,
        cluster: cluster.to_owned(),
        check: "connections",
        subject: "max_connections".to_owned(),
        found: format!("the server has room for {room} connections, this program may open {wanted}"),
        remedy: "raise max_connections of the server, or lower database.max_connections of the configuration".to_owned(),
    }))
}

/// Whether tenants' schemas are older than this program.
fn outdated(cluster: &str, silos: &[SiloRow]) -> Option<Finding> {
    let latest = latest_version();
    let older = silos.iter().filter(|silo| silo.schema_version > 0 && silo.schema_version < latest).count();
    (older > 0).then(|| Finding {
        severity: Severity::Advice,
        cluster: cluster.to_owned(),
        check: "versions",
        subject: format!("{older} of {} schemas", silos.len()),
        found: format!("are older than version {latest}"),
        remedy: "granary migrate; granary migrate --status says how far each is".to_owned(),
    })
}
