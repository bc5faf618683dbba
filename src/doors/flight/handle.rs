//! What tickets and handles of prepared statements carry: what was asked, and nothing that opens anything.

use arrow_flight::sql::{Any, ProstMessageExt, TicketStatementQuery};
use arrow_flight::{FlightInfo, Ticket};
use prost::Message;
use serde::{Deserialize, Serialize};
use tonic::Status;
use uuid::Uuid;

use super::status;

/// A question on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    pub(super) sql: String,
    /// The version of the lake; the newest, when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) as_of: Option<String>,
    /// One row of values for the places of the statement, as an Arrow stream in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) values: Option<String>,
    /// The answer's name, by which whoever asked can have it stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) answer: Option<Uuid>,
}

impl Asked {
    /// Begins with a statement.
    pub(super) fn new(sql: String, as_of: Option<String>) -> Self {
        Self { sql, as_of, values: None, answer: None }
    }

    /// Writes the handle.
    pub(super) fn to_handle(&self) -> Result<Vec<u8>, Status> {
        serde_json::to_vec(self).map_err(|error| status::fault(&error))
    }

    /// Reads a handle, which may come from anybody.
    pub(super) fn of_handle(handle: &[u8]) -> Result<Self, Status> {
        serde_json::from_slice(handle).map_err(|_| status::wrong("this is no handle of this server; ask or prepare the statement again"))
    }

    /// Writes the ticket of an answer that has a name of its own.
    pub(super) fn to_ticket(&self) -> Result<Ticket, Status> {
        let named = Self { answer: Some(Uuid::new_v4()), ..self.clone() };
        let ticket = TicketStatementQuery { statement_handle: named.to_handle()?.into() };
        Ok(Ticket::new(ticket.as_any().encode_to_vec()))
    }

    /// Returns the names of the answers that a client was told of.
    pub(super) fn answers_of(info: &FlightInfo) -> impl Iterator<Item = Uuid> {
        let tickets = info.endpoint.iter().filter_map(|endpoint| endpoint.ticket.as_ref());
        let statement = |ticket: &Ticket| Any::decode(&*ticket.ticket).ok()?.unpack::<TicketStatementQuery>().ok()?;
        tickets.filter_map(statement).filter_map(|ticket| Self::of_handle(&ticket.statement_handle).ok()?.answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_says_what_was_asked_and_anything_else_is_none() {
        let asked = Asked::new("select 1".to_owned(), Some("2025-10".to_owned()));
        let handle = asked.to_handle().unwrap();
        assert_eq!(handle, br#"{"sql":"select 1","as_of":"2025-10"}"#);
        assert_eq!(Asked::of_handle(&handle).unwrap(), asked);
        for wrong in [&b""[..], b"\xff\x00", b"null", b"{}", br#"{"sql":"select 1","msp":"SOUTH"}"#, br#"{"sql":1}"#, &handle[1..]] {
            assert_eq!(Asked::of_handle(wrong).unwrap_err().code(), tonic::Code::InvalidArgument);
        }
    }
}
