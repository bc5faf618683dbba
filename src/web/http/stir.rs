//! Whose events came: the watch over alerts is to look at them soon. Each replica says so once a minute a customer, and no acknowledgement
//! depends on it: the watch comes round in any case.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use granary_metering::{MeteringError, bring_forward};
use granary_tenants::{MspScope, TenantScope, Tenants};
use granary_types::CustomerId;

const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// From so many on, customers that are quiet again are forgotten.
const MANY: usize = 65_536;

/// When each customer was last mentioned by this replica; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Stir {
    said_at: Arc<Mutex<HashMap<CustomerId, Instant>>>,
}

impl Stir {
    /// Has a customer looked at soon, unless that was said a moment ago.
    pub(crate) async fn note(&self, tenants: &Tenants, scope: &TenantScope) {
        let customer = scope.customer.id;
        if !self.is_new(customer, Instant::now()) {
            return;
        }
        let said = async {
            let tx = tenants.begin_msp(&MspScope { msp: scope.msp.clone(), actor: scope.actor }).await?;
            bring_forward(&tx, customer).await?;
            tx.commit().await?;
            Ok::<_, MeteringError>(())
        };
        if let Err(error) = said.await {
            tracing::warn!(tenant.id = %customer, %error, "the watch was not told that events came; it comes round in any case");
        }
    }

    fn is_new(&self, customer: CustomerId, now: Instant) -> bool {
        let mut said_at = self.said_at.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |at: &Instant| now.saturating_duration_since(*at) < AGAIN_AFTER;
        if said_at.get(&customer).is_some_and(is_recent) {
            return false;
        }
        if said_at.len() >= MANY {
            said_at.retain(|_, at| is_recent(at));
        }
        said_at.insert(customer, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_customer_is_mentioned_once_a_minute() {
        let (stir, now) = (Stir::default(), Instant::now());
        let (one, other) = (CustomerId::new(), CustomerId::new());
        let at = |seconds| now + Duration::from_secs(seconds);
        let said = [(one, 0), (one, 59), (other, 59), (one, 60), (one, 61)].map(|(customer, seconds)| stir.is_new(customer, at(seconds)));
        assert_eq!(said, [true, false, true, true, false]);
    }
}
