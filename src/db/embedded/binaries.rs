//! Where the machine keeps its Postgres.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use granary_foundation::config;

use super::account::Account;
use super::error::EmbeddedError;

const OLDEST: u32 = 15;

/// Names the directory of binaries to use, whatever else the machine has.
const VARIABLE: &str = "GRANARY_POSTGRES_BIN";

/// A directory of Postgres binaries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binaries {
    directory: PathBuf,
    major: u32,
}

impl Binaries {
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Finds a tool of the same version: beside the others, or where else one is installed.
    pub(super) fn tool(&self, name: &str) -> Option<PathBuf> {
        let is_same = |path: &PathBuf| {
            let output = Command::new(path).arg("--version").output();
            output.is_ok_and(|output| major(&String::from_utf8_lossy(&output.stdout)) == Some(self.major))
        };
        let named = config::environment(VARIABLE).map(PathBuf::from);
        let elsewhere = named.map_or_else(candidates, |directory| vec![directory]);
        std::iter::once(self.program(name)).chain(elsewhere.into_iter().map(|directory| directory.join(name))).find(is_same)
    }

    /// Finds binaries: those that `GRANARY_POSTGRES_BIN` names and no others; without it those in `PATH` first, then the newest
    /// that Debian's packages, Postgres' own or Homebrew's installed. A data directory that exists decides the version.
    pub(super) fn find(data: &Path, account: Option<&Account>) -> Result<Self, EmbeddedError> {
        Self::find_among(config::environment(VARIABLE).map(PathBuf::from), data, account)
    }

    /// Finds binaries of one version, for a backup of it.
    pub(super) fn of_version(major: u32, account: Option<&Account>) -> Result<Self, EmbeddedError> {
        let found = Self::installed(config::environment(VARIABLE).map(PathBuf::from), account)?;
        match found.iter().find(|binaries| binaries.major == major) {
            Some(binaries) => Ok(binaries.clone()),
            None if found.is_empty() => Err(EmbeddedError::NoBinaries),
            None => Err(EmbeddedError::OtherBackup { wanted: major, found: Self::versions(&found) }),
        }
    }

    fn versions(found: &[Self]) -> String {
        found.iter().map(|binaries| binaries.major.to_string()).collect::<Vec<_>>().join(", ")
    }

    fn installed(named: Option<PathBuf>, account: Option<&Account>) -> Result<Vec<Self>, EmbeddedError> {
        match named {
            Some(directory) => match Self::inspect(directory.clone(), account) {
                Some(binaries) => Ok(vec![binaries]),
                None => Err(EmbeddedError::NamedBinaries(directory)),
            },
            None => Ok(candidates().into_iter().filter_map(|directory| Self::inspect(directory, account)).collect()),
        }
    }

    fn find_among(named: Option<PathBuf>, data: &Path, account: Option<&Account>) -> Result<Self, EmbeddedError> {
        let found = Self::installed(named, account)?;
        let Ok(wanted) = fs::read_to_string(data.join("PG_VERSION")) else {
            return found.into_iter().next().ok_or(EmbeddedError::NoBinaries);
        };
        let wanted = wanted.trim();
        match found.iter().find(|binaries| binaries.major.to_string() == wanted) {
            Some(binaries) => Ok(binaries.clone()),
            None if found.is_empty() => Err(EmbeddedError::NoBinaries),
            None => Err(EmbeddedError::OtherVersion { data: data.to_owned(), wanted: wanted.to_owned(), found: Self::versions(&found) }),
        }
    }

    fn inspect(directory: PathBuf, account: Option<&Account>) -> Option<Self> {
        let is_complete = ["postgres", "initdb", "pg_ctl"].iter().all(|name| directory.join(name).is_file());
        if !is_complete || account.is_some_and(|account| !account.can_reach(&directory)) {
            return None;
        }
        let output = Command::new(directory.join("postgres")).arg("--version").output().ok()?;
        let major = major(&String::from_utf8_lossy(&output.stdout))?;
        (major >= OLDEST).then_some(Self { directory, major })
    }
}

/// Returns the version of Postgres that a new data directory would get.
///
/// # Errors
/// When the machine has none.
pub fn available_version() -> Result<u32, EmbeddedError> {
    Binaries::find(Path::new("/nonexistent"), None).map(|binaries| binaries.major)
}

/// Finds the directory of a client program such as `pg_dump`: the one that `GRANARY_POSTGRES_BIN` names, or the newest that there is,
/// because a newer one understands older servers and dumps.
pub(crate) fn client_programs(program: &str) -> Option<PathBuf> {
    let named = config::environment(VARIABLE).map(PathBuf::from);
    let candidates = named.map_or_else(candidates, |directory| vec![directory]);
    let version = |directory: &PathBuf| {
        let output = Command::new(directory.join(program)).arg("--version").output().ok()?;
        major(&String::from_utf8_lossy(&output.stdout))
    };
    let found = candidates.into_iter().filter(|directory| directory.join(program).is_file());
    found.filter_map(|directory| Some((version(&directory)?, directory))).max_by_key(|(major, _)| *major).map(|(_, directory)| directory)
}

/// Reads `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
fn major(version: &str) -> Option<u32> {
    let number = version.split_whitespace().nth(2)?;
    number.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
}

fn candidates() -> Vec<PathBuf> {
    let path = config::environment("PATH").unwrap_or_default();
    let mut candidates: Vec<PathBuf> = std::env::split_paths(&path).filter(|directory| directory.is_absolute()).collect();
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin")))
        })
        .collect();
    versions.sort_by(|one, other| other.cmp(one));
    candidates.extend(versions.into_iter().map(|(_, directory)| directory));
    let others = ["/usr/local/pgsql/bin", "/usr/pgsql-18/bin", "/usr/pgsql-17/bin", "/usr/pgsql-16/bin", "/usr/pgsql-15/bin"];
    candidates.extend(others.map(PathBuf::from));
    candidates.extend([18, 17, 16, 15].map(|major| PathBuf::from(format!("/opt/homebrew/opt/postgresql@{major}/bin"))));
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read() {
        assert_eq!(major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(major("sh: not found"), None);
    }

    #[test]
    fn a_named_directory_is_the_only_one_that_is_looked_at() {
        let nowhere = Path::new("/nonexistent");
        let error = Binaries::find_among(Some(nowhere.to_owned()), nowhere, None).unwrap_err().to_string();
        assert!(error.contains("/nonexistent") && error.contains(VARIABLE), "{error}");
    }
}
