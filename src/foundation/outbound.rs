//! The one way out: requests to addresses that somebody else named.
//!
//! Whoever names an address makes this machine call it, from inside the house's network. Therefore: HTTPS only, no redirects, no
//! proxies of the environment, no address that is not on the Internet unless the configuration allows its network, an end to size and
//! time. Names are looked up once, by us, and what was checked is what is dialled, so that a name cannot change in between.

mod network;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use granary_types::{Classify, ErrorKind};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{RequestBuilder, redirect};

pub use network::Network;
pub use reqwest::{Body, Url};

use crate::config::OutboundConfig;
use crate::{Boxed, Secret};

/// The largest answer that is read.
const LARGEST_BYTES: usize = 512 << 10;
const LONGEST_URL: usize = 2_000;

/// Makes guarded requests; clones share everything.
#[derive(Clone)]
pub struct Outbound {
    allow: Arc<[Network]>,
    timeout: Duration,
    // Made when it is first needed: that reads every certificate which the machine trusts.
    client: Arc<OnceLock<reqwest::Client>>,
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").field("allow", &self.allow).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Default for Outbound {
    fn default() -> Self {
        Self::new(&OutboundConfig::default())
    }
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// As the other side says it, in small letters and without parameters.
    pub content_type: String,
    /// When to come again, if the other side says so in seconds.
    pub retry_after: Option<Duration>,
    pub body: Vec<u8>,
}

/// Why there is no answer. Nothing that the other side said is in it.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    #[error("'{0}' is not called from here: {1}")]
    Refused(String, &'static str),
    #[error("{0} cannot be reached")]
    Unreachable(String, #[source] Option<reqwest::Error>),
    #[error("{0} does not answer in time")]
    TooSlow(String),
    #[error("{0} answers with more than is read")]
    TooLarge(String),
    #[error("requests to elsewhere cannot be made")]
    Client(#[source] reqwest::Error),
}

impl Classify for OutboundError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused(..) => ErrorKind::Invalid,
            Self::Unreachable(..) | Self::TooSlow(_) | Self::TooLarge(_) => ErrorKind::Unavailable,
            Self::Client(_) => ErrorKind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Refused(..) => "address_refused",
            Self::Unreachable(..) => "address_unreachable",
            Self::TooSlow(_) => "address_slow",
            Self::TooLarge(_) => "answer_too_large",
            Self::Client(_) => "outbound_broken",
        }
    }
}

impl Outbound {
    /// Returns the way out as it is configured.
    pub fn new(config: &OutboundConfig) -> Self {
        let timeout = Duration::from_secs(config.timeout_seconds.clamp(1, 300));
        Self { allow: config.allow.as_slice().into(), timeout, client: Arc::default() }
    }

    /// Replaces the longest time of a request.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, client: Arc::default(), ..self }
    }

    /// Reads an address that may be called; whether its name leads to one that may be dialled is seen when it is called.
    ///
    /// # Errors
    /// [`OutboundError::Refused`] with what is wrong.
    pub fn check(&self, address: &str) -> Result<Url, OutboundError> {
        let refused = |why| OutboundError::Refused(address.chars().take(100).collect(), why);
        if address.len() > LONGEST_URL {
            return Err(refused("it is too long"));
        }
        let url = Url::parse(address).map_err(|_| refused("it is not an address such as https://login.example.com"))?;
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(refused("it has a name, a password or a '#' in it"));
        }
        let literal = literal_of(&url);
        if literal.is_some_and(|address| !may_dial(&self.allow, address)) {
            return Err(refused("it is not on the Internet; outbound.allow says which others may be called"));
        }
        match (url.scheme(), literal) {
            ("https", _) => Ok(url),
            ("http", Some(address)) if address.to_canonical().is_loopback() => Ok(url),
            _ => Err(refused("it does not begin with https://")),
        }
    }

    /// Asks for something, with a bearer token where one is needed.
    ///
    /// # Errors
    /// When the address may not be called, or there is no answer that can be read.
    pub fn get<'a>(&'a self, address: &'a str, bearer: Option<&'a Secret>) -> Boxed<'a, Result<Answer, OutboundError>> {
        Box::pin(async move {
            let url = self.check(address)?;
            let request = self.client()?.get(url.clone()).header(ACCEPT, "application/json");
            let request = match bearer {
                Some(token) => request.bearer_auth(token.reveal()),
                None => request,
            };
            self.send(&url, request).await
        })
    }

    /// Sends a form, with a name and a password (HTTP Basic) where they are needed.
    ///
    /// # Errors
    /// When the address may not be called, or there is no answer that can be read.
    pub fn post_form<'a>(
        &'a self,
        address: &'a str,
        form: &'a [(&'a str, &'a str)],
        basic: Option<(&'a str, &'a Secret)>,
    ) -> Boxed<'a, Result<Answer, OutboundError>> {
        Box::pin(async move {
            let url = self.check(address)?;
            let request = self.client()?.post(url.clone()).header(ACCEPT, "application/json").form(form);
            let request = match basic {
                Some((name, password)) => request.basic_auth(name, Some(password.reveal())),
                None => request,
            };
            self.send(&url, request).await
        })
    }

    /// Sends a body, whole or as it comes, with a bearer token.
    ///
    /// # Errors
    /// When the address may not be called, or there is no answer that can be read.
    pub fn post<'a>(
        &'a self,
        address: &'a str,
        bearer: &'a Secret,
        content_type: &'a str,
        body: Body,
    ) -> Boxed<'a, Result<Answer, OutboundError>> {
        Box::pin(async move {
            let url = self.check(address)?;
            let request = self.client()?.post(url.clone()).header(ACCEPT, "application/json").header(CONTENT_TYPE, content_type);
            self.send(&url, request.bearer_auth(bearer.reveal()).body(body)).await
        })
    }

    async fn send(&self, url: &Url, request: RequestBuilder) -> Result<Answer, OutboundError> {
        let host = || url.host_str().unwrap_or_default().to_owned();
        let failed = |error: reqwest::Error| {
            if error.is_timeout() { OutboundError::TooSlow(host()) } else { OutboundError::Unreachable(host(), Some(error.without_url())) }
        };
        let mut response = request.send().await.map_err(failed)?;
        let (status, content_type) = (response.status().as_u16(), content_type(response.headers()));
        let retry_after = retry_after(response.headers());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > LARGEST_BYTES {
                return Err(OutboundError::TooLarge(host()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, content_type, retry_after, body })
    }

    fn client(&self) -> Result<&reqwest::Client, OutboundError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let built = reqwest::Client::builder()
            .user_agent("granary")
            .redirect(redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .timeout(self.timeout)
            .connect_timeout(self.timeout)
            .pool_max_idle_per_host(0)
            .dns_resolver(Arc::new(Resolver(Arc::clone(&self.allow))))
            .build()
            .map_err(OutboundError::Client)?;
        Ok(self.client.get_or_init(|| built))
    }
}

/// Looks names up, and forgets addresses that may not be dialled.
struct Resolver(Arc<[Network]>);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow = Arc::clone(&self.0);
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|address| may_dial(&allow, address.ip())).collect();
            if allowed.is_empty() {
                return Err(Box::from("the name leads to no address on the Internet; outbound.allow says which others may be called"));
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

fn may_dial(allow: &[Network], address: IpAddr) -> bool {
    network::is_global(address) || allow.iter().any(|network| network.contains(address))
}

/// The address that a URL names itself, in whatever spelling; the parser has made one of all of them.
fn literal_of(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn content_type(headers: &HeaderMap) -> String {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowing(networks: &[&str]) -> Outbound {
        let allow = networks.iter().map(|network| network.parse().unwrap()).collect();
        Outbound::new(&OutboundConfig { allow, ..OutboundConfig::default() })
    }

    #[test]
    fn what_is_not_on_the_internet_is_refused_in_every_spelling() {
        let outbound = Outbound::default();
        assert!(outbound.check("https://login.example.com/tenant/v2.0").is_ok());
        assert!(outbound.check("https://1.1.1.1/").is_ok());
        for bad in [
            "http://login.example.com",
            "ftp://login.example.com",
            "file:///etc/passwd",
            "https://127.0.0.1",
            "https://127.1",
            "https://0x7f.1",
            "https://2130706433",
            "https://0177.0.0.1",
            "https://[::1]",
            "https://[::ffff:127.0.0.1]",
            "https://[::ffff:a00:1]",
            "https://[64:ff9b::a00:1]",
            "https://[2002:7f00:1::]",
            "https://169.254.169.254/latest/meta-data",
            "https://10.0.0.1",
            "https://user@login.example.com",
            "https://login.example.com/#a",
            "https://",
            "login.example.com",
            "",
        ] {
            assert!(outbound.check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_allowed_network_is_called_by_https_and_this_machine_by_http_as_well() {
        let outbound = allowing(&["10.1.0.0/16", "127.0.0.1/32"]);
        assert!(outbound.check("https://10.1.2.3").is_ok() && outbound.check("http://127.0.0.1:9000").is_ok());
        for bad in ["http://10.1.2.3", "https://10.2.0.1", "http://127.0.0.2", "http://localhost:9000", "http://1.1.1.1"] {
            assert!(outbound.check(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_not_called() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
        let error = Outbound::default().get(&url, None).await.unwrap_err();
        assert!(matches!(error, OutboundError::Unreachable(..)), "{error:?}");
        let error = Outbound::default().get(&url.replace("localhost", "localhost."), None).await.unwrap_err();
        assert!(matches!(error, OutboundError::Unreachable(..)), "{error:?}");
        let unasked = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
        assert!(unasked.is_err(), "nobody came");
    }
}
