//! Work that comes round. A slot is claimed by whoever inserts it first; there is no leader.

use std::time::Duration;

use jiff::Timestamp;

use crate::error::DbError;
use crate::jobs::queue::{NewJob, enqueue};
use crate::store::jobs as store;
use crate::tx::Tx;

/// A job that is queued once in every period.
#[derive(Debug, Clone)]
pub struct Cron {
    /// Stable: it is part of the slot's key.
    pub name: &'static str,
    pub period: Duration,
    /// From the period's beginning, counted from 1970 in UTC: a day and an hour is "every day at 01:00".
    pub offset: Duration,
    pub job: NewJob,
}

impl Cron {
    /// Returns the beginning of the slot that an instant lies in.
    pub fn slot_at(&self, now: Timestamp) -> Timestamp {
        let period = i64::try_from(self.period.as_secs()).unwrap_or(i64::MAX).max(1);
        let offset = i64::try_from(self.offset.as_secs()).unwrap_or(0);
        let slot = (now.as_second() - offset).div_euclid(period) * period + offset;
        Timestamp::from_second(slot).unwrap_or(now)
    }

    /// Queues the job if nobody has done so in this slot; tells whether it did. A slot that was slept through is not made up.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn tick(&self, tx: &Tx, now: Timestamp) -> Result<bool, DbError> {
        let is_first = tx.execute(store::INSERT_CRON_SLOT, &[&self.name, &self.slot_at(now), &now]).await? == 1;
        if is_first {
            enqueue(tx, &self.job).await?;
        }
        Ok(is_first)
    }
}
