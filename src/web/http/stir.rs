//! What the watch over alerts is to hear of soon: whose events came, and whose programs come too often. Each replica says so once a minute
//! a customer, and no answer depends on it: the watch comes round in any case.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use granary_metering::{MeteringError, bring_forward, note_api_use};
use granary_tenants::{Actor, Msp, MspScope, TenantScope, Tenants};
use granary_types::CustomerId;

const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// From so many on, customers that are quiet again are forgotten.
const MANY: usize = 65_536;
/// Percent of a rate from which on somebody wants to know.
const MUCH: i32 = 80;

/// What is said of a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Said {
    EventsCame,
    MuchOfTheRate,
    AllOfTheRate,
}

/// When this replica said what of whom; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Stir {
    said_at: Arc<Mutex<HashMap<(CustomerId, Said), Instant>>>,
}

impl Stir {
    /// Has a customer looked at, whose events came.
    pub(crate) async fn note(&self, tenants: &Tenants, scope: &TenantScope) {
        let customer = scope.customer.id;
        if !self.is_new((customer, Said::EventsCame), Instant::now()) {
            return;
        }
        let said = async {
            let tx = tenants.begin_msp(&MspScope { msp: scope.msp.clone(), actor: scope.actor }).await?;
            bring_forward(&tx, customer).await?;
            Ok(tx.commit().await?)
        };
        told(customer, said.await);
    }

    /// Writes down how much of its rate a customer's programs use, when it is much.
    pub(crate) async fn note_api_use(&self, tenants: &Tenants, (msp, actor): (&Msp, Actor), customer: CustomerId, percent: i32) {
        let said = if percent >= 100 { Said::AllOfTheRate } else { Said::MuchOfTheRate };
        if percent < MUCH || !self.is_new((customer, said), Instant::now()) {
            return;
        }
        let said = async {
            let tx = tenants.begin_msp(&MspScope { msp: msp.clone(), actor }).await?;
            note_api_use(&tx, customer, percent).await?;
            Ok(tx.commit().await?)
        };
        told(customer, said.await);
    }

    fn is_new(&self, said: (CustomerId, Said), now: Instant) -> bool {
        let mut said_at = self.said_at.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |at: &Instant| now.saturating_duration_since(*at) < AGAIN_AFTER;
        if said_at.get(&said).is_some_and(is_recent) {
            return false;
        }
        if said_at.len() >= MANY {
            said_at.retain(|_, at| is_recent(at));
        }
        said_at.insert(said, now);
        true
    }
}

fn told(customer: CustomerId, outcome: Result<(), MeteringError>) {
    if let Err(error) = outcome {
        tracing::warn!(tenant.id = %customer, %error, "the watch could not be told of a customer; it comes round in any case");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_said_once_a_minute_of_each() {
        let (stir, now) = (Stir::default(), Instant::now());
        let (one, other) = ((CustomerId::new(), Said::EventsCame), (CustomerId::new(), Said::EventsCame));
        let rate = (one.0, Said::AllOfTheRate);
        let at = |seconds| now + Duration::from_secs(seconds);
        let said =
            [(one, 0), (one, 59), (rate, 59), (other, 59), (one, 60), (one, 61)].map(|(said, seconds)| stir.is_new(said, at(seconds)));
        assert_eq!(said, [true, false, true, true, true, false]);
    }
}
