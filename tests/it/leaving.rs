//! A customer leaves for good: what was its own is gone, what the law keeps is sealed, everybody else is untouched.

use std::time::Duration;

use serde_json::Value;

use super::front_door::{House, SMALL_DEMO, command};

const OTHERS: &str = "select customer_code, period, mrr_minor, usage_revenue_minor from customer_months order by customer_code, period";

/// What the marts say of everybody but one customer.
fn others(house: &House, code: &str) -> Vec<Value> {
    let rows = house.query(OTHERS);
    rows.as_array().unwrap().iter().filter(|row| row["customer_code"] != code).cloned().collect()
}

#[test]
fn an_erased_customer_is_gone_and_everybody_else_is_untouched() {
    let house = House::empty();
    house.json(SMALL_DEMO);
    let customers = house.json(&["customer", "list", "--format", "json"]);
    let active: Vec<&Value> = customers.as_array().unwrap().iter().filter(|customer| customer["status"] == "active").collect();
    let code = active[0]["code"].as_str().unwrap();
    let other = active[1]["code"].as_str().unwrap();
    let number = house.query(&format!(
        "select i.number from stg_billing__invoices i join stg_tenants__customers c on c.customer_id = i.customer_id
         where c.customer_code = '{code}' and i.number is not null order by 1 limit 1"
    ));
    let number = number[0]["number"].as_str().unwrap().to_owned();
    let other_months = others(&house, code);

    // Not before it is closed, and not while a hold stands.
    let erase = ["customer", "erase", code, "--reason", "end of contract", "--yes"];
    assert!(!house.run(&erase).status.success());
    house.ok(&["customer", "close", code, "--reason", "left"]);
    house.ok(&["customer", "hold", "set", code, "--reason", "lawsuit"]);
    let refusal = house.run(&erase);
    assert!(String::from_utf8_lossy(&refusal.stderr).contains("lawsuit"), "{refusal:?}");
    house.ok(&["customer", "hold", "release", code, "--reason", "settled"]);

    // Killed again and again, each time a little later, it is finished by the last call.
    let mut kills = 0;
    let mut patience = 250;
    let file = house.dir.path().join("certificate.json");
    let file = file.to_str().unwrap();
    loop {
        let mut child = command(&house.data_dir(), &[&erase[..], &["--out", file]].concat())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let deadline = std::time::Instant::now() + Duration::from_millis(patience);
        while child.try_wait().unwrap().is_none() && std::time::Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        if child.try_wait().unwrap().is_some() {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        patience += 90;
    }
    assert!(kills > 3, "it was killed {kills} times");

    // The certificate proves itself, to those who know the MSP's key.
    let key = house.json(&["customer", "certificate", "public-key"]);
    let key = key["public_key"].as_str().unwrap();
    let verified = house.json(&["customer", "certificate", "verify", file, "--public-key", key]);
    assert_eq!((verified["valid"].as_bool(), verified["customer"]["code"].as_str()), (Some(true), Some(code)));
    let text = std::fs::read_to_string(file).unwrap();
    let certificate: Value = serde_json::from_str(&text).unwrap();
    let destroyed = &certificate["statement"]["destroyed"];
    let count = |step: &str, what: &str| destroyed[step][what].as_i64().unwrap_or_else(|| panic!("{step}.{what} in {destroyed}"));
    assert!(count("silo", "rows") > 0 && count("lake", "files") > 0 && count("keys", "keys") == 2 && count("control", "rows") > 0);
    assert!(certificate["statement"]["kept"]["invoices"].as_array().unwrap().contains(&Value::from(number.as_str())));
    let forged = house.dir.path().join("forged.json");
    std::fs::write(&forged, text.replace("end of contract", "never happened!")).unwrap();
    assert!(!house.run(&["customer", "certificate", "verify", forged.to_str().unwrap()]).status.success());

    // Nothing of it is read any more, by no door.
    let customers = house.ok(&["customer", "list", "--format", "json"]);
    assert!(!customers.contains(&format!("\"{code}\"")), "{customers}");
    let id = certificate["statement"]["customer"]["id"].as_str().unwrap();
    let models = house.query("select table_name from information_schema.tables where table_schema = 'warehouse' order by 1");
    let models: Vec<&str> = models.as_array().unwrap().iter().filter_map(|model| model["table_name"].as_str()).collect();
    assert!(models.len() > 30 && models.contains(&"health_scores") && models.contains(&"stg_billing__payments"), "{models:?}");
    for model in &models {
        let rows = house.query(&format!("select * from {model}")).to_string();
        assert!(!rows.contains(&format!("\"{code}\"")) && !rows.contains(id), "{model} still knows {code}");
    }
    let lake = walk(&house.data_dir().join("lake"));
    assert!(!lake.is_empty() && !lake.iter().any(|path| path.contains(id)), "a file of the customer is left");
    assert!(!house.run(&["events", "--customer", code, "--period", "2025-10"]).status.success());

    // What the law wants is kept, sealed; totals without a name stay.
    let kept = house.json(&["customer", "kept-invoice", &number]);
    assert_eq!(kept["invoice"]["number"].as_str(), Some(number.as_str()));
    assert!(!kept["lines"].as_array().unwrap().is_empty());
    assert!(!house.query("select * from erased_revenue_by_month").as_array().unwrap().is_empty());

    // Everybody else is untouched.
    assert_eq!(others(&house, code), other_months);
    house.ok(&["export", "verify"]);
    house.ok(&["warehouse", "test"]);
    house.ok(&["billing", "show", "--customer", other, "--period", "2025-10"]);
    house.ok(&["reconcile", "--period", "2025-10"]);
    house.ok(&["export", "run"]);
    house.ok(&["doctor", "--isolation"]);

    // Erased again it is what it was; with its code given to somebody else, that one is not it.
    assert_eq!(house.json(&erase), certificate);
    house.ok(&["customer", "add", code, "--name", "Heir"]);
    assert!(!house.run(&erase).status.success(), "the heir is not closed");
    house.ok(&["customer", "certificate", "show", code]);
}

fn walk(folder: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            found.extend(walk(&entry));
        } else {
            found.push(entry.display().to_string());
        }
    }
    found
}
