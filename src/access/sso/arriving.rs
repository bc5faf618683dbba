//! How somebody goes to an identity provider and comes back (authorization code with PKCE, RFC 9700).
//!
//! The state is random, and good once, for ten minutes, with the cookie of the browser that began. The nonce and the verifier are
//! derived from both, so that the database holds nothing that could end somebody else's sign-in. The code goes to the provider that the
//! sign-in began with, at an address of ours that is that place's alone (against mix-ups).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use granary_db::{AuditEntry, Tx, record_audit};
use granary_foundation::{Boxed, Secret, Url};
use granary_types::{Role, UserId};
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::id_token::{Expected, Unverified, Verified};
use super::remote::{Asking, Metadata, Remote};
use super::{IdentityProvider, Journey, Provider, domain_of, secret_cell};
use crate::factor::encoded;
use crate::letters::owner_of;
use crate::sessions::Stage;
use crate::throttle::{Counted, Subject};
use crate::users::check;
use crate::{Access, AccessError, Client, NewUser, Principal, Session, store, token};

/// How long somebody may be away.
const PATIENCE: SignedDuration = SignedDuration::from_mins(10);
const LONGEST_NAME: usize = 100;

fn refused(why: &'static str) -> AccessError {
    AccessError::SsoRefused(why)
}

/// Where somebody is sent.
#[derive(Debug, Clone)]
pub struct Departure {
    pub url: String,
    /// The provider's name on the Internet, to be shown.
    pub host: String,
    /// What the browser brings back in a cookie.
    pub browser: Secret,
}

/// What somebody brings back in the address.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Arrival {
    pub state: String,
    pub code: Option<Secret>,
    pub iss: Option<String>,
    pub error: Option<String>,
}

#[derive(Deserialize)]
struct Tokens {
    id_token: Secret,
    access_token: Option<Secret>,
}

impl Access {
    /// Returns the address of ours to which the provider of a place sends people back.
    pub fn sso_redirect(&self, place: Uuid) -> String {
        format!("{}/login/sso/{place}/callback", self.home())
    }

    /// Sends somebody to the provider that speaks for the domain of an address; none where nobody does. Whether a user has the
    /// address makes no difference.
    ///
    /// # Errors
    /// [`AccessError::TooManyAttempts`]; when the provider does not answer, or with something else.
    pub fn depart<'a>(&'a self, email: &'a str, next: &'a str, client: &'a Client) -> Boxed<'a, Result<Option<Departure>, AccessError>> {
        Box::pin(async move {
            let tx = self.begin().await?;
            let claimed = Subject::address(Counted::SsoAddress, client.address).claim(&tx, self.instant()).await;
            let domain = domain_of(email).unwrap_or_default();
            let found = store::sso::find_by_domain(&tx, &domain).await?;
            tx.commit().await?;
            claimed?;
            let Some(Provider { shown: provider, .. }) = found else { return Ok(None) };
            let remote = self.remotes.get(self.asking(&provider)).await?;
            let (state, browser, now) = (token::random_token(), token::random_token(), self.instant());
            let hashes = (token::hash(state.reveal()), token::hash(browser.reveal()));
            let journey = Journey { issuer: provider.issuer.clone(), next: next.chars().take(2_000).collect() };
            let before = now.checked_sub(PATIENCE).unwrap_or(now);
            let tx = self.begin().await?;
            store::sso::insert_journey(&tx, &hashes.0, &hashes.1, provider.id, &journey, (now, before)).await?;
            tx.commit().await?;
            let url = self.authorization(&provider, &remote.metadata, email.trim(), (&state, &browser))?;
            Ok(Some(Departure { host: url.host_str().unwrap_or_default().to_owned(), url: url.into(), browser }))
        })
    }

    fn authorization(
        &self,
        provider: &IdentityProvider,
        metadata: &Metadata,
        email: &str,
        (state, browser): (&Secret, &Secret),
    ) -> Result<Url, AccessError> {
        let mut url = self.outbound.check(&metadata.authorization_endpoint)?;
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier(state.reveal(), browser.reveal())));
        // Some tell groups only to whoever asks for that scope; others refuse a scope that they do not have.
        let has_groups = metadata.scopes_supported.iter().any(|scope| scope == "groups");
        let scope = if has_groups { "openid email profile groups" } else { "openid email profile" };
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &provider.client_id)
            .append_pair("redirect_uri", &self.sso_redirect(provider.id))
            .append_pair("scope", scope)
            .append_pair("state", state.reveal())
            .append_pair("nonce", &nonce(state.reveal(), browser.reveal()))
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256")
            .append_pair("login_hint", email);
        Ok(url)
    }

    /// Lets whoever comes back from the provider of a place in: a session, its token, and where its owner wanted to go.
    ///
    /// # Errors
    /// [`AccessError::SsoRefused`] with what was wrong; when the provider does not answer.
    pub fn arrive<'a>(
        &'a self,
        place: Uuid,
        arrival: &'a Arrival,
        browser: &'a str,
        client: &'a Client,
    ) -> Boxed<'a, Result<(Session, Secret, String), AccessError>> {
        Box::pin(async move {
            let (journey, provider) = self.take_journey(place, &arrival.state, browser).await?;
            if arrival.error.is_some() {
                return Err(refused("the provider did not let you in"));
            }
            let remote = self.remotes.get(self.asking(&provider.shown)).await?;
            let says_who = remote.metadata.authorization_response_iss_parameter_supported;
            match &arrival.iss {
                Some(issuer) if *issuer != journey.issuer => return Err(refused("another provider answered")),
                None if says_who => return Err(refused("the provider does not say who it is")),
                _ => {}
            }
            let code = arrival.code.as_ref().ok_or(refused("the provider gave no code"))?;
            let tokens = self.exchange(&provider, &remote, code, &verifier(&arrival.state, browser)).await?;
            let token = Unverified::parse(tokens.id_token.reveal())?;
            let key = self.remotes.key_of(self.asking(&provider.shown), &token).await?;
            let nonce = nonce(&arrival.state, browser);
            let expected =
                Expected { issuer: &provider.shown.issuer, client_id: &provider.shown.client_id, nonce: &nonce, now: self.instant() };
            let verified = token.verify(&key, expected)?;
            let verified = self.completed(&provider.shown, &remote, verified, tokens.access_token.as_ref()).await?;
            let (session, token) = self.admit(&provider.shown, &verified, client).await?;
            Ok((session, token, journey.next))
        })
    }

    /// Uses the journey up and finds its provider, which must be the one that it began with.
    async fn take_journey(&self, place: Uuid, state: &str, browser: &str) -> Result<(Journey, Provider), AccessError> {
        let (now, hashes) = (self.instant(), (token::hash(state), token::hash(browser)));
        let since = now.checked_sub(PATIENCE).unwrap_or(now);
        let tx = self.begin().await?;
        let journey = store::sso::take_journey(&tx, (&hashes.0, &hashes.1), place, (since, now)).await?;
        let provider = store::sso::find(&tx, place).await?.filter(|provider| provider.shown.is_on);
        tx.commit().await?;
        let journey = journey.ok_or(refused("it began in another browser, took too long, or was used already; begin again"))?;
        let provider = provider.filter(|provider| provider.shown.issuer == journey.issuer);
        Ok((journey, provider.ok_or(refused("your administrator changed it meanwhile; begin again"))?))
    }

    /// Exchanges the code for tokens.
    async fn exchange(&self, provider: &Provider, remote: &Remote, code: &Secret, verifier: &str) -> Result<Tokens, AccessError> {
        let shown = &provider.shown;
        let owner = owner_of(Some(shown.msp_id), shown.customer_id);
        let opened = self.tenants().keys().open_column(owner, &provider.sealed, secret_cell(&shown.id)).await?;
        let secret = String::from_utf8(opened).map_err(|_| refused("the client's secret is not a text"))?;
        let redirect = self.sso_redirect(shown.id);
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code.reveal()),
            ("redirect_uri", redirect.as_str()),
            ("code_verifier", verifier),
        ];
        let methods = &remote.metadata.token_endpoint_auth_methods_supported;
        let takes = |method: &str| methods.iter().any(|known| known == method);
        let endpoint = &remote.metadata.token_endpoint;
        let answer = if takes("client_secret_post") && !takes("client_secret_basic") {
            form.extend([("client_id", shown.client_id.as_str()), ("client_secret", secret.as_str())]);
            self.outbound.post_form(endpoint, &form, None).await?
        } else {
            // RFC 6749, 2.3.1: both are encoded before they are put together.
            let (name, password) = (encoded(&shown.client_id), Secret::new(encoded(&secret)));
            self.outbound.post_form(endpoint, &form, Some((name.as_str(), &password))).await?
        };
        if answer.status != 200 {
            tracing::warn!(provider.id = %shown.id, status = answer.status, error = error_of(&answer.body), "a code was not taken");
            return Err(refused("the provider does not take its own code; the client's secret may be out of date"));
        }
        serde_json::from_slice(&answer.body).map_err(|_| refused("the provider's answer holds no token"))
    }

    /// Asks for the claims that the token lacks; many providers keep groups and addresses out of it.
    async fn completed(
        &self,
        provider: &IdentityProvider,
        remote: &Remote,
        verified: Verified,
        access_token: Option<&Secret>,
    ) -> Result<Verified, AccessError> {
        let is_complete = verified.claims.contains_key("email") && !provider.groups_in(&verified.claims).is_empty();
        let (Some(endpoint), Some(access_token), false) = (&remote.metadata.userinfo_endpoint, access_token, is_complete) else {
            return Ok(verified);
        };
        let answer = self.outbound.get(endpoint, Some(access_token)).await?;
        let more = if answer.status == 200 { serde_json::from_slice::<Map<String, Value>>(&answer.body).ok() } else { None };
        let more = more.ok_or(refused("the provider does not tell more about you"))?;
        let subject = more.get("sub").and_then(Value::as_str).unwrap_or_default();
        if !bool::from(subject.as_bytes().ct_eq(verified.subject.as_bytes())) {
            return Err(refused("the provider tells about somebody else"));
        }
        Ok(Verified { claims: merged(verified.claims, more), ..verified })
    }

    /// Finds or makes the user, gives the role of the groups, and opens a session.
    async fn admit(&self, provider: &IdentityProvider, verified: &Verified, client: &Client) -> Result<(Session, Secret), AccessError> {
        let (at, now) = (provider.place(), self.instant());
        let tx = self.begin().await?;
        store::people::lock_msp(&tx, at.msp).await?;
        let known = store::sso::find_identity(&tx, provider.id, &provider.issuer, &verified.subject, now).await?;
        let role = provider.role_of(&verified.claims);
        let user = match (known, role) {
            (Some(user), _) => user,
            (None, Some(role)) => self.meet(&tx, provider, verified, role).await?,
            (None, None) => return Err(no_group()),
        };
        match role {
            // Whoever is to come in when nothing else works keeps the role for that.
            _ if provider.break_glass == Some(user) => {}
            Some(role) => self.follow(&tx, provider, user, role).await?,
            None => {
                store::sso::revoke_sessions(&tx, provider.id, Some(user), now).await?;
                record_audit(&tx, &entry(provider, user, "user.sso_refused", json!({}))).await?;
                tx.commit().await?;
                return Err(no_group());
            }
        }
        let principal = store::sso::find_principal(&tx, at, user, self.now()).await?;
        let principal = principal.ok_or(refused("this login was stopped; ask your administrator"))?;
        Subject::address(Counted::SsoAddress, client.address).give_back(&tx).await?;
        let opened = self.open_session(&tx, principal, user, client, Stage::Provider(provider.id)).await?;
        tx.commit().await?;
        Ok(opened)
    }

    /// Meets somebody for the first time: links a user of the place with the same address, or makes one.
    async fn meet(&self, tx: &Tx, provider: &IdentityProvider, verified: &Verified, role: Role) -> Result<UserId, AccessError> {
        let text = |name: &str| verified.claims.get(name).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty());
        let email = text("email").ok_or(refused("the provider does not tell your e-mail address"))?;
        let is_verified = match verified.claims.get("email_verified") {
            Some(Value::Bool(is_verified)) => *is_verified,
            // Some write it as a text.
            Some(Value::String(word)) => word == "true",
            _ => provider.trusts_email,
        };
        if !is_verified {
            return Err(refused("the provider does not say that your e-mail address is verified"));
        }
        if !provider.speaks_for(email) {
            return Err(refused("the provider does not speak for the domain of your e-mail address"));
        }
        let at = provider.place();
        let same = store::people::find_person(tx, provider.msp_id, email).await?.filter(|person| person.customer_id == at.customer);
        let (user, action) = match same {
            Some(person) => (person.id, "user.sso_link"),
            None => (self.make_user(tx, provider, (email, text("name")), role).await?, "user.sso_create"),
        };
        if !store::sso::insert_identity(tx, provider.id, (&provider.issuer, &verified.subject), user, self.instant()).await? {
            return Err(refused("somebody else of your provider has come in with this e-mail address; ask your administrator"));
        }
        record_audit(tx, &entry(provider, user, action, json!({"role": role}))).await?;
        Ok(user)
    }

    async fn make_user(
        &self,
        tx: &Tx,
        provider: &IdentityProvider,
        (email, name): (&str, Option<&str>),
        role: Role,
    ) -> Result<UserId, AccessError> {
        let name: String = name.unwrap_or(email).chars().filter(|letter| !letter.is_control()).take(LONGEST_NAME).collect();
        let new = NewUser {
            email: email.to_owned(),
            name: if name.trim().is_empty() { email.chars().take(LONGEST_NAME).collect() } else { name },
            role,
            msp_id: Some(provider.msp_id),
            customer_id: provider.customer_id,
            granted: None,
            can_read_billing: false,
            // Fits no password.
            password: Secret::new(""),
        };
        check(&new).map_err(|_| refused("your e-mail address cannot be used here"))?;
        let id = UserId::new();
        store::insert_user(tx, id, &new, "", self.now()).await.map_err(|error| match error {
            AccessError::EmailTaken(_) => refused("your e-mail address cannot be used here; ask your administrator"),
            error => error,
        })?;
        Ok(id)
    }

    /// Gives the role of the groups, where it is another one; customers that somebody is confined to stay while the role takes that.
    async fn follow(&self, tx: &Tx, provider: &IdentityProvider, user: UserId, role: Role) -> Result<(), AccessError> {
        let person = store::people::get_person(tx, user).await?;
        if person.role == role {
            return Ok(());
        }
        let granted = person.granted.filter(|_| matches!(role, Role::MspOperator | Role::MspAnalyst));
        let changed = NewUser {
            email: person.email,
            name: person.name,
            role,
            msp_id: person.msp_id,
            customer_id: person.customer_id,
            granted,
            can_read_billing: false,
            password: Secret::new(""),
        };
        store::people::update_role(tx, user, &changed).await?;
        for customer in changed.granted.iter().flatten() {
            store::insert_user_customer(tx, user, changed.msp_id, *customer).await?;
        }
        let detail = json!({"from": person.role, "to": role});
        record_audit(tx, &entry(provider, user, "user.sso_role", detail)).await?;
        Ok(())
    }

    /// Refuses a password where a provider is forced, but for whom the MSP keeps a way in.
    pub(crate) async fn admit_password(&self, tx: &Tx, principal: &Principal, user: UserId) -> Result<(), AccessError> {
        match store::sso::find_force(tx, user).await? {
            None => Ok(()),
            Some(false) => Err(AccessError::SsoRequired),
            Some(true) => {
                tracing::warn!(user.id = %user, "a password was taken although single sign-on is forced");
                Ok(record_audit(tx, &crate::choosing::own_entry(principal, user, "user.break_glass")).await?)
            }
        }
    }

    pub(super) fn asking<'a>(&'a self, provider: &'a IdentityProvider) -> Asking<'a> {
        Asking { outbound: &self.outbound, place: provider.id, issuer: &provider.issuer, now: self.instant() }
    }
}

fn no_group() -> AccessError {
    refused("none of your groups has a role here; ask your administrator")
}

fn derived(what: &str, state: &str, browser: &str) -> [u8; 32] {
    Sha256::digest(format!("granary sign-in {what} {state} {browser}")).into()
}

fn nonce(state: &str, browser: &str) -> String {
    URL_SAFE_NO_PAD.encode(derived("nonce", state, browser))
}

fn verifier(state: &str, browser: &str) -> String {
    URL_SAFE_NO_PAD.encode(derived("verifier", state, browser))
}

/// Adds claims to those of a token, which go first. An address and whether it is verified come from one hand.
fn merged(mut claims: Map<String, Value>, mut more: Map<String, Value>) -> Map<String, Value> {
    let from = if claims.contains_key("email") { &mut more } else { &mut claims };
    from.remove("email_verified");
    for (name, value) in more {
        claims.entry(name).or_insert(value);
    }
    claims
}

/// The error's name in an answer (RFC 6749, 5.2), if it is one.
fn error_of(body: &[u8]) -> String {
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    let name = said.get("error").and_then(Value::as_str).unwrap_or("unknown");
    name.chars().filter(|letter| letter.is_ascii_lowercase() || *letter == '_').take(50).collect()
}

fn entry(provider: &IdentityProvider, user: UserId, action: &str, detail: Value) -> AuditEntry {
    AuditEntry {
        msp: Some(provider.msp_id),
        customer: provider.customer_id,
        actor: format!("user:{user}"),
        action: action.to_owned(),
        subject: format!("user:{user}"),
        detail,
        reason: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whether_an_address_is_verified_is_not_borrowed_from_another_document() {
        let merged = |one: Value, more: Value| {
            let object = |value: Value| value.as_object().unwrap().clone();
            Value::Object(merged(object(one), object(more)))
        };
        let told =
            merged(json!({"sub": "1", "email": "victim@north.example"}), json!({"email": "own@north.example", "email_verified": true}));
        assert_eq!(told, json!({"sub": "1", "email": "victim@north.example"}));
        let told = merged(json!({"sub": "1", "email_verified": true}), json!({"sub": "1", "email": "a@north.example", "groups": ["x"]}));
        assert_eq!(told, json!({"sub": "1", "email": "a@north.example", "groups": ["x"]}));
    }

    #[test]
    fn a_verifier_is_one_of_rfc_7636_and_differs_with_state_and_browser() {
        assert_eq!(verifier("a", "b").len(), 43);
        assert_ne!(verifier("a", "b"), verifier("a", "c"));
        assert_ne!(verifier("a", "b"), nonce("a", "b"));
        assert_eq!(error_of(br#"{"error": "invalid_grant", "error_description": "secret"}"#), "invalid_grant");
        assert_eq!(error_of(b"<html>"), "unknown");
    }
}
