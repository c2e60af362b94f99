//! What tests need and products must not carry: the generators of the files under `vectors/`, and the test that holds
//! the crates to the import table.
//!
//! Only ever a dev-dependency.

pub mod vectors;
