//! Where the door listens: HTTP/2 under TLS, or in the clear for this machine alone, with an end to everything that a client may hold.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::Server;
use tonic::transport::server::Connected;

use super::front::Front;
use super::running::Running;
use super::service::Service;
use super::{MOST_IN_BYTES, MOST_OUT_BYTES, NAME};
use crate::{Desk, DoorError};

/// Connections at the same time.
const MOST_CONNECTIONS: usize = 256;
/// Calls of one connection at the same time.
const MOST_CALLS: u32 = 32;
/// How long a client may take to agree on a key.
const HANDSHAKE: Duration = Duration::from_secs(20);
/// How often a silent client is asked whether it is still there, and how long it may take to say so.
const ASK_AGAIN: Duration = Duration::from_secs(60);
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// How long a connection lives before it is asked to come again, elsewhere perhaps.
const LIFE: Duration = Duration::from_secs(3_600);
/// How long answers that are being read may go on when the server stops.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long their readers have to hear that it does.
const LAST_WORD: Duration = Duration::from_secs(1);
/// How long nobody is let in after a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(200);

/// Where a connection finds the certificate of the moment; it must speak `h2`.
#[derive(Clone)]
pub struct TlsSource(Arc<dyn Fn() -> TlsAcceptor + Send + Sync>);

impl fmt::Debug for TlsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsSource")
    }
}

impl TlsSource {
    /// Takes whatever knows the certificate.
    pub fn new(source: impl Fn() -> TlsAcceptor + Send + Sync + 'static) -> Self {
        Self(Arc::new(source))
    }
}

/// An open door for Arrow Flight SQL.
#[derive(Debug)]
pub struct FlightDoor {
    address: SocketAddr,
    is_private: bool,
    stop: watch::Sender<bool>,
    running: Running,
    task: JoinHandle<()>,
}

impl FlightDoor {
    /// Opens the door. The configuration sees to it that nobody but this machine comes in without a certificate.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub async fn listen(address: SocketAddr, tls: Option<TlsSource>, desk: Desk) -> Result<Self, DoorError> {
        let listening = |source| DoorError::Listen { door: NAME, address, source };
        let socket = TcpListener::bind(address).await.map_err(listening)?;
        let address = socket.local_addr().map_err(listening)?;
        let (stop, stopped) = watch::channel(false);
        let (sender, lines) = mpsc::channel(1);
        let is_private = tls.is_some();
        tokio::spawn(accept(socket, tls, sender, stopped.clone()));
        let running = Running::new();
        let task = tokio::spawn(serve(lines, Service::new(desk, running.clone()), stopped));
        Ok(Self { address, is_private, stop, running, task })
    }

    /// Returns where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns how clients name it.
    pub fn url(&self) -> String {
        format!("grpc{}://{}", if self.is_private { "+tls" } else { "" }, self.address)
    }

    /// Lets the answers that are being read go on for five seconds, tells their readers, and stops.
    pub async fn stop(mut self) {
        // Nobody listens any more when the task has ended by itself.
        let _ = self.stop.send(true);
        if tokio::time::timeout(FAREWELL, &mut self.task).await.is_ok() {
            return;
        }
        tracing::warn!("answers of Flight SQL were still being read after five seconds");
        self.running.close();
        if tokio::time::timeout(LAST_WORD, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

async fn told_to_stop(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop as well.
    let _ = stopped.wait_for(|&is_stopped| is_stopped).await;
}

/// Accepts connections until it is told to stop.
async fn accept(socket: TcpListener, tls: Option<TlsSource>, sender: mpsc::Sender<io::Result<Line>>, stopped: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let accepting = async {
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match socket.accept().await {
                Ok((stream, _)) => {
                    // Small messages wait for nothing.
                    let _ = stream.set_nodelay(true);
                    tokio::spawn(shake_hands(stream, tls.clone(), place, sender.clone()));
                }
                Err(error) => {
                    // Too many open files, or a client that has gone: neither is cured by asking again at once.
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = accepting => {}
        () = told_to_stop(stopped) => {}
    }
}

async fn shake_hands(stream: TcpStream, tls: Option<TlsSource>, place: OwnedSemaphorePermit, sender: mpsc::Sender<io::Result<Line>>) {
    let wire = match tls {
        None => Wire::Clear(stream),
        Some(tls) => match tokio::time::timeout(HANDSHAKE, (tls.0)().accept(stream)).await {
            Ok(Ok(stream)) => Wire::Tls(Box::new(stream)),
            Ok(Err(error)) => return tracing::debug!(%error, "no connection came of a handshake"),
            Err(_) => return tracing::debug!("a handshake took too long"),
        },
    };
    // When the server has stopped, the connection goes.
    let _ = sender.send(Ok(Line { wire, _place: place })).await;
}

async fn serve(lines: mpsc::Receiver<io::Result<Line>>, service: Service, stopped: watch::Receiver<bool>) {
    let incoming = futures::stream::unfold(lines, |mut lines| async move { lines.recv().await.map(|line| (line, lines)) });
    let service =
        FlightServiceServer::new(Front::new(service)).max_decoding_message_size(MOST_IN_BYTES).max_encoding_message_size(MOST_OUT_BYTES);
    let served = Server::builder()
        .max_concurrent_streams(MOST_CALLS)
        .http2_keepalive_interval(Some(ASK_AGAIN))
        .http2_keepalive_timeout(Some(ANSWER_WITHIN))
        .http2_max_header_list_size(16 << 10)
        .max_connection_age(LIFE)
        .add_service(service)
        .serve_with_incoming_shutdown(incoming, told_to_stop(stopped));
    if let Err(error) = served.await {
        tracing::error!(%error, "the door of Flight SQL has closed");
    }
}

/// A connection, and its place among them.
#[derive(Debug)]
struct Line {
    wire: Wire,
    _place: OwnedSemaphorePermit,
}

#[derive(Debug)]
enum Wire {
    Clear(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connected for Line {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Clear(stream) => Pin::new(stream).poll_read(context, buffer),
            Wire::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.wire {
            Wire::Clear(stream) => Pin::new(stream).poll_write(context, bytes),
            Wire::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match &mut self.wire {
            Wire::Clear(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Wire::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.wire {
            Wire::Clear(stream) => stream.is_write_vectored(),
            Wire::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Clear(stream) => Pin::new(stream).poll_flush(context),
            Wire::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Clear(stream) => Pin::new(stream).poll_shutdown(context),
            Wire::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
