//! Writes every generated file of `vectors/`: `cargo run -p edgeseal-testkit --bin vectors [FOLDER]`.

use std::path::{Path, PathBuf};

use edgeseal_testkit::vectors;

fn main() -> std::io::Result<()> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors");
    let folder = std::env::args_os().nth(1).map_or(default, PathBuf::from);
    std::fs::create_dir_all(&folder)?;
    let files = [
        ("bucketing.json", vectors::bucketing::generate()),
        ("evaluation.json", vectors::evaluation::generate()),
        ("sealing.json", vectors::sealing::generate()),
    ];
    for (name, value) in files {
        std::fs::write(folder.join(name), format!("{value:#}\n"))?;
    }
    Ok(())
}
