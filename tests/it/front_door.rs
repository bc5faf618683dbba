//! Runs the binary as a person would.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::Value;

/// A data directory with a house in it; removed when it goes out of scope.
#[derive(Debug)]
pub(crate) struct House {
    pub(crate) dir: tempfile::TempDir,
}

impl House {
    pub(crate) fn empty() -> Self {
        // Postgres runs as another user when the tests run as root, and must be able to enter.
        let dir = tempfile::Builder::new().prefix("granary-it-").tempdir().unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(dir.path(), mode).unwrap();
        Self { dir }
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Runs a command and returns what it printed, whatever its outcome.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        command(&self.data_dir(), arguments).output().unwrap()
    }

    /// Runs a command that must succeed and returns its standard output.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "granary {}\n{}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that must succeed and parses the JSON that it prints.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let text = self.ok(arguments);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
    }

    /// Runs a command that must fail and parses the JSON that it prints all the same.
    pub(crate) fn refused(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        assert!(!output.status.success(), "granary {} should fail", arguments.join(" "));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Ends the embedded server as a power cut would, if there is one yet.
    pub(crate) fn kill_postgres(&self) {
        let file = std::fs::read_to_string(self.data_dir().join("postgres/data/postmaster.pid")).unwrap_or_default();
        if let Some(pid) = file.lines().next() {
            // It may have ended by itself a moment ago.
            let _ = Command::new("kill").args(["-KILL", pid]).stderr(Stdio::null()).status();
        }
    }

    /// Does what only the owner of the database can do, as its operator would: on the embedded server's socket.
    pub(crate) fn tamper(&self, sql: &str) {
        let worker = command(&self.data_dir(), &["worker"]).stderr(Stdio::null()).spawn().unwrap();
        let postgres = self.data_dir().join("postgres/data/postmaster.pid");
        let deadline = Instant::now() + Duration::from_secs(60);
        while !std::fs::read_to_string(&postgres).is_ok_and(|text| text.contains("ready")) {
            assert!(Instant::now() < deadline, "the worker's Postgres did not come up");
            std::thread::sleep(Duration::from_millis(50));
        }
        let password = std::fs::read_to_string(self.data_dir().join("postgres.password")).unwrap();
        let mut psql = Command::new("psql");
        psql.arg("--host").arg(self.data_dir().join("postgres/run")).args(["--username", "granary", "--dbname", "granary"]);
        psql.args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--command", sql]).env("PGPASSWORD", password.trim());
        let output = psql.output().unwrap();
        assert!(output.status.success(), "{sql}\n{}", String::from_utf8_lossy(&output.stderr));
        interrupt(worker);
    }

    /// Runs a query and returns its rows.
    pub(crate) fn query(&self, sql: &str) -> Value {
        self.json(&["query", sql, "--format", "json", "--reason", "a test asks"])
    }
}

/// Presses Ctrl-C and waits for the end.
pub(crate) fn interrupt(mut child: Child) -> ExitStatus {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    child.wait().unwrap()
}

/// The binary with its data directory.
pub(crate) fn command(data_dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_granary"));
    command.args(arguments).arg("--data-dir").arg(data_dir).env_remove("GRANARY_DATABASE_URL").env("GRANARY_LOG", "warn");
    command
}

pub(crate) const SMALL_DEMO: &[&str] = &["demo", "--once", "--customers", "4", "--months", "3", "--until", "2025-11-10"];

pub(crate) const TINY_DEMO: &[&str] = &["demo", "--once", "--customers", "1", "--months", "2", "--until", "2025-11-10"];

/// The summary of a tiny demo whose house nobody else has seen.
pub(crate) static TINY: LazyLock<Value> = LazyLock::new(|| summary(&House::empty(), TINY_DEMO));

/// The shared small demo and the summary that it printed. Nobody changes it.
pub(crate) static DEMO: LazyLock<(House, Value)> = LazyLock::new(|| {
    remove_abandoned();
    let house = House::empty();
    let summary = summary(&house, SMALL_DEMO);
    (house, summary)
});

/// Prepares a demo and returns its summary without the paths of this house.
pub(crate) fn summary(house: &House, demo: &[&str]) -> Value {
    let mut summary = house.json(demo);
    summary.as_object_mut().unwrap().remove("look_at");
    summary
}

/// A static is never dropped: what an earlier run left behind goes now.
fn remove_abandoned() {
    for entry in std::fs::read_dir(std::env::temp_dir()).unwrap().flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with("granary-it-");
        let age = entry.metadata().and_then(|metadata| metadata.modified()).ok().and_then(|at| at.elapsed().ok());
        if is_ours && age.is_some_and(|age| age.as_secs() > 3_600) {
            // Somebody else may be removing it as well.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
