//! The tenant's tables as the lake knows them. The event log and the quarantine stay in Postgres.

use granary_types::{Column, ColumnKind, Dataset, Source};

use ColumnKind::{Bool, Date, Int32, Int64, Text, Timestamp, Uuid};

const fn tenant(
    name: &'static str,
    month_column: Option<&'static str>,
    columns: &'static [Column],
    sort: &'static [&'static str],
) -> Dataset {
    Dataset { name, source: Source::Tenant, month_column, columns, sort }
}

/// Everything that metering keeps of a customer and the lake takes.
pub const DATASETS: &[Dataset] = &[
    tenant(
        "machines",
        None,
        &[
            Column::new("id", Uuid),
            Column::new("source_system", Text),
            Column::new("vendor_id", Text).personal(),
            Column::new("name", Text).personal(),
            Column::nullable("os", Text),
            Column::new("discovered_at", Timestamp),
            Column::nullable("protected_on", Date),
            Column::nullable("unprotected_on", Date),
            Column::nullable("replaced_by", Uuid),
        ],
        &["name", "id"],
    ),
    tenant(
        "tier_assignments",
        None,
        &[
            Column::new("machine_id", Uuid),
            Column::new("tier", Text),
            Column::new("valid_from", Date),
            Column::nullable("valid_to", Date),
            Column::new("reason", Text).personal(),
        ],
        &["machine_id", "valid_from"],
    ),
    tenant(
        "repositories",
        None,
        &[
            Column::new("id", Uuid),
            Column::new("vendor_id", Text).personal(),
            Column::new("name", Text).personal(),
            Column::new("kind", Text),
            Column::nullable("capacity_bytes", Int64),
            Column::new("is_immutable", Bool),
            Column::nullable("retention_days", Int32),
            Column::new("is_copy", Bool),
            Column::new("updated_at", Timestamp),
        ],
        &["id"],
    ),
    tenant(
        "schedules",
        None,
        &[
            Column::new("machine_id", Uuid),
            Column::new("runs_per_day", Int32),
            Column::new("starts_on", Date),
            Column::nullable("ends_on", Date),
        ],
        &["machine_id"],
    ),
    tenant(
        "skipped_runs",
        Some("service_on"),
        &[
            Column::new("machine_id", Uuid),
            Column::new("service_on", Date),
            Column::new("reason", Text).personal(),
            Column::new("is_excused", Bool),
        ],
        &["service_on", "machine_id", "reason"],
    ),
    BACKUP_RUNS,
    tenant(
        "backup_disks",
        Some("ended_at"),
        &[
            Column::new("run_id", Uuid),
            Column::new("disk_index", Int32),
            Column::new("attempt", Int32),
            Column::new("state", Text),
            Column::new("size_bytes", Int64),
            Column::new("transferred_bytes", Int64),
            Column::new("ended_at", Timestamp),
        ],
        &["ended_at", "run_id", "disk_index"],
    ),
    tenant(
        "restore_runs",
        Some("ended_at"),
        &[
            Column::new("id", Uuid),
            Column::new("source", Text),
            Column::new("vendor_id", Text).personal(),
            Column::nullable("machine_id", Uuid),
            Column::new("kind", Text),
            Column::new("state", Text),
            Column::new("requested_at", Timestamp),
            Column::new("ended_at", Timestamp),
            Column::new("duration_ms", Int64),
            Column::new("restored_bytes", Int64),
        ],
        &["ended_at", "id"],
    ),
    tenant(
        "replication_cycles",
        Some("billing_on"),
        &[
            Column::new("machine_id", Uuid),
            Column::new("billing_on", Date),
            Column::new("service_on", Date),
            Column::new("cycles_completed", Int32),
            Column::new("cycles_failed", Int32),
            Column::new("transferred_bytes", Int64),
            Column::new("lag_seconds_max", Int32),
            Column::new("last_cycle_at", Timestamp),
        ],
        &["billing_on", "machine_id", "service_on"],
    ),
    tenant(
        "storage_samples",
        Some("sampled_at"),
        &[
            Column::new("repository_id", Uuid),
            Column::new("sampled_at", Timestamp),
            Column::new("billing_on", Date),
            Column::new("used_bytes", Int64),
        ],
        &["sampled_at", "repository_id"],
    ),
    STORED_BACKUPS,
    MAINTENANCE_WINDOWS,
    tenant(
        "tickets",
        Some("opened_at"),
        &[
            Column::new("id", Uuid),
            Column::new("source", Text),
            Column::new("vendor_id", Text).personal(),
            Column::new("priority", Text),
            Column::new("opened_at", Timestamp),
            Column::nullable("answered_at", Timestamp),
            Column::nullable("closed_at", Timestamp),
            Column::nullable("rating", Int32),
        ],
        &["opened_at", "id"],
    ),
    tenant(
        "heartbeats",
        Some("service_on"),
        &[
            Column::new("source", Text),
            Column::new("service_on", Date),
            Column::new("received", Int32),
            Column::new("expected", Int32),
            Column::new("last_at", Timestamp),
        ],
        &["service_on", "source"],
    ),
    tenant(
        "activity",
        Some("service_on"),
        &[Column::new("source", Text), Column::new("service_on", Date), Column::new("kind", Text), Column::new("amount", Int64)],
        &["service_on", "kind", "source"],
    ),
    tenant(
        "machine_days",
        Some("billing_on"),
        &[
            Column::new("machine_id", Uuid),
            Column::new("billing_on", Date),
            Column::nullable("tier", Text),
            Column::new("runs_completed", Int32),
            Column::new("runs_failed", Int32),
            Column::new("cycles_completed", Int32),
            Column::new("is_in_protection", Bool),
            Column::new("transferred_bytes", Int64),
        ],
        &["billing_on", "machine_id"],
    ),
    tenant(
        "storage_days",
        Some("billing_on"),
        &[
            Column::new("repository_id", Uuid),
            Column::new("billing_on", Date),
            Column::new("used_bytes", Int64),
            Column::new("is_carried", Bool),
        ],
        &["billing_on", "repository_id"],
    ),
    Dataset {
        name: "periods",
        source: Source::Control,
        month_column: None,
        columns: &[
            Column::new("msp_id", Uuid),
            Column::new("period", Text),
            Column::new("state", Text),
            Column::nullable("closed_at", Timestamp),
            Column::nullable("lake_version", Int64),
        ],
        sort: &["period"],
    },
    Dataset {
        name: "customer_months",
        source: Source::Control,
        month_column: None,
        columns: &[
            Column::new("msp_id", Uuid),
            Column::new("customer_id", Uuid),
            Column::new("period", Text),
            Column::new("machines_backup", Int32),
            Column::new("machines_enterprise", Int32),
            Column::new("machines_replication", Int32),
            Column::new("runs_completed", Int64),
            Column::new("runs_with_warning", Int64),
            Column::new("runs_failed", Int64),
            Column::new("transferred_bytes", Int64),
            Column::new("stored_bytes_average", Int64),
            Column::new("restores_completed", Int64),
            Column::new("tickets_opened", Int64),
            Column::new("api_calls", Int64),
            Column::new("is_estimated", Bool),
            Column::new("is_closed", Bool),
            Column::nullable("events_hash", Text),
            Column::new("updated_at", Timestamp),
        ],
        sort: &["period", "customer_id"],
    },
];

const BACKUP_RUNS: Dataset = tenant(
    "backup_runs",
    Some("ended_at"),
    &[
        Column::new("id", Uuid),
        Column::new("source", Text),
        Column::new("vendor_id", Text).personal(),
        Column::new("machine_id", Uuid),
        Column::new("kind", Text),
        Column::new("state", Text),
        Column::new("started_at", Timestamp),
        Column::new("ended_at", Timestamp),
        Column::new("service_on", Date),
        Column::new("billing_on", Date),
        Column::new("attempt_count", Int32),
        Column::new("transferred_bytes", Int64),
        Column::new("protected_bytes", Int64),
        Column::new("duration_ms", Int64),
        Column::nullable("error", Text).personal(),
    ],
    &["ended_at", "id"],
);

const STORED_BACKUPS: Dataset = tenant(
    "stored_backups",
    None,
    &[
        Column::new("id", Uuid),
        Column::new("source", Text),
        Column::new("vendor_id", Text).personal(),
        Column::new("kind", Text),
        Column::new("state", Text),
        Column::new("repository_id", Uuid),
        Column::nullable("machine_id", Uuid),
        Column::nullable("run_id", Uuid),
        Column::new("restore_points", Int32),
        Column::new("stored_bytes", Int64),
        Column::nullable("oldest_at", Timestamp),
        Column::nullable("retention_days", Int32),
        Column::nullable("immutable_until", Timestamp),
        Column::new("is_verified", Bool),
        Column::new("reported_at", Timestamp),
    ],
    &["id"],
);

const MAINTENANCE_WINDOWS: Dataset = tenant(
    "maintenance_windows",
    Some("starts_at"),
    &[
        Column::new("id", Uuid),
        Column::new("source", Text),
        Column::new("vendor_id", Text).personal(),
        Column::nullable("machine_id", Uuid),
        Column::new("starts_at", Timestamp),
        Column::new("ends_at", Timestamp),
        Column::new("reason", Text).personal(),
        Column::new("is_cancelled", Bool),
        Column::new("said_at", Timestamp),
    ],
    &["starts_at", "id"],
);

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts of a closed set, or of a system: nobody writes a name there. Whoever adds a text decides here, or calls it personal.
    const HARMLESS: &[&str] = &[
        "machines.source_system",
        "machines.os",
        "tier_assignments.tier",
        "repositories.kind",
        "backup_runs.source",
        "backup_runs.kind",
        "backup_runs.state",
        "backup_disks.state",
        "restore_runs.source",
        "restore_runs.kind",
        "restore_runs.state",
        "stored_backups.source",
        "stored_backups.kind",
        "stored_backups.state",
        "maintenance_windows.source",
        "tickets.source",
        "tickets.priority",
        "heartbeats.source",
        "activity.source",
        "activity.kind",
        "machine_days.tier",
    ];

    #[test]
    fn every_text_of_a_customer_is_personal_or_harmless() {
        let texts = DATASETS.iter().filter(|dataset| dataset.source == Source::Tenant).flat_map(|dataset| {
            let texts = dataset.columns.iter().filter(|column| column.kind == Text && !column.is_personal);
            texts.map(|column| format!("{}.{}", dataset.name, column.name))
        });
        assert_eq!(texts.collect::<Vec<_>>(), HARMLESS);
        let personal = DATASETS.iter().flat_map(|dataset| dataset.columns).filter(|column| column.is_personal);
        assert!(personal.clone().all(|column| column.kind == Text) && personal.count() > 8, "a pseudonym is a text");
    }
}
