//! How much may be under way at once: deliveries of each customer, deliveries of all, and the bytes that they hold.
//!
//! Whoever finds no room waits a little before anything of the body is read, and is then told to come again: 429 with `Retry-After`.
//! Nothing that was answered with a report is affected: it is committed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use granary_types::CustomerId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Deliveries of one customer that are under way at once: one is written, the others are read meanwhile.
const PER_CUSTOMER: usize = 4;
/// Deliveries of all customers.
const PER_SERVER: usize = 256;
/// How long a delivery waits for room.
const PATIENCE: Duration = Duration::from_secs(2);
/// What is counted: kibibytes.
const UNIT: usize = 1 << 10;
/// What any delivery counts as.
const LEAST: usize = 16 << 10;
/// From so many customers on, those that send nothing are forgotten.
const MANY: usize = 4_096;

/// The room of one replica; clones share it.
#[derive(Debug, Clone)]
pub struct Intake {
    bytes: Arc<Semaphore>,
    most_units: usize,
    deliveries: Arc<Semaphore>,
    customers: Arc<Mutex<HashMap<CustomerId, Arc<Semaphore>>>>,
    patience: Duration,
}

/// There is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Busy;

impl Intake {
    /// Makes room for deliveries that hold so many bytes together, decompressed.
    pub fn new(most_bytes: usize) -> Self {
        let most_units = (most_bytes.max(LEAST) / UNIT).min(Semaphore::MAX_PERMITS);
        Self {
            bytes: Arc::new(Semaphore::new(most_units)),
            most_units,
            deliveries: Arc::new(Semaphore::new(PER_SERVER)),
            customers: Arc::default(),
            patience: PATIENCE,
        }
    }

    /// Finds room for a delivery of a customer, which says how long it is; waits a little for it.
    pub(crate) async fn admit(&self, customer: CustomerId, bytes: usize) -> Result<Admission, Busy> {
        let own = self.own(customer);
        let units = self.units(bytes);
        let room = async {
            let own = own.acquire_owned().await.map_err(|_| Busy)?;
            let delivery = Arc::clone(&self.deliveries).acquire_owned().await.map_err(|_| Busy)?;
            let bytes = Arc::clone(&self.bytes).acquire_many_owned(units).await.map_err(|_| Busy)?;
            Ok(Admission { bytes, room: self.clone(), _held: (own, delivery) })
        };
        tokio::time::timeout(self.patience, room).await.unwrap_or(Err(Busy))
    }

    fn own(&self, customer: CustomerId) -> Arc<Semaphore> {
        let mut customers = self.customers.lock().unwrap_or_else(PoisonError::into_inner);
        if customers.len() >= MANY {
            customers.retain(|_, own| Arc::strong_count(own) > 1);
        }
        Arc::clone(customers.entry(customer).or_insert_with(|| Arc::new(Semaphore::new(PER_CUSTOMER))))
    }

    /// A delivery never asks for more than there is, so that the largest finds room when it is alone.
    fn units(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.max(LEAST).div_ceil(UNIT).min(self.most_units)).unwrap_or(u32::MAX)
    }
}

/// The room that a delivery has, until it is dropped.
#[derive(Debug)]
pub(crate) struct Admission {
    bytes: OwnedSemaphorePermit,
    room: Intake,
    _held: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

impl Admission {
    /// Takes more room, when it is there at once: who waited for it while holding some could wait for ever.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> Result<(), Busy> {
        let more = self.room.units(bytes).saturating_sub(u32::try_from(self.bytes.num_permits()).unwrap_or(u32::MAX));
        if more > 0 {
            self.bytes.merge(Arc::clone(&self.room.bytes).try_acquire_many_owned(more).map_err(|_| Busy)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn impatient() -> Intake {
        Intake { patience: Duration::from_millis(20), ..Intake::new(1 << 20) }
    }

    #[tokio::test]
    async fn a_customer_that_sends_too_much_at_once_takes_nothing_from_the_others() {
        let (intake, acme, globex) = (impatient(), CustomerId::new(), CustomerId::new());
        let mut held = Vec::new();
        for _ in 0..PER_CUSTOMER {
            held.push(intake.admit(acme, 10).await.unwrap());
        }
        assert_eq!(intake.admit(acme, 10).await.unwrap_err(), Busy);
        held.push(intake.admit(globex, 10).await.unwrap());
        held.remove(0);
        assert!(intake.admit(acme, 10).await.is_ok());
    }

    #[tokio::test]
    async fn bytes_are_counted_as_they_grow_and_given_back() {
        let intake = impatient();
        let mut one = intake.admit(CustomerId::new(), 0).await.unwrap();
        one.grow_to(700 << 10).unwrap();
        assert_eq!(intake.admit(CustomerId::new(), 400 << 10).await.unwrap_err(), Busy);
        let mut other = intake.admit(CustomerId::new(), 300 << 10).await.unwrap();
        assert_eq!(other.grow_to(400 << 10), Err(Busy));
        drop(one);
        other.grow_to(400 << 10).unwrap();
        drop(other);
        // The largest finds room, and alone.
        intake.admit(CustomerId::new(), 5 << 20).await.unwrap();
    }
}
