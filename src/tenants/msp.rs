//! Managed service providers.

use granary_types::{CountingRule, Currency, MspId, PartnerTier};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A managed service provider.
#[derive(Debug, Clone)]
pub struct Msp {
    pub id: MspId,
    /// Unique in the installation, `NORTH`.
    pub code: String,
    pub name: String,
    /// The zone of its billing days and periods.
    pub time_zone: TimeZone,
    pub currency: Currency,
    pub partner_tier: PartnerTier,
    pub counting_rule: CountingRule,
    /// `#0b6e4f`
    pub brand_color: String,
    pub logo_svg: Option<String>,
    pub created_at: Timestamp,
}

/// An MSP to be made.
#[derive(Debug, Clone)]
pub struct NewMsp {
    pub code: String,
    pub name: String,
    pub time_zone: TimeZone,
    pub currency: Currency,
    pub partner_tier: PartnerTier,
    pub counting_rule: CountingRule,
    pub brand_color: String,
    pub logo_svg: Option<String>,
    /// None for now; the past of an import or a demo may be given.
    pub created_at: Option<Timestamp>,
}

impl NewMsp {
    /// Describes an MSP that bills in USD at premier, by machines with a completed run in the period.
    pub fn new(code: impl Into<String>, name: impl Into<String>, time_zone: TimeZone) -> Self {
        Self {
            code: code.into(),
            name: name.into(),
            time_zone,
            currency: Currency::USD,
            partner_tier: PartnerTier::Premier,
            counting_rule: CountingRule::DistinctInPeriod,
            brand_color: "#0b6e4f".to_owned(),
            logo_svg: None,
            created_at: None,
        }
    }
}
