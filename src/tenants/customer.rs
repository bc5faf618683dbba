//! Customers: the tenants.

use granary_types::{ControlPlaneId, CustomerCode, CustomerId, CustomerStatus, MspId};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::contract::NewContract;

/// An end customer of one MSP.
#[derive(Debug, Clone)]
pub struct Customer {
    pub id: CustomerId,
    pub msp_id: MspId,
    pub code: CustomerCode,
    pub name: String,
    pub status: CustomerStatus,
    /// The zone of its service days.
    pub time_zone: TimeZone,
    pub country: String,
    pub region: String,
    pub vertical: Option<String>,
    pub contact_email: Option<String>,
    /// `t_<id>`; the schema that holds all of its data.
    pub schema_name: String,
    pub role_name: String,
    /// Whose login serves it; a bucket has at most 250 customers.
    pub bucket: i32,
    pub schema_version: i32,
    pub trial_ends_on: Option<Date>,
    pub activated_on: Option<Date>,
    pub created_at: Timestamp,
}

/// A customer to be provisioned.
#[derive(Debug, Clone)]
pub struct NewCustomer {
    pub msp_id: MspId,
    pub code: CustomerCode,
    pub name: String,
    pub time_zone: TimeZone,
    pub country: String,
    pub region: String,
    pub vertical: Option<String>,
    pub contact_email: Option<String>,
    pub status: CustomerStatus,
    /// None for now; may lie in the past.
    pub created_at: Option<Timestamp>,
    pub contract: NewContract,
    /// Name and CloudEvents source of each backup system.
    pub control_planes: Vec<(String, String)>,
}

impl NewCustomer {
    /// Describes an active customer without a control plane.
    pub fn new(msp_id: MspId, code: CustomerCode, name: impl Into<String>, time_zone: TimeZone, contract: NewContract) -> Self {
        Self {
            msp_id,
            code,
            name: name.into(),
            time_zone,
            country: "US".to_owned(),
            region: "local".to_owned(),
            vertical: None,
            contact_email: None,
            status: CustomerStatus::Active,
            created_at: None,
            contract,
            control_planes: Vec::new(),
        }
    }
}

/// A backup system at a customer.
#[derive(Debug, Clone)]
pub struct ControlPlane {
    pub id: ControlPlaneId,
    pub customer_id: CustomerId,
    pub name: String,
    /// What its events carry as `source`.
    pub source: String,
    pub version: Option<String>,
    pub enrolled_at: Timestamp,
    pub last_seen_at: Option<Timestamp>,
}

/// A change of a customer's status.
#[derive(Debug, Clone)]
pub struct StatusChange {
    pub customer_id: CustomerId,
    pub status: CustomerStatus,
    pub reason: Option<String>,
    pub changed_at: Timestamp,
}
