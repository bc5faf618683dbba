//! Tenants whose names meet, so that a mix-up shows.

use granary_tenants::{Customer, Msp, MspScope, NewContract, NewCustomer, NewMsp, TenantScope, Tenants};
use granary_types::{Currency, MspId, Tier};
use jiff::civil::date;
use jiff::tz::TimeZone;

/// MSP NORTH with ACME and GLOBEX, and MSP SOUTH with another ACME. All bill in USD at premier, in New York's months, and were
/// made on 2025-01-01.
#[derive(Debug)]
pub struct TwoCustomers {
    pub north: Msp,
    pub south: Msp,
    pub acme: Customer,
    pub globex: Customer,
    /// The other MSP's ACME.
    pub south_acme: Customer,
}

impl TwoCustomers {
    pub(crate) async fn make(tenants: &Tenants) -> Self {
        let zone = TimeZone::get("America/New_York").unwrap();
        let past = Some("2025-01-01T05:00:00Z".parse().unwrap());
        let msp = |code: &str, name: &str| NewMsp { created_at: past, ..NewMsp::new(code, name, zone.clone()) };
        let north = tenants.create_msp(&msp("NORTH", "Northern Backup")).await.unwrap();
        let south = tenants.create_msp(&msp("SOUTH", "Southern Backup")).await.unwrap();
        let customer = |msp: MspId, code: &str| {
            let contract = NewContract::new(date(2025, 1, 1), Currency::USD, Tier::Backup, 1_000);
            NewCustomer {
                created_at: past,
                control_planes: vec![("main".to_owned(), format!("https://vbr.{}.example", code.to_lowercase()))],
                ..NewCustomer::new(msp, code.parse().unwrap(), format!("{code} Inc."), zone.clone(), contract)
            }
        };
        let acme = tenants.provision_customer(&customer(north.id, "ACME")).await.unwrap();
        let globex = tenants.provision_customer(&customer(north.id, "GLOBEX")).await.unwrap();
        let south_acme = tenants.provision_customer(&customer(south.id, "ACME")).await.unwrap();
        Self { north, south, acme, globex, south_acme }
    }

    /// Returns the scope of NORTH's ACME.
    pub fn acme_scope(&self) -> TenantScope {
        TenantScope::for_job(self.north.clone(), self.acme.clone(), "test")
    }

    /// Returns the scope of NORTH's GLOBEX.
    pub fn globex_scope(&self) -> TenantScope {
        TenantScope::for_job(self.north.clone(), self.globex.clone(), "test")
    }

    /// Returns the scope of SOUTH's ACME.
    pub fn south_acme_scope(&self) -> TenantScope {
        TenantScope::for_job(self.south.clone(), self.south_acme.clone(), "test")
    }

    /// Returns the scope of NORTH.
    pub fn north_scope(&self) -> MspScope {
        MspScope::for_job(self.north.clone(), "test")
    }

    /// Returns the scope of SOUTH.
    pub fn south_scope(&self) -> MspScope {
        MspScope::for_job(self.south.clone(), "test")
    }
}
