//! How somebody is let in: TLS, the name, the proof of a key, and what the client is told before it asks.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use bytes::Buf;
use granary_access::{AccessError, Permission, Principal, Who};
use granary_types::ApiKeyId;
use pgwire::messages::PgWireBackendMessage as Backend;
use pgwire::messages::response::{GssEncResponse, SslResponse};
use pgwire::messages::startup::{Authentication, BackendKeyData, NegotiateProtocolVersion, ParameterStatus, SecretKey};
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio::net::TcpStream;

use super::fault::Fault;
use super::frames::{Fields, FrameError, Inbox, Opening};
use super::functions::About;
use super::hall::{Guest, Hall};
use super::outbox::Outbox;
use super::settings::Settings;

const MECHANISM: &str = "SCRAM-SHA-256";
/// Version 3.0, the only one that is spoken.
const VERSION: i32 = 3 << 16;

/// A connection as bytes, encrypted or not.
pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

pub(super) type In = Inbox<ReadHalf<Box<dyn Wire>>>;
pub(super) type Out = Outbox<WriteHalf<Box<dyn Wire>>>;

/// Why a connection ends before a question.
#[derive(Debug)]
pub(super) enum Turned {
    /// Without a word.
    Away,
    /// With one.
    Back(Fault),
}

impl From<FrameError> for Turned {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Broken(what) => Self::Back(Fault::protocol(what)),
            FrameError::Gone | FrameError::Io(_) => Self::Away,
        }
    }
}

impl From<Fault> for Turned {
    fn from(fault: Fault) -> Self {
        Self::Back(Fault { is_fatal: true, ..fault })
    }
}

/// Somebody who was let in.
pub(super) struct Visitor {
    pub(super) principal: Principal,
    pub(super) key: ApiKeyId,
    pub(super) about: About,
    pub(super) guest: Guest,
    /// Whether the database is known by name.
    pub(super) wanted_database: Option<String>,
}

/// Speaks about TLS, and returns the first message behind that. Nobody is heard in the clear where there is a certificate.
pub(super) async fn open(stream: TcpStream, hall: &Hall) -> Result<(In, Out, Option<Opening>), Turned> {
    let mut wire: Box<dyn Wire> = Box::new(stream);
    let mut is_private = false;
    loop {
        let (reader, writer) = tokio::io::split(wire);
        let (mut inbox, mut outbox) = (Inbox::new(reader), Outbox::new(writer));
        match inbox.opening().await {
            Ok(Opening::Ssl) if !is_private => match hall.tls() {
                Some(acceptor) => {
                    outbox.put(&Backend::SslResponse(SslResponse::Accept))?;
                    outbox.flush().await?;
                    let reader = inbox.into_reader().ok_or(Turned::Away)?;
                    let plain = reader.unsplit(outbox.into_writer());
                    let accepted = acceptor.accept(plain).await.map_err(|error| {
                        tracing::debug!(%error, "no connection came of a handshake");
                        Turned::Away
                    })?;
                    wire = Box::new(accepted);
                    is_private = true;
                }
                None => {
                    outbox.put(&Backend::SslResponse(SslResponse::Refuse))?;
                    outbox.flush().await?;
                    wire = again(inbox, outbox)?;
                }
            },
            Ok(Opening::Gss) if !is_private => {
                outbox.put(&Backend::GssEncResponse(GssEncResponse::Refuse))?;
                outbox.flush().await?;
                wire = again(inbox, outbox)?;
            }
            Ok(Opening::Ssl | Opening::Gss) => return Err(Turned::Away),
            Ok(opening @ Opening::Cancel { .. }) => return Ok((inbox, outbox, Some(opening))),
            Ok(_) if hall.tls().is_some() && !is_private => {
                return refuse(
                    &mut outbox,
                    Fault::fatal("28000", "this door takes encrypted connections only").hint("connect with sslmode=require"),
                )
                .await;
            }
            Ok(opening) => return Ok((inbox, outbox, Some(opening))),
            Err(FrameError::Broken(what)) => return refuse(&mut outbox, Fault::protocol(what)).await,
            Err(error) => return Err(error.into()),
        }
    }
}

async fn refuse<T>(outbox: &mut Out, fault: Fault) -> Result<T, Turned> {
    outbox.put_fault(&fault)?;
    outbox.close().await;
    Err(Turned::Away)
}

fn again(inbox: In, outbox: Out) -> Result<Box<dyn Wire>, Turned> {
    Ok(inbox.into_reader().ok_or(Turned::Away)?.unsplit(outbox.into_writer()))
}

/// Lets somebody in who proves to hold a key that may ask in SQL.
pub(super) async fn let_in(
    hall: &Arc<Hall>,
    inbox: &mut In,
    outbox: &mut Out,
    minor: u16,
    parameters: BTreeMap<String, String>,
    address: IpAddr,
) -> Result<Visitor, Turned> {
    let odd: Vec<String> = parameters.keys().filter(|name| name.starts_with("_pq_.")).cloned().collect();
    if minor > 0 || !odd.is_empty() {
        outbox.put(&Backend::NegotiateProtocolVersion(NegotiateProtocolVersion::new(VERSION, odd)))?;
    }
    let user = parameters.get("user").cloned().unwrap_or_default();
    if user.is_empty() {
        return Err(Fault::fatal("28000", "no PostgreSQL user name specified in startup packet").into());
    }
    if parameters.get("replication").is_some_and(|wish| !["", "false", "off", "no", "0"].contains(&wish.as_str())) {
        return Err(Fault::fatal("0A000", "there is nothing to replicate here").into());
    }
    let principal = prove(hall, inbox, outbox, &user, address).await?;
    let Who::ApiKey { id: key, .. } = principal.who() else { return Err(Turned::Away) };
    let key = *key;
    principal.require(Permission::Sql).map_err(Fault::from)?;
    let msp = principal.msp().ok_or(Turned::Away)?;
    let guest = hall.admit(msp)?;
    let code = hall.desk.msp_code(&principal).await.map_err(Fault::from)?.to_lowercase();
    let mut settings = Settings::new(&user);
    settings.begin(&parameters)?;
    let about = About {
        database: code,
        user: user.clone(),
        pid: guest.pid,
        default_schema: settings.default_schema(),
        settings: Arc::new(Mutex::new(settings)),
    };
    let wanted_database = parameters.get("database").filter(|wanted| !wanted.is_empty() && **wanted != user).cloned();
    Ok(Visitor { principal, key, about, guest, wanted_database })
}

async fn prove(hall: &Hall, inbox: &mut In, outbox: &mut Out, user: &str, address: IpAddr) -> Result<Principal, Turned> {
    let access = hall.desk.access();
    outbox.put(&Backend::Authentication(Authentication::SASL(vec![MECHANISM.to_owned()])))?;
    outbox.flush().await?;
    let mut first = Fields(inbox.proof().await?);
    let (mechanism, message) = (first.text()?, first.value()?.unwrap_or_default());
    if mechanism != MECHANISM || first.0.has_remaining() {
        return Err(Fault::fatal("28000", format!("only {MECHANISM} is taken")).into());
    }
    let said = |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Turned::from(Fault::protocol("a proof is text")));
    let (proof, answer) = access.begin_proof(user, &said(&message)?, Some(address)).await.map_err(|error| not_let_in(error, user))?;
    outbox.put(&Backend::Authentication(Authentication::SASLContinue(answer.into())))?;
    outbox.flush().await?;
    let last = said(&inbox.proof().await?)?;
    let (principal, answer) = access.finish_proof(&proof, &last).await.map_err(|error| not_let_in(error, user))?;
    outbox.put(&Backend::Authentication(Authentication::SASLFinal(answer.into())))?;
    Ok(principal)
}

/// The same for a stranger, a wrong key, and one that has ended.
fn not_let_in(error: AccessError, user: &str) -> Turned {
    let shown: String = user.chars().filter(|letter| !letter.is_control()).take(63).collect();
    match error {
        AccessError::KeyRefused(_) => Fault::fatal("28P01", format!("password authentication failed for user \"{shown}\""))
            .hint("the user is the beginning of the API key as granary api-key list shows it, the password the whole key")
            .into(),
        AccessError::TooManyAttempts { .. } => Fault::fatal("57P03", error.to_string()).into(),
        other => Fault::from(other).into(),
    }
}

/// Says that somebody is in, and what holds there.
pub(super) fn greet(outbox: &mut Out, visitor: &Visitor) -> Result<(), FrameError> {
    outbox.put(&Backend::Authentication(Authentication::Ok))?;
    let settings = visitor.about.settings.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for (name, value) in settings.reported() {
        outbox.put(&Backend::ParameterStatus(ParameterStatus::new(name.to_owned(), value.to_owned())))?;
    }
    outbox.put(&Backend::BackendKeyData(BackendKeyData::new(visitor.guest.pid, SecretKey::I32(visitor.guest.secret))))
}
