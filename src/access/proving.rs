//! Holders of keys that prove to have one and never send it: SCRAM-SHA-256, as the clients of Postgres speak it.
//!
//! A key is 178 random bits: nobody guesses it, so that no count of wrong proofs locks a key, which would let strangers lock out its
//! program. What is counted, before anything is looked up, is how often a client address fails, together with its logins.

use std::fmt;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use granary_foundation::Boxed;
use granary_types::ApiKeyId;
use granary_vault::Owner;

use crate::scram::{Challenge, Verifier};
use crate::throttle::{Counted, Subject};
use crate::{Access, AccessError, Principal, store};

/// Longer names are nobody's.
const LONGEST_NAME: usize = 100;

/// A proof that was begun: what is kept between the two messages of a client.
#[derive(Clone)]
pub struct Proof {
    challenge: Challenge,
    /// None for a stranger, who proves nothing.
    key: Option<ApiKeyId>,
    address: Option<IpAddr>,
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proof({})", if self.key.is_some() { "somebody" } else { "nobody" })
    }
}

impl Access {
    /// Answers the first message of somebody who says to hold the key of which a beginning, or the id, is the user name. A stranger is
    /// answered alike: with a salt that is always the same for the same name.
    ///
    /// # Errors
    /// [`AccessError::TooManyAttempts`] for an address that failed too often, [`AccessError::KeyRefused`] for what is no message.
    pub fn begin_proof<'a>(
        &'a self,
        user: &'a str,
        client_first: &'a str,
        address: Option<IpAddr>,
    ) -> Boxed<'a, Result<(Proof, String), AccessError>> {
        Box::pin(async move {
            let user: String = user.chars().take(LONGEST_NAME).collect();
            let digest = self.digest_of_name(&user).await?;
            let tx = self.begin().await?;
            let claimed = Subject::address(Counted::Address, address).claim(&tx, self.instant()).await;
            let found = match &claimed {
                Ok(_) => store::api_keys::find_verifier(&tx, &user, self.instant()).await?,
                Err(_) => None,
            };
            tx.commit().await?;
            claimed?;
            let known = found.and_then(|(id, text)| Some((id, Verifier::read(&text)?)));
            let (key, verifier) = known.map_or_else(|| (None, Verifier::of_nobody(&digest)), |(id, verifier)| (Some(id), verifier));
            let nonce = STANDARD.encode(rand::random::<[u8; 18]>());
            let (challenge, answer) =
                Challenge::begin(verifier, client_first, &nonce).ok_or(AccessError::KeyRefused("it was not proved"))?;
            Ok((Proof { challenge, key, address }, answer))
        })
    }

    /// Checks the second message, and returns whose key was proved and the proof that we know of it.
    ///
    /// # Errors
    /// [`AccessError::KeyRefused`], in the same words for a stranger and for a wrong key.
    pub fn finish_proof<'a>(&'a self, proof: &'a Proof, client_final: &'a str) -> Boxed<'a, Result<(Principal, String), AccessError>> {
        Box::pin(async move {
            let refused = AccessError::KeyRefused("it was not proved");
            let (Some(answer), Some(key)) = (proof.challenge.finish(client_final), proof.key) else { return Err(refused) };
            let principal = self.key_by_id(key).await?;
            let tx = self.begin().await?;
            Subject::address(Counted::Address, proof.address).give_back(&tx).await?;
            tx.commit().await?;
            Ok((principal, answer))
        })
    }

    /// Looks up again whoever came with a key: what it may do now.
    ///
    /// # Errors
    /// [`AccessError::KeyRefused`] when it has expired or was revoked.
    pub fn key_by_id<'a>(&'a self, id: ApiKeyId) -> Boxed<'a, Result<Principal, AccessError>> {
        Box::pin(async move {
            let tx = self.begin().await?;
            let found = store::api_keys::find_live_by_id(&tx, id, self.instant(), self.now()).await?;
            tx.commit().await?;
            found.ok_or(AccessError::KeyRefused("it is unknown, expired or revoked"))
        })
    }

    /// Returns what only this installation can make of a name.
    async fn digest_of_name(&self, user: &str) -> Result<[u8; 32], AccessError> {
        let keys = self.tenants().keys();
        keys.create_for(Owner::Installation).await?;
        Ok(keys.blind_index(Owner::Installation, format!("scram:{user}").as_bytes()).await?)
    }
}
