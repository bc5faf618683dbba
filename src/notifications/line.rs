//! A secured line to a mail server.
//!
//! `lettre` could secure it as well, but not without switching on rustls' logging in everything that is built; and after STARTTLS
//! it takes what somebody said in the clear for the secured server's word.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use lettre::transport::smtp::client::AsyncTokioStream;
use lettre::transport::smtp::commands::{Ehlo, Starttls};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::{Response, Severity};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::smtp::PostError;

/// Bytes of an answer that are read while nothing is secured.
const LONGEST_ANSWER: u64 = 10_000;

/// A stream that begins with a greeting: a server greets once, before STARTTLS, and `lettre` waits for one.
#[derive(Debug)]
pub(crate) struct SecureLine {
    greeting: &'static [u8],
    stream: TlsStream<TcpStream>,
}

impl SecureLine {
    /// Secures a line from its first byte.
    pub(crate) async fn over(stream: TcpStream, host: &str) -> Result<Self, PostError> {
        Ok(Self { greeting: b"", stream: secured(stream, host).await? })
    }

    /// Asks in the clear for a secure line (RFC 3207).
    pub(crate) async fn by_starttls(stream: TcpStream, host: &str, hello: &ClientId) -> Result<Self, PostError> {
        let mut line = BufReader::new(stream);
        answer(&mut line).await?;
        for command in [Ehlo::new(hello.clone()).to_string(), Starttls.to_string()] {
            line.get_mut().write_all(command.as_bytes()).await?;
            answer(&mut line).await?;
        }
        // Whatever was said in the clear after this would be taken for the server's own word.
        if !line.buffer().is_empty() {
            return Err(PostError::NotNow("the server spoke before it was secure".to_owned()));
        }
        Ok(Self { greeting: b"220 secured\r\n", stream: secured(line.into_inner(), host).await? })
    }
}

/// Reads an answer, whose lines but the last have a hyphen after the code.
async fn answer(line: &mut BufReader<TcpStream>) -> Result<(), PostError> {
    let mut limited = line.take(LONGEST_ANSWER);
    let mut text = String::new();
    loop {
        let start = text.len();
        if limited.read_line(&mut text).await? == 0 {
            return Err(PostError::NotNow("the server hung up, or its answer has no end".to_owned()));
        }
        if text.as_bytes().get(start + 3) != Some(&b'-') {
            break;
        }
    }
    let response: Response = text.parse()?;
    let said = || text.trim_end().to_owned();
    match response.code().severity {
        Severity::PositiveCompletion | Severity::PositiveIntermediate => Ok(()),
        Severity::TransientNegativeCompletion => Err(PostError::NotNow(said())),
        Severity::PermanentNegativeCompletion => Err(PostError::Refused(said())),
    }
}

async fn secured(stream: TcpStream, host: &str) -> Result<TlsStream<TcpStream>, PostError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| PostError::NotNow(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(|error| PostError::Refused(error.to_string()))?;
    Ok(TlsConnector::from(Arc::new(config)).connect(name, stream).await?)
}

impl AsyncRead for SecureLine {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.greeting.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let (now, later) = self.greeting.split_at(self.greeting.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.greeting = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SecureLine {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl AsyncTokioStream for SecureLine {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.get_ref().0.peer_addr()
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Speaks the given words to whoever calls, and asks for `STARTTLS` in the clear.
    async fn ask(words: &'static str) -> PostError {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        server.write_all(words.as_bytes()).await.unwrap();
        server.shutdown().await.unwrap();
        SecureLine::by_starttls(stream, "localhost", &ClientId::Domain("north.example".to_owned())).await.unwrap_err()
    }

    #[tokio::test]
    async fn nothing_that_was_said_in_the_clear_is_believed_later() {
        let injected = "220 here\r\n250-here\r\n250 STARTTLS\r\n220 go on\r\n250 AUTH PLAIN\r\n";
        assert!(ask(injected).await.to_string().contains("before it was secure"));
    }

    #[tokio::test]
    async fn a_server_that_has_no_secure_line_gets_nothing() {
        assert!(matches!(ask("220 here\r\n250 here\r\n502 what?\r\n").await, PostError::Refused(_)));
        assert!(matches!(ask("220 here\r\n250 here\r\n454 not now\r\n").await, PostError::NotNow(_)));
        assert!(matches!(ask("220 here\r\n250-here\r\n").await, PostError::NotNow(_)));
        assert!(matches!(ask("HTTP/1.1 400 what?\r\n\r\n").await, PostError::NotNow(_)));
    }
}
