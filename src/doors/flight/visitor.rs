//! Whoever calls: looked up with every call.

use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, alphabet};
use granary_access::{AccessError, Permission, Principal};
use granary_foundation::Boxed;
use granary_warehouse::AsOf;
use tonic::metadata::MetadataMap;
use tonic::{Request, Status};

use super::status;
use crate::Desk;

/// Which version of the lake a call is about.
const AS_OF: &str = "granary-as-of";
/// The longest name of a version.
const MOST_LETTERS: usize = 200;

/// A caller who may ask, and the version of the lake that the call names.
#[derive(Debug, Clone)]
pub(super) struct Visitor {
    pub(super) principal: Principal,
    pub(super) as_of: Option<String>,
}

impl Visitor {
    /// Looks the caller up.
    pub(super) fn recognise<'a>(desk: &'a Desk, headers: &'a MetadataMap) -> Boxed<'a, Result<Self, Status>> {
        Box::pin(async move {
            let secret = secret_of(headers)?;
            let principal = desk.access().program(secret.trim()).await.map_err(status::of)?;
            principal.require(Permission::Sql).map_err(status::of)?;
            Ok(Self { principal, as_of: as_of(headers)? })
        })
    }

    /// Returns who was let in to make a call.
    pub(super) fn of<T>(request: &Request<T>) -> Result<&Self, Status> {
        request.extensions().get::<Self>().ok_or_else(|| status::of(AccessError::Unauthenticated))
    }
}

/// Returns the key or token of a call: as a bearer, or as the password of a login by name, whatever the name.
pub(super) fn secret_of(headers: &MetadataMap) -> Result<String, Status> {
    let shown = headers.get("authorization").and_then(|value| value.to_str().ok()).and_then(|text| text.split_once(' '));
    match shown {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("bearer") => Ok(rest.trim().to_owned()),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("basic") => password(rest.trim()).ok_or_else(|| status::wrong(NO_BASIC)),
        _ => Err(Status::unauthenticated(NOBODY)),
    }
}

const NOBODY: &str =
    "nobody is named: send `authorization: Bearer KEY` with an API key of scope sql, or a login by name with the key as its password";
const NO_BASIC: &str = "the authorization header is no login by name: it takes NAME:KEY in base64 after the word Basic";

/// Arrow's client in Go, and with it ADBC's driver, leaves the padding out.
const BASE64: GeneralPurpose = {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&alphabet::STANDARD, config)
};

fn password(encoded: &str) -> Option<String> {
    let text = String::from_utf8(BASE64.decode(encoded).ok()?).ok()?;
    text.split_once(':').map(|(_, password)| password.to_owned())
}

fn as_of(headers: &MetadataMap) -> Result<Option<String>, Status> {
    let Some(value) = headers.get(AS_OF) else { return Ok(None) };
    match value.to_str() {
        Ok(text) if text.len() <= MOST_LETTERS => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        _ => Err(status::wrong("granary-as-of is an instant, a version such as v12, or a name such as 2025-10")),
    }
}

/// Reads which version somebody wants.
pub(super) fn version(wanted: &str) -> AsOf {
    let Ok(wanted) = wanted.parse::<AsOf>();
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(authorization: &str) -> MetadataMap {
        let mut headers = MetadataMap::new();
        headers.insert("authorization", authorization.parse().unwrap());
        headers
    }

    #[test]
    fn a_key_comes_as_a_bearer_or_as_a_password() {
        assert_eq!(secret_of(&headers("bearer  gk_1 ")).unwrap(), "gk_1");
        for name in ["a", "an", "any"] {
            let login = format!("Basic {}", BASE64.encode(format!("{name}:gk_1:2")));
            assert_eq!(secret_of(&headers(&login)).unwrap(), "gk_1:2");
            assert_eq!(secret_of(&headers(login.trim_end_matches('='))).unwrap(), "gk_1:2", "without its padding");
        }
        for wrong in ["Bearer", "gk_1", "Digest x", "Basic ???", "Basic YQ=="] {
            let refused = secret_of(&headers(wrong)).unwrap_err();
            assert!(matches!(refused.code(), tonic::Code::Unauthenticated | tonic::Code::InvalidArgument), "{wrong}: {refused}");
            assert!(!refused.message().contains("gk_1"), "{refused}");
        }
    }
}
