//! A customer to ingest for, and what its tables hold.

use granary_metering::{IngestReport, ingest};
use granary_tenants::{TenantScope, TenantTx};
use granary_test_support::{TestDatabase, TwoCustomers};
use serde_json::{Value, json};

/// A database with the usual customers.
pub(crate) struct House {
    pub(crate) database: TestDatabase,
    pub(crate) customers: TwoCustomers,
}

pub(crate) const SOURCE: &str = "https://vbr.acme.example";

impl House {
    pub(crate) async fn new() -> Self {
        let database = TestDatabase::new().await;
        let customers = database.two_customers().await;
        Self { database, customers }
    }

    pub(crate) async fn begin(&self, scope: &TenantScope) -> TenantTx {
        self.database.tenants().begin_tenant(scope).await.unwrap()
    }

    /// Ingests a batch in a transaction of its own.
    pub(crate) async fn ingest(&self, scope: &TenantScope, events: &[Value]) -> IngestReport {
        let tx = self.begin(scope).await;
        let report = ingest(&tx, None, &serde_json::to_vec(events).unwrap()).await.unwrap();
        tx.commit().await.unwrap();
        report
    }

    /// Ingests for ACME.
    pub(crate) async fn take(&self, events: &[Value]) -> IngestReport {
        self.ingest(&self.customers.acme_scope(), events).await
    }

    /// Returns one text of one column of one row of ACME's.
    pub(crate) async fn text(&self, sql: &'static str) -> Option<String> {
        let tx = self.begin(&self.customers.acme_scope()).await;
        let text = tx.query_one(sql, &[]).await.unwrap().get(0);
        tx.commit().await.unwrap();
        text
    }
}

macro_rules! dumps {
    ($($table:literal),*) => {
        [$(($table, concat!("select to_jsonb(", $table, ")::text from ", $table, " order by 1"))),*]
    };
}

/// Returns every row of every table that events are projected to.
pub(crate) async fn dump(tx: &TenantTx) -> Vec<(&'static str, Vec<String>)> {
    let mut all = Vec::new();
    let tables = dumps![
        "machines",
        "tier_assignments",
        "repositories",
        "schedules",
        "skipped_runs",
        "backup_runs",
        "backup_attempts",
        "backup_disks",
        "restore_runs",
        "replication_cycles",
        "stored_backups",
        "maintenance_windows",
        "storage_samples",
        "tickets",
        "heartbeats",
        "activity",
        "usage_events",
        "machine_days",
        "storage_days"
    ];
    for (table, sql) in tables {
        all.push((table, tx.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()));
    }
    all
}

pub(crate) fn event(id: &str, event_type: &str, time: &str, data: Value) -> Value {
    json!({"specversion": "1.0", "id": id, "source": SOURCE, "type": event_type, "time": time, "data": data})
}

pub(crate) fn machine(name: &str) -> Value {
    json!({"source_system": "vcenter-1", "vendor_id": name})
}

/// A machine that is protected from a day on.
pub(crate) fn protected(name: &str, tier: &str, from: &str) -> Value {
    let data = json!({"source_system": "vcenter-1", "vendor_id": name, "name": name, "tier": tier, "from": from});
    event(&format!("protected-{name}-{from}-{tier}"), "machine.protected", &format!("{from}T00:00:00Z"), data)
}

/// A completed run of one disk that takes an hour.
pub(crate) fn completed(run: &str, name: &str, day: &str, bytes: i64) -> Value {
    attempt(
        run,
        1,
        "backup.completed",
        name,
        day,
        2,
        &json!([{"index": 0, "size_bytes": bytes * 10, "transferred_bytes": bytes, "state": "completed"}]),
    )
}

/// An attempt that begins at an hour (UTC) and takes an hour.
pub(crate) fn attempt(run: &str, number: i32, event_type: &str, name: &str, day: &str, hour: i32, disks: &Value) -> Value {
    let (start, end) = (format!("{day}T{hour:02}:00:00Z"), format!("{day}T{:02}:00:00Z", hour + 1));
    let data = json!({
        "run_id": run, "machine": machine(name), "kind": "incremental", "attempt": number, "started_at": start, "ended_at": end,
        "error": "no route to host", "disks": disks,
    });
    event(&format!("{event_type}-{run}-{number}"), event_type, &end, data)
}
