//! Writes mutated tokens and what the verifier says of each: `cargo run -p edgeseal-testkit --bin mutations -- FILE`.

use std::fs::File;
use std::io::{BufWriter, Error, Write};

use edgeseal_testkit::mutations;

fn main() -> std::io::Result<()> {
    let path = std::env::args_os().nth(1).ok_or_else(|| Error::other("usage: mutations FILE"))?;
    let mut out = BufWriter::new(File::create(path)?);
    mutations::write(&mut out)?;
    out.flush()
}
