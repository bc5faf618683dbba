//! Ids that follow from what a source calls a thing.

use granary_types::CustomerId;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::fact::MachineKey;

/// Returns the id of a reported thing: a hash of the customer, the noun and the names, so that events need no look-up, may
/// come in any order, and two customers with the same names never share an id.
fn derived_id(customer: CustomerId, noun: &str, names: &[&str]) -> Uuid {
    let mut hasher = Sha256::new_with_prefix(customer.0.as_bytes());
    hasher.update(noun);
    for name in names {
        // The length keeps ("a", "bc") apart from ("ab", "c").
        hasher.update((name.len() as u64).to_be_bytes());
        hasher.update(name);
    }
    let digest: [u8; 32] = hasher.finalize().into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// Returns a machine's id, the same in backup and in replication.
pub(crate) fn machine_id(customer: CustomerId, key: MachineKey<'_>) -> Uuid {
    derived_id(customer, "machine", &[key.source_system, key.vendor_id])
}

/// Returns the id of a backup run, which all of its attempts share.
pub(crate) fn run_id(customer: CustomerId, source: &str, run: &str) -> Uuid {
    derived_id(customer, "run", &[source, run])
}

/// Returns the id of a restore.
pub(crate) fn restore_id(customer: CustomerId, source: &str, restore: &str) -> Uuid {
    derived_id(customer, "restore", &[source, restore])
}

/// Returns the id of a repository.
pub(crate) fn repository_id(customer: CustomerId, vendor_id: &str) -> Uuid {
    derived_id(customer, "repository", &[vendor_id])
}

/// Returns the id of a ticket.
pub(crate) fn ticket_id(customer: CustomerId, source: &str, ticket: &str) -> Uuid {
    derived_id(customer, "ticket", &[source, ticket])
}

/// Returns the id of a chain or a copy.
pub(crate) fn stored_id(customer: CustomerId, kind: &str, source: &str, name: &str) -> Uuid {
    derived_id(customer, kind, &[source, name])
}

/// Returns the id of a maintenance window.
pub(crate) fn window_id(customer: CustomerId, source: &str, window: &str) -> Uuid {
    derived_id(customer, "window", &[source, window])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_run_into_one_another_and_customers_share_nothing() {
        let (one, two) = (CustomerId::new(), CustomerId::new());
        assert_eq!(run_id(one, "a", "bc"), run_id(one, "a", "bc"));
        assert_ne!(run_id(one, "a", "bc"), run_id(one, "ab", "c"));
        assert_ne!(run_id(one, "a", "bc"), run_id(two, "a", "bc"));
        assert_ne!(run_id(one, "a", "bc"), restore_id(one, "a", "bc"));
    }
}
