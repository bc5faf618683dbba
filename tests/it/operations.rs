//! What an operator sees of an installation: the doctor, and what Prometheus reads.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use super::front_door::{House, command, interrupt};

/// A server on ports of its own; the addresses that it printed.
fn serve(house: &House, token: &str) -> (Child, String, String) {
    let mut serve = command(&house.data_dir(), &["serve", "--with-worker", "--listen", "127.0.0.1:0"]);
    serve.env("GRANARY_METRICS_LISTEN", "127.0.0.1:0").env("GRANARY_METRICS_TOKEN", token).stderr(Stdio::piped());
    let mut child = serve.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut address = |words: &str| {
        let line = lines.find(|line| line.contains(words)).unwrap();
        line.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned()
    };
    let (metrics, pages) = (address("metrics on"), address("listening on"));
    // Whatever else it says is read, so that it never waits for a reader.
    std::thread::spawn(move || lines.for_each(drop));
    (child, metrics, pages)
}

fn read(url: &str, token: Option<&str>) -> Result<String, ureq::Error> {
    let request = ureq::get(url);
    let request = if let Some(token) = token { request.header("authorization", format!("Bearer {token}")) } else { request };
    request.call()?.body_mut().read_to_string()
}

#[test]
fn prometheus_reads_what_a_server_did_and_how_the_house_stands() {
    let house = House::empty();
    house.ok(&["msp", "add", "SOLO", "--name", "Solo Secret Ltd"]);
    house.ok(&["customer", "add", "ACME", "--name", "ACME Inc.", "--source", "cp"]);
    let token = "0123456789abcdef";
    let (child, metrics, pages) = serve(&house, token);
    for path in ["/healthz", "/healthz", "/login", "/nowhere"] {
        let _ = read(&format!("{pages}{path}"), None);
    }
    assert!(matches!(read(&metrics, None), Err(ureq::Error::StatusCode(401))));
    assert!(matches!(read(&metrics, Some("wrong")), Err(ureq::Error::StatusCode(401))));
    assert!(read(&format!("{pages}/metrics"), Some(token)).is_err(), "not on the public address");
    let text = read(&metrics, Some(token)).unwrap();
    for line in [
        "granary_http_requests_total{route=\"/healthz\",method=\"GET\",status=\"200\"} 2\n",
        "granary_http_requests_total{route=\"none\",method=\"GET\",status=\"404\"}",
        "granary_http_request_duration_seconds_count{route=\"/login\",method=\"GET\"} 1\n",
        "granary_up 1\n",
        "granary_cluster_up{cluster=\"local\"} 1\n",
        "granary_pool_connections{cluster=\"local\",state=\"most\"} 16\n",
        "granary_customers{status=\"active\"} 1\n",
        "granary_schemas{state=\"current\"} 1\n",
        "granary_outbox_messages{cluster=\"local\"}",
        "granary_night_age_seconds ",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
    for name in ["SOLO", "Solo", "ACME"] {
        assert!(!text.contains(name), "{name} is a label\n{text}");
    }
    assert!(interrupt(child).success());
}

#[test]
fn the_doctor_names_what_is_wrong_and_what_mends_it() {
    let house = House::empty();
    house.ok(&["msp", "add", "SOLO", "--name", "Solo"]);
    let well = house.run(&["doctor", "--format", "json"]);
    assert!(well.status.success(), "{}", String::from_utf8_lossy(&well.stdout));
    house.refused(&["jobs", "run", "night.run", "--payload", r#"{"night": "never"}"#]);
    let dead = house.refused(&["doctor", "--format", "json"]);
    let finding = dead.as_array().unwrap().iter().find(|finding| finding["check"] == "dead_jobs").unwrap();
    let id = finding["remedy"].as_str().unwrap().split("granary jobs retry ").nth(1).unwrap().split(';').next().unwrap();
    house.ok(&["jobs", "retry", id]);
    house.ok(&["doctor"]);

    // A lake that takes nothing, and a key that is not ours.
    let lake = house.data_dir().join("lake");
    std::fs::remove_dir_all(&lake).unwrap();
    std::fs::write(&lake, "no folder").unwrap();
    let said = house.run(&["doctor", "--format", "json"]);
    assert!(!said.status.success());
    std::fs::remove_file(&lake).unwrap();
    let master = house.data_dir().join("keys/master");
    let ours = std::fs::read(&master).unwrap();
    std::fs::write(&master, "0".repeat(64)).unwrap();
    let keys = house.refused(&["doctor", "--format", "json"]);
    assert!(keys.as_array().unwrap().iter().any(|finding| finding["check"] == "keys" && finding["subject"] == "SOLO"), "{keys}");
    std::fs::write(&master, ours).unwrap();
    let csv = house.ok(&["doctor", "--format", "csv"]);
    assert!(csv.starts_with("severity,cluster,check,subject,found,remedy\n"), "{csv}");
}
