//! News that travels with the transaction that made it true.
//!
//! A transaction adds a message to the schema `outbox`; the relay moves it into `control.events`, once by its id, and queues
//! the jobs that the root's map names for its kind, all in one transaction.

use std::collections::HashMap;

use granary_foundation::Event;
use granary_types::{CustomerId, MspId};
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::database::Database;
use crate::error::DbError;
use crate::jobs::{self, NewJob};
use crate::settings::TxSettings;
use crate::store::{cluster, outbox as store};
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

/// What an event makes: the root's map.
pub type JobsFor<'a> = dyn Fn(&Arrived) -> Vec<NewJob> + Send + Sync + 'a;

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
pub async fn relay(db: &Database, jobs_for: &JobsFor<'_>) -> Result<u64, DbError> {
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
            arrive(&tx, &event, jobs_for).await?;
        }
        tx.commit().await?;
        moved += messages.len() as u64;
        if (messages.len() as i64) < BATCH {
            return Ok(moved);
        }
    }
}

/// Moves the messages that wait in another cluster's outbox into the home's control schema. They are taken from there when
/// they have arrived here: killed in between, they come again, and an event arrives once by its id.
///
/// # Errors
/// When one of the two refuses.
pub async fn relay_from(from: &Database, home: &Database, jobs_for: &JobsFor<'_>) -> Result<u64, DbError> {
    let mut moved = 0;
    loop {
        let there = from.begin(&TxSettings::operator()).await?;
        let messages = there.query(cluster::TAKE_MESSAGES, &[&BATCH]).await?;
        let here = home.begin(&TxSettings::operator()).await?;
        let roles = messages.iter().map(|row| row.try_get("role_name")).collect::<Result<Vec<String>, _>>()?;
        let mut writers = HashMap::new();
        for row in here.query(cluster::LIST_WRITERS, &[&roles]).await? {
            writers.insert(row.try_get::<_, String>(0)?, (row.try_get::<_, CustomerId>(1)?, row.try_get::<_, MspId>(2)?));
        }
        for (row, role) in messages.iter().zip(&roles) {
            let (customer, msp) = writers.get(role).copied().unzip();
            let (id, kind, payload) = (row.try_get("id")?, row.try_get("kind")?, row.try_get("payload")?);
            arrive(&here, &Arrived { id, kind, msp, customer, payload, emitted_at: row.try_get("emitted_at")? }, jobs_for).await?;
        }
        here.commit().await?;
        there.commit().await?;
        moved += messages.len() as u64;
        if (messages.len() as i64) < BATCH {
            return Ok(moved);
        }
    }
}

/// Enters an event, and queues its jobs when it had not arrived before.
async fn arrive(tx: &Tx, event: &Arrived, jobs_for: &JobsFor<'_>) -> Result<(), DbError> {
    let Arrived { id, kind, msp, customer, payload, emitted_at } = event;
    let is_new = tx.execute(store::INSERT_EVENT, &[id, kind, msp, customer, payload, emitted_at, &tx.now()]).await? == 1;
    if is_new {
        for job in jobs_for(event) {
            jobs::enqueue(tx, &job).await?;
        }
    }
    Ok(())
}
