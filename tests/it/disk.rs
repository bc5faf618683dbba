//! A full disk: a clear error, nothing lost, and the next run finishes once there is room.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::front_door::{DEMO, House, TINY, TINY_DEMO, command};

/// A small disk in memory, mounted into a house and gone with it.
#[derive(Debug)]
struct Disk {
    mount: PathBuf,
    // Removed after the disk is unmounted.
    house: House,
}

impl Disk {
    /// Mounts a disk; none, said aloud, when we may not because we are not root.
    fn mount(size: &str) -> Option<Self> {
        let house = House::empty();
        if std::fs::metadata(house.dir.path()).unwrap().uid() != 0 {
            eprintln!("SKIPPED: only root can mount a small disk to fill");
            return None;
        }
        let mount = house.dir.path().join("disk");
        std::fs::create_dir(&mount).unwrap();
        system("mount", &["-t", "tmpfs", "-o", &format!("size={size},mode=755"), "tmpfs", mount.to_str().unwrap()]);
        Some(Self { mount, house })
    }

    fn make_room(&self) {
        system("mount", &["-o", "remount,size=1G", self.mount.to_str().unwrap()]);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.mount.join(name)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A test that fails in the middle may leave a server on it: lazily, so that the disk goes when the server does.
        let _ = Command::new("umount").arg("--lazy").arg(&self.mount).status();
    }
}

fn system(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Runs the tiny demo, which must fail and say that the disk is full, where it is mounted and what lies on it.
fn refused_for_lack_of_room(disk: &Disk, data_dir: &Path, config: &[&str], place: &str) {
    let output = command(data_dir, &[TINY_DEMO, config].concat()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(5), "{said}");
    let mount = disk.mount.display().to_string();
    assert!(said.contains("the disk is full") && said.contains(&mount) && said.contains(place), "{said}");
}

/// Makes room and runs the tiny demo, which must end as if nothing had happened.
fn finishes_with_room(disk: &Disk, data_dir: &Path, config: &[&str]) {
    disk.make_room();
    let output = command(data_dir, &[TINY_DEMO, config].concat()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut ended: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    ended.as_object_mut().unwrap().remove("look_at");
    assert_eq!(ended, *TINY);
}

#[test]
fn postgres_without_room_is_told_and_goes_on_with_room() {
    // Too small for the cluster; for the log of what is written into it.
    for size in ["30M", "58M"] {
        let Some(disk) = Disk::mount(size) else { return };
        let data_dir = disk.path("data");
        refused_for_lack_of_room(&disk, &data_dir, &[], "Postgres in");
        finishes_with_room(&disk, &data_dir, &[]);
    }
}

#[test]
fn a_lake_without_room_is_told_and_goes_on_with_room() {
    let Some(disk) = Disk::mount("100k") else { return };
    let config = disk.house.dir.path().join("granary.toml");
    std::fs::write(&config, format!("[lake]\nurl = 'file://{}'\n", disk.path("lake").display())).unwrap();
    let config = &["--config", config.to_str().unwrap()];
    refused_for_lack_of_room(&disk, &disk.house.data_dir(), config, "the lake in");
    finishes_with_room(&disk, &disk.house.data_dir(), config);
    let verified = disk.house.json(&[&["export", "verify", "--format", "json"], &config[..]].concat());
    assert!(verified.as_array().unwrap().iter().all(|row| row["outcome"] == "equal"), "{verified}");
}

#[test]
fn a_report_without_room_is_named_and_leaves_no_half_file() {
    let Some(disk) = Disk::mount("40k") else { return };
    let (house, _) = &*DEMO;
    let out = disk.path("acme.pdf");
    let output = house.run(&["report", "monthly", "--customer", "ACME", "--period", "2025-10", "--out", out.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(out.to_str().unwrap()) && said.contains("No space left"), "{said}");
    assert_eq!(std::fs::read_dir(&disk.mount).unwrap().count(), 0);
}
