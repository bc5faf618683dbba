//! The steps of an erasure that belong to this room.

use granary_db::{OwnerConnection, TxSettings};
use granary_foundation::Boxed;
use granary_types::{CustomerCode, CustomerId, MspId};
use granary_vault::Owner;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use super::certificate::{Certificate, KIND};
use crate::catalog::Tenants;
use crate::error::TenantsError;
use crate::lifecycle::{Extent, LifecycleStep, StepFailure, Subject};
use crate::placement::SiloClone;
use crate::silo::SiloNames;
use crate::store;

/// An erasure, under way or complete.
#[derive(Debug, Clone)]
pub struct Erasure {
    pub customer: CustomerId,
    /// The code that the customer had.
    pub code: CustomerCode,
    pub reason: String,
    pub requested_by: String,
    pub started_at: Timestamp,
    pub findings: Value,
    pub certificate: Option<Certificate>,
    pub finished_at: Option<Timestamp>,
}

impl Tenants {
    /// Notes what a step of an erasure is about to destroy or to keep; what was noted first stays.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub fn note_finding<'a>(&'a self, customer: CustomerId, step: &'a str, found: &'a Value) -> Boxed<'a, Result<(), TenantsError>> {
        Box::pin(async move {
            let tx = self.begin_catalog().await?;
            store::note_finding(&tx, customer, step, found).await?;
            Ok(tx.commit().await?)
        })
    }

    /// Finds the last erasure of the customer that had a code.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub fn find_erasure<'a>(&'a self, msp: MspId, code: &'a CustomerCode) -> Boxed<'a, Result<Option<Erasure>, TenantsError>> {
        Box::pin(async move {
            let tx = self.begin_catalog().await?;
            let erasure = store::find_erasure_by_code(&tx, msp, code).await?;
            tx.commit().await?;
            Ok(erasure)
        })
    }

    /// Returns the public key, in hexadecimal digits, that checks what an MSP signed.
    ///
    /// # Errors
    /// When the MSP has no keys.
    pub fn public_key<'a>(&'a self, msp: MspId) -> Boxed<'a, Result<String, TenantsError>> {
        Box::pin(async move { Ok(hex::encode(self.keys().sign(Owner::Msp(msp), b"").await?.public_key)) })
    }

    /// Finds the erasure of a customer.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub fn erasure_of<'a>(&'a self, customer: CustomerId) -> Boxed<'a, Result<Option<Erasure>, TenantsError>> {
        Box::pin(async move {
            let tx = self.begin_catalog().await?;
            let erasure = store::find_erasure(&tx, customer).await?;
            tx.commit().await?;
            Ok(erasure)
        })
    }
}

macro_rules! destroys {
    ($name:literal) => {
        fn name(&self) -> &'static str {
            $name
        }

        /// What was destroyed does not come back.
        fn undo<'a>(&'a self, _subject: &'a Subject) -> Boxed<'a, Result<(), StepFailure>> {
            Box::pin(async { Err(TenantsError::Irrevocable.into()) })
        }
    };
}

/// Opens the record that the other steps write their findings into.
#[derive(Debug)]
pub struct BeginErasure;

impl LifecycleStep for BeginErasure {
    destroys!("record");

    fn perform<'a>(&'a self, subject: &'a Subject) -> Boxed<'a, Result<(), StepFailure>> {
        Box::pin(async move {
            let tx = subject.tenants.begin_catalog().await?;
            store::insert_erasure(&tx, subject.customer.id).await?;
            Ok(tx.commit().await?)
        })
    }

    fn verify<'a>(&'a self, subject: &'a Subject) -> Boxed<'a, Result<Extent, StepFailure>> {
        Box::pin(async move {
            let tx = subject.tenants.begin_catalog().await?;
            let has_begun = store::has_erasure(&tx, subject.customer.id).await?;
            tx.commit().await?;
            Ok(Extent::of([has_begun]))
        })
    }
}

/// Destroys the customer's keys: every file and sealed value becomes noise, wherever a copy of it lies.
#[derive(Debug)]
pub struct DestroyKeys;

impl LifecycleStep for DestroyKeys {
    destroys!("keys");

    fn perform<'a>(&'a self, subject: &'a Subject) -> Boxed<'a, Result<(), StepFailure>> {
        Box::pin(async move {
            let keys = subject.tenants.keys();
            let present = keys.present(Owner::Customer(subject.customer.id)).await?.into_iter().filter(|is_there| *is_there).count();
            subject.tenants.note_finding(subject.customer.id, "keys", &json!({"keys": present})).await?;
            for clone in clones_of(subject).await? {
                keys.destroy(Owner::Customer(clone.id)).await?;
            }
            Ok(keys.destroy(Owner::Customer(subject.customer.id)).await?)
        })
    }

    fn verify<'a>(&'a self, subject: &'a Subject) -> Boxed<'a, Result<Extent, StepFailure>> {
        Box::pin(async move {
            let present = subject.tenants.keys().present(Owner::Customer(subject.customer.id)).await?;
            Ok(Extent::of(present.into_iter().map(|is_there| !is_there)))
        })
    }
}

/// The copies of the customer's silo, which die with it.
async fn clones_of(subject: &Subject) -> Result<Vec<SiloClone>, TenantsError> {
    let tx = subject.tenants.begin_catalog().await?;
    let clones = store::list_clones_of(&tx, subject.customer.id).await?;
    tx.commit().await?;
    Ok(clones)
}

/// Drops schema and role of the silo and of its copies, and the news that the role left behind.
#[derive(Debug)]
pub struct DropSilo;

impl DropSilo {
    /// Counts tables and rows; none when the silo is gone.
    async fn count(tenants: &Tenants, cluster: &str, schema: &str, role: &str) -> Result<Option<(usize, i64)>, TenantsError> {
        let owner: OwnerConnection = tenants.clusters().get(cluster).await?.owner().await?;
        owner.lock(schema).await?;
        let names = SiloNames::new(schema, role)?;
        if !store::has_schema(&owner, &names.schema).await? {
            return Ok(None);
        }
        let mut rows = 0;
        let tables = store::list_tables(&owner, &names.schema).await?;
        for table in &tables {
            rows += store::digest(&owner, &table.digest(&names.schema)).await?.0;
        }
        Ok(Some((tables.len(), rows)))
    }
}

/// Drops schema and role of a silo or a copy, whose lock the caller holds, and the news that the role left behind; what is not
/// there is fine.
pub(crate) async fn destroy(owner: &OwnerConnection, schema: &str, role: &str) -> Result<(), TenantsError> {
    let names = SiloNames::new(schema, role)?;
    store::delete_news(owner, role).await?;
    owner.batch(&store::drop_schemas(&[&names.schema])).await?;
    store::drop_role(owner, role).await
}

impl Tenants {
    async fn destroy_silo(&self, cluster: &str, schema: &str, role: &str) -> Result<(), TenantsError> {
        let owner: OwnerConnection = self.clusters().get(cluster).await?.owner().await?;
        owner.lock(schema).await?;
        destroy(&owner, schema, role).await
    }
}

impl LifecycleStep for DropSilo {
    destroys!("silo");

    fn perform<'a>(&'a self, subject: &'a Subject) -> Boxed<'a, Result<(), StepFailure>> {
        Box::pin(async move {
            let (tenants, customer) = (&subject.tenants, &subject.customer);
            let (cluster, schema, role) = (&customer.cluster, &customer.schema_name, &customer.role_name);
            let clones = clones_of(subject).await?;
            if let Some((tables, rows)) = Self::count(tenants, cluster, schema, role).await? {
                let found = json!({"cluster": cluster, "schema": schema, "role": role, "tables": tables, "rows": rows,
                    "copies": clones.len()});
                tenants.note_finding(customer.id, "silo", &found).await?;
            }
            for clone in clones {
                tenants.destroy_silo(&clone.cluster, &clone.schema_name, &clone.role_name).await?;
            }
            Ok(tenants.destroy_silo(cluster, schema, role).await?)
        })
    }

    fn verify<'a>(&'a self, subject: &'a Subject) -> Boxed<'a, Result<Extent, StepFailure>> {
        Box::pin(async move {
            let customer = &subject.customer;
            let own = (customer.cluster.clone(), customer.schema_name.clone(), customer.role_name.clone());
            let copies = clones_of(subject).await?.into_iter().map(|clone| (clone.cluster, clone.schema_name, clone.role_name));
            let mut gone = Vec::new();
            for (cluster, schema, role) in std::iter::once(own).chain(copies) {
                let tx = subject.tenants.clusters().get(&cluster).await?.begin(&TxSettings::operator()).await?;
                // Schema and role; the other parts follow from them.
                let parts = store::look_at_silo(&tx, &schema, &role).await?;
                tx.commit().await?;
                gone.extend(parts.into_iter().take(2).map(|is_there| !is_there));
            }
            Ok(Extent::of(gone))
        })
    }
}

/// Deletes the customer from the control schema, and leaves a row without name or code that kept invoices refer to.
#[derive(Debug)]
pub struct BuryCustomer;

impl BuryCustomer {
    fn code(customer: CustomerId) -> String {
        format!("ERASED-{}", &customer.uuid().simple().to_string()[20..]).to_uppercase()
    }
}

impl LifecycleStep for BuryCustomer {
    destroys!("control");

    fn perform<'a>(&'a self, subject: &'a Subject) -> Boxed<'a, Result<(), StepFailure>> {
        Box::pin(async move {
            let id = subject.customer.id;
            let erasure = subject.tenants.erasure_of(id).await?.ok_or(TenantsError::UnknownCustomer(id))?;
            let tx = subject.tenants.begin_catalog().await?;
            let rows = store::forget(&tx, id).await?;
            store::bury(&tx, id, erasure.code.as_str(), &Self::code(id)).await?;
            store::note_finding(&tx, id, "control", &json!({"rows": rows})).await?;
            Ok(tx.commit().await?)
        })
    }

    fn verify<'a>(&'a self, subject: &'a Subject) -> Boxed<'a, Result<Extent, StepFailure>> {
        Box::pin(async move {
            let tx = subject.tenants.begin_catalog().await?;
            let parts = store::look_at_grave(&tx, subject.customer.id, &Self::code(subject.customer.id)).await?;
            tx.commit().await?;
            Ok(Extent::of(parts))
        })
    }
}

/// Says in a signed document what was destroyed and what was kept.
#[derive(Debug)]
pub struct IssueCertificate {
    /// For how many days backups of the key store are kept: until then they hold wrapped keys of the customer.
    pub backup_days: u32,
}

impl LifecycleStep for IssueCertificate {
    destroys!("certificate");

    fn perform<'a>(&'a self, subject: &'a Subject) -> Boxed<'a, Result<(), StepFailure>> {
        Box::pin(async move {
            let id = subject.customer.id;
            let erasure = subject.tenants.erasure_of(id).await?.ok_or(TenantsError::UnknownCustomer(id))?;
            let tx = subject.tenants.begin_catalog().await?;
            let kept = store::kept_invoices(&tx, id).await?;
            let now = tx.now();
            let forgotten_on = now.to_zoned(jiff::tz::TimeZone::UTC).date().saturating_add(i64::from(self.backup_days).days());
            let statement = json!({
                "kind": KIND,
                "msp": {"code": subject.msp.code, "name": subject.msp.name},
                "customer": {"id": id, "code": erasure.code},
                "reason": erasure.reason,
                "requested_by": erasure.requested_by,
                "requested_at": erasure.started_at,
                "erased_at": now,
                "destroyed": erasure.findings,
                "kept": {
                    "invoices": kept.iter().map(|(number, _)| number).collect::<Vec<_>>(),
                    "until": kept.iter().map(|(_, until)| *until).max(),
                    "how": "sealed under the key of the MSP",
                },
                "backups": {"last_with_wrapped_keys_expires_on": forgotten_on, "kept_for_days": self.backup_days},
            });
            let signature = subject.tenants.keys().sign(Owner::Msp(subject.msp.id), &Certificate::message(&statement)).await?;
            let certificate = serde_json::to_string(&Certificate::new(statement, &signature)).map_err(TenantsError::column)?;
            store::finish_erasure(&tx, id, &certificate).await?;
            Ok(tx.commit().await?)
        })
    }

    fn verify<'a>(&'a self, subject: &'a Subject) -> Boxed<'a, Result<Extent, StepFailure>> {
        Box::pin(async move {
            let erasure = subject.tenants.erasure_of(subject.customer.id).await?;
            let is_proven = erasure.and_then(|erasure| erasure.certificate).is_some_and(|certificate| certificate.check().is_ok());
            Ok(Extent::of([is_proven]))
        })
    }
}
