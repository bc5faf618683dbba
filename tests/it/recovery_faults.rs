//! Backups that were killed, damaged, swapped, or are not ours.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::front_door::{House, command};
use super::recovery::{BackedUp, find, text, value_in};

/// Runs a command, kills it after a while, and tells whether it had ended by itself.
fn killed_after(data_dir: &Path, arguments: &[&str], after: Duration) -> bool {
    let mut child = command(data_dir, arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(after);
    let has_ended = child.try_wait().unwrap().is_some();
    child.kill().ok();
    child.wait().unwrap();
    has_ended
}

#[test]
fn a_backup_that_is_killed_anywhere_is_none_and_the_next_one_is_whole() {
    let house = BackedUp::build();
    let url = house.url();
    let backup = ["backup", "--to", &url];
    let mut after = Duration::from_millis(20);
    let mut killed = 0;
    while !killed_after(&house.house.data_dir(), &backup, after) {
        killed += 1;
        after += after / 3 + Duration::from_millis(10);
    }
    assert!(killed > 5, "killed {killed} times");
    house.house.assert_listed_are_whole(&url);
    let made = house.backup();
    // What the killed ones left went with it.
    for part in find(&house.store(), "/part-000000") {
        assert!(part.with_file_name("manifest").exists(), "{}", part.display());
    }
    let (data_dir, output) = house.restore("after", &["--at", made["until_at"].as_str().unwrap(), "--master-key", &house.master()]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(value_in(&data_dir, "select count(*) from control.customers"), "1");
}

impl House {
    /// Every backup that is listed can be restored.
    fn assert_listed_are_whole(&self, url: &str) {
        let listed = self.json(&["backup", "list", "--from", url, "--format", "json"]);
        for base in listed.as_array().unwrap() {
            let data_dir = self.dir.path().join(base["base"].as_str().unwrap());
            let master = self.data_dir().join("keys/master");
            let at = base["from_at"].as_str().unwrap();
            let arguments = ["restore", "--from", url, "--at", at, "--master-key", master.to_str().unwrap()];
            let output = command(&data_dir, &arguments).output().unwrap();
            assert!(output.status.success(), "{}", text(&output));
        }
    }
}

#[test]
fn a_restoration_that_is_killed_anywhere_begins_anew_and_nobody_opens_what_it_left() {
    let house = BackedUp::build();
    house.backup();
    let (url, master) = (house.url(), house.master());
    let data_dir = house.house.dir.path().join("restored");
    let restore = ["restore", "--from", &url, "--master-key", &master];
    let mut after = Duration::from_millis(20);
    let mut refused = 0;
    while !killed_after(&data_dir, &restore, after) {
        after += after / 3 + Duration::from_millis(10);
        if data_dir.join("restore.unfinished").exists() {
            let output = command(&data_dir, &["msp", "list"]).output().unwrap();
            assert!(output.status.code() == Some(3) && text(&output).contains("granary restore"), "{}", text(&output));
            refused += 1;
        }
    }
    assert!(refused > 2, "refused {refused} times");
    if data_dir.join("restore.unfinished").exists() {
        assert!(command(&data_dir, &restore).output().unwrap().status.success());
    }
    assert_eq!(value_in(&data_dir, "select count(*) from control.customers"), "1");
    let (_, output) = house.restore("restored", &["--master-key", &master]);
    assert!(output.status.code() == Some(2) && text(&output).contains("is not empty"), "{}", text(&output));
}

/// How a store is spoiled.
enum Spoil {
    Change,
    Cut,
    Remove,
    /// Gets the content of another object.
    Swap(&'static str),
}

#[test]
fn whatever_is_damaged_missing_or_swapped_is_refused_by_its_name() {
    let house = BackedUp::build();
    house.backup();
    house.backup();
    let store = house.store();
    let newest = find(&store, "/manifest").pop().unwrap();
    let folder = newest.parent().unwrap().to_str().unwrap().to_owned();
    let one = |part: &str| find(&store, "").into_iter().rfind(|path| path.to_str().unwrap().contains(part)).unwrap();
    let mut met = 0;
    for (part, spoil) in [
        (format!("{folder}/part-000000"), Spoil::Change),
        (format!("{folder}/part-000000"), Spoil::Cut),
        (format!("{folder}/part-000000"), Spoil::Remove),
        (format!("{folder}/part-000000"), Spoil::Swap("/part-000000")),
        (format!("{folder}/manifest"), Spoil::Change),
        (format!("{folder}/manifest"), Spoil::Swap("/manifest")),
        ("/wal/".to_owned(), Spoil::Change),
        ("/wal/".to_owned(), Spoil::Cut),
        ("/wal/".to_owned(), Spoil::Remove),
        ("/wal/".to_owned(), Spoil::Swap("/wal/")),
        ("/covered/".to_owned(), Spoil::Change),
        ("/covered/".to_owned(), Spoil::Swap("/covered/")),
    ] {
        let path = one(&part);
        let whole = std::fs::read(&path).unwrap();
        match spoil {
            Spoil::Change => {
                let mut content = whole.clone();
                let at = content.len() / 2;
                // Of a manifest a digit, which leaves it readable.
                content[at] = if content[at] == b'1' { b'2' } else { b'1' };
                std::fs::write(&path, content).unwrap();
            }
            Spoil::Cut => std::fs::write(&path, &whole[..whole.len() - 100]).unwrap(),
            Spoil::Remove => std::fs::remove_file(&path).unwrap(),
            Spoil::Swap(other) => {
                let other = find(&store, "").into_iter().find(|found| found.to_str().unwrap().contains(other) && *found != path);
                std::fs::copy(other.unwrap(), &path).unwrap();
            }
        }
        met += 1;
        let (data_dir, output) = house.restore(&format!("spoilt-{met}"), &["--master-key", &house.master()]);
        let said = text(&output);
        let name = path.strip_prefix(&store).unwrap().to_str().unwrap();
        assert!(!output.status.success() && said.contains(name), "{met} {name}: {said}");
        assert!(!data_dir.join("keys").exists(), "{name}: nothing that looks like a house");
        std::fs::write(&path, whole).unwrap();
    }
    // Without what says how far the log goes there is less to restore, and that is told.
    let at = house.house.json(&["backup", "list", "--from", &house.url(), "--format", "json"])[1]["until_at"].as_str().unwrap().to_owned();
    std::fs::remove_file(one("/covered/")).unwrap();
    let (_, output) = house.restore("shorter", &["--at", &at, "--master-key", &house.master()]);
    assert!(output.status.code() == Some(3) && text(&output).contains("no backup covers"), "{}", text(&output));
}

#[test]
fn what_is_not_ours_or_not_covered_is_refused_with_a_remedy() {
    let house = BackedUp::build();
    let made = house.backup();
    let stranger = House::empty();
    stranger.ok(&["msp", "add", "EAST", "--name", "Eastern"]);
    let theirs = stranger.data_dir().join("keys/master").to_str().unwrap().to_owned();
    let refused = |name: &str, arguments: &[&str], code: i32, words: &[&str]| {
        let (data_dir, output) = house.restore(name, arguments);
        let said = text(&output);
        assert!(output.status.code() == Some(code) && words.iter().all(|word| said.contains(word)), "{name}: {:?} {said}", output.status);
        assert!(!data_dir.join("postgres").exists(), "{name} left something");
    };
    refused("theirs", &["--master-key", &theirs], 2, &["master key", "GRANARY_MASTER_KEY", "import-escrow"]);
    refused("none", &[], 2, &["--master-key", "import-escrow"]);
    let (from, until) = (made["from_at"].as_str().unwrap(), made["until_at"].as_str().unwrap());
    for (name, at) in [("before", "2020-01-01T00:00:00Z"), ("behind", "2100-01-01T00:00:00Z")] {
        refused(name, &["--at", at, "--master-key", &house.master()], 3, &[from, until, at]);
    }
    // Another installation keeps out of this store, and a place that is none is not made.
    let output = stranger.run(&["backup", "--to", &house.url()]);
    assert!(output.status.code() == Some(4) && text(&output).contains("name another place"), "{}", text(&output));
    let nowhere = format!("{}-nowhere", house.url());
    let output = house.house.run(&["drill", "--from", &nowhere]);
    assert!(!output.status.success());
    assert_eq!(house.house.run(&["backup", "list", "--from", &nowhere]).status.code(), Some(3));
    // The master lies nowhere in the store, nor does anything else that can be read.
    let master = std::fs::read_to_string(house.master()).unwrap();
    for path in find(&house.store(), "") {
        let content = std::fs::read(&path).unwrap();
        for secret in [master.trim(), "Northern Backup", "SCRAM-SHA-256"] {
            assert!(!content.windows(secret.len()).any(|window| window == secret.as_bytes()), "{} holds {secret}", path.display());
        }
    }
    // Taken out of escrow, the master opens it.
    let escrow = house.house.dir.path().join("master.escrow").to_str().unwrap().to_owned();
    with_passphrase(&mut command(&house.house.data_dir(), &["key", "export-escrow", "--out", &escrow]));
    let data_dir = house.house.dir.path().join("escrowed");
    with_passphrase(&mut command(&data_dir, &["key", "import-escrow", "--from", &escrow]));
    let (data_dir, output) = house.restore("escrowed", &[]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(value_in(&data_dir, "select count(*) from control.customers"), "1");
    assert!(data_dir.is_dir());
    // This master is in escrow, the next one is not: it is not let go of while backups need it.
    house.house.ok(&["key", "rotate"]);
    let output = house.house.run(&["key", "rotate"]);
    assert!(output.status.code() == Some(2) && text(&output).contains("export-escrow"), "{}", text(&output));
    house.house.ok(&["key", "rotate", "--yes"]);
    // A log goes nowhere when the backups are gone.
    std::fs::rename(house.store(), house.store().with_extension("gone")).unwrap();
    let output = house.house.run(&["backup", "ship"]);
    assert!(output.status.code() == Some(3) && text(&output).contains("begin anew"), "{}", text(&output));
}

fn with_passphrase(command: &mut Command) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"a passphrase of some length\n").unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_key_that_was_destroyed_is_in_no_later_backup() {
    let house = BackedUp::build();
    let file = house.value("select pg_relation_filepath('keystore.keys')");
    house.house.ok(&["customer", "close", "ACME", "--reason", "gone"]);
    let wrapped = house.value("select encode(wrapped, 'hex') from keystore.keys where owner_kind = 'customer' and purpose = 'wrap'");
    house.house.ok(&["customer", "erase", "ACME", "--reason", "gone", "--yes"]);
    house.value("checkpoint");
    let now = house.value("select pg_relation_filepath('keystore.keys')");
    assert_ne!(file, now, "the table was written anew");
    let content = std::fs::read(house.house.data_dir().join("postgres/data").join(now)).unwrap();
    let wrapped: Vec<u8> =
        (0..wrapped.len() / 2).map(|index| u8::from_str_radix(&wrapped[index * 2..index * 2 + 2], 16).unwrap()).collect();
    assert!(wrapped.len() > 32 && !content.windows(wrapped.len()).any(|window| window == wrapped));
}
