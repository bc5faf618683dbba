//! What providers publish about themselves, kept for an hour: their addresses and their keys.
//!
//! Kept per place, so that no tenant's provider touches another's. A token that names an unknown key makes us look again, since
//! providers change their keys; but once a minute at most, however many such tokens come.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use granary_foundation::{Outbound, OutboundError};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use uuid::Uuid;

use super::id_token::{Key, Unverified, read_keys};
use crate::AccessError;

const KEPT: SignedDuration = SignedDuration::from_hours(1);
const LOOK_AGAIN_AFTER: SignedDuration = SignedDuration::from_mins(1);

/// The document at `/.well-known/openid-configuration`: what of it is needed.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) issuer: String,
    pub(crate) authorization_endpoint: String,
    pub(crate) token_endpoint: String,
    pub(crate) jwks_uri: String,
    pub(crate) userinfo_endpoint: Option<String>,
    #[serde(default)]
    pub(crate) token_endpoint_auth_methods_supported: Vec<String>,
    #[serde(default)]
    pub(crate) scopes_supported: Vec<String>,
    /// RFC 9207: whoever comes back says from where.
    #[serde(default)]
    pub(crate) authorization_response_iss_parameter_supported: bool,
}

/// A provider as it was when it was last looked at.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    pub(crate) metadata: Metadata,
    pub(crate) keys: Vec<Key>,
    read_at: Timestamp,
    keys_asked_at: Timestamp,
}

/// Where to ask, for whom, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) outbound: &'a Outbound,
    pub(crate) place: Uuid,
    pub(crate) issuer: &'a str,
    pub(crate) now: Timestamp,
}

type Known = HashMap<(Uuid, String), Arc<Remote>>;

/// Everything that is kept.
#[derive(Debug, Clone, Default)]
pub(crate) struct Remotes(Arc<Mutex<Known>>);

impl Remotes {
    /// Returns what is known of a provider, which is asked when that is nothing or old.
    ///
    /// # Errors
    /// When it does not answer, or with something else.
    pub(crate) async fn get(&self, asking: Asking<'_>) -> Result<Arc<Remote>, AccessError> {
        let known = self.lock().get(&asking.name()).cloned();
        match known {
            Some(remote) if asking.now.duration_since(remote.read_at) < KEPT => Ok(remote),
            _ => self.ask(asking).await,
        }
    }

    /// Asks a provider, whatever is known of it.
    ///
    /// # Errors
    /// When it does not answer, or with something else.
    pub(crate) async fn ask(&self, asking: Asking<'_>) -> Result<Arc<Remote>, AccessError> {
        let address = format!("{}/.well-known/openid-configuration", asking.issuer.trim_end_matches('/'));
        let document = asking.document(&address).await?;
        let metadata: Metadata =
            serde_json::from_slice(&document).map_err(|_| AccessError::SsoRefused("the provider does not describe itself as it should"))?;
        if metadata.issuer != asking.issuer {
            return Err(AccessError::SsoRefused("the provider calls itself by another name than the issuer that is set up here"));
        }
        for endpoint in [&metadata.authorization_endpoint, &metadata.token_endpoint] {
            asking.outbound.check(endpoint)?;
        }
        let keys = asking.keys(&metadata).await?;
        let remote = Remote { metadata, keys, read_at: asking.now, keys_asked_at: asking.now };
        Ok(self.keep(asking, remote))
    }

    /// Returns the key of a token, looking again for one that is not known.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) async fn key_of(&self, asking: Asking<'_>, token: &Unverified<'_>) -> Result<Key, AccessError> {
        let unknown = || AccessError::SsoRefused("its token is not signed by a key that it publishes");
        let remote = self.get(asking).await?;
        if let Some(key) = token.key_among(&remote.keys) {
            return Ok(key.clone());
        }
        if asking.now.duration_since(remote.keys_asked_at) < LOOK_AGAIN_AFTER {
            return Err(unknown());
        }
        // Noted first: a provider that does not answer is not asked more often than one that does.
        let remote = self.keep(asking, Remote { keys_asked_at: asking.now, ..(*remote).clone() });
        let keys = asking.keys(&remote.metadata).await?;
        let remote = self.keep(asking, Remote { keys, ..(*remote).clone() });
        token.key_among(&remote.keys).cloned().ok_or_else(unknown)
    }

    fn keep(&self, asking: Asking<'_>, remote: Remote) -> Arc<Remote> {
        let remote = Arc::new(remote);
        let mut known = self.lock();
        // Providers that nobody comes through any more are forgotten here.
        known.retain(|_, other| asking.now.duration_since(other.read_at) < KEPT);
        known.insert(asking.name(), Arc::clone(&remote));
        remote
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asking<'_> {
    fn name(&self) -> (Uuid, String) {
        (self.place, self.issuer.to_owned())
    }

    async fn keys(&self, metadata: &Metadata) -> Result<Vec<Key>, AccessError> {
        let document = self.document(&metadata.jwks_uri).await?;
        read_keys(&document).ok_or(AccessError::SsoRefused("the provider does not publish its keys as it should"))
    }

    async fn document(&self, address: &str) -> Result<Vec<u8>, AccessError> {
        let answer = self.outbound.get(address, None).await?;
        if answer.status == 200 {
            return Ok(answer.body);
        }
        tracing::warn!(provider.id = %self.place, status = answer.status, "an identity provider does not describe itself");
        let host = self.outbound.check(address)?.host_str().unwrap_or_default().to_owned();
        Err(OutboundError::Unreachable(host, None).into())
    }
}
