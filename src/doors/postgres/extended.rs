//! The extended protocol: statements are read once, bound to values, described and answered, all at once or in portions.

use std::sync::Arc;

use pgwire::api::Type;
use pgwire::messages::PgWireBackendMessage as Backend;
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{BindComplete, CloseComplete, ParseComplete, PortalSuspended};
use pgwire::messages::response::{CommandComplete, EmptyQueryResponse};

use super::columns::Columns;
use super::conversation::{Conversation, Stop};
use super::fault::Fault;
use super::frames::{Bind, Target};
use super::portal::{Answer, Portal, Prepared, State, places};
use super::showing;
use super::statement::{Command, pieces};
use super::values::{self, Place};
use super::words::{places_of_lists, places_of_times};

/// Statements and portals that one connection keeps, and what either hold together.
const MOST_STATEMENTS: usize = 1_000;
const MOST_BYTES: usize = 8 << 20;
/// The longest name of one.
const LONGEST_NAME: usize = 1_000;
const MOST_PORTALS: usize = 100;

impl Conversation {
    /// Reads a statement and keeps it.
    pub(super) async fn parse(&mut self, name: String, sql: &str, named: Vec<u32>) -> Result<(), Stop> {
        let mut pieces = pieces(sql)?;
        if pieces.len() > 1 {
            return Err(Fault::new("42601", "cannot insert multiple commands into a prepared statement").into());
        }
        if !name.is_empty() && self.statements.contains_key(&name) {
            return Err(Fault::new("42P05", format!("prepared statement \"{name}\" already exists")).into());
        }
        short(&name)?;
        let kept: usize = self.statements.values().map(|prepared| prepared.size()).sum();
        if self.statements.len() >= MOST_STATEMENTS || kept > MOST_BYTES {
            let fault =
                Fault::new("53400", format!("a connection keeps at most {MOST_STATEMENTS} statements of {MOST_BYTES} bytes in all"));
            return Err(fault.hint("close those that are not used any more, or deallocate all").into());
        }
        let piece = pieces.pop();
        let (mut at, mut schema) = (Vec::new(), None);
        if let Some(piece) = &piece {
            self.may_go_on(&piece.command)?;
            match &piece.command {
                Command::Ask => {
                    let question = self.question(piece).await?;
                    at = places(&question, &named)?;
                    for number in places_of_lists(&piece.sql) {
                        if let Some(place) = at.get_mut(number.wrapping_sub(1)).filter(|place| !place.is_named) {
                            place.kind = Type::TEXT_ARRAY;
                        }
                    }
                    for (number, kind) in places_of_times(&piece.sql) {
                        let is_open = |place: &&mut Place| !place.is_named && place.kind == Type::TEXT;
                        if let Some(place) = at.get_mut(number.wrapping_sub(1)).filter(is_open) {
                            place.kind = kind;
                        }
                    }
                    schema = Some(question.schema());
                    // What cannot be written is refused before it is asked.
                    Columns::new(&question.schema(), &[])?;
                }
                Command::Show(name) => schema = Some(self.shown_schema(name.as_deref())?),
                _ => {}
            }
        }
        self.statements.insert(name, Arc::new(Prepared { piece, places: at, schema }));
        Ok(self.outbox.put(&Backend::ParseComplete(ParseComplete::new()))?)
    }

    fn shown_schema(&self, name: Option<&str>) -> Result<datafusion::arrow::datatypes::SchemaRef, Fault> {
        let settings = self.about.settings.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        showing::schema(&settings, name)
    }

    fn statement(&self, name: &str) -> Result<&Arc<Prepared>, Fault> {
        self.statements.get(name).ok_or_else(|| Fault::new("26000", format!("prepared statement \"{name}\" does not exist")))
    }

    /// Gives a statement its values.
    pub(super) fn bind(&mut self, bind: &Bind) -> Result<(), Stop> {
        let prepared = Arc::clone(self.statement(&bind.statement)?);
        if let Some(piece) = &prepared.piece {
            self.may_go_on(&piece.command)?;
        }
        if !bind.portal.is_empty() && self.portals.contains_key(&bind.portal) {
            return Err(Fault::new("42P03", format!("cursor \"{}\" already exists", bind.portal)).into());
        }
        short(&bind.portal)?;
        let kept: usize = self.portals.values().map(|portal| portal.size).sum();
        if self.portals.len() >= MOST_PORTALS || kept > MOST_BYTES {
            let fault =
                Fault::new("53400", format!("a connection keeps at most {MOST_PORTALS} portals, with values of {MOST_BYTES} bytes"));
            return Err(fault.into());
        }
        let values = values::read(bind, &prepared.places)?;
        if let Some(schema) = &prepared.schema {
            Columns::new(schema, &bind.result_formats)?;
        }
        let portal = Portal { prepared, values, formats: bind.result_formats.clone(), state: State::Fresh, size: bind.size() };
        self.portals.insert(bind.portal.clone(), portal);
        Ok(self.outbox.put(&Backend::BindComplete(BindComplete::new()))?)
    }

    /// Tells what a statement takes and gives, or what a portal gives.
    pub(super) fn describe(&mut self, target: Target, name: &str) -> Result<(), Stop> {
        let (schema, formats) = match target {
            Target::Statement => {
                let prepared = Arc::clone(self.statement(name)?);
                let types = prepared.places.iter().map(|place| place.kind.oid()).collect();
                self.outbox.put(&Backend::ParameterDescription(ParameterDescription::new(types)))?;
                (prepared.schema.clone(), Vec::new())
            }
            Target::Portal => {
                let portal = self.portals.get(name).ok_or_else(|| no_portal(name))?;
                (portal.prepared.schema.clone(), portal.formats.clone())
            }
        };
        let message = match schema {
            Some(schema) => Backend::RowDescription(Columns::new(&schema, &formats)?.description()),
            None => Backend::NoData(NoData::new()),
        };
        Ok(self.outbox.put(&message)?)
    }

    /// Answers a portal, or goes on where it was left.
    pub(super) async fn execute(&mut self, name: &str, most_rows: usize) -> Result<(), Stop> {
        let mut portal = self.portals.remove(name).ok_or_else(|| no_portal(name))?;
        let Some(piece) = &portal.prepared.piece else {
            self.portals.insert(name.to_owned(), portal);
            return Ok(self.outbox.put(&Backend::EmptyQueryResponse(EmptyQueryResponse::new()))?);
        };
        self.may_go_on(&piece.command)?;
        if let State::Fresh = portal.state {
            let answer = match &piece.command {
                Command::Ask => {
                    let question = self.question(piece).await?;
                    let question = if portal.values.is_empty() {
                        question
                    } else {
                        question.with_values(std::mem::take(&mut portal.values)).map_err(Fault::from)?
                    };
                    let answer = self.ask(piece, question, &portal.formats).await?;
                    check_columns(&answer, &portal)?;
                    answer
                }
                Command::Show(setting) => self.show(setting.as_deref(), &portal.formats)?,
                command => {
                    self.command(command)?;
                    return Ok(());
                }
            };
            portal.state = State::Coming(Box::new(answer));
        }
        let is_done = match &mut portal.state {
            State::Coming(answer) => self.send(answer, most_rows).await?,
            State::Fresh | State::Done => {
                self.outbox.put(&complete("SELECT", 0))?;
                true
            }
        };
        if is_done {
            portal.state = State::Done;
        }
        self.portals.insert(name.to_owned(), portal);
        Ok(())
    }

    /// Sends rows, all of them for zero; tells whether there are no more.
    pub(super) async fn send(&mut self, answer: &mut Answer, most_rows: usize) -> Result<bool, Stop> {
        let mut sent = 0;
        loop {
            while most_rows == 0 || sent < most_rows {
                let Some(rows) = &mut answer.rows else { break };
                if !rows.write_next(&mut self.outbox.waiting)? {
                    answer.rows = None;
                    break;
                }
                sent += 1;
                if self.outbox.is_full() {
                    self.outbox.flush().await?;
                }
            }
            if most_rows > 0 && sent == most_rows {
                self.outbox.put(&Backend::PortalSuspended(PortalSuspended::new()))?;
                return Ok(false);
            }
            if !self.until_called_off(answer.more()).await? {
                self.outbox.put(&complete(answer.word, sent))?;
                return Ok(true);
            }
        }
    }

    /// Forgets a statement or a portal; one that is not there is forgotten already.
    pub(super) fn close(&mut self, target: Target, name: &str) -> Result<(), Stop> {
        match target {
            Target::Statement => drop(self.statements.remove(name)),
            Target::Portal => drop(self.portals.remove(name)),
        }
        Ok(self.outbox.put(&Backend::CloseComplete(CloseComplete::new()))?)
    }
}

/// A client reads rows as they were described.
fn check_columns(answer: &Answer, portal: &Portal) -> Result<(), Fault> {
    let described = portal.prepared.schema.as_ref().map(|schema| Columns::new(schema, &portal.formats)).transpose()?;
    let is_same = described.is_some_and(|described| {
        let kinds = |columns: &Columns| columns.fields.iter().map(|field| field.datatype().oid()).collect::<Vec<_>>();
        kinds(&described) == kinds(&answer.columns)
    });
    if is_same { Ok(()) } else { Err(Fault::new("0A000", "cached plan must not change result type")) }
}

fn complete(word: &str, rows: usize) -> Backend {
    let tag = if word == "SELECT" { format!("SELECT {rows}") } else { word.to_owned() };
    Backend::CommandComplete(CommandComplete::new(tag))
}

/// Names are kept as long as what they name.
fn short(name: &str) -> Result<(), Fault> {
    if name.len() > LONGEST_NAME { Err(Fault::new("42622", format!("a name is at most {LONGEST_NAME} bytes long"))) } else { Ok(()) }
}

fn no_portal(name: &str) -> Fault {
    Fault::new("34000", format!("portal \"{name}\" does not exist"))
}
