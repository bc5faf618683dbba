//! Queries over several processes: a server that asks, two executors that answer, on a demo that all of them share.
#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails in a test fails the test, and says why")]

#[path = "it/front_door.rs"]
#[expect(dead_code, reason = "what other tests use of it is not used here")]
mod front_door;

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use front_door::{House, SMALL_DEMO, command};

/// What an executor logs when it has let a fragment in.
const RUNS: &str = "a fragment runs";

/// A process of the house that listens; killed when it goes out of scope.
struct Process {
    child: Child,
    url: String,
    lines: Receiver<String>,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    fn start(house: &House, arguments: &[&str], config: Option<&Path>) -> Self {
        let mut command = command(&house.data_dir(), arguments);
        command.env("GRANARY_LOG", "warn,granary_warehouse=debug").stdout(Stdio::null()).stderr(Stdio::piped());
        if let Some(config) = config {
            command.arg("--config").arg(config);
        }
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut said = Vec::new();
        let url = lines.by_ref().find_map(|line| {
            let url = line.split_whitespace().find(|word| line.contains("ing on http") && word.starts_with("http")).map(str::to_owned);
            said.push(line);
            url
        });
        let url = url.unwrap_or_else(|| panic!("{arguments:?} did not come up: {said:?}"));
        let (sender, receiver) = channel();
        // Whatever it says is read, so that it never waits for a reader.
        std::thread::spawn(move || lines.for_each(|line| drop(sender.send(line))));
        Self { child, url, lines: receiver }
    }

    /// Counts what it said of fragments since it was asked last.
    fn fragments(&self) -> usize {
        self.lines.try_iter().filter(|line| line.contains(RUNS)).count()
    }
}

/// A server as somebody who logged in sees it.
struct Asked {
    login: Login,
    #[expect(dead_code, reason = "it lives as long as it is asked")]
    server: Process,
}

/// Where to ask, and as whom.
#[derive(Clone)]
struct Login {
    url: String,
    session: String,
}

impl Asked {
    fn new(server: Process) -> Self {
        let body = "email=admin%40northwind.example&password=granary-demo".to_owned();
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let (status, cookie, said) = send(&format!("{}/login", server.url), &form, body);
        assert_eq!(status, 303, "{said}");
        let session = cookie.split(';').next().unwrap().to_owned();
        Self { login: Login { url: server.url.clone(), session }, server }
    }

    /// The rows of an answer, in an order that does not depend on who found them first.
    fn rows(&self, sql: &str) -> Vec<String> {
        let (status, body) = self.login.ask(sql);
        assert_eq!(status, 200, "{sql}\n{body}");
        let rows: Vec<Value> = serde_json::from_str(&body).unwrap();
        let mut rows: Vec<String> = rows.iter().map(ToString::to_string).collect();
        rows.sort_unstable();
        rows
    }
}

impl Login {
    fn ask(&self, sql: &str) -> (u16, String) {
        let headers = [("cookie", self.session.as_str()), ("content-type", "application/json")];
        let (status, _, body) = send(&format!("{}/api/v1/msp/query", self.url), &headers, json!({"sql": sql}).to_string());
        (status, body)
    }
}

fn send(url: &str, headers: &[(&str, &str)], body: String) -> (u16, String, String) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).build().into();
    let mut request = ureq::http::Request::builder().method("POST").uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = agent.run(request.body(body).unwrap()).unwrap();
    let cookie = response.headers().get("set-cookie").map(|cookie| cookie.to_str().unwrap().to_owned()).unwrap_or_default();
    let body = response.body_mut().read_to_string().unwrap_or_else(|error| format!("the answer broke off: {error}"));
    (response.status().as_u16(), cookie, body)
}

/// Writes a configuration beside the house.
fn configuration(house: &House, name: &str, text: &str) -> std::path::PathBuf {
    let path = house.dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// A demo, its server alone, two executors, the second of which speaks TLS, and a server that asks them.
fn cluster(house: &House) -> (Asked, Vec<Process>, Asked) {
    house.ok(SMALL_DEMO);
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls");
    // Executors call one another, too.
    let trusting = format!("[executors]\nca = '{}/first.pem'\n", data.display());
    let plain = configuration(house, "plain.toml", &trusting);
    let tls = format!("{trusting}[tls]\ncert = '{0}/first.pem'\nkey = '{0}/first.key'\n", data.display());
    let tls = configuration(house, "tls.toml", &tls);
    let alone = Asked::new(Process::start(house, &["serve", "--listen", "127.0.0.1:0"], None));
    let executor = |config: &Path| Process::start(house, &["executor", "--listen", "127.0.0.1:0"], Some(config));
    let executors = vec![executor(&plain), executor(&tls)];
    let mut config = format!("{trusting}bytes_per_thread = 1\nurls = [");
    for executor in &executors {
        write!(config, "'{}', ", executor.url).unwrap();
    }
    let config = configuration(house, "executors.toml", &(config + "]\n"));
    let spread = Asked::new(Process::start(house, &["serve", "--listen", "127.0.0.1:0"], Some(&config)));
    (alone, executors, spread)
}

const RAW: [&str; 8] = [
    "select customer_code, month, count(*) as n from lake.backup_runs group by 1, 2",
    "select count(*) as n, count(distinct machine_id) as machines from lake.backup_runs",
    "select customer_code, state, count(*) as n, sum(transferred_bytes) as bytes from lake.backup_runs group by 1, 2",
    "select m.name, count(*) as n from lake.backup_runs r join lake.machines m on m.id = r.machine_id group by 1",
    "select customer_code, max(used_bytes) as most from lake.storage_days where month = '2025-10' group by 1",
    "select c.name, count(*) as n from lake.customers c join lake.machine_days d on d.customer_id = c.id group by 1 having count(*) > 3",
    "select * from (select machine_id, billing_on, row_number() over (partition by machine_id order by billing_on desc) as place from lake.machine_days) where place = 1",
    "select customer_code, billing_on, used_bytes from lake.storage_days order by used_bytes desc, billing_on, customer_code limit 20",
];

#[test]
fn executors_answer_every_mart_as_one_process_does_and_one_that_is_killed_is_named() {
    let house = House::empty();
    let (alone, mut executors, spread) = cluster(&house);
    let models = alone.rows("select table_name as t from information_schema.tables where table_schema = 'warehouse'");
    assert!(models.len() > 30, "{models:?}");
    let mut unspread = Vec::new();
    let tables = models.iter().map(|row| format!("select * from {}", serde_json::from_str::<Value>(row).unwrap()["t"].as_str().unwrap()));
    for sql in tables.chain(RAW.map(str::to_owned)) {
        assert_eq!(spread.rows(&sql), alone.rows(&sql), "{sql}");
        if executors.iter().map(Process::fragments).sum::<usize>() == 0 {
            unspread.push(sql);
        }
    }
    // Small ones are one file, which is one executor's at most.
    assert!(unspread.len() < models.len() && RAW.iter().all(|sql| !unspread.iter().any(|one| one == sql)), "{unspread:?}");

    let endless = "select sum(a.duration_ms * b.duration_ms % 7 + c.duration_ms) as s from lake.backup_runs a \
        join lake.backup_runs b using (customer_code) join lake.backup_runs c using (customer_code)";
    executors.iter().for_each(|executor| drop(executor.fragments()));
    let mut killed = executors.remove(0);
    let asked = spread.login.clone();
    let asking = std::thread::spawn(move || asked.ask(endless));
    let runs = std::iter::from_fn(|| killed.lines.recv_timeout(Duration::from_secs(60)).ok()).any(|line| line.contains(RUNS));
    assert!(runs, "the executor was given nothing");
    killed.child.kill().unwrap();
    let (status, said) = asking.join().unwrap();
    assert!(status == 503 && said.contains("executor_lost"), "{status} {said}");
    executors[0].fragments();
    for sql in RAW {
        assert_eq!(spread.rows(sql), alone.rows(sql), "{sql}");
    }
    assert!(executors[0].fragments() > 0, "the one that is left answers");
    executors.clear();
    assert_eq!(spread.rows(RAW[0]), alone.rows(RAW[0]), "nobody is left, and the server answers by itself");
}

#[test]
fn an_executor_does_not_open_to_a_network_in_the_clear() {
    let house = House::empty();
    house.ok(&["msp", "add", "NORTH", "--name", "Northern Backup"]);
    let refused = house.run(&["executor", "--listen", "0.0.0.0:0"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(2) && said.contains("tls.cert"), "{said}");
    let config = configuration(&house, "far.toml", "[executors]\nurls = ['http://10.0.0.2:50060']\n");
    let refused = house.run(&["--config", config.to_str().unwrap(), "query", "select 1"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(2) && said.contains("trusted_network"), "{said}");
}
