//! Questions and their answers: as statements, as prepared ones, as of a version, stopped, long, and written down.

use std::sync::Arc;
use std::time::Duration;

use arrow_flight::CancelFlightInfoRequest;
use arrow_flight::flight_service_client::FlightServiceClient;
use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::DataType;
use futures::{StreamExt, TryStreamExt};
use granary_access::ApiKeyScope;
use granary_warehouse::Budget;
use prost::Message;
use tonic::{Code, Request};

use super::house::{House, ask, batches, fetch, refusal};

const RUNS: &str = "select customer_code, count(*) as runs from stg_metering__backup_runs group by 1 order by 1";
/// A million rows out of a thousand each way.
const LONG: &str = "select a.value * 1000 + b.value as n from generate_series(0, 999) as a cross join generate_series(0, 999) as b";
/// More rows than anybody waits for.
const ENDLESS: &str =
    "select a.value as n, 'some text of a row' as t from generate_series(0, 99) as b cross join generate_series(0, 9999999) as a";

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_in_batches_within_the_grant_and_written_down_first() {
    let house = House::open().await;
    let mut everyone = house.client(&house.key(None, ApiKeyScope::Sql).await).await;
    let info = everyone.execute(RUNS.to_owned(), None).await.unwrap();
    let columns = info.clone().try_decode_schema().unwrap();
    let shown: Vec<(&str, &DataType)> = columns.fields().iter().map(|field| (field.name().as_str(), field.data_type())).collect();
    assert_eq!(shown, [("customer_code", &DataType::Utf8), ("runs", &DataType::Int64)]);
    assert!(house.asked().await.is_empty(), "nothing was answered yet");
    assert_eq!(fetch(&mut everyone, &info).await.unwrap(), ["ACME|93", "GLOBEX|155"]);
    let [asked] = house.asked().await.try_into().unwrap();
    assert_eq!((asked["door"].as_str(), asked["sql"].as_str()), (Some("flight"), Some(RUNS)));

    // A login by name, whatever the name; and rows of one customer for its key.
    let mut by_name = house.stranger().await;
    by_name.handshake("anybody", &house.key(Some(&house.made.acme), ApiKeyScope::Sql).await).await.unwrap();
    assert_eq!(ask(&mut by_name, RUNS).await.unwrap(), ["ACME|93"]);
    assert_eq!(ask(&mut by_name, "select count(*) from stg_metering__backup_runs where false").await.unwrap(), ["0"]);
    let nothing = "select * from stg_metering__backup_runs where false";
    let info = by_name.execute(nothing.to_owned(), None).await.unwrap();
    assert!(fetch(&mut by_name, &info).await.unwrap().is_empty());
    assert!(info.try_decode_schema().unwrap().fields().len() > 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_of_the_lake_is_named_by_a_header() {
    let house = House::open().await;
    let mut client = house.confined().await;
    client.set_header("granary-as-of", "v1");
    assert!(ask(&mut client, RUNS).await.is_ok());
    client.set_header("granary-as-of", "2019-01");
    let refused = refusal(client.execute(RUNS.to_owned(), None).await);
    assert_eq!(refused.code(), Code::NotFound, "{refused}");
    assert!(refused.message().contains("2019-01"), "{refused}");
    assert_eq!(refused.metadata().get("granary-code").unwrap(), "lake_version_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_statement_takes_one_row_of_values() {
    let house = House::open().await;
    let mut client = house.client(&house.key(None, ApiKeyScope::Sql).await).await;
    let sql = "select count(*) as n from stg_metering__backup_runs where customer_code = $1 and transferred_bytes > $2";
    let mut statement = client.prepare(sql.to_owned(), None).await.unwrap();
    let places: Vec<String> = statement.parameter_schema().unwrap().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!((places, statement.dataset_schema().unwrap().fields().len()), (vec!["$1".to_owned(), "$2".to_owned()], 1));
    let row = |codes: Vec<&str>, bytes: i64| {
        let bytes: ArrayRef = Arc::new(Int64Array::from(vec![bytes; codes.len()]));
        RecordBatch::try_from_iter([("$1", Arc::new(StringArray::from(codes)) as ArrayRef), ("$2", bytes)]).unwrap()
    };
    for (code, bytes, expected) in [("GLOBEX", 0, "155"), ("ACME", 0, "93"), ("ACME", 1 << 40, "0"), ("' or true --", 0, "0")] {
        statement.set_parameters(row(vec![code], bytes)).unwrap();
        let info = statement.execute().await.unwrap();
        assert_eq!(fetch(&mut client, &info).await.unwrap(), [expected], "{code} {bytes}");
    }
    statement.set_parameters(row(vec!["ACME", "GLOBEX"], 0)).unwrap();
    assert!(refusal(statement.execute().await).message().contains("one row"));
    let one = RecordBatch::try_from_iter([("$1", Arc::new(StringArray::from(vec!["ACME"])) as ArrayRef)]).unwrap();
    statement.set_parameters(one).unwrap();
    let refused = refusal(statement.execute().await);
    assert_eq!((refused.code(), refused.message().contains("2 places and 1 value")), (Code::InvalidArgument, true), "{refused}");
    let mut bare = client.prepare(sql.to_owned(), None).await.unwrap();
    assert!(refusal(bare.execute().await).message().contains("bind one row"));
    bare.close().await.unwrap();
    assert!(refusal(client.execute(sql.to_owned(), None).await).message().contains("prepare the statement"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_changed_and_the_refusal_says_what_to_do() {
    let house = House::open().await;
    let mut client = house.confined().await;
    let update = refusal(client.execute_update("delete from invoice_lines".to_owned(), None).await);
    assert_eq!((update.code(), update.message().contains("read-only")), (Code::Unimplemented, true), "{update}");
    let begin = refusal(client.begin_transaction().await);
    assert_eq!((begin.code(), begin.message().contains("granary-as-of")), (Code::Unimplemented, true), "{begin}");
    let within = refusal(client.execute("select 1".to_owned(), Some("t".into())).await);
    assert_eq!(within.code(), Code::Unimplemented);
    for sql in
        ["drop table invoice_lines", "select 1; select 2", "set datafusion.execution.batch_size = 1", "copy (select 1) to '/tmp/x.csv'", ""]
    {
        let refused = refusal(client.execute(sql.to_owned(), None).await);
        assert_eq!(refused.code(), Code::InvalidArgument, "{sql}: {refused}");
        assert_eq!(refused.metadata().get("granary-code").unwrap(), "query_refused");
        assert_eq!(refusal(client.prepare(sql.to_owned(), None).await).code(), Code::InvalidArgument, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_comes_in_small_messages_and_is_whole() {
    let house = House::open().await;
    let mut client = house.confined().await;
    let info = client.execute(LONG.to_owned(), None).await.unwrap();
    let found = batches(&mut client, &info).await.unwrap();
    let sum: i64 = found.iter().flat_map(|batch| batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap().values().iter()).sum();
    assert_eq!((found.iter().map(RecordBatch::num_rows).sum::<usize>(), sum), (1_000_000, 499_999_500_000));

    let mut raw = FlightServiceClient::new(house.channel().await);
    let wide = "select repeat('x', 20000) as t from generate_series(1, 1000) as a";
    let info = client.execute(wide.to_owned(), None).await.unwrap();
    let mut request = Request::new(info.endpoint[0].ticket.clone().unwrap());
    let key = client.token().unwrap();
    request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    let sizes: Vec<usize> =
        raw.do_get(request).await.unwrap().into_inner().map_ok(|message| message.data_body.len()).try_collect().await.unwrap();
    assert!(sizes.len() > 15 && sizes.iter().all(|size| *size < 3 << 20), "{sizes:?}");

    let row = "select string_agg(repeat('x', 1000000), '') as t from generate_series(1, 20) as a";
    let info = client.execute(row.to_owned(), None).await.unwrap();
    let refused = refusal(batches(&mut client, &info).await);
    assert_eq!((refused.code(), refused.message().contains("16 MiB")), (Code::ResourceExhausted, true), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_stopped_by_whoever_asked_and_by_nobody_else() {
    let house = House::open().await;
    let mut client = house.confined().await;
    let info = client.execute(ENDLESS.to_owned(), None).await.unwrap();
    let mut rows = client.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap();
    assert!(rows.next().await.unwrap().is_ok());
    let stop = || CancelFlightInfoRequest::new(info.clone()).encode_to_vec();
    let action = || arrow_flight::Action::new("CancelFlightInfo", stop());
    let mut other = house.client(&house.key(None, ApiKeyScope::Sql).await).await;
    assert_eq!(refusal(other.do_action(action()).await).code(), Code::NotFound, "another's answer is not found");
    assert!(client.do_action(action()).await.unwrap().message().await.unwrap().is_some());
    let end = loop {
        match rows.next().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error,
            None => panic!("an answer that was stopped must not look whole"),
        }
    };
    assert_eq!(refusal::<()>(Err(end)).code(), Code::Cancelled);
    assert_eq!(refusal(client.do_action(action()).await).code(), Code::NotFound, "it is over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_ends_with_its_reader_and_a_budget_is_named() {
    let house = House::open_within(Budget { at_once: 1, time: Duration::from_secs(10), ..Budget::default() }).await;
    let mut client = house.confined().await;
    for _ in 0..3 {
        let info = client.execute(ENDLESS.to_owned(), None).await.unwrap();
        let mut rows = client.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap();
        assert!(rows.next().await.unwrap().is_ok());
        // There is one place, and it must be free again for the next round.
        drop(rows);
    }
    let slow = "select count(*) as n from generate_series(1, 100000000) as a (x), generate_series(1, 1000) as b (y) where x * y % 7 = 8";
    let refused = refusal(ask(&mut client, slow).await);
    assert_eq!((refused.code(), refused.message().contains("time budget of 10 s")), (Code::ResourceExhausted, true), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_door_that_closes_cuts_an_answer_off_for_all_to_see() {
    let house = House::open().await;
    let mut client = house.confined().await;
    let info = client.execute(ENDLESS.to_owned(), None).await.unwrap();
    let mut rows = client.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap();
    assert!(rows.next().await.unwrap().is_ok());
    let reading = tokio::spawn(async move {
        loop {
            match rows.next().await {
                Some(Ok(_)) => {}
                end => break end.is_some(),
            }
        }
    });
    let address = house.door.address();
    house.door.stop().await;
    assert!(reading.await.unwrap(), "the reader is told that the answer is not whole");
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
