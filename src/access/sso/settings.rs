//! Setting identity providers up: who may, and what fits.

use granary_db::{AuditEntry, Tx, record_audit};
use granary_foundation::Boxed;
use granary_types::{MspId, Role, UserId};
use granary_vault::Wrapped;
use serde_json::json;
use uuid::Uuid;

use super::{IdentityProvider, Provider, SsoSettings, secret_cell};
use crate::letters::owner_of;
use crate::managing::{check_reason, covers};
use crate::{Access, AccessError, Grant, Manager, Permission, Place, store};

const MOST_GROUPS: usize = 100;
const MOST_DOMAINS: usize = 50;
/// Whoever gives addresses to everybody speaks for nobody.
const PUBLIC_DOMAINS: &[&str] = &[
    "aol.com",
    "fastmail.com",
    "gmail.com",
    "gmx.de",
    "gmx.net",
    "googlemail.com",
    "hotmail.com",
    "icloud.com",
    "live.com",
    "mail.com",
    "mail.ru",
    "me.com",
    "msn.com",
    "outlook.com",
    "proton.me",
    "protonmail.com",
    "qq.com",
    "t-online.de",
    "web.de",
    "yahoo.com",
    "yandex.ru",
    "zoho.com",
];

/// What a provider answered when it was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SsoReport {
    pub issuer: String,
    /// Where people are sent.
    pub authorization_endpoint: String,
    pub token_endpoint: String,
    /// Keys that can sign what is taken here.
    pub keys: usize,
    /// What has to be registered at the provider.
    pub redirect_uri: String,
    /// What does not fit yet, in words; nothing when all is well.
    pub remarks: Vec<&'static str>,
}

impl Access {
    /// Returns the identity provider of a place; none when there is none.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn sso<'a>(&'a self, at: Place) -> Boxed<'a, Result<Option<IdentityProvider>, AccessError>> {
        Box::pin(async move {
            let id = at.provider_id()?;
            let tx = self.begin().await?;
            let found = store::sso::find(&tx, id).await?;
            tx.commit().await?;
            Ok(found.map(|provider| provider.shown))
        })
    }

    /// Lists the identity providers of an MSP and of its customers, its own first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn list_sso<'a>(&'a self, msp: MspId) -> Boxed<'a, Result<Vec<IdentityProvider>, AccessError>> {
        Box::pin(async move {
            let tx = self.begin().await?;
            let providers = store::sso::list(&tx, msp).await?;
            tx.commit().await?;
            Ok(providers)
        })
    }

    /// Returns the address of ours to which the provider of a place has to send people back, whether there is one or not.
    ///
    /// # Errors
    /// For the operator's people, who have none.
    pub fn sso_redirect_at(&self, at: Place) -> Result<String, AccessError> {
        Ok(self.sso_redirect(at.provider_id()?))
    }

    /// Sets the identity provider of a place up. Nothing is asked there; [`Access::test_sso`] does that.
    ///
    /// Whoever forces it at an MSP is the one who may still come in by password.
    ///
    /// # Errors
    /// When the manager may not, holds less than a group would get, or something does not fit.
    pub fn set_sso<'a>(
        &'a self,
        manager: Manager<'a>,
        at: Place,
        wanted: &'a SsoSettings,
    ) -> Boxed<'a, Result<IdentityProvider, AccessError>> {
        Box::pin(async move {
            let (id, msp) = (at.provider_id()?, at.msp.ok_or(AccessError::UnknownSso)?);
            let wanted = &self.fitting(at, wanted)?;
            let sealed = match &wanted.client_secret {
                Some(secret) => {
                    let owner = owner_of(at.msp, at.customer);
                    Some(self.tenants().keys().seal_column(owner, secret.reveal().as_bytes(), secret_cell(&id)).await?)
                }
                None => None,
            };
            let tx = self.begin().await?;
            self.authorise_sso(&tx, manager, at, wanted.groups.values().copied()).await?;
            let before = store::sso::find(&tx, id).await?;
            let sealed = secret_of(wanted, sealed, before.as_ref())?;
            let before = before.map(|provider| provider.shown);
            if let Manager::Principal(_) = manager {
                must_be_known(&tx, at, wanted, before.as_ref()).await?;
            }
            let break_glass = break_glass(&tx, manager, at, wanted, before.as_ref()).await?;
            store::sso::upsert(&tx, (id, msp, at.customer), wanted, &sealed, break_glass, self.instant()).await?;
            if !wanted.is_on || before.as_ref().is_some_and(|before| before.issuer != wanted.issuer) {
                store::sso::revoke_sessions(&tx, id, None, self.instant()).await?;
            }
            let detail = json!({
                "issuer": wanted.issuer, "is_on": wanted.is_on, "is_forced": wanted.is_forced, "trusts_email": wanted.trusts_email,
                "domains": wanted.domains, "groups": wanted.groups, "secret": wanted.client_secret.as_ref().map(|_| "replaced"),
            });
            record_audit(&tx, &entry(manager, at, id, "sso.set", detail, None)).await?;
            let now = store::sso::find(&tx, id).await?.ok_or(AccessError::UnknownSso)?.shown;
            tx.commit().await?;
            Ok(now)
        })
    }

    /// Removes the identity provider of a place. Sessions that it opened end; users stay, and may choose a password by letter.
    ///
    /// # Errors
    /// [`AccessError::UnknownSso`] when there is none; when the manager may not.
    pub fn remove_sso<'a>(&'a self, manager: Manager<'a>, at: Place, reason: &'a str) -> Boxed<'a, Result<(), AccessError>> {
        Box::pin(async move {
            let (id, reason) = (at.provider_id()?, check_reason(reason)?);
            let tx = self.begin().await?;
            self.authorise_sso(&tx, manager, at, []).await?;
            if !store::sso::delete(&tx, id).await? {
                return Err(AccessError::UnknownSso);
            }
            store::sso::revoke_sessions(&tx, id, None, self.instant()).await?;
            record_audit(&tx, &entry(manager, at, id, "sso.remove", json!({}), Some(reason))).await?;
            Ok(tx.commit().await?)
        })
    }

    /// Asks the identity provider of a place what it says of itself, whatever is remembered of it.
    ///
    /// # Errors
    /// [`AccessError::UnknownSso`] when there is none; when it does not answer, or with something else.
    pub fn test_sso<'a>(&'a self, at: Place) -> Boxed<'a, Result<SsoReport, AccessError>> {
        Box::pin(async move {
            let provider = self.sso(at).await?.ok_or(AccessError::UnknownSso)?;
            let remote = self.remotes.ask(self.asking(&provider)).await?;
            let remarks = [
                (!provider.is_on, "it is off: nobody comes in through it"),
                (provider.groups.is_empty(), "no group has a role: nobody comes in through it"),
                (provider.domains.is_empty(), "it speaks for no domain: nobody is led to it"),
                (remote.keys.is_empty(), "it publishes no key for RS256 or ES256"),
            ];
            Ok(SsoReport {
                issuer: provider.issuer.clone(),
                authorization_endpoint: remote.metadata.authorization_endpoint.clone(),
                token_endpoint: remote.metadata.token_endpoint.clone(),
                keys: remote.keys.len(),
                redirect_uri: self.sso_redirect(provider.id),
                remarks: remarks.into_iter().filter_map(|(is_so, words)| is_so.then_some(words)).collect(),
            })
        })
    }

    /// Refuses a manager who may not, or holds less than a role gives, as things stand now; the MSP's lock is held from here on.
    async fn authorise_sso(
        &self,
        tx: &Tx,
        manager: Manager<'_>,
        at: Place,
        roles: impl IntoIterator<Item = Role>,
    ) -> Result<(), AccessError> {
        store::people::lock_msp(tx, at.msp).await?;
        let Manager::Principal(principal) = manager else { return Ok(()) };
        principal.require(Permission::SsoWrite)?;
        let fresh = store::people::find_principal(tx, principal.require_user()?).await?.ok_or(AccessError::Unauthenticated)?;
        fresh.require(Permission::SsoWrite)?;
        let is_of_place = match at.customer {
            Some(customer) => fresh.sees(customer),
            None => fresh.sees_all(),
        };
        if fresh.msp() != at.msp || !is_of_place {
            return Err(AccessError::UnknownSso);
        }
        roles.into_iter().try_for_each(|role| covers(&fresh, at.msp, at.customer, &Grant { role, granted: None, can_read_billing: false }))
    }

    /// Tidies what is wanted, and refuses what does not fit.
    fn fitting(&self, at: Place, wanted: &SsoSettings) -> Result<SsoSettings, AccessError> {
        let odd = |words: &str| Err(AccessError::InvalidSso(words.to_owned()));
        let issuer = wanted.issuer.trim().to_owned();
        if self.outbound.check(&issuer)?.query().is_some() {
            return odd("an issuer has no '?' in it");
        }
        let is_text = |text: &str, most: usize| !text.trim().is_empty() && text.len() <= most && !text.chars().any(char::is_control);
        let (client_id, groups_claim) = (wanted.client_id.trim().to_owned(), wanted.groups_claim.trim().to_owned());
        if !is_text(&client_id, 255) || !is_text(&groups_claim, 200) {
            return odd("client_id needs 1 to 255 characters, groups_claim 1 to 200");
        }
        if wanted.client_secret.as_ref().is_some_and(|secret| !is_text(secret.reveal(), 2_000)) {
            return odd("the client's secret needs 1 to 2000 characters, none of them a control character");
        }
        if wanted.groups.len() > MOST_GROUPS || wanted.groups.keys().any(|name| !is_text(name, 200)) {
            return odd("there may be 100 groups, with names of 1 to 200 characters");
        }
        if let Some(role) = wanted.groups.values().find(|role| **role == Role::OperatorAdmin || role.is_customer() != at.customer.is_some())
        {
            let needs = if at.customer.is_some() { "no group of a customer's provider" } else { "no group of an MSP's provider" };
            return Err(AccessError::InvalidSso(format!("{needs} can have the role {role}")));
        }
        let mut domains: Vec<String> = wanted.domains.iter().map(|domain| domain.trim().to_lowercase()).collect();
        domains.sort_unstable();
        domains.dedup();
        if domains.len() > MOST_DOMAINS {
            return odd("there may be 50 domains");
        }
        if let Some(domain) = domains.iter().find(|domain| !is_domain(domain)) {
            return Err(AccessError::InvalidSso(format!(
                "'{}' is not a company's domain such as example.com",
                domain.chars().take(80).collect::<String>()
            )));
        }
        if wanted.is_forced && !(wanted.is_on && !wanted.groups.is_empty() && !domains.is_empty()) {
            return odd("before passwords are refused the provider has to be on, with a group that has a role, and a domain");
        }
        Ok(SsoSettings { issuer, client_id, groups_claim, domains, ..wanted.clone() })
    }
}

/// The sealed secret to keep: the new one, or the one before for the same issuer. Sent to another, it would not be a secret any more.
fn secret_of(wanted: &SsoSettings, sealed: Option<Wrapped>, before: Option<&Provider>) -> Result<Wrapped, AccessError> {
    let kept = before.filter(|before| before.shown.issuer == wanted.issuer).map(|before| before.sealed.clone());
    sealed.or(kept).ok_or_else(|| AccessError::InvalidSso("the client's secret is needed, and again with another issuer".to_owned()))
}

/// Refuses domains that nobody of the place has shown an address of: whoever speaks for a domain decides who its people are.
async fn must_be_known(tx: &Tx, at: Place, wanted: &SsoSettings, before: Option<&IdentityProvider>) -> Result<(), AccessError> {
    for domain in &wanted.domains {
        let is_ours = before.is_some_and(|before| before.domains.contains(domain));
        if !is_ours && !store::sso::has_address(tx, at, domain).await? {
            return Err(AccessError::InvalidSso(format!(
                "nobody here has an address of {domain}: invite somebody who has one first, or ask the operator"
            )));
        }
    }
    Ok(())
}

/// Who of the MSP may come in by password when the provider is forced: whoever was it, else whoever forces it.
async fn break_glass(
    tx: &Tx,
    manager: Manager<'_>,
    at: Place,
    wanted: &SsoSettings,
    before: Option<&IdentityProvider>,
) -> Result<Option<UserId>, AccessError> {
    // A customer's people are let in again by their MSP.
    if !wanted.is_forced || at.customer.is_some() {
        return Ok(None);
    }
    let kept = before.filter(|before| before.is_forced).and_then(|before| before.break_glass);
    if let Some(kept) = kept
        && store::sso::has_password(tx, kept).await?
    {
        return Ok(Some(kept));
    }
    let Manager::Principal(principal) = manager else { return Ok(None) };
    let user = principal.require_user()?;
    if !store::sso::has_password(tx, user).await? {
        return Err(AccessError::NotInState(
            "whoever forces single sign-on must be able to come in without it: choose a password first, by 'Forgot your password?'",
        ));
    }
    Ok(Some(user))
}

fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        let is_fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !label.is_empty() && label.len() <= 63 && label.bytes().all(is_fine) && !label.starts_with('-') && !label.ends_with('-')
    };
    text.len() <= 253 && text.contains('.') && text.split('.').all(is_label) && !PUBLIC_DOMAINS.contains(&text)
}

fn entry(manager: Manager<'_>, at: Place, id: Uuid, action: &str, detail: serde_json::Value, reason: Option<&str>) -> AuditEntry {
    AuditEntry {
        msp: at.msp,
        customer: at.customer,
        actor: manager.actor(),
        action: action.to_owned(),
        subject: format!("sso:{id}"),
        detail,
        reason: reason.map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_company_has_a_domain_of_its_own() {
        for good in ["north.example", "sub.north-east.example", "xn--bcher-kva.example"] {
            assert!(is_domain(good), "{good}");
        }
        for bad in [
            "north",
            "gmail.com",
            "",
            ".example",
            "north..example",
            "-a.example",
            "nörth.example",
            "a b.example",
            "*.example",
            "a@b.example",
        ] {
            assert!(!is_domain(bad), "{bad}");
        }
    }
}
