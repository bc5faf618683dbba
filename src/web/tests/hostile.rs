//! What somebody sends who wants more than his own, at the door of HTTP.

use std::time::Duration;

use axum::http::StatusCode;
use granary_types::Role;
use granary_warehouse::Budget;
use serde_json::json;

use super::house::House;

/// The statements of a section, one a line.
fn statements(section: &str) -> Vec<&'static str> {
    let mut is_within = false;
    let mut found = Vec::new();
    for line in include_str!("../../../tests/data/hostile.sql").lines() {
        if let Some(heading) = line.strip_prefix("-- ") {
            is_within = heading.starts_with(&format!("{section}:"));
        } else if is_within && !line.is_empty() {
            found.push(line);
        }
    }
    found
}

/// What no answer may hold besides the ids of others: their rows, and files of the machine.
const FORBIDDEN: [&str; 8] =
    ["GLOBEX Inc.", "NORTH-GLOBEX-", "SOUTH-ACME-", "Southern Backup", "root:x:0", "granary://", "/tmp/", "DATABASE_URL"];

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_shows_or_changes_what_is_not_ones_own() {
    let budget = Budget { time: Duration::from_secs(3), memory_bytes: 64 << 20, spill_bytes: 64 << 20, ..Budget::default() };
    let house = House::open_within(budget).await;
    let confined = house.user(Role::MspAnalyst, &house.made.north, Some(&house.made.acme)).await;
    let (refused, harmless) = (statements("refused"), statements("harmless"));
    assert!(refused.len() + harmless.len() >= 300, "{} and {}", refused.len(), harmless.len());
    let others = [house.made.globex.id.to_string(), house.made.south_acme.id.to_string(), house.made.south.id.to_string()];
    let forbidden: Vec<&str> = FORBIDDEN.into_iter().chain(others.iter().map(String::as_str)).collect();
    let mut wrong = Vec::new();
    let (mut answered, mut met) = (0, 0);
    for sql in refused.iter().chain(&harmless) {
        let answer = house.post("/api/v1/msp/query", &confined, &json!({"sql": sql}).to_string()).await;
        let is_refused = matches!(answer.status, StatusCode::UNPROCESSABLE_ENTITY | StatusCode::PAYLOAD_TOO_LARGE);
        if !is_refused && (answer.status != StatusCode::OK || refused.contains(sql)) {
            wrong.push(format!("{sql}: {} {}", answer.status, answer.body.chars().take(200).collect::<String>()));
        }
        let leaks = forbidden.iter().filter(|word| answer.body.contains(**word) && !sql.contains(**word));
        wrong.extend(leaks.map(|word| format!("{sql}: shows {word}")));
        answered += usize::from(answer.status == StatusCode::OK);
        met += usize::from(answer.body.contains("NORTH-ACME-"));
    }
    println!("{} statements, {answered} answered, {met} with rows of ACME, {} wrong", refused.len() + harmless.len(), wrong.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(met >= 5, "the search for others' rows proves nothing when one's own are not met");
    // The house still stands, and nothing changed.
    let count = json!({"sql": "select count(*) as n from stg_metering__backup_runs"}).to_string();
    assert_eq!(house.post("/api/v1/msp/query", &confined, &count).await.body, "[{\"n\":93}]");
    assert!(!std::path::Path::new("/tmp/stolen.csv").exists() && !std::path::Path::new("/tmp/stolen.parquet").exists());
}
