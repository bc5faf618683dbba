//! Runs the binary as a person would.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

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

    /// Runs a query and returns its rows.
    pub(crate) fn query(&self, sql: &str) -> Value {
        self.json(&["query", sql, "--format", "json"])
    }
}

/// The binary with its data directory.
pub(crate) fn command(data_dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_granary"));
    command.args(arguments).arg("--data-dir").arg(data_dir).env_remove("GRANARY_DATABASE_URL").env("GRANARY_LOG", "warn");
    command
}

pub(crate) const SMALL_DEMO: &[&str] = &["demo", "--once", "--customers", "4", "--months", "3", "--until", "2025-11-10"];

/// The shared small demo and the summary that it printed. Nobody changes it.
pub(crate) static DEMO: LazyLock<(House, Value)> = LazyLock::new(|| {
    let house = House::empty();
    let summary = house.json(SMALL_DEMO);
    (house, summary)
});
