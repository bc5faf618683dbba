//! Reading a chain again: whatever was edited, deleted, reordered or cut off is found and named.
//!
//! A record vouches for itself (its digest), for its place (the sequence is in it) and for the record before it. That the end is
//! the end is vouched for by the head row and, when both were wound back, by the signed checkpoints.

use std::collections::BTreeMap;
use std::fmt;

use granary_db::{AuditChain, AuditKey, AuditKeys, Tx, TxSettings, words_digest};
use granary_foundation::{Boxed, SharedProgress};
use granary_types::CustomerStatus;
use granary_vault::{Owner, Signature};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::{Checkpoint, Head, Stored};
use crate::catalog::Tenants;
use crate::customer::Customer;
use crate::error::TenantsError;
use crate::msp::Msp;
use crate::scope::{Actor, TenantScope};
use crate::store;

/// Records that are read at once.
const PAGE: i64 = 2_000;
/// The version of a silo from which on it has a chain.
const FIRST_CHAINED: i32 = 7;
/// Damaged records that are compared with one another to see whether they changed places.
const COMPARED: usize = 100;

/// What is wrong with a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditFault {
    /// A record does not say what it said.
    Edited { sequence: i64 },
    /// A record stands at another place than it was written at.
    Moved { sequence: i64, written_at: i64 },
    /// Records in the middle are gone.
    Deleted { from: i64, to: i64 },
    /// Records at the end are gone.
    Truncated { from: i64, to: i64, known_by: String },
    /// A record is whole, and was written behind another one than stands before it.
    Unlinked { sequence: i64 },
    /// The head row does not say where the chain ends.
    Head { says: i64, ends: i64 },
    /// What is from before the chain was changed, or something was written past the chain.
    Older { counted: i64, found: i64 },
    /// A record is not the one that was signed.
    Contradicted { sequence: i64, checkpoint: i64 },
    /// A checkpoint was not signed by the chain's owner.
    Unsigned { checkpoint: i64 },
    /// A checkpoint is gone.
    CheckpointDeleted { checkpoint: i64 },
    /// The whole chain is gone.
    Gone,
}

impl fmt::Display for AuditFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Edited { sequence } => write!(f, "record {sequence} was edited"),
            Self::Moved { sequence, written_at } => write!(f, "record {sequence} was reordered: it was written as record {written_at}"),
            Self::Deleted { from, to } if from == to => write!(f, "record {from} was deleted"),
            Self::Deleted { from, to } => write!(f, "records {from} to {to} were deleted"),
            Self::Truncated { from, to, known_by } => {
                write!(f, "the log was truncated: records {from} to {to} are gone, as {known_by} tells")
            }
            Self::Unlinked { sequence } => write!(f, "record {sequence} does not follow the record before it"),
            Self::Head { says, ends } => write!(f, "the head was edited: it says {says}, the log ends with record {ends}"),
            Self::Older { counted, found } if counted == found => {
                write!(f, "one of the {counted} entries from before the chain was edited")
            }
            Self::Older { counted, found } => {
                write!(f, "{found} entries stand outside the chain, {counted} did when it began")
            }
            Self::Contradicted { sequence, checkpoint } => {
                write!(f, "record {sequence} is another one than checkpoint {checkpoint} signed")
            }
            Self::Unsigned { checkpoint } => write!(f, "checkpoint {checkpoint} was edited: its signature is not the owner's"),
            Self::CheckpointDeleted { checkpoint } => write!(f, "checkpoint {checkpoint} was deleted"),
            Self::Gone => f.write_str("the chain is gone: nothing says where the log ends"),
        }
    }
}

impl Serialize for AuditFault {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a chain was found to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AuditReport {
    /// The MSP's code, `installation` without one.
    pub msp: String,
    /// The customer in whose silo the chain lies.
    pub customer: Option<String>,
    pub records: i64,
    /// Entries from before the chain: who did what and when is covered since it began, their words are not.
    pub older: i64,
    /// Records whose words went with an erased customer.
    pub blanked: i64,
    pub checkpoints: usize,
    pub faults: Vec<AuditFault>,
}

/// A chain while it is read.
pub(crate) struct Verification<'a> {
    key: &'a AuditKey,
    /// Digest of the record before; what the first one follows at the beginning.
    end: Vec<u8>,
    last: i64,
    is_sure_of_end: bool,
    blanked: i64,
    damaged: Vec<Stored>,
    /// What was signed, by sequence.
    signed: BTreeMap<i64, (i64, Vec<u8>)>,
    faults: Vec<AuditFault>,
}

impl<'a> Verification<'a> {
    /// Begins with what was there before the chain, and with what was signed of it.
    pub(crate) fn new(key: &'a AuditKey, head: &Head, (found, found_digest): (i64, Option<Vec<u8>>), signed: &[&Checkpoint]) -> Self {
        let signed = signed.iter().map(|one| (one.claim.sequence, (one.claim.number, one.claim.digest.clone()))).collect();
        let mut faults = Vec::new();
        if found != head.older || found_digest != head.older_digest {
            faults.push(AuditFault::Older { counted: head.older, found });
        }
        let end = key.genesis(head.older, head.older_digest.as_deref());
        Self { key, end, last: 0, is_sure_of_end: true, blanked: 0, damaged: Vec::new(), signed, faults }
    }

    /// Reads the next record.
    pub(crate) fn take(&mut self, stored: Stored) {
        let sequence = stored.record.sequence;
        let is_next = sequence == self.last + 1;
        if !is_next {
            self.faults.push(AuditFault::Deleted { from: self.last + 1, to: sequence - 1 });
        }
        let is_whole = self.key.digest(&stored.record) == stored.digest && self.has_its_words(&stored);
        if is_whole {
            if is_next && self.is_sure_of_end && stored.record.previous_digest != self.end {
                self.faults.push(AuditFault::Unlinked { sequence });
            }
            if let Some((checkpoint, digest)) = self.signed.get(&sequence)
                && *digest != stored.digest
            {
                self.faults.push(AuditFault::Contradicted { sequence, checkpoint: *checkpoint });
            }
        }
        (self.last, self.is_sure_of_end) = (sequence, is_whole);
        self.end.clone_from(&stored.digest);
        if !is_whole {
            self.damaged.push(stored);
        }
    }

    fn has_its_words(&mut self, stored: &Stored) -> bool {
        let Stored { record, salt, subject, detail, reason, may_be_blank, .. } = stored;
        if let Some(salt) = salt {
            return words_digest(salt, subject, detail, reason.as_deref()) == record.words_digest;
        }
        self.blanked += 1;
        let blank = record.customer.map(|customer| format!("customer:{customer}"));
        *may_be_blank && Some(subject) == blank.as_ref() && *detail == json!({}) && reason.is_none()
    }

    /// Compares the end with what is known of it, and returns what was wrong, in the order of the records.
    pub(crate) fn finish(mut self, head: &Head) -> (Vec<AuditFault>, i64) {
        for stored in &self.damaged {
            let sequence = stored.record.sequence;
            let others = self.damaged.iter().take(COMPARED).map(|other| other.record.sequence).filter(|other| *other != sequence);
            let was_at = |place: &i64| {
                let record = granary_db::AuditRecord { sequence: *place, ..stored.record.clone() };
                self.key.digest(&record) == stored.digest
            };
            let written_at = others.into_iter().find(was_at);
            self.faults.push(match written_at {
                Some(written_at) => AuditFault::Moved { sequence, written_at },
                None => AuditFault::Edited { sequence },
            });
        }
        let checkpoint = self.signed.iter().next_back().map(|(sequence, (number, _))| (*sequence, format!("checkpoint {number}")));
        let known = [(head.sequence, "the head".to_owned())].into_iter().chain(checkpoint).max_by_key(|(sequence, _)| *sequence);
        match known {
            Some((to, known_by)) if to > self.last => self.faults.push(AuditFault::Truncated { from: self.last + 1, to, known_by }),
            _ => {}
        }
        let is_end = head.sequence == self.last && (self.last == 0 || head.digest.as_ref() == Some(&self.end));
        if !is_end && head.sequence <= self.last && self.is_sure_of_end {
            self.faults.push(AuditFault::Head { says: head.sequence, ends: self.last });
        }
        (self.faults, self.last)
    }
}

impl Tenants {
    /// Reads the installation's chain again.
    ///
    /// # Errors
    /// When the control schema or the key store fails.
    pub fn verify_installation_audit<'a>(&'a self) -> Boxed<'a, Result<AuditReport, TenantsError>> {
        Box::pin(self.verify_control(AuditChain::Installation, "installation".to_owned()))
    }

    /// Reads the chain of an MSP again, then those of its customers' silos, or of one of them.
    ///
    /// # Errors
    /// When the control schema, the key store or a silo fails.
    pub fn verify_audit<'a>(
        &'a self,
        msp: &'a Msp,
        only: Option<&'a Customer>,
        actor: Actor,
        progress: &'a SharedProgress,
    ) -> Boxed<'a, Result<Vec<AuditReport>, TenantsError>> {
        Box::pin(async move {
            // The MSP's own always: it says which swaps of silos there were.
            let mut reports = vec![self.verify_control(AuditChain::Msp(msp.id), msp.code.clone()).await?];
            let customers = match only {
                Some(customer) => vec![customer.clone()],
                None => self.list_customers(msp.id).await?,
            };
            progress.begin("reading audit logs", customers.len() as u64);
            for customer in customers {
                if customer.status != CustomerStatus::Erased && customer.schema_version > 0 {
                    let scope = TenantScope::for_job(msp.clone(), customer, actor);
                    reports.extend(self.verify_silo(&scope).await?);
                }
                progress.advance(1);
            }
            progress.end();
            Ok(reports)
        })
    }

    async fn verify_control(&self, chain: AuditChain, msp: String) -> Result<AuditReport, TenantsError> {
        let checkpoints = self.checkpoints_of(chain).await?;
        let tx = self.db().begin(&TxSettings::operator().snapshot()).await?;
        let report = self.verify_chain(&tx, chain, &checkpoints, None).await?;
        tx.commit().await?;
        Ok(AuditReport { msp, ..report })
    }

    /// Reads the chain of a silo again; none of one whose schema has no chain yet.
    async fn verify_silo(&self, scope: &TenantScope) -> Result<Option<AuditReport>, TenantsError> {
        let chain = AuditChain::Silo { msp: scope.msp.id, customer: scope.customer.id };
        let checkpoints = self.checkpoints_of(chain).await?;
        let tx = self.begin_catalog().await?;
        let swapped_at = store::find_last_swap(&tx, scope.customer.id).await?;
        tx.commit().await?;
        let tx = self.begin_tenant_snapshot(scope).await?;
        let report = if store::has_chain(&tx).await? {
            self.verify_chain(&tx, chain, &checkpoints, swapped_at).await?
        } else if checkpoints.is_empty() && scope.customer.schema_version < FIRST_CHAINED {
            tx.commit().await?;
            return Ok(None);
        } else {
            AuditReport { checkpoints: checkpoints.len(), faults: vec![AuditFault::Gone], ..AuditReport::default() }
        };
        tx.commit().await?;
        Ok(Some(AuditReport { msp: scope.msp.code.clone(), customer: Some(scope.customer.code.to_string()), ..report }))
    }

    /// Read before the log: one that is made meanwhile must not speak of records that are not seen yet.
    async fn checkpoints_of(&self, chain: AuditChain) -> Result<Vec<Checkpoint>, TenantsError> {
        let tx = self.begin_catalog().await?;
        let checkpoints = store::list_checkpoints(&tx, chain.id()).await?;
        tx.commit().await?;
        Ok(checkpoints)
    }

    async fn verify_chain(
        &self,
        tx: &Tx,
        chain: AuditChain,
        checkpoints: &[Checkpoint],
        swapped_at: Option<Timestamp>,
    ) -> Result<AuditReport, TenantsError> {
        let key = self.keys().audit_key(chain).await?;
        let mut faults = self.check_signatures(chain, checkpoints).await?;
        // What was signed before a copy took the silo's place speaks of the log that left.
        let in_force: Vec<&Checkpoint> =
            checkpoints.iter().filter(|one| swapped_at.is_none_or(|swapped| one.claim.made_at > swapped)).collect();
        let head = store::find_head(tx, chain).await?;
        // Its first record is that it was added.
        if head.is_none() && matches!(chain, AuditChain::Msp(_)) {
            faults.push(AuditFault::Gone);
        }
        let head = head.unwrap_or(Head { sequence: 0, digest: None, older: 0, older_digest: None });
        let older = store::count_older(tx, chain).await?;
        let count = older.0;
        let mut verification = Verification::new(&key, &head, older, &in_force);
        let mut records = 0;
        loop {
            let page = store::list_records(tx, chain, verification.last, PAGE).await?;
            records += i64::try_from(page.len()).unwrap_or(i64::MAX);
            let is_last = page.len() < usize::try_from(PAGE).unwrap_or(usize::MAX);
            page.into_iter().for_each(|stored| verification.take(stored));
            if is_last {
                break;
            }
        }
        let blanked = verification.blanked;
        faults.extend(verification.finish(&head).0);
        let report =
            AuditReport { msp: String::new(), customer: None, records, older: count, blanked, checkpoints: checkpoints.len(), faults };
        Ok(report)
    }

    async fn check_signatures(&self, chain: AuditChain, checkpoints: &[Checkpoint]) -> Result<Vec<AuditFault>, TenantsError> {
        if checkpoints.is_empty() {
            return Ok(Vec::new());
        }
        let public_key = self.keys().public_key(Owner::of_chain(chain)).await?;
        let (mut faults, mut expected) = (Vec::new(), 1);
        for Checkpoint { claim, signature } in checkpoints {
            faults.extend((expected..claim.number).map(|checkpoint| AuditFault::CheckpointDeleted { checkpoint }));
            if !(Signature { public_key: public_key.clone(), bytes: signature.clone() }).covers(&claim.message()) {
                faults.push(AuditFault::Unsigned { checkpoint: claim.number });
            }
            expected = claim.number + 1;
        }
        Ok(faults)
    }
}
