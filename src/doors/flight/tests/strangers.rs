//! Whoever is nobody, comes with somebody else's ticket, or sends bytes that are no call.

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{CommandGetTables, CommandPreparedStatementQuery, CommandStatementQuery, ProstMessageExt, TicketStatementQuery};
use arrow_flight::{Action, Criteria, Empty, FlightData, FlightDescriptor, HandshakeRequest, Ticket};
use granary_access::ApiKeyScope;
use prost::Message;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::house::{House, ask, fetch};

/// Makes every call that there is, with what each takes, and returns how each was refused.
async fn every_call(channel: &Channel, authorization: Option<&str>) -> Vec<(&'static str, Option<Status>)> {
    let mut raw = FlightServiceClient::new(channel.clone());
    let command = CommandStatementQuery { query: "select 1".to_owned(), transaction_id: None }.as_any().encode_to_vec();
    let descriptor = FlightDescriptor::new_cmd(command.clone());
    let ticket = TicketStatementQuery { statement_handle: br#"{"sql":"select 1"}"#.to_vec().into() }.as_any().encode_to_vec();
    let data = FlightData { flight_descriptor: Some(descriptor.clone()), ..FlightData::default() };
    macro_rules! call {
        ($name:ident, $message:expr) => {{
            let mut request = Request::new($message);
            if let Some(authorization) = authorization {
                request.metadata_mut().insert("authorization", authorization.parse().unwrap());
            }
            (stringify!($name), raw.$name(request).await.err())
        }};
    }
    vec![
        call!(handshake, futures::stream::iter([HandshakeRequest::default()])),
        call!(list_flights, Criteria::default()),
        call!(get_flight_info, descriptor.clone()),
        call!(poll_flight_info, descriptor.clone()),
        call!(get_schema, descriptor.clone()),
        call!(do_get, Ticket::new(ticket)),
        call!(do_put, futures::stream::iter([data.clone()])),
        call!(do_action, Action::new("CreatePreparedStatement", command)),
        call!(list_actions, Empty {}),
        call!(do_exchange, futures::stream::iter([data])),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_makes_a_call_without_a_key_for_it() {
    let house = House::open().await;
    let channel = house.channel().await;
    let other_scope = format!("Bearer {}", house.key(Some(&house.made.acme), ApiKeyScope::ReportsRead).await);
    let invented = format!("Bearer {}x", house.key(Some(&house.made.acme), ApiKeyScope::Sql).await);
    for (authorization, code) in [
        (None, Code::Unauthenticated),
        (Some("Bearer "), Code::Unauthenticated),
        (Some("Bearer eyJhbGciOiJub25lIn0.e30."), Code::Unauthenticated),
        (Some(invented.as_str()), Code::Unauthenticated),
        (Some(other_scope.as_str()), Code::PermissionDenied),
    ] {
        for (call, refused) in every_call(&channel, authorization).await {
            let refused = refused.unwrap_or_else(|| panic!("{call} was answered for {authorization:?}"));
            assert_eq!(refused.code(), code, "{call} with {authorization:?}: {refused}");
            assert!(
                authorization.is_none_or(|shown| !refused.message().contains(shown.trim_start_matches("Bearer ")) || shown == "Bearer ")
            );
        }
    }
    let mine = format!("Bearer {}", house.key(Some(&house.made.acme), ApiKeyScope::Sql).await);
    let answered: Vec<_> = every_call(&channel, Some(&mine)).await.into_iter().filter(|(_, refused)| refused.is_none()).collect();
    let names: Vec<&str> = answered.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["handshake", "get_flight_info", "get_schema", "do_get", "list_actions"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_ticket_shows_ones_own_rows() {
    let house = House::open().await;
    let sql = "select distinct customer_code, count(*) as runs from stg_metering__backup_runs group by 1 order by 1";
    let mut all = house.client(&house.key(None, ApiKeyScope::Sql).await).await;
    let theirs = all.execute(sql.to_owned(), None).await.unwrap();
    let mut statement = all.prepare(sql.to_owned(), None).await.unwrap();
    let prepared = statement.execute().await.unwrap();
    let south = house.key_of(&house.made.south, None, ApiKeyScope::Sql).await;
    for info in [&theirs, &prepared] {
        assert_eq!(fetch(&mut all, info).await.unwrap(), ["ACME|93", "GLOBEX|155"]);
        assert_eq!(fetch(&mut house.confined().await, info).await.unwrap(), ["ACME|93"]);
        assert_eq!(fetch(&mut house.client(&south).await, info).await.unwrap(), ["ACME|217"], "the other MSP's ACME has seven machines");
    }
    // What only the MSP sees is not there for a customer, whoever planned it.
    let revenue = all.execute("select * from mrr_movements".to_owned(), None).await.unwrap();
    let refused = fetch(&mut house.confined().await, &revenue).await.unwrap_err().to_string();
    assert!(refused.contains("not found"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_call_are_refused_and_the_door_stands() {
    let house = House::open().await;
    let key = house.key(Some(&house.made.acme), ApiKeyScope::Sql).await;
    let mut raw = FlightServiceClient::new(house.channel().await);
    let with = |mut request: Request<Vec<u8>>| {
        request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        request
    };
    let forged = |handle: &[u8]| TicketStatementQuery { statement_handle: handle.to_vec().into() }.as_any().encode_to_vec();
    let prepared =
        |handle: &[u8]| CommandPreparedStatementQuery { prepared_statement_handle: handle.to_vec().into() }.as_any().encode_to_vec();
    let mut unknown = CommandGetTables::default().as_any();
    unknown.type_url = "type.googleapis.com/arrow.flight.protocol.sql.CommandOpenSesame".to_owned();
    let mut broken = CommandGetTables::default().as_any();
    broken.value = vec![0xff; 40].into();
    let garbage = [
        vec![],
        vec![0],
        vec![0xff; 10_000],
        b"select 1".to_vec(),
        unknown.encode_to_vec(),
        broken.encode_to_vec(),
        forged(b"select 1"),
        forged(br#"{"sql":"select 1","msp":"SOUTH"}"#),
        forged(br#"{"sql":"select 1","values":"////"}"#),
        forged(br#"{"sql":"select $1","values":"AAAA"}"#),
        prepared(&[0x80; 500]),
        prepared(br#"{"sql":"drop table invoice_lines"}"#),
    ];
    for bytes in garbage {
        let request = with(Request::new(bytes.clone())).map(Ticket::new);
        let refused = raw.do_get(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{}: {refused}", String::from_utf8_lossy(&bytes));
        let request = with(Request::new(bytes.clone())).map(FlightDescriptor::new_cmd);
        assert_eq!(raw.get_flight_info(request).await.unwrap_err().code(), Code::InvalidArgument);
        let request = with(Request::new(bytes.clone())).map(|body| Action::new("CreatePreparedStatement", body));
        assert!(raw.do_action(request).await.is_err());
        if bytes.is_empty() {
            // No values at all are none that are wrong.
            continue;
        }
        let request = with(Request::new(bytes)).map(|body| {
            let descriptor = FlightDescriptor::new_cmd(prepared(br#"{"sql":"select $1"}"#));
            let rows = |data: Vec<u8>| FlightData { data_header: data.clone().into(), data_body: data.into(), ..FlightData::default() };
            let first = FlightData { flight_descriptor: Some(descriptor), ..rows(body.clone()) };
            futures::stream::iter([first, rows(body)])
        });
        assert!(matches!(raw.do_put(request).await, Err(status) if status.code() == Code::InvalidArgument));
    }
    let unheard = with(Request::new(Vec::new())).map(|body| Action::new("OpenSesame", body));
    assert_eq!(raw.do_action(unheard).await.unwrap_err().code(), Code::Unimplemented);
    assert_eq!(ask(&mut house.client(&key).await, "select 1").await.unwrap(), ["1"]);
}
