//! Executors in this process, behind real connections: what goes there, what comes back, who is let in.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::source::ParquetSource;
use datafusion::datasource::physical_plan::{CsvSource, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;
use datafusion_distributed::{WorkerPlanRewriteEvent, WorkerPlanRewriteHandler};
use granary_foundation::config::ExecutorsConfig;
use granary_lake::LakeError;
use granary_tenants::ReadGrant;
use granary_types::{CustomerId, Role};
use http::{Request, Response};
use http_body::Frame;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;
use url::Url;

use super::executor::{Executor, serve};
use super::fragment::Fence;
use super::house::{House, Opened};
use super::ticket::{Bearer, HEADER, Refused, Ticket, header};
use super::*;
use crate::fixture::{Shed, datasets, grant, models};
use crate::keys::SessionKeys;
use crate::{Session, runtime};

const ROWS: usize = 400;

/// A house that needs no database: it opens what a shed holds of a grant.
struct Hut {
    shed: Arc<Shed>,
    secret: &'static [u8],
}

#[async_trait]
impl House for Hut {
    async fn vouch(&self, message: &[u8]) -> Result<[u8; 32], LakeError> {
        Ok(Sha256::new().chain_update(self.secret).chain_update(message).finalize().into())
    }

    async fn open(&self, grant: &ReadGrant, _: i64) -> Result<Arc<Opened>, LakeError> {
        let mut contents = self.shed.contents();
        let is_granted = |owner: &str| owner.parse().is_ok_and(|id: CustomerId| grant.customers.includes(id));
        for files in contents.files.values_mut() {
            files.retain(|file| file.partition.len() == 1 || is_granted(&file.partition[0]));
        }
        let paths: BTreeSet<&String> = contents.files.values().flatten().map(|file| &file.path).collect();
        let keys = self.shed.keys.iter().filter(|(path, _)| paths.contains(path)).map(|(path, key)| (path.clone(), Arc::clone(key)));
        contents.keys = Arc::new(SessionKeys::new(keys.collect()));
        Ok(Arc::new(contents.into()))
    }
}

/// What reached an executor, headers and bodies, and how many of its answers are being read.
#[derive(Clone)]
struct Seen {
    bytes: Arc<Mutex<Vec<u8>>>,
    /// Fragments that ran.
    tasks: Arc<AtomicUsize>,
    open: watch::Sender<usize>,
}

/// Writes down what passes.
#[derive(Clone)]
struct Recorder<S> {
    inner: S,
    seen: Seen,
}

impl<S: NamedService> NamedService for Recorder<S> {
    const NAME: &'static str = S::NAME;
}

impl<S: Service<Request<Body>, Response = Response<Body>>> Service<Request<Body>> for Recorder<S> {
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Recorded<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let seen = self.seen.clone();
        if request.uri().path().ends_with("/ExecuteTask") {
            seen.tasks.fetch_add(1, Ordering::Relaxed);
        }
        let headers =
            request.headers().iter().flat_map(|(name, value)| [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\n"].concat());
        seen.bytes.lock().unwrap().extend(headers.collect::<Vec<u8>>());
        let request = request.map(|body| Body::new(Tapped { body, seen: Some(self.seen.clone()), reading: None }));
        Recorded { answer: Box::pin(self.inner.call(request)), seen }
    }
}

/// An answer on its way, which counts as open until it was read or dropped.
struct Recorded<F> {
    answer: Pin<Box<F>>,
    seen: Seen,
}

impl<F: Future<Output = Result<Response<Body>, E>>, E> Future for Recorded<F> {
    type Output = Result<Response<Body>, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = self.answer.as_mut().poll(context);
        let seen = self.seen.clone();
        answer.map_ok(|answer| answer.map(|body| Body::new(Tapped { body, seen: None, reading: Some(Reading::new(&seen)) })))
    }
}

struct Reading(watch::Sender<usize>);

impl Reading {
    fn new(seen: &Seen) -> Self {
        seen.open.send_modify(|open| *open += 1);
        Self(seen.open.clone())
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

struct Tapped {
    body: Body,
    seen: Option<Seen>,
    #[expect(dead_code, reason = "its end is what counts")]
    reading: Option<Reading>,
}

impl http_body::Body for Tapped {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if let (Poll::Ready(Some(Ok(frame))), Some(seen)) = (&frame, &self.seen)
            && let Some(data) = frame.data_ref()
        {
            seen.bytes.lock().unwrap().extend_from_slice(data);
        }
        frame
    }
}

/// Two executors and what they saw.
struct Yard {
    shed: Arc<Shed>,
    config: ExecutorsConfig,
    seen: Seen,
}

async fn executor(house: Arc<dyn House>, shed: &Shed, seen: Seen) -> String {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    let executor = Executor::new(house, &ExecutorsConfig::default()).unwrap();
    let gate = Recorder { inner: executor.service(Arc::clone(&shed.runtime)), seen };
    let connections = futures::stream::unfold(socket, |socket| async move {
        let accepted = socket.accept().await.map(|(stream, _)| Accepted::new(stream));
        Some((accepted, socket))
    });
    tokio::spawn(serve(gate, Box::pin(connections), std::future::pending()));
    url
}

impl Yard {
    async fn new(shed: Shed) -> Self {
        let shed = Arc::new(shed);
        let seen = Seen { bytes: Arc::default(), tasks: Arc::default(), open: watch::Sender::new(0) };
        let mut urls = Vec::new();
        for _ in 0..2 {
            let house = Arc::new(Hut { shed: Arc::clone(&shed), secret: b"ours" });
            urls.push(executor(house, &shed, seen.clone()).await);
        }
        let config = ExecutorsConfig { urls, bytes_per_thread: 1, ..ExecutorsConfig::default() };
        Self { shed, config, seen }
    }

    fn cluster(&self, secret: &'static [u8]) -> Arc<Cluster> {
        let house = Arc::new(Hut { shed: Arc::clone(&self.shed), secret });
        Cluster::of(&self.config, house).unwrap().unwrap()
    }

    /// A session that reads what one grant may, whose queries go out with the ticket of another.
    async fn session(&self, reads: &ReadGrant, shows: &ReadGrant) -> Session {
        let spread = Spread { cluster: self.cluster(b"ours"), grant: shows.clone(), version: 1 };
        self.shed.session(reads).await.unwrap().spread_by(spread)
    }

    fn tasks(&self) -> usize {
        self.seen.tasks.load(Ordering::Relaxed)
    }
}

fn heartbeat(day: usize, number: usize) -> Value {
    let on = format!("2025-10-{:02}", day + 1);
    json!({"source": format!("dc{}", number % 7), "service_on": on, "received": number, "expected": 96, "last_at": format!("{on}T23:45:00Z")})
}

fn two_customers() -> (Shed, CustomerId, CustomerId) {
    let mut shed = Shed::new(datasets(), models());
    shed.budget.threads = 2;
    let (acme, globex) = (CustomerId::new(), CustomerId::new());
    for (id, code) in [(acme, "ACME"), (globex, "GLOBEX")] {
        for month in ["2025-08", "2025-09", "2025-10"] {
            let rows: Vec<Value> = (0..ROWS).map(|number| heartbeat(number % 28, number)).collect();
            shed.write_rows("heartbeats", Some((id, code)), month, &rows);
        }
    }
    let changed = |customer: CustomerId| json!({"id": customer, "msp_id": customer, "customer_id": customer, "status": "active", "changed_at": "2025-10-01T00:00:00Z"});
    shed.write_rows("status_changes", None, "all", &[changed(acme), changed(globex)]);
    (shed, acme, globex)
}

fn sorted(batches: &[datafusion::arrow::array::RecordBatch]) -> Vec<String> {
    let row = |batch: &datafusion::arrow::array::RecordBatch, row: usize| -> String {
        batch.columns().iter().map(|column| array_value_to_string(column, row).unwrap() + "|").collect()
    };
    let mut rows: Vec<String> = batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |number| row(batch, number))).collect();
    rows.sort_unstable();
    rows
}

const QUERIES: [&str; 10] = [
    "select customer_code, month, count(*) as n, sum(received) as r from lake.heartbeats group by 1, 2",
    "select count(distinct source) as n, max(last_at) as last from lake.heartbeats where received > 30",
    "select source, repeat(source, 3) as thrice, received from lake.heartbeats order by received desc, source, customer_code limit 9",
    "select h.customer_code, c.status, sum(h.received) as r from lake.heartbeats h join lake.status_changes c using (customer_id) group by 1, 2",
    "select a.source, count(*) as n from lake.heartbeats a join lake.heartbeats b using (source, service_on) group by 1",
    "select source, rank() over (partition by source order by received) as place, received from lake.heartbeats where month = '2025-09'",
    "select 'a' as what, count(*) as n from lake.heartbeats union all select status, count(*) from lake.status_changes group by 1",
    "select count(*) as n from lake.heartbeats where received > (select avg(received) from lake.heartbeats)",
    "select distinct service_on from lake.heartbeats where customer_code in (select distinct customer_code from lake.heartbeats)",
    "with recursive n(i) as (select 1 union all select i + 1 from n where i < 5) select i, count(*) as n from n, lake.heartbeats group by 1",
];

#[tokio::test]
async fn executors_answer_as_one_machine_does_and_no_key_goes_there() {
    let (shed, ..) = two_customers();
    let admin = grant(Role::MspAdmin, None);
    let yard = Yard::new(shed).await;
    let (alone, spread) = (yard.shed.session(&admin).await.unwrap(), yard.session(&admin, &admin).await);
    for (index, sql) in QUERIES.iter().enumerate() {
        let before = yard.tasks();
        let [expected, answered] = [alone.query(sql).await.unwrap(), spread.query(sql).await.unwrap()];
        assert!(!expected.is_empty(), "{sql}");
        assert_eq!(sorted(&answered), sorted(&expected), "{sql}");
        // A recursion stays where it is asked.
        assert_eq!(yard.tasks() > before, index + 1 < QUERIES.len(), "{sql}");
    }
    let seen = yard.seen.bytes.lock().unwrap().clone();
    let holds = |needle: &[u8]| seen.windows(needle.len()).any(|window| window == needle);
    assert!(holds(b"x-granary-ticket: ") && holds(b"/heartbeats/2025-10.parquet"), "the recorder sees headers and plans");
    for number in 0..u8::try_from(yard.shed.keys.len()).unwrap() {
        let key: Vec<u8> = (0..32).map(|byte| byte + number).collect();
        let (hex, base64, url) = (hex::encode(&key), STANDARD.encode(&key), URL_SAFE_NO_PAD.encode(&key));
        // half of a key is also one too many
        for written in [&key[..16], hex[..32].as_bytes(), base64[..20].as_bytes(), url[..20].as_bytes()] {
            assert!(!holds(written), "key {number} was sent");
        }
    }
}

#[tokio::test]
async fn a_fragment_with_another_customers_file_is_refused() {
    let (shed, acme, _) = two_customers();
    let yard = Yard::new(shed).await;
    let (all, one) = (grant(Role::MspAdmin, None), grant(Role::MspAnalyst, Some(&[acme])));
    let stretched = yard.session(&all, &one).await;
    let refused = stretched.query("select month, count(*) as n from lake.heartbeats group by 1").await.unwrap_err().to_string();
    assert!(refused.contains("the ticket's grant has no file") && !refused.contains(&acme.to_string()), "{refused}");
}

#[tokio::test]
async fn tickets_that_are_forged_changed_over_or_missing_are_refused() {
    let (shed, ..) = two_customers();
    let house = Hut { shed: Arc::new(shed), secret: b"ours" };
    let stranger = Hut { shed: Arc::clone(&house.shed), secret: b"theirs" };
    let made = |life: u64| Ticket::new(&grant(Role::MspAdmin, None), 1, &[], Duration::from_secs(life));
    let open = async |bearer: &str| Ticket::open(&house, &header(bearer).unwrap()).await.map(|_| ());
    let sealed = async |by: &Hut, life: u64| Bearer::seal(by, &made(life)).await.unwrap().unwrap().text().to_owned();
    let good = sealed(&house, 60).await;
    assert_eq!(open(&good).await, Ok(()));
    assert_eq!(open(&sealed(&stranger, 60).await).await, Err(Refused::Forged));
    assert_eq!(open(&sealed(&house, 0).await).await, Err(Refused::Expired));
    let (payload, digest) = good.split_once('.').unwrap();
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    let promoted = URL_SAFE_NO_PAD.encode(text.replace("msp_admin", "operator_admin"));
    assert_ne!(promoted, payload);
    assert_eq!(open(&format!("{promoted}.{digest}")).await, Err(Refused::Forged));
    for shortened in [format!("{payload}."), format!("{payload}.{}", &digest[..10]), payload.to_owned(), ".".to_owned()] {
        assert_eq!(open(&shortened).await, Err(Refused::Forged), "{shortened}");
    }
    assert_eq!(Ticket::open(&house, &http::HeaderMap::new()).await.unwrap_err(), Refused::Missing);
    assert!(!format!("{:?}", header(&good).unwrap()).contains(&good), "a ticket does not print: {HEADER}");
}

#[tokio::test]
async fn whoever_has_no_ticket_of_the_house_is_not_even_greeted() {
    let (shed, ..) = two_customers();
    let yard = Yard::new(shed).await;
    let url: Url = yard.config.urls[0].parse().unwrap();
    let stranger = yard.cluster(b"theirs");
    let ticket = Ticket::new(&grant(Role::MspAdmin, None), 1, &[], Duration::from_secs(60));
    let forged = Bearer::seal(&*stranger.house, &ticket).await.unwrap().unwrap();
    let refused = stranger.channels.greet(&url, forged.text()).await.unwrap_err().to_string();
    assert!(refused.contains(&yard.config.urls[0]) && refused.contains("not of this house"), "{refused}");
    assert!(stranger.present(forged.text()).await.is_empty());
    // Whom nobody takes answers by himself.
    let admin = grant(Role::MspAdmin, None);
    let spread = Spread { cluster: stranger, grant: admin.clone(), version: 1 };
    let alone = yard.shed.session(&admin).await.unwrap().spread_by(spread);
    assert_eq!(sorted(&alone.query("select count(*) as n from lake.heartbeats").await.unwrap()), ["2400|"]);
    let ours = yard.cluster(b"ours");
    let bearer = Bearer::seal(&*ours.house, &ticket).await.unwrap().unwrap();
    ours.channels.greet(&url, bearer.text()).await.unwrap();
    let elsewhere = ours.channels.among(&[]).greet(&url, bearer.text()).await.unwrap_err().to_string();
    assert!(elsewhere.contains("no executor of this query"), "{elsewhere}");
}

#[tokio::test]
async fn a_fragment_reads_nothing_but_sealed_files_of_the_lake() {
    let (shed, ..) = two_customers();
    let (path, columns) = (shed.files["heartbeats"][0].path.clone(), granary_lake::arrow_schema(&shed.datasets[0]));
    let fence = Fence(Arc::new(shed.contents().into()));
    let scan = |store: ObjectStoreUrl, source: Arc<dyn datafusion::datasource::physical_plan::FileSource>, path: &str| {
        let scan = FileScanConfigBuilder::new(store, source).with_file(PartitionedFile::new(path, 1)).build();
        DataSourceExec::from_data_source(scan) as Arc<dyn ExecutionPlan>
    };
    let parquet = || Arc::new(ParquetSource::new(Arc::clone(&columns)));
    let (lake, disk) = (runtime::store_url().unwrap(), ObjectStoreUrl::local_filesystem());
    let config = SessionConfig::new();
    let looked = |plan| fence.rewrite_worker_plan(WorkerPlanRewriteEvent { plan, session_config: &config }).map(drop);
    assert!(looked(scan(lake.clone(), parquet(), &path)).is_ok());
    let refusals = [
        (scan(disk, parquet(), &path), "does not read file:///"),
        (scan(lake.clone(), parquet(), "elsewhere.parquet"), "has no file elsewhere.parquet"),
        (scan(lake, Arc::new(CsvSource::new(Arc::clone(&columns))), &path), "does not run DataSourceExec"),
    ];
    for (plan, reason) in refusals {
        let refused = looked(plan).unwrap_err().to_string();
        assert!(refused.contains(reason), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_query_whose_time_is_over_ends_on_the_executors_too() {
    let (mut shed, ..) = two_customers();
    shed.budget.time = Duration::from_secs(3);
    let admin = grant(Role::MspAdmin, None);
    let yard = Yard::new(shed).await;
    let session = yard.session(&admin, &admin).await;
    let endless = "select sum(a.received * b.received * c.received % 7) as s from lake.heartbeats a join lake.heartbeats b using (source) \
        join lake.heartbeats c using (source) join lake.heartbeats d using (source)";
    let over = session.query(endless).await;
    assert!(yard.tasks() > 0, "it runs there");
    let mut open = yard.seen.open.subscribe();
    assert!(over.unwrap_err().to_string().contains("time budget"));
    let ended = tokio::time::timeout(Duration::from_secs(20), open.wait_for(|open| *open == 0)).await;
    assert!(ended.is_ok(), "the executors go on");
}

#[test]
fn answers_do_not_go_over_a_network_in_the_clear_unasked() {
    let config = |url: &str, trusted_network| ExecutorsConfig { urls: vec![url.to_owned()], trusted_network, ..ExecutorsConfig::default() };
    let dialer = |url: &str, trusted| super::wire::Dialer::new(&config(url, trusted)).map(drop).map_err(|error| error.to_string());
    for safe in ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1", "https://10.0.0.2:1"] {
        assert_eq!(dialer(safe, false), Ok(()), "{safe}");
    }
    assert!(dialer("http://10.0.0.2:1", false).unwrap_err().contains("trusted_network"));
    assert_eq!(dialer("http://10.0.0.2:1", true), Ok(()));
    assert!(dialer("ftp://127.0.0.1:1", true).is_err());
}
