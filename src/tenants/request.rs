//! Requests that are sent twice are done once: the key of a request and its answer are kept with what it did, in one
//! transaction.

use granary_foundation::Boxed;
use granary_vault::{Cell, Owner};
use jiff::{Timestamp, ToSpan};
use sha2::{Digest, Sha256};

use crate::catalog::Tenants;
use crate::error::TenantsError;
use crate::store;
use crate::transaction::MspTx;

/// Hours for which a key is remembered.
const KEPT_HOURS: i64 = 48;

/// A request with the key that its sender gave it.
#[derive(Debug, Clone)]
pub struct KeyedRequest {
    key: String,
    hash: [u8; 32],
}

/// An answer that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAnswer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl KeyedRequest {
    /// Describes a request: what it is about (method and path), and what was sent.
    ///
    /// # Errors
    /// When the key is not 1 to 255 printable ASCII characters.
    pub fn new(key: &str, about: &str, body: &[u8]) -> Result<Self, TenantsError> {
        if !(1..=255).contains(&key.len()) || !key.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(TenantsError::Invalid("an idempotency key is 1 to 255 printable ASCII characters"));
        }
        let hash = Sha256::new().chain_update(about).chain_update([0]).chain_update(body).finalize();
        Ok(Self { key: key.to_owned(), hash: hash.into() })
    }
}

/// Where an answer lies; the hash of the request stands for its row, so that it opens for that request alone.
const fn cell(request: &KeyedRequest) -> Cell<'_> {
    Cell::of("idempotency_keys", "sealed", &request.hash)
}

impl Tenants {
    /// Takes a request's key, or returns the answer that the same request was given before. Whoever sends it at the same time
    /// waits for the first; where the first rolls back, the second does the work.
    ///
    /// # Errors
    /// When the same sender used the key for another request.
    pub fn claim_request<'a>(&'a self, tx: &'a MspTx, request: &'a KeyedRequest) -> Boxed<'a, Result<Option<KeptAnswer>, TenantsError>> {
        Box::pin(async move {
            let (msp, actor) = (tx.msp().id, tx.actor().to_string());
            if store::insert_request(tx, msp, &actor, &request.key, &request.hash).await? {
                return Ok(None);
            }
            let (hash, status, sealed) = store::get_answer(tx, msp, &actor, &request.key).await?;
            if hash != request.hash {
                return Err(TenantsError::KeyReused);
            }
            let body = self.keys().open_column(Owner::Msp(msp), &sealed, cell(request)).await?;
            Ok(Some(KeptAnswer { status, body }))
        })
    }

    /// Keeps the answer to a request whose key was taken in the same transaction.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub fn keep_answer<'a>(
        &'a self,
        tx: &'a MspTx,
        request: &'a KeyedRequest,
        answer: &'a KeptAnswer,
    ) -> Boxed<'a, Result<(), TenantsError>> {
        Box::pin(async move {
            let (msp, actor) = (tx.msp().id, tx.actor().to_string());
            let sealed = self.keys().seal_column(Owner::Msp(msp), &answer.body, cell(request)).await?;
            store::update_answer(tx, msp, &actor, &request.key, answer.status, &sealed).await
        })
    }

    /// Forgets keys that are older than two days; returns how many there were.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub fn forget_requests<'a>(&'a self) -> Boxed<'a, Result<u64, TenantsError>> {
        Box::pin(async move {
            let before = self.clock().now().checked_sub(KEPT_HOURS.hours()).unwrap_or(Timestamp::MIN);
            let tx = self.begin_catalog().await?;
            let forgotten = store::delete_requests_before(&tx, before).await?;
            tx.commit().await?;
            Ok(forgotten)
        })
    }
}
