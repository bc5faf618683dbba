//! Putting records at the end of a chain, under its head row.

use jiff::Timestamp;
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{AuditChain, AuditEntry, AuditKey, AuditRecord, words_digest};
use crate::error::DbError;
use crate::owner::OwnerConnection;
use crate::store::audit as store;
use crate::tx::Tx;

/// The version of a silo's schema from which on its log is a chain.
const FIRST_CHAINED: i32 = 7;

/// Where a chain is written: in a transaction, or in one that the owner of a silo has open.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    Tx(&'a Tx),
    Owner(&'a OwnerConnection),
}

impl Place<'_> {
    async fn query_one(self, sql: &'static str, params: &[&(dyn ToSql + Sync)]) -> Result<Row, DbError> {
        match self {
            Self::Tx(tx) => tx.query_one(sql, params).await,
            Self::Owner(owner) => owner.query_one(sql, params).await,
        }
    }

    async fn execute(self, sql: &'static str, params: &[&(dyn ToSql + Sync)]) -> Result<u64, DbError> {
        match self {
            Self::Tx(tx) => tx.execute(sql, params).await,
            Self::Owner(owner) => owner.execute(sql, params).await,
        }
    }
}

/// The columns of records, one below the other.
#[derive(Default)]
struct Columns<'a> {
    customers: Vec<Option<Uuid>>,
    actors: Vec<&'a str>,
    actions: Vec<&'a str>,
    subjects: Vec<&'a str>,
    details: Vec<&'a Value>,
    reasons: Vec<Option<&'a str>>,
    instants: Vec<Timestamp>,
    sequences: Vec<i64>,
    salts: Vec<Vec<u8>>,
    words: Vec<Vec<u8>>,
    previous: Vec<Vec<u8>>,
    digests: Vec<Vec<u8>>,
}

/// Appends entries to a chain. What a silo from before the chain takes, it takes as it did.
pub(super) async fn append(
    place: Place<'_>,
    chain: AuditChain,
    key: &AuditKey,
    entries: &[(AuditEntry, Timestamp)],
) -> Result<(), DbError> {
    let head = match chain {
        AuditChain::Silo { .. } => {
            if !is_chained(place).await? {
                return insert_unchained(place, entries).await;
            }
            place.query_one(store::LOCK_SILO_HEAD, &[]).await?
        }
        AuditChain::Installation | AuditChain::Msp(_) => place.query_one(store::LOCK_HEAD, &[&chain.id(), &chain.msp()]).await?,
    };
    let (first, stored): (i64, Option<Vec<u8>>) = (head.try_get("sequence")?, head.try_get("digest")?);
    let genesis = key.genesis(head.try_get("older")?, head.try_get::<_, Option<&[u8]>>("older_digest")?);
    let columns = Columns::make(key, entries, first, stored.unwrap_or(genesis))?;
    let (last, end) = (columns.sequences.last().copied().unwrap_or(first), columns.digests.last());
    let Columns { customers, actors, actions, subjects, details, reasons, instants, sequences, salts, words, previous, .. } = &columns;
    let digests = &columns.digests;
    match chain {
        AuditChain::Silo { .. } => {
            place
                .execute(
                    store::APPEND_IN_SILO,
                    &[actors, actions, subjects, details, reasons, instants, sequences, salts, words, previous, digests, &last, &end],
                )
                .await?
        }
        AuditChain::Installation | AuditChain::Msp(_) => {
            let (id, msp) = (chain.id(), chain.msp());
            place
                .execute(
                    store::APPEND,
                    &[
                        actors, actions, subjects, details, reasons, instants, sequences, salts, words, previous, digests, &last, &end,
                        &id, &msp, customers,
                    ],
                )
                .await?
        }
    };
    Ok(())
}

/// Whether the silo's schema has a chain. The lock sees to it that no migration comes in between.
async fn is_chained(place: Place<'_>) -> Result<bool, DbError> {
    if matches!(place, Place::Tx(tx) if tx.version() >= FIRST_CHAINED) {
        return Ok(true);
    }
    if place.query_one(store::HAS_HEAD, &[]).await?.try_get(0)? {
        return Ok(true);
    }
    place.execute(store::LOCK_SILO_LOG, &[]).await?;
    Ok(place.query_one(store::HAS_HEAD, &[]).await?.try_get(0)?)
}

async fn insert_unchained(place: Place<'_>, entries: &[(AuditEntry, Timestamp)]) -> Result<(), DbError> {
    for (entry, at) in entries {
        let AuditEntry { actor, action, subject, detail, reason, .. } = entry;
        place.execute(store::INSERT_UNCHAINED, &[actor, action, subject, detail, reason, at]).await?;
    }
    Ok(())
}

impl<'a> Columns<'a> {
    fn make(key: &AuditKey, entries: &'a [(AuditEntry, Timestamp)], mut sequence: i64, mut end: Vec<u8>) -> Result<Self, DbError> {
        let mut columns = Self::default();
        for (entry, at) in entries {
            sequence += 1;
            // What Postgres keeps of an instant.
            let at = Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(*at);
            let salt = Uuid::new_v4().into_bytes().to_vec();
            let words = words_digest(&salt, &entry.subject, &entry.detail, entry.reason.as_deref());
            let record = AuditRecord {
                sequence,
                customer: entry.customer,
                actor: entry.actor.clone(),
                action: entry.action.clone(),
                happened_at: at,
                words_digest: words,
                previous_digest: end,
            };
            end = key.digest(&record);
            columns.customers.push(entry.customer.map(granary_types::CustomerId::uuid));
            columns.actors.push(&entry.actor);
            columns.actions.push(&entry.action);
            columns.subjects.push(&entry.subject);
            columns.details.push(&entry.detail);
            columns.reasons.push(entry.reason.as_deref());
            columns.instants.push(at);
            columns.sequences.push(sequence);
            columns.salts.push(salt);
            columns.words.push(record.words_digest);
            columns.previous.push(record.previous_digest);
            columns.digests.push(end.clone());
        }
        Ok(columns)
    }
}
