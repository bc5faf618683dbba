//! What goes with a query to an executor: for whom it runs, on which version of the lake, until when.
//!
//! A ticket holds no key. It opens nothing by itself: an executor looks up what its grant may read, as this process did.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use datafusion::error::DataFusionError;
use granary_tenants::{Granted, ReadGrant};
use granary_types::{Clock, CustomerId, MspId, Role};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use url::Url;
use uuid::Uuid;

use super::house::House;

/// The header that carries it.
pub(super) const HEADER: HeaderName = HeaderName::from_static("x-granary-ticket");
/// Both sides are one program: a plan of another build may read differently.
pub(super) const BUILD: &str = concat!(env!("CARGO_PKG_VERSION"), "+datafusion-distributed-4");
/// The longest ticket that is sent: one that names some ten thousand customers.
const LONGEST: usize = 512 << 10;

/// Why a ticket is not taken; whoever brought it learns no more than this.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Refused {
    #[error("there is no ticket")]
    Missing,
    #[error("the ticket is not of this house")]
    Forged,
    #[error("the ticket is over")]
    Expired,
    #[error("the ticket is of another build of granary")]
    OtherBuild,
    #[error("the ticket cannot be looked at now")]
    Unknown,
}

/// For whom, on what, until when, and among whom.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ticket {
    build: String,
    msp: MspId,
    /// None: all of the MSP.
    customers: Option<Vec<CustomerId>>,
    role: Role,
    can_read_billing: bool,
    pub(super) version: i64,
    /// Whom an executor may call for its part.
    pub(super) executors: Vec<Url>,
    /// In seconds since 1970, by the machine's clock: a house's may stand still.
    expires_at: i64,
    nonce: Uuid,
}

impl Ticket {
    pub(super) fn new(grant: &ReadGrant, version: i64, executors: &[Url], life: Duration) -> Self {
        let customers = match &grant.customers {
            Granted::All => None,
            Granted::Only(customers) => Some(customers.iter().copied().collect()),
        };
        Self {
            build: BUILD.to_owned(),
            msp: grant.msp,
            customers,
            role: grant.role,
            can_read_billing: grant.can_read_billing,
            version,
            executors: executors.to_vec(),
            expires_at: now().saturating_add(i64::try_from(life.as_secs()).unwrap_or(i64::MAX)),
            nonce: Uuid::new_v4(),
        }
    }

    /// Returns what its bearer may read.
    pub(super) fn grant(&self) -> ReadGrant {
        let customers = self.customers.as_ref().map_or(Granted::All, |customers| Granted::Only(customers.iter().copied().collect()));
        ReadGrant { msp: self.msp, customers, role: self.role, can_read_billing: self.can_read_billing }
    }

    /// Looks at the ticket that came with a request.
    pub(super) async fn open(house: &dyn House, headers: &HeaderMap) -> Result<Self, Refused> {
        let text = headers.get(HEADER).ok_or(Refused::Missing)?.to_str().map_err(|_| Refused::Forged)?;
        let (payload, digest) = text.split_once('.').ok_or(Refused::Forged)?;
        let [payload, digest] = [payload, digest].map(|part| URL_SAFE_NO_PAD.decode(part).map_err(|_| Refused::Forged));
        let (payload, digest) = (payload?, digest?);
        let expected = house.vouch(&payload).await.map_err(|error| {
            tracing::error!(%error, "a ticket cannot be looked at");
            Refused::Unknown
        })?;
        if !bool::from(expected.ct_eq(&digest)) {
            return Err(Refused::Forged);
        }
        let ticket: Self = serde_json::from_slice(&payload).map_err(|_| Refused::OtherBuild)?;
        if ticket.build != BUILD {
            return Err(Refused::OtherBuild);
        }
        if ticket.expires_at <= now() {
            return Err(Refused::Expired);
        }
        Ok(ticket)
    }
}

/// A ticket as it is sent.
#[derive(Debug, Clone)]
pub(super) struct Bearer(String);

impl Bearer {
    /// Seals a ticket; none when it names so many customers that it is too long for a header.
    pub(super) async fn seal(house: &dyn House, ticket: &Ticket) -> Result<Option<Self>, crate::WarehouseError> {
        let payload = serde_json::to_vec(ticket)?;
        let digest = house.vouch(&payload).await?;
        let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(&payload), URL_SAFE_NO_PAD.encode(digest));
        Ok(Some(Self(text)).filter(|bearer| bearer.0.len() <= LONGEST))
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }

    pub(super) fn headers(&self) -> Result<HeaderMap, DataFusionError> {
        header(&self.0)
    }
}

/// Writes a ticket into headers; it is marked so that nothing prints it.
pub(super) fn header(text: &str) -> Result<HeaderMap, DataFusionError> {
    let mut value = HeaderValue::from_str(text).map_err(|error| DataFusionError::External(Box::new(error)))?;
    value.set_sensitive(true);
    Ok(HeaderMap::from_iter([(HEADER, value)]))
}

fn now() -> i64 {
    Clock::System.now().as_second()
}
