//! The overview over marts of every customer and month.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, new_null_array};
use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use granary_lake::{Lake, Publication};
use granary_tenants::ReadGrant;
use granary_types::CustomerId;
use granary_warehouse::{Materialised, Warehouse};
use jiff::{Span, civil::date};

use crate::{GRANARY, line};

const CLIENTS: usize = 4;
const REQUESTS: usize = 1_000;
const ADDRESS: &str = "127.0.0.1:18098";
const PASSWORD: &str = "correct horse battery staple";

/// Publishes every mart with a row a customer and month, the newest 2026-10.
pub(crate) async fn publish(lake: &Lake, warehouse: &Warehouse, grant: &ReadGrant, customers: &[CustomerId], months: usize) {
    let session = warehouse.session(grant).await.unwrap();
    let mut publications = Vec::new();
    for model in warehouse.models().iter().filter(|model| model.description.materialised == Materialised::Table) {
        let (schema, _) = session.query_with_schema(&format!("select * from {} limit 0", model.name)).await.unwrap();
        let batches = (0..months).map(|back| rows(&schema, customers, back)).collect();
        publications.push(Publication { dataset: format!("mart_{}", model.name), month: "all".to_owned(), schema, batches });
    }
    let begun = Instant::now();
    lake.publish_all(grant.msp, publications, "scale").await.unwrap();
    line("publishing the marts, s", begun.elapsed().as_secs_f64());
}

/// One row a customer, by the names and types of the columns.
fn rows(schema: &SchemaRef, customers: &[CustomerId], back: usize) -> RecordBatch {
    let day = date(2026, 10, 1).saturating_sub(Span::new().months(i64::try_from(back).unwrap()));
    let words = HashMap::from([
        ("period", day.strftime("%Y-%m").to_string()),
        ("month", day.strftime("%Y-%m").to_string()),
        ("status", "active".to_owned()),
        ("state", "closed".to_owned()),
        ("currency", "USD".to_owned()),
        ("tier", "backup".to_owned()),
        ("item", "machine_backup".to_owned()),
        ("movement", "expansion".to_owned()),
        ("reason", "quantity".to_owned()),
        ("kind", "upgrade".to_owned()),
    ]);
    let count = customers.len();
    let column = |field: &Arc<Field>| -> ArrayRef {
        let name = field.name().as_str();
        let texts = |text: &dyn Fn(usize) -> String| -> ArrayRef { Arc::new(StringArray::from_iter_values((0..count).map(text))) };
        let made = match field.data_type() {
            _ if name == "customer_id" => texts(&|index| customers[index].to_string()),
            _ if name == "customer_code" => texts(&|index| format!("C{index}")),
            DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => {
                texts(&|index| words.get(name).cloned().unwrap_or_else(|| format!("{name} {index}")))
            }
            DataType::Date32 => texts(&|_| day.to_string()),
            DataType::Boolean => Arc::new(Int64Array::from_iter_values((0..count).map(|index| i64::from(index % 9 > 0)))) as ArrayRef,
            kind if kind.is_numeric() => {
                Arc::new(Int64Array::from_iter_values((0..count).map(|index| 1_000 + (index * 7_919 + back * 104_729) as i64 % 9_000)))
            }
            kind => new_null_array(kind, count),
        };
        cast(&made, field.data_type()).unwrap()
    };
    let nullable: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(nullable)), schema.fields().iter().map(column).collect()).unwrap()
}

/// Starts a server over the house and asks for the overview: first on a version that nobody has looked at, then again and again.
pub(crate) async fn measure(folder: &Path) {
    let folder = folder.to_owned();
    tokio::task::spawn_blocking(move || {
        add_user(&folder);
        let mut server = serve(&folder);
        let cookie = log_in();
        line("overview, the first time, ms", get(&cookie));
        let mut times: Vec<f64> = std::thread::scope(|scope| {
            let clients: Vec<_> =
                (0..CLIENTS).map(|_| scope.spawn(|| (0..REQUESTS / CLIENTS).map(|_| get(&cookie)).collect::<Vec<f64>>())).collect();
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
        });
        times.sort_by(f64::total_cmp);
        line("overview, 4 clients, 1,000 requests, p95, ms", times[times.len() * 95 / 100]);
        Command::new("kill").args(["-INT", &server.id().to_string()]).status().unwrap();
        server.wait().unwrap();
    })
    .await
    .unwrap();
}

fn add_user(folder: &Path) {
    let mut adding = Command::new(GRANARY)
        .args(["user", "add", "admin@north.example", "--role", "msp_admin", "--msp", "NORTH", "--data-dir"])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut adding.stdin.take().unwrap(), PASSWORD.as_bytes()).unwrap();
    assert!(adding.wait().unwrap().success());
}

fn serve(folder: &Path) -> Child {
    let server = Command::new(GRANARY)
        .args(["serve", "--listen", ADDRESS, "--data-dir"])
        .arg(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let end = Instant::now() + Duration::from_secs(60);
    while ureq::get(format!("http://{ADDRESS}/readyz")).call().is_err() {
        assert!(Instant::now() < end, "the server did not answer");
        std::thread::sleep(Duration::from_millis(20));
    }
    server.unwrap()
}

fn log_in() -> String {
    let agent: ureq::Agent = ureq::Agent::config_builder().max_redirects(0).build().into();
    let response = agent
        .post(format!("http://{ADDRESS}/login"))
        .header("origin", format!("http://{ADDRESS}"))
        .header("content-type", "application/x-www-form-urlencoded")
        .send(format!("email=admin%40north.example&password={}", PASSWORD.replace(' ', "+")))
        .unwrap();
    let set = response.headers().get("set-cookie").unwrap().to_str().unwrap();
    set.split(';').next().unwrap().to_owned()
}

fn get(cookie: &str) -> f64 {
    let begun = Instant::now();
    let mut response = ureq::get(format!("http://{ADDRESS}/?period=2026-10")).header("cookie", cookie).call().unwrap();
    let page = response.body_mut().read_to_string().unwrap();
    assert!(page.contains("MRR"), "{page}");
    begun.elapsed().as_secs_f64() * 1000.0
}
