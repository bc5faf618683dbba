//! JSON Web Tokens (RFC 7519) signed by Ed25519 (RFC 8037), and by nothing else.
//!
//! The algorithm is ours to choose: a header that names another is refused before anything is computed (RFC 8725). Keys are found
//! by `kid` among those that we know; addresses of keys and keys in headers are not looked at. Each use has its own `typ`, so that
//! one kind of token never passes for another.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use ring::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::AccessError;

/// Longer ones are not read.
pub(crate) const LONGEST: usize = 8 << 10;
/// How far another machine's clock may be ahead of ours.
const LEEWAY: SignedDuration = SignedDuration::from_secs(30);

/// What kind of token: who makes it and what for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Ours (RFC 9068), for whoever has a session or a key.
    Access,
    /// A control plane's own, which it makes for every request or for a few.
    Plane,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Access, Self::Plane];

    const fn typ(self) -> &'static str {
        match self {
            Self::Access => "at+jwt",
            Self::Plane => "plane+jwt",
        }
    }

    /// The longest life that is believed.
    const fn longest_life(self) -> SignedDuration {
        match self {
            Self::Access => SignedDuration::from_mins(15),
            Self::Plane => SignedDuration::from_mins(5),
        }
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    typ: String,
    kid: String,
    /// Extensions that must be understood; we understand none.
    crit: Option<serde::de::IgnoredAny>,
}

/// What every token has to say.
#[derive(Deserialize)]
struct Registered {
    iss: String,
    aud: String,
    exp: i64,
    nbf: i64,
    iat: i64,
}

/// A token that was taken apart, and whose signature nobody has looked at yet.
#[derive(Debug)]
pub(crate) struct Unverified<'a> {
    pub(crate) kind: Kind,
    pub(crate) key: Uuid,
    signed: &'a str,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

/// Whose token it has to be, and for whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) audience: &'a str,
    pub(crate) now: Timestamp,
}

fn refused(why: &'static str) -> AccessError {
    AccessError::TokenRefused(why)
}

/// Signs claims.
pub(crate) fn sign(kind: Kind, pair: &Ed25519KeyPair, key: Uuid, claims: &impl Serialize) -> Result<String, AccessError> {
    let header = json!({"alg": "EdDSA", "typ": kind.typ(), "kid": key}).to_string();
    let payload = serde_json::to_vec(claims).map_err(|_| refused("its claims cannot be written"))?;
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let signature = URL_SAFE_NO_PAD.encode(pair.sign(signed.as_bytes()));
    Ok(format!("{signed}.{signature}"))
}

/// Tells whether a text looks like a token, rather than like an API key.
pub(crate) fn is_token(text: &str) -> bool {
    text.bytes().filter(|byte| *byte == b'.').count() == 2
}

impl<'a> Unverified<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// When it is of no kind that is taken here.
    pub(crate) fn parse(text: &'a str) -> Result<Self, AccessError> {
        if text.len() > LONGEST {
            return Err(refused("it is too long"));
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(refused("it has not three parts"))?;
        let (header, payload) = signed.split_once('.').ok_or(refused("it has not three parts"))?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| refused("it is not written as tokens are"));
        let (header, payload, signature) = (decode(header)?, decode(payload)?, decode(signature)?);
        let header: Header = serde_json::from_slice(&header).map_err(|_| refused("its header has not what is needed"))?;
        if header.alg != "EdDSA" {
            return Err(refused("it is not signed by EdDSA"));
        }
        let kind = Kind::ALL.into_iter().find(|kind| kind.typ() == header.typ).ok_or(refused("it is of another kind"))?;
        if header.crit.is_some() {
            return Err(refused("it asks for what is not understood here"));
        }
        let key = Uuid::try_parse(&header.kid).map_err(|_| refused("its key is not known here"))?;
        Ok(Self { kind, key, signed, payload, signature })
    }

    /// Checks signature, issuer, audience and times, in this order, and returns the claims.
    ///
    /// # Errors
    /// When one of them is wrong or missing.
    pub(crate) fn verify<T: DeserializeOwned>(&self, public_key: &[u8], expected: Expected<'_>) -> Result<T, AccessError> {
        let key = UnparsedPublicKey::new(&ED25519, public_key);
        key.verify(self.signed.as_bytes(), &self.signature).map_err(|_| refused("it is not signed by its key"))?;
        let unfit = |_| refused("its claims are not what is needed");
        let Registered { iss, aud, exp, nbf, iat } = serde_json::from_slice(&self.payload).map_err(unfit)?;
        if iss != expected.issuer {
            return Err(refused("somebody else made it"));
        }
        if aud != expected.audience {
            return Err(refused("it is for somebody else"));
        }
        let at = |seconds| Timestamp::from_second(seconds).map_err(|_| refused("its times are none"));
        let (exp, nbf, iat) = (at(exp)?, at(nbf)?, at(iat)?);
        let soon = expected.now.checked_add(LEEWAY).unwrap_or(expected.now);
        if exp <= expected.now {
            return Err(refused("it has expired"));
        }
        if nbf > soon || iat > soon {
            return Err(refused("it is not valid yet"));
        }
        if exp.duration_since(iat) > self.kind.longest_life() {
            return Err(refused("it lives too long"));
        }
        serde_json::from_slice(&self.payload).map_err(unfit)
    }
}
