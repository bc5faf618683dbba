//! What somebody sends who wants more than his own, at this door.

use std::time::Duration;

use granary_warehouse::Budget;
use tonic::Code;

use super::house::{House, ask};

/// The statements of a section, one a line.
fn statements(section: &str) -> Vec<&'static str> {
    let mut is_within = false;
    let mut found = Vec::new();
    for line in include_str!("../../../../tests/data/hostile.sql").lines() {
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
    let mut confined = house.confined().await;
    let (refused, harmless) = (statements("refused"), statements("harmless"));
    assert!(refused.len() + harmless.len() >= 300, "{} and {}", refused.len(), harmless.len());
    let others = [house.made.globex.id.to_string(), house.made.south_acme.id.to_string(), house.made.south.id.to_string()];
    let forbidden: Vec<&str> = FORBIDDEN.into_iter().chain(others.iter().map(String::as_str)).collect();
    let mut wrong = Vec::new();
    let (mut answered, mut met) = (0, 0);
    for sql in refused.iter().chain(&harmless) {
        let answer = ask(&mut confined, sql).await;
        let is_refused = match &answer {
            Ok(_) => false,
            Err(arrow_flight::error::FlightError::Tonic(status)) => {
                matches!(status.code(), Code::InvalidArgument | Code::ResourceExhausted)
            }
            Err(_) => false,
        };
        let text = answer.as_ref().map_or_else(ToString::to_string, |rows| rows.join("\n"));
        if !is_refused && (answer.is_err() || refused.contains(sql)) {
            wrong.push(format!("{sql}: {}", text.chars().take(200).collect::<String>()));
        }
        wrong.extend(
            forbidden.iter().filter(|word| text.contains(**word) && !sql.contains(**word)).map(|word| format!("{sql}: shows {word}")),
        );
        answered += usize::from(answer.is_ok());
        met += usize::from(text.contains("NORTH-ACME-"));
    }
    println!("{} statements, {answered} answered, {met} with rows of ACME, {} wrong", refused.len() + harmless.len(), wrong.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(met >= 5, "the search for others' rows proves nothing when one's own are not met");
    assert_eq!(ask(&mut confined, "select count(*) as n from stg_metering__backup_runs").await.unwrap(), ["93"]);
}
