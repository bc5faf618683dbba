//! Dumps, made and read by `pg_dump` and `pg_restore` of the machine's Postgres.
//!
//! A dump is a program for the server: whoever restores it the usual way runs what it says as the owner. Here it is only ever
//! decoded into rows; no statement of it reaches a server.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use bytes::Bytes;
use futures::SinkExt;
use granary_foundation::config;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

use crate::database::Database;
use crate::embedded::client_programs;
use crate::error::DbError;
use crate::owner::OwnerConnection;
use crate::settings::Identifier;

/// How much of what a program complains about is kept.
const COMPLAINT: u64 = 4_096;
/// How much of a table is sent at a time.
const CHUNK: usize = 1 << 16;

impl Database {
    /// Writes one schema, data and all, in `pg_dump`'s own format; the caller keeps others from changing its tables.
    ///
    /// # Errors
    /// When the machine has no `pg_dump` that knows the server, or it fails; the file is of no use then.
    pub async fn dump_schema(&self, schema: &Identifier, out: File) -> Result<(), DbError> {
        let mut command = client("pg_dump")?;
        command.args(["--format=custom", "--no-owner", "--no-privileges", "--no-password", "--lock-wait-timeout=30s"]);
        command.arg(format!("--schema={}", schema.as_str())).stdin(Stdio::null()).stdout(out).stderr(Stdio::piped());
        connect(&mut command, self.owner_config());
        let mut child = command.kill_on_drop(true).spawn().map_err(|error| failed("pg_dump", error))?;
        let complaint = listen(child.stderr.take());
        end("pg_dump", child, complaint).await
    }
}

/// A dump of `pg_dump`, in its custom, directory or tar format.
pub struct Dump {
    path: PathBuf,
    tables: BTreeMap<String, BTreeSet<String>>,
}

impl fmt::Debug for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dump").field("path", &self.path).field("schemas", &self.tables.len()).finish()
    }
}

impl Dump {
    /// Opens a dump and reads its list of contents.
    ///
    /// # Errors
    /// When it is no dump, or of a newer Postgres than the machine's programs.
    pub async fn open(path: &Path) -> Result<Self, DbError> {
        let mut reader = Reader::of(client("pg_restore")?.arg("--list").arg(path))?;
        let mut tables: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut line = Vec::new();
        while reader.next_line(&mut line).await? {
            // `3415; 0 16437 TABLE DATA t_0190… machines granary`
            let text = String::from_utf8_lossy(&line);
            let words: Vec<&str> = text.split_whitespace().collect();
            if let [number, _, _, "TABLE", "DATA", schema, table, _] = words[..]
                && number.ends_with(';')
                && !number.starts_with(';')
            {
                tables.entry(schema.to_owned()).or_default().insert(table.to_owned());
            }
        }
        reader.finish().await?;
        Ok(Self { path: path.to_owned(), tables })
    }

    /// Lists the schemas whose rows it holds.
    pub fn schemas(&self) -> impl Iterator<Item = &str> {
        self.tables.keys().map(String::as_str)
    }

    /// Lists the tables of a schema whose rows it holds.
    pub fn tables(&self, schema: &str) -> impl Iterator<Item = &str> {
        self.tables.get(schema).into_iter().flatten().map(String::as_str)
    }

    /// Decodes the rows of a schema, or of one of its tables.
    ///
    /// # Errors
    /// When `pg_restore` cannot be run.
    pub fn rows(&self, schema: &Identifier, table: Option<&str>) -> Result<DumpRows, DbError> {
        let mut command = client("pg_restore")?;
        command.args(["--data-only", "--file=-"]).arg(format!("--schema={}", schema.as_str()));
        command.args(table.map(|table| format!("--table={table}"))).arg(&self.path);
        Ok(DumpRows { reader: Reader::of(&mut command)?, line: Vec::new(), is_inside: false })
    }
}

/// The rows of a dump, table by table, each row a line as `copy` writes it.
#[derive(Debug)]
pub struct DumpRows {
    reader: Reader,
    line: Vec<u8>,
    is_inside: bool,
}

/// The beginning of a table's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRows {
    pub schema: String,
    pub table: String,
    pub columns: Vec<String>,
}

impl DumpRows {
    /// Goes to the next table; none at the end of the dump, which has been read to its end without a fault then.
    ///
    /// # Errors
    /// When the dump is damaged.
    pub async fn next_table(&mut self) -> Result<Option<TableRows>, DbError> {
        while self.is_inside {
            self.next_row().await?;
        }
        while self.reader.next_line(&mut self.line).await? {
            if let Some(table) = std::str::from_utf8(&self.line).ok().and_then(head_of) {
                self.is_inside = true;
                return Ok(Some(table));
            }
        }
        self.reader.finish().await?;
        Ok(None)
    }

    /// Returns the next row of the table, with its line feed; none after the last.
    ///
    /// # Errors
    /// When the dump ends in the middle of a table.
    pub async fn next_row(&mut self) -> Result<Option<&[u8]>, DbError> {
        if !self.is_inside {
            return Ok(None);
        }
        if !self.reader.next_line(&mut self.line).await? {
            self.reader.finish().await?;
            return Err(failed("pg_restore", "the dump ends in the middle of a table"));
        }
        if self.line == b"\\.\n" {
            self.is_inside = false;
            return Ok(None);
        }
        Ok(Some(&self.line))
    }
}

impl OwnerConnection {
    /// Sends the rows of a table of a dump into a `copy … from stdin`; returns how many arrived.
    ///
    /// # Errors
    /// When the dump is damaged, or Postgres refuses.
    pub async fn load(&self, into: &str, rows: &mut DumpRows) -> Result<u64, DbError> {
        let mut sink = std::pin::pin!(self.client().copy_in::<_, Bytes>(into).await?);
        let mut chunk = Vec::with_capacity(CHUNK);
        while let Some(row) = rows.next_row().await? {
            chunk.extend_from_slice(row);
            if chunk.len() >= CHUNK {
                sink.feed(Bytes::from(std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK)))).await?;
            }
        }
        sink.feed(Bytes::from(chunk)).await?;
        Ok(sink.finish().await?)
    }
}

/// Reads `COPY t_0190….machines (id, name) FROM stdin;`. Names that need quotes are none of ours.
fn head_of(line: &str) -> Option<TableRows> {
    let (place, columns) = line.trim_end().strip_prefix("COPY ")?.strip_suffix(") FROM stdin;")?.split_once(" (")?;
    let (schema, table) = place.split_once('.')?;
    let plain = |name: &str| Identifier::new(name.trim_matches('"')).ok().map(|name| name.as_str().to_owned());
    let columns = columns.split(", ").map(plain).collect::<Option<_>>()?;
    Some(TableRows { schema: plain(schema)?, table: plain(table)?, columns })
}

/// What a program says, line by line.
struct Reader {
    child: Option<Child>,
    lines: BufReader<ChildStdout>,
    complaint: Option<JoinHandle<String>>,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

impl Reader {
    fn of(command: &mut Command) -> Result<Self, DbError> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| failed("pg_restore", error))?;
        let complaint = listen(child.stderr.take());
        let said = child.stdout.take().ok_or_else(|| failed("pg_restore", "it says nothing"))?;
        Ok(Self { child: Some(child), lines: BufReader::with_capacity(1 << 16, said), complaint: Some(complaint) })
    }

    async fn next_line(&mut self, line: &mut Vec<u8>) -> Result<bool, DbError> {
        line.clear();
        Ok(self.lines.read_until(b'\n', line).await.map_err(|error| failed("pg_restore", error))? > 0)
    }

    /// The program must have ended well.
    async fn finish(&mut self) -> Result<(), DbError> {
        match (self.child.take(), self.complaint.take()) {
            (Some(child), Some(complaint)) => end("pg_restore", child, complaint).await,
            _ => Ok(()),
        }
    }
}

pub(crate) fn failed(program: &'static str, message: impl fmt::Display) -> DbError {
    DbError::Program { program, message: message.to_string() }
}

/// Keeps what a program complains about.
pub(crate) fn listen(stderr: Option<ChildStderr>) -> JoinHandle<String> {
    tokio::spawn(async move {
        let mut text = Vec::new();
        if let Some(mut stderr) = stderr {
            let mut first = (&mut stderr).take(COMPLAINT);
            if first.read_to_end(&mut text).await.is_ok() {
                // The rest is heard, so that the program can go on, and forgotten.
                tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await.ok();
            }
        }
        String::from_utf8_lossy(&text).trim().to_owned()
    })
}

pub(crate) async fn end(program: &'static str, mut child: Child, complaint: JoinHandle<String>) -> Result<(), DbError> {
    let status = child.wait().await.map_err(|error| failed(program, error))?;
    let complaint = complaint.await.unwrap_or_default();
    if status.success() { Ok(()) } else { Err(failed(program, format_args!("{status}: {complaint}"))) }
}

/// A client program of the machine, in a plain environment.
pub(crate) fn client(program: &'static str) -> Result<Command, DbError> {
    let directory = client_programs(program).ok_or(DbError::NoProgram(program))?;
    let mut command = Command::new(directory.join(program));
    command.env_clear().env("PATH", config::environment("PATH").unwrap_or_default()).env("LC_ALL", "C").env("PGCLIENTENCODING", "UTF8");
    Ok(command)
}

/// Tells a program how the owner connects; what is secret stands in its environment, where others do not see it.
pub(crate) fn connect(command: &mut Command, config: &Config) {
    match config.get_hosts().first() {
        Some(Host::Tcp(host)) => command.env("PGHOST", host),
        Some(Host::Unix(path)) => command.env("PGHOST", path),
        None => command,
    };
    if let Some(port) = config.get_ports().first() {
        command.env("PGPORT", port.to_string());
    }
    if let Some(user) = config.get_user() {
        command.env("PGUSER", user).env("PGDATABASE", user);
    }
    if let Some(database) = config.get_dbname() {
        command.env("PGDATABASE", database);
    }
    if let Some(password) = config.get_password() {
        command.env("PGPASSWORD", String::from_utf8_lossy(password).as_ref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_a_table_is_read_and_nothing_else_passes_for_one() {
        let head = head_of("COPY t_1.heartbeats (source, \"position\") FROM stdin;\n").unwrap();
        assert_eq!((head.schema.as_str(), head.table.as_str(), head.columns.len()), ("t_1", "heartbeats", 2));
        for line in [
            "COPY t_1.machines (id) FROM '/etc/passwd';",
            "COPY t_1.machines (id) FROM PROGRAM 'rm' (x) FROM stdin;",
            "COPY t_1.\"a\"\"; drop\" (id) FROM stdin;",
            "copy t_1.machines (id) from stdin;",
            "COPY machines (id) FROM stdin;",
        ] {
            assert_eq!(head_of(line), None, "{line}");
        }
    }
}
