//! A server made from a backup: unpacked, brought to an instant by its log, and given to the data directory.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Output, Stdio};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use granary_foundation::Secret;
use tokio_postgres::{Client, Config, NoTls};

use super::account::{Account, Place};
use super::archive::shell_quoted;
use super::binaries::Binaries;
use super::error::EmbeddedError;
use super::launch::{self, OWNER};
use super::lease::Turn;
use super::server::{DATABASE, own_file, set_aside};
use crate::store::embedded as store;

/// How long the server may take to stop, with the checkpoint that it makes.
const STOP_PATIENCE: Duration = Duration::from_secs(600);

/// Where the server that was backed up came from, which decides what a restored one needs.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The first superuser: the one who can always enter.
    pub superuser: String,
    pub database: String,
    /// It was our own, so that its configuration is ours.
    pub is_embedded: bool,
}

/// A restoration under way; while it lasts nobody starts a server in the data directory.
#[derive(Debug)]
pub struct Restoration {
    data_dir: PathBuf,
    place: Place,
    binaries: Binaries,
    _turn: Turn,
}

impl Restoration {
    /// Finds binaries of a version and a place for the files; what an earlier restoration into it left goes.
    ///
    /// # Errors
    /// When the machine has other versions only, or the place cannot be used.
    pub fn begin(data_dir: &Path, major: u32) -> Result<Self, EmbeddedError> {
        let data_dir = fs::canonicalize(data_dir).map_err(EmbeddedError::file("find", data_dir))?;
        let turn = Turn::wait(&data_dir)?;
        let place = Place::choose(&data_dir, Account::choose(&own_file(&data_dir)?)?);
        let binaries = Binaries::of_version(major, place.account.as_ref())?;
        let restoration = Self { place, binaries, data_dir, _turn: turn };
        restoration.clear()?;
        Ok(restoration)
    }

    fn clear(&self) -> Result<(), EmbeddedError> {
        let place = &self.place;
        if place.data().join("PG_VERSION").exists() && !self.mark().exists() {
            set_aside(place, &self.binaries)?;
        }
        launch::stop(place, &self.binaries, STOP_PATIENCE)?;
        if let Some(parent) = place.base.parent() {
            fs::create_dir_all(parent).map_err(EmbeddedError::file("make", parent))?;
        }
        place.make_directory(&place.base)?;
        place.make_directory(&place.socket_dir)?;
        // A cluster without it was no restoration's, and is set aside rather than removed.
        fs::write(self.mark(), b"").map_err(EmbeddedError::file("write", self.mark()))?;
        for folder in [place.data(), self.log_folder()] {
            if folder.exists() {
                fs::remove_dir_all(&folder).map_err(EmbeddedError::file("remove", &folder))?;
            }
            place.make_directory(&folder)?;
        }
        Ok(())
    }

    fn mark(&self) -> PathBuf {
        self.place.base.join("restoring")
    }

    fn log_folder(&self) -> PathBuf {
        self.place.base.join("restored-wal")
    }

    /// Returns where the server's files lie.
    pub fn base(&self) -> &Path {
        &self.place.base
    }

    /// Begins to unpack the tar of a base backup.
    ///
    /// # Errors
    /// When there is no `tar`.
    pub fn unpack(&self) -> Result<Unpacking, EmbeddedError> {
        let mut command = self.place.command(Path::new("tar"));
        // `tar` writes as the account, and lies where packages put it.
        command.args(["-x", "-f", "-", "-C"]).arg(self.place.data());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| EmbeddedError::Program { program: "tar", message: error.to_string() })?;
        let stdin = child.stdin.take();
        Ok(Unpacking { child, stdin })
    }

    /// Puts a segment of the log where the recovery finds it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_segment(&self, name: &str, content: &[u8]) -> Result<(), EmbeddedError> {
        let path = self.log_folder().join(name);
        fs::write(&path, content).map_err(EmbeddedError::file("write", &path))?;
        self.place.hand_over(&path)
    }

    /// Brings the cluster to an instant, as `timestamptz` reads it (none: to the end of the log that it came with), makes our login
    /// able to enter, and stops it: from then on [`super::Server`] opens it.
    ///
    /// # Errors
    /// When the log does not lead there, or the server does not start.
    pub async fn recover(self, until: Option<&str>, origin: &Origin) -> Result<Recovered, EmbeddedError> {
        let password = Secret::new(hex::encode(rand::random::<[u8; 24]>()));
        let settings = self.prepare_recovery(until, origin)?;
        let exit = launch::spawn(&self.place, &self.binaries, &settings)?;
        let mut running = Running { restoration: &self, is_stopped: false };
        let outcome = self.enter(&exit, origin, &password).await;
        let stopped = running.stop();
        drop(running);
        outcome?;
        stopped?;
        for left in [self.place.base.join("restore.hba"), self.place.log()] {
            fs::remove_file(&left).map_err(EmbeddedError::file("remove", &left))?;
        }
        fs::remove_dir_all(self.log_folder()).map_err(EmbeddedError::file("remove", self.log_folder()))?;
        launch::write_private(&self.data_dir.join("postgres.password"), password.reveal())?;
        fs::remove_file(self.mark()).map_err(EmbeddedError::file("remove", self.mark()))?;
        Ok(Recovered { place: self.place, binaries: self.binaries })
    }

    fn prepare_recovery(&self, until: Option<&str>, origin: &Origin) -> Result<Vec<String>, EmbeddedError> {
        let write = |path: PathBuf, text: &str| {
            launch::write_private(&path, text)?;
            self.place.hand_over(&path)
        };
        let data = self.place.data();
        if !origin.is_embedded {
            // Another server's configuration speaks of another machine.
            write(data.join("postgresql.conf"), "# Settings are given on the command line.\n")?;
            write(data.join("postgresql.auto.conf"), "")?;
            write(data.join("pg_hba.conf"), "local all all scram-sha-256\nlocal replication all scram-sha-256\n")?;
            write(data.join("pg_ident.conf"), "")?;
        }
        // Nobody but the account can go to the socket.
        let hba = self.place.base.join("restore.hba");
        write(hba.clone(), "local all all trust\n")?;
        let mut settings =
            vec!["archive_mode=off".to_owned(), "hot_standby=off".to_owned(), format!("hba_file={}", hba.display()), "ssl=off".to_owned()];
        if let Some(until) = until {
            write(data.join("recovery.signal"), "")?;
            settings.push(format!("restore_command=cp {}/%f \"%p\"", shell_quoted(&self.log_folder())));
            settings.push(format!("recovery_target_time={until}"));
            settings.extend(["inclusive=on", "action=promote", "timeline=current"].map(|target| format!("recovery_target_{target}")));
        }
        Ok(settings)
    }

    /// Waits until the recovery is done, which takes as long as the log is, and lets our login in.
    async fn enter(
        &self,
        exit: &Arc<std::sync::OnceLock<std::process::ExitStatus>>,
        origin: &Origin,
        password: &Secret,
    ) -> Result<(), EmbeddedError> {
        let url = format!("host='{}' port=5432 dbname=postgres", self.place.socket_dir.display());
        let mut config = Config::from_str(&url).map_err(|error| EmbeddedError::NotStarted(error.to_string()))?;
        config.user(&origin.superuser).connect_timeout(Duration::from_secs(10));
        let client = loop {
            if let Ok((client, connection)) = config.connect(NoTls).await {
                tokio::spawn(connection);
                break client;
            }
            if let Some(status) = exit.get() {
                return Err(EmbeddedError::NotStarted(format!("{status}: {}", launch::end_of_log(&self.place))));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        let made = admit(&client, origin, password).await;
        made.map_err(|error| EmbeddedError::NoAnswer(crate::error::text(&error)))
    }
}

async fn admit(client: &Client, origin: &Origin, password: &Secret) -> Result<(), tokio_postgres::Error> {
    if client.query_opt(store::FIND_ROLE, &[&OWNER]).await?.is_none() {
        client.batch_execute(store::CREATE_OWNER).await?;
    }
    let statement: String = client.query_one(store::ADMIT_OWNER, &[&password.reveal()]).await?.try_get(0)?;
    client.batch_execute(&statement).await?;
    if origin.database != DATABASE && client.query_opt(store::FIND_DATABASE, &[&DATABASE]).await?.is_none() {
        let statement: String = client.query_one(store::RENAME_DATABASE, &[&origin.database]).await?.try_get(0)?;
        client.batch_execute(&statement).await?;
    }
    Ok(())
}

/// A server in recovery. Nobody else would end it when the restoration is given up.
struct Running<'a> {
    restoration: &'a Restoration,
    is_stopped: bool,
}

impl Running<'_> {
    fn stop(&mut self) -> Result<(), EmbeddedError> {
        self.is_stopped = true;
        launch::stop(&self.restoration.place, &self.restoration.binaries, STOP_PATIENCE)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.is_stopped
            && let Err(error) = self.stop()
        {
            tracing::warn!(%error, "a server in recovery was not stopped");
        }
    }
}

/// A tar on its way into the data directory. Dropped it ends `tar`.
#[derive(Debug)]
pub struct Unpacking {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Unpacking {
    /// Waits until everything is unpacked.
    ///
    /// # Errors
    /// When `tar` failed.
    pub fn finish(mut self) -> Result<(), EmbeddedError> {
        drop(self.stdin.take());
        let failed = |message: String| EmbeddedError::Program { program: "tar", message };
        let mut complaint = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            std::io::Read::read_to_string(&mut stderr, &mut complaint).map_err(|error| failed(error.to_string()))?;
        }
        let status = self.child.wait().map_err(|error| failed(error.to_string()))?;
        if status.success() { Ok(()) } else { Err(failed(format!("{status}: {}", complaint.trim()))) }
    }
}

impl Write for Unpacking {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.stdin.as_mut().ok_or(std::io::ErrorKind::BrokenPipe)?.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stdin.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for Unpacking {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.child.kill().and_then(|()| self.child.wait()).ok();
        }
    }
}

/// A cluster that stands where the backup led to, and does not run.
#[derive(Debug)]
pub struct Recovered {
    place: Place,
    binaries: Binaries,
}

/// What `pg_checksums` says of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckedPages {
    pub pages: u64,
    pub damaged: u64,
}

impl Recovered {
    /// Returns where the server's files lie.
    pub fn base(&self) -> &Path {
        &self.place.base
    }

    /// Reads every page again; none when the cluster was made without checksums.
    ///
    /// # Errors
    /// When `pg_checksums` is not there or cannot be understood.
    pub fn check_pages(&self) -> Result<Option<CheckedPages>, EmbeddedError> {
        let failed = |message: String| EmbeddedError::Program { program: "pg_checksums", message };
        let tool = self.binaries.tool("pg_checksums").ok_or_else(|| failed("it is not installed beside Postgres".to_owned()))?;
        let mut command = self.place.command(&tool);
        command.args(["--check", "-D"]).arg(self.place.data()).stdin(Stdio::null());
        let Output { status, stdout, stderr } = command.output().map_err(|error| failed(error.to_string()))?;
        let complaint = String::from_utf8_lossy(&stderr);
        if complaint.contains("checksums are not enabled") {
            return Ok(None);
        }
        let said = String::from_utf8_lossy(&stdout);
        let figure = |words: &str| said.lines().find_map(|line| line.strip_prefix(words)?.trim().parse().ok());
        match (figure("Blocks scanned:"), figure("Bad checksums:")) {
            (Some(pages), Some(damaged)) => Ok(Some(CheckedPages { pages, damaged })),
            _ => Err(failed(format!("{status}: {}", complaint.trim()))),
        }
    }
}

/// Stops the server of a data directory that nobody needs any more, and removes everything, wherever it lies.
///
/// # Errors
/// When it does not stop, or something cannot be removed.
pub fn discard(data_dir: &Path) -> Result<(), EmbeddedError> {
    let data_dir = fs::canonicalize(data_dir).map_err(EmbeddedError::file("find", data_dir))?;
    let _turn = Turn::wait(&data_dir)?;
    let place = Place::choose(&data_dir, Account::choose(&own_file(&data_dir)?)?);
    if place.data().join("postmaster.pid").exists() {
        launch::stop(&place, &Binaries::find(&place.data(), place.account.as_ref())?, Duration::from_secs(5))?;
    }
    for folder in [&place.base, &place.socket_dir, &data_dir] {
        if folder.exists() {
            fs::remove_dir_all(folder).map_err(EmbeddedError::file("remove", folder))?;
        }
    }
    Ok(())
}
