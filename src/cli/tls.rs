//! The server's own certificate: TLS 1.3 and nothing older, exchanged without a restart when its files change.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use granary_foundation::config::TlsConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use tokio_rustls::TlsAcceptor;

use super::{Failure, Usage};

/// How often the files are looked at, at most: whenever somebody connects after that.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Accepts connections with the certificate that lies in the files; clones share it.
#[derive(Clone)]
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
    certificate: Arc<Certificate>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("cert", &self.certificate.cert).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Certificate {
    cert: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
    seen: Mutex<Seen>,
}

/// When the files were looked at, and what they were like.
#[derive(Debug)]
struct Seen {
    at: Instant,
    files: [Option<(SystemTime, u64)>; 2],
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Tls {
    /// Reads the certificate; none when none is configured.
    ///
    /// # Errors
    /// When a file cannot be read, or certificate and key do not belong together.
    pub(crate) fn of(config: &TlsConfig) -> Result<Option<Self>, Failure> {
        match (&config.cert, &config.key) {
            (Some(cert), Some(key)) => Self::open(cert, key).map(Some),
            (None, None) | (Some(_), None) | (None, Some(_)) => Ok(None),
        }
    }

    pub(crate) fn open(cert: &Path, key: &Path) -> Result<Self, Failure> {
        let seen = Seen { at: Instant::now(), files: [cert, key].map(stamp) };
        let current = RwLock::new(Arc::new(load(cert, key)?));
        let certificate = Arc::new(Certificate { cert: cert.into(), key: key.into(), current, seen: Mutex::new(seen) });
        Ok(Self { acceptor: accepting(&certificate, b"http/1.1")?, certificate })
    }

    /// Returns what accepts another protocol with the same certificate: a client that names the protocol it speaks is not taken for a
    /// browser.
    pub(crate) fn speaking(&self, protocol: &'static [u8]) -> Result<Self, Failure> {
        let acceptor = accepting(&self.certificate, protocol)?;
        Ok(Self { acceptor, certificate: Arc::clone(&self.certificate) })
    }

    /// Returns what a connection is accepted with, after a look at the files.
    pub(crate) fn acceptor(&self) -> &TlsAcceptor {
        self.certificate.look(LOOK_AGAIN);
        &self.acceptor
    }
}

fn accepting(certificate: &Arc<Certificate>, protocol: &[u8]) -> Result<TlsAcceptor, Failure> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(certificate) as Arc<dyn ResolvesServerCert>);
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

impl Certificate {
    /// Takes the files' certificate if they have changed. What cannot be used changes nothing but the log: the one before stays.
    fn look(&self, pause: Duration) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.at.elapsed() < pause {
            return;
        }
        seen.at = Instant::now();
        let files = [self.cert.as_path(), &self.key].map(stamp);
        if files == seen.files {
            return;
        }
        match load(&self.cert, &self.key) {
            Ok(certificate) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certificate);
                tracing::info!(cert = %self.cert.display(), "the certificate was exchanged");
            }
            // Two files are seldom written at the same instant: they are looked at again when they have changed again.
            Err(error) => tracing::error!(%error, "the certificate has changed and cannot be used; the one before stays"),
        }
        seen.files = files;
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn load(cert: &Path, key: &Path) -> Result<CertifiedKey, Usage> {
    let unread = |path: &Path, error: rustls::pki_types::pem::Error| Usage(format!("cannot read {} as PEM: {error}", path.display()));
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect);
    let chain = chain.map_err(|error| unread(cert, error))?;
    if chain.is_empty() {
        return Err(Usage(format!("there is no certificate in {}", cert.display())));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unread(key, error))?;
    CertifiedKey::from_der(chain, private, &rustls::crypto::ring::default_provider())
        .map_err(|error| Usage(format!("tls.cert {} and tls.key {} cannot be used together: {error}", cert.display(), key.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name)
    }

    #[test]
    fn a_certificate_is_exchanged_when_its_files_change_and_a_broken_one_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        let put = |name: &str| {
            std::fs::copy(data(&format!("{name}.pem")), &cert).unwrap();
            std::fs::copy(data(&format!("{name}.key")), &key).unwrap();
        };
        put("first");
        let tls = Tls::open(&cert, &key).unwrap();
        let shown = || tls.certificate.current.read().unwrap().cert[0].clone();
        let look = || {
            // Within one tick of the file system's clock nothing seems to change.
            tls.certificate.seen.lock().unwrap().files = [None, None];
            tls.certificate.look(Duration::ZERO);
        };
        let first = shown();
        std::fs::write(&cert, "no certificate").unwrap();
        look();
        assert_eq!(shown(), first);
        std::fs::copy(data("second.pem"), &cert).unwrap();
        look();
        assert_eq!(shown(), first, "the key is still the first one's");
        put("second");
        look();
        assert_ne!(shown(), first);
    }

    #[test]
    fn files_that_do_not_fit_are_named() {
        let error = Tls::open(&data("first.pem"), &data("second.key")).unwrap_err().to_string();
        assert!(error.contains("first.pem") && error.contains("second.key"), "{error}");
        assert!(Tls::open(&data("first.key"), &data("first.key")).unwrap_err().to_string().contains("no certificate"));
        assert!(Tls::open(&data("nothing.pem"), &data("first.key")).unwrap_err().to_string().contains("nothing.pem"));
    }
}
