//! The fleet: the schemas of all tenants, and how they come to one version.
//!
//! The control schema knows every tenant's version, so that those up to date are skipped without a look at them. The others
//! stand in a queue from which as many workers as there are connections take the next. Each schema is changed in one
//! transaction under a lock of its own; its history of migrations lies in it and is read under that lock, so that nothing runs
//! twice, whoever else migrates and wherever somebody was killed. A tenant that fails stays where it was, is named, and
//! stops nobody but the canaries' followers.

mod drift;
mod plan;
mod queue;
mod worker;

use std::sync::Arc;
use std::time::{Duration, Instant};

use granary_foundation::{Boxed, Progress};
use granary_types::{CustomerCode, CustomerId};
use jiff::Timestamp;
use refinery::Migration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::catalog::Tenants;
use crate::error::TenantsError;
use crate::silo::MIGRATIONS;
use crate::store;
pub use drift::{DriftReport, Drifted};
pub use plan::{PlannedMigration, plan};
use queue::Queue;

/// Outcomes that are written down together.
const BATCH: usize = 500;

/// How the fleet is migrated.
#[derive(Debug, Clone)]
pub struct FleetOptions {
    /// Schemas that are changed at the same time, each by a connection of its own.
    pub connections: usize,
    /// Tenants that go first: when one of them fails, nobody follows.
    pub canaries: usize,
    /// Only the customers with this code.
    pub only: Option<CustomerCode>,
    /// How long a statement waits for a lock before the tenant goes back to the end of the queue; whoever wants the table
    /// waits behind it.
    pub lock_timeout: Duration,
    /// How often a tenant is tried whose tables are locked or whose connection is lost.
    pub attempts: u32,
}

impl Default for FleetOptions {
    fn default() -> Self {
        Self { connections: 4, canaries: 0, only: None, lock_timeout: Duration::from_secs(1), attempts: 8 }
    }
}

/// A tenant whose schema is older than this program.
#[derive(Debug, Clone)]
pub(crate) struct Behind {
    pub(crate) id: CustomerId,
    pub(crate) msp: String,
    pub(crate) code: CustomerCode,
    pub(crate) schema_name: String,
    pub(crate) role_name: String,
    pub(crate) cluster: String,
}

/// A tenant that could not be migrated; it stays at its version.
#[derive(Debug)]
pub struct FailedTenant {
    pub msp: String,
    pub code: CustomerCode,
    pub error: TenantsError,
}

/// What a migration of the fleet did.
#[derive(Debug, Default)]
pub struct FleetReport {
    /// The version that every schema should have now.
    pub version: i32,
    /// Schemas that had it before, or got it from somebody else.
    pub up_to_date: u64,
    pub migrated: u64,
    pub failed: Vec<FailedTenant>,
    /// Those that were not tried because a canary failed.
    pub held_back: u64,
    /// Schemas that are newer than this program.
    pub ahead: u64,
}

/// Where one tenant's schema stands.
#[derive(Debug, Clone)]
pub struct SchemaState {
    pub msp: String,
    pub code: CustomerCode,
    pub schema_name: String,
    pub version: i32,
    /// Why the last attempt failed.
    pub error: Option<String>,
    /// How many failed since the last success.
    pub failed_attempts: i32,
    pub attempted_at: Option<Timestamp>,
    pub duration_ms: Option<i64>,
    pub drift: Option<String>,
    pub checked_at: Option<Timestamp>,
}

/// The schemas of all tenants, and the migrations that they should have.
#[derive(Debug, Clone)]
pub struct Fleet {
    tenants: Tenants,
    migrations: Arc<[Migration]>,
}

/// What became of one tenant.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) tenant: Behind,
    /// The number of migrations that ran.
    pub(crate) result: Result<usize, TenantsError>,
    pub(crate) duration: Duration,
}

impl Fleet {
    /// Returns the fleet with the migrations of this program.
    pub fn new(tenants: Tenants) -> Self {
        Self::with_migrations(tenants, MIGRATIONS.clone())
    }

    /// Returns the fleet with other migrations, ordered by version: for tests and measurements.
    pub fn with_migrations(tenants: Tenants, migrations: Vec<Migration>) -> Self {
        Self { tenants, migrations: migrations.into() }
    }

    /// Returns the program's own migrations of a tenant's schema, by version.
    pub fn known_migrations() -> Vec<Migration> {
        MIGRATIONS.clone()
    }

    /// Returns the version that every schema should have.
    pub fn version(&self) -> i32 {
        self.migrations.last().map_or(0, Migration::version)
    }

    /// Brings every schema that is older to this program's version. What was begun is finished whoever began it, and it may be
    /// stopped anywhere and run again.
    ///
    /// # Errors
    /// When the control schema cannot be read or written, or nobody has the code asked for; a tenant that fails is in the report
    /// instead.
    pub fn migrate<'a>(&'a self, options: &'a FleetOptions, progress: &'a dyn Progress) -> Boxed<'a, Result<FleetReport, TenantsError>> {
        Box::pin(async move {
            let only = options.only.as_ref().map(CustomerCode::as_str);
            let tx = self.tenants.begin_catalog().await?;
            let counted = store::count_schemas(&tx, self.version(), only).await?;
            let mut canaries = store::list_behind(&tx, self.version(), only).await?;
            tx.commit().await?;
            if let (Some(code), true, 0, 0) = (&options.only, canaries.is_empty(), counted.current, counted.ahead) {
                return Err(TenantsError::UnknownCustomerCode(code.clone()));
            }
            let mut report =
                FleetReport { version: self.version(), up_to_date: counted.current, ahead: counted.ahead, ..FleetReport::default() };
            if canaries.is_empty() {
                return Ok(report);
            }
            let followers = if options.canaries == 0 { Vec::new() } else { canaries.split_off(options.canaries.min(canaries.len())) };
            progress.begin(if followers.is_empty() { "tenants" } else { "canaries" }, canaries.len() as u64);
            self.drive(canaries, options, progress, &mut report).await?;
            progress.end();
            if report.failed.is_empty() && !followers.is_empty() {
                progress.begin("tenants", followers.len() as u64);
                self.drive(followers, options, progress, &mut report).await?;
                progress.end();
            } else {
                report.held_back = followers.len() as u64;
            }
            Ok(report)
        })
    }

    /// Lists where every tenant's schema stands, by MSP and code.
    ///
    /// # Errors
    /// When the control schema cannot be read.
    pub fn states<'a>(&'a self, only: Option<&'a CustomerCode>) -> Boxed<'a, Result<Vec<SchemaState>, TenantsError>> {
        Box::pin(async move {
            let tx = self.tenants.begin_catalog().await?;
            let states = store::list_schema_states(&tx, only.map(CustomerCode::as_str)).await?;
            tx.commit().await?;
            Ok(states)
        })
    }

    /// Lets workers take from one queue, and writes down what they bring.
    async fn drive(
        &self,
        tenants: Vec<Behind>,
        options: &FleetOptions,
        progress: &dyn Progress,
        report: &mut FleetReport,
    ) -> Result<(), TenantsError> {
        let workers = options.connections.clamp(1, tenants.len().max(1));
        let queue = Arc::new(Queue::new(tenants));
        let (sender, mut outcomes) = mpsc::channel(BATCH);
        let mut running = JoinSet::new();
        for _ in 0..workers {
            running.spawn(worker::work(self.clone(), Arc::clone(&queue), options.clone(), sender.clone()));
        }
        drop(sender);
        let mut batch = Vec::with_capacity(BATCH);
        while outcomes.recv_many(&mut batch, BATCH).await > 0 {
            self.record(&batch).await?;
            progress.advance(batch.len() as u64);
            for outcome in batch.drain(..) {
                match outcome.result {
                    Ok(0) => report.up_to_date += 1,
                    Ok(_) => report.migrated += 1,
                    Err(error) => report.failed.push(FailedTenant { msp: outcome.tenant.msp, code: outcome.tenant.code, error }),
                }
            }
        }
        while let Some(ended) = running.join_next().await {
            ended.map_err(|error| TenantsError::Stored(format!("a worker stopped: {error}")))?;
        }
        Ok(())
    }

    /// Writes outcomes down, many in one statement. Killed before, the next run finds the schemas as they are.
    async fn record(&self, outcomes: &[Outcome]) -> Result<(), TenantsError> {
        let tx = self.tenants.begin_catalog().await?;
        store::record_outcomes(&tx, self.version(), outcomes).await?;
        Ok(tx.commit().await?)
    }

    pub(crate) const fn tenants(&self) -> &Tenants {
        &self.tenants
    }

    pub(crate) fn migrations(&self) -> &[Migration] {
        &self.migrations
    }
}

impl Outcome {
    pub(crate) fn new(tenant: Behind, result: Result<usize, TenantsError>, since: Instant) -> Self {
        Self { tenant, result, duration: since.elapsed() }
    }
}
