//! A customer leaves for good: what was its own is gone, what the law keeps is sealed, everybody else is untouched.

use std::time::Duration;

use serde_json::Value;

use super::front_door::{House, SMALL_DEMO, TINY_DEMO, command};

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
    let reports =
        || std::fs::read_dir(house.data_dir().join("reports")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let (its_reports, all) = (reports().filter(|name| name.starts_with(code)).count(), reports().count());
    assert!(its_reports > 0);

    // Not before it is closed, and not while a hold stands.
    let erase = ["customer", "erase", code, "--reason", "end of contract", "--yes"];
    assert!(!house.run(&erase).status.success());
    let nowhere = house.run(&[&erase[..], &["--out", "/nowhere/certificate.json"]].concat());
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("/nowhere"), "{nowhere:?}");
    house.ok(&["customer", "close", code, "--reason", "left"]);
    house.ok(&["customer", "hold", "set", code, "--reason", "lawsuit"]);
    let refusal = house.run(&erase);
    assert!(String::from_utf8_lossy(&refusal.stderr).contains("lawsuit"), "{refusal:?}");
    house.ok(&["customer", "hold", "release", code, "--reason", "settled"]);

    takes_its_data_along(&house, code);

    let file = house.dir.path().join("certificate.json");
    let file = file.to_str().unwrap();
    killed_often_it_ends(&house, &[&erase[..], &["--out", file]].concat());
    let certificate = proves_itself(&house, file, code, &number);
    let id = certificate["statement"]["customer"]["id"].as_str().unwrap();
    is_read_by_no_door(&house, code, id);

    // What the law wants is kept, sealed; totals without a name stay.
    let kept = house.json(&["customer", "kept-invoice", &number]);
    assert_eq!(kept["invoice"]["number"].as_str(), Some(number.as_str()));
    assert!(!kept["lines"].as_array().unwrap().is_empty());
    assert!(!house.query("select * from erased_revenue_by_month").as_array().unwrap().is_empty());

    // Everybody else is untouched.
    assert_eq!((reports().filter(|name| name.starts_with(code)).count(), reports().count()), (0, all - its_reports));
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

/// Killed again and again, each time a little later, it is finished by the last call.
fn killed_often_it_ends(house: &House, erase: &[&str]) {
    let mut kills = 0;
    let mut patience = 250;
    loop {
        let mut child =
            command(&house.data_dir(), erase).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).spawn().unwrap();
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
        patience += 60;
    }
    // How often depends on the machine; each death on its own is a test of the steps.
    assert!(kills > 0, "it was never killed");
}

/// The certificate proves itself, to those who know the MSP's key.
fn proves_itself(house: &House, file: &str, code: &str, number: &str) -> Value {
    let key = house.json(&["customer", "certificate", "public-key"]);
    let key = key["public_key"].as_str().unwrap();
    let verified = house.json(&["customer", "certificate", "verify", file, "--public-key", key]);
    assert_eq!((verified["valid"].as_bool(), verified["customer"]["code"].as_str()), (Some(true), Some(code)));
    let text = std::fs::read_to_string(file).unwrap();
    let certificate: Value = serde_json::from_str(&text).unwrap();
    let destroyed = &certificate["statement"]["destroyed"];
    let count = |step: &str, what: &str| destroyed[step][what].as_i64().unwrap_or_else(|| panic!("{step}.{what} in {destroyed}"));
    assert!(count("silo", "rows") > 0 && count("lake", "files") > 0 && count("keys", "keys") == 2 && count("control", "rows") > 0);
    assert!(certificate["statement"]["kept"]["invoices"].as_array().unwrap().contains(&Value::from(number)));
    let forged = house.dir.path().join("forged.json");
    std::fs::write(&forged, text.replace("end of contract", "never happened!")).unwrap();
    assert!(!house.run(&["customer", "certificate", "verify", forged.to_str().unwrap()]).status.success());
    certificate
}

/// Nothing of the customer is read any more.
fn is_read_by_no_door(house: &House, code: &str, id: &str) {
    let customers = house.ok(&["customer", "list", "--format", "json"]);
    assert!(!customers.contains(&format!("\"{code}\"")), "{customers}");
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
    assert!(!house.run(&["customer", "export", code, "--out", "/dev/null"]).status.success());
}

/// Exports a customer and reads the archive with tools that do not know us.
fn takes_its_data_along(house: &House, code: &str) {
    let folder = house.dir.path().join("archive");
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join("customer.tar");
    let report = house.json(&["customer", "export", code, "--out", file.to_str().unwrap()]);
    assert_eq!(report["bytes"].as_u64(), Some(std::fs::metadata(&file).unwrap().len()));
    assert!(report["reports"].as_i64().unwrap() > 0, "{report}");
    let tool = |program: &str, arguments: &[&str]| {
        let output = std::process::Command::new(program).args(arguments).current_dir(&folder).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    };
    tool("tar", &["--extract", "--file", "customer.tar"]);
    tool("sha256sum", &["--check", "--strict", "--quiet", "SHA256SUMS"]);
    let customer: Value = serde_json::from_slice(&std::fs::read(folder.join("customer.json")).unwrap()).unwrap();
    assert_eq!(customer["code"].as_str(), Some(code));
    assert!(std::fs::read(folder.join("reports/2025-10.pdf")).unwrap().starts_with(b"%PDF-"));
    assert!(std::fs::read_to_string(folder.join("README.txt")).unwrap().contains(customer["name"].as_str().unwrap()));
    let runs = std::fs::read_to_string(folder.join("tables/backup_runs.csv")).unwrap();
    assert!(runs.lines().count() > 100, "{}", runs.lines().next().unwrap());
}

#[test]
fn a_person_is_found_gets_its_data_and_is_forgotten() {
    let house = House::empty();
    house.json(TINY_DEMO);
    let customers = house.json(&["customer", "list", "--format", "json"]);
    let code = customers[0]["code"].as_str().unwrap();
    let email = "Wendy@acme.example";
    let mut adding = command(&house.data_dir(), &["user", "add", email, "--role", "customer_admin", "--customer", code])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut adding.stdin.take().unwrap(), b"correct horse battery").unwrap();
    assert!(adding.wait().unwrap().success());
    house.tamper(&format!(
        "set search_path = control;
        update customers set contact_email = '{email}' where code = '{code}';
        do $do$ begin
            perform set_config('search_path', (select schema_name from control.customers where code = '{code}'), true);
            update machines set name = 'laptop of {email}' where id = (select id from machines order by id limit 1);
            update machines set name = 'laptop of ma{email}' where id = (select id from machines order by id desc limit 1);
        end $do$"
    ));

    let found = house.json(&["person", "find", "wendy@ACME.example"]);
    assert_eq!((found["user"]["email"].as_str(), found["user"]["role"].as_str()), (Some(email), Some("customer_admin")));
    let [here] = found["customers"].as_array().unwrap().as_slice() else { panic!("{found}") };
    assert_eq!(
        (here["customer"].as_str(), here["contact_email"].as_bool(), here["rows"]["machines"].as_i64()),
        (Some(code), Some(true), Some(1))
    );

    assert_eq!(here["copies"].as_object().map(serde_json::Map::len), Some(0), "{here}");
    house.ok(&["customer", "clone", "make", code, "--as", "COPY", "--reason", "ticket 7"]);
    house.ok(&["customer", "clone", "make", code, "--as", "NAMELESS", "--without-personal-data", "--reason", "staging"]);
    let found = house.json(&["person", "find", email]);
    assert_eq!(found["customers"][0]["copies"], serde_json::json!({"COPY": {"machines": 1}}), "{found}");

    let file = house.dir.path().join("wendy.json");
    let export = ["person", "export", email, "--reason", "her letter", "--out", file.to_str().unwrap()];
    house.json(&export);
    let given: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(given["customers"][0]["rows"][0]["row"]["name"].as_str(), Some("laptop of Wendy@acme.example"));
    assert!(!given.to_string().contains("password") && !given.to_string().contains("maWendy"), "{given}");

    let erase = ["person", "erase", email, "--reason", "her letter", "--yes"];
    house.ok(&["customer", "hold", "set", code, "--reason", "lawsuit"]);
    assert!(!house.run(&erase).status.success(), "a hold stands");
    house.ok(&["customer", "hold", "release", code, "--reason", "settled"]);
    let erased = house.json(&erase);
    assert_eq!((erased["users"].as_i64(), erased["contact_emails"].as_i64()), (Some(1), Some(1)), "{erased}");
    assert_eq!(erased["left"][0]["rows"]["machines"], 1, "{erased}");
    assert_eq!(erased["left"][0]["copies"]["COPY"]["machines"], 1, "{erased}");
    let found = house.json(&["person", "find", email]);
    assert!(found["user"].is_null() && found["customers"][0]["contact_email"] == false, "{found}");
    assert!(!house.run(&["person", "export", "nobody@acme.example", "--reason", "x", "--out", "/dev/null"]).status.success());
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
