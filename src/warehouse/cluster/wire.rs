//! Connections between the house's processes: plain on this machine and on a network that is said to be trusted, TLS elsewhere.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use granary_foundation::config::ExecutorsConfig;
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::server::Connected;
use url::{Host, Url};

use crate::WarehouseError;

/// What can be read from and written to.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Duplex for T {}

/// One connection, whatever it goes through.
pub struct Wire(Pin<Box<dyn Duplex>>);

impl Wire {
    /// Takes a connection that was accepted.
    pub fn new(stream: impl AsyncRead + AsyncWrite + Send + 'static) -> Self {
        Self(Box::pin(stream))
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire(…)")
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.as_mut().poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_shutdown(context)
    }
}

impl Connected for Wire {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

/// Tells whether what goes to an address stays on this machine.
fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

/// Calls executors.
#[derive(Clone)]
pub(super) struct Dialer(TlsConnector);

impl Dialer {
    /// Refuses addresses to which answers would go in the clear over a network that nobody said to be trusted.
    pub(super) fn new(config: &ExecutorsConfig) -> Result<Self, WarehouseError> {
        for text in &config.urls {
            let url = Url::parse(text).map_err(|error| WarehouseError::Executors(format!("'{text}' is not an address: {error}")))?;
            let is_safe = match url.scheme() {
                "https" => true,
                "http" => config.trusted_network || is_local(&url),
                _ => false,
            };
            if !is_safe {
                let remedy = "begin with https://, or set executors.trusted_network when nobody else is on the way";
                return Err(WarehouseError::Executors(format!("'{text}' goes in the clear over a network; {remedy}")));
            }
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(path) = &config.ca {
            let unread =
                |error: &dyn fmt::Display| WarehouseError::Executors(format!("cannot read executors.ca {}: {error}", path.display()));
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unread(&error))? {
                roots.add(certificate.map_err(|error| unread(&error))?).map_err(|error| unread(&error))?;
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| WarehouseError::Executors(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self(TlsConnector::from(Arc::new(client))))
    }

    async fn dial(self, uri: Uri) -> io::Result<TokioIo<Wire>> {
        let is_tls = uri.scheme_str() == Some("https");
        let unknown = || io::Error::new(io::ErrorKind::InvalidInput, format!("{uri} has no host"));
        let host = uri.host().ok_or_else(unknown)?.trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let stream = TcpStream::connect((host.as_str(), port)).await?;
        stream.set_nodelay(true)?;
        if !is_tls {
            return Ok(TokioIo::new(Wire::new(stream)));
        }
        let name = ServerName::try_from(host).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        Ok(TokioIo::new(Wire::new(self.0.connect(name, stream).await?)))
    }
}

impl tower::Service<Uri> for Dialer {
    type Response = TokioIo<Wire>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<TokioIo<Wire>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().dial(uri))
    }
}
