//! The port to a mail server, and SMTP behind it (RFC 5321; STARTTLS by RFC 3207, AUTH PLAIN by RFC 4616).
//!
//! A client of our own: all that is needed is to hand over one message at a time, over the TLS that is linked anyway.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use granary_foundation::Boxed;
use granary_foundation::config::MailConfig;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use uuid::Uuid;

use crate::NotificationError;
use crate::delivery::Recipient;
use crate::message::{self, Sender};
use crate::notice::Words;
use crate::url::{Security, Server};

/// How long the whole conversation with a mail server may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest answer of a server that is read.
const LONGEST_LINE: usize = 2_000;
const MOST_LINES: usize = 100;

/// Why a mail was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// Later may do.
    #[error("{0}")]
    NotNow(String),
    /// Trying again does not help.
    #[error("{0}")]
    Refused(String),
}

impl From<std::io::Error> for PostError {
    fn from(error: std::io::Error) -> Self {
        Self::NotNow(error.to_string())
    }
}

/// Whoever takes mails to people.
pub trait Post: fmt::Debug + Send + Sync {
    /// Hands a mail over; the same id is the same mail.
    fn send<'a>(&'a self, id: Uuid, to: &'a Recipient, words: &'a Words) -> Boxed<'a, Result<(), PostError>>;
}

/// A mail server, by SMTP.
#[derive(Debug)]
pub struct Smtp {
    server: Server,
    from: Sender,
}

impl Smtp {
    /// Reads where the mail server is; none when there is none. Nothing is sent yet.
    ///
    /// # Errors
    /// When the address is no SMTP server's, would send in the clear over a network, or the sender is no address.
    pub fn of(config: &MailConfig) -> Result<Option<Self>, NotificationError> {
        let Some(url) = &config.url else { return Ok(None) };
        let from = Sender::parse(&config.from).ok_or_else(|| NotificationError::From(config.from.chars().take(100).collect()))?;
        Ok(Some(Self { server: Server::parse(url)?, from }))
    }

    async fn hand_over(&self, to: &Recipient, message: &str) -> Result<(), PostError> {
        let Server { host, port, .. } = &self.server;
        let stream = TcpStream::connect((host.as_str(), *port)).await?;
        match self.server.security {
            Security::None => self.converse(&mut Line::new(stream), to, message, IsGreeted::No).await,
            Security::Tls => self.converse(&mut Line::new(self.wrap(stream).await?), to, message, IsGreeted::No).await,
            Security::StartTls => {
                let mut line = Line::new(stream);
                line.expect(220).await?;
                line.ask(&self.hello(), 250).await?;
                line.ask("STARTTLS", 220).await?;
                // Whatever was said in the clear after this would be taken for the server's own word.
                if !line.reader.buffer().is_empty() {
                    return Err(PostError::NotNow("the server spoke before it was secure".to_owned()));
                }
                let stream = self.wrap(line.reader.into_inner()).await?;
                self.converse(&mut Line::new(stream), to, message, IsGreeted::Yes).await
            }
        }
    }

    async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        line: &mut Line<S>,
        to: &Recipient,
        message: &str,
        is_greeted: IsGreeted,
    ) -> Result<(), PostError> {
        if is_greeted == IsGreeted::No {
            line.expect(220).await?;
        }
        line.ask(&self.hello(), 250).await?;
        if let Some((user, password)) = &self.server.login {
            let secret = STANDARD.encode(format!("\0{user}\0{}", password.reveal()));
            // A wrong password in the configuration is mended, and then the letters go out.
            let let_in = line.ask(&format!("AUTH PLAIN {secret}"), 235).await;
            let_in.map_err(|error| PostError::NotNow(format!("it does not let us in: {error}")))?;
        }
        line.ask(&format!("MAIL FROM:<{}>", self.from.address), 250).await?;
        line.ask(&format!("RCPT TO:<{}>", to.email), 250).await?;
        line.ask("DATA", 354).await?;
        line.ask(&format!("{}\r\n.", message::stuffed(message)), 250).await?;
        // It is sent; how the server says goodbye does not matter.
        let _ = line.ask("QUIT", 221).await;
        Ok(())
    }

    async fn wrap(&self, stream: TcpStream) -> Result<tokio_rustls::client::TlsStream<TcpStream>, PostError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| PostError::NotNow(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(self.server.host.clone()).map_err(|error| PostError::Refused(error.to_string()))?;
        Ok(TlsConnector::from(Arc::new(config)).connect(name, stream).await?)
    }

    fn hello(&self) -> String {
        format!("EHLO {}", self.from.domain())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IsGreeted {
    Yes,
    No,
}

impl Post for Smtp {
    fn send<'a>(&'a self, id: Uuid, to: &'a Recipient, words: &'a Words) -> Boxed<'a, Result<(), PostError>> {
        Box::pin(async move {
            if !message::is_address(&to.email) {
                return Err(PostError::Refused("the recipient's address is no mail address".to_owned()));
            }
            let message = message::write(id, &self.from, to, words);
            match tokio::time::timeout(PATIENCE, self.hand_over(to, &message)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(PostError::NotNow("the server did not answer within a minute".to_owned())),
            }
        })
    }
}

/// A conversation, line by line.
struct Line<S> {
    reader: BufReader<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Line<S> {
    fn new(stream: S) -> Self {
        Self { reader: BufReader::new(stream) }
    }

    /// Says something and waits for an answer with a code.
    async fn ask(&mut self, command: &str, code: u16) -> Result<(), PostError> {
        let stream = self.reader.get_mut();
        stream.write_all(command.as_bytes()).await?;
        stream.write_all(b"\r\n").await?;
        stream.flush().await?;
        self.expect(code).await
    }

    /// Reads an answer: its lines but the last have a hyphen after the code. 4xx may pass, 5xx will not (RFC 5321, 4.2.1); a code of
    /// the same hundred as the one expected is as good.
    async fn expect(&mut self, code: u16) -> Result<(), PostError> {
        for _ in 0..MOST_LINES {
            let line = self.line().await?;
            let got: u16 = line.get(..3).and_then(|digits| digits.parse().ok()).ok_or_else(|| odd(&line))?;
            if line.as_bytes().get(3) == Some(&b'-') {
                continue;
            }
            return match got {
                _ if got / 100 == code / 100 => Ok(()),
                500..=599 => Err(PostError::Refused(line)),
                400..=499 => Err(PostError::NotNow(line)),
                _ => Err(odd(&line)),
            };
        }
        Err(PostError::NotNow("the server does not stop talking".to_owned()))
    }

    async fn line(&mut self) -> Result<String, PostError> {
        let mut line = Vec::new();
        loop {
            let part = self.reader.fill_buf().await?;
            if part.is_empty() {
                return Err(PostError::NotNow("the server hung up".to_owned()));
            }
            let end = part.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(part.len(), |end| end + 1);
            line.extend_from_slice(&part[..taken]);
            self.reader.consume(taken);
            if line.len() > LONGEST_LINE {
                return Err(PostError::NotNow("the server's answer has no end".to_owned()));
            }
            if end.is_some() {
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
        }
    }
}

fn odd(line: &str) -> PostError {
    PostError::NotNow(format!("the server answers '{}'", line.chars().take(100).collect::<String>()))
}
