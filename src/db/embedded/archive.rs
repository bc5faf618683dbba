//! The write-ahead log on its way out: the server lays every segment that is full into a folder, the spool, as long as a file there
//! says that somebody fetches them.
//!
//! The server does it itself, by a shell command, so that no segment is lost when one of our processes is killed, and none is
//! forgotten while none runs. Archiving is always switched on and usually does nothing, because the server would have to be started
//! anew to switch it.

use std::fs;
use std::path::{Path, PathBuf};

use super::account::Place;
use super::error::EmbeddedError;
use super::launch;

/// What says that segments are fetched, and what for.
const PURPOSE: &str = "purpose";

/// Where segments of the log wait.
#[derive(Debug, Clone)]
pub struct Spool {
    place: Place,
}

impl Spool {
    pub(super) const fn new(place: Place) -> Self {
        Self { place }
    }

    fn folder(&self) -> PathBuf {
        self.place.base.join("wal")
    }

    /// Returns what the segments are fetched for; none while nobody does.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn purpose(&self) -> Result<Option<String>, EmbeddedError> {
        let path = self.folder().join(PURPOSE);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(EmbeddedError::file("read", path)(error)),
        }
    }

    /// Lets the server lay segments here from now on, also after a loss of power.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn open(&self, purpose: &str) -> Result<(), EmbeddedError> {
        let folder = self.folder();
        self.place.make_directory(&folder)?;
        let draft = folder.join(".purpose.new");
        launch::write_private(&draft, purpose)?;
        let path = folder.join(PURPOSE);
        fs::rename(&draft, &path).map_err(EmbeddedError::file("rename", draft))?;
        for folder in [folder.as_path(), &self.place.base] {
            fs::File::open(folder).and_then(|opened| opened.sync_all()).map_err(EmbeddedError::file("flush", folder))?;
        }
        Ok(())
    }

    /// Lists the segments that wait, oldest first, and removes what else the server archives: its notes on backups and timelines.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn segments(&self) -> Result<Vec<(String, PathBuf)>, EmbeddedError> {
        let folder = self.folder();
        let mut found = Vec::new();
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
            Err(error) => return Err(EmbeddedError::file("read", folder)(error)),
        };
        for entry in entries {
            let entry = entry.map_err(EmbeddedError::file("read", &folder))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if is_segment(&name) {
                found.push((name, entry.path()));
            } else if !name.starts_with('.') && name != PURPOSE {
                fs::remove_file(entry.path()).map_err(EmbeddedError::file("remove", entry.path()))?;
            }
        }
        found.sort();
        Ok(found)
    }
}

/// Tells whether a name is that of a whole segment: 24 upper-case hexadecimal digits.
fn is_segment(name: &str) -> bool {
    name.len() == 24 && name.bytes().all(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte))
}

/// The command by which the server archives a segment: done again it does the same, and a segment appears whole or not at all.
pub(super) fn command(place: &Place) -> String {
    let spool = shell_quoted(&place.base.join("wal"));
    format!(
        "test ! -e {spool}/{PURPOSE} || {{ cp -- \"%p\" {spool}/.%f && sync {spool}/.%f && mv -f -- {spool}/.%f {spool}/%f && sync {spool}; }}"
    )
}

/// Quotes a path for the shell, behind the server, to which a per cent sign says something.
pub(super) fn shell_quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''").replace('%', "%%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reaches_the_shell_as_it_is() {
        assert_eq!(shell_quoted(Path::new("/srv/it's 100%")), r"'/srv/it'\''s 100%%'");
        assert!(is_segment("00000001000000000000000A") && !is_segment("00000001000000000000000A.00000028.backup"));
        assert!(!is_segment("00000002.history") && !is_segment("00000001000000000000000a"));
    }
}
