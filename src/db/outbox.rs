//! News that travels with the transaction that made it true.
//!
//! A transaction adds a message to the schema `outbox`; the relay moves it into `control.events`, once by its id, and queues
//! the jobs that the root's map names for its kind, all in one transaction.

use granary_foundation::Event;
use granary_types::{CustomerId, MspId};
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::database::Database;
use crate::error::DbError;
use crate::jobs::{self, NewJob};
use crate::settings::TxSettings;
use crate::store::outbox as store;
use crate::tx::Tx;

/// How many messages one transaction of the relay moves.
const BATCH: i64 = 500;

/// An event that has arrived in the control schema.
#[derive(Debug, Clone)]
pub struct Arrived {
    pub id: Uuid,
    pub kind: String,
    pub msp: Option<MspId>,
    /// The customer whose role wrote the message.
    pub customer: Option<CustomerId>,
    pub payload: Value,
    pub emitted_at: Timestamp,
}

/// Adds an event to the outbox; a tenant's transaction names no MSP, an MSP's names itself. `tenants` calls this.
///
/// # Errors
/// When Postgres refuses, or the event cannot be written as JSON.
pub async fn emit<E: Event>(tx: &Tx, msp: Option<MspId>, event: &E) -> Result<(), DbError> {
    let payload = serde_json::to_value(event).map_err(|error| DbError::Payload { kind: E::KIND, message: error.to_string() })?;
    tx.execute(store::INSERT_MESSAGE, &[&Uuid::now_v7(), &E::KIND, &msp, &payload, &tx.now()]).await?;
    Ok(())
}

/// Moves all waiting messages and queues what `jobs_for` makes of each; returns how many were moved.
///
/// # Errors
/// When Postgres refuses; what had been moved in earlier batches stays moved.
pub async fn relay(db: &Database, jobs_for: &(dyn Fn(&Arrived) -> Vec<NewJob> + Send + Sync)) -> Result<u64, DbError> {
    let mut moved = 0;
    loop {
        let tx = db.begin(&TxSettings::operator()).await?;
        let messages = tx.query(store::TAKE_MESSAGES, &[&BATCH]).await?;
        for row in &messages {
            let event = Arrived {
                id: row.try_get("id")?,
                kind: row.try_get("kind")?,
                msp: row.try_get("msp_id")?,
                customer: row.try_get("customer_id")?,
                payload: row.try_get("payload")?,
                emitted_at: row.try_get("emitted_at")?,
            };
            let Arrived { id, kind, msp, customer, payload, emitted_at } = &event;
            let is_new = tx.execute(store::INSERT_EVENT, &[id, kind, msp, customer, payload, emitted_at, &tx.now()]).await? == 1;
            if is_new {
                for job in jobs_for(&event) {
                    jobs::enqueue(&tx, &job).await?;
                }
            }
        }
        tx.commit().await?;
        moved += messages.len() as u64;
        if (messages.len() as i64) < BATCH {
            return Ok(moved);
        }
    }
}
