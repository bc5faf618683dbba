//! Drift: schemas that are not what their version should be, because somebody changed them by hand.
//!
//! What a version should be is not written down anywhere: it is made, in a transaction that is undone, by the migrations
//! themselves. One query over the catalog then gives a fingerprint of every schema; only those that differ are looked at.

use std::collections::{BTreeMap, HashMap};

use granary_db::OwnerConnection;
use granary_foundation::Boxed;
use granary_types::CustomerCode;
use uuid::Uuid;

use super::Fleet;
use crate::error::TenantsError;
use crate::silo::{SiloNames, run_migrations};
use crate::store::{self, Silo};

/// Schemas whose differences are named; beyond that it is enough that they differ.
const NAMED: usize = 50;
/// Differences that are named of one schema.
const NAMED_OF_ONE: usize = 20;

/// A schema that is not what its version should be.
#[derive(Debug, Clone)]
pub struct Drifted {
    pub msp: String,
    pub code: CustomerCode,
    pub version: i32,
    /// `column machines.os is missing`, one entry a difference.
    pub differences: Vec<String>,
}

/// What a look at the fleet found.
#[derive(Debug, Clone, Default)]
pub struct DriftReport {
    pub checked: u64,
    pub drifted: Vec<Drifted>,
    /// Clusters that could not be looked at, and why.
    pub unseen: Vec<(String, String)>,
}

/// What was seen of one schema.
struct Seen {
    silo: Silo,
    fingerprint: Option<i64>,
    differences: Vec<String>,
}

impl Fleet {
    /// Compares every schema with what its version should be, and notes the outcome.
    ///
    /// # Errors
    /// When a cluster does not answer, or the control schema cannot be read or written.
    pub fn find_drift<'a>(&'a self, only: Option<&'a CustomerCode>) -> Boxed<'a, Result<DriftReport, TenantsError>> {
        Box::pin(async move {
            let tx = self.tenants().begin_catalog().await?;
            let silos = store::list_versions(&tx, self.version(), only.map(CustomerCode::as_str)).await?;
            tx.commit().await?;
            let mut report = DriftReport::default();
            let mut seen = Vec::with_capacity(silos.len());
            for of_one_cluster in silos.chunk_by(|one, other| one.cluster == other.cluster) {
                match self.look_at_cluster(of_one_cluster).await {
                    Ok(found) => seen.extend(found),
                    Err(error) => report.unseen.push((of_one_cluster[0].cluster.clone(), error.to_string())),
                }
            }
            self.leave_out_migrated(&mut seen).await?;
            self.record_seen(&seen).await?;
            report.checked = seen.len() as u64;
            report.drifted = seen
                .into_iter()
                .filter(|seen| !seen.differences.is_empty())
                .map(|Seen { silo, differences, .. }| Drifted { msp: silo.msp, code: silo.code, version: silo.version, differences })
                .collect();
            Ok(report)
        })
    }

    /// Leaves out who differs because somebody migrated it meanwhile.
    async fn leave_out_migrated(&self, seen: &mut Vec<Seen>) -> Result<(), TenantsError> {
        if seen.iter().all(|seen| seen.differences.is_empty()) {
            return Ok(());
        }
        let tx = self.tenants().begin_catalog().await?;
        let now: HashMap<_, _> =
            store::list_versions(&tx, i32::MAX, None).await?.into_iter().map(|silo| (silo.id, (silo.version, silo.cluster))).collect();
        tx.commit().await?;
        seen.retain(|seen| {
            seen.differences.is_empty()
                || now.get(&seen.silo.id).is_some_and(|(version, cluster)| (*version, cluster) == (seen.silo.version, &seen.silo.cluster))
        });
        Ok(())
    }

    /// Looks at the silos of one cluster, ordered by version: the reference grows from one to the next.
    async fn look_at_cluster(&self, silos: &[Silo]) -> Result<Vec<Seen>, TenantsError> {
        let Some(first) = silos.first() else { return Ok(Vec::new()) };
        let database = self.tenants().clusters().get(&first.cluster).await?;
        let owner = database.another_owner().await?;
        let suffix = Uuid::new_v4().simple().to_string();
        let role = format!("{}_ref_{}", database.installation().prefix, &suffix[..12]);
        let reference = SiloNames::new(&format!("reference_{}", &suffix[..12]), &role)?;
        owner.batch(&reference.fill(store::OPEN_REFERENCE)).await?;
        let mut seen = Vec::with_capacity(silos.len());
        let mut reached = 0;
        for of_one_version in silos.chunk_by(|one, other| one.version == other.version) {
            let version = of_one_version[0].version;
            let missing: Vec<_> =
                self.migrations().iter().filter(|migration| (reached + 1..=version).contains(&migration.version())).cloned().collect();
            run_migrations(&owner, &reference, &missing).await?;
            reached = version;
            seen.extend(compare(&owner, &reference, of_one_version).await?);
        }
        owner.batch("rollback").await?;
        Ok(seen)
    }

    async fn record_seen(&self, seen: &[Seen]) -> Result<(), TenantsError> {
        let ids: Vec<_> = seen.iter().map(|seen| seen.silo.id).collect();
        let fingerprints: Vec<_> = seen.iter().map(|seen| seen.fingerprint).collect();
        let drifts: Vec<_> = seen.iter().map(|seen| (!seen.differences.is_empty()).then(|| seen.differences.join("; "))).collect();
        let tx = self.tenants().begin_catalog().await?;
        store::record_fingerprints(&tx, &ids, &fingerprints, &drifts).await?;
        Ok(tx.commit().await?)
    }
}

/// Compares silos of one version with the reference, all in one query, and names what differs.
async fn compare(owner: &OwnerConnection, reference: &SiloNames, silos: &[Silo]) -> Result<Vec<Seen>, TenantsError> {
    let own = (reference.schema.as_str(), reference.role.as_str());
    let schemas: Vec<&str> = silos.iter().map(|silo| silo.schema_name.as_str()).chain([own.0]).collect();
    let roles: Vec<&str> = silos.iter().map(|silo| silo.role_name.as_str()).chain([own.1]).collect();
    owner.batch(store::LOOK_OVER_ALL).await?;
    let fingerprints: HashMap<String, i64> = store::list_fingerprints(owner, &schemas, &roles).await?.into_iter().collect();
    owner.batch(store::LOOK_CLOSER).await?;
    let expected = fingerprints.get(own.0).copied();
    let mut model: Option<BTreeMap<_, _>> = None;
    let mut named = 0;
    let mut seen = Vec::with_capacity(silos.len());
    for silo in silos {
        let fingerprint = fingerprints.get(&silo.schema_name).copied();
        let mut differences = Vec::new();
        if fingerprint.is_none() {
            differences.push("the schema is missing".to_owned());
        } else if fingerprint != expected && named >= NAMED {
            differences.push("it differs".to_owned());
        } else if fingerprint != expected {
            if model.is_none() {
                model = Some(store::describe_schema(owner, own.0, own.1).await?.into_iter().collect());
            }
            let found = store::describe_schema(owner, &silo.schema_name, &silo.role_name).await?.into_iter().collect();
            differences = model.as_ref().map(|model| name_differences(model, &found)).unwrap_or_default();
            named += usize::from(!differences.is_empty());
        }
        // One that was described alike is alike: only the way in which Postgres stores its expressions differs.
        let fingerprint = if differences.is_empty() { expected } else { fingerprint };
        seen.push(Seen { silo: silo.clone(), fingerprint, differences });
    }
    Ok(seen)
}

/// Names what is missing, what nobody expected, and what looks different.
fn name_differences(expected: &BTreeMap<(String, String), String>, found: &BTreeMap<(String, String), String>) -> Vec<String> {
    let mut named = Vec::new();
    for ((kind, name), detail) in expected {
        match found.get(&(kind.clone(), name.clone())) {
            None => named.push(format!("{kind} {name} is missing")),
            Some(other) if other != detail => named.push(format!("{kind} {name} is '{}' instead of '{}'", short(other), short(detail))),
            Some(_) => {}
        }
    }
    named.extend(found.keys().filter(|part| !expected.contains_key(part)).map(|(kind, name)| format!("{kind} {name} is no part of it")));
    if named.len() > NAMED_OF_ONE {
        let more = named.len() - NAMED_OF_ONE;
        named.truncate(NAMED_OF_ONE);
        named.push(format!("and {more} more"));
    }
    named
}

/// On one line, and not longer than a line.
fn short(detail: &str) -> String {
    let words = detail.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.chars().count() <= 120 { words } else { words.chars().take(119).chain(['…']).collect() }
}
