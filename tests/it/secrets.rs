//! Secrets are planted everywhere a house takes them, everything is logged, and then nothing that it wrote holds one.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use granary_db::embedded::Server;
use granary_foundation::Silent;
use serde_json::Value;

use super::front_door::{House, command, interrupt};

const PASSWORD: &str = "planted horse battery of ada";
const WRONG_PASSWORD: &str = "planted guess of eve";
const MAIL: &str = "planted-mail-password";
const S3: &str = "planted-s3-secret";
const PASSPHRASE: &str = "planted passphrase for the safe";
const CONTACT: &str = "planted.person@acme.example";
const FORGED: &str = "grn_live_plantedForgedKey0000000000000000";

/// Runs a command with every secret in its environment and all messages on, and keeps what it said on standard error.
fn run(house: &House, log: &mut Vec<u8>, arguments: &[&str], input: &str) -> (bool, String) {
    let mut child =
        planted(&house.data_dir(), arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    log.extend(output.stderr);
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

fn planted(data_dir: &Path, arguments: &[&str]) -> Command {
    let mut command = command(data_dir, arguments);
    let mail = format!("smtps://granary:{MAIL}@127.0.0.1:1");
    command.env("GRANARY_LOG", "trace").env("GRANARY_MAIL_URL", mail).env("GRANARY_LAKE_S3_ACCESS_KEY_ID", "AKIDPLANTED");
    command.env("GRANARY_LAKE_S3_SECRET_ACCESS_KEY", S3);
    command
}

fn ok(house: &House, log: &mut Vec<u8>, arguments: &[&str], input: &str) -> Value {
    let (is_fine, out) = run(house, log, arguments, input);
    assert!(is_fine, "granary {}\n{}", arguments.join(" "), String::from_utf8_lossy(log));
    serde_json::from_str(&out).unwrap()
}

/// A request and its answer: status, cookie and body.
fn ask(url: &str, method: &str, headers: &[(&str, &str)], body: &str) -> (u16, String, String) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).build().into();
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = agent.run(request.body(body.to_owned()).unwrap()).unwrap();
    let cookie = response.headers().get("set-cookie").map(|cookie| cookie.to_str().unwrap().to_owned()).unwrap_or_default();
    let body = response.body_mut().read_to_string().unwrap();
    (response.status().as_u16(), cookie, body)
}

fn wait_until_ready(url: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while ureq::get(&format!("{url}/readyz")).call().is_err() {
        assert!(Instant::now() < deadline, "the server did not come up");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// What people and programs do with their secrets; returns the session that was opened, and what problem documents said.
fn use_them(url: &str, key: &str) -> (String, Vec<u8>) {
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let login = |password: &str| {
        let body = format!("email=ada%40north.example&password={}", password.replace(' ', "+"));
        ask(&format!("{url}/login"), "POST", &form, &body)
    };
    let (_, _, mut said) = login(WRONG_PASSWORD);
    let (status, cookie, _) = login(PASSWORD);
    assert!(status == 303 && cookie.contains('='), "{status} {cookie}");
    let session = cookie.split(';').next().unwrap().split_once('=').unwrap().1.to_owned();
    ask(&format!("{url}/forgot"), "POST", &form, "email=ada%40north.example");
    let json = ("content-type", "application/json");
    let bearer = format!("Bearer {key}");
    let contact = format!("{{\"kind\": \"billing\", \"name\": \"P\", \"email\": \"{CONTACT}\"}}");
    let contacts = format!("{url}/api/v1/msp/customers/ACME/contacts");
    let (status, _, made) = ask(&contacts, "POST", &[("authorization", &bearer), json], &contact);
    assert_eq!(status, 201, "{made}");
    // A value in the wrong field is named to whoever sent it, and to nobody else.
    let (status, _, _) = ask(&contacts, "POST", &[("authorization", &bearer), json], &format!("{{\"kind\": \"{PASSWORD}\""));
    assert!(status >= 400, "{status}");
    // Whatever is wrong with a request, its answer does not repeat what lets somebody in.
    for (headers, body) in [
        (vec![("authorization", format!("Bearer {FORGED}"))], contact.clone()),
        (vec![("cookie", format!("granary_session={FORGED}"))], String::new()),
    ] {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).chain([json]).collect();
        let (status, _, answer) = ask(&contacts, "POST", &headers, &body);
        assert!(status >= 400, "{status}");
        said.push_str(&answer);
    }
    (session, said.into_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_planted_secret_is_in_logs_errors_addresses_or_tables() {
    let house = House::empty();
    std::fs::create_dir(house.data_dir()).unwrap();
    let server = Server::start_volatile(&house.data_dir(), Silent::shared()).await.unwrap();
    let mut log = Vec::new();
    ok(&house, &mut log, &["msp", "add", "NORTH", "--name", "Northern Backup"], "");
    ok(&house, &mut log, &["customer", "add", "ACME", "--name", "Acme Ltd"], "");
    ok(&house, &mut log, &["user", "add", "ada@north.example", "--role", "msp_admin"], PASSWORD);
    let key = ok(&house, &mut log, &["api-key", "add", "--scope", "customers.write"], "")["key"].as_str().unwrap().to_owned();
    let master = std::fs::read_to_string(house.data_dir().join("keys/master")).unwrap();
    let escrow = house.dir.path().join("escrow");
    ok(&house, &mut log, &["key", "export-escrow", "--out", escrow.to_str().unwrap()], PASSPHRASE);
    ok(&house, &mut log, &["key", "rotate"], "");
    assert!(!run(&house, &mut log, &["key", "import-escrow", "--from", escrow.to_str().unwrap()], WRONG_PASSWORD).0);
    let new_master = std::fs::read_to_string(house.data_dir().join("keys/master")).unwrap();
    assert_ne!(master, new_master);

    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (listen, url) = (format!("127.0.0.1:{port}"), format!("http://127.0.0.1:{port}"));
    let served = house.dir.path().join("serve.log");
    let file = File::create(&served).unwrap();
    let serve = planted(&house.data_dir(), &["serve", "--with-worker", "--listen", &listen])
        .stdout(file.try_clone().unwrap())
        .stderr(file)
        .spawn()
        .unwrap();
    wait_until_ready(&url);
    let (session, said) = use_them(&url, &key);
    // The letter fails at a server that is not there, and says so.
    std::thread::sleep(Duration::from_secs(2));
    interrupt(serve);

    let binaries = std::env::var_os("GRANARY_POSTGRES_BIN");
    let mut dump = Command::new(binaries.map_or("pg_dump".into(), |folder| Path::new(&folder).join("pg_dump")));
    dump.arg("--inserts").arg(format!("--dbname={}", server.url().reveal()));
    let dumped = dump.output().unwrap();
    assert!(dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stderr));
    let logged = std::fs::read(&served).unwrap();
    assert!(logged.len() > 10_000 && dumped.stdout.len() > 10_000, "{} and {} bytes", logged.len(), dumped.stdout.len());
    let written = [("a command", log), ("the server's log", logged), ("a table", dumped.stdout), ("an answer", said)];
    let database = std::fs::read_to_string(house.data_dir().join("postgres.password")).unwrap();
    let app = std::fs::read_to_string(house.data_dir().join("keys/app-password")).unwrap();
    let secrets = [
        ("a password", PASSWORD),
        ("a wrong password", WRONG_PASSWORD),
        ("the mail server's password", MAIL),
        ("the store's secret", S3),
        ("a passphrase", PASSPHRASE),
        ("somebody's address", CONTACT),
        ("a forged key", FORGED),
        ("an API key", &key),
        ("a session", &session),
        ("the old master", master.trim()),
        ("the new master", new_master.trim()),
        ("the owner's password", database.trim()),
        ("the login's password", app.trim()),
    ];
    assert_in_none(&secrets, &written);
    server.stop().await.unwrap();
}

/// Looks for every secret in everything that was written, also as forms, addresses and dumps spell it.
fn assert_in_none(secrets: &[(&str, &str)], written: &[(&str, Vec<u8>)]) {
    for (secret, text) in secrets {
        assert!(text.len() >= 15, "{secret} is too short to be looked for");
        for (place, bytes) in written {
            let encoded = [(*text).to_owned(), text.replace(' ', "+"), text.replace(' ', "%20"), hex(text)];
            let found = encoded.iter().find(|text| bytes.windows(text.len()).any(|window| window == text.as_bytes()));
            assert!(found.is_none(), "{secret} is in {place}");
        }
    }
}

/// As Postgres dumps bytes.
fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}
