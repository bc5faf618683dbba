//! A connection of somebody who was let in: statement after statement, in the simple and in the extended protocol.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use datafusion::sql::sqlparser::ast;
use futures::FutureExt;
use granary_access::Principal;
use granary_foundation::traces;
use granary_tenants::ReadGrant;
use granary_types::{ApiKeyId, Classify, ErrorKind};
use granary_warehouse::{AsOf, Question, Session};
use pgwire::messages::PgWireBackendMessage as Backend;
use pgwire::messages::response::{CommandComplete, EmptyQueryResponse, ReadyForQuery, TransactionStatus};
use pgwire::messages::startup::ParameterStatus;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use super::catalog;
use super::fault::Fault;
use super::frames::{FrameError, Message, Target};
use super::functions::About;
use super::hall::{Guest, Hall};
use super::portal::{Answer, Portal, Prepared};
use super::settings::{AS_OF, Settings};
use super::statement::{Command, Piece};
use super::welcome::{In, Out, Turned, Visitor, greet};
use super::words::{LookUps, is_about_the_catalog, is_question, read, read_as_postgres};

/// The name of the door in the audit log.
const DOOR: &str = "postgres";

/// Why a statement, or the connection, ends.
#[derive(Debug)]
pub(super) enum Stop {
    /// The statement; the client is told.
    Fault(Fault),
    /// The connection: nobody is there.
    Gone,
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<FrameError> for Stop {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Broken(what) => Self::Fault(Fault::protocol(what)),
            FrameError::Gone | FrameError::Io(_) => Self::Gone,
        }
    }
}

/// What a connection is.
pub(super) struct Conversation {
    pub(super) hall: Arc<Hall>,
    pub(super) inbox: In,
    pub(super) outbox: Out,
    principal: Principal,
    key: ApiKeyId,
    pub(super) about: About,
    guest: Guest,
    session: Opened,
    pub(super) status: TransactionStatus,
    pub(super) statements: HashMap<String, Arc<Prepared>>,
    pub(super) portals: HashMap<String, Portal>,
    /// How long the statement has been worked on.
    worked: Duration,
    /// After an error in the extended protocol nothing counts until the client says so.
    pub(super) is_skipping: bool,
}

/// A session, and what it was opened for.
struct Opened {
    session: Session,
    grant: ReadGrant,
    as_of: String,
    default_schema: &'static str,
}

impl Conversation {
    /// Opens the first session and says that the door is open.
    pub(super) async fn begin(hall: Arc<Hall>, visitor: Visitor, inbox: In, mut outbox: Out) -> Result<Self, Box<(Turned, Out)>> {
        let database = &visitor.about.database;
        if let Some(wanted) = &visitor.wanted_database
            && !wanted.eq_ignore_ascii_case(database)
        {
            let fault = Fault::fatal("3D000", format!("database \"{wanted}\" does not exist"))
                .hint(format!("this key's database is \"{database}\""));
            return Err(Box::new((fault.into(), outbox)));
        }
        let as_of = setting(&visitor.about, AS_OF);
        let opened = match open(&hall, &visitor.principal, &visitor.about, as_of).await {
            Ok(opened) => opened,
            Err(fault) => return Err(Box::new((fault.into(), outbox))),
        };
        let greeted = greet(&mut outbox, &visitor).and_then(|()| outbox.put(&ready(TransactionStatus::Idle)));
        if greeted.is_err() || outbox.flush().await.is_err() {
            return Err(Box::new((Turned::Away, outbox)));
        }
        let Visitor { principal, key, about, guest, .. } = visitor;
        Ok(Self {
            hall,
            inbox,
            outbox,
            principal,
            key,
            about,
            guest,
            session: opened,
            status: TransactionStatus::Idle,
            statements: HashMap::new(),
            portals: HashMap::new(),
            worked: Duration::ZERO,
            is_skipping: false,
        })
    }

    /// Answers until somebody goes.
    pub(super) async fn hold(mut self, mut stopped: watch::Receiver<bool>) {
        let last = loop {
            let idle = Instant::now() + self.hall.limits.idle;
            let message = tokio::select! {
                biased;
                () = super::told_to_stop(&mut stopped) => {
                    break Some(Fault::fatal("57P01", "terminating connection due to administrator command"));
                }
                message = timeout_at(idle, self.inbox.message()) => message,
            };
            let Ok(message) = message else {
                break Some(Fault::fatal("57P05", "terminating connection due to idle-session timeout"));
            };
            let outcome = match message {
                Ok(Message::Terminate) => break None,
                Ok(message) => self.heard(message).await,
                Err(error) => Err(error.into()),
            };
            match outcome {
                Ok(()) => {}
                Err(Stop::Gone) => break None,
                Err(Stop::Fault(fault)) => break Some(Fault { is_fatal: true, ..fault }),
            }
        };
        if let Some(fault) = last
            && self.outbox.put_fault(&fault).is_ok()
        {
            self.outbox.close().await;
        }
    }

    /// Answers one message. A fault that comes out of here ends the connection.
    async fn heard(&mut self, message: Message) -> Result<(), Stop> {
        let is_extended = !matches!(message, Message::Query(_));
        // A panic of a planner must not leave a client waiting; what it left behind is not used any more.
        let answered = AssertUnwindSafe(self.answer(message)).catch_unwind().await;
        let outcome = answered.unwrap_or_else(|_| {
            tracing::error!("a statement at the Postgres door panicked");
            Err(Stop::Fault(Fault::fatal("XX000", "something went wrong in the warehouse; its log says more")))
        });
        // A client that pipelines and asks for nothing to be sent must not have it all kept for it.
        if outcome.is_ok() && self.outbox.is_full() {
            self.outbox.flush().await?;
        }
        let Err(Stop::Fault(fault)) = outcome else { return outcome };
        if fault.is_fatal {
            return Err(Stop::Fault(fault));
        }
        self.outbox.put_fault(&fault)?;
        if self.status == TransactionStatus::Transaction {
            self.status = TransactionStatus::Error;
        }
        if is_extended {
            self.is_skipping = true;
        } else {
            self.outbox.put(&ready(self.status))?;
        }
        Ok(self.outbox.flush().await?)
    }

    async fn answer(&mut self, message: Message) -> Result<(), Stop> {
        if self.is_skipping && !matches!(message, Message::Sync) {
            return Ok(());
        }
        match message {
            Message::Query(sql) => {
                self.simple(&sql).await?;
                self.outbox.put(&ready(self.status))?;
                Ok(self.outbox.flush().await?)
            }
            Message::Sync => {
                self.is_skipping = false;
                if self.status == TransactionStatus::Idle {
                    self.portals.clear();
                }
                self.outbox.put(&ready(self.status))?;
                Ok(self.outbox.flush().await?)
            }
            Message::Flush => Ok(self.outbox.flush().await?),
            Message::Parse { name, sql, types } => self.parse(name, &sql, types).await,
            Message::Bind(bind) => self.bind(&bind),
            Message::Describe(target, name) => self.describe(target, &name),
            Message::Execute { portal, most_rows } => self.execute(&portal, most_rows).await,
            Message::Close(target, name) => self.close(target, &name),
            Message::Copy | Message::Terminate => Ok(()),
        }
    }

    /// Answers a text of any number of statements; the first that fails is the last.
    async fn simple(&mut self, sql: &str) -> Result<(), Stop> {
        let pieces = super::statement::pieces(sql)?;
        if pieces.is_empty() {
            return Ok(self.outbox.put(&Backend::EmptyQueryResponse(EmptyQueryResponse::new()))?);
        }
        // What is left of the extended protocol without a name goes.
        self.statements.remove("");
        self.portals.remove("");
        for piece in pieces {
            self.may_go_on(&piece.command)?;
            match &piece.command {
                Command::Ask => {
                    let question = self.question(&piece).await.map_err(|fault| placed(fault, sql, &piece.sql))?;
                    let mut answer = self.ask(&piece, question, &[]).await?;
                    self.outbox.put(&Backend::RowDescription(answer.columns.description()))?;
                    self.send(&mut answer, 0).await?;
                }
                Command::Show(name) => {
                    let mut answer = self.show(name.as_deref(), &[])?;
                    self.outbox.put(&Backend::RowDescription(answer.columns.description()))?;
                    self.send(&mut answer, 0).await?;
                }
                command => self.command(command)?,
            }
        }
        Ok(())
    }

    /// In a transaction that failed nothing is answered until it ends.
    pub(super) fn may_go_on(&self, command: &Command) -> Result<(), Fault> {
        if self.status != TransactionStatus::Error || matches!(command, Command::Rollback | Command::Commit) {
            return Ok(());
        }
        // A savepoint is none here: what failed has changed nothing, and a driver that goes back to one goes on.
        if matches!(command, Command::Nothing("ROLLBACK")) {
            return Ok(());
        }
        Err(Fault::new("25P02", "current transaction is aborted, commands ignored until end of transaction block"))
    }

    /// Does what is about the connection, and says so.
    pub(super) fn command(&mut self, command: &Command) -> Result<(), Stop> {
        let mut told = Vec::new();
        let word = match command {
            Command::Ask | Command::Show(_) => return Ok(()),
            Command::Begin => {
                self.status = TransactionStatus::Transaction;
                "BEGIN"
            }
            Command::Commit => self.end(if self.status == TransactionStatus::Error { "ROLLBACK" } else { "COMMIT" }),
            Command::Rollback => self.end("ROLLBACK"),
            Command::Nothing(word) => {
                if *word == "ROLLBACK" && self.status == TransactionStatus::Error {
                    self.status = TransactionStatus::Transaction;
                }
                word
            }
            Command::Set(name, Some(value)) => {
                told.extend(self.settings(|settings| settings.set(name, value))?);
                "SET"
            }
            Command::Set(name, None) => {
                told = self.settings(|settings| settings.reset(Some(name)))?;
                "SET"
            }
            Command::Reset(name) => {
                told = self.settings(|settings| settings.reset(name.as_deref()))?;
                "RESET"
            }
            Command::Discard => {
                if self.status != TransactionStatus::Idle {
                    return Err(Fault::new("25001", "DISCARD ALL cannot run inside a transaction block").into());
                }
                told = self.settings(|settings| settings.reset(None))?;
                self.statements.clear();
                self.portals.clear();
                "DISCARD ALL"
            }
            Command::Forget(Target::Statement, name) => {
                match name {
                    Some(name) if self.statements.remove(name).is_none() => {
                        return Err(Fault::new("26000", format!("prepared statement \"{name}\" does not exist")).into());
                    }
                    Some(_) => {}
                    None => self.statements.clear(),
                }
                "DEALLOCATE"
            }
            Command::Forget(Target::Portal, name) => {
                match name {
                    Some(name) => drop(self.portals.remove(name)),
                    None => self.portals.clear(),
                }
                "CLOSE CURSOR"
            }
            Command::Refused(fault) => return Err(Stop::Fault(fault.as_ref().clone())),
        };
        for (name, value) in told {
            self.outbox.put(&Backend::ParameterStatus(ParameterStatus::new(name.to_owned(), value)))?;
        }
        Ok(self.outbox.put(&Backend::CommandComplete(CommandComplete::new(word.to_owned())))?)
    }

    fn end(&mut self, word: &'static str) -> &'static str {
        self.status = TransactionStatus::Idle;
        self.portals.clear();
        word
    }

    fn settings<T>(&self, change: impl FnOnce(&mut Settings) -> Result<T, Fault>) -> Result<T, Fault> {
        change(&mut self.about.settings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Plans a question in a session as things stand now: the key is looked up again, and outside of a transaction the newest version
    /// of the lake is read.
    pub(super) async fn question(&mut self, piece: &Piece) -> Result<Question, Fault> {
        self.refresh().await?;
        let session = &self.session.session;
        let plan = async {
            if is_about_the_catalog(&piece.sql) {
                return about_the_catalog(session, &piece.sql).await;
            }
            match session.question_of(asked(read(&piece.sql)?)?).await {
                Ok(question) => Ok(question),
                // Some words of Postgres have another spelling here.
                Err(error) if error.kind() == ErrorKind::Invalid => {
                    let other = session.question_of(read_as_postgres(&piece.sql, LookUps::Kept)?).await;
                    other.map_err(|_| Fault::from(error).placed(&piece.sql))
                }
                Err(error) => Err(error.into()),
            }
        };
        let span = tracing::info_span!(target: traces::TARGET, "plan", door = DOOR);
        let planned = tokio::time::timeout(self.hall.limits.statement, plan.instrument(span)).await;
        planned.unwrap_or_else(|_| Err(Fault::timed_out()))
    }

    async fn refresh(&mut self) -> Result<(), Fault> {
        self.principal = self.hall.desk.access().key_by_id(self.key).await?;
        let grant = self.principal.read_grant()?;
        self.about.default_schema = self.settings(|settings| Ok(settings.default_schema()))?;
        let as_of = setting(&self.about, AS_OF);
        let is_same =
            grant == self.session.grant && as_of == self.session.as_of && self.about.default_schema == self.session.default_schema;
        // Within a transaction, and as of something, the version stays.
        if is_same && (self.status != TransactionStatus::Idle || !as_of.is_empty()) {
            return Ok(());
        }
        if is_same {
            let newest = self.hall.desk.session(&self.principal, None).await?;
            if newest.version() == self.session.session.version() {
                return Ok(());
            }
        }
        self.session = open(&self.hall, &self.principal, &self.about, as_of).await?;
        Ok(())
    }

    /// Begins to answer a question, once it is written down that it was asked.
    pub(super) async fn ask(&mut self, piece: &Piece, question: Question, formats: &[i16]) -> Result<Answer, Stop> {
        let desk = self.hall.desk.clone();
        let (principal, session) = (self.principal.clone(), self.session.session.clone());
        let columns = super::columns::Columns::new(&question.schema(), formats)?;
        let word =
            if piece.sql.trim_start().get(..7).is_some_and(|word| word.eq_ignore_ascii_case("explain")) { "EXPLAIN" } else { "SELECT" };
        let sql = piece.sql.clone();
        // What was called off before is over.
        self.guest.called_off.mark_unchanged();
        self.worked = Duration::ZERO;
        let work = async move {
            if question.reads_rows() {
                desk.note(&principal, DOOR, &sql).await?;
            }
            // Who asks much at once waits for a turn as long as a statement may take.
            loop {
                match desk.answer(&principal, &session, question.clone()).await {
                    Err(error) if error.code() == "too_many_queries" => {}
                    other => return other.map_err(Fault::from),
                }
            }
        };
        let stream = self.until_called_off(work).await?;
        Ok(Answer::new(columns, stream.batches, word))
    }

    /// Works for a client until it calls off, goes, or its time is over.
    pub(super) async fn until_called_off<T>(&mut self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Stop> {
        let most = self.hall.limits.statement;
        let time = self.settings(|settings| Ok(settings.statement_timeout().map_or(most, |wanted| wanted.min(most))))?;
        let begun = Instant::now();
        let left = time.saturating_sub(self.worked);
        let Self { guest, inbox, .. } = self;
        let outcome = tokio::select! {
            biased;
            Ok(()) = guest.called_off.changed() => Err(Fault::cancelled().into()),
            done = work => done.map_err(Stop::from),
            () = inbox.until_gone() => Err(Stop::Gone),
            () = tokio::time::sleep(left) => Err(Fault::timed_out().into()),
        };
        self.worked += begun.elapsed();
        outcome
    }

    /// Returns one setting, or all of them.
    pub(super) fn show(&self, name: Option<&str>, formats: &[i16]) -> Result<Answer, Fault> {
        self.settings(|settings| super::showing::show(settings, name, formats))
    }
}

/// Plans what is, or may be, about the catalog. What is taken lightly there is not where rows are read: a value that is not found, or
/// found more than once, would be told as if it were known.
async fn about_the_catalog(session: &Session, sql: &str) -> Result<Question, Fault> {
    for look_ups in [LookUps::First, LookUps::Nothing] {
        match session.question_of(asked(read_as_postgres(sql, look_ups)?)?).await {
            Ok(question) if !question.reads_rows() => return Ok(question),
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::Invalid => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(session.question_of(asked(read_as_postgres(sql, LookUps::Kept)?)?).await?)
}

/// Refuses what is no question before it is planned: how a change fails is nobody's business.
fn asked(statement: ast::Statement) -> Result<ast::Statement, Fault> {
    if is_question(&statement) { Ok(statement) } else { Err(Fault::read_only()) }
}

pub(super) fn ready(status: TransactionStatus) -> Backend {
    Backend::ReadyForQuery(ReadyForQuery::new(status))
}

fn setting(about: &About, name: &str) -> String {
    let settings = about.settings.lock().unwrap_or_else(PoisonError::into_inner);
    settings.get(name).map_or_else(String::new, |(_, value)| value.to_owned())
}

/// The place of an error in the whole text.
fn placed(fault: Fault, sql: &str, piece: &str) -> Fault {
    let before = sql.find(piece).map_or(0, |at| sql[..at].chars().count());
    Fault { position: fault.position.map(|position| position + before), ..fault }
}

async fn open(hall: &Hall, principal: &Principal, about: &About, as_of: String) -> Result<Opened, Fault> {
    let wanted = if as_of.is_empty() { None } else { as_of.parse::<AsOf>().ok() };
    let plain = hall.desk.session(principal, wanted.as_ref()).await?;
    let session = catalog::furnish(&plain, hall.desk.models(), about.clone()).await?;
    Ok(Opened { session, grant: principal.read_grant()?, as_of, default_schema: about.default_schema })
}
