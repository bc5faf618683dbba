//! Every command, as everybody. Whoever can read the data directory is the operator; what a command is *about* is a wall all the
//! same: one that names an MSP or a customer finds nothing of another, and one that acts as a user sees what the user sees.
//!
//! The commands come from the program's own help: one that is not declared here fails.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Child, Output, Stdio};

use super::front_door::{House, command};

/// What a command is about.
enum Kind {
    /// The installation.
    Operator,
    /// One MSP, named by `--msp`: the arguments of a call, in which DIR stands for a directory.
    OfMsp(&'static [&'static str]),
    /// One customer of an MSP: the arguments of a call, in which CODE stands for the customer and DIR for a directory.
    OfCustomer(&'static [&'static str]),
    /// What a user named by `--as` sees.
    AsUser,
}

use Kind::{AsUser, OfCustomer, OfMsp, Operator};

/// The id of a key that is not there.
const NO_KEY: &str = "00000000-0000-0000-0000-000000000000";

const COMMANDS: &[(&str, Kind)] = &[
    ("demo", Operator),
    ("serve", Operator),
    ("worker", Operator),
    ("simulate", Operator),
    ("migrate", Operator),
    ("doctor", Operator),
    ("backup list", Operator),
    ("backup prune", Operator),
    ("backup ship", Operator),
    ("restore", Operator),
    ("drill", Operator),
    ("msp add", Operator),
    ("msp list", Operator),
    ("cluster list", Operator),
    ("mail list", Operator),
    ("mail show", Operator),
    ("token-key list", Operator),
    ("token-key rotate", Operator),
    ("key status", Operator),
    ("key export-escrow", Operator),
    ("key import-escrow", Operator),
    ("audit checkpoint", Operator),
    ("jobs list", Operator),
    ("jobs retry", Operator),
    ("jobs run", Operator),
    ("export run", Operator),
    ("export open", Operator),
    ("churn evaluate", Operator),
    // what the program itself brings, of nobody's data
    ("warehouse lineage", Operator),
    ("warehouse docs", Operator),
    ("customer certificate verify", Operator),
    ("export files", OfMsp(&["export", "files"])),
    ("export verify", OfMsp(&["export", "verify"])),
    ("export gc", Operator),
    ("alerts list", OfMsp(&["alerts", "list"])),
    ("alerts check", OfMsp(&["alerts", "check"])),
    ("alerts recommend", OfMsp(&["alerts", "recommend"])),
    ("alerts acknowledge", OfMsp(&["alerts", "acknowledge", NO_KEY, "--reason", "seen"])),
    ("alerts snooze", OfMsp(&["alerts", "snooze", NO_KEY, "--hours", "4", "--reason", "the host restarts"])),
    ("alerts escalate", OfMsp(&["alerts", "escalate", NO_KEY, "--reason", "the vendor must help"])),
    ("alerts resolve", OfMsp(&["alerts", "resolve", NO_KEY, "--reason", "the machine is gone"])),
    ("period status", OfMsp(&["period", "status", "2025-10"])),
    ("period rule", OfMsp(&["period", "rule", "--editor-may-approve", "yes"])),
    ("period accept", OfCustomer(&["period", "accept", "2025-10", "--customer", "CODE", "--finding", "incomplete", "--reason", "flooded"])),
    ("period approve", OfMsp(&["period", "approve", "2025-10"])),
    ("period close", OfMsp(&["period", "close", "2025-10"])),
    ("period corrections", OfMsp(&["period", "corrections", "2025-10"])),
    ("period proof", OfCustomer(&["period", "proof", "2025-10", "--customer", "CODE", "--source", "vbr", "--id", "r-1"])),
    ("export versions", OfMsp(&["export", "versions"])),
    ("export label", OfMsp(&["export", "label", "before-the-audit"])),
    ("export status", OfMsp(&["export", "status"])),
    ("export backfill", OfCustomer(&["export", "backfill", "CODE"])),
    ("retention list", OfMsp(&["retention", "list"])),
    ("retention set", OfMsp(&["retention", "set", "tickets", "--days", "730"])),
    ("retention run", OfMsp(&["retention", "run"])),
    ("customer list", OfMsp(&["customer", "list"])),
    ("warehouse build", OfMsp(&["warehouse", "build"])),
    ("warehouse test", OfMsp(&["warehouse", "test"])),
    ("warehouse push", OfMsp(&["warehouse", "push", "DIR", "--dry-run"])),
    ("warehouse models", OfMsp(&["warehouse", "models"])),
    ("warehouse rollback", OfMsp(&["warehouse", "rollback", "1"])),
    ("billing accounts", OfMsp(&["billing", "accounts"])),
    ("billing list", OfMsp(&["billing", "list", "--period", "2025-10"])),
    ("billing draft", OfMsp(&["billing", "draft", "--period", "2025-09"])),
    ("billing finalise", OfMsp(&["billing", "finalise", "--period", "2025-10"])),
    ("reconcile", OfMsp(&["reconcile", "--period", "2025-10"])),
    ("churn train", OfMsp(&["churn", "train"])),
    ("churn score", OfMsp(&["churn", "score"])),
    ("billing show", OfCustomer(&["billing", "show", "--customer", "CODE", "--period", "2025-10"])),
    ("events", OfCustomer(&["events", "--customer", "CODE", "--period", "2025-10"])),
    ("meter rebuild", OfCustomer(&["meter", "rebuild", "--customer", "CODE"])),
    ("import", OfCustomer(&["import", "DIR/none.json", "--customer", "CODE"])),
    ("import sendense", OfCustomer(&["import", "sendense", "DIR", "--customer", "CODE", "--time-zone", "UTC"])),
    ("churn explain", OfCustomer(&["churn", "explain", "--customer", "CODE"])),
    ("report monthly", OfCustomer(&["report", "monthly", "--customer", "CODE", "--period", "2025-10", "--out", "DIR/report.pdf"])),
    ("user add", OfCustomer(&["user", "add", "late@CODE.example", "--role", "customer_viewer", "--customer", "CODE"])),
    ("user invite", OfCustomer(&["user", "invite", "guest@CODE.example", "--role", "customer_viewer", "--customer", "CODE"])),
    ("api-key add", OfCustomer(&["api-key", "add", "--customer", "CODE"])),
    ("api-key list", OfCustomer(&["api-key", "list", "--customer", "CODE"])),
    ("api-key rotate", OfCustomer(&["api-key", "rotate", NO_KEY, "--customer", "CODE", "--reason", "once a quarter"])),
    ("api-key revoke", OfCustomer(&["api-key", "revoke", NO_KEY, "--customer", "CODE", "--reason", "lost"])),
    ("sso list", OfMsp(&["sso", "list"])),
    ("sso test", OfCustomer(&["sso", "test", "--customer", "CODE"])),
    (
        "sso set",
        OfCustomer(&[
            "sso",
            "set",
            "--customer",
            "CODE",
            "--issuer",
            "https://login.CODE.example",
            "--client-id",
            "granary",
            "--secret-file",
            "-",
            "--group",
            "Readers=customer_viewer",
            "--domain",
            "CODE.example",
        ]),
    ),
    ("sso remove", OfCustomer(&["sso", "remove", "--customer", "CODE", "--reason", "moved"])),
    ("control-plane list", OfCustomer(&["control-plane", "list", "--customer", "CODE"])),
    ("control-plane enrol", OfCustomer(&["control-plane", "enrol", NO_KEY, "--customer", "CODE", "--reason", "new"])),
    ("control-plane revoke", OfCustomer(&["control-plane", "revoke", NO_KEY, "--customer", "CODE", "--reason", "lost"])),
    ("key rotate", OfCustomer(&["key", "rotate", "--customer", "CODE"])),
    ("audit list", OfCustomer(&["audit", "list", "--customer", "CODE"])),
    ("audit export", OfCustomer(&["audit", "export", "--customer", "CODE", "--out", "DIR/audit.jsonl"])),
    ("audit verify", OfCustomer(&["audit", "verify", "--customer", "CODE"])),
    ("customer add", OfMsp(&["customer", "add", "ACME", "--name", "ACME Inc."])),
    ("customer certificate public-key", OfMsp(&["customer", "certificate", "public-key"])),
    ("customer kept-invoice", OfMsp(&["customer", "kept-invoice", "NORTH-2025-00001"])),
    ("customer limits", OfCustomer(&["customer", "limits", "CODE"])),
    ("customer hold set", OfCustomer(&["customer", "hold", "set", "CODE", "--reason", "lawsuit"])),
    ("customer hold show", OfCustomer(&["customer", "hold", "show", "CODE"])),
    ("customer hold release", OfCustomer(&["customer", "hold", "release", "CODE", "--reason", "settled"])),
    ("customer export", OfCustomer(&["customer", "export", "CODE", "--out", "DIR/archive.tar"])),
    ("person find", OfMsp(&["person", "find", "acme@north.example"])),
    ("person export", OfMsp(&["person", "export", "acme@north.example", "--reason", "asked", "--out", "DIR/person.json"])),
    ("customer import", OfMsp(&["customer", "import", "DIR/customers.csv"])),
    ("customer move", OfCustomer(&["customer", "move", "CODE", "--to", "local"])),
    ("customer dump", OfCustomer(&["customer", "dump", "CODE", "--out", "DIR/silo.dump"])),
    ("customer restore", OfCustomer(&["customer", "restore", "CODE", "--from", "DIR/silo.dump", "--reason", "a mistake"])),
    ("customer clone make", OfCustomer(&["customer", "clone", "make", "CODE", "--as", "COPY", "--reason", "support"])),
    ("customer clone list", OfMsp(&["customer", "clone", "list"])),
    ("customer clone query", OfMsp(&["customer", "clone", "query", "COPY", "select name from machines"])),
    ("customer clone swap", OfMsp(&["customer", "clone", "swap", "COPY", "--reason", "it was better", "--yes"])),
    ("customer clone drop", OfMsp(&["customer", "clone", "drop", "COPY", "--reason", "solved", "--yes"])),
    ("customer activate", OfCustomer(&["customer", "activate", "CODE"])),
    ("customer suspend", OfCustomer(&["customer", "suspend", "CODE", "--reason", "unpaid"])),
    ("customer resume", OfCustomer(&["customer", "resume", "CODE", "--reason", "paid"])),
    ("query", AsUser),
    ("person erase", OfMsp(&["person", "erase", "acme@north.example", "--reason", "asked", "--yes"])),
    ("customer close", OfCustomer(&["customer", "close", "CODE", "--reason", "gone"])),
    ("customer erase", OfCustomer(&["customer", "erase", "CODE", "--reason", "gone", "--yes"])),
    ("customer certificate show", OfCustomer(&["customer", "certificate", "show", "CODE"])),
];

/// Stands in the rows of one tenant and nowhere else.
const NORTH: [&str; 3] = ["NORTH-ACME-", "NORTH-GLOBEX-", "Northern Backup"];
const SOUTH: [&str; 2] = ["SOUTH-ACME-", "Southern Backup"];
const GLOBEX: [&str; 2] = ["NORTH-GLOBEX-", "GLOBEX Inc."];

/// Every command that the program's help names.
fn commands(house: &House, path: &[&str], found: &mut BTreeSet<String>) {
    let help = house.ok(&[path, &["--help"]].concat());
    let listed: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    // One that takes arguments is a command, whatever stands beneath it.
    if listed.is_empty() || help.lines().any(|line| line == "Arguments:") {
        found.insert(path.join(" "));
    }
    for name in listed {
        commands(house, &[path, &[name]].concat(), found);
    }
}

/// The house of the test, with a server that keeps its Postgres running.
struct Street {
    house: House,
    server: Child,
    cells: usize,
    wrong: Vec<String>,
    met: BTreeSet<&'static str>,
}

impl Drop for Street {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

impl Street {
    /// Two MSPs, both with a customer ACME, one with GLOBEX too; the same machine everywhere, under another name.
    fn build() -> Self {
        let house = House::empty();
        house.ok(&["msp", "add", "NORTH", "--name", "Northern Backup"]);
        let server =
            command(&house.data_dir(), &["serve", "--listen", "127.0.0.1:0"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let street = Self { house, server, cells: 0, wrong: Vec::new(), met: BTreeSet::new() };
        let house = &street.house;
        house.ok(&["msp", "add", "SOUTH", "--name", "Southern Backup"]);
        std::fs::write(house.dir.path().join("none.json"), "[]").unwrap();
        std::fs::write(house.dir.path().join("customers.csv"), "customer_code,company_name\nACME,ACME Inc.\n").unwrap();
        for (msp, code) in [("NORTH", "ACME"), ("NORTH", "GLOBEX"), ("SOUTH", "ACME")] {
            let name = format!("{code} Inc.");
            house.ok(&["customer", "add", code, "--msp", msp, "--name", &name, "--since", "2025-01-01", "--source", "vbr"]);
            let file = house.dir.path().join("events.json");
            std::fs::write(&file, events(msp, code)).unwrap();
            house.ok(&["import", file.to_str().unwrap(), "--customer", code, "--msp", msp]);
        }
        for msp in ["NORTH", "SOUTH"] {
            house.ok(&["billing", "draft", "--period", "2025-10", "--msp", msp]);
            house.ok(&["billing", "finalise", "--period", "2025-10", "--msp", msp]);
        }
        house.ok(&["export", "run"]);
        for (msp, customer, role) in [
            ("NORTH", None, "msp_admin"),
            ("SOUTH", None, "msp_admin"),
            ("NORTH", Some("ACME"), "customer_viewer"),
            ("NORTH", Some("GLOBEX"), "customer_viewer"),
        ] {
            let email = format!("{}@{}.example", customer.unwrap_or("admin"), msp).to_lowercase();
            let mut arguments = vec!["user", "add", &email, "--role", role, "--msp", msp];
            arguments.extend(customer.iter().flat_map(|code| ["--customer", *code]));
            assert!(street.call(&arguments).status.success());
        }
        street
    }

    /// Runs a command; what asks for a password gets one.
    fn call(&self, arguments: &[&str]) -> Output {
        let mut child =
            command(&self.house.data_dir(), arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"correct horse battery\n").ok();
        child.wait_with_output().unwrap()
    }

    /// One cell: the exit code, if it is known, and what may not be read.
    fn cell(&mut self, arguments: &[&str], code: Option<i32>, forbidden: &[&str]) {
        let output = self.call(arguments);
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        self.cells += 1;
        if code.is_some_and(|code| output.status.code() != Some(code)) || said.contains("panicked") {
            self.wrong.push(format!("granary {}: {} instead of {code:?}: {said}", arguments.join(" "), output.status));
        }
        for marker in forbidden.iter().filter(|marker| said.contains(**marker)) {
            self.wrong.push(format!("granary {} met '{marker}'", arguments.join(" ")));
        }
        self.met.extend(NORTH.iter().chain(&SOUTH).filter(|marker| said.contains(**marker)));
    }

    fn try_msp(&mut self, arguments: &[&str]) {
        let directory = self.house.dir.path().to_str().unwrap().to_owned();
        let filled: Vec<String> = arguments.iter().map(|argument| argument.replace("DIR", &directory)).collect();
        let arguments: &[&str] = &filled.iter().map(String::as_str).collect::<Vec<_>>();
        self.cell(&[arguments, &["--msp", "EAST"]].concat(), Some(3), &[NORTH.as_slice(), &SOUTH].concat());
        self.cell(&[arguments, &["--msp", "SOUTH"]].concat(), None, &NORTH);
        self.cell(&[arguments, &["--msp", "NORTH"]].concat(), None, &SOUTH);
    }

    fn try_customer(&mut self, arguments: &[&str]) {
        let directory = self.house.dir.path().to_str().unwrap().to_owned();
        let about = |code: &str, msp: &str| -> Vec<String> {
            let filled = arguments.iter().map(|argument| argument.replace("CODE", code).replace("DIR", &directory));
            filled.chain(["--msp".to_owned(), msp.to_owned()]).collect()
        };
        let everything = [NORTH.as_slice(), &SOUTH].concat();
        let others = [SOUTH.as_slice(), &GLOBEX].concat();
        // Another MSP's customer, nobody's MSP, nobody's customer; the same code of the other MSP; and the own.
        let cells: [(&str, &str, Option<i32>, &[&str]); 5] = [
            ("GLOBEX", "SOUTH", Some(3), &everything),
            ("ACME", "EAST", Some(3), &everything),
            ("NOSUCH", "NORTH", Some(3), &everything),
            ("ACME", "SOUTH", None, &NORTH),
            ("ACME", "NORTH", None, &others),
        ];
        for (code, msp, exit, forbidden) in cells {
            let arguments = about(code, msp);
            self.cell(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), exit, forbidden);
        }
    }

    fn try_users(&mut self) {
        let machines = ["query", "select machine_name from stg_metering__machines", "--reason", "a test asks", "--as"];
        let everything = [NORTH.as_slice(), &SOUTH].concat();
        let mut ask = |email: &str, code, forbidden: &[&str]| self.cell(&[&machines[..], &[email]].concat(), code, forbidden);
        ask("nobody@north.example", Some(3), &everything);
        ask("admin@north.example", Some(0), &SOUTH);
        ask("admin@south.example", Some(0), &NORTH);
        ask("acme@north.example", None, &[SOUTH.as_slice(), &GLOBEX].concat());
        ask("globex@north.example", None, &["NORTH-ACME-", "SOUTH-ACME-", "Southern Backup"]);
        // What belongs to the MSP is not in a customer's catalog.
        self.cell(&["query", "select * from revenue_by_month", "--reason", "x", "--as", "acme@north.example"], Some(2), &everything);
        self.try_msp(&["query", "select machine_name from stg_metering__machines", "--reason", "a test asks"]);
    }
}

fn events(msp: &str, code: &str) -> String {
    let event = |id: &str, kind: &str, time: &str, data: &str| {
        format!(r#"{{"specversion":"1.0","source":"vbr","id":"{id}","type":"{kind}","time":"{time}","data":{data}}}"#)
    };
    let machine = r#""source_system":"veeam","vendor_id":"vm-1""#;
    let protected = format!(r#"{{{machine},"name":"{msp}-{code}-1","tier":"backup","from":"2025-10-01"}}"#);
    let run = format!(
        r#"{{"run_id":"r-1","machine":{{{machine}}},"kind":"full","attempt":1,"has_warning":false,"started_at":"2025-10-02T14:00:00Z","ended_at":"2025-10-02T14:30:00Z","disks":[{{"index":0,"size_bytes":1000,"transferred_bytes":1000,"state":"completed"}}]}}"#
    );
    let protected = event("p-1", "machine.protected", "2025-10-01T12:00:00Z", &protected);
    format!("[{protected},{}]", event("r-1", "backup.completed", "2025-10-02T14:30:00Z", &run))
}

#[test]
fn every_command_finds_nothing_of_another() {
    let mut street = Street::build();
    let mut found = BTreeSet::new();
    commands(&street.house, &[], &mut found);
    let declared: BTreeSet<String> = COMMANDS.iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(found, declared, "each command is declared with what it is about");

    for (path, kind) in COMMANDS {
        let before = street.cells;
        match kind {
            Operator => {}
            OfMsp(arguments) => street.try_msp(arguments),
            OfCustomer(arguments) => street.try_customer(arguments),
            AsUser => street.try_users(),
        }
        let about = match kind {
            Operator => "the installation: whoever reads the data directory",
            OfMsp(_) => "an MSP",
            OfCustomer(_) => "a customer",
            AsUser => "what a user sees",
        };
        println!("{path:<20} {about:<52} {:>3} cells", street.cells - before);
    }
    println!("{} commands, {} cells, {} wrong", COMMANDS.len(), street.cells, street.wrong.len());
    assert!(street.wrong.is_empty(), "{}", street.wrong.join("\n"));
    for marker in ["NORTH-ACME-", "NORTH-GLOBEX-", "SOUTH-ACME-"] {
        assert!(street.met.contains(marker), "nobody met {marker}: the search for it proves nothing");
    }
}
