//! What other rooms and the world outside learn of a customer's life.

use granary_foundation::Event;
use granary_types::{CustomerCode, CustomerId, CustomerStatus};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A customer was provisioned and can be seen.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CustomerProvisioned {
    pub customer_id: CustomerId,
    pub code: CustomerCode,
}

impl Event for CustomerProvisioned {
    const KIND: &'static str = "tenants.customer_provisioned";
}

macro_rules! status_events {
    ($($(#[$doc:meta])* $name:ident = $kind:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Serialize, Deserialize)]
        pub struct $name {
            pub customer_id: CustomerId,
            pub code: CustomerCode,
            /// Where the customer stood before.
            pub from: CustomerStatus,
            pub reason: Option<String>,
            /// When it took effect; an imported past lies behind.
            pub at: Timestamp,
        }

        impl Event for $name {
            const KIND: &'static str = $kind;
        }
    )*};
}

status_events! {
    /// A trial became a customer that is billed.
    CustomerActivated = "tenants.customer_activated";
    /// A customer's doors were shut for new protection and commands.
    CustomerSuspended = "tenants.customer_suspended";
    /// A suspended customer is active again.
    CustomerResumed = "tenants.customer_resumed";
    /// A customer left.
    CustomerClosed = "tenants.customer_closed";
    /// Everything of a customer but what the law keeps was destroyed.
    CustomerErased = "tenants.customer_erased";
}
