//! A new migration is part of this crate: cargo has to be told that the folder matters, not only the files it knows.

fn main() {
    println!("cargo:rerun-if-changed=../../tenant-migrations");
}
