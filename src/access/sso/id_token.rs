//! ID tokens (OpenID Connect Core 1.0, 3.1.3.7), and the keys that sign them.
//!
//! A key says by its kind which algorithm it is for: RSA is RS256, the curve P-256 is ES256, and nothing else is taken; a header that
//! names another is refused (RFC 8725). Keys and addresses of keys in a header are not looked at. The signatures are ring's; there is
//! no third way, no shared secret and no `none`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use ring::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::{Map, Value};
use subtle::ConstantTimeEq;

use crate::AccessError;

/// Longer ones are not read.
const LONGEST: usize = 32 << 10;
const MOST_KEYS: usize = 100;
/// How far another machine's clock may be from ours.
const LEEWAY: SignedDuration = SignedDuration::from_secs(30);

fn refused(why: &'static str) -> AccessError {
    AccessError::SsoRefused(why)
}

/// A key of a provider that signs.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    kid: Option<String>,
    material: Material,
}

#[derive(Debug, Clone)]
enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// An uncompressed point.
    P256(Vec<u8>),
}

impl Material {
    const fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa { .. } => "RS256",
            Self::P256(_) => "ES256",
        }
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Rsa { n, e } => RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok(),
            Self::P256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok(),
        }
    }
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Value>,
}

/// Reads a provider's keys; those of other kinds and for other uses are left out.
pub(crate) fn read_keys(document: &[u8]) -> Option<Vec<Key>> {
    let set: JwkSet = serde_json::from_slice(document).ok()?;
    let jwks = set.keys.into_iter().take(MOST_KEYS).filter_map(|jwk| serde_json::from_value::<Jwk>(jwk).ok());
    Some(jwks.filter_map(key).collect())
}

fn key(jwk: Jwk) -> Option<Key> {
    if jwk.usage.is_some_and(|usage| usage != "sig") {
        return None;
    }
    let part = |text: Option<String>| URL_SAFE_NO_PAD.decode(text?.trim_end_matches('=')).ok();
    let without_zeros = |bytes: Vec<u8>| bytes.into_iter().skip_while(|byte| *byte == 0).collect::<Vec<u8>>();
    let material = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => Material::Rsa { n: without_zeros(part(jwk.n)?), e: without_zeros(part(jwk.e)?) },
        ("EC", Some("P-256")) => {
            let (x, y) = (part(jwk.x)?, part(jwk.y)?);
            (x.len() == 32 && y.len() == 32).then(|| Material::P256([&[4], x.as_slice(), y.as_slice()].concat()))?
        }
        _ => return None,
    };
    let is_for_another = jwk.alg.is_some_and(|algorithm| algorithm != material.algorithm());
    (!is_for_another).then_some(Key { kid: jwk.kid, material })
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood; we understand none.
    crit: Option<serde::de::IgnoredAny>,
}

/// What every ID token has to say.
#[derive(Deserialize)]
struct Registered {
    iss: String,
    sub: String,
    aud: Audience,
    azp: Option<String>,
    exp: f64,
    iat: f64,
    nbf: Option<f64>,
    nonce: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// A token that was taken apart, and whose signature nobody has looked at yet.
pub(crate) struct Unverified<'a> {
    header: Header,
    signed: &'a str,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

/// Whose token it has to be, for whom, and in answer to what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) nonce: &'a str,
    pub(crate) now: Timestamp,
}

/// What a token says that was verified.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) subject: String,
    pub(crate) claims: Map<String, Value>,
}

impl<'a> Unverified<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// When it is of no kind that is taken here.
    pub(crate) fn parse(text: &'a str) -> Result<Self, AccessError> {
        let odd = || refused("the provider's answer is not a token");
        if text.len() > LONGEST {
            return Err(odd());
        }
        let (signed, signature) = text.rsplit_once('.').ok_or_else(odd)?;
        let (header, payload) = signed.split_once('.').ok_or_else(odd)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| odd());
        let (header, payload, signature) = (decode(header)?, decode(payload)?, decode(signature)?);
        let header: Header = serde_json::from_slice(&header).map_err(|_| odd())?;
        if !["RS256", "ES256"].contains(&header.alg.as_str()) || header.crit.is_some() {
            return Err(refused("its token is signed in a way that is not taken here; RS256 and ES256 are"));
        }
        Ok(Self { header, signed, payload, signature })
    }

    /// Finds the key that the token names, which has to be for its algorithm; without a name there may be only one such key.
    pub(crate) fn key_among<'k>(&self, keys: &'k [Key]) -> Option<&'k Key> {
        let mut fitting = keys.iter().filter(|key| key.material.algorithm() == self.header.alg);
        match &self.header.kid {
            Some(kid) => fitting.find(|key| key.kid.as_ref() == Some(kid)),
            None => fitting.next().filter(|_| fitting.next().is_none()),
        }
    }

    /// Checks signature, issuer, audience, times and nonce, in this order, and returns the claims.
    ///
    /// # Errors
    /// When one of them is wrong or missing.
    pub(crate) fn verify(&self, key: &Key, expected: Expected<'_>) -> Result<Verified, AccessError> {
        if key.material.algorithm() != self.header.alg || !key.material.verify(self.signed.as_bytes(), &self.signature) {
            return Err(refused("its token is not signed by its key"));
        }
        let unfit = |_| refused("its token does not say what is needed");
        let said: Registered = serde_json::from_slice(&self.payload).map_err(unfit)?;
        if said.iss != expected.issuer {
            return Err(refused("its token is another provider's"));
        }
        let (is_for_us, is_for_others) = match &said.aud {
            Audience::One(audience) => (audience == expected.client_id, false),
            Audience::Several(all) => (all.iter().any(|audience| audience == expected.client_id), all.len() > 1),
        };
        let is_our_party = said.azp.as_ref().map_or(!is_for_others, |party| party == expected.client_id);
        if !is_for_us || !is_our_party {
            return Err(refused("its token is for another program"));
        }
        let soon = seconds(expected.now.checked_add(LEEWAY).unwrap_or(expected.now));
        let before = seconds(expected.now.checked_sub(LEEWAY).unwrap_or(expected.now));
        if said.exp <= before {
            return Err(refused("its token has expired"));
        }
        if said.iat > soon || said.nbf.is_some_and(|from| from > soon) {
            return Err(refused("its token is not valid yet; see whether both clocks are right"));
        }
        if !bool::from(said.nonce.as_bytes().ct_eq(expected.nonce.as_bytes())) {
            return Err(refused("its token is the answer to another sign-in"));
        }
        if said.sub.is_empty() || said.sub.len() > 255 || said.sub.contains('\0') {
            return Err(refused("its token does not say who it is about"));
        }
        let claims = serde_json::from_slice(&self.payload).map_err(unfit)?;
        Ok(Verified { subject: said.sub, claims })
    }
}

#[expect(clippy::cast_precision_loss, reason = "seconds of this age of the world are exact in 53 bits")]
fn seconds(at: Timestamp) -> f64 {
    at.as_second() as f64
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_of_other_kinds_and_uses_are_left_out() {
        let (x, n) = (URL_SAFE_NO_PAD.encode([1; 32]), URL_SAFE_NO_PAD.encode([200; 256]));
        let kept = |jwk: Value| read_keys(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap().len();
        assert_eq!(kept(json!({"kty": "RSA", "kid": "a", "n": n, "e": "AQAB"})), 1);
        assert_eq!(kept(json!({"kty": "RSA", "use": "sig", "alg": "RS256", "n": n, "e": "AQAB"})), 1);
        assert_eq!(kept(json!({"kty": "EC", "crv": "P-256", "x": x, "y": x})), 1);
        for other in [
            json!({"kty": "RSA", "use": "enc", "n": n, "e": "AQAB"}),
            json!({"kty": "RSA", "alg": "PS256", "n": n, "e": "AQAB"}),
            json!({"kty": "RSA", "alg": "HS256", "n": n, "e": "AQAB"}),
            json!({"kty": "RSA", "e": "AQAB"}),
            json!({"kty": "EC", "crv": "P-384", "x": x, "y": x}),
            json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": x}),
            json!({"kty": "oct", "k": n}),
            json!({"kid": "a"}),
            json!(7),
        ] {
            assert_eq!(kept(other.clone()), 0, "{other}");
        }
        assert!(read_keys(b"[]").is_none() && read_keys(b"").is_none());
    }

    #[test]
    fn a_key_is_taken_for_its_own_algorithm_only() {
        let (x, n) = (URL_SAFE_NO_PAD.encode([1; 32]), URL_SAFE_NO_PAD.encode([200; 256]));
        let rsa = |kid: &str| json!({"kty": "RSA", "kid": kid, "n": n, "e": "AQAB"});
        let keys = json!({"keys": [rsa("a"), rsa("b"), {"kty": "EC", "kid": "a", "crv": "P-256", "x": x, "y": x}]});
        let keys = read_keys(keys.to_string().as_bytes()).unwrap();
        let found = |header: Value| {
            let token = format!("{}.e30.AA", URL_SAFE_NO_PAD.encode(header.to_string()));
            Unverified::parse(&token).ok().and_then(|token| token.key_among(&keys).map(|key| key.material.algorithm()))
        };
        assert_eq!(found(json!({"alg": "RS256", "kid": "a"})), Some("RS256"));
        assert_eq!(found(json!({"alg": "ES256", "kid": "a"})), Some("ES256"));
        assert_eq!(found(json!({"alg": "ES256"})), Some("ES256"), "there is one");
        assert_eq!(found(json!({"alg": "RS256"})), None, "there are two");
        assert_eq!(found(json!({"alg": "ES256", "kid": "b"})), None);
        for other in ["none", "None", "HS256", "RS384", "EdDSA", ""] {
            assert_eq!(found(json!({"alg": other, "kid": "a"})), None, "{other}");
        }
        assert_eq!(found(json!({"alg": "RS256", "kid": "a", "crit": ["b64"]})), None);
    }
}
