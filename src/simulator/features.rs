//! The features of each tier, as activity summaries name them.

use granary_types::Tier;

const ALL: [&str; 12] = [
    "file_restore",
    "reports",
    "alerts",
    "encryption",
    "test_restore",
    "self_service",
    "immutability",
    "application_aware",
    "instant_restore",
    "api",
    "failover_plan",
    "replica_test",
];

/// Returns the features that a tier offers: each tier has those of the one below.
pub fn features_of(tier: Tier) -> &'static [&'static str] {
    match tier {
        Tier::Backup => &ALL[..6],
        Tier::Enterprise => &ALL[..10],
        Tier::Replication => &ALL,
    }
}
