//! Copies of silos, for support and staging: what they are, how they are looked into, and how they end.

use granary_db::{AuditEntry, DbError, Identifier, Tx, TxSettings, record_audit};
use granary_foundation::Boxed;
use granary_types::{CustomerCode, CustomerId, MspId};
use granary_vault::Owner;
use jiff::{Timestamp, ToSpan};
use serde_json::{Map, Value, json};

use super::GATE;
use crate::catalog::Tenants;
use crate::error::TenantsError;
use crate::leaving::destroy;
use crate::person::{self, Mention, PersonAddress};
use crate::scope::Actor;
use crate::store;

/// Rows of one answer.
const MOST_ROWS: usize = 100_000;
/// Bytes of one answer.
const MOST_BYTES: usize = 256 << 20;

/// Where the rows of a copy come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloneSource {
    /// The customer's silo as it was.
    Silo,
    /// A dump of the customer's silo.
    Dump,
    /// A dump of another customer's silo, or of another installation.
    Foreign,
}

impl CloneSource {
    /// Returns the word of the control schema.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Silo => "silo",
            Self::Dump => "dump",
            Self::Foreign => "foreign",
        }
    }

    pub(crate) fn of_word(word: &str) -> Result<Self, TenantsError> {
        let known = [Self::Silo, Self::Dump, Self::Foreign].into_iter().find(|source| source.as_str() == word);
        known.ok_or_else(|| TenantsError::Stored(format!("'{word}' is no source of a copy")))
    }
}

/// What whoever drops a copy takes it for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drops {
    /// A copy, and nothing that was ever worked with.
    Copy,
    /// Also what the customer's silo was before a copy took its place.
    ReplacedSilo,
}

/// A copy of a customer's silo. It is no customer: nobody bills, exports or reports it, no control plane and no user reaches it. It
/// has a schema, a role and a key of its own, ends on a day, and dies with its parent.
#[derive(Debug, Clone)]
pub struct SiloClone {
    /// Also the owner of its keys.
    pub id: CustomerId,
    pub parent: CustomerId,
    pub parent_code: CustomerCode,
    pub msp_id: MspId,
    pub code: CustomerCode,
    pub schema_name: String,
    pub role_name: String,
    pub bucket: i32,
    pub cluster: String,
    /// Zero until it is complete.
    pub schema_version: i32,
    pub has_personal_data: bool,
    pub source: CloneSource,
    /// Since when it is what the customer's silo was, because what was copied took its place.
    pub swapped_at: Option<Timestamp>,
    pub reason: String,
    pub made_by: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

impl SiloClone {
    /// Tells whether every row has arrived.
    pub const fn is_complete(&self) -> bool {
        self.schema_version > 0
    }

    /// What is over is nobody's to use, until the night drops it.
    pub(super) fn check_days(&self, now: Timestamp) -> Result<(), TenantsError> {
        if self.is_over(now) {
            return Err(TenantsError::Unfit(format!(
                "the days of {} were over at {:.0}: the next night drops it",
                self.code, self.expires_at
            )));
        }
        Ok(())
    }

    /// Tells whether its days are over.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.expires_at <= now
    }

    /// What the audit log says happened to it, at its parent's place.
    pub(super) fn audit(&self, action: &str, actor: Actor, detail: Value, reason: &str) -> AuditEntry {
        AuditEntry {
            msp: Some(self.msp_id),
            customer: Some(self.parent),
            actor: actor.to_string(),
            action: action.to_owned(),
            subject: format!("clone:{}", self.code),
            detail,
            reason: Some(reason.to_owned()),
        }
    }
}

/// What a question to a copy found.
#[derive(Debug, Clone, Default)]
pub struct CloneAnswer {
    pub columns: Vec<String>,
    pub rows: Vec<Map<String, Value>>,
}

impl Tenants {
    /// Lists an MSP's copies by parent and code: all, or those that a code names, the parent's or their own.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub fn list_clones<'a>(&'a self, msp: MspId, code: Option<&'a CustomerCode>) -> Boxed<'a, Result<Vec<SiloClone>, TenantsError>> {
        Box::pin(async move {
            let tx = self.begin_catalog().await?;
            let clones = store::list_clones(&tx, msp, code.map(CustomerCode::as_str)).await?;
            tx.commit().await?;
            Ok(clones)
        })
    }

    /// Returns a copy by its code.
    ///
    /// # Errors
    /// When the MSP has none of that code.
    pub fn get_clone<'a>(&'a self, msp: MspId, code: &'a CustomerCode) -> Boxed<'a, Result<SiloClone, TenantsError>> {
        Box::pin(async move {
            let tx = self.begin_catalog().await?;
            let clone = store::find_clone_by_code(&tx, msp, code).await?;
            tx.commit().await?;
            clone.ok_or_else(|| TenantsError::UnknownClone(code.clone()))
        })
    }

    /// Measures copies on disk, in bytes; one whose schema is not there is left out.
    ///
    /// # Errors
    /// When a cluster does not answer.
    pub fn clone_sizes<'a>(&'a self, clones: &'a [SiloClone]) -> Boxed<'a, Result<Vec<(CustomerId, i64)>, TenantsError>> {
        Box::pin(async move {
            let mut clusters: Vec<&str> = clones.iter().map(|clone| clone.cluster.as_str()).collect();
            clusters.sort_unstable();
            clusters.dedup();
            let mut sizes = Vec::new();
            for cluster in clusters {
                let there = || clones.iter().filter(|clone| clone.cluster == cluster);
                let schemas: Vec<&str> = there().map(|clone| clone.schema_name.as_str()).collect();
                let owner = self.clusters().get(cluster).await?.owner().await?;
                for (schema, size) in store::sizes_of(&owner, &schemas).await? {
                    sizes.extend(there().find(|clone| clone.schema_name == schema).map(|clone| (clone.id, size)));
                }
                owner.give_back().await;
            }
            Ok(sizes)
        })
    }

    /// Returns where a cluster's server listens: directory of the socket, port, database and the owner's login.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn address_of<'a>(&'a self, cluster: &'a str) -> Boxed<'a, Result<[String; 4], TenantsError>> {
        Box::pin(async move {
            let owner = self.clusters().get(cluster).await?.owner().await?;
            let address = store::address_of(&owner).await?;
            owner.give_back().await;
            Ok(address)
        })
    }

    /// Answers a question in SQL to a copy: as the copy's role, in its schema alone, in a transaction that cannot write. Who asked
    /// what is in the audit log before the answer is.
    ///
    /// # Errors
    /// When the copy is not complete, the statement is wrong, or the answer is too large.
    pub fn query_clone<'a>(&'a self, clone: &'a SiloClone, sql: &'a str, actor: Actor) -> Boxed<'a, Result<CloneAnswer, TenantsError>> {
        Box::pin(async move {
            if !clone.is_complete() {
                return Err(TenantsError::Unfinished(clone.code.clone()));
            }
            clone.check_days(self.clock().now())?;
            let tx = self.begin_catalog().await?;
            record_audit(&tx, &clone.audit("clone.query", actor, json!({"sql": sql}), &clone.reason)).await?;
            tx.commit().await?;
            let question = sql.trim().trim_end_matches(';');
            let tx = self.begin_clone(clone).await?;
            let columns = read(&tx, &store::columns_of(question)).await?;
            let columns: Vec<String> = columns.trim_end_matches('\n').split('\u{2}').map(|name| name.replace('\u{1}', "")).collect();
            if columns.iter().enumerate().any(|(at, name)| columns[..at].contains(name)) {
                return Err(TenantsError::Invalid("two columns of the answer have the same name: rename one of them with as"));
            }
            let text = read(&tx, &store::rows_of(question, MOST_ROWS + 1)).await?;
            tx.commit().await?;
            let rows = text.lines().map(serde_json::from_str).collect::<Result<Vec<_>, _>>().map_err(TenantsError::column)?;
            if rows.len() > MOST_ROWS {
                return Err(TenantsError::Invalid("the answer has more than 100,000 rows: ask for less"));
            }
            Ok(CloneAnswer { columns, rows })
        })
    }

    /// Lists the rows of a copy that name an address; none of one that is not complete.
    ///
    /// # Errors
    /// When its cluster does not answer.
    pub fn list_mentions_in_clone<'a>(
        &'a self,
        clone: &'a SiloClone,
        address: &'a PersonAddress,
    ) -> Boxed<'a, Result<Vec<Mention>, TenantsError>> {
        Box::pin(async move {
            if !clone.is_complete() {
                return Ok(Vec::new());
            }
            let tx = self.begin_clone(clone).await?;
            let found = person::mentions(&tx, address).await?;
            tx.commit().await?;
            Ok(found)
        })
    }

    /// Begins a transaction as a copy's role, in its schema alone, that cannot write.
    async fn begin_clone(&self, clone: &SiloClone) -> Result<Tx, TenantsError> {
        let name = |name: &str| Identifier::new(name).map_err(DbError::from);
        let settings = TxSettings::tenant(name(&clone.schema_name)?, name(&clone.role_name)?, clone.bucket)
            .through_gate(name(GATE)?)
            .at_version(clone.schema_version)
            .snapshot();
        Ok(self.clusters().get(&clone.cluster).await?.begin(&settings).await?)
    }

    /// Destroys a copy: its key, its schema and its role. Killed on the way it is finished by the next call.
    ///
    /// # Errors
    /// When its cluster does not answer, a legal hold stands on its customer, or it is what the customer's silo was and `drops` does
    /// not say so.
    pub fn drop_clone<'a>(
        &'a self,
        clone: &'a SiloClone,
        drops: Drops,
        reason: &'a str,
        actor: Actor,
    ) -> Boxed<'a, Result<(), TenantsError>> {
        Box::pin(async move {
            let is_wanted = |clone: &SiloClone, _| match clone.swapped_at {
                Some(at) if drops == Drops::Copy => Err(TenantsError::Unfit(format!(
                    "{} is what the silo of {} was until {at:.0}, and no copy: it is kept until {:.0}, or dropped with --replaced-silo",
                    clone.code, clone.parent_code, clone.expires_at
                ))),
                _ => Ok(true),
            };
            self.take_down(clone.id, reason, actor, is_wanted).await
        })
    }

    /// Drops the copies whose days are over, and those that nobody completed within a day. Returns those that could not be
    /// dropped.
    ///
    /// # Errors
    /// When the control schema cannot be read.
    pub fn end_clones<'a>(&'a self, actor: Actor) -> Boxed<'a, Result<Vec<(CustomerCode, TenantsError)>, TenantsError>> {
        Box::pin(async move {
            let tx = self.begin_catalog().await?;
            let over = store::list_clones_over(&tx, forsaken_before(tx.now())).await?;
            tx.commit().await?;
            let mut failed = Vec::new();
            for clone in over {
                let is_over = |clone: &SiloClone, now: Timestamp| {
                    Ok(clone.is_over(now) || (!clone.is_complete() && clone.created_at <= forsaken_before(now)))
                };
                match self.take_down(clone.id, "its days are over", actor, is_over).await {
                    // It lives as long as the hold does.
                    Ok(()) | Err(TenantsError::OnHold(..)) => {}
                    Err(error) => failed.push((clone.code, error)),
                }
            }
            Ok(failed)
        })
    }

    /// Waits for whoever works on a copy, and destroys it if that is still wanted.
    async fn take_down(
        &self,
        id: CustomerId,
        reason: &str,
        actor: Actor,
        is_wanted: impl Fn(&SiloClone, Timestamp) -> Result<bool, TenantsError>,
    ) -> Result<(), TenantsError> {
        let Some(clone) = self.find_clone(id).await? else { return Ok(()) };
        let owner = self.clusters().get(&clone.cluster).await?.another_owner().await?;
        owner.lock(&clone.schema_name).await?;
        let Some(clone) = self.find_clone(id).await? else { return Ok(()) };
        if !is_wanted(&clone, self.clock().now())? {
            return Ok(());
        }
        if let Some(hold) = self.hold_on(clone.parent).await? {
            return Err(TenantsError::OnHold(hold.set_at, hold.reason));
        }
        self.keys().destroy(Owner::Customer(id)).await?;
        destroy(&owner, &clone.schema_name, &clone.role_name).await?;
        let tx = self.begin_catalog().await?;
        store::delete_clone(&tx, id).await?;
        record_audit(&tx, &clone.audit("clone.drop", actor, json!({"cluster": clone.cluster}), reason)).await?;
        Ok(tx.commit().await?)
    }

    pub(super) async fn find_clone(&self, id: CustomerId) -> Result<Option<SiloClone>, TenantsError> {
        let tx = self.begin_catalog().await?;
        let clone = store::find_clone(&tx, id).await?;
        tx.commit().await?;
        Ok(clone)
    }
}

/// Whoever began a copy before and has not completed it has forgotten it.
fn forsaken_before(now: Timestamp) -> Timestamp {
    now.checked_sub(24.hours()).unwrap_or(Timestamp::MIN)
}

/// Reads what a copy sends.
async fn read(tx: &Tx, copy: &str) -> Result<String, TenantsError> {
    use futures::TryStreamExt;
    let mut stream = std::pin::pin!(tx.copy_out(copy).await?);
    let mut text = Vec::new();
    while let Some(chunk) = stream.try_next().await.map_err(DbError::from)? {
        text.extend_from_slice(&chunk);
        if text.len() > MOST_BYTES {
            return Err(TenantsError::Invalid("the answer has more than 256 MiB: ask for less"));
        }
    }
    String::from_utf8(text).map_err(TenantsError::column)
}
