//! Making, starting and stopping the server's process.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use granary_foundation::Secret;

use super::account::Place;
use super::archive;
use super::binaries::Binaries;
use super::error::EmbeddedError;

/// The role that owns everything in our own server.
pub(super) const OWNER: &str = "granary";

/// How the server runs. Files are synced; recovery after a crash syncs file systems instead of each of many files; locks are
/// many because a schema has many tables; queries are many and small, so none is parallel or compiled.
const SETTINGS: &[&str] = &[
    "listen_addresses=",
    "recovery_init_sync_method=syncfs",
    "max_locks_per_transaction=256",
    "max_connections=100",
    "shared_buffers=256MB",
    "min_wal_size=128MB",
    "max_wal_size=1GB",
    "wal_compression=on",
    "checkpoint_timeout=15min",
    "wal_level=replica",
    "archive_mode=on",
    "max_parallel_workers_per_gather=0",
    "jit=off",
    "timezone=UTC",
    "log_timezone=UTC",
    "log_line_prefix=%m [%p] ",
];

/// A server that forgets on a crash, for tests.
const VOLATILE: &[&str] = &["fsync=off", "synchronous_commit=off", "full_page_writes=off"];

/// What a server needs that does not survive a crash of the machine, if it is to be one.
pub(super) fn settings(is_durable: bool) -> Vec<String> {
    if is_durable { Vec::new() } else { VOLATILE.iter().map(|&setting| setting.to_owned()).collect() }
}

/// Makes the cluster if there is none yet: into another directory first, so that a start that was killed leaves nothing half
/// made. The directory is this process's own, because the `initdb` of a start that was killed may go on writing into its.
pub(super) fn make_cluster(place: &Place, binaries: &Binaries, password: &Secret) -> Result<(), EmbeddedError> {
    let own = |name: &str| place.base.join(format!("{name}.{}.new", std::process::id()));
    let (data, draft, password_file) = (place.data(), own("data"), own("password"));
    if data.join("PG_VERSION").exists() {
        return Ok(());
    }
    if data.exists() {
        fs::remove_dir_all(&data).map_err(EmbeddedError::file("remove", &data))?;
    }
    remove_drafts(&place.base);
    write_private(&password_file, password.reveal())?;
    place.hand_over(&password_file)?;
    let outcome = run(
        "initdb",
        place
            .command(&binaries.program("initdb"))
            .args(["--data-checksums", "--encoding=UTF8", "--locale=C.UTF-8", "--auth=scram-sha-256", "--username", OWNER])
            .arg("--pgdata")
            .arg(&draft)
            .arg("--pwfile")
            .arg(&password_file),
    );
    fs::remove_file(&password_file).map_err(EmbeddedError::file("remove", &password_file))?;
    outcome?;
    fs::rename(&draft, &data).map_err(EmbeddedError::file("rename", draft))
}

/// Removes what starts that were killed have left; what one of them still writes stays for the next.
fn remove_drafts(base: &Path) {
    let drafts = fs::read_dir(base).into_iter().flatten().flatten().map(|entry| entry.path());
    for draft in drafts.filter(|path| path.extension().is_some_and(|extension| extension == "new")) {
        let removed = if draft.is_dir() { fs::remove_dir_all(&draft) } else { fs::remove_file(&draft) };
        if let Err(error) = removed {
            tracing::debug!(%error, path = %draft.display(), "a leftover stays");
        }
    }
}

/// Starts the server's process, with settings beside its own, and returns where its end will be written. A thread waits for that end, because a child that
/// nobody waits for would look alive to the next start.
pub(super) fn spawn(place: &Place, binaries: &Binaries, beside: &[String]) -> Result<Arc<OnceLock<ExitStatus>>, EmbeddedError> {
    bury(place)?;
    let log = place.log();
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&log).map_err(EmbeddedError::file("open", &log))?;
    let mut command = place.command(&binaries.program("postgres"));
    command.arg("-D").arg(place.data()).arg("-k").arg(&place.socket_dir);
    let archive = format!("archive_command={}", archive::command(place));
    for setting in SETTINGS.iter().copied().chain([archive.as_str()]).chain(beside.iter().map(String::as_str)) {
        command.args(["-c", setting]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
    let mut child = command.spawn().map_err(EmbeddedError::file("run", binaries.program("postgres")))?;
    let exit = Arc::new(OnceLock::new());
    let writer = Arc::clone(&exit);
    std::thread::spawn(move || child.wait().map(|status| writer.set(status)));
    Ok(exit)
}

/// Waits until a process that was just started has written its number into the data directory, or has ended: before that its
/// own programs do not know that it runs, so that nobody could stop it.
pub(super) fn wait_until_named(place: &Place, exit: &OnceLock<ExitStatus>, patience: Duration) {
    let deadline = Instant::now() + patience;
    while exit.get().is_none() && !has_process(place) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Tells whether a server runs in the data directory.
pub(super) fn is_running(place: &Place, binaries: &Binaries) -> bool {
    let mut command = place.command(&binaries.program("pg_ctl"));
    command.args(["status", "-D"]).arg(place.data()).stdin(Stdio::null());
    command.output().is_ok_and(|output| output.status.success()) && !is_zombie(place)
}

/// Tells, without asking the server's programs, whether the process that the data directory names is alive.
pub(super) fn has_process(place: &Place) -> bool {
    let text = fs::read_to_string(pid_file(place)).unwrap_or_default();
    text.lines().next().is_some_and(|pid| Path::new("/proc").join(pid).exists()) && !is_zombie(place)
}

fn pid_file(place: &Place) -> PathBuf {
    place.data().join("postmaster.pid")
}

/// Tells whether the server was killed and nobody has taken note: in a container whose first process waits for no orphan, its
/// entry stays in the process table for ever.
fn is_zombie(place: &Place) -> bool {
    is_zombie_in(&pid_file(place))
}

/// Tells whether a lock file, which begins with the number of its process, belongs to a zombie.
fn is_zombie_in(lock_file: &Path) -> bool {
    let pid = fs::read_to_string(lock_file).unwrap_or_default().lines().next().unwrap_or_default().to_owned();
    let state = fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    state.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
}

/// Lets a server that is a zombie count as dead: its pid file gets the number of a process that has ended. The rest of the
/// file stays, by which Postgres makes sure that no process of the old server still uses its memory.
fn bury(place: &Place) -> Result<(), EmbeddedError> {
    // The lock beside the socket may be an older server's than the pid file, and nothing is kept in it.
    let socket_lock = place.socket_dir.join(".s.PGSQL.5432.lock");
    if is_zombie_in(&socket_lock) {
        fs::remove_file(&socket_lock).map_err(EmbeddedError::file("remove", &socket_lock))?;
    }
    if !is_zombie(place) {
        return Ok(());
    }
    let path = pid_file(place);
    let mut ended = Command::new("true").spawn().map_err(EmbeddedError::file("run", "true"))?;
    let dead = ended.id();
    ended.wait().map_err(EmbeddedError::file("wait for", "true"))?;
    let text = fs::read_to_string(&path).map_err(EmbeddedError::file("read", &path))?;
    let rest = text.split_once('\n').map_or("", |(_, rest)| rest);
    fs::write(&path, format!("{dead}\n{rest}")).map_err(EmbeddedError::file("write", path))
}

/// Stops the server: sessions end, what was committed stays. One that is not down in time has hung, as it can when it is told
/// to stop in the middle of a recovery; it is stopped at once then, and its next start recovers from its log.
pub(super) fn stop(place: &Place, binaries: &Binaries, patience: Duration) -> Result<(), EmbeddedError> {
    let order = |mode: &str, patience: Duration| {
        let mut command = place.command(&binaries.program("pg_ctl"));
        command.args(["stop", "-w", "-m", mode, "-t", &patience.as_secs().to_string(), "-D"]).arg(place.data());
        run("pg_ctl", &mut command)
    };
    if !is_running(place, binaries) {
        return Ok(());
    }
    let Err(error) = order("fast", patience) else { return Ok(()) };
    // It may have ended by itself between the look and the order.
    if !is_running(place, binaries) {
        return Ok(());
    }
    tracing::warn!(%error, said = end_of_log(place), "Postgres does not shut down and is stopped at once");
    // It kills what does not end within five seconds.
    match order("immediate", Duration::from_secs(30)) {
        Err(_) if !is_running(place, binaries) => Ok(()),
        outcome => outcome,
    }
}

/// Returns the end of the server's log.
pub(super) fn end_of_log(place: &Place) -> String {
    let text = fs::read(place.log()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("; ")
}

/// Returns what the server has written into its log behind a byte.
pub(super) fn log_since(place: &Place, start: u64) -> String {
    let text = fs::read(place.log()).unwrap_or_default();
    let start = usize::try_from(start).unwrap_or(usize::MAX).min(text.len());
    String::from_utf8_lossy(&text[start..]).into_owned()
}

/// Writes a file that only we may read.
pub(super) fn write_private(path: &Path, text: &str) -> Result<(), EmbeddedError> {
    let opened = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path);
    opened.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all())).map_err(EmbeddedError::file("write", path))
}

fn run(program: &'static str, command: &mut Command) -> Result<(), EmbeddedError> {
    let failed = |message: String| EmbeddedError::Program { program, message };
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().map_err(|error| failed(error.to_string()))?;
    if status.success() {
        return Ok(());
    }
    let text = format!("{}\n{}", String::from_utf8_lossy(&stderr), String::from_utf8_lossy(&stdout));
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).take(6).collect();
    Err(failed(format!("{status}: {}", lines.join("; "))))
}
