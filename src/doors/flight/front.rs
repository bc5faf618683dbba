//! The front of the door: nobody makes any call but a login before they are recognised, and nothing is answered that is not a call.

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::{Any, Command};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, PollInfo, SchemaResult, Ticket,
};
use futures::StreamExt;
use futures::stream::BoxStream;
use prost::Message;
use tonic::{Request, Response, Status, Streaming};

use super::service::Service;
use super::status;
use super::visitor::Visitor;

const NO_COMMAND: &str = "this is no command of Flight SQL";

/// The actions that there are, with what they take; the first three take commands, the last is Flight's own.
const ACTIONS: [(&str, &str); 4] = [
    ("CreatePreparedStatement", "Prepares a statement; takes ActionCreatePreparedStatementRequest"),
    ("ClosePreparedStatement", "Forgets a prepared statement; takes ActionClosePreparedStatementRequest"),
    ("CancelQuery", "Stops an answer that is being read; takes ActionCancelQueryRequest"),
    ("CancelFlightInfo", "Stops an answer that is being read; takes CancelFlightInfoRequest"),
];

/// Lets callers in to the service behind it.
#[derive(Debug, Clone)]
pub(super) struct Front {
    service: Service,
}

impl Front {
    pub(super) const fn new(service: Service) -> Self {
        Self { service }
    }

    /// Recognises the caller, and tells the service who it is.
    async fn admit<T>(&self, mut request: Request<T>) -> Result<Request<T>, Status> {
        let visitor = Visitor::recognise(self.service.desk(), request.metadata()).await?;
        request.extensions_mut().insert(visitor);
        Ok(request)
    }
}

/// Refuses bytes that are no command, whose fault they are not ours.
fn must_be_command(bytes: &[u8]) -> Result<(), Status> {
    let any = Any::decode(bytes).map_err(|_| status::wrong(NO_COMMAND))?;
    match Command::try_from(any) {
        Ok(Command::Unknown(_)) | Err(_) => Err(status::wrong(NO_COMMAND)),
        Ok(_) => Ok(()),
    }
}

#[tonic::async_trait]
impl FlightService for Front {
    type HandshakeStream = <Service as FlightService>::HandshakeStream;
    type ListFlightsStream = <Service as FlightService>::ListFlightsStream;
    type DoGetStream = <Service as FlightService>::DoGetStream;
    type DoPutStream = <Service as FlightService>::DoPutStream;
    type DoActionStream = <Service as FlightService>::DoActionStream;
    type ListActionsStream = BoxStream<'static, Result<ActionType, Status>>;
    type DoExchangeStream = <Service as FlightService>::DoExchangeStream;

    async fn handshake(&self, request: Request<Streaming<HandshakeRequest>>) -> Result<Response<Self::HandshakeStream>, Status> {
        let request = self.admit(request).await?;
        self.service.handshake(request).await
    }

    async fn list_flights(&self, request: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        self.admit(request).await?;
        Err(status::refused("there is no list of flights: ask for the tables with CommandGetTables"))
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        let request = self.admit(request).await?;
        must_be_command(&request.get_ref().cmd)?;
        self.service.get_flight_info(request).await
    }

    async fn poll_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        self.admit(request).await?;
        Err(status::refused("nothing is computed ahead: fetch the answer, whose rows come as they are found"))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        let info = self.get_flight_info(request).await?.into_inner();
        Ok(Response::new(SchemaResult { schema: info.schema }))
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let request = self.admit(request).await?;
        must_be_command(&request.get_ref().ticket)?;
        self.service.do_get(request).await
    }

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        let request = self.admit(request).await?;
        self.service.do_put(request).await
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        let request = self.admit(request).await?;
        if ACTIONS[..3].iter().any(|(name, _)| *name == request.get_ref().r#type) {
            must_be_command(&request.get_ref().body)?;
        }
        self.service.do_action(request).await
    }

    async fn list_actions(&self, request: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        self.admit(request).await?;
        let actions = ACTIONS.map(|(name, said)| Ok(ActionType { r#type: name.to_owned(), description: said.to_owned() }));
        Ok(Response::new(futures::stream::iter(actions).boxed()))
    }

    async fn do_exchange(&self, request: Request<Streaming<FlightData>>) -> Result<Response<Self::DoExchangeStream>, Status> {
        self.admit(request).await?;
        Err(status::refused("rows are not exchanged: ask in SQL and fetch the answer"))
    }
}
