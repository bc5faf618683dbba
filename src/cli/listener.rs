//! The HTTP listener: it answers from the first second with a page that shows how far the start is, and then hands over
//! to the real pages.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONNECTION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::StreamExt;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tower::ServiceExt;

use granary_web::starting::{Step, StepState};

use super::progress::Reporter;
use super::tls::Tls;
use super::{Failure, Usage};

/// A listening server whose pages can be exchanged once.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    /// Whether it speaks HTTPS itself.
    pub(crate) is_https: bool,
    pages: Arc<RwLock<Router>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Listener {
    /// Listens and serves the starting page.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub(crate) async fn start(address: SocketAddr, reporter: Arc<Reporter>, tls: Option<Tls>) -> Result<Self, Failure> {
        Self::start_with(address, starting(reporter), PATIENCE, tls).await
    }

    /// Listens and serves pages that stay, by plain HTTP.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub(crate) async fn serve(address: SocketAddr, pages: Router) -> Result<Self, Failure> {
        Self::start_with(address, pages, PATIENCE, None).await
    }

    async fn start_with(address: SocketAddr, pages: Router, patience: Patience, tls: Option<Tls>) -> Result<Self, Failure> {
        let socket = TcpListener::bind(address)
            .await
            .map_err(|error| Usage(format!("cannot listen on {address}: {error}; choose another address with --listen 127.0.0.1:PORT")))?;
        let address = socket.local_addr()?;
        let pages = Arc::new(RwLock::new(pages));
        let (stop, stopped) = watch::channel(false);
        let outer = Router::new().fallback(forward).with_state((Arc::clone(&pages), patience));
        let is_https = tls.is_some();
        let task = tokio::spawn(accept(socket, outer, stopped, patience, tls));
        Ok(Self { address, is_https, pages, stop, task })
    }

    /// Returns where it is found.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", if self.is_https { "https" } else { "http" }, self.address)
    }

    /// Exchanges the starting page for the real pages.
    pub(crate) fn hand_over(&self, pages: Router) {
        *self.pages.write().unwrap_or_else(PoisonError::into_inner) = pages;
    }

    /// Ends the open requests, at most five seconds long, and stops.
    pub(crate) async fn stop(self) {
        // Nobody listens any more when the task has ended by itself.
        let _ = self.stop.send(true);
        if tokio::time::timeout(std::time::Duration::from_secs(5), self.task).await.is_err() {
            tracing::warn!("some requests were still open after five seconds");
        }
    }
}

/// Serves connections until it is told to stop, and then the requests that are open.
async fn accept(socket: TcpListener, pages: Router, mut stopped: watch::Receiver<bool>, patience: Patience, tls: Option<Tls>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = told_to_stop(&mut stopped) => break,
            Some(_) = connections.join_next() => {}
            accepted = socket.accept() => match accepted {
                Ok((stream, peer)) => {
                    let pages = pages.clone().layer(axum::Extension(ConnectInfo(peer)));
                    let (stopped, tls) = (stopped.clone(), tls.clone());
                    connections.spawn(async move {
                        match tls {
                            None => serve(stream, pages, stopped, patience).await,
                            Some(tls) => shake_hands(stream, &tls, pages, stopped, patience).await,
                        }
                    });
                }
                Err(error) => {
                    // Too many open files, or a client that has gone: neither is cured by asking again at once.
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            },
        }
    }
    drop(socket);
    while connections.join_next().await.is_some() {}
}

async fn told_to_stop(stopped: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop as well.
    let _ = stopped.wait_for(|&is_stopped| is_stopped).await;
}

async fn shake_hands(stream: TcpStream, tls: &Tls, pages: Router, mut stopped: watch::Receiver<bool>, patience: Patience) {
    let accepted = tokio::select! {
        accepted = tokio::time::timeout(patience.headers, tls.acceptor().accept(stream)) => accepted,
        () = told_to_stop(&mut stopped) => return,
    };
    match accepted {
        Ok(Ok(stream)) => serve(stream, pages, stopped, patience).await,
        Ok(Err(error)) => tracing::debug!(%error, "no connection came of a handshake"),
        Err(_) => tracing::debug!("a handshake took too long"),
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    pages: Router,
    mut stopped: watch::Receiver<bool>,
    patience: Patience,
) {
    let service = TowerToHyperService::new(pages);
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(patience.headers);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = told_to_stop(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error, "a connection ended early");
    }
}

/// How long a client may take; a slow one holds a connection and a buffer.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// For the head of a request, and between two requests of a connection.
    headers: Duration,
    /// For a body, and longer by what came at this speed.
    body: Duration,
    body_bytes_per_second: u64,
}

const PATIENCE: Patience = Patience { headers: Duration::from_secs(20), body: Duration::from_secs(20), body_bytes_per_second: 4 << 10 };

async fn forward(State((pages, patience)): State<(Arc<RwLock<Router>>, Patience)>, request: Request<Body>) -> Response {
    let router = pages.read().unwrap_or_else(PoisonError::into_inner).clone();
    let is_late = Arc::new(AtomicBool::new(false));
    let request = request.map(|body| if body.is_end_stream() { body } else { paced(body, patience, Arc::clone(&is_late)) });
    match router.oneshot(request).await {
        Ok(_) if is_late.load(Ordering::Relaxed) => too_slow(),
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// The same body, which ends with an error when it comes too slowly.
fn paced(body: Body, patience: Patience, is_late: Arc<AtomicBool>) -> Body {
    let begun = Instant::now();
    let parts = futures::stream::unfold((body.into_data_stream(), 0_u64), move |(mut parts, received)| {
        let is_late = Arc::clone(&is_late);
        async move {
            let deadline = begun + patience.body + Duration::from_secs(received / patience.body_bytes_per_second);
            let part = match tokio::time::timeout_at(deadline, parts.next()).await {
                Ok(part) => part?,
                Err(elapsed) => {
                    is_late.store(true, Ordering::Relaxed);
                    Err(axum::Error::new(elapsed))
                }
            };
            let received = received + part.as_ref().map_or(0, |bytes| bytes.len() as u64);
            Some((part, (parts, received)))
        }
    });
    Body::from_stream(parts)
}

fn too_slow() -> Response {
    let problem = serde_json::json!({
        "type": "about:blank", "title": "Request Timeout", "status": 408, "code": "request_too_slow",
        "detail": "the body of the request came too slowly",
    });
    let headers = [(CONTENT_TYPE, "application/problem+json"), (CONNECTION, "close")];
    (StatusCode::REQUEST_TIMEOUT, headers, problem.to_string()).into_response()
}

fn starting(reporter: Arc<Reporter>) -> Router {
    let page = move |uri: axum::http::Uri| {
        let steps: Vec<Step> = reporter.steps().into_iter().map(shown).collect();
        async move { granary_web::starting::answer(uri.path(), &steps).await }
    };
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(|| async { (StatusCode::SERVICE_UNAVAILABLE, "starting\n") }))
        .fallback(page)
}

fn shown(step: super::progress::Step) -> Step {
    let state = if step.is_finished { StepState::Done } else { StepState::Running { done: step.done, total: step.total } };
    Step { name: step.name, state }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const IMPATIENT: Patience =
        Patience { headers: Duration::from_millis(300), body: Duration::from_millis(300), body_bytes_per_second: 1_000 };

    /// Sends what is given piece by piece, and returns what came back by the time the server closes the connection.
    async fn exchange(listener: &Listener, pieces: impl Iterator<Item = &str>) -> String {
        let mut stream = TcpStream::connect(listener.address).await.unwrap();
        for piece in pieces {
            // The server may have had enough.
            if stream.write_all(piece.as_bytes()).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
        // A reset after the answer is an end as well.
        read.unwrap().unwrap_or_default();
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn a_client_that_dawdles_is_let_go_and_a_steady_one_is_served() {
        let pages = Router::new().fallback(|body: String| async move { body.len().to_string() });
        let listener = Listener::start_with("127.0.0.1:0".parse().unwrap(), pages, IMPATIENT, None).await.unwrap();
        let head = "POST / HTTP/1.1\r\nhost: x\r\n";
        assert_eq!(exchange(&listener, [head].into_iter()).await, "", "a head without an end");
        let long = format!("{head}content-length: 1000\r\n\r\n");
        let late = exchange(&listener, std::iter::once(long.as_str()).chain(std::iter::repeat_n("x", 60))).await;
        assert!(late.starts_with("HTTP/1.1 408") && late.contains("request_too_slow"), "{late}");
        let body = "y".repeat(100);
        let served = exchange(&listener, std::iter::once(long.as_str()).chain(std::iter::repeat_n(body.as_str(), 10))).await;
        assert!(served.starts_with("HTTP/1.1 200") && served.ends_with("1000"), "{served}");
        listener.stop().await;
    }

    fn client(versions: &[&'static rustls::SupportedProtocolVersion]) -> tokio_rustls::TlsConnector {
        use rustls::pki_types::pem::PemObject;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(rustls::pki_types::CertificateDer::from_pem_file(data("first.pem")).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        Arc::new(config.with_root_certificates(roots).with_no_client_auth()).into()
    }

    fn data(name: &str) -> std::path::PathBuf {
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name)
    }

    #[tokio::test]
    async fn tls_1_3_is_spoken_and_nothing_else() {
        let pages = Router::new().fallback(|| async { "behind the lock" });
        let tls = Tls::open(&data("first.pem"), &data("first.key")).unwrap();
        let listener = Listener::start_with("127.0.0.1:0".parse().unwrap(), pages, IMPATIENT, Some(tls)).await.unwrap();
        assert_eq!(listener.url(), format!("https://{}", listener.address));
        let request = "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

        let stream = TcpStream::connect(listener.address).await.unwrap();
        let mut stream = client(&[&rustls::version::TLS13]).connect("localhost".try_into().unwrap(), stream).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("behind the lock"), "{answer}");

        let stream = TcpStream::connect(listener.address).await.unwrap();
        let old = client(&[&rustls::version::TLS12]).connect("localhost".try_into().unwrap(), stream).await;
        assert!(old.unwrap_err().to_string().contains("ProtocolVersion"));
        assert!(!exchange(&listener, [request].into_iter()).await.contains("HTTP/1.1 200"), "nothing in the clear");
        let begun = Instant::now();
        assert_eq!(exchange(&listener, [""].into_iter()).await, "", "who says nothing is let go");
        assert!(begun.elapsed() < Duration::from_secs(10));
        listener.stop().await;
    }
}
