//! Customers: the tenants.

use granary_types::{ControlPlaneId, CustomerCode, CustomerId, CustomerStatus, Deployment, LONGEST_TEXT, MspId, SiteId, is_printable};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::contract::NewContract;
use crate::error::TenantsError;

/// An end customer of one MSP.
#[derive(Debug, Clone)]
pub struct Customer {
    pub id: CustomerId,
    pub msp_id: MspId,
    pub code: CustomerCode,
    pub name: String,
    pub status: CustomerStatus,
    /// When it came to that status.
    pub status_since: Timestamp,
    /// The zone of its service days.
    pub time_zone: TimeZone,
    pub country: String,
    pub region: String,
    pub vertical: Option<String>,
    pub contact_email: Option<String>,
    pub deployment: Deployment,
    /// How it appears to its own people: `#1e40af`, and an address of a picture.
    pub brand_color: Option<String>,
    pub logo_url: Option<String>,
    /// `t_<id>`; the schema that holds all of its data.
    pub schema_name: String,
    pub role_name: String,
    /// Whose login serves it; a bucket has at most 250 customers.
    pub bucket: i32,
    /// The cluster that holds the schema.
    pub cluster: String,
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
    pub deployment: Deployment,
    /// `#1e40af`, in lower case.
    pub brand_color: Option<String>,
    pub logo_url: Option<String>,
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
            deployment: Deployment::Shared,
            brand_color: None,
            logo_url: None,
            status: CustomerStatus::Active,
            created_at: None,
            contract,
            control_planes: Vec::new(),
        }
    }
}

impl NewCustomer {
    /// Refuses what no customer can have.
    pub(crate) fn check(&self) -> Result<(), TenantsError> {
        let is_name = |text: &str| is_printable(text, LONGEST_TEXT);
        if !is_name(&self.name) {
            return Err(TenantsError::Invalid("the name of a customer has 1 to 200 characters, none of them a control character"));
        }
        let is_color = |color: &String| {
            color.len() == 7
                && color.starts_with('#')
                && color.bytes().skip(1).all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        };
        if !self.brand_color.as_ref().is_none_or(is_color) {
            return Err(TenantsError::Invalid("a colour is written like #1e40af"));
        }
        let is_picture =
            |url: &String| url.starts_with("https://") && url.len() <= 2_000 && url.bytes().all(|byte| byte.is_ascii_graphic());
        if !self.logo_url.as_ref().is_none_or(is_picture) {
            return Err(TenantsError::Invalid("the address of a logo begins with https:// and has at most 2000 characters"));
        }
        if self.country.len() != 2 || !self.country.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(TenantsError::Invalid("a country is two capital letters, such as US"));
        }
        let is_region = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !(1..=40).contains(&self.region.len()) || !self.region.bytes().all(is_region) {
            return Err(TenantsError::Invalid("a region is 1 to 40 of a-z, 0-9 and '-', such as eu-west-1"));
        }
        if !self.vertical.as_deref().is_none_or(is_name) {
            return Err(TenantsError::Invalid("a vertical has 1 to 200 characters, none of them a control character"));
        }
        self.contract.check()?;
        if !self.control_planes.iter().all(|(name, source)| is_name(name) && is_name(source)) {
            return Err(TenantsError::Invalid("a control plane has a name and a source of 1 to 200 characters"));
        }
        if !matches!(self.status, CustomerStatus::Trial | CustomerStatus::Active) {
            return Err(TenantsError::Invalid("a customer begins as trial or active"));
        }
        Ok(())
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
    pub site_id: Option<SiteId>,
    pub enrolled_at: Timestamp,
    pub last_seen_at: Option<Timestamp>,
    pub retired_at: Option<Timestamp>,
}

/// A change of a customer's status.
#[derive(Debug, Clone)]
pub struct StatusChange {
    pub customer_id: CustomerId,
    pub status: CustomerStatus,
    pub reason: Option<String>,
    pub changed_at: Timestamp,
}
