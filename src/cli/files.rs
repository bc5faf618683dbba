//! Files that a command names: what is said when one cannot be used.

use std::io::{self, ErrorKind, Read};
use std::path::Path;

use granary_types::Classify;

/// What failed, on which path, why, and what helps.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {path}: {cause}; {remedy}")]
pub(crate) struct FileTrouble {
    doing: &'static str,
    path: String,
    cause: String,
    remedy: &'static str,
}

impl Classify for FileTrouble {
    fn kind(&self) -> granary_types::ErrorKind {
        granary_types::ErrorKind::Unavailable
    }

    fn code(&self) -> &'static str {
        "file_unusable"
    }
}

/// Says which path an I/O error is about.
pub(crate) trait Named<T> {
    /// Turns the error into one that names what was being done, and to what.
    fn named(self, doing: &'static str, path: impl AsRef<Path>) -> Result<T, FileTrouble>;
}

impl<T> Named<T> for io::Result<T> {
    fn named(self, doing: &'static str, path: impl AsRef<Path>) -> Result<T, FileTrouble> {
        self.map_err(|error| FileTrouble {
            doing,
            path: path.as_ref().display().to_string(),
            cause: match error.kind() {
                ErrorKind::AlreadyExists => "a file of that name is there".to_owned(),
                ErrorKind::NotFound => "it, or a folder above it, is not there".to_owned(),
                ErrorKind::PermissionDenied | ErrorKind::NotADirectory | ErrorKind::IsADirectory => error.kind().to_string(),
                _ => error.to_string(),
            },
            remedy: remedy(error.kind()),
        })
    }
}

/// Reads a file that a command names; `-` is standard input.
pub(crate) fn content_of(file: &Path) -> Result<Vec<u8>, FileTrouble> {
    if file != Path::new("-") {
        return std::fs::read(file).named("read", file);
    }
    let mut content = Vec::new();
    io::stdin().read_to_end(&mut content).named("read", "standard input")?;
    Ok(content)
}

const fn remedy(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => "choose a place that this account may use, or change its rights",
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => "name a folder, or move the file that stands there out of the way",
        ErrorKind::IsADirectory => "name a file, not a folder",
        ErrorKind::InvalidFilename => "choose a shorter path",
        ErrorKind::StorageFull => "make room on the disk",
        ErrorKind::NotFound => "see whether the path is right and its file system takes files",
        _ => "see whether the path is right",
    }
}

/// Quotes a text for a POSIX shell where it needs it, so that a printed command can be copied.
pub(crate) fn shell_quoted(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:=@%+,".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_quoted_for_the_shell_when_it_needs_it() {
        assert_eq!(shell_quoted("/srv/granary-1"), "/srv/granary-1");
        assert_eq!(shell_quoted("my data"), "'my data'");
        assert_eq!(shell_quoted("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(shell_quoted(""), "''");
    }

    #[test]
    fn a_file_where_a_folder_should_be_is_named_with_a_remedy() {
        let said = std::fs::create_dir_all("/dev/null/data").named("make", "/dev/null/data").unwrap_err().to_string();
        assert_eq!(said, "cannot make /dev/null/data: not a directory; name a folder, or move the file that stands there out of the way");
        let long = format!("/tmp/{}", "a".repeat(300));
        let said = std::fs::read(&long).named("read", &long).unwrap_err().to_string();
        assert!(said.contains(&long) && said.ends_with("choose a shorter path"), "{said}");
    }
}
