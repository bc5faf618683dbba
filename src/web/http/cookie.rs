//! The cookies: of a session, and of whoever is at an identity provider.

use axum::http::HeaderMap;
use axum::http::header::COOKIE;

const NAME: &str = "granary_session";
/// What a browser brings back from an identity provider.
const SSO: &str = "granary_sso";

/// Returns the token of the session cookie.
pub(crate) fn session_token(headers: &HeaderMap) -> Option<&str> {
    token(headers, NAME)
}

/// Returns the token of the cookie with which a browser went to an identity provider.
pub(crate) fn sso_token(headers: &HeaderMap) -> Option<&str> {
    token(headers, SSO)
}

fn token<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
        .filter(|token| token.len() == 64 && token.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Returns the cookie that keeps a session: not readable by scripts, not sent with other sites' forms.
pub(crate) fn keep(token: &str, is_secure: bool) -> String {
    format!("{NAME}={token}; Path=/; HttpOnly; SameSite=Lax{}", if is_secure { "; Secure" } else { "" })
}

/// Returns the cookie that a browser takes along to an identity provider; it comes back with the link that leads here, for ten minutes.
pub(crate) fn keep_sso(token: &str, is_secure: bool) -> String {
    format!("{SSO}={token}; Path=/login/sso; HttpOnly; SameSite=Lax; Max-Age=600{}", if is_secure { "; Secure" } else { "" })
}

/// Returns the cookie that ends that.
pub(crate) fn drop_sso(is_secure: bool) -> String {
    format!("{SSO}=; Path=/login/sso; HttpOnly; SameSite=Lax; Max-Age=0{}", if is_secure { "; Secure" } else { "" })
}

/// Returns the cookie that ends it.
pub(crate) fn drop(is_secure: bool) -> String {
    format!("{NAME}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0{}", if is_secure { "; Secure" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn the_token_is_found_among_other_cookies_and_only_if_it_is_one() {
        let token = "ab".repeat(32);
        let with = |value: String| {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, HeaderValue::from_str(&value).unwrap());
            session_token(&headers).map(str::to_owned)
        };
        assert_eq!(with(format!("a=b; {NAME}={token}; c=d")), Some(token.clone()));
        assert_eq!(with(format!("{NAME}=short")), None);
        assert_eq!(with(format!("{NAME}x={token}")), None);
    }
}
