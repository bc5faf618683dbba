//! The port to a mail server, and SMTP behind it, which `lettre` speaks.

use std::fmt;
use std::time::Duration;

use granary_foundation::Boxed;
use granary_foundation::config::MailConfig;
use lettre::Message;
use lettre::message::Mailbox;
use lettre::transport::smtp;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::extension::ClientId;
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::NotificationError;
use crate::delivery::Recipient;
use crate::line::SecureLine;
use crate::message;
use crate::notice::Words;
use crate::url::{Security, Server};

/// How long the whole conversation with a mail server may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the server may take to say goodbye: the mail is in its hands by then.
const FAREWELL: Duration = Duration::from_secs(2);

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

impl From<smtp::Error> for PostError {
    /// 4xx may pass, 5xx will not (RFC 5321, 4.2.1).
    fn from(error: smtp::Error) -> Self {
        if error.is_permanent() { Self::Refused(error.to_string()) } else { Self::NotNow(error.to_string()) }
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
    from: Mailbox,
}

impl Smtp {
    /// Reads where the mail server is; none when there is none. Nothing is sent yet.
    ///
    /// # Errors
    /// When the address is no SMTP server's, would send in the clear over a network, or the sender is no address.
    pub fn of(config: &MailConfig) -> Result<Option<Self>, NotificationError> {
        let Some(url) = &config.url else { return Ok(None) };
        let from = message::sender(&config.from).ok_or_else(|| NotificationError::From(config.from.chars().take(100).collect()))?;
        Ok(Some(Self { server: Server::parse(url)?, from }))
    }

    async fn hand_over(&self, message: &Message) -> Result<(), PostError> {
        let mut server = self.connect().await?;
        if let Some((user, password)) = &self.server.login {
            let credentials = Credentials::new(user.clone(), password.reveal().to_owned());
            server.auth(DEFAULT_MECHANISMS, &credentials).await.map_err(not_let_in)?;
        }
        server.send(message.envelope(), &message.formatted()).await?;
        let _ = tokio::time::timeout(FAREWELL, server.abort()).await;
        Ok(())
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, PostError> {
        let Server { host, port, security, .. } = &self.server;
        let hello = ClientId::Domain(self.from.email.domain().to_owned());
        let stream = TcpStream::connect((host.as_str(), *port)).await?;
        Ok(match security {
            Security::None => AsyncSmtpConnection::connect_with_transport(Box::new(stream), &hello).await?,
            Security::Tls => {
                let line = SecureLine::over(stream, host).await?;
                AsyncSmtpConnection::connect_with_transport(Box::new(line), &hello).await?
            }
            Security::StartTls => {
                let line = SecureLine::by_starttls(stream, host, &hello).await?;
                AsyncSmtpConnection::connect_with_transport(Box::new(line), &hello).await?
            }
        })
    }
}

/// A wrong password in the configuration is mended, and then the letters go out. The server's words are left out: one that did not
/// understand repeats what it was told.
fn not_let_in(error: smtp::Error) -> PostError {
    let why = error.status().map_or_else(|| error.to_string(), |code| format!("it says {code}"));
    PostError::NotNow(format!("it does not let us in: {why}"))
}

impl Post for Smtp {
    fn send<'a>(&'a self, id: Uuid, to: &'a Recipient, words: &'a Words) -> Boxed<'a, Result<(), PostError>> {
        Box::pin(async move {
            let message = message::write(id, &self.from, to, words).map_err(|error| PostError::Refused(error.to_string()))?;
            match tokio::time::timeout(PATIENCE, self.hand_over(&message)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(PostError::NotNow("the server did not answer within a minute".to_owned())),
            }
        })
    }
}
