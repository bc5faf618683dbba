//! As whom the server runs, and where that account may go.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use super::error::EmbeddedError;

/// A socket's path has at most 107 bytes; this is what follows the directory's.
const SOCKET_NAME: &str = "/.s.PGSQL.5432";

/// Another account than ours, because Postgres refuses to run as root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    name: String,
    uid: u32,
    gid: u32,
}

impl Account {
    /// Finds the account to run as: none when we are not root ourselves. `ours` is a file that this process has made.
    pub(super) fn choose(ours: &Path) -> Result<Option<Self>, EmbeddedError> {
        let metadata = fs::metadata(ours).map_err(EmbeddedError::file("read", ours))?;
        if metadata.uid() != 0 {
            return Ok(None);
        }
        let passwd = fs::read_to_string("/etc/passwd").map_err(EmbeddedError::file("read", "/etc/passwd"))?;
        let account = Self::find(&passwd, "postgres").or_else(|| Self::find(&passwd, "nobody"));
        account.map(Some).ok_or(EmbeddedError::NoAccount)
    }

    fn find(passwd: &str, name: &str) -> Option<Self> {
        let fields: Vec<&str> =
            passwd.lines().map(|line| line.split(':').collect()).find(|fields: &Vec<&str>| fields.first() == Some(&name))?;
        Some(Self { name: name.to_owned(), uid: fields.get(2)?.parse().ok()?, gid: fields.get(3)?.parse().ok()? })
    }

    /// Tells whether the account can go through every directory down to `path`.
    pub(super) fn can_reach(&self, path: &Path) -> bool {
        path.ancestors().all(|directory| {
            directory.as_os_str().is_empty()
                || fs::metadata(directory).is_ok_and(|found| {
                    let mode = found.mode();
                    mode & 0o001 != 0 || (found.uid() == self.uid && mode & 0o100 != 0) || (found.gid() == self.gid && mode & 0o010 != 0)
                })
        })
    }
}

/// Where the server lies and as whom it runs.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// Holds `data`, `run` and `log`; belongs to the account.
    pub(super) base: PathBuf,
    pub(super) socket_dir: PathBuf,
    pub(super) account: Option<Account>,
}

impl Place {
    pub(super) fn choose(data_dir: &Path, account: Option<Account>) -> Self {
        let inside = data_dir.join("postgres");
        let digest = hex::encode(&Sha256::digest(data_dir.as_os_str().as_encoded_bytes())[..8]);
        let base = match &account {
            Some(account) if !account.can_reach(data_dir) => Path::new("/var/lib/granary").join(&digest),
            _ => inside,
        };
        let run = base.join("run");
        let is_short = run.as_os_str().len() + SOCKET_NAME.len() <= 100;
        let socket_dir = if is_short { run } else { PathBuf::from(format!("/tmp/granary-{digest}")) };
        Self { base, socket_dir, account }
    }

    pub(super) fn data(&self) -> PathBuf {
        self.base.join("data")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.base.join("log")
    }

    /// Makes a directory that only the account may enter.
    pub(super) fn make_directory(&self, path: &Path) -> Result<(), EmbeddedError> {
        use std::os::unix::fs::PermissionsExt;
        fs::create_dir_all(path).map_err(EmbeddedError::file("make", path))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(EmbeddedError::file("set the rights of", path))?;
        self.hand_over(path)
    }

    /// Gives a file or directory to the account.
    pub(super) fn hand_over(&self, path: &Path) -> Result<(), EmbeddedError> {
        match &self.account {
            Some(account) => chown(path, Some(account.uid), Some(account.gid)).map_err(EmbeddedError::file("hand over", path)),
            None => Ok(()),
        }
    }

    /// Prepares a command that runs as the account, in a process group of its own so that Ctrl-C is ours to pass on, and
    /// without any of the caller's `PG…` variables.
    pub(super) fn command(&self, program: &Path) -> Command {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(program);
        command.current_dir("/").process_group(0);
        for variable in ["PGDATA", "PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGOPTIONS", "PGSERVICE", "PGTZ", "PGDATABASE"] {
            command.env_remove(variable);
        }
        command.env("LC_ALL", "C.UTF-8");
        if let Some(account) = &self.account {
            command.uid(account.uid).gid(account.gid).env("USER", &account.name);
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_data_directory_gets_a_short_socket() {
        let deep = PathBuf::from(format!("/srv/{}", "granary/".repeat(20)));
        let place = Place::choose(&deep, None);
        assert!(place.socket_dir.starts_with("/tmp") && place.socket_dir.as_os_str().len() < 90, "{place:?}");
        assert!(place.data().starts_with(deep), "{place:?}");
    }

    #[test]
    fn an_account_is_found_by_its_name() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65533:nobody:/:/usr/sbin/nologin\n";
        assert_eq!(Account::find(passwd, "nobody"), Some(Account { name: "nobody".to_owned(), uid: 65534, gid: 65533 }));
        assert_eq!(Account::find(passwd, "postgres"), None);
    }
}
