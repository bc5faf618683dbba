//! What somebody sends who wants more than his own, below every door; the doors run the same statements.

use std::time::{Duration, Instant};

use granary_tenants::ReadGrant;
use granary_types::{Classify, CustomerId, ErrorKind, Role};
use serde_json::json;

use crate::fixture::{Shed, datasets, grant, models};
use crate::session::to_json;
use crate::watchdog::resident_bytes;

/// What one statement may take, and how much longer until it is told so: planning is not watched.
const TIME: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_secs(20);
/// What the process may hold beyond what it held before.
const MEMORY: u64 = 3 << 30;

/// The statements of a section.
fn statements(section: &str) -> Vec<String> {
    let mut is_within = false;
    let mut found = Vec::new();
    for line in include_str!("../../tests/data/hostile.sql").lines() {
        if let Some(heading) = line.strip_prefix("-- ") {
            is_within = heading.starts_with(&format!("{section}:"));
        } else if is_within && !line.is_empty() {
            found.push(if section == "expanded" { expand(line) } else { line.to_owned() });
        }
    }
    found
}

/// Writes out `{n*text}`.
fn expand(line: &str) -> String {
    let (mut text, mut rest) = (String::new(), line);
    while let Some((before, after)) = rest.split_once('{') {
        let (mark, after) = after.split_once('}').unwrap();
        let (count, repeated) = mark.split_once('*').unwrap();
        text += before;
        text += &repeated.repeat(count.parse().unwrap());
        rest = after;
    }
    text + rest
}

/// Two customers with the same rows under other names; the analyst is confined to ACME.
fn shed() -> (Shed, ReadGrant, [String; 2]) {
    let mut shed = Shed::new(datasets(), models());
    let (acme, globex) = (CustomerId::new(), CustomerId::new());
    let customer = |id: CustomerId, code: &str| {
        json!({"id": id, "msp_id": id, "code": code, "name": format!("{code} Inc."), "status": "active", "time_zone": "UTC", "country": "US",
            "region": "local", "created_at": "2025-10-01T12:00:00Z"})
    };
    shed.write_rows("customers", None, "all", &[customer(acme, "ACME"), customer(globex, "GLOBEX")]);
    for (id, code) in [(acme, "ACME"), (globex, "GLOBEX")] {
        let beat = |day: i32| json!({"source": format!("{code}-dc"), "service_on": format!("2025-10-{day:02}"), "received": 90, "expected": 96, "last_at": "2025-10-01T23:45:00Z"});
        shed.write_rows("heartbeats", Some((id, code)), "2025-10", &(1..=9).map(beat).collect::<Vec<_>>());
    }
    // The grant opens the files of its customers only, and one that all customers share.
    for files in shed.files.values_mut() {
        files.retain(|file| !file.path.starts_with(&globex.to_string()));
    }
    shed.budget.time = TIME;
    shed.budget.query_bytes = 128 << 20;
    (shed, grant(Role::MspAnalyst, Some(&[acme])), [globex.to_string(), "GLOBEX Inc.".to_owned()])
}

#[test]
fn marks_are_written_out() {
    assert_eq!(expand("select {3*(}1{3*)} {2*a b} x"), "select (((1))) a ba b x");
    let (refused, harmless, expanded) = (statements("refused"), statements("harmless"), statements("expanded"));
    assert!(refused.len() > 150 && harmless.len() > 150 && expanded.len() > 30, "{} {} {}", refused.len(), harmless.len(), expanded.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_statement_shows_what_is_not_ones_own_or_takes_the_process_with_it() {
    let (shed, grant, forbidden) = shed();
    let session = shed.session(&grant).await.unwrap();
    let (before, mut most, mut answered) = (resident_bytes().unwrap(), 0, 0);
    let mut wrong = Vec::new();
    for (section, sql) in
        ["refused", "harmless", "expanded"].iter().flat_map(|section| statements(section).into_iter().map(move |sql| (section, sql)))
    {
        println!("{section}: {}", sql.chars().take(100).collect::<String>());
        let (asked, begun, text) = (session.clone(), Instant::now(), sql.clone());
        let answer = tokio::spawn(async move { asked.query(&text).await }).await;
        let took = begun.elapsed();
        let short: String = sql.chars().take(160).collect();
        most = most.max(resident_bytes().unwrap());
        if took > TIME + GRACE {
            wrong.push(format!("{short}: took {took:?}"));
        }
        match answer {
            Err(panic) => wrong.push(format!("{short}: {panic}")),
            Ok(Ok(batches)) => {
                answered += 1;
                let shown = to_json(&batches).map_or_else(|_| format!("{batches:?}"), |json| String::from_utf8(json).unwrap());
                wrong.extend(
                    forbidden
                        .iter()
                        .filter(|word| shown.contains(*word) && !sql.contains(*word))
                        .map(|word| format!("{short}: shows {word}")),
                );
                if *section == "refused" {
                    wrong.push(format!("{short}: was answered"));
                }
            }
            Ok(Err(error)) => {
                let said = error.to_string();
                if matches!(error.kind(), ErrorKind::Internal | ErrorKind::Unavailable) {
                    wrong.push(format!("{short}: {}", said.chars().take(300).collect::<String>()));
                }
                wrong.extend(
                    forbidden
                        .iter()
                        .filter(|word| said.contains(*word) && !sql.contains(*word))
                        .map(|word| format!("{short}: says {word}")),
                );
            }
        }
    }
    println!("{answered} answered; {} MiB before, {} MiB at most", before >> 20, most >> 20);
    assert!(wrong.is_empty(), "{} wrong: {wrong:#?}", wrong.len());
    assert!(answered > 60, "{answered}");
    assert!(most < before + MEMORY, "{} MiB", most >> 20);
}
