//! What a backup and the way back cost, beside the bare `pg_basebackup` of the same cluster: `cargo bench --bench recovery`.
//!
//! `-- --customers 5 --months 3` measures a smaller demo. Ratios are ours by the peer's.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that fails has failed")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::Value;

const GRANARY: &str = env!("CARGO_BIN_EXE_granary");

fn main() {
    // `cargo test --benches` passes --test: a promise is measured only when somebody asks.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let demo: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let data = folder.path().join("demo");
    let mut made = Command::new(GRANARY);
    made.args(["demo", "--once"]).args(demo).arg("--data-dir").arg(&data).env("GRANARY_LOG", "error");
    assert!(made.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());

    let server = serve(&data);
    // The first copy warms the cache for both.
    peer(&data, folder.path());
    let (peer_seconds, peer_bytes) = peer(&data, folder.path());
    let url = format!("file://{}", folder.path().join("backups").display());
    let begun = Instant::now();
    let backup = run(&data, &["backup", "--to", &url]);
    let backup_seconds = begun.elapsed().as_secs_f64();
    stop(server);
    println!("{:<52} {:>10} {:>10} {:>7}", "", "ours", "peer", "ratio");
    let line = |what: &str, ours: f64, peer: f64| println!("{what:<52} {ours:>10.1} {peer:>10.1} {:>7.2}", ours / peer);
    line("backup, seconds (peer: pg_basebackup, a tar)", backup_seconds, peer_seconds);
    line("backup, MiB in the store (peer: the tar)", mebibytes(&backup["size_bytes"]), peer_bytes as f64 / 1_048_576.0);

    let master = data.join("keys/master");
    let restored = folder.path().join("restored");
    let begun = Instant::now();
    run(&restored, &["restore", "--from", &url, "--master-key", master.to_str().unwrap()]);
    let restore_seconds = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let plain = folder.path().join("plain");
    std::fs::create_dir(&plain).unwrap();
    let unpacked = Command::new("tar").arg("-xf").arg(folder.path().join("peer.tar")).arg("-C").arg(&plain).status().unwrap();
    assert!(unpacked.success());
    line("restore, seconds (peer: unpacking the tar, no start)", restore_seconds, begun.elapsed().as_secs_f64());
    let begun = Instant::now();
    let drill = ["drill", "--from", &url, "--format", "json", "--scratch", folder.path().to_str().unwrap()];
    run(&data, &drill);
    println!("{:<52} {:>10.1}", "drill, seconds", begun.elapsed().as_secs_f64());
}

fn mebibytes(bytes: &Value) -> f64 {
    bytes.as_f64().unwrap() / 1_048_576.0
}

/// The bare copy, which is neither compressed nor sealed; seconds and bytes.
fn peer(data: &Path, folder: &Path) -> (f64, u64) {
    let tar = folder.join("peer.tar");
    let password = std::fs::read_to_string(data.join("postgres.password")).unwrap();
    let begun = Instant::now();
    let mut copy = Command::new("pg_basebackup");
    copy.args(["--pgdata=-", "--format=tar", "--wal-method=none", "--checkpoint=fast", "--username=granary", "--no-password"]);
    copy.arg("--host").arg(data.join("postgres/run")).env("PGPASSWORD", password.trim());
    let file = std::fs::File::create(&tar).unwrap();
    assert!(copy.stdout(file.try_clone().unwrap()).stderr(Stdio::null()).status().unwrap().success());
    // Ours is on the disk as well when it is told that it is.
    file.sync_all().unwrap();
    (begun.elapsed().as_secs_f64(), file.metadata().unwrap().len())
}

fn serve(data: &Path) -> Child {
    let mut serve = Command::new(GRANARY);
    serve.args(["serve", "--listen", "127.0.0.1:18098"]).arg("--data-dir").arg(data).env("GRANARY_LOG", "error");
    let child = serve.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while ureq::get("http://127.0.0.1:18098/readyz").call().is_err() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    child
}

fn stop(mut server: Child) {
    Command::new("kill").args(["-INT", &server.id().to_string()]).status().unwrap();
    server.wait().unwrap();
}

fn run(data: &Path, arguments: &[&str]) -> Value {
    let output = Command::new(GRANARY).args(arguments).arg("--data-dir").arg(data).env("GRANARY_LOG", "error").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
