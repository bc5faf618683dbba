//! The promise about analysts' questions: `cargo bench -p granary-warehouse --bench analyst`, on 50 million backup runs of 50 customers
//! over 12 months; fewer with `-- --million 2`, read in other ways with `--batch 16384 --views 1 --filters-first 1`.
//!
//! The rows are sealed as the lake seals them, a file a customer and month, and written once more unsealed in the same layout. Each of
//! 20 questions is asked four times, warm, on two threads; the best counts. Beside it stand our own run over the unsealed files, and
//! DuckDB over them when `PEERS_PYTHON` names a Python that has it. Prints one line a question: sealed, unsealed, DuckDB, and ratios;
//! then the geometric means.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that fails has failed")]

use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::array::{ArrayRef, Date32Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::{EnabledStatistics, WriterProperties};
use granary_lake::{LakeFile, LooseFiles, arrow_schema};
use granary_types::{CustomerId, Dataset};
use granary_warehouse::{Budget, Seal, Session, Tuning};
use jiff::civil::date;

const THREADS: usize = 2;
const TIMES: usize = 4;
const CUSTOMERS: usize = 50;
const MONTHS: i8 = 12;
const MACHINES: u64 = 120;
const DAY_US: i64 = 86_400_000_000;

/// A name and a question, which both engines understand.
const QUESTIONS: [(&str, &str); 20] = [
    ("count", "select count(*) from lake.backup_runs"),
    ("first and last run", "select min(ended_at), max(ended_at), max(duration_ms) from lake.backup_runs"),
    ("by month", "select month, count(*), sum(transferred_bytes) from lake.backup_runs group by month order by month"),
    ("by state", "select state, count(*) from lake.backup_runs group by state order by state"),
    ("by kind and state", "select kind, state, count(*), avg(duration_ms) from lake.backup_runs group by kind, state order by kind, state"),
    ("by day", "select service_on, count(*), sum(transferred_bytes) from lake.backup_runs group by service_on order by service_on"),
    (
        "by day of a customer",
        "select service_on, count(*), sum(transferred_bytes) from lake.backup_runs where customer_code = 'C07' group by service_on order by service_on",
    ),
    (
        "top customers of a month",
        "select customer_code, sum(transferred_bytes) as bytes from lake.backup_runs where month = '2025-10' group by customer_code order by bytes desc limit 10",
    ),
    (
        "top customers of the year",
        "select customer_code, sum(transferred_bytes) as bytes, count(*) from lake.backup_runs group by customer_code order by bytes desc limit 10",
    ),
    ("machines of a month", "select count(distinct machine_id) from lake.backup_runs where month = '2025-10'"),
    (
        "machines by customer and month",
        "select customer_code, month, count(distinct machine_id) from lake.backup_runs group by customer_code, month order by customer_code, month",
    ),
    (
        "success by customer",
        "select customer_code, avg(case when state = 'completed' then 1.0 else 0.0 end) from lake.backup_runs group by customer_code order by customer_code",
    ),
    (
        "p95 by source of a customer",
        "select source, percentile_cont(0.95) within group (order by duration_ms) from lake.backup_runs where customer_code = 'C07' group by source order by source",
    ),
    (
        "p95 by kind of a month",
        "select kind, percentile_cont(0.95) within group (order by duration_ms) from lake.backup_runs where month = '2025-10' group by kind order by kind",
    ),
    (
        "last run per machine of a customer",
        "select machine_id, max(ended_at) from lake.backup_runs where customer_code = 'C07' group by machine_id",
    ),
    (
        "last state per machine of a customer",
        "select machine_id, state, ended_at from (select machine_id, state, ended_at, row_number() over (partition by machine_id order by ended_at desc) as n from lake.backup_runs where customer_code = 'C07' and month >= '2025-11') as r where n = 1",
    ),
    ("last run per machine of all", "select machine_id, max(ended_at) from lake.backup_runs where month = '2025-12' group by machine_id"),
    (
        "errors of a month",
        "select error, count(*) as n from lake.backup_runs where month = '2025-10' and state = 'failed' group by error order by n desc limit 10",
    ),
    (
        "a day of all customers",
        "select customer_code, count(*), sum(transferred_bytes) from lake.backup_runs where ended_at >= timestamp '2025-10-14 00:00:00+00' and ended_at < timestamp '2025-10-15 00:00:00+00' and month = '2025-10' group by customer_code order by customer_code",
    ),
    (
        "longest failed runs",
        "select customer_code, vendor_id, duration_ms from lake.backup_runs where state = 'failed' order by duration_ms desc limit 10",
    ),
];

/// Asks DuckDB: the folder, threads and times as arguments, questions by name on the way in, best times and rows on the way out.
const DUCKDB: &str = "
import json, sys, time, duckdb
folder, threads, times = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
db = duckdb.connect()
db.execute(f\"set threads = {threads}; set timezone = 'UTC'; create schema lake\")
db.execute(f\"create view lake.backup_runs as select * from read_parquet('{folder}/**/*.parquet', hive_partitioning = true, hive_types_autocast = false)\")
for line in sys.stdin:
    name, sql = json.loads(line)
    best, rows = None, 0
    for _ in range(times):
        begun = time.perf_counter()
        rows = db.execute(sql).to_arrow_table().num_rows
        took = time.perf_counter() - begun
        best = took if best is None or took < best else best
    print(json.dumps([name, best * 1000, rows]), flush=True)
print(json.dumps(['version ' + duckdb.__version__, 0, 0]))
";

fn main() {
    // `cargo test --benches` passes --test: a promise is measured only when somebody asks.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build().unwrap();
    let rows = number("--million", 50.0) * 1e6;
    runtime.block_on(measure(rows));
}

fn number(flag: &str, otherwise: f64) -> f64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != flag);
    arguments.nth(1).map_or(otherwise, |text| text.parse().unwrap())
}

/// Other ways to read, to be compared: `--batch 16384 --views 1 --filters-first 1`.
fn tuning() -> Tuning {
    let usual = Tuning::default();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of rows")]
    let batch_rows = number("--batch", 8_192.0) as usize;
    let is_set = |flag: &str, otherwise: bool| number(flag, f64::from(u8::from(otherwise))) > 0.0;
    let (has_text_views, filters_first) = (is_set("--views", usual.has_text_views), is_set("--filters-first", usual.filters_first));
    Tuning { batch_rows, has_text_views, filters_first }
}

fn backup_runs() -> Dataset {
    *granary_metering::DATASETS.iter().find(|dataset| dataset.name == "backup_runs").unwrap()
}

async fn measure(rows: f64) {
    let folder = tempfile::tempdir().unwrap();
    let (sealed, open) = (folder.path().join("sealed"), folder.path().join("open"));
    let begun = Instant::now();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of rows")]
    let each = (rows / (CUSTOMERS as f64) / f64::from(MONTHS)) as usize;
    let (sealed_files, open_files) = write(&sealed, &open, each).await;
    let bytes = |files: &[LakeFile]| files.iter().map(|file| file.size_bytes).sum::<u64>() >> 20;
    println!(
        "{} rows in {} files, {} MiB sealed and {} MiB unsealed, written in {:.0} s",
        each * CUSTOMERS * usize::from(MONTHS.unsigned_abs()),
        sealed_files.len(),
        bytes(&sealed_files),
        bytes(&open_files),
        begun.elapsed().as_secs_f64(),
    );
    let sealed = ask_all(&sealed, &sealed_files, Seal::Sealed).await;
    let unsealed = ask_all(&open, &open_files, Seal::Open).await;
    let duckdb = ask_duckdb(&open);
    report(&sealed, &unsealed, &duckdb);
}

/// Milliseconds and rows by question.
type Times = HashMap<String, (f64, usize)>;

async fn ask_all(folder: &Path, files: &[LakeFile], seal: Seal) -> Times {
    let budget = Budget {
        threads: THREADS,
        cache_bytes: 0,
        memory_bytes: 2 << 30,
        query_bytes: 2 << 30,
        time: Duration::from_secs(600),
        tuning: tuning(),
        ..Budget::default()
    };
    let store = LooseFiles::open(folder).unwrap().store();
    let session = Session::over(store, &[backup_runs()], files, seal, budget).await.unwrap();
    let mut times = Times::new();
    for (name, sql) in QUESTIONS {
        let mut best = (f64::INFINITY, 0);
        for _ in 0..TIMES {
            let (session, begun) = (session.clone(), Instant::now());
            // On a thread of the runtime, as the server asks.
            let batches = tokio::spawn(async move { session.query(sql).await }).await.unwrap().unwrap();
            let took = begun.elapsed().as_secs_f64() * 1000.0;
            best = (took.min(best.0), batches.iter().map(RecordBatch::num_rows).sum());
        }
        times.insert(name.to_owned(), best);
    }
    times
}

fn ask_duckdb(folder: &Path) -> Times {
    #[expect(clippy::disallowed_methods, reason = "no configuration of ours: whom to compare with")]
    let Ok(python) = std::env::var("PEERS_PYTHON") else {
        println!("DuckDB was not asked: PEERS_PYTHON names no Python that has it");
        return Times::new();
    };
    let arguments = [DUCKDB, folder.to_str().unwrap(), &THREADS.to_string(), &TIMES.to_string()];
    let mut child = Command::new(python).arg("-c").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let questions = QUESTIONS.iter().fold(String::new(), |mut lines, question| {
        writeln!(lines, "{}", serde_json::to_string(question).unwrap()).unwrap();
        lines
    });
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), questions.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "DuckDB did not answer");
    let lines = String::from_utf8(output.stdout).unwrap();
    let answers = lines.lines().map(|line| serde_json::from_str::<(String, f64, usize)>(line).unwrap());
    answers.map(|(name, took, rows)| (name, (took, rows))).collect()
}

fn report(sealed: &Times, unsealed: &Times, duckdb: &Times) {
    let version = duckdb.keys().find_map(|name| name.strip_prefix("version ")).unwrap_or("-");
    println!("{:<38} {:>9} {:>9} {:>9} {:>8} {:>8}", "best of 4, ms", "sealed", "unsealed", "DuckDB", "/unseal.", "/DuckDB");
    let (mut to_unsealed, mut to_duckdb) = (Vec::new(), Vec::new());
    for (name, _) in QUESTIONS {
        let ((ours, rows), (plain, _)) = (sealed[name], unsealed[name]);
        to_unsealed.push(ours / plain);
        let theirs = duckdb.get(name);
        let (beside, ratio) = theirs.map_or(("-".to_owned(), "-".to_owned()), |(theirs, their_rows)| {
            assert_eq!(rows, *their_rows, "{name}: the answers differ");
            to_duckdb.push(ours / theirs);
            (format!("{theirs:.1}"), format!("{:.2}", ours / theirs))
        });
        println!("{name:<38} {ours:>9.1} {plain:>9.1} {beside:>9} {:>8.2} {ratio:>8}", ours / plain);
    }
    println!("{:<38} {:>38.3} (limit 1.05)", "geometric mean, to unsealed", geometric_mean(&to_unsealed));
    if !to_duckdb.is_empty() {
        println!("{:<38} {:>38.3} (limit 0.80)", format!("geometric mean, to DuckDB {version}"), geometric_mean(&to_duckdb));
        println!("{:<38} {:>38.3} (limit 1.70)", "worst, to DuckDB", to_duckdb.iter().copied().fold(0.0, f64::max));
    }
}

fn geometric_mean(ratios: &[f64]) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "twenty")]
    let count = ratios.len() as f64;
    (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / count).exp()
}

/// Writes every file twice: sealed as the lake does, and open with the same properties.
async fn write(sealed: &Path, open: &Path, rows: usize) -> (Vec<LakeFile>, Vec<LakeFile>) {
    let (lake, schema) = (LooseFiles::open(sealed).unwrap(), arrow_schema(&backup_runs()));
    let (mut sealed_files, mut open_files) = (Vec::new(), Vec::new());
    for customer in 0..CUSTOMERS {
        let (id, code) = (CustomerId::new(), format!("C{customer:02}"));
        for number in 1..=MONTHS {
            let month = format!("2025-{number:02}");
            let path = format!("customer_id={id}/customer_code={code}/month={month}/runs.parquet");
            let batches = runs(&schema, customer as u64, number, rows);
            write_open(&open.join(&path), &schema, &batches);
            let whose = ((id, code.parse().unwrap()), month.as_str());
            let file = lake.seal(&path, "backup_runs", whose, Arc::clone(&schema), batches).await.unwrap();
            open_files.push(unsealed(&open.join(&path), &file));
            sealed_files.push(file);
        }
    }
    (sealed_files, open_files)
}

fn unsealed(path: &Path, file: &LakeFile) -> LakeFile {
    let content = std::fs::read(path).unwrap();
    let (_, end) = content.split_at(content.len() - 8);
    let footer = u32::from_le_bytes([end[0], end[1], end[2], end[3]]);
    LakeFile { size_bytes: content.len() as u64, footer_bytes: u64::from(footer) + 8, ..file.clone() }
}

fn write_open(path: &Path, schema: &SchemaRef, batches: &[RecordBatch]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3).unwrap()))
        .set_max_row_group_row_count(Some(1 << 20))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .build();
    let mut writer = ArrowWriter::try_new(std::fs::File::create(path).unwrap(), Arc::clone(schema), Some(properties)).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.close().unwrap();
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        value ^ (value >> 31)
    }

    /// Returns a number below `end`.
    fn below(&mut self, end: u64) -> i64 {
        i64::try_from(self.roll() % end).unwrap()
    }
}

fn uuid(high: u64, low: u64) -> String {
    let text = format!("{high:016x}{low:016x}");
    format!("{}-{}-7{}-9{}-{}", &text[..8], &text[8..12], &text[13..16], &text[17..20], &text[20..])
}

/// Makes the runs of one customer and month, in the order in which the lake writes them.
fn runs(schema: &SchemaRef, customer: u64, month: i8, rows: usize) -> Vec<RecordBatch> {
    let mut dice = Dice(customer * 100 + u64::from(month.unsigned_abs()));
    let first = date(2025, month, 1);
    let days = i64::from(first.days_in_month());
    let midnight = first.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_microsecond();
    let span = days * DAY_US / i64::try_from(rows.max(1)).unwrap();
    let mut batches = Vec::new();
    for start in (0..rows).step_by(65_536) {
        let range = start..rows.min(start + 65_536);
        let ended: Vec<i64> =
            range.map(|row| midnight + i64::try_from(row).unwrap() * span + dice.below(span.max(2).unsigned_abs())).collect();
        batches.push(batch(schema, customer, &ended, &mut dice));
    }
    batches
}

fn batch(schema: &SchemaRef, customer: u64, ended: &[i64], dice: &mut Dice) -> RecordBatch {
    let machines: Vec<u64> = ended.iter().map(|_| customer * 1_000 + dice.roll() % MACHINES).collect();
    let failed: Vec<bool> = ended.iter().map(|_| dice.roll() % 100 < 2).collect();
    let durations: Vec<i64> = ended.iter().map(|_| 20_000 + dice.below(1_000_000) * dice.below(1_000) / 500).collect();
    let moved: Vec<i64> = ended.iter().map(|_| dice.below(1 << 30) * (1 + dice.below(8))).collect();
    let day = |at: &i64| i32::try_from(at / DAY_US).unwrap();
    let texts = |values: Vec<String>| -> ArrayRef { Arc::new(StringArray::from(values)) };
    let utc = |values: Vec<i64>| -> ArrayRef { Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC")) };
    let days: ArrayRef = Arc::new(ended.iter().map(day).map(Some).collect::<Date32Array>());
    let column = |name: &str| -> ArrayRef {
        match name {
            "machine_id" => texts(machines.iter().map(|machine| uuid(machine.wrapping_mul(0x9E37_79B9_7F4A_7C15), *machine)).collect()),
            "source" => texts(machines.iter().map(|machine| format!("site-{}", machine % 3)).collect()),
            "vendor_id" => texts(machines.iter().zip(ended).map(|(machine, at)| format!("job-{machine}-{}", at / DAY_US)).collect()),
            "kind" => texts(
                machines.iter().map(|machine| ["backup", "enterprise", "replication"][(machine % 7 % 3) as usize].to_owned()).collect(),
            ),
            "state" => texts(
                failed
                    .iter()
                    .zip(&durations)
                    .map(|(failed, took)| {
                        if *failed {
                            "failed"
                        } else if took % 50 == 0 {
                            "warning"
                        } else {
                            "completed"
                        }
                        .to_owned()
                    })
                    .collect(),
            ),
            "error" => Arc::new(
                failed
                    .iter()
                    .zip(&durations)
                    .map(|(failed, took)| failed.then(|| format!("error {} of the agent", took % 40)))
                    .collect::<StringArray>(),
            ),
            "started_at" => utc(ended.iter().zip(&durations).map(|(at, took)| at - took * 1_000).collect()),
            "ended_at" => utc(ended.to_vec()),
            "service_on" | "billing_on" => Arc::clone(&days),
            "attempt_count" => Arc::new(failed.iter().map(|failed| Some(1 + i32::from(*failed))).collect::<Int32Array>()),
            "transferred_bytes" => Arc::new(Int64Array::from(moved.clone())),
            "protected_bytes" => Arc::new(Int64Array::from(moved.iter().map(|bytes| bytes * 7).collect::<Vec<_>>())),
            "duration_ms" => Arc::new(Int64Array::from(durations.clone())),
            "id" => texts(
                ended
                    .iter()
                    .zip(&moved)
                    .map(|(at, bytes)| uuid(at.unsigned_abs() << 12, bytes.unsigned_abs().wrapping_mul(0xD6E8_FEB8_6659_FD93)))
                    .collect(),
            ),
            other => unreachable!("the generator knows no column {other}"),
        }
    };
    RecordBatch::try_new(Arc::clone(schema), schema.fields().iter().map(|field| column(field.name())).collect()).unwrap()
}
