//! An MSP's existing customers come in from a sheet: all or none, a second time without effect, and after a kill.

use std::process::Stdio;
use std::time::Duration;

use serde_json::json;

use super::front_door::{House, command};

fn north() -> House {
    let house = House::empty();
    house.ok(&["msp", "add", "NORTH", "--name", "Northern Backup", "--time-zone", "America/New_York"]);
    house
}

/// Writes a sheet beside the data directory and returns its path.
fn sheet(house: &House, text: &str) -> String {
    let path = house.dir.path().join("customers.csv");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_sheet_comes_in_whole_and_a_second_time_changes_nothing() {
    let house = north();
    let path = sheet(
        &house,
        "\u{feff}customer_code,company_name,since,plan_tier,storage_gb,main_name,main_email,price_backup,opening_balance\r\n\
         ACME,\"Acme, Inc.\",2023-04-01,enterprise,2000,Ada Lovelace,ada@acme.example,42.50,1250.00\r\n\
         GLOBEX,Globex,,,,,,,-10.5\r\n",
    );
    let made = json!([
        {"line": 2, "customer_code": "ACME", "outcome": "made"},
        {"line": 3, "customer_code": "GLOBEX", "outcome": "made"},
    ]);
    assert_eq!(house.json(&["customer", "import", &path, "--dry-run", "--format", "json"]), made);
    assert_eq!(house.json(&["customer", "list", "--format", "json"]), json!([]), "a dry run does nothing");

    assert_eq!(house.json(&["customer", "import", &path, "--format", "json"]), made);
    let listed = house.json(&["customer", "list", "--format", "json"]);
    let names: Vec<_> =
        listed.as_array().unwrap().iter().map(|row| (row["code"].as_str().unwrap(), row["name"].as_str().unwrap())).collect();
    assert_eq!(names, [("ACME", "Acme, Inc."), ("GLOBEX", "Globex")]);
    let accounts = house.json(&["billing", "accounts", "--format", "json"]);
    let owed: Vec<_> = accounts.as_array().unwrap().iter().map(|row| (&row["opening_minor"], &row["open_minor"])).collect();
    assert_eq!(owed, [(&json!(125_000), &json!(125_000)), (&json!(-1_050), &json!(-1_050))]);

    let again = house.json(&["customer", "import", &path, "--format", "json"]);
    assert!(again.as_array().unwrap().iter().all(|row| row["outcome"] == "known"), "{again}");
    assert_eq!(house.json(&["billing", "accounts", "--format", "json"]), accounts);
    assert_eq!(house.json(&["customer", "list", "--format", "json"]), listed);

    // What stands is not changed by another sheet.
    let other = sheet(&house, "customer_code,company_name,opening_balance\nNEW,New,\nACME,Acme Limited,\nGLOBEX,Globex,3\n");
    let refused = house.refused(&["customer", "import", &other, "--format", "json"]);
    let problems: Vec<_> = refused.as_array().unwrap().iter().map(|row| row["problem"].as_str().unwrap()).collect();
    assert!(problems.len() == 2 && problems[0].contains("Acme, Inc.") && problems[1].contains("-10.50 USD"), "{problems:?}");
    for (text, says) in [
        ("customer_code,company_name,storage_gb\nACME,\"Acme, Inc.\",3000\n", "storage_gb is '2000', not '3000'"),
        ("customer_code,company_name,since\nACME,\"Acme, Inc.\",2024-01-01\n", "since is '2023-04-01'"),
        ("customer_code,company_name,source\nGLOBEX,Globex,urn:other\n", "source"),
        ("customer_code,company_name,price_backup\nACME,\"Acme, Inc.\",43\n", "another price"),
        ("customer_code,company_name,price_replication\nGLOBEX,Globex,3\n", "no price of its own"),
        ("customer_code,company_name,currency\nGLOBEX,Globex,EUR\n", "currency"),
    ] {
        let refused = house.refused(&["customer", "import", &sheet(&house, text), "--format", "json"]);
        assert!(refused[0]["problem"].as_str().unwrap().contains(says), "{text}: {refused}");
    }
    assert_eq!(house.json(&["customer", "list", "--format", "json"]), listed);
    assert_eq!(house.json(&["billing", "accounts", "--format", "json"]), accounts);
}

#[test]
fn every_fault_of_a_sheet_is_named_by_line_and_column_and_nothing_is_made() {
    let house = north();
    let faulty = sheet(
        &house,
        "customer_code,company_name,since,time_zone,storage_gb,price_backup,opening_balance,premium_support,main_name\n\
         a b,Spaces,,,,,,,\n\
         ACME,,,,,,,,\n\
         ACME,Acme,2031-01-01,Mars/Olympus,many,-1,1.001,perhaps,Ada\n\
         GLOBEX,Globex,,,,,,,\n\
         GLOBEX,Globex again,,,,,,,\n",
    );
    let refused = house.refused(&["customer", "import", &faulty, "--format", "json"]);
    let places: Vec<_> =
        refused.as_array().unwrap().iter().map(|row| (row["line"].as_u64().unwrap(), row["column"].as_str().unwrap())).collect();
    assert_eq!(
        places,
        [
            (2, "customer_code"),
            (3, "company_name"),
            (4, "since"),
            (4, "time_zone"),
            (4, "storage_gb"),
            (4, "premium_support"),
            (4, "main_email"),
            (4, "price_backup"),
            (4, "opening_balance"),
            (6, "customer_code"),
        ],
        "{refused}"
    );
    for (text, says) in [
        ("customer_code,company_name,colour\nA,A,red\n", "no such column"),
        ("customer_code\nA\n", "needed"),
        ("customer_code,company_name,customer_code\nA,A,A\n", "twice"),
        ("customer_code,company_name\n", "no customers"),
        ("customer_code,company_name\nA,A,A\n", "fields"),
        ("customer_code,company_name,country\nA,A,usa\n", "two capital letters"),
        ("customer_code;company_name\nA;A\n", "separated by commas"),
        ("customer_code,company_name,status,since\nA,A,trial,2024-01-01\n", "would be over"),
        ("customer_code,company_name,since\nA,A,-009999-01-01\n", "between 1990 and 2099"),
        ("customer_code,company_name,minimum\nA,A,92233720368547758.07\n", "minor units"),
        ("customer_code,company_name,opening_balance\nA,A,92233720368547758\n", "no opening balance"),
        ("customer_code,company_name,price_backup\nA,A,10000000000\n", "no price"),
        ("customer_code,company_name,price_backup\nA,A,0.123456789012\n", "eight decimals"),
        ("customer_code,company_name,discount_percent\nA,A,33.333\n", "two decimals"),
        ("customer_code,company_name\nA,\u{200b}\n", "control character"),
        ("customer_code,company_name,main_phone\nA,A,123\n", "a contact needs one"),
    ] {
        let path = sheet(&house, text);
        let refused = house.refused(&["customer", "import", &path, "--format", "json"]);
        assert!(refused[0]["problem"].as_str().unwrap().contains(says), "{text}: {refused}");
    }
    assert_eq!(house.json(&["customer", "list", "--format", "json"]), json!([]));
}

#[test]
fn a_killed_import_is_finished_by_the_next() {
    let house = north();
    let lines: String = (0..12).map(|index| format!("C{index:02},Customer {index},c{index}@example.com,5\n")).collect();
    let path = sheet(&house, &format!("customer_code,company_name,main_email,opening_balance\n{lines}"));
    let mut child = command(&house.data_dir(), &["customer", "import", &path]).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(1_500));
    child.kill().unwrap();
    child.wait().unwrap();
    let rows = house.json(&["customer", "import", &path, "--format", "json"]);
    assert_eq!(rows.as_array().unwrap().len(), 12, "{rows}");
    let listed = house.json(&["customer", "list", "--format", "json"]);
    assert!(listed.as_array().unwrap().len() == 12 && listed.as_array().unwrap().iter().all(|row| row["status"] == "active"), "{listed}");
    let accounts = house.json(&["billing", "accounts", "--format", "json"]);
    assert!(accounts.as_array().unwrap().iter().all(|row| row["open_minor"] == 500), "{accounts}");
    assert_eq!(accounts.as_array().unwrap().len(), 12);
}
