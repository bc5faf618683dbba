//! Where a request comes from.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::header::USER_AGENT;
use axum::http::request::Parts;
use granary_access::Client;

use crate::AppState;

/// The client of a request: its address, and its browser in words.
#[derive(Debug, Clone)]
pub(crate) struct Asker(pub(crate) Client);

impl FromRequestParts<AppState> for Asker {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
        let address = if app.is_behind_proxy { forwarded_for(&parts.headers).or(peer) } else { peer };
        let device = parts.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).map(device_of);
        Ok(Self(Client { address, device }))
    }
}

/// What the proxy in front of us says: it adds to whatever the client made up, so that only the last address is its own word.
fn forwarded_for(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    last.rsplit(',').next()?.trim().parse().ok()
}

/// Says a browser and its system in words that its owner recognises.
fn device_of(agent: &str) -> String {
    let first = |names: &[(&str, &'static str)]| names.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| *name);
    // Most claim to be others as well: the rarer mark comes first.
    let browsers = [
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("FxiOS/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("CriOS/", "Chrome"),
        ("Safari/", "Safari"),
        ("curl/", "curl"),
    ];
    let systems = [
        ("Windows", "Windows"),
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Mac OS X", "macOS"),
        ("CrOS", "ChromeOS"),
        ("Linux", "Linux"),
    ];
    let browser = first(&browsers).unwrap_or("A browser");
    first(&systems).map_or_else(|| browser.to_owned(), |system| format!("{browser} on {system}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_proxys_own_word_counts() {
        let headers =
            |value: &'static str| [("x-forwarded-for".parse().unwrap(), value.parse().unwrap())].into_iter().collect::<HeaderMap>();
        assert_eq!(forwarded_for(&headers("10.9.9.9, 192.0.2.7")), Some("192.0.2.7".parse().unwrap()));
        assert_eq!(forwarded_for(&headers("2001:db8::1")), Some("2001:db8::1".parse().unwrap()));
        assert_eq!(forwarded_for(&headers("192.0.2.7, unknown")), None);
        assert_eq!(forwarded_for(&HeaderMap::new()), None);
    }

    #[test]
    fn browsers_are_told_apart() {
        let edge = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0 Safari/537.36 Edg/143.0";
        assert_eq!(device_of(edge), "Edge on Windows");
        assert_eq!(device_of("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"), "Firefox on Linux");
        let phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Mobile/15E148 Safari/604.1";
        assert_eq!(device_of(phone), "Safari on iPhone");
        assert_eq!(device_of("something else"), "A browser");
    }
}
