//! Two MSPs whose customers share codes, a month of runs in their lakes, and the door in front of them.

use arrow_flight::FlightInfo;
use arrow_flight::error::FlightError;
use arrow_flight::sql::client::FlightSqlServiceClient;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use granary_access::{Access, ApiKeyScope, Manager, NewApiKey};
use granary_foundation::Silent;
use granary_lake::Lake;
use granary_tenants::{AuditFilter, Customer, Msp, TenantScope};
use granary_test_support::{TestDatabase, TwoCustomers};
use granary_warehouse::{Budget, Warehouse};
use serde_json::{Value, json};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::{Desk, FlightDoor};

pub(super) type Client = FlightSqlServiceClient<Channel>;

pub(super) struct House {
    test: TestDatabase,
    pub(super) made: TwoCustomers,
    access: Access,
    pub(super) door: FlightDoor,
}

impl House {
    /// Opens a house whose machines ran every day of October: 3 of NORTH's ACME, 5 of GLOBEX, 7 of SOUTH's ACME.
    pub(super) async fn open() -> Self {
        Self::open_within(Budget::default()).await
    }

    pub(super) async fn open_within(budget: Budget) -> Self {
        let test = TestDatabase::new().await;
        let made = test.two_customers().await;
        let tenants = test.tenants().clone();
        let datasets =
            [granary_tenants::DATASETS, granary_metering::DATASETS, granary_billing::DATASETS, granary_intelligence::DATASETS].concat();
        let lake = Lake::new(tenants.clone(), test.keys().clone(), test.objects().clone(), datasets);
        let warehouse = Warehouse::new(lake.clone(), budget).unwrap();
        for (msp, customer, machines) in [(&made.north, &made.acme, 3), (&made.north, &made.globex, 5), (&made.south, &made.south_acme, 7)]
        {
            let tx = tenants.begin_tenant(&TenantScope::for_job(msp.clone(), customer.clone(), "test")).await.unwrap();
            let events = serde_json::to_vec(&events(msp, customer, machines)).unwrap();
            let report = granary_metering::ingest(&tx, None, &events).await.unwrap();
            tx.commit().await.unwrap();
            assert_eq!(report.accepted, machines as usize * 32);
        }
        lake.export_night("2025-11-10".parse().unwrap(), Silent::shared()).await.unwrap();
        for msp in [&made.north, &made.south] {
            warehouse.build(msp.id).await.unwrap();
        }
        let access = Access::new(tenants.clone());
        let desk = Desk::new(access.clone(), tenants, warehouse);
        let door = FlightDoor::listen("127.0.0.1:0".parse().unwrap(), None, desk).await.unwrap();
        Self { test, made, access, door }
    }

    /// Makes a key of NORTH: for one customer, or for all.
    pub(super) async fn key(&self, customer: Option<&Customer>, scope: ApiKeyScope) -> String {
        self.key_of(&self.made.north, customer, scope).await
    }

    pub(super) async fn key_of(&self, msp: &Msp, customer: Option<&Customer>, scope: ApiKeyScope) -> String {
        let key = NewApiKey {
            msp_id: msp.id,
            customer_id: customer.map(|customer| customer.id),
            control_plane_id: None,
            name: "test".to_owned(),
            scopes: vec![scope],
            expires_at: None,
            requests_per_minute: None,
        };
        self.access.create_api_key(Manager::Command("test"), &key).await.unwrap().1.reveal().to_owned()
    }

    /// Connects without saying who it is.
    pub(super) async fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.door.address())).unwrap().connect().await.unwrap()
    }

    pub(super) async fn stranger(&self) -> Client {
        Client::new(self.channel().await)
    }

    /// Connects with a key.
    pub(super) async fn client(&self, key: &str) -> Client {
        let mut client = self.stranger().await;
        client.set_token(key.to_owned());
        client
    }

    /// Connects as an analyst of one customer.
    pub(super) async fn confined(&self) -> Client {
        let key = self.key(Some(&self.made.acme), ApiKeyScope::Sql).await;
        self.client(&key).await
    }

    /// Returns what was asked, as NORTH's audit log has it, the newest first.
    pub(super) async fn asked(&self) -> Vec<Value> {
        let tx = self.test.tenants().begin_msp(&self.made.north_scope()).await.unwrap();
        let filter = AuditFilter { action: Some("warehouse.query".to_owned()), ..AuditFilter::default() };
        let lines = granary_tenants::list_audit(&tx, None, &filter, 100).await.unwrap();
        tx.commit().await.unwrap();
        lines.into_iter().map(|line| line.detail).collect()
    }
}

/// What an answer holds, one row a text.
pub(super) async fn fetch(client: &mut Client, info: &FlightInfo) -> Result<Vec<String>, FlightError> {
    Ok(batches(client, info).await?.iter().flat_map(lines).collect())
}

pub(super) async fn batches(client: &mut Client, info: &FlightInfo) -> Result<Vec<RecordBatch>, FlightError> {
    client.do_get(info.endpoint[0].ticket.clone().unwrap()).await?.try_collect().await
}

pub(super) async fn ask(client: &mut Client, sql: &str) -> Result<Vec<String>, FlightError> {
    let info = client.execute(sql.to_owned(), None).await?;
    fetch(client, &info).await
}

/// Returns how a call was refused.
pub(super) fn refusal<T>(answer: Result<T, FlightError>) -> Status {
    match answer.err() {
        Some(FlightError::Tonic(status)) => *status,
        Some(other) => panic!("{other}"),
        None => panic!("it was answered"),
    }
}

pub(super) fn lines(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("-");
    let columns: Vec<_> = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
    (0..batch.num_rows()).map(|row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("|")).collect()
}

/// `machines` machines at tier backup, each with a run a day in October; ids repeat between customers on purpose.
fn events(msp: &Msp, customer: &Customer, machines: u32) -> Value {
    let source = format!("https://vbr.{}.example", customer.code.as_str().to_lowercase());
    let event = |id: String, kind: &str, time: String, data: Value| json!({"specversion": "1.0", "source": source, "id": id, "type": kind, "time": time, "data": data});
    let mut batch = Vec::new();
    for machine in 1..=machines {
        let vendor_id = format!("vm-{machine}");
        let name = format!("{}-{}-{machine}", msp.code, customer.code);
        batch.push(event(
            format!("protect-{machine}"),
            "machine.protected",
            "2025-09-30T12:00:00Z".to_owned(),
            json!({"source_system": "veeam", "vendor_id": vendor_id, "name": name, "tier": "backup", "from": "2025-10-01"}),
        ));
        for day in 1..=31 {
            let (started, ended) = (format!("2025-10-{day:02}T14:00:00Z"), format!("2025-10-{day:02}T14:30:00Z"));
            let data = json!({
                "run_id": format!("run-{machine}-{day}"), "machine": {"source_system": "veeam", "vendor_id": vendor_id},
                "kind": "incremental", "attempt": 1, "has_warning": false, "started_at": started, "ended_at": ended,
                "disks": [{"index": 0, "size_bytes": 1_000_000_000, "transferred_bytes": 10_000_000, "state": "completed"}]
            });
            batch.push(event(format!("run-{machine}-{day}"), "backup.completed", ended, data));
        }
    }
    Value::Array(batch)
}
