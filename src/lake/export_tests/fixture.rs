//! Two MSPs whose customers share a code, tables of their own (one with every kind of column), and a lake in a folder.

use granary_foundation::config::{LakeConfig, LakeRegionConfig};
use granary_tenants::{Customer, DATASETS, Msp, TenantScope};
use granary_test_support::TestDatabase;
use granary_types::Dataset;
use granary_vault::{Keys, MasterKey, Objects};
use jiff::SignedDuration;

use super::{EVERY_KIND, VISITS};
use crate::lake::Lake;

pub(super) struct Fixture {
    database: TestDatabase,
    pub(super) lake: Lake,
    pub(super) north: Msp,
    pub(super) south: Msp,
    pub(super) acme: Customer,
    pub(super) globex: Customer,
    pub(super) southern_acme: Customer,
}

impl Fixture {
    pub(super) async fn new() -> Self {
        let database = TestDatabase::new().await;
        let made = database.two_customers().await;
        let owner = database.superuser().await;
        for customer in [&made.acme, &made.globex, &made.south_acme] {
            let (schema, role) = (&customer.schema_name, &customer.role_name);
            let table = format!(
                "set search_path = {schema};
                create table every_kind (
                    id int primary key, a_bool boolean, an_int32 int, an_int64 bigint, a_float64 double precision,
                    a_decimal numeric, a_text text, a_uuid uuid, a_date date, a_timestamp timestamptz);
                create trigger every_kind_inserted after insert on every_kind
                    referencing new table as new_rows for each statement execute function mark_dirty();
                create trigger every_kind_updated after update on every_kind
                    referencing old table as old_rows new table as new_rows for each statement execute function mark_dirty();
                create table visits (day date, kind text, amount bigint);
                create trigger visits_inserted after insert on visits
                    referencing new table as new_rows for each statement execute function mark_dirty('day', 'date');
                create trigger visits_updated after update on visits
                    referencing old table as old_rows new table as new_rows for each statement execute function mark_dirty('day', 'date');
                create trigger visits_deleted after delete on visits
                    referencing old table as old_rows for each statement execute function mark_dirty('day', 'date');
                grant select, insert, update, delete on every_kind, visits to {role}"
            );
            owner.batch_execute(&table).await.unwrap();
        }
        let datasets = [DATASETS, &[EVERY_KIND, VISITS]].concat();
        let lake = Lake::new(database.tenants().clone(), database.keys().clone(), database.objects().clone(), datasets);
        let (north, south, acme, globex) = (made.north, made.south, made.acme, made.globex);
        Self { database, lake, north, south, acme, globex, southern_acme: made.south_acme }
    }

    /// Returns the lake as another process would open it, with nothing cached.
    pub(super) fn lake_of(&self, datasets: Vec<Dataset>) -> Lake {
        let master = MasterKey::load_or_create(&self.database.folder().join("master")).unwrap();
        let keys = Keys::new(self.database.database().clone(), master);
        Lake::new(self.database.tenants().clone(), keys, self.database.objects().clone(), datasets)
    }

    /// Returns the lake with a store of its own for a region.
    pub(super) fn lake_with_region(&self, region: &str) -> Lake {
        let folder = |name: &str| format!("file://{}", self.database.folder().join(name).display());
        let store = LakeRegionConfig { url: folder("region"), endpoint: None, region: None };
        let config = LakeConfig { regions: [(region.to_owned(), store)].into(), ..LakeConfig::default() };
        let objects = Objects::open_regions(&folder("lake"), &config).unwrap();
        Lake::new(self.database.tenants().clone(), self.database.keys().clone(), objects, self.lake.datasets().to_vec())
    }

    /// Moves the clock.
    pub(super) fn advance(&self, by: SignedDuration) {
        let clock = self.database.clock();
        clock.set(clock.now() + by);
    }

    /// Runs a statement in a customer's schema, as the customer.
    pub(super) async fn sql(&self, customer: &Customer, statement: &'static str) {
        let msp = if customer.msp_id == self.north.id { &self.north } else { &self.south };
        let scope = TenantScope::for_job(msp.clone(), customer.clone(), "test");
        let tx = self.database.tenants().begin_tenant(&scope).await.unwrap();
        tx.execute(statement, &[]).await.unwrap();
        tx.commit().await.unwrap();
    }
}
