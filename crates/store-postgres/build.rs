//! Tells cargo that the migrations are part of the source: they are compiled into the library.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
