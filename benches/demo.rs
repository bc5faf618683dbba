//! The promises about the whole product, measured on the binary: `cargo bench --bench demo`.
//!
//! Prints one line a promise: what was measured, the limit, and their ratio (below 1 is kept).
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a measurement that fails has failed")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const GRANARY: &str = env!("CARGO_BIN_EXE_granary");
const CLIENTS: usize = 4;
const REQUESTS: usize = 1_000;

fn main() {
    // `cargo test --benches` passes --test: a promise is measured only when somebody asks.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    println!("{:<58} {:>12} {:>12} {:>7}", "promise", "measured", "limit", "ratio");

    let small = folder.path().join("small");
    let (seconds, _) = once(&small, &["--customers", "5", "--months", "3"]);
    line("demo --once --customers 5 --months 3, seconds", seconds, 20.0);

    let data = folder.path().join("demo");
    let (seconds, peak) = once(&data, &[]);
    line("demo --once, seconds", seconds, 240.0);
    line("demo --once, peak memory of the process tree, MiB", peak / 1048576.0, 2048.0);
    line("data directory, MiB", size(&data) / 1048576.0, 4096.0);

    let begun = Instant::now();
    let mut server = demo(&data, &["--listen", "127.0.0.1:18099"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for("http://127.0.0.1:18099/readyz");
    line("second start until ready, seconds", begun.elapsed().as_secs_f64(), 10.0);
    let p95 = overview("http://127.0.0.1:18099");
    line("overview, 4 clients, 1,000 requests, p95 in ms", p95, 100.0);

    // Postgres runs already, as it does for whoever makes reports at night.
    let reports = folder.path().join("reports");
    let period = last_period(&data);
    let begun = Instant::now();
    run(&data, &["report", "monthly", "--all", "--period", &period, "--out", reports.to_str().unwrap()]);
    let count = std::fs::read_dir(&reports).unwrap().count();
    line(&format!("{count} reports with their queries, seconds per 50"), begun.elapsed().as_secs_f64() * 50.0 / count as f64, 4.0);
    stop(&mut server);
}

fn line(promise: &str, measured: f64, limit: f64) {
    println!("{promise:<58} {measured:>12.1} {limit:>12.0} {:>7.2}", measured / limit);
}

fn demo(data: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(GRANARY);
    command.arg("demo").args(more).arg("--data-dir").arg(data).env("GRANARY_LOG", "error");
    command
}

/// Prepares a demo; returns the seconds and the peak resident bytes of the process and its children.
fn once(data: &Path, more: &[&str]) -> (f64, f64) {
    let begun = Instant::now();
    let mut child = demo(data, more).arg("--once").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let (peak, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let id = child.id();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                peak.fetch_max(resident(id), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        assert!(child.wait().unwrap().success());
        is_over.store(true, Ordering::Relaxed);
    });
    (begun.elapsed().as_secs_f64(), peak.load(Ordering::Relaxed) as f64)
}

/// Proportional set size of a process tree, so that Postgres's shared memory counts once.
fn resident(root: u32) -> u64 {
    let mut processes: Vec<(u32, u32)> = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0);
        processes.push((id, parent));
    }
    let mut tree = vec![root];
    let mut index = 0;
    while index < tree.len() {
        let of = tree[index];
        tree.extend(processes.iter().filter(|(_, parent)| *parent == of).map(|(id, _)| *id));
        index += 1;
    }
    tree.iter()
        .filter_map(|id| std::fs::read_to_string(format!("/proc/{id}/smaps_rollup")).ok())
        .filter_map(|text| text.lines().find(|line| line.starts_with("Pss:"))?.split_whitespace().nth(1)?.parse::<u64>().ok())
        .sum::<u64>()
        * 1024
}

fn size(path: &Path) -> f64 {
    // Run by root, Postgres may keep its cluster elsewhere and leave a link.
    let output = Command::new("du").args(["-sLb"]).arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().next().and_then(|bytes| bytes.parse().ok()).unwrap_or(0.0)
}

fn run(data: &Path, arguments: &[&str]) -> String {
    let output = Command::new(GRANARY).args(arguments).arg("--data-dir").arg(data).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn last_period(data: &Path) -> String {
    let rows = run(data, &["query", "select max(period) as period from mrr_movements", "--format", "csv"]);
    rows.lines().nth(1).unwrap().to_owned()
}

fn wait_for(url: &str) {
    let end = Instant::now() + Duration::from_secs(60);
    while ureq::get(url).call().is_err() {
        assert!(Instant::now() < end, "{url} did not answer");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Logs in once and asks for the overview; returns the 95th percentile in milliseconds.
fn overview(base: &str) -> f64 {
    let cookie = log_in(base);
    for _ in 0..20 {
        get(base, &cookie);
    }
    let mut times: Vec<f64> = std::thread::scope(|scope| {
        let clients: Vec<_> =
            (0..CLIENTS).map(|_| scope.spawn(|| (0..REQUESTS / CLIENTS).map(|_| get(base, &cookie)).collect::<Vec<f64>>())).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    times.sort_by(f64::total_cmp);
    times[times.len() * 95 / 100]
}

fn get(base: &str, cookie: &str) -> f64 {
    let begun = Instant::now();
    let mut response = ureq::get(format!("{base}/")).header("cookie", cookie).call().unwrap();
    let page = response.body_mut().read_to_string().unwrap();
    assert!(page.contains("MRR"));
    begun.elapsed().as_secs_f64() * 1000.0
}

fn log_in(base: &str) -> String {
    let agent: ureq::Agent = ureq::Agent::config_builder().max_redirects(0).build().into();
    let response = agent
        .post(format!("{base}/login"))
        .header("origin", base)
        .header("content-type", "application/x-www-form-urlencoded")
        .send("email=admin%40northwind.example&password=granary-demo")
        .unwrap();
    let set = response.headers().get("set-cookie").expect("a session").to_str().unwrap();
    set.split(';').next().unwrap().to_owned()
}

fn stop(server: &mut Child) {
    Command::new("kill").args(["-INT", &server.id().to_string()]).status().unwrap();
    server.wait().unwrap();
}
