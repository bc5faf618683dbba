//! A full disk, told as what it is: which disk, and what lies on it.

use std::path::{Path, PathBuf};

use granary_foundation::Config;
use granary_types::{Classify, ErrorKind};

use super::Failure;

/// A command that found no room left.
#[derive(Debug, thiserror::Error)]
#[error("the disk is full: {place}{} has no room left; make room and run the command again, it goes on where it was", on(.mount))]
pub(crate) struct DiskFull {
    /// What could not grow.
    place: String,
    /// Where its disk is mounted, as far as the machine tells.
    mount: Option<PathBuf>,
    #[source]
    cause: Failure,
}

fn on(mount: &Option<PathBuf>) -> String {
    mount.as_ref().map(|mount| format!(", on the disk mounted at {},", mount.display())).unwrap_or_default()
}

impl Classify for DiskFull {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Unavailable
    }

    fn code(&self) -> &'static str {
        "disk_full"
    }
}

/// Says so when a failure comes from a full disk; every other failure stays as it is. `postgres` is where the embedded server's
/// files lie, none for another server; `has_complained` when that server said in its log that it is out of room.
pub(crate) fn explain(failure: Failure, config: &Config, postgres: Option<&Path>, has_complained: bool) -> Failure {
    let text = chain(failure.as_ref());
    // Failures come as text out of jobs, exports and Postgres' log: the words decide. All of them speak the C locale.
    let is_full = text.contains("No space left on device") || text.contains("SQLSTATE 53100");
    let (place, folder) = if text.contains("object store") && is_full {
        let folder = config.lake.url.as_ref().map_or_else(|| config.data_dir.join("lake"), |url| url.trim_start_matches("file://").into());
        (format!("the lake in {}", folder.display()), Some(folder))
    } else if (is_full && text.contains("SQLSTATE")) || has_complained {
        match postgres {
            Some(base) => (format!("Postgres in {}", base.display()), Some(base.to_owned())),
            None => ("the database server".to_owned(), None),
        }
    } else {
        // A file's own error names the file.
        return failure;
    };
    Box::new(DiskFull { place, mount: folder.as_deref().and_then(mount_of), cause: failure })
}

fn chain(failure: &(dyn std::error::Error + 'static)) -> String {
    let mut text = failure.to_string();
    let mut next = failure.source();
    while let Some(error) = next {
        text.push('\n');
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}

/// Finds the mount that a path lies on: the longest that it begins with.
fn mount_of(path: &Path) -> Option<PathBuf> {
    let path = path.canonicalize().ok()?;
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    let mounts = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(|mount| PathBuf::from(mount.replace("\\040", " ")));
    mounts.filter(|mount| path.starts_with(mount)).max_by_key(|mount| mount.as_os_str().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(text: &str, postgres: Option<&str>, has_complained: bool) -> String {
        explain(text.into(), &Config::default(), postgres.map(Path::new), has_complained).to_string()
    }

    #[test]
    fn a_full_disk_is_told_with_what_lies_on_it() {
        let full = "could not extend file: No space left on device (SQLSTATE 53100)";
        assert!(explained(full, Some("/proc/self"), false).contains("Postgres in /proc/self, on the disk mounted at /proc,"));
        assert!(explained(full, None, false).contains("the database server"));
        assert!(explained("the object store failed: No space left on device", Some("/x"), false).contains("the lake in .granary/lake"));
        assert!(explained("connection closed", Some("/x"), true).contains("Postgres in /x has no room left"));
    }

    #[test]
    fn every_other_failure_stays_as_it_is() {
        for text in ["connection closed", "cannot write a.pdf: No space left on device (os error 28)"] {
            assert_eq!(explained(text, Some("/x"), false), text);
        }
    }
}
