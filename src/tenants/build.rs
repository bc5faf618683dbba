//! Migrations are embedded: a new file must rebuild the room.

fn main() {
    println!("cargo:rerun-if-changed=../../tenant-migrations");
}
