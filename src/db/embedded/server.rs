//! The server that a process uses.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use granary_foundation::{Secret, SharedProgress};
use tokio_postgres::{Config, NoTls};

use super::account::{Account, Place};
use super::archive::Spool;
use super::binaries::Binaries;
use super::error::EmbeddedError;
use super::keeper::Keeper;
use super::launch::{self, OWNER};
use super::lease::{Lease, Turn};
use crate::store::embedded as store;

/// How long a start may take; a server that recovers from a crash needs its time.
const PATIENCE: Duration = Duration::from_secs(180);

/// How long a stop may take, with the checkpoint that it makes.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

pub(super) const DATABASE: &str = "granary";

/// How the system says it, in the server's locale.
const DISK_FULL: &str = "No space left on device";

/// A running Postgres that this process has a lease of. Dropping it lets go, and stops the server when nobody else uses it.
#[derive(Debug)]
pub struct Server {
    data_dir: PathBuf,
    place: Place,
    binaries: Binaries,
    password: Secret,
    url: Secret,
    lease: Option<Lease>,
    is_durable: bool,
    /// How long the server's log was when we joined.
    log_bytes: u64,
    /// How the process ended, when it is our child and has; none when the server was adopted.
    exit: Option<Arc<OnceLock<ExitStatus>>>,
    keeper: Option<Keeper>,
}

impl Server {
    /// Starts the server of a data directory, or joins the one that runs there.
    ///
    /// # Errors
    /// When there are no binaries, the directory cannot be used, or the server does not come up.
    pub async fn start(data_dir: &Path, progress: SharedProgress) -> Result<Self, EmbeddedError> {
        Self::start_as(data_dir.to_owned(), true, progress).await
    }

    /// Starts a server that does not survive a crash of the machine, for tests.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn start_volatile(data_dir: &Path, progress: SharedProgress) -> Result<Self, EmbeddedError> {
        Self::start_as(data_dir.to_owned(), false, progress).await
    }

    async fn start_as(data_dir: PathBuf, is_durable: bool, progress: SharedProgress) -> Result<Self, EmbeddedError> {
        progress.begin("starting Postgres", 0);
        let started = tokio::task::spawn_blocking(move || Self::launch(&data_dir, is_durable)).await;
        let started = started.map_err(|error| EmbeddedError::NotStarted(error.to_string()))??;
        // Locals go in reverse order: when nobody waits any more, the turn goes first.
        let (mut server, turn) = (started.1, started.0);
        let outcome = server.wait_until_ready().await;
        drop(turn);
        progress.end();
        outcome.map(|()| server.kept())
    }

    fn kept(mut self) -> Self {
        self.keeper = Some(Keeper::begin(self.data_dir.clone(), self.place.clone(), self.binaries.clone(), self.is_durable));
        self
    }

    /// Returns how the owner connects; holds the password.
    pub fn url(&self) -> &Secret {
        &self.url
    }

    /// Returns how the owner connects to another database of the server.
    pub fn url_of(&self, database: &str) -> Secret {
        url(&self.place, &self.password, database)
    }

    /// Returns where the server's files lie.
    pub fn base(&self) -> &Path {
        &self.place.base
    }

    /// Returns where the server lays segments of its log for a backup.
    pub fn spool(&self) -> Spool {
        Spool::new(self.place.clone())
    }

    /// Tells whether the server has written into its log, since we joined, that its disk is full.
    pub fn has_run_out_of_room(&self) -> bool {
        launch::log_since(&self.place, self.log_bytes).contains(DISK_FULL)
    }

    /// Lets go, and stops the server when nobody else uses it.
    ///
    /// # Errors
    /// When the server does not stop.
    pub async fn stop(mut self) -> Result<(), EmbeddedError> {
        let stopped = tokio::task::spawn_blocking(move || self.let_go()).await;
        stopped.map_err(|error| EmbeddedError::NotStarted(error.to_string()))?
    }

    /// Does what needs no connection, in its turn: lease, place, binaries, cluster, process. The turn goes first, also when nobody
    /// waits for the outcome any more: a server that is dropped takes a turn.
    fn launch(data_dir: &Path, is_durable: bool) -> Result<(Turn, Self), EmbeddedError> {
        fs::create_dir_all(data_dir).map_err(EmbeddedError::file("make", data_dir))?;
        let data_dir = &fs::canonicalize(data_dir).map_err(EmbeddedError::file("find", data_dir))?;
        let turn = Turn::wait(data_dir)?;
        let place = Place::choose(data_dir, Account::choose(&own_file(data_dir)?)?);
        let binaries = Binaries::find(&place.data(), place.account.as_ref())?;
        if !place.base.starts_with(data_dir) {
            tracing::info!(place = %place.base.display(), "the account that Postgres runs as cannot enter the data directory");
        }
        let password_file = data_dir.join("postgres.password");
        let password = match fs::read_to_string(&password_file) {
            Ok(password) => Secret::new(password.trim()),
            Err(_) => {
                set_aside(&place, &binaries)?;
                let password = Secret::new(hex::encode(rand::random::<[u8; 24]>()));
                launch::write_private(&password_file, password.reveal())?;
                password
            }
        };
        if let Some(parent) = place.base.parent() {
            fs::create_dir_all(parent).map_err(EmbeddedError::file("make", parent))?;
        }
        place.make_directory(&place.base)?;
        place.make_directory(&place.socket_dir)?;
        launch::make_cluster(&place, &binaries, &password).map_err(|error| full_or(error, &place))?;
        let lease = turn.join()?;
        let log_bytes = fs::metadata(place.log()).map_or(0, |found| found.len());
        let exit = if launch::is_running(&place, &binaries) {
            None
        } else {
            Some(launch::spawn(&place, &binaries, &launch::settings(is_durable))?)
        };
        let url = url(&place, &password, DATABASE);
        let data_dir = data_dir.clone();
        let server = Self { data_dir, place, binaries, password, url, lease: Some(lease), is_durable, log_bytes, exit, keeper: None };
        Ok((turn, server))
    }

    /// Waits until the server answers, and makes the database. An adopted server may be stopping: then it is started anew.
    async fn wait_until_ready(&mut self) -> Result<(), EmbeddedError> {
        let postgres = Config::from_str(self.url_of("postgres").reveal()).map_err(|error| EmbeddedError::NotStarted(error.to_string()))?;
        let deadline = Instant::now() + PATIENCE;
        let client = loop {
            let error = match postgres.connect(NoTls).await {
                Ok((client, connection)) => {
                    tokio::spawn(connection);
                    break client;
                }
                Err(error) => error,
            };
            if Instant::now() > deadline {
                let said = launch::end_of_log(&self.place);
                return Err(EmbeddedError::NoAnswer(format!("{}; its log ends with: {said}", crate::error::text(&error))));
            }
            self.look_after(&error)?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let answer = async {
            if client.query_opt(store::FIND_DATABASE, &[&DATABASE]).await?.is_none() {
                client.batch_execute(store::CREATE_DATABASE).await?;
            }
            Ok(())
        };
        answer.await.map_err(|error: tokio_postgres::Error| EmbeddedError::NoAnswer(crate::error::text(&error)))
    }

    /// Why a connection failed: a server of ours that ended is an error, an adopted one that ended is replaced by ours.
    fn look_after(&mut self, error: &tokio_postgres::Error) -> Result<(), EmbeddedError> {
        if error.code() == Some(&tokio_postgres::error::SqlState::INVALID_PASSWORD) {
            return Err(EmbeddedError::NoAnswer("the password in postgres.password is not the server's".to_owned()));
        }
        match &self.exit {
            Some(exit) => match exit.get() {
                Some(status) => {
                    let error = EmbeddedError::NotStarted(format!("{status}: {}", launch::end_of_log(&self.place)));
                    Err(full_or(error, &self.place))
                }
                None => Ok(()),
            },
            None => {
                if !launch::is_running(&self.place, &self.binaries) {
                    self.exit = Some(launch::spawn(&self.place, &self.binaries, &launch::settings(self.is_durable))?);
                }
                Ok(())
            }
        }
    }

    fn let_go(&mut self) -> Result<(), EmbeddedError> {
        let Some(lease) = self.lease.take() else { return Ok(()) };
        self.keeper = None;
        let turn = Turn::wait(&self.data_dir)?;
        if turn.leave(lease)? {
            if let Some(exit) = &self.exit {
                launch::wait_until_named(&self.place, exit, STOP_PATIENCE);
            }
            launch::stop(&self.place, &self.binaries, STOP_PATIENCE)?;
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.let_go() {
            tracing::warn!(%error, "Postgres was not stopped");
        }
    }
}

/// Why the server does not run: a full disk goes before what follows from it.
fn full_or(error: EmbeddedError, place: &Place) -> EmbeddedError {
    if error.to_string().contains(DISK_FULL) { EmbeddedError::DiskFull(place.base.clone()) } else { error }
}

/// A file that this process made, which shows whose it is.
pub(super) fn own_file(data_dir: &Path) -> Result<PathBuf, EmbeddedError> {
    let path = data_dir.join(".whose");
    if path.exists() {
        fs::remove_file(&path).map_err(EmbeddedError::file("remove", &path))?;
    }
    fs::write(&path, b"").map_err(EmbeddedError::file("write", &path))?;
    Ok(path)
}

/// A cluster whose password is gone belonged to a data directory that was removed: nobody can open it. It is kept once, under
/// another name.
pub(super) fn set_aside(place: &Place, binaries: &Binaries) -> Result<(), EmbeddedError> {
    if !place.data().join("PG_VERSION").exists() {
        return Ok(());
    }
    launch::stop(place, binaries, STOP_PATIENCE)?;
    let aside = place.base.with_extension("abandoned");
    if aside.exists() {
        fs::remove_dir_all(&aside).map_err(EmbeddedError::file("remove", &aside))?;
    }
    tracing::warn!(place = %aside.display(), "a database whose password is lost was set aside");
    fs::rename(&place.base, &aside).map_err(EmbeddedError::file("rename", &place.base))
}

fn url(place: &Place, password: &Secret, database: &str) -> Secret {
    let quoted = place.socket_dir.display().to_string().replace('\\', "\\\\").replace('\'', "\\'");
    Secret::new(format!("host='{quoted}' port=5432 user={OWNER} password='{}' dbname={database}", password.reveal()))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use granary_foundation::Silent;

    use super::*;

    /// Finds the process of a server by what it calls itself.
    fn process_of(server: &Server, name: &str) -> String {
        let lock = fs::read_to_string(server.place.data().join("postmaster.pid")).unwrap();
        let parent = format!("PPid:\t{}\n", lock.lines().next().unwrap());
        let mut processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        let read = |path: PathBuf| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        let found = processes.find(|path| read(path.join("status")).contains(&parent) && read(path.join("cmdline")).contains(name));
        found.unwrap().file_name().unwrap().to_string_lossy().into_owned()
    }

    #[test]
    fn a_server_that_is_let_go_before_it_has_written_its_pid_does_not_stay_behind() {
        let dir = tempfile::tempdir().unwrap();
        // The first makes the cluster, the second has nothing to do before it starts the process.
        for _ in 0..2 {
            let (turn, server) = Server::launch(dir.path(), false).unwrap();
            drop(turn);
            let (place, exit) = (server.place.clone(), server.exit.clone().unwrap());
            drop(server);
            assert!(!place.data().join("postmaster.pid").exists());
            let deadline = Instant::now() + Duration::from_secs(10);
            while exit.get().is_none() {
                assert!(Instant::now() < deadline, "the process lives");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    #[tokio::test]
    async fn a_server_that_hangs_in_its_shutdown_is_stopped_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let mut server = Server::start_volatile(dir.path(), Silent::shared()).await.unwrap();
        // It would start it again.
        server.keeper = None;
        let checkpointer = process_of(&server, "checkpointer");
        assert!(Command::new("kill").args(["-STOP", &checkpointer]).status().unwrap().success());
        launch::stop(&server.place, &server.binaries, Duration::from_secs(1)).unwrap();
        assert!(!launch::is_running(&server.place, &server.binaries));
    }
}
