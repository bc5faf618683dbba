//! The lake as it was: by name, by number, by time.

use serde_json::json;

use super::front_door::House;

fn machines(house: &House, number: u32) {
    let event = json!([{"specversion": "1.0", "source": "vbr", "id": format!("p-{number}"), "type": "machine.protected", "time": "2025-10-01T12:00:00Z",
        "data": {"source_system": "veeam", "vendor_id": format!("vm-{number}"), "name": "web", "tier": "backup", "from": "2025-10-01"}}]);
    let file = house.dir.path().join(format!("{number}.json"));
    std::fs::write(&file, event.to_string()).unwrap();
    house.ok(&["import", file.to_str().unwrap(), "--customer", "ACME"]);
    house.ok(&["export", "run"]);
}

#[test]
fn a_question_is_answered_as_of_a_name_a_number_and_a_time() {
    let house = House::empty();
    house.ok(&["msp", "add", "NORTH", "--name", "Northern Backup"]);
    house.ok(&["customer", "add", "ACME", "--name", "ACME Inc.", "--source", "vbr"]);
    machines(&house, 1);
    let labelled = house.json(&["export", "label", "before-the-audit"]);
    let between = granary_types::Clock::System.now().to_string();
    machines(&house, 2);
    let version = format!("v{}", labelled["version"]);
    let count = |arguments: &[&str]| {
        let question = ["query", "--format", "json", "--reason", "a test asks", "select count(*) as n from stg_metering__machines"];
        let answer = house.json(&[&question, arguments].concat());
        answer[0]["n"].as_i64().unwrap()
    };
    assert_eq!(count(&[]), 2);
    for wanted in ["before-the-audit", version.as_str(), between.as_str()] {
        assert_eq!(count(&["--as-of", wanted]), 1, "{wanted}");
    }
    let refused = house.run(&["query", "--as-of", "2025-10", "--reason", "a test asks", "select 1"]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && told.contains("'2025-10'") && told.contains("granary export versions"), "{told}");

    let listed = house.json(&["export", "versions", "--labelled", "--format", "json"]);
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["label"]), (1, &json!("before-the-audit")));
    assert_eq!(house.json(&["export", "gc", "--orphans"])["msps"][0]["files"], 0, "nothing is old enough");
    let rewritten = house.json(&["export", "backfill", "ACME", "--dataset", "machines"]);
    assert_eq!(rewritten["files_written"], 1, "{rewritten}");
    assert!(house.ok(&["export", "status", "--format", "csv"]).contains("\nACME,"));
    assert_eq!(count(&[]), 2);
    house.ok(&["export", "verify"]);
}
