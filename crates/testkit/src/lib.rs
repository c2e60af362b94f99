//! What tests need and products must not carry: the generators of the files under `vectors/` and of mutated tokens, the
//! servers and processes that tests start and break, an inbox for webhooks, and the test that holds the crates to the
//! import table.
//!
//! Only ever a dev-dependency.

pub mod inbox;
pub mod load;
pub mod mutations;
pub mod processes;
pub mod servers;
pub mod vectors;
