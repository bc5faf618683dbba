//! What a collector of OpenTelemetry is told.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::mpsc;

use serde_json::Value;

use super::front_door::{House, command, interrupt};

/// Takes spans as a collector does: `POST` of OTLP in JSON. Returns its address, and every span that comes.
fn collector() -> (String, mpsc::Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (tell, mut stream) = (tell.clone(), stream.unwrap());
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                while let Some(body) = read_request(&mut reader) {
                    let body: Value = serde_json::from_slice(&body).unwrap();
                    for spans in body["resourceSpans"].as_array().unwrap() {
                        tell.send(spans.clone()).unwrap();
                    }
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}").unwrap();
                }
            });
        }
    });
    (address, told)
}

/// Reads the body of one request; none when the connection is over.
fn read_request(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(body)
}

#[test]
fn a_collector_is_told_of_requests_and_jobs_and_of_nobodys_data() {
    let house = House::empty();
    house.ok(&["msp", "add", "SOLO", "--name", "Solo"]);
    house.ok(&["customer", "add", "PLANTED", "--name", "Planted"]);
    let (address, told) = collector();
    let mut serve = command(&house.data_dir(), &["serve", "--with-worker", "--listen", "127.0.0.1:0"]);
    let mut child = serve.env("GRANARY_TRACES_URL", address).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let pages = lines.find(|line| line.contains("listening on")).unwrap();
    let pages = pages.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned();
    std::thread::spawn(move || lines.for_each(drop));

    let (trace, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let asked = ureq::get(format!("{pages}/healthz?token=planted")).header("traceparent", format!("00-{trace}-{parent}-01")).call();
    assert!(asked.is_ok());
    let _ = ureq::get(format!("{pages}/api/v1/msp/customers/PLANTED/usage")).call();
    // What runs in the worker is told as well; a server that ends tells the rest.
    house.ok(&["jobs", "run", "tenants.lifecycle"]);
    assert!(interrupt(child).success());

    let told: Vec<Value> = told.try_iter().collect();
    assert!(!told.is_empty());
    let text = serde_json::to_string(&told).unwrap();
    assert!(text.contains("\"service.name\""), "{text}");
    let spans: Vec<&Value> = told
        .iter()
        .flat_map(|resource| resource["scopeSpans"].as_array().unwrap())
        .flat_map(|scope| scope["spans"].as_array().unwrap())
        .collect();
    let named = |name: &str| spans.iter().find(|span| span["name"] == name).unwrap_or_else(|| panic!("{name} is not among {text}"));
    let health = named("GET /healthz");
    assert_eq!((health["traceId"].as_str(), health["parentSpanId"].as_str()), (Some(trace), Some(parent)), "{health}");
    let usage = named("GET /api/v1/msp/customers/{code}/usage");
    assert!(usage.to_string().contains("401"), "{usage}");
    assert_ne!(usage["traceId"].as_str(), Some(trace));
    for secret in ["PLANTED", "planted"] {
        assert!(!text.contains(secret), "{secret} was told: {text}");
    }
}

#[test]
fn an_address_that_is_none_is_refused_and_a_collector_that_is_gone_costs_nothing() {
    let house = House::empty();
    let refusal = command(&house.data_dir(), &["msp", "list"]).env("GRANARY_TRACES_URL", "collector:4318").output().unwrap();
    let said = String::from_utf8_lossy(&refusal.stderr).into_owned();
    assert_eq!(refusal.status.code(), Some(2), "{said}");
    assert!(said.contains("GRANARY_TRACES_URL"), "{said}");
    house.ok(&["msp", "add", "SOLO", "--name", "Solo"]);
    let gone = command(&house.data_dir(), &["msp", "list"]).env("GRANARY_TRACES_URL", "http://127.0.0.1:9/v1/traces").output().unwrap();
    assert!(gone.status.success(), "{gone:?}");
}
