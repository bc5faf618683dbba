//! Calls of customers' programs, counted without a write per call.
//!
//! A process counts in memory, per customer and billing day, and writes the sums that it has come to since it began, every few seconds
//! and at its end, in one statement per MSP. A row belongs to one process and only ever becomes larger: writing it again changes
//! nothing, so that an answer that got lost counts nobody twice. A crash loses what was counted since the last write.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use granary_foundation::Boxed;
use granary_tenants::{Msp, MspScope, Tenants};
use granary_types::{CustomerId, MspId, day_of};
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use uuid::Uuid;

use crate::error::MeteringError;
use crate::store;

/// How often a process writes what it counted.
pub const FLUSH_SECONDS: u64 = 5;

/// What a process has counted; clones share it.
#[derive(Debug, Clone)]
pub struct ApiCalls {
    process: Uuid,
    counts: Arc<Mutex<Counts>>,
}

/// Calls by customer and day.
type Sums = Vec<(CustomerId, Date, i64)>;

#[derive(Debug, Default)]
struct Counts {
    /// Since the process began, and how much of it is written.
    by_day: HashMap<(MspId, CustomerId, Date), (i64, i64)>,
    msps: HashMap<MspId, Msp>,
}

impl Default for ApiCalls {
    fn default() -> Self {
        Self { process: Uuid::now_v7(), counts: Arc::default() }
    }
}

impl ApiCalls {
    /// Counts a call of a customer's program, on the MSP's day.
    pub fn count(&self, msp: &Msp, customer: CustomerId, at: Timestamp) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.by_day.entry((msp.id, customer, day_of(at, &msp.time_zone))).or_default().0 += 1;
        counts.msps.entry(msp.id).or_insert_with(|| msp.clone());
    }

    /// Writes what is not written yet; returns how many calls that were. What fails is written with the next.
    ///
    /// # Errors
    /// When Postgres refuses or does not answer.
    pub fn flush<'a>(&'a self, tenants: &'a Tenants) -> Boxed<'a, Result<i64, MeteringError>> {
        Box::pin(async move {
            let mut written = 0;
            for (msp, due) in self.due() {
                let tx = tenants.begin_msp(&MspScope::for_job(msp.clone(), "api-calls")).await?;
                store::control::upsert_api_calls(&tx, self.process, &due).await?;
                tx.commit().await?;
                written += self.note_written(msp.id, &due);
            }
            Ok(written)
        })
    }

    /// Returns the sums that grew since they were written, by MSP.
    fn due(&self) -> Vec<(Msp, Sums)> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let due = counts.msps.values().map(|msp| {
            let grown = counts.by_day.iter().filter(|((of, _, _), (count, written))| *of == msp.id && count > written);
            (msp.clone(), grown.map(|((_, customer, day), (count, _))| (*customer, *day, *count)).collect::<Sums>())
        });
        due.filter(|(_, due)| !due.is_empty()).collect()
    }

    fn note_written(&self, msp: MspId, due: &[(CustomerId, Date, i64)]) -> i64 {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sum = 0;
        for (customer, day, count) in due {
            if let Some((_, written)) = counts.by_day.get_mut(&(msp, *customer, *day)) {
                sum += count - *written;
                *written = (*written).max(*count);
            }
        }
        // A day that is over everywhere gets no more calls.
        let newest = counts.by_day.keys().map(|(_, _, day)| *day).max();
        let is_over = |day: Date| newest.is_some_and(|newest| day < newest.saturating_sub(2.days()));
        counts.by_day.retain(|(_, _, day), (count, written)| count > written || !is_over(*day));
        sum
    }
}
