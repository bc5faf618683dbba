//! Single sign-on: people who come in through the identity provider of their own company (OpenID Connect).
//!
//! A place — an MSP's own people, or one customer's — has at most one provider, under the place's id. What it says counts in its place
//! alone: it makes and finds users there and gives roles that its administrator may give. Who somebody is, is (issuer, subject); an
//! address only finds a user on the first visit, and only one of a domain that the provider speaks for. Roles follow the groups at
//! every login. All requests go by [`granary_foundation::Outbound`].

mod arriving;
mod id_token;
mod remote;
mod settings;

use std::collections::BTreeMap;

use granary_foundation::Secret;
use granary_types::{CustomerId, MspId, Role, UserId};
use granary_vault::{Cell, Wrapped};
use jiff::Timestamp;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{AccessError, Permission, Place};

pub use arriving::{Arrival, Departure};
pub(crate) use remote::Remotes;
pub use settings::SsoReport;

/// An identity provider as it is shown: everything but the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityProvider {
    /// The customer's id, else the MSP's.
    pub id: Uuid,
    pub msp_id: MspId,
    /// None for the MSP's own people.
    pub customer_id: Option<CustomerId>,
    pub issuer: String,
    pub client_id: String,
    pub groups_claim: String,
    /// By the name of the group.
    pub groups: BTreeMap<String, Role>,
    pub domains: Vec<String>,
    pub trusts_email: bool,
    pub is_on: bool,
    pub is_forced: bool,
    /// Who of the MSP may come in by password all the same.
    pub break_glass: Option<UserId>,
    pub break_glass_email: Option<String>,
    pub updated_at: Timestamp,
}

/// How an identity provider is to be set up.
#[derive(Debug, Clone)]
pub struct SsoSettings {
    /// Exactly as the provider calls itself.
    pub issuer: String,
    pub client_id: String,
    /// None for the one that is kept; another issuer needs a new one.
    pub client_secret: Option<Secret>,
    /// The claim that lists somebody's groups; with a `/` in front, where in the claims it lies (a JSON pointer).
    pub groups_claim: String,
    /// Which group has which role; who is in several has the role that may most.
    pub groups: BTreeMap<String, Role>,
    /// The domains whose addresses the provider speaks for.
    pub domains: Vec<String>,
    /// Whether addresses are believed that the provider does not call verified.
    pub trusts_email: bool,
    pub is_on: bool,
    /// Whether passwords are refused.
    pub is_forced: bool,
}

/// A provider with its sealed secret.
#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) shown: IdentityProvider,
    pub(crate) sealed: Wrapped,
}

/// What is remembered of somebody who was sent to a provider.
#[derive(Debug)]
pub(crate) struct Journey {
    pub(crate) issuer: String,
    pub(crate) next: String,
}

impl Place {
    /// The id under which a place has its provider.
    pub(crate) fn provider_id(self) -> Result<Uuid, AccessError> {
        let customer = self.customer.map(|customer| customer.uuid());
        customer
            .or(self.msp.map(|msp| msp.uuid()))
            .ok_or_else(|| AccessError::InvalidSso("the operator's people come in by password".to_owned()))
    }
}

impl IdentityProvider {
    /// Whose people come in through it.
    pub(crate) const fn place(&self) -> Place {
        Place { msp: Some(self.msp_id), customer: self.customer_id }
    }

    /// Tells whether a role is one of the place's.
    fn has_role(&self, role: Role) -> bool {
        role != Role::OperatorAdmin && role.is_customer() == self.customer_id.is_some()
    }

    /// The role that somebody's groups give: of several the one that may most.
    fn role_of(&self, claims: &Map<String, Value>) -> Option<Role> {
        let names = self.groups_in(claims);
        let roles = names.iter().filter_map(|name| self.groups.get(*name)).copied().filter(|role| self.has_role(*role));
        roles.max_by_key(|role| (Permission::of_role(*role).len(), std::cmp::Reverse(*role)))
    }

    /// The groups that the claims name: a list of texts, or one text.
    fn groups_in<'a>(&self, claims: &'a Map<String, Value>) -> Vec<&'a str> {
        let claim = match self.groups_claim.strip_prefix('/') {
            Some(path) => path
                .split_once('/')
                .map_or_else(|| claims.get(path), |(first, rest)| claims.get(first).and_then(|value| value.pointer(&format!("/{rest}")))),
            None => claims.get(&self.groups_claim),
        };
        match claim {
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(name)) => vec![name.as_str()],
            _ => Vec::new(),
        }
    }

    /// Tells whether it speaks for the domain of an address.
    fn speaks_for(&self, email: &str) -> bool {
        domain_of(email).is_some_and(|domain| self.domains.contains(&domain))
    }
}

/// The domain of an address, in small letters.
pub(crate) fn domain_of(email: &str) -> Option<String> {
    let (name, domain) = email.trim().split_once('@')?;
    (!name.is_empty() && !domain.is_empty() && !domain.contains('@')).then(|| domain.to_lowercase())
}

/// Where a provider's secret lies.
const fn secret_cell(id: &Uuid) -> Cell<'_> {
    Cell::of("identity_providers", "sealed", id.as_bytes())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn provider(groups_claim: &str, groups: &[(&str, Role)]) -> IdentityProvider {
        IdentityProvider {
            id: Uuid::nil(),
            msp_id: MspId::new(),
            customer_id: None,
            issuer: "https://login.example".to_owned(),
            client_id: "granary".to_owned(),
            groups_claim: groups_claim.to_owned(),
            groups: groups.iter().map(|(name, role)| ((*name).to_owned(), *role)).collect(),
            domains: vec!["north.example".to_owned()],
            trusts_email: false,
            is_on: true,
            is_forced: false,
            break_glass: None,
            break_glass_email: None,
            updated_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn role(groups_claim: &str, claims: &Value) -> Option<Role> {
        let groups =
            [("Admins", Role::MspAdmin), ("Desk", Role::MspOperator), ("Money", Role::MspFinance), ("Buyers", Role::CustomerAdmin)];
        provider(groups_claim, &groups).role_of(claims.as_object().unwrap())
    }

    #[test]
    fn the_strongest_role_of_the_groups_counts_and_only_one_of_the_place() {
        assert_eq!(role("groups", &json!({"groups": ["Desk", "Money", "Others"]})), Some(Role::MspFinance));
        assert_eq!(role("groups", &json!({"groups": ["Desk", "Admins"]})), Some(Role::MspAdmin));
        assert_eq!(role("hd", &json!({"hd": "Desk"})), Some(Role::MspOperator));
        assert_eq!(role("/realm_access/roles", &json!({"realm_access": {"roles": ["Desk"]}})), Some(Role::MspOperator));
        assert_eq!(role("https://x.example/groups", &json!({"https://x.example/groups": ["Desk"]})), Some(Role::MspOperator));
        for nothing in
            [json!({}), json!({"groups": []}), json!({"groups": ["admins"]}), json!({"groups": ["Buyers"]}), json!({"groups": 7})]
        {
            assert_eq!(role("groups", &nothing), None, "{nothing}");
        }
    }

    #[test]
    fn a_provider_speaks_for_its_domains_and_not_for_those_below() {
        let north = provider("groups", &[]);
        assert!(north.speaks_for("ada@north.example") && north.speaks_for(" ADA@North.Example "));
        for other in
            ["ada@sub.north.example", "ada@evilnorth.example", "ada@north.example@evil.example", "north.example", "@north.example", ""]
        {
            assert!(!north.speaks_for(other), "{other}");
        }
    }
}
