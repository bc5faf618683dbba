//! Backups of the installation: whatever happens, what was committed at a second is there again.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::front_door::{House, command, interrupt};

/// A house that is backed up, with a server that keeps its Postgres running.
pub(crate) struct BackedUp {
    pub(crate) house: House,
    server: Option<Child>,
}

impl Drop for BackedUp {
    fn drop(&mut self) {
        self.stop();
    }
}

impl BackedUp {
    /// One MSP with a customer, events, an invoice and a lake.
    pub(crate) fn build() -> Self {
        let house = House::empty();
        house.ok(&["msp", "add", "NORTH", "--name", "Northern Backup"]);
        house.ok(&["customer", "add", "ACME", "--name", "ACME Inc.", "--since", "2025-01-01", "--source", "vbr"]);
        let file = house.dir.path().join("events.json");
        std::fs::write(&file, events(0, 20)).unwrap();
        house.ok(&["import", file.to_str().unwrap(), "--customer", "ACME"]);
        house.ok(&["export", "run"]);
        let mut backed_up = Self { house, server: None };
        backed_up.serve();
        backed_up
    }

    /// Keeps Postgres running.
    pub(crate) fn serve(&mut self) {
        let mut serve = command(&self.house.data_dir(), &["serve", "--listen", "127.0.0.1:0"]);
        self.server = Some(serve.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.psql("select 1").status.success() {
            assert!(Instant::now() < deadline, "Postgres did not come up");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Lets Postgres end.
    pub(crate) fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            interrupt(server);
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("file://{}", self.store().display())
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.house.dir.path().join("backups")
    }

    pub(crate) fn master(&self) -> String {
        self.house.data_dir().join("keys/master").to_str().unwrap().to_owned()
    }

    pub(crate) fn backup(&self) -> Value {
        self.house.json(&["backup", "--to", &self.url()])
    }

    /// A client of the embedded Postgres, as its owner.
    fn client(&self) -> Command {
        psql(&self.house.data_dir())
    }

    fn psql(&self, sql: &str) -> Output {
        self.client().args(["--command", sql]).output().unwrap()
    }

    pub(crate) fn value(&self, sql: &str) -> String {
        let output = self.psql(sql);
        assert!(output.status.success(), "{sql}\n{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Runs `granary restore` into a directory beside the house.
    pub(crate) fn restore(&self, name: &str, arguments: &[&str]) -> (PathBuf, Output) {
        let data_dir = self.house.dir.path().join(name);
        let url = self.url();
        let output = command(&data_dir, &[&["restore", "--from", &url], arguments].concat()).output().unwrap();
        (data_dir, output)
    }
}

fn psql(data_dir: &Path) -> Command {
    let password = std::fs::read_to_string(data_dir.join("postgres.password")).unwrap_or_default();
    let mut psql = Command::new("psql");
    psql.arg("--host").arg(data_dir.join("postgres/run")).args(["--username", "granary", "--dbname", "granary", "--no-psqlrc"]);
    psql.args(["--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1"]).env("PGPASSWORD", password.trim());
    psql
}

/// Asks a restored house, whose Postgres a server of its own keeps running meanwhile.
pub(crate) fn value_in(data_dir: &Path, sql: &str) -> String {
    let serve = command(data_dir, &["serve", "--listen", "127.0.0.1:0"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let output = loop {
        let output = psql(data_dir).args(["--command", sql]).output().unwrap();
        if output.status.success() || Instant::now() > deadline {
            break output;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    interrupt(serve);
    assert!(output.status.success(), "{sql}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn events(from: u32, count: u32) -> String {
    let runs = (from..from + count).map(|number| {
        format!(
            "{{\"specversion\":\"1.0\",\"id\":\"e{number}\",\"source\":\"vbr\",\"type\":\"machine.discovered\",\"time\":\"2025-10-05T02:00:00Z\",\
             \"data\":{{\"source_system\":\"vbr\",\"vendor_id\":\"vm-{number}\",\"name\":\"vm-{number}\"}}}}"
        )
    });
    format!("[{}]", runs.collect::<Vec<_>>().join(","))
}

pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Writes as long as it lives, and notes after every commit when it was and what the sum is.
struct Writer {
    client: Child,
    /// Reads all the time: a full pipe would stop the writer.
    reading: std::thread::JoinHandle<String>,
}

impl Writer {
    fn start(house: &BackedUp) -> Self {
        house.value("create table public.noted (n bigint not null); create table public.noise (t text)");
        let line = "insert into public.noted select (random() * 1000)::bigint;
            select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), (select sum(n) from public.noted);
            insert into public.noise select repeat(md5(random()::text), 30) from generate_series(1, 20);";
        let mut client = house.client().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = client.stdin.take().unwrap();
        std::thread::spawn(move || while std::io::Write::write_all(&mut stdin, line.as_bytes()).is_ok() {});
        let mut stdout = client.stdout.take().unwrap();
        let reading = std::thread::spawn(move || {
            let mut text = String::new();
            std::io::Read::read_to_string(&mut stdout, &mut text).unwrap();
            text
        });
        Self { client, reading }
    }

    /// Ends it and returns the notes.
    fn notes(mut self) -> Vec<(String, String)> {
        self.client.kill().unwrap();
        self.client.wait().unwrap();
        let text = self.reading.join().unwrap();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().filter_map(|line| line.split_once('|')).map(|(at, sum)| (at.to_owned(), sum.to_owned())).collect()
    }
}

#[test]
fn a_second_is_restored_as_it_was_while_others_wrote() {
    let house = BackedUp::build();
    let first = Writer::start(&house);
    let made = house.backup();
    assert!(made["until_at"].as_str().unwrap() > made["from_at"].as_str().unwrap(), "{made}");
    assert_eq!(made["has_golden_sums"], true, "{made}");
    std::thread::sleep(Duration::from_millis(1_500));
    let notes = first.notes();
    let last = house.value("select sum(n) from public.noted");
    let shipped = house.house.json(&["backup", "ship"]);
    assert!(shipped["segments"].as_i64().unwrap() > 0, "{shipped}");
    let from_at = made["from_at"].as_str().unwrap();
    let covered: Vec<_> = notes.iter().filter(|(at, _)| at.as_str() > from_at).collect();
    assert!(covered.len() > 20, "{} of {} notes", covered.len(), notes.len());
    for (name, (at, sum)) in [("early", covered[1]), ("late", covered[covered.len() * 3 / 4])] {
        let (data_dir, output) = house.restore(name, &["--at", at, "--master-key", &house.master()]);
        assert!(output.status.success(), "{}", text(&output));
        assert_eq!(value_in(&data_dir, "select sum(n) from public.noted"), *sum, "at {at}");
    }
    let (data_dir, output) = house.restore("latest", &["--master-key", &house.master()]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(value_in(&data_dir, "select sum(n) from public.noted"), last);
    // Keys, lake and audit log of the restored house.
    let open = |arguments: &[&str]| command(&data_dir, arguments).output().unwrap();
    for arguments in [&["audit", "verify"][..], &["export", "verify"], &["key", "status"], &["customer", "list"]] {
        let output = open(arguments);
        assert!(output.status.success(), "granary {}\n{}{}", arguments.join(" "), String::from_utf8_lossy(&output.stdout), text(&output));
    }
}

#[test]
fn a_drill_tries_everything_and_leaves_nothing() {
    let house = BackedUp::build();
    house.backup();
    let file = house.house.dir.path().join("more.json");
    std::fs::write(&file, events(100, 5)).unwrap();
    house.house.ok(&["import", file.to_str().unwrap(), "--customer", "ACME"]);
    house.house.json(&["backup", "ship"]);
    let scratch = house.house.dir.path().join("scratch");
    std::fs::create_dir(&scratch).unwrap();
    let url = house.url();
    let drill = ["drill", "--from", &url, "--scratch", scratch.to_str().unwrap(), "--format", "json"];
    let tried = house.house.json(&drill);
    let tried = tried.as_array().unwrap();
    for check in ["restore", "pages", "sums", "audit", "lake"] {
        let found: Vec<_> = tried.iter().filter(|row| row["check"] == check).collect();
        assert!(!found.is_empty() && found.iter().all(|row| row["outcome"] == "ok"), "{check}: {tried:#?}");
    }
    let events: Vec<_> = tried.iter().filter(|row| row["subject"].as_str().unwrap().starts_with("events of")).collect();
    assert!(events[0]["found"].as_str().unwrap().starts_with("20, "), "{events:?}");
    // At another instant nothing was counted.
    let until = house.house.json(&["backup", "list", "--from", &url, "--format", "json"])[0]["until_at"].as_str().unwrap().to_owned();
    let later = house.house.json(&[&drill[..], &["--at", &until]].concat());
    assert!(later.as_array().unwrap().iter().any(|row| row["check"] == "sums" && row["outcome"] == "skipped"), "{later}");
    // A file of the lake that is gone.
    let lake = house.house.data_dir().join("lake");
    let lost = find(&lake, ".parquet");
    std::fs::remove_file(&lost[0]).unwrap();
    let faults = house.house.refused(&drill);
    assert!(faults.as_array().unwrap().iter().any(|row| row["check"] == "lake" && row["outcome"] == "fault"), "{faults}");
    assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 0);
}

/// Finds files by the end of their names.
pub(crate) fn find(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            found.extend(find(&entry, end));
        } else if entry.to_str().unwrap().ends_with(end) {
            found.push(entry);
        }
    }
    found.sort();
    found
}

#[test]
fn old_backups_go_with_the_log_that_only_they_need() {
    let house = BackedUp::build();
    let made: Vec<Value> = (0..3).map(|_| house.backup()).collect();
    let url = house.url();
    let list = || house.house.json(&["backup", "list", "--from", &url, "--format", "json"]);
    assert_eq!(list().as_array().unwrap().len(), 3);
    let log = find(&house.store(), "").iter().filter(|path| path.to_str().unwrap().contains("/wal/")).count();
    let pruned = house.house.json(&["backup", "prune", "--from", &url, "--keep", "1"]);
    assert_eq!(pruned["bases"], 2, "{pruned}");
    let left = find(&house.store(), "").iter().filter(|path| path.to_str().unwrap().contains("/wal/")).count();
    assert!(left < log, "{left} of {log} segments");
    assert_eq!(list()[0]["base"], made[2]["base"]);
    let (_, output) = house.restore("gone", &["--at", made[0]["until_at"].as_str().unwrap(), "--master-key", &house.master()]);
    let said = text(&output);
    assert!(output.status.code() == Some(3) && said.contains(made[2]["from_at"].as_str().unwrap()), "{said}");
    let (data_dir, output) = house.restore("kept", &["--at", made[2]["from_at"].as_str().unwrap(), "--master-key", &house.master()]);
    assert!(output.status.success(), "{}", text(&output));
    // A restored house begins a series of its own, beside the old one.
    let output = command(&data_dir, &["backup", "--to", &url]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let series = |path: &Path| path.strip_prefix(house.store()).unwrap().components().next().map(|part| part.as_os_str().to_owned());
    let series: std::collections::BTreeSet<_> = find(&house.store(), "/manifest").iter().map(|path| series(path)).collect();
    assert_eq!(series.len(), 2);
}
