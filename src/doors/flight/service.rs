//! The calls of Flight SQL, each for a caller who was let in already.

use std::pin::Pin;

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::server::{DoPutError, FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionBeginSavepointRequest, ActionBeginSavepointResult, ActionBeginTransactionRequest, ActionBeginTransactionResult,
    ActionCancelQueryRequest, ActionCancelQueryResult, ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest,
    ActionCreatePreparedStatementResult, ActionCreatePreparedSubstraitPlanRequest, ActionEndSavepointRequest, ActionEndTransactionRequest,
    Any, Command, CommandGetCatalogs, CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys, CommandGetImportedKeys,
    CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables, CommandGetXdbcTypeInfo,
    CommandPreparedStatementQuery, CommandPreparedStatementUpdate, CommandStatementIngest, CommandStatementQuery,
    CommandStatementSubstraitPlan, CommandStatementUpdate, DoPutPreparedStatementResult, SqlInfo, TicketStatementQuery,
};
use arrow_flight::{
    Action, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest,
    HandshakeResponse, Ticket,
};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use futures::{Stream, StreamExt};
use granary_foundation::Boxed;
use granary_warehouse::{Question, Session, Shown};
use prost::Message;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status, Streaming};

use super::handle::Asked;
use super::listing::{self, FOREIGN_KEYS, PRIMARY_KEYS};
use super::rows;
use super::running::Running;
use super::visitor::{self, Visitor};
use super::{NAME, facts, status, values};
use crate::Desk;

const READ_ONLY: &str = "the warehouse is read-only: write a select, and ask it as a query";
const NO_TRANSACTIONS: &str =
    "there are no transactions: every question sees one version of the lake; name it with the header granary-as-of to keep to it";
const NO_SUBSTRAIT: &str = "plans of Substrait are not taken: send the question in SQL";
/// The action that is Flight's own word for stopping an answer.
const CANCEL: &str = "CancelFlightInfo";

type Answered = Response<<Service as FlightService>::DoGetStream>;
type Info = Result<Response<FlightInfo>, Status>;

/// Answers what the desk answers.
#[derive(Debug, Clone)]
pub(super) struct Service {
    desk: Desk,
    running: Running,
}

impl Service {
    pub(super) const fn new(desk: Desk, running: Running) -> Self {
        Self { desk, running }
    }

    pub(super) const fn desk(&self) -> &Desk {
        &self.desk
    }

    fn session<'a>(&'a self, visitor: &'a Visitor, as_of: Option<&'a str>) -> Boxed<'a, Result<Session, Status>> {
        Box::pin(async move {
            let wanted = as_of.map(visitor::version);
            self.desk.session(&visitor.principal, wanted.as_ref()).await.map_err(status::of)
        })
    }

    /// Plans what is asked, with its values in their places.
    fn plan<'a>(&'a self, visitor: &'a Visitor, asked: &'a Asked) -> Boxed<'a, Result<(Session, Question), Status>> {
        Box::pin(async move {
            let session = self.session(visitor, asked.as_of.as_deref()).await?;
            let question = session.question(&asked.sql).await.map_err(status::of)?;
            Ok((session, values::bind(question, asked.values.as_deref())?))
        })
    }

    /// Returns the columns of an answer, and those of the values that it needs.
    fn describe<'a>(&'a self, visitor: &'a Visitor, asked: &'a Asked) -> Boxed<'a, Result<(SchemaRef, SchemaRef), Status>> {
        Box::pin(async move {
            let session = self.session(visitor, asked.as_of.as_deref()).await?;
            let question = session.question(&asked.sql).await.map_err(status::of)?;
            Ok((rows::portable(&question.schema()), values::places(&question)?))
        })
    }

    /// Says what an answer will look like, and gives the ticket that fetches it.
    fn announce(&self, asked: Asked, request: Request<FlightDescriptor>) -> Boxed<'_, Info> {
        Box::pin(async move {
            let (_, question) = self.plan(Visitor::of(&request)?, &asked).await?;
            announced(&rows::portable(&question.schema()), asked.to_ticket()?, request.into_inner())
        })
    }

    /// Writes down what is asked, and answers it as the rows are found.
    fn answer<'a>(&'a self, asked: Asked, request: &'a Request<Ticket>) -> Boxed<'a, Result<Answered, Status>> {
        Box::pin(async move {
            let visitor = Visitor::of(request)?;
            self.desk.note(&visitor.principal, NAME, &asked.sql).await.map_err(status::of)?;
            let (session, question) = self.plan(visitor, &asked).await?;
            let mut reading = self.running.begin(&visitor.principal, asked.answer);
            let answer = tokio::select! {
                biased;
                told = reading.stopped() => return Err(told),
                answer = self.desk.answer(&visitor.principal, &session, question) => answer.map_err(status::of)?,
            };
            let batches = answer.batches.map(|batch| batch.map_err(status::of));
            Ok(Response::new(rows::until_stopped(rows::messages(rows::portable(&answer.schema), batches), reading)))
        })
    }

    /// Returns the tables of the caller's grant.
    fn tables<'a>(&'a self, visitor: &'a Visitor) -> Boxed<'a, Result<Vec<Shown>, Status>> {
        Box::pin(async move {
            let session = self.session(visitor, None).await?;
            session.shown().await.map_err(status::of)
        })
    }

    /// Stops the answers that a client was told of, if they are its own, and tells whether one was being read.
    fn stop(&self, visitor: &Visitor, info: &FlightInfo) -> bool {
        Asked::answers_of(info).filter(|answer| self.running.stop(&visitor.principal, *answer)).count() > 0
    }
}

/// Says what a list will look like: it is fetched with the very command that asked for it.
fn listed(columns: &Schema, request: Request<FlightDescriptor>) -> Info {
    let descriptor = request.into_inner();
    let ticket = Ticket::new(descriptor.cmd.clone());
    announced(columns, ticket, descriptor)
}

fn announced(columns: &Schema, ticket: Ticket, descriptor: FlightDescriptor) -> Info {
    let info = FlightInfo::new().try_with_schema(columns).map_err(|error| status::fault(&error))?;
    let endpoint = FlightEndpoint::new().with_ticket(ticket);
    Ok(Response::new(info.with_descriptor(descriptor).with_endpoint(endpoint).with_ordered(true)))
}

fn whole(batch: RecordBatch) -> Result<Answered, Status> {
    Ok(Response::new(rows::message(batch)))
}

fn known<T>(facts: &'static Result<T, arrow_flight::error::FlightError>) -> Result<&'static T, Status> {
    facts.as_ref().map_err(|error| status::fault(error))
}

#[tonic::async_trait]
impl FlightSqlService for Service {
    type FlightService = Self;

    async fn do_handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Pin<Box<dyn Stream<Item = Result<HandshakeResponse, Status>> + Send>>>, Status> {
        // Whoever logs in by name gets the key back as what to come with: there is no session that could be stolen or grow old.
        let secret = visitor::secret_of(request.metadata())?;
        let mut bearer: MetadataValue<_> = format!("Bearer {}", secret.trim())
            .parse()
            .map_err(|_| Status::unauthenticated("the password is no key: it holds letters that no key has"))?;
        bearer.set_sensitive(true);
        let welcome = futures::stream::iter([Ok(HandshakeResponse::default())]);
        let mut response = Response::new(welcome.boxed() as Pin<Box<dyn Stream<Item = _> + Send>>);
        response.metadata_mut().insert("authorization", bearer);
        Ok(response)
    }

    async fn get_flight_info_statement(&self, query: CommandStatementQuery, request: Request<FlightDescriptor>) -> Info {
        if query.transaction_id.is_some() {
            return Err(status::refused(NO_TRANSACTIONS));
        }
        let as_of = Visitor::of(&request)?.as_of.clone();
        self.announce(Asked::new(query.query, as_of), request).await
    }

    async fn get_flight_info_prepared_statement(&self, query: CommandPreparedStatementQuery, request: Request<FlightDescriptor>) -> Info {
        self.announce(Asked::of_handle(&query.prepared_statement_handle)?, request).await
    }

    async fn get_flight_info_substrait_plan(&self, _: CommandStatementSubstraitPlan, _: Request<FlightDescriptor>) -> Info {
        Err(status::refused(NO_SUBSTRAIT))
    }

    async fn get_flight_info_fallback(&self, _: Command, _: Request<FlightDescriptor>) -> Info {
        Err(status::wrong("this is nothing that can be asked for; ask with CommandStatementQuery"))
    }

    async fn get_flight_info_catalogs(&self, query: CommandGetCatalogs, request: Request<FlightDescriptor>) -> Info {
        listed(&query.into_builder().schema(), request)
    }

    async fn get_flight_info_schemas(&self, query: CommandGetDbSchemas, request: Request<FlightDescriptor>) -> Info {
        listed(&query.into_builder().schema(), request)
    }

    async fn get_flight_info_tables(&self, query: CommandGetTables, request: Request<FlightDescriptor>) -> Info {
        listed(&query.into_builder().schema(), request)
    }

    async fn get_flight_info_table_types(&self, query: CommandGetTableTypes, request: Request<FlightDescriptor>) -> Info {
        listed(&query.into_builder().schema(), request)
    }

    async fn get_flight_info_sql_info(&self, query: CommandGetSqlInfo, request: Request<FlightDescriptor>) -> Info {
        listed(&query.into_builder(known(&facts::SQL_INFO)?).schema(), request)
    }

    async fn get_flight_info_primary_keys(&self, _: CommandGetPrimaryKeys, request: Request<FlightDescriptor>) -> Info {
        listed(&PRIMARY_KEYS, request)
    }

    async fn get_flight_info_exported_keys(&self, _: CommandGetExportedKeys, request: Request<FlightDescriptor>) -> Info {
        listed(&FOREIGN_KEYS, request)
    }

    async fn get_flight_info_imported_keys(&self, _: CommandGetImportedKeys, request: Request<FlightDescriptor>) -> Info {
        listed(&FOREIGN_KEYS, request)
    }

    async fn get_flight_info_cross_reference(&self, _: CommandGetCrossReference, request: Request<FlightDescriptor>) -> Info {
        listed(&FOREIGN_KEYS, request)
    }

    async fn get_flight_info_xdbc_type_info(&self, query: CommandGetXdbcTypeInfo, request: Request<FlightDescriptor>) -> Info {
        listed(&query.into_builder(known(&facts::TYPES)?).schema(), request)
    }

    async fn do_get_statement(&self, ticket: TicketStatementQuery, request: Request<Ticket>) -> Result<Answered, Status> {
        self.answer(Asked::of_handle(&ticket.statement_handle)?, &request).await
    }

    async fn do_get_prepared_statement(&self, query: CommandPreparedStatementQuery, request: Request<Ticket>) -> Result<Answered, Status> {
        self.answer(Asked::of_handle(&query.prepared_statement_handle)?, &request).await
    }

    async fn do_get_fallback(&self, _: Request<Ticket>, _: Any) -> Result<Answered, Status> {
        Err(status::wrong("this is no ticket of this server; ask again and fetch with the ticket that the answer names"))
    }

    async fn do_get_catalogs(&self, query: CommandGetCatalogs, _: Request<Ticket>) -> Result<Answered, Status> {
        whole(listing::catalogs(query)?)
    }

    async fn do_get_schemas(&self, query: CommandGetDbSchemas, request: Request<Ticket>) -> Result<Answered, Status> {
        whole(listing::schemas(query, &self.tables(Visitor::of(&request)?).await?)?)
    }

    async fn do_get_tables(&self, query: CommandGetTables, request: Request<Ticket>) -> Result<Answered, Status> {
        whole(listing::tables(query, &self.tables(Visitor::of(&request)?).await?, self.desk.models())?)
    }

    async fn do_get_table_types(&self, query: CommandGetTableTypes, _: Request<Ticket>) -> Result<Answered, Status> {
        whole(listing::table_types(query)?)
    }

    async fn do_get_sql_info(&self, query: CommandGetSqlInfo, _: Request<Ticket>) -> Result<Answered, Status> {
        whole(query.into_builder(known(&facts::SQL_INFO)?).build().map_err(|error| status::fault(&error))?)
    }

    async fn do_get_primary_keys(&self, query: CommandGetPrimaryKeys, request: Request<Ticket>) -> Result<Answered, Status> {
        whole(listing::primary_keys(&query, &self.tables(Visitor::of(&request)?).await?, self.desk.models())?)
    }

    async fn do_get_exported_keys(&self, _: CommandGetExportedKeys, _: Request<Ticket>) -> Result<Answered, Status> {
        whole(listing::foreign_keys())
    }

    async fn do_get_imported_keys(&self, _: CommandGetImportedKeys, _: Request<Ticket>) -> Result<Answered, Status> {
        whole(listing::foreign_keys())
    }

    async fn do_get_cross_reference(&self, _: CommandGetCrossReference, _: Request<Ticket>) -> Result<Answered, Status> {
        whole(listing::foreign_keys())
    }

    async fn do_get_xdbc_type_info(&self, query: CommandGetXdbcTypeInfo, _: Request<Ticket>) -> Result<Answered, Status> {
        whole(query.into_builder(known(&facts::TYPES)?).build().map_err(|error| status::fault(&error))?)
    }

    async fn do_put_fallback(
        &self,
        _: Request<PeekableFlightDataStream>,
        _: Any,
    ) -> Result<Response<<Self as FlightService>::DoPutStream>, Status> {
        Err(status::refused(READ_ONLY))
    }

    async fn do_put_error_callback(
        &self,
        _: Request<PeekableFlightDataStream>,
        _: DoPutError,
    ) -> Result<Response<<Self as FlightService>::DoPutStream>, Status> {
        Err(status::wrong("the first message names no command; begin with the descriptor of a prepared statement"))
    }

    async fn do_put_statement_update(&self, _: CommandStatementUpdate, _: Request<PeekableFlightDataStream>) -> Result<i64, Status> {
        Err(status::refused(READ_ONLY))
    }

    async fn do_put_statement_ingest(&self, _: CommandStatementIngest, _: Request<PeekableFlightDataStream>) -> Result<i64, Status> {
        Err(status::refused(READ_ONLY))
    }

    async fn do_put_prepared_statement_query(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        Visitor::of(&request)?;
        let asked = Asked::of_handle(&query.prepared_statement_handle)?;
        let bound = Asked { values: values::receive(request.into_inner()).await?, ..asked };
        Ok(DoPutPreparedStatementResult { prepared_statement_handle: Some(bound.to_handle()?.into()) })
    }

    async fn do_put_prepared_statement_update(
        &self,
        _: CommandPreparedStatementUpdate,
        _: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        Err(status::refused(READ_ONLY))
    }

    async fn do_put_substrait_plan(&self, _: CommandStatementSubstraitPlan, _: Request<PeekableFlightDataStream>) -> Result<i64, Status> {
        Err(status::refused(NO_SUBSTRAIT))
    }

    async fn do_action_fallback(&self, request: Request<Action>) -> Result<Response<<Self as FlightService>::DoActionStream>, Status> {
        if request.get_ref().r#type != CANCEL {
            let known = "CreatePreparedStatement, ClosePreparedStatement, CancelQuery and CancelFlightInfo";
            return Err(status::refused(&format!("there is no such action; there are {known}")));
        }
        let visitor = Visitor::of(&request)?;
        let wanted = CancelFlightInfoRequest::decode(&*request.get_ref().body).map_err(|error| status::wrong(error.to_string()))?;
        if !wanted.info.as_ref().is_some_and(|info| self.stop(visitor, info)) {
            return Err(Status::not_found(NOT_READ));
        }
        let done = CancelFlightInfoResult::new(CancelStatus::Cancelled);
        let results = futures::stream::iter([Ok(arrow_flight::Result::new(done.encode_to_vec()))]);
        Ok(Response::new(results.boxed()))
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        if query.transaction_id.is_some() {
            return Err(status::refused(NO_TRANSACTIONS));
        }
        let visitor = Visitor::of(&request)?;
        let asked = Asked::new(query.query, visitor.as_of.clone());
        let (answer, places) = self.describe(visitor, &asked).await?;
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: asked.to_handle()?.into(),
            dataset_schema: rows::schema_bytes(&answer)?,
            parameter_schema: rows::schema_bytes(&places)?,
        })
    }

    async fn do_action_close_prepared_statement(&self, _: ActionClosePreparedStatementRequest, _: Request<Action>) -> Result<(), Status> {
        // A handle is all that there is of a statement.
        Ok(())
    }

    async fn do_action_create_prepared_substrait_plan(
        &self,
        _: ActionCreatePreparedSubstraitPlanRequest,
        _: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        Err(status::refused(NO_SUBSTRAIT))
    }

    async fn do_action_begin_transaction(
        &self,
        _: ActionBeginTransactionRequest,
        _: Request<Action>,
    ) -> Result<ActionBeginTransactionResult, Status> {
        Err(status::refused(NO_TRANSACTIONS))
    }

    async fn do_action_end_transaction(&self, _: ActionEndTransactionRequest, _: Request<Action>) -> Result<(), Status> {
        Err(status::refused(NO_TRANSACTIONS))
    }

    async fn do_action_begin_savepoint(
        &self,
        _: ActionBeginSavepointRequest,
        _: Request<Action>,
    ) -> Result<ActionBeginSavepointResult, Status> {
        Err(status::refused(NO_TRANSACTIONS))
    }

    async fn do_action_end_savepoint(&self, _: ActionEndSavepointRequest, _: Request<Action>) -> Result<(), Status> {
        Err(status::refused(NO_TRANSACTIONS))
    }

    async fn do_action_cancel_query(
        &self,
        query: ActionCancelQueryRequest,
        request: Request<Action>,
    ) -> Result<ActionCancelQueryResult, Status> {
        let info = FlightInfo::decode(&*query.info).map_err(|error| status::wrong(error.to_string()))?;
        if !self.stop(Visitor::of(&request)?, &info) {
            return Err(Status::not_found(NOT_READ));
        }
        Ok(ActionCancelQueryResult { result: CancelStatus::Cancelled.into() })
    }

    async fn register_sql_info(&self, _: i32, _: &SqlInfo) {}
}

const NOT_READ: &str = "no answer of yours with this ticket is being read here";
